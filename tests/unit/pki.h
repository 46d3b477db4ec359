/*
 * pki: throw-away roots and server certificates, made in memory.
 */
#ifndef TESTS_UNIT_PKI_H
#define TESTS_UNIT_PKI_H

#include "settings/settings.h"

#include "scratch.h"
#include "unit.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

enum { PKI_DAY_S = 24 * 60 * 60 };

struct pki {
	EVP_PKEY *key; /* of the root and of all its leaves */
	X509 *root;
};

static inline void
pki_extend(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	assert_int_equal(X509_add_ext(cert, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* Valid from <from_s> to <to_s>, both counted from now. */
static inline X509 *
pki_certificate(const struct pki *p, const char *name, long from_s, long to_s)
{
	static long serial;
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);

	assert_int_equal(X509_set_version(cert, 2), 1);
	assert_int_equal(
	    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), from_s));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), to_s));
	assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
			     (const unsigned char *)name, -1, -1, 0),
	    1);
	assert_int_equal(X509_set_pubkey(cert, p->key), 1);
	return cert;
}

static inline void
pki_open(struct pki *p, const char *name)
{
	p->key = EVP_EC_gen("P-256");
	assert_non_null(p->key);
	p->root = pki_certificate(p, name, -PKI_DAY_S, PKI_DAY_S);
	assert_int_equal(
	    X509_set_issuer_name(p->root, X509_get_subject_name(p->root)), 1);
	pki_extend(p->root, NID_basic_constraints, "critical,CA:TRUE");
	pki_extend(p->root, NID_key_usage, "critical,keyCertSign");
	assert_true(X509_sign(p->root, p->key, EVP_sha256()) > 0);
}

static inline void
pki_close(struct pki *p)
{
	X509_free(p->root);
	EVP_PKEY_free(p->key);
}

/* Has <settings> trust this root and no other. */
static inline void
pki_trust(const struct pki *p, struct scratch *s, struct settings *settings)
{
	BIO *out = BIO_new(BIO_s_mem());
	char *bytes;
	long n;

	assert_int_equal(PEM_write_bio_X509(out, p->root), 1);
	n = BIO_get_mem_data(out, &bytes);
	(void)scratch_write(
	    s, "root.pem", (struct span){(const uint8_t *)bytes, (size_t)n});
	BIO_free(out);
	assert_true(strlen(s->path) < sizeof(settings->tls_ca_file));
	(void)strcpy(settings->tls_ca_file, s->path);
	settings->tls_system_roots = false;
}

/* A server that shows a certificate for <names> ("DNS:a,IP:::1"). */
static inline SSL_CTX *
pki_server(const struct pki *p, const char *names, long from_s, long to_s)
{
	X509 *leaf = pki_certificate(p, "cloud", from_s, to_s);
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	assert_int_equal(
	    X509_set_issuer_name(leaf, X509_get_subject_name(p->root)), 1);
	pki_extend(leaf, NID_subject_alt_name, names);
	assert_true(X509_sign(leaf, p->key, EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(ctx, leaf), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, p->key), 1);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	X509_free(leaf);
	return ctx;
}

#endif
