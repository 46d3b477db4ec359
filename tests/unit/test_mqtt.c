#include "codec/mqtt.h"

#include "codec/utf8.h"

#include "guard.h"
#include "unit.h"

#include <string.h>

static enum parse
header_of(struct guard *g, struct span in, struct mqtt_header *out)
{
	return mqtt_header_read(guard_copy(g, in), out);
}

static void
test_header_whole_and_every_prefix(void **state)
{
	static const struct {
		struct span in;
		enum mqtt_type type;
		uint8_t flags;
		uint32_t remaining;
		size_t header_bytes;
	} rows[] = {
	    {SPAN_OF("\x10\x0c"), MQTT_CONNECT, 0, 12, 2},
	    {SPAN_OF("\x20\x02"), MQTT_CONNACK, 0, 2, 2},
	    {SPAN_OF("\x30\x00"), MQTT_PUBLISH, 0, 0, 2},
	    {SPAN_OF("\x3d\x7f"), MQTT_PUBLISH, 0xd, 127, 2},
	    {SPAN_OF("\x62\x02"), MQTT_PUBREL, 2, 2, 2},
	    {SPAN_OF("\xc0\x00"), MQTT_PINGREQ, 0, 0, 2},
	    {SPAN_OF("\xf0\x80\x01"), MQTT_AUTH, 0, 128, 3},
	    /* a longer form than needed */
	    {SPAN_OF("\xe0\x80\x00"), MQTT_DISCONNECT, 0, 0, 3},
	    {SPAN_OF("\x40\x82\x80\x80\x00"), MQTT_PUBACK, 0, 2, 5},
	    {SPAN_OF("\x32\xff\xff\xff\x7f"), MQTT_PUBLISH, 2, 268435455, 5},
	};
	struct guard g = {0};
	struct mqtt_header h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		for (size_t n = 0; n < rows[i].in.n; n++)
			assert_int_equal(
			    header_of(&g, (struct span){rows[i].in.p, n}, &h),
			    PARSE_MORE);
		assert_int_equal(header_of(&g, rows[i].in, &h), PARSE_OK);
		assert_int_equal(h.type, rows[i].type);
		assert_int_equal(h.flags, rows[i].flags);
		assert_int_equal(h.remaining, rows[i].remaining);
		assert_int_equal(h.header_bytes, rows[i].header_bytes);
	}
	/* followed by anything */
	assert_int_equal(
	    header_of(&g, SPAN_OF("\xc0\x00\xff\xff\xff\xff"), &h), PARSE_OK);
	assert_int_equal(h.header_bytes, 2);
	guard_free(&g);
}

static void
test_header_first_byte(void **state)
{
	static const uint8_t good[] = {0x10, 0x20, 0x30, 0x31, 0x32, 0x33, 0x34,
	    0x35, 0x3a, 0x3b, 0x3c, 0x3d, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90,
	    0xa2, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0,
	    /* DUP, as libraries of MQTT 3.1 set it */
	    0x6a, 0x8a, 0xaa};

	(void)state;
	for (unsigned first = 0; first < 256; first++) {
		uint8_t in[2] = {(uint8_t)first, 0};
		bool is_good = memchr(good, (int)first, sizeof(good)) != NULL;
		struct mqtt_header h;

		assert_int_equal(mqtt_header_read((struct span){in, 2}, &h),
		    is_good ? PARSE_OK : PARSE_BAD);
		/* a wrong one is known at once */
		assert_int_equal(mqtt_header_read((struct span){in, 1}, &h),
		    is_good ? PARSE_MORE : PARSE_BAD);
	}
}

static void
test_header_remaining_over_four_bytes(void **state)
{
	struct guard g = {0};
	struct mqtt_header h;

	(void)state;
	assert_int_equal(
	    header_of(&g, SPAN_OF("\x30\xff\xff\xff"), &h), PARSE_MORE);
	assert_int_equal(
	    header_of(&g, SPAN_OF("\x30\xff\xff\xff\x80"), &h), PARSE_BAD);
	assert_int_equal(
	    header_of(&g, SPAN_OF("\x30\x80\x80\x80\x80\x00"), &h), PARSE_BAD);
	guard_free(&g);
}

/* 1.5.5, table 1-1: the borders between one and four bytes. */
static const struct {
	uint32_t value;
	struct span bytes;
} varints[] = {
    {0, SPAN_OF("\0")},
    {1, SPAN_OF("\x01")},
    {127, SPAN_OF("\x7f")},
    {128, SPAN_OF("\x80\x01")},
    {16383, SPAN_OF("\xff\x7f")},
    {16384, SPAN_OF("\x80\x80\x01")},
    {2097151, SPAN_OF("\xff\xff\x7f")},
    {2097152, SPAN_OF("\x80\x80\x80\x01")},
    {268435455, SPAN_OF("\xff\xff\xff\x7f")},
};

static void
test_varint(void **state)
{
	struct guard in = {0}, out = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(varints); i++) {
		struct span want = varints[i].bytes, left;
		uint8_t *to = guard_room(&out, 4);
		uint32_t value;

		assert_int_equal(
		    mqtt_varint_write(to, varints[i].value), want.n);
		assert_memory_equal(to, want.p, want.n);

		left = guard_copy(&in, want);
		assert_true(mqtt_take_varint(&left, &value));
		assert_int_equal(value, varints[i].value);
		assert_int_equal(left.n, 0);
		for (size_t n = 0; n < want.n; n++) {
			left = guard_copy(&in, (struct span){want.p, n});
			assert_false(mqtt_take_varint(&left, &value));
			assert_int_equal(left.n, n);
		}
	}
	guard_free(&in);
	guard_free(&out);
}

static void
test_varint_refused(void **state)
{
	static const struct span rows[] = {
	    SPAN_OF("\xff\xff\xff\xff\x7f"),
	    SPAN_OF("\x80\x80\x80\x80\x01"),
	    /* MQTT-1.5.5-1: not the shortest form */
	    SPAN_OF("\x80\x00"),
	    SPAN_OF("\xff\x00"),
	    SPAN_OF("\x81\x80\x00"),
	};
	uint32_t value;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct span in = rows[i];

		assert_false(mqtt_take_varint(&in, &value));
		assert_int_equal(in.n, rows[i].n);
	}
}

static void
test_header_written_and_read(void **state)
{
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(varints); i++) {
		uint8_t *to = guard_room(&g, MQTT_HEADER_MAX);
		struct mqtt_header h;
		size_t n = mqtt_header_write(to, 0x3b, varints[i].value);

		assert_int_equal(n, 1 + varints[i].bytes.n);
		assert_int_equal(
		    mqtt_header_read((struct span){to, n}, &h), PARSE_OK);
		assert_int_equal(h.type, MQTT_PUBLISH);
		assert_int_equal(h.flags, 0xb);
		assert_int_equal(h.remaining, varints[i].value);
		assert_int_equal(h.header_bytes, n);
	}
	guard_free(&g);
}

static void
test_small_packets(void **state)
{
	uint8_t out[MQTT_SMALL_MAX];

	(void)state;
#define WRITES(call, want)                                                     \
	assert_span_equal(((struct span){out, call}), SPAN_OF(want))
	WRITES(mqtt_connack_write(out, 3, false, 0), "\x20\x02\0\0");
	WRITES(mqtt_connack_write(out, 3, true, 0), "\x20\x02\0\0");
	WRITES(mqtt_connack_write(out, 4, true, 0), "\x20\x02\x01\0");
	WRITES(mqtt_connack_write(out, 4, false, 5), "\x20\x02\0\x05");
	/* MQTT-3.2.2-6: no session in a refusal */
	WRITES(mqtt_connack_write(out, 4, true, 5), "\x20\x02\0\x05");
	WRITES(mqtt_connack_write(out, 5, true, 0), "\x20\x03\x01\0\0");
	WRITES(mqtt_connack_write(out, 5, false, 0x87), "\x20\x03\0\x87\0");
	WRITES(mqtt_disconnect_write(out, 4, 0), "\xe0\0");
	WRITES(mqtt_disconnect_write(out, 4, 0x8b), "\xe0\0");
	WRITES(mqtt_disconnect_write(out, 5, 0), "\xe0\0");
	WRITES(mqtt_disconnect_write(out, 5, 0x8b), "\xe0\x01\x8b");
	WRITES(mqtt_pingreq_write(out), "\xc0\0");
	WRITES(mqtt_pingresp_write(out), "\xd0\0");
#undef WRITES
}

static size_t
encode(uint32_t c, uint8_t out[static 4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

/* All there are, and none cut short. */
static void
test_utf8_every_code_point(void **state)
{
	struct guard g = {0};

	(void)state;
	for (uint32_t c = 0; c < 0x1fffff; c++) {
		bool good = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
		uint8_t bytes[4];
		struct span s = {bytes, encode(c, bytes)};

		if (utf8_valid(guard_copy(&g, s)) != good)
			fail_msg("U+%04X", c);
		if (mqtt_utf8_valid(s) != (good && c != 0))
			fail_msg("MQTT: U+%04X", c);
		s.n--;
		if (s.n > 0 && utf8_valid(guard_copy(&g, s)))
			fail_msg("cut: U+%04X", c);
	}
	guard_free(&g);
}

static void
test_utf8_tables(void **state)
{
	static const struct span good[] = {
	    {NULL, 0}, SPAN_OF(""), SPAN_OF("pump/7"),
	    SPAN_OF("\xe6\xb8\xa9\xe5\xba\xa6"), /* temperature, in Chinese */
	    SPAN_OF("a\xf0\x9f\x98\x80z"),
	    SPAN_OF("\xef\xbb\xbf"), /* MQTT-1.5.4-3: U+FEFF stays */
	};
	static const struct span bad[] = {
	    SPAN_OF("\x80"), SPAN_OF("a\xbf"),
	    SPAN_OF("\xc0\xaf"), /* overlong */
	    SPAN_OF("\xc1\xbf"), SPAN_OF("\xe0\x80\xaf"),
	    SPAN_OF("\xe0\x9f\xbf"), SPAN_OF("\xf0\x80\x80\xaf"),
	    SPAN_OF("\xf0\x8f\xbf\xbf"),
	    SPAN_OF("\xf8\x88\x80\x80\x80"), /* five bytes */
	    SPAN_OF("\xfc\x84\x80\x80\x80\x80"), SPAN_OF("\xfe"),
	    SPAN_OF("\xff"), SPAN_OF("\xc3("), SPAN_OF("\xe2\x82("),
	    SPAN_OF("\xf0\x9f\x98("), SPAN_OF("\xce\xc2\xb6\xc8"), /* GBK */
	};
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
		assert_true(mqtt_utf8_valid(guard_copy(&g, good[i])));
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		assert_false(utf8_valid(guard_copy(&g, bad[i])));
	/* U+0000 is for MQTT alone to refuse (MQTT-1.5.4-2) */
	assert_true(utf8_valid(SPAN_OF("a\0b")));
	assert_false(mqtt_utf8_valid(SPAN_OF("a\0b")));
	assert_false(mqtt_utf8_valid(SPAN_OF("\0")));
	guard_free(&g);
}

static void
test_take_string_and_binary(void **state)
{
	const struct span whole = SPAN_OF("\0\x03"
					  "abc"
					  "rest");
	struct guard g = {0};
	struct span in = guard_copy(&g, whole), out;

	(void)state;
	assert_true(mqtt_take_string(&in, &out));
	assert_span_equal(out, SPAN_OF("abc"));
	assert_span_equal(in, SPAN_OF("rest"));
	for (size_t n = 0; n < 5; n++) {
		in = guard_copy(&g, (struct span){whole.p, n});
		assert_false(mqtt_take_string(&in, &out));
		assert_false(mqtt_take_binary(&in, &out));
		assert_int_equal(in.n, n);
	}
	in = guard_copy(&g, SPAN_OF("\0\0"));
	assert_true(mqtt_take_string(&in, &out));
	assert_int_equal(out.n, 0);
	assert_int_equal(in.n, 0);
	in = guard_copy(&g, SPAN_OF("\xff\xff"
				    "abc"));
	assert_false(mqtt_take_binary(&in, &out));
	in = guard_copy(&g, SPAN_OF("\0\x02\xff\0"));
	assert_false(mqtt_take_string(&in, &out));
	assert_int_equal(in.n, 4);
	assert_true(mqtt_take_binary(&in, &out));
	assert_span_equal(out, SPAN_OF("\xff\0"));
	guard_free(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_header_whole_and_every_prefix),
	    cmocka_unit_test(test_header_first_byte),
	    cmocka_unit_test(test_header_remaining_over_four_bytes),
	    cmocka_unit_test(test_varint),
	    cmocka_unit_test(test_varint_refused),
	    cmocka_unit_test(test_header_written_and_read),
	    cmocka_unit_test(test_small_packets),
	    cmocka_unit_test(test_utf8_every_code_point),
	    cmocka_unit_test(test_utf8_tables),
	    cmocka_unit_test(test_take_string_and_binary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
