/*
 * verdicts: what hashing has said of passwords lately, so that a device that
 * comes again costs nothing. What is kept of a password is an HMAC-SHA-256 of
 * it and its hash under a random key of the process, which tells nothing to
 * anybody who has not both.
 *
 * Bounded; one thread. Right ones stay until others need their place, wrong
 * ones for a minute, and never in the place of a right one.
 */
#ifndef PROXY_SERVER_VERDICTS_H
#define PROXY_SERVER_VERDICTS_H

#include "base/attr.h"
#include "base/secret.h"
#include "settings/password_hash.h"

#include <stdbool.h>
#include <stdint.h>

enum { VERDICTS_WRONG_MS = 60 * 1000, VERDICTS_MAX = 8192 };

enum verdict { VERDICT_NONE, VERDICT_RIGHT, VERDICT_WRONG };

/* Stands for a password and a hash. */
struct verdict_key {
	uint8_t bytes[32];
};

struct verdicts;

/* NULL without memory or randomness. */
NODISCARD struct verdicts *verdicts_new(void);
void verdicts_free(struct verdicts **v);

/* False without memory. */
NODISCARD bool verdicts_key(const struct verdicts *v,
    const struct password_hash *hash, const struct secret *password,
    struct verdict_key *out);

/* VERDICT_NONE: it is not known, or not any more. */
enum verdict verdicts_find(
    struct verdicts *v, const struct verdict_key *key, uint64_t now_ms);

void verdicts_add(struct verdicts *v, const struct verdict_key *key,
    enum verdict verdict, uint64_t now_ms);

#endif
