/* The commands that have the running proxy do something, by its admin
   endpoint (server/admin.h). */
#include "cli/cli.h"

#include "cli/admin_get.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TARGET_MAX = 640 };

/* Asks, and prints what it answers. <conflict>: what it means when the proxy
   says that things are not so. */
static enum cli_exit
ask(const struct cli_options *o, const char *method, const char *target,
    enum cli_exit conflict)
{
	char path[SETTING_TEXT_MAX];
	struct admin_answer answer;
	struct fault why;
	int status;

	if (!admin_find_socket(o, path))
		return CLI_FAILED;
	if (!admin_ask(path, method, target, &answer, &why)) {
		cli_tell("%s", why.text);
		return CLI_FAILED;
	}
	status = answer.status;
	if (status == 200)
		(void)fputs(answer.body, stdout);
	else
		cli_tell("%.*s", (int)strcspn(answer.body, "\n"), answer.body);
	free(answer.body);
	if (status == 200)
		return CLI_OK;
	return status == 409 ? conflict : CLI_FAILED;
}

/* <target> with <value> behind it. */
static enum cli_exit
ask_with(const struct cli_options *o, const char *target, const char *value)
{
	char whole[TARGET_MAX];
	size_t n = strlen(target);

	strcpy(whole, target);
	if (admin_encode(value, whole + n, sizeof(whole) - n))
		return ask(o, "POST", whole, CLI_FAILED);
	cli_tell("'%s' is too long", value);
	return CLI_FAILED;
}

static enum cli_exit
kick(const struct cli_options *o)
{
	return ask_with(o, "/kick?label=", o->operand);
}

static enum cli_exit
reload(const struct cli_options *o)
{
	return ask(o, "POST", "/reload", CLI_REFUSED);
}

static enum cli_exit
drain(const struct cli_options *o)
{
	return ask(o, "POST", "/drain", CLI_FAILED);
}

static enum cli_exit
set_log_level(const struct cli_options *o)
{
	char target[TARGET_MAX];
	size_t n;

	if (o->operand_count > 2)
		return cli_misused(
		    &cli_log, "log: unexpected argument '%s'", o->operands[2]);
	if (o->operand_count < 2)
		return ask_with(o, "/log?level=", o->operand);
	n = (size_t)snprintf(target, sizeof(target), "/log?level=");
	if (!admin_encode(o->operand, target + n, TARGET_MAX / 2 - n)) {
		cli_tell("'%s' is too long", o->operand);
		return CLI_FAILED;
	}
	strcat(target, "&label=");
	return ask_with(o, target, o->operands[1]);
}

static enum cli_exit
healthcheck(const struct cli_options *o)
{
	return ask(o, "GET", o->ready ? "/readyz" : "/healthz", CLI_FAILED);
}

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"socket", required_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

static const struct option health_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"ready", no_argument, NULL, 'R'},
    {"socket", required_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
#define OPTIONS_HELP                                                         \
"      --config FILE     where [admin] socket stands\n"                      \
"                        (default: " CLI_SETTINGS_FILE ")\n"                 \
"      --socket PATH     the socket, whatever that file says\n"              \
"  -h, --help            print this help\n"                                  \
"\n"                                                                         \
"Exit codes: 0 done; 1 it could not be done; 2 wrong usage.\n"
#define WHO "It has to be started as the proxy's user, or as root.\n\n"

static const char kick_help[] =
"Ends the session of a device that is connected to the running proxy, or held.\n"
"The device may connect again at once.\n"
WHO OPTIONS_HELP;

static const char reload_help[] =
"Has the running proxy read its files again, as by SIGHUP, and tells how that\n"
"went. What is refused changes nothing; the exit code is 3 then.\n"
WHO OPTIONS_HELP;

static const char drain_help[] =
"Has the running proxy end all sessions in order, and then itself, as by\n"
"SIGTERM.\n"
WHO OPTIONS_HELP;

static const char log_help[] =
"Sets how much the running proxy logs: error, warning, notice, info or debug,\n"
"until it reads its files again. With LABEL only of that device, until the LEVEL\n"
"default is set for it.\n"
WHO OPTIONS_HELP;

static const char health_help[] =
"Asks whether the running proxy lives: each of its workers has to answer. For\n"
"supervisors and containers.\n"
"\n"
"      --ready           whether it lets devices in: it has a devices.ini, the\n"
"                        cloud can be reached, as far as dials have told,\n"
"                        and the proxy is not about to end\n"
OPTIONS_HELP;
/* clang-format on */

const struct cli_command cli_kick = {
    .name = "kick",
    .summary = "end the session of a device",
    .operand = "LABEL",
    .options = options,
    .help = kick_help,
    .run = kick,
};

const struct cli_command cli_reload = {
    .name = "reload",
    .summary = "have the running proxy read its files again",
    .options = options,
    .help = reload_help,
    .run = reload,
};

const struct cli_command cli_drain = {
    .name = "drain",
    .summary = "end the running proxy, and all sessions in order",
    .options = options,
    .help = drain_help,
    .run = drain,
};

const struct cli_command cli_log = {
    .name = "log",
    .summary = "set how much the running proxy logs",
    .operand = "LEVEL [LABEL]",
    .operand_repeats = true,
    .options = options,
    .help = log_help,
    .run = set_log_level,
};

const struct cli_command cli_healthcheck = {
    .name = "healthcheck",
    .summary = "ask whether the running proxy lives",
    .options = health_options,
    .help = health_help,
    .run = healthcheck,
};
