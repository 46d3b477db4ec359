/*
 * stream: one connected socket towards the cloud, plain or TLS, reduced to four
 * answers. Never blocks. Belongs to one link and its thread.
 */
#ifndef PROXY_LINK_STREAM_H
#define PROXY_LINK_STREAM_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/span.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum io {
	IO_OK,
	IO_AGAIN, /* wait for the next event of the descriptor */
	IO_EOF,   /* the other side has closed */
	IO_FAILED /* the fault says how */
};

struct stream {
	int fd;      /* -1: none */
	SSL *ssl;    /* the innermost; NULL: plain */
	bool broken; /* after a fatal error: no close_notify may follow */
};

void stream_init(struct stream *s);

/*
 * Puts TLS on top of what the stream is: on a plain socket, or inside the TLS
 * that is there already. <ssl> is a client before its handshake, and the
 * stream's from now on. False without memory.
 */
NODISCARD bool stream_secure(struct stream *s, SSL *ssl);

/* Goes on with the (innermost) TLS handshake; IO_OK at once for a plain stream.
 */
NODISCARD enum io stream_handshake(struct stream *s, struct fault *why);

/* While held, what is written waits for more to fill a segment; then it goes.
   Harmless where it cannot be had. */
void stream_hold(const struct stream *s, bool held);

/* Reads up to <size> bytes; with IO_OK *got is at least 1. */
NODISCARD enum io stream_read(
    struct stream *s, uint8_t *to, size_t size, size_t *got, struct fault *why);

/*
 * Writes some of <bytes> (not empty); with IO_OK *put is at least 1. After
 * IO_AGAIN the next call must begin with the same bytes and have no fewer.
 */
NODISCARD enum io stream_write(
    struct stream *s, struct span bytes, size_t *put, struct fault *why);

/* Says that nothing more will be written; what comes can still be read. */
void stream_finish(struct stream *s);

/* Closes, after a close_notify where one may be sent; without it OpenSSL would
   not let the session be resumed. Harmless when there is none. */
void stream_close(struct stream *s);

#endif
