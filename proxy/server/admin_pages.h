/*
 * admin_pages: what the admin endpoint tells, as text. Facts in, bytes out: no
 * clock, no socket.
 */
#ifndef PROXY_SERVER_ADMIN_PAGES_H
#define PROXY_SERVER_ADMIN_PAGES_H

#include "base/text.h"
#include "server/map_state.h"
#include "server/refused.h"
#include "server/survey.h"
#include "settings/credmap.h"

#include <stdint.h>

enum { ADMIN_OFFLINE_MAX = 1000 }; /* devices without a session, in /status */

struct admin_facts {
	long pid;
	uint64_t started_ms; /* wall clock */
	uint64_t uptime_ms;
	uint64_t wall_ms; /* now, by both clocks */
	uint64_t mono_ms;
	unsigned workers;
	unsigned connections; /* from devices */
	uint64_t lan_loops;   /* of take-overs */
	uint64_t cloud_loops;
	uint64_t pings_learned; /* how often a ping interval was */
	const struct map_state *map;
	const char *unready; /* why devices are not let in; NULL: they are */
	/* what follows may be NULL: then nothing is told of it */
	const struct credmap *devices; /* the map itself */
	const struct refused *refused;
	const struct survey *survey; /* all have answered */
	const char *label;           /* of the one device to tell of */
};

/*
 * /status: one JSON object and a line end. Of the devices that have a session
 * all are told, of the others of the map ADMIN_OFFLINE_MAX, first those of
 * which it is known why they have left.
 */
void admin_write_status(struct text *out, const struct admin_facts *f);

/* /metrics: the text format of Prometheus, version 0.0.4. How many series that
   are does not depend on the number of devices. */
void admin_write_metrics(struct text *out, const struct admin_facts *f);

/* /metrics/devices: series of each device that has a session, for those who
   want them. */
void admin_write_device_metrics(struct text *out, const struct admin_facts *f);

#endif
