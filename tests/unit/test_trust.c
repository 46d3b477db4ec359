/*
 * Whom the proxy trusts: TLS between two ends in memory, with a clock that the
 * test moves.
 */
#include "link/trust.h"

#include "base/clock.h"
#include "base/log.h"
#include "link/pins.h"

#include "pki.h"

#include <pthread.h>
#include <sys/mman.h>

enum { FOREVER_S = 500 * PKI_DAY_S, PORT = 443, ROUNDS = 20 };

#define NAMES "DNS:cloud.example,IP:127.0.0.1"

/* ---- the clock ---- */

static uint64_t mono_more_ms; /* is ahead by this */
static int64_t wall_s = -1;   /* stands still here; -1: as it is */

uint64_t __real_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void);
uint64_t __real_clock_wall_ms(void);
uint64_t __wrap_clock_wall_ms(void);

uint64_t
__wrap_clock_mono_ms(void)
{
	return __real_clock_mono_ms() + mono_more_ms;
}

uint64_t
__wrap_clock_wall_ms(void)
{
	return wall_s >= 0 ? (uint64_t)wall_s * 1000 : __real_clock_wall_ms();
}

/* ---- a site and its cloud ---- */

struct site {
	struct scratch *scratch;
	struct settings *settings;
	struct pki root, middle;
	EVP_PKEY *key;   /* of the server */
	X509 *leaf;      /* the server's, under <middle> */
	SSL_CTX *server; /* shows both */
	struct trust *trust;
	struct tickets *tickets;
	struct fault why; /* of the last handshake */
	bool resumed;
	X509 *shown; /* the client's, in the last handshake */
	int log, stderr_kept;
	char text[64 * 1024]; /* of the log */
};

static SSL_CTX *
server_of(struct pki *middle, X509 *leaf, EVP_PKEY *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	assert_int_equal(SSL_CTX_use_certificate(ctx, leaf), 1);
	assert_int_equal(SSL_CTX_add1_chain_cert(ctx, middle->root), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
	return ctx;
}

/* What the server shows from now on. */
static void
show(struct site *s, const char *names, long from_s, long to_s)
{
	X509_free(s->leaf);
	SSL_CTX_free(s->server);
	s->leaf = pki_issue(&s->middle, s->key, names, from_s, to_s);
	s->server = server_of(&s->middle, s->leaf, s->key);
}

static void
set_path(char *setting, const char *path)
{
	assert_true(strlen(path) < SETTING_TEXT_MAX);
	(void)strcpy(setting, path);
}

/* Takes up the settings as they are now. */
static void
renew(struct site *s)
{
	struct trust *fresh = trust_new(s->settings, &s->why);

	if (fresh == NULL)
		fail_msg("%s", s->why.text);
	trust_unref(s->trust);
	s->trust = fresh;
}

/* The settings are refused, in these words. */
static void
assert_refused(struct site *s, const char *words)
{
	s->why = (struct fault){0};
	assert_null(trust_new(s->settings, &s->why));
	assert_int_equal(s->why.why, R_BAD_CONFIG);
	if (strstr(s->why.text, words) == NULL)
		fail_msg("'%s' is not in '%s'", words, s->why.text);
}

static int
set_up(void **state)
{
	struct site *s = calloc(1, sizeof(*s));
	struct complaints none = {0};

	assert_non_null(s);
	if (scratch_setup((void **)&s->scratch) != 0)
		return -1;
	s->settings = settings_load(NULL, &none);
	pki_open(&s->root, "Throw-away root");
	pki_open_under(&s->middle, &s->root, "Between", -PKI_DAY_S, FOREVER_S);
	pki_trust(&s->root, s->scratch, s->settings);
	s->key = EVP_EC_gen("P-256");
	show(s, NAMES, -PKI_DAY_S, FOREVER_S);
	s->tickets = tickets_new();
	renew(s);
	mono_more_ms = 0;
	wall_s = -1;
	s->log = memfd_create("log", MFD_CLOEXEC);
	s->stderr_kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	(void)dup2(s->log, STDERR_FILENO);
	*state = s;
	return 0;
}

static int
tear_down(void **state)
{
	struct site *s = *state;
	int failed;

	(void)dup2(s->stderr_kept, STDERR_FILENO);
	(void)close(s->stderr_kept);
	(void)close(s->log);
	X509_free(s->shown);
	X509_free(s->leaf);
	SSL_CTX_free(s->server);
	EVP_PKEY_free(s->key);
	pki_close(&s->middle);
	pki_close(&s->root);
	trust_unref(s->trust);
	tickets_free(&s->tickets);
	settings_unref(s->settings);
	failed = scratch_teardown((void **)&s->scratch);
	free(s);
	return failed;
}

/* How many lines of the log have this event. */
static int
count_logged(struct site *s, const char *event)
{
	ssize_t n = pread(s->log, s->text, sizeof(s->text) - 1, 0);
	int count = 0;

	assert_true(n >= 0);
	s->text[n] = '\0';
	for (const char *at = s->text; (at = strstr(at, event)) != NULL; at++)
		count++;
	return count;
}

/* Turns the handshake of one side; true when it is over for good. */
static bool
turn(SSL *ssl, bool *ok)
{
	int r = SSL_do_handshake(ssl);
	int e = SSL_get_error(ssl, r);

	*ok = r == 1;
	return r == 1 ||
	       (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE);
}

/* Handshake, check, a byte from the server, and what TLS 1.3 sends with it. */
static enum reason
talk(struct trust *trust, struct tickets *tickets, SSL_CTX *server,
    enum trust_use use, const char *name, struct fault *why, bool *resumed,
    X509 **shown)
{
	SSL *near = trust_client(trust, tickets, use, name, PORT);
	SSL *far = SSL_new(server);
	bool near_over = false, far_over = false;
	bool near_ok = false, far_ok = false;
	BIO *near_end, *far_end;
	char byte;

	assert_non_null(near);
	assert_int_equal(BIO_new_bio_pair(&near_end, 0, &far_end, 0), 1);
	SSL_set_bio(near, near_end, near_end);
	SSL_set_bio(far, far_end, far_end);
	SSL_set_accept_state(far);
	*why = (struct fault){0};
	for (int i = 0; i < ROUNDS && !(near_over && far_over); i++) {
		if (!near_over && (near_over = turn(near, &near_ok)) &&
		    !near_ok)
			assert_false(trust_explain(near, why));
		if (!far_over)
			far_over = turn(far, &far_ok);
		ERR_clear_error();
	}
	*resumed = SSL_session_reused(near);
	X509_free(*shown);
	*shown = SSL_get1_peer_certificate(far);
	if (near_ok && trust_check(near, why)) {
		assert_true(far_ok);
		assert_int_equal(SSL_write(far, "x", 1), 1);
		assert_int_equal(SSL_read(near, &byte, 1), 1);
		assert_int_equal(why->why, R_NONE);
		(void)SSL_shutdown(near); /* else the session is not kept */
	} else {
		assert_int_not_equal(why->why, R_NONE);
	}
	SSL_free(near);
	SSL_free(far);
	ERR_clear_error();
	return why->why;
}

static enum reason
dial(struct site *s, enum trust_use use, const char *name)
{
	return talk(s->trust, s->tickets, s->server, use, name, &s->why,
	    &s->resumed, &s->shown);
}

static void
assert_dial(struct site *s, enum trust_use use, enum reason why)
{
	if (dial(s, use, "cloud.example") != why)
		fail_msg("use %d: %s, not %s: %s", (int)use,
		    reason_word(s->why.why), reason_word(why), s->why.text);
}

static void
assert_text(const struct site *s, const char *words)
{
	if (strstr(s->why.text, words) == NULL)
		fail_msg("'%s' is not in '%s'", words, s->why.text);
}

/* ---- roots ---- */

static void
test_every_use_has_the_roots_of_tls(void **state)
{
	struct site *s = *state;

	assert_dial(s, TRUST_WSS, R_NONE);
	assert_dial(s, TRUST_MQTTS, R_NONE);
	assert_dial(s, TRUST_EGRESS, R_NONE);
	s->settings->tls_ca_file[0] = '\0';
	assert_refused(s, "[tls] trusts nobody");
	set_path(s->settings->tls_ca_file, "/nonexistent/root.pem");
	assert_refused(s, "[tls] ca_file /nonexistent/root.pem: ");
	set_path(s->settings->tls_ca_file,
	    scratch_write(s->scratch, "empty.pem", SPAN_OF("")));
	assert_refused(s, "/empty.pem: no certificate");
}

/* As "openssl rehash" leaves it. */
static void
test_a_folder_of_roots(void **state)
{
	struct site *s = *state;
	char name[16];

	s->settings->tls_ca_file[0] = '\0';
	set_path(s->settings->tls_ca_path, s->scratch->folder);
	renew(s);
	assert_dial(s, TRUST_WSS, R_CERT_UNTRUSTED);
	(void)snprintf(name, sizeof(name), "%08lx.0",
	    X509_NAME_hash_ex(
		X509_get_subject_name(s->root.root), NULL, NULL, NULL));
	(void)pki_write(s->scratch, name, s->root.root);
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_dial(s, TRUST_EGRESS, R_NONE);
	set_path(s->settings->tls_ca_path, s->scratch->path);
	assert_refused(s, "is no folder");
}

static void
test_the_roots_of_the_system(void **state)
{
	struct site *s = *state;

	(void)setenv("SSL_CERT_FILE", s->settings->tls_ca_file, 1);
	(void)setenv("SSL_CERT_DIR", "/nonexistent", 1);
	s->settings->tls_ca_file[0] = '\0';
	s->settings->tls_system_roots = true;
	renew(s);
	(void)unsetenv("SSL_CERT_FILE");
	(void)unsetenv("SSL_CERT_DIR");
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_dial(s, TRUST_MQTTS, R_NONE);
}

static void
test_mqtts_may_have_roots_of_its_own(void **state)
{
	struct site *s = *state;
	struct pki other;

	pki_open(&other, "Another root");
	set_path(s->settings->tls_mqtts_ca_file,
	    pki_write(s->scratch, "other.pem", other.root));
	renew(s);
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_dial(s, TRUST_EGRESS, R_NONE);
	assert_dial(s, TRUST_MQTTS, R_CERT_UNTRUSTED);
	assert_text(s, "issuer CN=Throw-away root");
	/* the other way round, and not the system's beside it */
	set_path(s->settings->tls_mqtts_ca_file, s->settings->tls_ca_file);
	set_path(s->settings->tls_ca_file, s->scratch->path);
	s->settings->tls_system_roots = true;
	renew(s);
	assert_dial(s, TRUST_WSS, R_CERT_UNTRUSTED);
	assert_dial(s, TRUST_EGRESS, R_CERT_UNTRUSTED);
	assert_dial(s, TRUST_MQTTS, R_NONE);
	s->settings->tls_mqtts_ca_file[0] = '\0';
	set_path(s->settings->tls_mqtts_ca_path, "/nonexistent");
	assert_refused(s, "[tls_mqtts] ca_path /nonexistent is no folder");
	pki_close(&other);
}

static void
on_file(void *arg, const char *path)
{
	char *text = arg;

	(void)strcat(strcat(text, path), " ");
}

static void
test_names_its_files(void **state)
{
	struct site *s = *state;
	struct settings *t = s->settings;
	char text[4096] = "", want[1024];

	trust_files(t, on_file, text);
	(void)snprintf(want, sizeof(want), "%s %s %s ", t->tls_ca_file,
	    t->tls_ca_file, t->tls_ca_file);
	assert_string_equal(text, want);

	set_path(t->tls_ca_file, "a");
	set_path(t->tls_ca_path, "b");
	set_path(t->tls_mqtts_ca_path, "c");
	set_path(t->tls_pin_file, "d");
	set_path(t->tls_mqtts_pin_file, "e");
	set_path(t->tls_client_cert_file, "f");
	set_path(t->tls_client_key_file, "g");
	text[0] = '\0';
	trust_files(t, on_file, text);
	assert_string_equal(text, "a b d c e a b f g ");

	t->tls_ca_file[0] = t->tls_ca_path[0] = '\0';
	t->tls_system_roots = true;
	text[0] = '\0';
	trust_files(t, on_file, text);
	(void)snprintf(want, sizeof(want), "%s %s d c e %s %s f g ",
	    X509_get_default_cert_file(), X509_get_default_cert_dir(),
	    X509_get_default_cert_file(), X509_get_default_cert_dir());
	assert_string_equal(text, want);

	(void)setenv("SSL_CERT_FILE", "x", 1);
	(void)setenv("SSL_CERT_DIR", "y::z", 1);
	t->tls_mqtts_ca_path[0] = '\0';
	t->tls_mqtts_pin_file[0] = '\0';
	text[0] = '\0';
	trust_files(t, on_file, text);
	assert_string_equal(text, "x y z d x y z d x y z f g ");

	t->tls_verify = false; /* nobody is trusted, but pins count */
	text[0] = '\0';
	trust_files(t, on_file, text);
	assert_string_equal(text, "d d f g ");
	(void)unsetenv("SSL_CERT_FILE");
	(void)unsetenv("SSL_CERT_DIR");
}

/* ---- pins ---- */

static void
set_pins(struct site *s, char *setting, const char *text)
{
	set_path(setting,
	    scratch_write(s->scratch,
		setting == s->settings->tls_pin_file ? "pins" : "mqtts-pins",
		span_of_string(text)));
}

static const char *
pin_of(const X509 *cert)
{
	static char pin[PIN_TEXT_MAX];

	return pin_text(pin, cert);
}

/* Anyone of the chain will do, with or without the prefix. */
static void
test_a_pin_of_the_chain(void **state)
{
	struct site *s = *state;
	const X509 *const certs[] = {s->leaf, s->middle.root, s->root.root};

	for (size_t i = 0; i < ARRAY_LENGTH(certs); i++) {
		const char *bare = pin_of(certs[i]) + strlen("sha256/");
		char text[512];

		(void)snprintf(text, sizeof(text), "%s\n", bare);
		set_pins(s, s->settings->tls_pin_file, text);
		renew(s);
		assert_dial(s, TRUST_WSS, R_NONE);
		assert_false(s->resumed);
		assert_dial(s, TRUST_WSS, R_NONE);
		assert_true(s->resumed);
		/* no line end; an overlap of the next one, and the last one */
		(void)snprintf(text, sizeof(text),
		    "; next year's\nsha256/%.40sAAA=\n\r\n  # now\r\n"
		    "\t sha256//%s \t\r\n"
		    "#%0300d\nsha256/%s",
		    "0123456789abcdefghijklmnopqrstuvwxyzABCD", bare, 0, bare);
		set_pins(s, s->settings->tls_pin_file, text);
		renew(s);
		assert_dial(s, TRUST_WSS, R_NONE);
		assert_dial(s, TRUST_MQTTS, R_NONE);
	}
}

#define OTHER_PIN "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

/* The log shows what can be put into the file. */
static void
test_no_pin_of_the_chain(void **state)
{
	struct site *s = *state;
	char leaf[PIN_TEXT_MAX], text[512];
	SSL_CTX *old;

	(void)pin_text(leaf, s->leaf);
	set_pins(s, s->settings->tls_pin_file, OTHER_PIN);
	renew(s);
	assert_dial(s, TRUST_WSS, R_CERT_NOT_PINNED);
	assert_text(s, leaf);
	assert_text(s, pin_of(s->middle.root));
	assert_text(s, "CN=cloud");
	assert_text(s, "CN=Between");
	assert_dial(s, TRUST_MQTTS, R_CERT_NOT_PINNED);
	assert_dial(s, TRUST_EGRESS, R_NONE);

	/* TLS 1.2 gives its ticket before anybody could look at the chain */
	old = s->server;
	(void)SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
	assert_dial(s, TRUST_WSS, R_CERT_NOT_PINNED);
	assert_dial(s, TRUST_WSS, R_CERT_NOT_PINNED);
	assert_false(s->resumed);

	(void)snprintf(text, sizeof(text), OTHER_PIN "%s\n", leaf);
	set_pins(s, s->settings->tls_mqtts_pin_file, text);
	renew(s);
	assert_dial(s, TRUST_WSS, R_CERT_NOT_PINNED);
	assert_dial(s, TRUST_MQTTS, R_NONE);
}

static void
test_pins_without_verification(void **state)
{
	struct site *s = *state;
	struct pki liar;
	char text[512];

	s->settings->tls_verify = false;
	(void)snprintf(text, sizeof(text), "%s\n", pin_of(s->middle.root));
	set_pins(s, s->settings->tls_pin_file, text);
	renew(s);
	assert_dial(s, TRUST_WSS, R_NONE);
	/* even so: names and dates do not count */
	show(s, "DNS:other.example", -PKI_DAY_S, -60);
	s->tickets = (tickets_free(&s->tickets), tickets_new());
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_false(s->resumed);

	/* whoever shows the pinned authority behind a leaf of his own */
	pki_open(&liar, "Between");
	X509_free(s->leaf);
	SSL_CTX_free(s->server);
	s->leaf = pki_issue(&liar, s->key, NAMES, -60, FOREVER_S);
	s->server = server_of(&s->middle, s->leaf, s->key);
	s->tickets = (tickets_free(&s->tickets), tickets_new());
	assert_dial(s, TRUST_WSS, R_CERT_NOT_PINNED);

	/* or a leaf of it that has signed another */
	pki_close(&liar);
	liar.key = EVP_PKEY_dup(s->key);
	liar.root = pki_issue(&s->middle, liar.key, NAMES, -60, FOREVER_S);
	X509_free(s->leaf);
	SSL_CTX_free(s->server);
	EVP_PKEY_free(s->key);
	s->key = EVP_EC_gen("P-256");
	s->leaf = pki_issue(&liar, s->key, NAMES, -60, FOREVER_S);
	s->server = server_of(&liar, s->leaf, s->key);
	assert_int_equal(SSL_CTX_add1_chain_cert(s->server, s->middle.root), 1);
	assert_dial(s, TRUST_WSS, R_CERT_NOT_PINNED);
	pki_close(&liar);
}

static void
test_pin_files_that_are_refused(void **state)
{
	static const struct {
		const char *text;
		const char *words;
	} rows[] = {
	    {"", "pins has no pin"},
	    {"; nothing\n\n", "pins has no pin"},
	    {OTHER_PIN "sha256/abc\n", "line 2: a pin is"},
	    {"\nsha1/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "line 2"},
	    {"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", "line 1"},
	    {"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n", "line 1"},
	    /* bits behind the last byte; a hole; another alphabet */
	    {"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=\n", "line 1"},
	    {"sha256/AAAA=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "line 1"},
	    {"sha256/AAAA-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "line 1"},
	    {"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= x\n",
		"line 1"},
	};
	struct site *s = *state;
	char many[(PINS_MAX + 1) * sizeof(OTHER_PIN)] = "";
	char line[400];

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		set_pins(s, s->settings->tls_pin_file, rows[i].text);
		assert_refused(s, rows[i].words);
	}
	(void)snprintf(line, sizeof(line), "sha256/%0300d\n", 0);
	set_pins(s, s->settings->tls_pin_file, line);
	assert_refused(s, "line 1: a pin is");
	for (int i = 0; i < PINS_MAX; i++)
		(void)strcat(many, OTHER_PIN);
	set_pins(s, s->settings->tls_pin_file, many);
	renew(s);
	set_pins(s, s->settings->tls_pin_file, strcat(many, OTHER_PIN));
	assert_refused(s, "line 65: more than 64");
	set_path(s->settings->tls_pin_file, "/nonexistent");
	assert_refused(s, "pin_file /nonexistent cannot be read: No such");
	set_path(s->settings->tls_pin_file, s->scratch->folder);
	assert_refused(s, "cannot be read: Is a directory");
}

/* A pin as others make it: openssl x509 -pubkey | openssl pkey -pubin
   -outform der | openssl dgst -sha256 -binary | base64. */
static void
test_a_pin_as_others_make_it(void **state)
{
	struct site *s = *state;
	char command[512], want[64] = "";
	FILE *f;

	(void)snprintf(command, sizeof(command),
	    "openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform"
	    " der | openssl dgst -sha256 -binary | openssl base64",
	    s->settings->tls_ca_file);
	f = popen(command, "r");
	assert_non_null(f);
	(void)!fgets(want, sizeof(want), f);
	if (pclose(f) != 0 || want[0] == '\0')
		skip(); /* there is no openssl command */
	want[strcspn(want, "\n")] = '\0';
	assert_string_equal(pin_of(s->root.root) + strlen("sha256/"), want);
}

/* ---- client certificate ---- */

static void
demand_certificate(struct site *s)
{
	X509_STORE *roots = SSL_CTX_get_cert_store(s->server);

	assert_int_equal(X509_STORE_add_cert(roots, s->root.root), 1);
	SSL_CTX_set_verify(
	    s->server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	(void)SSL_CTX_set_session_id_context(
	    s->server, (const uint8_t *)"x", 1);
}

static void
test_client_certificate(void **state)
{
	struct site *s = *state;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert =
	    pki_issue(&s->middle, key, "DNS:gateway.example", -60, FOREVER_S);
	BIO *chain = BIO_new(BIO_s_mem());

	(void)SSL_CTX_set_max_proto_version(s->server, TLS1_2_VERSION);
	demand_certificate(s);
	assert_dial(s, TRUST_WSS, R_TLS_FAILED);

	assert_int_equal(PEM_write_bio_X509(chain, cert), 1);
	assert_int_equal(PEM_write_bio_X509(chain, s->middle.root), 1);
	set_path(s->settings->tls_client_cert_file,
	    pki_save(s->scratch, "client.pem", chain));
	set_path(s->settings->tls_client_key_file,
	    pki_write_key(s->scratch, "client.key", key, NULL));
	renew(s);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION;
	     version++) {
		(void)SSL_CTX_set_max_proto_version(s->server, version);
		assert_dial(s, TRUST_WSS, R_NONE);
		assert_int_equal(X509_cmp(s->shown, cert), 0);
		assert_dial(s, TRUST_MQTTS, R_NONE);
		assert_int_equal(X509_cmp(s->shown, cert), 0);
	}
	/* an egress proxy is not the cloud */
	SSL_CTX_set_verify(s->server, SSL_VERIFY_PEER, NULL);
	assert_dial(s, TRUST_EGRESS, R_NONE);
	assert_null(s->shown);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void
test_client_certificates_that_are_refused(void **state)
{
	struct site *s = *state;
	EVP_PKEY *rsa = EVP_RSA_gen(2048);

	set_path(s->settings->tls_client_cert_file,
	    pki_write(s->scratch, "client.pem", s->leaf));
	set_path(s->settings->tls_client_key_file,
	    pki_write_key(s->scratch, "client.key", s->key, NULL));
	renew(s);
	(void)pki_write_key(s->scratch, "client.key", s->middle.key, NULL);
	assert_refused(s, "/client.key: key values mismatch");
	(void)pki_write_key(s->scratch, "client.key", rsa, NULL);
	assert_refused(s, "/client.key is not the key of client_cert_file ");
	/* nobody is asked for a password */
	(void)pki_write_key(s->scratch, "client.key", s->key, "password");
	assert_refused(s, "/client.key wants a password");
	(void)scratch_write(s->scratch, "client.key", SPAN_OF("no key\n"));
	assert_refused(s, "[tls] client_key_file ");
	set_path(s->settings->tls_client_key_file, "/nonexistent.key");
	assert_refused(s, "client_key_file /nonexistent.key: No such file");
	set_path(s->settings->tls_client_cert_file, "/nonexistent.pem");
	assert_refused(s, "client_cert_file /nonexistent.pem: No such file");
	EVP_PKEY_free(rsa);
}

/* ---- key log ---- */

static size_t
read_keys(const struct site *s, char *text, size_t size)
{
	FILE *f = fopen(s->settings->tls_keylog_file, "re");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	(void)fclose(f);
	return n;
}

static void
test_keylog(void **state)
{
	struct site *s = *state;
	char path[SETTING_TEXT_MAX], text[8192], label[64];
	char random[80], secret[120];
	struct stat st;
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/keys", s->scratch->folder);
	set_path(s->settings->tls_keylog_file, path);
	renew(s);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	(void)SSL_CTX_set_max_proto_version(s->server, TLS1_2_VERSION);
	assert_dial(s, TRUST_WSS, R_NONE);
	n = read_keys(s, text, sizeof(text));
	assert_int_equal(
	    sscanf(text, "%63s %79s %119s\n", label, random, secret), 3);
	assert_string_equal(label, "CLIENT_RANDOM");
	assert_int_equal(strlen(random), 64);
	assert_int_equal(strlen(secret), 96);
	assert_int_equal(strchr(text, '\n') - text + 1, n);
	/* appended to, by another trust as well */
	renew(s);
	(void)SSL_CTX_set_max_proto_version(s->server, TLS1_3_VERSION);
	assert_dial(s, TRUST_EGRESS, R_NONE);
	assert_true(read_keys(s, text, sizeof(text)) > n);
	assert_non_null(strstr(text, "\nCLIENT_TRAFFIC_SECRET_0 "));
	assert_non_null(strstr(text, "\nSERVER_HANDSHAKE_TRAFFIC_SECRET "));

	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(s->settings->tls_ca_file, path), 0);
	assert_refused(s, "[tls] keylog_file ");
	assert_refused(s, "Too many levels of symbolic links");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(s, "cannot be opened");
}

/* ---- tickets ---- */

static void
test_tickets_are_of_one_use(void **state)
{
	struct site *s = *state;

	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION;
	     version++) {
		(void)SSL_CTX_set_max_proto_version(s->server, version);
		renew(s);
		for (int use = TRUST_WSS; use <= TRUST_EGRESS; use++) {
			assert_dial(s, (enum trust_use)use, R_NONE);
			assert_false(s->resumed);
			/* the next device of the same host */
			assert_dial(s, (enum trust_use)use, R_NONE);
			assert_true(s->resumed);
		}
		for (int use = TRUST_WSS; use <= TRUST_EGRESS; use++) {
			assert_dial(s, (enum trust_use)use, R_NONE);
			assert_true(s->resumed);
		}
		assert_int_equal(dial(s, TRUST_WSS, "127.0.0.1"), R_NONE);
		assert_false(s->resumed);
	}
}

/* A connection of before a reload gets its ticket after it. */
static void
test_an_old_trust_pushes_no_ticket_out(void **state)
{
	struct site *s = *state;
	struct trust *old = trust_ref(s->trust);

	renew(s);
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_int_equal(talk(old, s->tickets, s->server, TRUST_WSS,
			     "cloud.example", &s->why, &s->resumed, &s->shown),
	    R_NONE);
	assert_false(s->resumed);
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_true(s->resumed);
	trust_unref(old);
}

static void
test_a_refused_ticket_costs_a_full_handshake(void **state)
{
	struct site *s = *state;

	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION;
	     version++) {
		/* a server that cannot read the tickets of the one before */
		show(s, NAMES, -60, FOREVER_S);
		(void)SSL_CTX_set_max_proto_version(s->server, version);
		assert_dial(s, TRUST_WSS, R_NONE);
		assert_false(s->resumed);
		assert_dial(s, TRUST_WSS, R_NONE);
		assert_true(s->resumed);
	}
}

/* ---- names and dates ---- */

static void
test_wrong_names(void **state)
{
	struct site *s = *state;
	char names[8192] = "DNS:a.example,IP:10.1.2.3,IP:2001:db8::1,"
			   "email:a@cloud.example,DNS:*.b.example";

	show(s, names, -60, FOREVER_S);
	assert_dial(s, TRUST_WSS, R_CERT_WRONG_NAME);
	assert_text(s, "expected cloud.example, the certificate is for"
		       " a.example, 10.1.2.3, 2001:db8::1, *.b.example; ");
	assert_text(s, "; depth 0, valid 20");
	assert_text(s, "Z, subject CN=cloud, issuer CN=Between");
	assert_int_equal(dial(s, TRUST_WSS, "10.9.9.9"), R_CERT_WRONG_NAME);
	assert_text(s, "expected 10.9.9.9, ");
	assert_int_equal(dial(s, TRUST_WSS, "cloud.b.example"), R_NONE);

	show(s, "email:a@cloud.example", -60, FOREVER_S);
	assert_int_equal(dial(s, TRUST_WSS, "10.9.9.9"), R_CERT_WRONG_NAME);
	assert_text(s, "the certificate is for no host; ");

	for (int i = 0; i < 200; i++)
		(void)snprintf(
		    names + strlen(names), 32, ",DNS:n%d.example", i);
	show(s, names, -60, FOREVER_S);
	assert_dial(s, TRUST_WSS, R_CERT_WRONG_NAME);
	assert_text(s, " n1.example");
	assert_null(strstr(s->why.text, "n100.example"));
	assert_text(s, " more; ");
	assert_text(s, "issuer CN=Between");
}

/* The longest of everything still leaves the words for the person. */
static void
test_a_long_subject(void **state)
{
	struct site *s = *state;
	X509_NAME *subject = X509_get_subject_name(s->middle.root);

	for (int i = 0; i < 20; i++)
		assert_int_equal(
		    X509_NAME_add_entry_by_txt(subject, "OU", MBSTRING_UTF8,
			(const uint8_t *)"\"\xe5\x93\x8d\n", -1, -1, 0),
		    1);
	assert_true(X509_sign(s->middle.root, s->root.key, EVP_sha256()) > 0);
	show(s, NAMES, -120, -60);
	assert_dial(s, TRUST_WSS, R_CERT_EXPIRED);
	assert_text(s, "depth 0, valid 20");
	assert_text(s, "the clock says 20");
	for (const char *c = s->why.text; *c != '\0'; c++)
		assert_true(*c >= ' ' && *c <= '~' && *c != '"');
}

static const char *
text_of(int64_t s)
{
	static char text[CLOCK_TEXT_MAX];

	return clock_text(text, s);
}

static void
test_dates(void **state)
{
	struct site *s = *state;
	int64_t now_s;

	show(s, NAMES, -2 * PKI_DAY_S, -PKI_DAY_S);
	assert_dial(s, TRUST_WSS, R_CERT_EXPIRED);
	assert_text(s, "certificate has expired; depth 0, valid ");
	show(s, NAMES, 3600, 7200);
	now_s = (int64_t)(clock_wall_ms() / 1000);
	assert_dial(s, TRUST_WSS, R_CERT_NOT_YET_VALID);
	assert_text(s, "certificate is not yet valid; depth 0, valid ");

	/* it goes by the program's clock */
	wall_s = now_s + 5400;
	assert_dial(s, TRUST_WSS, R_NONE);
	wall_s = now_s + 9000;
	assert_dial(s, TRUST_MQTTS, R_CERT_EXPIRED);
	assert_text(s, text_of(wall_s));
}

/* Each resumption brings a fresh ticket: it would go on for ever. */
static void
test_no_ticket_outlives_its_certificate(void **state)
{
	struct site *s = *state;

	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION;
	     version++) {
		wall_s = -1;
		show(s, NAMES, -60, 3600);
		(void)SSL_CTX_set_max_proto_version(s->server, version);
		renew(s);
		assert_dial(s, TRUST_WSS, R_NONE);
		assert_dial(s, TRUST_WSS, R_NONE);
		assert_true(s->resumed);
		wall_s = (int64_t)(clock_wall_ms() / 1000) + 7200;
		assert_dial(s, TRUST_WSS, R_CERT_EXPIRED);
	}
}

/* However often a session is resumed, its chain is looked at once a day. */
static void
test_a_chain_is_looked_at_each_day(void **state)
{
	struct site *s = *state;
	int64_t now_s = (int64_t)(clock_wall_ms() / 1000);

	show(s, NAMES, -60, 7 * PKI_DAY_S);
	for (int half_days = 0; half_days < 6; half_days++) {
		wall_s = now_s + half_days * PKI_DAY_S / 2;
		assert_dial(s, TRUST_WSS, R_NONE);
		assert_int_equal(s->resumed, half_days % 2 == 1);
	}
}

static void
test_a_wrong_clock(void **state)
{
	struct site *s = *state;
	struct pki root;

	/* a machine without a battery */
	wall_s = PKI_DAY_S;
	assert_dial(s, TRUST_WSS, R_CLOCK_WRONG);
	assert_text(s, "clock says 1970-01-02T00:00:00Z");
	assert_text(s, text_of(RELEASE_EPOCH_S));
	wall_s = RELEASE_EPOCH_S - 1;
	show(s, NAMES, FOREVER_S, 2L * FOREVER_S);
	assert_dial(s, TRUST_WSS, R_CLOCK_WRONG);
	wall_s = -1;
	assert_dial(s, TRUST_WSS, R_CERT_NOT_YET_VALID);

	/* nothing of the chain is valid yet */
	pki_close(&s->middle);
	pki_open_under(&s->middle, &s->root, "Between", 3600, FOREVER_S);
	show(s, NAMES, 3600, FOREVER_S);
	assert_dial(s, TRUST_WSS, R_CERT_NOT_YET_VALID);
	pki_open_under(&root, NULL, "Root", 3600, FOREVER_S);
	pki_close(&s->middle);
	pki_open_under(&s->middle, &root, "Between", 3600, FOREVER_S);
	show(s, NAMES, 3600, FOREVER_S);
	pki_trust(&root, s->scratch, s->settings);
	renew(s);
	assert_dial(s, TRUST_WSS, R_CLOCK_WRONG);
	assert_text(s, "before any certificate of the server is valid; ");
	pki_close(&root);

	/* who is not trusted is not trusted, whatever the clock says */
	wall_s = PKI_DAY_S;
	set_path(s->settings->tls_ca_file,
	    pki_write(s->scratch, "root.pem", s->root.root));
	renew(s);
	assert_dial(s, TRUST_WSS, R_CERT_UNTRUSTED);
}

static void
test_a_wrong_clock_with_verify_no(void **state)
{
	struct site *s = *state;

	s->settings->tls_verify = false;
	renew(s);
	wall_s = 0;
	show(s, "DNS:other.example", -2 * PKI_DAY_S, -PKI_DAY_S);
	assert_dial(s, TRUST_WSS, R_NONE);
}

/* ---- a root that expires soon ---- */

static void
use_root_of(struct site *s, int days)
{
	pki_close(&s->middle);
	pki_close(&s->root);
	pki_open_under(&s->root, NULL, "Old root", -PKI_DAY_S,
	    (long)days * PKI_DAY_S + 3600);
	pki_open_under(
	    &s->middle, &s->root, "Between", -PKI_DAY_S, 100L * PKI_DAY_S);
	show(s, NAMES, -PKI_DAY_S, 100L * PKI_DAY_S);
	pki_trust(&s->root, s->scratch, s->settings);
	renew(s);
	s->tickets = (tickets_free(&s->tickets), tickets_new());
}

static void
test_a_root_that_expires(void **state)
{
	struct site *s = *state;

	use_root_of(s, 401);
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_int_equal(count_logged(s, "event=root_expires"), 0);
	use_root_of(s, 399);
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_int_equal(dial(s, TRUST_WSS, "127.0.0.1"), R_NONE);
	assert_false(s->resumed);
	assert_int_equal(count_logged(s, "event=root_expires"), 1);
	assert_non_null(strstr(s->text, " level=warning event=root_expires"
					" subject=\"CN=Old root\" not_after="));
	assert_non_null(
	    strstr(s->text, " days=399 host=\"cloud.example\" hint="));
	/* of each use; once a day */
	assert_dial(s, TRUST_MQTTS, R_NONE);
	assert_dial(s, TRUST_EGRESS, R_NONE);
	assert_int_equal(count_logged(s, "event=root_expires"), 3);
	mono_more_ms = 1000ULL * PKI_DAY_S - 60000;
	s->tickets = (tickets_free(&s->tickets), tickets_new());
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_int_equal(count_logged(s, "event=root_expires"), 3);
	mono_more_ms += 60000;
	s->tickets = (tickets_free(&s->tickets), tickets_new());
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_int_equal(count_logged(s, "event=root_expires"), 4);
	mono_more_ms *= 2;
	assert_dial(s, TRUST_WSS, R_NONE);
	assert_true(s->resumed);
	assert_int_equal(count_logged(s, "event=root_expires"), 4);
}

struct worker {
	struct site *site;
	pthread_t thread;
};

static void *
work(void *arg)
{
	struct site *s = ((struct worker *)arg)->site;
	struct tickets *tickets = tickets_new();
	struct fault why;
	X509 *shown = NULL;
	bool resumed;

	for (int i = 0; i < 10; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "n%d.a.example", i);
		if (talk(s->trust, tickets, s->server, TRUST_WSS, name, &why,
			&resumed, &shown) != R_NONE)
			return s;
	}
	tickets_free(&tickets);
	X509_free(shown);
	return NULL;
}

/* One trust, several workers: one warning, and whole lines of keys. */
static void
test_threads_share_a_trust(void **state)
{
	struct site *s = *state;
	struct worker workers[4];
	char text[128 * 1024], label[64], random[80], secret[120];
	int lines = 0;
	void *failed;

	(void)snprintf(s->settings->tls_keylog_file, SETTING_TEXT_MAX,
	    "%s/keys", s->scratch->folder);
	use_root_of(s, 10);
	show(s, "DNS:*.a.example", -60, FOREVER_S);
	for (size_t i = 0; i < ARRAY_LENGTH(workers); i++) {
		workers[i].site = s;
		assert_int_equal(
		    pthread_create(&workers[i].thread, NULL, work, &workers[i]),
		    0);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(workers); i++) {
		assert_int_equal(pthread_join(workers[i].thread, &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(count_logged(s, "event=root_expires"), 1);
	(void)read_keys(s, text, sizeof(text));
	for (char *at = text; *at != '\0'; at = strchr(at, '\n') + 1, lines++) {
		assert_non_null(strchr(at, '\n'));
		assert_int_equal(
		    sscanf(at, "%63s %79s %119s\n", label, random, secret), 3);
		assert_int_equal(strlen(random), 64);
		assert_true(strlen(secret) == 64 || strlen(secret) == 96);
	}
	assert_int_equal(lines, 4 * 10 * 5); /* five secrets in TLS 1.3 */
}

/* A connection keeps what it was dialled under. */
static void
test_a_connection_outlives_its_trust(void **state)
{
	struct site *s = *state;
	SSL *ssl = trust_client(
	    s->trust, s->tickets, TRUST_WSS, "cloud.example", PORT);

	assert_non_null(ssl);
	renew(s);
	s->tickets = (tickets_free(&s->tickets), tickets_new());
	SSL_free(ssl);
	assert_dial(s, TRUST_WSS, R_NONE);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_every_use_has_the_roots_of_tls),
	    TEST(test_a_folder_of_roots),
	    TEST(test_the_roots_of_the_system),
	    TEST(test_mqtts_may_have_roots_of_its_own),
	    TEST(test_names_its_files),
	    TEST(test_a_pin_of_the_chain),
	    TEST(test_no_pin_of_the_chain),
	    TEST(test_pins_without_verification),
	    TEST(test_pin_files_that_are_refused),
	    TEST(test_a_pin_as_others_make_it),
	    TEST(test_client_certificate),
	    TEST(test_client_certificates_that_are_refused),
	    TEST(test_keylog),
	    TEST(test_tickets_are_of_one_use),
	    TEST(test_an_old_trust_pushes_no_ticket_out),
	    TEST(test_a_refused_ticket_costs_a_full_handshake),
	    TEST(test_wrong_names),
	    TEST(test_a_long_subject),
	    TEST(test_dates),
	    TEST(test_no_ticket_outlives_its_certificate),
	    TEST(test_a_chain_is_looked_at_each_day),
	    TEST(test_a_wrong_clock),
	    TEST(test_a_wrong_clock_with_verify_no),
	    TEST(test_a_root_that_expires),
	    TEST(test_threads_share_a_trust),
	    TEST(test_a_connection_outlives_its_trust),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
