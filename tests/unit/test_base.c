#include "base/buffer.h"
#include "base/date.h"
#include "base/escape.h"
#include "base/fault.h"
#include "base/reason.h"
#include "base/secret.h"
#include "base/span.h"

#include "guard.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static void
test_span_take_moves_only_when_it_succeeds(void **state)
{
	struct guard g = {0};
	struct span in =
	    guard_copy(&g, SPAN_OF("\x01\x02\x03\x04\x05\x06\x07"));
	struct span start = in, out;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;

	(void)state;
	assert_true(span_take_u32(&in, &u32));
	assert_int_equal(u32, 0x01020304);
	assert_false(span_take_u32(&in, &u32));
	assert_int_equal(in.n, 3);
	assert_true(span_take_u16(&in, &u16));
	assert_int_equal(u16, 0x0506);
	assert_false(span_take_u16(&in, &u16));
	assert_true(span_take_u8(&in, &u8));
	assert_int_equal(u8, 7);
	assert_false(span_take_u8(&in, &u8));
	assert_int_equal(in.n, 0);

	in = start;
	assert_false(span_take(&in, 8, &out));
	assert_false(span_take(&in, SIZE_MAX, &out));
	assert_true(span_eq(in, start));
	assert_true(span_take(&in, 7, &out));
	assert_true(span_eq(out, start));
	assert_true(span_take(&in, 0, &out));
	assert_int_equal(out.n, 0);
	guard_free(&g);
}

static void
test_span_of_nothing(void **state)
{
	struct span none = {NULL, 0}, out;

	(void)state;
	assert_true(span_take(&none, 0, &out));
	assert_false(span_take(&none, 1, &out));
	assert_true(span_eq(none, SPAN_OF("")));
	assert_false(span_eq(none, SPAN_OF("a")));
	assert_false(span_eq(SPAN_OF("ab"), SPAN_OF("ac")));
	assert_true(span_eq(span_of_string("ab"), SPAN_OF("ab")));
}

static void
test_escape(void **state)
{
	static const struct {
		struct span in;
		size_t size;
		const char *out;
	} rows[] = {
	    {SPAN_OF(""), 8, ""},
	    {SPAN_OF("pump-7"), 8, "pump-7"},
	    {SPAN_OF("pump-77"), 8, "pump-77"},
	    {SPAN_OF("pump-777"), 8, "pump..."},
	    {SPAN_OF("a\"b\\c"), 16, "a\\x22b\\x5cc"},
	    {SPAN_OF("\r\n\x1b[2J"), 32, "\\x0d\\x0a\\x1b[2J"},
	    {SPAN_OF("\x7f\x80\xff"), 32, "\\x7f\\x80\\xff"},
	    {SPAN_OF("\0"), 8, "\\x00"},
	    {SPAN_OF("abc\x01"), 8, "abc\\x01"},
	    {SPAN_OF("abcd\x01"), 8, "abcd..."},
	    {SPAN_OF("\x01\x02"), 8, "\\x01..."},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct guard in = {0}, out = {0};
		char *to = (char *)guard_room(&out, rows[i].size);

		assert_string_equal(
		    escape(to, rows[i].size, guard_copy(&in, rows[i].in)),
		    rows[i].out);
		guard_free(&in);
		guard_free(&out);
	}
}

/* Whatever comes in and however little room there is: one clean line. */
static void
test_escape_always_fits(void **state)
{
	uint8_t bytes[256];
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 167);
	for (size_t size = 8; size < 300; size++)
		for (size_t n = 0; n <= sizeof(bytes); n += 5) {
			char *out = (char *)guard_room(&g, size);

			(void)escape(out, size, (struct span){bytes, n});
			assert_true(strlen(out) < size);
			for (const char *c = out; *c != '\0'; c++)
				assert_true(
				    *c >= 0x20 && *c < 0x7f && *c != '"');
		}
	guard_free(&g);
}

static void
test_fault_is_fit_for_a_log_line(void **state)
{
	struct fault f;

	(void)state;
	assert_false(
	    fault_set(&f, R_BAD_CONFIG, "\"%s\" \\x0d\r\n\t\x7f", "\xc3\xa9"));
	assert_string_equal(f.text, "'?"
				    "?' \\x0d?"
				    "?"
				    "?"
				    "?");
}

static void
test_buffer_keeps_bytes_in_order(void **state)
{
	struct buffer b = {0};
	uint8_t next_in = 0, next_out = 0;
	unsigned random = 1;

	(void)state;
	assert_int_equal(buffer_span(&b).n, 0);
	for (int turn = 0; turn < 2000; turn++) {
		uint8_t piece[97];
		size_t n, drop;

		random = random * 1103515245u + 12345u;
		n = random >> 16 & 63;
		drop = random >> 23 & 63;
		for (size_t i = 0; i < n; i++)
			piece[i] = next_in++;
		assert_true(buffer_append(&b, (struct span){piece, n}));
		if (drop > b.n)
			drop = b.n;
		for (size_t i = 0; i < drop; i++)
			assert_int_equal(buffer_span(&b).p[i], next_out++);
		buffer_drop(&b, drop);
		if (b.n == 0) {
			assert_null(b.p);
			assert_int_equal(b.cap, 0);
		}
	}
	assert_int_equal((uint8_t)(next_in - next_out), (uint8_t)b.n);
	buffer_drop(&b, b.n + 1);
	assert_null(b.p);
}

static void
test_buffer_reserve_and_commit(void **state)
{
	struct buffer b = {0};
	uint8_t *to = buffer_reserve(&b, 10);

	(void)state;
	assert_non_null(to);
	assert_int_equal(buffer_span(&b).n, 0);
	memcpy(to, "0123456789", 10);
	buffer_commit(&b, 4);
	assert_span_equal(buffer_span(&b), SPAN_OF("0123"));
	buffer_drop(&b, 1);
	assert_span_equal(buffer_span(&b), SPAN_OF("123"));
	assert_true(buffer_append(&b, SPAN_OF("xyz")));
	assert_span_equal(buffer_span(&b), SPAN_OF("123xyz"));
	assert_null(buffer_reserve(&b, SIZE_MAX));
	assert_span_equal(buffer_span(&b), SPAN_OF("123xyz"));
	buffer_wipe(&b);
	assert_null(b.p);
	assert_int_equal(buffer_span(&b).n, 0);
	buffer_wipe(&b);
	buffer_free(&b);
}

static void
test_secret(void **state)
{
	uint8_t long_one[SECRET_MAX + 1] = {1};
	struct secret k = {0};

	(void)state;
	assert_true(secret_set(&k, SPAN_OF("hunter2")));
	assert_true(secret_eq(&k, SPAN_OF("hunter2")));
	assert_false(secret_eq(&k, SPAN_OF("hunter3")));
	assert_false(secret_eq(&k, SPAN_OF("hunter")));
	assert_false(secret_eq(&k, SPAN_OF("")));
	assert_true(secret_set(&k, (struct span){long_one, SECRET_MAX}));
	assert_false(secret_set(&k, (struct span){long_one, SECRET_MAX + 1}));
	for (size_t i = 0; i < sizeof(k.bytes); i++)
		assert_int_equal(k.bytes[i], 0);
	assert_true(secret_eq(&k, SPAN_OF("")));
}

static void
test_fault_cuts_and_may_be_null(void **state)
{
	char text[2 * FAULT_TEXT_MAX];
	struct fault f;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_false(fault_set(&f, R_BAD_CONFIG, "%s", text));
	assert_int_equal(f.why, R_BAD_CONFIG);
	assert_int_equal(strlen(f.text), FAULT_TEXT_MAX - 1);
	assert_false(fault_set(NULL, R_BAD_CONFIG, "%s", text));
}

static bool
is_word(const char *s)
{
	return s[0] >= 'a' && s[0] <= 'z' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(s);
}

static void
test_reason_words_are_words_and_differ(void **state)
{
	(void)state;
	for (enum reason a = 0; a < R_COUNT; a++) {
		if (!is_word(reason_word(a)))
			fail_msg("reason %d: \"%s\"", (int)a, reason_word(a));
		for (enum reason b = 0; b < a; b++)
			assert_string_not_equal(reason_word(a), reason_word(b));
		assert_int_equal(reason_hint(a)[0] == '\0', a == R_NONE);
	}
}

static void
assert_code(enum reason why, uint8_t code, const char *legal, size_t n)
{
	if (code != 0 && memchr(legal, code, n) == NULL)
		fail_msg("%s: 0x%02x is not a code of that packet",
		    reason_word(why), code);
}

static void
test_reason_codes_are_legal_for_their_packet(void **state)
{
	/* MQTT 3.1.1 table 3.1 */
	static const char connack3[] = "\1\2\3\4\5";
	/* MQTT 5.0 3.2.2.2 */
	static const char connack5[] =
	    "\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8c\x90\x95\x97\x99"
	    "\x9a\x9b\x9c\x9d\x9f";
	/* MQTT 5.0 3.14.2.1, those a server may send */
	static const char disconnect5[] =
	    "\x80\x81\x82\x83\x87\x89\x8b\x8d\x8e\x8f\x90\x93\x94\x95\x96\x97"
	    "\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f\xa0\xa1\xa2";

	(void)state;
	for (enum reason why = 0; why < R_COUNT; why++) {
		assert_code(why, reason_connack(why, 3), connack3,
		    sizeof(connack3) - 1);
		assert_code(why, reason_connack(why, 4), connack3,
		    sizeof(connack3) - 1);
		assert_code(why, reason_connack(why, 5), connack5,
		    sizeof(connack5) - 1);
		assert_code(why, reason_disconnect(why), disconnect5,
		    sizeof(disconnect5) - 1);
		/* who gets a CONNACK at level 3 gets one at level 5, too */
		if (reason_connack(why, 3) != 0)
			assert_int_not_equal(reason_connack(why, 5), 0);
	}
}

static int64_t
seconds(int year, int month, int day, int hour, int minute, int second)
{
	const struct tm date = {
	    .tm_year = year - 1900,
	    .tm_mon = month - 1,
	    .tm_mday = day,
	    .tm_hour = hour,
	    .tm_min = minute,
	    .tm_sec = second,
	};

	return date_seconds(&date);
}

static void
test_dates(void **state)
{
	(void)state;
	assert_int_equal(seconds(1970, 1, 1, 0, 0, 0), 0);
	assert_int_equal(seconds(1969, 12, 31, 23, 59, 59), -1);
	assert_int_equal(seconds(2000, 2, 29, 12, 0, 1), 951825601);
	/* the last second of 32 bits, and the next one */
	assert_int_equal(seconds(2038, 1, 19, 3, 14, 7), INT32_MAX);
	assert_true(seconds(2038, 1, 19, 3, 14, 8) == INT64_C(2147483648));
	assert_true(
	    seconds(2100, 3, 1, 0, 0, 0) - seconds(2100, 2, 28, 0, 0, 0) ==
	    86400);
	assert_true(
	    seconds(0, 1, 1, 0, 0, 0) == INT64_C(-719528) * 24 * 60 * 60);
	assert_true(seconds(9999, 12, 31, 23, 59, 59) == INT64_C(253402300799));
}

/* Each day is as long as the one before, over all of the leap years' rules. */
static void
test_dates_follow_each_other(void **state)
{
	static const int days[12] = {
	    31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t next = seconds(1600, 1, 1, 0, 0, 0);

	(void)state;
	for (int year = 1600; year < 2400; year++) {
		bool leap =
		    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

		for (int i = 0; i < 12; i++)
			for (int day = 1; day <= days[i] + (i == 1 && leap);
			     day++) {
				assert_true(
				    seconds(year, i + 1, day, 0, 0, 0) == next);
				next += 86400;
			}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_span_take_moves_only_when_it_succeeds),
	    cmocka_unit_test(test_span_of_nothing),
	    cmocka_unit_test(test_escape),
	    cmocka_unit_test(test_escape_always_fits),
	    cmocka_unit_test(test_fault_is_fit_for_a_log_line),
	    cmocka_unit_test(test_buffer_keeps_bytes_in_order),
	    cmocka_unit_test(test_buffer_reserve_and_commit),
	    cmocka_unit_test(test_secret),
	    cmocka_unit_test(test_fault_cuts_and_may_be_null),
	    cmocka_unit_test(test_reason_words_are_words_and_differ),
	    cmocka_unit_test(test_reason_codes_are_legal_for_their_packet),
	    cmocka_unit_test(test_dates),
	    cmocka_unit_test(test_dates_follow_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
