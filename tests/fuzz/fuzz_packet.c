/*
 * The first byte chooses level and sender. The rest is one MQTT packet, once
 * as it is, and once with a fixed header that is made to fit: it is read,
 * written, and read again, and so is the head of a PUBLISH, of which not all is
 * there.
 */
#include "fuzz.h"

#include "codec/mqtt_packet.h"

#include <string.h>

static void
check_equal(const struct mqtt_packet *a, const struct mqtt_packet *b)
{
	MUST(a->header.type == b->header.type);
	MUST(a->dup == b->dup && a->qos == b->qos && a->retain == b->retain);
	MUST(a->packet_id == b->packet_id);
	MUST(a->reason_code == b->reason_code);
	MUST(span_eq(a->topic, b->topic));
	MUST(span_eq(a->properties, b->properties));
	MUST(span_eq(a->payload, b->payload));
	if (a->header.type == MQTT_CONNECT)
		MUST(span_eq(a->connect.client_id, b->connect.client_id));
	if (a->header.type == MQTT_CONNACK)
		MUST(a->connack.code == b->connack.code);
}

static void
check_fault(const struct fault *why, enum mqtt_direction from)
{
	if (from == MQTT_FROM_SERVER)
		MUST(why->why == R_BAD_CLOUD_PACKET);
	else
		MUST(why->why == R_BAD_PACKET || why->why == R_BAD_CONNECT ||
		     why->why == R_UNSUPPORTED_LEVEL);
	MUST(strstr(why->text, ": ") != NULL);
	for (const char *c = why->text; *c != '\0'; c++)
		MUST(*c >= 0x20 && *c < 0x7f && *c != '"');
}

/* The entries of an accepted list are all there is. */
static void
check_filters(const struct mqtt_packet *p)
{
	struct span list = p->payload;
	struct mqtt_filter f;

	while (mqtt_filter_next(&list, p->header.type, &f))
		MUST(f.text.n > 0 && f.qos < 3);
	MUST(list.n == 0);
}

static void
check_written(
    const struct mqtt_packet *p, uint8_t level, enum mqtt_direction from)
{
	size_t n = mqtt_packet_size(p, level);
	uint8_t *first = malloc(n), *second = malloc(n);
	struct mqtt_packet again;

	MUST(n > 0 && first != NULL && second != NULL);
	mqtt_packet_write(p, level, first);
	MUST(mqtt_packet_read(
	    (struct span){first, n}, level, from, &again, NULL));
	check_equal(&again, p);
	MUST(mqtt_packet_size(&again, level) == n);
	mqtt_packet_write(&again, level, second);
	MUST(memcmp(first, second, n) == 0);
	free(first);
	free(second);
}

/* <whole> is how mqtt_packet_read() has read it; NULL: not at all. */
static void
try_heads(struct span packet, uint8_t level, enum mqtt_direction from,
    const struct mqtt_packet *whole)
{
	size_t head = whole != NULL ? packet.n - whole->payload.n : packet.n;
	enum parse last = PARSE_MORE;
	size_t used;

	for (size_t n = 0; n <= packet.n && n <= head + 1; n++) {
		uint8_t *bytes = malloc(n > 0 ? n : 1);
		struct mqtt_packet p;
		struct fault why;
		enum parse got;

		MUST(bytes != NULL);
		memcpy(bytes, packet.p, n);
		got = mqtt_publish_head_read(
		    (struct span){bytes, n}, level, from, &p, &used, &why);
		if (got == PARSE_BAD)
			check_fault(&why, from);
		if (last == PARSE_BAD)
			MUST(got == PARSE_BAD);
		if (whole != NULL) {
			MUST(got == (n < head ? PARSE_MORE : PARSE_OK));
			MUST(used == (n < head ? 0 : head));
		}
		if (got == PARSE_OK)
			MUST(used + p.payload.n <= n);
		last = got;
		free(bytes);
	}
}

static void
try_packet(struct span packet, uint8_t level, enum mqtt_direction from)
{
	struct mqtt_packet p;
	struct fault why;
	bool good = mqtt_packet_read(packet, level, from, &p, &why);

	if (good) {
		check_written(&p, level, from);
		if (p.header.type == MQTT_SUBSCRIBE ||
		    p.header.type == MQTT_UNSUBSCRIBE)
			check_filters(&p);
	} else {
		check_fault(&why, from);
	}
	if (packet.n > 0 && packet.p[0] >> 4 == MQTT_PUBLISH && packet.n <= 256)
		try_heads(packet, level, from, good ? &p : NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {data, size}, packet;
	enum mqtt_direction from;
	uint8_t first, type, level, *fits;
	size_t n;

	if (!span_take_u8(&in, &first))
		return 0;
	level = (uint8_t)(3 + first % 3);
	from = first / 3 % 2 == 0 ? MQTT_FROM_CLIENT : MQTT_FROM_SERVER;
	try_packet(in, level, from);

	packet = in;
	if (!span_take_u8(&packet, &type))
		return 0;
	fits = malloc(MQTT_HEADER_MAX + packet.n);
	MUST(fits != NULL);
	n = mqtt_header_write(fits, type, (uint32_t)packet.n);
	if (packet.n > 0)
		memcpy(fits + n, packet.p, packet.n);
	try_packet((struct span){fits, n + packet.n}, level, from);
	free(fits);
	return 0;
}
