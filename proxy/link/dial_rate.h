/*
 * dial_rate: how many dials a second the whole process may make, whatever
 * devices they are for. One for the process; every thread may take from it at
 * any time, without a lock. It belongs to whoever holds the memory.
 *
 * This is the generic cell rate algorithm: dials are due at an even pace, and
 * nobody waits who is at most a tenth of a second ahead of it. So in any time
 * of T seconds there are at most (T + 0.1) * rate + 1 dials.
 */
#ifndef PROXY_LINK_DIAL_RATE_H
#define PROXY_LINK_DIAL_RATE_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

/* All zero: no limit. */
struct dial_rate {
	_Atomic uint64_t interval_ns; /* from dial to dial; 0: no limit */
	_Atomic uint64_t due_ns;      /* when the next is, at that pace */
};

/* Sets the rate; 0: no limit. What was reserved stays so. */
void dial_rate_set(struct dial_rate *r, uint32_t per_second);

/*
 * Takes the next free time for a dial. True: it is in *wait_ms, rounded up.
 * False: that is more than <wait_max_ms>, and nothing was taken. <now_ms> is of
 * clock_mono_ms(); threads need not agree on it.
 */
NODISCARD bool dial_rate_reserve(struct dial_rate *r, uint64_t now_ms,
    uint64_t wait_max_ms, uint64_t *wait_ms);

#endif
