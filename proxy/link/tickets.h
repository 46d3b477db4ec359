/*
 * tickets: what resumes a TLS session: the newest ticket of each host that a
 * worker has dialled. One worker's; a ticket is used only with the trust under
 * which it was obtained, only until the server's certificate is over, and only
 * for a day after the handshake that has checked its chain, since a resumed one
 * checks nothing.
 */
#ifndef PROXY_LINK_TICKETS_H
#define PROXY_LINK_TICKETS_H

#include "base/attr.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

struct tickets;

/* NULL without memory. */
NODISCARD struct tickets *tickets_new(void);
/* Connections that are up may outlive it; their tickets are lost. */
void tickets_free(struct tickets **t);

/* Has the connections of <ctx> collect tickets. <generation> is the trust's: a
   later trust has a greater one. */
void tickets_collect(SSL_CTX *ctx, unsigned generation);

/*
 * Has <ssl>, a client that has not begun, keep its tickets for (<use>, <host>,
 * <port>), and offers the one kept there under the same generation. <host> is
 * at most 255 bytes. False without memory.
 */
NODISCARD bool tickets_attach(
    struct tickets *t, SSL *ssl, unsigned use, const char *host, uint16_t port);

/* Throws away the ticket kept where <ssl> keeps its own, and has it keep none
   any more: the certificate was not accepted after all. */
void tickets_forget(SSL *ssl);

#endif
