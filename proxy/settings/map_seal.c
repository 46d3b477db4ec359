#include "settings/map_seal.h"

#include "base/secret.h"
#include "settings/ini.h"

#include <string.h>

/* The name of the key when its value may be sealed, or NULL. */
static const char *
sealable(struct span key)
{
	static const char *const names[] = {"device_secret", "password"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_eq(key, span_of_string(names[i])))
			return names[i];
	return NULL;
}

bool
map_seal_takes(struct span name)
{
	return sealable(name) != NULL;
}

/* Takes "device:" off. False: it is no device's section. */
static bool
take_label(struct span section, struct span *label)
{
	static const char device[] = "device:";
	struct span start;

	*label = section;
	return span_take(label, strlen(device), &start) &&
	       span_eq(start, span_of_string(device));
}

static bool
is_meant(const struct map_seal *m, struct span section)
{
	struct span label;

	return take_label(section, &label) &&
	       (m->is_meant == NULL || m->is_meant(m->arg, label));
}

bool
map_seal_salt(
    const struct map_text *text, uint8_t salt[static SEALED_SALT_BYTES])
{
	struct map_text_value at = {0};
	struct span label;

	while (map_text_next(text, &at))
		if (take_label(at.section, &label) &&
		    sealable(at.key) != NULL && sealed_salt(at.value, salt))
			return true;
	return false;
}

/* Complains about a line. */
#define WRONG(m, line, name, why)                                              \
	complain((m)->to, (m)->path, (int)(line) + 1, "%s: %s", name, why)

static void
change(struct map_seal *m, size_t line, const char *name, struct span value)
{
	if (map_text_replace(m->text, line, value))
		m->changed++;
	else
		WRONG(m, line, name, "out of memory");
}

static void
seal_one(struct map_seal *m, const uint8_t *salt,
    const struct map_text_value *at, const char *name)
{
	char sealed[SEALED_TEXT_MAX];
	struct secret secret;
	const char *why;

	if (!secret_set(&secret, at->value))
		WRONG(m, at->line, name, "it is too long for a secret");
	else if (!sealed_make(m->key, name, &secret, salt, sealed, &why))
		WRONG(m, at->line, name, why);
	else if (strlen(name) + strlen(" = ") + strlen(sealed) > INI_LINE_BYTES)
		WRONG(m, at->line, name,
		    "sealed it would be too long for a line: keep it in a "
		    "file");
	else
		change(m, at->line, name, span_of_string(sealed));
	secret_wipe(&secret);
}

static void
unseal_one(
    struct map_seal *m, const struct map_text_value *at, const char *name)
{
	struct secret secret;
	struct span plain;
	const char *why = NULL;

	if (sealed_open(m->key, name, at->value, &secret, &why)) {
		plain = (struct span){secret.bytes, secret.n};
		why = map_text_objection(plain);
		if (why == NULL)
			change(m, at->line, name, plain);
	}
	if (why != NULL)
		WRONG(m, at->line, name, why);
	secret_wipe(&secret);
}

/* <salt> NULL: to plain text. */
static bool
convert(struct map_seal *m, const uint8_t *salt)
{
	struct map_text_value at = {0};
	unsigned errors = m->to->errors;

	m->changed = 0;
	m->unchanged = 0;
	while (map_text_next(m->text, &at)) {
		const char *name = sealable(at.key);

		if (name == NULL || !is_meant(m, at.section))
			continue;
		if (sealed_is(at.value) == (salt != NULL))
			m->unchanged++;
		else if (salt != NULL)
			seal_one(m, salt, &at, name);
		else
			unseal_one(m, &at, name);
	}
	return m->to->errors == errors;
}

bool
map_seal(struct map_seal *m)
{
	uint8_t salt[SEALED_SALT_BYTES];

	if (map_seal_salt(m->text, salt) || sealed_salt_new(salt))
		return convert(m, salt);
	complain(m->to, m->path, 0, "the system has no random bytes");
	return false;
}

bool
map_unseal(struct map_seal *m)
{
	return convert(m, NULL);
}
