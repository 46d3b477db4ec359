/*
 * A session that brings what the device sends to what the cloud takes: QoS 2,
 * topic filters, rates, retained messages, sizes.
 */
#include "adapt.h"

/* ---- QoS 2 ---- */

static void
test_qos2(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		adapt_login(l, level, "");
		device_says(l, publish(2, false, 7, "once"));
		cloud_gets(l, publish(1, false, 7, "once"));
		device_says(l, publish(2, true, 7, "once"));
		nothing_moves(l);
		cloud_says(l, answer(MQTT_PUBACK, 7, 0));
		device_gets(l, answer(MQTT_PUBREC, 7, 0));
		device_says(l, publish(2, true, 7, "once"));
		device_gets(l, answer(MQTT_PUBREC, 7, 0));
		device_says(l, answer(MQTT_PUBREL, 7, 0));
		device_gets(l, answer(MQTT_PUBCOMP, 7, 0));
		device_says(l, answer(MQTT_PUBREL, 7, 0));
		device_gets(l, answer(MQTT_PUBCOMP, 7, level >= 5 ? 0x92 : 0));
		nothing_moves(l);
		device_says(l, publish(2, false, 7, "another"));
		cloud_gets(l, publish(1, false, 7, "another"));
		adapt_leave(l);
	}
}

/* What is swallowed does not stand in the way of what is queued behind it. */
static void
test_big_qos2(void **state)
{
	enum { BIG = 200 * 1000 };
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		adapt_login(l, level, "qos0_per_second = 1\n");
		device_says(l, publish_big(2, false, 9, BIG));
		cloud_gets(l, publish_big(1, false, 9, BIG));
		device_says(l, publish_big(2, true, 9, BIG));
		device_says(l, publish(0, false, 0, "first"));
		cloud_gets(l, publish(0, false, 0, "first"));
		cloud_says(l, answer(MQTT_PUBACK, 9, 0));
		device_gets(l, answer(MQTT_PUBREC, 9, 0));
		device_says(l, publish_big(2, true, 9, BIG));
		device_gets(l, answer(MQTT_PUBREC, 9, 0));
		device_says(l, publish(0, false, 0, "second"));
		nothing_moves(l);
		adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
		cloud_gets(l, publish(0, false, 0, "second"));
		device_says(l, answer(MQTT_PUBREL, 9, 0));
		device_gets(l, answer(MQTT_PUBCOMP, 9, 0));
		adapt_leave(l);
	}
}

static void
test_qos2_refused_by_the_cloud(void **state)
{
	struct life *l = *state;

	adapt_login(l, 5, "");
	device_says(l, publish(2, false, 7, "no"));
	cloud_gets(l, publish(1, false, 7, "no"));
	cloud_says(l, answer(MQTT_PUBACK, 7, 0x97));
	device_gets(l, answer(MQTT_PUBREC, 7, 0x97));
	device_says(l, publish(2, false, 7, "again"));
	cloud_gets(l, publish(1, false, 7, "again"));
	adapt_leave(l);
}

/* A session that goes on from one connection to the next. */
static void
log_in_to_stay(struct life *l, struct span connack)
{
	static const struct mqtt_connect connect = {
	    .level = 4, .keep_alive_s = 60, .client_id = SPAN_OF("pump-7")};
	struct frame f;

	adapt.level = connect.level;
	assert_true(life_try_begin(l, &connect, SPAN_OF("")));
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	frame_free(&f);
	cloud_says(l, connack);
	device_gets(l, connack);
}

/* 4.4: the device sends again; the cloud did or did not get it. */
static void
test_qos2_over_two_connections(void **state)
{
	struct life *l = *state;

	life_use(l, "aliyun", "");
	log_in_to_stay(l, SPAN_OF("\x20\x02\x00\x00"));
	device_says(l, publish(2, false, 7, "lost"));
	cloud_gets(l, publish(1, false, 7, "lost"));
	device_says(l, publish(2, false, 8, "there"));
	cloud_gets(l, publish(1, false, 8, "there"));
	cloud_says(l, answer(MQTT_PUBACK, 8, 0));
	device_gets(l, answer(MQTT_PUBREC, 8, 0));
	lan_reset(&l->lan);
	life_expect_dead(l);

	log_in_to_stay(l, SPAN_OF("\x20\x02\x01\x00"));
	device_says(l, publish(2, true, 7, "lost"));
	cloud_gets(l, publish(1, true, 7, "lost"));
	device_says(l, publish(2, true, 8, "there"));
	device_gets(l, answer(MQTT_PUBREC, 8, 0));
	nothing_moves(l);
	adapt_leave(l);
}

static void
test_what_breaks_the_handshake(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		adapt_login(l, level, "");
		device_says(l, publish(2, false, 7, ""));
		cloud_gets(l, publish(1, false, 7, ""));
		device_says(l, answer(MQTT_PUBREL, 7, 0));
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "bad_packet");

		adapt_login(l, level, "");
		cloud_says(l, answer(MQTT_PUBACK, 7, 0));
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "bad_cloud_packet");
	}
}

static void
test_qos2_refused_here(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level <= 4; level++) {
		adapt_login(l, level, "qos2 = refuse\n");
		device_says(l, publish(2, false, 7, ""));
		lan_expect_end(&l->lan);
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "qos_refused");
	}
}

/* A cloud that has QoS 2, but limits something else, gets it. */
static void
test_qos2_that_the_cloud_takes(void **state)
{
	struct life *l = *state;

	adapt_login(l, 4, "qos_max = 2\n");
	device_says(l, publish(2, false, 7, ""));
	cloud_gets(l, publish(2, false, 7, ""));
	cloud_says(l, answer(MQTT_PUBREC, 7, 0));
	device_gets(l, answer(MQTT_PUBREC, 7, 0));
	device_says(l, answer(MQTT_PUBREL, 7, 0));
	cloud_gets(l, answer(MQTT_PUBREL, 7, 0));
	cloud_says(l, answer(MQTT_PUBCOMP, 7, 0));
	device_gets(l, answer(MQTT_PUBCOMP, 7, 0));
	adapt_leave(l);
}

/* ---- topic filters ---- */

/* Filters <from> to <to> of the same size, each with <options> for SUBSCRIBE;
   below 0: none. */
static struct span
filters(int from, int to, int options)
{
	static uint8_t list[1024];
	size_t n = 0;

	for (int i = from; i < to; i++) {
		list[n++] = 0;
		list[n++] = 2;
		list[n++] = (uint8_t)('a' + i);
		list[n++] = '#' - 3;
		if (options >= 0)
			list[n++] = (uint8_t)options;
	}
	return (struct span){list, n};
}

static struct span
codes(unsigned n)
{
	static const uint8_t granted[64];

	return (struct span){granted, n};
}

static void
test_twenty_filters(void **state)
{
	static const int parts[] = {0, 8, 16, 20};
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		adapt_login(l, level, "");
		device_says(
		    l, PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
			   .packet_id = 3, .payload = filters(0, 20, 0)));
		for (int i = 0; i < 3; i++) {
			cloud_gets(l,
			    PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
				.packet_id = 3,
				.payload = filters(parts[i], parts[i + 1], 0)));
			nothing_moves(l);
			cloud_says(l,
			    PACKET(.header.type = MQTT_SUBACK, .packet_id = 3,
				.payload = codes(
				       (unsigned)(parts[i + 1] - parts[i]))));
		}
		device_gets(l, PACKET(.header.type = MQTT_SUBACK,
				   .packet_id = 3, .payload = codes(20)));

		device_says(
		    l, PACKET(.header.type = MQTT_UNSUBSCRIBE, .qos = 1,
			   .packet_id = 4, .payload = filters(0, 9, -1)));
		for (int i = 0; i < 2; i++) {
			cloud_gets(
			    l, PACKET(.header.type = MQTT_UNSUBSCRIBE, .qos = 1,
				   .packet_id = 4,
				   .payload = filters(8 * i, 8 + i, -1)));
			cloud_says(l,
			    PACKET(.header.type = MQTT_UNSUBACK, .packet_id = 4,
				.payload = codes(
				       level >= 5 ? 8 - 7u * (unsigned)i : 0)));
		}
		device_gets(
		    l, PACKET(.header.type = MQTT_UNSUBACK, .packet_id = 4,
			   .payload = codes(level >= 5 ? 9 : 0)));
		adapt_leave(l);
	}
}

/* The acknowledgement of all does not stand inside of a packet. */
static void
test_suback_between_packets(void **state)
{
	struct life *l = *state;
	struct span down;

	adapt_login(l, 4, "");
	device_says(l, PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
			   .packet_id = 3, .payload = filters(0, 9, 0)));
	cloud_gets(l, PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
			  .packet_id = 3, .payload = filters(0, 8, 0)));
	cloud_says(l, PACKET(.header.type = MQTT_SUBACK, .packet_id = 3,
			  .payload = codes(8)));
	cloud_gets(l, PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
			  .packet_id = 3, .payload = filters(8, 9, 0)));
	device_says(l, publish(2, false, 5, ""));
	cloud_gets(l, publish(1, false, 5, ""));
	/* a QoS 2 that would have its answer at once waits as well */
	cloud_says(l, answer(MQTT_PUBACK, 5, 0));
	device_gets(l, answer(MQTT_PUBREC, 5, 0));
	down = publish(0, false, 0, "in two pieces");
	cloud_send(&l->cloud, WS_BINARY, false, (struct span){down.p, 9});
	device_gets(l, ((struct span){down.p, 9}));
	device_says(l, publish(2, true, 5, ""));
	device_says(l, answer(MQTT_PUBREL, 5, 0));
	nothing_moves(l);
	down = publish(0, false, 0, "in two pieces");
	cloud_send(&l->cloud, WS_CONTINUATION, true,
	    (struct span){down.p + 9, down.n - 9});
	device_gets(l, ((struct span){down.p + 9, down.n - 9}));
	device_gets(l, answer(MQTT_PUBREC, 5, 0));
	device_gets(l, answer(MQTT_PUBCOMP, 5, 0));
	adapt_leave(l);
}

/* ---- rates ---- */

static void
test_qos1_waits(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		adapt_login(l, level, "qos1_per_second = 2\n");
		for (uint16_t id = 1; id <= 3; id++)
			device_says(l, publish(1, false, id, ""));
		device_says(l, SPAN_OF("\xc0\x00"));
		cloud_gets(l, publish(1, false, 1, ""));
		cloud_gets(l, publish(1, false, 2, ""));
		nothing_moves(l);
		assert_true(l->session->device.paused);
		adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS - 1);
		nothing_moves(l);
		adapt_fire(l, l->session->pace, 1);
		cloud_gets(l, publish(1, false, 3, ""));
		device_gets(l, SPAN_OF("\xd0\x00"));
		assert_non_null(strstr(life_log(l), "event=device_slowed"));
		adapt_leave(l);
	}
}

static void
test_in_flight(void **state)
{
	struct life *l = *state;

	adapt_login(l, 4, "inflight_max = 2\n");
	device_says(l, publish(1, false, 1, ""));
	device_says(l, publish(2, false, 2, ""));
	device_says(l, publish(1, false, 3, ""));
	cloud_gets(l, publish(1, false, 1, ""));
	cloud_gets(l, publish(1, false, 2, ""));
	nothing_moves(l);
	assert_true(l->session->device.paused);
	cloud_says(l, answer(MQTT_PUBACK, 2, 0));
	device_gets(l, answer(MQTT_PUBREC, 2, 0));
	cloud_gets(l, publish(1, false, 3, ""));
	cloud_says(l, answer(MQTT_PUBACK, 1, 0));
	device_gets(l, answer(MQTT_PUBACK, 1, 0));
	adapt_leave(l);
}

/* A device that is not read for want of an acknowledgement, which never comes.
   Each that comes begins the time again. */
static void
test_a_cloud_that_does_not_acknowledge(void **state)
{
	struct life *l = *state;

	adapt_login(l, 4, "inflight_max = 1\n");
	for (uint16_t id = 1; id <= 3; id++)
		device_says(l, publish(1, false, id, ""));
	cloud_gets(l, publish(1, false, 1, ""));
	nothing_moves(l);
	adapt_fire(l, l->session->pace, CLOUD_TIMEOUT_MS - 1);
	cloud_says(l, answer(MQTT_PUBACK, 1, 0));
	cloud_gets(l, publish(1, false, 2, ""));
	rig_settle(&l->rig);
	adapt_fire(l, l->session->pace, CLOUD_TIMEOUT_MS - 1);
	assert_false(l->session->ended);
	adapt_fire(l, l->session->pace, 1);
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "cloud_stuck");

	adapt_login(l, 4, "");
	for (uint16_t id = 1; id <= SUBSCRIBING_MAX + 1; id++)
		device_says(
		    l, PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
			   .packet_id = id, .payload = filters(0, 1, 0)));
	until(&l->rig, l->session->held);
	adapt_fire(l, l->session->pace, CLOUD_TIMEOUT_MS);
	cloud_read_all(&l->cloud);
	until(&l->rig, l->session == NULL);
	assert_string_equal(life_reason(l), "cloud_stuck");
	cloud_hang_up(&l->cloud);
}

/* Also one that the device does not wait for, whole or in parts: the answer to
   each part begins the time again, a packet of the device does not. */
static void
test_a_subscribe_that_is_not_answered(void **state)
{
	struct life *l = *state;

	for (unsigned n = 1; n <= 9; n += 8) {
		adapt_login(l, 4, "");
		device_says(
		    l, PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
			   .packet_id = 3, .payload = filters(0, (int)n, 0)));
		cloud_gets(l, PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
				  .packet_id = 3,
				  .payload = filters(0, n > 8 ? 8 : 1, 0)));
		rig_settle(&l->rig);
		adapt.now_ms += CLOUD_TIMEOUT_MS - 1;
		if (n > 8) {
			cloud_says(l, PACKET(.header.type = MQTT_SUBACK,
					  .packet_id = 3, .payload = codes(8)));
			cloud_gets(l,
			    PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
				.packet_id = 3, .payload = filters(8, 9, 0)));
			rig_settle(&l->rig);
			adapt.now_ms += CLOUD_TIMEOUT_MS - 1;
		}
		device_says(
		    l, PACKET(.header.type = MQTT_UNSUBSCRIBE, .qos = 1,
			   .packet_id = 4, .payload = filters(0, 1, -1)));
		until(&l->rig, l->session->subscribing.count == 2);
		assert_false(l->session->ended);
		adapt_fire(l, l->session->pace, 1);
		cloud_read_all(&l->cloud);
		until(&l->rig, l->session == NULL);
		assert_string_equal(life_reason(l), "cloud_stuck");
		device_memory_free(&l->memory);
		cloud_hang_up(&l->cloud);
	}
}

static void
test_qos0_is_queued(void **state)
{
	static const char *const words[] = {"a", "b", "c", "d", "e"};
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		adapt_login(l, level, "qos0_per_second = 2\n");
		for (int i = 0; i < 5; i++)
			device_says(l, publish(0, false, 0, words[i]));
		device_says(l, publish(1, false, 1, "overtakes"));
		cloud_gets(l, publish(0, false, 0, "a"));
		cloud_gets(l, publish(0, false, 0, "b"));
		cloud_gets(l, publish(1, false, 1, "overtakes"));
		nothing_moves(l);
		assert_true(l->rig.loop->kept_bytes > 0);
		adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
		cloud_gets(l, publish(0, false, 0, "c"));
		cloud_gets(l, publish(0, false, 0, "d"));
		nothing_moves(l);
		assert_non_null(strstr(life_log(l), "event=device_slowed"));
		lan_fin(&l->lan);
		until(&l->rig, l->session->ended);
		assert_int_equal(l->rig.loop->kept_bytes, 0);
		assert_non_null(strstr(life_log(l), "qos0_dropped=1"));
		session_free(&l->session);
		device_memory_free(&l->memory);
		cloud_hang_up(&l->cloud);
	}
}

/* What is queued goes up while a PUBLISH that does not is still coming in. */
static void
test_queue_while_a_refused_packet_comes(void **state)
{
	struct life *l = *state;
	struct span big;

	adapt_login(l, 4, "qos0_per_second = 1\nmessage_max = 1000\n");
	device_says(l, publish(0, false, 0, "a"));
	device_says(l, publish(0, false, 0, "b"));
	cloud_gets(l, publish(0, false, 0, "a"));
	nothing_moves(l);
	big = publish_big(0, false, 0, 200 * 1000);
	device_says(l, (struct span){big.p, 100 * 1000});
	until(&l->rig, l->session->up_left > 0);
	nothing_moves(l);
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	cloud_gets(l, publish(0, false, 0, "b"));
	assert_true(l->session->up_left > 0);
	device_says(l, (struct span){big.p + 100 * 1000, big.n - 100 * 1000});
	device_says(l, publish(1, false, 1, "c"));
	cloud_gets(l, publish(1, false, 1, "c"));
	adapt_leave(l);
}

/* What it has said before its DISCONNECT goes up before that. */
static void
test_disconnect_behind_the_queue(void **state)
{
	struct life *l = *state;

	adapt_login(l, 4, "qos0_per_second = 1\n");
	device_says(l, publish(0, false, 0, "a"));
	device_says(l, publish(0, false, 0, "b"));
	device_says(l, SPAN_OF("\xe0\x00"));
	cloud_gets(l, publish(0, false, 0, "a"));
	nothing_moves(l);
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	cloud_gets(l, publish(0, false, 0, "b"));
	cloud_gets(l, SPAN_OF("\xe0\x00"));
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "device_left");
}

static void
test_qos0_is_dropped_the_oldest_first(void **state)
{
	static char word[900];
	struct life *l = *state;

	adapt_login(l, 4, "qos0_per_second = 1\nqos0_queue = 2K\n");
	for (char c = 'a'; c <= 'e'; c++) {
		memset(word, c, sizeof(word) - 1);
		device_says(l, publish(0, false, 0, word));
	}
	memset(word, 'a', sizeof(word) - 1);
	cloud_gets(l, publish(0, false, 0, word));
	for (char c = 'd'; c <= 'e'; c++) {
		nothing_moves(l);
		adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
		memset(word, c, sizeof(word) - 1);
		cloud_gets(l, publish(0, false, 0, word));
	}
	adapt_leave(l);
	assert_non_null(strstr(life_log(l), "qos0_dropped=2"));
}

/* What is queued goes up, whether or not the device reads. */
static void
test_queue_of_a_device_that_does_not_read(void **state)
{
	struct life *l = *state;
	struct span down;

	adapt_login(l, 4, "qos0_per_second = 1\n");
	down = publish_big(0, false, 0, 60 * 1000);
	while (l->session->device.out.n == 0) {
		cloud_says(l, down);
		rig_settle(&l->rig);
	}
	device_says(l, publish(0, false, 0, "a"));
	device_says(l, publish(0, false, 0, "b"));
	cloud_gets(l, publish(0, false, 0, "a"));
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	cloud_gets(l, publish(0, false, 0, "b"));
	session_free(&l->session);
	cloud_hang_up(&l->cloud);
}

/* ---- what the cloud does not take ---- */

static void
test_retain(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		adapt_login(l, level, "");
		for (uint8_t qos = 0; qos <= 2; qos++) {
			struct mqtt_packet p = {.header.type = MQTT_PUBLISH,
			    .qos = qos,
			    .retain = true,
			    .packet_id = qos,
			    .topic = SPAN_OF("t"),
			    .payload = SPAN_OF("kept")};

			device_says(l, packet_of(&p));
			p.retain = level >= 5;
			p.qos = qos > 0;
			cloud_gets(l, packet_of(&p));
		}
		adapt_leave(l);
	}
}

static void
check_refused(struct life *l, uint8_t level, uint8_t qos,
    const struct mqtt_packet *p, uint8_t code, const char *reason)
{
	adapt_login(l, level,
	    "message_max = 1000\ntopic_max = 10\ntopic_slashes_max = 2\n");
	device_says(l, packet_of(p));
	device_says(l, publish(0, false, 0, "behind it"));
	if (qos > 0 && level < 5) {
		lan_expect_end(&l->lan);
		life_expect_dead(l);
		assert_string_equal(life_reason(l), reason);
		device_memory_free(&l->memory);
		return;
	}
	if (qos > 0)
		device_gets(
		    l, answer(qos == 2 ? MQTT_PUBREC : MQTT_PUBACK, 7, code));
	else
		until(&l->rig, strstr(life_log(l), reason) != NULL);
	cloud_gets(l, publish(0, false, 0, "behind it"));
	nothing_moves(l);
	adapt_leave(l);
}

static void
test_messages_that_are_refused(void **state)
{
	static uint8_t big[200 * 1000];
	static const struct {
		const char *topic;
		size_t n;
		uint8_t code;
		const char *reason;
	} rows[] = {
	    {"t", 1001, 0x97, "message_too_big"},
	    {"t", sizeof(big), 0x97, "message_too_big"},
	    {"0123456789a", 1, 0x90, "topic_refused"},
	    {"0123456789a", 0, 0x90, "topic_refused"},
	    {"a/b/c/d", 1, 0x90, "topic_refused"},
	};
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		for (uint8_t qos = 0; qos <= 2; qos++)
			for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
				check_refused(l, level, qos,
				    &(struct mqtt_packet){
					.header.type = MQTT_PUBLISH,
					.qos = qos,
					.packet_id = qos > 0 ? 7 : 0,
					.topic = span_of_string(rows[i].topic),
					.payload = {big, rows[i].n}},
				    rows[i].code, rows[i].reason);
	}
}

static void
test_messages_at_the_limit(void **state)
{
	static uint8_t payload[1000];
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		struct mqtt_packet p = {.header.type = MQTT_PUBLISH,
		    .qos = 1,
		    .packet_id = 7,
		    .topic = SPAN_OF("012/456/89"),
		    .payload = {payload, sizeof(payload)}};

		adapt_login(l, level,
		    "message_max = 1000\ntopic_max = 10\n"
		    "topic_slashes_max = 2\n");
		device_says(l, packet_of(&p));
		cloud_gets(l, packet_of(&p));
		p.payload.n = 0;
		device_says(l, packet_of(&p));
		cloud_gets(l, packet_of(&p));
		adapt_leave(l);
	}
}

/* ---- reloads ---- */

/* To other limits, while a packet waits. */
static void
test_reload_while_one_waits(void **state)
{
	static const struct {
		const char *contract, *more;
		bool ends;
	} rows[] = {
	    {"aliyun", "qos1_per_second = 1\n", false},
	    {"aliyun", "qos1_per_second = 5\n", false},
	    {"aliyun", "qos1_per_second = 0\n", false},
	    {"none", "will_3 = no\n", true},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct credmap *fresh;

		adapt_login(l, 4, "qos1_per_second = 1\n");
		device_says(l, publish(1, false, 1, ""));
		device_says(l, publish(1, false, 2, ""));
		cloud_gets(l, publish(1, false, 1, ""));
		nothing_moves(l);
		l->contract = rows[i].contract;
		fresh = life_map(l, rows[i].more);
		session_remap(l->session, fresh);
		credmap_unref(fresh);
		if (rows[i].ends) {
			life_expect_dead(l);
			assert_string_equal(life_reason(l), "entry_changed");
			device_memory_free(&l->memory);
			continue;
		}
		rig_settle(&l->rig);
		adapt.now_ms += ADAPT_WINDOW_MS;
		if (evtimer_pending(l->session->pace, NULL))
			event_active(l->session->pace, EV_TIMEOUT, 0);
		cloud_gets(l, publish(1, false, 2, ""));
		adapt_leave(l);
	}
}

/* From none to one that adapts: what is under way is not known here. */
static void
test_reload_to_another_contract(void **state)
{
	struct life *l = *state;
	struct credmap *fresh;

	adapt.level = 4;
	life_use(l, "none", "");
	life_login(l, 4);
	device_says(l, publish(2, false, 1, ""));
	cloud_gets(l, publish(2, false, 1, ""));
	fresh = life_map(l, "qos_max = 1\n");
	session_remap(l->session, fresh);
	credmap_unref(fresh);
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "entry_changed");
}

/* Without a contract every packet passes as it is, and is not held up. */
static void
test_none(void **state)
{
	struct life *l = *state;
	struct span down;

	adapt.level = 4;
	life_login(l, 4);
	down = publish(0, false, 0, "in two pieces");
	cloud_send(&l->cloud, WS_BINARY, false, (struct span){down.p, 9});
	device_gets(l, ((struct span){down.p, 9}));
	device_says(l, publish(2, false, 7, ""));
	cloud_gets(l, publish(2, false, 7, ""));
	device_says(l, answer(MQTT_PUBREL, 7, 0));
	cloud_gets(l, answer(MQTT_PUBREL, 7, 0));
	session_free(&l->session);
	cloud_hang_up(&l->cloud);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, adapt_set_up, adapt_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_qos2),
	    TEST(test_big_qos2),
	    TEST(test_qos2_refused_by_the_cloud),
	    TEST(test_qos2_over_two_connections),
	    TEST(test_what_breaks_the_handshake),
	    TEST(test_qos2_refused_here),
	    TEST(test_qos2_that_the_cloud_takes),
	    TEST(test_twenty_filters),
	    TEST(test_suback_between_packets),
	    TEST(test_qos1_waits),
	    TEST(test_in_flight),
	    TEST(test_a_cloud_that_does_not_acknowledge),
	    TEST(test_a_subscribe_that_is_not_answered),
	    TEST(test_qos0_is_queued),
	    TEST(test_queue_while_a_refused_packet_comes),
	    TEST(test_disconnect_behind_the_queue),
	    TEST(test_qos0_is_dropped_the_oldest_first),
	    TEST(test_queue_of_a_device_that_does_not_read),
	    TEST(test_retain),
	    TEST(test_messages_that_are_refused),
	    TEST(test_messages_at_the_limit),
	    TEST(test_reload_while_one_waits),
	    TEST(test_reload_to_another_contract),
	    TEST(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
