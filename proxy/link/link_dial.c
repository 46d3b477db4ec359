/* A dial, step by step: RESOLVE, TCP, TLS, UPGRADE. */
#include "link/link_parts.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- RESOLVE ---- */

static void
on_answer(struct lookup *answered)
{
	struct link *l = answered->link;

	answered->link = NULL; /* it is ours now */
	link_event(l, EV_RESOLVED);
}

void
link_begin_resolve(struct link *l)
{
	struct dialling *d = calloc(1, sizeof(*d));
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	struct fault why;

	l->dialling = d;
	if (holdoff_asked(
		l->env->holdoffs, l->target->host, l->target->port, &why)) {
		free(lookup);
		link_lose(l, WS_CLOSE_NONE, &why);
		return;
	}
	if (d == NULL || lookup == NULL) {
		free(lookup);
		link_lose_for_memory(l);
		return;
	}
	d->lookup = lookup;
	lookup->letter.open = l->env->resolver_open;
	lookup->reply_to = l->env->mailbox;
	lookup->on_answer = on_answer;
	lookup->link = l;
	(void)snprintf(
	    lookup->host, sizeof(lookup->host), "%s", l->target->host);
	lookup->port = l->target->port;
	mailbox_post(l->env->resolver_mailbox, &lookup->letter);
}

enum verdict
link_have_address(struct link *l, struct fault *why)
{
	if (l->dialling->lookup->count > 0)
		return GO;
	*why = l->dialling->lookup->why;
	return FAIL;
}

/* ---- TCP ---- */

static void
address_text(const struct address *a, char *out, size_t size)
{
	char host[64], port[8];

	if (getnameinfo((const struct sockaddr *)&a->storage, a->n, host,
		sizeof(host), port, sizeof(port),
		NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
		(void)snprintf(out, size, "?");
		return;
	}
	(void)snprintf(out, size,
	    a->storage.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static enum reason
connect_reason(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return R_CLOUD_REFUSED;
	case ECONNRESET:
		return R_CLOUD_RESET;
	case ETIMEDOUT:
		return R_TCP_TIMEOUT;
	case EMFILE:
	case ENFILE:
		return R_NO_DESCRIPTORS;
	case ENOMEM:
	case ENOBUFS:
		return R_OUT_OF_MEMORY;
	default:
		return R_CLOUD_UNREACHABLE;
	}
}

/* Notes why the address tried last did not do. */
static void
address_failed(struct link *l, int error)
{
	struct dialling *d = l->dialling;
	char text[80];

	address_text(&d->lookup->addresses[d->next - 1], text, sizeof(text));
	(void)fault_set(&d->why, connect_reason(error), "%s (%s): %s", text,
	    l->target->host, strerror(error));
	link_drop_socket(l);
}

static void
prepare_socket(const struct link *l, int fd)
{
	static const int one = 1;
	unsigned ms = (unsigned)l->env->settings->cloud_write_timeout_ms;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* a link whose other end is gone is found by its next ping */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

/* Starts to connect to one address; 0 or an errno. */
static int
connect_start(struct link *l, const struct address *a)
{
	int fd = socket(a->storage.ss_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return errno;
	l->stream.fd = fd;
	(void)event_assign(&l->io, l->env->loop->base, fd,
	    EV_READ | EV_WRITE | EV_ET | EV_PERSIST, link_on_io, l);
	prepare_socket(l, fd);
	if (connect(fd, (const struct sockaddr *)&a->storage, a->n) != 0 &&
	    errno != EINPROGRESS)
		return errno;
	return event_add(&l->io, NULL) == 0 ? 0 : ENOMEM;
}

/* Goes through the addresses until one is being connected to. */
static enum verdict
try_addresses(struct link *l, struct fault *why)
{
	struct dialling *d = l->dialling;

	while (d->next < d->lookup->count) {
		int error = connect_start(l, &d->lookup->addresses[d->next++]);

		if (error == 0) {
			link_arm(l, link_deadline_of(l));
			return STAY;
		}
		address_failed(l, error);
	}
	*why = d->why;
	return FAIL;
}

void
link_begin_tcp(struct link *l)
{
	struct fault why;

	if (try_addresses(l, &why) == FAIL)
		link_lose(l, WS_CLOSE_NONE, &why);
}

enum verdict
link_have_connected(struct link *l, struct fault *why)
{
	struct sockaddr_storage peer;
	socklen_t n = sizeof(peer);
	int error = 0;
	socklen_t error_n = sizeof(error);

	if (getsockopt(l->stream.fd, SOL_SOCKET, SO_ERROR, &error, &error_n) !=
	    0)
		error = errno;
	if (error != 0) {
		address_failed(l, error);
		return try_addresses(l, why);
	}
	if (getpeername(l->stream.fd, (struct sockaddr *)&peer, &n) != 0)
		return STAY;
	link_drop_lookup(l->dialling);
	return GO;
}

enum verdict
link_next_address(struct link *l, struct fault *why)
{
	address_failed(l, ETIMEDOUT);
	return try_addresses(l, why);
}

/* ---- TLS ---- */

void
link_begin_tls(struct link *l)
{
	if (l->target->transport == TRANSPORT_WSS) {
		l->stream.ssl = trust_client(l->env->trust, l->env->tickets,
		    l->stream.fd, l->target->host, l->target->port);
		if (l->stream.ssl == NULL) {
			link_lose_for_memory(l);
			return;
		}
	}
	link_event(l, EV_IO);
}

/* Adds whom it was about to a fault of the layers below. */
static enum verdict
fail_at_host(const struct link *l, struct fault *why)
{
	struct fault below = *why;

	(void)fault_set(why, below.why, "%s port %u: %s", l->target->host,
	    l->target->port, below.text);
	return FAIL;
}

enum verdict
link_have_handshake(struct link *l, struct fault *why)
{
	switch (stream_handshake(&l->stream, why)) {
	case IO_OK:
		return GO;
	case IO_AGAIN:
		return STAY;
	case IO_EOF:
	case IO_FAILED:
		break;
	}
	return fail_at_host(l, why);
}

/* ---- UPGRADE ---- */

/* The subprotocol; NULL: none. */
static const char *
offered(const struct link *l)
{
	const struct settings *s = l->env->settings;
	const char *word = s->cloud_subprotocol;

	if (l->level == 3 && s->cloud_subprotocol_3_1[0] != '\0')
		word = s->cloud_subprotocol_3_1;
	return word[0] != '\0' ? word : NULL;
}

static void
host_header(const struct link *l, char *out, size_t size)
{
	bool wss = l->target->transport == TRANSPORT_WSS;
	bool literal6 = strchr(l->target->host, ':') != NULL;
	char port[8] = "";

	if (l->target->port != (wss ? 443 : 80))
		(void)snprintf(port, sizeof(port), ":%u", l->target->port);
	(void)snprintf(
	    out, size, literal6 ? "[%s]%s" : "%s%s", l->target->host, port);
}

void
link_begin_upgrade(struct link *l)
{
	struct loop *loop = l->env->loop;
	char host[CREDENTIAL_HOST_MAX + 16];
	struct ws_request request = {
	    .host = host, .path = l->target->path, .subprotocol = offered(l)};
	struct fault why;

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
		return fail_at_host(l, why);
	case PARSE_BAD:
		return fail_at_host(l, why);
	case PARSE_OK:
		break;
	}
	if (!ws_answer_accept(&answer, d->nonce, offered(l), why)) {
		holdoff_set(l->env->holdoffs, l->target->host, l->target->port,
		    answer.retry_after, l->env->settings->retry_after_max_ms);
		return fail_at_host(l, why);
	}
	buffer_drop(&d->head, used);
	return GO;
}

enum verdict
link_have_101(struct link *l, struct fault *why)
{
	struct loop *loop = l->env->loop;
	enum io behind;
	size_t n;

	if (!link_write_kept(l, why))
		return fail_at_host(l, why);
	behind = link_fill(l, loop->in, HTTP_HEAD_MAX, &n, why);
	if (!buffer_append(&l->dialling->head, (struct span){loop->in, n})) {
		(void)fault_set(why, R_OUT_OF_MEMORY, "HTTP answer");
		return FAIL;
	}
	return judge_answer(l, behind, why);
}
