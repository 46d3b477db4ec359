#include "codec/http.h"

#include "guard.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

/* RFC 6455 1.3: the nonce whose base64 is dGhlIHNhbXBsZSBub25jZQ==, and the
   accept value the RFC computes for it. */
static const uint8_t nonce[WS_NONCE_BYTES] = "the sample nonce";
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define ACCEPTS "Sec-WebSocket-Accept: " ACCEPT "\r\n"

static void
test_accept_of_the_rfc(void **state)
{
	char out[WS_ACCEPT_TEXT];

	(void)state;
	ws_accept_compute(nonce, out);
	assert_string_equal(out, ACCEPT);
}

static void
test_request(void **state)
{
	static const char with[] = "GET /mqtt HTTP/1.1\r\n"
				   "Host: a1.iot-as-mqtt.example:8443\r\n"
				   "Upgrade: websocket\r\n"
				   "Connection: Upgrade\r\n"
				   "Sec-WebSocket-Key: "
				   "dGhlIHNhbXBsZSBub25jZQ==\r\n"
				   "Sec-WebSocket-Version: 13\r\n"
				   "Sec-WebSocket-Protocol: mqtt\r\n"
				   "\r\n";
	struct ws_request request = {
	    "a1.iot-as-mqtt.example:8443", "/mqtt", "mqtt"};
	struct guard g = {0};
	char *out;

	(void)state;
	out = (char *)guard_room(&g, sizeof(with));
	assert_int_equal(ws_request_write(&request, nonce, out, sizeof(with)),
	    sizeof(with) - 1);
	assert_string_equal(out, with);
	for (size_t size = 1; size < sizeof(with); size++) {
		out = (char *)guard_room(&g, size);
		assert_int_equal(
		    ws_request_write(&request, nonce, out, size), 0);
	}
	request.subprotocol = NULL;
	out = (char *)guard_room(&g, 1024);
	assert_int_equal(ws_request_write(&request, nonce, out, 1024),
	    strlen(with) - strlen("Sec-WebSocket-Protocol: mqtt\r\n"));
	assert_null(strstr(out, "Protocol"));
	guard_free(&g);
}

/*
 * Reads <in> with what follows it, and each of its prefixes before: none may
 * say anything but "more". Spans of <out> are valid until <g> is used again.
 */
static void
read_ok(struct guard *g, struct span in, struct http_answer *out)
{
	struct fault why = {R_NONE, ""};
	char *longer = malloc(in.n + 4);
	size_t used = 0;

	for (size_t n = 0; n < in.n; n++)
		assert_int_equal(
		    http_answer_read(guard_copy(g, (struct span){in.p, n}), out,
			&used, &why),
		    PARSE_MORE);
	assert_non_null(longer);
	memcpy(longer, in.p, in.n);
	memcpy(longer + in.n, "\x82\x02hi", 4);
	if (http_answer_read(
		guard_copy(g, (struct span){(uint8_t *)longer, in.n + 4}), out,
		&used, &why) != PARSE_OK)
		fail_msg("%s", why.text);
	free(longer);
	assert_int_equal(used, in.n);
	assert_int_equal(
	    http_answer_read(guard_copy(g, in), out, &used, &why), PARSE_OK);
	assert_int_equal(used, in.n);
}

static bool
accepts(struct span in, const char *offered, struct fault *why)
{
	struct guard g = {0};
	struct http_answer answer;
	bool ok;

	read_ok(&g, in, &answer);
	*why = (struct fault){R_NONE, ""};
	ok = ws_answer_accept(&answer, nonce, offered, why);
	guard_free(&g);
	return ok;
}

static void
test_answers_that_open(void **state)
{
	static const struct span rows[] = {
	    SPAN_OF(SWITCHING UPGRADE CONNECTION ACCEPTS
		"Sec-WebSocket-Protocol: mqtt\r\n\r\n"),
	    /* the subprotocol may be missing, the order is free */
	    SPAN_OF(SWITCHING ACCEPTS CONNECTION UPGRADE "\r\n"),
	    /* any case of names and tokens */
	    SPAN_OF(SWITCHING "UPGRADE: WebSocket\r\n"
			      "connection: uPGRADE\r\n"
			      "sec-websocket-ACCEPT: " ACCEPT "\r\n\r\n"),
	    /* several tokens, on one line or more */
	    SPAN_OF(SWITCHING UPGRADE
		"Connection: keep-alive, Upgrade\r\n" ACCEPTS "\r\n"),
	    SPAN_OF(SWITCHING UPGRADE
		"Connection: ,Upgrade\t,,close\r\n" ACCEPTS "\r\n"),
	    SPAN_OF(SWITCHING UPGRADE "Connection: keep-alive\r\n"
				      "Connection: upgrade\r\n" ACCEPTS "\r\n"),
	    /* blanks around values, or none */
	    SPAN_OF(SWITCHING "Upgrade:websocket\r\n"
			      "Connection: \t Upgrade \t\r\n"
			      "Sec-WebSocket-Accept:\t" ACCEPT " \r\n\r\n"),
	    /* no phrase, with and without the blank before it */
	    SPAN_OF("HTTP/1.1 101 \r\n" UPGRADE CONNECTION ACCEPTS "\r\n"),
	    SPAN_OF("HTTP/1.1 101\r\n" UPGRADE CONNECTION ACCEPTS "\r\n"),
	    /* headers of no concern, also with bytes above ASCII */
	    SPAN_OF(SWITCHING
		"X-Note: gr\xc3\xbc\xdf\r\nEmpty:\r\n" UPGRADE CONNECTION
		    ACCEPTS "Date: now: 10:00\r\n\r\n"),
	    SPAN_OF(SWITCHING UPGRADE CONNECTION ACCEPTS
		"Server: a\r\nServer: b\r\n\r\n"),
	    SPAN_OF(SWITCHING UPGRADE CONNECTION ACCEPTS
		"Retry-After: 1\r\nRetry-After: 2\r\n\r\n"),
	    SPAN_OF(SWITCHING
		"AZ-az-09!#$%&'*+.^_`|~: 1\r\n" UPGRADE CONNECTION ACCEPTS
		"\r\n"),
	    /* nothing is no extension */
	    SPAN_OF(SWITCHING UPGRADE CONNECTION ACCEPTS
		"Sec-WebSocket-Extensions:\r\n\r\n"),
	    /* interim answers before it */
	    SPAN_OF("HTTP/1.1 100 Continue\r\n\r\n" SWITCHING UPGRADE CONNECTION
		    ACCEPTS "\r\n"),
	    SPAN_OF("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
		    "HTTP/1.1 102\r\nSec-WebSocket-Accept: x\r\n\r\n" SWITCHING
			UPGRADE CONNECTION ACCEPTS "\r\n"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct fault why;

		if (!accepts(rows[i], "mqtt", &why))
			fail_msg("row %zu: %s", i, why.text);
	}
}

static void
test_answers_that_do_not_open(void **state)
{
	static const struct {
		struct span in;
		enum reason why;
		const char *text; /* in the fault's */
	} rows[] = {
	    /* RFC 6455 4.1 */
	    {SPAN_OF(SWITCHING CONNECTION ACCEPTS "\r\n"), R_UPGRADE_BAD_ANSWER,
		"Upgrade: websocket"},
	    {SPAN_OF(SWITCHING "Upgrade: h2c\r\n" CONNECTION ACCEPTS "\r\n"),
		R_UPGRADE_BAD_ANSWER, "Upgrade: websocket"},
	    {SPAN_OF(
		 SWITCHING "Upgrade: webzocket\r\n" CONNECTION ACCEPTS "\r\n"),
		R_UPGRADE_BAD_ANSWER, "Upgrade: websocket"},
	    {SPAN_OF(SWITCHING UPGRADE "Connection: close,\r\n" ACCEPTS "\r\n"),
		R_UPGRADE_BAD_ANSWER, "Connection: Upgrade"},
	    {SPAN_OF(SWITCHING UPGRADE "Connection: upgrad, upgradf\r\n" ACCEPTS
				       "\r\n"),
		R_UPGRADE_BAD_ANSWER, "Connection: Upgrade"},
	    {SPAN_OF(SWITCHING UPGRADE ACCEPTS "\r\n"), R_UPGRADE_BAD_ANSWER,
		"Connection: Upgrade"},
	    {SPAN_OF(
		 SWITCHING UPGRADE "Connection: no-upgrade\r\n" ACCEPTS "\r\n"),
		R_UPGRADE_BAD_ANSWER, "Connection: Upgrade"},
	    {SPAN_OF(SWITCHING UPGRADE CONNECTION "\r\n"), R_UPGRADE_BAD_ANSWER,
		"Accept is ''"},
	    {SPAN_OF(SWITCHING UPGRADE CONNECTION
		 "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
		R_UPGRADE_BAD_ANSWER, "Accept is 'S3pPL"},
	    {SPAN_OF(SWITCHING UPGRADE CONNECTION ACCEPTS
		 "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
		R_UPGRADE_BAD_ANSWER, "extension"},
	    {SPAN_OF(SWITCHING UPGRADE CONNECTION ACCEPTS
		 "Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n"),
		R_UPGRADE_BAD_ANSWER, "'mqttv3.1'"},
	    /* another status */
	    {SPAN_OF("HTTP/1.1 302 Found\r\nLocation: http://portal/?a=1\r\n"
		     "\r\n"),
		R_UPGRADE_REDIRECTED, "302 Found, location 'http://portal"},
	    {SPAN_OF("HTTP/1.1 300 M\r\n\r\n"), R_UPGRADE_REDIRECTED, "300 M,"},
	    {SPAN_OF("HTTP/1.1 399 N\r\n\r\n"), R_UPGRADE_REDIRECTED, "399 N,"},
	    {SPAN_OF("HTTP/1.1 400 B\r\n\r\n"), R_UPGRADE_REFUSED, "400 B"},
	    {SPAN_OF("HTTP/1.1 599 N\r\n\r\n"), R_UPGRADE_REFUSED, "599 N"},
	    {SPAN_OF("HTTP/1.0 301\r\n\r\n"), R_UPGRADE_REDIRECTED,
		"301, location ''"},
	    {SPAN_OF("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
		R_UPGRADE_REFUSED, "200 OK; a plain web page"},
	    {SPAN_OF("HTTP/1.1 401 Unauthorized\r\n\r\n"), R_UPGRADE_REFUSED,
		"401 Unauthorized"},
	    {SPAN_OF("HTTP/1.1 403 Forbidden\r\n\r\n"), R_UPGRADE_REFUSED,
		"403 Forbidden"},
	    {SPAN_OF("HTTP/1.1 404 Not Found\r\n\r\n"), R_UPGRADE_REFUSED,
		"404 Not Found; no WebSocket at this path"},
	    {SPAN_OF("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
		R_UPGRADE_REFUSED, "407 Proxy"},
	    {SPAN_OF("HTTP/1.1 429 Too Many Requests\r\n"
		     "Retry-After: 120\r\n\r\n"),
		R_UPGRADE_REFUSED, "Retry-After: 120"},
	    {SPAN_OF("HTTP/1.1 503 Service Unavailable\r\n"
		     "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n"),
		R_UPGRADE_REFUSED, "Retry-After: Fri, 31 Dec 1999"},
	    {SPAN_OF("HTTP/1.1 500 \xe9\"\r\n\r\n"), R_UPGRADE_REFUSED,
		"500 \\xe9\\x22"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct fault why;

		assert_false(accepts(rows[i].in, "mqtt", &why));
		if (strstr(why.text, rows[i].text) == NULL)
			fail_msg("'%s' is not in '%s'", rows[i].text, why.text);
		assert_int_equal(why.why, rows[i].why);
	}
}

static void
test_subprotocol_that_was_not_offered(void **state)
{
	static const struct span in =
	    SPAN_OF(SWITCHING UPGRADE CONNECTION ACCEPTS
		"Sec-WebSocket-Protocol: mqtt\r\n\r\n");
	struct fault why;

	(void)state;
	assert_true(accepts(in, "mqtt", &why));
	assert_false(accepts(in, NULL, &why));
	assert_int_equal(why.why, R_UPGRADE_BAD_ANSWER);
	assert_non_null(strstr(why.text, "'mqtt', but '' was offered"));
	assert_false(accepts(in, "MQTT", &why));
	assert_non_null(strstr(why.text, "but 'MQTT' was offered"));
}

static void
test_fields_of_an_answer(void **state)
{
	struct guard g = {0};
	struct http_answer a;

	(void)state;
	read_ok(&g,
	    SPAN_OF("HTTP/1.1 503 Service  Unavailable \r\n"
		    "Server: Tengine\r\nRetry-After:7\r\n"
		    "Location: /x\r\nSec-WebSocket-Protocol: \r\n\r\n"),
	    &a);
	assert_int_equal(a.status, 503);
	assert_span_equal(a.reason, SPAN_OF("Service  Unavailable"));
	assert_span_equal(a.server, SPAN_OF("Tengine"));
	assert_span_equal(a.retry_after, SPAN_OF("7"));
	assert_span_equal(a.location, SPAN_OF("/x"));
	assert_int_equal(a.subprotocol.n, 0);
	assert_int_equal(a.accept.n, 0);
	assert_false(a.has_upgrade);
	assert_false(a.has_connection);
	assert_false(a.has_extensions);
	guard_free(&g);
}

/*
 * Heads that are no such thing. Byte by byte, the answer is "more" up to some
 * byte, and "bad" from there on, whatever follows.
 */
static void
test_heads_that_are_malformed(void **state)
{
	static const struct {
		struct span in;
		enum reason why;
		const char *text; /* in the fault's */
	} rows[] = {
	    /* not HTTP at all */
	    {SPAN_OF("SSH-2.0-OpenSSH_9.2\r\n"), R_UPGRADE_NOT_HTTP,
		"(an SSH server); it begins with 'SSH-2.0-OpenSSH_9.2\\x0d"},
	    {SPAN_OF("\x15\x03\x03\x00\x02\x02\x28"), R_UPGRADE_NOT_HTTP,
		"(a TLS alert); it begins with '\\x15\\x03"},
	    {SPAN_OF("\x16\x03\x01\x02"), R_UPGRADE_NOT_HTTP,
		"(a TLS handshake)"},
	    {SPAN_OF("220 mail.example ESMTP\r\n"), R_UPGRADE_NOT_HTTP,
		"(a mail or FTP server)"},
	    {SPAN_OF("\x20\x02\x00\x00"), R_UPGRADE_NOT_HTTP,
		"(an MQTT broker without WebSocket)"},
	    {SPAN_OF("\0\0\x12\x04\0\0\0\0\0"), R_UPGRADE_NOT_HTTP, "(HTTP/2)"},
	    {SPAN_OF("<html>"), R_UPGRADE_NOT_HTTP, "'<html>'"},
	    {SPAN_OF("HTTP/2 101\r\n\r\n"), R_UPGRADE_NOT_HTTP, "'HTTP/2"},
	    {SPAN_OF("http/1.1 101\r\n\r\n"), R_UPGRADE_NOT_HTTP, "'http"},
	    {SPAN_OF("\r\nHTTP/1.1 101\r\n\r\n"), R_UPGRADE_NOT_HTTP, "\\x0d"},
	    {SPAN_OF("\0"), R_UPGRADE_NOT_HTTP, "'\\x00'"},
	    /* the status line */
	    {SPAN_OF("HTTP/1.x 101 S\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1  101 S\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1 \r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1 10\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1 1010\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1 099 S\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1 600 S\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1 1/1 S\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1 1:1 S\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.: 101 S\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    {SPAN_OF("HTTP/1.1 -01 S\r\n"), R_UPGRADE_BAD_ANSWER, "status"},
	    /* line ends and control characters */
	    {SPAN_OF("HTTP/1.1 101 S\n\n"), R_UPGRADE_BAD_ANSWER,
		"a line ends without CR: 'HTTP/1.1 101 S'"},
	    {SPAN_OF(SWITCHING "Upgrade: websocket\n"), R_UPGRADE_BAD_ANSWER,
		"without CR: 'Upgrade: websocket'"},
	    {SPAN_OF(SWITCHING "\n"), R_UPGRADE_BAD_ANSWER, "without CR"},
	    {SPAN_OF(SWITCHING "A: b\rc\r\n"), R_UPGRADE_BAD_ANSWER,
		"a CR without LF"},
	    {SPAN_OF(SWITCHING "A: b\0c\r\n"), R_UPGRADE_BAD_ANSWER,
		"a control character after: 'A: b'"},
	    {SPAN_OF(SWITCHING "A: \x1b[2J\r\n"), R_UPGRADE_BAD_ANSWER,
		"a control character"},
	    {SPAN_OF(SWITCHING "A: \x7f\r\n"), R_UPGRADE_BAD_ANSWER,
		"a control character"},
	    /* headers */
	    {SPAN_OF(SWITCHING "A: b\r\n c\r\n"), R_UPGRADE_BAD_ANSWER,
		"folded"},
	    {SPAN_OF(SWITCHING "\tA: b\r\n"), R_UPGRADE_BAD_ANSWER, "folded"},
	    {SPAN_OF(SWITCHING "Upgrade\r\n"), R_UPGRADE_BAD_ANSWER,
		"without a colon: 'Upgrade'"},
	    {SPAN_OF(SWITCHING ": b\r\n"), R_UPGRADE_BAD_ANSWER, "name"},
	    {SPAN_OF(SWITCHING "Upgrade : websocket\r\n"), R_UPGRADE_BAD_ANSWER,
		"name of a header: 'Upgrade '"},
	    {SPAN_OF(SWITCHING "A(b): c\r\n"), R_UPGRADE_BAD_ANSWER, "name"},
	    {SPAN_OF(SWITCHING "\xc3\xa9: c\r\n"), R_UPGRADE_BAD_ANSWER,
		"'\\xc3\\xa9'"},
	    {SPAN_OF(SWITCHING ACCEPTS ACCEPTS), R_UPGRADE_BAD_ANSWER,
		"twice: 'Sec-WebSocket-Accept'"},
	    {SPAN_OF(SWITCHING "Sec-WebSocket-Accept:\r\n" ACCEPTS),
		R_UPGRADE_BAD_ANSWER, "twice"},
	    {SPAN_OF(SWITCHING "Sec-WebSocket-Protocol: mqtt\r\n"
			       "Sec-WebSocket-Protocol: mqtt\r\n"),
		R_UPGRADE_BAD_ANSWER, "twice"},
	    {SPAN_OF("HTTP/1.1 302 F\r\nLocation: a\r\nLocation: b\r\n"),
		R_UPGRADE_BAD_ANSWER, "twice"},
	    /* behind an interim answer */
	    {SPAN_OF("HTTP/1.1 100 Continue\r\n\r\nMQTT"), R_UPGRADE_NOT_HTTP,
		"'MQTT'"},
	    {SPAN_OF("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 S\n"),
		R_UPGRADE_BAD_ANSWER, "without CR"},
	};
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		enum parse before = PARSE_MORE, got;
		struct http_answer answer;
		struct fault why;
		size_t used;

		for (size_t n = 0; n <= rows[i].in.n; n++) {
			why = (struct fault){R_NONE, ""};
			got = http_answer_read(
			    guard_copy(&g, (struct span){rows[i].in.p, n}),
			    &answer, &used, &why);
			assert_int_not_equal(got, PARSE_OK);
			if (before == PARSE_BAD)
				assert_int_equal(got, PARSE_BAD);
			before = got;
		}
		if (before != PARSE_BAD)
			fail_msg("not refused: %s", rows[i].text);
		if (strstr(why.text, rows[i].text) == NULL)
			fail_msg("'%s' is not in '%s'", rows[i].text, why.text);
		assert_int_equal(why.why, rows[i].why);
		assert_int_equal(
		    http_answer_read(rows[i].in, &answer, &used, NULL),
		    PARSE_BAD);
	}
	guard_free(&g);
}

/* The first byte that cannot be HTTP/1.x ends it. */
static void
test_not_http_is_known_at_once(void **state)
{
	static const char start[] = "HTTP/1.";
	struct http_answer answer;
	struct fault why;
	size_t used;

	(void)state;
	for (size_t n = 0; n < strlen(start); n++) {
		char in[sizeof(start)];

		memcpy(in, start, sizeof(start));
		in[n] = '?';
		assert_int_equal(
		    http_answer_read((struct span){(uint8_t *)in, n + 1},
			&answer, &used, &why),
		    PARSE_BAD);
		assert_int_equal(why.why, R_UPGRADE_NOT_HTTP);
	}
}

static void
test_head_over_its_bound(void **state)
{
	static uint8_t head[HTTP_HEAD_MAX + 1];
	static const char start[] = "HTTP/1.1 101 S\r\nX: ";
	struct guard g = {0};
	struct http_answer answer;
	struct fault why;
	size_t used;

	(void)state;
	memset(head, 'x', sizeof(head));
	memcpy(head, start, strlen(start));
	/* endless */
	assert_int_equal(
	    http_answer_read(
		guard_copy(&g, (struct span){head, HTTP_HEAD_MAX - 1}), &answer,
		&used, &why),
	    PARSE_MORE);
	assert_int_equal(
	    http_answer_read(guard_copy(&g, (struct span){head, HTTP_HEAD_MAX}),
		&answer, &used, &why),
	    PARSE_BAD);
	assert_int_equal(why.why, R_UPGRADE_BAD_ANSWER);
	assert_non_null(strstr(why.text, "8192 bytes"));
	/* the longest one */
	memcpy(head + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
	assert_int_equal(
	    http_answer_read(guard_copy(&g, (struct span){head, sizeof(head)}),
		&answer, &used, &why),
	    PARSE_OK);
	assert_int_equal(used, HTTP_HEAD_MAX);
	/* one byte more */
	memcpy(head + HTTP_HEAD_MAX - 4, "x\r\n\r\n", 5);
	assert_int_equal(
	    http_answer_read(guard_copy(&g, (struct span){head, sizeof(head)}),
		&answer, &used, &why),
	    PARSE_BAD);
	guard_free(&g);
}

/* Interim answers without end are the same thing. */
static void
test_endless_interim_answers(void **state)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
	static uint8_t many[2 * HTTP_HEAD_MAX];
	struct http_answer answer;
	struct fault why;
	size_t used;

	(void)state;
	for (size_t at = 0; at + strlen(interim) <= sizeof(many);
	     at += strlen(interim))
		memcpy(many + at, interim, strlen(interim));
	assert_int_equal(http_answer_read((struct span){many, 10 * 25}, &answer,
			     &used, &why),
	    PARSE_MORE);
	assert_int_equal(http_answer_read((struct span){many, sizeof(many)},
			     &answer, &used, &why),
	    PARSE_BAD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_accept_of_the_rfc),
	    cmocka_unit_test(test_request),
	    cmocka_unit_test(test_answers_that_open),
	    cmocka_unit_test(test_answers_that_do_not_open),
	    cmocka_unit_test(test_subprotocol_that_was_not_offered),
	    cmocka_unit_test(test_fields_of_an_answer),
	    cmocka_unit_test(test_heads_that_are_malformed),
	    cmocka_unit_test(test_not_http_is_known_at_once),
	    cmocka_unit_test(test_head_over_its_bound),
	    cmocka_unit_test(test_endless_interim_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
