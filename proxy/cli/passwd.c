#include "cli/cli.h"

#include "cli/secret_input.h"
#include "settings/password_hash.h"
#include "settings/value.h"

#include <stdio.h>

/* Twice, since nobody sees what is typed. */
static bool
ask_twice(struct secret *out)
{
	struct secret again = {0};
	bool ok;

	if (!secret_input_ask("Password: ", out) ||
	    !secret_input_ask("The same again: ", &again))
		return false;
	ok = secret_eq(&again, (struct span){out->bytes, out->n});
	secret_wipe(&again);
	if (!ok)
		cli_tell("these are two different passwords");
	return ok;
}

/* False after telling why. */
static bool
get_password(struct secret *out)
{
	bool ok = secret_input_has_terminal() ? ask_twice(out)
					      : secret_input_read(out);

	if (ok && out->n == 0)
		cli_tell("an empty password is none");
	return ok && out->n > 0;
}

static bool
print_hash(const struct secret *password, uint32_t iterations)
{
	char text[PASSWORD_HASH_TEXT];
	struct password_hash hash;
	bool ok = password_hash_make(password, iterations, &hash);

	if (ok) {
		password_hash_write(&hash, text);
		(void)printf("password_hash = %s\n", text);
	} else {
		cli_tell("out of memory or randomness");
	}
	secret_wipe_bytes(&hash, sizeof(hash));
	return ok;
}

static enum cli_exit
passwd(const struct cli_options *o)
{
	uint64_t iterations = PASSWORD_ITERATIONS;
	struct secret password = {0};
	bool ok;

	if (o->iterations != NULL &&
	    (!value_read(o->iterations, VALUE_COUNT, &iterations) ||
		iterations < PASSWORD_ITERATIONS_MIN ||
		iterations > PASSWORD_ITERATIONS_MAX))
		return cli_misused(&cli_passwd,
		    "passwd: --iterations '%s' is not a number from %d to %d",
		    o->iterations, PASSWORD_ITERATIONS_MIN,
		    PASSWORD_ITERATIONS_MAX);
	ok = get_password(&password) &&
	     print_hash(&password, (uint32_t)iterations);
	secret_wipe(&password);
	return ok ? CLI_OK : CLI_FAILED;
}

static const struct option options[] = {
    {"help", no_argument, NULL, 'h'},
    {"iterations", required_argument, NULL, 'r'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char help[] =
"Asks for a local password, twice and without showing it, and prints the line\n"
"that goes into the device's section of the credential map in place of a\n"
"password: its hash, from which nobody can read it back. When standard input is\n"
"no terminal, its first line is the password.\n"
"\n"
"  -h, --help            print this help\n"
"      --iterations N    how often to hash, 1000 to 2000000 (default: 600000);\n"
"                        the proxy does the same for each device that connects\n"
"                        for the first time: a quarter of a second on a fast\n"
"                        CPU\n"
"\n"
"Exit codes: 0 printed; 1 there was no password, or two different ones;\n"
"2 wrong usage.\n";
/* clang-format on */

const struct cli_command cli_passwd = {
    .name = "passwd",
    .summary = "hash a local password for the credential map",
    .options = options,
    .needs_no_files = true,
    .help = help,
    .run = passwd,
};
