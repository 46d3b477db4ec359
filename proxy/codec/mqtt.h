/*
 * mqtt: the fixed header of MQTT packets, and the few small packets the proxy
 * itself writes. Pure: bytes in, bytes out. Levels 3 (MQTT 3.1), 4 (3.1.1) and
 * 5 (5.0); section numbers are those of MQTT 5.0 unless said otherwise.
 */
#ifndef PROXY_CODEC_MQTT_H
#define PROXY_CODEC_MQTT_H

#include "base/parse.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mqtt_type {
	MQTT_CONNECT = 1,
	MQTT_CONNACK,
	MQTT_PUBLISH,
	MQTT_PUBACK,
	MQTT_PUBREC,
	MQTT_PUBREL,
	MQTT_PUBCOMP,
	MQTT_SUBSCRIBE,
	MQTT_SUBACK,
	MQTT_UNSUBSCRIBE,
	MQTT_UNSUBACK,
	MQTT_PINGREQ,
	MQTT_PINGRESP,
	MQTT_DISCONNECT,
	MQTT_AUTH
};

enum {
	MQTT_HEADER_MAX = 5,
	MQTT_REMAINING_MAX = 268435455, /* 1.5.5: four bytes of seven bits */
	MQTT_SMALL_MAX = 8 /* any packet written by the functions below */
};

struct mqtt_header {
	enum mqtt_type type;
	uint8_t flags;       /* the low four bits of the first byte */
	uint32_t remaining;  /* bytes behind the header */
	size_t header_bytes; /* 2 to 5 */
};

/* For mqtt_header_read(): for each type the flags it may have, a bit for each
   of the 16 values (2.1.3), and any header. */
extern const uint16_t mqtt_flags_allowed[16];
NODISCARD enum parse mqtt_header_read_any(
    struct span in, struct mqtt_header *out);

/*
 * Reads the fixed header at the start of <in>, which may be followed by
 * anything. PARSE_BAD: type 0, a remaining length of over four bytes, or flags
 * the standard forbids for the type (2.1.3; of PUBLISH: QoS 3, and DUP with QoS
 * 0, MQTT-3.3.1-2). Two things MQTT 5.0 forbids are accepted, because the level
 * is not known here and older ones allow them: a remaining length in a longer
 * form than needed (MQTT-1.5.5-1), and DUP on PUBREL, SUBSCRIBE and
 * UNSUBSCRIBE, which client libraries of MQTT 3.1 set when they send again
 * (3.1, section 2.1). AUTH is a type at every level here; whether it may appear
 * is for the session to say.
 */
NODISCARD static inline enum parse
mqtt_header_read(struct span in, struct mqtt_header *out)
{
	/* in line for what most packets are: under 128 bytes, and in order */
	if (in.n < 2 || in.p[1] > 0x7f ||
	    (mqtt_flags_allowed[in.p[0] >> 4] >> (in.p[0] & 0xf) & 1) == 0)
		return mqtt_header_read_any(in, out);
	*out = (struct mqtt_header){.type = in.p[0] >> 4,
	    .flags = in.p[0] & 0xf,
	    .remaining = in.p[1],
	    .header_bytes = 2};
	return PARSE_OK;
}

/* Returns the 2 to 5 bytes written. <remaining> at most MQTT_REMAINING_MAX. */
size_t mqtt_header_write(uint8_t out[static MQTT_HEADER_MAX],
    uint8_t first_byte, uint32_t remaining);

/* CONNACK without properties in the form of <level>. Returns its size. */
size_t mqtt_connack_write(uint8_t out[static MQTT_SMALL_MAX], uint8_t level,
    bool session_present, uint8_t code);

/* DISCONNECT; <code> is written at level 5 only, and only when it is not 0. */
size_t mqtt_disconnect_write(
    uint8_t out[static MQTT_SMALL_MAX], uint8_t level, uint8_t code);

size_t mqtt_pingreq_write(uint8_t out[static MQTT_SMALL_MAX]);
size_t mqtt_pingresp_write(uint8_t out[static MQTT_SMALL_MAX]);

/* UTF-8 as 1.5.4 demands it: well-formed, no surrogates, no U+0000. */
NODISCARD bool mqtt_utf8_valid(struct span s);

/* Takes a two-byte length and that many bytes (1.5.4, 1.5.6). */
NODISCARD bool mqtt_take_binary(struct span *in, struct span *out);

/* As above, and they are valid UTF-8. */
NODISCARD bool mqtt_take_string(struct span *in, struct span *out);

/* Takes a variable byte integer (1.5.5); false: none there, over four bytes, or
   not the shortest form (MQTT-1.5.5-1; only MQTT 5.0 has them inside a packet).
 */
NODISCARD bool mqtt_take_varint(struct span *in, uint32_t *out);

/* Returns the 1 to 4 bytes written. */
size_t mqtt_varint_write(uint8_t out[static 4], uint32_t value);

#endif
