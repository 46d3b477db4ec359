/*
 * cloud: the far end of a link, one step a call: it accepts, shakes hands,
 * answers the WebSocket request, sends and receives frames, each exactly when
 * the test says so. While a step waits, the rig's loop turns.
 */
#ifndef TESTS_UNIT_CLOUD_H
#define TESTS_UNIT_CLOUD_H

#include "base/buffer.h"
#include "codec/http.h"
#include "codec/ws.h"

#include "pki.h"
#include "rig.h"

#include <errno.h>
#include <openssl/evp.h>

struct cloud {
	struct rig *rig;
	int listener;
	uint16_t port;
	SSL_CTX *tls; /* NULL: plain */
	int fd;
	SSL *ssl;
	struct event ready; /* of <fd>; wakes the test */
	struct event knock; /* of <listener> */
	struct buffer in;   /* read, and not looked at yet */
	bool ended;         /* nothing comes behind <in> */
	bool reset;         /* it ended with a RST */
};

static inline void
cloud_on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct cloud *c = arg;

	(void)fd;
	(void)what;
	rig_wake(c->rig);
}

/* Takes over <tls>. <receive_bytes>: of its socket buffer, 0: as it comes. */
static inline void
cloud_open(struct cloud *c, struct rig *r, SSL_CTX *tls, int receive_bytes)
{
	*c = (struct cloud){.rig = r, .tls = tls, .fd = -1};
	c->listener = rig_listen(16, receive_bytes, &c->port);
	(void)event_assign(&c->knock, r->loop->base, c->listener,
	    EV_READ | EV_ET | EV_PERSIST, cloud_on_ready, c);
	(void)event_add(&c->knock, NULL);
}

/* Exchanges what it shows from the next connection on. */
static inline void
cloud_show(struct cloud *c, SSL_CTX *tls)
{
	SSL_CTX_free(c->tls);
	c->tls = tls;
}

static inline void
cloud_hang_up(struct cloud *c)
{
	if (c->fd < 0)
		return;
	(void)event_del(&c->ready);
	SSL_free(c->ssl);
	(void)close(c->fd);
	buffer_free(&c->in);
	c->fd = -1;
	c->ssl = NULL;
	c->ended = c->reset = false;
}

static inline void
cloud_close(struct cloud *c)
{
	cloud_hang_up(c);
	(void)event_del(&c->knock);
	(void)close(c->listener);
	SSL_CTX_free(c->tls);
}

/* With a close_notify, where there is TLS. */
static inline void
cloud_bye(struct cloud *c)
{
	if (c->ssl != NULL)
		(void)SSL_shutdown(c->ssl);
	cloud_hang_up(c);
}

static inline void
cloud_reset(struct cloud *c)
{
	(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
	    sizeof(struct linger));
	cloud_hang_up(c);
}

static inline bool
cloud_try_accept(struct cloud *c)
{
	static const int one = 1;

	c->fd = accept4(c->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (c->fd < 0)
		return false;
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)event_assign(&c->ready, c->rig->loop->base, c->fd,
	    EV_READ | EV_WRITE | EV_ET | EV_PERSIST, cloud_on_ready, c);
	(void)event_add(&c->ready, NULL);
	return true;
}

static inline void
cloud_accept(struct cloud *c)
{
	cloud_hang_up(c);
	until(c->rig, cloud_try_accept(c));
}

/* <result> of an SSL_ call: false when it has to be tried again. */
static inline bool
cloud_settled(struct cloud *c, int result)
{
	int e = SSL_get_error(c->ssl, result);

	return result > 0 ||
	       (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE);
}

/* True when it succeeded. */
static inline bool
cloud_handshake(struct cloud *c)
{
	int r;

	c->ssl = SSL_new(c->tls);
	assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
	until(c->rig,
	    (ERR_clear_error(), cloud_settled(c, r = SSL_accept(c->ssl))));
	ERR_clear_error();
	return r == 1;
}

static inline void
cloud_write(struct cloud *c, struct span bytes)
{
	while (bytes.n > 0) {
		ssize_t n;

		if (c->ssl != NULL) {
			int put = 0;

			ERR_clear_error();
			until(c->rig,
			    cloud_settled(c, put = SSL_write(c->ssl, bytes.p,
						 (int)bytes.n)));
			n = put;
		} else {
			until(c->rig, (n = send(c->fd, bytes.p, bytes.n,
					   MSG_NOSIGNAL)) >= 0 ||
					  errno != EAGAIN);
		}
		assert_true(n > 0);
		bytes.p += n;
		bytes.n -= (size_t)n;
	}
}

/* Reads what there is now. True when there was something, or the end. */
static inline bool
cloud_read(struct cloud *c)
{
	enum { BYTES = 64 * 1024 };
	uint8_t *to = buffer_reserve(&c->in, BYTES);
	ssize_t n;

	assert_non_null(to);
	if (c->ssl != NULL) {
		int r;

		ERR_clear_error();
		errno = 0;
		r = SSL_read(c->ssl, to, BYTES);
		if (!cloud_settled(c, r))
			return false;
		n = r > 0 ? r : (errno == ECONNRESET ? -1 : 0);
		ERR_clear_error();
	} else {
		n = recv(c->fd, to, BYTES, 0);
		if (n < 0 && errno == EAGAIN)
			return false;
	}
	if (n > 0)
		buffer_commit(&c->in, (size_t)n);
	c->ended = n <= 0;
	c->reset = n < 0;
	return true;
}

static inline void
cloud_read_more(struct cloud *c)
{
	assert_false(c->ended);
	until(c->rig, cloud_read(c));
}

/* Everything up to the end of the connection. */
static inline void
cloud_read_all(struct cloud *c)
{
	while (!c->ended)
		cloud_read_more(c);
}

/* The WebSocket request's head, with its empty line, NUL-terminated. */
static inline void
cloud_request(struct cloud *c, char out[static 1024])
{
	static const char end[] = "\r\n\r\n";
	const uint8_t *found;
	size_t n;

	while (c->in.n == 0 ||
	       (found = memmem(buffer_span(&c->in).p, c->in.n, end, 4)) == NULL)
		cloud_read_more(c);
	n = (size_t)(found - buffer_span(&c->in).p) + 4;
	assert_true(n < 1024);
	memcpy(out, buffer_span(&c->in).p, n);
	out[n] = '\0';
	buffer_drop(&c->in, n);
}

/* Reads the request and writes the 101 that is due into <out>. */
static inline struct span
cloud_switching(struct cloud *c, char out[static 512])
{
	static const char name[] = "Sec-WebSocket-Key: ";
	uint8_t nonce[WS_NONCE_BYTES + 2];
	char request[1024], accept[WS_ACCEPT_TEXT];
	const char *key;

	cloud_request(c, request);
	key = strstr(request, name);
	assert_non_null(key);
	assert_int_equal(EVP_DecodeBlock(nonce,
			     (const unsigned char *)key + sizeof(name) - 1, 24),
	    WS_NONCE_BYTES + 2);
	ws_accept_compute(nonce, accept);
	(void)snprintf(out, 512,
	    "HTTP/1.1 101 Switching Protocols\r\n"
	    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Accept: %s\r\n"
	    "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
	    accept);
	return span_of_string(out);
}

static inline void
cloud_switch(struct cloud *c)
{
	char text[512];

	cloud_write(c, cloud_switching(c, text));
}

/* Accepts a connection and brings it to where MQTT begins. */
static inline void
cloud_welcome(struct cloud *c)
{
	cloud_accept(c);
	if (c->tls != NULL)
		assert_true(cloud_handshake(c));
	cloud_switch(c);
}

/* Writes a server's frame of at most 65,535 bytes; returns its size. */
static inline size_t
cloud_frame_write(
    uint8_t *out, enum ws_opcode opcode, bool fin, struct span payload)
{
	size_t n = 2;

	assert_true(payload.n <= UINT16_MAX);
	out[0] = (uint8_t)((fin ? 0x80 : 0) | opcode);
	if (payload.n < 126) {
		out[1] = (uint8_t)payload.n;
	} else {
		out[1] = 126;
		out[n++] = (uint8_t)(payload.n >> 8);
		out[n++] = (uint8_t)payload.n;
	}
	if (payload.n > 0)
		memcpy(out + n, payload.p, payload.n);
	return n + payload.n;
}

static inline void
cloud_send(
    struct cloud *c, enum ws_opcode opcode, bool fin, struct span payload)
{
	static uint8_t out[WS_HEADER_MAX + UINT16_MAX];

	cloud_write(c,
	    (struct span){out, cloud_frame_write(out, opcode, fin, payload)});
}

/* A whole binary message. */
static inline void
cloud_say(struct cloud *c, struct span payload)
{
	cloud_send(c, WS_BINARY, true, payload);
}

/* Nothing comes from the cloud any more; it can still read. */
static inline void
cloud_finish(struct cloud *c)
{
	if (c->ssl != NULL)
		(void)SSL_shutdown(c->ssl);
	(void)shutdown(c->fd, SHUT_WR);
}

/* As the server's part of the handshake, which ends the TCP connection too (RFC
   6455 7.1.1). */
static inline void
cloud_send_close(struct cloud *c, uint16_t code)
{
	uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};

	cloud_send(c, WS_CLOSE, true, (struct span){payload, 2});
	cloud_finish(c);
}

/* A frame as it came from the link. Free with frame_free(). */
struct frame {
	enum ws_opcode opcode;
	bool fin;
	uint8_t key[WS_KEY_BYTES];
	uint8_t *bytes; /* unmasked */
	size_t n;
};

static inline void
frame_free(struct frame *f)
{
	free(f->bytes);
	*f = (struct frame){0};
}

static inline struct span
frame_span(const struct frame *f)
{
	return (struct span){f->bytes, f->n};
}

/* False when <c> has not got a whole frame yet. */
static inline bool
cloud_try_frame(struct cloud *c, struct frame *f)
{
	struct span in = buffer_span(&c->in), key, payload;
	uint8_t first, second;
	uint16_t n16;
	uint32_t n32;

	if (!span_take_u8(&in, &first) || !span_take_u8(&in, &second))
		return false;
	assert_int_equal(first & 0x70, 0);
	assert_int_equal(second & 0x80, 0x80); /* RFC 6455 5.1 */
	f->n = second & 0x7f;
	if (f->n == 126) {
		if (!span_take_u16(&in, &n16))
			return false;
		f->n = n16;
	} else if (f->n == 127) {
		if (!span_take_u32(&in, &n32))
			return false;
		assert_int_equal(n32, 0);
		if (!span_take_u32(&in, &n32))
			return false;
		f->n = n32;
	}
	if (!span_take(&in, WS_KEY_BYTES, &key) ||
	    !span_take(&in, f->n, &payload))
		return false;
	f->opcode = first & 0x0f;
	f->fin = (first & 0x80) != 0;
	memcpy(f->key, key.p, WS_KEY_BYTES);
	f->bytes = malloc(f->n + 1);
	assert_non_null(f->bytes);
	for (size_t i = 0; i < f->n; i++)
		f->bytes[i] = payload.p[i] ^ f->key[i % WS_KEY_BYTES];
	f->bytes[f->n] = '\0';
	buffer_drop(&c->in, c->in.n - in.n);
	return true;
}

static inline struct frame
cloud_frame(struct cloud *c)
{
	struct frame f = {0};

	while (!cloud_try_frame(c, &f))
		cloud_read_more(c);
	return f;
}

/* The next frame, which must be this one. */
#define cloud_expect(c, want_opcode, want_fin, want)                           \
	do {                                                                   \
		struct frame f_ = cloud_frame(c);                              \
                                                                               \
		assert_int_equal(f_.opcode, want_opcode);                      \
		assert_int_equal(f_.fin, want_fin);                            \
		assert_span_equal(frame_span(&f_), want);                      \
		frame_free(&f_);                                               \
	} while (0)

/* Whether the link says anything, or hangs up; turns the loop before. */
static inline bool
cloud_hears_nothing(struct cloud *c)
{
	rig_settle(c->rig);
	return !cloud_read(c) && c->in.n == 0;
}

#endif
