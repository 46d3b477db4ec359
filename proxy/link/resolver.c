#include "link/resolver.h"

#include <event2/dns.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS = 3 };

struct resolver {
	struct event_base *base;
	struct evdns_base *dns;
	LIST_HEAD(, lookup) pending;
};

/* Behind resolv.conf, which has options too. */
static void
set_options(struct resolver *r, uint64_t timeout_ms)
{
	char seconds[32], attempts[8];

	/* in all longer than the link waits: its deadline is the one that says
	   "timeout", evdns has one word for all failures */
	(void)snprintf(seconds, sizeof(seconds), "%.3f",
	    (double)timeout_ms / 1000.0 / (ATTEMPTS - 1));
	(void)evdns_base_set_option(r->dns, "timeout:", seconds);
	(void)snprintf(attempts, sizeof(attempts), "%d", ATTEMPTS);
	(void)evdns_base_set_option(r->dns, "attempts:", attempts);
	/* some servers answer the name in their own case only */
	(void)evdns_base_set_option(r->dns, "randomize-case:", "0");
}

void
resolver_reload(struct resolver *r, uint64_t timeout_ms)
{
	(void)evdns_base_clear_nameservers_and_suspend(r->dns);
	/* the hosts file would be added a second time */
	(void)evdns_base_resolv_conf_parse(r->dns,
	    DNS_OPTIONS_ALL & ~DNS_OPTION_HOSTSFILE, "/etc/resolv.conf");
	(void)evdns_base_resume(r->dns);
	set_options(r, timeout_ms);
}

struct resolver *
resolver_new(struct event_base *base, uint64_t timeout_ms)
{
	struct resolver *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	LIST_INIT(&r->pending);
	r->base = base;
	r->dns = evdns_base_new(base, 0);
	if (r->dns == NULL) {
		free(r);
		return NULL;
	}
	(void)evdns_base_resolv_conf_parse(
	    r->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	set_options(r, timeout_ms);
	return r;
}

static void
open_answer(struct letter *letter, void *arg)
{
	struct lookup *l = (struct lookup *)letter;

	(void)arg;
	if (l->link != NULL)
		l->on_answer(l);
	else
		free(l);
}

static void
send_back(struct lookup *l)
{
	l->letter.open = open_answer;
	mailbox_post(l->reply_to, &l->letter);
}

static void
keep_addresses(struct lookup *l, const struct evutil_addrinfo *found)
{
	for (; found != NULL && l->count < LOOKUP_ADDRESSES;
	     found = found->ai_next) {
		struct address *to = &l->addresses[l->count];

		if (found->ai_addrlen > sizeof(to->storage))
			continue;
		memcpy(&to->storage, found->ai_addr, found->ai_addrlen);
		to->n = found->ai_addrlen;
		l->count++;
	}
}

static void
on_resolved(int result, struct evutil_addrinfo *found, void *arg)
{
	struct lookup *l = arg, *waiter;

	if (result == 0)
		keep_addresses(l, found);
	if (l->count == 0)
		(void)fault_set(&l->why, R_RESOLVE_FAILED, "%s: %s", l->host,
		    result == 0 ? "no address" : evutil_gai_strerror(result));
	if (found != NULL)
		evutil_freeaddrinfo(found);
	LIST_REMOVE(l, pending);
	while ((waiter = SLIST_FIRST(&l->waiters)) != NULL) {
		SLIST_REMOVE_HEAD(&l->waiters, waiting);
		memcpy(waiter->addresses, l->addresses, sizeof(l->addresses));
		waiter->count = l->count;
		waiter->why = l->why;
		send_back(waiter);
	}
	send_back(l);
}

/* A thousand devices that come back at once ask one question. */
static bool
ask_along(struct resolver *r, struct lookup *l)
{
	struct lookup *first;

	LIST_FOREACH(first, &r->pending, pending)
	{
		if (first->port != l->port || strcmp(first->host, l->host) != 0)
			continue;
		SLIST_INSERT_HEAD(&first->waiters, l, waiting);
		return true;
	}
	return false;
}

void
resolver_ask(struct resolver *r, struct lookup *l)
{
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	    .ai_protocol = IPPROTO_TCP};
	struct evdns_getaddrinfo_request *request;
	char port[8];

	l->count = 0;
	if (r == NULL) {
		(void)fault_set(&l->why, R_DRAINING, "%s", l->host);
		send_back(l);
		return;
	}
	if (ask_along(r, l))
		return;
	SLIST_INIT(&l->waiters);
	LIST_INSERT_HEAD(&r->pending, l, pending);
	(void)snprintf(port, sizeof(port), "%u", l->port);
	/* may answer inside the call: then <l> is not ours any more */
	request =
	    evdns_getaddrinfo(r->dns, l->host, port, &hints, on_resolved, l);
	if (request != NULL)
		l->request = request;
}

/* Cancelled look-ups come back by way of the loop. */
void
resolver_free(struct resolver **rp)
{
	struct resolver *r = *rp;
	struct lookup *l;

	if (r == NULL)
		return;
	*rp = NULL; /* who asks from now on is told at once */
	LIST_FOREACH(l, &r->pending, pending)
	evdns_getaddrinfo_cancel(l->request);
	while (!LIST_EMPTY(&r->pending) &&
	       event_base_loop(r->base, EVLOOP_ONCE) == 0)
		continue;
	evdns_base_free(r->dns, 0);
	free(r);
}
