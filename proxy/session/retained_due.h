/*
 * retained_due: the SUBSCRIBEs of a device that the store of retained messages
 * has to answer: from when they go up until the last message that they are due
 * has been told. Part of a connection, on its session's thread.
 *
 * A SUBSCRIBE is due what the store has when the cloud's SUBACK goes to the
 * device, each message once (MQTT-3.3.4-2), if one of its filters matches that
 *  - the cloud has granted,
 *  - is not shared (4.8.2: a shared subscription gets none), at any level,
 *  - has no No Local: whatever is kept was published under this very identity
 *    (MQTT-3.8.3-3),
 *  - by its Retain Handling wants them (MQTT-3.3.1-9 to -11),
 *  - has not been taken back meanwhile.
 * What is published later comes from the cloud. Below level 5 there are no
 * options.
 */
#ifndef PROXY_SESSION_RETAINED_DUE_H
#define PROXY_SESSION_RETAINED_DUE_H

#include "base/span.h"
#include "codec/mqtt_packet.h"
#include "link/loop.h"
#include "session/filter_set.h"
#include "session/retained.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RETAINED_DUE_BYTES = 64 * 1024, /* of memory, and one packet more */
	RETAINED_DUE_FILTERS = 100 /* of a packet: each meets every message */
};

struct retained_request; /* a SUBSCRIBE */

/* While nothing is due it owns no memory. */
struct retained_due {
	struct loop *loop; /* whose account the bytes are in */
	uint8_t level;     /* 3 to 5 */
	struct retained_request *first;
	size_t kept_bytes;
};

/* <loop> outlives what is due. */
void retained_due_init(
    struct retained_due *d, struct loop *loop, uint8_t level);
void retained_due_free(struct retained_due *d);

/* True when no other SUBSCRIBE may be noted before SUBACKs have come, or before
   what is due has been told. */
static inline bool
retained_due_is_full(const struct retained_due *d)
{
	return d->kept_bytes >= RETAINED_DUE_BYTES;
}

/*
 * <p> is a SUBSCRIBE or UNSUBSCRIBE of the device that is taken, as
 * mqtt_packet_read() has accepted it. Without memory, or with more than
 * RETAINED_DUE_FILTERS, it is due nothing; an UNSUBSCRIBE with more takes all
 * back. <held>: the filters that the device has subscribed to, which a Retain
 * Handling of 1 asks for; only of level 5.
 */
void retained_due_note(struct retained_due *d, const struct mqtt_packet *p,
    struct filter_set *held);

/* <suback> is on its way to the device. Of one that answers nothing noted
   nothing is due. */
void retained_due_grant(struct retained_due *d,
    const struct mqtt_packet *suback, const struct retained *store,
    struct filter_set *held);

/*
 * The next message that is due, and the Subscription Identifier it goes with,
 * as it stands on the wire, or empty. NULL: there is none before the next
 * SUBACK. Valid until the next call with <d> or <store>. A topic that <level>
 * does not allow is left out.
 */
const struct retained_message *retained_due_next(struct retained_due *d,
    struct retained *store, uint64_t now_ms, struct span *subscription_id);

#endif
