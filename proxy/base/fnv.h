/*
 * fnv: FNV-1a with 64 bits, to tell texts apart by a number. Not for what a
 * stranger could gain by two texts with one number. Pure.
 */
#ifndef PROXY_BASE_FNV_H
#define PROXY_BASE_FNV_H

#include "base/span.h"

#include <stddef.h>
#include <stdint.h>

/* Of nothing: what a first fnv_add() is given. */
static inline uint64_t
fnv_begin(void)
{
	return UINT64_C(14695981039346656037);
}

/* That of the bytes so far, <hash>, with <s> behind them. */
static inline uint64_t
fnv_add(uint64_t hash, struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		hash = (hash ^ s.p[i]) * UINT64_C(1099511628211);
	return hash;
}

/* The same, and where <s> ends counts as well. */
static inline uint64_t
fnv_add_text(uint64_t hash, struct span s)
{
	return fnv_add(fnv_add(hash, s), (struct span){(const uint8_t *)"", 1});
}

#endif
