#include "link/egress_talk.h"

#include "codec/http_head.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* One dial through a proxy, and what it said last. */
struct dial {
	struct egress proxy;
	struct egress_memory *memory;
	struct egress_talk talk;
	struct fault why;
	size_t left; /* bytes of the last answer that were not taken */
	char said[EGRESS_WRITE_MAX + 1];
};

static struct egress
proxy_of(const char *url)
{
	struct egress e;
	const char *why;

	if (!egress_read(&e, url, &why))
		fail_msg("%s: %s", url, why);
	return e;
}

static void
dial_begin(struct dial *d, const char *url)
{
	d->proxy = proxy_of(url);
	d->why = (struct fault){R_NONE, ""};
	if (d->memory == NULL)
		d->memory = egress_memory_new();
	assert_non_null(d->memory);
	egress_talk_begin(
	    &d->talk, d->memory, &d->proxy, "cloud.example", 8443);
}

/* What is said now, as text; "" for nothing. */
static const char *
said(struct dial *d)
{
	size_t n = egress_talk_write(
	    &d->talk, (uint8_t *)d->said, sizeof(d->said) - 1);

	d->said[n] = '\0';
	assert_int_equal(egress_talk_write(&d->talk, NULL, 0), 0);
	return d->said;
}

#define assert_said(d, want)                                                   \
	do {                                                                   \
		size_t n_ = egress_talk_write(                                 \
		    &(d)->talk, (uint8_t *)(d)->said, sizeof((d)->said));      \
		assert_span_equal(                                             \
		    ((struct span){(uint8_t *)(d)->said, n_}), SPAN_OF(want)); \
	} while (0)

/* The answer byte by byte, then all of it at once: both say the same. */
static enum egress_step
hear_span(struct dial *d, struct span answer)
{
	struct egress_talk before = d->talk;
	enum egress_step step = EGRESS_MORE;
	struct span in;

	for (size_t n = 0; n < answer.n && step == EGRESS_MORE; n++) {
		in = (struct span){answer.p, n};
		step = egress_talk_read(&d->talk, &in, &d->why);
		if (step == EGRESS_MORE)
			assert_int_equal(in.n, n);
	}
	d->talk = before;
	in = answer;
	step = egress_talk_read(&d->talk, &in, &d->why);
	assert_ptr_equal(in.p + in.n, answer.p + answer.n);
	d->left = in.n;
	return step;
}

#define hear(d, literal) hear_span(d, SPAN_OF(literal))

static void
dial_end(struct dial *d)
{
	egress_memory_free(&d->memory);
	assert_null(d->memory);
}

#define assert_failed(d, reason, text_)                                        \
	do {                                                                   \
		assert_int_equal((d)->why.why, reason);                        \
		assert_memory_equal(                                           \
		    (d)->why.text, "egress proxy p port ", 20);                \
		if (strstr((d)->why.text, text_) == NULL)                      \
			fail_msg("no '%s' in '%s'", text_, (d)->why.text);     \
	} while (0)

#define CONNECT                                                                \
	"CONNECT cloud.example:8443 HTTP/1.1\r\nHost: cloud.example:8443\r\n"
#define BASIC "Proxy-Authorization: Basic bWU6aHVzaA==\r\n"
#define ASKS(challenge)                                                        \
	"HTTP/1.1 407 Who?\r\nProxy-Authenticate: " challenge                  \
	"\r\nContent-Length: 3\r\n\r\nNo!"
#define OPEN "HTTP/1.1 200 OK\r\n\r\n"
#define DIGEST(nonce) ASKS("Digest realm=r, qop=auth, nonce=" nonce)

/* ---- HTTP ---- */

static void
test_without_login(void **state)
{
	static const char *const urls[] = {"http://p", "https://p:1"};
	struct dial d = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(urls); i++) {
		dial_begin(&d, urls[i]);
		assert_string_equal(said(&d), CONNECT "\r\n");
		assert_int_equal(hear(&d, OPEN "\x16\x03"), EGRESS_OPEN);
		assert_int_equal(d.left, 2);
	}
	dial_end(&d);
}

static void
test_cloud_by_ipv6(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "http://p");
	egress_talk_begin(&d.talk, d.memory, &d.proxy, "2001:db8::7", 443);
	assert_string_equal(said(&d), "CONNECT [2001:db8::7]:443 HTTP/1.1\r\n"
				      "Host: [2001:db8::7]:443\r\n\r\n");
	dial_end(&d);
}

/* The password goes only when asked for; from then on at once. */
static void
test_basic(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "http://me:hush@p");
	assert_string_equal(said(&d), CONNECT "\r\n");
	assert_int_equal(hear(&d, ASKS("Basic realm=x")), EGRESS_REDIAL);
	assert_string_equal(said(&d), CONNECT BASIC "\r\n");
	assert_int_equal(hear(&d, OPEN), EGRESS_OPEN);
	dial_begin(&d, "http://me:hush@p");
	assert_string_equal(said(&d), CONNECT BASIC "\r\n");
	assert_int_equal(hear(&d, OPEN), EGRESS_OPEN);
	/* other proxies have not asked */
	dial_begin(&d, "https://me:hush@p:1080");
	assert_string_equal(said(&d), CONNECT "\r\n");
	dial_begin(&d, "http://me:hush@p:81");
	assert_string_equal(said(&d), CONNECT "\r\n");
	dial_begin(&d, "http://me:hush@q");
	assert_string_equal(said(&d), CONNECT "\r\n");
	/* nor is there anything to say without a login */
	dial_begin(&d, "http://p");
	assert_string_equal(said(&d), CONNECT "\r\n");
	dial_end(&d);
}

static void
test_wrong_password(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "http://me:wrong@p");
	(void)said(&d);
	assert_int_equal(hear(&d, ASKS("Basic realm=x")), EGRESS_REDIAL);
	(void)said(&d);
	assert_int_equal(hear(&d, ASKS("Basic realm=x")), EGRESS_FAILED);
	assert_failed(
	    &d, R_EGRESS_AUTH, "refused the user name or the password (Basic)");
	assert_null(strstr(d.why.text, "wrong"));
	/* what was not taken is not remembered */
	dial_begin(&d, "http://me:wrong@p");
	assert_string_equal(said(&d), CONNECT "\r\n");
	assert_int_equal(hear(&d, DIGEST("a")), EGRESS_REDIAL);
	(void)said(&d);
	assert_int_equal(hear(&d, DIGEST("b")), EGRESS_FAILED);
	assert_failed(&d, R_EGRESS_AUTH, "refused");
	dial_end(&d);
}

/* It is not tried by each device in turn, or the account is locked. */
static void
test_a_refused_password_is_held(void **state)
{
	struct dial d = {0};
	struct egress other = proxy_of("http://me:wrong@p:3129");

	(void)state;
	dial_begin(&d, "http://me:wrong@p:3128");
	assert_false(egress_memory_holds(d.memory, &d.proxy, &d.why));
	(void)said(&d);
	assert_int_equal(hear(&d, ASKS("Basic realm=x")), EGRESS_REDIAL);
	(void)said(&d);
	assert_false(egress_memory_holds(d.memory, &d.proxy, &d.why));
	assert_int_equal(hear(&d, ASKS("Basic realm=x")), EGRESS_FAILED);
	assert_true(egress_memory_holds(d.memory, &d.proxy, &d.why));
	assert_failed(&d, R_EGRESS_AUTH, "refused the user name");
	assert_failed(&d, R_EGRESS_AUTH, "not asked again for 300 s");
	assert_false(egress_memory_holds(d.memory, &other, &d.why));
	egress_memory_pardon(d.memory);
	assert_false(egress_memory_holds(d.memory, &d.proxy, &d.why));
	dial_end(&d);
}

/* Some proxies answer a wrong password as if they were the server. */
static void
test_wrong_password_by_401(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "http://me:wrong@p");
	(void)said(&d);
	assert_int_equal(hear(&d, ASKS("Basic realm=x")), EGRESS_REDIAL);
	(void)said(&d);
	assert_int_equal(
	    hear(&d, "HTTP/1.0 401 Unauthorized\r\n\r\n"), EGRESS_FAILED);
	assert_failed(&d, R_EGRESS_AUTH, "password (it answers 401)");
	dial_end(&d);
}

/* One that was remembered is tried once: each try may count against a lock. */
static void
test_password_that_was_good_before(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "http://me:hush@p");
	(void)said(&d);
	assert_int_equal(hear(&d, ASKS("Basic")), EGRESS_REDIAL);
	(void)said(&d);
	assert_int_equal(hear(&d, OPEN), EGRESS_OPEN);
	dial_begin(&d, "http://me:hush@p");
	assert_string_equal(said(&d), CONNECT BASIC "\r\n");
	assert_int_equal(hear(&d, ASKS("Basic")), EGRESS_FAILED);
	assert_failed(&d, R_EGRESS_AUTH, "refused");
	/* unless the proxy has something better now */
	dial_begin(&d, "http://me:hush@p");
	assert_string_equal(said(&d), CONNECT BASIC "\r\n");
	assert_int_equal(hear(&d, DIGEST("n")), EGRESS_REDIAL);
	assert_non_null(strstr(said(&d), "Proxy-Authorization: Digest "));
	assert_int_equal(hear(&d, OPEN), EGRESS_OPEN);
	/* or knows nothing else any more */
	dial_begin(&d, "http://me:hush@p");
	assert_non_null(strstr(said(&d), "Proxy-Authorization: Digest "));
	assert_int_equal(hear(&d, ASKS("Basic")), EGRESS_REDIAL);
	assert_string_equal(said(&d), CONNECT BASIC "\r\n");
	dial_end(&d);
}

/* Whether the request that was said last answers that nonce, with that count.
 */
static void
assert_digest(struct dial *d, const char *nonce, const char *nc)
{
	char want[64];

	(void)snprintf(want, sizeof(want), "nonce=\"%s\"", nonce);
	assert_non_null(strstr(d->said, want));
	(void)snprintf(want, sizeof(want), "nc=%s,", nc);
	assert_non_null(strstr(d->said, want));
	assert_non_null(strstr(d->said, "uri=\"cloud.example:8443\""));
	assert_null(strstr(d->said, "hush"));
}

static void
test_digest_is_counted(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "http://me:hush@p");
	(void)said(&d);
	assert_int_equal(hear(&d, DIGEST("n1")), EGRESS_REDIAL);
	(void)said(&d);
	assert_digest(&d, "n1", "00000001");
	assert_int_equal(hear(&d, OPEN), EGRESS_OPEN);
	for (int i = 2; i < 20; i++) {
		char nc[16];

		(void)snprintf(nc, sizeof(nc), "%08x", (unsigned)i);
		dial_begin(&d, "http://me:hush@p");
		(void)said(&d);
		assert_digest(&d, "n1", nc);
		assert_int_equal(hear(&d, OPEN), EGRESS_OPEN);
	}
	dial_end(&d);
}

/* Both a stale nonce and one that is refused without that word: a fresh one is
   answered; from then on that one is counted. */
static void
test_nonce_that_is_too_old(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "http://me:hush@p");
	(void)said(&d);
	assert_int_equal(hear(&d, DIGEST("n1")), EGRESS_REDIAL);
	(void)said(&d);
	assert_int_equal(hear(&d, DIGEST("n2, stale=true")), EGRESS_REDIAL);
	(void)said(&d);
	assert_digest(&d, "n2", "00000001");
	assert_int_equal(hear(&d, OPEN), EGRESS_OPEN);
	dial_begin(&d, "http://me:hush@p");
	(void)said(&d);
	assert_digest(&d, "n2", "00000002");
	assert_int_equal(hear(&d, DIGEST("n3")), EGRESS_REDIAL);
	(void)said(&d);
	assert_digest(&d, "n3", "00000001");
	assert_int_equal(hear(&d, OPEN), EGRESS_OPEN);
	dial_begin(&d, "http://me:hush@p");
	(void)said(&d);
	assert_digest(&d, "n3", "00000002");
	dial_end(&d);
}

static void
test_stale_without_end(void **state)
{
	struct dial d = {0};
	int redials = 0;

	(void)state;
	dial_begin(&d, "http://me:hush@p");
	(void)said(&d);
	while (hear(&d, DIGEST("n, stale=true")) == EGRESS_REDIAL) {
		assert_true(++redials < 10);
		(void)said(&d);
	}
	assert_true(redials > 1);
	assert_failed(&d, R_EGRESS_AUTH, "refused");
	dial_end(&d);
}

/* Two dials at once: each has a nonce of its own. */
static void
test_dials_side_by_side(void **state)
{
	struct dial a = {0}, b = {0};

	(void)state;
	dial_begin(&a, "http://me:hush@p");
	b.memory = a.memory;
	dial_begin(&b, "http://me:hush@p");
	(void)said(&a);
	(void)said(&b);
	assert_int_equal(hear(&a, DIGEST("n1")), EGRESS_REDIAL);
	assert_int_equal(hear(&b, DIGEST("n2")), EGRESS_REDIAL);
	(void)said(&a);
	assert_digest(&a, "n1", "00000001");
	(void)said(&b);
	assert_digest(&b, "n2", "00000001");
	assert_int_equal(hear(&b, OPEN), EGRESS_OPEN);
	assert_int_equal(hear(&a, OPEN), EGRESS_OPEN);
	dial_begin(&a, "http://me:hush@p");
	(void)said(&a);
	assert_digest(&a, "n1", "00000002");
	dial_end(&a);
}

/* More proxies than are remembered: none is mixed up with another. */
static void
test_many_proxies(void **state)
{
	struct dial d = {0};
	char url[64];

	(void)state;
	for (int i = 1; i <= 20; i++) {
		(void)snprintf(url, sizeof(url), "http://me:hush@p:%d", i);
		dial_begin(&d, url);
		assert_string_equal(said(&d), CONNECT "\r\n");
		assert_int_equal(hear(&d, ASKS("Basic")), EGRESS_REDIAL);
		(void)said(&d);
		assert_int_equal(hear(&d, OPEN), EGRESS_OPEN);
	}
	dial_begin(&d, "http://me:hush@p:20");
	assert_string_equal(said(&d), CONNECT BASIC "\r\n");
	dial_begin(&d, "http://me:hush@p:1");
	assert_string_equal(said(&d), CONNECT "\r\n");
	dial_end(&d);
}

static void
test_http_refusals(void **state)
{
	static const struct {
		const char *url;
		struct span answer;
		enum reason why;
		const char *text;
	} rows[] = {
	    {"http://p", SPAN_OF(ASKS("Basic realm=x, NTLM")), R_EGRESS_AUTH,
		"wants a login (Basic, NTLM): set [egress] proxy"},
	    {"http://p", SPAN_OF("HTTP/1.1 407 No\r\n\r\n"), R_EGRESS_AUTH,
		"(it does not say how)"},
	    {"http://p", SPAN_OF(ASKS("Negotiate, NTLM")), R_EGRESS_AUTH,
		"login (Negotiate, NTLM), not spoken here; a helper"},
	    {"http://me:hush@p", SPAN_OF(ASKS("NTLM")), R_EGRESS_AUTH,
		"cntlm, px, or Squid with cache_peer login"},
	    {"http://me:hush@p",
		SPAN_OF(ASKS("Digest realm=r, nonce=n, algorithm=MD5-sess")),
		R_EGRESS_AUTH, "(Digest MD5-sess); Basic and Digest (MD5,"},
	    {"http://me:hush@p", SPAN_OF("HTTP/1.1 407 No\r\n\r\n"),
		R_EGRESS_AUTH, "(it does not say how);"},
	    {"http://p", SPAN_OF("HTTP/1.1 403 For\"bidden\r\n\r\n"),
		R_EGRESS_REFUSED,
		"answers 403 For\\x22bidden to CONNECT cloud.example:8443; its "
		"rules forbid"},
	    {"http://p", SPAN_OF("HTTP/1.1 302 Found\r\n\r\n"),
		R_EGRESS_REFUSED, "answers 302 Found to"},
	    {"http://p", SPAN_OF("HTTP/1.1 101\r\n\r\n"), R_EGRESS_REFUSED,
		"answers 101 to"},
	    {"http://p", SPAN_OF("HTTP/1.1 405 No\r\n\r\n"), R_EGRESS_REFUSED,
		"is that port an HTTP proxy?"},
	    {"http://p", SPAN_OF("HTTP/1.1 500 X\r\n\r\n"), R_EGRESS_REFUSED,
		"answers 500 X to"},
	    {"http://p", SPAN_OF("HTTP/1.1 505 X\r\n\r\n"), R_EGRESS_REFUSED,
		"answers 505 X to"},
	    {"http://p", SPAN_OF("HTTP/1.1 502 X\r\n\r\n"),
		R_EGRESS_CANNOT_REACH, "answers 502 X to"},
	    {"http://p", SPAN_OF("HTTP/1.1 503 X\r\n\r\n"),
		R_EGRESS_CANNOT_REACH, "answers 503 X to"},
	    {"http://p", SPAN_OF("HTTP/1.1 504 X\r\n\r\n"),
		R_EGRESS_CANNOT_REACH, "answers 504 X to"},
	    {"http://p", SPAN_OF("HTTP/1.1 401 X\r\n\r\n"), R_EGRESS_REFUSED,
		"answers 401 X to"},
	    {"http://p", SPAN_OF("\x05\xff"), R_EGRESS_BAD_ANSWER,
		"(a SOCKS5 proxy)"},
	    {"http://p", SPAN_OF("SSH-2.0-x"), R_EGRESS_BAD_ANSWER,
		"is that port an HTTP proxy, without TLS?"},
	    {"https://p", SPAN_OF("HTTP/1.1 200 OK\n"), R_EGRESS_BAD_ANSWER,
		"is that port an HTTP proxy?"},
	};
	struct dial d = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		dial_begin(&d, rows[i].url);
		(void)said(&d);
		assert_int_equal(hear_span(&d, rows[i].answer), EGRESS_FAILED);
		assert_failed(&d, rows[i].why, rows[i].text);
	}
	dial_end(&d);
}

static void
test_endless_head(void **state)
{
	static uint8_t head[HTTP_HEAD_MAX];
	struct dial d = {0};
	struct span in = {head, sizeof(head)};

	(void)state;
	memset(head, 'x', sizeof(head));
	memcpy(head, "HTTP/1.1 200 O", 14);
	dial_begin(&d, "http://p");
	(void)said(&d);
	in.n--;
	assert_int_equal(egress_talk_read(&d.talk, &in, &d.why), EGRESS_MORE);
	in.n++;
	assert_int_equal(egress_talk_read(&d.talk, &in, &d.why), EGRESS_FAILED);
	assert_failed(&d, R_EGRESS_BAD_ANSWER, "over 8192 bytes");
	dial_end(&d);
}

static void
test_closed(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "http://p");
	(void)said(&d);
	egress_talk_closed(&d.talk, 7, &d.why);
	assert_failed(&d, R_EGRESS_BAD_ANSWER, "closed after 7 bytes of its");
	dial_begin(&d, "socks5://p");
	egress_talk_closed(&d.talk, 0, &d.why);
	assert_failed(&d, R_EGRESS_BAD_ANSWER, "a SOCKS5 proxy?");
	dial_end(&d);
}

/* ---- SOCKS5 ---- */

#define SOCKS_CONNECT                                                          \
	"\x05\x01\x00\x03\x0d"                                                 \
	"cloud.example\x20\xfb"
#define SOCKS_OPEN "\x05\x00\x00\x01\0\0\0\0\0\0"

static void
test_socks_without_login(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "socks5://p");
	assert_said(&d, "\x05\x01\x00");
	assert_said(&d, "");
	assert_int_equal(hear(&d, "\x05"), EGRESS_MORE);
	assert_int_equal(hear(&d, "\x05\x00"), EGRESS_SAY);
	assert_said(&d, SOCKS_CONNECT);
	assert_said(&d, "");
	assert_int_equal(hear(&d, SOCKS_OPEN "\x16\x03"), EGRESS_OPEN);
	assert_int_equal(d.left, 2);
	dial_end(&d);
}

static void
test_socks_with_login(void **state)
{
	struct dial d = {0};

	(void)state;
	dial_begin(&d, "socks5://me:hush@p");
	assert_said(&d, "\x05\x02\x00\x02");
	assert_int_equal(hear(&d, "\x05\x02"), EGRESS_SAY);
	assert_said(&d, "\x01\x02me\x04hush");
	assert_int_equal(hear(&d, "\x01\x00"), EGRESS_SAY);
	assert_said(&d, SOCKS_CONNECT);
	assert_int_equal(hear(&d, SOCKS_OPEN), EGRESS_OPEN);
	/* the proxy may want none */
	dial_begin(&d, "socks5://me:hush@p");
	assert_said(&d, "\x05\x02\x00\x02");
	assert_int_equal(hear(&d, "\x05\x00"), EGRESS_SAY);
	assert_said(&d, SOCKS_CONNECT);
	dial_end(&d);
}

static void
test_socks_refusals(void **state)
{
	static const struct {
		const char *url;
		struct span method, login, reply;
		enum reason why;
		const char *text;
	} rows[] = {
	    {"socks5://p", SPAN_OF("\x05\xff"), SPAN_OF(""), SPAN_OF(""),
		R_EGRESS_AUTH, "wants a login (SOCKS5): set [egress] proxy"},
	    {"socks5://me@p", SPAN_OF("\x05\xff"), SPAN_OF(""), SPAN_OF(""),
		R_EGRESS_AUTH, "another login than by user name and password"},
	    {"socks5://p", SPAN_OF("\x05\x02"), SPAN_OF(""), SPAN_OF(""),
		R_EGRESS_BAD_ANSWER, "method 2, which was not offered"},
	    {"socks5://me@p", SPAN_OF("\x05\x01"), SPAN_OF(""), SPAN_OF(""),
		R_EGRESS_BAD_ANSWER, "method 1, which was not offered"},
	    {"socks5://p", SPAN_OF("HTTP/1.1 400"), SPAN_OF(""), SPAN_OF(""),
		R_EGRESS_BAD_ANSWER, "is that port a SOCKS5 proxy?"},
	    {"socks5://me:hush@p", SPAN_OF("\x05\x02"), SPAN_OF("\x01\x01"),
		SPAN_OF(""), R_EGRESS_AUTH, "refused the user name"},
	    {"socks5://p", SPAN_OF("\x05\x00"), SPAN_OF(""),
		SPAN_OF("\x05\x01"), R_EGRESS_REFUSED,
		"SOCKS5 error 1 (general failure) to CONNECT cloud.example:"},
	    {"socks5://p", SPAN_OF("\x05\x00"), SPAN_OF(""),
		SPAN_OF("\x05\x02\x00\x01"), R_EGRESS_REFUSED, "not allowed"},
	    {"socks5://p", SPAN_OF("\x05\x00"), SPAN_OF(""),
		SPAN_OF("\x05\x03"), R_EGRESS_CANNOT_REACH, "error 3"},
	    {"socks5://p", SPAN_OF("\x05\x00"), SPAN_OF(""),
		SPAN_OF("\x05\x06"), R_EGRESS_CANNOT_REACH, "error 6"},
	    {"socks5://p", SPAN_OF("\x05\x00"), SPAN_OF(""),
		SPAN_OF("\x05\x07"), R_EGRESS_REFUSED, "error 7"},
	    {"socks5://p", SPAN_OF("\x05\x00"), SPAN_OF(""), SPAN_OF("\x04\0"),
		R_EGRESS_BAD_ANSWER, "not SOCKS5"},
	    {"socks5://p", SPAN_OF("\x05\x00"), SPAN_OF(""),
		SPAN_OF("\x05\x00\x00\x09\x00"), R_EGRESS_BAD_ANSWER,
		"an address of no known kind"},
	};
	struct dial d = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		enum egress_step step;

		dial_begin(&d, rows[i].url);
		(void)said(&d);
		step = hear_span(&d, rows[i].method);
		if (rows[i].login.n > 0) {
			assert_int_equal(step, EGRESS_SAY);
			(void)said(&d);
			step = hear_span(&d, rows[i].login);
		}
		if (rows[i].reply.n > 0) {
			assert_int_equal(step, EGRESS_SAY);
			(void)said(&d);
			step = hear_span(&d, rows[i].reply);
		}
		assert_int_equal(step, EGRESS_FAILED);
		assert_failed(&d, rows[i].why, rows[i].text);
	}
	dial_end(&d);
}

/* The longest of everything fits. */
static void
test_longest_request(void **state)
{
	struct dial d = {0};
	char host[254], answer[1024], url[512];
	char quotes[HTTP_AUTH_TEXT_MAX];

	(void)state;
	memset(host, 'h', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	(void)snprintf(
	    url, sizeof(url), "http://%0*d:%0*d@p", 130, 1, SECRET_MAX, 1);
	dial_begin(&d, url);
	egress_talk_begin(&d.talk, d.memory, &d.proxy, host, 65535);
	(void)said(&d);
	memset(quotes, 'q', sizeof(quotes) - 1);
	quotes[sizeof(quotes) - 1] = '\0';
	(void)snprintf(answer, sizeof(answer),
	    "HTTP/1.1 407 X\r\nProxy-Authenticate: Digest realm=%s, nonce=%s, "
	    "opaque=%s, algorithm=SHA-256, qop=auth\r\n\r\n",
	    quotes, quotes, quotes);
	assert_int_equal(hear_span(&d, span_of_string(answer)), EGRESS_REDIAL);
	assert_non_null(strstr(said(&d), "\r\nProxy-Authorization: Digest "));
	dial_end(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_without_login),
	    cmocka_unit_test(test_cloud_by_ipv6),
	    cmocka_unit_test(test_basic),
	    cmocka_unit_test(test_wrong_password),
	    cmocka_unit_test(test_a_refused_password_is_held),
	    cmocka_unit_test(test_wrong_password_by_401),
	    cmocka_unit_test(test_password_that_was_good_before),
	    cmocka_unit_test(test_digest_is_counted),
	    cmocka_unit_test(test_nonce_that_is_too_old),
	    cmocka_unit_test(test_stale_without_end),
	    cmocka_unit_test(test_dials_side_by_side),
	    cmocka_unit_test(test_many_proxies),
	    cmocka_unit_test(test_http_refusals),
	    cmocka_unit_test(test_endless_head),
	    cmocka_unit_test(test_closed),
	    cmocka_unit_test(test_socks_without_login),
	    cmocka_unit_test(test_socks_with_login),
	    cmocka_unit_test(test_socks_refusals),
	    cmocka_unit_test(test_longest_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
