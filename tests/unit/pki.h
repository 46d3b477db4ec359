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

enum { PKI_DAY_S = 24 * 60 * 60, PKI_ROOT_DAYS = 1000 };

struct pki {
	EVP_PKEY *key; /* of the root and of the leaves of pki_server() */
	X509 *root;    /* or what stands between one and the leaves */
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

/* An authority under <above>; NULL: a root. */
static inline void
pki_open_under(struct pki *p, const struct pki *above, const char *name,
    long from_s, long to_s)
{
	if (above == NULL)
		above = p;
	p->key = EVP_EC_gen("P-256");
	assert_non_null(p->key);
	p->root = pki_certificate(p, name, from_s, to_s);
	assert_int_equal(
	    X509_set_issuer_name(p->root, X509_get_subject_name(above->root)),
	    1);
	pki_extend(p->root, NID_basic_constraints, "critical,CA:TRUE");
	pki_extend(p->root, NID_key_usage, "critical,keyCertSign");
	assert_true(X509_sign(p->root, above->key, EVP_sha256()) > 0);
}

static inline void
pki_open(struct pki *p, const char *name)
{
	pki_open_under(
	    p, NULL, name, -PKI_DAY_S, (long)PKI_ROOT_DAYS * PKI_DAY_S);
}

static inline void
pki_close(struct pki *p)
{
	X509_free(p->root);
	EVP_PKEY_free(p->key);
}

/* Writes what <out> has got into the folder, and frees it. Returns the path. */
static inline const char *
pki_save(struct scratch *s, const char *name, BIO *out)
{
	char *bytes;
	long n = BIO_get_mem_data(out, &bytes);

	(void)scratch_write(
	    s, name, (struct span){(const uint8_t *)bytes, (size_t)n});
	BIO_free(out);
	return s->path;
}

/* A PEM file of one certificate. */
static inline const char *
pki_write(struct scratch *s, const char *name, const X509 *cert)
{
	BIO *out = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_X509(out, cert), 1);
	return pki_save(s, name, out);
}

/* A PEM file of a key; <password> NULL: in the clear. */
static inline const char *
pki_write_key(struct scratch *s, const char *name, const EVP_PKEY *key,
    const char *password)
{
	BIO *out = BIO_new(BIO_s_mem());

	assert_int_equal(
	    PEM_write_bio_PKCS8PrivateKey(out, key,
		password != NULL ? EVP_aes_128_cbc() : NULL, password,
		password != NULL ? (int)strlen(password) : 0, NULL, NULL),
	    1);
	return pki_save(s, name, out);
}

/* Has <settings> trust this root and no other. */
static inline void
pki_trust(const struct pki *p, struct scratch *s, struct settings *settings)
{
	(void)pki_write(s, "root.pem", p->root);
	assert_true(strlen(s->path) < sizeof(settings->tls_ca_file));
	(void)strcpy(settings->tls_ca_file, s->path);
	settings->tls_system_roots = false;
}

/* A certificate of <p> for <key> and <names> ("DNS:a,IP:::1"). */
static inline X509 *
pki_issue(const struct pki *p, EVP_PKEY *key, const char *names, long from_s,
    long to_s)
{
	X509 *leaf = pki_certificate(p, "cloud", from_s, to_s);

	assert_int_equal(X509_set_pubkey(leaf, key), 1);
	assert_int_equal(
	    X509_set_issuer_name(leaf, X509_get_subject_name(p->root)), 1);
	pki_extend(leaf, NID_subject_alt_name, names);
	assert_true(X509_sign(leaf, p->key, EVP_sha256()) > 0);
	return leaf;
}

/* A server that shows a certificate for <names>. */
static inline SSL_CTX *
pki_server(const struct pki *p, const char *names, long from_s, long to_s)
{
	X509 *leaf = pki_issue(p, p->key, names, from_s, to_s);
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	assert_int_equal(SSL_CTX_use_certificate(ctx, leaf), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, p->key), 1);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	X509_free(leaf);
	return ctx;
}

#endif
