#include "session/inbound.h"

#include <stdlib.h>

enum {
	CAP_FIRST = 4,  /* records */
	FAILURE = 0x80, /* and all above */
	PACKET_IDENTIFIER_NOT_FOUND = 0x92,
	QUOTA_EXCEEDED = 0x97
};

enum state {
	QOS1,
	OWN,     /* QoS 1 of the proxy */
	SENT,    /* QoS 2: the cloud has not acknowledged it */
	RECEIVED /* QoS 2: it has, and PUBREC is sent; PUBREL is awaited */
};

struct inbound_record {
	uint16_t packet_id;
	uint16_t due; /* PUBACKs of the cloud */
	uint8_t state;
	bool old; /* of a connection before, and not resumed on this one */
};

/* ---- the records ---- */

static struct inbound_record *
find(const struct inbound *in, uint16_t packet_id)
{
	for (size_t i = 0; i < in->n; i++)
		if (in->records[i].packet_id == packet_id)
			return &in->records[i];
	return NULL;
}

static bool
is_qos2(const struct inbound_record *r)
{
	return r->state == SENT || r->state == RECEIVED;
}

/* NULL without memory. */
static struct inbound_record *
add(struct inbound *in, uint16_t packet_id, enum state state)
{
	struct inbound_record *r;

	if (in->n == in->cap) {
		size_t cap = in->cap == 0 ? CAP_FIRST : in->cap * 2;

		r = realloc(in->records, cap * sizeof(*r));
		if (r == NULL)
			return NULL;
		in->records = r;
		in->cap = cap;
	}
	r = &in->records[in->n++];
	*r = (struct inbound_record){
	    .packet_id = packet_id, .due = 1, .state = (uint8_t)state};
	in->in_flight++;
	if (is_qos2(r))
		in->qos2++;
	return r;
}

/* The cloud has acknowledged it, or never will. */
static void
settle(struct inbound *in, struct inbound_record *r)
{
	in->in_flight -= r->due;
	r->due = 0;
}

static void
drop(struct inbound *in, struct inbound_record *r)
{
	settle(in, r);
	if (is_qos2(r))
		in->qos2--;
	in->n--;
	memmove(r, r + 1, (size_t)(in->records + in->n - r) * sizeof(*r));
	/* one message after the other needs the first place again */
	if (in->n == 0 && in->cap > CAP_FIRST)
		inbound_forget(in);
}

void
inbound_forget(struct inbound *in)
{
	free(in->records);
	*in = (struct inbound){.picked = in->picked};
}

void
inbound_disconnect(struct inbound *in)
{
	for (size_t i = in->n; i-- > 0;) {
		struct inbound_record *r = &in->records[i];

		r->old = true;
		if (is_qos2(r))
			settle(in, r);
		else
			drop(in, r); /* what QoS 1 is, the sender remembers */
	}
	if (in->n == 0)
		inbound_forget(in);
}

void
inbound_reconnect(struct inbound *in)
{
	for (size_t i = 0; i < in->n; i++)
		in->records[i].old = is_qos2(&in->records[i]);
}

void
inbound_take_back(struct inbound *in, uint16_t packet_id)
{
	struct inbound_record *r = find(in, packet_id);

	if (r == NULL || r->due == 0)
		return;
	r->due--;
	in->in_flight--;
	if (r->due == 0)
		drop(in, r);
}

/* ---- steps ---- */

static void
pass(const struct mqtt_packet *p, enum mqtt_type type, bool dup, uint8_t qos,
    struct inbound_step *out)
{
	out->move = INBOUND_PASS;
	out->first_byte = (uint8_t)((unsigned)type << 4 | (unsigned)dup << 3 |
				    (unsigned)qos << 1 | (unsigned)p->retain);
}

static void
answer(enum mqtt_type type, uint16_t packet_id, uint8_t code, uint8_t level,
    struct inbound_step *out)
{
	const struct mqtt_packet p = {
	    .header.type = type, .packet_id = packet_id, .reason_code = code};

	out->move = INBOUND_ANSWER;
	out->answer_bytes = mqtt_packet_size(&p, level);
	mqtt_packet_write(&p, level, out->answer);
}

static void
bad(struct inbound_step *out, enum reason reason, uint16_t packet_id,
    const char *what)
{
	out->move = INBOUND_BAD;
	(void)fault_set(
	    &out->why, reason, "packet identifier %u: %s", packet_id, what);
}

static void
bad_in_use(struct inbound_step *out, const struct mqtt_packet *p)
{
	bad(out, R_BAD_PACKET, p->packet_id,
	    "a PUBLISH at another QoS has it (MQTT-2.2.1-3)");
}

/* ---- from the device ---- */

static bool
is_full(const struct inbound *in)
{
	return in->in_flight >= INBOUND_IN_FLIGHT_MAX;
}

/* A PUBLISH goes up at QoS 1. */
static void
send_up(const struct mqtt_packet *p, bool dup, struct inbound_step *out)
{
	pass(p, MQTT_PUBLISH, dup, 1, out);
}

/* It goes up, if it can be written down under <state>. */
static void
send_new(struct inbound *in, const struct mqtt_packet *p, enum state state,
    struct inbound_step *out)
{
	if (add(in, p->packet_id, state) != NULL)
		send_up(p, p->dup, out);
	else
		out->move = INBOUND_NO_MEMORY;
}

/* The device has forgotten the handshake <r>, and has its identifier for
   another message. The cloud may have one to acknowledge yet. */
static void
end_forgotten(struct inbound *in, struct inbound_record *r)
{
	if (r->due == 0) {
		drop(in, r);
		return;
	}
	in->qos2--;
	r->state = QOS1;
	r->old = false;
}

/* <r>: what its identifier is in use for, or NULL. */
static void
publish_qos1(struct inbound *in, const struct mqtt_packet *p,
    struct inbound_record *r, struct inbound_step *out)
{
	if (r != NULL && is_qos2(r) && !r->old) {
		bad_in_use(out, p);
	} else if (is_full(in)) {
		out->move = INBOUND_WAIT;
	} else {
		if (r != NULL && is_qos2(r))
			end_forgotten(in, r);
		r = find(in, p->packet_id);
		if (r == NULL) {
			send_new(in, p, QOS1, out);
			return;
		}
		r->due++;
		in->in_flight++;
		send_up(p, p->dup, out);
	}
}

/* The oldest one of a connection before that may be forgotten, or NULL. */
static struct inbound_record *
oldest_old(const struct inbound *in)
{
	for (size_t i = 0; i < in->n; i++)
		if (in->records[i].old && in->records[i].due == 0)
			return &in->records[i];
	return NULL;
}

static bool
has_room(const struct inbound *in)
{
	return in->qos2 < INBOUND_QOS2_MAX || oldest_old(in) != NULL;
}

/* Makes room for a handshake; false: there is none. */
static bool
make_room(struct inbound *in)
{
	if (!has_room(in))
		return false;
	if (in->qos2 >= INBOUND_QOS2_MAX)
		drop(in, oldest_old(in));
	return true;
}

static void
publish_qos2(struct inbound *in, const struct mqtt_packet *p, uint8_t level,
    struct inbound_step *out)
{
	if (is_full(in))
		out->move = INBOUND_WAIT;
	else if (make_room(in))
		send_new(in, p, SENT, out);
	else if (level >= 5)
		answer(MQTT_PUBREC, p->packet_id, QUOTA_EXCEEDED, level, out);
	else
		bad(out, R_BAD_PACKET, p->packet_id,
		    "too many PUBLISHes at QoS 2 without their PUBREL");
}

/* It goes up, behind the one that has: without DUP it is another message, of a
   device that has forgotten that. */
static bool
is_another(const struct inbound_record *r, const struct mqtt_packet *p)
{
	return r->state == SENT && r->due > 0 && r->old && !p->dup;
}

/* The PUBLISH of <r> comes again (4.3.3). */
static void
publish_again(struct inbound *in, const struct mqtt_packet *p,
    struct inbound_record *r, uint8_t level, struct inbound_step *out)
{
	if (r->state == RECEIVED) {
		answer(MQTT_PUBREC, p->packet_id, 0, level, out);
	} else if (r->due > 0 && !is_another(r, p)) {
		out->move = INBOUND_TAKEN;
	} else if (is_full(in)) {
		out->move = INBOUND_WAIT;
		return;
	} else { /* the connection broke */
		send_up(p, !is_another(r, p), out);
		r->due++;
		in->in_flight++;
	}
	r->old = false;
}

void
inbound_publish(struct inbound *in, const struct mqtt_packet *p, uint8_t level,
    struct inbound_step *out)
{
	struct inbound_record *r = find(in, p->packet_id);

	if (r != NULL && r->state == OWN)
		out->move = INBOUND_WAIT;
	else if (p->qos == 1)
		publish_qos1(in, p, r, out);
	else if (r == NULL)
		publish_qos2(in, p, level, out);
	else if (is_qos2(r))
		publish_again(in, p, r, level, out);
	else
		bad_in_use(out, p);
}

bool
inbound_goes_up(const struct inbound *in, const struct mqtt_packet *p)
{
	const struct inbound_record *r = find(in, p->packet_id);

	if (is_full(in) || (r != NULL && r->state == OWN))
		return false;
	if (p->qos == 1)
		return r == NULL || !is_qos2(r) || r->old;
	if (r == NULL)
		return has_room(in);
	return (r->state == SENT && r->due == 0) || is_another(r, p);
}

bool
inbound_has(const struct inbound *in, uint16_t packet_id)
{
	return find(in, packet_id) != NULL;
}

bool
inbound_has_qos2(const struct inbound *in, uint16_t packet_id)
{
	const struct inbound_record *r = find(in, packet_id);

	return r != NULL && is_qos2(r);
}

void
inbound_pubrel(struct inbound *in, const struct mqtt_packet *p, uint8_t level,
    struct inbound_step *out)
{
	struct inbound_record *r = find(in, p->packet_id);
	bool known = r != NULL && r->state == RECEIVED;

	if (r != NULL && r->state == SENT && !r->old) {
		bad(out, R_BAD_PACKET, p->packet_id,
		    "PUBREL before PUBREC (4.3.3)");
		return;
	}
	if (r != NULL && is_qos2(r) && r->due == 0)
		drop(in, r);
	answer(MQTT_PUBCOMP, p->packet_id,
	    known ? 0 : PACKET_IDENTIFIER_NOT_FOUND, level, out);
}

/* ---- from the cloud ---- */

/* One PUBACK more for <r>. */
static void
acknowledge(struct inbound *in, const struct mqtt_packet *p,
    struct inbound_record *r, struct inbound_step *out)
{
	enum mqtt_type type = r->state == SENT ? MQTT_PUBREC : MQTT_PUBACK;
	bool failed = p->reason_code >= FAILURE;

	r->due--;
	in->in_flight--;
	if (r->state == OWN || (r->state == SENT && r->due > 0))
		out->move = INBOUND_TAKEN;
	else
		pass(p, type, false, 0, out);
	if (r->state == SENT && r->due == 0 && !failed)
		r->state = RECEIVED;
	else if (r->due == 0)
		drop(in, r);
}

void
inbound_puback(
    struct inbound *in, const struct mqtt_packet *p, struct inbound_step *out)
{
	struct inbound_record *r = find(in, p->packet_id);

	if (r != NULL && r->due > 0)
		acknowledge(in, p, r, out);
	else
		bad(out, R_BAD_CLOUD_PACKET, p->packet_id,
		    "PUBACK, but nothing waits for it (MQTT-2.2.1-5)");
}

/* ---- the proxy's own ---- */

uint16_t
inbound_pick_id(struct inbound *in)
{
	if (is_full(in))
		return 0;
	/* downwards: devices count up. Most identifiers are free. */
	do {
		in->picked = in->picked > 1 ? in->picked - 1 : UINT16_MAX;
	} while (find(in, in->picked) != NULL);
	return add(in, in->picked, OWN) != NULL ? in->picked : 0;
}

void
inbound_return(struct inbound *in, uint16_t packet_id)
{
	struct inbound_record *r = find(in, packet_id);

	if (r != NULL && r->state == OWN)
		drop(in, r);
}
