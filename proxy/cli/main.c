#include "cli/cli.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static const struct cli_command *const commands[] = {
    &cli_run,
    &cli_check,
    &cli_match,
    &cli_sign,
    &cli_doctor,
    &cli_status,
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const struct cli_command *
find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
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
	for (size_t i = 0; i < COMMANDS; i++)
		(void)printf(
		    "  %-10s%s\n", commands[i]->name, commands[i]->summary);
	(void)puts("  version   print the version\n"
		   "  help      print this help, or that of a command\n"
		   "\n"
		   "'" CLI_PROGRAM " COMMAND --help' tells more about one.\n"
		   "\n"
		   "Exit codes: 0 done; 1 could not do it; 2 wrong usage; "
		   "3 a file was refused;\n"
		   "doctor has more, see its help.");
}

static enum cli_exit
help(const char *about)
{
	const struct cli_command *command;

	if (about == NULL) {
		print_help();
		return CLI_OK;
	}
	command = find_command(about);
	if (command == NULL)
		return cli_misused(NULL, "there is no command '%s'", about);
	cli_help(command);
	return CLI_OK;
}

static enum cli_exit
dispatch(int argc, char **argv)
{
	const struct cli_command *command;
	struct cli_options options;
	enum cli_exit code;

	if (argc < 2)
		return cli_misused(NULL, "a command is missing");
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0)
		return help(argv[2]);
	if (strcmp(argv[1], "version") == 0 ||
	    strcmp(argv[1], "--version") == 0) {
		print_version();
		return CLI_OK;
	}
	command = find_command(argv[1]);
	if (command == NULL)
		return cli_misused(NULL, "there is no %s '%s'",
		    argv[1][0] == '-' ? "option" : "command", argv[1]);
	if (!cli_options_read(command, argc - 1, argv + 1, &options, &code))
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
	code = dispatch(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		cli_tell("could not write to standard output");
		return CLI_FAILED;
	}
	return (int)code;
}
