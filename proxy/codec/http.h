/*
 * http: the two HTTP/1.1 heads of a WebSocket opening handshake (RFC 6455 4.1,
 * 4.2.2; RFC 9112). Pure: the nonce is an argument.
 */
#ifndef PROXY_CODEC_HTTP_H
#define PROXY_CODEC_HTTP_H

#include "base/fault.h"
#include "base/parse.h"
#include "base/span.h"
#include "codec/http_head.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	WS_NONCE_BYTES = 16,
	WS_KEY_TEXT = 24 + 1,    /* base64 of the nonce, with NUL */
	WS_ACCEPT_TEXT = 28 + 1, /* base64 of a SHA-1, with NUL */
};

/* What goes into the request, as it is: the caller has seen to it that none has
   a blank or a control character. <host> is the Host header's value (with the
   port unless it is the scheme's default). */
struct ws_request {
	const char *host;
	const char *path;
	const char *subprotocol; /* NULL: none is offered */
};

/*
 * Writes the upgrade request into <out>. Returns its size, 0 when it is over
 * <size>. <nonce> must be fresh and unpredictable (RFC 6455 4.1, item 7).
 */
NODISCARD size_t ws_request_write(const struct ws_request *request,
    const uint8_t nonce[static WS_NONCE_BYTES], char *out, size_t size);

/* The Sec-WebSocket-Accept that answers <nonce>; "" when the library has no
   SHA-1. */
void ws_accept_compute(const uint8_t nonce[static WS_NONCE_BYTES],
    char out[static WS_ACCEPT_TEXT]);

struct http_answer {
	int status;
	struct span reason;      /* the phrase of the status line */
	struct span location;    /* empty when absent */
	struct span retry_after; /* empty when absent */
	struct span date;        /* empty when absent */
	struct span server;      /* empty when absent */
	struct span subprotocol; /* Sec-WebSocket-Protocol; empty when absent */
	bool has_upgrade;        /* Upgrade: websocket */
	bool has_connection;     /* Connection: ..., upgrade, ... */
	bool has_extensions;     /* Sec-WebSocket-Extensions is there */
	struct span accept;      /* Sec-WebSocket-Accept; empty when absent */
};

/*
 * As http_head_read(); Sec-WebSocket-Accept, Sec-WebSocket-Protocol and
 * Location must be alone. <out> means something with PARSE_OK only.
 */
NODISCARD enum parse http_answer_read(
    struct span in, struct http_answer *out, size_t *used, struct fault *why);

/*
 * Judges an answer against RFC 6455 4.1: status 101, Upgrade, Connection, the
 * accept value, no extension, no subprotocol other than <offered> (one that is
 * missing is accepted). On false <why> is R_UPGRADE_REFUSED (another status;
 * the status, phrase and Retry-After in the text), R_UPGRADE_REDIRECTED (3xx;
 * the location in the text) or R_UPGRADE_BAD_ANSWER.
 */
NODISCARD bool ws_answer_accept(const struct http_answer *answer,
    const uint8_t nonce[static WS_NONCE_BYTES], const char *offered,
    struct fault *why);

#endif
