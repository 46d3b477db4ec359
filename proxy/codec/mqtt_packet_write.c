#include "codec/mqtt_packet.h"

#include <assert.h>

/* Where the next byte goes; without <out>, bytes are only counted. */
struct writer {
	uint8_t *out;
	size_t n;
};

static void
put(struct writer *w, struct span s)
{
	if (w->out != NULL && s.n > 0)
		memcpy(w->out + w->n, s.p, s.n);
	w->n += s.n;
}

static void
put_u8(struct writer *w, uint8_t value)
{
	put(w, (struct span){&value, 1});
}

static void
put_u16(struct writer *w, size_t value)
{
	const uint8_t bytes[] = {(uint8_t)(value >> 8), (uint8_t)value};

	put(w, (struct span){bytes, sizeof(bytes)});
}

static void
put_properties(struct writer *w, uint8_t level, struct span list)
{
	uint8_t length[4];

	if (level < 5)
		return;
	put(w,
	    (struct span){length, mqtt_varint_write(length, (uint32_t)list.n)});
	put(w, list);
}

/* Left out where it may be: 3.4.2.1, 3.4.2.2.1, 3.14.2.1. */
static void
put_reason(struct writer *w, const struct mqtt_packet *p, uint8_t level)
{
	if (level < 5 || (p->reason_code == 0 && p->properties.n == 0))
		return;
	put_u8(w, p->reason_code);
	if (p->properties.n > 0)
		put_properties(w, level, p->properties);
}

/* All behind the fixed header, but of a CONNECT. */
static void
put_body(struct writer *w, const struct mqtt_packet *p, uint8_t level)
{
	switch (p->header.type) {
	case MQTT_PUBLISH:
		put_u16(w, p->topic.n);
		put(w, p->topic);
		if (p->qos > 0)
			put_u16(w, p->packet_id);
		put_properties(w, level, p->properties);
		put(w, p->payload);
		return;
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBREL:
	case MQTT_PUBCOMP:
		put_u16(w, p->packet_id);
		put_reason(w, p, level);
		return;
	case MQTT_SUBSCRIBE:
	case MQTT_SUBACK:
	case MQTT_UNSUBSCRIBE:
	case MQTT_UNSUBACK:
		put_u16(w, p->packet_id);
		put_properties(w, level, p->properties);
		put(w, p->payload);
		return;
	case MQTT_DISCONNECT:
	case MQTT_AUTH:
		put_reason(w, p, level);
		return;
	case MQTT_CONNACK:
		put_u8(w, p->connack.session_present);
		put_u8(w, p->connack.code);
		put_properties(w, level, p->connack.properties);
		return;
	case MQTT_CONNECT:
	case MQTT_PINGREQ:
	case MQTT_PINGRESP:
		return;
	}
}

/* The bytes behind the fixed header; over MQTT_REMAINING_MAX: too many. */
static size_t
body_bytes(const struct mqtt_packet *p, uint8_t level)
{
	struct writer counter = {NULL, 0};
	struct span properties = p->header.type == MQTT_CONNACK
				     ? p->connack.properties
				     : p->properties;

	/* first, so that the sum cannot overflow */
	if (p->topic.n > UINT16_MAX || properties.n > MQTT_REMAINING_MAX ||
	    p->payload.n > MQTT_REMAINING_MAX)
		return (size_t)MQTT_REMAINING_MAX + 1;
	put_body(&counter, p, level);
	return counter.n;
}

size_t
mqtt_packet_size(const struct mqtt_packet *p, uint8_t level)
{
	uint8_t header[MQTT_HEADER_MAX];
	size_t n;

	if (p->header.type == MQTT_CONNECT)
		return mqtt_connect_size(&p->connect);
	n = body_bytes(p, level);
	if (n > MQTT_REMAINING_MAX)
		return 0;
	return mqtt_header_write(header, 0, (uint32_t)n) + n;
}

/* Type, DUP, QoS, RETAIN (2.1.3). */
static uint8_t
first_byte(const struct mqtt_packet *p)
{
	return (uint8_t)((unsigned)p->header.type << 4 | (unsigned)p->dup << 3 |
			 (unsigned)p->qos << 1 | (unsigned)p->retain);
}

void
mqtt_packet_write(const struct mqtt_packet *p, uint8_t level, uint8_t *out)
{
	struct writer w = {out, 0};

	if (p->header.type == MQTT_CONNECT) {
		mqtt_connect_write(&p->connect, out);
		return;
	}
	assert(mqtt_packet_size(p, level) > 0);
	w.n = mqtt_header_write(
	    out, first_byte(p), (uint32_t)body_bytes(p, level));
	put_body(&w, p, level);
}

static struct mqtt_packet
without_payload(const struct mqtt_packet *p)
{
	struct mqtt_packet head = *p;

	head.payload = (struct span){NULL, 0};
	return head;
}

size_t
mqtt_publish_head_size(
    const struct mqtt_packet *p, uint8_t level, uint64_t payload_bytes)
{
	const struct mqtt_packet head = without_payload(p);
	size_t n = body_bytes(&head, level);
	uint8_t header[MQTT_HEADER_MAX];

	if (n > MQTT_REMAINING_MAX || payload_bytes > MQTT_REMAINING_MAX - n)
		return 0;
	return mqtt_header_write(header, 0, (uint32_t)(n + payload_bytes)) + n;
}

void
mqtt_publish_head_write(const struct mqtt_packet *p, uint8_t level,
    uint64_t payload_bytes, uint8_t *out)
{
	const struct mqtt_packet head = without_payload(p);
	struct writer w = {out, 0};

	assert(mqtt_publish_head_size(p, level, payload_bytes) > 0);
	w.n = mqtt_header_write(out, first_byte(p),
	    (uint32_t)(body_bytes(&head, level) + payload_bytes));
	put_body(&w, &head, level);
}
