#include "session/subscribing.h"

#include "codec/mqtt_property.h"

#include <stdlib.h>

enum {
	FAILURE = 0x80, /* and all above */
	SUCCESS = 0x00,
	NO_SUBSCRIPTION_EXISTED = 0x11,
	TOPIC_FILTER_INVALID = 0x8f,
	NO_CODE = 0xff /* yet; no reason code (table 2-6) */
};

/* One filter of a kept packet. */
struct state {
	uint8_t code;  /* of the cloud's filters that it became, merged */
	uint16_t sent; /* how many of those are in the part under way */
};

struct exchange {
	TAILQ_ENTRY(exchange) next;
	enum mqtt_type type;
	uint16_t packet_id;
	bool passed;  /* as it was: nothing but <due> is set below */
	bool is_own;  /* not the device's */
	uint32_t due; /* codes; 0: nothing is under way */
	size_t bytes; /* allocated */
	struct span properties;
	struct span all;    /* filters */
	struct span left;   /* filters that are not, or not wholly, sent */
	uint32_t left_from; /* the number of the first of them */
	uint32_t left_skip; /* of the cloud's filters for it: are sent */
	uint32_t part_from; /* the first filter of the part under way */
	bool went_up;       /* a part has */
	bool acknowledged;  /* the first part is */
	struct buffer ack_properties;
	uint32_t n;
	struct state filters[]; /* behind them the properties and filters */
};

/* A part under construction. */
struct part {
	const struct subscribing_rules *rules;
	enum mqtt_type type;
	struct buffer payload;
	size_t payload_max;
	uint32_t filters;
	/* the device's filter being mapped */
	uint8_t options;
	uint32_t skip;  /* of the cloud's filters for it, at the start */
	uint32_t seen;  /* of them so far */
	bool stays;     /* one of them does, and is done with */
	uint16_t taken; /* of them into this part */
	bool over;      /* there was no place for one more */
	bool no_memory;
};

void
subscribing_init(struct subscribing *s, uint8_t level)
{
	*s = (struct subscribing){.level = level};
	TAILQ_INIT(&s->exchanges);
}

static void
forget(struct subscribing *s, struct exchange *e)
{
	TAILQ_REMOVE(&s->exchanges, e, next);
	s->count--;
	s->kept_bytes -= e->bytes;
	buffer_free(&e->ack_properties);
	free(e);
}

void
subscribing_free(struct subscribing *s)
{
	struct exchange *e;

	while ((e = TAILQ_FIRST(&s->exchanges)) != NULL)
		forget(s, e);
}

static struct exchange *
find(const struct subscribing *s, uint16_t packet_id)
{
	struct exchange *e;

	TAILQ_FOREACH (e, &s->exchanges, next)
		if (e->packet_id == packet_id)
			return e;
	return NULL;
}

bool
subscribing_has(const struct subscribing *s, uint16_t packet_id)
{
	return find(s, packet_id) != NULL;
}

/* ---- what the device has sent ---- */

static void
map(const struct subscribing_rules *rules, enum mqtt_type type,
    struct span filter, subscribing_emit *emit, void *emit_arg)
{
	if (rules->map != NULL)
		rules->map(rules->arg, type, filter, emit, emit_arg);
	else
		emit(emit_arg, filter, false);
}

/* A filter, and how many others it became. */
struct likeness {
	struct span filter;
	unsigned same;
	unsigned other;
};

static void
compare(void *arg, struct span filter, bool stays)
{
	struct likeness *l = arg;

	if (!stays && span_eq(filter, l->filter))
		l->same++;
	else
		l->other++;
}

/* True when the cloud takes <p> as it is. *n: its filters. */
static bool
suits(const struct mqtt_packet *p, const struct subscribing_rules *rules,
    uint32_t *n)
{
	struct span list = p->payload;
	struct mqtt_filter f;
	bool all = true;

	for (*n = 0; mqtt_filter_next(&list, p->header.type, &f); ++*n) {
		struct likeness l = {.filter = f.text};

		if (!all)
			continue;
		map(rules, p->header.type, f.text, compare, &l);
		all = f.qos <= rules->qos_max && l.same == 1 && l.other == 0;
	}
	return all && (rules->filters_max == 0 || *n <= rules->filters_max);
}

/* True when packets wait for their turn. */
static bool
has_parts_left(const struct subscribing *s)
{
	const struct exchange *e;

	TAILQ_FOREACH (e, &s->exchanges, next)
		if (e->left.n > 0)
			return true;
	return false;
}

/* Only that it is under way. */
static struct exchange *
note(uint32_t n)
{
	struct exchange *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->passed = true;
	e->due = n;
	return e;
}

static struct span
copy(uint8_t *to, struct span from)
{
	if (from.n > 0)
		memcpy(to, from.p, from.n);
	return (struct span){to, from.n};
}

/* All of it. */
static struct exchange *
keep(const struct mqtt_packet *p, uint32_t n)
{
	size_t fixed = sizeof(struct exchange) + n * sizeof(struct state);
	size_t bytes = fixed + p->properties.n + p->payload.n;
	struct exchange *e = malloc(bytes);
	uint8_t *behind = (uint8_t *)e + fixed;

	if (e == NULL)
		return NULL;
	*e = (struct exchange){.bytes = bytes, .n = n};
	for (uint32_t i = 0; i < n; i++)
		e->filters[i] = (struct state){.code = NO_CODE};
	e->properties = copy(behind, p->properties);
	e->all = copy(behind + p->properties.n, p->payload);
	e->left = e->all;
	return e;
}

static const char *
name(enum mqtt_type type)
{
	switch ((int)type) {
	case MQTT_SUBSCRIBE:
		return "SUBSCRIBE";
	case MQTT_UNSUBSCRIBE:
		return "UNSUBSCRIBE";
	case MQTT_SUBACK:
		return "SUBACK";
	default:
		return "UNSUBACK";
	}
}

/* For a packet whose identifier is that of <e>. */
static enum subscribing_move
take_again(const struct subscribing *s, const struct exchange *e,
    const struct mqtt_packet *p, struct fault *why)
{
	/* MQTT 3.1, 2.1: clients may send again what is not answered yet */
	if (s->level == 3 && p->dup && e->type == p->header.type)
		return SUBSCRIBING_TAKEN;
	(void)fault_set(why, R_BAD_PACKET,
	    "%s: the packet identifier %u is in use by a %s (MQTT-2.2.1-3)",
	    name(p->header.type), p->packet_id, name(e->type));
	return SUBSCRIBING_BAD;
}

enum subscribing_move
subscribing_take(struct subscribing *s, const struct mqtt_packet *p,
    const struct subscribing_rules *rules, struct fault *why)
{
	struct exchange *e = find(s, p->packet_id);
	bool passes;
	uint32_t n;

	if (e != NULL && e->is_own)
		return SUBSCRIBING_WAIT;
	if (e != NULL)
		return take_again(s, e, p, why);
	if (s->count >= SUBSCRIBING_MAX ||
	    s->kept_bytes >= SUBSCRIBING_KEPT_BYTES)
		return SUBSCRIBING_WAIT;
	passes = suits(p, rules, &n) && !has_parts_left(s) &&
		 rules->on_answer == NULL;
	e = passes ? note(n) : keep(p, n);
	if (e == NULL)
		return SUBSCRIBING_NO_MEMORY;
	e->type = p->header.type;
	e->packet_id = p->packet_id;
	s->count++;
	s->kept_bytes += e->bytes;
	TAILQ_INSERT_TAIL(&s->exchanges, e, next);
	return passes ? SUBSCRIBING_PASS : SUBSCRIBING_TAKEN;
}

/* ---- over another link ---- */

static void
restart(struct exchange *e)
{
	e->left = e->all;
	e->left_from = e->left_skip = e->part_from = e->due = 0;
	e->acknowledged = e->went_up = false;
	buffer_free(&e->ack_properties);
	for (uint32_t i = 0; i < e->n; i++)
		e->filters[i] = (struct state){.code = NO_CODE};
}

void
subscribing_restart(struct subscribing *s)
{
	struct exchange *e, *after;

	for (e = TAILQ_FIRST(&s->exchanges); e != NULL; e = after) {
		after = TAILQ_NEXT(e, next);
		if (e->is_own) /* the next cloud may not need it */
			forget(s, e);
		else
			restart(e);
	}
}

bool
subscribing_restore(struct subscribing *s, uint16_t packet_id,
    struct span properties, struct span filters, uint32_t n)
{
	const struct mqtt_packet p = {
	    .properties = properties, .payload = filters};
	struct exchange *e = keep(&p, n);
	struct exchange *before;

	if (e == NULL)
		return false;
	e->type = MQTT_SUBSCRIBE;
	e->packet_id = packet_id;
	e->is_own = true;
	s->count++;
	s->kept_bytes += e->bytes;
	TAILQ_FOREACH (before, &s->exchanges, next)
		if (!before->is_own)
			break;
	if (before != NULL)
		TAILQ_INSERT_BEFORE(before, e, next);
	else
		TAILQ_INSERT_TAIL(&s->exchanges, e, next);
	return true;
}

/* ---- what the cloud has answered ---- */

/*
 * Both for SUBACK, where a filter is granted with the lowest QoS granted to
 * what it became, and for UNSUBACK, where a subscription existed (0) if any of
 * those did: the lower code, but a failure, the first, before all.
 */
static uint8_t
merge(uint8_t old, uint8_t code)
{
	if (old == NO_CODE)
		return code;
	if (old >= FAILURE || (code < FAILURE && old < code))
		return old;
	return code;
}

/* The codes of the part under way; without <codes> all are success. */
static void
merge_codes(struct exchange *e, struct span codes)
{
	struct state *f = &e->filters[e->part_from];

	for (; e->due > 0; f++) {
		for (; f->sent > 0; f->sent--, e->due--) {
			uint8_t code = 0;

			(void)!span_take_u8(&codes, &code);
			f->code = merge(f->code, code);
		}
	}
}

/* As many of <list> as there is room for. False without memory. */
static bool
keep_ack_properties(struct exchange *e, struct span list)
{
	struct mqtt_property p;

	while (mqtt_property_next(&list, &p) == PARSE_OK)
		if (e->ack_properties.n + p.whole.n <=
			SUBSCRIBING_ACK_PROPERTIES_BYTES &&
		    !buffer_append(&e->ack_properties, p.whole))
			return false;
	return true;
}

/* The exchange that <p> answers, if it does so in order; else NULL. */
static struct exchange *
answered(
    const struct subscribing *s, const struct mqtt_packet *p, struct fault *why)
{
	struct exchange *e = find(s, p->packet_id);
	uint32_t due;

	/* an acknowledgement's type is the one behind (table 2-1) */
	if (e == NULL || e->due == 0 || p->header.type != e->type + 1) {
		(void)fault_set(why, R_BAD_CLOUD_PACKET,
		    "%s: nothing waits for one with the packet identifier %u "
		    "(MQTT-2.2.1-6)",
		    name(p->header.type), p->packet_id);
		return NULL;
	}
	/* below level 5 UNSUBACK has none */
	due = e->type == MQTT_SUBSCRIBE || s->level >= 5 ? e->due : 0;
	if (p->payload.n == due)
		return e;
	(void)fault_set(why, R_BAD_CLOUD_PACKET,
	    "%s: %zu reason codes for %u topic filters (3.9.3, 3.11.3)",
	    name(p->header.type), p->payload.n, (unsigned)due);
	return NULL;
}

enum subscribing_move
subscribing_acknowledge(
    struct subscribing *s, const struct mqtt_packet *p, struct fault *why)
{
	struct exchange *e = answered(s, p, why);

	if (e == NULL)
		return SUBSCRIBING_BAD;
	if (e->passed) {
		forget(s, e);
		return SUBSCRIBING_PASS;
	}
	if (!e->acknowledged && !keep_ack_properties(e, p->properties)) {
		buffer_free(&e->ack_properties);
		return SUBSCRIBING_NO_MEMORY;
	}
	e->acknowledged = true;
	merge_codes(e, p->payload);
	return SUBSCRIBING_TAKEN;
}

/* ---- what is to be written ---- */

static bool
write_packet(const struct mqtt_packet *p, uint8_t level, struct buffer *out)
{
	size_t n = mqtt_packet_size(p, level);
	uint8_t *to = buffer_reserve(out, n);

	if (to == NULL)
		return false;
	mqtt_packet_write(p, level, to);
	buffer_commit(out, n);
	return true;
}

static bool
is_full(const struct part *part, size_t more)
{
	return part->taken == UINT16_MAX ||
	       (part->filters > 0 &&
		   (part->filters == part->rules->filters_max ||
		       part->payload.n + more > part->payload_max));
}

static bool
append_filter(struct part *part, struct span filter)
{
	uint8_t length[] = {(uint8_t)(filter.n >> 8), (uint8_t)filter.n};

	return buffer_append(&part->payload, (struct span){length, 2}) &&
	       buffer_append(&part->payload, filter) &&
	       (part->type != MQTT_SUBSCRIBE ||
		   buffer_append(
		       &part->payload, (struct span){&part->options, 1}));
}

/* One of the cloud's filters. */
static void
add_filter(void *arg, struct span filter, bool stays)
{
	struct part *part = arg;

	if (part->over || part->no_memory)
		return;
	part->stays |= stays;
	if (part->seen < part->skip || stays) {
		part->seen++;
	} else if (is_full(part, filter.n + 3)) {
		part->over = true;
	} else if (!append_filter(part, filter)) {
		part->no_memory = true;
	} else {
		part->seen++;
		part->taken++;
		part->filters++;
	}
}

/* The options byte has a lower QoS, maybe (3.8.3.1). */
static uint8_t
lower(const struct mqtt_filter *f, uint8_t qos_max)
{
	if (f->qos <= qos_max)
		return f->options;
	return (uint8_t)(f->options - f->qos + qos_max);
}

/* What is said here of a filter of which nothing, or not all, goes up. */
static uint8_t
code_here(enum mqtt_type type, uint8_t level, const struct part *part)
{
	if (part->stays)
		return SUCCESS;
	if (type == MQTT_UNSUBSCRIBE)
		return NO_SUBSCRIPTION_EXISTED;
	if (level == 3) /* MQTT 3.1, 3.8: it cannot be told */
		return part->options & 3;
	return level >= 5 ? TOPIC_FILTER_INVALID : FAILURE;
}

/* Fills <part> with filters from where the last part ended, as many as it
   takes, and says how far it got. */
static void
fill(struct exchange *e, struct part *part, uint8_t level)
{
	struct span left = e->left;
	uint32_t i = e->left_from;
	struct mqtt_filter f;

	part->skip = e->left_skip;
	while (mqtt_filter_next(&left, e->type, &f)) {
		part->options = lower(&f, part->rules->qos_max);
		part->seen = part->taken = 0;
		part->stays = false;
		map(part->rules, e->type, f.text, add_filter, part);
		if (part->no_memory)
			return;
		e->filters[i].sent = part->taken;
		if (part->over)
			break;
		if (part->seen == 0 || part->stays)
			e->filters[i].code = merge(e->filters[i].code,
			    code_here(e->type, level, part));
		part->skip = 0;
		e->left = left;
		i++;
	}
	e->part_from = e->left_from;
	e->left_from = i;
	e->left_skip = part->over ? part->seen : 0;
}

/* Writes the next part of <e>, if anything is left of it for the cloud; then
   e->due is not 0. False without memory. */
static bool
write_part(struct subscribing *s, struct exchange *e,
    const struct subscribing_rules *rules, struct buffer *out)
{
	struct mqtt_packet p = {.header.type = e->type,
	    .qos = 1,
	    .packet_id = e->packet_id,
	    .properties = e->properties};
	struct part part = {.rules = rules, .type = e->type};
	const struct exchange before = *e;
	bool ok;

	part.payload_max = e->properties.n < SUBSCRIBING_PART_BYTES
			       ? SUBSCRIBING_PART_BYTES - e->properties.n
			       : 0;
	fill(e, &part, s->level);
	p.payload = buffer_span(&part.payload);
	ok = !part.no_memory &&
	     (part.filters == 0 || write_packet(&p, s->level, out));
	buffer_free(&part.payload);
	if (!ok) {
		*e = before;
		return false;
	}
	e->due = part.filters;
	e->went_up |= part.filters > 0;
	return true;
}

/* The answer to a SUBSCRIBE of our own goes to nobody. */
static enum subscribing_to
end_own(struct subscribing *s, struct exchange *e)
{
	bool refused = false;

	for (uint32_t i = 0; i < e->n; i++)
		refused |= e->filters[i].code >= FAILURE;
	forget(s, e);
	return refused ? SUBSCRIBING_REFUSED : SUBSCRIBING_RESTORED;
}

/* Writes the acknowledgement of <e>, which is over then. False without memory.
 */
static bool
write_answer(struct subscribing *s, struct exchange *e,
    const struct subscribing_rules *rules, struct buffer *out)
{
	struct mqtt_packet p = {.header.type = e->type + 1,
	    .packet_id = e->packet_id,
	    .properties = buffer_span(&e->ack_properties)};
	struct buffer codes = {0};
	bool ok = true;

	if (e->type == MQTT_SUBSCRIBE || s->level >= 5)
		for (uint32_t i = 0; ok && i < e->n; i++)
			ok = buffer_append(
			    &codes, (struct span){&e->filters[i].code, 1});
	p.payload = buffer_span(&codes);
	ok = ok && write_packet(&p, s->level, out);
	if (ok && rules->on_answer != NULL)
		rules->on_answer(
		    rules->arg, e->type, e->properties, e->all, p.payload);
	buffer_free(&codes);
	if (ok)
		forget(s, e);
	return ok;
}

enum subscribing_to
subscribing_next(struct subscribing *s, const struct subscribing_rules *rules,
    struct buffer *out)
{
	struct exchange *e;

	TAILQ_FOREACH (e, &s->exchanges, next) {
		bool had_parts_left = e->left.n > 0;

		if (e->due == 0 && had_parts_left) {
			if (!write_part(s, e, rules, out))
				return SUBSCRIBING_STARVED;
			if (e->due > 0)
				return SUBSCRIBING_TO_CLOUD;
		}
		if (e->due == 0 && e->is_own)
			return end_own(s, e);
		if (e->due == 0 &&
		    (e->went_up || e == TAILQ_FIRST(&s->exchanges)))
			return write_answer(s, e, rules, out)
				   ? SUBSCRIBING_TO_DEVICE
				   : SUBSCRIBING_STARVED;
		if (e->due > 0 && had_parts_left)
			return SUBSCRIBING_NOTHING; /* nor for those behind */
	}
	return SUBSCRIBING_NOTHING;
}
