/* The packets of one device, as the running proxy sees them (server/admin.h).
 */
#include "cli/cli.h"

#include "cli/admin_get.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TARGET_MAX = 640 };

static bool
show(void *arg, const char *text, size_t n)
{
	bool *is_written = arg;

	*is_written = fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;
	return *is_written;
}

static enum cli_exit
trace(const struct cli_options *o)
{
	char path[SETTING_TEXT_MAX];
	char whole[TARGET_MAX] = {0};
	bool is_written = true;
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
	if (!admin_follow(path, whole, show, &is_written, &why)) {
		cli_tell("%s", why.text);
		return CLI_FAILED;
	}
	if (is_written)
		return CLI_OK;
	cli_tell("cannot write: %s", strerror(errno));
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
"Exit codes: 0 the proxy has ended; 1 it could not be done; 2 wrong usage.\n";
/* clang-format on */

const struct cli_command cli_trace = {
    .name = "trace",
    .summary = "show the packets of a device as they pass",
    .operand = "LABEL",
    .options = options,
    .help = trace_help,
    .run = trace,
};
