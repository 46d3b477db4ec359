/*
 * refusal_news: which of the devices that are turned away are worth a line of
 * the log. One that comes again and again would fill it: of the same refusal of
 * the same device the first few are told, and then one a minute, with the
 * number of those that were not; of one address there are not many more.
 * Bounded; one thread.
 *
 * What follows a login is bounded by link/governor.h already, and two devices
 * with one entry by server/rivals.h.
 */
#ifndef PROXY_SERVER_REFUSAL_NEWS_H
#define PROXY_SERVER_REFUSAL_NEWS_H

#include "settings/network.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	REFUSAL_NEWS_MAX = 256,
	REFUSAL_NEWS_MS = 60 * 1000,
	REFUSAL_NEWS_OF_DEVICE = 5, /* lines at first */
	REFUSAL_NEWS_OF_ADDRESS = 60
};

/* All zero: nothing was told. When there is no more room, the oldest row is
   forgotten. */
struct refusal_news {
	struct refusal_row {
		struct network who; /* of IPv6 its /64 */
		uint64_t what;      /* 0: all of that address */
		uint64_t ends_ms;   /* 0: nothing stands here */
		unsigned told;
		unsigned untold;
	} all[REFUSAL_NEWS_MAX];
};

/*
 * <who> is turned away; <what> is a number for what it has shown, and for the
 * reason. Is that worth a line? If so <*untold> is how often it was not since
 * the last line; else 0.
 */
bool refusal_news_tell(struct refusal_news *n, const struct network *who,
    uint64_t what, uint64_t now_ms, unsigned *untold);

#endif
