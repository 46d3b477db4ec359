#include "cli/cli.h"

#include "cli/admin_get.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TARGET_MAX = 512 };

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

/* Prints a number, or a string without its quotes, and how many characters that
   were. Escaped quotes and backslashes become themselves; control characters
   stay escaped. */
static int
print_value(const char *json, const char *key)
{
	const char *at = find(json, key);
	int n = 0;

	if (at == NULL)
		at = "?";
	if (strncmp(at, "null", 4) == 0)
		at = "-";
	if (*at != '"')
		return printf("%.*s", (int)strcspn(at, ",}"), at);
	for (at++; *at != '"' && *at != '\0'; at++, n++) {
		if (at[0] == '\\' && (at[1] == '"' || at[1] == '\\'))
			at++;
		(void)putchar(*at);
	}
	return n;
}

/* The same in a column that is <width> wide. */
static void
print_padded(const char *json, const char *key, int width)
{
	int n = print_value(json, key);

	(void)printf("%*s", n < width ? width - n : 1, "");
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
		(void)print_value(json, key);
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

/* ---- devices ---- */

/* A device is an object of its own, from this on up to the next one; no string
   can hold that, since its quotes would be escaped. */
#define DEVICE_BEGINS "{\"label\":"

/* Cuts the next device off <*at>; NULL: there are no more. */
static char *
take_device(char **at)
{
	char *device = *at != NULL ? strstr(*at, DEVICE_BEGINS) : NULL;
	char *next;

	if (device == NULL)
		return NULL;
	next = strstr(device + 1, DEVICE_BEGINS);
	if (next != NULL)
		next[-1] = '\0';
	*at = next;
	return device;
}

/* Whether the string behind "key" is <value>. */
static bool
says(const char *json, const char *key, const char *value)
{
	const char *at = find(json, key);
	size_t n = strlen(value);

	return at != NULL && at[0] == '"' && strncmp(at + 1, value, n) == 0 &&
	       at[1 + n] == '"';
}

/* Whether the device has not connected since the proxy began. */
static bool
never_here(const char *device)
{
	return says(device, "state", "offline") &&
	       says(device, "reason", "none");
}

static void
print_row(const char *device)
{
	print_padded(device, "label", 28);
	print_padded(device, "state", 10);
	print_padded(device, "since", 22);
	print_padded(device, "peer", 24);
	if (never_here(device))
		print_line(device, "has not been here\n");
	else if (says(device, "state", "offline"))
		print_line(device, "{reason}\n");
	else if (says(device, "state", "online"))
		print_line(device, "up {up_packets} down {down_packets}\n");
	else if (says(device, "state", "dialling"))
		print_line(device, "waits in {link}\n");
	else
		print_line(device, "{reason}, unacknowledged {unacknowledged},"
				   " queued {queued}\n");
}

static void
show_devices(char *json)
{
	char *device;

	print_line(find(json, "sessions"),
	    "sessions: {online} online, {held} held, {dialling} dialling,"
	    " {leaving} leaving");
	print_line(json, "; {offline} device(s) offline\n");
	if (strstr(json, DEVICE_BEGINS) == NULL)
		return;
	(void)printf("\n%-27s %-9s %-21s %-23s %s\n", "DEVICE", "STATE",
	    "SINCE", "FROM", "DETAILS");
	while ((device = take_device(&json)) != NULL)
		print_row(device);
}

static void
show_one(char *device)
{
	print_line(device, never_here(device)
			       ? "{label}: {state}, has not been here\n"
			       : "{label}: {state} since {since}\n");
	print_line(device, "  identity: {product_key} {device_name}\n");
	if (!says(device, "peer", ""))
		print_line(device, "  from: {peer}\n");
	if (find(device, "last_reason") != NULL)
		print_line(
		    device, "  the last end: {last_reason} ({last_detail})\n");
	else if (!says(device, "reason", "none"))
		print_line(
		    device, says(device, "state", "held")
				? "  held because of: {reason} ({detail})\n"
				: "  the last end: {reason} ({detail})\n");
	if (says(device, "state", "offline"))
		return;
	print_line(device,
	    "  cloud: {host}:{port} by {transport}, MQTT level {level},"
	    " link {link}\n"
	    "  up: {up_packets} packets, {up_bytes} bytes;"
	    " down: {down_packets} packets, {down_bytes} bytes\n"
	    "  held {holds} time(s); unacknowledged: {unacknowledged}"
	    " ({unacknowledged_bytes} bytes); queued: {queued}\n"
	    "  not taken yet: by the cloud {to_cloud_bytes} bytes, by the"
	    " device {to_device_bytes}\n");
}

/* ---- who was not let in ---- */

#define KNOCK_BEGINS "{\"client_id\":"

static void
show_turned_away(const char *json)
{
	const char *at = json != NULL ? strstr(json, KNOCK_BEGINS) : NULL;

	if (at != NULL)
		(void)puts("\nnot let in:");
	for (; at != NULL; at = strstr(at + 1, KNOCK_BEGINS))
		print_line(at,
		    "  client id \"{client_id}\" from {address}: {why},"
		    " {times} time(s), last {last}\n");
}

/* ---- the command ---- */

static bool
write_target(const struct cli_options *o, char *out, size_t size)
{
	static const char path[] = "/status?label=";

	(void)snprintf(out, size, "%s", o->operand != NULL ? path : "/status");
	return o->operand == NULL ||
	       admin_encode(
		   o->operand, out + strlen(path), size - strlen(path));
}

/* <json> is cut into pieces. */
static void
show_all(char *json)
{
	char *turned_away = strstr(json, ",\"turned_away\":[");

	show(json);
	if (turned_away != NULL)
		*turned_away++ = '\0';
	show_devices(json);
	show_turned_away(turned_away);
}

static enum cli_exit
ask_once(const struct cli_options *o, const char *path, const char *target)
{
	struct fault why;
	enum cli_exit code;
	char *json, *device;

	if (!admin_get(path, target, &json, &why)) {
		cli_tell("%s", why.text);
		return CLI_FAILED;
	}
	code = is_refused(json) ? CLI_REFUSED : CLI_OK;
	device = json;
	if (o->json)
		(void)fputs(json, stdout);
	else if (o->operand == NULL)
		show_all(json);
	else if ((device = take_device(&device)) != NULL)
		show_one(device);
	free(json);
	return code;
}

/* Until it cannot be asked any more, or is ended by a signal. */
static enum cli_exit
watch(const struct cli_options *o, const char *path, const char *target)
{
	const struct timespec pause = {.tv_sec = 2};
	enum cli_exit code;

	do {
		if (!o->json && isatty(STDOUT_FILENO))
			(void)fputs("\033[H\033[2J", stdout);
		code = ask_once(o, path, target);
		if (fflush(stdout) != 0)
			return CLI_FAILED;
	} while (code != CLI_FAILED && nanosleep(&pause, NULL) == 0);
	return code;
}

static enum cli_exit
status(const struct cli_options *o)
{
	char path[SETTING_TEXT_MAX];
	char target[TARGET_MAX];

	if (!admin_find_socket(o, path))
		return CLI_FAILED;
	if (!write_target(o, target, sizeof(target))) {
		cli_tell("that label is too long");
		return CLI_FAILED;
	}
	return o->watch ? watch(o, path, target) : ask_once(o, path, target);
}

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"json", no_argument, NULL, 'j'},
    {"socket", required_argument, NULL, 's'},
    {"watch", no_argument, NULL, 'w'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char help[] =
"Asks the running proxy how it is: since when it runs, which map is in use,\n"
"whether a newer one was refused and why, and for each device whether it is\n"
"online, held since when (its link to the cloud is lost), or offline and why;\n"
"and who was not let in. With LABEL it tells all about that device.\n"
"It has to be started as the proxy's user, or as root.\n"
"\n"
"      --config FILE     where [admin] socket stands\n"
"                        (default: " CLI_SETTINGS_FILE ")\n"
"      --socket PATH     the socket, whatever that file says\n"
"      --json            print what the proxy answers, as JSON\n"
"      --watch           again and again, every 2 seconds\n"
"  -h, --help            print this help\n"
"\n"
"Exit codes: 0 all is well; 1 the proxy cannot be asked; 2 wrong usage;\n"
"3 files were refused, and what was in use before still is.\n";
/* clang-format on */

const struct cli_command cli_status = {
    .name = "status",
    .summary = "ask the running proxy how it is",
    .operand = "LABEL",
    .operand_is_optional = true,
    .options = options,
    .help = help,
    .run = status,
};
