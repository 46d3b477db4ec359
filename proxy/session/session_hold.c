/*
 * A device held while its link is lost: its connection stays, what it sends is
 * taken as far as there is room, and the link is dialled again within the
 * governor's limits. When the cloud has accepted the new login, what it has
 * forgotten is asked for again and what it has not acknowledged is sent again;
 * to the device it is one session all along.
 *
 * A device that leaves meanwhile is gone, but the session stays until what it
 * has left behind is delivered, or the time of the hold is over.
 */
#include "session/session_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/mqtt_property.h"

#include <stdlib.h>

enum {
	LEAST_MS = 100,          /* between two dials */
	RETRY_MS = 1000,         /* where nothing says when a dial is allowed */
	RESTORE_BYTES = 8 * 1024 /* of filters in one SUBSCRIBE of our own */
};

struct hold {
	struct event deadline;
	struct event dial;
	uint64_t began_ms;
	unsigned dials;
	bool device_is_gone; /* for <gone> */
	struct fault gone;
	struct fault why; /* the last link, or dial, was lost */
};

static struct timeval
in_ms(uint64_t ms)
{
	return (struct timeval){.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

/* ---- which sessions can be held ---- */

bool
session_may_hold(const struct session *s, const struct mqtt_connect *c)
{
	/* an extended authentication is the device's own to repeat; a will
	   that the cloud has is published when the link is lost */
	return s->entry->policies.on_link_loss == ON_LINK_LOSS_HOLD &&
	       s->auth_method.n == 0 &&
	       (!c->has_will || s->will.state == WILL_KEPT);
}

/* A link that is lost for it can be dialled again. */
static bool
is_passing(enum reason why)
{
	switch ((int)why) {
	case R_OUT_OF_MEMORY:
	case R_NO_DESCRIPTORS:
	case R_DRAINING:
	case R_INTERNAL:
	case R_LOGIN_REFUSED:
		return false;
	default:
		return true;
	}
}

/* Why it cannot go on over another link; NULL: it can. */
static const char *
obstacle(const struct session *s)
{
	if (s->down_mid_packet)
		return "the device has got a part of a message";
	if (s->up_qos2 > 0 || s->outbound.qos2 > 0)
		return "a QoS 2 handshake with the cloud was not finished";
	if (s->outbound.is_overfull)
		return "the device acknowledges too little";
	if (s->was_present && !s->granted.is_complete)
		return NULL; /* found out when the cloud has answered */
	if (!s->granted.is_complete)
		return "more subscriptions than can be kept";
	return NULL;
}

/* ---- the link is lost ---- */

/* What belongs to the link goes with it. False: what was sent is not here any
   more. */
static bool
leave_link(struct session *s)
{
	size_t kept_bytes = s->subscribing.kept_bytes;

	s->down_stream = (struct mqtt_stream){0};
	s->down_dropped = false;
	buffer_free(&s->gather);
	buffer_free(&s->acks);
	s->owed_ms = s->suback_ms = 0;
	s->held = false;
	if (s->up_left > 0 && !s->up_dropped) {
		s->up_dropped = true; /* but it may be in the outbox */
		if (!s->up_kept)
			s->refused++;
	}
	subscribing_restart(&s->subscribing);
	loop_uncount(s->env->link.loop, kept_bytes - s->subscribing.kept_bytes);
	outbound_disconnect(&s->outbound);
	flow_forget_waiting(&s->memory->flow, clock_mono_ms());
	flow_hold(&s->memory->flow, true);
	return outbox_rewind(&s->outbox);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg);
static void on_dial(evutil_socket_t fd, short what, void *arg);

/* Links that are lost soon after their login do not add to the time. */
static uint64_t
time_left_ms(struct session *s, uint64_t now_ms)
{
	uint64_t end_ms;

	if (s->hold_since_ms == 0)
		s->hold_since_ms = now_ms;
	end_ms = s->hold_since_ms + s->entry->hold_time_ms;
	return end_ms > now_ms ? end_ms - now_ms : 0;
}

/* Else its end is no new one. A cloud that breaks the protocol, or acknowledges
   nothing, does so again over the next link: the first has to last, the other
   to have answered, or to have lasted before it was waited for. */
static bool
was_of_use(const struct session *s, enum reason why, uint64_t now_ms)
{
	const struct settings *settings = s->env->link.settings;
	uint64_t least_ms = settings->dial_stable_after_ms;
	bool lasted;

	if (why == R_CLOUD_STUCK)
		least_ms += settings->cloud_write_timeout_ms;
	lasted = now_ms - s->link.up_ms >= least_ms;
	switch ((int)why) {
	case R_BAD_FRAME:
	case R_TEXT_MESSAGE:
	case R_BAD_CLOUD_PACKET:
		return lasted;
	default:
		return lasted || s->progress;
	}
}

static bool
make_hold(struct session *s)
{
	if (s->hold != NULL)
		return true;
	s->hold = calloc(1, sizeof(*s->hold));
	if (s->hold == NULL)
		return false;
	(void)evtimer_assign(
	    &s->hold->deadline, s->env->link.loop->base, on_deadline, s);
	(void)evtimer_assign(
	    &s->hold->dial, s->env->link.loop->base, on_dial, s);
	return true;
}

/* There is a hold already when the device was gone before this link was lost,
   with something left to deliver. False: the session ends. */
static bool
begin(struct session *s, const struct fault *why)
{
	uint64_t now_ms = clock_mono_ms();
	uint64_t left_ms;
	struct timeval tv;

	if (was_of_use(s, why->why, now_ms))
		s->hold_since_ms = 0;
	left_ms = time_left_ms(s, now_ms);
	if (left_ms == 0 || !make_hold(s))
		return false;
	s->hold->began_ms = now_ms;
	s->hold->dials = 0;
	s->hold->why = *why;
	tv = in_ms(left_ms);
	if (evtimer_add(&s->hold->deadline, &tv) != 0)
		return false;
	s->holds_count++;
	SLOG(LOG_NOTICE, s, "device_held",
	    "reason=%s detail=\"%s\" seconds=%llu unacknowledged=%u "
	    "hint=\"%s\"",
	    reason_word(why->why), why->text,
	    (unsigned long long)(left_ms + 999) / 1000, s->outbox.count,
	    reason_hint(why->why));
	return true;
}

/* A dial has failed, or the new link was lost before it was of use. */
static void
go_on_holding(struct session *s, const struct fault *why)
{
	s->hold->why = *why;
	SLOG(LOG_DEBUG, s, "dial_failed", "reason=%s detail=\"%s\"",
	    reason_word(why->why), why->text);
}

bool
session_hold(struct session *s, const struct fault *why)
{
	const char *why_not;

	/* what lies in the scratch came before that, and is the device's */
	if (!s->ended)
		session_write_run(s);
	if (s->ended || !s->holds || !s->accepted || !is_passing(why->why) ||
	    s->entry->policies.on_link_loss != ON_LINK_LOSS_HOLD)
		return false;
	if (s->link_lost) {
		go_on_holding(s, why);
		return true;
	}
	why_not = obstacle(s);
	if (!leave_link(s) && why_not == NULL)
		why_not = "a message is under way that is over hold_queue";
	if (why_not == NULL &&
	    (s->hold != NULL || s->device.state == DEVICE_ONLINE) &&
	    begin(s, why)) {
		s->link_lost = true;
		session_end_turn(s);
		return true;
	}
	if (why_not != NULL)
		SLOG(LOG_NOTICE, s, "not_held", "detail=\"%s\"", why_not);
	return false;
}

bool
session_leave_link(struct session *s)
{
	struct fault why;

	(void)fault_set(&why, R_ENTRY_CHANGED, "%s", "");
	if (!session_hold(s, &why))
		return false;
	link_close(&s->link, WS_CLOSE_NORMAL);
	return !s->ended;
}

/* ---- dialling ---- */

void
session_dial_again(struct session *s)
{
	struct timeval tv =
	    in_ms(s->link.retry_ms > 0 ? s->link.retry_ms : LEAST_MS);

	s->link.retry_ms = 0;
	if (evtimer_add(&s->hold->dial, &tv) != 0)
		session_end_for(s, R_OUT_OF_MEMORY, "for a timer");
}

static void
on_dial(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	(void)fd;
	(void)what;
	s->hold->dials++;
	/* the last one may have broken off in the middle of its CONNACK */
	s->down_stream = (struct mqtt_stream){0};
	buffer_free(&s->gather);
	link_dial(&s->link, s->entry, s->level);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	struct fault why;

	(void)fd;
	(void)what;
	if (s->hold->device_is_gone) {
		why = s->hold->gone;
	} else {
		(void)fault_set(&why, R_HOLD_OVER, "%u dials, the last: %s: %s",
		    s->hold->dials, reason_word(s->hold->why.why),
		    s->hold->why.text);
	}
	session_end(s, &why);
}

void
session_time_hold(struct session *s)
{
	struct timeval tv;

	if (s->ended || s->hold == NULL)
		return;
	tv = in_ms(time_left_ms(s, clock_mono_ms()));
	if (evtimer_add(&s->hold->deadline, &tv) != 0)
		session_end_for(s, R_OUT_OF_MEMORY, "for a timer");
}

void
session_end_hold(struct session *s)
{
	if (s->hold == NULL)
		return;
	(void)evtimer_del(&s->hold->deadline);
	(void)evtimer_del(&s->hold->dial);
	free(s->hold);
	s->hold = NULL;
}

/* ---- the login again ---- */

/* CONNECT as it was, but for the login, which goes into no memory for long. */
bool
session_keep_connect(struct session *s)
{
	struct buffer kept = {0};
	struct mqtt_connect c;
	uint8_t *out;
	size_t n;

	if (!mqtt_connect_read(buffer_span(&s->connect), &c, NULL))
		return false;
	c.has_username = c.has_password = false;
	session_fit_will(s, &c);
	n = mqtt_connect_size(&c);
	out = n > 0 ? buffer_reserve(&kept, n) : NULL;
	if (out == NULL)
		return false;
	mqtt_connect_write(&c, out);
	buffer_commit(&kept, n);
	buffer_wipe(&s->connect);
	s->connect = kept;
	return true;
}

/* What the device has in hand already counts (MQTT-3.3.4-9). */
static bool
lower_receive_maximum(const struct session *s, struct mqtt_connect *c,
    const struct mqtt_property *given, struct buffer *kept)
{
	uint32_t left = given->value > s->outbound.orphans
			    ? given->value - s->outbound.orphans
			    : 1;
	const uint8_t property[] = {
	    MQTT_RECEIVE_MAXIMUM, (uint8_t)(left >> 8), (uint8_t)left};
	struct span list = c->properties;
	struct mqtt_property p;

	while (mqtt_property_next(&list, &p) == PARSE_OK)
		if (p.id != MQTT_RECEIVE_MAXIMUM &&
		    !buffer_append(kept, p.whole))
			return false;
	if (!buffer_append(kept, (struct span){property, sizeof(property)}))
		return false;
	c->properties = buffer_span(kept);
	return true;
}

bool
session_fit_connect_again(
    const struct session *s, struct mqtt_connect *c, struct buffer *kept)
{
	struct mqtt_property p;

	if (s->level < 5)
		return true;
	/* to the device its session goes on */
	c->clean = false;
	return s->outbound.orphans == 0 ||
	       !mqtt_property_find(c->properties, MQTT_RECEIVE_MAXIMUM, &p) ||
	       lower_receive_maximum(s, c, &p, kept);
}

/* The cloud says that it is not there, rather than that the device is not
   welcome. */
static bool
is_refusal(const struct session *s, uint8_t code)
{
	enum {
		SERVER_UNAVAILABLE_3 = 3,
		UNSPECIFIED = 0x80,
		SERVER_UNAVAILABLE = 0x88,
		SERVER_BUSY = 0x89,
		QUOTA_EXCEEDED = 0x97,
		CONNECTION_RATE_EXCEEDED = 0x9f
	};

	if (s->level < 5)
		return code != SERVER_UNAVAILABLE_3;
	return code != UNSPECIFIED && code != SERVER_UNAVAILABLE &&
	       code != SERVER_BUSY && code != QUOTA_EXCEEDED &&
	       code != CONNECTION_RATE_EXCEEDED;
}

static bool
append_identifier(struct buffer *properties, uint32_t identifier)
{
	uint8_t out[5] = {MQTT_SUBSCRIPTION_IDENTIFIER};
	size_t n = 1 + mqtt_varint_write(out + 1, identifier);

	return buffer_append(properties, (struct span){out, n});
}

/* Downwards: devices count up. */
static uint16_t
pick_id(const struct session *s)
{
	uint16_t id = UINT16_MAX;

	while (subscribing_has(&s->subscribing, id) ||
	       inbound_has(&s->memory->inbound, id))
		id--;
	return id;
}

/* One packet of the subscriptions from <*list> on that have one identifier.
   False without memory. */
static bool
restore_some(struct session *s, struct span *list)
{
	struct buffer filters = {0}, properties = {0};
	struct subscription sub;
	struct span before = *list;
	uint32_t identifier = 0;
	uint32_t n = 0;
	bool ok = true;

	while (ok && filters.n < RESTORE_BYTES && granted_next(list, &sub)) {
		const uint8_t length[] = {
		    (uint8_t)(sub.filter.n >> 8), (uint8_t)sub.filter.n};

		if (n > 0 && sub.identifier != identifier) {
			*list = before;
			break;
		}
		before = *list;
		identifier = sub.identifier;
		n++;
		ok = buffer_append(&filters, (struct span){length, 2}) &&
		     buffer_append(&filters, sub.filter) &&
		     buffer_append(&filters, (struct span){&sub.options, 1});
	}
	if (ok && identifier != 0)
		ok = append_identifier(&properties, identifier);
	ok = ok && subscribing_restore(&s->subscribing, pick_id(s),
		       buffer_span(&properties), buffer_span(&filters), n);
	buffer_free(&filters);
	buffer_free(&properties);
	return ok;
}

/* The cloud has forgotten what it has granted. */
static bool
restore_subscriptions(struct session *s)
{
	struct span list = buffer_span(&s->granted.list);
	size_t before = s->subscribing.kept_bytes;
	bool ok = true;

	s->restoring = 0;
	if (list.n == 0)
		s->logins = 0;
	while (ok && list.n > 0) {
		ok = restore_some(s, &list);
		s->restoring++;
	}
	loop_count(s->env->link.loop, s->subscribing.kept_bytes - before);
	return ok;
}

static void
log_resumed(const struct session *s, bool present)
{
	SLOG(LOG_NOTICE, s, "device_resumed",
	    "held_ms=%llu dials=%u session_present=%s again=%u queued=%llu",
	    (unsigned long long)(clock_mono_ms() - s->hold->began_ms),
	    s->hold->dials, present ? "yes" : "no", s->outbox.count,
	    (unsigned long long)flow_queued(&s->memory->flow));
}

/* What the cloud has sent before it will not send again. Level 3 does not say;
   then DUP has to. */
static bool
cloud_has_forgotten(const struct session *s)
{
	enum clean_session clean = s->entry->clean_session;

	return s->level > 3 || clean == CLEAN_YES ||
	       (clean == CLEAN_AS_DEVICE && s->wants_clean);
}

static void
resume(struct session *s, const struct mqtt_connack *ack)
{
	/* level 3 does not say: to ask again does no harm */
	bool present = s->level > 3 && ack->session_present;

	if (!present && s->was_present && !s->granted.is_complete) {
		session_end_for(s, R_SESSION_LOST,
		    "the cloud does not know its session any more");
		return;
	}
	if (!present && cloud_has_forgotten(s))
		outbound_forget_cloud(&s->outbound);
	/* a login without an answer may have begun the one that is present */
	if (present && s->logins == 1) {
		s->logins = 0;
	} else if (!restore_subscriptions(s)) {
		session_end_for(s, R_OUT_OF_MEMORY, "for a SUBSCRIBE");
		return;
	}
	session_note_limits(s, ack);
	log_resumed(s, present);
	link_logged_in(&s->link, session_ping_interval_ms(s, ack));
	if (s->ended) /* no memory for its timer */
		return;
	s->held_ms += clock_mono_ms() - s->hold->began_ms;
	s->link_lost = s->progress = false;
	if (!s->hold->device_is_gone)
		session_end_hold(s);
	flow_hold(&s->memory->flow, false);
}

void
session_take_connack_again(struct session *s, const struct mqtt_connack *ack)
{
	struct fault why;

	if (ack->code == 0) {
		resume(s, ack);
		return;
	}
	s->logins--;
	session_login_refusal(s, ack, &why);
	link_turned_away(&s->link, &why);
	if (is_refusal(s, ack->code)) {
		session_end(s, &why);
		return;
	}
	go_on_holding(s, &why);
	link_close(&s->link, WS_CLOSE_NORMAL);
}

bool
session_holds_after_disconnect(const struct session *s, uint8_t code)
{
	enum {
		UNSPECIFIED = 0x80,
		IMPLEMENTATION_SPECIFIC = 0x83,
		SERVER_BUSY = 0x89,
		SERVER_SHUTTING_DOWN = 0x8b,
		KEEP_ALIVE_TIMEOUT = 0x8d,
		USE_ANOTHER_SERVER = 0x9c,
		SERVER_MOVED = 0x9d,
		CONNECTION_RATE_EXCEEDED = 0x9f,
		MAXIMUM_CONNECT_TIME = 0xa0
	};

	switch (code) {
	case UNSPECIFIED:
	case IMPLEMENTATION_SPECIFIC:
	case SERVER_BUSY:
	case SERVER_SHUTTING_DOWN:
	case KEEP_ALIVE_TIMEOUT:
	case USE_ANOTHER_SERVER:
	case SERVER_MOVED:
	case CONNECTION_RATE_EXCEEDED:
	case MAXIMUM_CONNECT_TIME:
		return s->holds;
	default:
		return false;
	}
}

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
	device_close(&s->device, (struct span){NULL, 0});
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
