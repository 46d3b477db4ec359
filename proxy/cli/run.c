#include "cli/cli.h"
#include "server/server.h"
#include "server/watch.h"

#include <stddef.h>

struct watching {
	struct watch *watch;
	bool ok;
};

static void
on_file(void *arg, const char *path)
{
	struct watching *w = arg;

	w->ok = w->ok && watch_add(w->watch, path);
}

static enum cli_exit
run(const struct cli_options *o)
{
	struct server_files files = {o->settings, o->devices};
	struct watching watching = {watch_new(), true};
	struct settings *settings;
	struct credmap *map;
	struct fault why;

	if (watching.watch == NULL) {
		cli_tell("out of memory");
		return CLI_FAILED;
	}
	if (!cli_load_to_run(o, on_file, &watching, &settings, &map)) {
		watch_free(&watching.watch);
		return CLI_REFUSED;
	}
	if (!watching.ok)
		cli_tell("out of memory: not every file is watched");
	if (server_run(&files, settings, map, watching.watch, &why))
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
"Both files and all they name are watched, and read again when one changes;\n"
"when they have errors the old ones stay in use.\n"
"\n"
"A devices.ini that is not there is waited for: until it comes every device\n"
"is refused.\n"
"\n"
"SIGHUP   reads them again at once\n"
"SIGUSR1  opens [log] file again\n"
"SIGUSR2  starts the program file anew on the same listening sockets; when that\n"
"         one is ready, sessions here end one after the other, and their\n"
"         devices come back to it\n"
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
