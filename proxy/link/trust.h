/*
 * trust: whom the proxy believes to be the cloud: roots, pins, TLS versions,
 * and what it shows itself (client certificate).
 *
 * A trust is immutable and reference-counted; every thread may hold one. Its
 * connections hold references too.
 */
#ifndef PROXY_LINK_TRUST_H
#define PROXY_LINK_TRUST_H

#include "base/attr.h"
#include "base/fault.h"
#include "link/tickets.h"
#include "settings/settings.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

struct trust;

/*
 * What a connection is for. WSS follows [tls]; MQTTS too, but has the roots of
 * [tls_mqtts] when that names any, and its pins; EGRESS, TLS to an egress
 * proxy, has the roots of [tls], no pins, and shows no certificate.
 */
enum trust_use { TRUST_WSS, TRUST_MQTTS, TRUST_EGRESS };

/* Reads all files (blocking). NULL: <why> says which one and what is wrong. */
NODISCARD struct trust *trust_new(
    const struct settings *settings, struct fault *why);
struct trust *trust_ref(struct trust *t);
void trust_unref(struct trust *t); /* NULL is fine */

/* Names each file and folder that trust_new() reads, the system's included;
   they may come twice, and need not be there. */
void trust_files(const struct settings *settings,
    void (*tell)(void *arg, const char *path), void *arg);

/*
 * A TLS client, ready for its handshake once the caller has attached a
 * descriptor or a BIO: expects a certificate for <name> (a host name, sent as
 * SNI, or an IP literal) and offers the ticket kept for <use>, <name> and
 * <port>. NULL without memory.
 */
NODISCARD SSL *trust_client(struct trust *t, struct tickets *tickets,
    enum trust_use use, const char *name, uint16_t port);

/*
 * To be called after a handshake that succeeded, before anything is sent: is
 * the chain pinned? Warns, once a day for each use, of a root that expires
 * soon. True for a resumed session: its chain was checked, under this trust,
 * when it began. False: R_CERT_NOT_PINNED, with the pins that the chain has;
 * the connection must be closed.
 */
NODISCARD bool trust_check(SSL *ssl, struct fault *why);

/*
 * After a failed handshake on this thread: fills <why> with the reason, for a
 * certificate with its depth, dates, subject and issuer, and OpenSSL's own
 * words. Always false.
 */
bool trust_explain(const SSL *ssl, struct fault *why);

#endif
