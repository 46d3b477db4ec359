/* /metrics */
#include "server/admin_pages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- families with labels ---- */

#define NAME "mqtt_wss_proxy_"

/* One sample of a counter for each reason there was; none at all when there was
   none. */
static void
add_reasons(struct text *out, const char *name, const char *what,
    const uint64_t count[static R_COUNT])
{
	bool any = false;

	for (int i = 0; i < R_COUNT; i++) {
		if (count[i] == 0)
			continue;
		if (!any)
			add_family(out, name, "counter", what);
		any = true;
		text_add(out, NAME "%s{reason=\"%s\"} %" PRIu64 "\n", name,
		    reason_word((enum reason)i), count[i]);
	}
}

static void
add_labelled(struct text *out, const char *name, const char *label,
    const char *value, uint64_t count)
{
	text_add(
	    out, NAME "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, value, count);
}

static void
add_counter(
    struct text *out, const char *name, const char *what, uint64_t value)
{
	add_family(out, name, "counter", what);
	text_add(out, NAME "%s %" PRIu64 "\n", name, value);
}

static void
add_histogram(struct text *out, const char *name, const char *what,
    const struct histogram *h)
{
#define X(ms, text) text,
	static const char *const most[] = {HISTOGRAM_CLASSES(X)};
#undef X
	uint64_t sum = 0;

	add_family(out, name, "histogram", what);
	for (int i = 0; i < HISTOGRAM_CLASS_COUNT; i++) {
		sum += h->of[i];
		text_add(out, NAME "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name,
		    most[i], sum);
	}
	text_add(out,
	    NAME "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n" NAME "%s_sum %" PRIu64
		 ".%03u\n" NAME "%s_count %" PRIu64 "\n",
	    name, h->count, name, h->sum_ms / 1000,
	    (unsigned)(h->sum_ms % 1000), name, h->count);
}

/* ---- the process ---- */

static void
add_process(struct text *out, const struct admin_facts *f)
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

/* ---- the cloud ---- */

static void
add_dials(struct text *out, const struct link_tally *t)
{
	add_counter(out, "dials_accepted_total",
	    "Dials that the cloud has let in.", t->accepted);
	add_reasons(out, "dials_failed_total",
	    "Dials that failed, by reason; each transport that was tried is"
	    " one.",
	    t->failed);
	add_reasons(out, "links_lost_total",
	    "Links to the cloud that were up and were lost, by reason.",
	    t->lost);
	add_histogram(out, "dial_seconds",
	    "From the wish for a link to the cloud's CONNACK.", &t->dial_ms);
	add_histogram(out, "ping_seconds",
	    "From a PINGREQ to the cloud to its PINGRESP.", &t->ping_ms);
	add_family(out, "tls_handshakes_total", "counter",
	    "TLS handshakes with the cloud.");
	add_labelled(
	    out, "tls_handshakes_total", "resumed", "no", t->handshakes[0]);
	add_labelled(
	    out, "tls_handshakes_total", "resumed", "yes", t->handshakes[1]);
}

/* Only what is known. */
static void
add_certificates(struct text *out, int64_t cloud_s, int64_t root_s)
{
	static const char name[] = "certificate_expiry_timestamp_seconds";

	if (cloud_s == 0 && root_s == 0)
		return;
	add_family(out, name, "gauge",
	    "When the cloud's certificate, the first of those on links that"
	    " are up, and the root that it was checked against end.");
	if (cloud_s != 0)
		add_labelled(
		    out, name, "certificate", "cloud", (uint64_t)cloud_s);
	if (root_s != 0)
		add_labelled(
		    out, name, "certificate", "root", (uint64_t)root_s);
}

/* ---- devices ---- */

static void
add_presence(struct text *out, const unsigned of[static PRESENCE_COUNT])
{
	add_family(
	    out, "sessions", "gauge", "Sessions of devices, by their state.");
	for (int i = 0; i < PRESENCE_OFFLINE; i++)
		add_labelled(out, "sessions", "state",
		    presence_word((enum presence)i), of[i]);
}

static void
add_messages(
    struct text *out, const char *direction, const uint64_t of[static 3])
{
	for (int qos = 0; qos < 3; qos++)
		text_add(out,
		    NAME "messages_total{direction=\"%s\",qos=\"%d\"} %" PRIu64
			 "\n",
		    direction, qos, of[qos]);
}

static void
add_traffic(struct text *out, const struct survey_part *p)
{
	const uint64_t *sum = p->sums.of;

	add_family(out, "bytes_total", "counter",
	    "Bytes of MQTT packets, from devices up and from the cloud down.");
	add_labelled(out, "bytes_total", "direction", "up", sum[SUM_UP_BYTES]);
	add_labelled(
	    out, "bytes_total", "direction", "down", sum[SUM_DOWN_BYTES]);
	add_family(out, "packets_total", "counter", "MQTT packets, likewise.");
	add_labelled(
	    out, "packets_total", "direction", "up", sum[SUM_UP_PACKETS]);
	add_labelled(
	    out, "packets_total", "direction", "down", sum[SUM_DOWN_PACKETS]);
	add_family(out, "messages_total", "counter",
	    "PUBLISH packets, by the QoS their sender has given them.");
	add_messages(out, "up", p->sessions.published_up);
	add_messages(out, "down", p->sessions.published_down);
}

static void
add_adaptations(struct text *out, const struct survey_part *p)
{
	static const char name[] = "adaptations_total";
	const uint64_t *sum = p->sums.of;

	add_family(out, name, "counter",
	    "What was done because the cloud does not take it as it is.");
	add_labelled(out, name, "kind", "qos2_ended", sum[SUM_QOS2_ENDED]);
	add_labelled(
	    out, name, "kind", "retain_cleared", sum[SUM_RETAIN_CLEARED]);
	add_labelled(
	    out, name, "kind", "retained_sent", sum[SUM_RETAINED_SENT]);
	add_labelled(out, name, "kind", "will", p->sessions.wills);
	add_labelled(out, name, "kind", "split", p->sessions.splits);
	add_labelled(
	    out, name, "kind", "filter_refused", sum[SUM_FILTERS_REFUSED]);
}

static void
add_drops(struct text *out, const struct survey_part *p)
{
	static const char name[] = "messages_dropped_total";
	const uint64_t *sum = p->sums.of;
	const uint64_t *flow = p->sessions.dropped;

	add_family(out, name, "counter",
	    "Messages at QoS 0 that went nowhere; of those that wait for"
	    " their turn it is told up to a minute late.");
	add_labelled(out, name, "reason", "refused", sum[SUM_REFUSED]);
	add_labelled(out, name, "reason", "down", sum[SUM_DOWN_DROPPED]);
	add_labelled(
	    out, name, "reason", "retained", sum[SUM_RETAINED_DROPPED]);
	for (int i = FLOW_DROPPED_FULL; i <= FLOW_DROPPED_HELD; i++)
		add_labelled(out, name, "reason",
		    flow_count_word((enum flow_count)i) + strlen("dropped_"),
		    flow[i]);
}

static void
add_holds(struct text *out, const struct session_tally *t)
{
	add_counter(out, "holds_total",
	    "How often a device was held, since its link was lost.", t->holds);
	add_counter(out, "resumes_total",
	    "How often one that was held has got another link.", t->resumes);
	add_counter(out, "holds_over_total",
	    "How often one was closed, since no link came back in time.",
	    t->ended[R_HOLD_OVER]);
	add_counter(out, "messages_repeated_total",
	    "Messages sent over another link than the device sent them for.",
	    t->repeated);
}

static void
add_refusals(
    struct text *out, const struct admin_facts *f, const struct survey_part *p)
{
	uint64_t count[R_COUNT];

	memcpy(count, p->refused, sizeof(count));
	for (int i = 0; f->refused != NULL && i < R_COUNT; i++)
		count[i] += f->refused->count[i];
	add_reasons(out, "refusals_total",
	    "Devices that were not let in, by reason; the cloud was not"
	    " asked.",
	    count);
}

void
admin_write_metrics(struct text *out, const struct admin_facts *f)
{
	struct survey_part sum;

	add_process(out, f);
	if (f->survey == NULL)
		return;
	survey_sum(f->survey, &sum);
	add_presence(out, sum.of);
	add_refusals(out, f, &sum);
	add_reasons(out, "session_ends_total",
	    "Sessions that have ended, by reason.", sum.sessions.ended);
	add_holds(out, &sum.sessions);
	add_traffic(out, &sum);
	add_adaptations(out, &sum);
	add_drops(out, &sum);
	add_dials(out, &sum.links);
	add_certificates(out, sum.cert_expires_s, sum.links.root_expires_s);
}

/* ---- each device ---- */

/* A label's value as this format has it. */
static void
add_escaped(struct text *out, const char *s)
{
	for (; *s != '\0'; s++)
		text_add(out, *s == '"' || *s == '\\' ? "\\%c" : "%c",
		    (unsigned char)*s < ' ' ? '?' : *s);
}

static void
add_device(struct text *out, const char *name, const struct survey_row *row,
    const char *more, uint64_t value)
{
	text_add(out, NAME "%s{device=\"", name);
	add_escaped(out, row->label);
	text_add(out, "\"%s} %" PRIu64 "\n", more, value);
}

static bool
is_here(const struct survey_row *row)
{
	return row->now.presence != PRESENCE_OFFLINE;
}

static void
add_states(struct text *out, const struct survey_row **rows, size_t n)
{
	char state[40];

	add_family(out, "device_session", "gauge",
	    "1 for the state of each device that has a session.");
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(state, sizeof(state), ",state=\"%s\"",
		    presence_word(rows[i]->now.presence));
		if (is_here(rows[i]))
			add_device(out, "device_session", rows[i], state, 1);
	}
}

static void
add_device_bytes(struct text *out, const struct survey_row **rows, size_t n)
{
	add_family(out, "device_bytes_total", "counter",
	    "Bytes of each device's session; a new one begins anew.");
	for (size_t i = 0; i < n; i++) {
		if (!is_here(rows[i]))
			continue;
		add_device(out, "device_bytes_total", rows[i],
		    ",direction=\"up\"", rows[i]->now.up_bytes);
		add_device(out, "device_bytes_total", rows[i],
		    ",direction=\"down\"", rows[i]->now.down_bytes);
	}
}

void
admin_write_device_metrics(struct text *out, const struct admin_facts *f)
{
	size_t n = 0;
	const struct survey_row **rows = survey_rows(f->survey, &n);

	if (n > 0) {
		add_states(out, rows, n);
		add_device_bytes(out, rows, n);
	}
	free(rows);
}
