/*
 * retained: what a device has told to be kept for whoever subscribes later
 * (MQTT 5.0 3.3.1.3), where the cloud keeps nothing: the last retained message
 * of each topic, as the device has named it. Small: beyond the bounds below the
 * oldest message goes. In memory only.
 *
 * The QoS of a message is not kept. It is told at QoS 0, for want of a packet
 * identifier: those towards the device are the cloud's, which may take any of
 * them into use at any time. So MQTT-3.8.4-8 is kept only for QoS 0; nothing is
 * lost by it but what a broken connection loses, and then the device subscribes
 * again.
 *
 * It belongs to the device's identity and outlives its sessions, clean ones too
 * (3.1.2.4: it is no part of their state). On its home's thread. It reads no
 * clock: <now_ms> is of clock_mono_ms(), and never goes back.
 */
#ifndef PROXY_SESSION_RETAINED_H
#define PROXY_SESSION_RETAINED_H

#include "base/attr.h"
#include "base/buffer.h"
#include "base/span.h"
#include "codec/mqtt_packet.h"
#include "link/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RETAINED_MAX = 64,
	RETAINED_BYTES_MAX = 32 * 1024 /* of memory, with what is around them */
};

struct retained_message {
	struct retained_message *next; /* that came after it */
	uint64_t number; /* all are counted as they come, from 1 */
	uint64_t came_ms;
	bool expires;
	uint32_t expiry_s;      /* as it came */
	size_t cost;            /* bytes of memory */
	struct span topic;      /* these three are in <bytes> */
	struct span properties; /* without what is made anew when it is told */
	struct span payload;
	uint8_t bytes[];
};

/* Zero-initialised is empty; when empty it owns no memory. */
struct retained {
	struct loop *loop; /* whose account the bytes are in */
	struct retained_message *oldest;
	unsigned n;
	size_t kept_bytes;
	uint64_t last_number;
	uint64_t dropped; /* for want of space, in all */
};

/* <loop> outlives what is kept. To be called again whenever a session begins,
   which changes nothing. */
void retained_init(struct retained *r, struct loop *loop);

/* Nothing is kept any more. */
void retained_free(struct retained *r);

/*
 * Keeps the message of <p>, a PUBLISH with a topic, in place of the one that
 * its topic has (MQTT-3.3.1-5); one without a payload only takes that back
 * (MQTT-3.3.1-6, -10, -11). One that is too big, or for which there is no
 * memory or no room in the worker's account, which may not be over half of its
 * bound then, is dropped, and with it what its topic had: that is not true any
 * more.
 */
void retained_put(
    struct retained *r, const struct mqtt_packet *p, uint64_t now_ms);

/* A message with this topic has come that cannot be kept: is dropped. */
void retained_drop(struct retained *r, struct span topic);

/* Its topic has no message any more. */
void retained_remove(struct retained *r, struct span topic);

/* The account has got smaller: all go when it is over half full, which those
   that stay for long may not fill. */
void retained_fit(struct retained *r);

/*
 * The first message with a number over <after> that has not expired; NULL:
 * there is none. Forgets those that have. Valid until the next call of another
 * function with <r> that is not const.
 */
const struct retained_message *retained_next(
    struct retained *r, uint64_t after, uint64_t now_ms);

/*
 * Appends the PUBLISH for a device of <level> that has just subscribed, with
 * RETAIN (MQTT-3.3.1-8) and, at level 5, with what is left of its Message
 * Expiry Interval (MQTT-3.3.2-6), and the property <subscription_id> as it
 * stands on the wire, or nothing (MQTT-3.3.4-3). <m> is from retained_next()
 * with the same <now_ms>. False without memory.
 */
NODISCARD bool retained_write(const struct retained_message *m, uint8_t level,
    struct span subscription_id, uint64_t now_ms, struct buffer *out);

#endif
