#include "session/session.h"

#include "codec/aliyun.h"

#include "life.h"

enum { SHORT_MS = 60, LEVELS_END = 6 };

static int
set_up(void **state, bool tls)
{
	struct life *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -1;
	life_open(l, tls);
	*state = l;
	return 0;
}

static int
set_up_wss(void **state)
{
	return set_up(state, true);
}

static int
set_up_ws(void **state)
{
	return set_up(state, false);
}

static int
tear_down(void **state)
{
	struct life *l = *state;

	life_close(l);
	free(l);
	return 0;
}

/* ---- login ---- */

/* All of the device's CONNECT goes through, but for who it says it is. */
static void
test_connect_is_rewritten(void **state)
{
	struct life *l = *state;
	struct aliyun_login login;

	assert_true(credential_sign(l->entry, 0, &login));
	for (uint8_t level = 3; level < LEVELS_END; level++) {
		struct mqtt_connect sent = {.level = level,
		    .clean = level == 4,
		    .keep_alive_s = 45,
		    .client_id = SPAN_OF("pump-7"),
		    .has_will = true,
		    .will_qos = 1,
		    .will_retain = true,
		    .will_topic = SPAN_OF("gone"),
		    .will_payload = SPAN_OF("\0\xff"),
		    .has_username = true,
		    .username = SPAN_OF("local"),
		    .has_password = true,
		    .password = SPAN_OF("known here only")};
		struct mqtt_connect got;
		struct frame f;

		if (level == 5) {
			sent.properties = SPAN_OF("\x11\x00\x00\x00\x09");
			sent.will_properties = SPAN_OF("\x01\x01");
		}
		assert_true(life_try_begin(l, &sent, SPAN_OF("")));
		cloud_welcome(&l->cloud);
		f = cloud_frame(&l->cloud);
		assert_int_equal(f.opcode, WS_BINARY);
		assert_true(f.fin);
		assert_true(mqtt_connect_read(frame_span(&f), &got, NULL));
		assert_span_equal(
		    got.client_id, span_of_string(login.client_id));
		assert_true(got.has_username && got.has_password);
		assert_span_equal(got.username, SPAN_OF("pump_7&a1B2c3D4e5F"));
		assert_span_equal(got.password, span_of_string(login.password));
		assert_int_equal(got.level, level);
		assert_int_equal(got.clean, sent.clean);
		assert_int_equal(got.keep_alive_s, 45);
		assert_span_equal(got.properties, sent.properties);
		assert_true(got.has_will);
		assert_int_equal(got.will_qos, 1);
		assert_true(got.will_retain);
		assert_span_equal(got.will_topic, sent.will_topic);
		assert_span_equal(got.will_payload, sent.will_payload);
		assert_span_equal(got.will_properties, sent.will_properties);
		frame_free(&f);
		session_free(&l->session);
		cloud_hang_up(&l->cloud);
	}
	assert_null(strstr(life_log(l), login.password));
}

/* The cloud takes 30 to 1200 s only; the device is told nothing of it. */
static void
test_keep_alive_is_clamped(void **state)
{
	static const struct {
		uint16_t device_s, cloud_s;
		uint64_t silence_ms, ping_ms;
	} rows[] = {
	    {0, 300, 3600000, 60000},
	    {1, 30, 1500, 30000},
	    {30, 30, 45000, 30000},
	    {45, 45, 67500, 45000},
	    {1200, 1200, 1800000, 60000},
	    {65535, 1200, 98302500, 60000},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct mqtt_connect c = {
		    .level = 4, .keep_alive_s = rows[i].device_s};
		struct frame f;

		assert_true(life_try_begin(l, &c, SPAN_OF("")));
		cloud_welcome(&l->cloud);
		f = cloud_frame(&l->cloud);
		assert_true(mqtt_connect_read(frame_span(&f), &c, NULL));
		assert_int_equal(c.keep_alive_s, rows[i].cloud_s);
		frame_free(&f);
		cloud_say(&l->cloud, CONNACK_4);
		lan_expect(&l->lan, CONNACK_4);
		assert_int_equal(
		    l->session->device.silence_max_ms, rows[i].silence_ms);
		assert_int_equal(
		    l->session->link.ping_interval_ms, rows[i].ping_ms);
		session_free(&l->session);
		cloud_hang_up(&l->cloud);
	}
}

/* What is behind CONNECT, and behind CONNACK, is not lost: both in one piece
   with it, or cut anywhere. */
static void
test_packets_behind_the_login(void **state)
{
	static const struct span subscribe =
	    SPAN_OF("\x82\x06\x00\x01\x00\x01t\x00");
	static const struct span down =
	    SPAN_OF("\x20\x02\x01\x00\x90\x03\x00\x01\x00\x30\x04\x00\x01tx");
	struct mqtt_connect c = {.level = 4, .keep_alive_s = 60};
	struct life *l = *state;

	for (size_t cut = 0; cut <= subscribe.n; cut++) {
		struct frame f;

		assert_true(
		    life_try_begin(l, &c, (struct span){subscribe.p, cut}));
		lan_write(&l->lan,
		    (struct span){subscribe.p + cut, subscribe.n - cut});
		cloud_welcome(&l->cloud);
		f = cloud_frame(&l->cloud);
		frame_free(&f);
		assert_true(cloud_hears_nothing(&l->cloud));
		cloud_send(&l->cloud, WS_BINARY, cut % 2 == 0,
		    (struct span){down.p, cut});
		cloud_send(&l->cloud,
		    cut % 2 == 0 ? WS_BINARY : WS_CONTINUATION, true,
		    (struct span){down.p + cut, down.n - cut});
		cloud_expect(&l->cloud, WS_BINARY, true, subscribe);
		lan_expect(&l->lan, down);
		assert_true(lan_hears_nothing(&l->lan));
		session_free(&l->session);
		cloud_hang_up(&l->cloud);
	}
}

/* The cloud's refusal is passed on, then the device is closed. */
static void
test_login_refused(void **state)
{
	static const struct {
		uint8_t level;
		struct span answer;
		const char *text;
	} rows[] = {
	    {3, SPAN_OF("\x20\x02\x00\x05"), "CONNACK 5"},
	    {4, SPAN_OF("\x20\x02\x00\x04"), "device_secret"},
	    {4, SPAN_OF("\x20\x02\x00\x02"), "keep-alive range"},
	    {4, SPAN_OF("\x20\x02\x00\x01"), "does not speak this MQTT"},
	    {4, SPAN_OF("\x20\x02\x00\x03"), "cannot serve it now"},
	    {5, SPAN_OF("\x20\x03\x00\x84\x00"), "does not speak this MQTT"},
	    {5, SPAN_OF("\x20\x03\x00\x85\x00"), "keep-alive range"},
	    {5, SPAN_OF("\x20\x03\x00\x97\x00"), "cannot serve it now"},
	    {5, SPAN_OF("\x20\x03\x00\x87\x00"), "CONNACK 135"},
	    {5, SPAN_OF("\x20\x0b\x00\x86\x08\x1f\x00\x05nope\n"), "nope\\x0a"},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct frame f;

		life_begin(l, rows[i].level);
		cloud_welcome(&l->cloud);
		f = cloud_frame(&l->cloud);
		frame_free(&f);
		cloud_say(&l->cloud, rows[i].answer);
		lan_expect(&l->lan, rows[i].answer);
		lan_expect_end(&l->lan);
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "login_refused");
		assert_non_null(strstr(life_log(l), rows[i].text));
		assert_null(strstr(life_log(l), "session_up"));
	}
}

/* What the cloud says of itself stays here (MQTT 5 3.2.2.3). */
static void
test_connack_properties(void **state)
{
	/* Assigned Client Identifier, Server Keep Alive, Receive Maximum,
	   Server Reference, Topic Alias Maximum */
	static const struct span answer = SPAN_OF("\x20\x1a\x01\x00\x17"
						  "\x12\x00\x05"
						  "other"
						  "\x13\x00\x14"
						  "\x21\x00\x0a"
						  "\x1c\x00\x03"
						  "srv"
						  "\x22\x00\x05");
	static const struct {
		struct span client_id, want;
	} rows[] = {
	    {SPAN_OF("pump-7"),
		SPAN_OF("\x20\x09\x01\x00\x06\x21\x00\x0a\x22\x00\x05")},
	    /* an empty one was asked to be assigned (MQTT-3.2.2-16) */
	    {SPAN_OF(""), SPAN_OF("\x20\x12\x01\x00\x0f"
				  "\x12\x00\x06"
				  "pump-7"
				  "\x21\x00\x0a\x22\x00\x05")},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct mqtt_connect c = {.level = 5,
		    .keep_alive_s = 60,
		    .client_id = rows[i].client_id};
		struct frame f;
		size_t got = 0;

		assert_int_equal(answer.n, 28);
		assert_true(life_try_begin(l, &c, SPAN_OF("")));
		cloud_welcome(&l->cloud);
		f = cloud_frame(&l->cloud);
		frame_free(&f);
		cloud_say(&l->cloud, answer);
		/* the order of properties is free, so look at the header,
		   then for each */
		while (l->lan.in.n < rows[i].want.n)
			lan_read_more(&l->lan);
		assert_int_equal(l->lan.in.n, rows[i].want.n);
		assert_memory_equal(
		    buffer_span(&l->lan.in).p, rows[i].want.p, 5);
		for (; got < 2; got++)
			assert_non_null(
			    memmem(buffer_span(&l->lan.in).p, l->lan.in.n,
				got == 0 ? "\x21\x00\x0a" : "\x22\x00\x05", 3));
		if (i == 1)
			assert_non_null(memmem(buffer_span(&l->lan.in).p,
			    l->lan.in.n, "\x12\x00\x06pump-7", 9));
		/* MQTT-3.1.2-21: the server's keep-alive binds us */
		assert_int_equal(l->session->link.ping_interval_ms, 20000);
		assert_int_equal(l->session->device.silence_max_ms, 90000);
		session_free(&l->session);
		cloud_hang_up(&l->cloud);
	}
}

/* MQTT-3.1.2-21: the cloud's own value binds us, when it is the shorter one and
   not 0 (no keep-alive); the device is held to what it has said itself. */
static void
test_server_keep_alive(void **state)
{
	static const struct {
		struct span answer;
		uint32_t ping_ms;
	} rows[] = {
	    {SPAN_OF("\x20\x03\x00\x00\x00"), 60000},
	    {SPAN_OF("\x20\x06\x00\x00\x03\x13\x00\x00"), 60000},
	    {SPAN_OF("\x20\x06\x00\x00\x03\x13\x00\x01"), 1000},
	    {SPAN_OF("\x20\x06\x00\x00\x03\x13\x00\x3b"), 59000},
	    {SPAN_OF("\x20\x06\x00\x00\x03\x13\x00\x3c"), 60000},
	    {SPAN_OF("\x20\x06\x00\x00\x03\x13\xff\xff"), 60000},
	};
	struct mqtt_connect c = {
	    .level = 5, .keep_alive_s = 300, .client_id = SPAN_OF("pump-7")};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct frame f;

		assert_true(life_try_begin(l, &c, SPAN_OF("")));
		cloud_welcome(&l->cloud);
		f = cloud_frame(&l->cloud);
		frame_free(&f);
		cloud_say(&l->cloud, rows[i].answer);
		lan_expect(&l->lan, CONNACK_5);
		assert_true(lan_hears_nothing(&l->lan));
		assert_int_equal(
		    l->session->link.ping_interval_ms, rows[i].ping_ms);
		assert_int_equal(l->session->device.silence_max_ms, 450000);
		session_free(&l->session);
		cloud_hang_up(&l->cloud);
	}
}

/* The payloads of one message's frames, one behind the other. Free with
   buffer_free(). */
static struct buffer
message(struct cloud *c, unsigned *frames)
{
	struct buffer got = {0};
	bool fin = false;

	for (*frames = 0; !fin; ++*frames) {
		struct frame f = cloud_frame(c);

		assert_int_equal(
		    f.opcode, *frames == 0 ? WS_BINARY : WS_CONTINUATION);
		assert_true(buffer_append(&got, frame_span(&f)));
		fin = f.fin;
		frame_free(&f);
	}
	return got;
}

/* A CONNECT of more than one frame is one message all the same. */
static void
test_a_big_connect(void **state)
{
	static uint8_t topic[60 * 1000], payload[UINT16_MAX];
	struct mqtt_connect got,
	    sent = {.level = 4,
		.clean = true,
		.keep_alive_s = 60,
		.client_id = SPAN_OF("pump-7"),
		.has_will = true,
		.will_topic = {topic, sizeof(topic)},
		.will_payload = {payload, sizeof(payload)}};
	struct life *l = *state;
	struct buffer packet;
	unsigned frames;

	memset(topic, 't', sizeof(topic));
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 31 + (i >> 8));
	assert_true(life_try_begin(l, &sent, SPAN_OF("")));
	cloud_welcome(&l->cloud);
	packet = message(&l->cloud, &frames);
	assert_int_equal(frames, 2);
	assert_true(mqtt_connect_read(buffer_span(&packet), &got, NULL));
	assert_span_equal(got.username, SPAN_OF("pump_7&a1B2c3D4e5F"));
	assert_span_equal(got.will_topic, sent.will_topic);
	assert_span_equal(got.will_payload, sent.will_payload);
	buffer_free(&packet);
	cloud_say(&l->cloud, CONNACK_4);
	lan_expect(&l->lan, CONNACK_4);
}

/* A device that waits is told in its CONNACK why it cannot be served. */
static void
test_no_way_to_the_cloud(void **state)
{
	static const struct {
		uint8_t level;
		struct span want;
	} rows[] = {
	    {3, SPAN_OF("\x20\x02\x00\x03")},
	    {4, SPAN_OF("\x20\x02\x00\x03")},
	    {5, SPAN_OF("\x20\x03\x00\x88\x00")},
	};
	struct life *l = *state;
	uint16_t port;
	int fd = rig_refuse(&port);

	l->rig.port_count = 1;
	for (size_t i = 0; i < 2 * ARRAY_LENGTH(rows); i++) {
		size_t row = i / 2;

		l->rig.ports[0] = i % 2 == 0 ? port : l->cloud.port;
		life_begin(l, rows[row].level);
		if (i % 2 != 0) { /* after CONNECT, before CONNACK */
			cloud_welcome(&l->cloud);
			cloud_bye(&l->cloud);
		}
		lan_expect(&l->lan, rows[row].want);
		lan_expect_end(&l->lan);
		until(&l->rig, l->session == NULL);
		assert_string_equal(life_reason(l),
		    i % 2 == 0 ? "cloud_refused" : "cloud_closed");
	}
	(void)close(fd);
}

/* One that leaves before it is let in does not cost a login. */
static void
test_a_device_that_leaves_while_it_waits(void **state)
{
	struct life *l = *state;

	for (int i = 0; i < 2; i++) {
		life_begin(l, 4);
		cloud_accept(&l->cloud);
		if (i == 0)
			lan_fin(&l->lan);
		else
			lan_reset(&l->lan);
		until(&l->rig, l->session == NULL);
		assert_string_equal(
		    life_reason(l), i == 0 ? "device_closed" : "device_lost");
		cloud_hang_up(&l->cloud);
	}
	/* the CONNECT is out already: the cloud is told */
	life_begin(l, 4);
	cloud_welcome(&l->cloud);
	until(&l->rig, l->session->link.state == LINK_LOGIN);
	lan_fin(&l->lan);
	cloud_read_more(&l->cloud);
	buffer_free(&l->cloud.in);
	life_expect_dead(l);
}

/* One that has sent packets behind its CONNECT, and then its FIN, has left; but
   what it has sent is still delivered. */
static void
test_a_device_that_has_left(void **state)
{
	static const struct span last = SPAN_OF("\x30\x04\x00\x01tx");
	struct mqtt_connect c = {.level = 4, .keep_alive_s = 60};
	struct life *l = *state;
	struct frame f;

	assert_true(life_try_begin(l, &c, last));
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	frame_free(&f);
	assert_false(session_has_left(l->session));
	lan_fin(&l->lan);
	until(&l->rig, session_has_left(l->session));
	assert_true(cloud_hears_nothing(&l->cloud));
	cloud_say(&l->cloud, CONNACK_4);
	lan_expect(&l->lan, CONNACK_4);
	lan_expect_end(&l->lan);
	cloud_expect(&l->cloud, WS_BINARY, true, last);
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "device_closed");

	life_login(l, 4); /* one that stays has not */
	assert_false(session_has_left(l->session));
}

/* ---- packets ---- */

/* The two keep-alives are two. */
static void
test_pings(void **state)
{
	struct life *l = *state;

	l->rig.settings->ping_interval_ms = SHORT_MS;
	life_login(l, 4);
	for (int i = 0; i < 3; i++) {
		lan_write(&l->lan, SPAN_OF("\xc0\x00"));
		lan_expect(&l->lan, SPAN_OF("\xd0\x00"));
	}
	/* the first ping the cloud sees is ours, its answer ends here */
	cloud_expect(&l->cloud, WS_BINARY, true, SPAN_OF("\xc0\x00"));
	assert_true(l->session->link.ping_sent_ms != 0);
	cloud_say(&l->cloud, SPAN_OF("\xd0\x00"));
	until(&l->rig, l->session->link.ping_sent_ms == 0);
	assert_true(lan_hears_nothing(&l->lan));
	/* between two packets that pass */
	cloud_say(&l->cloud, SPAN_OF("\x40\x02\x00\x01\xd0\x00"
				     "\x40\x02\x00\x02"));
	lan_expect(&l->lan, SPAN_OF("\x40\x02\x00\x01\x40\x02\x00\x02"));
	assert_true(lan_hears_nothing(&l->lan));
}

/* A PINGRESP goes between packets, never into one. */
static void
test_pingresp_waits_for_the_end_of_a_packet(void **state)
{
	struct life *l = *state;

	life_login(l, 4);
	cloud_say(&l->cloud, SPAN_OF("\x30"));
	rig_settle(&l->rig); /* of which the device has got nothing yet */
	lan_write(&l->lan, SPAN_OF("\xc0\x00"));
	lan_expect(&l->lan, SPAN_OF("\xd0\x00"));
	cloud_say(&l->cloud, SPAN_OF("\x05\x00\x01t"));
	lan_expect(&l->lan, SPAN_OF("\x30\x05\x00\x01t"));
	lan_write(&l->lan, SPAN_OF("\xc0\x00\xc0\x00"));
	assert_true(lan_hears_nothing(&l->lan));
	cloud_say(&l->cloud, SPAN_OF("!"));
	lan_expect(&l->lan, SPAN_OF("!"));
	assert_true(lan_hears_nothing(&l->lan));
	cloud_say(&l->cloud, SPAN_OF("!"));
	lan_expect(&l->lan, SPAN_OF("!\xd0\x00\xd0\x00"));
	lan_write(&l->lan, SPAN_OF("\xc0\x00"));
	lan_expect(&l->lan, SPAN_OF("\xd0\x00"));
}

/* One packet is one message, however the bytes come; one that is too big to be
   kept travels in fragments. */
static void
test_packet_and_message(void **state)
{
	enum { BIG = 400 * 1000 };
	static uint8_t packet[BIG + MQTT_HEADER_MAX];
	struct life *l = *state;
	struct buffer got;
	unsigned fragments;
	size_t n;

	life_login(l, 4);
	lan_write(&l->lan, SPAN_OF("\x40\x02\x00\x01\x40\x02"));
	cloud_expect(&l->cloud, WS_BINARY, true, SPAN_OF("\x40\x02\x00\x01"));
	assert_true(cloud_hears_nothing(&l->cloud));
	lan_write(&l->lan, SPAN_OF("\x00\x02\x40\x02\x00\x03"));
	cloud_expect(&l->cloud, WS_BINARY, true, SPAN_OF("\x40\x02\x00\x02"));
	cloud_expect(&l->cloud, WS_BINARY, true, SPAN_OF("\x40\x02\x00\x03"));

	n = mqtt_header_write(packet, 0x30, BIG);
	for (size_t i = 0; i < BIG; i++)
		packet[n + i] = (uint8_t)(i * 31 + (i >> 8));
	memcpy(packet + n, "\x00\x01t", 3);
	n += BIG;
	{
		struct span rest = {packet, n};

		until(&l->rig,
		    (cloud_read(&l->cloud), lan_try_write(&l->lan, &rest)));
	}
	got = message(&l->cloud, &fragments);
	assert_true(fragments > 1);
	assert_span_equal(buffer_span(&got), ((struct span){packet, n}));
	buffer_free(&got);
	assert_int_equal(l->session->up.packets, 4);
	assert_int_equal(l->session->up.bytes, n + 12);
	/* and a small one behind it is a message of its own again */
	lan_write(&l->lan, SPAN_OF("\x40\x02\x00\x04"));
	cloud_expect(&l->cloud, WS_BINARY, true, SPAN_OF("\x40\x02\x00\x04"));
}

/* The head of a PUBLISH that is too big to be kept: topic, identifier and a
   user property. Nothing of it goes on before all of it was seen. */
#define PUBLISH_HEAD                                                           \
	"\x00\x04"                                                             \
	"a/b/"                                                                 \
	"\x01\x02"                                                             \
	"\x07\x26\x00\x01k\x00\x01v"

static void
test_a_head_byte_by_byte_from_the_device(void **state)
{
	enum { BIG = 256 * 1024 };
	static const struct span head =
	    SPAN_OF("\x32\x80\x80\x10" PUBLISH_HEAD);
	static uint8_t packet[4 + BIG];
	struct life *l = *state;
	struct span rest = {packet + head.n, sizeof(packet) - head.n};
	struct buffer got;
	unsigned frames;

	memcpy(packet, head.p, head.n);
	for (size_t i = head.n; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i * 31 + (i >> 8));
	life_login(l, 5);
	for (size_t i = 0; i < head.n; i++) {
		assert_true(cloud_hears_nothing(&l->cloud));
		lan_write(&l->lan, (struct span){packet + i, 1});
	}
	cloud_read_more(&l->cloud);
	until(&l->rig, (cloud_read(&l->cloud), lan_try_write(&l->lan, &rest)));
	got = message(&l->cloud, &frames);
	assert_true(frames > 1);
	assert_span_equal(
	    buffer_span(&got), ((struct span){packet, sizeof(packet)}));
	buffer_free(&got);
}

/* The same downwards, in messages of a byte each; a device that pings meanwhile
   gets its answer before it. */
static void
test_a_head_byte_by_byte_from_the_cloud(void **state)
{
	static const struct span packet =
	    SPAN_OF("\x32\x14" PUBLISH_HEAD "load");
	struct life *l = *state;
	size_t i = 0;

	assert_int_equal(packet.n, 0x14 + 2);
	life_login(l, 5);
	for (; i < packet.n - 4; i++) {
		assert_true(lan_hears_nothing(&l->lan));
		if (i == 6) { /* in the middle of the topic */
			lan_write(&l->lan, SPAN_OF("\xc0\x00"));
			lan_expect(&l->lan, SPAN_OF("\xd0\x00"));
		}
		cloud_say(&l->cloud, (struct span){packet.p + i, 1});
	}
	lan_expect(&l->lan, ((struct span){packet.p, i}));
	for (; i < packet.n; i++) {
		cloud_say(&l->cloud, (struct span){packet.p + i, 1});
		lan_expect(&l->lan, ((struct span){packet.p + i, 1}));
	}
	assert_null(l->session->gather.p);
	/* and the next one does not wait */
	cloud_say(&l->cloud, SPAN_OF("\x40\x02\x00\x01"));
	lan_expect(&l->lan, SPAN_OF("\x40\x02\x00\x01"));
	assert_int_equal(l->session->down.packets, 3);
	assert_int_equal(l->session->down.bytes, packet.n + 5 + 4);
}

/* But no head is kept for ever: of a device what [limits] session_buffer lets
   it, of the cloud 64 KiB. */
static void
test_a_head_that_does_not_end(void **state)
{
	enum { KEPT = 4096, NAME = 60 * 1000 };
	/* two user properties with such names, of which this is one */
	static const struct span start = SPAN_OF("\x30\x80\x80\x10\x00\x01"
						 "a\xca\xa9\x07"
						 "\x26\xea\x60");
	static const struct span next = SPAN_OF("\x00\x00\x26\xea\x60");
	static uint8_t name[NAME];
	uint64_t buffer_bytes;
	struct life *l = *state;

	memset(name, 'k', sizeof(name));
	buffer_bytes = l->rig.settings->session_buffer_bytes;
	l->rig.settings->session_buffer_bytes = UINT64_C(4) * KEPT;
	life_login(l, 5);
	lan_write(&l->lan, start);
	lan_write(&l->lan, (struct span){name, KEPT - start.n - 1});
	assert_true(lan_hears_nothing(&l->lan));
	assert_true(cloud_hears_nothing(&l->cloud));
	lan_write(&l->lan, SPAN_OF("k"));
	lan_expect(&l->lan, SPAN_OF("\xe0\x01\x95"));
	lan_expect_end(&l->lan);
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "packet_too_big");
	assert_non_null(strstr(life_log(l), "topic and properties"));

	l->rig.settings->session_buffer_bytes = buffer_bytes;
	life_login(l, 5);
	cloud_say(&l->cloud, start);
	cloud_say(&l->cloud, (struct span){name, NAME});
	cloud_say(&l->cloud, next);
	cloud_say(&l->cloud,
	    (struct span){name, 64 * 1024 - start.n - NAME - next.n});
	assert_true(lan_hears_nothing(&l->lan));
	assert_int_equal(l->session->gather.n, 64 * 1024);
	cloud_say(&l->cloud, SPAN_OF("k"));
	lan_expect(&l->lan, SPAN_OF("\xe0\x01\x89"));
	lan_expect_end(&l->lan);
	cloud_expect(&l->cloud, WS_CLOSE, true, SPAN_OF("\x03\xea"));
	cloud_bye(&l->cloud);
	until(&l->rig, l->session == NULL);
	assert_string_equal(life_reason(l), "bad_cloud_packet");
	assert_non_null(strstr(life_log(l), "over 64 KiB"));
}

/* [limits] packet_max is of the whole packet. */
static void
test_packet_max(void **state)
{
	enum { MAX = 300 };
	static uint8_t packet[MAX + 1];
	struct life *l = *state;

	l->rig.settings->packet_max_bytes = MAX;
	for (uint8_t level = 3; level < LEVELS_END; level++) {
		size_t n = mqtt_header_write(packet, 0x30, MAX - 3);

		memcpy(packet + n, "\x00\x01t", 3);
		life_login(l, level);
		lan_write(&l->lan, (struct span){packet, MAX});
		cloud_expect(
		    &l->cloud, WS_BINARY, true, ((struct span){packet, MAX}));
		(void)mqtt_header_write(packet, 0x30, MAX - 2);
		lan_write(&l->lan, (struct span){packet, MAX + 1});
		if (level == 5)
			lan_expect(&l->lan, SPAN_OF("\xe0\x01\x95"));
		lan_expect_end(&l->lan);
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "packet_too_big");
		assert_non_null(
		    strstr(life_log(l), "301 bytes announced, 300 allowed"));
	}
}

/* A reload makes the buffer smaller than what is kept of a packet: that goes on
   in fragments. */
static void
test_a_smaller_buffer(void **state)
{
	enum { BYTES = 12 * 1000 };
	static uint8_t packet[BYTES];
	struct life *l = *state;
	struct buffer got;
	unsigned frames;
	size_t n = mqtt_header_write(packet, 0x30, BYTES - 3);

	for (size_t i = n; i < BYTES; i++)
		packet[i] = (uint8_t)(i * 31 + (i >> 8));
	memcpy(packet + n, "\x00\x01t", 3);
	life_login(l, 4);
	lan_write(&l->lan, (struct span){packet, BYTES / 2});
	assert_true(cloud_hears_nothing(&l->cloud));
	l->rig.settings->session_buffer_bytes = BYTES;
	lan_write(&l->lan, (struct span){packet + BYTES / 2, BYTES / 2});
	got = message(&l->cloud, &frames);
	assert_true(frames > 1);
	assert_span_equal(buffer_span(&got), ((struct span){packet, BYTES}));
	buffer_free(&got);
}

/* ---- ends ---- */

static void
test_the_device_says_disconnect(void **state)
{
	static const struct span words[] = {SPAN_OF("\xe0\x00"),
	    SPAN_OF("\xe0\x01\x04")}; /* with the will, at level 5 */
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
		life_login(l, i == 0 ? 4 : 5);
		lan_write(&l->lan, SPAN_OF("\x40\x02\x00\x01"));
		lan_write(&l->lan, words[i]);
		cloud_expect(
		    &l->cloud, WS_BINARY, true, SPAN_OF("\x40\x02\x00\x01"));
		cloud_expect(&l->cloud, WS_BINARY, true, words[i]);
		lan_expect_end(&l->lan);
		cloud_expect(&l->cloud, WS_CLOSE, true, SPAN_OF("\x03\xe8"));
		cloud_send_close(&l->cloud, WS_CLOSE_NORMAL);
		until(&l->rig, l->session == NULL);
		assert_string_equal(life_reason(l), "device_left");
		assert_non_null(strstr(life_log(l), "up_packets=2 "));
	}
}

/* Nothing behind a DISCONNECT is looked at (MQTT-3.14.4-2). */
static void
test_packets_behind_disconnect(void **state)
{
	struct life *l = *state;

	life_login(l, 4);
	lan_write(&l->lan, SPAN_OF("\xe0\x00\x40\x02\x00\x01\x00\x00"));
	cloud_expect(&l->cloud, WS_BINARY, true, SPAN_OF("\xe0\x00"));
	lan_expect_end(&l->lan);
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "device_left");
	assert_non_null(strstr(life_log(l), "up_packets=1 up_bytes=2 "));
}

/* The cloud has a part of a PUBLISH already: its message never ends, so nobody
   takes it for a whole one. */
static void
test_the_device_closes_in_the_middle_of_a_packet(void **state)
{
	static uint8_t half[100 * 1000];
	struct life *l = *state;
	struct frame f;
	size_t n = 0;

	memcpy(half, "\x30\x80\x80\x10\x00\x01t", 7);
	life_login(l, 4);
	lan_write(&l->lan, (struct span){half, sizeof(half)});
	lan_fin(&l->lan);
	while ((f = cloud_frame(&l->cloud)).opcode != WS_CLOSE) {
		assert_false(f.fin);
		n += f.n;
		frame_free(&f);
	}
	frame_free(&f);
	assert_int_equal(n, sizeof(half));
	cloud_send_close(&l->cloud, WS_CLOSE_NORMAL);
	lan_expect_end(&l->lan);
	until(&l->rig, l->session == NULL);
	assert_string_equal(life_reason(l), "device_closed");
	assert_non_null(strstr(life_log(l), "in the middle of a packet"));
}

/* It breaks the connection, and the cloud's bytes show it first. */
static void
test_a_reset_while_the_cloud_speaks(void **state)
{
	static const struct span auth =
	    SPAN_OF("\xf0\x06\x18\x04\x15\x00\x01m\x20\x03\x00\x00\x00");
	struct life *l = *state;

	for (int i = 0; i < 2; i++) {
		if (i == 0) {
			struct frame f;

			life_begin(l, 5);
			cloud_welcome(&l->cloud);
			f = cloud_frame(&l->cloud);
			frame_free(&f);
		} else {
			life_login(l, 5);
		}
		cloud_say(
		    &l->cloud, i == 0 ? auth : SPAN_OF("\x40\x02\x00\x01"));
		lan_reset(&l->lan);
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "device_lost");
		/* it never was up, or has been */
		if (i == 0)
			assert_null(strstr(life_log(l), "event=session_up "));
	}
}

/* One that leaves without: no DISCONNECT is made up for it, so that the cloud
   sends its will. */
static void
test_the_device_leaves_without_disconnect(void **state)
{
	struct life *l = *state;

	for (int i = 0; i < 2; i++) {
		life_login(l, 4);
		if (i == 0)
			lan_fin(&l->lan);
		else
			lan_reset(&l->lan);
		life_expect_dead(l);
		assert_string_equal(
		    life_reason(l), i == 0 ? "device_closed" : "device_lost");
	}
}

/* What a device must not send ends its session; at level 5 it is told why, and
   nothing of it reaches the cloud. */
static void
test_bad_packets_of_the_device(void **state)
{
	static const struct {
		struct span sent;
		const char *reason;
		uint8_t code;
	} rows[] = {
	    {SPAN_OF("\x10\x10"), "second_connect", 0x82},
	    {SPAN_OF("\x20\x02\x00\x00"), "bad_packet", 0x81},
	    {SPAN_OF("\x00\x00"), "bad_packet", 0x81},
	    {SPAN_OF("\x90\x03\x00\x01\x00"), "bad_packet", 0x81},
	    {SPAN_OF("\xd0\x00"), "bad_packet", 0x81},
	    {SPAN_OF("\xc0\x01x"), "bad_packet", 0x81},
	    {SPAN_OF("\x36\x05"), "bad_packet", 0x81},
	    /* over what can be kept: a PUBLISH with a wildcard in its topic,
	       and a SUBSCRIBE */
	    {SPAN_OF("\x30\x80\x80\x10\x00\x03t/#"), "bad_packet", 0x81},
	    {SPAN_OF("\x82\x80\x80\x10"), "packet_too_big", 0x95},
	    {SPAN_OF("\x30\xff\xff\xff\xff"), "bad_packet", 0x81},
	    {SPAN_OF("\x30\xff\xff\xff\x7f"), "packet_too_big", 0x95},
	};
	struct life *l = *state;

	for (size_t i = 0; i < 2 * ARRAY_LENGTH(rows); i++) {
		uint8_t level = i % 2 == 0 ? 4 : 5;
		uint8_t words[] = {0xe0, 1, rows[i / 2].code};

		life_login(l, level);
		lan_write(&l->lan, SPAN_OF("\x40\x02\x00\x01"));
		lan_write(&l->lan, rows[i / 2].sent);
		if (level == 5)
			lan_expect(
			    &l->lan, ((struct span){words, sizeof(words)}));
		lan_expect_end(&l->lan);
		cloud_expect(
		    &l->cloud, WS_BINARY, true, SPAN_OF("\x40\x02\x00\x01"));
		life_expect_dead(l);
		assert_string_equal(life_reason(l), rows[i / 2].reason);
	}
	life_login(l, 4); /* AUTH is of level 5 */
	lan_write(&l->lan, SPAN_OF("\xf0\x00"));
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "bad_packet");
	/* the log shows how it began, not all of it */
	life_login(l, 4);
	lan_write(&l->lan, SPAN_OF("\0not MQTT, but longer"));
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "bad_packet");
	assert_non_null(
	    strstr(life_log(l), "it begins with \\x00not MQTT, but l\""));
}

/* What the cloud must not send ends it, too; with a word to both. */
static void
test_bad_packets_of_the_cloud(void **state)
{
	static const struct {
		struct span sent;
		bool before_login;
		enum ws_opcode opcode;
		const char *reason;
		struct span close;
	} rows[] = {
	    {SPAN_OF("\x00\x00"), false, WS_BINARY, "bad_cloud_packet",
		SPAN_OF("\x03\xea")},
	    {SPAN_OF("\xc0\x00"), false, WS_BINARY, "bad_cloud_packet",
		SPAN_OF("\x03\xea")},
	    {SPAN_OF("\x20\x02\x00\x00"), false, WS_BINARY, "bad_cloud_packet",
		SPAN_OF("\x03\xea")},
	    {SPAN_OF("\xe0\x00"), false, WS_BINARY, "bad_cloud_packet",
		SPAN_OF("\x03\xea")}, /* of level 5 */
	    {SPAN_OF("\x40\x02\x00\x01"), false, WS_TEXT, "text_message",
		SPAN_OF("\x03\xeb")},
	    {SPAN_OF("\x30\x04\x00\x01tx"), true, WS_BINARY, "bad_cloud_packet",
		SPAN_OF("\x03\xea")},
	    {SPAN_OF("\xd0\x00"), true, WS_BINARY, "bad_cloud_packet",
		SPAN_OF("\x03\xea")},
	    {SPAN_OF("\x20\x01\x00"), true, WS_BINARY, "bad_cloud_packet",
		SPAN_OF("\x03\xea")},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		if (rows[i].before_login) {
			struct frame f;

			life_begin(l, 4);
			cloud_welcome(&l->cloud);
			f = cloud_frame(&l->cloud);
			frame_free(&f);
		} else {
			life_login(l, 4);
			cloud_say(&l->cloud, SPAN_OF("\x40\x02\x00\x01"));
			lan_expect(&l->lan, SPAN_OF("\x40\x02\x00\x01"));
		}
		cloud_send(&l->cloud, rows[i].opcode, true, rows[i].sent);
		if (rows[i].before_login)
			lan_expect(&l->lan, SPAN_OF("\x20\x02\x00\x03"));
		lan_expect_end(&l->lan);
		cloud_expect(&l->cloud, WS_CLOSE, true, rows[i].close);
		cloud_send_close(&l->cloud, WS_CLOSE_NORMAL);
		until(&l->rig, l->session == NULL);
		assert_string_equal(life_reason(l), rows[i].reason);
	}
}

/* A control packet is kept until it is whole, but not any number of bytes. */
static void
test_an_endless_connack(void **state)
{
	static const uint8_t zeroes[40 * 1000];
	struct life *l = *state;
	struct frame f;

	life_begin(l, 5);
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	frame_free(&f);
	cloud_say(&l->cloud, SPAN_OF("\x20\xff\xff\xff\x7f"));
	for (int i = 0; i < 2; i++)
		cloud_say(&l->cloud, (struct span){zeroes, sizeof(zeroes)});
	lan_expect(&l->lan, SPAN_OF("\x20\x03\x00\x88\x00"));
	lan_expect_end(&l->lan);
	cloud_expect(&l->cloud, WS_CLOSE, true, SPAN_OF("\x03\xea"));
	cloud_bye(&l->cloud);
	until(&l->rig, l->session == NULL);
	assert_string_equal(life_reason(l), "bad_cloud_packet");
}

/* MQTT 5 4.12: AUTH goes to and fro before the CONNACK, nothing else does. */
static void
test_extended_authentication(void **state)
{
	static const struct span auth =
	    SPAN_OF("\xf0\x06\x18\x04\x15\x00\x01m");
	struct life *l = *state;

	for (int i = 0; i < 3; i++) {
		struct frame f;

		life_begin(l, 5);
		cloud_welcome(&l->cloud);
		f = cloud_frame(&l->cloud);
		frame_free(&f);
		cloud_say(&l->cloud, auth);
		lan_expect(&l->lan, auth);
		lan_write(&l->lan, auth);
		cloud_expect(&l->cloud, WS_BINARY, true, auth);
		if (i == 0) {
			cloud_say(&l->cloud, CONNACK_5);
			lan_expect(&l->lan, CONNACK_5);
			lan_write(&l->lan, SPAN_OF("\xc0\x00"));
			lan_expect(&l->lan, SPAN_OF("\xd0\x00"));
			lan_write(&l->lan, SPAN_OF("\xe0\x00"));
			cloud_expect(
			    &l->cloud, WS_BINARY, true, SPAN_OF("\xe0\x00"));
		} else if (i == 1) {
			lan_write(&l->lan, SPAN_OF("\x40\x02\x00\x01"));
		} else { /* it gives up */
			lan_write(&l->lan, SPAN_OF("\xe0\x00"));
			cloud_expect(
			    &l->cloud, WS_BINARY, true, SPAN_OF("\xe0\x00"));
			lan_expect_end(&l->lan);
		}
		life_expect_dead(l);
		assert_string_equal(
		    life_reason(l), i == 1 ? "bad_packet" : "device_left");
	}
}

/* MQTT 5 4.12.1: and after it, both ways, among other packets. The shortest one
   says success, and may come in two pieces. */
static void
test_authentication_again(void **state)
{
	static const struct span from_device =
	    SPAN_OF("\xf0\x06\x19\x04\x15\x00\x01m");
	static const struct span from_cloud =
	    SPAN_OF("\xf0\x06\x18\x04\x15\x00\x01m");
	struct life *l = *state;

	life_login(l, 5);
	lan_write(&l->lan, from_device);
	cloud_expect(&l->cloud, WS_BINARY, true, from_device);
	cloud_say(&l->cloud, from_cloud);
	lan_expect(&l->lan, from_cloud);
	cloud_say(&l->cloud, SPAN_OF("\x40\x02\x00\x01\xf0"));
	lan_expect(&l->lan, SPAN_OF("\x40\x02\x00\x01"));
	assert_true(lan_hears_nothing(&l->lan));
	/* its frame's header comes alone, so the rest begins a read */
	cloud_write(&l->cloud, SPAN_OF("\x82\x05"));
	assert_true(lan_hears_nothing(&l->lan));
	cloud_write(&l->cloud, SPAN_OF("\x00\x40\x02\x00\x02"));
	lan_expect(&l->lan, SPAN_OF("\xf0\x00\x40\x02\x00\x02"));
	assert_true(lan_hears_nothing(&l->lan));
	assert_int_equal(l->session->device.state, DEVICE_ONLINE);
}

/* MQTT 5: the device gets the cloud's reason, unless it speaks of other
   servers. At lower levels the cloud just closes. */
static void
test_the_cloud_disconnects(void **state)
{
	static const struct {
		struct span sent, want;
	} rows[] = {
	    {SPAN_OF("\xe0\x01\x8e"), SPAN_OF("\xe0\x01\x8e")},
	    {SPAN_OF("\xe0\x06\x97\x04\x1c\x00\x01s"), SPAN_OF("\xe0\x01\x97")},
	    {SPAN_OF("\xe0\x01\x9d"), SPAN_OF("\xe0\x01\x89")},
	    {SPAN_OF("\xe0\x12\x9c\x10\x26\x00\x01k\x00\x01v"
		     "\x1c\x00\x01s\x1f\x00\x02go"),
		SPAN_OF("\xe0\x0e\x89\x0c\x26\x00\x01k\x00\x01v"
			"\x1f\x00\x02go")},
	    {SPAN_OF("\xe0\x00"), SPAN_OF("\xe0\x00")},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		life_login(l, 5);
		cloud_say(&l->cloud, SPAN_OF("\x40\x02\x00\x01"));
		cloud_say(&l->cloud, rows[i].sent);
		lan_expect(&l->lan, SPAN_OF("\x40\x02\x00\x01"));
		lan_expect(&l->lan, rows[i].want);
		lan_expect_end(&l->lan);
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "cloud_closed");
	}
	for (uint8_t level = 4; level <= 5; level++) {
		life_login(l, level);
		cloud_say(&l->cloud, SPAN_OF("\x40\x02\x00\x01"));
		cloud_bye(&l->cloud);
		lan_expect(&l->lan, SPAN_OF("\x40\x02\x00\x01"));
		if (level == 5)
			lan_expect(&l->lan, SPAN_OF("\xe0\x01\x89"));
		lan_expect_end(&l->lan);
		until(&l->rig, l->session == NULL);
	}
	/* inside a packet nothing may be said */
	life_login(l, 5);
	cloud_say(&l->cloud, SPAN_OF("\x30\x06\x00\x01t\x00"));
	cloud_bye(&l->cloud);
	lan_expect(&l->lan, SPAN_OF("\x30\x06\x00\x01t\x00"));
	lan_expect_end(&l->lan);
	until(&l->rig, l->session == NULL);
}

static void
test_ended_from_outside(void **state)
{
	static const struct {
		enum reason why;
		struct span connack_4, disconnect_5, close;
	} rows[] = {
	    {R_DRAINING, SPAN_OF("\x20\x02\x00\x03"), SPAN_OF("\xe0\x01\x8b"),
		SPAN_OF("\x03\xe9")},
	    {R_TAKEN_OVER, SPAN_OF("\x20\x02\x00\x03"), SPAN_OF("\xe0\x01\x8e"),
		SPAN_OF("\x03\xe8")},
	    {R_ENTRY_REMOVED, SPAN_OF("\x20\x02\x00\x05"),
		SPAN_OF("\xe0\x01\x87"), SPAN_OF("\x03\xe8")},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct fault why;

		(void)fault_set(&why, rows[i].why, "%s", "");
		life_begin(l, 4);
		cloud_accept(&l->cloud);
		session_end(l->session, &why);
		session_end(l->session, &why); /* the first one wins */
		lan_expect(&l->lan, rows[i].connack_4);
		lan_expect_end(&l->lan);
		until(&l->rig, l->session == NULL);
		assert_string_equal(life_reason(l), reason_word(rows[i].why));

		life_login(l, 5);
		session_end(l->session, &why);
		lan_expect(&l->lan, rows[i].disconnect_5);
		lan_expect_end(&l->lan);
		cloud_expect(&l->cloud, WS_CLOSE, true, rows[i].close);
		cloud_send_close(&l->cloud, WS_CLOSE_NORMAL);
		until(&l->rig, l->session == NULL);
		assert_string_equal(life_reason(l), reason_word(rows[i].why));
	}
}

/* A new map: an entry that did not change is not disturbed, and the old map is
   let go. */
static void
test_remap(void **state)
{
	static const struct {
		const char *more;
		const char *reason; /* NULL: goes on */
	} rows[] = {
	    {"", NULL},
	    {"match_client_id = another\n", NULL},
	    {"password = x\n", "entry_changed"},
	    {"client_id = other\n", "entry_changed"},
	    {"path = /other\n", "entry_changed"},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct credmap *fresh = life_map(l, rows[i].more);

		life_login(l, 5);
		session_remap(l->session, fresh);
		if (rows[i].reason != NULL) {
			lan_expect(&l->lan, SPAN_OF("\xe0\x01\x8b"));
			lan_expect_end(&l->lan);
			life_expect_dead(l);
			assert_string_equal(life_reason(l), rows[i].reason);
		} else {
			/* nobody but the session holds the maps now */
			credmap_unref(l->map);
			l->map = credmap_ref(fresh);
			l->entry = credmap_at(l->map, 0);
			assert_ptr_equal(l->session->entry, l->entry);
			assert_ptr_equal(l->session->link.target, l->entry);
			lan_write(&l->lan, SPAN_OF("\x40\x02\x00\x01"));
			cloud_expect(&l->cloud, WS_BINARY, true,
			    SPAN_OF("\x40\x02\x00\x01"));
			session_free(&l->session);
			cloud_hang_up(&l->cloud);
		}
		credmap_unref(fresh);
	}
}

/* A session that has ended keeps its map until it is dead. */
static void
test_remap_when_ended(void **state)
{
	struct life *l = *state;
	struct credmap *fresh = life_map(l, "path = /other\n");
	struct fault why;

	(void)fault_set(&why, R_DRAINING, "%s", "");
	life_login(l, 4);
	session_end(l->session, &why);
	session_remap(l->session, fresh);
	session_remap(l->session, l->map);
	credmap_unref(fresh);
	assert_ptr_equal(l->session->entry, l->entry);
	life_expect_dead(l);
	assert_string_equal(life_reason(l), "draining");
}

/* Freed at once in every state, nothing is left. */
static void
test_freed_in_every_state(void **state)
{
	struct life *l = *state;

	for (int i = 0; i <= LINK_CLOSING; i++) {
		struct fault why;

		life_begin(l, 4);
		if (i >= LINK_TLS)
			cloud_accept(&l->cloud);
		if (i >= LINK_UPGRADE)
			assert_true(cloud_handshake(&l->cloud));
		if (i >= LINK_LOGIN) {
			cloud_switch(&l->cloud);
			until(&l->rig, l->session->link.state == LINK_LOGIN);
		}
		if (i >= LINK_UP) {
			cloud_say(&l->cloud, CONNACK_4);
			lan_expect(&l->lan, CONNACK_4);
		}
		(void)fault_set(&why, R_DRAINING, "%s", "");
		if (i == LINK_CLOSING)
			session_end(l->session, &why);
		session_free(&l->session);
		lan_hang_up(&l->lan);
		cloud_hang_up(&l->cloud);
		rig_settle(&l->rig);
	}
}

/* ---- back-pressure ---- */

static uint8_t
pattern(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 9));
}

/* PUBLISH of <n> bytes in all, its payload the pattern from <from>. */
static struct span
publish(uint8_t *out, size_t n, size_t from)
{
	size_t head;

	assert_true(n >= 200 && n < 16384);
	head = mqtt_header_write(out, 0x30, (uint32_t)(n - 3));
	assert_int_equal(head, 3);
	memcpy(out + 3, "\x00\x01t", 3);
	for (size_t i = 6; i < n; i++)
		out[i] = pattern(from + i);
	return (struct span){out, n};
}

enum { PUBLISH_BYTES = 8000 };

/* The cloud takes nothing: the device is read until the bound, not beyond;
   then all of it comes, in order. */
static void
test_the_cloud_is_slow(void **state)
{
	static uint8_t packet[PUBLISH_BYTES];
	struct life *l = *state;
	size_t sent = 0, got = 0;
	uint64_t kept_max = l->rig.settings->session_buffer_bytes;
	struct span rest = {NULL, 0};
	int turns_without = 0;

	life_login(l, 4);
	while (turns_without < 50) { /* until nothing moves any more */
		if (rest.n == 0)
			rest = publish(packet, PUBLISH_BYTES, sent++);
		turns_without++;
		if (lan_try_write(&l->lan, &rest))
			turns_without = 0;
		rig_turn(&l->rig);
		assert_true(l->rig.loop->kept_bytes <= kept_max);
		assert_true(sent < 10000);
	}
	assert_true(l->session->device.paused);
	assert_true(l->session->link.kept.n > 0);
	while (got < sent) {
		static uint8_t want[PUBLISH_BYTES];
		struct frame f;

		while (!cloud_try_frame(&l->cloud, &f)) {
			if (rest.n > 0)
				(void)lan_try_write(&l->lan, &rest);
			until(&l->rig,
			    cloud_read(&l->cloud) ||
				(rest.n > 0 && lan_try_write(&l->lan, &rest)));
		}
		assert_span_equal(
		    frame_span(&f), publish(want, PUBLISH_BYTES, got++));
		frame_free(&f);
	}
	assert_false(l->session->device.paused);
	lan_write(&l->lan, SPAN_OF("\xc0\x00"));
	lan_expect(&l->lan, SPAN_OF("\xd0\x00"));
}

/* The device takes nothing: the cloud is read until the bound, not beyond. */
static void
test_the_device_is_slow(void **state)
{
	static uint8_t packet[PUBLISH_BYTES], want[PUBLISH_BYTES];
	static uint8_t frame[WS_HEADER_MAX + PUBLISH_BYTES];
	struct life *l = *state;
	size_t sent = 0, got = 0, n;
	uint64_t kept_max = l->rig.settings->session_buffer_bytes;
	struct span rest = {NULL, 0};
	int turns_without = 0;

	life_login(l, 4);
	while (turns_without < 50) {
		ssize_t put;

		if (rest.n == 0) {
			n = cloud_frame_write(frame, WS_BINARY, true,
			    publish(packet, PUBLISH_BYTES, sent++));
			rest = (struct span){frame, n};
		}
		put = l->cloud.ssl != NULL
			  ? SSL_write(l->cloud.ssl, rest.p, (int)rest.n)
			  : send(l->cloud.fd, rest.p, rest.n, MSG_NOSIGNAL);
		turns_without = put > 0 ? 0 : turns_without + 1;
		if (put > 0) {
			rest.p += put;
			rest.n -= (size_t)put;
		}
		rig_turn(&l->rig);
		assert_true(l->rig.loop->kept_bytes <= kept_max);
		assert_true(sent < 10000);
	}
	assert_true(l->session->link.paused);
	assert_true(l->session->device.out.n > 0);
	/* the device's own packets still go up, and its pings wait */
	lan_write(&l->lan, SPAN_OF("\x40\x02\x00\x01\xc0\x00"));
	cloud_expect(&l->cloud, WS_BINARY, true, SPAN_OF("\x40\x02\x00\x01"));
	while (got < sent) {
		while (l->lan.in.n < PUBLISH_BYTES) {
			if (got + 1 == sent) { /* the one under way */
				cloud_write(&l->cloud, rest);
				rest.n = 0;
			}
			lan_read_more(&l->lan);
		}
		(void)publish(want, PUBLISH_BYTES, got++);
		/* a PINGRESP may stand between */
		if (buffer_span(&l->lan.in).p[0] == 0xd0)
			lan_expect(&l->lan, SPAN_OF("\xd0\x00"));
		lan_expect(&l->lan, ((struct span){want, PUBLISH_BYTES}));
	}
	until(&l->rig, !l->session->link.paused);
}

/* ---- random streams ---- */

enum { STREAM_PACKETS = 60 * 1000, STREAM_SIZES = 7 };

static uint32_t
next_random(uint32_t *x)
{
	*x = *x * 1664525 + 1013904223;
	return *x >> 8;
}

/* Random packets of types that pass through in one direction, made again from
   the same seed to be compared. */
struct maker {
	uint32_t random;
	uint32_t packet_random; /* of the bytes of the one under way */
	unsigned left;
	bool down;
	unsigned pings; /* among them */
};

static struct span
make_packet(struct maker *m, uint8_t *out)
{
	static const uint8_t passing[] = {0x40, 0x50, 0x62, 0x70};
	uint32_t kind = next_random(&m->random) % 16;
	uint32_t size = next_random(&m->random);
	size_t n;

	m->left--;
	if (kind == 0) {
		m->pings++;
		memcpy(out, m->down ? "\xd0\x00" : "\xc0\x00", 2);
		return (struct span){out, 2};
	}
	if (kind < 6) {
		uint8_t ack[] = {
		    passing[kind % 4], 2, (uint8_t)(size >> 8), (uint8_t)size};

		memcpy(out, ack, sizeof(ack));
		return (struct span){out, sizeof(ack)};
	}
	/* mostly small, now and then of several reads */
	size = kind < 14    ? size % 200
	       : kind == 14 ? size % 3000
			    : (size % 64 == 0 ? 30000 + size % 60000 : 0);
	n = mqtt_header_write(out, 0x30, size + 3);
	memcpy(out + n, "\x00\x01t", 3);
	for (uint32_t i = 0; i < size; i++)
		out[n + 3 + i] = (uint8_t)next_random(&m->random);
	return (struct span){out, n + 3 + size};
}

enum { PACKET_MAX = 100 * 1000 };

/* One direction: what is still to be sent, what must still come. */
struct flow {
	struct maker out, want;
	uint8_t out_bytes[PACKET_MAX], want_bytes[PACKET_MAX];
	struct span sending; /* of the packet under way */
	struct span awaited;
	struct buffer chunk; /* to be written next, cut at random */
	uint32_t cuts;
};

static void
flow_open(struct flow *f, uint32_t seed, bool down)
{
	f->out = (struct maker){
	    .random = seed, .left = STREAM_PACKETS, .down = down};
	f->want = f->out;
	f->cuts = seed * 3;
}

/* Up to <n> bytes of the stream into <out>, of any number of packets. */
static size_t
flow_next(struct flow *f, uint8_t *out, size_t n)
{
	size_t got = 0;

	while (got < n) {
		struct span piece;
		size_t take;

		if (f->sending.n == 0) {
			if (f->out.left == 0)
				break;
			f->sending = make_packet(&f->out, f->out_bytes);
		}
		take = n - got < f->sending.n ? n - got : f->sending.n;
		assert_true(span_take(&f->sending, take, &piece));
		memcpy(out + got, piece.p, piece.n);
		got += take;
	}
	return got;
}

static size_t
flow_cut(struct flow *f)
{
	static const size_t at_most[STREAM_SIZES] = {
	    1, 2, 7, 60, 900, 9000, 60000};

	return 1 + next_random(&f->cuts) %
		       at_most[next_random(&f->cuts) % STREAM_SIZES];
}

/* The next bytes that must come: pings were answered on the way. */
static void
flow_check(struct flow *f, struct span in)
{
	while (in.n > 0) {
		struct span piece, want;
		size_t n;

		while (f->awaited.n == 0) {
			unsigned pings = f->want.pings;

			assert_true(f->want.left > 0);
			f->awaited = make_packet(&f->want, f->want_bytes);
			if (f->want.pings != pings)
				f->awaited.n = 0;
		}
		n = in.n < f->awaited.n ? in.n : f->awaited.n;
		assert_true(span_take(&in, n, &piece));
		assert_true(span_take(&f->awaited, n, &want));
		assert_memory_equal(piece.p, want.p, n);
	}
}

static bool
flow_over(struct flow *f)
{
	while (f->awaited.n == 0 && f->want.left > 0) {
		unsigned pings = f->want.pings;

		f->awaited = make_packet(&f->want, f->want_bytes);
		if (f->want.pings != pings)
			f->awaited.n = 0;
	}
	return f->out.left == 0 && f->sending.n == 0 && f->awaited.n == 0 &&
	       f->want.left == 0;
}

/* Sends some of what is due; the pieces are made as they go. */
static void
flow_pump(struct flow *f, struct life *l, bool down)
{
	static uint8_t bytes[64 * 1024], frame[64 * 1024 + WS_HEADER_MAX];
	static bool mid_message;
	struct span rest;

	while (true) {
		ssize_t put;

		if (f->chunk.n == 0) {
			size_t n = flow_next(f, bytes, flow_cut(f));

			if (n == 0)
				return;
			if (down) {
				bool fin = next_random(&f->cuts) % 3 != 0;
				bool more = f->out.left > 0 || f->sending.n > 0;

				fin = fin || !more;
				n = cloud_frame_write(frame,
				    mid_message ? WS_CONTINUATION : WS_BINARY,
				    fin, (struct span){bytes, n});
				mid_message = !fin;
			}
			assert_true(buffer_append(
			    &f->chunk, (struct span){down ? frame : bytes, n}));
		}
		rest = buffer_span(&f->chunk);
		if (down && l->cloud.ssl != NULL) {
			ERR_clear_error();
			put = SSL_write(l->cloud.ssl, rest.p, (int)rest.n);
			assert_true(cloud_settled(&l->cloud, (int)put));
		} else {
			put = send(down ? l->cloud.fd : l->lan.fd, rest.p,
			    rest.n, MSG_NOSIGNAL);
		}
		if (put <= 0)
			return;
		buffer_drop(&f->chunk, (size_t)put);
		if (next_random(&f->cuts) % 8 == 0)
			return;
	}
}

/* Packets come out of the device's connection whole: takes them off, counts
   the answers to its pings. */
static void
take_down(struct flow *f, struct life *l, unsigned *pings)
{
	while (l->lan.in.n > 0) {
		struct span in = buffer_span(&l->lan.in);
		struct mqtt_header h;
		size_t n;

		if (f->awaited.n == 0 || f->awaited.p == f->want_bytes) {
			/* at a boundary: may be ours */
			if (mqtt_header_read(in, &h) != PARSE_OK)
				return;
			if (h.type == MQTT_PINGRESP) {
				(*pings)++;
				buffer_drop(&l->lan.in, 2);
				continue;
			}
			n = h.header_bytes + h.remaining;
			if (in.n < n)
				return;
			in.n = n;
		}
		flow_check(f, in);
		assert_int_equal(f->awaited.n, 0);
		buffer_drop(&l->lan.in, in.n);
	}
}

/* Both ways at once, cut anywhere, over slow sockets: nothing lost, nothing
   changed, one packet a message. */
static void
test_random_streams(void **state)
{
	struct life *l = *state;
	struct flow *up = calloc(1, sizeof(*up));
	struct flow *down = calloc(1, sizeof(*down));
	unsigned pings = 0;
	unsigned messages = 0;
	uint64_t by_ms = clock_mono_ms() + 30 * 1000;

	assert_non_null(up);
	assert_non_null(down);
	l->rig.settings->packet_max_bytes = PACKET_MAX;
	life_login(l, 4);
	flow_open(up, 1, false);
	flow_open(down, 2, true);
	while (!flow_over(up) || !flow_over(down) || pings < up->want.pings) {
		struct frame f;

		flow_pump(up, l, false);
		flow_pump(down, l, true);
		rig_turn(&l->rig);
		if (clock_mono_ms() >= by_ms)
			fail_msg("up: %u left, %u awaited; down: %u left, %u"
				 " awaited; %u of %u pings",
			    up->out.left, up->want.left, down->out.left,
			    down->want.left, pings, up->want.pings);
		if (next_random(&up->cuts) % 4 != 0)
			(void)cloud_read(&l->cloud);
		while (cloud_try_frame(&l->cloud, &f)) {
			assert_true(f.opcode == WS_BINARY ||
				    f.opcode == WS_CONTINUATION);
			/* a message begins where a packet does */
			if (f.opcode == WS_BINARY)
				assert_true(up->awaited.n == 0 ||
					    up->awaited.p == up->want_bytes);
			messages += f.fin;
			flow_check(up, frame_span(&f));
			if (f.fin)
				assert_int_equal(up->awaited.n, 0);
			frame_free(&f);
		}
		if (next_random(&down->cuts) % 4 != 0)
			(void)lan_read(&l->lan);
		take_down(down, l, &pings);
	}
	assert_int_equal(pings, up->want.pings);
	assert_int_equal(messages, STREAM_PACKETS - up->want.pings);
	assert_int_equal(l->session->up.packets, STREAM_PACKETS);
	assert_int_equal(l->session->down.packets, STREAM_PACKETS + 1);
	buffer_free(&up->chunk);
	buffer_free(&down->chunk);
	free(up);
	free(down);
}

#define wss(test) cmocka_unit_test_setup_teardown(test, set_up_wss, tear_down)
#define ws(test) cmocka_unit_test_setup_teardown(test, set_up_ws, tear_down)
#define both(test)                                                             \
	{#test " (wss)", test, set_up_wss, tear_down, NULL},                   \
	{                                                                      \
#test " (ws)", test, set_up_ws, tear_down, NULL                \
	}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    wss(test_connect_is_rewritten),
	    ws(test_keep_alive_is_clamped),
	    ws(test_packets_behind_the_login),
	    ws(test_login_refused),
	    ws(test_connack_properties),
	    ws(test_server_keep_alive),
	    both(test_a_big_connect),
	    ws(test_no_way_to_the_cloud),
	    wss(test_a_device_that_leaves_while_it_waits),
	    ws(test_a_device_that_has_left),
	    wss(test_pings),
	    wss(test_pingresp_waits_for_the_end_of_a_packet),
	    both(test_packet_and_message),
	    ws(test_a_head_byte_by_byte_from_the_device),
	    ws(test_a_head_byte_by_byte_from_the_cloud),
	    ws(test_a_head_that_does_not_end),
	    ws(test_packet_max),
	    ws(test_a_smaller_buffer),
	    ws(test_the_device_says_disconnect),
	    ws(test_packets_behind_disconnect),
	    ws(test_the_device_closes_in_the_middle_of_a_packet),
	    ws(test_a_reset_while_the_cloud_speaks),
	    ws(test_the_device_leaves_without_disconnect),
	    ws(test_bad_packets_of_the_device),
	    ws(test_bad_packets_of_the_cloud),
	    ws(test_an_endless_connack),
	    ws(test_extended_authentication),
	    ws(test_authentication_again),
	    ws(test_the_cloud_disconnects),
	    ws(test_ended_from_outside),
	    ws(test_remap),
	    ws(test_remap_when_ended),
	    wss(test_freed_in_every_state),
	    both(test_the_cloud_is_slow),
	    both(test_the_device_is_slow),
	    both(test_random_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
