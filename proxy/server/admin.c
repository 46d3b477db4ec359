#include "server/admin.h"

#include "base/clock.h"
#include "base/text.h"
#include "server/admin_pages.h"
#include "server/local_socket.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

enum {
	CLIENTS_MAX = 16, /* served at once */
	BACKLOG = 64,     /* and as many may wait */
	HEAD_MAX = 4096,  /* of a request */
	BODY_MAX = 8 * PATH_MAX,
	CLIENT_S = 5, /* for request and answer together */
	PAUSE_S = 1   /* without descriptors */
};

struct client {
	LIST_ENTRY(client) next;
	struct admin *admin;
	struct bufferevent *io;
	struct event deadline;
	bool is_head; /* what it asks for */
};

struct admin {
	struct admin_config config;
	uint64_t started_ms;
	struct local_socket socket;
	struct evconnlistener *listener;
	struct event reopen; /* ends a pause in accepting */
	unsigned count;
	LIST_HEAD(, client) clients;
	char body[BODY_MAX]; /* of the answer being written */
};

struct page {
	const char *path;
	const char *type;
	void (*write)(struct text *out, const struct admin_facts *f);
};

static const struct page pages[] = {
    {"/status", "application/json", admin_write_status},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8",
	admin_write_metrics},
    {"/healthz", "text/plain; charset=utf-8", admin_write_health},
};

static void
client_free(struct client *c)
{
	struct admin *a = c->admin;

	LIST_REMOVE(c, next);
	(void)event_del(&c->deadline);
	bufferevent_free(c->io);
	free(c);
	a->count--;
	(void)evconnlistener_enable(a->listener);
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

/* Writes an answer, and closes behind it. HEAD gets its head alone (RFC 9110
   9.3.2). */
static void
answer(struct client *c, const char *status, const char *type, const char *body)
{
	struct evbuffer *out = bufferevent_get_output(c->io);
	size_t n = strlen(body);

	(void)bufferevent_disable(c->io, EV_READ);
	bufferevent_setcb(c->io, NULL, on_written, on_event, c);
	if (evbuffer_add_printf(out,
		"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		"%sConnection: close\r\n\r\n",
		status, type, n,
		strncmp(status, "405", 3) == 0 ? "Allow: GET, HEAD\r\n" : "") <
		0 ||
	    (!c->is_head && evbuffer_add(out, body, n) != 0))
		client_free(c);
}

static void
refuse(struct client *c, const char *status)
{
	char body[64];

	(void)snprintf(body, sizeof(body), "%s\n", status);
	answer(c, status, "text/plain; charset=utf-8", body);
}

static void
show(struct client *c, const struct page *page)
{
	struct admin *a = c->admin;
	const struct admin_facts facts = {
	    .pid = getpid(),
	    .started_ms = a->started_ms,
	    .uptime_ms = clock_mono_ms() - a->config.began_ms,
	    .workers = a->config.workers,
	    .connections = crowd_size(a->config.crowd),
	    .lan_loops = a->config.take_overs->lan_loops,
	    .cloud_loops = a->config.take_overs->cloud_loops,
	    .pings_learned = *a->config.pings_learned,
	    .map = a->config.map,
	};
	struct text text = {.at = a->body, .left = sizeof(a->body)};

	page->write(&text, &facts);
	if (text.full)
		refuse(c, "500 Internal Server Error");
	else
		answer(c, "200 OK", page->type, a->body);
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

/* <head> is a request line (RFC 9112 3) and headers, which do not matter. */
static void
serve(struct client *c, char *head)
{
	char *at = head;
	const char *method = take_word(&at);
	char *target = take_word(&at);

	c->is_head = strcmp(method, "HEAD") == 0;
	if (strncmp(at, "HTTP/1.", 7) != 0 || at[7] < '0' || at[7] > '9' ||
	    at[8] != '\r') {
		refuse(c, "400 Bad Request");
		return;
	}
	target[strcspn(target, "?")] = '\0';
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (strcmp(pages[i].path, target) != 0)
			continue;
		if (c->is_head || strcmp(method, "GET") == 0)
			show(c, &pages[i]);
		else
			refuse(c, "405 Method Not Allowed");
		return;
	}
	refuse(c, "404 Not Found");
}

static void
on_read(struct bufferevent *io, void *arg)
{
	struct client *c = arg;
	char head[HEAD_MAX + 1];
	ev_ssize_t n =
	    evbuffer_copyout(bufferevent_get_input(io), head, HEAD_MAX);

	if (n < 0)
		n = 0;
	head[n] = '\0';
	if (strstr(head, "\r\n\r\n") != NULL)
		serve(c, head);
	else if (n == HEAD_MAX)
		refuse(c, "431 Request Header Fields Too Large");
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_free(arg);
}

/* ---- accepting ---- */

static struct client *
client_new(struct admin *a, evutil_socket_t fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->io =
	    bufferevent_socket_new(a->config.base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (c->io == NULL) {
		free(c);
		return NULL;
	}
	c->admin = a;
	(void)evtimer_assign(&c->deadline, a->config.base, on_deadline, c);
	LIST_INSERT_HEAD(&a->clients, c, next);
	a->count++;
	return c;
}

static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *peer, int peer_n, void *arg)
{
	static const struct timeval deadline = {.tv_sec = CLIENT_S};
	struct admin *a = arg;
	struct client *c = a->count < CLIENTS_MAX ? client_new(a, fd) : NULL;

	(void)peer;
	(void)peer_n;
	if (c == NULL) {
		(void)close(fd);
		return;
	}
	bufferevent_setcb(c->io, on_read, NULL, on_event, c);
	bufferevent_setwatermark(c->io, EV_READ, 0, HEAD_MAX);
	if (a->count == CLIENTS_MAX)
		(void)evconnlistener_disable(listener);
	if (evtimer_add(&c->deadline, &deadline) != 0 ||
	    bufferevent_enable(c->io, EV_READ) != 0)
		client_free(c);
}

/* Out of descriptors, as a rule: asked again at once, it would say so again. */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
	static const struct timeval pause = {.tv_sec = PAUSE_S};
	struct admin *a = arg;

	(void)evconnlistener_disable(listener);
	(void)evtimer_add(&a->reopen, &pause);
}

static void
on_reopen(evutil_socket_t fd, short what, void *arg)
{
	struct admin *a = arg;

	(void)fd;
	(void)what;
	if (a->count < CLIENTS_MAX)
		(void)evconnlistener_enable(a->listener);
}

static bool
take_socket(struct admin *a, struct fault *why)
{
	int inherited = a->config.inherited;

	if (inherited >= 0 &&
	    local_socket_adopt(&a->socket, inherited, a->config.socket))
		return true;
	if (inherited >= 0)
		(void)close(inherited);
	return local_socket_open(
	    &a->socket, a->config.socket, 0600, BACKLOG, why);
}

static bool
listen_on(struct admin *a, struct fault *why)
{
	if (!take_socket(a, why))
		return false;
	a->listener = evconnlistener_new(a->config.base, on_accept, a,
	    LEV_OPT_CLOSE_ON_EXEC, 0, a->socket.fd);
	if (a->listener == NULL)
		return fault_set(
		    why, R_OUT_OF_MEMORY, "no memory for the admin endpoint");
	evconnlistener_set_error_cb(a->listener, on_accept_error);
	return true;
}

struct admin *
admin_open(const struct admin_config *config, struct fault *why)
{
	struct admin *a = calloc(1, sizeof(*a));

	if (a == NULL) {
		if (config->inherited >= 0)
			(void)close(config->inherited);
		(void)fault_set(
		    why, R_OUT_OF_MEMORY, "no memory for the admin endpoint");
		return NULL;
	}
	a->config = *config;
	a->socket.fd = -1;
	a->started_ms = clock_wall_ms();
	LIST_INIT(&a->clients);
	(void)evtimer_assign(&a->reopen, config->base, on_reopen, a);
	if (!listen_on(a, why))
		admin_free(&a);
	return a;
}

int
admin_socket(const struct admin *a)
{
	return a->socket.fd;
}

void
admin_leave(struct admin **a)
{
	if (*a != NULL)
		local_socket_leave(&(*a)->socket);
	admin_free(a);
}

void
admin_free(struct admin **ap)
{
	struct admin *a = *ap;
	struct client *c;

	if (a == NULL)
		return;
	while ((c = LIST_FIRST(&a->clients)) != NULL)
		client_free(c);
	(void)event_del(&a->reopen);
	if (a->listener != NULL)
		evconnlistener_free(a->listener);
	local_socket_close(&a->socket);
	free(a);
	*ap = NULL;
}
