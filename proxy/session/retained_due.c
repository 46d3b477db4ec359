#include "session/retained_due.h"

#include "codec/mqtt_property.h"
#include "codec/mqtt_topic.h"

#include <stdlib.h>
#include <string.h>

enum {
	FAILURE = 0x80, /* and all above */
	NO_LOCAL = 0x04,
	HANDLING_SHIFT = 4,
	HANDLING_MASK = 0x03,
	ALWAYS = 0,
	IF_NEW = 1
};

/* Of a filter. */
enum state {
	WANTS, /* what is kept */
	WANTS_NONE,
	IS_GONE /* it was refused, or taken back */
};

struct retained_request {
	struct retained_request *next;
	uint16_t packet_id;
	bool granted;
	uint64_t after; /* the number of the message that was looked at last */
	uint64_t upto;  /* of the last one that it is due */
	size_t cost;    /* bytes of memory */
	struct span subscription_id;
	struct span filters; /* the payload of the packet */
	uint32_t n;
	uint8_t states[]; /* of each filter; behind them the bytes */
};

void
retained_due_init(struct retained_due *d, struct loop *loop, uint8_t level)
{
	*d = (struct retained_due){.loop = loop, .level = level};
}

static void
take_out(struct retained_due *d, struct retained_request **place)
{
	struct retained_request *r = *place;

	*place = r->next;
	d->kept_bytes -= r->cost;
	loop_uncount(d->loop, r->cost);
	free(r);
}

void
retained_due_free(struct retained_due *d)
{
	while (d->first != NULL)
		take_out(d, &d->first);
}

/* ---- what the device sends ---- */

static enum state
state_of(const struct retained_due *d, const struct mqtt_filter *f,
    const struct filter_set *held)
{
	unsigned handling =
	    (unsigned)f->options >> HANDLING_SHIFT & HANDLING_MASK;

	if (mqtt_topic_share_bytes(f->text) > 0)
		return WANTS_NONE;
	if (d->level < 5)
		return WANTS;
	if (f->options & NO_LOCAL)
		return WANTS_NONE;
	return handling == ALWAYS ||
		       (handling == IF_NEW && !filter_set_has(held, f->text))
		   ? WANTS
		   : WANTS_NONE;
}

/* RETAINED_DUE_FILTERS + 1: more. */
static uint32_t
count_filters(const struct mqtt_packet *p)
{
	struct span list = p->payload;
	struct mqtt_filter f;
	uint32_t n = 0;

	while (n <= RETAINED_DUE_FILTERS &&
	       mqtt_filter_next(&list, p->header.type, &f))
		n++;
	return n;
}

/* The one under way with this identifier; NULL: there is none. */
static struct retained_request **
find(struct retained_due *d, uint16_t packet_id)
{
	struct retained_request **place = &d->first;

	while (*place != NULL &&
	       ((*place)->granted || (*place)->packet_id != packet_id))
		place = &(*place)->next;
	return *place != NULL ? place : NULL;
}

static void
append(struct retained_due *d, struct retained_request *r)
{
	struct retained_request **place = &d->first;

	while (*place != NULL)
		place = &(*place)->next;
	*place = r;
	d->kept_bytes += r->cost;
	loop_count(d->loop, r->cost);
}

static void
note_subscribe(struct retained_due *d, const struct mqtt_packet *p, uint32_t n,
    const struct filter_set *held)
{
	struct mqtt_property id = {.whole = {NULL, 0}};
	struct retained_request *r;
	struct span left;
	struct mqtt_filter f;
	uint8_t *to;
	size_t cost;

	(void)!mqtt_property_find(
	    p->properties, MQTT_SUBSCRIPTION_IDENTIFIER, &id);
	cost = sizeof(*r) + n + id.whole.n + p->payload.n;
	/* at level 3 it may come twice before it is answered */
	r = find(d, p->packet_id) == NULL ? calloc(1, cost) : NULL;
	if (r == NULL)
		return;
	to = r->states + n;
	if (id.whole.n > 0)
		memcpy(to, id.whole.p, id.whole.n);
	memcpy(to + id.whole.n, p->payload.p, p->payload.n);
	r->packet_id = p->packet_id;
	r->cost = cost;
	r->subscription_id = (struct span){to, id.whole.n};
	r->filters = (struct span){to + id.whole.n, p->payload.n};
	r->n = n;
	left = r->filters;
	for (uint32_t i = 0; mqtt_filter_next(&left, MQTT_SUBSCRIBE, &f); i++)
		r->states[i] = (uint8_t)state_of(d, &f, held);
	append(d, r);
}

/* What was asked for before by <filter> is not wanted any more. */
static void
take_back(struct retained_due *d, struct span filter)
{
	struct retained_request *r;
	struct mqtt_filter f;

	for (r = d->first; r != NULL; r = r->next) {
		struct span left = r->filters;

		for (uint32_t i = 0;
		     mqtt_filter_next(&left, MQTT_SUBSCRIBE, &f); i++)
			if (span_eq(f.text, filter))
				r->states[i] = IS_GONE;
	}
}

void
retained_due_note(struct retained_due *d, const struct mqtt_packet *p,
    struct filter_set *held)
{
	uint32_t n = count_filters(p);
	struct span left = p->payload;
	struct mqtt_filter f;

	if (p->header.type == MQTT_SUBSCRIBE) {
		if (n <= RETAINED_DUE_FILTERS)
			note_subscribe(d, p, n, held);
		return;
	}
	if (n > RETAINED_DUE_FILTERS) {
		retained_due_free(d);
		filter_set_free(held);
		return;
	}
	while (mqtt_filter_next(&left, MQTT_UNSUBSCRIBE, &f)) {
		take_back(d, f.text);
		filter_set_remove(held, f.text);
	}
}

/* ---- what it gets ---- */

void
retained_due_grant(struct retained_due *d, const struct mqtt_packet *suback,
    const struct retained *store, struct filter_set *held)
{
	struct retained_request **place = find(d, suback->packet_id);
	struct retained_request *r;
	struct span codes = suback->payload;
	struct span left;
	struct mqtt_filter f;
	uint8_t code;

	if (place == NULL)
		return;
	r = *place;
	left = r->filters;
	for (uint32_t i = 0; mqtt_filter_next(&left, MQTT_SUBSCRIBE, &f); i++) {
		if (!span_take_u8(&codes, &code) || code >= FAILURE)
			r->states[i] = IS_GONE;
		else if (d->level >= 5 && r->states[i] != IS_GONE)
			filter_set_add(held, f.text);
	}
	r->granted = true;
	r->upto = store->last_number;
	if (memchr(r->states, WANTS, r->n) == NULL)
		take_out(d, place);
}

static bool
wants(const struct retained_request *r, struct span topic)
{
	struct span left = r->filters;
	struct mqtt_filter f;

	for (uint32_t i = 0; mqtt_filter_next(&left, MQTT_SUBSCRIBE, &f); i++)
		if (r->states[i] == WANTS && mqtt_topic_matches(f.text, topic))
			return true;
	return false;
}

/* The next one for <r>; NULL: it has got all. */
static const struct retained_message *
next_of(const struct retained_due *d, struct retained_request *r,
    struct retained *store, uint64_t now_ms)
{
	const struct retained_message *m;

	while ((m = retained_next(store, r->after, now_ms)) != NULL &&
	       m->number <= r->upto) {
		r->after = m->number;
		/* it may be from a device of level 3, which has no rules */
		if (mqtt_topic_name_flaw(m->topic, d->level) == NULL &&
		    wants(r, m->topic))
			return m;
	}
	return NULL;
}

const struct retained_message *
retained_due_next(struct retained_due *d, struct retained *store,
    uint64_t now_ms, struct span *subscription_id)
{
	struct retained_request **place = &d->first;

	while (*place != NULL) {
		struct retained_request *r = *place;
		const struct retained_message *m;

		if (!r->granted) {
			place = &r->next;
			continue;
		}
		m = next_of(d, r, store, now_ms);
		if (m != NULL) {
			*subscription_id = r->subscription_id;
			return m;
		}
		take_out(d, place);
	}
	return NULL;
}
