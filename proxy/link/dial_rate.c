#include "link/dial_rate.h"

#include <stdatomic.h>

#define NS_PER_S 1000000000ULL
#define NS_PER_MS 1000000ULL
#define AHEAD_NS (100 * NS_PER_MS)

void
dial_rate_set(struct dial_rate *r, uint32_t per_second)
{
	uint64_t interval_ns =
	    per_second > 0 ? (NS_PER_S + per_second - 1) / per_second : 0;

	atomic_store_explicit(
	    &r->interval_ns, interval_ns, memory_order_relaxed);
}

/* The two numbers order nothing else, so nothing needs more than relaxed. */
bool
dial_rate_reserve(struct dial_rate *r, uint64_t now_ms, uint64_t wait_max_ms,
    uint64_t *wait_ms)
{
	uint64_t interval_ns =
	    atomic_load_explicit(&r->interval_ns, memory_order_relaxed);
	uint64_t due_ns =
	    atomic_load_explicit(&r->due_ns, memory_order_relaxed);
	uint64_t now_ns = now_ms * NS_PER_MS;
	uint64_t next_ns;

	*wait_ms = 0;
	if (interval_ns == 0)
		return true;
	do {
		if (due_ns > now_ns + AHEAD_NS)
			*wait_ms =
			    (due_ns - AHEAD_NS - now_ns + NS_PER_MS - 1) /
			    NS_PER_MS;
		if (*wait_ms > wait_max_ms)
			return false;
		next_ns = (due_ns > now_ns ? due_ns : now_ns) + interval_ns;
	} while (!atomic_compare_exchange_weak_explicit(&r->due_ns, &due_ns,
	    next_ns, memory_order_relaxed, memory_order_relaxed));
	return true;
}
