/*
 * The rules that map the topics of the device to those of the cloud and back
 * (settings/topic_map.h), applied to its packets. Nothing of this is called for
 * an entry without rules.
 */
#include "session/session_parts.h"

#include "base/log.h"
#include "codec/mqtt_property.h"

enum { ACKS_BYTES_MAX = 4096, TOPIC_NAME_INVALID = 0x90 };

bool
session_keep_client_id(struct session *s, struct span client_id)
{
	return s->entry->topics == NULL ||
	       buffer_append(&s->client_id, client_id);
}

struct topic_names
session_names(const struct session *s)
{
	return (struct topic_names){.pk = span_of_string(s->entry->product_key),
	    .dn = span_of_string(s->entry->device_name),
	    .label = span_of_string(s->entry->label),
	    .client_id = buffer_span(&s->client_id)};
}

bool
session_passes_unmapped(const struct session *s)
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
	const struct topic_names names = session_names(s);
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
	const struct topic_names names = session_names(s);
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
		else if (p.id != MQTT_RESPONSE_TOPIC ||
			 session_passes_unmapped(s))
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

/*
 * Writes <p>, whose topic is mapped already. NOT_TAKEN: it is over <max> bytes,
 * the Maximum Packet Size of the other side (3.1.2.11.4, 3.2.2.3.6; 0: none),
 * by now; *bytes: what it has.
 */
static enum session_mapped
write_mapped(const struct session *s, struct mqtt_packet *p, map_response *map,
    uint64_t payload_bytes, uint32_t max, struct buffer *out, uint64_t *bytes)
{
	struct buffer properties = {0};
	enum session_mapped done = SESSION_NO_MEMORY;

	if (map_properties(s, map, &p->properties, &properties)) {
		*bytes = mqtt_publish_head_size(p, s->level, payload_bytes) +
			 payload_bytes;
		if (max != 0 && *bytes > max)
			done = SESSION_NOT_TAKEN;
		else if (write_publish(s, p, payload_bytes, out))
			done = SESSION_MAPPED;
	}
	buffer_free(&properties);
	return done;
}

enum session_mapped
session_map_up(const struct session *s, struct mqtt_packet *p,
    uint64_t payload_bytes, struct buffer *out, struct fault *why)
{
	const struct topic_names names = session_names(s);
	enum session_mapped done;
	struct topic_text to;
	uint64_t bytes;

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
		return session_passes_unmapped(s) ? SESSION_UNMAPPED_PASSES
		       : s->entry->policies.topic_unmapped ==
			       TOPIC_UNMAPPED_DROP
			   ? SESSION_NOT_TAKEN
			   : SESSION_REFUSED;
	case TOPIC_MAPPED:
		break;
	}
	p->topic = topic_text_span(&to);
	done = write_mapped(
	    s, p, response_up, payload_bytes, s->cloud_packet_max, out, &bytes);
	if (done == SESSION_NOT_TAKEN)
		(void)fault_set(why, R_MESSAGE_TOO_BIG,
		    "mapped, a PUBLISH of %llu bytes, the Maximum Packet Size "
		    "of the cloud's CONNACK is %u",
		    (unsigned long long)bytes, s->cloud_packet_max);
	return done;
}

/* What the cloud has to be told of a message that the device does not get. */
static void
acknowledge(struct session *s, const struct mqtt_packet *p)
{
	/* ends the handshake; below level 5 the device ends it, which has to
	   answer a PUBREL that it knows nothing of */
	bool goes_on = p->qos == 2 && s->level < 5;
	struct mqtt_packet answer = {
	    .header.type = p->qos == 2 ? MQTT_PUBREC : MQTT_PUBACK,
	    .packet_id = p->packet_id,
	    .reason_code = p->qos == 2 && !goes_on ? TOPIC_NAME_INVALID : 0};
	uint8_t out[MQTT_SMALL_MAX];

	if (goes_on)
		answer.packet_id =
		    outbound_for_cloud(&s->outbound, p->packet_id);
	else if (p->qos > 0)
		(void)!outbound_acknowledge(&s->outbound, &answer.packet_id);

	s->down_dropped_count++;
	/* what is not acknowledged the cloud sends again, some day */
	if (p->qos == 0 || s->acks.n >= ACKS_BYTES_MAX)
		return;
	mqtt_packet_write(&answer, s->level, out);
	if (!buffer_append(&s->acks,
		(struct span){out, mqtt_packet_size(&answer, s->level)}))
		session_end_for(s, R_OUT_OF_MEMORY, "for a PUBACK");
}

/* 3.1.2.11.4: what the device does not take is not sent to it, and done with
   (MQTT-3.1.2-24, -25). */
static void
drop_oversize(struct session *s, const struct mqtt_packet *p, uint64_t bytes)
{
	if (s->down_oversize++ == 0)
		SLOG(LOG_WARNING, s, "message_dropped",
		    "reason=packet_too_big detail=\"mapped down, a PUBLISH of "
		    "%llu bytes, the Maximum Packet Size of the device's "
		    "CONNECT is %u\" hint=\"have the device take more, or give "
		    "it shorter topics (topic.N.lan)\"",
		    (unsigned long long)bytes, s->device_packet_max);
	acknowledge(s, p);
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
	const struct topic_names names = session_names(s);
	uint64_t payload_bytes;
	struct mqtt_packet p = *given;
	enum session_mapped done;
	struct topic_text to;
	struct span head = p.topic;
	uint64_t bytes;

	if (topic_map_down(s->entry->topics, &names, p.topic, &to) !=
	    TOPIC_MAPPED) {
		if (session_passes_unmapped(s))
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
	done = write_mapped(s, &p, response_down, payload_bytes,
	    s->device_packet_max, out, &bytes);
	if (done == SESSION_NOT_TAKEN)
		drop_oversize(s, &p, bytes);
	return done;
}

/* ---- CONNECT ---- */

bool
session_map_will(const struct session *s, struct mqtt_connect *c,
    struct session_will_parts *parts)
{
	const struct topic_names names = session_names(s);
	struct topic_text *to = &parts->topic;

	if (topic_map_up(s->entry->topics, &names, c->will_topic, to) ==
	    TOPIC_MAPPED) {
		c->will_topic = topic_text_span(to);
	} else if (to->result == TOPIC_TOO_LONG ||
		   !session_passes_unmapped(s)) {
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
