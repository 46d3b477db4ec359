/*
 * inbound: the packet identifiers of a device's PUBLISHes that are not finished
 * yet, and QoS 2 for a cloud that has none: the handshake is held with the
 * device here, and the message goes up once, at QoS 1.
 *
 *	device          here           cloud
 *	PUBLISH QoS 2 ->   -> PUBLISH QoS 1
 *	PUBREC        <-   <- PUBACK
 *	PUBREL        ->
 *	PUBCOMP       <-
 *
 * The record belongs to the device's identity and outlives a session, so that a
 * device that sends again after a broken connection (4.4) does so once only. On
 * its home's thread.
 *
 * QoS 1 passes as it is and is only counted, even under an identifier that is
 * in use for QoS 1 already: some firmware has one for all, and whether it
 * matters is for the cloud to say. But QoS 1 and QoS 2 under one identifier
 * could not be told apart in the cloud's PUBACKs, and 2.2.1 forbids it: BAD.
 * SUBSCRIBE and UNSUBSCRIBE are not looked at; see subscribing.h.
 *
 * What passes is changed in its first byte only, where type, DUP and QoS are:
 * so a PUBLISH may travel in pieces.
 */
#ifndef PROXY_SESSION_INBOUND_H
#define PROXY_SESSION_INBOUND_H

#include "base/attr.h"
#include "base/fault.h"
#include "codec/mqtt_packet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	INBOUND_QOS2_MAX = 200,      /* handshakes */
	INBOUND_IN_FLIGHT_MAX = 1000 /* PUBLISHes without their PUBACK */
};

struct inbound_record;

/* Zero-initialised is empty. When empty it owns no more than the first few
   places, and nothing behind inbound_disconnect() or inbound_forget(). */
struct inbound {
	struct inbound_record *records; /* oldest first */
	size_t n;
	size_t cap;
	unsigned qos2;      /* handshakes */
	unsigned in_flight; /* PUBLISHes without their PUBACK, of the device
			       and of the proxy */
	uint16_t picked;    /* last */
};

/* The session is over: forgets all. So it is when a clean one begins or ends
   (3.1.2.4, 4.1) and, above level 3, when the CONNACK says that the cloud has
   none (MQTT-3.2.2-5): the device forgets its own then. */
void inbound_forget(struct inbound *in);

/* The connection is over, the session is not. To be called, or
   inbound_forget(), before the first packet of the next one. */
void inbound_disconnect(struct inbound *in);

/* The same, but what the cloud has not acknowledged is kept, and is sent again,
   by others: the PUBACKs are still due. */
void inbound_reconnect(struct inbound *in);

/* The last PUBLISH under <packet_id> has not gone up, and never will: it broke
   off with the device's connection. */
void inbound_take_back(struct inbound *in, uint16_t packet_id);

enum inbound_move {
	INBOUND_PASS,   /* the packet goes on, with first_byte */
	INBOUND_ANSWER, /* it does not; the device gets <answer> */
	INBOUND_TAKEN,  /* it does not, and nothing is to be written */
	INBOUND_WAIT,   /* nothing was done; not before a PUBACK of the cloud */
	INBOUND_BAD,    /* it breaks the standard: <why> */
	INBOUND_NO_MEMORY /* nothing is to be written */
};

struct inbound_step {
	enum inbound_move move;
	uint8_t first_byte;
	uint8_t answer[MQTT_SMALL_MAX];
	size_t answer_bytes;
	struct fault why; /* of BAD only */
};

/*
 * <p> is a PUBLISH of the device with QoS 1 or 2, as mqtt_publish_head_read()
 * or mqtt_packet_read() has accepted it. One of QoS 2 passes as QoS 1 when it
 * is new, or with DUP when the connection broke before the cloud acknowledged
 * it. Else it is TAKEN while the PUBACK is awaited, and then has its ANSWER,
 * PUBREC, up to PUBREL, with or without DUP (MQTT-4.3.3-10). One of QoS 1 ends
 * a handshake of an earlier connection under its identifier.
 *
 * Over INBOUND_QOS2_MAX the oldest handshake goes that the device has not come
 * back to since its last connection: a device that has lost its memory never
 * will. If there is none, level 5 has PUBREC 0x97 (quota exceeded), and for
 * others it is BAD. Waiting would be of no use: only the device's own PUBRELs,
 * which come behind, make room.
 */
void inbound_publish(struct inbound *in, const struct mqtt_packet *p,
    uint8_t level, struct inbound_step *out);

/*
 * True when inbound_publish() would let <p> PASS, if there is memory. What has
 * no way up needs no turn there either.
 */
bool inbound_goes_up(const struct inbound *in, const struct mqtt_packet *p);

/* True while a PUBLISH, or its handshake, is not finished under this
 * identifier.
 */
bool inbound_has(const struct inbound *in, uint16_t packet_id);

/* True while a handshake of QoS 2 is held here under this identifier. */
bool inbound_has_qos2(const struct inbound *in, uint16_t packet_id);

/*
 * <p> is a PUBREL of the device: ANSWER, PUBCOMP, whether the identifier is
 * known or not, which level 5 tells with 0x92 (3.7.2.1). BAD: its PUBLISH has
 * had no PUBREC yet on this connection.
 */
void inbound_pubrel(struct inbound *in, const struct mqtt_packet *p,
    uint8_t level, struct inbound_step *out);

/*
 * <p> is a PUBACK of the cloud. PASS, for QoS 2 as a PUBREC, which at level 5
 * has the same codes and properties; one with an error ends the handshake
 * (MQTT-4.3.3-9). TAKEN: it is about a PUBLISH of the proxy's own. BAD: nothing
 * waits for it.
 */
void inbound_puback(
    struct inbound *in, const struct mqtt_packet *p, struct inbound_step *out);

/*
 * An identifier for a PUBLISH of the proxy's own, at QoS 1, which the caller is
 * about to send; in use up to its PUBACK. 0: none now, or no memory. A device
 * that happens to use it as well has to WAIT. Never the same twice in a row:
 * who has to avoid other identifiers as well asks again after inbound_return().
 */
NODISCARD uint16_t inbound_pick_id(struct inbound *in);

/* <packet_id>, as picked, was not used. */
void inbound_return(struct inbound *in, uint16_t packet_id);

#endif
