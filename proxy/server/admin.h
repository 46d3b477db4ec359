/*
 * admin: what an administrator and Prometheus ask the running proxy, by HTTP
 * on a Unix socket: GET and HEAD of /status, /metrics and /healthz. Whoever may
 * open the socket may ask; other headers, Host among them, do not matter.
 *
 * Lives on the door's loop and never waits. A client has one small request, one
 * answer and a few seconds for both; only some are served at once, the others
 * wait in the kernel.
 */
#ifndef PROXY_SERVER_ADMIN_H
#define PROXY_SERVER_ADMIN_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/take_overs.h"
#include "server/map_state.h"
#include "session/crowd.h"

#include <event2/event.h>
#include <stdint.h>

struct admin;

/* What it is asked about; must outlive it. */
struct admin_config {
	struct event_base *base;
	const char *socket;
	int inherited; /* a socket that may be that one already; -1: none.
			  Taken over, also after an error */
	unsigned workers;
	uint64_t began_ms; /* of the monotonic clock */
	struct crowd *crowd;
	const struct take_overs *take_overs;
	const _Atomic uint64_t *pings_learned;
	const struct map_state *map;
};

/* Listens. NULL: <why> says what is in the way and what to do. */
NODISCARD struct admin *admin_open(
    const struct admin_config *config, struct fault *why);

/* Its listening socket, for a process that takes over. */
int admin_socket(const struct admin *a);

/* Takes the socket away and drops all clients; NULL inside is fine. */
void admin_free(struct admin **a);

/* The same, but another process listens there: the socket stays. */
void admin_leave(struct admin **a);

#endif
