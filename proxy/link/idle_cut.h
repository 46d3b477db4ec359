/*
 * idle_cut: ways to the cloud on which something, such as a firewall or a NAT,
 * cuts connections that are idle, and how often a link has to ping there. A
 * way is a host, a port and the egress proxy it is dialled by. One worker's, on
 * its thread.
 *
 * A lost link is evidence only when a login soon after it works: the network
 * was not down. Several of them, each of a link that was dialled after the one
 * before was lost, prove it, unless a link has lived through a silence as long
 * meanwhile. What is learned can shrink again; it is never given up, but with
 * the process.
 */
#ifndef PROXY_LINK_IDLE_CUT_H
#define PROXY_LINK_IDLE_CUT_H

#include "base/attr.h"

#include <stdint.h>

enum {
	IDLE_CUT_PROOFS = 3, /* as many in a row */
	IDLE_CUT_CONFIRM_MS = 60 * 1000
};

struct idle_cuts;

struct idle_way {
	const char *host;
	const char *egress; /* "none": direct */
	uint16_t port;
};

NODISCARD struct idle_cuts *idle_cuts_new(void);
void idle_cuts_free(struct idle_cuts **c);

/* A link that stood since <up_ms> was lost as one that was cut while it was
   idle, for <idle_ms> at the most. */
void idle_cut_lost(struct idle_cuts *c, const struct idle_way *way,
    uint64_t idle_ms, uint64_t up_ms, uint64_t now_ms);

/* A login has worked. */
void idle_cut_logged_in(
    struct idle_cuts *c, const struct idle_way *way, uint64_t now_ms);

/* A link was idle for <idle_ms>, and works. */
void idle_cut_survived(
    struct idle_cuts *c, const struct idle_way *way, uint64_t idle_ms);

/* How often to ping: three quarters of the silence that was cut; UINT64_MAX:
   nothing was learned. */
uint64_t idle_cut_interval_ms(
    const struct idle_cuts *c, const struct idle_way *way);

#endif
