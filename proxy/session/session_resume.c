/*
 * Another login of a device that is held: its CONNECT again, and the CONNACK.
 * When the cloud has accepted it, what it has forgotten is asked for again, and
 * what it has not acknowledged goes up again (session_pace.c).
 */
#include "session/session_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/mqtt_property.h"

enum { RESTORE_BYTES = 8 * 1024 }; /* of filters in one SUBSCRIBE of our own */

/* ---- CONNECT ---- */

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
	s->env->tally.resumes++;
	link_logged_in(&s->link, session_ping_interval_ms(s, ack));
	if (s->ended) /* no memory for its timer */
		return;
	s->held_ms += clock_mono_ms() - s->hold->began_ms;
	s->link_lost = s->progress = false;
	if (!s->hold->device_is_gone) {
		s->since_ms = clock_mono_ms();
		session_end_hold(s);
	}
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
	session_go_on_holding(s, &why);
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
