/*
 * judge: what device and cloud have received from a session, against what must
 * hold whatever both have sent: whole packets, of types that may stand there;
 * one packet a message, in masked frames (RFC 6455 5); one login, rightly
 * signed. Only the last packet or frame may be cut.
 */
#ifndef TESTS_FUZZ_JUDGE_H
#define TESTS_FUZZ_JUDGE_H

#include "fuzz.h"

#include "base/buffer.h"
#include "codec/mqtt.h"
#include "codec/mqtt_connect.h"
#include "codec/mqtt_packet.h"
#include "codec/ws.h"
#include "settings/credmap.h"

#include <stdbool.h>

#define TYPE_BIT(type) (1u << MQTT_##type)

enum {
	TO_BOTH = TYPE_BIT(PUBLISH) | TYPE_BIT(PUBACK) | TYPE_BIT(PUBREC) |
		  TYPE_BIT(PUBREL) | TYPE_BIT(PUBCOMP),
	TO_DEVICE = TO_BOTH | TYPE_BIT(SUBACK) | TYPE_BIT(UNSUBACK) |
		    TYPE_BIT(PINGRESP),
	TO_CLOUD = TO_BOTH | TYPE_BIT(SUBSCRIBE) | TYPE_BIT(UNSUBSCRIBE) |
		   TYPE_BIT(PINGREQ) | TYPE_BIT(DISCONNECT),
	/* at level 5 */
	MORE_TO_DEVICE = TYPE_BIT(DISCONNECT) | TYPE_BIT(AUTH),
	MORE_TO_CLOUD = TYPE_BIT(AUTH)
};

static inline void
judge_device(struct span in, uint8_t level)
{
	unsigned may = level >= 5 ? TO_DEVICE | MORE_TO_DEVICE : TO_DEVICE;
	bool answered = false;
	struct mqtt_header h;
	struct span packet;

	for (;;) {
		enum parse got = mqtt_header_read(in, &h);
		size_t n;

		MUST(got != PARSE_BAD);
		if (got == PARSE_MORE)
			return;
		if (!answered && h.type == MQTT_CONNACK)
			answered = true;
		else /* 4.12: AUTH may stand before CONNACK */
			MUST((answered || h.type == MQTT_AUTH) &&
			     (may & 1u << h.type) != 0);
		n = h.header_bytes + h.remaining;
		if (!span_take(&in, n, &packet))
			return;
	}
}

static inline void
judge_login(struct span packet, uint8_t level, const struct aliyun_login *due)
{
	struct mqtt_connect c;

	MUST(mqtt_connect_read(packet, &c, NULL));
	MUST(c.level == level);
	MUST(span_eq(c.client_id, span_of_string(due->client_id)));
	MUST(span_eq(c.username, span_of_string(due->username)));
	MUST(span_eq(c.password, span_of_string(due->password)));
	MUST(c.keep_alive_s >= 30 && c.keep_alive_s <= 1200);
}

struct judged_frame {
	uint8_t opcode;
	bool fin;
	struct span payload;
};

/* Masked with zeros, see stage.h. False: there is no whole one. */
static inline bool
judge_frame(struct span *in, struct judged_frame *out)
{
	static const uint8_t no_mask[WS_KEY_BYTES];
	struct span rest = *in, key;
	uint8_t first, second, byte;
	uint64_t n;
	int more = 0;

	if (!span_take_u8(&rest, &first) || !span_take_u8(&rest, &second))
		return false;
	MUST((first & 0x70) == 0 && (second & 0x80) != 0);
	n = second & 0x7f;
	if (n >= 126) {
		more = n == 126 ? 2 : 8;
		n = 0;
	}
	while (more-- > 0) {
		if (!span_take_u8(&rest, &byte))
			return false;
		n = n << 8 | byte;
	}
	if (!span_take(&rest, WS_KEY_BYTES, &key))
		return false;
	MUST(memcmp(key.p, no_mask, WS_KEY_BYTES) == 0);
	out->opcode = first & 0x0f;
	out->fin = (first & 0x80) != 0;
	if (n > rest.n || !span_take(&rest, (size_t)n, &out->payload))
		return false;
	*in = rest;
	return true;
}

/* What the cloud does not take does not come there. */
static inline void
judge_packet(struct span m, uint8_t level, const struct contract *c)
{
	bool retain = level >= 5 ? c->retain_5 : c->retain_3;
	struct mqtt_packet p;
	struct mqtt_filter f;
	unsigned n = 0;

	MUST(mqtt_packet_read(m, level, MQTT_FROM_CLIENT, &p, NULL));
	if (p.header.type == MQTT_PUBLISH) {
		MUST(p.qos <= c->qos_max && (retain || !p.retain));
		MUST(c->message_max == 0 || p.payload.n <= c->message_max);
		MUST(c->topic_max == 0 || p.topic.n <= c->topic_max);
	}
	if (p.header.type == MQTT_SUBSCRIBE ||
	    p.header.type == MQTT_UNSUBSCRIBE) {
		while (mqtt_filter_next(&p.payload, p.header.type, &f))
			n++;
		MUST(c->filters_per_subscribe == 0 ||
		     n <= c->filters_per_subscribe);
	}
}

/* A whole message: is it one packet that may come now? */
static inline void
judge_message(struct span m, bool first, uint8_t level,
    const struct aliyun_login *due, const struct contract *contract)
{
	unsigned may = level >= 5 ? TO_CLOUD | MORE_TO_CLOUD : TO_CLOUD;
	struct mqtt_header h;

	MUST(mqtt_header_read(m, &h) == PARSE_OK);
	MUST(m.n == h.header_bytes + (size_t)h.remaining);
	if (first)
		judge_login(m, level, due);
	else
		MUST((may & 1u << h.type) != 0);
	if (!first && contract != NULL)
		judge_packet(m, level, contract);
}

/* <due>: the login, when the cloud can have got one; <contract>: what it takes,
   NULL: not the same all the time. */
static inline void
judge_cloud(struct span in, uint8_t level, const struct aliyun_login *due,
    const struct contract *contract)
{
	static const char end[] = "\r\n\r\n";
	const uint8_t *head_end = in.n > 0 ? memmem(in.p, in.n, end, 4) : NULL;
	struct buffer message = {0};
	struct judged_frame f;
	bool first = true, open = false, closed = false;
	struct span head;

	if (head_end == NULL ||
	    !span_take(&in, (size_t)(head_end - in.p) + 4, &head))
		return; /* nothing may come before its answer */
	MUST(memcmp(head.p, "GET /mqtt HTTP/1.1\r\n", 20) == 0);
	while (judge_frame(&in, &f)) {
		MUST(!closed);
		if (f.opcode >= WS_CLOSE) {
			MUST(f.fin && f.payload.n <= WS_CONTROL_MAX);
			MUST(f.opcode == WS_CLOSE || f.opcode == WS_PONG);
			closed = f.opcode == WS_CLOSE;
			continue;
		}
		MUST(f.opcode == (open ? WS_CONTINUATION : WS_BINARY));
		MUST(buffer_append(&message, f.payload));
		open = !f.fin;
		if (open)
			continue;
		judge_message(
		    buffer_span(&message), first, level, due, contract);
		buffer_free(&message);
		first = false;
	}
	buffer_free(&message);
}

#endif
