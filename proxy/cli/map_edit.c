#include "cli/map_edit.h"

#include "base/escape.h"
#include "settings/credmap_build.h"
#include "settings/map_seal.h"
#include "settings/value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a section's name, with its NUL. */
enum { SECTION_MAX = sizeof("device:") + CREDENTIAL_LABEL_MAX };

static struct credmap *
load(const struct map_edit *e, struct complaints *to)
{
	return credmap_load(e->o->devices, e->settings, to);
}

/* Under the lock; a map that is not there, if that is wanted, as an empty one.
 */
static bool
open_map(struct map_edit *e, bool may_be_new)
{
	struct stat st;

	if (may_be_new && stat(e->o->devices, &st) != 0 && errno == ENOENT)
		return file_replace_open_new(&e->file, e->o->devices);
	return file_replace_open(&e->file, e->o->devices, MAP_TEXT_MAX);
}

static bool
read_map(struct map_edit *e, bool may_be_new, enum cli_exit *code)
{
	struct complaints silent = {0};

	*code = CLI_FAILED;
	if (!open_map(e, may_be_new)) {
		cli_tell("%s: %s", e->o->devices, e->file.why);
		return false;
	}
	e->text = map_text_new(
	    (struct span){(const uint8_t *)e->file.bytes, e->file.size});
	if (e->text == NULL) {
		cli_tell("%s: out of memory, or it has over %d lines",
		    e->o->devices, (int)MAP_TEXT_LINES_MAX);
		return false;
	}
	e->map = e->file.is_new ? credmap_new() : load(e, &silent);
	*code = CLI_OK;
	return true;
}

/* The key of the option takes the place of that in the settings. */
static bool
use_key_file(struct map_edit *e, const char *path)
{
	if (path == NULL)
		return true;
	if (strlen(path) >= SETTING_TEXT_MAX) {
		cli_tell("the path of --key-file is too long");
		return false;
	}
	strcpy(e->settings->secrets_key_file, path);
	return true;
}

/* That of a map with sealed secrets. When it cannot be used, that is told as
   soon as it is needed. */
static void
find_key(struct map_edit *e)
{
	struct complaints silent = {0};
	const char *why;

	e->is_sealed = map_seal_salt(e->text, e->salt);
	if (e->is_sealed && e->settings->secrets_key_file[0] != '\0')
		e->key = sealed_key_read(
		    e->settings->secrets_key_file, &silent, &why);
}

static bool
begin(struct map_edit *e, const struct cli_options *o, bool may_be_new,
    enum cli_exit *code)
{
	struct complaints to = {.tell = cli_complaint};

	memset(e, 0, sizeof(*e));
	e->file.folder = -1;
	e->o = o;
	e->settings = settings_load(o->settings, &to);
	if (e->settings == NULL) {
		*code = CLI_REFUSED;
		return false;
	}
	*code = CLI_FAILED;
	if (use_key_file(e, o->key_file) && read_map(e, may_be_new, code)) {
		find_key(e);
		return true;
	}
	map_edit_end(e);
	return false;
}

bool
map_edit_begin(
    struct map_edit *e, const struct cli_options *o, enum cli_exit *code)
{
	return begin(e, o, false, code);
}

bool
map_edit_begin_new(
    struct map_edit *e, const struct cli_options *o, enum cli_exit *code)
{
	return begin(e, o, true, code);
}

void
map_edit_end(struct map_edit *e)
{
	file_replace_close(&e->file);
	map_text_free(e->text);
	credmap_unref(e->map);
	settings_unref(e->settings);
	sealed_key_free(e->key);
}

/* "device:LABEL"; false: that cannot be a label. */
static bool
name_section(char out[static SECTION_MAX], const char *label)
{
	if (!value_made_of(label, 1, CREDENTIAL_LABEL_MAX, "._:@-"))
		return false;
	(void)snprintf(out, SECTION_MAX, "device:%s", label);
	return true;
}

static void
tell_none(const struct map_edit *e, const char *label)
{
	char shown[4 * CREDENTIAL_LABEL_MAX];

	cli_tell("%s has no [device:%s]", e->o->devices,
	    escape(shown, sizeof(shown), span_of_string(label)));
}

/* Of a label with a slash, that of one of a fleet. Tells. */
static void
tell_member(const struct map_edit *e, const char *label)
{
	char section[SECTION_MAX], of[CREDENTIAL_LABEL_MAX + 1];
	size_t n = strcspn(label, "/");
	struct map_text_value table;
	size_t head = MAP_TEXT_NONE;

	(void)snprintf(of, sizeof(of), "%.*s", (int)n, label);
	if (n < sizeof(of) && name_section(section, of))
		head = map_text_find(e->text, section);
	if (head == MAP_TEXT_NONE ||
	    !map_text_at(e->text,
		map_text_line(e->text, head, "device_secrets_file"), &table))
		tell_none(e, label);
	else
		cli_tell("%s:%zu: %s is one of the fleet [%s]: change its row "
			 "in %.*s, or give it a section of its own (device "
			 "add) with the same product_key and device_name",
		    e->o->devices, head + 1, label, section, (int)table.value.n,
		    (const char *)table.value.p);
}

size_t
map_edit_find(const struct map_edit *e, const char *label)
{
	char section[SECTION_MAX];
	size_t head = MAP_TEXT_NONE;

	if (strchr(label, '/') != NULL) {
		tell_member(e, label);
		return MAP_TEXT_NONE;
	}
	if (name_section(section, label))
		head = map_text_find(e->text, section);
	if (head == MAP_TEXT_NONE)
		tell_none(e, label);
	return head;
}

bool
map_edit_has(const struct map_edit *e, const char *label)
{
	char section[SECTION_MAX];

	return name_section(section, label) &&
	       map_text_find(e->text, section) != MAP_TEXT_NONE;
}

size_t
map_edit_append(struct map_edit *e, const char *label)
{
	char section[SECTION_MAX];
	size_t head = name_section(section, label)
			  ? map_text_append(e->text, section)
			  : MAP_TEXT_NONE;

	if (head == MAP_TEXT_NONE)
		cli_tell("out of memory");
	return head;
}

size_t
map_edit_add(struct map_edit *e, const char *label)
{
	char section[SECTION_MAX], shown[200];
	size_t head;

	if (!name_section(section, label)) {
		cli_tell("'%s' cannot be a label: 1 to %d letters, digits and "
			 "._:@- are allowed",
		    escape(shown, sizeof(shown), span_of_string(label)),
		    (int)CREDENTIAL_LABEL_MAX);
		return MAP_TEXT_NONE;
	}
	head = map_text_find(e->text, section);
	if (head != MAP_TEXT_NONE) {
		cli_tell("%s:%zu: there is a [%s] already; change it with "
			 "'device set'",
		    e->o->devices, head + 1, section);
		return MAP_TEXT_NONE;
	}
	return map_edit_append(e, label);
}

/* Takes out those that exclude <key>. */
static void
unset_rivals(struct map_edit *e, size_t head, const char *key)
{
	static const char *const groups[][4] = {
	    {"device_secret", "device_secret_file", "device_secrets_file"},
	    {"password", "password_file", "password_hash"},
	};

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		const char *const *const group = groups[i];
		bool in_group = false;

		for (size_t j = 0; group[j] != NULL; j++)
			in_group = in_group || strcmp(group[j], key) == 0;
		for (size_t j = 0; in_group && group[j] != NULL; j++)
			if (strcmp(group[j], key) != 0)
				(void)map_text_unset(e->text, head, group[j]);
	}
}

/* Whether a secret may stand in the map as it is; tells when not. Without the
   key of a sealed map it would be the first to stand there for all to read. */
static bool
may_be_plain(struct map_edit *e, const char *key)
{
	if (!e->is_sealed || !map_seal_salt(e->text, e->salt))
		return true;
	cli_tell("%s: secrets of %s are sealed, and their key cannot be used: "
		 "set [secrets] key_file in proxy.ini to it; if it is lost, "
		 "take out what was sealed first (--unset)",
	    key, e->o->devices);
	return false;
}

/* Of a secret, when others are sealed, the value as it is to stand there, in
   <sealed>. False after telling why not. */
static bool
seal(struct map_edit *e, const char *key, struct span *value,
    char sealed[static SEALED_TEXT_MAX])
{
	struct secret secret;
	const char *why;
	bool ok;

	if (!map_seal_takes(span_of_string(key)) || sealed_is(*value))
		return true;
	if (e->key == NULL)
		return may_be_plain(e, key);
	why = "it is too long for a secret";
	ok = secret_set(&secret, *value) &&
	     sealed_make(e->key, key, &secret, e->salt, sealed, &why);
	secret_wipe(&secret);
	if (!ok) {
		cli_tell("%s: %s", key, why);
		return false;
	}
	*value = span_of_string(sealed);
	return true;
}

bool
map_edit_set(
    struct map_edit *e, size_t head, const char *key, struct span value)
{
	char sealed[SEALED_TEXT_MAX];
	const char *why = map_text_objection(value);

	if (why != NULL) {
		cli_tell("%s: %s", key, why);
		return false;
	}
	if (!seal(e, key, &value, sealed))
		return false;
	if (!map_text_set(e->text, head, key, value)) {
		cli_tell("out of memory");
		return false;
	}
	unset_rivals(e, head, key);
	return true;
}

static void
tell_next(const struct map_edit *e, const struct credmap *map)
{
	char time[VALUE_TEXT_MAX];

	if (e->file.is_new)
		cli_tell("%s was not there and has been made; only its owner "
			 "may read it (mode 600): if the proxy runs as another "
			 "user, let that read it too (chgrp, chmod 640)",
		    e->o->devices);
	if (credmap_count(map) == 0)
		cli_tell("%s was changed and has no device left: a running "
			 "proxy does not "
			 "take that over, and keeps the map it has",
		    e->o->devices);
	else if (e->settings->reload_interval_ms == 0)
		cli_tell("%s was changed; a running proxy takes it over when "
			 "it gets SIGHUP ([reload] interval is 0)",
		    e->o->devices);
	else
		cli_tell("%s was changed; a running proxy takes it over by "
			 "itself within %s ([reload] interval)",
		    e->o->devices,
		    value_write(
			time, VALUE_TIME, e->settings->reload_interval_ms));
}

/* The changed map could not be loaded, which was told. */
static void
tell_refused(const struct map_edit *e)
{
	struct complaints to = {.tell = cli_complaint};

	cli_tell("%s was not changed: with this change it could not be loaded",
	    e->o->devices);
	if (e->map != NULL)
		return;
	cli_tell("it could not be loaded before either; as it is, it has these "
		 "errors:");
	credmap_unref(load(e, &to));
}

/* Tries the text that was written beside the map. */
static enum cli_exit
try_and_commit(struct map_edit *e)
{
	struct complaints to = {.tell = cli_complaint,
	    .path = e->o->devices,
	    .read_instead = e->file.temp};
	struct credmap *map = load(e, &to);
	enum cli_exit code = CLI_OK;

	if (map == NULL) {
		tell_refused(e);
		return CLI_REFUSED;
	}
	if (e->o->dry_run) {
		cli_tell("a dry run: %s was not changed", e->o->devices);
	} else if (file_replace_commit(&e->file)) {
		tell_next(e, map);
	} else {
		cli_tell("%s: %s", e->o->devices, e->file.why);
		code = CLI_FAILED;
	}
	credmap_unref(map);
	return code;
}

enum cli_exit
map_edit_save(struct map_edit *e)
{
	enum cli_exit code = CLI_FAILED;
	size_t n;
	char *bytes = map_text_join(e->text, &n);

	if (bytes == NULL) {
		cli_tell("out of memory");
		return CLI_FAILED;
	}
	if (n == e->file.size && memcmp(bytes, e->file.bytes, n) == 0) {
		cli_tell("%s is like that already: nothing was changed",
		    e->o->devices);
		code = CLI_OK;
	} else if (file_replace_write(
		       &e->file, (struct span){(const uint8_t *)bytes, n})) {
		code = try_and_commit(e);
	} else {
		cli_tell("%s: %s", e->o->devices, e->file.why);
	}
	secret_wipe_bytes(bytes, n);
	free(bytes);
	return code;
}
