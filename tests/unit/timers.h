/*
 * timers: so many of them in an event base that one more needs memory.
 */
#ifndef TESTS_UNIT_TIMERS_H
#define TESTS_UNIT_TIMERS_H

#include "unit.h"

#include <event2/event.h>
#include <event2/event_struct.h>

enum { TIMERS_MAX = 64 };

struct timers {
	struct event all[TIMERS_MAX];
	unsigned n;
};

static inline void
timers_on_time(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static inline bool
timers_add(struct timers *t, struct event_base *base)
{
	static const struct timeval hour = {.tv_sec = 3600};

	assert_true(t->n < TIMERS_MAX);
	(void)evtimer_assign(&t->all[t->n], base, timers_on_time, NULL);
	if (evtimer_add(&t->all[t->n], &hour) != 0)
		return false;
	t->n++;
	return true;
}

static inline void
timers_remove(struct timers *t, unsigned n)
{
	assert_true(n <= t->n);
	while (n-- > 0)
		(void)evtimer_del(&t->all[--t->n]);
}

/* There is room for <spare> more. While *no_memory every allocation fails. */
static inline void
timers_fill(
    struct timers *t, struct event_base *base, unsigned spare, bool *no_memory)
{
	for (unsigned i = 0; i <= spare; i++)
		assert_true(timers_add(t, base));
	*no_memory = true;
	while (timers_add(t, base))
		continue;
	*no_memory = false;
	timers_remove(t, spare);
}

#endif
