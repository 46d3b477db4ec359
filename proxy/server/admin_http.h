/*
 * admin_http: the HTTP of the admin endpoint (RFC 9112, as much of it as that
 * needs): a request without a body, one answer, and the connection is closed.
 *
 * Lives on the door's loop and never waits. A client has one small request, one
 * answer and a few seconds for both; only some are served at once, the others
 * wait in the kernel.
 */
#ifndef PROXY_SERVER_ADMIN_HTTP_H
#define PROXY_SERVER_ADMIN_HTTP_H

#include "base/attr.h"
#include "base/fault.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct admin_http;
struct admin_client;

enum {
	ADMIN_BACKLOG = 64, /* so many may wait besides those that are served */
	ADMIN_ARGUMENT_MAX = 160
};

/* Texts are valid in the call only; NULL: there is no such header. */
struct admin_request {
	const char *method;
	const char *path;
	const char *query; /* behind the '?'; empty: nothing */
	const char *host;
	const char *origin;
	const char *authorization;
	bool is_local; /* by the Unix socket */
};

/* What a client is told later. All zero at first; the caller's. */
struct admin_question {
	const void *about; /* NULL: it waits for nothing */
	bool is_asked;
	char argument[ADMIN_ARGUMENT_MAX];
	char level[16];
	char payload[8];
};

struct admin_http_config {
	struct event_base *base;
	/* Answers <c>, or has it wait: then its question is set. */
	void (*serve)(
	    void *arg, struct admin_client *c, const struct admin_request *r);
	void *arg;
};

/* NULL without memory. */
NODISCARD struct admin_http *admin_http_new(
    const struct admin_http_config *config);

/* Drops all clients, and accepts no more; the sockets stay the caller's. NULL
   inside is fine. */
void admin_http_free(struct admin_http **h);

/* Accepts at <fd>, which listens; at most two of them. */
NODISCARD bool admin_http_listen(
    struct admin_http *h, int fd, bool is_local, struct fault *why);

struct admin_question *admin_question(struct admin_client *c);

/* Clients one after the other; NULL: there are no more. <after> NULL: the
   first. */
struct admin_client *admin_next(
    const struct admin_http *h, const struct admin_client *after);

/* When it is gone, with its answer or without, <then> is called, unless that is
   by admin_http_free(). */
void admin_then(struct admin_client *c, void (*then)(void *arg), void *arg);

/* It may wait so long from now on. */
void admin_wait(struct admin_client *c, unsigned seconds);

/*
 * Answers, and closes behind it; HEAD gets its head alone. <status> is "200
 * OK"; <body>, of <n> bytes, is malloc()ed and taken over. <more>: header
 * lines, each with its CRLF.
 */
void admin_answer(struct admin_client *c, const char *status, const char *type,
    const char *more, char *body, size_t n);

/*
 * Answers with text that goes on until the client leaves, or admin_stream_end()
 * (RFC 9112 6.3: its length is that of the connection). A client that takes
 * nothing of it for a minute has left. <on_room>: it has taken all that was
 * put. <on_gone>: it has left; the last call.
 */
void admin_stream_begin(struct admin_client *c, void (*on_room)(void *arg),
    void (*on_gone)(void *arg), void *arg);

/* Puts a copy. */
void admin_stream_put(struct admin_client *c, const char *text, size_t n);

/* Writes of it what the client takes at once, and closes; on_gone is not
   called. */
void admin_stream_end(struct admin_client *c);

/* The same as admin_answer() with one line of text for a person. */
void admin_say(struct admin_client *c, const char *status, const char *text);

/* 401: it has not shown the token. */
void admin_refuse_stranger(struct admin_client *c);

/* 405: only <methods>. */
void admin_refuse_method(struct admin_client *c, const char *methods);

#endif
