#include "codec/proxy_protocol.h"

#include "unit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* Reads every part of <in> that is not whole, each in memory of its own size,
   which must ask for more; then all of it. */
static enum parse
read_all(struct span in, struct proxy_source *out, size_t *used)
{
	struct fault why = {.why = R_NONE};
	enum parse got = PARSE_MORE;

	for (size_t n = 0; n <= in.n && got == PARSE_MORE; n++) {
		uint8_t *part = malloc(n > 0 ? n : 1);

		assert_non_null(part);
		if (n > 0)
			memcpy(part, in.p, n);
		got = proxy_protocol_read(
		    (struct span){part, n}, out, used, &why);
		free(part);
	}
	if (got == PARSE_BAD) {
		assert_int_equal(why.why, R_BAD_PROXY_HEADER);
		assert_true(why.text[0] != '\0');
	}
	return got;
}

static const char *
address_of(const struct proxy_source *s)
{
	static char text[INET6_ADDRSTRLEN + 16];
	char address[INET6_ADDRSTRLEN];

	if (s->version == 0)
		return "none";
	assert_non_null(inet_ntop(s->version == 4 ? AF_INET : AF_INET6,
	    s->address, address, sizeof(address)));
	(void)snprintf(text, sizeof(text), "%s %u", address, s->port);
	return text;
}

/* It is all of <in>, and says <want>. */
static void
assert_read(struct span in, const char *want)
{
	struct proxy_source source;
	size_t used;

	assert_int_equal(read_all(in, &source, &used), PARSE_OK);
	assert_int_equal(used, in.n);
	assert_string_equal(address_of(&source), want);
}

static void
assert_bad(struct span in)
{
	struct proxy_source source;
	size_t used;

	assert_int_equal(read_all(in, &source, &used), PARSE_BAD);
	assert_int_equal(source.version, 0);
}

static void
test_lines(void **state)
{
	(void)state;
	assert_read(SPAN_OF("PROXY TCP4 192.0.2.7 10.0.0.1 56324 1883\r\n"),
	    "192.0.2.7 56324");
	assert_read(SPAN_OF("PROXY TCP4 255.255.255.255 255.255.255.255 65535 "
			    "65535\r\n"),
	    "255.255.255.255 65535");
	assert_read(
	    SPAN_OF("PROXY TCP6 2001:db8::7 ::1 0 1883\r\n"), "2001:db8::7 0");
	assert_read(SPAN_OF("PROXY UNKNOWN\r\n"), "none");
	assert_read(
	    SPAN_OF("PROXY UNKNOWN ffff::1 nonsense 1 2 3\r\n"), "none");
}

static void
test_longest_line(void **state)
{
	char text[PROXY_PROTOCOL_LINE_MAX + 2];

	(void)state;
	(void)snprintf(text, sizeof(text), "PROXY UNKNOWN %0*d\r\n",
	    PROXY_PROTOCOL_LINE_MAX - 16, 0);
	assert_int_equal(strlen(text), PROXY_PROTOCOL_LINE_MAX);
	assert_read(span_of_string(text), "none");
	(void)snprintf(text, sizeof(text), "PROXY UNKNOWN %0*d\r\n",
	    PROXY_PROTOCOL_LINE_MAX - 15, 0);
	assert_bad(span_of_string(text));
}

static void
test_bad_lines(void **state)
{
	static const char *const lines[] = {
	    "PROXY TCP4 192.0.2.7 10.0.0.1 56324 1883\n",
	    "PROXY TCP4 192.0.2.7 10.0.0.1 56324\r\n",
	    "PROXY TCP4 192.0.2.7 10.0.0.1 56324 1883 \r\n",
	    "PROXY TCP4 192.0.2.7  10.0.0.1 56324 1883\r\n",
	    "PROXY TCP4 192.0.2.7 10.0.0.1 65536 1883\r\n",
	    "PROXY TCP4 192.0.2.7 10.0.0.1 056 1883\r\n",
	    "PROXY TCP4 192.0.2.7 10.0.0.1 +56 1883\r\n",
	    "PROXY TCP4 192.0.2.7 10.0.0.1  1883\r\n",
	    "PROXY TCP4 192.0.2.7 ::1 56324 1883\r\n",
	    "PROXY TCP4 2001:db8::7 ::1 56324 1883\r\n",
	    "PROXY TCP6 192.0.2.7 10.0.0.1 56324 1883\r\n",
	    "PROXY UDP4 192.0.2.7 10.0.0.1 56324 1883\r\n",
	    "PROXY  TCP4 192.0.2.7 10.0.0.1 56324 1883\r\n",
	    "PROXY \r\n",
	    "PROXY \n",
	    "PROXYTCP4",
	    "proxy TCP4",
	    "\x10\x0c",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
		assert_bad(span_of_string(lines[i]));
	assert_bad(SPAN_OF("PROXY TCP4 192.0.2.7\0 10.0.0.1 56324 1883\r\n"));
}

static void
test_binary(void **state)
{
	(void)state;
	assert_read(SPAN_OF(SIGNATURE "\x21\x11\x00\x0c"
				      "\xc0\x00\x02\x07\x0a\x00\x00\x01"
				      "\xdc\x04\x07\x5b"),
	    "192.0.2.7 56324");
	assert_read(
	    SPAN_OF(SIGNATURE "\x21\x21\x00\x24"
			      "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
			      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
			      "\xdc\x04\x07\x5b"),
	    "2001:db8::7 56324");
	/* one TLV behind them: a CRC32C */
	assert_read(SPAN_OF(SIGNATURE "\x21\x11\x00\x13"
				      "\xc0\x00\x02\x07\x0a\x00\x00\x01"
				      "\xdc\x04\x07\x5b"
				      "\x03\x00\x04\x01\x02\x03\x04"),
	    "192.0.2.7 56324");
}

/* LOCAL, whatever it says; no family; UDP; a Unix socket. */
static void
test_binary_without_address(void **state)
{
	uint8_t local[16 + 216] = SIGNATURE "\x21\x31\x00\xd8";

	(void)state;
	assert_read(SPAN_OF(SIGNATURE "\x20\x00\x00\x00"), "none");
	assert_read(SPAN_OF(SIGNATURE "\x20\x11\x00\x02\x01\x02"), "none");
	assert_read(SPAN_OF(SIGNATURE "\x20\x11\x00\x0c"
				      "\xc0\x00\x02\x07\x0a\x00\x00\x01"
				      "\xdc\x04\x07\x5b"),
	    "none");
	assert_read(SPAN_OF(SIGNATURE "\x21\x00\x00\x00"), "none");
	assert_read(SPAN_OF(SIGNATURE "\x21\x12\x00\x0c"
				      "\xc0\x00\x02\x07\x0a\x00\x00\x01"
				      "\xdc\x04\x07\x5b"),
	    "none");
	assert_read((struct span){local, sizeof(local)}, "none");
}

static void
test_bad_binary(void **state)
{
	(void)state;
	assert_bad(SPAN_OF(SIGNATURE "\x11\x11\x00\x0c"));
	assert_bad(SPAN_OF(SIGNATURE "\x31\x11\x00\x0c"));
	assert_bad(SPAN_OF(SIGNATURE "\x22\x11\x00\x0c"));
	assert_bad(SPAN_OF(SIGNATURE "\x21\x41\x00\x0c"));
	assert_bad(SPAN_OF(SIGNATURE "\x21\x13\x00\x0c"));
	assert_bad(SPAN_OF(SIGNATURE "\x21\x11\x00\x0b"));
	assert_bad(SPAN_OF(SIGNATURE "\x21\x21\x00\x23"));
	assert_bad(SPAN_OF(SIGNATURE "\x21\x31\x00\xd7"));
	assert_bad(SPAN_OF(SIGNATURE "\x21\x11\x0f\xf1")); /* 4097 bytes */
	assert_bad(SPAN_OF("\r\n\r\n\0\r\nQUIT!"));
}

/* What comes behind it is the device's. */
static void
test_more_behind(void **state)
{
	const struct span in = SPAN_OF("PROXY UNKNOWN\r\n\x10\x0c\n");
	struct proxy_source source;
	size_t used;

	(void)state;
	assert_int_equal(
	    proxy_protocol_read(in, &source, &used, NULL), PARSE_OK);
	assert_int_equal(used, in.n - 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_longest_line),
	    cmocka_unit_test(test_bad_lines),
	    cmocka_unit_test(test_binary),
	    cmocka_unit_test(test_binary_without_address),
	    cmocka_unit_test(test_bad_binary),
	    cmocka_unit_test(test_more_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
