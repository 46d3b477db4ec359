/*
 * subscribing: a device's SUBSCRIBEs and UNSUBSCRIBEs on their way to a cloud
 * that takes fewer topic filters in a packet, or a lower QoS, or other topics
 * than the device. Embedded in the session, on its thread; the packets it keeps
 * are its own.
 *
 * A packet that suits the cloud passes as it is; only its identifier and how
 * many codes are due are remembered. Any other is kept and goes up in parts
 * under the device's own identifier, each when the one before it has been
 * acknowledged, all with the properties of the device's packet. The device gets
 * one acknowledgement, with one code for each of its filters, in their order,
 * and the properties that came with the first part.
 *
 * What the device sent later goes up later: behind a packet that has parts left
 * all others are kept. An UNSUBSCRIBE that overtook the rest of a SUBSCRIBE
 * would be undone by it. One of which nothing goes up is answered when all
 * before it are.
 *
 * By 2.2.1 PUBLISH shares its identifiers with these. That is not looked at:
 * their acknowledgements differ in type, so nothing can be mistaken.
 */
#ifndef PROXY_SESSION_SUBSCRIBING_H
#define PROXY_SESSION_SUBSCRIBING_H

#include "base/attr.h"
#include "base/buffer.h"
#include "base/fault.h"
#include "base/span.h"
#include "codec/mqtt_packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
	SUBSCRIBING_MAX = 64,                    /* packets under way */
	SUBSCRIBING_KEPT_BYTES = 64 * 1024,      /* and one packet more, and: */
	SUBSCRIBING_ACK_PROPERTIES_BYTES = 1024, /* for each packet */
	SUBSCRIBING_PART_BYTES = 64 * 1024 /* of properties and filters; one
					       longer filter goes alone */
};

/* <stays>, of UNSUBSCRIBE: the device needs the filter for another of its own,
   so that it does not go up, but is answered as if it had. */
typedef void subscribing_emit(void *emit_arg, struct span filter, bool stays);

/* What the cloud takes. */
struct subscribing_rules {
	unsigned filters_max; /* of one packet; 0: no limit */
	uint8_t qos_max;      /* 0 to 2 */
	/*
	 * Calls <emit> with each of the cloud's topic filters, in order, that
	 * the device's <filter>, of a SUBSCRIBE or UNSUBSCRIBE, stands for.
	 * None: the device is told that the filter is invalid (0x8F; at level 4
	 * 0x80; level 3 has no code for a failure, so that it is granted what
	 * it asked for: MQTT 3.1, 3.8) or, by UNSUBACK, that no subscription
	 * existed (0x11). Called again for the same filter for each part: if
	 * it emits others then, filters may be left out or sent twice. NULL:
	 * the filter itself.
	 */
	void (*map)(void *arg, enum mqtt_type type, struct span filter,
	    subscribing_emit *emit, void *emit_arg);
	/*
	 * Told, before the device is, what the cloud has said to each of the
	 * device's <filters>, the payload of its packet, in one byte each of
	 * <codes> (below level 5, to UNSUBSCRIBE: none). With it every packet
	 * is kept until then. NULL: nobody has to know.
	 */
	void (*on_answer)(void *arg, enum mqtt_type type,
	    struct span properties, struct span filters, struct span codes);
	void *arg;
};

struct exchange; /* a packet and its acknowledgement */

/* While nothing is under way it owns no memory. */
struct subscribing {
	uint8_t level; /* 3 to 5 */
	unsigned count;
	size_t kept_bytes;                /* for the caller's account */
	TAILQ_HEAD(, exchange) exchanges; /* as they came */
};

void subscribing_init(struct subscribing *s, uint8_t level);

/* Forgets all: the connection is over, and with it all that was under way. */
void subscribing_free(struct subscribing *s);

enum subscribing_move {
	SUBSCRIBING_PASS,     /* the packet goes on as it is */
	SUBSCRIBING_TAKEN,    /* it does not; see subscribing_next() */
	SUBSCRIBING_WAIT,     /* nothing was done: too much is under way; not
				 before an acknowledgement */
	SUBSCRIBING_BAD,      /* it breaks the standard; nothing was done */
	SUBSCRIBING_NO_MEMORY /* nothing was done */
};

/*
 * <p> is a SUBSCRIBE or UNSUBSCRIBE of the device, as mqtt_packet_read() has
 * accepted it. BAD: its identifier is in use (MQTT-2.2.1-3), R_BAD_PACKET. But
 * a repetition at level 3, with DUP, is TAKEN: the answer is on its way.
 */
NODISCARD enum subscribing_move subscribing_take(struct subscribing *s,
    const struct mqtt_packet *p, const struct subscribing_rules *rules,
    struct fault *why);

/*
 * <p> is a SUBACK or UNSUBACK of the cloud, as mqtt_packet_read() has accepted
 * it. BAD: nothing waits for it, or it has too few or too many codes,
 * R_BAD_CLOUD_PACKET. Never WAIT. How long an acknowledgement may take is for
 * the caller to bound.
 */
NODISCARD enum subscribing_move subscribing_acknowledge(
    struct subscribing *s, const struct mqtt_packet *p, struct fault *why);

enum subscribing_to {
	SUBSCRIBING_NOTHING, /* until the next packet from either side */
	SUBSCRIBING_TO_CLOUD,
	SUBSCRIBING_TO_DEVICE,
	SUBSCRIBING_RESTORED, /* nothing: the answer is to a SUBSCRIBE of our
				 own */
	SUBSCRIBING_REFUSED,  /* the same, and a filter was refused */
	SUBSCRIBING_STARVED   /* without memory; nothing was done */
};

/*
 * Appends to <out> the next packet to be written, and says to whom. To be
 * called until there is nothing, after every packet that was taken or
 * acknowledged.
 */
NODISCARD enum subscribing_to subscribing_next(struct subscribing *s,
    const struct subscribing_rules *rules, struct buffer *out);

/*
 * The link is gone: what is under way is to be sent again, as from the
 * beginning, over another one. Only with an on_answer from the beginning on.
 */
void subscribing_restart(struct subscribing *s);

/*
 * Before all that is under way goes a SUBSCRIBE of our own with <n> filters,
 * behind others of that kind, under an identifier that is free (2.2.1). The
 * device does not see its answer. False without memory.
 */
NODISCARD bool subscribing_restore(struct subscribing *s, uint16_t packet_id,
    struct span properties, struct span filters, uint32_t n);

/* True while a packet with this identifier is under way. */
bool subscribing_has(const struct subscribing *s, uint16_t packet_id);

#endif
