/*
 * A packet as a line of text: all types at all levels, packets that are cut or
 * broken, lines without room, and that nothing of a login is told.
 */
#include "codec/mqtt_describe.h"

#include "codec/mqtt.h"

#include "guard.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 600 };

/* The packet has no byte behind it that may be read, nor has the line. */
static const char *
described(struct guard *g, struct span packet, uint8_t level, size_t payload)
{
	static char out[LINE];
	char *line = malloc(LINE);

	assert_non_null(line);
	assert_ptr_equal(
	    mqtt_describe(guard_copy(g, packet), level, payload, line, LINE),
	    line);
	strcpy(out, line);
	free(line);
	return out;
}

#define CONNECT_4                                                              \
	"\x10\x25\x00\x04MQTT\x04\xf6\x00\x3c\x00\x02me\x00\x03w/t\x00\x02hi"  \
	"\x00\x04user\x00\x06hidden"
#define CONNECT_5                                                              \
	"\x10\x2c\x00\x04MQTT\x05\xc2\x00\x0a\x0f\x11\x00\x00\x00\x05\x15\x00" \
	"\x01m\x16\x00\x03key\x00\x02me\x00\x04user\x00\x06hidden"

static const struct {
	uint8_t level;
	struct span packet;
	const char *text;
} packets[] = {
    {4, SPAN_OF(CONNECT_4),
	"CONNECT bytes=39 level=4 clean=yes keep_alive=60 client_id=\"me\""
	" will_qos=2 will_retain will_topic=\"w/t\" will_bytes=2 username=yes"
	" password=yes"},
    {3, SPAN_OF("\x10\x10\x00\x06MQIsdp\x03\x00\x00\x00\x00\x02me"),
	"CONNECT bytes=18 level=3 clean=no keep_alive=0 client_id=\"me\""
	" username=no password=no"},
    {4, SPAN_OF("\x20\x02\x01\x00"),
	"CONNACK bytes=4 code=0x00 accepted session_present"},
    {3, SPAN_OF("\x20\x02\x00\x05"),
	"CONNACK bytes=4 code=0x05 not_authorized"},
    {5, SPAN_OF("\x20\x08\x00\x00\x05\x13\x00\x3c\x24\x01"),
	"CONNACK bytes=10 code=0x00 success server_keep_alive=60"
	" maximum_qos=1"},
    {5, SPAN_OF("\x20\x02\x00\x87"),
	"CONNACK bytes=4 code=0x87 not_authorized"},
    {4,
	SPAN_OF("\x30\x06\x00\x03"
		"a/bx"),
	"PUBLISH bytes=8 qos=0 topic=\"a/b\" payload_bytes=1"},
    {4,
	SPAN_OF("\x3b\x07\x00\x03"
		"a/b\x12\x34"),
	"PUBLISH bytes=9 qos=1 dup retain id=4660 topic=\"a/b\""
	" payload_bytes=0"},
    {5,
	SPAN_OF("\x34\x10\x00\x00\x00\x07\x0a\x23\x00\x02\x26\x00\x01n\x00\x01v"
		"p"),
	"PUBLISH bytes=18 qos=2 id=7 topic=\"\" topic_alias=2"
	" user_property=\"n\" payload_bytes=1"},
    {4, SPAN_OF("\x40\x02\x00\x07"), "PUBACK bytes=4 id=7"},
    {5, SPAN_OF("\x40\x02\x00\x07"), "PUBACK bytes=4 id=7"},
    {5, SPAN_OF("\x40\x03\x00\x07\x10"), "PUBACK bytes=5 id=7 code=0x10"},
    {5,
	SPAN_OF("\x50\x0a\x00\x07\x97\x06\x1f\x00\x03"
		"too"),
	"PUBREC bytes=12 id=7 code=0x97 reason=\"too\""},
    {4, SPAN_OF("\x62\x02\x00\x07"), "PUBREL bytes=4 id=7"},
    {4, SPAN_OF("\x70\x02\x00\x07"), "PUBCOMP bytes=4 id=7"},
    {4,
	SPAN_OF("\x82\x0c\x00\x01\x00\x01#\x01\x00\x03"
		"a/+\x00"),
	"SUBSCRIBE bytes=14 id=1 filter=\"#\" qos=1 filter=\"a/+\" qos=0"},
    {5, SPAN_OF("\x82\x09\x00\x01\x02\x0b\x05\x00\x01#\x2e"),
	"SUBSCRIBE bytes=11 id=1 subscription_id=5 filter=\"#\" qos=2"
	" options=0x2e"},
    {4, SPAN_OF("\x90\x04\x00\x01\x01\x80"),
	"SUBACK bytes=6 id=1 codes=0x01,0x80"},
    {5, SPAN_OF("\x90\x04\x00\x01\x00\x87"), "SUBACK bytes=6 id=1 codes=0x87"},
    {4, SPAN_OF("\xa2\x05\x00\x01\x00\x01#"),
	"UNSUBSCRIBE bytes=7 id=1 filter=\"#\""},
    {4, SPAN_OF("\xb0\x02\x00\x01"), "UNSUBACK bytes=4 id=1"},
    {5, SPAN_OF("\xb0\x05\x00\x01\x00\x00\x11"),
	"UNSUBACK bytes=7 id=1 codes=0x00,0x11"},
    {4, SPAN_OF("\xc0\x00"), "PINGREQ bytes=2"},
    {4, SPAN_OF("\xd0\x00"), "PINGRESP bytes=2"},
    {4, SPAN_OF("\xe0\x00"), "DISCONNECT bytes=2"},
    {5, SPAN_OF("\xe0\x01\x8b"), "DISCONNECT bytes=3 code=0x8b"},
    {5, SPAN_OF("\xe0\x07\x00\x05\x11\x00\x00\x00\x09"),
	"DISCONNECT bytes=9 code=0x00 session_expiry=9"},
    {5, SPAN_OF("\xf0\x00"), "AUTH bytes=2"},
    {5, SPAN_OF("\xf0\x0c\x18\x0a\x15\x00\x01m\x16\x00\x03key"),
	"AUTH bytes=14 code=0x18 auth_method=\"m\" auth_bytes=3"},
    {5, SPAN_OF(CONNECT_5),
	"CONNECT bytes=46 level=5 clean=yes keep_alive=10 client_id=\"me\""
	" username=yes password=yes session_expiry=5 auth_method=\"m\""
	" auth_bytes=3"},
    /* broken ones: what can be read of them */
    {4, SPAN_OF(""), "malformed"},
    {4, SPAN_OF("\x00\x00"), "malformed first_byte=0x00"},
    {4, SPAN_OF("\x30\xff\xff\xff\xff\x01"), "malformed first_byte=0x30"},
    {4, SPAN_OF("\x10\x02hi"), "CONNECT bytes=4 malformed"},
    {4, SPAN_OF("\x20\x01\x00"), "CONNACK bytes=3 malformed"},
    {4,
	SPAN_OF("\x30\x03\x00\x09"
		"a"),
	"PUBLISH bytes=5 qos=0 malformed"},
    {5,
	SPAN_OF("\x30\x05\x00\x01"
		"a\x01\x99"),
	"PUBLISH bytes=7 qos=0 topic=\"a\" malformed"},
    {4, SPAN_OF("\x40\x01\x00"), "PUBACK bytes=3 malformed"},
    {4, SPAN_OF("\x82\x05\x00\x01\x00\x01#"),
	"SUBSCRIBE bytes=7 id=1 filter=\"#\" malformed"},
    /* escapes: what moves a terminal's cursor, quotes, no ASCII */
    {4, SPAN_OF("\x30\x07\x00\x05\"\x1b\\\n\xc3"),
	"PUBLISH bytes=9 qos=0 topic=\"\\x22\\x1b\\x5c\\x0a\\xc3\""
	" payload_bytes=0"},
};

static void
test_packets(void **state)
{
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(packets); i++)
		assert_string_equal(
		    described(&g, packets[i].packet, packets[i].level, 0),
		    packets[i].text);
	guard_free(&g);
}

/* Each one cut after each of its bytes: no byte behind them is read, and the
   line ends as it has to. */
static void
test_every_prefix(void **state)
{
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(packets); i++) {
		struct mqtt_header h;
		struct span in = packets[i].packet;

		if (mqtt_header_read(in, &h) != PARSE_OK)
			continue;
		for (in.n = h.header_bytes; in.n < packets[i].packet.n;
		     in.n++) {
			const char *text =
			    described(&g, in, packets[i].level, 99);

			assert_null(strstr(text, "hidden"));
			assert_null(strstr(text, "malformed"));
		}
	}
	guard_free(&g);
}

/* Nor anywhere else. */
static void
test_no_login(void **state)
{
	static const struct span logins[] = {
	    SPAN_OF(CONNECT_4), SPAN_OF(CONNECT_5)};
	struct guard g = {0};
	uint8_t packet[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(logins); i++) {
		const char *text = described(&g, logins[i], 5, 99);

		assert_null(strstr(text, "user\""));
		assert_null(strstr(text, "key"));
		assert_null(strstr(text, "hidden"));
		/* whatever byte of it is another */
		for (size_t at = 0; at < logins[i].n; at++)
			for (int byte = 0; byte < 256; byte++) {
				struct span in = {packet, logins[i].n};

				memcpy(packet, logins[i].p, in.n);
				packet[at] = (uint8_t)byte;
				if (packet[0] != 0x10)
					continue;
				assert_null(
				    strstr(described(&g, in, 5, 99), "hidden"));
			}
	}
	guard_free(&g);
}

static void
test_payload(void **state)
{
	static const struct span packet = SPAN_OF("\x30\x09\x00\x01"
						  "tab\x00\"de");
	struct guard g = {0};
	struct span first = {packet.p, packet.n - 2};

	(void)state;
	assert_string_equal(described(&g, packet, 4, 0),
	    "PUBLISH bytes=11 qos=0 topic=\"t\" payload_bytes=6");
	assert_string_equal(described(&g, packet, 4, 6),
	    "PUBLISH bytes=11 qos=0 topic=\"t\" payload_bytes=6"
	    " payload=\"ab\\x00\\x22de\"");
	assert_string_equal(described(&g, packet, 4, 2),
	    "PUBLISH bytes=11 qos=0 topic=\"t\" payload_bytes=6"
	    " payload=\"ab\"...");
	/* what is not here */
	assert_string_equal(described(&g, first, 4, 6),
	    "PUBLISH bytes=11 qos=0 topic=\"t\" payload_bytes=6"
	    " payload=\"ab\\x00\\x22\"...");
	guard_free(&g);
}

/* In any room a line is whole, and ends with dots when something is left out.
 */
static void
test_any_room(void **state)
{
	uint8_t packet[1500] = {0x82, 0xd9, 0x0b, 0, 1};
	size_t full;

	(void)state;
	for (size_t at = 5; at + 7 <= sizeof(packet); at += 7)
		memcpy(packet + at,
		    "\x00\x04"
		    "\x01"
		    "a/b"
		    "\x01",
		    7);
	full = 5 + (sizeof(packet) - 5) / 7 * 7;
	packet[1] = (uint8_t)(((full - 3) & 127) | 128);
	packet[2] = (uint8_t)((full - 3) >> 7);
	for (size_t size = MQTT_DESCRIBE_MIN; size < 1000; size++) {
		char *out = malloc(size);
		size_t n;

		assert_non_null(out);
		(void)mqtt_describe(
		    (struct span){packet, full}, 4, 0, out, size);
		n = strlen(out);
		assert_in_range(n, 40, size - 1);
		assert_string_equal(out + n - 4, " ...");
		free(out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_packets),
	    cmocka_unit_test(test_every_prefix),
	    cmocka_unit_test(test_no_login),
	    cmocka_unit_test(test_payload),
	    cmocka_unit_test(test_any_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
