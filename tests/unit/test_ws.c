#include "codec/ws.h"

#include "guard.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* RFC 6455 5.7 masks its examples with this one. */
static const uint8_t key[WS_KEY_BYTES] = {0x37, 0xfa, 0x21, 0x3d};

static void
test_mask_against_a_naive_loop(void **state)
{
	uint8_t in[64], want[64], got[64 + 8];

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 37 + 11);
	for (size_t n = 0; n + 8 <= sizeof(in); n++)
		for (size_t skew = 0; skew < 8; skew++) {
			for (size_t i = 0; i < n; i++)
				want[i] = in[skew + i] ^ key[i % 4];
			memset(got, 0xa5, sizeof(got));
			ws_mask_copy(got + (7 - skew), in + skew, n, key);
			assert_memory_equal(got + (7 - skew), want, n);
			assert_int_equal(got[7 - skew + n], 0xa5);
		}
}

static void
test_mask_in_place(void **state)
{
	struct guard g = {0};
	uint8_t copy[100];

	(void)state;
	for (size_t i = 0; i < sizeof(copy); i++)
		copy[i] = (uint8_t)(i * 91);
	for (size_t n = 0; n <= sizeof(copy); n++) {
		uint8_t *room = guard_room(&g, n);

		memcpy(room, copy, n);
		ws_mask_copy(room, room, n, key);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(room[i], copy[i] ^ key[i % 4]);
	}
	ws_mask_copy(copy, NULL, 0, key);
	guard_free(&g);
}

static void
test_header_takes_the_shortest_form(void **state)
{
	static const struct {
		uint64_t payload_bytes;
		struct span want;
	} rows[] = {
	    {0, SPAN_OF("\x82\x80")},
	    {125, SPAN_OF("\x82\xfd")},
	    {126, SPAN_OF("\x82\xfe\x00\x7e")},
	    {65535, SPAN_OF("\x82\xfe\xff\xff")},
	    {65536, SPAN_OF("\x82\xff\0\0\0\0\0\x01\0\0")},
	    {INT64_MAX, SPAN_OF("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff")},
	};
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		uint8_t *out = guard_room(&g, WS_HEADER_MAX);
		size_t n = ws_header_write(
		    out, WS_BINARY, true, rows[i].payload_bytes, key);

		assert_int_equal(n, rows[i].want.n + WS_KEY_BYTES);
		assert_memory_equal(out, rows[i].want.p, rows[i].want.n);
		assert_memory_equal(out + rows[i].want.n, key, WS_KEY_BYTES);
	}
	(void)ws_header_write(
	    guard_room(&g, WS_HEADER_MAX), WS_CONTINUATION, false, 1, key);
	assert_int_equal(g.map[g.bytes - WS_HEADER_MAX], 0);
	guard_free(&g);
}

/* RFC 6455 5.7: "Hello" in a masked pong; and the longest there may be. */
static void
test_control_frame_written(void **state)
{
	uint8_t payload[WS_CONTROL_MAX] = {0};
	struct guard g = {0};
	uint8_t *out = guard_room(&g, 11);
	size_t n = ws_control_write(out, WS_PONG, SPAN_OF("Hello"), key);

	(void)state;
	assert_span_equal(((struct span){out, n}),
	    SPAN_OF("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"));
	out = guard_room(&g, 2 + WS_KEY_BYTES + WS_CONTROL_MAX);
	n = ws_control_write(
	    out, WS_PING, (struct span){payload, sizeof(payload)}, key);
	assert_int_equal(n, 2 + WS_KEY_BYTES + WS_CONTROL_MAX);
	assert_memory_equal(out, "\x89\xfd", 2);
	out = guard_room(&g, 2 + WS_KEY_BYTES);
	assert_int_equal(
	    ws_control_write(out, WS_CLOSE, (struct span){NULL, 0}, key), 6);
	guard_free(&g);
}

/*
 * What a reader found, as text that does not depend on how the input was cut:
 * data in [] (text in {}), a ping as P(), a pong as O(), a close as C1000(),
 * an error as !1002.
 */
struct transcript {
	char text[1024];
	size_t n;
	bool over;
};

static void
note(struct transcript *t, const char *before, struct span s, const char *after)
{
	int n = snprintf(t->text + t->n, sizeof(t->text) - t->n, "%s%.*s%s",
	    before, (int)s.n, s.n == 0 ? "" : (const char *)s.p, after);

	assert_true(n >= 0 && (size_t)n < sizeof(t->text) - t->n);
	t->n += (size_t)n;
}

static void
note_event(struct transcript *t, const struct ws_event *ev)
{
	bool text = ev->opcode == WS_TEXT;
	char code[16];

	switch (ev->found) {
	case WS_FOUND_DATA:
		assert_true(ev->opcode == WS_TEXT || ev->opcode == WS_BINARY);
		note(t, ev->message_begins ? text ? "{" : "[" : "", ev->payload,
		    ev->message_ends ? text ? "}" : "]" : "");
		break;
	case WS_FOUND_PING:
		note(t, "P(", ev->payload, ")");
		break;
	case WS_FOUND_PONG:
		note(t, "O(", ev->payload, ")");
		break;
	case WS_FOUND_CLOSE:
		(void)snprintf(code, sizeof(code), "C%u(", ev->close_code);
		note(t, code, ev->payload, ")");
		break;
	}
}

/* Feeds one piece, from memory that ends where the piece ends. */
static void
feed(struct ws_reader *r, struct span piece, struct transcript *t)
{
	struct guard g = {0};
	struct span in = guard_copy(&g, piece), start = in;
	enum parse got = PARSE_MORE;
	char code[16];

	while (!t->over) {
		struct ws_event ev;

		got = ws_read(r, &in, &ev);
		if (got != PARSE_OK)
			break;
		/* data stays where it came in: nothing is copied */
		if (ev.found == WS_FOUND_DATA && ev.payload.n > 0)
			assert_true(ev.payload.p >= start.p &&
				    ev.payload.p + ev.payload.n == in.p);
		note_event(t, &ev);
	}
	if (got == PARSE_BAD) {
		assert_non_null(r->error);
		(void)snprintf(code, sizeof(code), "!%d", r->error_code);
		note(t, code, (struct span){NULL, 0}, "");
		t->over = true;
	} else {
		assert_true(t->over || in.n == 0);
	}
	guard_free(&g);
}

static void
assert_reads(struct span stream, uint64_t limit, const char *want)
{
	struct ws_reader r;
	struct transcript t;

	/* cut in two at every place; at 0 it is whole */
	for (size_t cut = 0; cut < stream.n; cut++) {
		ws_reader_init(&r, limit);
		t = (struct transcript){0};
		feed(&r, (struct span){stream.p, cut}, &t);
		feed(&r, (struct span){stream.p + cut, stream.n - cut}, &t);
		assert_string_equal(t.text, want);
	}
	/* one byte at a time */
	ws_reader_init(&r, limit);
	t = (struct transcript){0};
	for (size_t i = 0; i < stream.n; i++)
		feed(&r, (struct span){stream.p + i, 1}, &t);
	assert_string_equal(t.text, want);
}

static void
test_frames_that_are_in_order(void **state)
{
	static const struct {
		struct span stream;
		const char *want;
	} rows[] = {
	    /* RFC 6455 5.7 */
	    {SPAN_OF("\x81\x05Hello"), "{Hello}"},
	    {SPAN_OF("\x01\x03Hel\x80\x02lo"), "{Hello}"},
	    {SPAN_OF("\x89\x05Hello"), "P(Hello)"},
	    /* data */
	    {SPAN_OF("\x82\x05Hello"), "[Hello]"},
	    {SPAN_OF("\x82\x00"), "[]"},
	    {SPAN_OF("\x82\x01x\x82\x01y"), "[x][y]"},
	    {SPAN_OF("\x02\x00\x80\x00"), "[]"},
	    {SPAN_OF("\x02\x00\x00\x01x\x00\x00\x80\x00"), "[x]"},
	    {SPAN_OF("\x02\x01x\x00\x01y\x80\x01z\x82\x01w"), "[xyz][w]"},
	    /* control frames between and inside messages */
	    {SPAN_OF("\x89\x00\x8a\x00"), "P()O()"},
	    {SPAN_OF("\x02\x01x\x89\x02hi\x80\x01y"), "[xP(hi)y]"},
	    {SPAN_OF("\x02\x00\x8a\x01p\x89\x00\x00\x01y\x89\x01q\x80\x00"),
		"[O(p)P()yP(q)]"},
	    /* close */
	    {SPAN_OF("\x88\x00"), "C1005()"},
	    {SPAN_OF("\x88\x02\x03\xe8"), "C1000()"},
	    {SPAN_OF("\x88\x05\x03\xe9"
		     "bye"),
		"C1001(bye)"},
	    {SPAN_OF("\x02\x01x\x88\x02\x03\xf3"), "[xC1011()"},
	    {SPAN_OF("\x88\x02\x03\xeb"), "C1003()"},
	    {SPAN_OF("\x88\x02\x03\xef"), "C1007()"},
	    {SPAN_OF("\x88\x02\x0b\xb8"), "C3000()"},
	    {SPAN_OF("\x88\x04\x13\x87\xc3\xa9"), "C4999(\xc3\xa9)"},
	    {SPAN_OF("\x82\x01x\x88\x02\x03\xf6\x82\x01y"), "[x]C1014()[y]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		assert_reads(rows[i].stream, 0, rows[i].want);
}

static void
test_frames_that_break_the_rules(void **state)
{
	static const struct {
		struct span stream;
		const char *want;
	} rows[] = {
	    /* 5.1: a masked frame */
	    {SPAN_OF("\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "!1002"},
	    {SPAN_OF("\x89\x80\x37\xfa\x21\x3d"), "!1002"},
	    /* 5.2: RSV bits, unknown opcodes */
	    {SPAN_OF("\xc2\x00"), "!1002"},
	    {SPAN_OF("\xa2\x00"), "!1002"},
	    {SPAN_OF("\x92\x00"), "!1002"},
	    {SPAN_OF("\x82\x01x\xc2\x00"), "[x]!1002"},
	    {SPAN_OF("\x83\x00"), "!1002"},
	    {SPAN_OF("\x87\x00"), "!1002"},
	    {SPAN_OF("\x8b\x00"), "!1002"},
	    {SPAN_OF("\x8f\x00"), "!1002"},
	    /* 5.2: lengths in a longer form than needed, or too long a one */
	    {SPAN_OF("\x82\x7e\x00\x7d"), "!1002"},
	    {SPAN_OF("\x82\x7e\x00\x00"), "!1002"},
	    {SPAN_OF("\x82\x7f\0\0\0\0\0\0\xff\xff"), "!1002"},
	    {SPAN_OF("\x82\x7f\0\0\0\0\0\0\0\x05"), "!1002"},
	    {SPAN_OF("\x82\x7f\x80\0\0\0\0\0\0\0"), "!1002"},
	    {SPAN_OF("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), "!1002"},
	    /* 5.4: starts and continuations */
	    {SPAN_OF("\x80\x01x"), "!1002"},
	    {SPAN_OF("\x00\x00"), "!1002"},
	    {SPAN_OF("\x82\x01x\x80\x01y"), "[x]!1002"},
	    {SPAN_OF("\x02\x01x\x82\x01y"), "[x!1002"},
	    {SPAN_OF("\x02\x01x\x89\x00\x01\x01y"), "[xP()!1002"},
	    {SPAN_OF("\x02\x00\x02\x00"), "[!1002"},
	    /* 5.5: control frames */
	    {SPAN_OF("\x09\x00"), "!1002"},
	    {SPAN_OF("\x0a\x00"), "!1002"},
	    {SPAN_OF("\x08\x00"), "!1002"},
	    {SPAN_OF("\x89\x7e\x00\x7e"), "!1002"},
	    {SPAN_OF("\x8a\x7f\0\0\0\0\0\x01\0\0"), "!1002"},
	    /* 5.5.1, 7.4: what a close carries */
	    {SPAN_OF("\x88\x01\x03"), "!1002"},
	    {SPAN_OF("\x88\x02\x00\x00"), "!1002"},
	    {SPAN_OF("\x88\x02\x03\xe7"), "!1002"}, /* 999 */
	    {SPAN_OF("\x88\x02\x03\xec"), "!1002"}, /* 1004 */
	    {SPAN_OF("\x88\x02\x03\xed"), "!1002"}, /* 1005 */
	    {SPAN_OF("\x88\x02\x03\xee"), "!1002"}, /* 1006 */
	    {SPAN_OF("\x88\x02\x03\xf7"), "!1002"}, /* 1015 */
	    {SPAN_OF("\x88\x02\x0b\xb7"), "!1002"}, /* 2999 */
	    {SPAN_OF("\x88\x02\x13\x88"), "!1002"}, /* 5000 */
	    {SPAN_OF("\x88\x03\x03\xe8\xff"), "!1007"},
	    {SPAN_OF("\x88\x04\x03\xe8\xc0\xaf"), "!1007"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		assert_reads(rows[i].stream, 0, rows[i].want);
}

/* A wrong byte is known before the next one has come. */
static void
test_rules_are_checked_at_the_byte(void **state)
{
	static const struct span rows[] = {
	    SPAN_OF("\xc2"),
	    SPAN_OF("\x83"),
	    SPAN_OF("\x80"),
	    SPAN_OF("\x09"),
	    SPAN_OF("\x82\x80"),
	    SPAN_OF("\x88\x01"),
	    SPAN_OF("\x89\x7e"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		assert_reads(rows[i], 0, "!1002");
}

static void
test_message_limit(void **state)
{
	(void)state;
	assert_reads(SPAN_OF("\x82\x05Hello"), 5, "[Hello]");
	assert_reads(SPAN_OF("\x82\x05Hello"), 4, "!1009");
	/* counts over all fragments, not the control frames between */
	assert_reads(
	    SPAN_OF("\x02\x03Hel\x89\x04ping\x80\x02lo"), 5, "[HelP(ping)lo]");
	assert_reads(SPAN_OF("\x02\x03Hel\x80\x03lo!"), 5, "[Hel!1009");
	/* and anew for each message */
	assert_reads(SPAN_OF("\x82\x03one\x82\x03two\x82\x04more"), 3,
	    "[one][two]!1009");
	/* the header alone is enough: nothing of that size is ever held */
	assert_reads(SPAN_OF("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), 65536,
	    "!1009");
	assert_reads(SPAN_OF("\x82\x7f\0\0\0\0\0\x01\0\0abc"), 65536, "[abc");
	assert_reads(SPAN_OF("\x82\x7f\0\0\0\0\0\x01\0\x01"), 65536, "!1009");
	assert_reads(SPAN_OF("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"
			     "abc"),
	    0, "[abc");
}

/* Each length form at its borders, with all of the payload. */
static void
test_lengths_at_their_borders(void **state)
{
	static const size_t sizes[] = {125, 126, 65535, 65536};
	static uint8_t stream[10 + 65536];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		size_t n = sizes[i], at = 2, taken = 0;
		struct ws_reader r;
		struct ws_event ev;
		struct span in;

		stream[0] = 0x82;
		stream[1] = (uint8_t)(n < 126 ? n : n < 65536 ? 126 : 127);
		if (n >= 65536) {
			memcpy(stream + 2, "\0\0\0\0\0\x01\0\0", 8);
			at += 8;
		} else if (n >= 126) {
			stream[at++] = (uint8_t)(n >> 8);
			stream[at++] = (uint8_t)n;
		}
		ws_reader_init(&r, 0);
		for (size_t from = 0; from < at + n; from += in.n) {
			/* pieces of all sizes, header and payload alike */
			size_t piece = from % 1449 + 1;

			if (piece > at + n - from)
				piece = at + n - from;
			in = (struct span){stream + from, piece};
			while (ws_read(&r, &in, &ev) == PARSE_OK)
				taken += ev.payload.n;
			in.n = piece;
		}
		assert_int_equal(taken, n);
		assert_true(ev.message_ends);
	}
}

static void
test_longest_control_frame(void **state)
{
	uint8_t stream[2 + WS_CONTROL_MAX];
	char want[3 + WS_CONTROL_MAX + 1];

	(void)state;
	memset(stream, 'p', sizeof(stream));
	memcpy(stream, "\x89\x7d", 2);
	(void)snprintf(
	    want, sizeof(want), "P(%.*s)", WS_CONTROL_MAX, (char *)stream + 2);
	assert_reads((struct span){stream, sizeof(stream)}, 0, want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_mask_against_a_naive_loop),
	    cmocka_unit_test(test_mask_in_place),
	    cmocka_unit_test(test_header_takes_the_shortest_form),
	    cmocka_unit_test(test_control_frame_written),
	    cmocka_unit_test(test_frames_that_are_in_order),
	    cmocka_unit_test(test_frames_that_break_the_rules),
	    cmocka_unit_test(test_rules_are_checked_at_the_byte),
	    cmocka_unit_test(test_message_limit),
	    cmocka_unit_test(test_lengths_at_their_borders),
	    cmocka_unit_test(test_longest_control_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
