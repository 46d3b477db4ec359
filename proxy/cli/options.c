#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
cli_help(const struct cli_command *command)
{
	const char *operand = command->operand != NULL ? command->operand : "";

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
take_operands(
    const struct cli_command *command, int n, char **given, const char **out)
{
	int wanted = command->operand != NULL ? 1 : 0;

	if (n < wanted && !command->operand_is_optional)
		return cli_misused(command, "%s: %s is missing", command->name,
		    command->operand);
	if (n > wanted)
		return cli_misused(command, "%s: unexpected argument '%s'",
		    command->name, given[wanted]);
	*out = n == 1 ? given[0] : NULL;
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
	*code =
	    take_operands(command, argc - optind, argv + optind, &out->operand);
	if (*code == CLI_OK)
		*code = find_files(command, out);
	return *code == CLI_OK;
}
