/*
 * dns: one name asked of the DNS, A and AAAA together. Lives on one thread, its
 * loop's.
 *
 * Nothing is kept from one question to the next: each has sockets, and so
 * ports, of its own, which are hard to guess (RFC 5452 9.2), and asks the
 * servers in the order given, whatever they have done before. A server that was
 * dead is asked again at once.
 */
#ifndef PROXY_LINK_DNS_H
#define PROXY_LINK_DNS_H

#include "base/address.h"
#include "base/attr.h"
#include "base/fault.h"
#include "link/resolv_conf.h"

#include <event2/event.h>
#include <stdint.h>

struct dns_answer {
	/* without ports; IPv6 and IPv4 by turns, IPv6 first (RFC 8305 4) */
	struct address addresses[ADDRESS_LIST_MAX];
	unsigned count;   /* 0: none, <why> says why */
	uint32_t ttl_s;   /* how long it holds; 0 when one half is missing */
	struct fault why; /* R_RESOLVE_FAILED or R_RESOLVE_TIMEOUT */
};

struct dns;
struct dns_question;

/* NULL without memory. */
NODISCARD struct dns *dns_new(struct event_base *base);
/* Turns the loop until what was asked last is cleared away; no question may be
   left. */
void dns_free(struct dns **dns);

/*
 * Asks for <name>, of at most NAME_BYTES - 1 bytes, and for what resolv.conf
 * makes of it; a name with a dot at its end is asked as it is. The answer comes
 * once, by the loop, within <timeout_ms>. NULL and <why>: nobody can be asked.
 */
NODISCARD struct dns_question *dns_ask(struct dns *dns,
    const struct resolv_conf *conf, const char *name, uint64_t timeout_ms,
    void (*on_answer)(void *arg, const struct dns_answer *answer), void *arg,
    struct fault *why);

/* No answer will come. */
void dns_cancel(struct dns_question *q);

#endif
