/*
 * The will of a device whose cloud takes none: when it is left, when not, and
 * what may come between.
 *
 * To be linked with -Wl,--wrap= clock_mono_ms and malloc.
 */
#include "adapt.h"
#include "session/session_parts.h"

/* The next allocation of so many bytes fails; 0: none. */
static size_t scarce_bytes;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);

void *
__wrap_malloc(size_t n)
{
	if (n == 0 || n != scarce_bytes)
		return __real_malloc(n);
	scarce_bytes = 0;
	return NULL;
}

#define nothing_goes_up(l) assert_true(cloud_hears_nothing(&(l)->cloud))

#define NO_WILL "will_5 = no\n"

/* A session up whose device has a will: a PUBLISH to "gone" of "bye". */
static void
login_with(struct life *l, struct mqtt_connect connect, const char *more)
{
	struct mqtt_connect got;
	struct frame f;

	adapt.level = connect.level;
	connect.client_id = SPAN_OF("pump-7");
	connect.keep_alive_s = 60;
	connect.has_will = true;
	connect.will_topic = SPAN_OF("gone");
	connect.will_payload = SPAN_OF("bye");
	life_use(l, "aliyun", more);
	assert_true(life_try_begin(l, &connect, SPAN_OF("")));
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	assert_true(mqtt_connect_read(frame_span(&f), &got, NULL));
	assert_false(got.has_will);
	frame_free(&f);
	cloud_says(l, life_connack(connect.level));
	lan_expect(&l->lan, life_connack(connect.level));
	until(&l->rig, l->session->device.state == DEVICE_ONLINE);
}

static void
login(struct life *l, uint8_t level, uint8_t qos)
{
	login_with(l,
	    (struct mqtt_connect){
		.level = level, .clean = true, .will_qos = qos},
	    NO_WILL);
}

/* At level 5, to be left after <s> by a session that lives <lives_s>. */
static void
login_delayed(struct life *l, uint8_t s, uint8_t lives_s)
{
	uint8_t delay[] = {0x18, 0, 0, 0, s},
		lives[] = {0x11, 0, 0, 0, lives_s};

	login_with(l,
	    (struct mqtt_connect){.level = 5,
		.will_qos = 1,
		.properties = {lives, sizeof(lives)},
		.will_properties = {delay, sizeof(delay)}},
	    NO_WILL);
}

/* The cloud gets the will; returns its identifier. */
static uint16_t
expect_will(struct life *l, uint8_t qos)
{
	struct buffer whole = cloud_message(l);
	struct mqtt_packet p;
	struct fault why;

	if (!mqtt_packet_read(
		buffer_span(&whole), adapt.level, MQTT_FROM_CLIENT, &p, &why))
		fail_msg("%s", why.text);
	assert_int_equal(p.header.type, MQTT_PUBLISH);
	assert_int_equal(p.qos, qos);
	assert_false(p.dup);
	assert_span_equal(p.topic, SPAN_OF("gone"));
	assert_span_equal(p.payload, SPAN_OF("bye"));
	assert_int_equal(p.properties.n, 0);
	buffer_free(&whole);
	return p.packet_id;
}

/* The session ends for <reason>, with the will left or not. */
static void
expect_end(struct life *l, const char *reason, bool left)
{
	life_expect_dead(l);
	assert_string_equal(life_reason(l), reason);
	assert_true((strstr(life_log(l), "event=will_sent") != NULL) == left);
	device_memory_free(&l->memory);
}

static void
expect_left(struct life *l, uint8_t qos, const char *reason)
{
	uint16_t id = expect_will(l, qos);

	if (qos > 0) {
		nothing_goes_up(l);
		cloud_says(l, answer(MQTT_PUBACK, id, 0));
	}
	expect_end(l, reason, true);
}

static void
close_device(struct life *l)
{
	lan_fin(&l->lan);
	lan_expect_end(&l->lan);
}

static void
end_for(struct life *l, enum reason reason)
{
	struct fault why;

	(void)fault_set(&why, reason, "%s", "");
	session_end(l->session, &why);
}

/* ---- when it is left ---- */

static void
test_the_device_closes(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		for (uint8_t qos = 0; qos <= 2; qos++) {
			login(l, level, qos);
			close_device(l);
			expect_left(l, qos > 0, "device_closed");
		}
	}
}

static void
test_the_device_breaks_off(void **state)
{
	struct life *l = *state;

	login(l, 4, 1);
	lan_reset(&l->lan);
	cloud_says(l, answer(MQTT_PUBACK, expect_will(l, 1), 0));
	expect_end(l, "device_lost", true);
}

static void
test_the_device_is_silent(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		login(l, level, 1);
		adapt_fire(l, &l->session->device.timer, 90 * 1000);
		if (level >= 5)
			device_gets(l, SPAN_OF("\xe0\x01\x8d"));
		lan_expect_end(&l->lan);
		expect_left(l, 1, "device_silent");
	}
}

/* Also what the device breaks has it left, and nothing behind that goes up. */
static void
test_a_bad_packet(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		struct buffer both = {0};

		login(l, level, 1);
		/* QoS 2 and QoS 1 under one identifier; one behind it */
		device_says(l, publish(2, false, 7, ""));
		cloud_gets(l, publish(1, false, 7, ""));
		assert_true(buffer_append(&both, publish(1, false, 7, "")));
		assert_true(
		    buffer_append(&both, publish(0, false, 0, "behind")));
		device_says(l, buffer_span(&both));
		buffer_free(&both);
		if (level >= 5)
			device_gets(l, SPAN_OF("\xe0\x01\x81"));
		lan_expect_end(&l->lan);
		expect_left(l, 1, "bad_packet");
	}
}

static void
test_the_device_says_disconnect(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		login(l, level, 1);
		device_says(l, SPAN_OF("\xe0\x00"));
		cloud_gets(l, SPAN_OF("\xe0\x00"));
		lan_expect_end(&l->lan);
		expect_end(l, "device_left", false);
	}
}

/* 3.14.2.1: DISCONNECT with the will; a second one behind it is not heard. */
static void
test_disconnect_with_will(void **state)
{
	struct life *l = *state;

	login(l, 5, 1);
	device_says(l, SPAN_OF("\xe0\x01\x04\xe0\x00"));
	lan_expect_end(&l->lan);
	expect_left(l, 1, "device_left");
}

/* A cloud that takes wills has this one itself. */
static void
test_a_will_that_the_cloud_takes(void **state)
{
	struct life *l = *state;
	struct mqtt_connect connect = {.level = 5,
	    .clean = true,
	    .keep_alive_s = 60,
	    .has_will = true,
	    .will_topic = SPAN_OF("gone")};
	struct mqtt_connect got;
	struct frame f;

	adapt.level = 5;
	life_use(l, "aliyun", "");
	assert_true(life_try_begin(l, &connect, SPAN_OF("")));
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	assert_true(mqtt_connect_read(frame_span(&f), &got, NULL));
	assert_true(got.has_will);
	frame_free(&f);
	cloud_says(l, life_connack(5));
	until(&l->rig, l->session->device.state == DEVICE_ONLINE);
	device_says(l, SPAN_OF("\xe0\x01\x04"));
	cloud_gets(l, SPAN_OF("\xe0\x01\x04"));
	expect_end(l, "device_left", false);
}

/* ---- its delay ---- */

static void
test_delay(void **state)
{
	struct life *l = *state;

	login_delayed(l, 30, 60);
	close_device(l);
	until(&l->rig, l->session->will.state == WILL_DELAYED);
	nothing_goes_up(l);
	adapt_fire(l, &l->session->will.end->timer, 30 * 1000);
	(void)expect_will(l, 1);
	/* and then it has a deadline like any other */
	adapt_fire(l, &l->session->will.end->timer, PING_TIMEOUT_MS);
	expect_end(l, "device_closed", false);
	assert_non_null(strstr(life_log(l), "event=will_lost"));
}

/* 3.1.3.2.2: it is not over the life of the session. */
static void
test_delay_of_a_session_that_ends(void **state)
{
	struct life *l = *state;

	login_delayed(l, 30, 0);
	close_device(l);
	expect_left(l, 1, "device_closed");
}

/* The device is back in time, before or after we knew that it was gone. */
static void
test_taken_over_with_delay(void **state)
{
	struct life *l = *state;

	for (int known = 0; known < 2; known++) {
		login_delayed(l, 30, 60);
		if (known) {
			close_device(l);
			until(&l->rig, l->session->will.state == WILL_DELAYED);
		}
		end_for(l, R_TAKEN_OVER);
		assert_true(l->session->ended);
		expect_end(l, "taken_over", false);
	}
}

/* A connection of this Clean Start (level 5) or Clean Session. */
static void
give_way(struct life *l, bool clean)
{
	const struct mqtt_connect connect = {
	    .level = adapt.level, .clean = clean};
	struct knock k = {.peer = "192.0.2.7:1", .entry = l->entry};
	size_t n = mqtt_connect_size(&connect);
	uint8_t *out = buffer_reserve(&k.bytes, n);

	assert_non_null(out);
	mqtt_connect_write(&connect, out);
	buffer_commit(&k.bytes, n);
	k.connect_bytes = n;
	session_give_way(l->session, &k, NULL);
	buffer_free(&k.bytes);
}

/* With Clean Start the device is back, but its session has ended: the will is
   published (3.1.3.2.2, 3.1.4); without, it must not be (MQTT-3.1.3-9). */
static void
test_clean_start_within_the_delay(void **state)
{
	struct life *l = *state;

	for (int i = 0; i < 4; i++) {
		bool known = (i & 1) != 0, clean = (i & 2) != 0;

		login_delayed(l, 30, 60);
		if (known) {
			close_device(l);
			until(&l->rig, l->session->will.state == WILL_DELAYED);
			nothing_goes_up(l);
		}
		give_way(l, clean);
		if (!clean)
			expect_end(l, "taken_over", false);
		else
			expect_left(
			    l, 1, known ? "device_closed" : "taken_over");
	}
}

static void
test_taken_over(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		login(l, level, 1);
		end_for(l, R_TAKEN_OVER);
		if (level >= 5)
			device_gets(l, SPAN_OF("\xe0\x01\x8e"));
		lan_expect_end(&l->lan);
		expect_left(l, 1, "taken_over");
	}
}

/* The proxy stops: what was delayed goes now. */
static void
test_drained_while_delayed(void **state)
{
	struct life *l = *state;

	login_delayed(l, 30, 60);
	close_device(l);
	until(&l->rig, l->session->will.state == WILL_DELAYED);
	end_for(l, R_DRAINING);
	expect_left(l, 1, "device_closed");
}

/* ---- what goes wrong ---- */

static void
test_never_acknowledged(void **state)
{
	struct life *l = *state;

	login(l, 4, 1);
	close_device(l);
	(void)expect_will(l, 1);
	adapt_fire(l, &l->session->will.end->timer, PING_TIMEOUT_MS);
	expect_end(l, "device_closed", false);
	assert_non_null(strstr(life_log(l), "event=will_lost"));
}

/* Before the device is, or while the will waits for its acknowledgement. */
static void
test_the_link_is_lost(void **state)
{
	struct life *l = *state;

	for (int sent = 0; sent < 2; sent++) {
		login(l, 4, 1);
		if (sent) {
			close_device(l);
			(void)expect_will(l, 1);
		}
		cloud_reset(&l->cloud);
		expect_end(l, sent ? "device_closed" : "cloud_reset", false);
		assert_non_null(strstr(life_log(l), "event=will_lost"));
	}
}

/* A PUBLISH that goes up in pieces cannot be ended by another packet. */
static void
test_in_the_middle_of_a_packet(void **state)
{
	struct life *l = *state;
	struct span big;
	struct frame f;

	login(l, 4, 1);
	big = publish_big(0, false, 0, 100 * 1000);
	device_says(l, (struct span){big.p, 80 * 1000});
	f = cloud_frame(&l->cloud);
	assert_false(f.fin);
	frame_free(&f);
	lan_fin(&l->lan);
	until(&l->rig, l->session == NULL || l->session->ended);
	while (!l->cloud.ended && l->session != NULL && cloud_read(&l->cloud))
		continue;
	assert_string_equal(life_reason(l), "device_closed");
	assert_non_null(strstr(life_log(l), "event=will_lost"));
	session_free(&l->session);
	cloud_hang_up(&l->cloud);
}

/* One of which nothing goes up can. */
static void
test_in_the_middle_of_a_packet_that_is_dropped(void **state)
{
	struct life *l = *state;
	struct span big;

	login_with(l,
	    (struct mqtt_connect){.level = 4, .clean = true, .will_qos = 1},
	    "message_max = 1000\n");
	big = publish_big(0, false, 0, 100 * 1000);
	device_says(l, (struct span){big.p, 80 * 1000});
	until(&l->rig, l->session->up_left > 0);
	lan_fin(&l->lan);
	expect_left(l, 1, "device_closed");
}

/* What the cloud says meanwhile is read, though nobody takes it. */
static void
test_the_cloud_goes_on_talking(void **state)
{
	struct life *l = *state;
	uint16_t id;

	login(l, 4, 1);
	close_device(l);
	id = expect_will(l, 1);
	cloud_says(l, publish(0, false, 0, "for nobody"));
	rig_settle(&l->rig);
	cloud_says(l, publish(1, false, 7, "for nobody"));
	rig_settle(&l->rig);
	cloud_says(l, answer(MQTT_PUBACK, id, 0));
	expect_end(l, "device_closed", true);
}

/* So it is when the link was paused for a device that did not read. */
static void
test_a_device_that_is_stuck(void **state)
{
	struct life *l = *state;
	struct span down;

	login(l, 4, 1);
	down = publish_big(0, false, 0, 60 * 1000);
	while (l->session->device.out.n == 0) {
		cloud_says(l, down);
		rig_settle(&l->rig);
	}
	assert_true(l->session->link.paused);
	adapt_fire(l, &l->session->device.timer, 600 * 1000);
	cloud_says(l, answer(MQTT_PUBACK, expect_will(l, 1), 0));
	lan_hang_up(&l->lan);
	expect_end(l, "device_stuck", true);
}

/* Behind what the device has published. */
static void
test_behind_the_queue(void **state)
{
	struct life *l = *state;

	login_with(l,
	    (struct mqtt_connect){.level = 4, .clean = true, .will_qos = 0},
	    "qos0_per_second = 1\n");
	device_says(l, publish(0, false, 0, "a"));
	device_says(l, publish(0, false, 0, "b"));
	cloud_gets(l, publish(0, false, 0, "a"));
	close_device(l);
	nothing_goes_up(l);
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	cloud_gets(l, publish(0, false, 0, "b"));
	nothing_goes_up(l);
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	(void)expect_will(l, 0);
	expect_end(l, "device_closed", true);
}

/* A long queue has a while; what is left of it then is dropped, and counted,
   and the will goes up when the limits let it. */
static void
test_behind_a_queue_that_takes_too_long(void **state)
{
	struct life *l = *state;

	for (uint8_t qos = 0; qos <= 1; qos++) {
		login_with(l,
		    (struct mqtt_connect){
			.level = 4, .clean = true, .will_qos = qos},
		    "qos0_per_second = 1\n");
		for (int i = 0; i < 4; i++)
			device_says(l, publish(0, false, 0, "a"));
		cloud_gets(l, publish(0, false, 0, "a"));
		close_device(l);
		adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
		cloud_gets(l, publish(0, false, 0, "a"));
		nothing_goes_up(l);
		adapt_fire(l, &l->session->will.end->timer,
		    PING_TIMEOUT_MS - ADAPT_WINDOW_MS);
		expect_left(l, qos, "device_closed");
		assert_non_null(strstr(life_log(l), "dropped_before=2"));
		assert_non_null(strstr(life_log(l), "qos0_dropped=2"));
	}
}

/* The rate is used up at that very moment: it still has its turn. */
static void
test_after_the_queue_and_a_full_window(void **state)
{
	struct life *l = *state;

	login_with(l,
	    (struct mqtt_connect){.level = 4, .clean = true, .will_qos = 0},
	    "qos0_per_second = 1\n");
	for (int i = 0; i < 3; i++)
		device_says(l, publish(0, false, 0, "a"));
	cloud_gets(l, publish(0, false, 0, "a"));
	close_device(l);
	adapt_fire(l, l->session->pace, PING_TIMEOUT_MS);
	cloud_gets(l, publish(0, false, 0, "a"));
	adapt_fire(l, &l->session->will.end->timer, 0);
	assert_int_equal(l->session->will.state, WILL_NEXT);
	nothing_goes_up(l);
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	(void)expect_will(l, 0);
	expect_end(l, "device_closed", true);
	assert_non_null(strstr(life_log(l), "dropped_before=1"));
}

/* The next connection of the device does not wait for the queue. */
static void
test_taken_over_with_a_queue(void **state)
{
	struct life *l = *state;

	for (int known = 0; known < 2; known++) {
		login_with(l,
		    (struct mqtt_connect){
			.level = 4, .clean = true, .will_qos = 1},
		    "qos0_per_second = 1\n");
		for (int i = 0; i < 4; i++)
			device_says(l, publish(0, false, 0, "a"));
		cloud_gets(l, publish(0, false, 0, "a"));
		if (known) {
			close_device(l);
			until(&l->rig, l->session->will.state == WILL_DUE);
			nothing_goes_up(l);
		}
		end_for(l, R_TAKEN_OVER);
		expect_left(l, 1, known ? "device_closed" : "taken_over");
		assert_non_null(strstr(life_log(l), "dropped_before=3"));
	}
}

static void
test_in_its_turn(void **state)
{
	struct life *l = *state;
	uint16_t id;

	login_with(l,
	    (struct mqtt_connect){.level = 4, .clean = true, .will_qos = 1},
	    "qos1_per_second = 1\n");
	device_says(l, publish(1, false, UINT16_MAX, "a"));
	cloud_gets(l, publish(1, false, UINT16_MAX, "a"));
	close_device(l);
	nothing_goes_up(l);
	adapt_fire(l, l->session->pace, ADAPT_WINDOW_MS);
	/* under an identifier that the device does not have in use */
	id = expect_will(l, 1);
	assert_int_not_equal(id, UINT16_MAX);
	cloud_says(l, answer(MQTT_PUBACK, UINT16_MAX, 0));
	rig_settle(&l->rig);
	assert_false(l->session->ended);
	cloud_says(l, answer(MQTT_PUBACK, id, 0));
	expect_end(l, "device_closed", true);
}

/* The device was not read, for a packet that nobody sends any more. */
static void
test_while_a_packet_waits(void **state)
{
	struct life *l = *state;

	login_with(l,
	    (struct mqtt_connect){.level = 4, .clean = true, .will_qos = 0},
	    "qos1_per_second = 1\nbytes_per_second = 1000\n");
	device_says(l, publish(1, false, 1, "a"));
	device_says(l, publish(1, false, 2, "b"));
	cloud_gets(l, publish(1, false, 1, "a"));
	until(&l->rig, l->session->held);
	end_for(l, R_DEVICE_SILENT);
	(void)expect_will(l, 0);
	expect_end(l, "device_silent", true);
}

/* Where nothing else is adapted. */
static void
test_contract_that_lacks_wills_only(void **state)
{
	struct life *l = *state;

	login(l, 4, 1);
	session_free(&l->session);
	cloud_hang_up(&l->cloud);
	login_with(l,
	    (struct mqtt_connect){.level = 4, .clean = true, .will_qos = 1},
	    "qos_max = 2\nfilters_per_subscribe = 0\ninflight_max = 0\n");
	device_says(l, publish(1, false, 7, "a"));
	cloud_gets(l, publish(1, false, 7, "a"));
	cloud_says(l, answer(MQTT_PUBACK, 7, 0));
	device_gets(l, answer(MQTT_PUBACK, 7, 0));
	close_device(l);
	expect_left(l, 1, "device_closed");
}

/* ---- reload, free ---- */

/* The device is gone: another entry is nothing to it. */
static void
test_reload_while_it_is_due(void **state)
{
	struct life *l = *state;

	for (int delayed = 0; delayed < 2; delayed++) {
		login_delayed(l, delayed ? 30 : 0, 60);
		close_device(l);
		if (!delayed)
			(void)expect_will(l, 1);
		else
			until(&l->rig, l->session->will.state == WILL_DELAYED);
		for (int i = 0; i < 3; i++) {
			struct credmap *fresh = life_map(l, NO_WILL);

			session_remap(l->session, fresh);
			assert_true(credmap_is_last_ref(fresh));
			credmap_unref(fresh);
		}
		assert_true(credmap_is_last_ref(l->map));
		if (delayed) {
			assert_int_equal(l->session->will.state, WILL_DELAYED);
			adapt_fire(l, &l->session->will.end->timer, 30 * 1000);
			(void)expect_will(l, 1);
		}
		cloud_says(
		    l, answer(MQTT_PUBACK, l->session->will.packet_id, 0));
		expect_end(l, "device_closed", true);
	}
}

/* The entry has another secret: the device is to come again, and leaves none.
 */
static void
test_reload_that_ends_the_session(void **state)
{
	struct life *l = *state;
	struct credmap *fresh;

	login(l, 4, 1);
	fresh = life_map(l, NO_WILL "password = x\n");
	session_remap(l->session, fresh);
	credmap_unref(fresh);
	expect_end(l, "entry_changed", false);
}

/* Who waits for an answer has no timer: that ends the session, and the will is
   left all the same. */
static void
test_no_memory_for_a_timer(void **state)
{
	static const uint8_t delay[] = {0x18, 0, 0, 0, 30},
			     lives[] = {0x11, 0, 0, 0, 60};
	struct life *l = *state;
	struct span subscribe;

	login_with(l,
	    (struct mqtt_connect){.level = 5,
		.properties = {lives, sizeof(lives)},
		.will_properties = {delay, sizeof(delay)}},
	    NO_WILL "filters_per_subscribe = 1\n");
	subscribe = PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
	    .packet_id = 4, .payload = SPAN_OF("\0\1t\1"));
	assert_null(l->session->pace);
	scarce_bytes = sizeof(*l->session->pace);
	device_says(l, subscribe);
	until(&l->rig, l->session->will.state == WILL_DELAYED);
	assert_int_equal(scarce_bytes, 0);
	cloud_gets(l, subscribe);
	nothing_goes_up(l);
	adapt_fire(l, &l->session->will.end->timer, 30 * 1000);
	expect_left(l, 0, "out_of_memory");
}

static void
test_freed_in_every_state(void **state)
{
	struct life *l = *state;

	for (enum will_state at = WILL_KEPT; at <= WILL_SENT; at++) {
		bool queued = at == WILL_DUE;

		if (at == WILL_DELAYED)
			login_delayed(l, 30, 60);
		else
			login_with(l,
			    (struct mqtt_connect){
				.level = 4, .clean = true, .will_qos = !queued},
			    "qos0_per_second = 1\nqos1_per_second = 1\n");
		if (queued || at == WILL_NEXT) {
			device_says(l, publish(!queued, false, !queued, ""));
			cloud_gets(l, publish(!queued, false, !queued, ""));
		}
		if (queued) {
			device_says(l, publish(0, false, 0, ""));
			nothing_goes_up(l);
		}
		if (at > WILL_KEPT)
			lan_fin(&l->lan);
		until(&l->rig, l->session->will.state == at);
		session_free(&l->session);
		assert_int_equal(l->rig.loop->kept_bytes, 0);
		device_memory_free(&l->memory);
		cloud_hang_up(&l->cloud);
	}
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, adapt_set_up, adapt_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_the_device_closes),
	    TEST(test_the_device_breaks_off),
	    TEST(test_the_device_is_silent),
	    TEST(test_a_bad_packet),
	    TEST(test_the_device_says_disconnect),
	    TEST(test_disconnect_with_will),
	    TEST(test_a_will_that_the_cloud_takes),
	    TEST(test_delay),
	    TEST(test_delay_of_a_session_that_ends),
	    TEST(test_taken_over_with_delay),
	    TEST(test_clean_start_within_the_delay),
	    TEST(test_taken_over),
	    TEST(test_taken_over_with_a_queue),
	    TEST(test_drained_while_delayed),
	    TEST(test_never_acknowledged),
	    TEST(test_the_link_is_lost),
	    TEST(test_in_the_middle_of_a_packet),
	    TEST(test_in_the_middle_of_a_packet_that_is_dropped),
	    TEST(test_the_cloud_goes_on_talking),
	    TEST(test_a_device_that_is_stuck),
	    TEST(test_behind_the_queue),
	    TEST(test_behind_a_queue_that_takes_too_long),
	    TEST(test_after_the_queue_and_a_full_window),
	    TEST(test_in_its_turn),
	    TEST(test_while_a_packet_waits),
	    TEST(test_contract_that_lacks_wills_only),
	    TEST(test_reload_while_it_is_due),
	    TEST(test_reload_that_ends_the_session),
	    TEST(test_no_memory_for_a_timer),
	    TEST(test_freed_in_every_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
