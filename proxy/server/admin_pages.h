/*
 * admin_pages: what the admin endpoint tells, as text. Facts in, bytes out:
 * no clock, no socket.
 */
#ifndef PROXY_SERVER_ADMIN_PAGES_H
#define PROXY_SERVER_ADMIN_PAGES_H

#include "base/text.h"
#include "server/map_state.h"

#include <stdint.h>

struct admin_facts {
	long pid;
	uint64_t started_ms; /* wall clock */
	uint64_t uptime_ms;
	unsigned workers;
	unsigned connections; /* from devices */
	uint64_t lan_loops;   /* of take-overs */
	uint64_t cloud_loops;
	uint64_t pings_learned; /* how often a ping interval was */
	const struct map_state *map;
};

/* /status: one JSON object and a line end. */
void admin_write_status(struct text *out, const struct admin_facts *f);

/* /metrics: the text format of Prometheus, version 0.0.4. */
void admin_write_metrics(struct text *out, const struct admin_facts *f);

/* /healthz */
void admin_write_health(struct text *out, const struct admin_facts *f);

#endif
