/*
 * mqtt_stream: packets out of bytes that come in any pieces. Pure; keeps no
 * more than an incomplete fixed header.
 */
#ifndef PROXY_CODEC_MQTT_STREAM_H
#define PROXY_CODEC_MQTT_STREAM_H

#include "base/parse.h"
#include "base/span.h"
#include "codec/mqtt.h"

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialised is at the start of a packet. */
struct mqtt_stream {
	struct mqtt_header header; /* of the packet that is under way */
	uint32_t left;             /* its bytes still to come */
	uint8_t head_bytes;        /* of an incomplete fixed header */
	uint8_t head[MQTT_HEADER_MAX];
};

/* The next part of a packet: its head when it begins, then body bytes. */
struct mqtt_piece {
	struct mqtt_header header;
	struct span head; /* empty unless <begins>; may lie in the stream */
	struct span body; /* in the input */
	bool begins;
	bool ends;
};

/*
 * Takes the next piece off <in>. PARSE_MORE: all was taken, there is none.
 * PARSE_BAD: no MQTT fixed header (see mqtt_header_read()). The spans are valid
 * until the next call.
 */
NODISCARD enum parse mqtt_stream_next(
    struct mqtt_stream *s, struct span *in, struct mqtt_piece *out);

/* True between packets: other packets may be put in here. */
static inline bool
mqtt_stream_at_boundary(const struct mqtt_stream *s)
{
	return s->left == 0 && s->head_bytes == 0;
}

#endif
