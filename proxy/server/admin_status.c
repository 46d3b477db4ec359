/* /status */
#include "server/admin_pages.h"

#include "base/clock.h"
#include "codec/json.h"

#include <inttypes.h>
#include <stdlib.h>

static void
add_time(struct text *out, uint64_t ms)
{
	char text[CLOCK_TEXT_MAX];

	text_add(out, "\"%s\"", clock_text(text, (int64_t)(ms / 1000)));
}

/* null: it is not known, or has not been. */
static void
add_time_or_null(struct text *out, const char *name, uint64_t ms)
{
	text_add(out, ",\"%s\":", name);
	if (ms != 0)
		add_time(out, ms);
	else
		text_add(out, "null");
}

static void
add_refusal(struct text *out, const struct map_state *m)
{
	text_add(out, ",\"refusal\":{\"since\":");
	add_time(out, m->refused_ms);
	text_add(out, ",\"errors\":%u,\"file\":", m->refusal.errors);
	json_add_string(out, m->refusal.file);
	text_add(out, ",\"line\":%d,\"text\":", m->refusal.line);
	json_add_string(out, m->refusal.text);
	text_add(out, "}");
}

static void
add_map(struct text *out, const struct map_state *m)
{
	text_add(out, "{\"file\":");
	json_add_string(out, m->file);
	text_add(out, ",\"devices\":%zu,\"loaded\":", m->devices);
	add_time(out, m->loaded_ms);
	text_add(out, ",\"reloads\":%lu,\"reloads_refused\":%lu,\"refused\":%s",
	    m->reloads, m->reloads_refused, m->refused ? "true" : "false");
	if (m->refused)
		add_refusal(out, m);
	text_add(out, "}");
}

/* ---- devices ---- */

/* What a row says of its clock, by the other one. */
static uint64_t
wall_ms(const struct admin_facts *f, uint64_t mono_ms)
{
	return f->wall_ms - (f->mono_ms - mono_ms);
}

static void
add_member(struct text *out, const char *name, const char *value)
{
	text_add(out, ",\"%s\":", name);
	json_add_string(out, value);
}

static void
add_traffic(struct text *out, const struct session_report *r)
{
	text_add(out,
	    ",\"up_packets\":%" PRIu64 ",\"up_bytes\":%" PRIu64
	    ",\"down_packets\":%" PRIu64 ",\"down_bytes\":%" PRIu64
	    ",\"holds\":%u,\"unacknowledged\":%u"
	    ",\"unacknowledged_bytes\":%" PRIu64 ",\"queued\":%" PRIu64
	    ",\"to_cloud_bytes\":%" PRIu64 ",\"to_device_bytes\":%" PRIu64,
	    r->up_packets, r->up_bytes, r->down_packets, r->down_bytes,
	    r->holds, r->unacknowledged, r->unacknowledged_bytes, r->queued,
	    r->to_cloud_bytes, r->to_device_bytes);
}

/* The reasons that an answer names; what they mean is told once. */
struct named {
	bool is[R_COUNT];
};

static void
add_reason(struct text *out, const char *name, enum reason why, struct named *n)
{
	add_member(out, name, reason_word(why));
	n->is[why] = true;
}

/* <entry> or <row> may be NULL, but not both. */
static void
add_device(struct text *out, const struct admin_facts *f,
    const struct credential *entry, const struct survey_row *row,
    struct named *named)
{
	static const struct session_report never = {
	    .presence = PRESENCE_OFFLINE};
	const struct session_report *r = row != NULL ? &row->now : &never;

	text_add(out, "{\"label\":");
	json_add_string(out, entry != NULL ? entry->label : row->label);
	add_member(out, "product_key",
	    entry != NULL ? entry->product_key : row->product_key);
	add_member(out, "device_name",
	    entry != NULL ? entry->device_name : row->device_name);
	add_member(out, "state", presence_word(r->presence));
	text_add(out, ",\"since\":");
	if (row != NULL)
		add_time(out, wall_ms(f, r->since_ms));
	else
		text_add(out, "null");
	if (row != NULL)
		text_add(out, ",\"seconds\":%" PRIu64,
		    (f->mono_ms - r->since_ms) / 1000);
	add_member(out, "peer", r->peer);
	add_reason(out, "reason", r->is_past ? R_NONE : r->reason, named);
	add_member(out, "detail", r->is_past ? "" : r->detail);
	if (r->is_past) {
		add_reason(out, "last_reason", r->reason, named);
		add_member(out, "last_detail", r->detail);
	}
	add_member(out, "host", entry != NULL ? entry->host : "");
	if (r->presence != PRESENCE_OFFLINE) {
		add_member(out, "link", link_state_word(r->link));
		add_member(out, "transport", transport_word(r->transport));
		text_add(out, ",\"port\":%u,\"level\":%u", r->port, r->level);
		add_traffic(out, r);
	}
	text_add(out, "}");
}

/* A list whose members come one by one. */
struct list {
	struct text *out;
	const struct admin_facts *f;
	struct named *named;
	unsigned n;
};

static void
add_to_list(struct list *l, const struct credential *entry,
    const struct survey_row *row)
{
	if (l->n++ > 0)
		text_add(l->out, ",");
	add_device(l->out, l->f, entry, row, l->named);
}

/* Those with a session, whether or not they are in the map any more. */
static size_t
list_sessions(struct list *l, const struct survey_row **rows, size_t n)
{
	size_t of_map = 0;

	for (size_t i = 0; i < n; i++) {
		const struct credential *entry = credmap_by_identity(
		    l->f->devices, rows[i]->product_key, rows[i]->device_name);

		if (rows[i]->now.presence == PRESENCE_OFFLINE)
			continue;
		of_map += entry != NULL;
		add_to_list(l, entry, rows[i]);
	}
	return of_map;
}

/* Those of the map that had one; returns how many. */
static unsigned
list_departed(struct list *l, const struct survey_row **rows, size_t n)
{
	unsigned told = 0;

	for (size_t i = 0; i < n && told < ADMIN_OFFLINE_MAX; i++) {
		const struct credential *entry = credmap_by_identity(
		    l->f->devices, rows[i]->product_key, rows[i]->device_name);

		if (entry == NULL || rows[i]->now.presence != PRESENCE_OFFLINE)
			continue;
		told++;
		add_to_list(l, entry, rows[i]);
	}
	return told;
}

/* And those of which nothing is known, in the order of the map, which is not
   gone through further than there is room for what is found. */
static void
list_unseen(
    struct list *l, const struct survey_row **rows, size_t n, unsigned told)
{
	size_t all = credmap_count(l->f->devices);

	for (size_t i = 0; i < all && told < ADMIN_OFFLINE_MAX; i++) {
		const struct credential *entry = credmap_at(l->f->devices, i);

		if (survey_find(rows, n, entry->product_key,
			entry->device_name) != NULL)
			continue;
		told++;
		add_to_list(l, entry, NULL);
	}
}

static void
list_one(struct list *l, const struct survey_row **rows, size_t n)
{
	const struct credential *entry =
	    credmap_by_label(l->f->devices, l->f->label);

	if (entry != NULL)
		add_to_list(l, entry,
		    survey_find(
			rows, n, entry->product_key, entry->device_name));
}

static void
add_sessions(struct text *out, const struct survey *s)
{
	struct survey_part sum;

	survey_sum(s, &sum);
	text_add(out, ",\"sessions\":{");
	for (int p = 0; p < PRESENCE_OFFLINE; p++)
		text_add(out, "%s\"%s\":%u", p > 0 ? "," : "",
		    presence_word((enum presence)p), sum.of[p]);
	text_add(out, "}");
}

/* A worker had no memory for what it knows. */
static bool
is_incomplete(const struct survey *s)
{
	for (unsigned i = 0; i < survey_workers(s); i++)
		if (survey_part(s, i)->rows == NULL)
			return true;
	return false;
}

static void
add_devices(struct text *out, const struct admin_facts *f, struct named *named)
{
	size_t n, of_map;
	const struct survey_row **rows = survey_rows(f->survey, &n);
	struct list l = {.out = out, .f = f, .named = named};

	add_sessions(out, f->survey);
	if (is_incomplete(f->survey)) {
		text_add(out, ",\"devices\":null");
		free(rows);
		return;
	}
	text_add(out, ",\"devices\":[");
	if (f->label != NULL) {
		list_one(&l, rows, n);
		text_add(out, "]");
	} else {
		of_map = list_sessions(&l, rows, n);
		list_unseen(&l, rows, n, list_departed(&l, rows, n));
		text_add(out, "],\"offline\":%zu",
		    credmap_count(f->devices) - of_map);
	}
	free(rows);
}

/* ---- who was not let in ---- */

/* How devices.ini would have it; null: it cannot. */
static void
add_for_map(struct text *out, const char *name, const char *text)
{
	if (text[0] != '\0')
		add_member(out, name, text);
	else
		text_add(out, ",\"%s\":null", name);
}

static void
add_turned_away(struct text *out, const struct refused *r, struct named *named)
{
	text_add(out, ",\"turned_away\":[");
	for (unsigned i = 0; i < r->n; i++) {
		const struct refused_device *d = &r->devices[i];

		text_add(out, "%s{\"client_id\":", i > 0 ? "," : "");
		json_add_string(out, d->client_id);
		add_member(out, "username", d->username);
		add_for_map(out, "match_client_id", d->match_client_id);
		add_for_map(out, "match_username", d->match_username);
		add_member(out, "address", d->address);
		add_member(out, "entry", d->label);
		add_reason(out, "why", d->reason, named);
		text_add(out, ",\"times\":%" PRIu64 ",\"first\":", d->times);
		add_time(out, d->first_ms);
		text_add(out, ",\"last\":");
		add_time(out, d->last_ms);
		text_add(out, "}");
	}
	text_add(out, "]");
}

/* ---- the way to the cloud ---- */

static void
add_counts(struct text *out, const char *name,
    const uint64_t count[static R_COUNT], struct named *named)
{
	const char *comma = "";

	text_add(out, ",\"%s\":{", name);
	for (int i = 0; i < R_COUNT; i++) {
		if (count[i] == 0)
			continue;
		text_add(out, "%s\"%s\":%" PRIu64, comma,
		    reason_word((enum reason)i), count[i]);
		named->is[i] = true;
		comma = ",";
	}
	text_add(out, "}");
}

static void
add_cloud(struct text *out, const struct admin_facts *f, struct named *named)
{
	struct survey_part sum;
	const struct link_tally *t = &sum.links;

	survey_sum(f->survey, &sum);
	text_add(out, ",\"cloud\":{\"dials_accepted\":%" PRIu64, t->accepted);
	add_time_or_null(out, "last_accepted",
	    t->accepted_ms != 0 ? wall_ms(f, t->accepted_ms) : 0);
	add_counts(out, "dials_failed", t->failed, named);
	add_time_or_null(out, "last_failed",
	    t->failure.at_ms != 0 ? wall_ms(f, t->failure.at_ms) : 0);
	add_reason(out, "last_failed_why", t->failure.why, named);
	text_add(out, ",\"is_failing\":%s",
	    t->failure.at_ms > t->accepted_ms ? "true" : "false");
	add_counts(out, "links_lost", t->lost, named);
	add_time_or_null(
	    out, "certificate_expires", (uint64_t)sum.cert_expires_s * 1000);
	add_time_or_null(
	    out, "root_expires", (uint64_t)t->root_expires_s * 1000);
	text_add(out, "}");
}

static void
add_hints(struct text *out, const struct named *named)
{
	const char *comma = "";

	text_add(out, ",\"hints\":{");
	for (int i = R_NONE + 1; i < R_COUNT; i++) {
		if (!named->is[i])
			continue;
		text_add(out, "%s\"%s\":", comma, reason_word((enum reason)i));
		json_add_string(out, reason_hint((enum reason)i));
		comma = ",";
	}
	text_add(out, "}");
}

/* ---- all of it ---- */

void
admin_write_status(struct text *out, const struct admin_facts *f)
{
	struct named named = {0};

	text_add(out, "{\"version\":");
	json_add_string(out, PACKAGE_VERSION);
	text_add(out, ",\"pid\":%ld,\"started\":", f->pid);
	add_time(out, f->started_ms);
	text_add(out, ",\"now\":");
	add_time(out, f->wall_ms);
	text_add(out,
	    ",\"uptime_seconds\":%" PRIu64
	    ",\"workers\":%u,\"connections\":%u,\"unready\":",
	    f->uptime_ms / 1000, f->workers, f->connections);
	if (f->unready != NULL)
		json_add_string(out, f->unready);
	else
		text_add(out, "null");
	text_add(out, ",\"map\":");
	add_map(out, f->map);
	if (f->survey != NULL && f->devices != NULL)
		add_devices(out, f, &named);
	if (f->refused != NULL && f->label == NULL)
		add_turned_away(out, f->refused, &named);
	if (f->survey != NULL && f->label == NULL)
		add_cloud(out, f, &named);
	add_hints(out, &named);
	text_add(out, "}\n");
}
