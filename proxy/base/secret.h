/*
 * secret: bytes that must never be shown. The type has no printing path: no
 * function turns it into text, and errors about one name its place, not its
 * value. The owner calls secret_wipe() before the memory is given back.
 */
#ifndef PROXY_BASE_SECRET_H
#define PROXY_BASE_SECRET_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECRET_MAX = 128 };

struct secret {
	uint8_t bytes[SECRET_MAX];
	size_t n;
};

/* Copies <from>; false, with <k> wiped, when it is over SECRET_MAX bytes. */
NODISCARD bool secret_set(struct secret *k, struct span from);

/* In constant time for secrets of one length. */
NODISCARD bool secret_eq(const struct secret *k, struct span with);

void secret_wipe(struct secret *k);

/* Wipes any memory that has held a secret; never optimised away. */
void secret_wipe_bytes(void *p, size_t n);

/*
 * Memory for secrets that stay: pages of its own, all zero, in no core file,
 * and never in the swap as far as the process may lock memory. <size> is over
 * 0 and is rounded up to whole pages, so this is for large or few objects. NULL
 * without memory. Ends with secret_free() of the same size.
 */
NODISCARD void *secret_alloc(size_t size);

/* Wipes it before it is given back. NULL is fine. */
void secret_free(void *p, size_t size);

#endif
