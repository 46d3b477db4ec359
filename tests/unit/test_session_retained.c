/*
 * A session whose retained messages are kept here: when they are told, how much
 * at a time, and what a reload leaves of them.
 */
#include "adapt.h"

#define STORE "retain = store\nretain_5 = no\n"
#define FREE_FLOW "qos0_per_second = 0\nqos1_per_second = 0\n"

/* "#", at QoS 0. */
static const uint8_t everything[] = {0, 1, '#', 0};

static struct span
subscribe(uint16_t id)
{
	return PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1, .packet_id = id,
	    .payload = {everything, sizeof(everything)});
}

static struct span
suback(uint16_t id)
{
	return PACKET(.header.type = MQTT_SUBACK, .packet_id = id,
	    .payload = SPAN_OF("\0"));
}

static struct span
message(bool retain, const char *topic, struct span payload)
{
	return PACKET(.header.type = MQTT_PUBLISH, .retain = retain,
	    .topic = span_of_string(topic), .payload = payload);
}

/* The device has one kept. */
static void
keep(struct life *l, const char *topic, struct span payload)
{
	device_says(l, message(true, topic, payload));
	cloud_gets(l, message(false, topic, payload));
}

/* Behind the SUBACK, once; what comes from the cloud meanwhile too. */
static void
test_told(void **state)
{
	struct life *l = *state;

	for (uint8_t level = 3; level < ADAPT_LEVELS_END; level++) {
		adapt_login(l, level, STORE);
		keep(l, "a", SPAN_OF("1"));
		device_says(l, subscribe(1));
		cloud_gets(l, subscribe(1));
		nothing_moves(l);
		cloud_says(l, suback(1));
		device_gets(l, suback(1));
		device_gets(l, message(true, "a", SPAN_OF("1")));
		nothing_moves(l);
		adapt_leave(l);
	}
}

/* Not by default. */
static void
test_cleared(void **state)
{
	struct life *l = *state;

	adapt_login(l, 4, "");
	keep(l, "a", SPAN_OF("1"));
	device_says(l, subscribe(1));
	cloud_gets(l, subscribe(1));
	cloud_says(l, suback(1));
	device_gets(l, suback(1));
	nothing_moves(l);
	assert_int_equal(l->memory.retained.n, 0);
	adapt_leave(l);
}

/* Not inside of a packet. */
static void
test_between_packets(void **state)
{
	struct life *l = *state;
	struct span down;
	struct span half;

	adapt_login(l, 4, STORE);
	keep(l, "a", SPAN_OF("1"));
	device_says(l, subscribe(1));
	cloud_gets(l, subscribe(1));
	cloud_says(l, suback(1));
	down = message(false, "d", SPAN_OF("in two pieces"));
	half = (struct span){down.p, 9};
	cloud_send(&l->cloud, WS_BINARY, false, half);
	rig_settle(&l->rig);
	device_gets(l, suback(1));
	/* the two may have come in one read, or not */
	if (l->session->retained_sent > 0) {
		device_gets(l, message(true, "a", SPAN_OF("1")));
		device_gets(l, half);
	} else {
		device_gets(l, half);
		assert_true(lan_hears_nothing(&l->lan));
	}
	half = (struct span){down.p + 9, down.n - 9};
	cloud_send(&l->cloud, WS_CONTINUATION, true, half);
	device_gets(l, half);
	if (l->session->retained_sent == 0)
		device_gets(l, message(true, "a", SPAN_OF("1")));
	until(&l->rig, l->session->retained_sent == 1);
	adapt_leave(l);
}

/* As much as it takes: never more than a message is kept for it. */
static void
test_a_device_that_does_not_read(void **state)
{
	enum { MESSAGES = 7, BYTES = 4000, SUBSCRIBES = 50 };
	static uint8_t payload[BYTES];
	struct life *l = *state;
	char topic[2] = "a";

	adapt_login(l, 4, STORE FREE_FLOW);
	for (int i = 0; i < MESSAGES; i++) {
		topic[0] = (char)('a' + i);
		keep(l, topic, (struct span){payload, BYTES});
	}
	for (uint16_t id = 1; id <= SUBSCRIBES; id++) {
		device_says(l, subscribe(id));
		cloud_gets(l, subscribe(id));
	}
	for (uint16_t id = 1; id <= SUBSCRIBES; id++)
		cloud_says(l, suback(id));
	until(&l->rig, l->session->device.out.n > 0);
	rig_settle(&l->rig);
	assert_in_range(l->session->device.out.n, 1, BYTES + SUBSCRIBES * 10);
	assert_true(l->session->retained_sent < SUBSCRIBES * MESSAGES);
	/* SUBACKs may go before what is due to those before */
	while (l->session->retained_sent < SUBSCRIBES * MESSAGES ||
	       l->session->device.out.n > 0) {
		lan_read_more(&l->lan);
		assert_in_range(
		    l->session->device.out.n, 0, BYTES + SUBSCRIBES * 10);
	}
	assert_int_equal(l->session->retained_due.kept_bytes, 0);
	session_free(&l->session);
	device_memory_free(&l->memory);
	cloud_hang_up(&l->cloud);
}

static struct span
hundred_filters(void)
{
	enum { N = 200 };
	static uint8_t list[100 * (N + 3)];

	for (size_t i = 0; i < 100; i++) {
		uint8_t *to = list + i * (N + 3);

		memset(to, 'x', N + 3);
		to[0] = 0;
		to[1] = N;
		to[N + 2] = 0;
	}
	return (struct span){list, sizeof(list)};
}

/* Too many SUBSCRIBEs wait for the cloud: the device is not read before one is
   answered. */
static void
test_many_subscribes(void **state)
{
	enum { FIT = 4 };
	static const uint8_t codes[100];
	struct life *l = *state;

	adapt_login(l, 4, STORE "filters_per_subscribe = 0\ntopic_max = 0\n");
	for (uint16_t id = 1; id <= FIT + 1; id++) {
		device_says(
		    l, PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
			   .packet_id = id, .payload = hundred_filters()));
		if (id <= FIT)
			cloud_gets(l,
			    PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
				.packet_id = id, .payload = hundred_filters()));
	}
	nothing_moves(l);
	assert_true(l->session->held);
	cloud_says(l, PACKET(.header.type = MQTT_SUBACK, .packet_id = 1,
			  .payload = {codes, sizeof(codes)}));
	cloud_gets(l, PACKET(.header.type = MQTT_SUBSCRIBE, .qos = 1,
			  .packet_id = FIT + 1, .payload = hundred_filters()));
	session_free(&l->session);
	device_memory_free(&l->memory);
	cloud_hang_up(&l->cloud);
}

/* The cloud never gets it, but it is the last word of its topic. */
static void
test_what_the_guard_drops(void **state)
{
	static uint8_t payload[900];
	struct life *l = *state;
	char topic[2] = "a";

	adapt_login(l, 4, STORE "qos0_per_second = 1\nqos0_queue = 2K\n");
	for (; topic[0] <= 'e'; topic[0]++)
		device_says(l, message(true, topic,
				   (struct span){payload, sizeof(payload)}));
	cloud_gets(
	    l, message(false, "a", (struct span){payload, sizeof(payload)}));
	nothing_moves(l);
	assert_int_equal(l->memory.retained.n, 5);
	session_free(&l->session);
	device_memory_free(&l->memory);
	cloud_hang_up(&l->cloud);
}

/* The device may retain, and names its topics. */
static void
test_connack(void **state)
{
	struct life *l = *state;
	struct frame connect;

	adapt.level = 5;
	life_use(l, "none", STORE);
	life_begin(l, 5);
	cloud_welcome(&l->cloud);
	connect = cloud_frame(&l->cloud);
	frame_free(&connect);
	cloud_says(l, SPAN_OF("\x20\x0b\0\0\x08"
			      "\x22\0\x0a" /* Topic Alias Maximum */
			      "\x25\0"     /* Retain Available */
			      "\x21\0\7"));
	device_gets(l, SPAN_OF("\x20\x06\0\0\x03\x21\0\7"));
	adapt_leave(l);
}

static void
remap(struct life *l, const char *more)
{
	struct credmap *fresh = life_map(l, more);

	session_remap(l->session, fresh);
	credmap_unref(fresh);
	rig_settle(&l->rig);
}

/* Switched off, nothing is left, also of what was about to be told. */
static void
test_reload(void **state)
{
	struct life *l = *state;

	adapt_login(l, 4, STORE);
	keep(l, "a", SPAN_OF("1"));
	device_says(l, subscribe(1));
	cloud_gets(l, subscribe(1));
	remap(l, STORE "topic_max = 100\n");
	assert_int_equal(l->memory.retained.n, 1);
	remap(l, "retain = clear\n");
	assert_true(
	    device_memory_is_empty(&l->memory) || l->memory.flow.state != NULL);
	assert_int_equal(l->memory.retained.n, 0);
	remap(l, STORE);
	keep(l, "a", SPAN_OF("2"));
	cloud_says(l, suback(1));
	device_gets(l, suback(1));
	nothing_moves(l);
	device_says(l, subscribe(2));
	cloud_gets(l, subscribe(2));
	cloud_says(l, suback(2));
	device_gets(l, suback(2));
	device_gets(l, message(true, "a", SPAN_OF("2")));
	adapt_leave(l);
}

/* Without a contract SUBSCRIBEs are not looked at: switched on, it is for those
   of the next session. */
static void
test_reload_without_a_contract(void **state)
{
	struct life *l = *state;

	adapt.level = 4;
	life_use(l, "none", "retain_3 = no\n");
	life_login(l, 4);
	remap(l, "retain_3 = no\n" STORE);
	keep(l, "a", SPAN_OF("1"));
	device_says(l, subscribe(1));
	cloud_gets(l, subscribe(1));
	cloud_says(l, suback(1));
	device_gets(l, suback(1));
	nothing_moves(l);
	device_says(l, SPAN_OF("\xe0\x00"));
	until(&l->rig, l->session->ended);
	session_free(&l->session);
	cloud_hang_up(&l->cloud);
	life_use(l, "none", "retain_3 = no\n" STORE);
	life_login(l, 4);
	device_says(l, subscribe(1));
	cloud_gets(l, subscribe(1));
	cloud_says(l, suback(1));
	device_gets(l, suback(1));
	device_gets(l, message(true, "a", SPAN_OF("1")));
	adapt_leave(l);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, adapt_set_up, adapt_tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_told),
	    TEST(test_cleared),
	    TEST(test_between_packets),
	    TEST(test_a_device_that_does_not_read),
	    TEST(test_many_subscribes),
	    TEST(test_what_the_guard_drops),
	    TEST(test_connack),
	    TEST(test_reload),
	    TEST(test_reload_without_a_contract),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
