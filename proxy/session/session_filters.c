/*
 * The topic filters of a device's SUBSCRIBEs and UNSUBSCRIBEs: those of the
 * cloud that they become (settings/topic_map.h), of which the cloud only gets
 * what its contract takes, and what is remembered of them.
 */
#include "session/session_parts.h"

#include "base/fnv.h"
#include "base/log.h"
#include "codec/mqtt_topic.h"

enum { FILTERS_MAX = 100 }; /* of one packet: each may meet every rule */

/* ---- mapping ---- */

/* Calls <found> with what <filter> becomes, whatever the contract says. */
static struct topic_filters
become(const struct session *s, struct span filter,
    void (*found)(void *arg, struct span filter), void *arg)
{
	const struct topic_names names = session_names(s);
	struct topic_filters filters = {0};

	if (s->entry->topics != NULL)
		filters = topic_map_filter_up(
		    s->entry->topics, &names, filter, found, arg);
	if (filters.count == 0 && filters.too_long == 0 &&
	    (s->entry->topics == NULL || session_passes_unmapped(s))) {
		filters.count = 1;
		found(arg, filter);
	}
	return filters;
}

/* Where the filters of the cloud go. */
struct going {
	const struct session *s;
	enum mqtt_type type;
	subscribing_emit *emit;
	void *emit_arg;
	bool is_long; /* one was left out */
};

/* What is longer than any topic of the cloud brings nothing. */
static void
go(void *arg, struct span filter)
{
	struct going *g = arg;
	size_t share = g->s->level >= 5 ? mqtt_topic_share_bytes(filter) : 0;

	if (!contract_takes_topic(g->s->entry->contract,
		(struct span){filter.p + share, filter.n - share}))
		g->is_long = true;
	else
		g->emit(g->emit_arg, filter,
		    g->type == MQTT_UNSUBSCRIBE &&
			g->s->entry->topics != NULL &&
			asked_needs(&g->s->memory->asked, filter));
}

void
session_map_filter(void *arg, enum mqtt_type type, struct span filter,
    subscribing_emit *emit, void *emit_arg)
{
	struct going g = {
	    .s = arg, .type = type, .emit = emit, .emit_arg = emit_arg};

	(void)become(g.s, filter, go, &g);
}

bool
session_has_many_filters(const struct session *s, const struct mqtt_packet *p)
{
	struct span list = p->payload;
	struct mqtt_filter f;
	unsigned n = 0;

	if (s->entry->topics == NULL)
		return false;
	while (n <= FILTERS_MAX && mqtt_filter_next(&list, p->header.type, &f))
		n++;
	return n > FILTERS_MAX;
}

/* ---- what is refused ---- */

static void
count(void *arg, struct span filter, bool stays)
{
	(void)filter;
	(void)stays;
	++*(unsigned *)arg;
}

/* Whether nothing of it goes up, and why. */
static enum reason
refusal(const struct session *s, struct span filter)
{
	unsigned n = 0;
	struct going g = {
	    .s = s, .type = MQTT_SUBSCRIBE, .emit = count, .emit_arg = &n};
	struct topic_filters filters = become(s, filter, go, &g);

	if (n > 0)
		return R_NONE;
	return g.is_long || filters.too_long > 0 ? R_TOPIC_REFUSED
						 : R_TOPIC_UNMAPPED;
}

/* By SUBACK, which a device may not look at, or cannot: the first of them is
   told here too. */
void
session_tell_refused(struct session *s, const struct mqtt_packet *p)
{
	struct span list = p->payload;
	struct mqtt_filter f;

	if (p->header.type != MQTT_SUBSCRIBE)
		return;
	while (mqtt_filter_next(&list, p->header.type, &f)) {
		enum reason why = refusal(s, f.text);

		if (why != R_NONE && s->filters_refused++ == 0)
			SLOG(LOG_WARNING, s, "filter_refused",
			    "reason=%s detail=\"a topic filter of %zu bytes\""
			    " hint=\"%s\"",
			    reason_word(why), f.text.n, reason_hint(why));
	}
}

/* ---- what is remembered ---- */

static void
need(void *arg, struct span filter)
{
	asked_need(arg, filter);
}

static void
release(void *arg, struct span filter)
{
	asked_release(arg, filter);
}

static void
ignore(void *arg, struct span filter)
{
	(void)arg;
	(void)filter;
}

static void
note(struct session *s, enum mqtt_type type, struct span filter)
{
	struct asked *asked = &s->memory->asked;
	struct topic_filters filters;

	if (type == MQTT_UNSUBSCRIBE) {
		if (asked_remove(asked, filter))
			(void)become(s, filter, release, asked);
		return;
	}
	filters = become(s, filter, ignore, NULL);
	if (filters.count > 0 && asked_add(asked, filter, filters.wider))
		(void)become(s, filter, need, asked);
}

void
session_note_filters(struct session *s, const struct mqtt_packet *p)
{
	struct span list = p->payload;
	struct mqtt_filter f;

	if (s->entry->topics == NULL)
		return;
	while (mqtt_filter_next(&list, p->header.type, &f))
		note(s, p->header.type, f.text);
}

/* What becomes of a filter depends on these. */
static uint64_t
rules_id(const struct session *s)
{
	const struct topic_names names = session_names(s);
	const struct span all[] = {
	    names.pk, names.dn, names.label, names.client_id};
	uint64_t id = fnv_begin();

	if (s->entry->topics == NULL)
		return 0;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		id = fnv_add_text(id, all[i]);
	return id ^ topic_map_id(s->entry->topics);
}

void
session_recall_filters(struct session *s, bool fresh)
{
	if (fresh)
		asked_begin(&s->memory->asked, s->env->link.loop, rules_id(s));
	else
		asked_resume(&s->memory->asked, rules_id(s));
}
