/*
 * The rules that map the topics of the device to those of the cloud and back
 * (settings/topic_map.h), applied to its packets. Nothing of this is called for
 * an entry without rules.
 */
#include "session/session_parts.h"

#include "base/log.h"
#include "codec/mqtt_property.h"

enum {
	FILTERS_MAX = 100, /* of one packet: each may meet every rule */
	ACKS_BYTES_MAX = 4096,
	TOPIC_NAME_INVALID = 0x90
};

bool
session_keep_client_id(struct session *s, struct span client_id)
{
	return s->entry->topics == NULL ||
	       buffer_append(&s->client_id, client_id);
}

static struct topic_names
names_of(const struct session *s)
{
	return (struct topic_names){.pk = span_of_string(s->entry->product_key),
	    .dn = span_of_string(s->entry->device_name),
	    .label = span_of_string(s->entry->label),
	    .client_id = buffer_span(&s->client_id)};
}

static bool
passes_unmapped(const struct session *s)
{
	return s->entry->policies.topic_unmapped == TOPIC_UNMAPPED_PASS;
}

/* ---- Response Topic (3.3.2.3.5) ---- */

/* A topic on the other side, made of one of ours. */
typedef bool map_response(
    const struct session *s, struct span from, struct topic_text *to);

/* What the cloud's filters for a name of the LAN come to. */
struct only {
	struct topic_text *text;
	unsigned count;
};

static void
take_only(void *arg, struct span filter)
{
	struct only *only = arg;

	if (only->count++ > 0)
		return;
	topic_text_begin_cloud(only->text);
	topic_text_put(only->text, filter);
}

/* Where the cloud has to answer so that it comes down as <from>. */
static bool
response_up(const struct session *s, struct span from, struct topic_text *to)
{
	const struct topic_names names = names_of(s);
	struct only only = {.text = to};
	struct topic_filters filters = topic_map_filter_up(
	    s->entry->topics, &names, from, take_only, &only);

	return filters.count == 1 && !filters.wider &&
	       to->result == TOPIC_MAPPED;
}

/* Where the device has to answer so that it goes up as <from>. */
static bool
response_down(const struct session *s, struct span from, struct topic_text *to)
{
	const struct topic_names names = names_of(s);
	struct topic_text back;

	return topic_map_down(s->entry->topics, &names, from, to) ==
		   TOPIC_MAPPED &&
	       topic_map_up(s->entry->topics, &names, topic_text_span(to),
		   &back) == TOPIC_MAPPED &&
	       span_eq(topic_text_span(&back), from);
}

static bool
append_response(struct buffer *out, struct span topic)
{
	const uint8_t head[] = {
	    MQTT_RESPONSE_TOPIC, (uint8_t)(topic.n >> 8), (uint8_t)topic.n};

	return buffer_append(out, (struct span){head, sizeof(head)}) &&
	       buffer_append(out, topic);
}

/*
 * Puts the Response Topic of <*list> into what it is on the other side, in a
 * copy in <kept>. One that no rule maps passes by the entry's policy, or is
 * left out: nobody could answer there. False without memory.
 */
static bool
map_properties(const struct session *s, map_response *map, struct span *list,
    struct buffer *kept)
{
	struct span left = *list;
	struct mqtt_property p;
	struct topic_text to;
	bool ok = true;

	if (!mqtt_property_find(*list, MQTT_RESPONSE_TOPIC, &p))
		return true;
	while (ok && mqtt_property_next(&left, &p) == PARSE_OK) {
		if (p.id == MQTT_RESPONSE_TOPIC && map(s, p.text, &to))
			ok = append_response(kept, topic_text_span(&to));
		else if (p.id != MQTT_RESPONSE_TOPIC || passes_unmapped(s))
			ok = buffer_append(kept, p.whole);
	}
	*list = buffer_span(kept);
	return ok;
}

/* ---- PUBLISH ---- */

/*
 * Writes a PUBLISH with another topic and other properties: <p>, of whose
 * payload of <payload_bytes> only a part is here; it points to what was written
 * then, but for the properties, which are gone. False without memory, or when
 * it is too big.
 */
static bool
write_publish(const struct session *s, struct mqtt_packet *p,
    uint64_t payload_bytes, struct buffer *out)
{
	size_t n = mqtt_publish_head_size(p, s->level, payload_bytes);
	uint8_t *to = n > 0 ? buffer_reserve(out, n + p->payload.n) : NULL;

	if (to == NULL)
		return false;
	mqtt_publish_head_write(p, s->level, payload_bytes, to);
	if (p->payload.n > 0)
		memcpy(to + n, p->payload.p, p->payload.n);
	buffer_commit(out, n + p->payload.n);
	p->payload.p = to + n;
	/* and where these are now */
	(void)!mqtt_header_read((struct span){to, n}, &p->header);
	p->topic.p = to + p->header.header_bytes + 2;
	p->properties = (struct span){NULL, 0};
	return true;
}

enum session_mapped
session_map_up(const struct session *s, struct mqtt_packet *p,
    uint64_t payload_bytes, struct buffer *out, struct fault *why)
{
	const struct topic_names names = names_of(s);
	struct buffer properties = {0};
	struct topic_text to;
	bool ok;

	if (p->topic.n == 0) /* an alias, which the cloud refuses */
		return SESSION_UNMAPPED_PASSES;
	switch (topic_map_up(s->entry->topics, &names, p->topic, &to)) {
	case TOPIC_TOO_LONG:
		(void)fault_set(why, R_TOPIC_REFUSED,
		    "mapped, the topic is too long: there may be %s", to.limit);
		return SESSION_NOT_TAKEN;
	case TOPIC_UNMAPPED:
		(void)fault_set(why, R_TOPIC_UNMAPPED,
		    "a topic of %zu bytes that no rule maps", p->topic.n);
		return passes_unmapped(s) ? SESSION_UNMAPPED_PASSES
		       : s->entry->policies.topic_unmapped ==
			       TOPIC_UNMAPPED_DROP
			   ? SESSION_NOT_TAKEN
			   : SESSION_REFUSED;
	case TOPIC_MAPPED:
		break;
	}
	p->topic = topic_text_span(&to);
	ok = map_properties(s, response_up, &p->properties, &properties) &&
	     write_publish(s, p, payload_bytes, out);
	buffer_free(&properties);
	return ok ? SESSION_MAPPED : SESSION_NO_MEMORY;
}

/* What the cloud has to be told of a message that the device does not get. */
static void
acknowledge(struct session *s, const struct mqtt_packet *p)
{
	const struct mqtt_packet answer = {
	    .header.type = p->qos == 2 ? MQTT_PUBREC : MQTT_PUBACK,
	    .packet_id = p->packet_id,
	    /* ends the handshake; below level 5 the device ends it, which has
	       to answer a PUBREL that it knows nothing of */
	    .reason_code =
		p->qos == 2 && s->level >= 5 ? TOPIC_NAME_INVALID : 0};
	uint8_t out[MQTT_SMALL_MAX];

	s->down_dropped_count++;
	/* what is not acknowledged the cloud sends again, some day */
	if (p->qos == 0 || s->acks.n >= ACKS_BYTES_MAX)
		return;
	mqtt_packet_write(&answer, s->level, out);
	if (!buffer_append(&s->acks,
		(struct span){out, mqtt_packet_size(&answer, s->level)}))
		session_end_for(s, R_OUT_OF_MEMORY, "for a PUBACK");
}

bool
session_send_ack(struct session *s)
{
	struct span packet = buffer_span(&s->acks);

	if (packet.n == 0)
		return false;
	packet.n = 2 + (size_t)packet.p[1]; /* they are small */
	session_put_message(s, packet);
	buffer_drop(&s->acks, packet.n);
	return true;
}

enum session_mapped
session_map_down(
    struct session *s, const struct mqtt_packet *given, struct buffer *out)
{
	const struct topic_names names = names_of(s);
	uint64_t payload_bytes;
	struct mqtt_packet p = *given;
	struct buffer properties = {0};
	struct topic_text to;
	struct span head = p.topic;
	bool ok;

	if (topic_map_down(s->entry->topics, &names, p.topic, &to) !=
	    TOPIC_MAPPED) {
		if (passes_unmapped(s))
			return SESSION_UNMAPPED_PASSES;
		acknowledge(s, &p);
		return SESSION_NOT_TAKEN;
	}
	if (!asked_has(&s->memory->asked, topic_text_span(&to))) {
		acknowledge(s, &p);
		return SESSION_NOT_TAKEN;
	}
	/* what is between the topic's length and the payload */
	head.n = (size_t)(p.payload.p - head.p) + 2;
	payload_bytes = p.header.remaining - head.n;
	p.topic = topic_text_span(&to);
	ok = map_properties(s, response_down, &p.properties, &properties) &&
	     write_publish(s, &p, payload_bytes, out);
	buffer_free(&properties);
	return ok ? SESSION_MAPPED : SESSION_NO_MEMORY;
}

/* ---- SUBSCRIBE, UNSUBSCRIBE ---- */

void
session_map_filter(
    void *arg, struct span filter, subscribing_emit *emit, void *emit_arg)
{
	const struct session *s = arg;
	const struct topic_names names = names_of(s);
	struct topic_filters filters = topic_map_filter_up(
	    s->entry->topics, &names, filter, emit, emit_arg);

	if (filters.count == 0 && filters.too_long == 0 && passes_unmapped(s))
		emit(emit_arg, filter);
}

bool
session_has_many_filters(const struct mqtt_packet *p)
{
	struct span list = p->payload;
	struct mqtt_filter f;
	unsigned n = 0;

	while (n <= FILTERS_MAX && mqtt_filter_next(&list, p->header.type, &f))
		n++;
	return n > FILTERS_MAX;
}

static void
ignore(void *arg, struct span filter)
{
	(void)arg;
	(void)filter;
}

void
session_note_filters(struct session *s, const struct mqtt_packet *p)
{
	const struct topic_names names = names_of(s);
	struct asked *asked = &s->memory->asked;
	struct span list = p->payload;
	struct mqtt_filter f;

	while (mqtt_filter_next(&list, p->header.type, &f)) {
		struct topic_filters filters;

		if (p->header.type == MQTT_UNSUBSCRIBE) {
			asked_remove(asked, f.text);
			continue;
		}
		filters = topic_map_filter_up(
		    s->entry->topics, &names, f.text, ignore, NULL);
		asked_add(asked, f.text, filters.wider);
	}
}

/* ---- CONNECT ---- */

bool
session_map_will(const struct session *s, struct mqtt_connect *c,
    struct session_will_parts *parts)
{
	const struct topic_names names = names_of(s);
	struct topic_text *to = &parts->topic;

	if (topic_map_up(s->entry->topics, &names, c->will_topic, to) ==
	    TOPIC_MAPPED) {
		c->will_topic = topic_text_span(to);
	} else if (to->result == TOPIC_TOO_LONG || !passes_unmapped(s)) {
		c->has_will = false;
		SLOG(LOG_WARNING, s, "will_lost", "detail=\"%s\"",
		    to->result == TOPIC_TOO_LONG
			? "mapped, its topic is too long"
			: "no rule maps its topic");
		return true;
	}
	return map_properties(
	    s, response_up, &c->will_properties, &parts->properties);
}

bool
session_drop_aliases(struct mqtt_connect *c, struct buffer *kept)
{
	struct span left = c->properties;
	struct mqtt_property p;

	while (mqtt_property_next(&left, &p) == PARSE_OK)
		if (p.id != MQTT_TOPIC_ALIAS_MAXIMUM &&
		    !buffer_append(kept, p.whole))
			return false;
	c->properties = buffer_span(kept);
	return true;
}
