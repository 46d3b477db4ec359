#include "session/retained.h"

#include "codec/mqtt_property.h"

#include <stdlib.h>
#include <string.h>

void
retained_init(struct retained *r, struct loop *loop)
{
	r->loop = loop;
}

/* Takes out the message at <place>. */
static void
take_out(struct retained *r, struct retained_message **place)
{
	struct retained_message *m = *place;

	*place = m->next;
	r->n--;
	r->kept_bytes -= m->cost;
	loop_uncount(r->loop, m->cost);
	free(m);
}

void
retained_free(struct retained *r)
{
	while (r->oldest != NULL)
		take_out(r, &r->oldest);
}

void
retained_remove(struct retained *r, struct span topic)
{
	struct retained_message **place = &r->oldest;

	while (*place != NULL && !span_eq((*place)->topic, topic))
		place = &(*place)->next;
	if (*place != NULL)
		take_out(r, place);
}

void
retained_drop(struct retained *r, struct span topic)
{
	retained_remove(r, topic);
	r->dropped++;
}

/* True when the worker's account would not be over half full. */
static bool
has_room(const struct retained *r, size_t more)
{
	size_t most = r->loop->kept_max / 2;

	return r->loop->kept_bytes <= most &&
	       more <= most - r->loop->kept_bytes;
}

void
retained_fit(struct retained *r)
{
	if (r->n == 0 || has_room(r, 0))
		return;
	r->dropped += r->n;
	retained_free(r);
}

/* ---- what comes ---- */

/* Not a matter of the message, or made anew when it is told. */
static bool
is_left_out(const struct mqtt_property *p)
{
	return p->id == MQTT_TOPIC_ALIAS ||
	       p->id == MQTT_MESSAGE_EXPIRY_INTERVAL;
}

static size_t
kept_properties_bytes(struct span list)
{
	struct mqtt_property p;
	size_t n = 0;

	while (mqtt_property_next(&list, &p) == PARSE_OK)
		n += is_left_out(&p) ? 0 : p.whole.n;
	return n;
}

/* Appends to <to>, which has room for it. */
static void
append(uint8_t *bytes, struct span *to, struct span from)
{
	to->p = bytes;
	if (from.n > 0)
		memcpy(bytes + to->n, from.p, from.n);
	to->n += from.n;
}

static void
fill(struct retained_message *m, const struct mqtt_packet *p)
{
	uint8_t *to = m->bytes;
	struct span left = p->properties;
	struct mqtt_property property;

	append(to, &m->topic, p->topic);
	to += m->topic.n;
	m->properties.p = to;
	while (mqtt_property_next(&left, &property) == PARSE_OK)
		if (!is_left_out(&property))
			append(to, &m->properties, property.whole);
	to += m->properties.n;
	append(to, &m->payload, p->payload);
	m->expires = mqtt_property_find(
	    p->properties, MQTT_MESSAGE_EXPIRY_INTERVAL, &property);
	m->expiry_s = m->expires ? property.value : 0;
}

/* Puts it behind all others, of which the oldest make room. */
static void
put_last(struct retained *r, struct retained_message *m)
{
	struct retained_message **place = &r->oldest;

	while (r->n >= RETAINED_MAX ||
	       m->cost > RETAINED_BYTES_MAX - r->kept_bytes) {
		take_out(r, &r->oldest);
		r->dropped++;
	}
	while (*place != NULL)
		place = &(*place)->next;
	*place = m;
	r->n++;
	r->kept_bytes += m->cost;
	loop_count(r->loop, m->cost);
}

void
retained_put(struct retained *r, const struct mqtt_packet *p, uint64_t now_ms)
{
	struct retained_message *m = NULL;
	size_t cost = sizeof(*m) + p->topic.n +
		      kept_properties_bytes(p->properties) + p->payload.n;

	retained_remove(r, p->topic);
	if (p->payload.n == 0)
		return;
	if (cost <= RETAINED_BYTES_MAX && has_room(r, cost))
		m = calloc(1, cost);
	if (m == NULL) {
		r->dropped++;
		return;
	}
	m->number = ++r->last_number;
	m->came_ms = now_ms;
	m->cost = cost;
	fill(m, p);
	put_last(r, m);
}

/* ---- what is told ---- */

/* Seconds that are left to one that expires; 0: none. */
static uint32_t
left_s(const struct retained_message *m, uint64_t now_ms)
{
	uint64_t waited_s = (now_ms - m->came_ms) / 1000;

	return waited_s < m->expiry_s ? m->expiry_s - (uint32_t)waited_s : 0;
}

const struct retained_message *
retained_next(struct retained *r, uint64_t after, uint64_t now_ms)
{
	struct retained_message **place = &r->oldest;

	while (*place != NULL) {
		struct retained_message *m = *place;

		if (m->expires && left_s(m, now_ms) == 0)
			take_out(r, place);
		else if (m->number > after)
			return m;
		else
			place = &m->next;
	}
	return NULL;
}

static bool
append_expiry(struct buffer *out, uint32_t s)
{
	const uint8_t property[] = {MQTT_MESSAGE_EXPIRY_INTERVAL,
	    (uint8_t)(s >> 24), (uint8_t)(s >> 16), (uint8_t)(s >> 8),
	    (uint8_t)s};

	return buffer_append(out, (struct span){property, sizeof(property)});
}

bool
retained_write(const struct retained_message *m, uint8_t level,
    struct span subscription_id, uint64_t now_ms, struct buffer *out)
{
	struct mqtt_packet p = {.header.type = MQTT_PUBLISH,
	    .retain = true,
	    .topic = m->topic,
	    .payload = m->payload};
	struct buffer properties = {0};
	uint8_t *to = NULL;
	size_t n = 0;

	if ((!m->expires || append_expiry(&properties, left_s(m, now_ms))) &&
	    buffer_append(&properties, m->properties) &&
	    buffer_append(&properties, subscription_id)) {
		p.properties = buffer_span(&properties);
		n = mqtt_packet_size(&p, level);
		to = buffer_reserve(out, n);
	}
	if (to != NULL) {
		mqtt_packet_write(&p, level, to);
		buffer_commit(out, n);
	}
	buffer_free(&properties);
	return to != NULL;
}
