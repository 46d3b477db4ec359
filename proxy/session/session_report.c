/* What an administrator is told of a session. */
#include "session/session_parts.h"

#include <stdio.h>
#include <string.h>

const char *
presence_word(enum presence p)
{
#define X(id, word) [id] = word,
	static const char *const words[PRESENCE_COUNT] = {PRESENCES(X)};
#undef X

	return words[p];
}

enum presence
session_presence(const struct session *s)
{
	if (s->ended || session_hold_is_left(s) || session_has_left(s) ||
	    s->will.state > WILL_KEPT)
		return PRESENCE_LEAVING;
	if (s->link_lost)
		return PRESENCE_HELD;
	return s->accepted ? PRESENCE_ONLINE : PRESENCE_DIALLING;
}

void
session_report(const struct session *s, struct session_report *out)
{
	const struct fault *why = session_hold_reason(s);

	out->presence = session_presence(s);
	out->since_ms = s->since_ms;
	out->link = s->link.state;
	out->transport = link_transport(&s->link);
	out->port = link_port(&s->link);
	out->level = s->level;
	memcpy(out->peer, s->peer, sizeof(out->peer));
	out->reason = why != NULL ? why->why : R_NONE;
	out->is_past = false;
	(void)snprintf(out->detail, sizeof(out->detail), "%.*s",
	    REPORT_DETAIL_MAX - 1, why != NULL ? why->text : "");
	out->up_packets = s->up.packets;
	out->up_bytes = s->up.bytes;
	out->down_packets = s->down.packets;
	out->down_bytes = s->down.bytes;
	out->holds = s->holds_count;
	out->unacknowledged = s->outbox.count;
	out->unacknowledged_bytes = s->outbox.kept_bytes;
	out->queued = flow_queued(&s->memory->flow);
	out->to_cloud_bytes = s->link.kept.n;
	out->to_device_bytes = s->device.out.n;
}

void
session_sum(const struct session *s, struct session_sums *sums)
{
	sums->of[SUM_UP_PACKETS] += s->up.packets;
	sums->of[SUM_UP_BYTES] += s->up.bytes;
	sums->of[SUM_DOWN_PACKETS] += s->down.packets;
	sums->of[SUM_DOWN_BYTES] += s->down.bytes;
	sums->of[SUM_QOS2_ENDED] += s->qos2_ended;
	sums->of[SUM_RETAIN_CLEARED] += s->retain_cleared;
	sums->of[SUM_RETAINED_SENT] += s->retained_sent;
	sums->of[SUM_RETAINED_DROPPED] += s->retained_dropped;
	sums->of[SUM_FILTERS_REFUSED] += s->filters_refused;
	sums->of[SUM_REFUSED] += s->refused;
	sums->of[SUM_DOWN_DROPPED] += s->down_dropped_count;
}
