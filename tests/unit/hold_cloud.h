/*
 * hold_cloud: the cloud of hold_world: what it says, what it may be told, and
 * how its links come and go.
 */
#ifndef TESTS_UNIT_HOLD_CLOUD_H
#define TESTS_UNIT_HOLD_CLOUD_H

#include "hold_world.h"

/* ---- what it says ---- */

static inline void
cloud_puts(struct span packet)
{
	static uint8_t frame[WS_HEADER_MAX + 64 * 1024];
	size_t cut = one_in(4) ? below((unsigned)packet.n) : packet.n;
	enum ws_opcode opcode = WS_BINARY;
	struct span piece = {NULL, 0};

	do {
		assert_true(span_take(&packet, cut, &piece));
		cut = packet.n;
		put(&world.cloud.out,
		    (struct span){frame, cloud_frame_write(frame, opcode,
					     packet.n == 0, piece)});
		opcode = WS_CONTINUATION;
	} while (packet.n > 0);
}

static inline void
cloud_owes(struct span packet, unsigned up)
{
	struct fake_cloud *c = &world.cloud;
	struct owed *o = &c->owed[c->owed_n++];

	assert_true(c->owed_n < OWED && packet.n <= sizeof(o->bytes));
	memcpy(o->bytes, packet.p, packet.n);
	o->n = packet.n;
	o->up = up;
}

/* Says the first <n> of that. */
static inline void
cloud_answers(unsigned n)
{
	struct fake_cloud *c = &world.cloud;

	if (n > c->owed_n)
		n = c->owed_n;
	for (unsigned i = 0; i < n; i++) {
		cloud_puts((struct span){c->owed[i].bytes, c->owed[i].n});
		if (c->owed[i].up > 0)
			world.device.ups[c->owed[i].up - 1].answered = true;
	}
	c->owed_n -= n;
	memmove(c->owed, c->owed + n, c->owed_n * sizeof(*c->owed));
}

static inline bool
cloud_uses(uint16_t id)
{
	const struct fake_cloud *c = &world.cloud;

	for (unsigned i = c->first; i < c->n; i++)
		if (c->downs[i].qos > 0 && c->downs[i].id == id &&
		    c->downs[i].state < DOWN_DONE)
			return true;
	return false;
}

static inline void
cloud_publishes(uint8_t qos)
{
	struct fake_cloud *c = &world.cloud;
	uint16_t id = qos > 0 ? (uint16_t)(1 + below(CLOUD_IDS)) : 0;

	if (c->phase != ONLINE || c->n == DOWNS_MAX || cloud_uses(id))
		return;
	c->downs[c->n] = (struct down){.qos = qos, .id = id};
	if (qos == 0)
		c->downs[c->n].state = DOWN_DONE;
	cloud_puts(publish_of(qos, false, id, c->n));
	c->open_qos2 += qos == 2;
	c->n++;
}

/* What it has not had an answer to, on another link (4.4). */
static inline void
cloud_repeats(void)
{
	struct fake_cloud *c = &world.cloud;

	for (unsigned i = c->first; i < c->n; i++) {
		struct down *m = &c->downs[i];

		if (m->state == DOWN_OUT)
			cloud_puts(publish_of(m->qos, true, m->id, i));
		else if (m->state == DOWN_RECEIVED)
			cloud_puts(answer(MQTT_PUBREL, m->id, 0));
		world.repeats += m->state < DOWN_DONE;
	}
}

/* ---- its session ---- */

static inline void
cloud_forgets(void)
{
	struct fake_cloud *c = &world.cloud;

	memset(c->filters, NOT_SUBSCRIBED, sizeof(c->filters));
	for (unsigned i = c->first; i < c->n; i++)
		if (c->downs[i].state < DOWN_DONE)
			c->downs[i].state = DOWN_LOST;
	c->has_forgotten |= c->has_session;
	c->has_session = false;
}

/* The link is gone, or goes now. */
static inline void
cloud_leaves(bool resets)
{
	struct fake_cloud *c = &world.cloud;

	if (world.lost_ms == 0) {
		world.lost_ms = adapt.now_ms;
		world.before_ms = 0;
	}
	world.errs = false;
	if (world.life.cloud.fd >= 0 && resets)
		cloud_reset(&world.life.cloud);
	cloud_hang_up(&world.life.cloud);
	buffer_free(&c->out);
	buffer_free(&c->part);
	c->owed_n = 0;
	c->phase = AWAY;
	c->mute = false;
	if (!c->keeps || one_in(8))
		cloud_forgets();
}

/* ---- what it is told ---- */

static inline uint8_t
qos_up(uint8_t qos)
{
	return world.is_aliyun && qos == 2 ? 1 : qos;
}

static inline void
cloud_gets_publish(const struct mqtt_packet *p)
{
	struct fake_cloud *c = &world.cloud;
	unsigned number = number_of(p, world.device.n);
	struct up *m = &world.device.ups[number];
	unsigned *last = &c->last_up[qos_up(m->qos)];

	assert_int_equal(p->qos, qos_up(m->qos));
	assert_int_equal(p->packet_id, m->id);
	assert_span_equal(p->topic, SPAN_OF("t"));
	/* never again when it is over, nor twice on one link */
	assert_true(m->state != UP_DONE || m->qos == 0);
	assert_true(m->got_link != c->link || m->again);
	assert_true(m->got_link == 0 || m->qos > 0);
	/* DUP on what was sent before, and on nothing else */
	if (m->got_link > 0)
		assert_true(p->dup);
	else if (p->dup)
		assert_true(m->again || m->made_link < c->link);
	if (m->got_link == 0 && !m->again) {
		assert_true(number + 1 > *last);
		*last = number + 1;
	}
	m->got_link = c->link;
	if (p->qos > 0)
		cloud_owes(answer(p->qos == 1 ? MQTT_PUBACK : MQTT_PUBREC,
			       p->packet_id, 0),
		    number + 1);
}

static inline struct down *
cloud_find(uint16_t id)
{
	struct fake_cloud *c = &world.cloud;

	for (unsigned i = c->first; i < c->n; i++)
		if (c->downs[i].qos > 0 && c->downs[i].id == id &&
		    c->downs[i].state < DOWN_DONE)
			return &c->downs[i];
	fail_msg("an acknowledgement for %u, which nothing waits for", id);
	return NULL;
}

static inline void
down_is_done(struct down *m)
{
	struct fake_cloud *c = &world.cloud;

	m->state = DOWN_DONE;
	c->open_qos2 -= m->qos == 2;
	while (c->first < c->n && c->downs[c->first].state >= DOWN_DONE)
		c->first++;
}

static inline void
cloud_gets_subscribe(const struct mqtt_packet *p)
{
	bool subscribes = p->header.type == MQTT_SUBSCRIBE;
	struct span list = p->payload;
	uint8_t codes[FILTERS];
	struct mqtt_filter f;
	size_t n = 0;

	while (mqtt_filter_next(&list, p->header.type, &f)) {
		uint8_t filter = filter_of(f.text);

		assert_true(n < FILTERS);
		assert_true(!world.is_aliyun || !subscribes || f.qos < 2);
		codes[n] = subscribes ? f.qos : 0;
		if (filter == FILTER_REFUSED && subscribes)
			codes[n] = 0x80;
		else
			world.cloud.filters[filter] =
			    subscribes ? f.qos : NOT_SUBSCRIBED;
		n++;
	}
	assert_true(!world.is_aliyun || n <= 8);
	cloud_owes(
	    PACKET(.header.type = p->header.type + 1, .packet_id = p->packet_id,
		.payload = {codes, subscribes || world.level >= 5 ? n : 0}),
	    0);
}

static inline void
cloud_gets_connect(const struct mqtt_packet *p)
{
	struct fake_cloud *c = &world.cloud;
	bool present = c->has_session && !p->connect.clean;

	assert_int_equal(c->phase, LOGIN);
	assert_int_equal(p->connect.level, world.level);
	if (c->link > 0 && one_in(8)) { /* it has no time */
		cloud_puts(world.level >= 5 ? SPAN_OF("\x20\x03\x00\x89\x00")
					    : SPAN_OF("\x20\x02\x00\x03"));
		return;
	}
	if (!present)
		cloud_forgets();
	c->has_session = c->keeps;
	c->link++;
	world.links++;
	c->phase = ONLINE;
	cloud_puts(PACKET(.header.type = MQTT_CONNACK,
	    .connack = {.session_present = present && world.level > 3}));
	if (present)
		cloud_repeats();
}

static inline void
cloud_hears(const struct mqtt_packet *p)
{
	struct down *m;

	if (p->header.type == MQTT_CONNECT) {
		cloud_gets_connect(p);
		return;
	}
	assert_int_equal(world.cloud.phase, ONLINE);
	switch ((int)p->header.type) {
	case MQTT_PUBLISH:
		cloud_gets_publish(p);
		break;
	case MQTT_PUBREL:
		cloud_owes(answer(MQTT_PUBCOMP, p->packet_id, 0), 0);
		break;
	case MQTT_PUBACK:
		m = cloud_find(p->packet_id);
		assert_int_equal(m->qos, 1);
		/* not before the device has */
		assert_true(m->is_answered);
		down_is_done(m);
		break;
	case MQTT_PUBREC:
		m = cloud_find(p->packet_id);
		assert_int_equal(m->qos, 2);
		assert_true(m->is_received);
		m->state = DOWN_RECEIVED;
		cloud_owes(answer(MQTT_PUBREL, p->packet_id, 0), 0);
		break;
	case MQTT_PUBCOMP:
		m = cloud_find(p->packet_id);
		assert_true(m->is_received);
		down_is_done(m);
		break;
	case MQTT_SUBSCRIBE:
	case MQTT_UNSUBSCRIBE:
		cloud_gets_subscribe(p);
		break;
	case MQTT_PINGREQ:
		cloud_owes(SPAN_OF("\xd0\x00"), 0);
		break;
	case MQTT_DISCONNECT:
		break;
	default:
		fail_msg("packet type %d", p->header.type);
	}
}

/* ---- links ---- */

/* Takes a link that is dialled; one that it still has is lost. */
static inline void
cloud_takes_links(void)
{
	struct cloud *c = &world.life.cloud;
	struct pollfd p = {c->listener, POLLIN, 0};

	if (poll(&p, 1, 0) != 1)
		return;
	if (world.cloud.phase != AWAY)
		cloud_leaves(false);
	assert_true(cloud_try_accept(c));
	world.cloud.phase = GREETING;
}

static inline void
cloud_greets(void)
{
	struct cloud *c = &world.life.cloud;
	char text[512];

	if (c->in.n == 0 ||
	    memmem(buffer_span(&c->in).p, c->in.n, "\r\n\r\n", 4) == NULL)
		return;
	put(&world.cloud.out, cloud_switching(c, text));
	world.cloud.phase = LOGIN;
}

static inline void
cloud_hears_frame(const struct frame *f)
{
	struct fake_cloud *c = &world.cloud;
	struct mqtt_packet p;

	if (f->opcode == WS_CLOSE) {
		c->phase = CLOSING;
		return;
	}
	assert_int_equal(
	    f->opcode, c->part.n == 0 ? WS_BINARY : WS_CONTINUATION);
	put(&c->part, frame_span(f));
	if (!f->fin)
		return;
	assert_true(next_packet(&c->part, MQTT_FROM_CLIENT, &p));
	assert_int_equal(c->part.n, 0); /* one packet, one message */
	cloud_hears(&p);
}

/* Hears what has come. */
static inline void
cloud_listens(void)
{
	struct cloud *c = &world.life.cloud;
	struct frame f;
	bool goes_on;

	if (c->fd < 0 || world.cloud.mute)
		return;
	goes_on = read_some(c->fd, &c->in);
	if (world.cloud.phase == GREETING)
		cloud_greets();
	while (world.cloud.phase > GREETING && world.cloud.phase < CLOSING &&
	       cloud_try_frame(c, &f)) {
		cloud_hears_frame(&f);
		frame_free(&f);
	}
	if (!goes_on)
		cloud_leaves(false);
}

/* It ends the link, in one of the ways there are. */
static inline void
cloud_ends_link(void)
{
	struct fake_cloud *c = &world.cloud;
	struct cloud *end = &world.life.cloud;
	uint8_t frame[16];

	if (c->phase == AWAY)
		return;
	switch (below(6)) {
	case 0:
		c->mute = true;
		return;
	case 1: /* with a word, and all that was to be said */
		if (c->phase != ONLINE || world.level < 5)
			break;
		cloud_puts(SPAN_OF("\xe0\x01\x8b"));
		return;
	case 2: /* with another */
		if (c->phase < LOGIN)
			break;
		put(&c->out,
		    (struct span){frame, cloud_frame_write(frame, WS_CLOSE,
					     true, SPAN_OF("\x03\xe9"))});
		return;
	case 3: /* nonsense */
		if (c->phase != ONLINE)
			break;
		cloud_puts(SPAN_OF("\xf1\x00"));
		if (world.lost_ms == 0)
			world.lost_ms = world.before_ms;
		world.errs = true;
		return;
	case 4: /* all that was written arrives */
		(void)write_some(end->fd, &c->out, false);
		cloud_leaves(false);
		return;
	default:
		break;
	}
	cloud_leaves(one_in(2));
}

#endif
