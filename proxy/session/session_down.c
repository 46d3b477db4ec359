/*
 * From the cloud to the device. Each packet is checked, then passes as it is;
 * the few that are not the device's business (PINGRESP) or not as they are
 * (CONNACK, DISCONNECT) are taken out. What passes is collected in the scratch,
 * where it was read, as one run, and written at the end of the batch.
 */
#include "session/session_parts.h"

#include "codec/aliyun.h"
#include "codec/mqtt_property.h"

enum {
	GATHER_MAX = 64 * 1024, /* of a packet that must be seen whole */
	FAILURE = 0x80          /* and all above */
};

static void
bad_cloud_packet(struct session *s, const struct fault *why)
{
	link_fail(&s->link, WS_CLOSE_PROTOCOL_ERROR, why);
}

static void
bad_cloud_packet_for(struct session *s, const char *text)
{
	struct fault why;

	(void)fault_set(&why, R_BAD_CLOUD_PACKET, "%s", text);
	bad_cloud_packet(s, &why);
}

/* ---- towards the device ---- */

/* Adds bytes of the scratch to the run, moving them down to where it ends; a
   head that came in pieces is not in the scratch and goes before it. */
static void
add_to_run(struct session *s, struct span bytes)
{
	struct loop *loop = s->env->link.loop;
	bool in_scratch =
	    bytes.p >= loop->in && bytes.p < loop->in + LOOP_IN_BYTES;

	if (bytes.n == 0)
		return;
	if (s->run_bytes == 0)
		s->run = in_scratch ? loop->in + (bytes.p - loop->in)
				    : loop->in - LOOP_HEADROOM;
	if (s->run + s->run_bytes != bytes.p)
		memmove(s->run + s->run_bytes, bytes.p, bytes.n);
	s->run_bytes += bytes.n;
}

void
session_write_run(struct session *s)
{
	size_t n = s->run_bytes;

	s->run_bytes = 0;
	device_write(&s->device, (struct span){s->run, n});
}

void
session_answer_pings(struct session *s)
{
	uint8_t packet[MQTT_SMALL_MAX];
	size_t n = mqtt_pingresp_write(packet);

	while (s->pingresp_due > 0 && !s->down_mid_packet &&
	       device_takes(&s->device)) {
		s->pingresp_due--;
		device_write(&s->device, (struct span){packet, n});
	}
}

/* What was gathered goes behind the run. */
static void
pass_gathered(struct session *s, const struct mqtt_piece *piece)
{
	struct buffer packet = s->gather;

	s->gather = (struct buffer){0};
	session_write_run(s);
	device_write(&s->device, buffer_span(&packet));
	s->down_mid_packet = !piece->ends;
	buffer_free(&packet);
}

static void
pass(struct session *s, const struct mqtt_piece *piece)
{
	add_to_run(s, piece->head);
	add_to_run(s, piece->body);
	s->down_mid_packet = !piece->ends;
}

/* ---- packets the device does not get as they are ---- */

static bool
tells_login(const struct session *s, struct span text)
{
	return aliyun_tells_login(
	    text, s->entry->product_key, s->entry->device_name);
}

/*
 * The device does not get it: what tells our login, and what is otherwise here.
 * Retained messages may be kept in the cloud's place; the highest QoS is what
 * the contract and the entry make of it.
 */
static bool
is_ours(const struct session *s, const struct mqtt_property *p)
{
	switch (p->id) {
	case MQTT_SERVER_REFERENCE:
		return true;
	case MQTT_TOPIC_ALIAS_MAXIMUM:
		return session_breaks_aliases(s->entry) || s->holds;
	case MQTT_RETAIN_AVAILABLE:
		return session_stores_retained(s);
	case MQTT_MAXIMUM_QOS:
		return s->entry->contract->qos_max < 2;
	default:
		return tells_login(s, p->text) || tells_login(s, p->text2);
	}
}

bool
session_keep_properties(
    const struct session *s, struct span list, struct buffer *kept)
{
	struct mqtt_property p;

	while (mqtt_property_next(&list, &p) == PARSE_OK)
		if (!is_ours(s, &p) && !buffer_append(kept, p.whole))
			return false;
	return true;
}

/* DISCONNECT of the cloud (level 5): its reason is the device's too. */
static void
take_disconnect(struct session *s, const struct mqtt_packet *from_cloud)
{
	struct mqtt_packet packet = *from_cloud;
	struct buffer kept = {0}, last = {0};
	struct fault why;
	uint8_t *out;
	size_t n;

	(void)fault_set(&why, R_CLOUD_CLOSED,
	    "DISCONNECT with reason code 0x%02X", packet.reason_code);
	if (session_holds_after_disconnect(s, packet.reason_code)) {
		link_fail(&s->link, WS_CLOSE_NORMAL, &why);
		return;
	}
	if (packet.reason_code == 0x9C || packet.reason_code == 0x9D)
		packet.reason_code = reason_disconnect(R_CLOUD_CLOSED);
	/* without memory the device gets fewer of them */
	(void)!session_keep_properties(s, from_cloud->properties, &kept);
	packet.properties = buffer_span(&kept);
	n = mqtt_packet_size(&packet, s->level);
	out = buffer_reserve(&last, n);
	if (out != NULL) {
		mqtt_packet_write(&packet, s->level, out);
		buffer_commit(&last, n);
	}
	link_turned_away(&s->link, &why);
	session_end_with(s, &why, buffer_span(&last));
	buffer_free(&kept);
	buffer_free(&last);
}

/* A PUBLISH whose head is here, for a device whose topics are mapped; true when
   it is dealt with. */
static bool
take_publish(struct session *s, const struct mqtt_piece *piece,
    const struct mqtt_packet *packet)
{
	struct buffer out = {0};
	bool taken = true;

	switch (session_map_down(s, packet, &out)) {
	case SESSION_MAPPED:
		session_write_run(s);
		device_write(&s->device, buffer_span(&out));
		s->down_mid_packet = !piece->ends;
		break;
	case SESSION_UNMAPPED_PASSES:
		taken = false;
		break;
	case SESSION_NOT_TAKEN:
		s->down_dropped = !piece->ends;
		break;
	case SESSION_REFUSED:
	case SESSION_NO_MEMORY:
		session_end_for(
		    s, R_OUT_OF_MEMORY, "for a packet of the cloud");
	}
	buffer_free(&out);
	return taken;
}

/* ---- packet identifiers, where a device outlives its link ---- */

/* Bytes of a packet lie in the scratch or in what was gathered: both ours. */
static void
set_packet_id(const uint8_t *at, uint16_t packet_id)
{
	uint8_t *to = (uint8_t *)(uintptr_t)at;

	to[0] = (uint8_t)(packet_id >> 8);
	to[1] = (uint8_t)packet_id;
}

static void
owe_puback(struct session *s, uint16_t packet_id)
{
	const struct mqtt_packet answer = {
	    .header.type = MQTT_PUBACK, .packet_id = packet_id};
	uint8_t out[MQTT_SMALL_MAX];

	mqtt_packet_write(&answer, s->level, out);
	if (!buffer_append(&s->acks,
		(struct span){out, mqtt_packet_size(&answer, s->level)}))
		session_end_for(s, R_OUT_OF_MEMORY, "for a PUBACK");
}

/* FNV-1a */
static uint32_t
hash(uint32_t mark, struct span bytes)
{
	for (size_t i = 0; i < bytes.n; i++)
		mark = (mark ^ bytes.p[i]) * 16777619u;
	return mark;
}

/* Of a message: its topic and payload, or, where it passes in pieces, its size.
   Properties may change from one time to the next (3.3.2.3.3). */
static uint32_t
mark_of(const struct mqtt_packet *p)
{
	uint32_t mark = hash(2166136261u, p->topic);

	return p->header.remaining <= GATHER_MAX ? hash(mark, p->payload)
						 : mark ^ p->header.remaining;
}

/* A PUBLISH of the cloud: gives it the identifier it has for the device, here
   and in <bytes>. True when the device has it already. */
static bool
take_identified(struct session *s, const struct mqtt_piece *piece,
    struct mqtt_packet *packet, struct span bytes)
{
	uint16_t packet_id = packet->packet_id;

	switch (outbound_publish(&s->outbound, packet->qos, packet->dup,
	    mark_of(packet), &packet_id)) {
	case OUTBOUND_PASS:
		if (packet_id != packet->packet_id)
			set_packet_id(bytes.p + packet->header.header_bytes +
					  2 + packet->topic.n,
			    packet_id);
		packet->packet_id = packet_id;
		return false;
	case OUTBOUND_ANSWER:
		owe_puback(s, packet->packet_id);
		break;
	case OUTBOUND_TAKEN:
		break;
	case OUTBOUND_NO_MEMORY:
		session_end_for(s, R_OUT_OF_MEMORY, "for a PUBLISH");
	}
	s->down_dropped = !piece->ends;
	return true;
}

void
session_take_device_ack(
    struct session *s, const struct mqtt_packet *p, struct span packet)
{
	bool ends = p->header.type != MQTT_PUBREC || p->reason_code >= FAILURE;
	uint16_t packet_id = p->packet_id;

	if (!ends)
		packet_id = outbound_for_cloud(&s->outbound, packet_id);
	else if (outbound_acknowledge(&s->outbound, &packet_id) !=
		 OUTBOUND_PASS)
		return;
	if (s->link_lost)
		return;
	if (packet_id != p->packet_id)
		set_packet_id(packet.p + p->header.header_bytes, packet_id);
	link_put(&s->link, WS_BINARY, packet, true);
}

/* Those about handshakes at QoS 2 that pass. */
static void
take_handshake(
    struct session *s, const struct mqtt_packet *packet, struct span bytes)
{
	uint16_t packet_id;

	if (packet->header.type == MQTT_PUBCOMP) {
		s->up_qos2 -= s->up_qos2 > 0;
		return;
	}
	packet_id = outbound_for_device(&s->outbound, packet->packet_id);
	if (packet_id != packet->packet_id)
		set_packet_id(bytes.p + packet->header.header_bytes, packet_id);
}

/* True when the packet was for us; <bytes> are the whole of it, but of a
   PUBLISH what <piece> brings it to. */
static bool
take_ours(struct session *s, const struct mqtt_piece *piece,
    struct mqtt_packet *packet, struct span bytes)
{
	const char *flaw = session_auth_flaw(s, packet);

	if (flaw != NULL) {
		bad_cloud_packet_for(s, flaw);
		return true;
	}
	switch (packet->header.type) {
	case MQTT_CONNACK:
		/* an AUTH may stand before it, and find the device gone */
		session_write_run(s);
		if (!s->ended)
			session_take_connack(s, bytes);
		return true;
	case MQTT_PINGRESP: /* of our ping: the device's are answered here */
		link_ponged(&s->link);
		return true;
	case MQTT_DISCONNECT:
		take_disconnect(s, packet);
		return true;
	case MQTT_AUTH:
		/* the answer is the device's; until now it was not read */
		device_go_online(&s->device, s->device_keep_alive_s);
		return false;
	case MQTT_PUBACK:
		return s->adapts && session_take_puback(s, packet, bytes);
	case MQTT_SUBACK:
	case MQTT_UNSUBACK:
		return s->adapts && session_take_suback(s, packet);
	case MQTT_PUBLISH:
		s->env->tally.published_down[packet->qos]++;
		if (s->holds && packet->qos > 0 &&
		    take_identified(s, piece, packet, bytes))
			return true;
		return s->entry->topics != NULL &&
		       take_publish(s, piece, packet);
	case MQTT_PUBREL:
	case MQTT_PUBCOMP:
		if (s->holds)
			take_handshake(s, packet, bytes);
		break;
	case MQTT_PUBREC:
		s->up_qos2 -= s->up_qos2 > 0 && packet->reason_code >= FAILURE;
		break;
	case MQTT_CONNECT:
	case MQTT_SUBSCRIBE:
	case MQTT_UNSUBSCRIBE:
	case MQTT_PINGREQ:
		break;
	}
	return false;
}

/* ---- packets ---- */

/* Before its CONNACK the cloud has nothing else to say, and it has one. */
static bool
may_come(const struct session *s, enum mqtt_type type)
{
	if (type == MQTT_AUTH)
		return true;
	return s->accepted && !s->link_lost ? type != MQTT_CONNACK
					    : type == MQTT_CONNACK;
}

/* A link that is lost in the middle of a packet costs the device its connection
   if it has got a part of it. */
static bool
is_to_be_whole(const struct session *s, const struct mqtt_piece *piece)
{
	return s->holds && !piece->ends &&
	       piece->header.remaining <= GATHER_MAX;
}

/* What <start>, the beginning of a packet, allows to do with it. PARSE_MORE:
   gather on. */
static enum parse
judge(struct session *s, const struct mqtt_piece *piece, struct span start,
    struct mqtt_packet *packet, struct fault *why)
{
	size_t head;

	if (piece->header.type == MQTT_PUBLISH && !is_to_be_whole(s, piece))
		return mqtt_publish_head_read(
		    start, s->level, MQTT_FROM_SERVER, packet, &head, why);
	if (!piece->ends)
		return PARSE_MORE;
	return mqtt_packet_read(start, s->level, MQTT_FROM_SERVER, packet, why)
		   ? PARSE_OK
		   : PARSE_BAD;
}

/* The packet cannot be judged before more of it is there. */
static void
gather(struct session *s, const struct mqtt_piece *piece)
{
	/* a PUBLISH may go on as soon as its head is there, so it is what has
	   been gathered already that counts, not the size of one read */
	bool too_much =
	    piece->header.type == MQTT_PUBLISH
		? s->gather.n >= GATHER_MAX + (s->holds ? MQTT_HEADER_MAX : 0)
		: piece->header.remaining > GATHER_MAX;

	if (too_much)
		bad_cloud_packet_for(s, "a control packet, or the head of a"
					" PUBLISH, of over 64 KiB");
	else if (!buffer_append(&s->gather, piece->head) ||
		 !buffer_append(&s->gather, piece->body))
		session_end_for(
		    s, R_OUT_OF_MEMORY, "for a packet of the cloud");
}

/* A piece of a packet of which nothing has been passed on yet. */
static void
take_start(struct session *s, const struct mqtt_piece *piece)
{
	/* head and body lie side by side unless the head came in pieces */
	bool together = piece->begins &&
			(piece->body.n == 0 ||
			    piece->head.p + piece->head.n == piece->body.p);
	struct span start = {piece->head.p, piece->head.n + piece->body.n};
	struct mqtt_packet packet;
	struct fault why;

	if (!together) {
		gather(s, piece);
		if (s->ended)
			return;
		start = buffer_span(&s->gather);
	}
	switch (judge(s, piece, start, &packet, &why)) {
	case PARSE_BAD:
		bad_cloud_packet(s, &why);
		break;
	case PARSE_MORE:
		if (together)
			gather(s, piece);
		break;
	case PARSE_OK:
		if (take_ours(s, piece, &packet, start))
			buffer_free(&s->gather);
		else if (together)
			pass(s, piece);
		else
			pass_gathered(s, piece);
	}
}

static void
take_piece(struct session *s, const struct mqtt_piece *piece)
{
	if (piece->begins) {
		if (!may_come(s, piece->header.type)) {
			bad_cloud_packet_for(
			    s, piece->header.type == MQTT_CONNACK
				   ? "a second CONNACK"
				   : "a packet before the CONNACK");
			return;
		}
		s->down.packets++;
		if (s->outbox.count == 0 && s->subscribing.count == 0)
			s->progress = true;
	}
	s->down.bytes += piece->head.n + piece->body.n;
	if (s->down_mid_packet)
		pass(s, piece);
	else if (s->down_dropped)
		s->down_dropped = !piece->ends;
	else
		take_start(s, piece);
}

void
session_take_cloud_data(void *arg, const struct ws_event *ev)
{
	struct session *s = arg;
	struct span in = ev->payload;
	struct mqtt_piece piece;
	struct fault why;

	if (ev->opcode != WS_BINARY) { /* MQTT-6.0.0-1 */
		(void)fault_set(&why, R_TEXT_MESSAGE, "text message");
		link_fail(&s->link, WS_CLOSE_UNSUPPORTED, &why);
		return;
	}
	tap_tell(s->link.tap, TAP_FROM_CLOUD, in, false);
	/* what is behind the end of a link goes with it */
	while (!s->ended && link_is_open(&s->link)) {
		switch (mqtt_stream_next(&s->down_stream, &in, &piece)) {
		case PARSE_MORE:
			return;
		case PARSE_BAD:
			bad_cloud_packet_for(s, "not an MQTT packet");
			return;
		case PARSE_OK:
			take_piece(s, &piece);
		}
	}
}

void
session_pause_link(struct session *s)
{
	if (!s->ended)
		link_pause(&s->link, s->device.out.n > 0);
}

void
session_end_batch(void *arg)
{
	struct session *s = arg;

	session_write_run(s);
	session_answer_pings(s);
	session_go_on(s);
	session_pause_link(s);
}

void
session_on_device_room(void *arg)
{
	struct session *s = arg;

	session_device_has_room(s);
	session_answer_pings(s);
	session_go_on(s);
	session_pause_link(s);
}
