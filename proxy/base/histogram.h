/*
 * histogram: how long something took, how often: counts in classes of time,
 * from some milliseconds to some seconds. Plain numbers of one thread; another
 * one gets a copy. Pure.
 */
#ifndef PROXY_BASE_HISTOGRAM_H
#define PROXY_BASE_HISTOGRAM_H

#include <stdint.h>

/* at most so many milliseconds, the same in seconds as text */
#define HISTOGRAM_CLASSES(X)                                                   \
	X(10, "0.01")                                                          \
	X(25, "0.025")                                                         \
	X(50, "0.05")                                                          \
	X(100, "0.1")                                                          \
	X(250, "0.25")                                                         \
	X(500, "0.5")                                                          \
	X(1000, "1") X(2500, "2.5") X(5000, "5") X(10000, "10") X(30000, "30")

#define X(ms, text) HISTOGRAM_##ms,
enum { HISTOGRAM_CLASSES(X) HISTOGRAM_CLASS_COUNT };
#undef X

struct histogram {
	uint64_t of[HISTOGRAM_CLASS_COUNT]; /* what is longer is in none */
	uint64_t count;
	uint64_t sum_ms;
};

static inline void
histogram_add(struct histogram *h, uint64_t ms)
{
#define X(most, text) most,
	static const uint32_t most_ms[] = {HISTOGRAM_CLASSES(X)};
#undef X
	int i = 0;

	while (i < HISTOGRAM_CLASS_COUNT && ms > most_ms[i])
		i++;
	if (i < HISTOGRAM_CLASS_COUNT)
		h->of[i]++;
	h->count++;
	h->sum_ms += ms;
}

static inline void
histogram_merge(struct histogram *to, const struct histogram *from)
{
	for (int i = 0; i < HISTOGRAM_CLASS_COUNT; i++)
		to->of[i] += from->of[i];
	to->count += from->count;
	to->sum_ms += from->sum_ms;
}

#endif
