#include "cli/cli.h"

#include <errno.h>
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
		(void)printf("  %-10s%s\n", last_word((*commands)->name),
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
		else
			cli_tell("there is no %s: built-in defaults are used",
			    settings);
	}
	return CLI_OK;
}

bool
cli_options_read(const struct cli_command *command, int argc, char **argv,
    struct cli_options *out, enum cli_exit *code)
{
	static char program[] = CLI_PROGRAM;
	int option;

	*out = (struct cli_options){.level = 4};
	*code = CLI_OK;
	argv[0] = program; /* what getopt_long() begins its messages with */
	while ((option = getopt_long(
		    argc, argv, "h", command->options, NULL)) != -1) {
		switch (option) {
		case 'c':
			out->settings = optarg;
			break;
		case 'd':
			out->devices = optarg;
			break;
		case 't':
			out->timestamp = optarg;
			break;
		case 'i':
			out->client_id = optarg;
			break;
		case 'u':
			out->username = optarg;
			break;
		case 'a':
			out->address = optarg;
			break;
		case 's':
			out->socket = optarg;
			break;
		case 'j':
			out->json = true;
			break;
		case 'p':
			out->product = optarg;
			break;
		case 'f':
			out->format = optarg;
			break;
		case 'P':
			out->secret_prompt = true;
			break;
		case 'F':
			out->secret_file = optarg;
			break;
		case 'S':
			out->secret_stdin = true;
			break;
		case 'n':
			out->dry_run = true;
			break;
		case 'U':
			if (out->unset_count == CLI_UNSET_MAX) {
				*code = cli_misused(command,
				    "%s: too many times --unset",
				    command->name);
				return false;
			}
			out->unset[out->unset_count++] = optarg;
			break;
		case 'l':
			if (strlen(optarg) != 1 || optarg[0] < '3' ||
			    optarg[0] > '5') {
				*code = cli_misused(command,
				    "%s: --level '%s' is none of 3, 4 and 5",
				    command->name, optarg);
				return false;
			}
			out->level = (uint8_t)(optarg[0] - '0');
			break;
		case 'h':
			cli_help(command);
			return false;
		default: /* getopt_long() has said what is wrong */
			cli_tell(
			    "try '" CLI_PROGRAM " %s --help'", command->name);
			*code = CLI_USAGE;
			return false;
		}
	}
	*code = take_operands(command, argc - optind, argv + optind, out);
	if (*code == CLI_OK)
		*code = find_files(command, out);
	return *code == CLI_OK;
}
