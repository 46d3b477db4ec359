/*
 * socks5: a tunnel through a SOCKS5 proxy (RFC 1928): greeting, login by user
 * name and password (RFC 1929), CONNECT, and the proxy's answers. The proxy
 * looks the host's name up. Pure.
 */
#ifndef PROXY_CODEC_SOCKS5_H
#define PROXY_CODEC_SOCKS5_H

#include "base/fault.h"
#include "base/parse.h"
#include "base/secret.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum socks5_method {
	SOCKS5_NO_LOGIN = 0x00,
	SOCKS5_PASSWORD = 0x02,
	SOCKS5_NO_METHOD = 0xff /* the proxy takes none of those offered */
};

/* The codes of a reply (RFC 1928 6) that are told apart. */
enum {
	SOCKS5_OK = 0,
	SOCKS5_FAILED = 1,
	SOCKS5_FORBIDDEN = 2,
	SOCKS5_NET_UNREACHABLE = 3,
	SOCKS5_TTL_EXPIRED = 6
};

enum {
	SOCKS5_TEXT_MAX = 255, /* a host, user name or password */
	SOCKS5_WRITE_MAX = 3 + 2 * SOCKS5_TEXT_MAX /* any of the messages */
};

/* Each writes one message into <out> and returns its size; 0 when it is over
   <size> or a text is over SOCKS5_TEXT_MAX. A numeric <host> goes as address,
   any other as name. */
NODISCARD size_t socks5_greeting_write(
    bool has_login, uint8_t *out, size_t size);
NODISCARD size_t socks5_login_write(const char *username,
    const struct secret *password, uint8_t *out, size_t size);
NODISCARD size_t socks5_connect_write(
    const char *host, uint16_t port, uint8_t *out, size_t size);

/*
 * Each reads one message at the start of <in>. PARSE_OK: *used is its size; all
 * behind it is the next one's, and behind the reply the tunnel's. PARSE_BAD: it
 * is not SOCKS5; <why> is R_EGRESS_BAD_ANSWER.
 */
NODISCARD enum parse socks5_method_read(
    struct span in, uint8_t *method, size_t *used, struct fault *why);
NODISCARD enum parse socks5_login_read(
    struct span in, bool *accepted, size_t *used);
/* A refusal counts as whole once its code is there: the proxy closes behind it,
   and some leave the rest out. */
NODISCARD enum parse socks5_reply_read(
    struct span in, uint8_t *code, size_t *used, struct fault *why);

/* What a reply's code means, in words. */
const char *socks5_reply_text(uint8_t code);

#endif
