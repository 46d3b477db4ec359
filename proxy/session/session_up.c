/*
 * From the device to the cloud. Each packet is checked, and becomes one
 * WebSocket message: the standard allows any alignment of the two (MQTT 5.0
 * section 6), but one packet a message is what every broker takes. A PUBLISH
 * that is too big to be kept whole travels as fragments of one message.
 */
#include "session/session_parts.h"

#include "base/escape.h"

enum { DISCONNECT_WITH_WILL = 0x04 }; /* 3.14.2.1 */

/* What is kept of the device until a packet is whole. */
static size_t
whole_max(const struct session *s)
{
	uint64_t share = s->env->link.settings->session_buffer_bytes / 4;

	return share < LOOP_IN_BYTES ? (size_t)share : LOOP_IN_BYTES;
}

static void
end_for_header(struct session *s, struct span packet)
{
	char text[40];
	struct fault why;

	if (packet.n > 16)
		packet.n = 16;
	(void)fault_set(&why, R_BAD_PACKET, "no MQTT packet: it begins with %s",
	    escape(text, sizeof(text), packet));
	session_end(s, &why);
}

static void
end_for_size(
    struct session *s, enum mqtt_type type, uint64_t total, uint64_t allowed)
{
	struct fault why;

	(void)fault_set(&why, R_PACKET_TOO_BIG,
	    "packet type %d: %llu bytes announced, %llu allowed", type,
	    (unsigned long long)total, (unsigned long long)allowed);
	session_end(s, &why);
}

/* MQTT-3.1.2-10: the will goes, whether DISCONNECT goes up now or later. */
static void
take_leave(struct session *s, const struct mqtt_packet *p)
{
	s->will.wanted = p->reason_code == DISCONNECT_WITH_WILL &&
			 s->will.state == WILL_KEPT;
	if (!s->will.wanted)
		session_drop_will(s);
}

/* A DISCONNECT that waits; false. It has to go up if the session ends before,
   or the cloud would publish a will that it keeps itself. */
static bool
keep_farewell(struct session *s, struct span packet)
{
	/* without memory only that is lost */
	if (s->farewell.n == 0 && !s->will.wanted)
		(void)!buffer_append(&s->farewell, packet);
	return false;
}

void
session_say_farewell(struct session *s)
{
	struct buffer packet = s->farewell;

	s->farewell = (struct buffer){0};
	if (packet.n > 0 && !s->link_lost && link_takes(&s->link))
		session_put_message(s, buffer_span(&packet));
	buffer_free(&packet);
}

/* One whole packet, checked; false: it has to wait. */
static bool
take_packet(struct session *s, struct mqtt_packet *p, struct span packet)
{
	enum mqtt_type type = p->header.type;
	bool is_subscribe =
	    s->adapts && (type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE);
	bool is_pubrel =
	    type == MQTT_PUBREL && session_ends_qos2(s, p->packet_id);
	struct fault left;

	if (type == MQTT_PUBLISH)
		return session_take_publish(s, p, packet, packet.n);
	if (type == MQTT_DISCONNECT) {
		take_leave(s, p);
		/* what it has sent before goes first */
		if (flow_queued(&s->memory->flow) > 0 ||
		    outbox_waiting(&s->outbox) > 0)
			return keep_farewell(s, packet);
		buffer_free(&s->farewell);
	}
	if (is_subscribe && !session_take_subscribe(s, p, packet))
		return false;
	if (is_pubrel && !session_take_pubrel(s, p))
		return false;
	s->up.packets++;
	s->up.bytes += packet.n;
	if (is_subscribe || is_pubrel)
		return true;
	if (type == MQTT_PINGREQ) { /* the link has pings of its own */
		if (s->pingresp_due < UINT32_MAX)
			s->pingresp_due++;
		session_answer_pings(s);
		return true;
	}
	if (s->holds && (type == MQTT_PUBACK || type == MQTT_PUBREC ||
			    type == MQTT_PUBCOMP)) {
		session_take_device_ack(s, p, packet);
		return true;
	}
	if (!s->will.wanted && !s->link_lost)
		link_put(&s->link, WS_BINARY, packet, true);
	if (type == MQTT_DISCONNECT && !s->ended) {
		(void)fault_set(&left, R_DEVICE_LEFT, "%s", "");
		if (!session_outlives_device(s, &left))
			session_end(s, &left);
	}
	return true;
}

/* True when a device may send this type now: before the cloud has accepted it
   only what an extended authentication needs (MQTT-3.1.2-30). */
static bool
may_send(const struct session *s, enum mqtt_type type)
{
	return s->accepted || type == MQTT_AUTH || type == MQTT_DISCONNECT;
}

/* A whole packet; true when it may go on, else the session has ended. */
static bool
check_packet(struct session *s, struct span bytes, struct mqtt_packet *packet)
{
	struct fault why;
	const char *flaw;

	if (!mqtt_packet_read(
		bytes, s->level, MQTT_FROM_CLIENT, packet, &why)) {
		session_end(s, &why);
		return false;
	}
	flaw = session_auth_flaw(s, packet);
	if (flaw != NULL)
		session_end_for(s, R_BAD_PACKET, flaw);
	return flaw == NULL;
}

/* A PUBLISH that is not whole and will not be: its head at least has to be. *n:
   how many bytes can go on; 0: none yet, or ended. */
static void
look_at_pieces(
    struct session *s, struct span in, struct mqtt_packet *packet, size_t *n)
{
	struct fault why;
	size_t head;

	switch (mqtt_publish_head_read(
	    in, s->level, MQTT_FROM_CLIENT, packet, &head, &why)) {
	case PARSE_BAD:
		session_end(s, &why);
		return;
	case PARSE_MORE:
		if (in.n >= whole_max(s))
			session_end_for(s, R_PACKET_TOO_BIG,
			    "PUBLISH: its topic and properties alone");
		return;
	case PARSE_OK:
		*n = in.n;
	}
}

/* The packet <in> begins with, of *total bytes: *n of them can go on; 0: it has
   to wait for more, or the session has ended. */
static void
look_at_packet(struct session *s, struct span in, struct mqtt_packet *packet,
    uint64_t *total, size_t *n)
{
	uint64_t max = s->env->link.settings->packet_max_bytes;
	struct mqtt_header h;

	*n = 0;
	switch (mqtt_header_read(in, &h)) {
	case PARSE_MORE:
		return;
	case PARSE_BAD:
		end_for_header(s, in);
		return;
	case PARSE_OK:
		break;
	}
	*total = h.header_bytes + (uint64_t)h.remaining;
	if (h.type == MQTT_CONNECT) { /* MQTT-3.1.0-2 */
		session_end_for(s, R_SECOND_CONNECT, "");
	} else if (!may_send(s, h.type)) {
		session_end_for(s, R_BAD_PACKET, "sent before the CONNACK");
	} else if (*total > max) {
		end_for_size(s, h.type, *total, max);
	} else if (*total <= in.n) {
		in.n = (size_t)*total;
		if (check_packet(s, in, packet))
			*n = in.n;
	} else if (*total > whole_max(s)) {
		if (h.type == MQTT_PUBLISH)
			look_at_pieces(s, in, packet, n);
		else
			end_for_size(s, h.type, *total, whole_max(s));
	}
}

/* The next packet, or the first piece of one. */
static bool
take_start(struct session *s, struct span *in)
{
	struct mqtt_packet packet;
	struct span first;
	uint64_t total;
	size_t n;

	look_at_packet(s, *in, &packet, &total, &n);
	if (n == 0)
		return false;
	first = (struct span){in->p, n};
	s->held = first.n < total
		      ? !session_take_publish(s, &packet, first, total)
		      : !take_packet(s, &packet, first);
	if (!s->held)
		s->owed_ms = 0;
	return !s->held && span_take(in, n, &first);
}

/* More of a PUBLISH that is too big to be kept whole. */
static bool
take_more(struct session *s, struct span *in)
{
	size_t n = s->up_left < in->n ? (size_t)s->up_left : in->n;
	struct span piece;

	if (!span_take(in, n, &piece))
		return false;
	session_take_publish_piece(s, piece);
	return true;
}

/* Takes off <in> what goes on. True: what waits may go now, ask again. */
static bool
take_turn(struct session *s, struct span *in)
{
	bool has_waited;

	/* one that is gone is not heard, though its will may still be due */
	while (
	    in->n > 0 && s->device.state == DEVICE_ONLINE && session_listens(s))
		if (!(s->up_left > 0 ? take_more(s, in) : take_start(s, in)))
			break;
	if (s->ended)
		return false;
	has_waited = s->held;
	session_end_turn(s);
	return has_waited && !s->held && !s->ended;
}

size_t
session_take_device_bytes(void *arg, struct span in)
{
	struct session *s = arg;
	size_t given = in.n;

	while (take_turn(s, &in))
		;
	return s->ended ? given : given - in.n;
}

void
session_on_link_room(void *arg)
{
	session_go_on(arg);
}
