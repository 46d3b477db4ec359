#include "codec/http_proxy.h"

#include "guard.h"
#include "unit.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>

/* ---- CONNECT ---- */

static void
test_request(void **state)
{
	static const char plain[] = "CONNECT a.example:443 HTTP/1.1\r\n"
				    "Host: a.example:443\r\n"
				    "\r\n";
	static const char with[] = "CONNECT a.example:443 HTTP/1.1\r\n"
				   "Host: a.example:443\r\n"
				   "Proxy-Authorization: Basic eDp5\r\n"
				   "\r\n";
	struct guard g = {0};
	char *out;

	(void)state;
	out = (char *)guard_room(&g, sizeof(plain));
	assert_int_equal(
	    http_connect_write("a.example:443", NULL, out, sizeof(plain)),
	    sizeof(plain) - 1);
	assert_string_equal(out, plain);
	for (size_t size = 1; size < sizeof(with); size++)
		assert_int_equal(
		    http_connect_write("a.example:443", "Basic eDp5",
			(char *)guard_room(&g, size), size),
		    0);
	out = (char *)guard_room(&g, sizeof(with));
	assert_int_equal(http_connect_write(
			     "a.example:443", "Basic eDp5", out, sizeof(with)),
	    sizeof(with) - 1);
	assert_string_equal(out, with);
	guard_free(&g);
}

static void
test_authority(void **state)
{
	char out[HTTP_AUTHORITY_MAX], host[256];

	(void)state;
	assert_true(http_authority_write("a.example", 443, out));
	assert_string_equal(out, "a.example:443");
	assert_true(http_authority_write("10.0.0.7", 1, out));
	assert_string_equal(out, "10.0.0.7:1");
	assert_true(http_authority_write("2001:db8::1", 65535, out));
	assert_string_equal(out, "[2001:db8::1]:65535");
	memset(host, 'a', sizeof(host));
	host[253] = '\0';
	assert_true(http_authority_write(host, 65535, out));
	host[253] = 'a';
	host[255] = '\0';
	assert_true(http_authority_write(host, 65535, out));
	memset(host, ':', 255);
	assert_false(http_authority_write(host, 65535, out));
}

/* ---- the answer ---- */

/* Each of its prefixes wants more; what follows it is not touched. */
static void
read_ok(struct span in, struct http_connect_answer *out)
{
	struct guard g = {0};
	struct fault why = {R_NONE, ""};
	size_t used = 0;
	struct span longer;
	uint8_t all[1024];

	for (size_t n = 0; n < in.n; n++)
		assert_int_equal(http_connect_answer_read(
				     guard_copy(&g, (struct span){in.p, n}),
				     out, &used, &why),
		    PARSE_MORE);
	assert_true(in.n + 4 <= sizeof(all));
	memcpy(all, in.p, in.n);
	memcpy(all + in.n, "\x16\x03\0\n", 4);
	longer = (struct span){all, in.n + 4};
	if (http_connect_answer_read(
		guard_copy(&g, longer), out, &used, &why) != PARSE_OK)
		fail_msg("%s", why.text);
	assert_int_equal(used, in.n);
	guard_free(&g);
	assert_int_equal(
	    http_connect_answer_read(in, out, &used, &why), PARSE_OK);
	assert_int_equal(used, in.n);
}

static void
test_answers(void **state)
{
	struct http_connect_answer a;

	(void)state;
	read_ok(SPAN_OF("HTTP/1.1 200 Connection established\r\n\r\n"), &a);
	assert_int_equal(a.status, 200);
	assert_span_equal(a.reason, SPAN_OF("Connection established"));
	assert_string_equal(a.offer.names, "");
	/* RFC 9110 9.3.6: what says there is a body says nothing */
	read_ok(SPAN_OF("HTTP/1.0 200\r\nContent-Length: 7\r\n"
			"Transfer-Encoding: chunked\r\n\r\n"),
	    &a);
	assert_int_equal(a.status, 200);
	/* what an interim answer said is forgotten */
	read_ok(SPAN_OF("HTTP/1.1 100 Continue\r\n"
			"Proxy-Authenticate: Basic realm=\"x\"\r\n\r\n"
			"HTTP/1.1 407 No\r\nproxy-authenticate: NTLM\r\n\r\n"),
	    &a);
	assert_int_equal(a.status, 407);
	assert_string_equal(a.offer.names, "NTLM");
	assert_true(a.offer.has_windows);
	assert_int_equal(a.offer.best.scheme, HTTP_AUTH_NONE);
	/* several headers; those for the server itself do not count */
	read_ok(SPAN_OF("HTTP/1.1 407 No\r\n"
			"Proxy-Authenticate: Negotiate\r\n"
			"WWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\n"
			"Proxy-Authenticate: Basic realm=\"x\"\r\n\r\n"),
	    &a);
	assert_string_equal(a.offer.names, "Negotiate, Basic");
	assert_int_equal(a.offer.best.scheme, HTTP_AUTH_BASIC);
}

static void
test_bad_answers(void **state)
{
	static const struct span rows[] = {
	    SPAN_OF("SSH-2.0-x\r\n"),
	    SPAN_OF("\x15\x03\x01"),
	    SPAN_OF("\x05\xff"),
	    SPAN_OF("HTTP/2 200\r\n\r\n"),
	    SPAN_OF("HTTP/1.1 20 x\r\n\r\n"),
	    SPAN_OF("HTTP/1.1\t200 x\r\n\r\n"),
	    SPAN_OF("HTTP/1.1 200 x\n\n"),
	    SPAN_OF("HTTP/1.1 200 x\r\nA: b\r\n c\r\n\r\n"),
	};
	struct http_connect_answer a;
	struct fault why;
	size_t used;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		why = (struct fault){R_NONE, ""};
		assert_int_equal(
		    http_connect_answer_read(rows[i], &a, &used, &why),
		    PARSE_BAD);
		assert_int_equal(why.why, R_EGRESS_BAD_ANSWER);
		assert_int_equal(
		    http_connect_answer_read(rows[i], &a, &used, NULL),
		    PARSE_BAD);
	}
}

/* ---- challenges ---- */

static struct http_offer
offer_of(const char *value)
{
	struct http_offer offer = {0};
	struct guard g = {0};

	http_offer_add(&offer, guard_copy(&g, span_of_string(value)));
	guard_free(&g);
	return offer;
}

static void
test_challenges(void **state)
{
	static const struct {
		const char *value;
		enum http_auth_scheme best;
		const char *names;
	} rows[] = {
	    {"", HTTP_AUTH_NONE, ""},
	    {" ,, ", HTTP_AUTH_NONE, ""},
	    {"Basic realm=\"x\"", HTTP_AUTH_BASIC, "Basic"},
	    {"basic", HTTP_AUTH_BASIC, "basic"},
	    {"BASIC Realm = \"x\" , charset=\"UTF-8\"", HTTP_AUTH_BASIC,
		"BASIC"},
	    {"Basic realm=", HTTP_AUTH_BASIC, "Basic"},
	    /* RFC 9110 11.6.1 */
	    {"Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\","
	     " Basic realm=\"simple\"",
		HTTP_AUTH_BASIC, "Newauth, Basic"},
	    /* token68, and none */
	    {"Negotiate YIIabc+/==, NTLM, Basic realm=x", HTTP_AUTH_BASIC,
		"Negotiate, NTLM, Basic"},
	    {"NTLM TlRMTVNTUAAC=,Basic realm=x", HTTP_AUTH_BASIC,
		"NTLM, Basic"},
	    {"NTLM, Negotiate", HTTP_AUTH_NONE, "NTLM, Negotiate"},
	    /* the strongest, wherever it stands */
	    {"Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, Digest "
	     "realm=\"r\", nonce=\"n\", algorithm=MD5, Basic realm=\"r\"",
		HTTP_AUTH_DIGEST_SHA256, "Digest SHA-256, Digest MD5, Basic"},
	    {"Basic realm=\"r\", Digest nonce=n, realm=r", HTTP_AUTH_DIGEST_MD5,
		"Basic, Digest MD5"},
	    {"Digest REALM=r,NONCE=n,ALGORITHM=\"sha-256\"",
		HTTP_AUTH_DIGEST_SHA256, "Digest sha-256"},
	    {"Digest realm=r, nonce=n, qop=\"auth-int,auth\"",
		HTTP_AUTH_DIGEST_MD5, "Digest MD5"},
	    /* a comma inside quotes, a quote behind a backslash */
	    {"Digest realm=\"a, Basic realm=\\\"\", nonce=n",
		HTTP_AUTH_DIGEST_MD5, "Digest MD5"},
	    /* a Digest that cannot be answered */
	    {"Digest realm=r, nonce=n, algorithm=MD5-sess", HTTP_AUTH_NONE,
		"Digest MD5-sess"},
	    {"Digest realm=r, nonce=n, algorithm=SHA-512-256, Basic realm=r",
		HTTP_AUTH_BASIC, "Digest SHA-512-256, Basic"},
	    {"Digest realm=r, nonce=n, qop=auth-int", HTTP_AUTH_NONE,
		"Digest MD5"},
	    {"Digest realm=r", HTTP_AUTH_NONE, "Digest MD5"},
	    {"Digest nonce=n", HTTP_AUTH_NONE, "Digest MD5"},
	    {"Digest", HTTP_AUTH_NONE, "Digest MD5"},
	    /* malformed: what stands before it counts */
	    {"Basic realm=\"x\", Digest realm=\"r", HTTP_AUTH_BASIC,
		"Basic, Digest MD5"},
	    {"Basic realm=\"x\\", HTTP_AUTH_BASIC, "Basic"},
	    {"\"Basic\"", HTTP_AUTH_NONE, ""},
	    {"Basic=x", HTTP_AUTH_NONE, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct http_offer offer = offer_of(rows[i].value);

		if (offer.best.scheme != rows[i].best)
			fail_msg("%s: %d", rows[i].value, offer.best.scheme);
		assert_string_equal(offer.names, rows[i].names);
	}
}

static void
test_challenge_fields(void **state)
{
	char value[HTTP_AUTH_TEXT_MAX + 64];
	struct http_offer offer =
	    offer_of("Digest stale=TRUE, opaque=\"o\\\\p\", realm=\"r\\\"s\", "
		     "nonce=n1, nonce=n2, qop=\"auth\"");

	(void)state;
	assert_true(offer.best.is_stale);
	assert_true(offer.best.has_qop);
	assert_true(offer.best.has_opaque);
	assert_false(offer.best.has_algorithm);
	assert_string_equal(offer.best.opaque, "o\\p");
	assert_string_equal(offer.best.realm, "r\"s");
	assert_string_equal(offer.best.nonce, "n1");
	offer = offer_of("Digest realm=\"\", nonce=\"\", stale=false");
	assert_int_equal(offer.best.scheme, HTTP_AUTH_DIGEST_MD5);
	assert_false(offer.best.is_stale);
	assert_false(offer.best.has_qop);
	/* the longest nonce, and one byte more */
	for (int n = HTTP_AUTH_TEXT_MAX - 1; n <= HTTP_AUTH_TEXT_MAX; n++) {
		(void)snprintf(value, sizeof(value),
		    "Digest realm=r, nonce=\"%0*d\"", n, 0);
		assert_int_equal(offer_of(value).best.scheme,
		    n < HTTP_AUTH_TEXT_MAX ? HTTP_AUTH_DIGEST_MD5
					   : HTTP_AUTH_NONE);
	}
}

/* Many names are cut, one that is binary is made readable. */
static void
test_offer_is_bounded(void **state)
{
	struct http_offer offer = {0};
	char value[32];

	(void)state;
	for (int i = 0; i < 100; i++) {
		(void)snprintf(value, sizeof(value), "Scheme%d", i);
		http_offer_add(&offer, span_of_string(value));
		http_offer_add(&offer, span_of_string(value));
	}
	assert_int_equal(strlen(offer.names), sizeof(offer.names) - 1);
	assert_memory_equal(offer.names, "Scheme0, Scheme1, Scheme2, ", 27);
	offer = offer_of("Digest algorithm=\"\xff\"");
	assert_string_equal(offer.names, "Digest \\xff");
}

/* ---- what answers them ---- */

static const char *
answer(const char *challenge, const char *username, const char *password,
    const char *method, const char *uri, uint32_t nc, const char *cnonce)
{
	static char out[HTTP_AUTH_MAX];
	struct http_offer offer = offer_of(challenge);
	struct secret secret;
	struct http_login who = {username, &secret, method, uri};
	size_t n;

	assert_true(secret_set(&secret, span_of_string(password)));
	n = http_auth_write(&offer.best, &who, nc, cnonce, out, sizeof(out));
	assert_int_equal(n, strlen(out));
	return out;
}

/* RFC 7617 2 and 2.1 */
static void
test_basic(void **state)
{
	(void)state;
	assert_string_equal(answer("Basic realm=\"WallyWorld\"", "Aladdin",
				"open sesame", "CONNECT", "a:1", 1, ""),
	    "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	assert_string_equal(answer("Basic realm=\"foo\", charset=\"UTF-8\"",
				"test", "123\xc2\xa3", "CONNECT", "a:1", 1, ""),
	    "Basic dGVzdDoxMjPCow==");
	assert_string_equal(
	    answer("Basic", "u", "", "CONNECT", "a:1", 1, ""), "Basic dTo=");
}

/* RFC 7616 3.9.1 */
#define RFC_7616(algorithm)                                                    \
	"Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", "     \
	"algorithm=" algorithm ", nonce=\"7ypf/xlj9XXwfDPEoM4URrv/"            \
	"xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/"                               \
	"qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""

static void
test_digest_of_rfc_7616(void **state)
{
	static const char *const rows[][2] = {
	    {RFC_7616("MD5"), "response=\"8ca523f5e9506fed4657c9700eebdbec\", "
			      "algorithm=MD5, "},
	    {RFC_7616("SHA-256"),
		"response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697"
		"cf8db5856cb6c1\", algorithm=SHA-256, "},
	};
	char want[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		(void)snprintf(want, sizeof(want),
		    "Digest username=\"Mufasa\", "
		    "realm=\"http-auth@example.org\", nonce=\"7ypf/"
		    "xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", "
		    "uri=\"/dir/index.html\", %sopaque=\"FQhe/"
		    "qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", qop=auth, "
		    "nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/"
		    "H5QzzpXusqGemxURZJ\"",
		    rows[i][1]);
		assert_string_equal(
		    answer(rows[i][0], "Mufasa", "Circle of Life", "GET",
			"/dir/index.html", 1,
			"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"),
		    want);
	}
}

/* RFC 2617 3.5, and the same without qop. */
static void
test_digest_of_rfc_2617(void **state)
{
	(void)state;
	assert_string_equal(
	    answer("Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\","
		   " nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", "
		   "opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
		"Mufasa", "Circle Of Life", "GET", "/dir/index.html", 1,
		"0a4f113b"),
	    "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", "
	    "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", "
	    "uri=\"/dir/index.html\", "
	    "response=\"6629fae49393a05397450978507c4ef1\", "
	    "opaque=\"5ccc069c403ebaf9f0171e9517f40e41\", qop=auth, "
	    "nc=00000001, cnonce=\"0a4f113b\"");
	assert_string_equal(
	    answer("Digest realm=\"testrealm@host.com\", "
		   "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"",
		"Mufasa", "Circle Of Life", "GET", "/dir/index.html", 1,
		"0a4f113b"),
	    "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", "
	    "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", "
	    "uri=\"/dir/index.html\", "
	    "response=\"670fd8c2df070c60b045671b8b24ff02\"");
}

/* Each use of a nonce has its number; quotes and backslashes are escaped, but
   hashed as they are (computed with Python's hashlib). */
static void
test_digest_counts_and_escapes(void **state)
{
	const char *out = answer("Digest realm=\"r\\\"s\", nonce=n, qop=auth",
	    "a\\\"b", "pass", "CONNECT", "host.example:443", 0x1abc, "c");

	(void)state;
	assert_non_null(strstr(out, "username=\"a\\\\\\\"b\", "));
	assert_non_null(strstr(out, "realm=\"r\\\"s\", "));
	assert_non_null(strstr(out, "uri=\"host.example:443\", "));
	assert_non_null(strstr(out, "nc=00001abc, "));
	assert_non_null(
	    strstr(out, "response=\"7c8e542434f043353ee488d0f60ca0be\", "));
}

static void
test_answer_fits_or_is_not_written(void **state)
{
	static const char *const challenges[] = {
	    "Basic realm=x", RFC_7616("MD5"), RFC_7616("SHA-256")};
	struct secret secret;
	struct http_login who = {"user", &secret, "CONNECT", "a:1"};
	struct guard g = {0};

	(void)state;
	assert_true(secret_set(&secret, SPAN_OF("password")));
	for (size_t i = 0; i < ARRAY_LENGTH(challenges); i++) {
		struct http_offer offer = offer_of(challenges[i]);
		size_t n = strlen(answer(challenges[i], "user", "password",
		    "CONNECT", "a:1", 1, "c"));

		for (size_t size = 0; size <= n; size++)
			assert_int_equal(
			    http_auth_write(&offer.best, &who, 1, "c",
				(char *)guard_room(&g, size), size),
			    0);
		assert_int_equal(http_auth_write(&offer.best, &who, 1, "c",
				     (char *)guard_room(&g, n + 1), n + 1),
		    n);
	}
	guard_free(&g);
}

/* The longest of everything is within HTTP_AUTH_MAX. */
static void
test_longest_answer(void **state)
{
	static char quotes[HTTP_AUTH_TEXT_MAX], out[HTTP_AUTH_MAX];
	char user[160], uri[HTTP_AUTHORITY_MAX];
	struct http_challenge c = {.scheme = HTTP_AUTH_DIGEST_SHA256,
	    .has_algorithm = true,
	    .has_qop = true,
	    .has_opaque = true};
	struct secret secret = {.n = SECRET_MAX};
	struct http_login who = {user, &secret, "CONNECT", uri};

	(void)state;
	memset(secret.bytes, '\\', SECRET_MAX);
	memset(quotes, '"', sizeof(quotes) - 1);
	memcpy(c.realm, quotes, sizeof(quotes));
	memcpy(c.nonce, quotes, sizeof(quotes));
	memcpy(c.opaque, quotes, sizeof(quotes));
	memset(user, '"', sizeof(user) - 1);
	user[sizeof(user) - 1] = '\0';
	memset(uri, 'a', sizeof(uri) - 1);
	uri[sizeof(uri) - 1] = '\0';
	assert_true(
	    http_auth_write(&c, &who, UINT32_MAX,
		"0123456789abcdef0123456789abcdef", out, sizeof(out)) > 2000);
	c.scheme = HTTP_AUTH_BASIC;
	assert_int_equal(
	    http_auth_write(&c, &who, 1, "", out, sizeof(out)), 6 + 96 * 4);
	c.scheme = HTTP_AUTH_NONE;
	assert_int_equal(http_auth_write(&c, &who, 1, "", out, sizeof(out)), 0);
}

/* As in FIPS mode: what the library does not have is not chosen. */
static void
test_without_digests(void **state)
{
	struct http_offer offer;

	(void)state;
	assert_int_equal(EVP_set_default_properties(NULL, "provider=none"), 1);
	offer = offer_of("Digest realm=r, nonce=n, Basic realm=r");
	/* TLS would take it for an error of its own */
	assert_int_equal(ERR_peek_error(), 0);
	assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
	assert_int_equal(offer.best.scheme, HTTP_AUTH_BASIC);
	assert_string_equal(offer.names, "Digest MD5, Basic");
	offer = offer_of("Digest realm=r, nonce=n, Basic realm=r");
	assert_int_equal(offer.best.scheme, HTTP_AUTH_DIGEST_MD5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_request),
	    cmocka_unit_test(test_authority),
	    cmocka_unit_test(test_answers),
	    cmocka_unit_test(test_bad_answers),
	    cmocka_unit_test(test_challenges),
	    cmocka_unit_test(test_challenge_fields),
	    cmocka_unit_test(test_offer_is_bounded),
	    cmocka_unit_test(test_basic),
	    cmocka_unit_test(test_digest_of_rfc_7616),
	    cmocka_unit_test(test_digest_of_rfc_2617),
	    cmocka_unit_test(test_digest_counts_and_escapes),
	    cmocka_unit_test(test_answer_fits_or_is_not_written),
	    cmocka_unit_test(test_longest_answer),
	    cmocka_unit_test(test_without_digests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
