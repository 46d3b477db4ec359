/*
 * admin: what an administrator and Prometheus ask the running proxy, by HTTP
 * on a Unix socket: GET and HEAD of / (web_page.h), /status, /metrics,
 * /metrics/devices, /healthz and /readyz. Actions are asked for by POST:
 * /kick?label=, /reload, /drain, /log?level=&label= and
 * /trace?label=&payload=yes. Whoever may open the socket may do all that; by
 * TCP, where that is wanted, whoever shows the token.
 *
 * Lives on the door's loop and never waits: what the workers know is asked of
 * them by letter (survey.h), and the answer is written when all have said it.
 */
#ifndef PROXY_SERVER_ADMIN_H
#define PROXY_SERVER_ADMIN_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/secret.h"
#include "server/admin_pages.h"
#include "server/survey.h"
#include "server/trace_feed.h"

#include <event2/event.h>
#include <stdbool.h>

struct admin;

/* What it is asked about; must outlive it. */
struct admin_config {
	struct event_base *base;
	const char *socket;
	int inherited;      /* a socket that may be that one already; -1: none.
			       Taken over, also after an error */
	const char *listen; /* for TCP, see admin_tcp.h; empty: none */
	int inherited_tcp;
	/* What clients by TCP have to show. */
	const struct secret *(*token)(void *arg);
	struct survey *survey;
	/* Fills in all of <f> but its survey and label, and the time. */
	void (*fill)(void *arg, struct admin_facts *f);
	/* Why devices are not let in now; NULL: they are. */
	const char *(*unready)(void *arg);
	/* Ends the session of <entry>. False without memory. */
	bool (*kick)(void *arg, const struct credential *entry);
	/* trace_feed_begin() at the home of that device. */
	struct trace_feed *(*trace)(void *arg, const struct trace_wish *wish);
	/* Has the files read again; admin_reloaded() follows. */
	void (*reload)(void *arg);
	/* Ends all sessions in order, then the process. */
	void (*drain)(void *arg);
	void *arg;
};

/* Listens. NULL: <why> says what is in the way and what to do. */
NODISCARD struct admin *admin_open(
    const struct admin_config *config, struct fault *why);

/* The files have been read again, and are in use or refused. NULL is fine. */
void admin_reloaded(struct admin *a);

/* Its listening sockets, for a process that takes over; -1: there is none. */
int admin_socket(const struct admin *a);
int admin_tcp_socket(const struct admin *a);

/* Takes the socket away and drops all clients; NULL inside is fine. After
   home_stop(), if there are homes. */
void admin_free(struct admin **a);

/* The same, but another process listens there: the socket stays. Homes may
   still be there. */
void admin_leave(struct admin **a);

#endif
