#include "cli/cli.h"

#include "base/escape.h"
#include "cli/map_edit.h"
#include "cli/secret_input.h"
#include "settings/ini.h"
#include "settings/secret_file.h"
#include "settings/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A key of the map by this name; "" and NULL are none. */
static bool
is_key(const char *name)
{
#define X(key, in_product, def, what) #key,
	static const char *const keys[] = {CREDMAP_KEYS(X)};
#undef X

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i], name) == 0)
			return true;
	return credmap_is_topic_key(name);
}

/* Takes "key=value" apart. False after telling why. */
static bool
take_pair(const struct cli_command *command, const char *text,
    char key[static INI_NAME_BYTES + 1], const char **value)
{
	size_t n = strcspn(text, "=");

	if (text[n] == '\0' || n > INI_NAME_BYTES) {
		/* it may be a secret that somebody wrote there */
		(void)cli_misused(command,
		    "%s: an argument behind the label is no KEY=VALUE",
		    command->name);
		return false;
	}
	memcpy(key, text, n);
	key[n] = '\0';
	*value = text + n + 1;
	if (strcmp(key, "device_secret") == 0 || strcmp(key, "password") == 0) {
		(void)cli_misused(command,
		    "%s: %s is not taken from an argument, where every user of "
		    "this machine can see it: use %s",
		    command->name, key,
		    key[0] == 'd' ? "--secret-file, --secret-stdin or the "
				    "prompt"
				  : "password_file=PATH");
		return false;
	}
	if (is_key(key))
		return true;
	(void)cli_misused(command, "%s: there is no key %s", command->name,
	    value_name_shown(key));
	return false;
}

/* Whether the arguments say themselves where the secret is. */
static bool
names_secret(const struct cli_options *o)
{
	for (int i = 1; i < o->operand_count; i++)
		if (strncmp(o->operands[i], "device_secret",
			strlen("device_secret")) == 0)
			return true;
	return false;
}

static bool
read_secret_file(const char *path, struct secret *out)
{
	const struct complaints nobody = {0};
	const char *why;

	/* relative to where we are */
	if (secret_file_read("", path, &nobody, out, &why))
		return true;
	cli_tell("%s: %s", path, why);
	return false;
}

/* Gets the secret from where the options say. False after telling why. */
static bool
get_secret(const struct cli_command *command, const struct cli_options *o,
    struct secret *out, enum cli_exit *code)
{
	char what[CREDENTIAL_LABEL_MAX + 32], label[CREDENTIAL_LABEL_MAX + 8];

	*code = CLI_FAILED;
	if (o->secret_file != NULL)
		return read_secret_file(o->secret_file, out);
	if (o->secret_stdin)
		return secret_input_read(out);
	if (!secret_input_has_terminal()) {
		*code = cli_misused(command,
		    "%s: there is no terminal to ask for the secret: use "
		    "--secret-file or --secret-stdin",
		    command->name);
		return false;
	}
	(void)snprintf(what, sizeof(what), "DeviceSecret of %s: ",
	    escape(label, sizeof(label), span_of_string(o->operand)));
	return secret_input_ask(what, out);
}

static bool
set_pairs(const struct cli_command *command, struct map_edit *e, size_t head)
{
	char key[INI_NAME_BYTES + 1];
	const char *value;

	for (int i = 1; i < e->o->operand_count; i++)
		if (!take_pair(command, e->o->operands[i], key, &value) ||
		    !map_edit_set(e, head, key, span_of_string(value)))
			return false;
	return true;
}

static bool
set_secret(struct map_edit *e, size_t head, const struct secret *secret)
{
	return secret == NULL || map_edit_set(e, head, "device_secret",
				     (struct span){secret->bytes, secret->n});
}

/* Whether all of the arguments can be used, before anybody is asked for a
   secret. */
static bool
check_arguments(const struct cli_command *command, const struct cli_options *o)
{
	char key[INI_NAME_BYTES + 1];
	const char *value;
	int sources =
	    o->secret_prompt + o->secret_stdin + (o->secret_file != NULL);

	for (int i = 1; i < o->operand_count; i++)
		if (!take_pair(command, o->operands[i], key, &value))
			return false;
	for (int i = 0; i < o->unset_count; i++) {
		if (is_key(o->unset[i]))
			continue;
		(void)cli_misused(command, "%s: there is no key %s",
		    command->name, value_name_shown(o->unset[i]));
		return false;
	}
	if (sources + names_secret(o) <= 1)
		return true;
	(void)cli_misused(command,
	    "%s: the secret can come from one place only", command->name);
	return false;
}

static bool
add_section(struct map_edit *e, const struct secret *secret)
{
	size_t head = map_edit_add(e, e->o->operand);

	return head != MAP_TEXT_NONE && set_pairs(&cli_device_add, e, head) &&
	       set_secret(e, head, secret);
}

static bool
change_section(struct map_edit *e, const struct secret *secret)
{
	size_t head = map_edit_find(e, e->o->operand);

	if (head == MAP_TEXT_NONE)
		return false;
	for (int i = 0; i < e->o->unset_count; i++)
		if (!map_text_unset(e->text, head, e->o->unset[i]))
			cli_tell("%s has no %s of its own", e->o->operand,
			    e->o->unset[i]);
	return set_pairs(&cli_device_set, e, head) &&
	       set_secret(e, head, secret);
}

/* <secret> NULL: it stays. */
static enum cli_exit
edit(const struct cli_options *o, const struct secret *secret,
    bool (*change)(struct map_edit *e, const struct secret *secret))
{
	struct map_edit e;
	enum cli_exit code;

	if (change == add_section ? !map_edit_begin_new(&e, o, &code)
				  : !map_edit_begin(&e, o, &code))
		return code;
	code = change(&e, secret) ? map_edit_save(&e) : CLI_FAILED;
	map_edit_end(&e);
	return code;
}

static enum cli_exit
edit_with_secret(const struct cli_command *command, const struct cli_options *o,
    bool has_secret,
    bool (*change)(struct map_edit *e, const struct secret *secret))
{
	struct secret secret = {.n = 0};
	enum cli_exit code = CLI_OK;

	if (!check_arguments(command, o))
		return CLI_USAGE;
	if (!has_secret || get_secret(command, o, &secret, &code))
		code = edit(o, has_secret ? &secret : NULL, change);
	secret_wipe(&secret);
	return code;
}

static enum cli_exit
add(const struct cli_options *o)
{
	return edit_with_secret(
	    &cli_device_add, o, !names_secret(o), add_section);
}

static enum cli_exit
set(const struct cli_options *o)
{
	bool has_secret =
	    o->secret_prompt || o->secret_stdin || o->secret_file != NULL;

	if (o->operand_count == 1 && o->unset_count == 0 && !has_secret)
		return cli_misused(&cli_device_set,
		    "%s: nothing to change was given", cli_device_set.name);
	return edit_with_secret(&cli_device_set, o, has_secret, change_section);
}

static int
compare_lines(const void *a, const void *b)
{
	const size_t *i = a, *j = b;

	return (*i > *j) - (*i < *j);
}

/* Finds all of them before any goes, and takes the last one out first: lines
   before it stay where they are. */
static bool
remove_found(struct map_edit *e, size_t *heads, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		heads[i] = map_edit_find(e, e->o->operands[i]);
		if (heads[i] == MAP_TEXT_NONE)
			return false;
	}
	qsort(heads, count, sizeof(*heads), compare_lines);
	for (size_t i = count; i-- > 0;)
		if (i + 1 == count || heads[i] != heads[i + 1])
			map_text_remove(e->text, heads[i]);
	return true;
}

static bool
remove_sections(struct map_edit *e, const struct secret *secret)
{
	size_t count = (size_t)e->o->operand_count;
	size_t *heads = calloc(count, sizeof(*heads));
	bool ok = false;

	(void)secret;
	if (heads != NULL)
		ok = remove_found(e, heads, count);
	else
		cli_tell("out of memory");
	free(heads);
	return ok;
}

static enum cli_exit
remove_devices(const struct cli_options *o)
{
	return edit(o, NULL, remove_sections);
}

#define SECRET_OPTIONS                                                         \
	{"secret-file", required_argument, NULL, 'F'},                         \
	{                                                                      \
		"secret-stdin", no_argument, NULL, 'S'                         \
	}

static const struct option add_options[] = {
    CLI_OPTIONS, SECRET_OPTIONS, {NULL, 0, NULL, 0}};

static const struct option set_options[] = {
    CLI_OPTIONS,
    SECRET_OPTIONS,
    {"secret", no_argument, NULL, 'P'},
    {"unset", required_argument, NULL, 'U'},
    {NULL, 0, NULL, 0},
};

static const struct option remove_options[] = {CLI_OPTIONS, {NULL, 0, NULL, 0}};

/* clang-format off */
#define SECRET_HELP \
"      --secret-file FILE\n" \
"                        take the DeviceSecret from a file, into the map\n" \
"      --secret-stdin    take it from standard input\n"

#define EXIT_HELP \
"\n" \
"Exit codes: 0 changed, or it was like that already; 1 could not do it;\n" \
"2 wrong usage; 3 a file was refused: with this change the map could not be\n" \
"loaded, and nothing was changed.\n"

static const char add_help[] =
"Adds [device:LABEL] at the end of the credential map, with these keys; a map\n"
"that is not there is made, for its owner only (mode 600):\n"
"\n"
"  device add pump-8 product_key=a1B2c3D4e5F device_name=pump_8\n"
"\n"
"The DeviceSecret is asked for, without echo. It is never an argument, since\n"
"every user of the machine can see those. device_secret_file=PATH says where it\n"
"stands in a file of its own.\n"
"\n"
CLI_OPTIONS_HELP
SECRET_HELP
EXIT_HELP;

static const char set_help[] =
"Changes keys of [device:LABEL] in the credential map, or adds them:\n"
"\n"
"  device set pump-8 enabled=no\n"
"\n"
"A new secret takes the place of device_secret_file, and the other way round.\n"
"\n"
CLI_OPTIONS_HELP
"      --unset KEY       take this key out; may be given several times\n"
"      --secret          ask for a new DeviceSecret, without echo\n"
SECRET_HELP
EXIT_HELP;

static const char remove_help[] =
"Takes the sections [device:LABEL] out of the credential map, with their own\n"
"comments: those directly above the section, and directly below its last key.\n"
"A running proxy disconnects these devices.\n"
"\n"
CLI_OPTIONS_HELP
EXIT_HELP;
/* clang-format on */

const struct cli_command cli_device_add = {
    .name = "device add",
    .summary = "add a device",
    .operand = "LABEL KEY=VALUE...",
    .operand_repeats = true,
    .options = add_options,
    .help = add_help,
    .run = add,
};

const struct cli_command cli_device_set = {
    .name = "device set",
    .summary = "change keys of a device, or its secret",
    .operand = "LABEL [KEY=VALUE...]",
    .operand_repeats = true,
    .options = set_options,
    .help = set_help,
    .run = set,
};

const struct cli_command cli_device_remove = {
    .name = "device remove",
    .summary = "remove devices",
    .operand = "LABEL...",
    .operand_repeats = true,
    .options = remove_options,
    .help = remove_help,
    .run = remove_devices,
};
