/*
 * A session that is held while its link is lost: what must not be lost with the
 * link, told twice, or left without an end.
 */
#include "session/session_parts.h"

#include "adapt.h"

#define LEAVE SPAN_OF("\xe0\x00")
#define CONNACK_4_PRESENT SPAN_OF("\x20\x02\x01\x00")
#define CONNACK_5_PRESENT SPAN_OF("\x20\x03\x01\x00\x00")
#define LASTS_10_S SPAN_OF("\x11\x00\x00\x00\x0a")
#define SHUTTING_DOWN "\xe0\x02\x8b\x00"

enum { BIG = 200 * 1000, HOLD_TIME_MS = 120 * 1000 };

static void
log_in(struct life *l, uint8_t level, const char *contract, const char *more)
{
	l->holds = true;
	adapt.level = level;
	life_use(l, contract, more);
	life_login(l, level);
}

/* The CONNECT of a device that is remembered. */
static const struct mqtt_connect *
lasting(uint8_t level)
{
	static struct mqtt_connect connect = {
	    .keep_alive_s = 60, .client_id = SPAN_OF("pump-7")};

	connect.level = level;
	return &connect;
}

static void
answer_login(struct life *l, struct span connack)
{
	struct frame f;

	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	frame_free(&f);
	cloud_says(l, connack);
}

static void
log_in_to_stay(struct life *l, uint8_t level, const char *contract)
{
	l->holds = true;
	adapt.level = level;
	life_use(l, contract, "");
	assert_true(life_try_begin(l, lasting(level), SPAN_OF("")));
	answer_login(l, life_connack(level));
	device_gets(l, life_connack(level));
	until(&l->rig, l->session->device.state == DEVICE_ONLINE);
}

static void
lose_link(struct life *l)
{
	cloud_reset(&l->cloud);
	until(&l->rig, l->session->link_lost);
}

static void
resume(struct life *l, struct span connack)
{
	answer_login(l, connack);
	until(&l->rig, !l->session->link_lost);
}

/* The device has another connection. */
static void
come_again_with(
    struct life *l, const struct mqtt_connect *connect, struct span connack)
{
	struct knock *k = calloc(1, sizeof(*k));
	size_t n = mqtt_connect_size(connect);
	uint8_t *to;

	assert_non_null(k);
	to = buffer_reserve(&k->bytes, n);
	assert_non_null(to);
	mqtt_connect_write(connect, to);
	buffer_commit(&k->bytes, n);
	k->connect_bytes = n;
	k->fd = lan_connect(&l->lan);
	k->map = credmap_ref(l->map);
	k->entry = l->entry;
	(void)strcpy(k->peer, "127.0.0.1:1");
	assert_true(network_read("127.0.0.1", &k->address));
	assert_true(session_adopt(l->session, k));
	device_gets(l, connack);
}

static void
come_again(struct life *l)
{
	come_again_with(l, lasting(adapt.level), CONNACK_4_PRESENT);
}

/* ---- a link's last bytes ---- */

/* What came before the cloud's DISCONNECT, in one read, is the device's. */
static void
test_message_before_disconnect(void **state)
{
	struct life *l = *state;
	uint8_t both[128];
	size_t n;

	log_in(l, 5, "none", "");
	n = cloud_frame_write(
	    both, WS_BINARY, true, publish(1, false, 5, "last"));
	n += cloud_frame_write(
	    both + n, WS_BINARY, true, SPAN_OF(SHUTTING_DOWN));
	cloud_write(&l->cloud, (struct span){both, n});
	until(&l->rig, l->session->link_lost);
	device_gets(l, publish(1, false, 5, "last"));
	resume(l, CONNACK_5);
	cloud_says(l, publish(0, false, 0, "next"));
	device_gets(l, publish(0, false, 0, "next"));
	adapt_leave(l);
}

/* The next link begins with a packet, wherever the last one broke off. */
static void
test_half_a_connack(void **state)
{
	struct life *l = *state;

	log_in(l, 4, "none", "");
	lose_link(l);
	answer_login(l, SPAN_OF("\x20\x02"));
	rig_settle(&l->rig);
	resume(l, CONNACK_4);
	cloud_says(l, publish(0, false, 0, "next"));
	device_gets(l, publish(0, false, 0, "next"));
	adapt_leave(l);
}

/* What lies behind the end of a link is not heard. */
static void
test_connack_behind_disconnect(void **state)
{
	struct life *l = *state;

	log_in(l, 5, "none", "");
	cloud_says(l, SPAN_OF(SHUTTING_DOWN "\x20\x03\x00\x00\x00"));
	until(&l->rig, l->session->link.state != LINK_UP);
	assert_true(l->session->link_lost);
	resume(l, CONNACK_5);
	device_says(l, publish(0, false, 0, "next"));
	cloud_gets(l, publish(0, false, 0, "next"));
	adapt_leave(l);
}

/* The scratch is all links'. */
static void
test_put_on_a_lost_link(void **state)
{
	struct life *l = *state;

	log_in(l, 4, "none", "");
	lose_link(l);
	link_put(&l->session->link, WS_BINARY, SPAN_OF("x"), true);
	assert_int_equal(l->rig.loop->out_n, 0);
	resume(l, CONNACK_4);
	adapt_leave(l);
}

/* What is due to the cloud goes with the link, also with the one that is lost
   by it. */
static void
test_lost_by_an_acknowledgement(void **state)
{
	struct life *l = *state;
	struct span ack;

	log_in(l, 4, "none", "");
	ack = answer(MQTT_PUBACK, 7, 0);
	assert_true(buffer_append(&l->session->acks, ack));
	assert_true(buffer_append(&l->session->acks, ack));
	cloud_reset(&l->cloud);
	session_go_on(l->session);
	assert_true(l->session->link_lost);
	assert_int_equal(l->session->acks.n, 0);
	resume(l, CONNACK_4);
	assert_true(cloud_hears_nothing(&l->cloud));
	adapt_leave(l);
}

/* ---- ends ---- */

/* The time that a device waits for room is not the new link's. */
static void
test_full_while_lost(void **state)
{
	struct life *l = *state;

	log_in(l, 4, "none", "");
	lose_link(l);
	for (uint16_t id = 1; id <= 1001; id++)
		device_says(l, publish(1, false, id, "m"));
	until(&l->rig, l->session->held);
	assert_int_equal(l->session->outbox.count, 1000);
	adapt.now_ms += CLOUD_TIMEOUT_MS + 1000;
	resume(l, CONNACK_4);
	rig_live(&l->rig, 20);
	assert_int_equal(l->session->link.state, LINK_UP);
	for (uint16_t id = 1; id <= 1000; id++)
		cloud_gets(l, publish(1, false, id, "m"));
	cloud_says(l, answer(MQTT_PUBACK, 1, 0));
	cloud_gets(l, publish(1, false, 1001, "m"));
}

/* A link is of no use when nothing is acknowledged, however long it lasts. */
static void
test_never_acknowledged(void **state)
{
	struct life *l = *state;
	unsigned dup = 0;

	log_in(l, 4, "aliyun", "inflight_max = 1\n");
	device_says(l, publish(1, false, 1, "a"));
	device_says(l, publish(1, false, 2, "b"));
	for (; dup < 3; dup++) {
		cloud_gets(l, publish(1, dup > 0, 1, "a"));
		until(&l->rig, l->session->held);
		adapt_fire(l, l->session->pace, CLOUD_TIMEOUT_MS);
		if (l->session->ended)
			break;
		assert_true(l->session->link_lost);
		resume(l, CONNACK_4);
	}
	assert_int_equal(dup, 2);
	assert_string_equal(life_reason(l), "cloud_stuck");
}

/* One that was up for long before that is. */
static void
test_stuck_after_long(void **state)
{
	struct life *l = *state;
	struct fault why;

	log_in(l, 4, "none", "");
	lose_link(l);
	resume(l, CONNACK_4);
	adapt.now_ms += 2 * HOLD_TIME_MS;
	(void)fault_set(&why, R_CLOUD_STUCK, "%s", "");
	link_fail(&l->session->link, WS_CLOSE_NORMAL, &why);
	assert_true(l->session->link_lost);
	assert_false(l->session->ended);
	resume(l, CONNACK_4);
	adapt_leave(l);
}

/* Nor when the cloud breaks the protocol again and again. */
static void
test_poison(void **state)
{
	struct life *l = *state;

	log_in(l, 4, "none", "");
	for (int i = 0; i < 6 && !l->session->ended; i++) {
		cloud_says(l, SPAN_OF("\x30\x05\x00\x03"
				      "a#b"));
		until(&l->rig, l->session->link_lost || l->session->ended);
		if (!l->session->ended)
			resume(l, CONNACK_4);
		adapt.now_ms += HOLD_TIME_MS / 4;
	}
	assert_true(l->session->ended);
	assert_string_equal(life_reason(l), "bad_cloud_packet");
}

/* That it is over is told, also when the last dial was old news. */
static void
test_end_is_told(void **state)
{
	struct life *l = *state;
	struct fault why;

	log_in(l, 4, "none", "");
	lose_link(l);
	l->session->link.is_old_news = true;
	(void)fault_set(&why, R_HOLD_OVER, "%s", "");
	session_end(l->session, &why);
	assert_string_equal(life_reason(l), "hold_over");
}

/* A reload counts from the same beginning. */
static void
test_another_hold_time(void **state)
{
	struct life *l = *state;
	struct credmap *fresh;

	log_in(l, 4, "none", "");
	lose_link(l);
	adapt.now_ms += 2000;
	fresh = life_map(l, "hold_time = 1s\n");
	session_remap(l->session, fresh);
	credmap_unref(fresh);
	until(&l->rig, l->session == NULL || l->session->ended);
	assert_string_equal(life_reason(l), "hold_over");
}

/* ---- what the cloud says the second time ---- */

static void
test_lower_receive_maximum(void **state)
{
	struct life *l = *state;

	log_in(l, 5, "none", "");
	for (uint16_t id = 1; id <= 2; id++) {
		device_says(l, publish(1, false, id, "m"));
		cloud_gets(l, publish(1, false, id, "m"));
	}
	lose_link(l);
	resume(l, SPAN_OF("\x20\x06\x00\x00\x03\x21\x00\x01"));
	cloud_gets(l, publish(1, true, 1, "m"));
	device_says(l, publish(1, false, 3, "m"));
	nothing_moves(l);
	for (uint16_t id = 1; id <= 3; id++) {
		cloud_says(l, answer(MQTT_PUBACK, id, 0));
		device_gets(l, answer(MQTT_PUBACK, id, 0));
		if (id < 3)
			cloud_gets(l,
			    publish(1, id + 1 == 2, (uint16_t)(id + 1), "m"));
	}
	nothing_moves(l);
	adapt_leave(l);
}

/* MQTT-2.2.1-3: nor is an identifier used that is in use. */
static void
test_identifier_of_a_restored_subscription(void **state)
{
	static const struct span filter = SPAN_OF("\x00\x01t\x01");
	struct life *l = *state;

	log_in(l, 4, "none", "");
	device_says(l, PACKET(.header.type = MQTT_SUBSCRIBE, .packet_id = 1,
			   .qos = 1, .payload = filter));
	cloud_gets(l, PACKET(.header.type = MQTT_SUBSCRIBE, .packet_id = 1,
			  .qos = 1, .payload = filter));
	cloud_says(l, SPAN_OF("\x90\x03\x00\x01\x01"));
	device_gets(l, SPAN_OF("\x90\x03\x00\x01\x01"));
	device_says(l, publish(1, false, 0xffff, "m"));
	cloud_gets(l, publish(1, false, 0xffff, "m"));
	lose_link(l);
	resume(l, CONNACK_4);
	cloud_gets(l, PACKET(.header.type = MQTT_SUBSCRIBE, .packet_id = 0xfffe,
			  .qos = 1, .payload = filter));
	cloud_gets(l, publish(1, true, 0xffff, "m"));
	cloud_says(l, SPAN_OF("\x90\x03\xff\xfe\x01"));
	assert_true(lan_hears_nothing(&l->lan));
	adapt_leave(l);
}

/* Level 3 does not say whether the cloud has kept its session. */
static void
test_downlink_of_level_3(void **state)
{
	struct life *l = *state;

	log_in_to_stay(l, 3, "none");
	cloud_says(l, publish(1, false, 5, "m"));
	device_gets(l, publish(1, false, 5, "m"));
	lose_link(l);
	resume(l, CONNACK_4);
	cloud_says(l, publish(1, true, 5, "m"));
	assert_true(lan_hears_nothing(&l->lan));
	device_says(l, answer(MQTT_PUBACK, 5, 0));
	cloud_gets(l, answer(MQTT_PUBACK, 5, 0));
	adapt_leave(l);
}

/* ---- a device that comes again ---- */

/* It may have forgotten what it had sent: then that is acknowledged to nobody,
   least of all to another message under its identifier. */
static void
test_forgotten_by_the_device(void **state)
{
	struct life *l = *state;

	log_in_to_stay(l, 4, "none");
	device_says(l, publish(1, false, 1, "old"));
	cloud_gets(l, publish(1, false, 1, "old"));
	lose_link(l);
	come_again(l);
	device_says(l, publish(1, false, 1, "new"));
	until(&l->rig, l->session->outbox.count == 2);
	resume(l, CONNACK_4_PRESENT);
	cloud_gets(l, publish(1, true, 1, "old"));
	cloud_gets(l, publish(1, false, 1, "new"));
	cloud_says(l, answer(MQTT_PUBACK, 1, 0));
	nothing_moves(l);
	cloud_says(l, answer(MQTT_PUBACK, 1, 0));
	device_gets(l, answer(MQTT_PUBACK, 1, 0));
	adapt_leave(l);
}

static void
test_forgotten_handshake(void **state)
{
	struct life *l = *state;

	for (uint8_t qos = 1; qos <= 2; qos++) {
		log_in_to_stay(l, 4, "aliyun");
		device_says(l, publish(2, false, 1, "old"));
		cloud_gets(l, publish(1, false, 1, "old"));
		lose_link(l);
		come_again(l);
		device_says(l, publish(qos, false, 1, "new"));
		until(&l->rig, l->session->outbox.count == 2);
		resume(l, CONNACK_4_PRESENT);
		cloud_gets(l, publish(1, true, 1, "old"));
		cloud_gets(l, publish(1, false, 1, "new"));
		cloud_says(l, answer(MQTT_PUBACK, 1, 0));
		nothing_moves(l);
		cloud_says(l, answer(MQTT_PUBACK, 1, 0));
		device_gets(
		    l, answer(qos == 2 ? MQTT_PUBREC : MQTT_PUBACK, 1, 0));
		assert_int_equal(l->memory.inbound.in_flight, 0);
		assert_int_equal(l->memory.inbound.qos2, qos == 2);
		adapt_leave(l);
	}
}

static void
test_remembered_by_the_device(void **state)
{
	struct life *l = *state;

	log_in_to_stay(l, 4, "aliyun");
	for (uint16_t id = 1; id <= 2; id++) {
		device_says(l, publish((uint8_t)id, false, id, "m"));
		cloud_gets(l, publish(1, false, id, "m"));
	}
	lose_link(l);
	come_again(l);
	device_says(l, publish(1, true, 1, "m"));
	device_says(l, publish(2, true, 2, "m"));
	rig_settle(&l->rig);
	resume(l, CONNACK_4_PRESENT);
	cloud_gets(l, publish(1, true, 1, "m"));
	cloud_gets(l, publish(1, true, 2, "m"));
	cloud_says(l, answer(MQTT_PUBACK, 1, 0));
	device_gets(l, answer(MQTT_PUBACK, 1, 0));
	cloud_says(l, answer(MQTT_PUBACK, 2, 0));
	device_gets(l, answer(MQTT_PUBREC, 2, 0));
	nothing_moves(l);
	adapt_leave(l);
}

/* The DISCONNECT of the connection before is not this one's. */
static void
test_back_after_disconnect(void **state)
{
	struct life *l = *state;

	log_in_to_stay(l, 4, "none");
	lose_link(l);
	device_says(l, publish(1, false, 1, "m"));
	device_says(l, LEAVE);
	until(&l->rig, l->session->farewell.n > 0);
	come_again(l);
	resume(l, CONNACK_4_PRESENT);
	cloud_gets(l, publish(1, false, 1, "m"));
	cloud_says(l, answer(MQTT_PUBACK, 1, 0));
	rig_settle(&l->rig);
	lan_reset(&l->lan);
	life_expect_dead(l);
}

/* A handshake whose PUBLISH broke off begins anew. */
static void
test_broken_off(void **state)
{
	struct life *l = *state;
	struct span part;

	log_in_to_stay(l, 4, "aliyun");
	lose_link(l);
	part = publish_big(2, false, 9, BIG);
	part.n /= 2;
	device_says(l, part);
	until(&l->rig, l->session->up_left > 0);
	come_again(l);
	resume(l, CONNACK_4_PRESENT);
	device_says(l, publish_big(2, true, 9, BIG));
	cloud_gets(l, publish_big(1, true, 9, BIG));
	cloud_says(l, answer(MQTT_PUBACK, 9, 0));
	device_gets(l, answer(MQTT_PUBREC, 9, 0));
	assert_int_equal(l->memory.inbound.in_flight, 0);
	adapt_leave(l);
}

/* Nor does it cost what was sent before it. */
static void
test_lost_in_a_message(void **state)
{
	struct life *l = *state;
	struct span part;

	log_in_to_stay(l, 4, "none");
	lose_link(l);
	device_says(l, publish(1, false, 1, "m"));
	part = publish_big(1, false, 9, BIG);
	part.n /= 2;
	device_says(l, part);
	until(&l->rig, l->session->up_left > 0);
	lan_reset(&l->lan);
	until(&l->rig, l->session->device.state == DEVICE_GONE);
	assert_false(l->session->ended);
	resume(l, CONNACK_4_PRESENT);
	cloud_gets(l, publish(1, false, 1, "m"));
	cloud_says(l, answer(MQTT_PUBACK, 1, 0));
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "device_lost");
}

/* The will of one that leaves with it waits for the link. */
static void
test_left_with_will(void **state)
{
	struct mqtt_connect connect = *lasting(5);
	struct life *l = *state;

	connect.has_will = true;
	connect.will_topic = SPAN_OF("t");
	connect.will_payload = SPAN_OF("gone");
	l->holds = true;
	adapt.level = 5;
	life_use(l, "aliyun", "will_5 = no\n");
	assert_true(life_try_begin(l, &connect, SPAN_OF("")));
	answer_login(l, CONNACK_5);
	until(&l->rig, l->session->device.state == DEVICE_ONLINE);
	lose_link(l);
	device_says(l, answer(MQTT_DISCONNECT, 0, 4));
	until(&l->rig, l->session->device.state == DEVICE_GONE);
	assert_false(l->session->ended);
	resume(l, CONNACK_5);
	cloud_gets(l, publish(0, false, 0, "gone"));
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "device_left");
}

/* Nor does a will wait as long as the one of the CONNECT before. */
static void
test_back_with_another_will(void **state)
{
	struct mqtt_connect connect = *lasting(5);
	struct life *l = *state;

	connect.properties = LASTS_10_S;
	connect.has_will = true;
	connect.will_topic = SPAN_OF("t");
	connect.will_payload = SPAN_OF("later");
	connect.will_properties = SPAN_OF("\x18\x00\x00\x00\x05");
	l->holds = true;
	adapt.level = 5;
	life_use(l, "aliyun", "will_5 = no\n");
	assert_true(life_try_begin(l, &connect, SPAN_OF("")));
	answer_login(l, CONNACK_5);
	device_gets(l, CONNACK_5);
	until(&l->rig, l->session->device.state == DEVICE_ONLINE);
	lose_link(l);
	connect.will_payload = SPAN_OF("now");
	connect.will_properties = SPAN_OF("");
	come_again_with(l, &connect, CONNACK_5_PRESENT);
	resume(l, CONNACK_5);
	lan_reset(&l->lan);
	until(&l->rig, l->session->device.state == DEVICE_GONE);
	assert_int_equal(l->session->will.state, WILL_NONE);
	cloud_gets(l, publish(0, false, 0, "now"));
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "device_lost");
}

/* One that has begun with Clean Start, and comes back without it, is waited for
   when it is lost again. */
static void
test_back_without_clean_start(void **state)
{
	struct mqtt_connect connect = *lasting(5);
	struct life *l = *state;

	connect.properties = LASTS_10_S;
	connect.clean = true;
	l->holds = true;
	adapt.level = 5;
	life_use(l, "none", "");
	assert_true(life_try_begin(l, &connect, SPAN_OF("")));
	answer_login(l, CONNACK_5);
	device_gets(l, CONNACK_5);
	until(&l->rig, l->session->device.state == DEVICE_ONLINE);
	lose_link(l);
	connect.clean = false;
	come_again_with(l, &connect, CONNACK_5_PRESENT);
	lan_reset(&l->lan);
	until(&l->rig,
	    l->session == NULL || l->session->device.state == DEVICE_GONE);
	assert_non_null(l->session);
	come_again_with(l, &connect, CONNACK_5_PRESENT);
	resume(l, CONNACK_5);
	adapt_leave(l);
}

/* ---- what is counted ---- */

static void
subscribe(struct life *l, uint16_t id)
{
	cloud_gets(l, PACKET(.header.type = MQTT_SUBSCRIBE, .packet_id = id,
			  .qos = 1, .payload = SPAN_OF("\x00\x01t\x01")));
}

/* However a SUBSCRIBE of our own ends, or does not, it is asked for until it is
   answered, and not any more then. */
static void
test_restored_once(void **state)
{
	struct life *l = *state;
	size_t before;

	log_in_to_stay(l, 4, "none");
	device_says(l, PACKET(.header.type = MQTT_SUBSCRIBE, .packet_id = 1,
			   .qos = 1, .payload = SPAN_OF("\x00\x01t\x01")));
	subscribe(l, 1);
	cloud_says(l, SPAN_OF("\x90\x03\x00\x01\x01"));
	device_gets(l, SPAN_OF("\x90\x03\x00\x01\x01"));
	before = l->rig.loop->kept_bytes;
	lose_link(l);
	resume(l, CONNACK_4);
	subscribe(l, 0xffff); /* without an answer */
	lose_link(l);
	come_again(l);
	/* a login that is refused begins no session */
	answer_login(l, SPAN_OF("\x20\x02\x00\x03"));
	until(&l->rig, l->session->logins == 1);
	cloud_reset(&l->cloud);
	resume(l, CONNACK_4_PRESENT);
	subscribe(l, 0xffff);
	assert_int_equal(l->session->restoring, 1);
	assert_int_equal(l->session->logins, 2);
	cloud_says(l, SPAN_OF("\x90\x03\xff\xff\x01"));
	until(&l->rig, l->session->subscribing.count == 0);
	assert_int_equal(l->session->restoring, 0);
	assert_int_equal(l->session->logins, 0);
	assert_int_equal(l->rig.loop->kept_bytes, before);
	lose_link(l);
	resume(l, CONNACK_4_PRESENT);
	assert_int_equal(l->session->logins, 0);
	nothing_moves(l);
	adapt_leave(l);
	assert_int_equal(l->rig.loop->kept_bytes, 0);
}

/* Since when it does what is told of it. */
static void
test_since(void **state)
{
	struct life *l = *state;
	struct session_report report;
	uint64_t left_ms;

	log_in_to_stay(l, 4, "none");
	lose_link(l);
	device_says(l, publish(1, false, 1, "m"));
	until(&l->rig, l->session->outbox.count == 1);
	left_ms = adapt.now_ms += 1000;
	lan_reset(&l->lan);
	until(&l->rig, l->session->device.state == DEVICE_GONE);
	adapt.now_ms += 1000;
	resume(l, CONNACK_4_PRESENT);
	cloud_gets(l, publish(1, false, 1, "m"));
	adapt.now_ms += 1000;
	lose_link(l);
	session_report(l->session, &report);
	assert_int_equal(report.presence, PRESENCE_LEAVING);
	assert_int_equal(report.since_ms, left_ms);
	come_again(l);
	session_report(l->session, &report);
	assert_int_equal(report.presence, PRESENCE_HELD);
	assert_int_equal(report.since_ms, adapt.now_ms);
	adapt.now_ms += 1000;
	resume(l, CONNACK_4_PRESENT);
	session_report(l->session, &report);
	assert_int_equal(report.presence, PRESENCE_ONLINE);
	assert_int_equal(report.since_ms, adapt.now_ms);
	session_free(&l->session);
	device_memory_free(&l->memory);
	cloud_hang_up(&l->cloud);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, adapt_set_up, adapt_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_message_before_disconnect),
	    TEST(test_half_a_connack),
	    TEST(test_connack_behind_disconnect),
	    TEST(test_put_on_a_lost_link),
	    TEST(test_lost_by_an_acknowledgement),
	    TEST(test_full_while_lost),
	    TEST(test_never_acknowledged),
	    TEST(test_stuck_after_long),
	    TEST(test_poison),
	    TEST(test_end_is_told),
	    TEST(test_another_hold_time),
	    TEST(test_lower_receive_maximum),
	    TEST(test_identifier_of_a_restored_subscription),
	    TEST(test_downlink_of_level_3),
	    TEST(test_forgotten_by_the_device),
	    TEST(test_forgotten_handshake),
	    TEST(test_remembered_by_the_device),
	    TEST(test_back_after_disconnect),
	    TEST(test_broken_off),
	    TEST(test_lost_in_a_message),
	    TEST(test_left_with_will),
	    TEST(test_back_with_another_will),
	    TEST(test_back_without_clean_start),
	    TEST(test_restored_once),
	    TEST(test_since),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
