#include "link/tickets.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	TICKET_PLACES = 64,   /* hosts remembered by one worker */
	CHECKED_S = 24 * 3600 /* a chain is looked at so often at least */
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
	uint64_t checked_s;   /* when the chain behind it was */
	unsigned use;
	uint16_t port;
	char host[256];
};
TAILQ_HEAD(place_list, place);

/* Most recently dialled first; the last one is forgotten. */
struct tickets {
	struct place_list places;
	unsigned count;
};

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

static bool
is_place_of(
    const struct place *p, unsigned use, const char *host, uint16_t port)
{
	return p->use == use && p->port == port && strcmp(p->host, host) == 0;
}

/* The place of <host>, moved to the front. NULL without memory. */
static struct place *
place_of(struct tickets *t, unsigned use, const char *host, uint16_t port)
{
	struct place *p;

	TAILQ_FOREACH (p, &t->places, next)
		if (is_place_of(p, use, host, port))
			break;
	if (p != NULL) {
		TAILQ_REMOVE(&t->places, p, next);
	} else {
		p = calloc(1, sizeof(*p));
		if (p == NULL)
			return NULL;
		p->refs = 1;
		p->listed = true;
		p->use = use;
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

static unsigned
generation_of(const SSL *ssl)
{
	return (unsigned)(uintptr_t)SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* Keeps a copy of its own: a session that several connections share is marked
   as not resumable as soon as one of them gets its next ticket. */
static int
on_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct place *p = SSL_get_ex_data(ssl, place_index);
	unsigned generation = generation_of(ssl);
	SSL_SESSION *copy;

	if (p == NULL || !p->listed || p->generation > generation)
		return 0;
	copy = SSL_SESSION_dup(session);
	if (copy == NULL)
		return 0;
	SSL_SESSION_free(p->session);
	p->session = copy;
	p->generation = generation;
	if (SSL_session_reused(ssl) == 0)
		p->checked_s = clock_wall_ms() / 1000;
	return 0; /* <session> stays OpenSSL's */
}

void
tickets_collect(SSL_CTX *ctx, unsigned generation)
{
	(void)pthread_once(&place_index_once, make_place_index);
	SSL_CTX_set_app_data(ctx, (void *)(uintptr_t)generation);
	(void)SSL_CTX_set_session_cache_mode(
	    ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_ticket);
}

/* Nobody looks at it in a resumed handshake, and each brings the next ticket.
 */
static bool
is_certificate_over(SSL_SESSION *session)
{
	X509 *cert = SSL_SESSION_get0_peer(session);
	time_t now = (time_t)(clock_wall_ms() / 1000);

	return cert == NULL ||
	       X509_cmp_time(X509_get0_notAfter(cert), &now) <= 0;
}

static void
offer(SSL *ssl, const struct place *p)
{
	uint64_t now_s = clock_wall_ms() / 1000;
	SSL_SESSION *copy;

	if (p->session == NULL || p->generation != generation_of(ssl) ||
	    is_certificate_over(p->session) || now_s < p->checked_s ||
	    now_s - p->checked_s >= CHECKED_S)
		return;
	copy = SSL_SESSION_dup(p->session);
	if (copy == NULL)
		return; /* a full handshake will do */
	(void)SSL_set_session(ssl, copy);
	SSL_SESSION_free(copy);
}

bool
tickets_attach(
    struct tickets *t, SSL *ssl, unsigned use, const char *host, uint16_t port)
{
	struct place *p = place_of(t, use, host, port);

	if (p == NULL || SSL_set_ex_data(ssl, place_index, p) != 1)
		return false;
	p->refs++;
	offer(ssl, p);
	return true;
}

void
tickets_forget(SSL *ssl)
{
	struct place *p = SSL_get_ex_data(ssl, place_index);

	if (p == NULL)
		return;
	SSL_SESSION_free(p->session);
	p->session = NULL;
	(void)SSL_set_ex_data(ssl, place_index, NULL);
	place_unref(p);
}
