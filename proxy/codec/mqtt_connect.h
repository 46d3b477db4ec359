/*
 * mqtt_connect: CONNECT, read and written (MQTT 3.1 section 3.1, 3.1.1 and 5.0
 * section 3.1). Pure. All spans point into the packet that was read.
 */
#ifndef PROXY_CODEC_MQTT_CONNECT_H
#define PROXY_CODEC_MQTT_CONNECT_H

#include "base/fault.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mqtt_connect {
	uint8_t level; /* 3 with "MQIsdp"; 4, 5 with "MQTT" */
	bool clean;    /* Clean Session, at level 5 Clean Start */
	uint16_t keep_alive_s;
	struct span properties; /* level 5, without their length */
	struct span client_id;  /* may be empty */
	bool has_will;
	uint8_t will_qos;
	bool will_retain;
	struct span will_properties; /* level 5, without their length */
	struct span will_topic;
	struct span will_payload;
	bool has_username;
	struct span username;
	bool has_password;
	struct span password;
};

/*
 * Reads a whole CONNECT packet, fixed header included. On false <why> holds
 * R_UNSUPPORTED_LEVEL (then out->level is the one to refuse it at, other
 * fields are not set) or R_BAD_CONNECT with the field that is wrong; then
 * out->level is set when it had been read, else 0.
 *
 * As lenient as real firmware needs where the standard's rule protects nobody:
 * an empty client identifier is accepted at every level, with or without
 * Clean Session, and so is one of over 23 bytes at level 3, because the proxy
 * puts its own in place. At level 3, which has no rule against them, the
 * reserved flag and will bits without a will are accepted and dropped, and a
 * login that the flags announce may be missing (3.1 section 3.1). A password
 * without a user name is refused at levels 3 and 4; 5.0 allows it (3.1.2.9).
 * A will topic that is empty or has a wildcard is refused: it would cost the
 * cloud session on the day it is published (MQTT-4.7.3-1, MQTT-4.7.0-1).
 */
NODISCARD bool mqtt_connect_read(
    struct span packet, struct mqtt_connect *out, struct fault *why);

/* Bytes that mqtt_connect_write() needs; 0 when the remaining length would be
   over MQTT_REMAINING_MAX or a field over 65,535 bytes. */
NODISCARD size_t mqtt_connect_size(const struct mqtt_connect *c);

/* Writes exactly mqtt_connect_size(c) bytes, fixed header included. */
void mqtt_connect_write(const struct mqtt_connect *c, uint8_t *out);

#endif
