#include "link/trust.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	TICKET_PLACES = 64, /* hosts remembered by one worker */
	NAME_TEXT = 80
};

struct trust {
	atomic_uint refs;
	unsigned generation; /* no two trusts of a process share one */
	SSL_CTX *ctx;
};

/*
 * The newest ticket of one host. Its connections hold references, so that a
 * place pushed out of the list lives until the last of them is gone.
 */
struct place {
	TAILQ_ENTRY(place) next;
	unsigned refs;
	bool listed;
	SSL_SESSION *session; /* NULL: none yet */
	unsigned generation;  /* of the trust it was obtained under */
	uint16_t port;
	char host[256];
};
TAILQ_HEAD(place_list, place);

/* Most recently dialled first; the last one is forgotten. */
struct tickets {
	struct place_list places;
	unsigned count;
};

/*
 * What the verifier disliked, told by OpenSSL inside SSL_do_handshake() and
 * read right after it, on the same thread.
 */
static _Thread_local struct {
	int depth;
	int error;
	char subject[NAME_TEXT];
	char issuer[NAME_TEXT];
} objection;

static int place_index = -1; /* ex_data of an SSL: its place */
static pthread_once_t place_index_once = PTHREAD_ONCE_INIT;

static void
place_unref(struct place *p)
{
	if (--p->refs > 0)
		return;
	SSL_SESSION_free(p->session);
	free(p);
}

static void
on_ssl_free(void *ssl, void *place, CRYPTO_EX_DATA *data, int index, long argl,
    void *argp)
{
	(void)ssl;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	if (place != NULL)
		place_unref(place);
}

static void
make_place_index(void)
{
	place_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_free);
}

static void
place_unlist(struct tickets *t, struct place *p)
{
	TAILQ_REMOVE(&t->places, p, next);
	t->count--;
	p->listed = false;
	place_unref(p);
}

/* The place of <host>, moved to the front. NULL without memory. */
static struct place *
place_of(struct tickets *t, const char *host, uint16_t port)
{
	struct place *p;

	TAILQ_FOREACH (p, &t->places, next)
		if (p->port == port && strcmp(p->host, host) == 0)
			break;
	if (p != NULL) {
		TAILQ_REMOVE(&t->places, p, next);
	} else {
		p = calloc(1, sizeof(*p));
		if (p == NULL)
			return NULL;
		p->refs = 1;
		p->listed = true;
		p->port = port;
		(void)snprintf(p->host, sizeof(p->host), "%s", host);
		if (t->count == TICKET_PLACES)
			place_unlist(t, TAILQ_LAST(&t->places, place_list));
		t->count++;
	}
	TAILQ_INSERT_HEAD(&t->places, p, next);
	return p;
}

struct tickets *
tickets_new(void)
{
	struct tickets *t = calloc(1, sizeof(*t));

	if (t != NULL)
		TAILQ_INIT(&t->places);
	return t;
}

void
tickets_free(struct tickets **t)
{
	struct place *p;

	if (*t == NULL)
		return;
	while ((p = TAILQ_FIRST(&(*t)->places)) != NULL)
		place_unlist(*t, p);
	free(*t);
	*t = NULL;
}

/* Keeps a copy of its own: a session that several connections share is marked
   as not resumable as soon as one of them gets its next ticket. */
static int
on_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct place *p = SSL_get_ex_data(ssl, place_index);
	/* the trust itself may be gone by now */
	unsigned generation =
	    (unsigned)(uintptr_t)SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	SSL_SESSION *copy;

	if (p == NULL || !p->listed || p->generation > generation)
		return 0;
	copy = SSL_SESSION_dup(session);
	if (copy == NULL)
		return 0;
	SSL_SESSION_free(p->session);
	p->session = copy;
	p->generation = generation;
	return 0; /* <session> stays OpenSSL's */
}

static int
on_verify(int ok, X509_STORE_CTX *store)
{
	X509 *cert = X509_STORE_CTX_get_current_cert(store);

	if (ok)
		return 1;
	objection.error = X509_STORE_CTX_get_error(store);
	objection.depth = X509_STORE_CTX_get_error_depth(store);
	objection.subject[0] = objection.issuer[0] = '\0';
	if (cert != NULL) {
		(void)X509_NAME_oneline(X509_get_subject_name(cert),
		    objection.subject, sizeof(objection.subject));
		(void)X509_NAME_oneline(X509_get_issuer_name(cert),
		    objection.issuer, sizeof(objection.issuer));
	}
	return 0;
}

/* The newest entry of OpenSSL's queue as text, and the queue emptied. */
static void
tls_error_text(char *out, size_t size)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = NULL;

	if (ERR_SYSTEM_ERROR(e))
		text = strerror(ERR_GET_REASON(e));
	else if (e != 0)
		text = ERR_reason_error_string(e);

	(void)snprintf(
	    out, size, "%s", text != NULL ? text : "unknown TLS error");
	ERR_clear_error();
}

static bool
trust_fault(struct fault *why, const char *what, const char *path)
{
	char text[120];

	tls_error_text(text, sizeof(text));
	return fault_set(why, R_BAD_CONFIG, "%s%s: %s", what, path, text);
}

static bool
load_roots(SSL_CTX *ctx, const struct settings *s, struct fault *why)
{
	if (!s->tls_verify)
		return true;
	if (!s->tls_system_roots && s->tls_ca_file[0] == '\0')
		return fault_set(why, R_BAD_CONFIG,
		    "[tls] trusts nobody: set"
		    " ca_file, or system_roots = yes");
	if (s->tls_system_roots && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return trust_fault(why, "the system's roots", "");
	if (s->tls_ca_file[0] != '\0' &&
	    SSL_CTX_load_verify_file(ctx, s->tls_ca_file) != 1)
		return trust_fault(why, "[tls] ca_file ", s->tls_ca_file);
	return true;
}

struct trust *
trust_new(const struct settings *s, struct fault *why)
{
	static atomic_uint generations;
	struct trust *t = calloc(1, sizeof(*t));

	(void)pthread_once(&place_index_once, make_place_index);
	ERR_clear_error();
	if (t == NULL || (t->ctx = SSL_CTX_new(TLS_client_method())) == NULL ||
	    SSL_CTX_set_min_proto_version(t->ctx, s->tls_min_version) != 1) {
		(void)fault_set(why, R_OUT_OF_MEMORY, "no memory for TLS");
		goto fail;
	}
	atomic_init(&t->refs, 1);
	t->generation = atomic_fetch_add(&generations, 1) + 1;
	SSL_CTX_set_app_data(t->ctx, (void *)(uintptr_t)t->generation);
	/* a blocked write is repeated from kept bytes, from another address */
	(void)SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					   SSL_MODE_RELEASE_BUFFERS);
	/* an end without close_notify is the cloud closing; WebSocket and MQTT
	   both frame their messages, so a cut cannot pass for a whole one */
	(void)SSL_CTX_set_options(t->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF |
					      SSL_OP_NO_RENEGOTIATION |
					      SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_verify(t->ctx,
	    s->tls_verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, on_verify);
	(void)SSL_CTX_set_session_cache_mode(
	    t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(t->ctx, on_ticket);
	if (!load_roots(t->ctx, s, why))
		goto fail;
	return t;
fail:
	ERR_clear_error();
	if (t != NULL)
		SSL_CTX_free(t->ctx);
	free(t);
	return NULL;
}

struct trust *
trust_ref(struct trust *t)
{
	atomic_fetch_add(&t->refs, 1);
	return t;
}

void
trust_unref(struct trust *t)
{
	if (t == NULL || atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}

static bool
is_ip_literal(const char *host)
{
	uint8_t address[16];

	return inet_pton(AF_INET, host, address) == 1 ||
	       inet_pton(AF_INET6, host, address) == 1;
}

/* SNI carries names only (RFC 6066 3). */
static bool
expect_host(SSL *ssl, const char *host)
{
	if (is_ip_literal(host))
		return X509_VERIFY_PARAM_set1_ip_asc(
			   SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) == 1 &&
	       SSL_set_tlsext_host_name(ssl, host) == 1;
}

static void
offer_ticket(SSL *ssl, const struct trust *t, const struct place *p)
{
	SSL_SESSION *copy;

	if (p->session == NULL || p->generation != t->generation)
		return;
	copy = SSL_SESSION_dup(p->session);
	if (copy == NULL)
		return; /* a full handshake will do */
	(void)SSL_set_session(ssl, copy);
	SSL_SESSION_free(copy);
}

SSL *
trust_client(struct trust *t, struct tickets *tickets, int fd, const char *host,
    uint16_t port)
{
	struct place *p = place_of(tickets, host, port);
	SSL *ssl;

	ERR_clear_error();
	if (p == NULL)
		return NULL;
	ssl = SSL_new(t->ctx);
	if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || !expect_host(ssl, host))
		goto fail;
	if (SSL_set_ex_data(ssl, place_index, p) != 1)
		goto fail;
	p->refs++;
	SSL_set_connect_state(ssl);
	offer_ticket(ssl, t, p);
	objection.error = X509_V_OK;
	return ssl;
fail:
	ERR_clear_error();
	SSL_free(ssl); /* NULL is fine */
	return NULL;
}

static enum reason
objection_reason(int error)
{
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return R_CERT_EXPIRED;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return R_CERT_NOT_YET_VALID;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return R_CERT_WRONG_NAME;
	default:
		return R_CERT_UNTRUSTED;
	}
}

bool
trust_explain(const SSL *ssl, struct fault *why)
{
	long verdict = SSL_get_verify_result(ssl);
	char text[120];

	if (verdict != X509_V_OK &&
	    SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE) {
		ERR_clear_error();
		return fault_set(why, objection_reason((int)verdict),
		    "%s; depth %d, subject %s, issuer %s",
		    X509_verify_cert_error_string(verdict), objection.depth,
		    objection.subject, objection.issuer);
	}
	tls_error_text(text, sizeof(text));
	return fault_set(why, R_TLS_FAILED, "%s", text);
}
