/*
 * rivals: two devices that share one identity throw each other out again and
 * again. Of one identity, what it takes to see that and to give whoever is in
 * some time: after RIVALS_ROW take-overs in a minute, each by a device of
 * another address than the one it throws out, each further one has to wait:
 * 1 s, then 2 s, and so on, up to 5 minutes. The row ends when nobody has taken
 * over for 5 minutes after the newest wait's end.
 *
 * One worker's. Plain values, all zero at first; the owner's memory. All
 * <now_ms> are of clock_mono_ms().
 */
#ifndef PROXY_SERVER_RIVALS_H
#define PROXY_SERVER_RIVALS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	RIVALS_ROW = 3,
	RIVALS_ROW_MS = 60 * 1000,
	RIVALS_WAIT_FIRST_MS = 1000,
	RIVALS_WAIT_MAX_MS = 5 * 60 * 1000,
	RIVALS_NEWS_MS = 60 * 1000
};

struct rivals {
	uint64_t taken_ms[RIVALS_ROW]; /* a ring of the newest; 0: none */
	unsigned oldest;               /* in the ring */
	unsigned waits;                /* in a row; 0: it is no loop */
	uint64_t not_before_ms;        /* the newest wait's end */
	uint64_t row_ends_ms;
	uint64_t news_from_ms; /* a refusal is worth a line again */
	unsigned untold;       /* refusals since the last line */
};

/* A device of another address wants in. True: it takes over. False: not now. */
NODISCARD bool rivals_admit(struct rivals *r, uint64_t now_ms);

/* Is it a loop of take-overs? Of what rivals_admit() has seen last. */
bool rivals_are_at_it(const struct rivals *r);

/* Who has to wait now may come in so many milliseconds. */
uint64_t rivals_wait_ms(const struct rivals *r, uint64_t now_ms);

/* Is it worth a line? True for the first and then for one a minute; *untold is
   how often it was false since. */
NODISCARD bool rivals_are_news(
    struct rivals *r, uint64_t now_ms, unsigned *untold);

/* Without it the answers would be the same. */
bool rivals_are_cold(const struct rivals *r, uint64_t now_ms);

#endif
