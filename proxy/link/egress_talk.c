#include "link/egress_talk.h"

#include "base/clock.h"
#include "base/escape.h"
#include "codec/http_proxy.h"
#include "codec/socks5.h"

#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PROXIES_MAX = 4, /* remembered; the one that came first is forgotten */
	REDIALS_MAX = 3,
	/* directories lock an account after a few wrong passwords, and have
	   forgotten them after some minutes */
	HELD_MS = 5 * 60 * 1000
};

/* ---- what is remembered ---- */

struct known_proxy {
	enum egress_kind kind;
	uint16_t port;
	char host[EGRESS_TEXT_MAX];
	struct egress_answer answer; /* that was taken last */
};

/* The proxy that has refused our password last. */
struct held_proxy {
	uint64_t until_ms; /* of clock_mono_ms() */
	uint16_t port;
	char host[EGRESS_TEXT_MAX];
	struct fault why;
};

struct egress_memory {
	struct held_proxy held;
	unsigned count;
	unsigned next; /* to be replaced, once all are in use */
	struct known_proxy proxies[PROXIES_MAX];
};

struct egress_memory *
egress_memory_new(void)
{
	return calloc(1, sizeof(struct egress_memory));
}

void
egress_memory_free(struct egress_memory **m)
{
	free(*m);
	*m = NULL;
}

bool
egress_memory_holds(const struct egress_memory *m, const struct egress *proxy,
    struct fault *why)
{
	const struct held_proxy *held = &m->held;
	uint64_t now_ms = clock_mono_ms();

	if (now_ms >= held->until_ms || held->port != proxy->port ||
	    strcmp(held->host, proxy->host) != 0)
		return false;
	(void)fault_set(why, held->why.why,
	    "%s; it is not asked again for %llu s, or until a reload",
	    held->why.text,
	    (unsigned long long)(held->until_ms - now_ms + 999) / 1000);
	return true;
}

void
egress_memory_pardon(struct egress_memory *m)
{
	m->held.until_ms = 0;
}

static void
hold(struct egress_memory *m, const struct egress *proxy,
    const struct fault *why)
{
	m->held.until_ms = clock_mono_ms() + HELD_MS;
	m->held.port = proxy->port;
	memcpy(m->held.host, proxy->host, sizeof(m->held.host));
	m->held.why = *why;
}

/* NULL: not known. */
static struct egress_answer *
recall(struct egress_memory *m, const struct egress *proxy)
{
	for (unsigned i = 0; i < m->count; i++) {
		struct known_proxy *known = &m->proxies[i];

		if (known->kind == proxy->kind && known->port == proxy->port &&
		    strcmp(known->host, proxy->host) == 0)
			return &known->answer;
	}
	return NULL;
}

static void
remember(struct egress_memory *m, const struct egress *proxy,
    const struct egress_answer *answer)
{
	struct egress_answer *before = recall(m, proxy);
	struct known_proxy *place;

	if (before != NULL) {
		*before = *answer;
		return;
	}
	place = &m->proxies[m->next];
	m->next = (m->next + 1) % PROXIES_MAX;
	if (m->count < PROXIES_MAX)
		m->count++;
	place->kind = proxy->kind;
	place->port = proxy->port;
	memcpy(place->host, proxy->host, sizeof(place->host));
	place->answer = *answer;
}

/* ---- faults ---- */

static enum egress_step PRINTF_LIKE(4, 5) fail(const struct egress_talk *t,
    struct fault *why, enum reason reason, const char *fmt, ...)
{
	char text[FAULT_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)fault_set(why, reason, "egress proxy %s port %u: %s",
	    t->proxy->host, (unsigned)t->proxy->port, text);
	return EGRESS_FAILED;
}

static bool
is_socks(const struct egress_talk *t)
{
	return t->proxy->kind == EGRESS_SOCKS5;
}

/* What a wrong answer may come from. */
static const char *
doubt(const struct egress_talk *t)
{
	switch (t->proxy->kind) {
	case EGRESS_SOCKS5:
		return "is that port a SOCKS5 proxy?";
	case EGRESS_HTTPS:
		return "is that port an HTTP proxy?";
	case EGRESS_HTTP:
	case EGRESS_BY_ENVIRONMENT:
	case EGRESS_NONE:
		break;
	}
	return "is that port an HTTP proxy, without TLS?";
}

/* Adds where it was to a fault of the codec. */
static enum egress_step
fail_by_codec(const struct egress_talk *t, struct fault *why)
{
	struct fault below = *why;

	return fail(t, why, below.why, "%s; %s", below.text, doubt(t));
}

static enum egress_step
fail_without_login(
    const struct egress_talk *t, const char *names, struct fault *why)
{
	return fail(t, why, R_EGRESS_AUTH,
	    "it wants a login (%s): set [egress] proxy with USER@ before the "
	    "host, and password_file",
	    names);
}

static enum egress_step
fail_for_password(
    const struct egress_talk *t, const char *names, struct fault *why)
{
	(void)fail(t, why, R_EGRESS_AUTH,
	    "it refused the user name or the password (%s)", names);
	hold(t->memory, t->proxy, why);
	return EGRESS_FAILED;
}

/* ---- HTTP ---- */

static size_t
write_connect(struct egress_talk *t, uint8_t *out, size_t size)
{
	char authority[HTTP_AUTHORITY_MAX], login[HTTP_AUTH_MAX];
	const struct http_login who = {.username = t->proxy->username,
	    .password = &t->proxy->password,
	    .method = "CONNECT",
	    .uri = authority};
	struct egress_answer *answer = t->own.challenge.scheme != HTTP_AUTH_NONE
					   ? &t->own
					   : recall(t->memory, t->proxy);
	size_t n = 0;

	if (!http_authority_write(t->host, t->port, authority))
		return 0;
	t->sent = HTTP_AUTH_NONE;
	if (answer != NULL && t->proxy->has_login)
		n = http_auth_write(&answer->challenge, &who, ++answer->nc,
		    answer->cnonce, login, sizeof(login));
	if (n > 0)
		t->sent = answer->challenge.scheme;
	n = http_connect_write(
	    authority, n > 0 ? login : NULL, (char *)out, size);
	secret_wipe_bytes(login, sizeof(login));
	return n;
}

/* Makes <t> answer <challenge>. */
static bool
take_challenge(struct egress_talk *t, const struct http_challenge *challenge)
{
	uint8_t random[(EGRESS_CNONCE_TEXT - 1) / 2];

	if (RAND_bytes(random, sizeof(random)) != 1)
		return false;
	t->own = (struct egress_answer){.challenge = *challenge};
	for (size_t i = 0; i < sizeof(random); i++)
		(void)snprintf(t->own.cnonce + 2 * i, 3, "%02x", random[i]);
	return true;
}

/* Whether the login that was sent is what the proxy does not take; otherwise
   its challenge may be too old, and a fresh one may help. */
static bool
is_login_refused(
    const struct egress_talk *t, const struct http_challenge *fresh)
{
	if (t->redials == REDIALS_MAX)
		return true;
	if (t->sent == HTTP_AUTH_NONE || fresh->is_stale)
		return false;
	return t->redials > 0 ||
	       (t->sent == HTTP_AUTH_BASIC && fresh->scheme == HTTP_AUTH_BASIC);
}

/* RFC 9110 15.5.8 */
static enum egress_step
answer_407(
    struct egress_talk *t, const struct http_offer *offer, struct fault *why)
{
	const char *names =
	    offer->names[0] != '\0' ? offer->names : "it does not say how";

	if (offer->best.scheme == HTTP_AUTH_NONE && offer->has_windows)
		return fail(t, why, R_EGRESS_AUTH,
		    "it wants a login (%s), not spoken here; a helper on this "
		    "machine can stand between: cntlm, px, or Squid with "
		    "cache_peer login",
		    names);
	if (!t->proxy->has_login)
		return fail_without_login(t, names, why);
	if (offer->best.scheme == HTTP_AUTH_NONE)
		return fail(t, why, R_EGRESS_AUTH,
		    "it wants a login (%s); Basic and Digest (MD5, SHA-256) "
		    "are spoken here",
		    names);
	if (is_login_refused(t, &offer->best))
		return fail_for_password(t, names, why);
	if (!take_challenge(t, &offer->best))
		return fail(t, why, R_INTERNAL, "no random numbers");
	t->redials++;
	t->is_due = true;
	return EGRESS_REDIAL;
}

static enum reason
reason_of_status(int status)
{
	return status >= 502 && status <= 504 ? R_EGRESS_CANNOT_REACH
					      : R_EGRESS_REFUSED;
}

/* What an administrator can do about it. */
static const char *
advice(int status)
{
	switch (status) {
	case 400:
	case 404:
	case 405:
	case 501:
		return "; is that port an HTTP proxy?";
	case 403:
		return "; its rules forbid that host or port";
	default:
		return "";
	}
}

static enum egress_step
fail_by_status(const struct egress_talk *t,
    const struct http_connect_answer *answer, struct fault *why)
{
	char reason[48];

	return fail(t, why, reason_of_status(answer->status),
	    "it answers %d%s%s to CONNECT %s:%u%s", answer->status,
	    answer->reason.n > 0 ? " " : "",
	    escape(reason, sizeof(reason), answer->reason), t->host,
	    (unsigned)t->port, advice(answer->status));
}

static enum egress_step
read_http(struct egress_talk *t, struct span *in, struct fault *why)
{
	struct http_connect_answer answer;
	struct span head;
	size_t used;

	switch (http_connect_answer_read(*in, &answer, &used, why)) {
	case PARSE_MORE:
		return EGRESS_MORE;
	case PARSE_BAD:
		return fail_by_codec(t, why);
	case PARSE_OK:
		break;
	}
	(void)!span_take(in, used, &head);
	if (answer.status == 407)
		return answer_407(t, &answer.offer, why);
	if (answer.status == 401 && t->sent != HTTP_AUTH_NONE)
		return fail_for_password(t, "it answers 401", why);
	if (answer.status < 200 || answer.status > 299)
		return fail_by_status(t, &answer, why);
	if (t->own.challenge.scheme != HTTP_AUTH_NONE)
		remember(t->memory, t->proxy, &t->own);
	return EGRESS_OPEN;
}

/* ---- SOCKS5 ---- */

static enum egress_step
say(struct egress_talk *t, enum egress_turn turn)
{
	t->turn = turn;
	t->is_due = true;
	return EGRESS_SAY;
}

static enum egress_step
judge_method(struct egress_talk *t, uint8_t method, struct fault *why)
{
	bool has_login = t->proxy->has_login;

	if (method == SOCKS5_NO_LOGIN)
		return say(t, EGRESS_TURN_SOCKS_CONNECT);
	if (method == SOCKS5_PASSWORD && has_login)
		return say(t, EGRESS_TURN_LOGIN);
	if (method != SOCKS5_NO_METHOD)
		return fail(t, why, R_EGRESS_BAD_ANSWER,
		    "it wants SOCKS5 method %u, which was not offered", method);
	if (!has_login)
		return fail_without_login(t, "SOCKS5", why);
	return fail(t, why, R_EGRESS_AUTH,
	    "it wants another login than by user name and password");
}

static enum egress_step
judge_reply(struct egress_talk *t, uint8_t code, struct fault *why)
{
	bool cannot =
	    code >= SOCKS5_NET_UNREACHABLE && code <= SOCKS5_TTL_EXPIRED;

	if (code == SOCKS5_OK)
		return EGRESS_OPEN;
	return fail(t, why, cannot ? R_EGRESS_CANNOT_REACH : R_EGRESS_REFUSED,
	    "it answers SOCKS5 error %u (%s) to CONNECT %s:%u", code,
	    socks5_reply_text(code), t->host, (unsigned)t->port);
}

static enum egress_step
read_socks(struct egress_talk *t, struct span *in, struct fault *why)
{
	enum parse got = PARSE_BAD;
	struct span message;
	uint8_t code = 0;
	bool accepted = false;
	size_t used = 0;

	switch (t->turn) {
	case EGRESS_TURN_GREETING:
		got = socks5_method_read(*in, &code, &used, why);
		break;
	case EGRESS_TURN_LOGIN:
		got = socks5_login_read(*in, &accepted, &used);
		break;
	case EGRESS_TURN_SOCKS_CONNECT:
		got = socks5_reply_read(*in, &code, &used, why);
		break;
	case EGRESS_TURN_CONNECT:
		break;
	}
	if (got == PARSE_MORE)
		return EGRESS_MORE;
	if (got == PARSE_BAD)
		return fail_by_codec(t, why);
	(void)!span_take(in, used, &message);
	if (t->turn == EGRESS_TURN_GREETING)
		return judge_method(t, code, why);
	if (t->turn == EGRESS_TURN_SOCKS_CONNECT)
		return judge_reply(t, code, why);
	if (!accepted)
		return fail_for_password(t, "SOCKS5", why);
	return say(t, EGRESS_TURN_SOCKS_CONNECT);
}

/* ---- the talk ---- */

void
egress_talk_begin(struct egress_talk *t, struct egress_memory *m,
    const struct egress *proxy, const char *host, uint16_t port)
{
	*t = (struct egress_talk){
	    .memory = m, .proxy = proxy, .port = port, .is_due = true};
	(void)snprintf(t->host, sizeof(t->host), "%s", host);
	t->turn = is_socks(t) ? EGRESS_TURN_GREETING : EGRESS_TURN_CONNECT;
}

size_t
egress_talk_write(struct egress_talk *t, uint8_t *out, size_t size)
{
	const struct egress *proxy = t->proxy;

	if (!t->is_due)
		return 0;
	t->is_due = false;
	switch (t->turn) {
	case EGRESS_TURN_CONNECT:
		return write_connect(t, out, size);
	case EGRESS_TURN_GREETING:
		return socks5_greeting_write(proxy->has_login, out, size);
	case EGRESS_TURN_LOGIN:
		return socks5_login_write(
		    proxy->username, &proxy->password, out, size);
	case EGRESS_TURN_SOCKS_CONNECT:
		break;
	}
	return socks5_connect_write(t->host, t->port, out, size);
}

enum egress_step
egress_talk_read(struct egress_talk *t, struct span *in, struct fault *why)
{
	return is_socks(t) ? read_socks(t, in, why) : read_http(t, in, why);
}

void
egress_talk_closed(
    const struct egress_talk *t, size_t unread, struct fault *why)
{
	(void)fail(t, why, R_EGRESS_BAD_ANSWER,
	    "it closed after %zu bytes of its answer; %s", unread, doubt(t));
}
