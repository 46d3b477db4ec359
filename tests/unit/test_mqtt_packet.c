#include "codec/mqtt_packet.h"
#include "codec/mqtt_stream.h"

#include "guard.h"
#include "random_packet.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

enum { C = 1 << MQTT_FROM_CLIENT, S = 1 << MQTT_FROM_SERVER };
enum { L3 = 1 << 3, L4 = 1 << 4, L5 = 1 << 5, ALL = L3 | L4 | L5 };

static const enum mqtt_direction directions[] = {
    MQTT_FROM_CLIENT, MQTT_FROM_SERVER};

static void
assert_connect_equal(const struct mqtt_connect *a, const struct mqtt_connect *b)
{
	assert_int_equal(a->level, b->level);
	assert_int_equal(a->clean, b->clean);
	assert_int_equal(a->keep_alive_s, b->keep_alive_s);
	assert_span_equal(a->properties, b->properties);
	assert_span_equal(a->client_id, b->client_id);
	assert_int_equal(a->has_will, b->has_will);
	assert_int_equal(a->will_qos, b->will_qos);
	assert_int_equal(a->will_retain, b->will_retain);
	assert_span_equal(a->will_properties, b->will_properties);
	assert_span_equal(a->will_topic, b->will_topic);
	assert_span_equal(a->will_payload, b->will_payload);
	assert_int_equal(a->has_username, b->has_username);
	assert_span_equal(a->username, b->username);
	assert_int_equal(a->has_password, b->has_password);
	assert_span_equal(a->password, b->password);
}

/* All but the sizes in the header, which depend on the form it was in. */
static void
assert_packet_equal(const struct mqtt_packet *a, const struct mqtt_packet *b)
{
	assert_int_equal(a->header.type, b->header.type);
	assert_int_equal(a->dup, b->dup);
	assert_int_equal(a->qos, b->qos);
	assert_int_equal(a->retain, b->retain);
	assert_int_equal(a->packet_id, b->packet_id);
	assert_int_equal(a->reason_code, b->reason_code);
	assert_span_equal(a->topic, b->topic);
	assert_span_equal(a->properties, b->properties);
	assert_span_equal(a->payload, b->payload);
	if (a->header.type == MQTT_CONNECT)
		assert_connect_equal(&a->connect, &b->connect);
	if (a->header.type == MQTT_CONNACK) {
		assert_int_equal(
		    a->connack.session_present, b->connack.session_present);
		assert_int_equal(a->connack.code, b->connack.code);
		assert_span_equal(a->connack.properties, b->connack.properties);
	}
}

/* Written again, into just as much room as it asks for. */
static struct span
write_again(struct guard *g, const struct mqtt_packet *p, uint8_t level)
{
	size_t n = mqtt_packet_size(p, level);
	uint8_t *to = guard_room(g, n);

	assert_true(n > 0);
	mqtt_packet_write(p, level, to);
	return (struct span){to, n};
}

/* ---- packets that are right ---- */

/* clang-format off */
static const struct {
	const char *name;
	uint8_t levels;
	uint8_t from;
	struct span packet;  /* in its shortest form */
	struct mqtt_packet want; /* without the sizes in its header */
} vectors[] = {
	{ "CONNECT at level 3", ALL, C,
	  SPAN_OF("\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01" "c"),
	  { .header.type = MQTT_CONNECT,
	    .connect = { .level = 3, .clean = true, .keep_alive_s = 60,
			 .client_id = SPAN_OF("c") } } },
	{ "CONNECT at level 5", ALL, C,
	  SPAN_OF("\x10\x13\0\x04MQTT\x05\x02\0\x3c\x05\x11\0\0\0\x05\0\x01" "c"),
	  { .header.type = MQTT_CONNECT,
	    .connect = { .level = 5, .clean = true, .keep_alive_s = 60,
			 .properties = SPAN_OF("\x11\0\0\0\x05"),
			 .client_id = SPAN_OF("c") } } },
	{ "CONNACK with a session", L4, S,
	  SPAN_OF("\x20\x02\x01\0"),
	  { .header.type = MQTT_CONNACK,
	    .connack = { .session_present = true } } },
	{ "CONNACK that refuses", L3 | L4, S,
	  SPAN_OF("\x20\x02\0\x05"),
	  { .header.type = MQTT_CONNACK, .connack = { .code = 5 } } },
	{ "CONNACK with properties", L5, S,
	  SPAN_OF("\x20\x06\x01\0\x03\x21\0\x14"),
	  { .header.type = MQTT_CONNACK,
	    .connack = { .session_present = true,
			 .properties = SPAN_OF("\x21\0\x14") } } },
	{ "PUBLISH at QoS 0", L3 | L4, C | S,
	  SPAN_OF("\x30\x09\0\x03" "a/bhell"),
	  { .header.type = MQTT_PUBLISH, .topic = SPAN_OF("a/b"),
	    .payload = SPAN_OF("hell") } },
	{ "PUBLISH at QoS 1, again, retained", L3 | L4, C | S,
	  SPAN_OF("\x3b\x08\0\x03" "a/b\0\x01x"),
	  { .header.type = MQTT_PUBLISH, .dup = true, .qos = 1, .retain = true,
	    .packet_id = 1, .topic = SPAN_OF("a/b"),
	    .payload = SPAN_OF("x") } },
	{ "PUBLISH at QoS 2 without payload", L3 | L4, C | S,
	  SPAN_OF("\x34\x05\0\x01/\xff\xff"),
	  { .header.type = MQTT_PUBLISH, .qos = 2, .packet_id = 0xffff,
	    .topic = SPAN_OF("/") } },
	{ "PUBLISH on a topic in GBK", L3, C | S,
	  SPAN_OF("\x30\x08\0\x04\xce\xc2\xb6\xc8" "22"),
	  { .header.type = MQTT_PUBLISH, .topic = SPAN_OF("\xce\xc2\xb6\xc8"),
	    .payload = SPAN_OF("22") } },
	{ "PUBLISH without properties", L5, C | S,
	  SPAN_OF("\x30\x06\0\x02$a\0p"),
	  { .header.type = MQTT_PUBLISH, .topic = SPAN_OF("$a"),
	    .payload = SPAN_OF("p") } },
	{ "PUBLISH with an alias for its topic", L5, C | S,
	  SPAN_OF("\x32\x0f\0\0\0\x07\x08\x23\0\x01\x02\0\0\0\x3c\0\0"),
	  { .header.type = MQTT_PUBLISH, .qos = 1, .packet_id = 7,
	    .properties = SPAN_OF("\x23\0\x01\x02\0\0\0\x3c"),
	    .payload = SPAN_OF("\0\0") } },
	{ "PUBLISH with all that a client may say", L5, C | S,
	  SPAN_OF("\x30\x26\0\x01t\x22"
		  "\x01\x01\x02\0\0\0\x3c\x03\0\x01j\x08\0\x01r\x09\0\x01\xff"
		  "\x23\xff\xff\x26\0\x01k\0\x01v\x26\0\0\0\0"),
	  { .header.type = MQTT_PUBLISH, .topic = SPAN_OF("t"),
	    .properties = SPAN_OF(
		"\x01\x01\x02\0\0\0\x3c\x03\0\x01j\x08\0\x01r\x09\0\x01\xff"
		"\x23\xff\xff\x26\0\x01k\0\x01v\x26\0\0\0\0") } },
	{ "PUBLISH for two subscriptions", L5, S,
	  SPAN_OF("\x30\x09\0\x01t\x05\x0b\x01\x0b\xff\x7f"),
	  { .header.type = MQTT_PUBLISH, .topic = SPAN_OF("t"),
	    .properties = SPAN_OF("\x0b\x01\x0b\xff\x7f") } },
	{ "PUBACK", ALL, C | S, SPAN_OF("\x40\x02\x12\x34"),
	  { .header.type = MQTT_PUBACK, .packet_id = 0x1234 } },
	{ "PUBREC", ALL, C | S, SPAN_OF("\x50\x02\0\x01"),
	  { .header.type = MQTT_PUBREC, .packet_id = 1 } },
	{ "PUBREL", ALL, C | S, SPAN_OF("\x62\x02\0\x01"),
	  { .header.type = MQTT_PUBREL, .qos = 1, .packet_id = 1 } },
	{ "PUBREL, again", L3, C | S, SPAN_OF("\x6a\x02\0\x01"),
	  { .header.type = MQTT_PUBREL, .dup = true, .qos = 1,
	    .packet_id = 1 } },
	{ "PUBCOMP", ALL, C | S, SPAN_OF("\x70\x02\0\x01"),
	  { .header.type = MQTT_PUBCOMP, .packet_id = 1 } },
	{ "PUBACK with a code", L5, C | S, SPAN_OF("\x40\x03\0\x01\x10"),
	  { .header.type = MQTT_PUBACK, .packet_id = 1,
	    .reason_code = 0x10 } },
	{ "PUBREC with code and properties", L5, C | S,
	  SPAN_OF("\x50\x10\0\x01\x87\x0c\x1f\0\x02no\x26\0\x01k\0\x01v"),
	  { .header.type = MQTT_PUBREC, .packet_id = 1, .reason_code = 0x87,
	    .properties = SPAN_OF("\x1f\0\x02no\x26\0\x01k\0\x01v") } },
	{ "PUBCOMP with success and properties", L5, C | S,
	  SPAN_OF("\x70\x09\0\x01\0\x05\x1f\0\x02no"),
	  { .header.type = MQTT_PUBCOMP, .packet_id = 1,
	    .properties = SPAN_OF("\x1f\0\x02no") } },
	{ "SUBSCRIBE", L3 | L4, C,
	  SPAN_OF("\x82\x0c\0\x0a\0\x03" "a/b\x01\0\x01#\x02"),
	  { .header.type = MQTT_SUBSCRIBE, .qos = 1, .packet_id = 10,
	    .payload = SPAN_OF("\0\x03" "a/b\x01\0\x01#\x02") } },
	{ "SUBSCRIBE, again, with reserved bits", L3, C,
	  SPAN_OF("\x8a\x06\0\x0a\0\x01t\xfe"),
	  { .header.type = MQTT_SUBSCRIBE, .dup = true, .qos = 1,
	    .packet_id = 10, .payload = SPAN_OF("\0\x01t\xfe") } },
	{ "SUBSCRIBE with all options", L5, C,
	  SPAN_OF("\x82\x18\0\x0a\x02\x0b\x01"
		  "\0\x03" "a/+\x2e\0\x0a$share/g/+\x19"),
	  { .header.type = MQTT_SUBSCRIBE, .qos = 1, .packet_id = 10,
	    .properties = SPAN_OF("\x0b\x01"),
	    .payload = SPAN_OF("\0\x03" "a/+\x2e\0\x0a$share/g/+\x19") } },
	{ "SUBACK", L3 | L4, S, SPAN_OF("\x90\x06\0\x0a\0\x01\x02\x80"),
	  { .header.type = MQTT_SUBACK, .packet_id = 10,
	    .payload = SPAN_OF("\0\x01\x02\x80") } },
	{ "SUBACK with a reason", L5, S,
	  SPAN_OF("\x90\x09\0\x0a\x05\x1f\0\x02no\x8f"),
	  { .header.type = MQTT_SUBACK, .packet_id = 10,
	    .properties = SPAN_OF("\x1f\0\x02no"),
	    .payload = SPAN_OF("\x8f") } },
	{ "UNSUBSCRIBE", L3 | L4, C,
	  SPAN_OF("\xa2\x0a\xff\xff\0\x03" "a/b\0\x01+"),
	  { .header.type = MQTT_UNSUBSCRIBE, .qos = 1, .packet_id = 0xffff,
	    .payload = SPAN_OF("\0\x03" "a/b\0\x01+") } },
	{ "UNSUBSCRIBE, again", L3, C, SPAN_OF("\xaa\x05\0\x01\0\x01#"),
	  { .header.type = MQTT_UNSUBSCRIBE, .dup = true, .qos = 1,
	    .packet_id = 1, .payload = SPAN_OF("\0\x01#") } },
	{ "UNSUBSCRIBE with a property", L5, C,
	  SPAN_OF("\xa2\x0d\0\x01\x07\x26\0\x01k\0\x01v\0\x01t"),
	  { .header.type = MQTT_UNSUBSCRIBE, .qos = 1, .packet_id = 1,
	    .properties = SPAN_OF("\x26\0\x01k\0\x01v"),
	    .payload = SPAN_OF("\0\x01t") } },
	{ "UNSUBACK", L3 | L4, S, SPAN_OF("\xb0\x02\0\x01"),
	  { .header.type = MQTT_UNSUBACK, .packet_id = 1 } },
	{ "UNSUBACK with codes", L5, S, SPAN_OF("\xb0\x05\0\x01\0\0\x11"),
	  { .header.type = MQTT_UNSUBACK, .packet_id = 1,
	    .payload = SPAN_OF("\0\x11") } },
	{ "PINGREQ", ALL, C, SPAN_OF("\xc0\0"),
	  { .header.type = MQTT_PINGREQ } },
	{ "PINGRESP", ALL, S, SPAN_OF("\xd0\0"),
	  { .header.type = MQTT_PINGRESP } },
	{ "DISCONNECT", ALL, C, SPAN_OF("\xe0\0"),
	  { .header.type = MQTT_DISCONNECT } },
	{ "DISCONNECT of a server", L5, S, SPAN_OF("\xe0\0"),
	  { .header.type = MQTT_DISCONNECT } },
	{ "DISCONNECT with will", L5, C, SPAN_OF("\xe0\x01\x04"),
	  { .header.type = MQTT_DISCONNECT, .reason_code = 4 } },
	{ "DISCONNECT with session expiry", L5, C,
	  SPAN_OF("\xe0\x07\0\x05\x11\0\0\0\x01"),
	  { .header.type = MQTT_DISCONNECT,
	    .properties = SPAN_OF("\x11\0\0\0\x01") } },
	{ "DISCONNECT with a better server", L5, S,
	  SPAN_OF("\xe0\x06\x9c\x04\x1c\0\x01s"),
	  { .header.type = MQTT_DISCONNECT, .reason_code = 0x9c,
	    .properties = SPAN_OF("\x1c\0\x01s") } },
	{ "AUTH that is done", L5, S, SPAN_OF("\xf0\0"),
	  { .header.type = MQTT_AUTH } },
	{ "AUTH that goes on", L5, C | S,
	  SPAN_OF("\xf0\x0a\x18\x08\x15\0\x01m\x16\0\x01\xff"),
	  { .header.type = MQTT_AUTH, .reason_code = 0x18,
	    .properties = SPAN_OF("\x15\0\x01m\x16\0\x01\xff") } },
};
/* clang-format on */

static void
check_vector(size_t i, uint8_t level, enum mqtt_direction from)
{
	struct span packet = vectors[i].packet;
	struct guard in = {0}, out = {0};
	struct fault why = {R_NONE, ""};
	struct mqtt_packet p;

	if (!mqtt_packet_read(guard_copy(&in, packet), level, from, &p, &why))
		fail_msg("level %u: %s", level, why.text);
	assert_packet_equal(&p, &vectors[i].want);
	assert_int_equal(p.header.header_bytes + p.header.remaining, packet.n);
	assert_span_equal(write_again(&out, &p, level), packet);
	for (size_t n = 0; n < packet.n; n++) {
		struct span cut = {packet.p, n};

		if (mqtt_packet_read(
			guard_copy(&in, cut), level, from, &p, &why))
			fail_msg("level %u: its first %zu bytes", level, n);
		assert_int_equal(why.why, from == MQTT_FROM_CLIENT
					      ? R_BAD_PACKET
					      : R_BAD_CLOUD_PACKET);
	}
	guard_free(&in);
	guard_free(&out);
}

static void
test_vectors_and_every_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++) {
		print_message("%s\n", vectors[i].name);
		for (uint8_t level = 3; level <= 5; level++)
			for (size_t d = 0; d < 2; d++)
				if ((vectors[i].levels & 1 << level) != 0 &&
				    (vectors[i].from & 1 << d) != 0)
					check_vector(i, level, directions[d]);
	}
}

/* As they come from a network, a byte at a time: each is found whole, and where
   it ends. */
static void
test_vectors_byte_by_byte(void **state)
{
	struct mqtt_stream stream = {0};
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++) {
		struct span left = vectors[i].packet, byte;
		struct bytes got;

		got.n = 0;
		while (span_take(&left, 1, &byte)) {
			struct span in = guard_copy(&g, byte);
			struct mqtt_piece piece;

			if (mqtt_stream_next(&stream, &in, &piece) !=
			    PARSE_OK) {
				assert_true(got.n == 0 && left.n > 0);
				continue;
			}
			add(&got, piece.head);
			add(&got, piece.body);
			assert_int_equal(piece.ends, left.n == 0);
			assert_int_equal(in.n, 0);
		}
		assert_span_equal(
		    ((struct span){got.p, got.n}), vectors[i].packet);
		assert_true(mqtt_stream_at_boundary(&stream));
	}
	guard_free(&g);
}

/* The body cut short at every byte, under a header that agrees with it. */
static void
test_every_shorter_body(void **state)
{
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++) {
		struct span packet = vectors[i].packet;
		uint8_t level = (vectors[i].levels & L5) != 0 ? 5 : 3;
		enum mqtt_direction from =
		    directions[(vectors[i].from & C) == 0];

		for (size_t n = 0; n + 2 < packet.n; n++) {
			struct span body =
			    guard_copy(&g, (struct span){packet.p, n + 2});
			uint8_t *length = (uint8_t *)body.p + 1;
			struct mqtt_packet p;
			struct guard out = {0};

			*length = (uint8_t)n;
			if (mqtt_packet_read(body, level, from, &p, NULL))
				(void)write_again(&out, &p, level);
			guard_free(&out);
		}
	}
	guard_free(&g);
}

/* Other forms of the same: read, and written in the shortest. */
static void
test_longer_forms(void **state)
{
	static const struct {
		uint8_t levels;
		enum mqtt_direction from;
		struct span packet;
		struct span shortest;
	} rows[] = {
	    /* MQTT-1.5.5-1 is of 5.0 */
	    {L3 | L4, MQTT_FROM_CLIENT, SPAN_OF("\xc0\x80\0"),
		SPAN_OF("\xc0\0")},
	    {L3 | L4, MQTT_FROM_SERVER, SPAN_OF("\x40\x82\x80\x80\0\0\x01"),
		SPAN_OF("\x40\x02\0\x01")},
	    {L5, MQTT_FROM_CLIENT, SPAN_OF("\x40\x03\0\x01\0"),
		SPAN_OF("\x40\x02\0\x01")},
	    {L5, MQTT_FROM_CLIENT, SPAN_OF("\x40\x04\0\x01\0\0"),
		SPAN_OF("\x40\x02\0\x01")},
	    {L5, MQTT_FROM_CLIENT, SPAN_OF("\x62\x04\0\x01\x92\0"),
		SPAN_OF("\x62\x03\0\x01\x92")},
	    {L5, MQTT_FROM_CLIENT, SPAN_OF("\xe0\x01\0"), SPAN_OF("\xe0\0")},
	    {L5, MQTT_FROM_CLIENT, SPAN_OF("\xe0\x02\0\0"), SPAN_OF("\xe0\0")},
	    {L5, MQTT_FROM_SERVER, SPAN_OF("\xe0\x02\x8b\0"),
		SPAN_OF("\xe0\x01\x8b")},
	    /* a refusal by a server that knows no 5.0 */
	    {L5, MQTT_FROM_SERVER, SPAN_OF("\x20\x02\0\x05"),
		SPAN_OF("\x20\x03\0\x87\0")},
	    /* reserved at level 3 */
	    {L3, MQTT_FROM_SERVER, SPAN_OF("\x20\x02\x01\0"),
		SPAN_OF("\x20\x02\0\0")},
	};
	struct guard in = {0}, out = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		for (uint8_t level = 3; level <= 5; level++) {
			struct fault why = {R_NONE, ""};
			struct mqtt_packet p;

			if ((rows[i].levels & 1 << level) == 0)
				continue;
			if (!mqtt_packet_read(guard_copy(&in, rows[i].packet),
				level, rows[i].from, &p, &why))
				fail_msg("row %zu: %s", i, why.text);
			assert_span_equal(
			    write_again(&out, &p, level), rows[i].shortest);
		}
	}
	guard_free(&in);
	guard_free(&out);
}

/* ---- packets that are wrong ---- */

/* clang-format off */
/* Each breaks one rule, at these levels and from these senders; the fault says
   so. */
static const struct {
	uint8_t levels;
	uint8_t from;
	struct span packet;
	const char *text;
} refused[] = {
	/* the fixed header */
	{ ALL, C | S, SPAN_OF(""), "packet: the fixed header is cut short" },
	{ ALL, C, SPAN_OF("\xc0"), "PINGREQ: the fixed header is cut short" },
	{ ALL, C | S, SPAN_OF("\x00\x00"), "packet: type 0 is reserved (table 2-1)" },
	{ ALL, C | S, SPAN_OF("\x36\x04\0\x01t\x01"), "PUBLISH: the QoS is 3 (MQTT-3.3.1-4)" },
	{ ALL, C | S, SPAN_OF("\x38\x04\0\x01t\x01"), "PUBLISH: DUP is set at QoS 0 (MQTT-3.3.1-2)" },
	{ ALL, C | S, SPAN_OF("\x42\x02\0\x01"), "PUBACK: the flags are 0x2 (MQTT-2.1.3-1)" },
	{ ALL, C | S, SPAN_OF("\x60\x02\0\x01"), "PUBREL: the flags are 0x0 (MQTT-2.1.3-1)" },
	{ ALL, C, SPAN_OF("\x80\x06\0\x01\0\x01t\0"), "SUBSCRIBE: the flags are 0x0 (MQTT-2.1.3-1)" },
	{ ALL, C, SPAN_OF("\xa0\x05\0\x01\0\x01t"), "UNSUBSCRIBE: the flags are 0x0 (MQTT-2.1.3-1)" },
	{ ALL, S, SPAN_OF("\xd1\0"), "PINGRESP: the flags are 0x1 (MQTT-2.1.3-1)" },
	{ L4 | L5, C | S, SPAN_OF("\x6a\x02\0\x01"), "PUBREL: DUP is set (MQTT-2.1.3-1)" },
	{ L4, C, SPAN_OF("\x8a\x06\0\x01\0\x01t\0"), "SUBSCRIBE: DUP is set (MQTT-2.1.3-1)" },
	{ L5, C, SPAN_OF("\xaa\x06\0\x01\0\0\x01t"), "UNSUBSCRIBE: DUP is set (MQTT-2.1.3-1)" },
	{ ALL, C | S, SPAN_OF("\x30\xff\xff\xff\xff\x01"), "PUBLISH: the remaining length is over four bytes (1.5.5)" },
	{ L5, C, SPAN_OF("\xc0\x80\0"), "PINGREQ: the remaining length is not in the shortest form (MQTT-1.5.5-1)" },
	{ ALL, C, SPAN_OF("\xc0\0\0"), "PINGREQ: 1 bytes follow the fixed header, not 0" },
	{ ALL, C | S, SPAN_OF("\x40\x03\0\x01"), "PUBACK: 2 bytes follow the fixed header, not 3" },
	/* who may send what is in a test of its own; one of each text here */
	{ ALL, C, SPAN_OF("\xd0\0"), "PINGRESP: no client may send it" },
	{ L3 | L4, S, SPAN_OF("\xe0\0"), "DISCONNECT: no server may send it at level" },
	{ L4, C | S, SPAN_OF("\xf0\0"), "may send it at level 4 (table 2-1)" },
	/* CONNECT and CONNACK */
	{ ALL, C, SPAN_OF("\x10\x0d\0\x04MQTT\x04\x03\0\x3c\0\x01" "c"), "CONNECT: the reserved flag is set (MQTT-3.1.2-3)" },
	{ L4, S, SPAN_OF("\x20\x02\x02\0"), "CONNACK: reserved flags are set (MQTT-3.2.2-1)" },
	{ L5, S, SPAN_OF("\x20\x03\x80\0\0"), "CONNACK: reserved flags are set (MQTT-3.2.2-1)" },
	{ ALL, S, SPAN_OF("\x20\x01\0"), "CONNACK: the flags or reason code is missing" },
	{ L5, S, SPAN_OF("\x20\x02\0\0"), "CONNACK: the property length is missing" },
	{ L3 | L4, S, SPAN_OF("\x20\x03\0\0\0"), "CONNACK: 1 bytes follow the last field" },
	{ L5, S, SPAN_OF("\x20\x04\0\0\0\0"), "CONNACK: 1 bytes follow the last field" },
	{ L5, S, SPAN_OF("\x20\x05\0\0\x02\x17\0"), "CONNACK: property 0x17 Request Problem Information may not be there (table 2-4)" },
	/* topic names */
	{ ALL, C | S, SPAN_OF("\x30\0"), "PUBLISH: the topic name is missing or cut short" },
	{ ALL, C | S, SPAN_OF("\x30\x04\0\x03" "ab"), "PUBLISH: the topic name is missing or cut short" },
	{ L3 | L4, C | S, SPAN_OF("\x30\x03\0\0p"), "PUBLISH: the topic name is empty (MQTT-4.7.3-1)" },
	{ L5, C | S, SPAN_OF("\x30\x04\0\0\0p"), "PUBLISH: the topic name is empty, and there is no Topic Alias (3.3.2.1)" },
	{ ALL, C | S, SPAN_OF("\x30\x06\0\x03" "a/+\0"), "PUBLISH: the topic name has a wildcard (MQTT-4.7.0-1): 'a/+'" },
	{ ALL, C | S, SPAN_OF("\x30\x06\0\x03" "a/#\0"), "PUBLISH: the topic name has a wildcard (MQTT-4.7.0-1): 'a/#'" },
	{ ALL, C | S, SPAN_OF("\x30\x06\0\x03" "a\0b\0"), "PUBLISH: the topic name has U+0000 (MQTT-4.7.3-2): 'a\\x00b'" },
	{ L4 | L5, C | S, SPAN_OF("\x30\x07\0\x04\xce\xc2\xb6\xc8\0"), "PUBLISH: the topic name is not valid UTF-8 (MQTT-1.5.4-1): '\\xce\\xc2\\xb6\\xc8'" },
	{ L4 | L5, C | S, SPAN_OF("\x30\x06\0\x03\xed\xa0\x80\0"), "PUBLISH: the topic name is not valid UTF-8 (MQTT-1.5.4-1)" },
	/* packet identifiers */
	{ ALL, C | S, SPAN_OF("\x32\x06\0\x01t\0\0\0"), "PUBLISH: the packet identifier is 0 (MQTT-2.2.1-3, -4)" },
	{ ALL, C | S, SPAN_OF("\x34\x04\0\x01t\x01"), "PUBLISH: the packet identifier is missing or cut short" },
	{ ALL, C | S, SPAN_OF("\x40\x02\0\0"), "PUBACK: the packet identifier is 0" },
	{ ALL, C | S, SPAN_OF("\x50\x02\0\0"), "PUBREC: the packet identifier is 0" },
	{ ALL, C | S, SPAN_OF("\x62\x02\0\0"), "PUBREL: the packet identifier is 0" },
	{ ALL, C | S, SPAN_OF("\x70\x02\0\0"), "PUBCOMP: the packet identifier is 0" },
	{ ALL, C | S, SPAN_OF("\x70\x01\0"), "PUBCOMP: the packet identifier is missing or cut short" },
	{ ALL, C, SPAN_OF("\x82\x06\0\0\0\x01t\0"), "SUBSCRIBE: the packet identifier is 0" },
	{ ALL, C, SPAN_OF("\xa2\x05\0\0\0\x01t"), "UNSUBSCRIBE: the packet identifier is 0" },
	{ ALL, S, SPAN_OF("\x90\x03\0\0\0"), "SUBACK: the packet identifier is 0" },
	{ ALL, S, SPAN_OF("\xb0\x02\0\0"), "UNSUBACK: the packet identifier is 0" },
	/* property lists */
	{ L5, C | S, SPAN_OF("\x30\x03\0\x01t"), "PUBLISH: the property length is missing or cut short" },
	{ L5, C | S, SPAN_OF("\x30\x04\0\x01t\x80"), "PUBLISH: the property length is missing or cut short" },
	{ L5, C | S, SPAN_OF("\x30\x05\0\x01t\x80\0"), "PUBLISH: the property length is over four bytes or not the shortest form (MQTT-1.5.5-1)" },
	{ L5, C | S, SPAN_OF("\x30\x08\0\x01t\xff\xff\xff\xff\x7f"), "PUBLISH: the property length is over four bytes" },
	{ L5, C | S, SPAN_OF("\x30\x05\0\x01t\x02\x01"), "PUBLISH: the property list is missing or cut short" },
	{ L5, C | S, SPAN_OF("\x30\x05\0\x01t\x01\x7f"), "PUBLISH: property 0x7f is unknown (table 2-4)" },
	{ L5, C | S, SPAN_OF("\x30\x05\0\x01t\x01\x04"), "PUBLISH: property 0x04 is unknown (table 2-4)" },
	{ L5, C | S, SPAN_OF("\x30\x05\0\x01t\x01\x02"), "PUBLISH: property 0x02 Message Expiry Interval is cut short or not valid UTF-8 (1.5)" },
	{ L5, C | S, SPAN_OF("\x30\x08\0\x01t\x04\x03\0\x01\xff"), "PUBLISH: property 0x03 Content Type is cut short or not valid UTF-8 (1.5)" },
	{ L5, C | S, SPAN_OF("\x30\x07\0\x01t\x03\x21\0\x01"), "PUBLISH: property 0x21 Receive Maximum may not be there (table 2-4)" },
	{ L5, C | S, SPAN_OF("\x30\x07\0\x01t\x03\x23\0\0"), "PUBLISH: property 0x23 Topic Alias is out of its range (2.2.2)" },
	{ L5, C | S, SPAN_OF("\x30\x06\0\x01t\x02\x01\x02"), "PUBLISH: property 0x01 Payload Format Indicator is out of its range (2.2.2)" },
	{ L5, C | S, SPAN_OF("\x30\x0a\0\x01t\x06\x23\0\x01\x23\0\x01"), "PUBLISH: property 0x23 Topic Alias is there twice (2.2.2)" },
	{ L5, C | S, SPAN_OF("\x30\x0e\0\x01t\x0a\x02\0\0\0\x01\x02\0\0\0\x01"), "PUBLISH: property 0x02 Message Expiry Interval is there twice (2.2.2)" },
	{ L5, C | S, SPAN_OF("\x30\x06\0\x01t\x02\x0b\0"), "PUBLISH: property 0x0b Subscription Identifier is out of its range (2.2.2)" },
	{ L5, C, SPAN_OF("\x30\x06\0\x01t\x02\x0b\x01"), "PUBLISH: a client may not send a Subscription Identifier (MQTT-3.3.4-6)" },
	{ L5, C | S, SPAN_OF("\x30\x08\0\x01t\x04\x08\0\x01#"), "PUBLISH: the Response Topic has a wildcard (MQTT-4.7.0-1): '#'" },
	{ L5, C | S, SPAN_OF("\x30\x07\0\x01t\x03\x08\0\0"), "PUBLISH: the Response Topic is empty (MQTT-4.7.3-1)" },
	{ L5, C | S, SPAN_OF("\x40\x09\0\x01\0\x05\x11\0\0\0\x01"), "PUBACK: property 0x11 Session Expiry Interval may not be there (table 2-4)" },
	{ L5, C, SPAN_OF("\x82\x09\0\x01\x02\x0b\0\0\x01t\0"), "SUBSCRIBE: property 0x0b Subscription Identifier is out of its range (2.2.2)" },
	{ L5, C, SPAN_OF("\x82\x0b\0\x01\x04\x0b\x01\x0b\x02\0\x01t\0"), "SUBSCRIBE: property 0x0b Subscription Identifier is there twice (2.2.2)" },
	{ L5, C, SPAN_OF("\x82\x0b\0\x01\x04\x1f\0\x01x\0\x01t\0"), "SUBSCRIBE: property 0x1f Reason String may not be there (table 2-4)" },
	{ L5, C, SPAN_OF("\xa2\x08\0\x01\x02\x0b\x01\0\x01t"), "UNSUBSCRIBE: property 0x0b Subscription Identifier may not be there (table 2-4)" },
	{ L5, S, SPAN_OF("\x90\x06\0\x01\x02\x0b\x01\0"), "SUBACK: property 0x0b Subscription Identifier may not be there (table 2-4)" },
	{ L5, S, SPAN_OF("\xb0\x06\0\x01\x02\x0b\x01\0"), "UNSUBACK: property 0x0b Subscription Identifier may not be there (table 2-4)" },
	{ L5, S, SPAN_OF("\xe0\x07\x8b\x05\x11\0\0\0\x01"), "DISCONNECT: a server may not send a Session Expiry Interval (MQTT-3.14.2-2)" },
	{ L5, C, SPAN_OF("\xe0\x05\0\x03\x23\0\x01"), "DISCONNECT: property 0x23 Topic Alias may not be there (table 2-4)" },
	/* topic filters */
	{ L3 | L4, C, SPAN_OF("\x82\x02\0\x01"), "SUBSCRIBE: a topic filter is missing or cut short (MQTT-3.8.3-2, MQTT-3.10.3-2)" },
	{ L5, C, SPAN_OF("\x82\x03\0\x01\0"), "SUBSCRIBE: a topic filter is missing" },
	{ L3 | L4, C, SPAN_OF("\xa2\x02\0\x01"), "UNSUBSCRIBE: a topic filter is missing" },
	{ L5, C, SPAN_OF("\xa2\x03\0\x01\0"), "UNSUBSCRIBE: a topic filter is missing" },
	{ L3 | L4, C, SPAN_OF("\x82\x05\0\x01\0\x01t"), "SUBSCRIBE: a topic filter is missing or cut short" },
	{ L3 | L4, C, SPAN_OF("\xa2\x05\0\x01\0\x02t"), "UNSUBSCRIBE: a topic filter is missing or cut short" },
	{ L3 | L4, C, SPAN_OF("\x82\x07\0\x01\0\x01t\0\0"), "SUBSCRIBE: a topic filter is missing or cut short" },
	{ L3 | L4, C, SPAN_OF("\x82\x05\0\x01\0\0\0"), "SUBSCRIBE: the topic filter is empty (MQTT-4.7.3-1)" },
	{ L3 | L4, C, SPAN_OF("\xa2\x04\0\x01\0\0"), "UNSUBSCRIBE: the topic filter is empty (MQTT-4.7.3-1)" },
	{ L3 | L4, C, SPAN_OF("\x82\x06\0\x01\0\x01\0\0"), "SUBSCRIBE: the topic filter has U+0000 (MQTT-4.7.3-2)" },
	{ L4, C, SPAN_OF("\x82\x06\0\x01\0\x01\xff\0"), "SUBSCRIBE: the topic filter is not valid UTF-8 (MQTT-1.5.4-1): '\\xff'" },
	{ L3 | L4, C, SPAN_OF("\xa2\x06\0\x01\0\x02#/"), "UNSUBSCRIBE: the topic filter has a '#' that is not the whole last level (MQTT-4.7.1-1): '#/'" },
	{ L3 | L4, C, SPAN_OF("\xa2\x06\0\x01\0\x02" "a+"), "UNSUBSCRIBE: the topic filter has a '+' that is not a whole level (MQTT-4.7.1-2): 'a+'" },
	{ L5, C, SPAN_OF("\xa2\x0d\0\x01\0\0\x08$share/g"), "UNSUBSCRIBE: the topic filter is not $share/NAME/FILTER (MQTT-4.8.2-1, -2): '$share/g'" },
	/* the second of two */
	{ L3 | L4, C, SPAN_OF("\x82\x0a\0\x01\0\x01t\0\0\x01+\x03"), "SUBSCRIBE: the topic filter is asked for at QoS 3 (3.8.3.1): '+'" },
	/* subscription options */
	{ L3 | L4, C, SPAN_OF("\x82\x06\0\x01\0\x01t\x03"), "SUBSCRIBE: the topic filter is asked for at QoS 3 (3.8.3.1): 't'" },
	{ L5, C, SPAN_OF("\x82\x07\0\x01\0\0\x01t\x03"), "SUBSCRIBE: the topic filter is asked for at QoS 3 (3.8.3.1): 't'" },
	{ L4, C, SPAN_OF("\x82\x06\0\x01\0\x01t\x04"), "SUBSCRIBE: the topic filter has reserved option bits set (MQTT-3.8.3-5): 't'" },
	{ L5, C, SPAN_OF("\x82\x07\0\x01\0\0\x01t\x40"), "SUBSCRIBE: the topic filter has reserved option bits set (MQTT-3.8.3-5)" },
	{ L5, C, SPAN_OF("\x82\x07\0\x01\0\0\x01t\x80"), "SUBSCRIBE: the topic filter has reserved option bits set (MQTT-3.8.3-5)" },
	{ L5, C, SPAN_OF("\x82\x07\0\x01\0\0\x01t\x30"), "SUBSCRIBE: the topic filter has Retain Handling 3 (3.8.3.1): 't'" },
	{ L5, C, SPAN_OF("\x82\x10\0\x01\0\0\x0a$share/g/t\x04"), "SUBSCRIBE: the topic filter is shared and has No Local set (MQTT-3.8.3-4): '$share/g/t'" },
	/* reason codes; all of them are in a test of their own */
	{ L5, C | S, SPAN_OF("\x40\x03\0\x01\x92"), "PUBACK: reason code 0x92 is not one that a " },
	{ L5, S, SPAN_OF("\xe0\x01\x04"), "DISCONNECT: reason code 0x04 is not one that a server may send in it (MQTT-3.14.2-1)" },
	{ L5, C, SPAN_OF("\xe0\x01\x8b"), "DISCONNECT: reason code 0x8b is not one that a client may send in it (MQTT-3.14.2-1)" },
	{ L3 | L4, S, SPAN_OF("\x90\x03\0\x01\x03"), "SUBACK: return code 0x03 is reserved (MQTT-3.9.3-2)" },
	{ L3 | L4, S, SPAN_OF("\x90\x04\0\x01\0\x87"), "SUBACK: return code 0x87 is reserved (MQTT-3.9.3-2)" },
	{ L3 | L4, S, SPAN_OF("\x90\x02\0\x01"), "SUBACK: the reason codes are missing (3.9.3, 3.11.3)" },
	{ L5, S, SPAN_OF("\x90\x03\0\x01\0"), "SUBACK: the reason codes are missing" },
	{ L5, S, SPAN_OF("\xb0\x03\0\x01\0"), "UNSUBACK: the reason codes are missing" },
	{ L5, S, SPAN_OF("\xb0\x02\0\x01"), "UNSUBACK: the property length is missing" },
	/* AUTH */
	{ L5, C, SPAN_OF("\xf0\0"), "AUTH: reason code 0x00 is not one that a client may send in it (MQTT-3.15.2-1)" },
	{ L5, C | S, SPAN_OF("\xf0\x01\x18"), "AUTH: the property length is missing" },
	{ L5, C | S, SPAN_OF("\xf0\x02\x18\0"), "AUTH: there is no Authentication Method (MQTT-4.12.0-5)" },
	{ L5, S, SPAN_OF("\xf0\x06\0\x04\x16\0\x01x"), "AUTH: property 0x16 Authentication Data is there without its method (3.1.2.11.10)" },
	/* what is left over */
	{ ALL, C, SPAN_OF("\xc0\x01\0"), "PINGREQ: 1 bytes follow the last field" },
	{ ALL, S, SPAN_OF("\xd0\x01\0"), "PINGRESP: 1 bytes follow the last field" },
	{ L3 | L4, C, SPAN_OF("\xe0\x01\0"), "DISCONNECT: 1 bytes follow the last field" },
	{ L3 | L4, C | S, SPAN_OF("\x40\x03\0\x01\0"), "PUBACK: 1 bytes follow the last field" },
	{ L3 | L4, S, SPAN_OF("\xb0\x03\0\x01\0"), "UNSUBACK: 1 bytes follow the last field" },
	{ L5, C | S, SPAN_OF("\x40\x05\0\x01\0\0\0"), "PUBACK: 1 bytes follow the last field" },
	{ L5, C, SPAN_OF("\xe0\x03\0\0\0"), "DISCONNECT: 1 bytes follow the last field" },
};
/* clang-format on */

static void
test_refused(void **state)
{
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(refused); i++) {
		struct span packet = guard_copy(&g, refused[i].packet);

		for (uint8_t level = 3; level <= 5; level++) {
			for (size_t d = 0; d < 2; d++) {
				struct fault why = {R_NONE, ""};
				struct mqtt_packet p;

				if ((refused[i].levels & 1 << level) == 0 ||
				    (refused[i].from & 1 << d) == 0)
					continue;
				if (mqtt_packet_read(
					packet, level, directions[d], &p, &why))
					fail_msg(
					    "accepted: %s", refused[i].text);
				if (strstr(why.text, refused[i].text) == NULL)
					fail_msg("'%s' is not in '%s'",
					    refused[i].text, why.text);
				assert_int_equal(
				    why.why, d == 1 ? R_BAD_CLOUD_PACKET
					     : p.header.type == MQTT_CONNECT
						 ? R_BAD_CONNECT
						 : R_BAD_PACKET);
				assert_false(mqtt_packet_read(
				    packet, level, directions[d], &p, NULL));
			}
		}
	}
	guard_free(&g);
}

/* Table 2-1; who may send each type, from which level on. */
static void
test_who_may_send_what(void **state)
{
	static const struct {
		uint8_t client, server; /* the lowest level; 6: never */
		struct span packet;     /* a valid one, at levels 3 and 4 */
		struct span packet5;    /* and at 5 */
	} rows[] = {
	    {3, 6, SPAN_OF("\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01t"),
		SPAN_OF("\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01t")},
	    {6, 3, SPAN_OF("\x20\x02\0\0"), SPAN_OF("\x20\x03\0\0\0")},
	    {3, 3, SPAN_OF("\x30\x03\0\x01t"), SPAN_OF("\x30\x04\0\x01t\0")},
	    {3, 3, SPAN_OF("\x40\x02\0\x01"), SPAN_OF("\x40\x02\0\x01")},
	    {3, 3, SPAN_OF("\x50\x02\0\x01"), SPAN_OF("\x50\x02\0\x01")},
	    {3, 3, SPAN_OF("\x62\x02\0\x01"), SPAN_OF("\x62\x02\0\x01")},
	    {3, 3, SPAN_OF("\x70\x02\0\x01"), SPAN_OF("\x70\x02\0\x01")},
	    {3, 6, SPAN_OF("\x82\x06\0\x01\0\x01t\0"),
		SPAN_OF("\x82\x07\0\x01\0\0\x01t\0")},
	    {6, 3, SPAN_OF("\x90\x03\0\x01\0"), SPAN_OF("\x90\x04\0\x01\0\0")},
	    {3, 6, SPAN_OF("\xa2\x05\0\x01\0\x01t"),
		SPAN_OF("\xa2\x06\0\x01\0\0\x01t")},
	    {6, 3, SPAN_OF("\xb0\x02\0\x01"), SPAN_OF("\xb0\x04\0\x01\0\0")},
	    {3, 6, SPAN_OF("\xc0\0"), SPAN_OF("\xc0\0")},
	    {6, 3, SPAN_OF("\xd0\0"), SPAN_OF("\xd0\0")},
	    {3, 5, SPAN_OF("\xe0\0"), SPAN_OF("\xe0\0")},
	    {5, 5, SPAN_OF("\xf0\x06\x18\x04\x15\0\x01m"),
		SPAN_OF("\xf0\x06\x18\x04\x15\0\x01m")},
	};

	(void)state;
	assert_int_equal(ARRAY_LENGTH(rows), 15);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		for (uint8_t level = 3; level <= 5; level++) {
			struct span packet =
			    level < 5 ? rows[i].packet : rows[i].packet5;
			struct mqtt_packet p;

			assert_int_equal(packet.p[0] >> 4, i + 1);
			assert_int_equal(mqtt_packet_read(packet, level,
					     MQTT_FROM_CLIENT, &p, NULL),
			    level >= rows[i].client);
			assert_int_equal(mqtt_packet_read(packet, level,
					     MQTT_FROM_SERVER, &p, NULL),
			    level >= rows[i].server);
		}
	}
}

/* Every reason code in every packet that has one, from either side. */
static void
test_every_reason_code(void **state)
{
	static const struct {
		enum mqtt_direction from;
		struct span packet; /* the code stands at <at> */
		size_t at;
		struct span codes;
	} rows[] = {
#define ACK_CODES SPAN_OF("\0\x10\x80\x83\x87\x90\x91\x97\x99")
	    {MQTT_FROM_CLIENT, SPAN_OF("\x40\x03\0\x01?"), 4, ACK_CODES},
	    {MQTT_FROM_SERVER, SPAN_OF("\x40\x03\0\x01?"), 4, ACK_CODES},
	    {MQTT_FROM_CLIENT, SPAN_OF("\x50\x03\0\x01?"), 4, ACK_CODES},
	    {MQTT_FROM_SERVER, SPAN_OF("\x50\x03\0\x01?"), 4, ACK_CODES},
#undef ACK_CODES
	    {MQTT_FROM_CLIENT, SPAN_OF("\x62\x03\0\x01?"), 4,
		SPAN_OF("\0\x92")},
	    {MQTT_FROM_SERVER, SPAN_OF("\x62\x03\0\x01?"), 4,
		SPAN_OF("\0\x92")},
	    {MQTT_FROM_CLIENT, SPAN_OF("\x70\x03\0\x01?"), 4,
		SPAN_OF("\0\x92")},
	    {MQTT_FROM_SERVER, SPAN_OF("\x70\x03\0\x01?"), 4,
		SPAN_OF("\0\x92")},
	    {MQTT_FROM_SERVER, SPAN_OF("\x90\x05\0\x01\0\0?"), 6,
		SPAN_OF("\0\x01\x02\x80\x83\x87\x8f\x91\x97\x9e\xa1\xa2")},
	    {MQTT_FROM_SERVER, SPAN_OF("\xb0\x05\0\x01\0\0?"), 6,
		SPAN_OF("\0\x11\x80\x83\x87\x8f\x91")},
	    {MQTT_FROM_CLIENT, SPAN_OF("\xe0\x01?"), 2,
		SPAN_OF("\0\x04\x80\x81\x82\x83\x90\x93\x94\x95\x96\x97\x98"
			"\x99")},
	    {MQTT_FROM_SERVER, SPAN_OF("\xe0\x01?"), 2,
		SPAN_OF("\0\x80\x81\x82\x83\x87\x89\x8b\x8c\x8d\x8e\x8f\x90"
			"\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f"
			"\xa0\xa1\xa2")},
	    {MQTT_FROM_CLIENT, SPAN_OF("\xf0\x06?\x04\x15\0\x01m"), 2,
		SPAN_OF("\x18\x19")},
	    {MQTT_FROM_SERVER, SPAN_OF("\xf0\x06?\x04\x15\0\x01m"), 2,
		SPAN_OF("\0\x18")},
	};
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		for (unsigned code = 0; code < 256; code++) {
			struct span packet = guard_copy(&g, rows[i].packet);
			bool known = memchr(rows[i].codes.p, (int)code,
					 rows[i].codes.n) != NULL;
			struct mqtt_packet p;

			((uint8_t *)packet.p)[rows[i].at] = (uint8_t)code;
			if (mqtt_packet_read(
				packet, 5, rows[i].from, &p, NULL) != known)
				fail_msg("row %zu, code %02x", i, code);
		}
	}
	guard_free(&g);
}

/* ---- topics and filters ---- */

static bool
subscribes_to(struct guard *g, struct span filter, uint8_t level)
{
	size_t extra = level >= 5 ? 6 : 5;
	uint8_t *p = guard_room(g, 2 + extra + filter.n), *at = p;
	struct mqtt_packet packet;

	*at++ = 0x82;
	*at++ = (uint8_t)(extra + filter.n);
	*at++ = 0;
	*at++ = 1;
	if (level >= 5)
		*at++ = 0;
	*at++ = 0;
	*at++ = (uint8_t)filter.n;
	memcpy(at, filter.p, filter.n);
	at[filter.n] = 0;
	return mqtt_packet_read((struct span){p, 2 + extra + filter.n}, level,
	    MQTT_FROM_CLIENT, &packet, NULL);
}

/* 4.7.1, with its examples, and 4.8.2. */
static void
test_filters(void **state)
{
	static const struct span good[] = {SPAN_OF("#"), SPAN_OF("+"),
	    SPAN_OF("/"), SPAN_OF("//"), SPAN_OF("/+"), SPAN_OF("+/+"),
	    SPAN_OF("/#"), SPAN_OF("+/#"), SPAN_OF("sport/tennis/#"),
	    SPAN_OF("sport/+/player1"), SPAN_OF("+/tennis/#"),
	    SPAN_OF("a//+/b"), SPAN_OF("a b"), SPAN_OF("$SYS/#"),
	    SPAN_OF("$share"), SPAN_OF("$shared/x"), SPAN_OF("$share/g/#"),
	    SPAN_OF("$share/g//"), SPAN_OF("$share/g/+"),
	    SPAN_OF("$share/$share/$share/"),
	    SPAN_OF("\xe6\xb8\xa9\xe5\xba\xa6/+")};
	static const struct span bad[] = {SPAN_OF("sport/tennis#"),
	    SPAN_OF("sport/tennis/#/ranking"), SPAN_OF("##"), SPAN_OF("#/"),
	    SPAN_OF("a/#b"), SPAN_OF("sport+"), SPAN_OF("+a"), SPAN_OF("++"),
	    SPAN_OF("a/b+/c"), SPAN_OF("a/+b/c"), SPAN_OF("+#"), SPAN_OF("#+")};
	/* not of the form at level 5, and filters like others below it */
	static const struct span bad5[] = {SPAN_OF("$share/"),
	    SPAN_OF("$share/g"), SPAN_OF("$share/g/"), SPAN_OF("$share//t"),
	    SPAN_OF("$share/+/t"), SPAN_OF("$share/#")};
	struct guard g = {0};

	(void)state;
	for (uint8_t level = 3; level <= 5; level++) {
		for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
			if (!subscribes_to(&g, good[i], level))
				fail_msg("level %u, good %zu", level, i);
		for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
			if (subscribes_to(&g, bad[i], level))
				fail_msg("level %u, bad %zu", level, i);
		for (size_t i = 0; i < ARRAY_LENGTH(bad5); i++)
			if (subscribes_to(&g, bad5[i], level) != (level < 5))
				fail_msg("level %u, bad5 %zu", level, i);
	}
	assert_false(subscribes_to(&g, SPAN_OF("$share/a+b/t"), 5));
	assert_false(subscribes_to(&g, SPAN_OF("$share/a#/t"), 5));
	assert_false(subscribes_to(&g, SPAN_OF("$share/g/a+"), 5));
	assert_false(subscribes_to(&g, SPAN_OF("$share/g/#/a"), 5));
	guard_free(&g);
}

static void
test_filters_one_by_one(void **state)
{
	struct guard g = {0};
	struct mqtt_filter f;
	struct mqtt_packet p;
	struct span list;

	(void)state;
	assert_true(
	    mqtt_packet_read(guard_copy(&g, SPAN_OF("\x82\x0d\0\x01\0\0\x01"
						    "a\x2d\0\x03"
						    "b/#\x12")),
		5, MQTT_FROM_CLIENT, &p, NULL));
	list = p.payload;
	assert_true(mqtt_filter_next(&list, MQTT_SUBSCRIBE, &f));
	assert_span_equal(f.text, SPAN_OF("a"));
	assert_int_equal(f.options, 0x2d);
	assert_int_equal(f.qos, 1);
	assert_true(mqtt_filter_next(&list, MQTT_SUBSCRIBE, &f));
	assert_span_equal(f.text, SPAN_OF("b/#"));
	assert_int_equal(f.options, 0x12);
	assert_int_equal(f.qos, 2);
	assert_false(mqtt_filter_next(&list, MQTT_SUBSCRIBE, &f));

	list = guard_copy(&g, SPAN_OF("\0\x01"
				      "a\0\x01"
				      "b"));
	assert_true(mqtt_filter_next(&list, MQTT_UNSUBSCRIBE, &f));
	assert_span_equal(f.text, SPAN_OF("a"));
	assert_int_equal(f.options, 0);
	assert_true(mqtt_filter_next(&list, MQTT_UNSUBSCRIBE, &f));
	assert_span_equal(f.text, SPAN_OF("b"));
	assert_false(mqtt_filter_next(&list, MQTT_UNSUBSCRIBE, &f));
	guard_free(&g);
}

/* ---- the head of a PUBLISH ---- */

/* Every vector and everything refused: of each start the head reader says what
   the packet reader says of the whole, as early as it can. */
static void
check_heads(struct span packet, uint8_t level, enum mqtt_direction from)
{
	struct mqtt_packet whole, head;
	bool good = mqtt_packet_read(packet, level, from, &whole, NULL);
	size_t head_bytes = packet.n;
	struct guard g = {0};
	enum parse last = PARSE_MORE;

	if (good)
		head_bytes -= whole.payload.n;
	for (size_t n = 0; n <= packet.n; n++) {
		struct fault why = {R_NONE, ""};
		size_t used;
		enum parse got = mqtt_publish_head_read(
		    guard_copy(&g, (struct span){packet.p, n}), level, from,
		    &head, &used, &why);

		if (good)
			assert_int_equal(
			    got, n < head_bytes ? PARSE_MORE : PARSE_OK);
		if (last == PARSE_BAD)
			assert_int_equal(got, PARSE_BAD);
		if (got == PARSE_BAD)
			assert_int_equal(why.why, from == MQTT_FROM_CLIENT
						      ? R_BAD_PACKET
						      : R_BAD_CLOUD_PACKET);
		else
			assert_int_equal(why.why, R_NONE);
		assert_int_equal(used, got == PARSE_OK ? head_bytes : 0);
		if (got == PARSE_OK) {
			assert_int_equal(head.payload.n, n - head_bytes);
			head.payload = whole.payload;
			if (n == packet.n)
				assert_packet_equal(&head, &whole);
		}
		last = got;
	}
	if (packet.n > 0 && packet.p[0] >> 4 == MQTT_PUBLISH && !good)
		assert_int_equal(last, PARSE_BAD);
	guard_free(&g);
}

static void
test_publish_heads_and_every_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++)
		for (uint8_t level = 3; level <= 5; level++)
			for (size_t d = 0; d < 2; d++)
				if (vectors[i].packet.p[0] >> 4 == MQTT_PUBLISH)
					check_heads(vectors[i].packet, level,
					    directions[d]);
	for (size_t i = 0; i < ARRAY_LENGTH(refused); i++)
		for (uint8_t level = 3; level <= 5; level++)
			for (size_t d = 0; d < 2; d++)
				if (strncmp(refused[i].text, "PUBLISH: ", 9) ==
					0 &&
				    refused[i].packet.n ==
					2 + (size_t)refused[i].packet.p[1])
					check_heads(refused[i].packet, level,
					    directions[d]);
}

static enum parse
head_of(struct guard *g, struct span start, uint8_t level)
{
	struct mqtt_packet p;
	size_t n;

	return mqtt_publish_head_read(
	    guard_copy(g, start), level, MQTT_FROM_CLIENT, &p, &n, NULL);
}

static void
test_publish_head_of_what_streams(void **state)
{
	struct guard g = {0};
	struct mqtt_packet p;
	size_t n;

	(void)state;
	/* 256 MiB to come */
	assert_int_equal(
	    mqtt_publish_head_read(
		guard_copy(&g, SPAN_OF("\x32\xff\xff\xff\x7f\0\x01t"
				       "\0\x07\0ab")),
		5, MQTT_FROM_SERVER, &p, &n, NULL),
	    PARSE_OK);
	assert_int_equal(n, 11);
	assert_int_equal(p.packet_id, 7);
	assert_span_equal(p.topic, SPAN_OF("t"));
	assert_span_equal(p.payload, SPAN_OF("ab"));
	/* the packet behind it is not its payload */
	assert_int_equal(mqtt_publish_head_read(
			     guard_copy(&g, SPAN_OF("\x30\x04\0\x01tp\xc0\0")),
			     4, MQTT_FROM_CLIENT, &p, &n, NULL),
	    PARSE_OK);
	assert_int_equal(n, 5);
	assert_span_equal(p.payload, SPAN_OF("p"));
	/* what no further byte can mend is said at once */
	assert_int_equal(head_of(&g, SPAN_OF("\x30\x08\0\x07"), 4), PARSE_BAD);
	assert_int_equal(head_of(&g, SPAN_OF("\x30\x01"), 4), PARSE_BAD);
	assert_int_equal(head_of(&g, SPAN_OF("\x32\x04\0\x01t"), 4), PARSE_BAD);
	assert_int_equal(
	    head_of(&g, SPAN_OF("\x30\x7f\0\x02+a"), 4), PARSE_BAD);
	assert_int_equal(
	    head_of(&g, SPAN_OF("\x30\x06\0\x01t\x04"), 5), PARSE_BAD);
	assert_int_equal(
	    head_of(&g, SPAN_OF("\x30\x06\0\x01t\x02"), 5), PARSE_MORE);
	assert_int_equal(
	    head_of(&g, SPAN_OF("\x30\x7f\0\x01t\x80"), 5), PARSE_MORE);
	assert_int_equal(
	    head_of(&g, SPAN_OF("\x30\x04\0\x01t"), 5), PARSE_MORE);
	assert_int_equal(
	    head_of(&g, SPAN_OF("\x30\x7f\0\x01t\xff\xff\xff\xff"), 5),
	    PARSE_BAD);
	/* and so is what is no PUBLISH */
	assert_int_equal(head_of(&g, SPAN_OF("\xc0"), 4), PARSE_MORE);
	assert_int_equal(head_of(&g, SPAN_OF("\xc0\0"), 4), PARSE_BAD);
	assert_int_equal(head_of(&g, SPAN_OF("\x00"), 4), PARSE_BAD);
	guard_free(&g);
}

/* ---- writing ---- */

static void
test_sizes_at_their_bounds(void **state)
{
	static uint8_t many[65536];
	struct mqtt_packet p = {.header.type = MQTT_PUBLISH}, again;
	struct guard g = {0};
	struct span written;

	(void)state;
	memset(many, 'a', sizeof(many));
	p.topic = (struct span){many, 65535};
	written = write_again(&g, &p, 4);
	assert_int_equal(written.n, 1 + 3 + 2 + 65535);
	assert_true(
	    mqtt_packet_read(written, 4, MQTT_FROM_SERVER, &again, NULL));
	assert_packet_equal(&again, &p);
	p.topic.n = 65536;
	assert_int_equal(mqtt_packet_size(&p, 4), 0);
	/* sizes only: the bytes are not looked at */
	p.topic.n = 1;
	p.payload = (struct span){many, MQTT_REMAINING_MAX - 3};
	assert_int_equal(mqtt_packet_size(&p, 4), 5 + MQTT_REMAINING_MAX);
	assert_int_equal(mqtt_packet_size(&p, 5), 0);
	p.payload.n++;
	assert_int_equal(mqtt_packet_size(&p, 4), 0);
	p.payload.n = SIZE_MAX;
	assert_int_equal(mqtt_packet_size(&p, 4), 0);
	p.payload.n = 0;
	p.properties.n = SIZE_MAX;
	assert_int_equal(mqtt_packet_size(&p, 5), 0);
	p = (struct mqtt_packet){.header.type = MQTT_CONNACK};
	p.connack.properties.n = SIZE_MAX;
	assert_int_equal(mqtt_packet_size(&p, 5), 0);
	p = (struct mqtt_packet){.header.type = MQTT_CONNECT};
	p.connect.level = 4;
	p.connect.client_id = (struct span){many, 65536};
	assert_int_equal(mqtt_packet_size(&p, 4), 0);
	guard_free(&g);
}

/* ---- any packet there can be ---- */

/* Read, written and read again it is what it was; written a second time it is
   the same bytes. <room> is for what is written. */
static struct span
round_trip(struct guard *room, const struct mqtt_packet *p, uint8_t level,
    enum mqtt_direction from)
{
	struct span written = write_again(room, p, level), twice;
	struct fault why = {R_NONE, ""};
	struct mqtt_packet again;
	struct guard g = {0};

	if (!mqtt_packet_read(written, level, from, &again, &why))
		fail_msg("written, but not read again: %s", why.text);
	assert_packet_equal(&again, p);
	twice = write_again(&g, &again, level);
	assert_span_equal(twice, written);
	guard_free(&g);
	return written;
}

static void
test_round_trip_of_random_packets(void **state)
{
	unsigned types[16] = {0};
	struct guard in = {0}, out = {0};

	(void)state;
	random_seed = 1;
	for (unsigned turn = 0; turn < 100000; turn++) {
		uint8_t level = (uint8_t)(3 + below(3));
		enum mqtt_direction from = directions[below(2)];
		struct fault why = {R_NONE, ""};
		struct mqtt_packet p;
		struct bytes b;
		bool shortest =
		    random_packet(&b, random_type(level, from), level, from);
		struct span packet = {b.p, b.n}, written;

		if (!mqtt_packet_read(
			guard_copy(&in, packet), level, from, &p, &why))
			fail_msg("turn %u: %s", turn, why.text);
		written = round_trip(&out, &p, level, from);
		if (shortest)
			assert_span_equal(written, packet);
		else
			assert_true(written.n < packet.n);
		types[p.header.type]++;
	}
	for (enum mqtt_type type = MQTT_CONNECT; type <= MQTT_AUTH; type++)
		assert_in_range(types[type], 1000, 100000);
	guard_free(&in);
	guard_free(&out);
}

/* One to three bytes changed, or some missing: no byte too far is read, and
   what is still accepted is understood. */
static void
test_random_damage(void **state)
{
	unsigned good = 0, bad = 0;
	struct guard in = {0}, out = {0};

	(void)state;
	random_seed = 2;
	for (unsigned turn = 0; turn < 100000; turn++) {
		uint8_t level = (uint8_t)(3 + below(3));
		enum mqtt_direction from = directions[below(2)];
		struct fault why = {R_NONE, ""};
		struct mqtt_packet p, head;
		struct span packet;
		enum parse got;
		struct bytes b;
		size_t n;

		(void)random_packet(&b, random_type(level, from), level, from);
		for (unsigned hits = 1 + below(3); hits > 0; hits--)
			b.p[below((unsigned)b.n)] ^= (uint8_t)(1u << below(8));
		if (below(4) == 0) {
			b.n -= below((unsigned)b.n);
			if (b.n >= 2 && b.n < 130)
				b.p[1] = (uint8_t)(b.n - 2);
		}
		packet = guard_copy(&in, (struct span){b.p, b.n});
		if (mqtt_packet_read(packet, level, from, &p, &why)) {
			good++;
			(void)round_trip(&out, &p, level, from);
		} else {
			bad++;
			assert_int_not_equal(why.why, R_NONE);
			assert_true(strlen(why.text) > 8);
		}
		got = mqtt_publish_head_read(
		    packet, level, from, &head, &n, NULL);
		if (why.why == R_NONE && p.header.type == MQTT_PUBLISH)
			assert_int_equal(got, PARSE_OK);
		if (got == PARSE_OK)
			assert_true(
			    n <= packet.n && n + head.payload.n <= packet.n);
	}
	print_message("%u accepted, %u refused\n", good, bad);
	assert_in_range(good, 10000, 90000);
	guard_free(&in);
	guard_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors_and_every_prefix),
	    cmocka_unit_test(test_vectors_byte_by_byte),
	    cmocka_unit_test(test_every_shorter_body),
	    cmocka_unit_test(test_longer_forms),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_who_may_send_what),
	    cmocka_unit_test(test_every_reason_code),
	    cmocka_unit_test(test_filters),
	    cmocka_unit_test(test_filters_one_by_one),
	    cmocka_unit_test(test_publish_heads_and_every_prefix),
	    cmocka_unit_test(test_publish_head_of_what_streams),
	    cmocka_unit_test(test_sizes_at_their_bounds),
	    cmocka_unit_test(test_round_trip_of_random_packets),
	    cmocka_unit_test(test_random_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
