/*
 * sealed: secrets that stand encrypted in devices.ini, for whoever gets hold of
 * the file alone: of a backup, of a repository.
 *
 * A sealed value is one word,
 *
 *	sealed:1:SALT:BOX
 *
 * both in base64 without padding. SALT is 16 bytes. BOX is a nonce of 12
 * bytes, the ciphertext and a tag of 16 bytes of AES-256-GCM (NIST SP 800-38D);
 * the name of the key that the value belongs to is authenticated with it, so
 * that a value cannot be used in another key's place.
 *
 * Its key is derived from a key file: from 64 hexadecimal digits by HKDF (RFC
 * 5869: SHA-256, those 32 bytes, SALT, info "sealed:1"); from anything else, a
 * passphrase, by PBKDF2 (RFC 8018: HMAC-SHA-256, 600,000 iterations, SALT).
 * That is slow on purpose: values of one map should share their salt.
 *
 * One thread for each key.
 */
#ifndef PROXY_SETTINGS_SEALED_H
#define PROXY_SETTINGS_SEALED_H

#include "base/attr.h"
#include "base/secret.h"
#include "base/span.h"
#include "codec/base64.h"
#include "settings/complaints.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEALED_MARK "sealed:"

enum {
	SEALED_SALT_BYTES = 16,
	SEALED_NONCE_BYTES = 12,
	SEALED_TAG_BYTES = 16,
	SEALED_BOX_MAX = SEALED_NONCE_BYTES + SECRET_MAX + SEALED_TAG_BYTES,
	/* with NUL */
	SEALED_TEXT_MAX = sizeof(SEALED_MARK "1::") +
			  BASE64_LENGTH(SEALED_SALT_BYTES) +
			  BASE64_LENGTH(SEALED_BOX_MAX),
	SEALED_PASSPHRASE_MIN = 12,
	SEALED_SALTS_MAX = 4 /* under a passphrase, as each takes its time */
};

/* What a key file holds, and what was derived from it. In pages of its own that
   are wiped at the end (secret_alloc()). */
struct sealed_key;

/* From the content of a key file, without its line end; the caller wipes it.
   NULL, with <*why> a sentence that holds no byte of it, when it is too short
   for a passphrase, or without memory. */
NODISCARD struct sealed_key *sealed_key_new(
    const struct secret *content, const char **why);

/* From the key file itself, as secret_file_read() reads it. */
NODISCARD struct sealed_key *sealed_key_read(
    const char *path, const struct complaints *to, const char **why);

void sealed_key_free(struct sealed_key *key); /* NULL is fine */

/* Whether <text> is meant as a sealed value. */
bool sealed_is(struct span text);

/* The salt of a sealed value. False: it is not whole. */
NODISCARD bool sealed_salt(
    struct span text, uint8_t salt[static SEALED_SALT_BYTES]);

/* A fresh one. False: the system has no random bytes. */
NODISCARD bool sealed_salt_new(uint8_t salt[static SEALED_SALT_BYTES]);

/*
 * What was sealed as the value of the key <name>, into <out>. False, with <out>
 * wiped and <*why> a sentence without a byte of <text>, when <text> is no whole
 * sealed value, does not open with this key and name, or has one salt more than
 * SEALED_SALTS_MAX under a passphrase.
 */
NODISCARD bool sealed_open(struct sealed_key *key, const char *name,
    struct span text, struct secret *out, const char **why);

/* Seals <in> as the value of the key <name>, never twice to the same text.
   False, with <*why> a sentence: no random bytes, no memory, or one salt too
   many. */
NODISCARD bool sealed_make(struct sealed_key *key, const char *name,
    const struct secret *in, const uint8_t salt[static SEALED_SALT_BYTES],
    char out[static SEALED_TEXT_MAX], const char **why);

#endif
