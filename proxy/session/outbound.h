/*
 * outbound: the packet identifiers of the cloud's PUBLISHes that the device has
 * not acknowledged yet, for a device that outlives its link.
 *
 * To the device all links are one connection. So an identifier that it still
 * owes an acknowledgement for is not used for another message: one that comes
 * over another link is told under an identifier of our own. And a message that
 * the cloud sends again over another link (4.4), which the device has, is not
 * told twice.
 *
 * Plain memory of one session, on its thread. Bounded: over OUTBOUND_MAX
 * messages pass unrecorded, and the session cannot go on over another link.
 */
#ifndef PROXY_SESSION_OUTBOUND_H
#define PROXY_SESSION_OUTBOUND_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OUTBOUND_MAX = 1000 };

struct outbound_record;

/* Zero-initialised is empty; when empty it owns no memory. */
struct outbound {
	struct outbound_record *records; /* oldest first */
	size_t n;
	size_t cap;
	unsigned qos2;    /* of them */
	unsigned orphans; /* of them: of an earlier link, owed by the device */
	bool is_overfull; /* some are not recorded */
	uint16_t picked;  /* last */
};

void outbound_free(struct outbound *o);

enum outbound_move {
	OUTBOUND_PASS,   /* the packet goes on, under *packet_id */
	OUTBOUND_ANSWER, /* it does not: the device has acknowledged it before;
			    the cloud gets that now */
	OUTBOUND_TAKEN,  /* it does not, and nothing is to be written */
	OUTBOUND_NO_MEMORY
};

/* A PUBLISH of the cloud at QoS 1 or 2, under *packet_id. <mark>: a hash of the
   message, since DUP alone does not say of which session it is. */
NODISCARD enum outbound_move outbound_publish(struct outbound *o, uint8_t qos,
    bool dup, uint32_t mark, uint16_t *packet_id);

/* The device's PUBACK or PUBCOMP, or a PUBREC that refuses, for *packet_id.
   PASS or TAKEN. */
NODISCARD enum outbound_move outbound_acknowledge(
    struct outbound *o, uint16_t *packet_id);

/* Any other packet about such a message, from either side: what the other side
   calls it. */
uint16_t outbound_for_cloud(const struct outbound *o, uint16_t packet_id);
uint16_t outbound_for_device(const struct outbound *o, uint16_t packet_id);

/* The link is gone. */
void outbound_disconnect(struct outbound *o);

/* The cloud has forgotten its session: what it has sent before it will not send
   again. */
void outbound_forget_cloud(struct outbound *o);

#endif
