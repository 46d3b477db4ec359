/*
 * Retained messages for a cloud that takes none (retain = store of the entry):
 * kept here, in the device's own topics, and told when it subscribes. With any
 * other policy nothing of this does anything.
 */
#include "session/session_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/mqtt_property.h"

bool
session_stores_retained(const struct session *s)
{
	return s->entry->policies.retain == RETAIN_STORE;
}

void
session_begin_retained(struct session *s)
{
	retained_init(&s->memory->retained, s->env->link.loop);
	retained_due_init(&s->retained_due, s->env->link.loop, s->level);
}

void
device_memory_remap(struct device_memory *m, const struct credential *entry)
{
	if (entry->policies.retain == RETAIN_STORE) {
		retained_fit(&m->retained);
		return;
	}
	retained_free(&m->retained);
	filter_set_free(&m->subscribed);
}

/* The first one that is lost is told; all are counted. */
static void
count_dropped(struct session *s, uint64_t more)
{
	if (more == 0)
		return;
	if (s->retained_dropped == 0)
		SLOG(LOG_NOTICE, s, "retained_dropped",
		    "kept=%u kept_bytes=%zu hint=\"a device has room for %u"
		    " retained messages, and %u bytes of them\"",
		    s->memory->retained.n, s->memory->retained.kept_bytes,
		    RETAINED_MAX, RETAINED_BYTES_MAX);
	s->retained_dropped += more;
}

void
session_keep_retained(struct session *s)
{
	uint64_t before = s->memory->retained.dropped;

	device_memory_remap(s->memory, s->entry);
	count_dropped(s, s->memory->retained.dropped - before);
	if (!session_stores_retained(s))
		retained_due_free(&s->retained_due);
}

/*
 * Kept is what has been taken from the device: also a message of QoS 0 that is
 * over its rate and does not get to the cloud, since what was retained before
 * it is not true any more (MQTT-3.3.1-7).
 */
void
session_retain(struct session *s, const struct mqtt_packet *p, bool is_whole)
{
	struct retained *r = &s->memory->retained;
	uint64_t before = r->dropped;

	if (!session_stores_retained(s) || p->topic.n == 0)
		return;
	if (session_takes_retain(s)) /* the cloud keeps it */
		retained_remove(r, p->topic);
	else if (is_whole)
		retained_put(r, p, clock_mono_ms());
	else
		retained_drop(r, p->topic);
	count_dropped(s, r->dropped - before);
}

bool
session_note_retained_will(struct session *s, const struct mqtt_connect *c)
{
	struct mqtt_packet p = {.header.type = MQTT_PUBLISH,
	    .retain = true,
	    .topic = c->will_topic,
	    .payload = c->will_payload};
	struct span left = c->will_properties;
	struct buffer properties = {0};
	struct mqtt_property property;
	uint8_t *to = NULL;
	bool ok = true;
	size_t n;

	if (!c->will_retain || !session_stores_retained(s))
		return true;
	while (ok && mqtt_property_next(&left, &property) == PARSE_OK)
		ok = property.id == MQTT_WILL_DELAY_INTERVAL ||
		     buffer_append(&properties, property.whole);
	p.properties = buffer_span(&properties);
	n = mqtt_packet_size(&p, s->level);
	if (ok && n > 0)
		to = buffer_reserve(&s->will.to_retain, n);
	if (to != NULL) {
		mqtt_packet_write(&p, s->level, to);
		buffer_commit(&s->will.to_retain, n);
	}
	buffer_free(&properties);
	return to != NULL;
}

void
session_retain_will(struct session *s)
{
	struct span packet = buffer_span(&s->will.to_retain);
	struct mqtt_packet p;

	if (mqtt_packet_read(packet, s->level, MQTT_FROM_CLIENT, &p, NULL))
		session_retain(s, &p, true);
}

bool
session_can_note_filters(const struct session *s)
{
	return !retained_due_is_full(&s->retained_due);
}

void
session_note_retained(struct session *s, const struct mqtt_packet *p)
{
	if (session_stores_retained(s))
		retained_due_note(&s->retained_due, p, &s->memory->subscribed);
}

void
session_grant_retained(struct session *s, const struct mqtt_packet *suback)
{
	if (suback->header.type == MQTT_SUBACK)
		retained_due_grant(&s->retained_due, suback,
		    &s->memory->retained, &s->memory->subscribed);
}

/* False: no more for now. */
static bool
tell(struct session *s)
{
	uint64_t now_ms = clock_mono_ms();
	const struct retained_message *m;
	struct buffer packet = {0};
	struct span id;

	m = retained_due_next(
	    &s->retained_due, &s->memory->retained, now_ms, &id);
	if (m == NULL)
		return false;
	if (!retained_write(m, s->level, id, now_ms, &packet)) {
		session_end_for(s, R_OUT_OF_MEMORY, "for a retained message");
	} else if (s->device_packet_max == 0 ||
		   packet.n <= s->device_packet_max) { /* MQTT-3.1.2-24 */
		s->retained_sent++;
		device_write(&s->device, buffer_span(&packet));
	}
	buffer_free(&packet);
	return true;
}

void
session_tell_retained(struct session *s)
{
	while (
	    s->retained_due.first != NULL && session_can_answer(s) && tell(s))
		;
}
