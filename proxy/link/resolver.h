/*
 * resolver: host names to addresses, asynchronously. It lives on the door's
 * thread; links on any thread send it look-ups and get them back as letters.
 *
 * A look-up belongs to the link until it is sent, to the resolver until it is
 * answered, then to the link's thread again. A link that has lost interest sets
 * lookup->link to NULL; the answer is then dropped on arrival.
 */
#ifndef PROXY_LINK_RESOLVER_H
#define PROXY_LINK_RESOLVER_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/mailbox.h"

#include <event2/event.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

enum { LOOKUP_ADDRESSES = 8 };

struct address {
	struct sockaddr_storage storage;
	socklen_t n;
};

struct lookup {
	struct letter letter; /* first to the resolver, then back */
	struct mailbox *reply_to;
	void (*on_answer)(struct lookup *answered); /* on reply_to's thread */
	void *link; /* NULL: nobody wants it any more */
	char host[256];
	uint16_t port;
	/* the resolver's, while it has it */
	LIST_ENTRY(lookup) pending;
	SLIST_HEAD(, lookup) waiters; /* for the same answer */
	SLIST_ENTRY(lookup) waiting;
	struct evdns_getaddrinfo_request *request;
	/* the answer: <count> addresses, or none and the fault */
	struct address addresses[LOOKUP_ADDRESSES];
	unsigned count;
	struct fault why;
};

struct resolver;

/* <base> is the door's. <timeout_ms>: what one look-up may take. NULL without
   memory. No /etc/resolv.conf is no error. */
NODISCARD struct resolver *resolver_new(
    struct event_base *base, uint64_t timeout_ms);

/* Reads /etc/resolv.conf again; for look-ups from now on. */
void resolver_reload(struct resolver *r, uint64_t timeout_ms);

/* Gives every look-up back that it still has, and frees it. */
void resolver_free(struct resolver **r);

/* On the door's thread: starts a look-up, which comes back exactly once; at
   once and with a fault when <r> is NULL: the process is about to end. */
void resolver_ask(struct resolver *r, struct lookup *l);

#endif
