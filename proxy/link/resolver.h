/*
 * resolver: host names to addresses, asynchronously. It lives on the door's
 * thread; links on any thread send it look-ups and get them back as letters.
 *
 * A look-up belongs to the link until it is sent, to the resolver until it is
 * answered, then to the link's thread again. A link that has lost interest sets
 * lookup->link to NULL; the answer is then dropped on arrival.
 *
 * A host is first looked for among numbers, then in the hosts file, then in the
 * DNS. What is found is kept for as long as it holds (known_names.h); failures
 * are not. A change of the hosts file or of resolv.conf counts from the next
 * look-up on.
 */
#ifndef PROXY_LINK_RESOLVER_H
#define PROXY_LINK_RESOLVER_H

#include "base/address.h"
#include "base/attr.h"
#include "base/fault.h"
#include "base/mailbox.h"
#include "settings/settings.h"

#include <event2/event.h>
#include <stdint.h>
#include <sys/queue.h>

enum { LOOKUP_ADDRESSES = ADDRESS_LIST_MAX };

struct lookup {
	struct letter letter; /* first to the resolver, then back */
	struct mailbox *reply_to;
	void (*on_answer)(struct lookup *answered); /* on reply_to's thread */
	void *link; /* NULL: nobody wants it any more */
	char host[256];
	uint16_t port;
	SLIST_ENTRY(lookup) waiting; /* the resolver's, while it has it */
	/* the answer: <count> addresses, best first, or none and the fault */
	struct address addresses[LOOKUP_ADDRESSES];
	unsigned count;
	struct fault why;
};

/* Where the system's own words are. */
struct resolver_files {
	const char *hosts;       /* /etc/hosts */
	const char *resolv_conf; /* /etc/resolv.conf */
};

struct known_names;
struct resolver;

/* <base> is the door's. Of <settings>, which are not kept: resolve_timeout and
   nameservers. <files>, whose names must stay; NULL: those of /etc. NULL
   without memory. That a file is not there is no error. */
NODISCARD struct resolver *resolver_new(struct event_base *base,
    const struct settings *settings, const struct resolver_files *files);

/* For look-ups from now on. All that was kept is forgotten. */
void resolver_reload(struct resolver *r, const struct settings *settings);

/* Gives every look-up back that it still has, and frees it. */
void resolver_free(struct resolver **r);

/* What it has found out, for links to look at first; take a reference. */
struct known_names *resolver_names(const struct resolver *r);

/*
 * On the door's thread: starts a look-up, which comes back exactly once; at
 * once and with a fault when <r> is NULL: the process is about to end. It comes
 * back a tenth before the link's own deadline, so that its words are heard.
 */
void resolver_ask(struct resolver *r, struct lookup *l);

#endif
