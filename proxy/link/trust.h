/*
 * trust: whom the proxy believes to be the cloud (roots, TLS versions), and the
 * tickets by which a TLS session is resumed.
 *
 * A trust is immutable and reference-counted; every thread may hold one. The
 * tickets belong to one worker. A ticket is used only with the trust under
 * which it was obtained, since a resumed handshake checks no certificate.
 */
#ifndef PROXY_LINK_TRUST_H
#define PROXY_LINK_TRUST_H

#include "base/attr.h"
#include "base/fault.h"
#include "settings/settings.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

struct trust;

/* Reads the roots (blocking). NULL: <why> says which file and what is wrong. */
NODISCARD struct trust *trust_new(
    const struct settings *settings, struct fault *why);
struct trust *trust_ref(struct trust *t);
void trust_unref(struct trust *t); /* NULL is fine */

struct tickets;

NODISCARD struct tickets *tickets_new(void);
void tickets_free(struct tickets **t);

/*
 * A TLS client for <fd>, ready for its handshake: expects a certificate for
 * <host> (a name, sent as SNI, or an IP literal) and offers the ticket kept for
 * <host> and <port>. <tickets> must outlive it. NULL without memory.
 */
NODISCARD SSL *trust_client(struct trust *t, struct tickets *tickets, int fd,
    const char *host, uint16_t port);

/*
 * After a failed handshake on this thread: fills <why> with the reason, for a
 * certificate with its depth, subject and issuer, and OpenSSL's own words.
 * Always false.
 */
bool trust_explain(const SSL *ssl, struct fault *why);

#endif
