#include "cli/cli.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "add" of "device add". */
static const char *
last_word(const char *name)
{
	const char *blank = strrchr(name, ' ');

	return blank != NULL ? blank + 1 : name;
}

void
cli_help_list(const struct cli_command *const *commands)
{
	for (; *commands != NULL; commands++)
		(void)printf("  %-13s%s\n", last_word((*commands)->name),
		    (*commands)->summary);
}

void
cli_help(const struct cli_command *command)
{
	const char *operand = command->operand != NULL ? command->operand : "";

	if (command->commands != NULL) {
		(void)printf("Usage: " CLI_PROGRAM
			     " %s COMMAND [options]\n\n%s\nCommands:\n",
		    command->name, command->help);
		cli_help_list(command->commands);
		(void)printf("\n'" CLI_PROGRAM
			     " %s COMMAND --help' tells more about one.\n",
		    command->name);
		return;
	}
	(void)printf("Usage: " CLI_PROGRAM " %s [options]%s%s%s\n\n%s",
	    command->name,
	    command->operand_is_optional ? " ["
	    : command->operand != NULL   ? " "
					 : "",
	    operand, command->operand_is_optional ? "]" : "", command->help);
}

/* devices.ini in the folder of <settings>. False when that path is too long. */
static bool
devices_beside(const char *settings, char *out, size_t size)
{
	const char *slash = strrchr(settings, '/');
	size_t folder = slash != NULL ? (size_t)(slash - settings) + 1 : 0;

	if (folder + sizeof(CLI_DEVICES_NAME) > size)
		return false;
	memcpy(out, settings, folder);
	memcpy(out + folder, CLI_DEVICES_NAME, sizeof(CLI_DEVICES_NAME));
	return true;
}

static enum cli_exit
take_operands(const struct cli_command *command, int n, char **given,
    struct cli_options *out)
{
	int wanted = command->operand != NULL ? 1 : 0;

	if (n < wanted && !command->operand_is_optional)
		return cli_misused(command, "%s: %s is missing", command->name,
		    command->operand);
	if (n > wanted && !command->operand_repeats)
		return cli_misused(command, "%s: unexpected argument '%s'",
		    command->name, given[wanted]);
	out->operand = n > 0 ? given[0] : NULL;
	out->operands = given;
	out->operand_count = n;
	return CLI_OK;
}

static enum cli_exit
find_files(const struct cli_command *command, struct cli_options *o)
{
	const char *settings =
	    o->settings != NULL ? o->settings : CLI_SETTINGS_FILE;

	if (o->devices == NULL) {
		if (!devices_beside(settings, o->beside, sizeof(o->beside)))
			return cli_misused(command,
			    "%s: the path of --config is too long",
			    command->name);
		o->devices = o->beside;
	}
	/* only a file that nobody asked for may be missing */
	if (o->settings == NULL) {
		if (access(settings, F_OK) == 0 || errno != ENOENT)
			o->settings = settings;
		else if (o->socket == NULL)
			cli_tell("there is no %s: built-in defaults are used",
			    settings);
	}
	return CLI_OK;
}

/* Options that have a text, and where it goes. */
static const struct {
	int option;
	size_t at;
} texts[] = {
    {'a', offsetof(struct cli_options, address)},
    {'c', offsetof(struct cli_options, settings)},
    {'d', offsetof(struct cli_options, devices)},
    {'f', offsetof(struct cli_options, format)},
    {'i', offsetof(struct cli_options, client_id)},
    {'k', offsetof(struct cli_options, key_file)},
    {'p', offsetof(struct cli_options, product)},
    {'r', offsetof(struct cli_options, iterations)},
    {'s', offsetof(struct cli_options, socket)},
    {'t', offsetof(struct cli_options, timestamp)},
    {'u', offsetof(struct cli_options, username)},
    {'F', offsetof(struct cli_options, secret_file)},
};

/* Those that are there or not. */
static const struct {
	int option;
	size_t at;
} flags[] = {
    {'j', offsetof(struct cli_options, json)},
    {'n', offsetof(struct cli_options, dry_run)},
    {'L', offsetof(struct cli_options, payload)},
    {'R', offsetof(struct cli_options, ready)},
    {'P', offsetof(struct cli_options, secret_prompt)},
    {'S', offsetof(struct cli_options, secret_stdin)},
    {'w', offsetof(struct cli_options, watch)},
};

/* Takes an option of the two tables; false: it is in none. */
static bool
take_simple(int option, struct cli_options *out)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].option == option) {
			*(const char **)(void *)((char *)out + texts[i].at) =
			    optarg;
			return true;
		}
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (flags[i].option == option) {
			*(bool *)((char *)out + flags[i].at) = true;
			return true;
		}
	return false;
}

static enum cli_exit
take_level(const struct cli_command *command, struct cli_options *out)
{
	if (strlen(optarg) != 1 || optarg[0] < '3' || optarg[0] > '5')
		return cli_misused(command,
		    "%s: --level '%s' is none of 3, 4 and 5", command->name,
		    optarg);
	out->level = (uint8_t)(optarg[0] - '0');
	return CLI_OK;
}

static enum cli_exit
take_unset(const struct cli_command *command, struct cli_options *out)
{
	if (out->unset_count == CLI_UNSET_MAX)
		return cli_misused(
		    command, "%s: too many times --unset", command->name);
	out->unset[out->unset_count++] = optarg;
	return CLI_OK;
}

/* Of what getopt_long() does not take. A value is not shown: it may be a secret
   that somebody gave to an option of his own making. */
static enum cli_exit
refuse_option(const struct cli_command *command, int option, const char *given)
{
	const char *why = option == ':' ? "needs a value"
			  : optopt == 0 ? "is unknown, or short for several"
			  : *given != '-' || given[1] != '-' ? "is unknown"
							     : "has no value";

	if (given[0] == '-' && given[1] == '-')
		return cli_misused(command, "%s: option '%.*s' %s",
		    command->name, (int)strcspn(given, "="), given, why);
	return cli_misused(
	    command, "%s: option '-%c' %s", command->name, optopt, why);
}

/* Takes what getopt_long() has found. False as cli_options_read(). */
static bool
take_option(const struct cli_command *command, int option, const char *given,
    struct cli_options *out, enum cli_exit *code)
{
	if (take_simple(option, out))
		return true;
	switch (option) {
	case 'l':
		*code = take_level(command, out);
		break;
	case 'U':
		*code = take_unset(command, out);
		break;
	case 'h':
		cli_help(command);
		return false;
	default:
		*code = refuse_option(command, option, given);
	}
	return *code == CLI_OK;
}

bool
cli_options_read(const struct cli_command *command, int argc, char **argv,
    struct cli_options *out, enum cli_exit *code)
{
	int option;

	*out = (struct cli_options){.level = 4};
	*code = CLI_OK;
	while ((option = getopt_long(
		    argc, argv, ":h", command->options, NULL)) != -1)
		if (!take_option(command, option, argv[optind - 1], out, code))
			return false;
	*code = take_operands(command, argc - optind, argv + optind, out);
	if (*code == CLI_OK && !command->needs_no_files)
		*code = find_files(command, out);
	return *code == CLI_OK;
}
