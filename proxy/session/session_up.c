/*
 * From the device to the cloud. Each packet is checked, and becomes one
 * WebSocket message: the standard allows any alignment of the two (MQTT 5.0
 * section 6), but one packet a message is what every broker takes. A PUBLISH
 * that is too big to be kept whole travels as fragments of one message.
 */
#include "session/session_parts.h"

#include "base/escape.h"

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

/* One whole packet, checked. */
static void
take_packet(struct session *s, enum mqtt_type type, struct span packet)
{
	s->up.packets++;
	s->up.bytes += packet.n;
	if (type == MQTT_PINGREQ) { /* the link has pings of its own */
		if (s->pingresp_due < UINT32_MAX)
			s->pingresp_due++;
		session_answer_pings(s);
		return;
	}
	link_put(&s->link, WS_BINARY, packet, true);
	if (type == MQTT_DISCONNECT && !s->ended)
		session_end_for(s, R_DEVICE_LEFT, "");
}

/* More of a PUBLISH that is too big to be kept whole. */
static void
take_piece(struct session *s, struct span piece, bool begins)
{
	s->up_left -= piece.n;
	s->up.bytes += piece.n;
	if (begins)
		s->up.packets++;
	link_put(&s->link, begins ? WS_BINARY : WS_CONTINUATION, piece,
	    s->up_left == 0);
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
check_packet(struct session *s, struct span bytes)
{
	struct mqtt_packet packet;
	struct fault why;
	const char *flaw;

	if (!mqtt_packet_read(
		bytes, s->level, MQTT_FROM_CLIENT, &packet, &why)) {
		session_end(s, &why);
		return false;
	}
	flaw = session_auth_flaw(s, &packet);
	if (flaw != NULL)
		session_end_for(s, R_BAD_PACKET, flaw);
	return flaw == NULL;
}

/*
 * A PUBLISH of <total> bytes that is not whole and will not be: its head at
 * least has to be. *n: how many bytes can go on; 0: none yet, or ended.
 */
static void
begin_pieces(struct session *s, struct span in, uint64_t total, size_t *n)
{
	struct mqtt_packet packet;
	struct fault why;
	size_t head;

	switch (mqtt_publish_head_read(
	    in, s->level, MQTT_FROM_CLIENT, &packet, &head, &why)) {
	case PARSE_BAD:
		session_end(s, &why);
		return;
	case PARSE_MORE:
		if (in.n >= whole_max(s))
			session_end_for(s, R_PACKET_TOO_BIG,
			    "PUBLISH: its topic and properties alone");
		return;
	case PARSE_OK:
		s->up_left = total;
		*n = in.n;
	}
}

/* The packet <in> begins with: *n of its bytes can go on; 0: it has to wait for
   more, or the session has ended. */
static void
look_at_packet(
    struct session *s, struct span in, struct mqtt_header *h, size_t *n)
{
	uint64_t max = s->env->link.settings->packet_max_bytes;
	uint64_t total;

	*n = 0;
	switch (mqtt_header_read(in, h)) {
	case PARSE_MORE:
		return;
	case PARSE_BAD:
		end_for_header(s, in);
		return;
	case PARSE_OK:
		break;
	}
	total = h->header_bytes + (uint64_t)h->remaining;
	if (h->type == MQTT_CONNECT) { /* MQTT-3.1.0-2 */
		session_end_for(s, R_SECOND_CONNECT, "");
	} else if (!may_send(s, h->type)) {
		session_end_for(s, R_BAD_PACKET, "sent before the CONNACK");
	} else if (total > max) {
		end_for_size(s, h->type, total, max);
	} else if (total <= in.n) {
		if (check_packet(s, (struct span){in.p, (size_t)total}))
			*n = (size_t)total;
	} else if (total > whole_max(s)) {
		if (h->type == MQTT_PUBLISH)
			begin_pieces(s, in, total, n);
		else
			end_for_size(s, h->type, total, whole_max(s));
	}
}

/* The next packet or piece of one; false when nothing more can be taken now. */
static bool
take_next(struct session *s, struct span *in)
{
	bool begins = s->up_left == 0;
	struct mqtt_header h = {0};
	struct span taken;
	size_t n;

	if (begins)
		look_at_packet(s, *in, &h, &n);
	else
		n = s->up_left < in->n ? (size_t)s->up_left : in->n;
	if (n == 0 || !span_take(in, n, &taken))
		return false;
	if (s->up_left > 0)
		take_piece(s, taken, begins);
	else
		take_packet(s, h.type, taken);
	return true;
}

size_t
session_take_device_bytes(void *arg, struct span in)
{
	struct session *s = arg;
	size_t given = in.n;

	while (in.n > 0 && !s->ended && link_takes(&s->link))
		if (!take_next(s, &in))
			break;
	if (s->ended)
		return given;
	link_flush(&s->link);
	if (!s->ended)
		device_pause(&s->device, !link_takes(&s->link));
	return given - in.n;
}

void
session_on_link_room(void *arg)
{
	struct session *s = arg;

	device_pause(&s->device, false);
}
