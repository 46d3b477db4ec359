/*
 * objection: what OpenSSL's verifier disliked about a certificate, in words for
 * the person who has to mend it. Noted inside SSL_do_handshake() and asked for
 * right after it, on the same thread.
 */
#ifndef PROXY_LINK_OBJECTION_H
#define PROXY_LINK_OBJECTION_H

#include "base/fault.h"

#include <openssl/x509.h>
#include <stdbool.h>

/* The verify callback of an SSL_CTX that demands a certificate; agrees with
   the verifier. */
int objection_note(int ok, X509_STORE_CTX *store);

/* Takes the objection noted last into <why>. False, with <why> as it was:
   there is none. */
bool objection_take(struct fault *why);

#endif
