#include "cli/cli.h"

#include "cli/admin_get.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* More than the proxy ever says. */
enum { STATUS_MAX = 10 * PATH_MAX };

/*
 * The value behind "key": in <json>, of which server/admin_pages.c says each
 * key once before the part that is looked through; NULL: it is not there. No
 * string can hold such a key: its quotes would be escaped.
 */
static const char *
find(const char *json, const char *key)
{
	char wanted[80];
	const char *at;

	(void)snprintf(wanted, sizeof(wanted), "\"%s\":", key);
	at = json != NULL ? strstr(json, wanted) : NULL;
	return at != NULL ? at + strlen(wanted) : NULL;
}

/* Prints a number, or a string without its quotes. Escaped quotes and
   backslashes become themselves; control characters stay escaped. */
static void
print_value(const char *json, const char *key)
{
	const char *at = find(json, key);

	if (at == NULL)
		at = "?";
	if (*at != '"') {
		(void)printf("%.*s", (int)strcspn(at, ",}"), at);
		return;
	}
	for (at++; *at != '"' && *at != '\0'; at++) {
		if (at[0] == '\\' && (at[1] == '"' || at[1] == '\\'))
			at++;
		(void)putchar(*at);
	}
}

/* <format> with a value of <json> for each "{key}". */
static void
print_line(const char *json, const char *format)
{
	char key[64];

	for (; *format != '\0'; format++) {
		size_t n = strcspn(format, "}");

		if (*format != '{' || n > sizeof(key)) {
			(void)putchar(*format);
			continue;
		}
		(void)snprintf(key, n, "%s", format + 1);
		print_value(json, key);
		format += n;
	}
}

static bool
is_refused(const char *json)
{
	const char *refused = find(json, "refused");

	return refused != NULL && strncmp(refused, "true", 4) == 0;
}

static void
show_refusal(const char *refusal)
{
	const char *line = find(refusal, "line");

	print_line(refusal,
	    "\nREFUSED since {since}: the files have changed, but are not in"
	    " use.\n{errors} error(s), the first:\n  {file}");
	print_line(refusal,
	    line != NULL && *line != '0' ? ":{line}: {text}\n" : ": {text}\n");
	(void)puts("Mend that, and it is read again (by SIGHUP at once);"
		   " '" CLI_PROGRAM " check' tells all.");
}

static void
show(const char *json)
{
	print_line(json,
	    CLI_PROGRAM " {version}, pid {pid}, since {started}"
			" ({uptime_seconds}s)\n"
			"connections: {connections}, by {workers} worker(s)\n");
	print_line(find(json, "map"),
	    "map: {file}\n"
	    "  {devices} device(s), in use since {loaded}; reloads: {reloads},"
	    " refused: {reloads_refused}\n");
	if (is_refused(json))
		show_refusal(find(json, "refusal"));
}

/* What the settings say, or the default: settings with errors are just what
   may have been refused. False: there is none. */
static bool
find_socket(const struct cli_options *o, char out[static SETTING_TEXT_MAX])
{
	struct complaints nobody = {0};
	struct settings *settings = settings_load(o->settings, &nobody);
	bool is_wanted = settings == NULL || settings_want_admin(settings);

	if (settings == NULL)
		cli_tell("%s has errors: the default socket is asked; name"
			 " another by --socket",
		    o->settings != NULL ? o->settings : "the environment");
	if (!is_wanted)
		cli_tell("[admin] socket = none: this proxy cannot be asked");
	(void)snprintf(out, SETTING_TEXT_MAX, "%s",
	    settings != NULL ? settings->admin_socket : ADMIN_SOCKET_DEFAULT);
	settings_unref(settings);
	return is_wanted;
}

static enum cli_exit
status(const struct cli_options *o)
{
	char path[SETTING_TEXT_MAX];
	char json[STATUS_MAX];
	struct fault why;

	if (o->socket == NULL && !find_socket(o, path))
		return CLI_FAILED;
	if (!admin_get(o->socket != NULL ? o->socket : path, "/status", json,
		sizeof(json), &why)) {
		cli_tell("%s", why.text);
		return CLI_FAILED;
	}
	if (o->json)
		(void)fputs(json, stdout);
	else
		show(json);
	return is_refused(json) ? CLI_REFUSED : CLI_OK;
}

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"json", no_argument, NULL, 'j'},
    {"socket", required_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char help[] =
"Asks the running proxy how it is: since when it runs, how many devices are\n"
"connected, which map is in use, and whether a newer one was refused and why.\n"
"It has to be started as the proxy's user, or as root.\n"
"\n"
"      --config FILE     where [admin] socket stands\n"
"                        (default: " CLI_SETTINGS_FILE ")\n"
"      --socket PATH     the socket, whatever that file says\n"
"      --json            print what the proxy answers, as JSON\n"
"  -h, --help            print this help\n"
"\n"
"Exit codes: 0 all is well; 1 the proxy cannot be asked; 2 wrong usage;\n"
"3 files were refused, and what was in use before still is.\n";
/* clang-format on */

const struct cli_command cli_status = {
    .name = "status",
    .summary = "ask the running proxy how it is",
    .options = options,
    .help = help,
    .run = status,
};
