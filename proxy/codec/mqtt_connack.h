/*
 * mqtt_connack: the cloud's CONNACK, read, and rewritten for the device.
 * Pure. Spans point into the packet that was read.
 */
#ifndef PROXY_CODEC_MQTT_CONNACK_H
#define PROXY_CODEC_MQTT_CONNACK_H

#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mqtt_connack {
	bool
	    session_present; /* always false at level 3, where it is reserved */
	uint8_t code;        /* 0: accepted */
	struct span properties; /* level 5, without their length */
	/* from the properties; 0 or empty when absent */
	bool has_server_keep_alive;
	uint16_t server_keep_alive_s;
	struct span reason_string;
};

/*
 * Reads a whole CONNACK of <level>, fixed header included; false: malformed.
 * At level 5 a refusal in the form of 3.1.1, as a server without MQTT 5.0 sends
 * it, is read as the code of 5.0 that says the same. A refusal never has a
 * session, whatever its bit says (MQTT-3.2.2-6).
 */
NODISCARD bool mqtt_connack_read(
    struct span packet, uint8_t level, struct mqtt_connack *out);

/*
 * Writes the CONNACK the device gets: as read, but at level 5 without what the
 * cloud says about itself or about the identity used with it (Server Keep
 * Alive, Server Reference, Assigned Client Identifier), and, when <assigned> is
 * not empty, with that as Assigned Client Identifier (3.2.2.3.7: due when the
 * device's own was empty). Returns the size written, 0 when it is over <size>;
 * packet.n + assigned.n + 8 is always enough.
 */
NODISCARD size_t mqtt_connack_for_device(const struct mqtt_connack *ack,
    uint8_t level, struct span assigned, uint8_t *out, size_t size);

/* A CONNACK code of <level> as the standard names it, in lower case with '_';
   "reserved_code" when it does not. */
const char *mqtt_connack_word(uint8_t level, uint8_t code);

#endif
