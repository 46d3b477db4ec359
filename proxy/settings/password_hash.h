/*
 * password_hash: a local password as devices.ini may keep it, from which it
 * cannot be read back: PBKDF2 with HMAC-SHA-256 (RFC 8018 5.2), written as
 *
 *   $pbkdf2-sha256$i=ITERATIONS$SALT$HASH
 *
 * with base64 (RFC 4648 4) without padding. Pure but for password_hash_make().
 */
#ifndef PROXY_SETTINGS_PASSWORD_HASH_H
#define PROXY_SETTINGS_PASSWORD_HASH_H

#include "base/attr.h"
#include "base/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PASSWORD_ITERATIONS_MIN = 1000,
	PASSWORD_ITERATIONS = 600000, /* unless somebody says otherwise */
	/* a thread that is to end may have to compute as many before */
	PASSWORD_ITERATIONS_MAX = 2000000,
	PASSWORD_SALT_MIN = 8,
	PASSWORD_SALT_MAX = 64,
	PASSWORD_SALT = 16, /* of those that are made here */
	PASSWORD_HASH_BYTES = 32,
	PASSWORD_HASH_TEXT = 160 /* with its NUL */
};

/* All zero: none. Others may guess passwords with it: never shown, and wiped
   like a secret. */
struct password_hash {
	uint32_t iterations;
	uint8_t salt_bytes;
	uint8_t salt[PASSWORD_SALT_MAX];
	uint8_t hash[PASSWORD_HASH_BYTES];
};

/* False: *why says what is wrong with <text>, and shows nothing of it. */
NODISCARD bool password_hash_read(
    const char *text, struct password_hash *out, const char **why);

void password_hash_write(
    const struct password_hash *h, char out[static PASSWORD_HASH_TEXT]);

/* That of a password, with a new salt. <iterations> within the bounds. Takes
   its time. False without memory or randomness. */
NODISCARD bool password_hash_make(const struct secret *password,
    uint32_t iterations, struct password_hash *out);

/* Whether <password> is the one. Takes its time: 600,000 iterations are a
   quarter of a second of a fast CPU. False without memory: *right is not
   set. */
NODISCARD bool password_hash_check(
    const struct password_hash *h, const struct secret *password, bool *right);

bool password_hash_same(
    const struct password_hash *a, const struct password_hash *b);

#endif
