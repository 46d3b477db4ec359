#include "codec/mqtt_stream.h"

#include "guard.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* What was found, as text that does not depend on how the input was cut: a
   packet is "type(bytes in hex)". */
struct transcript {
	char text[4096];
	size_t n;
};

static void
add(struct transcript *t, const char *text)
{
	t->n += (size_t)snprintf(
	    t->text + t->n, sizeof(t->text) - t->n, "%s", text);
	assert_true(t->n < sizeof(t->text));
}

static void
add_hex(struct transcript *t, struct span s)
{
	char hex[3];

	for (size_t i = 0; i < s.n; i++) {
		(void)snprintf(hex, sizeof(hex), "%02x", s.p[i]);
		add(t, hex);
	}
}

static void
add_piece(struct transcript *t, const struct mqtt_piece *piece)
{
	char type[16];

	assert_int_equal(piece->begins, piece->head.n > 0);
	if (piece->begins) {
		(void)snprintf(
		    type, sizeof(type), "%u(", (unsigned)piece->header.type);
		add(t, type);
		assert_int_equal(piece->head.n, piece->header.header_bytes);
	}
	add_hex(t, piece->head);
	add_hex(t, piece->body);
	if (piece->ends)
		add(t, ") ");
}

/* Feeds one piece of input; false when it is no MQTT. */
static bool
feed(struct mqtt_stream *s, struct span in, struct transcript *t)
{
	struct mqtt_piece piece;
	enum parse found;

	while ((found = mqtt_stream_next(s, &in, &piece)) == PARSE_OK)
		add_piece(t, &piece);
	assert_true(found == PARSE_BAD || in.n == 0);
	return found == PARSE_MORE;
}

/* PINGRESP, PUBLISH, SUBACK with its length in three bytes, PUBLISH. */
#define STREAM                                                                 \
	"\xd0\x00"                                                             \
	"\x30\x06\x00\x01t12 "                                                 \
	"\x90\x83\x80\x00\x00\x01\x00"                                         \
	"\x32\x06\x00\x01t\x00\x09x"                                           \
	"\xd0\x00"

static const char stream_text[] =
    "13(d000) 3(3006000174313220) 9(90838000000100) "
    "3(3206000174000978) 13(d000) ";

static void
test_every_cut_gives_the_same_packets(void **state)
{
	struct span whole = SPAN_OF(STREAM);
	struct guard g = {0};

	(void)state;
	for (size_t a = 0; a <= whole.n; a++) {
		for (size_t b = a; b <= whole.n; b++) {
			struct mqtt_stream s = {0};
			struct transcript t = {0};
			size_t cuts[] = {0, a, b, whole.n};

			for (int i = 0; i < 3; i++)
				assert_true(feed(&s,
				    guard_copy(
					&g, (struct span){whole.p + cuts[i],
						cuts[i + 1] - cuts[i]}),
				    &t));
			assert_string_equal(t.text, stream_text);
			assert_true(mqtt_stream_at_boundary(&s));
		}
	}
	guard_free(&g);
}

static void
test_byte_by_byte(void **state)
{
	struct span whole = SPAN_OF(STREAM), byte;
	struct mqtt_stream s = {0};
	struct transcript t = {0};
	struct guard g = {0};

	(void)state;
	while (span_take(&whole, 1, &byte))
		assert_true(feed(&s, guard_copy(&g, byte), &t));
	assert_string_equal(t.text, stream_text);
	guard_free(&g);
}

/* Only between packets may others be put in. */
static void
test_boundary(void **state)
{
	struct span whole = SPAN_OF("\xd0\x00\x30\x04\x00\x01tx"
				    "\x90\x82\x00\x00\x01\xd0\x00"),
		    byte;
	struct mqtt_stream s = {0};
	struct transcript t = {0};
	static const bool at[] = {false, true, false, false, false, false,
	    false, true, false, false, false, false, true, false, true};

	(void)state;
	assert_true(mqtt_stream_at_boundary(&s));
	for (size_t i = 0; span_take(&whole, 1, &byte); i++) {
		assert_true(feed(&s, byte, &t));
		assert_int_equal(mqtt_stream_at_boundary(&s), at[i]);
	}
}

/* A head that came whole lies in the input, so that it need not be copied. */
static void
test_where_the_spans_lie(void **state)
{
	struct span whole = SPAN_OF("\x30\x04\x00\x01tx");
	struct span in = whole;
	struct mqtt_stream s = {0};
	struct mqtt_piece piece;

	(void)state;
	assert_int_equal(mqtt_stream_next(&s, &in, &piece), PARSE_OK);
	assert_ptr_equal(piece.head.p, whole.p);
	assert_ptr_equal(piece.body.p, whole.p + 2);
	assert_true(piece.begins && piece.ends);
	in = (struct span){whole.p, 1};
	assert_int_equal(mqtt_stream_next(&s, &in, &piece), PARSE_MORE);
	in = (struct span){whole.p + 1, 3};
	assert_int_equal(mqtt_stream_next(&s, &in, &piece), PARSE_OK);
	assert_span_equal(piece.head, SPAN_OF("\x30\x04"));
	assert_ptr_equal(piece.body.p, whole.p + 2);
	assert_true(piece.begins && !piece.ends);
}

/* The largest packet there may be is announced and counted, not kept. */
static void
test_the_largest_packet(void **state)
{
	static const uint8_t some[64 * 1024];
	struct span in = SPAN_OF("\x30\xff\xff\xff\x7f");
	struct mqtt_stream s = {0};
	struct mqtt_piece piece;
	uint64_t body = 0;

	(void)state;
	assert_int_equal(mqtt_stream_next(&s, &in, &piece), PARSE_OK);
	assert_true(piece.begins && !piece.ends);
	while (!piece.ends) {
		in = (struct span){some, sizeof(some)};
		assert_int_equal(mqtt_stream_next(&s, &in, &piece), PARSE_OK);
		assert_int_equal(piece.header.type, MQTT_PUBLISH);
		body += piece.body.n;
	}
	assert_int_equal(body, MQTT_REMAINING_MAX);
	assert_int_equal(in.n, 1); /* 268,435,455 is one less */
	assert_true(mqtt_stream_at_boundary(&s));
}

static void
test_bad_headers(void **state)
{
	static const struct span bad[] = {
	    SPAN_OF("\x00\x00"), SPAN_OF("\x36\x05"), /* QoS 3 */
	    SPAN_OF("\x30\xff\xff\xff\xff"),
	    SPAN_OF("\x60\x02"), /* PUBREL's flags are 2 */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		struct mqtt_stream s = {0}, s2 = {0};
		struct transcript t = {0};
		struct span rest = bad[i], byte;
		bool ok = true;

		assert_false(feed(&s, bad[i], &t));
		while (ok && span_take(&rest, 1, &byte))
			ok = feed(&s2, byte, &t);
		assert_false(ok);
		assert_string_equal(t.text, "");
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_cut_gives_the_same_packets),
	    cmocka_unit_test(test_byte_by_byte),
	    cmocka_unit_test(test_boundary),
	    cmocka_unit_test(test_where_the_spans_lie),
	    cmocka_unit_test(test_the_largest_packet),
	    cmocka_unit_test(test_bad_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
