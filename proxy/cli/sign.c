#include "cli/cli.h"

#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The whole text must be a number: strtoull() alone takes blanks and signs. */
static bool
read_ms(const char *text, uint64_t *out)
{
	unsigned long long value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	*out = value;
	return errno == 0 && *end == '\0';
}

static enum cli_exit
print_login(
    const struct credmap *map, const struct cli_options *o, uint64_t now_ms)
{
	const struct credential *c = credmap_by_label(map, o->operand);
	struct aliyun_login login;
	char text[CLI_TEXT_MAX];
	bool ok;

	if (c == NULL) {
		cli_say_no_device(text, o, map);
		cli_tell("%s", text);
		return CLI_FAILED;
	}
	if (o->timestamp != NULL && c->timestamp_mode != TIMESTAMP_NOW)
		cli_tell("%s sets its timestamp itself: --timestamp is not "
			 "used",
		    c->label);
	ok = credential_sign(
	    c, (enum transport)c->transports.order[0], now_ms, &login);
	if (ok)
		(void)printf("client_id=%s\nusername=%s\npassword=%s\n",
		    login.client_id, login.username, login.password);
	else
		cli_tell("%s:%d: the login of %s could not be signed",
		    c->table != NULL ? c->table : o->devices, c->line,
		    c->label);
	aliyun_login_wipe(&login);
	return ok ? CLI_OK : CLI_FAILED;
}

static enum cli_exit
sign(const struct cli_options *o)
{
	uint64_t now_ms = clock_wall_ms();
	struct settings *settings;
	struct credmap *map;
	enum cli_exit code;

	if (o->timestamp != NULL && !read_ms(o->timestamp, &now_ms))
		return cli_misused(&cli_sign,
		    "sign: --timestamp '%s' is no number of milliseconds",
		    o->timestamp);
	if (!cli_load(o, &settings, &map))
		return CLI_REFUSED;
	code = print_login(map, o, now_ms);
	credmap_unref(map);
	settings_unref(settings);
	return code;
}

static const struct option options[] = {
    CLI_OPTIONS,
    {"timestamp", required_argument, NULL, 't'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char help[] =
"Prints the login fields the proxy would send to the cloud for the device\n"
"with this label, one a line: client_id=..., username=..., password=...\n"
"The password is the signature; the device's secret is never printed. Whoever\n"
"has these lines can log in as the device while the cloud takes the\n"
"signature.\n"
"\n"
CLI_OPTIONS_HELP
"      --timestamp MS    sign for this time, milliseconds since 1970 UTC\n"
"                        (default: now)\n"
"\n"
"Exit codes: 0 printed; 1 no such device; 2 wrong usage;\n"
"3 a file was refused.\n";
/* clang-format on */

const struct cli_command cli_sign = {
    .name = "sign",
    .summary = "print the signed login of one device",
    .operand = "LABEL",
    .options = options,
    .help = help,
    .run = sign,
};
