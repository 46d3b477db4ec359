#include "server/admin_http.h"

#include "base/secret.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CLIENTS_MAX = 16, /* served at once */
	PLACES_MAX = 2,
	HEAD_MAX = 4096, /* of a request */
	CLIENT_S = 5,    /* for request and answer together */
	LATE_S = 1,      /* to take the answer that it came too late */
	STREAM_S = 60,   /* to take something of an answer without an end */
	PAUSE_S = 1      /* without descriptors */
};

#define TEXT_TYPE "text/plain; charset=utf-8"

struct admin_client {
	LIST_ENTRY(admin_client) next;
	struct admin_http *http;
	struct bufferevent *io;
	struct event deadline;
	struct admin_question question;
	bool is_local;
	bool is_head; /* what it asks for */
	void (*then)(void *arg);
	void *then_arg;
	/* of an answer without an end, or NULL: */
	void (*on_room)(void *arg);
	void (*on_gone)(void *arg);
	void *stream_arg;
};

struct place {
	struct admin_http *http;
	struct evconnlistener *listener;
	bool is_local;
};

struct admin_http {
	struct admin_http_config config;
	struct place places[PLACES_MAX];
	unsigned place_count;
	struct event reopen; /* ends a pause in accepting */
	unsigned count;
	LIST_HEAD(, admin_client) clients;
};

/* ---- accepting or not ---- */

static void
accept_more(struct admin_http *h)
{
	for (unsigned i = 0; i < h->place_count; i++)
		(void)evconnlistener_enable(h->places[i].listener);
}

static void
accept_none(struct admin_http *h)
{
	for (unsigned i = 0; i < h->place_count; i++)
		(void)evconnlistener_disable(h->places[i].listener);
}

/* There may be a token in it. */
static void
wipe_input(struct admin_client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->io);
	size_t n = evbuffer_get_length(in);
	unsigned char *bytes = n > 0 ? evbuffer_pullup(in, -1) : NULL;

	if (bytes != NULL)
		secret_wipe_bytes(bytes, n);
	(void)evbuffer_drain(in, n);
}

static void
client_free(struct admin_client *c)
{
	struct admin_http *h = c->http;

	wipe_input(c);
	LIST_REMOVE(c, next);
	(void)event_del(&c->deadline);
	bufferevent_free(c->io);
	h->count--;
	accept_more(h);
	if (c->on_gone != NULL)
		c->on_gone(c->stream_arg);
	if (c->then != NULL)
		c->then(c->then_arg);
	free(c);
}

/* ---- answers ---- */

static void
on_written(struct bufferevent *io, void *arg)
{
	(void)io;
	client_free(arg);
}

static void
on_event(struct bufferevent *io, short what, void *arg)
{
	(void)io;
	(void)what;
	client_free(arg); /* it has gone */
}

static void
free_body(const void *body, size_t n, void *arg)
{
	(void)body;
	(void)n;
	free(arg);
}

/* HEAD gets its head alone (RFC 9110 9.3.2). */
void
admin_answer(struct admin_client *c, const char *status, const char *type,
    const char *more, char *body, size_t n)
{
	struct evbuffer *out = bufferevent_get_output(c->io);
	bool ok;

	(void)bufferevent_disable(c->io, EV_READ);
	bufferevent_setcb(c->io, NULL, on_written, on_event, c);
	ok = evbuffer_add_printf(out,
		 "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		 "X-Content-Type-Options: nosniff\r\n"
		 "Cache-Control: no-store\r\n"
		 "%sConnection: close\r\n\r\n",
		 status, type, n, more) >= 0;
	if (ok && !c->is_head && n > 0)
		ok = evbuffer_add_reference(out, body, n, free_body, body) == 0;
	else
		free(body);
	if (!ok)
		client_free(c);
}

static void
say(struct admin_client *c, const char *status, const char *more,
    const char *text)
{
	char *body = malloc(strlen(text) + 2);

	if (body == NULL) {
		client_free(c);
		return;
	}
	(void)stpcpy(stpcpy(body, text), "\n");
	admin_answer(c, status, TEXT_TYPE, more, body, strlen(body));
}

void
admin_say(struct admin_client *c, const char *status, const char *text)
{
	say(c, status, "", text);
}

void
admin_refuse_stranger(struct admin_client *c)
{
	say(c, "401 Unauthorized", "WWW-Authenticate: Bearer\r\n",
	    "the token of [admin] token_file is missing, or another one");
}

void
admin_refuse_method(struct admin_client *c, const char *methods)
{
	char allow[64];

	(void)snprintf(allow, sizeof(allow), "Allow: %s\r\n", methods);
	say(c, "405 Method Not Allowed", allow, "405 Method Not Allowed");
}

static void
refuse(struct admin_client *c, const char *status)
{
	admin_say(c, status, status);
}

/* ---- answers without an end ---- */

static void
on_stream_written(struct bufferevent *io, void *arg)
{
	struct admin_client *c = arg;

	(void)io;
	c->on_room(c->stream_arg);
}

/* It has nothing to say any more, but that it leaves. */
static void
on_stream_read(struct bufferevent *io, void *arg)
{
	(void)io;
	wipe_input(arg);
}

/* One that leaves without a word is noticed too. */
static void
keep_alive(struct bufferevent *io)
{
	const int on = 1;

	(void)setsockopt(
	    bufferevent_getfd(io), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

void
admin_stream_begin(struct admin_client *c, void (*on_room)(void *arg),
    void (*on_gone)(void *arg), void *arg)
{
	static const struct timeval patience = {.tv_sec = STREAM_S};
	static const char head[] = "HTTP/1.1 200 OK\r\n"
				   "Content-Type: " TEXT_TYPE "\r\n"
				   "Cache-Control: no-store\r\n"
				   "Connection: close\r\n\r\n";

	c->on_room = on_room;
	c->on_gone = on_gone;
	c->stream_arg = arg;
	(void)event_del(&c->deadline);
	keep_alive(c->io);
	bufferevent_setcb(
	    c->io, on_stream_read, on_stream_written, on_event, c);
	(void)bufferevent_set_timeouts(c->io, NULL, &patience);
	(void)bufferevent_enable(c->io, EV_READ);
	admin_stream_put(c, head, sizeof(head) - 1);
}

void
admin_stream_put(struct admin_client *c, const char *text, size_t n)
{
	/* without memory it misses some */
	(void)evbuffer_add(bufferevent_get_output(c->io), text, n);
}

void
admin_stream_end(struct admin_client *c)
{
	struct evbuffer *out = bufferevent_get_output(c->io);

	/* else only the bufferevent may take from its front */
	(void)evbuffer_unfreeze(out, 1);
	while (evbuffer_get_length(out) > 0 &&
	       evbuffer_write(out, bufferevent_getfd(c->io)) > 0)
		;
	c->on_gone = NULL;
	client_free(c);
}

/* ---- requests ---- */

/* Cuts the next word off <*at>, which ends at a blank or the line. */
static char *
take_word(char **at)
{
	char *word = *at;

	*at += strcspn(word, " \r\n");
	if (**at == ' ')
		*(*at)++ = '\0';
	return word;
}

/* Cuts off the next line; NULL behind the last one. */
static char *
take_line(char **at)
{
	char *line = *at;
	char *end = strstr(line, "\r\n");

	if (end == NULL || end == line)
		return NULL;
	*end = '\0';
	*at = end + 2;
	return line;
}

static char *
trimmed(char *value)
{
	size_t n;

	value += strspn(value, " \t");
	n = strlen(value);
	while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
		value[--n] = '\0';
	return value;
}

/* Those that matter (RFC 9112 5); false: they are wrong. */
static bool
read_headers(char *at, struct admin_request *r, bool *has_body)
{
	char *line, *value;

	while ((line = take_line(&at)) != NULL) {
		value = strchr(line, ':');
		if (value == NULL)
			return false;
		*value++ = '\0';
		value = trimmed(value);
		if (strcasecmp(line, "host") == 0) {
			if (r->host != NULL)
				return false; /* RFC 9112 3.2 */
			r->host = value;
		} else if (strcasecmp(line, "origin") == 0) {
			r->origin = value;
		} else if (strcasecmp(line, "authorization") == 0) {
			r->authorization = value;
		} else if (strcasecmp(line, "transfer-encoding") == 0 ||
			   (strcasecmp(line, "content-length") == 0 &&
			       strcmp(value, "0") != 0)) {
			*has_body = true;
		}
	}
	return true;
}

/* <head> is a request line (RFC 9112 3) and headers. */
static void
serve(struct admin_client *c, char *head)
{
	struct admin_http *h = c->http;
	char *at = head;
	char *method = take_word(&at);
	char *path = take_word(&at);
	char *query = path + strcspn(path, "?");
	struct admin_request r = {
	    .method = method, .path = path, .is_local = c->is_local};
	bool has_body = false;

	c->is_head = strcmp(method, "HEAD") == 0;
	if (strncmp(at, "HTTP/1.", 7) != 0 || at[7] < '0' || at[7] > '9' ||
	    strncmp(at + 8, "\r\n", 2) != 0 ||
	    !read_headers(at + 10, &r, &has_body)) {
		refuse(c, "400 Bad Request");
		return;
	}
	if (has_body) {
		refuse(c, "413 Content Too Large");
		return;
	}
	if (*query == '?')
		*query++ = '\0';
	r.query = query;
	(void)bufferevent_disable(c->io, EV_READ);
	h->config.serve(h->config.arg, c, &r);
}

static void
on_read(struct bufferevent *io, void *arg)
{
	struct admin_client *c = arg;
	char head[HEAD_MAX + 1];
	ev_ssize_t n =
	    evbuffer_copyout(bufferevent_get_input(io), head, HEAD_MAX);

	if (n < 0)
		n = 0;
	head[n] = '\0';
	if (strstr(head, "\r\n\r\n") != NULL) {
		wipe_input(c);
		serve(c, head);
	} else if (n == HEAD_MAX) {
		refuse(c, "431 Request Header Fields Too Large");
	}
	secret_wipe_bytes(head, sizeof(head));
}

void
admin_wait(struct admin_client *c, unsigned seconds)
{
	const struct timeval tv = {.tv_sec = (time_t)seconds};

	if (evtimer_add(&c->deadline, &tv) != 0)
		client_free(c);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct admin_client *c = arg;

	(void)fd;
	(void)what;
	if (c->question.about == NULL) {
		client_free(c);
		return;
	}
	c->question.about = NULL;
	(void)evtimer_add(
	    &c->deadline, &(const struct timeval){.tv_sec = LATE_S});
	admin_say(c, "503 Service Unavailable",
	    "a thread of the proxy has not answered in time");
}

void
admin_then(struct admin_client *c, void (*then)(void *arg), void *arg)
{
	c->then = then;
	c->then_arg = arg;
}

struct admin_question *
admin_question(struct admin_client *c)
{
	return &c->question;
}

struct admin_client *
admin_next(const struct admin_http *h, const struct admin_client *after)
{
	return after == NULL ? LIST_FIRST(&h->clients) : LIST_NEXT(after, next);
}

/* ---- accepting ---- */

static struct admin_client *
client_new(const struct place *place, evutil_socket_t fd)
{
	struct admin_http *h = place->http;
	struct admin_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->io =
	    bufferevent_socket_new(h->config.base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (c->io == NULL) {
		free(c);
		return NULL;
	}
	c->http = h;
	c->is_local = place->is_local;
	(void)evtimer_assign(&c->deadline, h->config.base, on_deadline, c);
	LIST_INSERT_HEAD(&h->clients, c, next);
	h->count++;
	return c;
}

static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *peer, int peer_n, void *arg)
{
	static const struct timeval deadline = {.tv_sec = CLIENT_S};
	struct place *place = arg;
	struct admin_http *h = place->http;
	struct admin_client *c =
	    h->count < CLIENTS_MAX ? client_new(place, fd) : NULL;

	(void)listener;
	(void)peer;
	(void)peer_n;
	if (c == NULL) {
		(void)close(fd);
		return;
	}
	bufferevent_setcb(c->io, on_read, NULL, on_event, c);
	bufferevent_setwatermark(c->io, EV_READ, 0, HEAD_MAX);
	if (h->count == CLIENTS_MAX)
		accept_none(h);
	if (evtimer_add(&c->deadline, &deadline) != 0 ||
	    bufferevent_enable(c->io, EV_READ) != 0)
		client_free(c);
}

/* Out of descriptors, as a rule: asked again at once, it would say so again. */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
	static const struct timeval pause = {.tv_sec = PAUSE_S};
	struct place *place = arg;

	(void)listener;
	accept_none(place->http);
	(void)evtimer_add(&place->http->reopen, &pause);
}

static void
on_reopen(evutil_socket_t fd, short what, void *arg)
{
	struct admin_http *h = arg;

	(void)fd;
	(void)what;
	if (h->count < CLIENTS_MAX)
		accept_more(h);
}

struct admin_http *
admin_http_new(const struct admin_http_config *config)
{
	struct admin_http *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->config = *config;
	LIST_INIT(&h->clients);
	(void)evtimer_assign(&h->reopen, config->base, on_reopen, h);
	return h;
}

bool
admin_http_listen(
    struct admin_http *h, int fd, bool is_local, struct fault *why)
{
	struct place *place = &h->places[h->place_count];

	assert(h->place_count < PLACES_MAX);
	*place = (struct place){.http = h, .is_local = is_local};
	place->listener = evconnlistener_new(
	    h->config.base, on_accept, place, LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (place->listener == NULL)
		return fault_set(
		    why, R_OUT_OF_MEMORY, "no memory for the admin endpoint");
	evconnlistener_set_error_cb(place->listener, on_accept_error);
	h->place_count++;
	return true;
}

void
admin_http_free(struct admin_http **hp)
{
	struct admin_http *h = *hp;
	struct admin_client *c;

	if (h == NULL)
		return;
	while ((c = LIST_FIRST(&h->clients)) != NULL) {
		c->then = NULL;
		client_free(c);
	}
	(void)event_del(&h->reopen);
	for (unsigned i = 0; i < h->place_count; i++)
		evconnlistener_free(h->places[i].listener);
	free(h);
	*hp = NULL;
}
