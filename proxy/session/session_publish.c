/*
 * What the device publishes, brought to what the cloud takes: QoS 2 is ended
 * here, the retain bit goes, rates are kept, what is too big is stopped. With a
 * cloud that takes everything every packet passes as it is.
 */
#include "session/session_parts.h"

#include "base/clock.h"
#include "base/log.h"

enum { RETAIN_BIT = 0x01, TOPIC_NAME_INVALID = 0x90, QUOTA_EXCEEDED = 0x97 };

/* ---- what the cloud does not take at all ---- */

bool
session_objects(const struct session *s, const struct mqtt_packet *p,
    uint64_t payload_bytes, uint8_t *code, struct fault *why)
{
	const struct contract *c = s->entry->contract;

	if (c->message_max != 0 && payload_bytes > c->message_max) {
		*code = QUOTA_EXCEEDED;
		(void)fault_set(why, R_MESSAGE_TOO_BIG,
		    "a message of %llu bytes, the cloud takes %u",
		    (unsigned long long)payload_bytes, c->message_max);
		return true;
	}
	if (!contract_takes_topic(c, p->topic)) {
		*code = TOPIC_NAME_INVALID;
		(void)fault_set(why, R_TOPIC_REFUSED,
		    "a topic of %zu bytes, the cloud takes %u with %u slashes",
		    p->topic.n, c->topic_max, c->topic_slashes_max);
		return true;
	}
	return false;
}

/*
 * MQTT-3.3.5-2: QoS 0 is dropped, and counted; at level 5 the acknowledgement
 * says it; older levels can only be told by closing.
 */
static void
refuse(struct session *s, const struct mqtt_packet *p, uint8_t code,
    const struct fault *why)
{
	const struct mqtt_packet answer = {
	    .header.type = p->qos == 2 ? MQTT_PUBREC : MQTT_PUBACK,
	    .packet_id = p->packet_id,
	    .reason_code = code};
	uint8_t out[MQTT_SMALL_MAX];

	if (p->qos > 0 && s->level < 5) {
		session_end(s, why);
		return;
	}
	if (s->refused++ == 0)
		SLOG(LOG_WARNING, s, "message_dropped",
		    "reason=%s detail=\"%s\" hint=\"%s\"",
		    reason_word(why->why), why->text, reason_hint(why->why));
	if (p->qos > 0) {
		mqtt_packet_write(&answer, s->level, out);
		device_write(&s->device,
		    (struct span){out, mqtt_packet_size(&answer, s->level)});
	}
}

bool
session_breaks_aliases(const struct credential *entry)
{
	const struct contract *c = entry->contract;

	return entry->topics != NULL ||
	       entry->policies.retain == RETAIN_STORE || c->qos_max < 2 ||
	       c->message_max != 0 || c->topic_max != 0 ||
	       c->topic_slashes_max != 0 || c->qos0_per_second != 0 ||
	       c->qos1_per_second != 0 || c->bytes_per_second != 0 ||
	       c->inflight_max != 0;
}

/* ---- what it takes otherwise ---- */

/* Packets of the device lie in the loop's scratch, which is ours to change. */
static void
set_first_byte(struct span packet, uint8_t byte)
{
	*(uint8_t *)(uintptr_t)packet.p = byte;
}

static void
send_up(struct session *s, struct span first, uint64_t total)
{
	enum ws_opcode opcode = WS_BINARY;
	struct span piece;

	s->up_left = total - first.n;
	s->up_dropped = s->up_kept = false;
	/* with a longer topic it may be more than a frame has */
	while (first.n > LOOP_IN_BYTES &&
	       span_take(&first, LOOP_IN_BYTES, &piece)) {
		link_put(&s->link, opcode, piece, false);
		opcode = WS_CONTINUATION;
	}
	link_put(&s->link, opcode, first, s->up_left == 0);
}

/* What else comes of it goes nowhere. To be called before the device is
   answered, which may find it gone. */
static void
leave_out(struct session *s, struct span first, uint64_t total)
{
	struct flow *f = &s->memory->flow;

	s->up_left = total - first.n;
	s->up_dropped = true;
	s->up_kept = false;
	if (flow_is_on(f)) /* it may have had to wait until now */
		flow_forget_waiting(f, clock_mono_ms());
}

/* ---- what is kept until the cloud has acknowledged it ---- */

enum { KEPT_MAX = 1000 }; /* where the contract has no in-flight window */

/* Ever; else it can only be sent at once. */
static bool
fits(const struct session *s, uint64_t total)
{
	return outbox_cost(total) <= s->entry->hold_queue_bytes;
}

/* Now: all devices of a worker share its account. */
static bool
can_be_kept(const struct session *s, uint64_t total)
{
	return fits(s, total) && loop_can_hold(s->env->link.loop,
				     outbox_cost(total), LOOP_FOR_LATER);
}

/* True when one more has a place; else one has to be acknowledged before, or
   the link has to be back. */
static bool
has_place(const struct session *s, uint64_t total)
{
	const struct outbox *o = &s->outbox;
	uint32_t window = s->entry->contract->inflight_max;
	bool waits = session_makes_wait(s);

	if (o->count == 0 && !waits)
		return true;
	if (o->count >= (window > 0 ? window : KEPT_MAX))
		return false;
	if (!fits(s, total))
		return !waits;
	return outbox_has_room(o, total, s->entry->hold_queue_bytes) &&
	       can_be_kept(s, total);
}

/* QoS 1, or QoS 2 that goes up as that, at once or when what waits has gone.
   False without memory. */
static bool
send_or_keep(struct session *s, const struct mqtt_packet *p, struct span first,
    uint64_t total)
{
	bool goes_now = !session_makes_wait(s);

	if (s->holds && !outbox_add(&s->outbox, s->env->link.loop, first, total,
			    p->packet_id, goes_now, can_be_kept(s, total)))
		return false;
	if (goes_now)
		send_up(s, first, total);
	else
		leave_out(s, first, total);
	s->up_kept = s->holds && s->up_left > 0;
	return true;
}

/* False: it has to wait. */
static bool
begin_handshake(struct session *s, const struct mqtt_packet *p,
    struct span first, uint64_t total)
{
	struct inbound_step step;

	inbound_publish(&s->memory->inbound, p, s->level, &step);
	switch (step.move) {
	case INBOUND_PASS:
		s->qos2_ended += p->qos == 2;
		set_first_byte(first, step.first_byte);
		if (!send_or_keep(s, p, first, total))
			break;
		return true;
	case INBOUND_ANSWER:
		leave_out(s, first, total);
		device_write(
		    &s->device, (struct span){step.answer, step.answer_bytes});
		return true;
	case INBOUND_TAKEN:
		leave_out(s, first, total);
		return true;
	case INBOUND_WAIT:
		session_await_cloud(s);
		return false;
	case INBOUND_BAD:
		session_end(s, &step.why);
		return true;
	case INBOUND_NO_MEMORY:
		break;
	}
	session_end_for(s, R_OUT_OF_MEMORY, "for a PUBLISH");
	return true;
}

bool
session_adapts_qos2(const struct session *s)
{
	return s->entry->contract->qos_max == 1 &&
	       s->entry->policies.qos2 == QOS2_ADAPT;
}

bool
session_ends_qos2(const struct session *s, uint16_t packet_id)
{
	return s->adapts &&
	       (s->entry->contract->qos_max < 2 ||
		   inbound_has_qos2(&s->memory->inbound, packet_id));
}

static bool
takes_qos(const struct session *s, uint8_t qos)
{
	return qos <= s->entry->contract->qos_max ||
	       (qos == 2 && session_adapts_qos2(s));
}

bool
session_takes_retain(const struct session *s)
{
	const struct contract *c = s->entry->contract;

	return s->level >= 5 ? c->retain_5 : c->retain_3;
}

/* True when the flow lets it go now, in *queued when it went into the queue. */
static bool
is_admitted(struct session *s, const struct mqtt_packet *p, struct span first,
    uint64_t total, bool *queued)
{
	const struct flow_publish publish = {.qos = p->qos > 0,
	    .bytes = total,
	    .packet = first,
	    .in_flight = session_in_flight(s)};
	struct flow *f = &s->memory->flow;

	switch (flow_admit(f, &publish, clock_mono_ms())) {
	case FLOW_PASS:
		return true;
	case FLOW_WAIT:
		if (flow_waits_for_puback(f))
			session_await_cloud(s);
		return false;
	case FLOW_TAKEN:
		*queued = true;
		leave_out(s, first, total);
	}
	return true;
}

/* The same, also where nothing limits it. */
static bool
may_go(struct session *s, const struct mqtt_packet *p, struct span first,
    uint64_t total, bool *queued)
{
	*queued = false;
	return !flow_is_on(&s->memory->flow) ||
	       is_admitted(s, p, first, total, queued);
}

/* The same for one that is kept: it waits behind those that do. */
static bool
may_be_kept(struct session *s, const struct mqtt_packet *p, struct span first,
    uint64_t total)
{
	bool queued;

	if (!has_place(s, total)) {
		session_await_cloud(s);
		return false;
	}
	return session_makes_wait(s) || may_go(s, p, first, total, &queued);
}

/* A device that has come back sends again what is about to be sent again. */
static bool
repeats_what_waits(struct session *s, const struct mqtt_packet *p)
{
	return p->dup && p->qos == 1 &&
	       outbox_will_repeat(&s->outbox, p->packet_id);
}

/* The same, without the bit that the cloud does not take; p->retain is then
   false, too. */
static bool
go_without_retain(struct session *s, struct mqtt_packet *p, struct span first,
    uint64_t total, bool is_kept, bool *queued)
{
	const uint8_t given = first.p[0];
	bool clears = p->retain && !session_takes_retain(s);

	if (clears) {
		p->retain = false;
		set_first_byte(first, given & (uint8_t)~RETAIN_BIT);
	}
	if (is_kept ? may_be_kept(s, p, first, total)
		    : may_go(s, p, first, total, queued)) {
		s->retain_cleared += clears;
		return true;
	}
	set_first_byte(first, given); /* it is asked about again */
	p->retain = (given & RETAIN_BIT) != 0;
	return false;
}

/* One that has the topic it goes up with. Of <p> the retain bit may go. */
static bool
take(
    struct session *s, struct mqtt_packet *p, struct span first, uint64_t total)
{
	uint64_t head_bytes = (uint64_t)(p->payload.p - first.p);
	bool ends_here = p->qos == 2 ? session_ends_qos2(s, p->packet_id)
				     : p->qos == 1 && s->adapts;
	struct fault why;
	uint8_t code;
	bool queued = false;

	if (session_objects(s, p, total - head_bytes, &code, &why)) {
		if (p->qos > 0 && !session_can_answer(s))
			return false;
		leave_out(s, first, total);
		refuse(s, p, code, &why);
		return true;
	}
	if (!takes_qos(s, p->qos)) {
		session_end_for(s, R_QOS_REFUSED, "");
		return true;
	}
	if (p->qos == 2 && ends_here && !session_can_answer(s))
		return false;
	/* what does not go up asks for no turn */
	if (ends_here && !inbound_goes_up(&s->memory->inbound, p))
		return begin_handshake(s, p, first, total);
	/* a handshake that passes needs both its ends */
	if (p->qos == 2 && !ends_here && s->link_lost)
		return false;
	if (s->holds && ends_here && repeats_what_waits(s, p)) {
		leave_out(s, first, total);
		return true;
	}
	if (!go_without_retain(
		s, p, first, total, s->holds && ends_here, &queued))
		return false;
	s->up.packets++;
	s->up.bytes += first.n;
	s->env->tally.published_up[p->qos]++;
	if (queued)
		return true;
	if (ends_here)
		return begin_handshake(s, p, first, total);
	s->up_qos2 += p->qos == 2;
	send_up(s, first, total);
	return true;
}

/* One whose topic no rule maps, or only to what the cloud does not take, or
   that is too big with it. */
static bool
turn_down(struct session *s, const struct mqtt_packet *p, struct span first,
    uint64_t total, const struct fault *why)
{
	if (p->qos > 0 && !session_can_answer(s))
		return false;
	leave_out(s, first, total);
	refuse(s, p,
	    why->why == R_MESSAGE_TOO_BIG ? QUOTA_EXCEEDED : TOPIC_NAME_INVALID,
	    why);
	return true;
}

static bool
take_mapped(struct session *s, struct mqtt_packet *given, struct span first,
    uint64_t total)
{
	uint64_t head_bytes = (uint64_t)(given->payload.p - first.p);
	struct mqtt_packet p = *given;
	struct buffer packet = {0};
	struct fault why;
	bool taken = true;

	switch (session_map_up(s, &p, total - head_bytes, &packet, &why)) {
	case SESSION_MAPPED:
		taken = take(s, &p, buffer_span(&packet),
		    p.header.header_bytes + (uint64_t)p.header.remaining);
		break;
	case SESSION_UNMAPPED_PASSES:
		taken = take(s, given, first, total);
		break;
	case SESSION_NOT_TAKEN:
		taken = turn_down(s, given, first, total, &why);
		break;
	case SESSION_REFUSED:
		session_end(s, &why);
		break;
	case SESSION_NO_MEMORY:
		session_end_for(s, R_OUT_OF_MEMORY, "for a PUBLISH");
	}
	buffer_free(&packet);
	return taken;
}

bool
session_take_publish(
    struct session *s, struct mqtt_packet *p, struct span first, uint64_t total)
{
	uint64_t before = s->up.packets;
	bool is_retained = p->retain;
	bool taken = s->entry->topics == NULL ? take(s, p, first, total)
					      : take_mapped(s, p, first, total);

	if (is_retained && s->up.packets > before) {
		p->retain = true;
		session_retain(s, p, first.n == total);
	}
	return taken;
}

void
session_take_publish_piece(struct session *s, struct span piece)
{
	s->up_left -= piece.n;
	s->up.bytes += piece.n;
	if (s->up_kept)
		outbox_more(&s->outbox, piece);
	if (s->up_dropped)
		return;
	if (flow_is_on(&s->memory->flow))
		flow_piece(&s->memory->flow, piece.n, clock_mono_ms());
	link_put(&s->link, WS_CONTINUATION, piece, s->up_left == 0);
}

bool
session_take_pubrel(struct session *s, const struct mqtt_packet *p)
{
	struct inbound_step step;

	if (!session_can_answer(s))
		return false;
	inbound_pubrel(&s->memory->inbound, p, s->level, &step);
	if (step.move == INBOUND_BAD)
		session_end(s, &step.why);
	else
		device_write(
		    &s->device, (struct span){step.answer, step.answer_bytes});
	return true;
}

bool
session_take_puback(
    struct session *s, const struct mqtt_packet *p, struct span bytes)
{
	struct inbound_step step;
	bool is_left = outbox_is_left(&s->outbox, p->packet_id);

	s->owed_ms = 0;
	if (outbox_acknowledge(&s->outbox, s->env->link.loop, p->packet_id))
		s->progress = true;
	inbound_puback(&s->memory->inbound, p, &step);
	switch (step.move) {
	case INBOUND_PASS:
		set_first_byte(bytes, step.first_byte);
		/* at QoS 2 the identifier is known here, and no other has it */
		return is_left && step.first_byte >> 4 == MQTT_PUBACK;
	case INBOUND_BAD:
		link_fail(&s->link, WS_CLOSE_PROTOCOL_ERROR, &step.why);
		return true;
	case INBOUND_TAKEN:
		(void)session_will_acknowledged(s, p);
		break;
	case INBOUND_ANSWER:
	case INBOUND_WAIT:
	case INBOUND_NO_MEMORY:
		break;
	}
	return true;
}
