/*
 * A session that adapts, where two things come together: a login that is
 * refused, a reload, a device that breaks off, and what was under way.
 */
#include "session/session_parts.h"

#include "adapt.h"

#define LEAVE SPAN_OF("\xe0\x00")

/* A login of <connect>, whom the cloud answers with <connack>. */
static void
log_in(struct life *l, struct mqtt_connect connect, struct span connack)
{
	struct frame f;

	connect.client_id = SPAN_OF("pump-7");
	connect.keep_alive_s = 60;
	adapt.level = connect.level;
	assert_true(life_try_begin(l, &connect, SPAN_OF("")));
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	frame_free(&f);
	cloud_says(l, connack);
}

/* A handshake of QoS 2 of which the device misses no more than PUBCOMP. */
static void
publish_qos2(struct life *l, uint16_t id, const char *word)
{
	device_says(l, publish(2, false, id, word));
	cloud_gets(l, publish(1, false, id, word));
	cloud_says(l, answer(MQTT_PUBACK, id, 0));
	device_gets(l, answer(MQTT_PUBREC, id, 0));
}

static void
reload(struct life *l, const char *contract, const char *more)
{
	struct credmap *fresh;

	l->contract = contract;
	fresh = life_map(l, more);
	session_remap(l->session, fresh);
	credmap_unref(fresh);
}

/* ---- what is remembered from one session to the next ---- */

/* A refused login says nothing about the session (3.2.2.2). */
static void
test_refused_login_between(void **state)
{
	struct life *l = *state;
	struct mqtt_connect connect = {.level = 4};

	life_use(l, "aliyun", "");
	log_in(l, connect, SPAN_OF("\x20\x02\x00\x00"));
	device_gets(l, SPAN_OF("\x20\x02\x00\x00"));
	publish_qos2(l, 7, "once");
	lan_reset(&l->lan);
	life_expect_dead(l);

	log_in(l, connect, SPAN_OF("\x20\x02\x00\x03"));
	device_gets(l, SPAN_OF("\x20\x02\x00\x03"));
	lan_expect_end(&l->lan);
	life_expect_dead(l);
	lan_hang_up(&l->lan);

	log_in(l, connect, SPAN_OF("\x20\x02\x01\x00"));
	device_gets(l, SPAN_OF("\x20\x02\x01\x00"));
	device_says(l, publish(2, true, 7, "once"));
	device_gets(l, answer(MQTT_PUBREC, 7, 0));
	nothing_moves(l);
	adapt_leave(l);
}

/* Up to 3.1.1 a clean session ends with its connection (3.1.2.4): what comes
   later under its identifiers is new, also where no CONNACK says so. */
static void
test_after_a_clean_session(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level <= 4; level++) {
		adapt_login(l, level, "");
		publish_qos2(l, 7, "old");
		lan_reset(&l->lan);
		life_expect_dead(l);

		log_in(l, (struct mqtt_connect){.level = 3},
		    SPAN_OF("\x20\x02\x00\x00"));
		device_gets(l, SPAN_OF("\x20\x02\x00\x00"));
		device_says(l, publish(2, false, 7, "new"));
		cloud_gets(l, publish(1, false, 7, "new"));
		adapt_leave(l);
	}
}

/* ---- reloads ---- */

/* A packet that has begun before there were limits is none of theirs. */
static void
test_limits_in_the_middle_of_a_packet(void **state)
{
	enum { BIG = 200 * 1000, FIRST = 100 * 1000 };
	struct life *l = *state;
	struct span big;

	adapt.level = 4;
	life_use(l, "none", "");
	life_login(l, 4);
	big = publish_big(0, false, 0, BIG);
	device_says(l, (struct span){big.p, FIRST});
	until(&l->rig,
	    l->session->up_left > 0 && l->session->up_left < BIG - FIRST / 2);
	reload(l, "none", "qos0_per_second = 1\n");
	device_says(l, (struct span){big.p + FIRST, big.n - FIRST});
	device_says(l, publish(0, false, 0, "behind"));
	cloud_gets(l, big);
	nothing_moves(l);
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	cloud_gets(l, publish(0, false, 0, "behind"));
	adapt_leave(l);
}

/* What waited for its turn and then is refused waits no more. */
static void
test_refused_while_it_waits(void **state)
{
	struct life *l = *state;

	adapt_login(l, 5, "qos1_per_second = 1\n");
	device_says(l, publish(1, false, 1, "first"));
	device_says(l, publish(1, false, 2, "too long"));
	cloud_gets(l, publish(1, false, 1, "first"));
	nothing_moves(l);
	reload(l, "aliyun", "qos1_per_second = 1\nmessage_max = 5\n");
	device_gets(l, answer(MQTT_PUBACK, 2, 0x97));
	/* its line; on a slow machine it was written when its turn came */
	if (evtimer_pending(l->session->pace, NULL))
		adapt_fire(l, l->session->pace, 60 * 1000);
	assert_false(evtimer_pending(l->session->pace, NULL));
	adapt_leave(l);
}

#define WITH_ALIASES SPAN_OF("\x20\x06\x00\x00\x03\x22\x00\x0a")

/* A packet that is dropped, or overtaken, must not have set an alias that
   others need (MQTT 5 3.3.2.3.4). */
static void
test_aliases(void **state)
{
	static const struct {
		const char *contract, *more;
		bool has_them;
	} rows[] = {
	    {"none", "", true},
	    {"none", "inflight_max = 9\n", false},
	    {"none", "message_max = 9\n", false},
	    {"none", "topic_max = 9\n", false},
	    {"none", "topic_slashes_max = 1\n", false},
	    {"none", "qos_max = 1\n", false},
	    {"aliyun", "", false},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		life_use(l, rows[i].contract, rows[i].more);
		log_in(l, (struct mqtt_connect){.level = 5, .clean = true},
		    WITH_ALIASES);
		device_gets(l, rows[i].has_them ? WITH_ALIASES : CONNACK_5);
		adapt_leave(l);
	}
}

/* A device that has been given aliases cannot be held to limits. */
static void
test_limits_for_a_device_with_aliases(void **state)
{
	static const char *const rows[] = {
	    "qos0_per_second = 1\n", "message_max = 1K\n"};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		life_use(l, "none", "");
		log_in(l, (struct mqtt_connect){.level = 5, .clean = true},
		    WITH_ALIASES);
		device_gets(l, WITH_ALIASES);
		reload(l, "none", rows[i]);
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "entry_changed");
		device_memory_free(&l->memory);
	}
}

/* ---- what a device of level 5 is told ---- */

#define MAXIMUM_QOS(qos) SPAN_OF("\x20\x05\x00\x00\x02\x24" qos)

/* MQTT-3.2.2-9, whether the cloud has said it or not. */
static void
test_maximum_qos(void **state)
{
	static const struct {
		const char *more;
		struct span said, told;
		uint8_t refused; /* 3: none */
	} rows[] = {
	    {"", CONNACK_5, CONNACK_5, 3},
	    {"", MAXIMUM_QOS("\x01"), CONNACK_5, 3},
	    {"qos2 = refuse\n", CONNACK_5, MAXIMUM_QOS("\x01"), 2},
	    {"qos2 = refuse\n", MAXIMUM_QOS("\x01"), MAXIMUM_QOS("\x01"), 2},
	    {"qos2 = refuse\n", MAXIMUM_QOS("\x00"), MAXIMUM_QOS("\x00"), 2},
	    {"qos_max = 0\n", MAXIMUM_QOS("\x01"), MAXIMUM_QOS("\x00"), 1},
	    {"qos_max = 2\n", CONNACK_5, CONNACK_5, 3},
	    {"qos_max = 2\n", MAXIMUM_QOS("\x01"), MAXIMUM_QOS("\x01"), 3},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		life_use(l, "aliyun", rows[i].more);
		log_in(l, (struct mqtt_connect){.level = 5, .clean = true},
		    rows[i].said);
		device_gets(l, rows[i].told);
		if (rows[i].refused > 2) {
			adapt_leave(l);
			continue;
		}
		device_says(l, publish(rows[i].refused, false, 7, ""));
		device_gets(l, SPAN_OF("\xe0\x01\x9b"));
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "qos_refused");
		device_memory_free(&l->memory);
	}
}

/* ---- what a turn of its own makes room for ---- */

/* DISCONNECT comes when the last one queued is due, but before the timer. */
static void
test_disconnect_when_the_queue_is_due(void **state)
{
	struct life *l = *state;

	adapt_login(l, 4, "qos0_per_second = 1\n");
	device_says(l, publish(0, false, 0, "a"));
	device_says(l, publish(0, false, 0, "b"));
	device_says(l, publish(0, false, 0, "c"));
	cloud_gets(l, publish(0, false, 0, "a"));
	nothing_moves(l);
	/* this writes the line of the minute as well */
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	cloud_gets(l, publish(0, false, 0, "b"));
	adapt.now_ms += ADAPT_WINDOW_MS;
	device_says(l, LEAVE);
	cloud_gets(l, publish(0, false, 0, "c"));
	cloud_gets(l, LEAVE);
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "device_left");
}

/* More SUBSCRIBEs at once than may be under way, all answered here. */
static void
test_subscribes_that_are_answered_here(void **state)
{
	enum { COUNT = SUBSCRIBING_MAX + 9 };
	struct life *l = *state;
	struct buffer all = {0};

	adapt_login(l, 4,
	    "topic_unmapped = refuse\ntopic.1.lan = t\n"
	    "topic.1.cloud = /${pk}/${dn}/user/t\n");
	for (uint16_t id = 1; id <= COUNT; id++)
		assert_true(buffer_append(&all,
		    PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
			.packet_id = id, .payload = SPAN_OF("\x00\x01x\x00"))));
	device_says(l, buffer_span(&all));
	for (uint16_t id = 1; id <= COUNT; id++)
		device_gets(
		    l, PACKET(.header.type = MQTT_SUBACK, .packet_id = id,
			   .payload = SPAN_OF("\x80")));
	buffer_free(&all);
	adapt_leave(l);
}

/* ---- counters ---- */

/* A message that waits is asked about again and again, and counted once. */
static void
test_retain_of_one_that_waits(void **state)
{
	struct life *l = *state;
	struct span retained;

	adapt_login(l, 4,
	    "qos1_per_second = 1\ntopic.1.lan = t\n"
	    "topic.1.cloud = /${pk}/${dn}/user/t\n");
	for (uint16_t id = 1; id <= 2; id++) {
		retained = PACKET(.header.type = MQTT_PUBLISH, .qos = 1,
		    .retain = true, .packet_id = id, .topic = SPAN_OF("t"));
		device_says(l, retained);
	}
	for (int i = 0; i < 5; i++) {
		rig_settle(&l->rig);
		session_on_link_room(l->session);
	}
	device_says(l, LEAVE);
	rig_settle(&l->rig);
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	for (int i = 0; i < 2; i++) {
		struct buffer up = cloud_message(l);

		assert_int_equal(up.p[up.off], 0x32);
		buffer_free(&up);
	}
	cloud_gets(l, LEAVE);
	life_expect_dead(l);
	assert_non_null(strstr(life_log(l), " retain_cleared=2 "));
}

/* ---- wills ---- */

static void
log_in_with_will(struct life *l, const char *more)
{
	life_use(l, "aliyun", more);
	log_in(l,
	    (struct mqtt_connect){.level = 4,
		.clean = true,
		.has_will = true,
		.will_topic = SPAN_OF("gone"),
		.will_payload = SPAN_OF("bye")},
	    CONNACK_4);
	device_gets(l, CONNACK_4);
}

/* A device breaks off in a packet that goes nowhere, and it shows only when it
   is answered. */
static void
test_will_when_an_answer_fails(void **state)
{
	enum { BIG = 200 * 1000 };
	struct life *l = *state;
	struct span big;
	struct buffer will;

	log_in_with_will(l, "qos0_per_second = 1\n");
	device_says(l, publish(0, false, 0, "a"));
	cloud_gets(l, publish(0, false, 0, "a"));
	device_says(l, publish_big(2, false, 9, BIG));
	cloud_gets(l, publish_big(1, false, 9, BIG));
	cloud_says(l, answer(MQTT_PUBACK, 9, 0));
	device_gets(l, answer(MQTT_PUBREC, 9, 0));
	/* as if it were reset when PUBREC is written */
	(void)shutdown(l->session->device.fd, SHUT_WR);
	big = publish_big(2, true, 9, BIG);
	device_says(l, (struct span){big.p, 20 * 1000});
	rig_settle(&l->rig);
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	will = cloud_message(l);
	assert_int_equal(will.p[will.off], 0x30);
	buffer_free(&will);
	life_expect_dead(l);
	assert_non_null(strstr(life_log(l), "event=will_sent"));
}

/* Whoever has said DISCONNECT leaves no will (MQTT-3.1.2-10), though what it
   has sent before is still queued. */
static void
test_will_of_one_that_is_leaving(void **state)
{
	struct life *l = *state;
	struct fault why;

	log_in_with_will(l, "qos0_per_second = 1\n");
	device_says(l, publish(0, false, 0, "a"));
	device_says(l, publish(0, false, 0, "b"));
	device_says(l, LEAVE);
	cloud_gets(l, publish(0, false, 0, "a"));
	nothing_moves(l);
	(void)fault_set(&why, R_TAKEN_OVER, "%s", "");
	session_end(l->session, &why);
	assert_true(l->session->ended);
	cloud_gets(l, LEAVE);
	life_expect_dead(l);
	assert_null(strstr(life_log(l), "event=will_"));
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, adapt_set_up, adapt_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_refused_login_between),
	    TEST(test_after_a_clean_session),
	    TEST(test_limits_in_the_middle_of_a_packet),
	    TEST(test_refused_while_it_waits),
	    TEST(test_aliases),
	    TEST(test_limits_for_a_device_with_aliases),
	    TEST(test_maximum_qos),
	    TEST(test_disconnect_when_the_queue_is_due),
	    TEST(test_subscribes_that_are_answered_here),
	    TEST(test_retain_of_one_that_waits),
	    TEST(test_will_when_an_answer_fails),
	    TEST(test_will_of_one_that_is_leaving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
