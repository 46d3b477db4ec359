/*
 * A device held while its link is lost: its connection stays, what it sends is
 * taken as far as there is room, and the link is dialled again within the
 * governor's limits, until the time of the hold is over. To the device it is
 * one session all along.
 */
#include "session/session_parts.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

enum { LEAST_MS = 100 }; /* between two dials */

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
	if (!s->hold->device_is_gone)
		s->since_ms = now_ms;
	s->hold->dials = 0;
	s->hold->why = *why;
	tv = in_ms(left_ms);
	if (evtimer_add(&s->hold->deadline, &tv) != 0)
		return false;
	s->holds_count++;
	s->env->tally.holds++;
	SLOG(LOG_NOTICE, s, "device_held",
	    "reason=%s detail=\"%s\" seconds=%llu unacknowledged=%u "
	    "hint=\"%s\"",
	    reason_word(why->why), why->text,
	    (unsigned long long)(left_ms + 999) / 1000, s->outbox.count,
	    reason_hint(why->why));
	return true;
}

/* A dial has failed, or the new link was lost before it was of use. */
void
session_go_on_holding(struct session *s, const struct fault *why)
{
	/* that it was not dialled at all says nothing of what is wrong */
	if (why->why == R_DIAL_BACKOFF || why->why == R_DIAL_RATE ||
	    why->why == R_DIAL_QUEUE || why->why == R_CLOUD_BUSY)
		s->hold->dials -= s->hold->dials > 0;
	else
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
		session_go_on_holding(s, why);
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
	if (evtimer_add(&s->hold->deadline, &tv) != 0) {
		session_end_for(s, R_OUT_OF_MEMORY, "for a timer");
		return;
	}
	/* a reload ends the waits after failures */
	if (evtimer_pending(&s->hold->dial, NULL))
		session_dial_again(s);
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

const struct fault *
session_hold_reason(const struct session *s)
{
	return s->hold != NULL ? &s->hold->why : NULL;
}

bool
session_hold_is_left(const struct session *s)
{
	return s->hold != NULL && s->hold->device_is_gone;
}
