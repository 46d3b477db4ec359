/*
 * flow: keeps what one device publishes below what the cloud takes, since the
 * cloud drops what is over without a word. In no window of a second
 * (SLIDING_WINDOW_MS) does more pass than the limits say.
 *
 * QoS 1 is slowed: FLOW_WAIT, and the caller stops reading the device. (QoS 2
 * counts as QoS 1, which it goes up as.) QoS 0 is queued within a bound, then
 * dropped, the oldest first; it goes out in order, at the rate allowed. QoS 1
 * may overtake what is queued, so a packet must not need another one: the
 * device is given no topic aliases (MQTT 5.0 3.3.2.3.4).
 *
 * The bytes a second are for all: first for the head of the queue, and QoS 1
 * passes only if that leaves room for it.
 *
 * Each device has one, on its worker's thread. It best outlives the session,
 * for the cloud's second does not end with a connection. It sets no timer and
 * reads no clock: <now_ms> is of clock_mono_ms(), and never goes back. Before a
 * device publishes under a limit it owns no memory.
 *
 * The caller, whenever flow_wait_ms() is over or the link has room again:
 * first flow_next() until it is empty, then reads the device on, whose waiting
 * packet flow_admit() is asked for anew; last sets its timer anew.
 */
#ifndef PROXY_SESSION_FLOW_H
#define PROXY_SESSION_FLOW_H

#include "base/attr.h"
#include "base/span.h"
#include "link/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	FLOW_RATE_MAX = 1000, /* of qos0_per_second and qos1_per_second */
	FLOW_LINE_MS = 60 * 1000
};

#define FLOW_NEVER UINT64_MAX

/* 0: no limit; of queue_max_bytes: nothing is queued, QoS 0 waits too. */
struct flow_limits {
	uint32_t qos0_per_second; /* PUBLISH packets */
	uint32_t qos1_per_second;
	uint64_t bytes_per_second; /* of both together */
	uint32_t inflight_max;     /* QoS 1 without PUBACK */
	uint32_t queue_max_bytes;  /* of memory, see flow_queue_cost() */
};

/* What is counted, each for QoS 0 and for QoS 1, and the word for it. */
#define FLOW_COUNTS(X)                                                         \
	X(FLOW_SENT, "sent")                                                   \
	X(FLOW_SENT_BYTES, "sent_bytes")                                       \
	X(FLOW_WAITED, "waited")       /* packets that had to */               \
	X(FLOW_WAITED_MS, "waited_ms") /* all of them together */              \
	X(FLOW_QUEUED, "queued")       /* QoS 0 only, as what follows */       \
	X(FLOW_DROPPED_FULL, "dropped_full")                                   \
	X(FLOW_DROPPED_NO_ROOM, "dropped_no_room") /* of the worker's */       \
	X(FLOW_DROPPED_NO_MEMORY, "dropped_no_memory")                         \
	X(FLOW_DROPPED_ENDED, "dropped_ended") /* with the session */          \
	X(FLOW_DROPPED_HELD, "dropped_held")   /* too big to be queued then */ \
	X(FLOW_DROPPED_BYTES, "dropped_bytes")

#define X(id, word) id,
enum flow_count { FLOW_COUNTS(X) FLOW_COUNT_KINDS };
#undef X

const char *flow_count_word(enum flow_count kind);

/* What has happened. Without any limit nothing is counted. */
struct flow_counts {
	uint64_t of[2][FLOW_COUNT_KINDS]; /* [QoS][enum flow_count] */
};

/* What has happened since the last line, and how it is now. */
struct flow_summary {
	struct flow_counts since;
	uint64_t queued_now; /* packets */
	bool waits_now;
};

struct flow_state;

struct flow {
	struct loop *loop;
	struct flow_limits limits;
	bool limited;             /* any of them is not 0 */
	bool held;                /* nothing passes */
	bool no_memory;           /* the last packet waits for it */
	uint64_t left;            /* bytes of a packet that has begun */
	uint64_t open_ms;         /* nothing passes before */
	struct flow_state *state; /* since the first packet under a limit */
};

/* <loop> is where what is queued is counted, and outlives <f>. */
void flow_init(
    struct flow *f, struct loop *loop, const struct flow_limits *limits);
void flow_free(struct flow *f);

/*
 * From now on <limits>; go on as when flow_wait_ms() is over. When a rate is
 * another one, nothing passes for one window: what has passed was not counted
 * for it. What is over a lower bound of the queue is dropped.
 */
void flow_set_limits(
    struct flow *f, const struct flow_limits *limits, uint64_t now_ms);

/* False: flow_admit() lets everything pass and needs no <now_ms>. */
static inline bool
flow_is_on(const struct flow *f)
{
	return f->limited || f->state != NULL || f->held;
}

/* Nothing passes any more, until it may again: QoS 0 is queued, or dropped
   where it does not fit. QoS 1 is not asked for meanwhile. */
void flow_hold(struct flow *f, bool held);

/*
 * A packet of QoS 1 that is not asked for by flow_admit(): one that is sent
 * again, of <bytes>. How long until it may pass: 0: now; FLOW_NEVER: not before
 * fewer than <in_flight> are. flow_repeat(): it has passed.
 */
uint64_t flow_repeat_wait_ms(
    const struct flow *f, uint64_t bytes, uint32_t in_flight, uint64_t now_ms);
void flow_repeat(struct flow *f, uint64_t bytes, uint64_t now_ms);

/* A PUBLISH of the device. */
struct flow_publish {
	uint8_t qos;        /* that it goes up with: 0 or 1 */
	uint64_t bytes;     /* the whole packet */
	struct span packet; /* what of it is here: all, or its first piece */
	uint32_t in_flight; /* QoS 1 sent without PUBACK yet, others than it */
	bool waits;         /* it is never queued */
};

enum flow_verdict {
	FLOW_PASS, /* send it, now */
	FLOW_WAIT, /* ask again when flow_wait_ms() is over, or for QoS 1 when
		      there are fewer in flight; take no other before */
	FLOW_TAKEN /* it is queued, or dropped: no longer the caller's */
};

/*
 * What to do with <p>. A packet that is not all here passes or waits as a whole
 * (its rest goes by flow_piece()), so does QoS 0 that is too big for the queue.
 * One over bytes_per_second passes alone, and as many seconds of silence follow
 * as it is worth.
 */
NODISCARD enum flow_verdict flow_admit(
    struct flow *f, const struct flow_publish *p, uint64_t now_ms);

/* <n> more bytes of the packet that passed last have been sent. */
void flow_piece(struct flow *f, uint64_t n, uint64_t now_ms);

/* The queued packet that may go now; empty: none. Valid until the next call of
   another function with <f> that is not const. */
struct span flow_next(const struct flow *f, uint64_t now_ms);

/* What flow_next() gave has been sent. */
void flow_next_sent(struct flow *f, uint64_t now_ms);

/*
 * How long until flow_next(), the packet that waits, or flow_summary() is to be
 * asked: one of them then has something. 0: now; FLOW_NEVER: none of them.
 */
uint64_t flow_wait_ms(const struct flow *f, uint64_t now_ms);

/* How long a packet has been waiting for no more than a PUBACK, at least 1; 0:
   none is. */
uint64_t flow_puback_wait_ms(const struct flow *f, uint64_t now_ms);
/* True when one waits for that, however long. */
bool flow_waits_for_puback(const struct flow *f);

/* The packet that waits will not be asked for again: the device is gone. What
   is queued still goes. */
void flow_forget_waiting(struct flow *f, uint64_t now_ms);

/* The session has ended: what is queued is dropped, nothing waits any more. */
void flow_end(struct flow *f, uint64_t now_ms);

/*
 * True when there is something to tell in the log, in *out: packets have been
 * slowed, queued or dropped since the last time it was true. At most once in
 * FLOW_LINE_MS, unless it is the <last> time.
 */
NODISCARD bool flow_summary(
    struct flow *f, bool last, uint64_t now_ms, struct flow_summary *out);

/* All since flow_init(). */
struct flow_counts flow_counts(const struct flow *f, uint64_t now_ms);

/* Packets queued now. */
uint64_t flow_queued(const struct flow *f);

#endif
