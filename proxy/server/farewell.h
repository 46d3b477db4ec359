/*
 * farewell: a device that has knocked at its worker and is not let in is told
 * why, in its own level, and its connection closed in order. On the worker's
 * thread.
 */
#ifndef PROXY_SERVER_FAREWELL_H
#define PROXY_SERVER_FAREWELL_H

#include "base/reason.h"
#include "session/knock.h"
#include "session/linger.h"

#include <stdint.h>

/* What a worker lends. */
struct farewell {
	struct lingering *lingering;
	uint64_t bound_ms; /* for a close */
	uint64_t *count;   /* [R_COUNT]: how many, for which reason */
};

/* Shows <k> out, which is gone then. */
void farewell_show_out(
    const struct farewell *f, struct knock *k, enum reason why);

/* The same, with a line in the log. */
void farewell_turn_away(
    const struct farewell *f, struct knock *k, enum reason why);

#endif
