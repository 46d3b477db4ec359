#include "link/trust.h"

#include "base/clock.h"
#include "base/date.h"
#include "base/escape.h"
#include "base/log.h"
#include "link/cert_text.h"
#include "link/keylog.h"
#include "link/objection.h"
#include "link/pins.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { USES = TRUST_EGRESS + 1, DAY_S = 24 * 60 * 60, ROOT_WARN_DAYS = 400 };

/* One use of a trust. */
struct realm {
	struct trust *trust;
	SSL_CTX *ctx;
	struct pins pins;              /* none: any chain will do */
	atomic_uint_least64_t warn_ms; /* of the root again at this time */
};

struct trust {
	atomic_uint refs;
	unsigned generation; /* no two trusts of a process share one */
	bool verify;
	int keylog_fd; /* -1: none */
	struct realm realms[USES];
};

static int realm_index = -1; /* ex_data of an SSL: its realm */
static pthread_once_t realm_index_once = PTHREAD_ONCE_INIT;

static void
on_ssl_free(void *ssl, void *realm, CRYPTO_EX_DATA *data, int index, long argl,
    void *argp)
{
	(void)ssl;
	(void)data;
	(void)index;
	(void)argl;
	(void)argp;
	if (realm != NULL)
		trust_unref(((struct realm *)realm)->trust);
}

static void
make_realm_index(void)
{
	realm_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, on_ssl_free);
}

/* ---- what the settings say for a use ---- */

struct roots {
	const char *section;
	const char *ca_file; /* these two may be empty */
	const char *ca_path;
	bool system;
};

static struct roots
roots_for(const struct settings *s, enum trust_use use)
{
	if (use == TRUST_MQTTS && (s->tls_mqtts_ca_file[0] != '\0' ||
				      s->tls_mqtts_ca_path[0] != '\0'))
		return (struct roots){"tls_mqtts", s->tls_mqtts_ca_file,
		    s->tls_mqtts_ca_path, false};
	return (struct roots){
	    "tls", s->tls_ca_file, s->tls_ca_path, s->tls_system_roots};
}

/* Empty: no pins. */
static const char *
pin_file_for(const struct settings *s, enum trust_use use)
{
	if (use == TRUST_EGRESS)
		return "";
	if (use == TRUST_MQTTS && s->tls_mqtts_pin_file[0] != '\0')
		return s->tls_mqtts_pin_file;
	return s->tls_pin_file;
}

struct teller {
	void (*tell)(void *arg, const char *path);
	void *arg;
};

static void
tell_path(const struct teller *t, const char *path)
{
	if (path[0] != '\0')
		t->tell(t->arg, path);
}

/* OpenSSL's own, and what its environment variables put in their place; the
   folder may be a list. */
static void
tell_system_roots(const struct teller *t)
{
	const char *file = secure_getenv(X509_get_default_cert_file_env());
	const char *at = secure_getenv(X509_get_default_cert_dir_env());
	char folder[PATH_MAX];

	tell_path(t, file != NULL ? file : X509_get_default_cert_file());
	if (at == NULL)
		at = X509_get_default_cert_dir();
	for (;; at++) {
		size_t n = strcspn(at, ":");

		if (n < sizeof(folder)) {
			memcpy(folder, at, n);
			folder[n] = '\0';
			tell_path(t, folder);
		}
		at += n;
		if (*at == '\0')
			return;
	}
}

void
trust_files(const struct settings *s, void (*tell)(void *arg, const char *path),
    void *arg)
{
	const struct teller t = {tell, arg};

	for (unsigned use = 0; use < USES; use++) {
		struct roots roots = roots_for(s, use);

		if (s->tls_verify) {
			tell_path(&t, roots.ca_file);
			tell_path(&t, roots.ca_path);
			if (roots.system)
				tell_system_roots(&t);
		}
		tell_path(&t, pin_file_for(s, use));
	}
	tell_path(&t, s->tls_client_cert_file);
	tell_path(&t, s->tls_client_key_file);
}

/* ---- making one ---- */

/* An entry of OpenSSL's queue as text, and the queue emptied. */
static void
tls_error_text(char *out, size_t size, unsigned long e)
{
	const char *text = NULL;

	if (ERR_SYSTEM_ERROR(e))
		text = strerror(ERR_GET_REASON(e));
	else if (e != 0)
		text = ERR_reason_error_string(e);

	(void)snprintf(
	    out, size, "%s", text != NULL ? text : "unknown TLS error");
	ERR_clear_error();
}

/* [<section>] <key> <path>, and what OpenSSL found first: what it says last is
   that it failed. */
static bool
file_fault(
    struct fault *why, const char *section, const char *key, const char *path)
{
	char text[120];

	tls_error_text(text, sizeof(text), ERR_peek_error());
	return fault_set(
	    why, R_BAD_CONFIG, "[%s] %s %s: %s", section, key, path, text);
}

static bool
is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool
load_roots(SSL_CTX *ctx, const struct roots *r, struct fault *why)
{
	if (!r->system && r->ca_file[0] == '\0' && r->ca_path[0] == '\0')
		return fault_set(why, R_BAD_CONFIG,
		    "[%s] trusts nobody: set ca_file or ca_path, or"
		    " system_roots = yes",
		    r->section);
	if (r->system && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return file_fault(why, r->section, "system_roots", "");
	if (r->ca_file[0] != '\0' &&
	    SSL_CTX_load_verify_file(ctx, r->ca_file) != 1)
		return file_fault(why, r->section, "ca_file", r->ca_file);
	/* OpenSSL would look into it at the first handshake, in vain */
	if (r->ca_path[0] != '\0' && !is_folder(r->ca_path))
		return fault_set(why, R_BAD_CONFIG,
		    "[%s] ca_path %s is no folder", r->section, r->ca_path);
	if (r->ca_path[0] != '\0' &&
	    SSL_CTX_load_verify_dir(ctx, r->ca_path) != 1)
		return file_fault(why, r->section, "ca_path", r->ca_path);
	return true;
}

/* Roots of [tls] are read once, for all uses that have them. */
static bool
give_roots(struct trust *t, const struct settings *s, enum trust_use use,
    struct fault *why)
{
	struct roots roots = roots_for(s, use);
	const SSL_CTX *wss = t->realms[TRUST_WSS].ctx;
	SSL_CTX *ctx = t->realms[use].ctx;

	if (!s->tls_verify)
		return true;
	if (use == TRUST_WSS || roots.ca_file != s->tls_ca_file)
		return load_roots(ctx, &roots, why);
	SSL_CTX_set1_cert_store(ctx, SSL_CTX_get_cert_store(wss));
	return true;
}

/* Nobody is there to type one. */
static int
no_password(char *out, int size, int writing, void *asked)
{
	(void)out;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

static bool
load_key(SSL_CTX *ctx, const char *path, struct fault *why)
{
	bool asked = false;
	bool ok;

	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
	ok = SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1;
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	if (ok)
		return true;
	if (asked)
		return fault_set(why, R_BAD_CONFIG,
		    "[tls] client_key_file %s wants a password", path);
	return file_fault(why, "tls", "client_key_file", path);
}

/* The client certificate. */
static bool
give_identity(SSL_CTX *ctx, const struct settings *s, struct fault *why)
{
	const char *chain = s->tls_client_cert_file;
	const char *key = s->tls_client_key_file;

	if (chain[0] == '\0')
		return true;
	if (SSL_CTX_use_certificate_chain_file(ctx, chain) != 1)
		return file_fault(why, "tls", "client_cert_file", chain);
	if (!load_key(ctx, key, why))
		return false;
	if (SSL_CTX_check_private_key(ctx) == 1)
		return true;
	ERR_clear_error();
	return fault_set(why, R_BAD_CONFIG,
	    "[tls] client_key_file %s is not the key of client_cert_file %s",
	    key, chain);
}

static void
on_keylog(const SSL *ssl, const char *line)
{
	const struct realm *r = SSL_get_ex_data(ssl, realm_index);

	keylog_write(r->trust->keylog_fd, line);
}

static SSL_CTX *
new_context(const struct trust *t, const struct settings *s)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL ||
	    SSL_CTX_set_min_proto_version(ctx, s->tls_min_version) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	/* a blocked write is repeated from kept bytes, from another address */
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
					SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					SSL_MODE_RELEASE_BUFFERS);
	/* an end without close_notify is the cloud closing; WebSocket and MQTT
	   both frame their messages, so a cut cannot pass for a whole one */
	(void)SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF |
					   SSL_OP_NO_RENEGOTIATION |
					   SSL_OP_NO_COMPRESSION);
	if (t->verify)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, objection_note);
	else
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	/* head and body of a record, and what is behind, in one read() */
	SSL_CTX_set_read_ahead(ctx, 1);
	if (t->keylog_fd >= 0)
		SSL_CTX_set_keylog_callback(ctx, on_keylog);
	tickets_collect(ctx, t->generation);
	return ctx;
}

static bool
make_realm(struct trust *t, const struct settings *s, enum trust_use use,
    struct fault *why)
{
	struct realm *r = &t->realms[use];
	const char *pin_file = pin_file_for(s, use);

	r->trust = t;
	atomic_init(&r->warn_ms, 0);
	r->ctx = new_context(t, s);
	if (r->ctx == NULL)
		return fault_set(why, R_OUT_OF_MEMORY, "no memory for TLS");
	return give_roots(t, s, use, why) &&
	       (pin_file[0] == '\0' || pins_read(&r->pins, pin_file, why)) &&
	       (use == TRUST_EGRESS || give_identity(r->ctx, s, why));
}

static bool
make_all(struct trust *t, const struct settings *s, struct fault *why)
{
	if (s->tls_keylog_file[0] != '\0') {
		t->keylog_fd = keylog_open(s->tls_keylog_file, why);
		if (t->keylog_fd < 0)
			return false;
	}
	for (unsigned use = 0; use < USES; use++)
		if (!make_realm(t, s, use, why))
			return false;
	return true;
}

struct trust *
trust_new(const struct settings *s, struct fault *why)
{
	static atomic_uint generations;
	struct trust *t = calloc(1, sizeof(*t));
	bool ok;

	if (t == NULL) {
		(void)fault_set(why, R_OUT_OF_MEMORY, "no memory for TLS");
		return NULL;
	}
	(void)pthread_once(&realm_index_once, make_realm_index);
	ERR_clear_error();
	atomic_init(&t->refs, 1);
	t->generation = atomic_fetch_add(&generations, 1) + 1;
	t->verify = s->tls_verify;
	t->keylog_fd = -1;
	ok = make_all(t, s, why);
	ERR_clear_error();
	if (ok)
		return t;
	trust_unref(t);
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
	for (unsigned use = 0; use < USES; use++)
		SSL_CTX_free(t->realms[use].ctx);
	if (t->keylog_fd >= 0)
		(void)close(t->keylog_fd);
	free(t);
}

/* ---- one connection ---- */

static bool
is_ip_literal(const char *name)
{
	uint8_t address[16];

	return inet_pton(AF_INET, name, address) == 1 ||
	       inet_pton(AF_INET6, name, address) == 1;
}

/* SNI carries names only (RFC 6066 3). */
static bool
expect_name(SSL *ssl, const char *name)
{
	if (is_ip_literal(name))
		return X509_VERIFY_PARAM_set1_ip_asc(
			   SSL_get0_param(ssl), name) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) == 1 &&
	       SSL_set_tlsext_host_name(ssl, name) == 1;
}

SSL *
trust_client(struct trust *t, struct tickets *tickets, enum trust_use use,
    const char *name, uint16_t port)
{
	struct realm *r = &t->realms[use];
	SSL *ssl;

	ERR_clear_error();
	ssl = SSL_new(r->ctx);
	if (ssl == NULL || SSL_set_ex_data(ssl, realm_index, r) != 1)
		goto fail;
	(void)trust_ref(t); /* given back with <ssl> */
	/* by the one clock that all goes by, not by OpenSSL's */
	X509_VERIFY_PARAM_set_time(
	    SSL_get0_param(ssl), (time_t)(clock_wall_ms() / 1000));
	SSL_set_connect_state(ssl);
	if (expect_name(ssl, name) &&
	    tickets_attach(tickets, ssl, use, name, port))
		return ssl;
fail:
	ERR_clear_error();
	SSL_free(ssl); /* NULL is fine */
	return NULL;
}

/* Whether <issuer> made <cert>, and may. */
static bool
has_signed(X509 *issuer, X509 *cert)
{
	return X509_check_ca(issuer) == 1 &&
	       X509_check_issued(issuer, cert) == X509_V_OK &&
	       X509_verify(cert, X509_get0_pubkey(issuer)) == 1;
}

/* From the server's own upwards. */
static STACK_OF(X509) * chain_of(const struct realm *r, const SSL *ssl)
{
	return r->trust->verify ? SSL_get0_verified_chain(ssl)
				: SSL_get_peer_cert_chain(ssl);
}

/* With verify = no nobody has looked at the chain, and anybody can show the
   root of somebody else: only what has signed the server's own counts. */
static bool
is_pinned(const struct realm *r, const SSL *ssl)
{
	STACK_OF(X509) *chain = chain_of(r, ssl);

	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *cert = sk_X509_value(chain, i);

		if (i > 0 && !r->trust->verify &&
		    !has_signed(cert, sk_X509_value(chain, i - 1)))
			return false;
		if (pins_match(&r->pins, cert))
			return true;
	}
	return false;
}

static bool
not_pinned(const struct realm *r, const SSL *ssl, struct fault *why)
{
	STACK_OF(X509) *chain = chain_of(r, ssl);
	const X509 *leaf = sk_X509_value(chain, 0); /* NULL: there is none */
	const X509 *issuer = sk_X509_value(chain, 1);
	char leaf_pin[PIN_TEXT_MAX] = "none", issuer_pin[PIN_TEXT_MAX] = "none";
	char leaf_name[72] = "", issuer_name[72] = "";

	if (leaf != NULL) {
		(void)pin_text(leaf_pin, leaf);
		(void)cert_text_name(
		    leaf_name, sizeof(leaf_name), X509_get_subject_name(leaf));
		(void)cert_text_name(issuer_name, sizeof(issuer_name),
		    X509_get_issuer_name(leaf));
	}
	if (issuer != NULL)
		(void)pin_text(issuer_pin, issuer);
	return fault_set(why, R_CERT_NOT_PINNED,
	    "no key of the chain is in pin_file; the server's is %s (%s), its"
	    " issuer's %s (%s)",
	    leaf_pin, leaf_name, issuer_pin, issuer_name);
}

static void
tell_root(SSL *ssl, const X509 *root, int64_t days)
{
	char subject[160], host[256], date[CLOCK_TEXT_MAX];

	(void)cert_text_name(
	    subject, sizeof(subject), X509_get_subject_name(root));
	(void)cert_text_expected(host, sizeof(host), SSL_get0_param(ssl));
	tame(subject);
	tame(host);
	log_write(LOG_WARNING, "root_expires",
	    "subject=\"%s\" not_after=%s days=%lld host=\"%s\" hint=\"have its"
	    " successor among the trusted roots before that day\"",
	    subject,
	    cert_text_date(date, sizeof(date), X509_get0_notAfter(root)),
	    (long long)days, host);
}

/* Once a day, whichever thread comes first. */
static void
warn_of_root(struct realm *r, SSL *ssl)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	const X509 *root = sk_X509_value(chain, sk_X509_num(chain) - 1);
	uint64_t now_ms = clock_mono_ms();
	uint64_t due_ms = atomic_load(&r->warn_ms);
	struct tm tm;
	int64_t left_s;

	if (now_ms < due_ms || root == NULL ||
	    ASN1_TIME_to_tm(X509_get0_notAfter(root), &tm) != 1)
		return;
	left_s = date_seconds(&tm) - (int64_t)(clock_wall_ms() / 1000);
	if (left_s > (int64_t)ROOT_WARN_DAYS * DAY_S ||
	    !atomic_compare_exchange_strong(
		&r->warn_ms, &due_ms, now_ms + UINT64_C(1000) * DAY_S))
		return;
	tell_root(ssl, root, left_s / DAY_S);
}

bool
trust_check(SSL *ssl, struct fault *why)
{
	struct realm *r = SSL_get_ex_data(ssl, realm_index);

	if (SSL_session_reused(ssl))
		return true;
	if (r->pins.count > 0 && !is_pinned(r, ssl)) {
		ERR_clear_error();
		/* it would let the next one in unchecked */
		tickets_forget(ssl);
		return not_pinned(r, ssl, why);
	}
	ERR_clear_error();
	if (r->trust->verify)
		warn_of_root(r, ssl);
	return true;
}

bool
trust_explain(const SSL *ssl, struct fault *why)
{
	long verdict = SSL_get_verify_result(ssl);
	char text[120];

	/* the oldest is the cause of the others */
	if (ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE) {
		ERR_clear_error();
		return fault_set(why, R_OUT_OF_MEMORY, "in OpenSSL");
	}
	if (verdict != X509_V_OK &&
	    SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE) {
		ERR_clear_error();
		if (!objection_take(why))
			(void)fault_set(why, R_CERT_UNTRUSTED, "%s",
			    X509_verify_cert_error_string(verdict));
		return false;
	}
	tls_error_text(text, sizeof(text), ERR_peek_last_error());
	return fault_set(why, R_TLS_FAILED, "%s", text);
}
