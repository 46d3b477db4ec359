/* /metrics */
#include "server/admin_pages.h"

#include <inttypes.h>

static void
add_family(
    struct text *out, const char *name, const char *type, const char *what)
{
	text_add(out,
	    "# HELP mqtt_wss_proxy_%s %s\n"
	    "# TYPE mqtt_wss_proxy_%s %s\n",
	    name, what, name, type);
}

static void
add_gauge(struct text *out, const char *name, const char *what, uint64_t value)
{
	add_family(out, name, "gauge", what);
	text_add(out, "mqtt_wss_proxy_%s %" PRIu64 "\n", name, value);
}

/* A point in time, in seconds since 1970. */
static void
add_gauge_time(
    struct text *out, const char *name, const char *what, uint64_t ms)
{
	add_family(out, name, "gauge", what);
	text_add(out, "mqtt_wss_proxy_%s %" PRIu64 ".%03u\n", name, ms / 1000,
	    (unsigned)(ms % 1000));
}

void
admin_write_metrics(struct text *out, const struct admin_facts *f)
{
	const struct map_state *m = f->map;

	add_family(out, "build_info", "gauge", "The version that runs.");
	text_add(out,
	    "mqtt_wss_proxy_build_info{version=\"" PACKAGE_VERSION "\"} 1\n");
	add_gauge_time(out, "start_time_seconds", "When the proxy was started.",
	    f->started_ms);
	add_gauge(
	    out, "connections", "Connections from devices.", f->connections);
	add_gauge(out, "map_devices", "Entries of the map in use.", m->devices);
	add_gauge_time(out, "map_loaded_timestamp_seconds",
	    "Since when the map is in use.", m->loaded_ms);
	add_family(out, "map_reloads_total", "counter",
	    "Reloads since the start, by how they went.");
	text_add(out,
	    "mqtt_wss_proxy_map_reloads_total{result=\"ok\"} %lu\n"
	    "mqtt_wss_proxy_map_reloads_total{result=\"refused\"} %lu\n",
	    m->reloads, m->reloads_refused);
	add_gauge(out, "map_refused",
	    "1 while the files hold something else than what is in use, because"
	    " they were refused.",
	    m->refused);
	add_family(out, "take_over_loops_total", "counter",
	    "Devices that were thrown out again and again, by another one at"
	    " the proxy or by one elsewhere; of a device at most one a minute"
	    " counts.");
	text_add(out,
	    "mqtt_wss_proxy_take_over_loops_total{where=\"lan\"} %" PRIu64 "\n"
	    "mqtt_wss_proxy_take_over_loops_total{where=\"cloud\"} %" PRIu64
	    "\n",
	    f->lan_loops, f->cloud_loops);
	add_family(out, "ping_intervals_learned_total", "counter",
	    "How often a worker has found that idle links are cut, and pings"
	    " more often.");
	text_add(out,
	    "mqtt_wss_proxy_ping_intervals_learned_total %" PRIu64 "\n",
	    f->pings_learned);
}
