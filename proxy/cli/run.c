#include "cli/cli.h"
#include "server/server.h"

#include <stddef.h>

static enum cli_exit
run(const struct cli_options *o)
{
	struct server_files files = {o->settings, o->devices};
	struct settings *settings;
	struct credmap *map;
	struct fault why;

	if (!cli_load(o, &settings, &map))
		return CLI_REFUSED;
	if (server_run(&files, settings, map, &why))
		return CLI_OK;
	cli_tell("%s", why.text);
	return why.why == R_BAD_CONFIG ? CLI_REFUSED : CLI_FAILED;
}

static const struct option options[] = {CLI_OPTIONS, {NULL, 0, NULL, 0}};

/* clang-format off */
static const char help[] =
"Runs the proxy in the foreground. Its log goes to standard error; the line\n"
"with event=ready says that devices may connect, and where.\n"
"\n"
"SIGHUP   reads both files again; when they have errors the old ones stay\n"
"SIGTERM, SIGINT\n"
"         end all sessions in order, then the proxy; a second one at once\n"
"\n"
CLI_OPTIONS_HELP
"\n"
"Exit codes: 0 ended by a signal; 1 could not start; 2 wrong usage;\n"
"3 a file was refused.\n";
/* clang-format on */

const struct cli_command cli_run = {
    .name = "run",
    .summary = "run the proxy",
    .options = options,
    .help = help,
    .run = run,
};
