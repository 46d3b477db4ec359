/*
 * hold_device: the device of hold_world: what it says, and what it may be told.
 */
#ifndef TESTS_UNIT_HOLD_DEVICE_H
#define TESTS_UNIT_HOLD_DEVICE_H

#include "hold_world.h"

enum { DEVICE_OUT_MAX = 16 * 1024, DEVICE_WINDOW = 30 };

static inline bool
device_may_say(void)
{
	const struct fake_device *d = &world.device;

	return d->online && !d->has_left && d->out.n < DEVICE_OUT_MAX;
}

static inline void
device_puts(struct span packet)
{
	put(&world.device.out, packet);
}

/* ---- what it says ---- */

static inline bool
device_uses(uint16_t id)
{
	const struct fake_device *d = &world.device;

	for (unsigned i = d->first; i < d->n; i++)
		if (d->ups[i].qos > 0 && d->ups[i].id == id &&
		    d->ups[i].state < UP_DONE)
			return true;
	for (unsigned i = 0; i < EXCHANGES; i++)
		if (d->asking[i].id == id)
			return true;
	return false;
}

/* A free identifier; 0: none. */
static inline uint16_t
device_id(void)
{
	uint16_t id = (uint16_t)(1 + below(DEVICE_IDS));

	return device_uses(id) ? 0 : id;
}

static inline unsigned
device_in_flight(void)
{
	const struct fake_device *d = &world.device;
	unsigned n = 0;

	for (unsigned i = d->first; i < d->n; i++)
		n += d->ups[i].qos > 0 && d->ups[i].state < UP_DONE;
	return n;
}

static inline void
device_publishes(uint8_t qos)
{
	struct fake_device *d = &world.device;
	uint16_t id = qos > 0 ? device_id() : 0;

	if (!device_may_say() || d->n == UPS_MAX || (qos > 0 && id == 0) ||
	    (qos > 0 && device_in_flight() >= DEVICE_WINDOW))
		return;
	d->ups[d->n] =
	    (struct up){.qos = qos, .id = id, .made_link = world.cloud.link};
	device_puts(publish_of(qos, false, id, d->n));
	d->n++;
}

static inline void
device_releases(void)
{
	struct fake_device *d = &world.device;

	for (unsigned i = d->first; device_may_say() && i < d->n; i++)
		if (d->ups[i].state == UP_RECEIVED && one_in(2)) {
			d->ups[i].state = UP_RELEASED;
			device_puts(answer(MQTT_PUBREL, d->ups[i].id, 0));
		}
}

static inline void
device_asks_with(const struct asking *a)
{
	static uint8_t list[FILTERS * 5];
	size_t n = 0;

	for (unsigned i = 0; i < a->n; i++) {
		list[n++] = 0;
		list[n++] = 2;
		list[n++] = '/';
		list[n++] = (uint8_t)('a' + a->filters[i]);
		if (a->type == MQTT_SUBSCRIBE)
			list[n++] = a->qos[i];
	}
	device_puts(PACKET(.header.type = a->type, .qos = 1, .packet_id = a->id,
	    .payload = {list, n}));
}

static inline bool
device_asks_about(uint8_t filter)
{
	for (unsigned i = 0; i < EXCHANGES; i++) {
		const struct asking *a = &world.device.asking[i];

		for (unsigned j = 0; a->id != 0 && j < a->n; j++)
			if (a->filters[j] == filter)
				return true;
	}
	return false;
}

/* SUBSCRIBE or UNSUBSCRIBE to filters that no other is under way for. */
static inline void
device_asks(enum mqtt_type type)
{
	struct asking *a = &world.device.asking[below(EXCHANGES)];
	uint8_t most = world.level > 3 ? FILTERS : FILTER_REFUSED;
	uint16_t id = device_id();

	if (!device_may_say() || a->id != 0 || id == 0)
		return;
	*a = (struct asking){.type = type};
	for (uint8_t f = 0; f < most; f++)
		if (one_in(3) && !device_asks_about(f)) {
			a->filters[a->n] = f;
			a->qos[a->n++] = (uint8_t)below(3);
		}
	if (a->n == 0)
		return;
	a->id = id;
	device_asks_with(a);
}

static inline void
device_answers(enum mqtt_type type, uint16_t id)
{
	struct down *m = &world.cloud.downs[world.device.owes[id] - 1];

	device_puts(answer(type, id, 0));
	if (type == MQTT_PUBREC) {
		m->is_received = true;
		return;
	}
	m->is_answered = true;
	world.device.owes[id] = 0;
	world.device.owed--;
}

/* Acknowledges messages at QoS 1, and takes those at QoS 2. */
static inline void
device_acknowledges(bool all)
{
	struct fake_device *d = &world.device;

	for (unsigned id = 1; d->owed > 0 && id <= UINT16_MAX; id++) {
		const struct down *m;

		if (id == CLOUD_IDS + 1 && one_in(2) && !all)
			return;
		if (id == CLOUD_IDS + 1)
			id = UINT16_MAX - 2 * DEVICE_IDS;
		if (d->owes[id] == 0 || !device_may_say() ||
		    (!all && one_in(3)))
			continue;
		m = &world.cloud.downs[d->owes[id] - 1];
		if (m->qos == 1)
			device_answers(MQTT_PUBACK, (uint16_t)id);
		else if (!m->is_received)
			device_answers(MQTT_PUBREC, (uint16_t)id);
	}
}

static inline void
device_pings(void)
{
	if (!device_may_say())
		return;
	world.device.pings++;
	device_puts(SPAN_OF("\xc0\x00"));
}

/* ---- what it is told ---- */

static inline struct up *
device_find(uint16_t id, unsigned state)
{
	struct fake_device *d = &world.device;

	for (unsigned i = d->first; i < d->n; i++)
		if (d->ups[i].qos > 0 && d->ups[i].id == id &&
		    d->ups[i].state == state)
			return &d->ups[i];
	fail_msg("an acknowledgement for %u, which nothing waits for", id);
	return NULL;
}

static inline void
up_is_done(struct up *m)
{
	struct fake_device *d = &world.device;

	m->state = UP_DONE;
	m->done_link = world.cloud.link;
	while (d->first < d->n && d->ups[d->first].state >= UP_DONE)
		d->first++;
}

static inline void
device_gets_publish(const struct mqtt_packet *p)
{
	struct fake_device *d = &world.device;
	unsigned number = number_of(p, world.cloud.n);
	struct down *m = &world.cloud.downs[number];

	assert_int_equal(p->qos, m->qos);
	if (p->qos == 0)
		return;
	/* what it owes an answer for has its identifier alone */
	assert_int_equal(d->owes[p->packet_id], 0);
	/* and nothing is told twice, unless the acknowledgement was lost with
	   a link */
	assert_true(m->told == 0 || (m->is_answered && p->dup));
	m->told++;
	world.renamed += p->packet_id != m->id;
	d->owes[p->packet_id] = number + 1;
	d->owed++;
}

static inline void
device_gets_suback(const struct mqtt_packet *p)
{
	struct fake_device *d = &world.device;
	bool has_codes = world.level >= 5 || p->header.type == MQTT_SUBACK;
	struct asking *a = NULL;

	for (unsigned i = 0; i < EXCHANGES; i++)
		if (d->asking[i].id == p->packet_id)
			a = &d->asking[i];
	if (a == NULL) {
		fail_msg("SUBACK for %u", p->packet_id);
		return;
	}
	assert_int_equal(p->header.type, a->type + 1);
	assert_int_equal(p->payload.n, has_codes ? a->n : 0);
	for (unsigned i = 0; i < a->n; i++)
		if (a->type == MQTT_UNSUBSCRIBE)
			d->filters[a->filters[i]] = NOT_SUBSCRIBED;
		else if (p->payload.p[i] < 0x80)
			d->filters[a->filters[i]] = p->payload.p[i];
		else
			assert_int_equal(a->filters[i], FILTER_REFUSED);
	a->id = 0;
}

static inline void
device_hears(const struct mqtt_packet *p)
{
	struct fake_device *d = &world.device;
	struct up *m;

	switch ((int)p->header.type) {
	case MQTT_PUBLISH:
		device_gets_publish(p);
		break;
	case MQTT_PUBACK:
		m = device_find(p->packet_id, UP_OUT);
		assert_int_equal(m->qos, 1);
		/* not before the cloud has */
		assert_true(m->answered);
		up_is_done(m);
		break;
	case MQTT_PUBREC:
		m = device_find(p->packet_id, UP_OUT);
		assert_int_equal(m->qos, 2);
		assert_true(m->answered);
		m->state = UP_RECEIVED;
		break;
	case MQTT_PUBCOMP:
		up_is_done(device_find(p->packet_id, UP_RELEASED));
		break;
	case MQTT_PUBREL:
		/* its PUBCOMP may have been lost with a link */
		if (d->owes[p->packet_id] != 0)
			device_answers(MQTT_PUBCOMP, p->packet_id);
		else
			device_puts(answer(MQTT_PUBCOMP, p->packet_id, 0));
		break;
	case MQTT_SUBACK:
	case MQTT_UNSUBACK:
		device_gets_suback(p);
		break;
	case MQTT_PINGRESP:
		assert_true(d->pings > 0);
		d->pings--;
		break;
	case MQTT_DISCONNECT: /* why stands in the log */
		break;
	default:
		fail_msg("packet type %d", p->header.type);
	}
}

/* ---- connections ---- */

static inline struct mqtt_connect
device_connect(void)
{
	struct mqtt_connect c = {.level = world.level,
	    .clean = world.is_clean,
	    .client_id = SPAN_OF("pump-7")};

	/* an hour */
	if (world.level >= 5 && !world.is_clean)
		c.properties = SPAN_OF("\x11\x00\x00\x0e\x10");
	return c;
}

/* What it has not written goes with the connection. */
static inline void
device_forgets_connection(void)
{
	struct fake_device *d = &world.device;

	buffer_free(&d->out);
	d->online = false;
	d->pings = 0;
	memset(d->owes, 0, sizeof(d->owes));
	d->owed = 0;
	for (unsigned i = 0; i < world.cloud.n; i++)
		world.cloud.downs[i].told = 0;
	for (unsigned i = d->first; i < d->n; i++)
		if (d->ups[i].qos == 0)
			d->ups[i].state = UP_LOST;
}

/* 4.4: what is not finished is sent again. */
static inline void
device_repeats(void)
{
	struct fake_device *d = &world.device;

	for (unsigned i = d->first; i < d->n; i++) {
		struct up *m = &d->ups[i];

		if (m->qos == 0 || m->state >= UP_DONE)
			continue;
		if (m->state == UP_OUT) {
			m->again = true;
			device_puts(publish_of(m->qos, true, m->id, i));
		} else {
			m->state = UP_RELEASED;
			device_puts(answer(MQTT_PUBREL, m->id, 0));
		}
	}
	for (unsigned i = 0; i < EXCHANGES; i++)
		if (d->asking[i].id != 0)
			device_asks_with(&d->asking[i]);
}

/* It comes again on another connection, while it is held. */
static inline void
device_comes_back(void)
{
	const struct mqtt_connect c = device_connect();
	struct life *l = &world.life;
	struct knock *k = calloc(1, sizeof(*k));
	size_t n = mqtt_connect_size(&c);
	struct mqtt_packet p;

	assert_non_null(k);
	mqtt_connect_write(&c, buffer_reserve(&k->bytes, n));
	buffer_commit(&k->bytes, n);
	k->connect_bytes = n;
	device_forgets_connection();
	k->fd = lan_connect(&l->lan);
	k->map = credmap_ref(l->map);
	k->entry = l->entry;
	(void)strcpy(k->peer, "127.0.0.1:1");
	assert_true(network_read("127.0.0.1", &k->address));
	assert_true(session_can_adopt(l->session, k));
	assert_true(session_adopt(l->session, k));
	assert_true(read_some(l->lan.fd, &l->lan.in));
	assert_true(next_packet(&l->lan.in, MQTT_FROM_SERVER, &p));
	assert_int_equal(p.header.type, MQTT_CONNACK);
	assert_int_equal(p.connack.code, 0);
	assert_true(world.level == 3 || p.connack.session_present);
	world.device.online = true;
	world.device.is_gone = false;
	world.comebacks++;
	device_repeats();
}

/* Without a word. */
static inline void
device_vanishes(bool resets)
{
	if (resets)
		lan_reset(&world.life.lan);
	else
		lan_hang_up(&world.life.lan);
	device_forgets_connection();
	world.device.is_gone = true;
}

static inline void
device_says_goodbye(void)
{
	if (!device_may_say())
		return;
	device_puts(SPAN_OF("\xe0\x00"));
	world.device.has_left = true;
}

/* Hears what has come; the session may have ended. */
static inline void
device_listens(void)
{
	struct lan *lan = &world.life.lan;
	struct mqtt_packet p;

	if (!world.device.online)
		return;
	world.device.online = read_some(lan->fd, &lan->in);
	while (next_packet(&lan->in, MQTT_FROM_SERVER, &p))
		device_hears(&p);
	/* never in the middle of a packet */
	if (!world.device.online)
		assert_int_equal(lan->in.n, 0);
}

#endif
