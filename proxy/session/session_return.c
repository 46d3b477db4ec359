/*
 * A device that leaves while its link is lost, or is lost itself: the session
 * stays until what it has left behind is delivered, or the time of the hold is
 * over. And one that comes again meanwhile, which takes over what is held.
 */
#include "session/session_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/mqtt_property.h"

#include <stdlib.h>
#include <string.h>

/* ---- a device that leaves meanwhile ---- */

static bool
has_backlog(const struct session *s)
{
	return outbox_waiting(&s->outbox) > 0 ||
	       flow_queued(&s->memory->flow) > 0 || s->will.state == WILL_KEPT;
}

/* One that takes its leave waits itself for what it has sent, but for a will
   that it wants published. */
static bool
is_gone(const struct session *s, enum reason why)
{
	return why == R_DEVICE_CLOSED || why == R_DEVICE_LOST ||
	       why == R_DEVICE_SILENT || why == R_DEVICE_STUCK ||
	       (why == R_DEVICE_LEFT && s->will.wanted);
}

/* What the device has not sent to its end goes nowhere. */
static void
drop_broken_off(struct session *s)
{
	if (s->outbox.open == NULL)
		return;
	inbound_take_back(&s->memory->inbound, s->outbox.open->packet_id);
	outbox_drop_open(&s->outbox, s->env->link.loop);
}

bool
session_outlives_device(struct session *s, const struct fault *why)
{
	if (s->ended || s->hold == NULL || s->hold->device_is_gone)
		return false;
	if (!is_gone(s, why->why))
		return false;
	drop_broken_off(s);
	if (s->wants_clean && !has_backlog(s))
		return false;
	s->hold->device_is_gone = true;
	s->hold->gone = *why;
	s->since_ms = clock_mono_ms();
	device_close(&s->device, (struct span){NULL, 0});
	session_note_fault(s, "the device has gone, its session stays", why);
	s->up_left = 0;
	s->up_kept = false;
	return true;
}

void
session_end_when_delivered(struct session *s)
{
	struct fault why;

	if (s->ended || s->hold == NULL || s->link_lost ||
	    s->outbox.count > 0 || flow_queued(&s->memory->flow) > 0 ||
	    s->subscribing.count > 0)
		return;
	why = s->hold->gone;
	session_end_hold(s);
	session_end(s, &why);
}

bool
session_left_backlog(const struct session *s)
{
	bool has_left = s->hold != NULL &&
			(s->hold->device_is_gone ||
			    (s->link_lost && s->held && s->device.fin_seen));

	return has_left && has_backlog(s);
}

/* ---- a device that comes again meanwhile ---- */

/* It is remembered from one connection to the next (3.1.2.11.2). */
static bool
lives_on(const struct mqtt_connect *c)
{
	struct mqtt_property p;

	if (c->level < 5)
		return !c->clean;
	return mqtt_property_find(
		   c->properties, MQTT_SESSION_EXPIRY_INTERVAL, &p) &&
	       p.value > 0;
}

static bool
may_adopt(const struct session *s, const struct knock *k,
    const struct mqtt_connect *c)
{
	struct mqtt_connect old;
	struct mqtt_property p;

	return s->link_lost && !s->ended && s->map == k->map &&
	       mqtt_connect_read(buffer_span(&s->connect), &old, NULL) &&
	       c->level == s->level && !c->clean && lives_on(c) &&
	       lives_on(&old) && !s->wants_client_id && c->client_id.n > 0 &&
	       (s->entry->topics == NULL ||
		   span_eq(c->client_id, buffer_span(&s->client_id))) &&
	       (!c->has_will || session_keeps_will(s, c)) &&
	       !mqtt_property_find(
		   c->properties, MQTT_AUTHENTICATION_METHOD, &p);
}

/* What was the old connection's goes with it. */
static void
forget_connection(struct session *s)
{
	size_t before = s->subscribing.kept_bytes;

	device_close(&s->device, (struct span){NULL, 0});
	session_drop_will(s);
	s->will.wanted = false;
	buffer_free(&s->farewell);
	drop_broken_off(s);
	outbox_leave(&s->outbox);
	s->up_left = 0;
	s->up_dropped = s->up_kept = s->held = false;
	s->pingresp_due = 0;
	/* the device asks again for what was not answered */
	subscribing_free(&s->subscribing);
	loop_uncount(s->env->link.loop, before);
	retained_due_free(&s->retained_due);
	session_begin_retained(s);
	inbound_reconnect(&s->memory->inbound);
	/* and is told again by the cloud what it has not acknowledged */
	outbound_free(&s->outbound);
	s->hold->device_is_gone = false;
	s->since_ms = s->hold->began_ms;
}

static void
welcome(struct session *s)
{
	uint8_t small[MQTT_SMALL_MAX];
	struct span answer = buffer_span(&s->connack);
	struct mqtt_header h;

	if (s->level < 5) {
		answer = (struct span){
		    small, mqtt_connack_write(small, s->level, true, 0)};
	} else if (mqtt_header_read(answer, &h) == PARSE_OK) {
		enum { SESSION_PRESENT = 1 };

		s->connack.p[s->connack.off + h.header_bytes] = SESSION_PRESENT;
	}
	device_write(&s->device, answer);
	device_go_online(&s->device, s->device_keep_alive_s);
}

/* <first> is the CONNECT of <k>, whose descriptor is the session's now. */
static bool
move_in(struct session *s, const struct knock *k, const struct mqtt_connect *c,
    struct span first)
{
	memcpy(s->peer, k->peer, sizeof(s->peer));
	s->address = k->address;
	s->device_keep_alive_s = c->keep_alive_s;
	s->wants_clean = c->clean;
	buffer_free(&s->connect);
	return buffer_append(&s->connect, first) &&
	       (!c->has_will || session_keep_will(s, c)) &&
	       session_keep_connect(s);
}

bool
session_can_adopt(const struct session *s, const struct knock *k)
{
	struct span bytes = buffer_span(&k->bytes);
	struct mqtt_connect c;
	struct span first;

	return s->link_lost && span_take(&bytes, k->connect_bytes, &first) &&
	       mqtt_connect_read(first, &c, NULL) && may_adopt(s, k, &c);
}

bool
session_adopt(struct session *s, struct knock *k)
{
	struct span bytes = buffer_span(&k->bytes);
	struct buffer pipelined = {0};
	struct mqtt_connect c;
	struct span first;
	bool ok;

	if (!s->link_lost || !span_take(&bytes, k->connect_bytes, &first) ||
	    !mqtt_connect_read(first, &c, NULL) || !may_adopt(s, k, &c) ||
	    !buffer_append(&pipelined, bytes))
		return false;
	forget_connection(s);
	if (!device_init(&s->device, &s->env->device, s->device.owner, s, k->fd,
		&pipelined)) {
		s->device.state = DEVICE_GONE; /* the descriptor is not its */
		buffer_free(&pipelined);
		session_end_for(s, R_OUT_OF_MEMORY, "for a device");
		return false;
	}
	session_trace_again(s, k, first);
	ok = move_in(s, k, &c, first);
	buffer_wipe(&k->bytes);
	credmap_unref(k->map);
	free(k);
	if (!ok) {
		session_end_for(s, R_OUT_OF_MEMORY, "for a device");
		return true;
	}
	SLOG(LOG_NOTICE, s, "device_back", "unacknowledged=%u queued=%llu",
	    s->outbox.count, (unsigned long long)flow_queued(&s->memory->flow));
	welcome(s);
	session_end_turn(s);
	return true;
}
