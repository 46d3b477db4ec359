/* The packets of one device, as the running proxy sees them (server/admin.h).
 */
#include "cli/cli.h"

#include "cli/admin_get.h"
#include "server/admin_trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TARGET_MAX = 640, LAST_MAX = 160 /* a last line fits */ };

struct shown {
	bool is_written;
	char last[LAST_MAX + 1]; /* the end of it, a string */
	size_t last_n;
};

static void
keep_last(struct shown *s, const char *text, size_t n)
{
	size_t kept;

	if (n > LAST_MAX) {
		text += n - LAST_MAX;
		n = LAST_MAX;
	}
	kept = s->last_n < LAST_MAX - n ? s->last_n : LAST_MAX - n;
	memmove(s->last, s->last + s->last_n - kept, kept);
	memcpy(s->last + kept, text, n);
	s->last_n = kept + n;
	s->last[s->last_n] = '\0';
}

static bool
show(void *arg, const char *text, size_t n)
{
	struct shown *s = arg;

	keep_last(s, text, n);
	s->is_written = fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;
	return s->is_written;
}

static enum cli_exit
trace(const struct cli_options *o)
{
	char path[SETTING_TEXT_MAX];
	char whole[TARGET_MAX] = {0};
	struct shown shown = {.is_written = true};
	struct fault why;
	size_t n;

	n = (size_t)snprintf(whole, sizeof(whole),
	    "/trace?payload=%s&label=", o->payload ? "yes" : "no");
	if (!admin_encode(o->operand, whole + n, sizeof(whole) - n)) {
		cli_tell("'%s' is too long", o->operand);
		return CLI_FAILED;
	}
	if (!admin_find_socket(o, path))
		return CLI_FAILED;
	if (!admin_follow(path, whole, show, &shown, &why))
		cli_tell("%s", why.text);
	else if (!shown.is_written)
		cli_tell("cannot write: %s", strerror(errno));
	else if (strstr(shown.last, ADMIN_TRACE_END) == NULL)
		cli_tell("it was broken off: the proxy was ended by force, or"
			 " nothing of the trace was taken for a minute");
	else
		return CLI_OK;
	return CLI_FAILED;
}

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"payload", no_argument, NULL, 'L'},
    {"socket", required_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char trace_help[] =
"Shows each MQTT packet of a device of the running proxy, a line each: as the\n"
"device has sent it and as it went to the cloud, as the cloud has sent it and as\n"
"the device got it. It waits for a device that is not connected, and goes on when\n"
"that connects again, until Ctrl-C or the proxy's end. The device does not wait\n"
"for whoever reads this: what comes too fast is left out, and counted.\n"
"User names and passwords are never shown.\n"
"It has to be started as the proxy's user, or as root.\n"
"\n"
"      --payload         the first 128 bytes of each message too\n"
"      --config FILE     where [admin] socket stands\n"
"                        (default: " CLI_SETTINGS_FILE ")\n"
"      --socket PATH     the socket, whatever that file says\n"
"  -h, --help            print this help\n"
"\n"
"Exit codes: 0 the proxy has ended it; 1 it could not be done, or was broken off;\n"
"2 wrong usage.\n";
/* clang-format on */

const struct cli_command cli_trace = {
    .name = "trace",
    .summary = "show the packets of a device as they pass",
    .operand = "LABEL",
    .options = options,
    .help = trace_help,
    .run = trace,
};
