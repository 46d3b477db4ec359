/*
 * outbox: what a device has published at QoS 1 and the cloud has not
 * acknowledged yet (QoS 2 that is ended here goes up as QoS 1 too), so that it
 * can be sent again over another link, in its order. Each message is memory of
 * its own, in the account of the worker, on whose thread this lives; it
 * belongs to the device's identity and outlives a link.
 *
 * A message is SENT on the link that is up, or WAITS for one, or for its turn.
 * Those that are sent stand before those that wait.
 */
#ifndef PROXY_SESSION_OUTBOX_H
#define PROXY_SESSION_OUTBOX_H

#include "base/attr.h"
#include "base/span.h"
#include "link/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct outbox_message {
	TAILQ_ENTRY(outbox_message) next;
	size_t total; /* bytes of the packet */
	size_t n;     /* of them, kept here so far */
	uint16_t packet_id;
	bool is_sent;
	bool is_left; /* of a connection before, and not claimed since */
	bool is_kept; /* else too big to be kept: it cannot be sent again */
	uint8_t bytes[];
};

/* Zero-initialised is empty; owns no memory then. */
struct outbox {
	TAILQ_HEAD(outbox_messages, outbox_message) messages;
	struct outbox_message *open; /* whose bytes are still coming, or NULL */
	unsigned count;
	unsigned sent;     /* of them */
	size_t kept_bytes; /* what they are in memory */
};

/* What a packet of <total> bytes is in memory. */
static inline size_t
outbox_cost(uint64_t total)
{
	return sizeof(struct outbox_message) + (size_t)total;
}

/* True when a packet of <total> bytes may be kept besides the others: they stay
   within <max_bytes>. */
bool outbox_has_room(
    const struct outbox *o, uint64_t total, uint64_t max_bytes);

/*
 * A PUBLISH of <total> bytes, of which <first> are here; the rest comes by
 * outbox_more(). <is_sent>: it goes up now, else none may wait before it.
 * <is_kept>: see there. False without memory.
 */
NODISCARD bool outbox_add(struct outbox *o, struct loop *loop,
    struct span first, uint64_t total, uint16_t packet_id, bool is_sent,
    bool is_kept);

/* More of the one that was added last. */
void outbox_more(struct outbox *o, struct span piece);

/* No more of that one is coming: it is forgotten, if it is not whole. */
void outbox_drop_open(struct outbox *o, struct loop *loop);

/* The cloud has acknowledged the oldest that was sent under <packet_id>; false:
   there is none. */
bool outbox_acknowledge(
    struct outbox *o, struct loop *loop, uint16_t packet_id);

/* The link is gone: all wait, and have DUP when they were sent before
   (MQTT-3.3.1-1). False: one was sent that is not kept. */
NODISCARD bool outbox_rewind(struct outbox *o);

/* The next one that waits, whole; empty: there is none. Valid until the next
   call with <o>. */
struct span outbox_next(const struct outbox *o);
/* It has been sent. */
void outbox_next_sent(struct outbox *o);

static inline unsigned
outbox_waiting(const struct outbox *o)
{
	return o->count - o->sent;
}

/* The device has come again on another connection, and may have forgotten what
   it has sent: nobody is owed an acknowledgement of it. */
void outbox_leave(struct outbox *o);
/* True when that holds for what outbox_acknowledge() would take. */
bool outbox_is_left(const struct outbox *o, uint16_t packet_id);

/* The device sends again under <packet_id>, with DUP. True when that waits to
   be sent again anyway: it has not forgotten that one. */
bool outbox_will_repeat(struct outbox *o, uint16_t packet_id);

/* Forgets all; returns how many those were. */
unsigned outbox_clear(struct outbox *o, struct loop *loop);

#endif
