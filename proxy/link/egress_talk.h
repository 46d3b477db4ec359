/*
 * egress_talk: what is said with an egress proxy, from a connection to it until
 * the tunnel to the cloud stands: CONNECT, or SOCKS5. No descriptor and no
 * event: whoever dials moves the bytes. Both objects are one worker's, on its
 * thread.
 *
 *	egress_talk_begin
 *	write until it returns 0, read what comes, until OPEN or FAILED;
 *	at REDIAL: drop the connection and all unread bytes, connect again
 */
#ifndef PROXY_LINK_EGRESS_TALK_H
#define PROXY_LINK_EGRESS_TALK_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/span.h"
#include "codec/http_auth.h"
#include "settings/credmap.h"
#include "settings/egress.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	EGRESS_WRITE_MAX = 4 * 1024, /* what egress_talk_write() may write */
	EGRESS_CNONCE_TEXT = 32 + 1
};

/* What proxies have asked for, and was answered to their content: later dials
   to them log in at once. Holds no password. */
struct egress_memory;

/* NULL without memory. */
NODISCARD struct egress_memory *egress_memory_new(void);
void egress_memory_free(struct egress_memory **m);

/*
 * True, with <why> filled, while <proxy> is not to be asked because it has
 * refused our password a moment ago: each device would try it again, until the
 * account is locked.
 */
NODISCARD bool egress_memory_holds(const struct egress_memory *m,
    const struct egress *proxy, struct fault *why);
/* The password may have been mended. */
void egress_memory_pardon(struct egress_memory *m);

/* A challenge, and how often its nonce was used. */
struct egress_answer {
	struct http_challenge challenge;
	uint32_t nc;
	char cnonce[EGRESS_CNONCE_TEXT];
};

/* What comes next, or was said last. */
enum egress_turn {
	EGRESS_TURN_CONNECT, /* of HTTP */
	EGRESS_TURN_GREETING,
	EGRESS_TURN_LOGIN,
	EGRESS_TURN_SOCKS_CONNECT
};

/* Needs no end: it owns nothing. */
struct egress_talk {
	struct egress_memory *memory;
	const struct egress *proxy;
	char host[CREDENTIAL_HOST_MAX + 1];
	uint16_t port;
	enum egress_turn turn;
	bool is_due; /* to be said */
	unsigned redials;
	enum http_auth_scheme sent; /* with the CONNECT said last */
	struct egress_answer own;   /* to a challenge of this very dial */
};

/* <m> and <proxy> outlive the talk: hold a reference on the settings that
   <proxy> is of. <host>, where the tunnel is to lead, is copied: its map may be
   replaced in the meantime. */
void egress_talk_begin(struct egress_talk *t, struct egress_memory *m,
    const struct egress *proxy, const char *host, uint16_t port);

/*
 * Writes what is to be said now into <out> of EGRESS_WRITE_MAX bytes or more,
 * and returns its size; 0: nothing. It may hold a password: wipe it once it is
 * sent.
 */
NODISCARD size_t egress_talk_write(
    struct egress_talk *t, uint8_t *out, size_t size);

enum egress_step {
	EGRESS_MORE,   /* wait for more bytes */
	EGRESS_SAY,    /* write again; then read, if bytes are left */
	EGRESS_REDIAL, /* write again on a fresh connection to the same proxy */
	EGRESS_OPEN,   /* the tunnel stands; all bytes left are the tunnel's */
	EGRESS_FAILED
};

/*
 * Reads what the proxy has said, and takes what is understood off <in>; with
 * EGRESS_MORE nothing is taken, and the same bytes are to be given again with
 * those that follow. Never asks for more once HTTP_HEAD_MAX bytes are there.
 * EGRESS_FAILED: <why> names the proxy and is R_EGRESS_AUTH, R_EGRESS_REFUSED,
 * R_EGRESS_CANNOT_REACH, R_EGRESS_BAD_ANSWER, or R_INTERNAL without random
 * numbers.
 */
NODISCARD enum egress_step egress_talk_read(
    struct egress_talk *t, struct span *in, struct fault *why);

/* The proxy has closed, and <unread> is what egress_talk_read() wanted more of:
   fills <why> with R_EGRESS_BAD_ANSWER. */
void egress_talk_closed(
    const struct egress_talk *t, size_t unread, struct fault *why);

#endif
