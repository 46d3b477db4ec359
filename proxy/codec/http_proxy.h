/*
 * http_proxy: a tunnel through an HTTP proxy: the CONNECT request (RFC 9110
 * 9.3.6) and the head of its answer. Pure.
 */
#ifndef PROXY_CODEC_HTTP_PROXY_H
#define PROXY_CODEC_HTTP_PROXY_H

#include "base/fault.h"
#include "base/parse.h"
#include "base/span.h"
#include "codec/http_auth.h"
#include "codec/http_head.h"

#include <stddef.h>
#include <stdint.h>

enum { HTTP_AUTHORITY_MAX = 253 + 2 + 6 + 1 }; /* a host, [], :65535, NUL */

/* "host:port", an IPv6 address in brackets (RFC 3986 3.2). False when it is
   over its bound. */
NODISCARD bool http_authority_write(
    const char *host, uint16_t port, char out[static HTTP_AUTHORITY_MAX]);

/*
 * Writes the request for a tunnel to <authority> into <out>. <login> is the
 * value of Proxy-Authorization; NULL: none. Returns its size, 0 when it is over
 * <size>.
 */
NODISCARD size_t http_connect_write(
    const char *authority, const char *login, char *out, size_t size);

struct http_connect_answer {
	int status;              /* 200 to 299: the tunnel stands */
	struct span reason;      /* the phrase of the status line */
	struct http_offer offer; /* of all Proxy-Authenticate headers */
};

/*
 * Reads the answer head at the start of <in>, as http_head_read() does; a fault
 * is R_EGRESS_BAD_ANSWER. With 2xx all behind *used belongs to the tunnel: such
 * an answer has no body, whatever its headers say (RFC 9110 9.3.6).
 */
NODISCARD enum parse http_connect_answer_read(struct span in,
    struct http_connect_answer *out, size_t *used, struct fault *why);

#endif
