/*
 * sink [-w] [-n] [-T] CHAIN KEY PORT: see sink.h. -w: WebSocket; -n: no TLS;
 * -T: no resumption. When it is ended it prints what it has counted, as JSON.
 */
#include "sink.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RECORD_MAX = 16384, /* RFC 8446 5.1 */
	READ_MAX = 16 * RECORD_MAX,
	WRITE_MAX = 4 * RECORD_MAX,
	READS_A_TURN = 4,
	BACKLOG = 16384,
	EVENTS = 512
};

struct counters counters;
static volatile sig_atomic_t ended;
static int epoll;
static SSL_CTX *tls; /* NULL: plain TCP */
static bool websocket;

void
bytes_add(struct bytes *b, const void *p, size_t n)
{
	if (b->n + n > b->cap) {
		b->cap = (b->n + n) * 2;
		b->p = realloc(b->p, b->cap);
		if (b->p == NULL)
			err(1, NULL);
	}
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

void
bytes_clear(struct bytes *b)
{
	free(b->p);
	*b = (struct bytes){0};
}

static void
wait_for(struct client *c, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = c};

	if (c->interest == events)
		return;
	if (epoll_ctl(epoll, c->interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
		c->fd, &e) != 0)
		err(1, "epoll_ctl");
	c->interest = events;
}

static void
forget(struct client *c)
{
	if (c->ssl != NULL && c->stage != SINK_TLS)
		(void)SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	ERR_clear_error();
	(void)close(c->fd);
	bytes_clear(&c->kept);
	bytes_clear(&c->out);
	free(c);
}

/* Both return what went through, 0 when the socket has to be waited for, and
   -1 at an end. */
static ssize_t
transfer_result(struct client *c, int n)
{
	int error;

	if (n > 0)
		return n;
	if (c->ssl == NULL)
		return n < 0 && errno == EAGAIN ? 0 : -1;
	error = SSL_get_error(c->ssl, n);
	ERR_clear_error();
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE
		   ? 0
		   : -1;
}

static ssize_t
read_some(struct client *c, uint8_t *p, size_t n)
{
	if (c->ssl != NULL)
		return transfer_result(c, SSL_read(c->ssl, p, RECORD_MAX));
	return transfer_result(c, (int)recv(c->fd, p, n, 0));
}

static ssize_t
write_some(struct client *c, const uint8_t *p, size_t n)
{
	if (n > WRITE_MAX)
		n = WRITE_MAX;
	if (c->ssl != NULL)
		return transfer_result(c, SSL_write(c->ssl, p, (int)n));
	return transfer_result(c, (int)send(c->fd, p, n, MSG_NOSIGNAL));
}

static bool
flush(struct client *c)
{
	for (;;) {
		ssize_t n;

		if (c->out_at == c->out.n) {
			c->out_at = c->out.n = 0;
			sink_down(c);
		}
		if (c->out.n == 0)
			break;
		n = write_some(c, c->out.p + c->out_at, c->out.n - c->out_at);
		if (n < 0)
			return false;
		if (n == 0) {
			wait_for(c, EPOLLIN | EPOLLOUT);
			return true;
		}
		c->out_at += (size_t)n;
	}
	bytes_clear(&c->out);
	wait_for(c, EPOLLIN);
	return true;
}

static bool
take(struct client *c, uint8_t *p, size_t n)
{
	if (c->stage == SINK_REQUEST)
		return sink_request(c, p, n);
	if (c->websocket)
		return sink_frames(c, p, n);
	return sink_packets(c, p, n);
}

static bool
on_readable(struct client *c)
{
	static uint8_t bytes[READ_MAX];

	for (int turn = 0; turn < READS_A_TURN; turn++) {
		size_t n = 0;
		ssize_t got = 1;

		while (got > 0 && n + RECORD_MAX <= sizeof(bytes)) {
			got = read_some(c, bytes + n, sizeof(bytes) - n);
			n += got > 0 ? (size_t)got : 0;
		}
		if ((n > 0 && !take(c, bytes, n)) || got < 0)
			return false;
		if (got == 0)
			break;
	}
	return true;
}

static bool
shake_hands(struct client *c)
{
	int done = SSL_do_handshake(c->ssl);

	if (done != 1) {
		if (transfer_result(c, done) == 0)
			return true;
		counters.refused++;
		return false;
	}
	counters.handshakes++;
	if (SSL_session_reused(c->ssl))
		counters.resumed++;
	c->stage = websocket ? SINK_REQUEST : SINK_OPEN;
	return true;
}

static bool
on_event(struct client *c)
{
	if (c->stage == SINK_TLS && !shake_hands(c))
		return false;
	return c->stage == SINK_TLS || (on_readable(c) && flush(c));
}

static void
accept_client(int listener)
{
	const int on = 1;
	struct client *c;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		err(1, NULL);
	c->fd = fd;
	c->websocket = websocket;
	c->stage = tls != NULL ? SINK_TLS : SINK_OPEN;
	if (tls != NULL) {
		c->ssl = SSL_new(tls);
		if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1)
			errx(1, "no TLS session");
		SSL_set_accept_state(c->ssl);
	}
	wait_for(c, EPOLLIN);
}

static SSL_CTX *
make_tls(const char *chain, const char *key, bool resume)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL ||
	    SSL_CTX_use_certificate_chain_file(ctx, chain) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		errx(1, "%s, %s: no certificate", chain, key);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					SSL_MODE_RELEASE_BUFFERS);
	(void)SSL_CTX_set_session_id_context(ctx, (const uint8_t *)"sink", 4);
	if (!resume) {
		(void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		(void)SSL_CTX_set_num_tickets(ctx, 0);
		(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	}
	return ctx;
}

static int
listen_at(const char *port)
{
	const struct sockaddr_in here = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)atoi(port)),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(fd, (const struct sockaddr *)&here, sizeof(here)) != 0 ||
	    listen(fd, BACKLOG) != 0)
		err(1, "port %s", port);
	return fd;
}

static void
serve(int listener)
{
	static struct epoll_event events[EVENTS];
	struct epoll_event e = {.events = EPOLLIN};

	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e) != 0)
		err(1, "epoll");
	while (!ended) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (c == NULL)
				accept_client(listener);
			else if (!on_event(c))
				forget(c);
		}
	}
}

static void
on_end(int number)
{
	(void)number;
	ended = 1;
}

int
main(int argc, char **argv)
{
	const struct sigaction end = {.sa_handler = on_end};
	struct rlimit files;
	bool plain = false;
	bool resume = true;
	int option;

	while ((option = getopt(argc, argv, "wnT")) != -1) {
		if (option == 'w')
			websocket = true;
		else if (option == 'n')
			plain = true;
		else if (option == 'T')
			resume = false;
	}
	if (argc - optind != 3)
		errx(2, "usage: sink [-w] [-n] [-T] CHAIN KEY PORT");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigaction(SIGTERM, &end, NULL);
	if (!plain)
		tls = make_tls(argv[optind], argv[optind + 1], resume);
	serve(listen_at(argv[optind + 2]));
	printf("{\"handshakes\": %" PRIu64 ", \"resumed\": %" PRIu64
	       ", \"refused\": %" PRIu64 ", \"frames\": %" PRIu64
	       ", \"messages\": %" PRIu64 "}\n",
	    counters.handshakes, counters.resumed, counters.refused,
	    counters.frames, counters.messages);
	return 0;
}
