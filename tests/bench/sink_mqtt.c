#include "sink.h"

#include <stdio.h>
#include <string.h>

enum { DOWN_QUEUED = 128 * 1024, PACKET_MAX = 64 * 1024 };

/* A packet as far as it is there. */
struct packet {
	const uint8_t *p;
	size_t header_bytes;
	size_t remaining; /* as the header says */
	size_t there;     /* of it */
};

static void
answer(struct client *c, const uint8_t *p, size_t n)
{
	if (c->websocket)
		sink_frame_begin(c, 2, n);
	bytes_add(&c->out, p, n);
}

static void
answer_id(struct client *c, uint8_t type, const uint8_t id[static 2])
{
	answer(c, (const uint8_t[]){type, 2, id[0], id[1]}, 4);
}

void
sink_down(struct client *c)
{
	static const uint8_t payload[64 * 1024];

	while (c->down_left > 0 && c->out.n - c->out_at < DOWN_QUEUED) {
		uint8_t head[16] = {0x30};
		size_t length = 6 + c->down_bytes;
		size_t n = 1;

		for (; length > 127; length >>= 7)
			head[n++] = (uint8_t)(0x80 | length);
		head[n++] = (uint8_t)length;
		memcpy(head + n, "\0\4down", 6);
		n += 6;
		if (c->websocket)
			sink_frame_begin(c, 2, n + c->down_bytes);
		bytes_add(&c->out, head, n);
		bytes_add(&c->out, payload, c->down_bytes);
		c->down_left--;
	}
}

static void
begin_down(struct client *c, const uint8_t *topic, size_t n)
{
	char text[32] = "";

	memcpy(text, topic, n < sizeof(text) ? n : sizeof(text) - 1);
	if (sscanf(text, "down/%u/%zu", &c->down_left, &c->down_bytes) != 2 ||
	    c->down_bytes > 64 * 1024)
		c->down_left = 0;
}

/* What the readers of packets found. */
enum taken { TAKEN, NOT_WHOLE, WRONG };

/* The payload is thrown away: it need not be there yet. */
static enum taken
take_publish(struct client *c, const struct packet *k)
{
	const uint8_t *body = k->p + k->header_bytes;
	size_t topic_bytes;
	size_t head;
	bool qos1 = (k->p[0] & 6) != 0;

	if (k->remaining < 2)
		return WRONG;
	if (k->there < 2)
		return NOT_WHOLE;
	topic_bytes = (size_t)body[0] << 8 | body[1];
	head = 2 + topic_bytes + (qos1 ? 2 : 0);
	if (head > k->remaining)
		return WRONG;
	if (head > k->there)
		return NOT_WHOLE;
	counters.messages++;
	if (topic_bytes > 5 && memcmp(body + 2, "down/", 5) == 0)
		begin_down(c, body + 2, topic_bytes);
	c->skip = k->remaining - k->there;
	c->owes_puback = qos1 && c->skip > 0;
	if (qos1)
		memcpy(c->puback_id, body + head - 2, 2);
	if (qos1 && c->skip == 0)
		answer_id(c, 0x40, c->puback_id);
	return TAKEN;
}

/* One filter a packet, which is what the load sends. */
static enum taken
take_subscribe(struct client *c, const uint8_t *body)
{
	answer(c, (const uint8_t[]){0x90, 3, body[0], body[1], 0}, 5);
	return TAKEN;
}

static enum taken
take_packet(struct client *c, const struct packet *k)
{
	static const uint8_t connack[] = {0x20, 2, 0, 0};
	static const uint8_t pingresp[] = {0xd0, 0};

	if (k->p[0] >> 4 == 3)
		return take_publish(c, k);
	if (k->remaining > PACKET_MAX)
		return WRONG;
	if (k->there < k->remaining)
		return NOT_WHOLE;
	switch (k->p[0] >> 4) {
	case 1:
		answer(c, connack, sizeof(connack));
		return TAKEN;
	case 8:
		return k->remaining < 5
			   ? WRONG
			   : take_subscribe(c, k->p + k->header_bytes);
	case 12:
		answer(c, pingresp, sizeof(pingresp));
		return TAKEN;
	default: /* DISCONNECT, or what the load never sends */
		return WRONG;
	}
}

/* MQTT 3.1.1, 2.2.3 */
static enum taken
find_packet(struct packet *k, const uint8_t *p, size_t n)
{
	*k = (struct packet){.p = p};
	for (size_t i = 1; i < n && i <= 4; i++) {
		k->remaining |= (size_t)(p[i] & 127) << 7 * (i - 1);
		if (p[i] < 128) {
			k->header_bytes = i + 1;
			break;
		}
	}
	if (k->header_bytes == 0)
		return n > 4 ? WRONG : NOT_WHOLE;
	k->there = n - k->header_bytes;
	if (k->there > k->remaining)
		k->there = k->remaining;
	return TAKEN;
}

/* Takes packets off; what is left is not whole. */
static bool
take_packets(struct client *c, const uint8_t **p, size_t *n)
{
	while (*n > 0 && c->skip == 0) {
		struct packet k;
		enum taken taken = find_packet(&k, *p, *n);

		if (taken == TAKEN)
			taken = take_packet(c, &k);
		if (taken != TAKEN)
			return taken == NOT_WHOLE;
		*p += k.header_bytes + k.there;
		*n -= k.header_bytes + k.there;
	}
	return true;
}

static void
skip(struct client *c, const uint8_t **p, size_t *n)
{
	size_t piece = c->skip < *n ? c->skip : *n;

	c->skip -= piece;
	*p += piece;
	*n -= piece;
	if (c->skip == 0 && c->owes_puback) {
		c->owes_puback = false;
		answer_id(c, 0x40, c->puback_id);
	}
}

bool
sink_packets(struct client *c, const uint8_t *p, size_t n)
{
	struct bytes kept = c->kept;
	bool ok = true;

	if (kept.n > 0) {
		bytes_add(&kept, p, n);
		c->kept = (struct bytes){0};
		p = kept.p;
		n = kept.n;
	}
	while (ok && n > 0 && c->kept.n == 0) {
		if (c->skip > 0)
			skip(c, &p, &n);
		ok = take_packets(c, &p, &n);
		if (n > 0 && c->skip == 0)
			bytes_add(&c->kept, p, n);
	}
	bytes_clear(&kept);
	return ok;
}
