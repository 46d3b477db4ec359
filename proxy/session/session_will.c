/*
 * The will of a device (3.1.2.5) for a cloud that takes none: kept here, and
 * published by us over the link of the session that ends without DISCONNECT.
 * The link is closed when the cloud has acknowledged it, or after a while.
 */
#include "session/session_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/mqtt_property.h"
#include "codec/sliding.h"

#include <stdlib.h>

bool
session_keeps_will(const struct session *s, const struct mqtt_connect *c)
{
	const struct contract *contract = s->entry->contract;

	return c->has_will &&
	       !(s->level >= 5 ? contract->will_5 : contract->will_3);
}

/* It is a message like any other. */
static void
fit(const struct session *s, struct mqtt_connect *c)
{
	const struct contract *contract = s->entry->contract;

	if (c->will_qos > contract->qos_max)
		c->will_qos = (uint8_t)contract->qos_max;
	c->will_retain &=
	    s->level >= 5 ? contract->retain_5 != 0 : contract->retain_3 != 0;
}

void
session_fit_will(const struct session *s, struct mqtt_connect *c)
{
	if (session_keeps_will(s, c))
		c->has_will = false;
	else
		fit(s, c);
}

/* The will's properties as those of a PUBLISH: all but the delay. False without
   memory. */
static bool
take_properties(struct session *s, struct span list, struct buffer *out)
{
	struct mqtt_property p;

	while (mqtt_property_next(&list, &p) == PARSE_OK) {
		if (p.id == MQTT_WILL_DELAY_INTERVAL)
			s->will.delay_s = p.value;
		else if (!buffer_append(out, p.whole))
			return false;
	}
	return true;
}

/* 3.1.3.2.2: it does not wait longer than the session lives. */
static void
bound_delay(struct session *s, const struct mqtt_connect *c)
{
	struct mqtt_property p;
	uint32_t lives_s = 0;

	if (mqtt_property_find(c->properties, MQTT_SESSION_EXPIRY_INTERVAL, &p))
		lives_s = p.value;
	if (s->will.delay_s > lives_s)
		s->will.delay_s = lives_s;
}

/* Keeps what fits. False without memory. */
static bool
keep(struct session *s, const struct mqtt_connect *c)
{
	struct buffer properties = {0};
	struct mqtt_packet p = {.header.type = MQTT_PUBLISH,
	    .qos = c->will_qos,
	    .retain = c->will_retain,
	    .packet_id = c->will_qos > 0,
	    .topic = c->will_topic,
	    .payload = c->will_payload};
	uint8_t *out = NULL;
	size_t n;

	s->will.qos = p.qos;
	s->will.delay_s = 0; /* that of another connection, maybe */
	if (take_properties(s, c->will_properties, &properties)) {
		bound_delay(s, c);
		p.properties = buffer_span(&properties);
		n = mqtt_packet_size(&p, s->level);
		out = n > 0 ? buffer_reserve(&s->will.packet, n) : NULL;
	}
	if (out != NULL) {
		mqtt_packet_write(&p, s->level, out);
		buffer_commit(&s->will.packet, n);
		s->will.state = WILL_KEPT;
	}
	buffer_free(&properties);
	return out != NULL;
}

static void
tell_lost(const struct session *s, const char *detail)
{
	SLOG(LOG_WARNING, s, "will_lost", "detail=\"%s\"", detail);
}

bool
session_will_has_no_place(const struct session *s, const struct mqtt_connect *c)
{
	const struct mqtt_packet p = {.topic = c->will_topic};
	struct fault why;
	uint8_t code;

	if (!session_objects(s, &p, c->will_payload.n, &code, &why))
		return false;
	tell_lost(s, why.text);
	return true;
}

bool
session_keep_will(struct session *s, const struct mqtt_connect *given)
{
	struct session_will_parts parts = {0};
	struct mqtt_connect c = *given;
	bool ok = s->entry->topics == NULL || session_map_will(s, &c, &parts);

	fit(s, &c);
	if (ok && c.has_will && !session_will_has_no_place(s, &c))
		ok = keep(s, &c) && session_note_retained_will(s, given);
	buffer_free(&parts.properties);
	return ok;
}

/* ---- at the end ---- */

void
session_drop_will(struct session *s)
{
	if (s->will.end != NULL)
		(void)evtimer_del(&s->will.end->timer);
	free(s->will.end);
	s->will.end = NULL;
	s->will.state = WILL_NONE;
	buffer_wipe(&s->will.packet);
	buffer_wipe(&s->will.to_retain);
}

static void
finish(struct session *s)
{
	struct fault why = s->will.end->why;

	session_drop_will(s);
	session_end(s, &why);
}

static bool
set_timer(struct session *s, uint64_t ms)
{
	const struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	return evtimer_add(&s->will.end->timer, &tv) == 0;
}

/* It goes up behind what the device has queued, which has a while for that.
   False without memory. */
static bool
set_due(struct session *s)
{
	s->will.state = WILL_DUE;
	return set_timer(s, s->env->link.settings->ping_timeout_ms);
}

/* Nothing goes up before it: what is still queued is dropped. A window later at
   the latest the limits let it pass. False without memory. */
static bool
set_next(struct session *s)
{
	struct flow *f = &s->memory->flow;

	s->will.state = WILL_NEXT;
	s->will.dropped += flow_queued(f);
	flow_end(f, clock_mono_ms());
	return set_timer(s, s->env->link.settings->ping_timeout_ms +
				(uint64_t)SLIDING_WINDOW_MS);
}

static void
tell_no_memory(const struct session *s)
{
	tell_lost(s, reason_word(R_OUT_OF_MEMORY));
}

static void
lose_for_memory(struct session *s)
{
	tell_no_memory(s);
	finish(s);
}

/* Its delay is over. */
static void
end_delay(struct session *s)
{
	if (set_due(s))
		session_go_on(s);
	else
		lose_for_memory(s);
}

/* It has waited long enough for what is queued. */
static void
hurry(struct session *s)
{
	if (set_next(s))
		session_go_on(s);
	else
		lose_for_memory(s);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	switch (s->will.state) {
	case WILL_NONE:
	case WILL_KEPT:
		return;
	case WILL_DELAYED:
		end_delay(s);
		return;
	case WILL_DUE:
		hurry(s);
		return;
	case WILL_NEXT:
		tell_lost(s, "its turn did not come in time");
		break;
	case WILL_SENT:
		tell_lost(s, "sent, but the cloud has not acknowledged it");
	}
	finish(s);
}

/* MQTT-3.1.2-8: whoever does not say DISCONNECT leaves it. Not when the device
   is expected back at once, nor at our own end. */
static bool
is_left(enum reason why)
{
	return why != R_DEVICE_LEFT && why != R_DRAINING &&
	       why != R_ENTRY_CHANGED;
}

/* Why it cannot be left; NULL: it can. */
static const char *
obstacle(const struct session *s, enum reason why)
{
	/* a link that was closed from there may be open for a moment yet */
	if (s->link.state != LINK_UP || s->link.lost_told ||
	    why == R_CLOUD_CLOSED)
		return "the link to the cloud is gone";
	if (s->up_left > 0 && !s->up_dropped)
		return "the device left in the middle of a packet";
	return NULL;
}

/* MQTT-3.1.3-9: a device that goes on with its session in time leaves none. One
   that begins another has ended it, which cuts the delay short (3.1.3.2.2, and
   the comment on MQTT-3.1.4-3). */
static bool
is_back_in_time(const struct session *s, const struct fault *why)
{
	return s->will.delay_s > 0 && why->why == R_TAKEN_OVER &&
	       !s->will.clean_next;
}

/* Sets its first state. False without memory. */
static bool
set_begun(struct session *s, const struct fault *why)
{
	struct will_end *end = malloc(sizeof(*end));

	s->will.end = end;
	if (end == NULL)
		return false;
	end->why = *why;
	(void)evtimer_assign(&end->timer, s->env->link.loop->base, on_timer, s);
	/* the next connection of the device waits for us */
	if (why->why == R_TAKEN_OVER)
		return set_next(s);
	if (s->will.delay_s == 0)
		return set_due(s);
	s->will.state = WILL_DELAYED;
	return set_timer(s, s->will.delay_s * UINT64_C(1000));
}

/* Begins to leave it; false: there is none to leave. */
static bool
begin(struct session *s, const struct fault *why, struct span last)
{
	const char *why_not = obstacle(s, why->why);

	if (!s->accepted || (!is_left(why->why) && !s->will.wanted) ||
	    is_back_in_time(s, why))
		return false;
	if (why_not != NULL) {
		tell_lost(s, why_not);
		return false;
	}
	if (!set_begun(s, why)) {
		tell_no_memory(s);
		return false;
	}
	device_close(&s->device, last);
	/* what was dropped of the device's last packet goes nowhere, and
	   nobody has to take what the cloud says */
	s->up_left = 0;
	flow_forget_waiting(&s->memory->flow, clock_mono_ms());
	session_pause_link(s);
	session_go_on(s);
	return true;
}

bool
session_leave_will(struct session *s, const struct fault *why, struct span last)
{
	bool goes_on = false;

	switch (s->will.state) {
	case WILL_NONE:
		return false;
	case WILL_KEPT:
		goes_on = begin(s, why, last);
		break;
	case WILL_DELAYED:
	case WILL_DUE:
		goes_on = s->will.state == WILL_DUE || !is_back_in_time(s, why);
		if (goes_on)
			hurry(s);
		break;
	case WILL_NEXT:
		goes_on = true;
		break;
	case WILL_SENT:
		break;
	}
	if (!goes_on)
		session_drop_will(s);
	return goes_on;
}

void
session_lose_will(struct session *s)
{
	tell_lost(s, "the link to the cloud was lost");
	finish(s);
}

static void
tell_sent(const struct session *s)
{
	SLOG(LOG_INFO, s, "will_sent", "qos=%u dropped_before=%llu",
	    s->will.qos, (unsigned long long)s->will.dropped);
}

/* Puts it, under an identifier of our own, if there is one. */
static void
put(struct session *s)
{
	struct inbound *in = &s->memory->inbound;
	struct span whole = buffer_span(&s->will.packet);
	struct mqtt_packet p;
	struct buffer packet = {0};
	uint8_t *out;
	size_t n;

	if (!mqtt_packet_read(whole, s->level, MQTT_FROM_CLIENT, &p, NULL))
		return;
	p.packet_id = s->will.qos > 0 ? inbound_pick_id(in) : 0;
	if (s->will.qos > 0 && p.packet_id == 0)
		return;
	n = mqtt_packet_size(&p, s->level);
	out = buffer_reserve(&packet, n);
	if (out == NULL) {
		if (s->will.qos > 0)
			inbound_return(in, p.packet_id);
		lose_for_memory(s);
		return;
	}
	mqtt_packet_write(&p, s->level, out);
	buffer_commit(&packet, n);
	s->will.state = WILL_SENT;
	s->will.packet_id = p.packet_id;
	session_put_message(s, buffer_span(&packet));
	buffer_free(&packet);
	s->env->tally.wills++;
	if (s->ended)
		return;
	session_retain_will(s);
	if (s->will.qos == 0) {
		tell_sent(s);
		finish(s);
	} else if (!set_timer(s, s->env->link.settings->ping_timeout_ms)) {
		lose_for_memory(s);
	}
}

void
session_send_will(struct session *s)
{
	struct span whole = buffer_span(&s->will.packet);
	struct flow *f = &s->memory->flow;
	const struct flow_publish publish = {.qos = s->will.qos > 0,
	    .bytes = whole.n,
	    .packet = whole,
	    .in_flight = session_in_flight(s),
	    .waits = true};

	if (s->will.state == WILL_DUE && flow_queued(f) == 0 && !set_next(s)) {
		lose_for_memory(s);
		return;
	}
	if (s->will.state == WILL_NEXT &&
	    (!flow_is_on(f) ||
		flow_admit(f, &publish, clock_mono_ms()) == FLOW_PASS))
		put(s);
}

bool
session_will_acknowledged(struct session *s, const struct mqtt_packet *puback)
{
	if (s->will.state != WILL_SENT ||
	    puback->packet_id != s->will.packet_id)
		return false;
	tell_sent(s);
	finish(s);
	return true;
}
