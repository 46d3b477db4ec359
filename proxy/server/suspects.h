/*
 * suspects: the addresses that have shown a wrong local password lately. What
 * they ask for next waits behind what others ask for. Bounded; one thread.
 */
#ifndef PROXY_SERVER_SUSPECTS_H
#define PROXY_SERVER_SUSPECTS_H

#include "settings/network.h"

#include <stdbool.h>
#include <stdint.h>

enum { SUSPECTS_MAX = 256, SUSPECT_MS = 60 * 1000 };

/* All zero: none. When there is no more room, the oldest is forgotten. */
struct suspects {
	struct {
		struct network who; /* of IPv6 its /64, of which a host can take
				       any address */
		uint64_t over_ms;
	} all[SUSPECTS_MAX];
};

/* False when it was one before. */
bool suspects_add(
    struct suspects *s, const struct network *address, uint64_t now_ms);

bool suspects_have(
    const struct suspects *s, const struct network *address, uint64_t now_ms);

/* Whether two addresses are one suspect. */
bool suspects_same(const struct network *a, const struct network *b);

#endif
