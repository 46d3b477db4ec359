/* The commands "device encrypt" and "device decrypt". */
#include "cli/cli.h"
#include "cli/map_edit.h"
#include "cli/secret_input.h"
#include "settings/map_seal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the key ---- */

/* A passphrase that was typed, as a file without a name: from there it takes
   the way of any other key. */
struct typed {
	int fd; /* -1: none */
	size_t n;
	char path[40];
};

static void
typed_close(struct typed *t)
{
	static const char zeros[SECRET_MAX];

	if (t->fd < 0)
		return;
	(void)!pwrite(t->fd, zeros, t->n, 0);
	close(t->fd);
}

static bool
typed_open(struct typed *t, const struct secret *passphrase)
{
	t->n = passphrase->n;
	t->fd = memfd_create("key", MFD_CLOEXEC);
	(void)snprintf(t->path, sizeof(t->path), "/proc/self/fd/%d", t->fd);
	if (t->fd >= 0 && write(t->fd, passphrase->bytes, passphrase->n) ==
			      (ssize_t)passphrase->n)
		return true;
	cli_tell("the passphrase cannot be kept in memory");
	return false;
}

/* Asks, for a new one twice. Tells. */
static bool
ask(struct secret *passphrase, bool is_new)
{
	struct secret again = {.n = 0};
	bool ok = secret_input_ask("Passphrase: ", passphrase);

	if (ok && is_new) {
		ok = secret_input_ask("Once more: ", &again);
		if (ok && !secret_eq(passphrase,
			      (struct span){again.bytes, again.n})) {
			cli_tell("these were not the same");
			ok = false;
		}
		secret_wipe(&again);
	}
	return ok;
}

/* Whether proxy.ini names a key. What is wrong with it is told later. */
static bool
settings_have_key(const struct cli_options *o)
{
	struct complaints silent = {0};
	struct settings *settings = settings_load(o->settings, &silent);
	/* one that is wrong is not to be asked for */
	bool has = settings == NULL || settings->secrets_key_file[0] != '\0';

	settings_unref(settings);
	return has;
}

/* Sees to it that there is a key: that of the option, of the settings, or one
   that is typed. Tells. */
static bool
get_key(struct cli_options *o, struct typed *typed, bool is_new)
{
	struct secret passphrase = {.n = 0};
	bool ok;

	if (o->key_file != NULL || settings_have_key(o))
		return true;
	if (!secret_input_has_terminal()) {
		cli_tell("there is no key: set [secrets] key_file in "
			 "proxy.ini, or give --key-file FILE");
		return false;
	}
	ok = ask(&passphrase, is_new) && typed_open(typed, &passphrase);
	secret_wipe(&passphrase);
	o->key_file = typed->path;
	return ok;
}

/* ---- the map ---- */

static int
compare_operands(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those of the command line are in order. */
static bool
is_meant(void *arg, struct span label)
{
	const struct cli_options *o = arg;
	char text[CREDENTIAL_LABEL_MAX + 1];
	const char *key = text;

	if (o->operand_count == 0)
		return true;
	if (label.n > CREDENTIAL_LABEL_MAX)
		return false;
	(void)snprintf(
	    text, sizeof(text), "%.*s", (int)label.n, (const char *)label.p);
	return bsearch(&key, o->operands, (size_t)o->operand_count,
		   sizeof(*o->operands), compare_operands) != NULL;
}

static bool
labels_exist(const struct map_edit *e)
{
	bool all = true;

	for (int i = 0; i < e->o->operand_count; i++)
		if (map_edit_find(e, e->o->operands[i]) == MAP_TEXT_NONE)
			all = false;
	return all;
}

/* Changes the text. Tells. */
static enum cli_exit
change(struct map_edit *e, struct map_seal *m, bool seal)
{
	const char *why;
	bool ok;

	if (!labels_exist(e))
		return CLI_FAILED;
	m->key = sealed_key_read(e->settings->secrets_key_file, m->to, &why);
	if (m->key == NULL) {
		cli_tell("the key cannot be used: %s", why);
		return CLI_FAILED;
	}
	ok = seal ? map_seal(m) : map_unseal(m);
	sealed_key_free(m->key);
	if (ok)
		return CLI_OK;
	cli_tell("%s was not changed", e->o->devices);
	return CLI_REFUSED;
}

/* Whoever has all secrets sealed may think that these are too. */
static void
tell_of_tables(const struct map_edit *e)
{
	for (size_t i = 0; e->map != NULL && i < credmap_count(e->map); i++) {
		const struct credential *c = credmap_at(e->map, i);

		if (c->table != NULL) {
			cli_tell(
			    "tables such as %s are left as they are", c->table);
			return;
		}
	}
}

static enum cli_exit
change_map(struct cli_options *o, bool seal)
{
	struct complaints to = {.tell = cli_complaint};
	struct map_edit e;
	struct map_seal m = {
	    .path = o->devices, .to = &to, .is_meant = is_meant, .arg = o};
	enum cli_exit code;

	if (!map_edit_begin(&e, o, &code))
		return code;
	qsort(o->operands, (size_t)o->operand_count, sizeof(*o->operands),
	    compare_operands);
	m.text = e.text;
	code = change(&e, &m, seal);
	if (code == CLI_OK)
		code = map_edit_save(&e);
	if (code == CLI_OK && seal && o->operand_count == 0)
		tell_of_tables(&e);
	map_edit_end(&e);
	if (code != CLI_OK)
		return code;
	(void)printf("%zu %s, %zu %s already\n", m.changed,
	    seal ? "sealed" : "opened", m.unchanged, seal ? "sealed" : "plain");
	if (seal && o->key_file != NULL)
		cli_tell("the proxy needs this key to open them: put it into "
			 "a file, and name that in [secrets] key_file of "
			 "proxy.ini");
	return CLI_OK;
}

static enum cli_exit
with_key(const struct cli_options *given, bool seal)
{
	struct cli_options o = *given;
	struct typed typed = {.fd = -1};
	enum cli_exit code = CLI_FAILED;

	if (get_key(&o, &typed, seal))
		code = change_map(&o, seal);
	typed_close(&typed);
	return code;
}

static enum cli_exit
encrypt(const struct cli_options *o)
{
	return with_key(o, true);
}

static enum cli_exit
decrypt(const struct cli_options *o)
{
	return with_key(o, false);
}

static const struct option options[] = {
    CLI_OPTIONS,
    {"key-file", required_argument, NULL, 'k'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
#define KEY_HELP                                                             \
	"\n"                                                                 \
	CLI_OPTIONS_HELP                                                     \
	"      --key-file FILE   the key: 64 hexadecimal digits, as\n"       \
	"                        'openssl rand -hex 32' prints them, or a\n" \
	"                        passphrase (default: [secrets] key_file;\n" \
	"                        when there is none, a terminal is asked)\n" \
	"\n"                                                                 \
	"Exit codes: 0 done, also when there was nothing to do; 1 could not do\n" \
	"it; 2 wrong usage; 3 the map has errors, or the key is not the right\n" \
	"one: nothing was changed.\n"

static const char encrypt_help[] =
"Seals the secrets that stand in the map, device_secret and password, of the\n"
"devices with these labels or of all: they are encrypted, and the proxy opens\n"
"them with the key when it loads the map. The rest of the file stays as it is.\n"
"Secrets in files of their own and in tables are left alone.\n"
KEY_HELP;

static const char decrypt_help[] =
"The reverse of 'device encrypt': writes the secrets of the devices with these\n"
"labels, or of all, back into the map as plain text.\n"
KEY_HELP;
/* clang-format on */

const struct cli_command cli_device_encrypt = {
    .name = "device encrypt",
    .summary = "encrypt the secrets in the map",
    .operand = "LABEL...",
    .operand_is_optional = true,
    .operand_repeats = true,
    .options = options,
    .help = encrypt_help,
    .run = encrypt,
};

const struct cli_command cli_device_decrypt = {
    .name = "device decrypt",
    .summary = "write them back as plain text",
    .operand = "LABEL...",
    .operand_is_optional = true,
    .operand_repeats = true,
    .options = options,
    .help = decrypt_help,
    .run = decrypt,
};
