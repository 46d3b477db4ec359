#include "codec/socks5.h"

#include "guard.h"
#include "unit.h"

#include <stdio.h>

/* A message is written into exactly its size, and into nothing smaller. */
#define assert_written(want, write, ...)                                       \
	do {                                                                   \
		struct span want_ = SPAN_OF(want);                             \
		struct guard g_ = {0};                                         \
		uint8_t *out_;                                                 \
		for (size_t size_ = 0; size_ < want_.n; size_++)               \
			assert_int_equal(                                      \
			    write(__VA_ARGS__, guard_room(&g_, size_), size_), \
			    0);                                                \
		out_ = guard_room(&g_, want_.n);                               \
		assert_int_equal(write(__VA_ARGS__, out_, want_.n), want_.n);  \
		assert_memory_equal(out_, want_.p, want_.n);                   \
		guard_free(&g_);                                               \
	} while (0)

static void
test_greeting(void **state)
{
	(void)state;
	assert_written("\x05\x01\x00", socks5_greeting_write, false);
	assert_written("\x05\x02\x00\x02", socks5_greeting_write, true);
}

static void
test_login(void **state)
{
	struct secret password;
	char user[SOCKS5_TEXT_MAX + 2];
	uint8_t out[SOCKS5_WRITE_MAX];

	(void)state;
	assert_true(secret_set(&password, SPAN_OF("secret")));
	assert_written("\x01\x04"
		       "user\x06secret",
	    socks5_login_write, "user", &password);
	assert_true(secret_set(&password, SPAN_OF("")));
	assert_written("\x01\x01u\x00", socks5_login_write, "u", &password);
	memset(user, 'u', sizeof(user));
	user[SOCKS5_TEXT_MAX] = '\0';
	assert_int_equal(
	    socks5_login_write(user, &password, out, sizeof(out)), 3 + 255);
	assert_int_equal(out[1], 255);
	user[SOCKS5_TEXT_MAX] = 'u';
	user[SOCKS5_TEXT_MAX + 1] = '\0';
	assert_int_equal(
	    socks5_login_write(user, &password, out, sizeof(out)), 0);
}

static void
test_connect(void **state)
{
	char host[SOCKS5_TEXT_MAX + 2];
	uint8_t out[SOCKS5_WRITE_MAX];

	(void)state;
	assert_written("\x05\x01\x00\x03\x09"
		       "a.example\x01\xbb",
	    socks5_connect_write, "a.example", 443);
	assert_written("\x05\x01\x00\x01\x0a\x00\x00\x07\x00\x50",
	    socks5_connect_write, "10.0.0.7", 80);
	assert_written("\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0"
		       "\0\x01\xff\xff",
	    socks5_connect_write, "2001:db8::1", 65535);
	memset(host, 'h', sizeof(host));
	host[SOCKS5_TEXT_MAX] = '\0';
	assert_int_equal(
	    socks5_connect_write(host, 1, out, sizeof(out)), 4 + 1 + 255 + 2);
	host[SOCKS5_TEXT_MAX] = 'h';
	host[SOCKS5_TEXT_MAX + 1] = '\0';
	assert_int_equal(socks5_connect_write(host, 1, out, sizeof(out)), 0);
}

static void
test_method(void **state)
{
	uint8_t method = 7;
	size_t used = 0;
	struct fault why;

	(void)state;
	assert_int_equal(
	    socks5_method_read(SPAN_OF(""), &method, &used, &why), PARSE_MORE);
	assert_int_equal(
	    socks5_method_read(SPAN_OF("\x05"), &method, &used, &why),
	    PARSE_MORE);
	assert_int_equal(
	    socks5_method_read(SPAN_OF("\x05\x02\x01"), &method, &used, &why),
	    PARSE_OK);
	assert_int_equal(method, SOCKS5_PASSWORD);
	assert_int_equal(used, 2);
}

/* The first byte tells. */
static void
test_not_socks5(void **state)
{
	static const struct {
		struct span in;
		const char *text;
	} rows[] = {
	    {SPAN_OF("H"), "(an HTTP proxy)"},
	    {SPAN_OF("\0\x5b"), "(SOCKS4)"},
	    {SPAN_OF("\x15\x03"), "(a TLS alert)"},
	    {SPAN_OF("\x04"), "begins with '\\x04'"},
	};
	uint8_t code;
	size_t used;
	struct fault why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		assert_int_equal(
		    socks5_method_read(rows[i].in, &code, &used, &why),
		    PARSE_BAD);
		assert_int_equal(why.why, R_EGRESS_BAD_ANSWER);
		assert_non_null(strstr(why.text, rows[i].text));
		assert_int_equal(
		    socks5_reply_read(rows[i].in, &code, &used, NULL),
		    PARSE_BAD);
	}
}

static void
test_login_answer(void **state)
{
	bool accepted;
	size_t used;

	(void)state;
	assert_int_equal(
	    socks5_login_read(SPAN_OF("\x01"), &accepted, &used), PARSE_MORE);
	assert_int_equal(
	    socks5_login_read(SPAN_OF("\x01\x00"), &accepted, &used), PARSE_OK);
	assert_true(accepted);
	assert_int_equal(used, 2);
	assert_int_equal(
	    socks5_login_read(SPAN_OF("\x05\x00"), &accepted, &used), PARSE_OK);
	assert_true(accepted);
	assert_int_equal(
	    socks5_login_read(SPAN_OF("\x01\x01"), &accepted, &used), PARSE_OK);
	assert_false(accepted);
}

/* To its exact end, whatever address is in it. */
static void
test_reply(void **state)
{
	static const struct span rows[] = {
	    SPAN_OF("\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38"),
	    SPAN_OF("\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x04\x38"),
	    SPAN_OF("\x05\x00\x00\x03\x04host\x04\x38"),
	    SPAN_OF("\x05\x00\x00\x03\x00\x04\x38"),
	};
	struct guard g = {0};
	uint8_t code = 9;
	size_t used = 0;
	struct fault why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		uint8_t longer[64];

		for (size_t n = 0; n < rows[i].n; n++)
			assert_int_equal(
			    socks5_reply_read(
				guard_copy(&g, (struct span){rows[i].p, n}),
				&code, &used, &why),
			    PARSE_MORE);
		memcpy(longer, rows[i].p, rows[i].n);
		longer[rows[i].n] = 0x16;
		assert_int_equal(
		    socks5_reply_read((struct span){longer, rows[i].n + 1},
			&code, &used, &why),
		    PARSE_OK);
		assert_int_equal(used, rows[i].n);
		assert_int_equal(code, SOCKS5_OK);
	}
	assert_int_equal(socks5_reply_read(SPAN_OF("\x05\x00\x00\x02\x00\x00"),
			     &code, &used, &why),
	    PARSE_BAD);
	guard_free(&g);
}

static void
test_refusals(void **state)
{
	uint8_t code = 0;
	size_t used = 0;
	struct fault why;

	(void)state;
	assert_int_equal(
	    socks5_reply_read(SPAN_OF("\x05"), &code, &used, &why), PARSE_MORE);
	assert_int_equal(
	    socks5_reply_read(SPAN_OF("\x05\x05"), &code, &used, &why),
	    PARSE_OK);
	assert_int_equal(code, 5);
	assert_int_equal(used, 2);
	assert_string_equal(socks5_reply_text(5), "connection refused");
	assert_string_equal(socks5_reply_text(1), "general failure");
	assert_string_equal(
	    socks5_reply_text(8), "kind of address not supported");
	assert_string_equal(socks5_reply_text(9), "unknown error");
	assert_string_equal(socks5_reply_text(255), "unknown error");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_greeting),
	    cmocka_unit_test(test_login),
	    cmocka_unit_test(test_connect),
	    cmocka_unit_test(test_method),
	    cmocka_unit_test(test_not_socks5),
	    cmocka_unit_test(test_login_answer),
	    cmocka_unit_test(test_reply),
	    cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
