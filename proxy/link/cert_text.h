/*
 * cert_text: what stands in a certificate, in words for a log line. Each
 * function writes at most <size> bytes with the NUL, cut when that is too few,
 * and returns <out>. No state; any thread.
 */
#ifndef PROXY_LINK_CERT_TEXT_H
#define PROXY_LINK_CERT_TEXT_H

#include <openssl/x509v3.h>
#include <stddef.h>

/* As RFC 4514 writes it: the most particular part first, so that a cut takes
   the country and not the common name. */
const char *cert_text_name(char *out, size_t size, const X509_NAME *name);

/* "2026-11-01T00:00:00Z", or "?" for what is no date. */
const char *cert_text_date(char *out, size_t size, const ASN1_TIME *date);

/* Whom it is for: the DNS names and addresses of its subjectAltName, and how
   many more there are. */
const char *cert_text_hosts(char *out, size_t size, const X509 *cert);

/* The host name or address that <param> demands of a certificate. */
const char *cert_text_expected(
    char *out, size_t size, X509_VERIFY_PARAM *param);

#endif
