/*
 * crowd: how many connections from devices are open, in all and from each
 * address. Shared by all threads; its one lock is held for a moment when a
 * connection opens and when it closes.
 */
#ifndef PROXY_SESSION_CROWD_H
#define PROXY_SESSION_CROWD_H

#include "base/attr.h"

#include <stdbool.h>

struct crowd;

struct crowd_count {
	unsigned all;
	unsigned from_address;
};

NODISCARD struct crowd *crowd_new(void);

/* Everybody must have left. */
void crowd_free(struct crowd **c);

/* The connection <fd> from <address> is open. *now counts it too. False without
   memory: it is not counted, and must not leave. */
NODISCARD bool crowd_enter(
    struct crowd *c, int fd, const char *address, struct crowd_count *now);

/* The connection <fd> is about to be closed. */
void crowd_leave(struct crowd *c, int fd);

unsigned crowd_size(struct crowd *c);

#endif
