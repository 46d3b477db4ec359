/* A dial, step by step: PERMIT, RESOLVE, TCP, EGRESS, TLS, UPGRADE. */
#include "link/link_parts.h"

#include "base/date.h"
#include "codec/http_date.h"
#include "link/known_names.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- where to ---- */

static bool
has_tls(const struct link *l)
{
	return transport_has_tls(link_transport(l));
}

/* Whom this dial goes by; NULL: nobody. */
static const struct egress *
egress_of(const struct link *l)
{
	return l->dialling != NULL ? l->dialling->egress : NULL;
}

void
link_place(const struct link *l, char *out, size_t size)
{
	const struct egress *e = egress_of(l);

	if (e != NULL && l->state <= LINK_EGRESS)
		(void)snprintf(
		    out, size, "egress proxy %s port %u", e->host, e->port);
	else
		(void)snprintf(out, size, "%s port %u%s%s", l->target->host,
		    link_port(l), e != NULL ? " by egress proxy " : "",
		    e != NULL ? e->host : "");
}

/* Adds whom it was about to a fault of the layers below. */
static enum verdict
fail_here(const struct link *l, struct fault *why)
{
	struct fault below = *why;
	char place[LINK_PLACE_TEXT];

	link_place(l, place, sizeof(place));
	(void)fault_set(why, below.why, "%s: %s", place, below.text);
	return FAIL;
}

/* ---- PERMIT ---- */

enum { HELD_OFF_MS = 5000 }; /* until a cloud that is busy is asked again */

static bool
asked_to_hold_off(struct link *l, struct fault *why)
{
	return holdoff_asked(
	    l->env->holdoffs, l->target->host, link_port(l), why);
}

/* True: in *wait_ms, which counts as a dial. */
static bool
permitted(struct link *l, uint64_t *wait_ms, struct fault *why)
{
	struct governor *g = l->env->governor;

	*wait_ms = 0;
	/* with another way to try, a hold-off is for RESOLVE to find */
	if ((l->ways.count > 1 || !asked_to_hold_off(l, why)) &&
	    (g == NULL ||
		governor_ask(g, l->target, l->dialled_ms, wait_ms, why)))
		return true;
	l->retry_ms = *wait_ms > 0 ? *wait_ms : HELD_OFF_MS;
	l->is_old_news =
	    g != NULL && !governor_is_news(g, l->target, l->dialled_ms, why);
	return false;
}

void
link_begin_permit(struct link *l)
{
	struct fault why;
	uint64_t wait_ms;

	if (!permitted(l, &wait_ms, &why))
		link_lose(l, WS_CLOSE_NONE, &why);
	else if (wait_ms > 0)
		link_arm(l, wait_ms);
	else
		link_event(l, EV_DEADLINE);
}

/* ---- RESOLVE ---- */

static void
on_answer(struct lookup *answered)
{
	struct link *l = answered->link;

	answered->link = NULL; /* it is ours now */
	link_event(l, EV_RESOLVED);
}

static void
on_raced(void *arg, int fd, const struct fault *why)
{
	struct link *l = arg;

	l->dialling->raced_fd = fd;
	if (fd < 0)
		l->dialling->why = *why;
	link_event(l, EV_RACED);
}

static struct dialling *
dialling_new(struct link *l)
{
	struct dialling *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	d->lookup = calloc(1, sizeof(*d->lookup));
	if (d->lookup == NULL) {
		free(d);
		return NULL;
	}
	d->settings = settings_ref(l->env->settings);
	d->egress = egress_for(d->settings, has_tls(l), l->target->host);
	d->raced_fd = -1;
	race_init(&d->race, l->env->loop->base, on_raced, l);
	return d;
}

/* True with the answer there: nobody has to be asked. */
static bool
is_known(const struct link *l)
{
	struct lookup *lookup = l->dialling->lookup;

	if (l->env->names == NULL ||
	    !known_names_find(
		l->env->names, lookup->host, lookup->addresses, &lookup->count))
		return false;
	for (unsigned i = 0; i < lookup->count; i++)
		address_set_port(&lookup->addresses[i], lookup->port);
	return true;
}

/* Asks for whom to connect to: the egress proxy, where there is one; the
   cloud's name is then the proxy's to look up. */
static void
ask(struct link *l)
{
	struct lookup *lookup = l->dialling->lookup;
	const struct egress *e = l->dialling->egress;

	lookup->letter.open = l->env->resolver_open;
	lookup->reply_to = l->env->mailbox;
	lookup->on_answer = on_answer;
	(void)snprintf(lookup->host, sizeof(lookup->host), "%s",
	    e != NULL ? e->host : l->target->host);
	lookup->port = e != NULL ? e->port : link_port(l);
	if (is_known(l)) {
		link_event(l, EV_RESOLVED);
		return;
	}
	lookup->link = l;
	mailbox_post(l->env->resolver_mailbox, &lookup->letter);
}

void
link_begin_resolve(struct link *l)
{
	const struct egress *e;
	struct fault why;

	if (asked_to_hold_off(l, &why)) {
		link_lose(l, WS_CLOSE_NONE, &why);
		return;
	}
	l->dialling = dialling_new(l);
	if (l->dialling == NULL) {
		link_lose_for_memory(l);
		return;
	}
	e = l->dialling->egress;
	if (e != NULL && egress_memory_holds(l->env->egress_memory, e, &why)) {
		link_lose(l, WS_CLOSE_NONE, &why);
		return;
	}
	if (e != NULL)
		egress_talk_begin(&l->dialling->talk, l->env->egress_memory, e,
		    l->target->host, link_port(l));
	ask(l);
}

/* What went wrong before the egress proxy could be spoken to is its own, not
   the cloud's. */
static enum verdict
fail_before_cloud(const struct link *l, struct fault *why)
{
	if (egress_of(l) == NULL)
		return FAIL;
	if (!link_is_own_fault(why->why))
		why->why = R_EGRESS_UNREACHABLE;
	return fail_here(l, why);
}

enum verdict
link_have_address(struct link *l, struct fault *why)
{
	if (l->dialling->lookup->count > 0)
		return GO;
	*why = l->dialling->lookup->why;
	return fail_before_cloud(l, why);
}

/* ---- TCP ---- */

void
link_begin_tcp(struct link *l)
{
	const struct lookup *found = l->dialling->lookup;

	race_start(&l->dialling->race, found->addresses, found->count,
	    (unsigned)l->env->settings->cloud_write_timeout_ms);
}

enum verdict
link_have_connected(struct link *l, struct fault *why)
{
	struct dialling *d = l->dialling;

	if (d->raced_fd < 0) {
		*why = d->why;
		return d->egress != NULL ? fail_before_cloud(l, why)
					 : fail_here(l, why);
	}
	l->stream.fd = d->raced_fd;
	d->raced_fd = -1;
	(void)event_assign(&l->io, l->env->loop->base, l->stream.fd,
	    EV_READ | EV_WRITE | EV_ET | EV_PERSIST, link_on_io, l);
	if (event_add(&l->io, NULL) == 0)
		return GO;
	(void)fault_set(why, R_OUT_OF_MEMORY, "for the event loop");
	return FAIL;
}

/* ---- EGRESS ---- */

static bool
secure(struct link *l, enum trust_use use, const char *name, uint16_t port)
{
	SSL *ssl =
	    trust_client(l->env->trust, l->env->tickets, use, name, port);

	return ssl != NULL && stream_secure(&l->stream, ssl);
}

/* Goes on with a handshake, and judges the other side. */
static enum verdict
shake_hands(struct link *l, struct fault *why)
{
	switch (stream_handshake(&l->stream, why)) {
	case IO_OK:
		if (l->stream.ssl == NULL || trust_check(l->stream.ssl, why))
			return GO;
		break;
	case IO_AGAIN:
		return STAY;
	case IO_EOF:
	case IO_FAILED:
		break;
	}
	return fail_here(l, why);
}

void
link_begin_egress(struct link *l)
{
	const struct egress *e = egress_of(l);

	if (e != NULL && e->kind == EGRESS_HTTPS &&
	    !secure(l, TRUST_EGRESS, e->host, e->port)) {
		link_lose_for_memory(l);
		return;
	}
	link_event(l, EV_IO);
}

/* Writes what the talk has to say; what is not taken is kept. */
static void
say(struct link *l)
{
	struct loop *loop = l->env->loop;
	size_t n =
	    egress_talk_write(&l->dialling->talk, loop->out, LOOP_OUT_BYTES);

	assert(loop->out_n == 0);
	loop->out_n = n;
	link_write_scratch(l);
	OPENSSL_cleanse(loop->out, n); /* a password */
}

/* The same proxy once more, on a connection of its own. */
static void
connect_again(struct link *l)
{
	link_drop_socket(l);
	buffer_wipe(&l->dialling->head);
	link_enter(l, LINK_TCP);
}

/* A proxy that does not understand what it is told may hang up before it has
   read all of that: a reset then, which is not the cloud's. */
static enum verdict
fail_in_talk(const struct link *l, struct fault *why)
{
	if (why->why == R_CLOUD_RESET)
		why->why = R_EGRESS_BAD_ANSWER;
	return fail_here(l, why);
}

/* What the talk makes of what has come. */
static enum verdict
hear(struct link *l, enum io behind, struct fault *why)
{
	struct dialling *d = l->dialling;

	for (;;) {
		struct span in = buffer_span(&d->head);
		size_t before = in.n;
		enum egress_step step = egress_talk_read(&d->talk, &in, why);

		buffer_drop(&d->head, before - in.n);
		switch (step) {
		case EGRESS_MORE:
			if (behind == IO_EOF) {
				egress_talk_closed(&d->talk, d->head.n, why);
				return FAIL;
			}
			return behind == IO_FAILED ? fail_in_talk(l, why)
						   : STAY;
		case EGRESS_SAY:
			say(l);
			if (l->state != LINK_EGRESS)
				return STAY;
			continue;
		case EGRESS_REDIAL:
			connect_again(l);
			return STAY;
		case EGRESS_OPEN:
			return GO;
		case EGRESS_FAILED:
			return FAIL;
		}
	}
}

enum verdict
link_have_tunnel(struct link *l, struct fault *why)
{
	struct loop *loop = l->env->loop;
	enum verdict v;
	enum io behind;
	size_t n;

	if (egress_of(l) == NULL)
		return GO;
	v = shake_hands(l, why);
	if (v != GO)
		return v;
	say(l);
	if (l->state != LINK_EGRESS)
		return STAY;
	if (!link_write_kept(l, why))
		return fail_in_talk(l, why);
	behind = link_fill(l, loop->in, HTTP_HEAD_MAX, &n, why);
	if (!buffer_append(&l->dialling->head, (struct span){loop->in, n})) {
		(void)fault_set(why, R_OUT_OF_MEMORY, "egress proxy's answer");
		return FAIL;
	}
	return hear(l, behind, why);
}

/* ---- TLS ---- */

/* Bytes of the cloud that came before it was spoken to: in front of a TLS
   handshake there is nothing that it could say. */
static bool
has_spoken_first(const struct link *l)
{
	return l->dialling->head.n > 0;
}

void
link_begin_tls(struct link *l)
{
	enum trust_use use =
	    link_transport(l) == TRANSPORT_MQTTS ? TRUST_MQTTS : TRUST_WSS;

	link_drop_lookup(l->dialling);
	if (has_tls(l) &&
	    !secure(l, use, l->target->server_name, link_port(l))) {
		link_lose_for_memory(l);
		return;
	}
	link_event(l, EV_IO);
}

/* 0: not known. */
static int64_t
expires_s(const X509 *cert)
{
	struct tm tm;

	return cert != NULL &&
		       ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1
		   ? date_seconds(&tm)
		   : 0;
}

/* A resumed one has no chain. */
static void
count_handshake(struct link *l)
{
	struct link_tally *tally = &l->env->tally;
	SSL *ssl = l->stream.ssl;
	bool is_resumed = SSL_session_reused(ssl) == 1;
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);

	tally->handshakes[is_resumed]++;
	l->cert_expires_s =
	    expires_s(SSL_SESSION_get0_peer(SSL_get_session(ssl)));
	if (!is_resumed && sk_X509_num(chain) > 0)
		tally->root_expires_s =
		    expires_s(sk_X509_value(chain, sk_X509_num(chain) - 1));
}

enum verdict
link_have_handshake(struct link *l, struct fault *why)
{
	/* the last flight of the handshake goes with the request behind it */
	bool joins = has_tls(l) && transport_has_websocket(link_transport(l)) &&
		     !SSL_in_before(l->stream.ssl);
	enum verdict v;

	if (has_spoken_first(l)) {
		(void)fault_set(why, R_EGRESS_BAD_ANSWER,
		    "bytes behind the answer to CONNECT");
		return fail_here(l, why);
	}
	if (!has_tls(l))
		return GO;
	if (joins)
		stream_hold(&l->stream, true);
	v = shake_hands(l, why);
	if (v == GO)
		count_handshake(l);
	else if (joins)
		stream_hold(&l->stream, false);
	return v;
}

/* ---- UPGRADE ---- */

/* The subprotocol; NULL: none. */
static const char *
offered(const struct link *l)
{
	/* those of now may not be those that it was offered by */
	const struct settings *s = l->dialling->settings;
	const char *word = s->cloud_subprotocol;

	if (l->level == 3 && s->cloud_subprotocol_3_1[0] != '\0')
		word = s->cloud_subprotocol_3_1;
	return word[0] != '\0' ? word : NULL;
}

static void
host_header(const struct link *l, char *out, size_t size)
{
	bool literal6 = strchr(l->target->server_name, ':') != NULL;
	char port[8] = "";

	if (link_port(l) != (has_tls(l) ? 443 : 80))
		(void)snprintf(port, sizeof(port), ":%u", link_port(l));
	(void)snprintf(out, size, literal6 ? "[%s]%s" : "%s%s",
	    l->target->server_name, port);
}

void
link_begin_upgrade(struct link *l)
{
	struct loop *loop = l->env->loop;
	char host[CREDENTIAL_HOST_MAX + 16];
	struct ws_request request = {
	    .host = host, .path = l->target->path, .subprotocol = offered(l)};
	struct fault why;

	if (!transport_has_websocket(link_transport(l))) {
		link_event(l, EV_IO);
		return;
	}
	assert(loop->out_n == 0);
	host_header(l, host, sizeof(host));
	if (RAND_bytes(l->dialling->nonce, WS_NONCE_BYTES) != 1) {
		(void)fault_set(&why, R_INTERNAL, "no random numbers");
		link_lose(l, WS_CLOSE_NONE, &why);
		return;
	}
	loop->out_n = ws_request_write(
	    &request, l->dialling->nonce, (char *)loop->out, LOOP_OUT_BYTES);
	link_write_scratch(l);
	if (has_tls(l))
		stream_hold(&l->stream, false);
	if (l->state == LINK_UPGRADE)
		link_event(l, EV_IO);
}

static enum verdict
judge_answer(struct link *l, enum io behind, struct fault *why)
{
	struct dialling *d = l->dialling;
	struct http_answer answer;
	size_t used;

	switch (http_answer_read(buffer_span(&d->head), &answer, &used, why)) {
	case PARSE_MORE:
		if (behind == IO_EOF)
			(void)fault_set(why, R_UPGRADE_NOT_HTTP,
			    "the server closed after %zu bytes of its answer",
			    d->head.n);
		else if (behind != IO_FAILED)
			return STAY;
		return fail_here(l, why);
	case PARSE_BAD:
		return fail_here(l, why);
	case PARSE_OK:
		break;
	}
	d->has_server_date = http_date_read(answer.date, &d->server_date_s);
	if (!ws_answer_accept(&answer, d->nonce, offered(l), why)) {
		holdoff_set(l->env->holdoffs, l->target->host, link_port(l),
		    answer.retry_after, l->env->settings->retry_after_max_ms);
		return fail_here(l, why);
	}
	if (behind == IO_FAILED)
		return fail_here(l, why);
	buffer_drop(&d->head, used);
	return GO;
}

enum verdict
link_have_101(struct link *l, struct fault *why)
{
	struct loop *loop = l->env->loop;
	enum io behind;
	size_t n;

	if (!transport_has_websocket(link_transport(l)))
		return GO;
	if (!link_write_kept(l, why))
		return fail_here(l, why);
	behind = link_fill(l, loop->in, HTTP_HEAD_MAX, &n, why);
	if (!buffer_append(&l->dialling->head, (struct span){loop->in, n})) {
		(void)fault_set(why, R_OUT_OF_MEMORY, "HTTP answer");
		return FAIL;
	}
	return judge_answer(l, behind, why);
}
