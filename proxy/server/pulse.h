/*
 * pulse: whether all threads of the process still do their work: from time to
 * time each is asked by letter, and when all have answered, the supervisor is
 * told that the process lives, and how it is. One that does not answer keeps
 * WATCHDOG=1 from being sent. Main thread, whose turn it takes too.
 */
#ifndef PROXY_SERVER_PULSE_H
#define PROXY_SERVER_PULSE_H

#include "base/attr.h"
#include "base/mailbox.h"
#include "server/notify.h"
#include "session/crowd.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

/* An answer of one thread; it owns it from the question to the answer. */
struct pulse_answer {
	struct letter letter; /* to the door */
	struct pulse *pulse;
	const char *who;
	unsigned number;
	bool asked;      /* and not answered yet */
	size_t sessions; /* a worker's, and how many of them the cloud has */
	size_t online;   /* not those that are held */
};

struct pulse;

struct pulse_config {
	struct event_base *base;
	struct notify *notify;
	struct crowd *crowd;
	unsigned workers;
	/* Asks thread <i>: the workers, behind them the keeper; it posts its
	   letter of pulse_answer() into the door's mailbox then. */
	void (*ask)(void *arg, unsigned i);
	size_t (*devices)(void *arg); /* of the map in use */
	void *arg;
};

/* NULL without memory. Must be freed after the threads have ended. */
NODISCARD struct pulse *pulse_new(const struct pulse_config *config);
void pulse_free(struct pulse **p);

/* What thread <i> answers with. */
struct pulse_answer *pulse_answer(struct pulse *p, unsigned i);

/* From now on threads are asked: at half of $WATCHDOG_USEC, or else now and
   then for the status. Not when nobody wants to know. */
void pulse_start(struct pulse *p);

/* No more questions. */
void pulse_stop(struct pulse *p);

#endif
