/*
 * map_seal: seals the secrets that stand in the text of a map, and writes them
 * plain again. Values that are as they should be already stay as they are, and
 * so does everything else. One thread.
 */
#ifndef PROXY_SETTINGS_MAP_SEAL_H
#define PROXY_SETTINGS_MAP_SEAL_H

#include "base/attr.h"
#include "base/span.h"
#include "settings/complaints.h"
#include "settings/map_text.h"
#include "settings/sealed.h"

#include <stdbool.h>
#include <stddef.h>

/* All borrowed. */
struct map_seal {
	struct map_text *text;
	const char *path; /* what complaints call it */
	struct complaints *to;
	struct sealed_key *key;
	/* Whether the secrets of [device:LABEL] are meant; NULL: all are. */
	bool (*is_meant)(void *arg, struct span label);
	void *arg;
	/* counted here */
	size_t changed;
	size_t unchanged; /* meant, and sealed or plain already */
};

/* Whether values of the key <name> can be sealed. */
bool map_seal_takes(struct span name);

/* Seals device_secret and password, under the salt of what is sealed already.
   False after errors, told with their lines: the text is of no use then. */
NODISCARD bool map_seal(struct map_seal *m);

/* The reverse, with the same key. */
NODISCARD bool map_unseal(struct map_seal *m);

/* The salt of the first sealed value of the text. False: there is none. */
NODISCARD bool map_seal_salt(
    const struct map_text *text, uint8_t salt[static SEALED_SALT_BYTES]);

#endif
