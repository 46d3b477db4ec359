#include "cli/cli.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const struct cli_command *const commands[] = {
    &cli_run,
    &cli_check,
    &cli_match,
    &cli_topic,
    &cli_sign,
    &cli_doctor,
    &cli_status,
    &cli_trace,
    &cli_kick,
    &cli_reload,
    &cli_drain,
    &cli_log,
    &cli_healthcheck,
    &cli_device,
    &cli_passwd,
    NULL,
};

/* The one of <among> whose name goes on with <word> after <n> bytes, or NULL.
 */
static const struct cli_command *
find_among(const struct cli_command *const *among, size_t n, const char *word)
{
	for (; *among != NULL; among++)
		if (strcmp((*among)->name + n, word) == 0)
			return *among;
	return NULL;
}

/* The command that the first of <words> name, which end with a NULL; <*count>
   is how many of them do. NULL after telling that there is none. */
static const struct cli_command *
find_command(char **words, int *count)
{
	const struct cli_command *group = NULL;
	const struct cli_command *command = find_among(commands, 0, words[0]);

	*count = 1;
	if (command != NULL && command->commands != NULL && words[1] != NULL &&
	    words[1][0] != '-') {
		group = command;
		command = find_among(
		    group->commands, strlen(group->name) + 1, words[1]);
		*count = 2;
	}
	if (command == NULL)
		(void)cli_misused(group, "there is no %s '%s%s%s'",
		    words[0][0] == '-' ? "option" : "command", words[0],
		    group != NULL ? " " : "", group != NULL ? words[1] : "");
	return command;
}

static void
print_version(void)
{
	(void)printf(CLI_PROGRAM " " PACKAGE_VERSION " (libevent %s, %s)\n",
	    event_get_version(), OpenSSL_version(OPENSSL_VERSION));
}

static void
print_help(void)
{
	(void)puts("Usage: " CLI_PROGRAM " COMMAND [options]\n"
		   "\n"
		   "Takes plain MQTT from devices and gives each its own, "
		   "freshly signed\n"
		   "session with Alibaba Cloud IoT Platform, over WebSocket "
		   "and TLS.\n"
		   "\n"
		   "Commands:");
	cli_help_list(commands);
	(void)puts("  version      print the version\n"
		   "  help         print this help, or that of a command\n"
		   "\n"
		   "'" CLI_PROGRAM " COMMAND --help' tells more about one.\n"
		   "\n"
		   "Exit codes: 0 done; 1 could not do it; 2 wrong usage; "
		   "3 a file was refused;\n"
		   "doctor has more, see its help.");
}

static enum cli_exit
help(char **about)
{
	const struct cli_command *command;
	int count;

	if (about[0] == NULL) {
		print_help();
		return CLI_OK;
	}
	command = find_command(about, &count);
	if (command == NULL)
		return CLI_USAGE;
	cli_help(command);
	return CLI_OK;
}

/* A command with commands of its own, of which none was named. */
static enum cli_exit
run_group(const struct cli_command *command, const char *option)
{
	if (option == NULL)
		return cli_misused(
		    command, "%s: a command is missing", command->name);
	if (strcmp(option, "--help") != 0 && strcmp(option, "-h") != 0)
		return cli_misused(command, "%s: there is no option '%s'",
		    command->name, option);
	cli_help(command);
	return CLI_OK;
}

static enum cli_exit
dispatch(int argc, char **argv)
{
	const struct cli_command *command;
	struct cli_options options;
	enum cli_exit code;
	int words;

	if (argc < 2)
		return cli_misused(NULL, "a command is missing");
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0)
		return help(argv + 2);
	if (strcmp(argv[1], "version") == 0 ||
	    strcmp(argv[1], "--version") == 0) {
		print_version();
		return CLI_OK;
	}
	command = find_command(argv + 1, &words);
	if (command == NULL)
		return CLI_USAGE;
	if (command->commands != NULL)
		return run_group(command, argv[1 + words]);
	if (!cli_options_read(
		command, argc - words, argv + words, &options, &code))
		return code;
	return command->run(&options);
}

/*
 * No core files: they would hold the secrets. One byte and not zero, because
 * the kernel sends cores to a program (core_pattern "|...") whatever the limit
 * is, except for this value.
 */
static void
forbid_core_files(void)
{
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){1, 1});
}

int
main(int argc, char **argv)
{
	enum cli_exit code;

	forbid_core_files();
	/* a file over the limit is an error of write(): who gets one cleans up
	   behind it, and says so */
	(void)signal(SIGXFSZ, SIG_IGN);
	code = dispatch(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		cli_tell("could not write to standard output");
		return CLI_FAILED;
	}
	return (int)code;
}
