/*
 * mqtt_describe: one MQTT packet as a line of text for a person. Pure.
 *
 * It does not judge: what is there is told also of a packet that breaks the
 * standard, which is where a look at it is worth most. A user name, a password,
 * Authentication Data, the value of a User Property and the message of a will
 * are never told, the message of a PUBLISH only when that is asked for.
 */
#ifndef PROXY_CODEC_MQTT_DESCRIBE_H
#define PROXY_CODEC_MQTT_DESCRIBE_H

#include "base/span.h"

#include <stddef.h>
#include <stdint.h>

enum { MQTT_DESCRIBE_MIN = 64 };

/* A type as the standard names it. */
const char *mqtt_type_word(unsigned type);

/*
 * Writes what <start> is, which is one packet or its first bytes, at <level>
 * (3, 4 or 5; a CONNECT names its own):
 *
 *	PUBLISH bytes=24 qos=1 id=7 topic="a/b" payload_bytes=13
 *
 * without an end of line, NUL-terminated, printable ASCII only. At most
 * <payload_max> bytes of a message are shown. What does not fit into <size>
 * bytes, at least MQTT_DESCRIBE_MIN, or is not in <start>, is marked by "...";
 * "malformed" stands where the packet cannot be read on. Returns <out>.
 */
const char *mqtt_describe(struct span start, uint8_t level, size_t payload_max,
    char *out, size_t size);

#endif
