/*
 * race: TCP to the first of several addresses that answers, in the way of RFC
 * 8305 5: a new attempt every quarter of a second, and at once when one has
 * failed; the first that connects wins, the others are closed. The overall
 * deadline is the owner's. One thread, that of its loop; nothing is allocated.
 */
#ifndef PROXY_LINK_RACE_H
#define PROXY_LINK_RACE_H

#include "base/address.h"
#include "base/fault.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stddef.h>

struct attempt {
	struct race *race;
	struct event io;
	int fd;    /* -1: not begun, or over */
	int error; /* 0: none so far */
};

/* Embedded in its owner; all of it is private. */
struct race {
	struct event_base *base;
	void (*on_done)(void *arg, int fd, const struct fault *why);
	void *arg;
	const struct address *addresses;
	unsigned count;
	unsigned begun;
	unsigned user_timeout_ms;
	struct event next; /* attempt */
	struct attempt attempts[ADDRESS_LIST_MAX];
};

/*
 * <on_done> is called once for each race_start(), from the loop, never from
 * inside race_start(): with a connected descriptor, which is the owner's from
 * then on, or with -1 and what all the addresses have said. The race is idle
 * by then: it may be started again, or freed.
 */
void race_init(struct race *r, struct event_base *base,
    void (*on_done)(void *arg, int fd, const struct fault *why), void *arg);

/*
 * <r> is idle. <addresses>, 1 to ADDRESS_LIST_MAX, must stay until it is done
 * or cancelled. The sockets are non-blocking and closed on exec, have
 * TCP_NODELAY, and TCP_USER_TIMEOUT as given.
 */
void race_start(struct race *r, const struct address *addresses, unsigned count,
    unsigned user_timeout_ms);

/* Closes everything; <on_done> is not called. Harmless when idle. */
void race_cancel(struct race *r);

/* Which addresses were tried, and what each has said so far, for the owner's
   time-out. What does not fit is cut and marked by "...". Returns <out>. */
const char *race_describe(const struct race *r, char *out, size_t size);

#endif
