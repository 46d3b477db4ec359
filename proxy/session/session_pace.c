/*
 * When more may go up: what had to wait for its turn, for the cloud's answer or
 * for room, and the device that is not read meanwhile.
 */
#include "session/session_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/mqtt_property.h"

#include <stdlib.h>

enum {
	LEAST_MS = 1,
	/* when what is due can only go after the device has read */
	BLOCKED_MS = 100
};

static struct flow_limits
limits_of(const struct credential *entry)
{
	const struct contract *c = entry->contract;

	return (struct flow_limits){
	    .qos0_per_second = c->qos0_per_second,
	    .qos1_per_second = c->qos1_per_second,
	    .bytes_per_second = c->bytes_per_second,
	    .inflight_max = c->inflight_max,
	    .queue_max_bytes = entry->qos0_queue_bytes,
	};
}

void
session_keep_to_limits(struct session *s)
{
	struct flow_limits limits = limits_of(s->entry);
	struct flow *f = &s->memory->flow;

	if (f->loop == NULL)
		flow_init(f, s->env->link.loop, &limits);
	else
		flow_set_limits(f, &limits, clock_mono_ms());
	session_keep_retained(s);
}

/* ---- topic filters ---- */

static struct subscribing_rules
rules_of(struct session *s)
{
	const struct contract *c = s->entry->contract;

	return (struct subscribing_rules){
	    .filters_max = c->filters_per_subscribe,
	    .qos_max = (uint8_t)c->qos_max,
	    .map = session_map_filter,
	    .on_answer = s->holds ? session_note_answer : NULL,
	    .arg = s};
}

void
session_note_answer(void *arg, enum mqtt_type type, struct span properties,
    struct span filters, struct span codes)
{
	enum { FAILURE = 0x80 };
	struct session *s = arg;
	size_t before = s->granted.list.cap;
	struct mqtt_property identifier = {0};
	struct mqtt_filter f;

	(void)!mqtt_property_find(
	    properties, MQTT_SUBSCRIPTION_IDENTIFIER, &identifier);
	while (mqtt_filter_next(&filters, type, &f)) {
		const struct subscription sub = {.filter = f.text,
		    .options = f.options,
		    .identifier = identifier.value};
		uint8_t code = 0;

		if (codes.n > 0)
			(void)!span_take_u8(&codes, &code);
		if (code >= FAILURE)
			continue;
		if (type == MQTT_SUBSCRIBE)
			granted_add(&s->granted, &sub);
		else
			granted_remove(&s->granted, f.text);
	}
	loop_count(s->env->link.loop, s->granted.list.cap);
	loop_uncount(s->env->link.loop, before);
}

/* The worker's account has what is kept for it. */
static void
account(struct session *s, size_t before)
{
	size_t now = s->subscribing.kept_bytes;

	if (now > before)
		loop_count(s->env->link.loop, now - before);
	else
		loop_uncount(s->env->link.loop, before - now);
}

/* The cloud's time to answer what is under way begins anew, or is over. */
static void
time_suback(struct session *s)
{
	s->suback_ms =
	    s->subscribing.count > 0 && !s->link_lost ? clock_mono_ms() : 0;
}

bool
session_take_subscribe(
    struct session *s, const struct mqtt_packet *p, struct span packet)
{
	struct subscribing_rules rules = rules_of(s);
	size_t before = s->subscribing.kept_bytes;
	enum subscribing_move move;
	struct fault why;

	if (!session_can_answer(s))
		return false;
	if (session_has_many_filters(s, p)) {
		session_end_for(s, R_PACKET_TOO_BIG,
		    "more topic filters than are mapped in one packet");
		return true;
	}
	if (!session_can_note_filters(s)) {
		session_await_cloud(s);
		return false;
	}
	session_note_filters(s, p);
	move = subscribing_take(&s->subscribing, p, &rules, &why);
	account(s, before);
	if (move == SUBSCRIBING_PASS || move == SUBSCRIBING_TAKEN)
		session_note_retained(s, p);
	if (s->suback_ms == 0)
		time_suback(s);
	switch (move) {
	case SUBSCRIBING_PASS:
		link_put(&s->link, WS_BINARY, packet, true);
		break;
	case SUBSCRIBING_TAKEN:
		session_tell_refused(s, p);
		break;
	case SUBSCRIBING_WAIT:
		session_await_cloud(s);
		return false;
	case SUBSCRIBING_BAD:
		session_end(s, &why);
		break;
	case SUBSCRIBING_NO_MEMORY:
		session_end_for(s, R_OUT_OF_MEMORY, "for a SUBSCRIBE");
	}
	return true;
}

bool
session_take_suback(struct session *s, const struct mqtt_packet *p)
{
	size_t before = s->subscribing.kept_bytes;
	enum subscribing_move move;
	struct fault why;

	s->owed_ms = 0;
	move = subscribing_acknowledge(&s->subscribing, p, &why);
	account(s, before);
	time_suback(s);
	switch (move) {
	case SUBSCRIBING_PASS:
		session_grant_retained(s, p);
		return false;
	case SUBSCRIBING_TAKEN:
	case SUBSCRIBING_WAIT:
		break;
	case SUBSCRIBING_BAD:
		link_fail(&s->link, WS_CLOSE_PROTOCOL_ERROR, &why);
		break;
	case SUBSCRIBING_NO_MEMORY:
		session_end_for(s, R_OUT_OF_MEMORY, "for a SUBACK");
	}
	return true;
}

/* An acknowledgement that was put together here. */
static void
answer(struct session *s, struct span packet)
{
	struct mqtt_packet p;

	device_write(&s->device, packet);
	if (mqtt_packet_read(packet, s->level, MQTT_FROM_SERVER, &p, NULL))
		session_grant_retained(s, &p);
}

/* One packet that is due to either side; false: there is none. */
static bool
write_part(struct session *s)
{
	struct subscribing_rules rules = rules_of(s);
	size_t before = s->subscribing.kept_bytes;
	struct buffer packet = {0};
	enum subscribing_to to;

	if (s->subscribing.count == 0 ||
	    (!session_can_answer(s) && s->device.state != DEVICE_GONE))
		return false;
	to = subscribing_next(&s->subscribing, &rules, &packet);
	account(s, before);
	if (to != SUBSCRIBING_NOTHING)
		time_suback(s);
	switch (to) {
	case SUBSCRIBING_NOTHING:
		break;
	case SUBSCRIBING_TO_CLOUD:
		s->env->tally.splits++;
		session_put_message(s, buffer_span(&packet));
		break;
	case SUBSCRIBING_TO_DEVICE:
		answer(s, buffer_span(&packet));
		break;
	case SUBSCRIBING_RESTORED:
		if (--s->restoring == 0)
			s->logins = 0;
		break;
	case SUBSCRIBING_REFUSED:
		session_end_for(s, R_SESSION_LOST,
		    "the cloud refuses a subscription that it had granted");
		break;
	case SUBSCRIBING_STARVED:
		session_end_for(s, R_OUT_OF_MEMORY, "for a SUBSCRIBE");
	}
	buffer_free(&packet);
	return to != SUBSCRIBING_NOTHING;
}

/* ---- turns ---- */

bool
session_can_answer(const struct session *s)
{
	return !s->down_mid_packet && device_takes(&s->device);
}

/* A whole message may be put: none is under way, nor would be if the rest of
   what the device sends went up. */
static bool
can_push(const struct session *s)
{
	return !s->ended && s->accepted && !s->link_lost &&
	       (s->up_left == 0 || s->up_dropped) && link_takes(&s->link);
}

uint32_t
session_in_flight(const struct session *s)
{
	return s->holds ? s->outbox.sent : s->memory->inbound.in_flight;
}

/* How long what was kept, of <bytes>, has to wait. */
static uint64_t
kept_wait_ms(const struct session *s, uint64_t bytes, uint64_t now_ms)
{
	if (session_window_is_full(s))
		return FLOW_NEVER;
	return flow_repeat_wait_ms(
	    &s->memory->flow, bytes, s->outbox.sent, now_ms);
}

/* The next one of what was kept while the link was lost. */
static bool
push_kept(struct session *s)
{
	struct span packet = outbox_next(&s->outbox);
	struct flow *f = &s->memory->flow;
	uint64_t now_ms;

	if (packet.n == 0)
		return false;
	now_ms = clock_mono_ms();
	if (kept_wait_ms(s, packet.n, now_ms) > 0)
		return false;
	flow_repeat(f, packet.n, now_ms);
	s->env->tally.repeated++;
	session_put_message(s, packet);
	if (!s->ended && !s->link_lost)
		outbox_next_sent(&s->outbox);
	return true;
}

static bool
push_queued(struct session *s)
{
	struct flow *f = &s->memory->flow;
	struct span packet;

	if (!flow_is_on(f))
		return false;
	packet = flow_next(f, clock_mono_ms());
	if (packet.n == 0)
		return false;
	session_put_message(s, packet);
	if (!s->ended &&
	    !s->link_lost) /* else the queue is not to be touched */
		flow_next_sent(f, clock_mono_ms());
	return true;
}

static void
log_flow(struct session *s, bool last)
{
	struct flow_summary sum;
	const uint64_t *qos0 = sum.since.of[0];
	const uint64_t *qos1 = sum.since.of[1];

	if (!flow_is_on(&s->memory->flow) ||
	    !flow_summary(&s->memory->flow, last, clock_mono_ms(), &sum))
		return;
	for (int i = 0; i < FLOW_COUNT_KINDS; i++)
		s->env->tally.dropped[i] += qos0[i];
	SLOG(LOG_NOTICE, s, "device_slowed",
	    "qos0_sent=%llu qos0_queued=%llu qos0_waiting=%llu"
	    " qos0_dropped=%llu dropped_full=%llu dropped_no_room=%llu"
	    " dropped_no_memory=%llu dropped_ended=%llu dropped_held=%llu "
	    "qos1_sent=%llu"
	    " qos1_waited=%llu qos1_waited_ms=%llu hint=\"it publishes more"
	    " than the cloud takes of one device; see [contract]\"",
	    (unsigned long long)qos0[FLOW_SENT],
	    (unsigned long long)qos0[FLOW_QUEUED],
	    (unsigned long long)sum.queued_now,
	    (unsigned long long)(qos0[FLOW_DROPPED_FULL] +
				 qos0[FLOW_DROPPED_NO_ROOM] +
				 qos0[FLOW_DROPPED_NO_MEMORY] +
				 qos0[FLOW_DROPPED_ENDED] +
				 qos0[FLOW_DROPPED_HELD]),
	    (unsigned long long)qos0[FLOW_DROPPED_FULL],
	    (unsigned long long)qos0[FLOW_DROPPED_NO_ROOM],
	    (unsigned long long)qos0[FLOW_DROPPED_NO_MEMORY],
	    (unsigned long long)qos0[FLOW_DROPPED_ENDED],
	    (unsigned long long)qos0[FLOW_DROPPED_HELD],
	    (unsigned long long)qos1[FLOW_SENT],
	    (unsigned long long)qos1[FLOW_WAITED],
	    (unsigned long long)qos1[FLOW_WAITED_MS]);
}

void
session_await_cloud(struct session *s)
{
	/* without a link nothing is owed yet */
	if (s->owed_ms == 0 && !s->link_lost)
		s->owed_ms = clock_mono_ms();
}

static uint64_t
left_of(const struct session *s, uint64_t since_ms, uint64_t now_ms)
{
	uint64_t end_ms =
	    since_ms + s->env->link.settings->cloud_write_timeout_ms;

	return end_ms > now_ms ? end_ms - now_ms : 0;
}

/* How long the cloud has left for the acknowledgement that the device waits
   for, unread, so that its own silence does not count; and for that of a
   SUBSCRIBE or UNSUBSCRIBE, unless it may lie where we do not read, since the
   device takes nothing. */
static uint64_t
patience_ms(const struct session *s, uint64_t now_ms)
{
	uint64_t ms = FLOW_NEVER;

	if (s->held && s->owed_ms != 0)
		ms = left_of(s, s->owed_ms, now_ms);
	if (s->suback_ms != 0 && device_takes(&s->device) &&
	    left_of(s, s->suback_ms, now_ms) < ms)
		ms = left_of(s, s->suback_ms, now_ms);
	return ms;
}

/* False: nothing here depends on the time, which is not even looked at. */
static bool
has_to_wait(const struct session *s)
{
	return flow_is_on(&s->memory->flow) || s->owed_ms != 0 ||
	       s->suback_ms != 0 || outbox_waiting(&s->outbox) > 0;
}

/* When what was kept while the link was lost may go on. */
static uint64_t
repeat_ms(const struct session *s, uint64_t now_ms)
{
	size_t bytes = can_push(s) ? outbox_next(&s->outbox).n : 0;

	return bytes > 0 ? kept_wait_ms(s, bytes, now_ms) : FLOW_NEVER;
}

/* How long until there is something to do. */
static uint64_t
turn_ms(const struct session *s)
{
	const struct flow *f = &s->memory->flow;
	uint64_t now_ms = clock_mono_ms();
	uint64_t left_ms = patience_ms(s, now_ms);
	uint64_t ms = FLOW_NEVER;

	if (flow_is_on(f) && can_push(s))
		ms = flow_wait_ms(f, now_ms);
	if (repeat_ms(s, now_ms) < ms)
		ms = repeat_ms(s, now_ms);
	if (left_ms < ms)
		ms = left_ms;
	if (ms == 0)
		ms = session_can_answer(s) ? LEAST_MS : BLOCKED_MS;
	return ms;
}

static void on_pace(evutil_socket_t fd, short what, void *arg);

/* Made when it is needed first: most sessions never wait. */
static bool
set_pace(struct session *s, uint64_t ms)
{
	const struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (s->pace == NULL) {
		s->pace = malloc(sizeof(*s->pace));
		if (s->pace == NULL)
			return false;
		(void)evtimer_assign(
		    s->pace, s->env->link.loop->base, on_pace, s);
	}
	return evtimer_add(s->pace, &tv) == 0;
}

/* Sets the timer for what only time brings. */
static void
wait_for_turn(struct session *s)
{
	uint64_t ms = has_to_wait(s) ? turn_ms(s) : FLOW_NEVER;

	if (ms == FLOW_NEVER && s->paced)
		(void)evtimer_del(s->pace);
	/* without it the session may go on for its will */
	s->paced = ms != FLOW_NEVER && set_pace(s, ms);
	if (ms != FLOW_NEVER && !s->paced)
		session_end_for(s, R_OUT_OF_MEMORY, "for a timer");
}

/* One packet that is due; false: there is none. A message may be put now. */
static bool
write_due(struct session *s)
{
	return session_send_ack(s) || write_part(s) || push_kept(s) ||
	       push_queued(s);
}

/* Something of our own is kept that goes up, now or later. */
static bool
has_own(const struct session *s)
{
	return s->acks.n > 0 || s->subscribing.count > 0 ||
	       outbox_waiting(&s->outbox) > 0 ||
	       flow_queued(&s->memory->flow) > 0;
}

void
session_end_turn(struct session *s)
{
	while (has_own(s) && can_push(s) && write_due(s))
		s->held = false; /* it may have waited for just that */
	session_tell_retained(s);
	if (s->will.state > WILL_KEPT && can_push(s))
		session_send_will(s);
	if (!s->ended && !s->link_lost)
		link_flush(&s->link);
	session_end_when_delivered(s);
	if (s->ended)
		return;
	device_pause(&s->device, s->held || !session_listens(s));
	if (!s->ended) /* for lack of memory, while it was paused */
		wait_for_turn(s);
}

void
session_go_on(struct session *s)
{
	s->held = false;
	session_end_turn(s);
}

/* It takes bytes, but does nothing with them. */
static void
end_for_acknowledgement(struct session *s)
{
	struct fault why;

	(void)fault_set(&why, R_CLOUD_STUCK,
	    "no acknowledgement, with %u messages and %u SUBSCRIBEs or"
	    " UNSUBSCRIBEs under way",
	    s->memory->inbound.in_flight, s->subscribing.count);
	link_fail(&s->link, WS_CLOSE_NORMAL, &why);
}

static void
on_pace(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	log_flow(s, false);
	if (patience_ms(s, clock_mono_ms()) == 0)
		end_for_acknowledgement(s);
	else
		session_go_on(s);
}

static bool
must_adapt(const struct contract *c)
{
	return c->qos_max < 2 || c->filters_per_subscribe > 0 ||
	       c->inflight_max > 0 || c->topic_max > 0 ||
	       c->topic_slashes_max > 0;
}

bool
session_adapts_too_late(const struct session *s, const struct credential *entry)
{
	return (!s->adapts && must_adapt(entry->contract)) ||
	       (s->has_aliases && session_breaks_aliases(entry));
}

void
session_begin_pace(struct session *s)
{
	subscribing_init(&s->subscribing, s->level);
	s->adapts = must_adapt(s->entry->contract) ||
		    session_stores_retained(s) || s->entry->topics != NULL ||
		    s->will.state != WILL_NONE || s->holds;
	session_keep_to_limits(s);
}

void
session_device_has_room(struct session *s)
{
	if (s->suback_ms != 0)
		time_suback(s);
}

void
session_end_pace(struct session *s)
{
	size_t before = s->subscribing.kept_bytes;

	if (s->pace != NULL)
		(void)evtimer_del(s->pace);
	free(s->pace);
	s->pace = NULL;
	s->paced = false;
	flow_hold(&s->memory->flow, false);
	if (flow_is_on(&s->memory->flow))
		flow_end(&s->memory->flow, clock_mono_ms());
	log_flow(s, true);
	(void)outbox_clear(&s->outbox, s->env->link.loop);
	subscribing_free(&s->subscribing);
	account(s, before);
	retained_due_free(&s->retained_due);
	inbound_disconnect(&s->memory->inbound);
	if (s->wants_clean && s->level < 5) { /* 3.1.2.4: it ends now */
		inbound_forget(&s->memory->inbound);
		asked_free(&s->memory->asked);
	}
}

bool
device_memory_is_empty(const struct device_memory *m)
{
	return m->inbound.n == 0 && m->flow.state == NULL &&
	       m->asked.filters.n == 0 && m->retained.n == 0 &&
	       m->subscribed.filters.n == 0;
}

void
device_memory_free(struct device_memory *m)
{
	inbound_forget(&m->inbound);
	flow_free(&m->flow);
	asked_free(&m->asked);
	retained_free(&m->retained);
	filter_set_free(&m->subscribed);
	*m = (struct device_memory){0};
}
