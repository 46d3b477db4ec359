#include "session/session.h"

#include "codec/aliyun.h"
#include "codec/mqtt_property.h"

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

	assert_true(credential_sign(l->entry, l->transport, 0, &login));
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

/* To what its contract takes, 30 to 1200 s unless it says otherwise; the device
   is told nothing of it. */
static void
test_keep_alive_is_clamped(void **state)
{
	static const struct {
		const char *contract, *more;
		uint16_t device_s, cloud_s;
		uint64_t silence_ms, ping_ms;
	} rows[] = {
	    {"aliyun", "", 0, 300, 3600000, 60000},
	    {"aliyun", "", 1, 30, 1500, 30000},
	    {"aliyun", "", 30, 30, 45000, 30000},
	    {"aliyun", "", 45, 45, 67500, 45000},
	    {"aliyun", "", 1200, 1200, 1800000, 60000},
	    {"aliyun", "", 65535, 1200, 98302500, 60000},
	    {"aliyun", "keep_alive_max = 400s\n", 401, 400, 601500, 60000},
	    {"aliyun", "keep_alive_min = 20s\n", 10, 20, 15000, 20000},
	    {"aliyun", "keep_alive_zero = 40s\n", 0, 40, 3600000, 40000},
	    {"aliyun", "keep_alive_zero = 0\n", 0, 0, 3600000, 60000},
	    {"none", "", 0, 0, 3600000, 60000},
	    {"none", "", 1, 1, 1500, 1000},
	    {"none", "", 65535, 65535, 98302500, 60000},
	    {"none", "keep_alive = 7s\n", 0, 7, 3600000, 7000},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct mqtt_connect c = {
		    .level = 4, .keep_alive_s = rows[i].device_s};
		struct frame f;

		life_use(l, rows[i].contract, rows[i].more);
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

/* A property of one text, or two; returns its size. */
static size_t
put_text(uint8_t *out, uint8_t id, struct span one, struct span two)
{
	const struct span texts[] = {one, two};
	size_t n = 0;

	out[n++] = id;
	for (size_t i = 0; i < (id == MQTT_USER_PROPERTY ? 2 : 1); i++) {
		out[n++] = (uint8_t)(texts[i].n >> 8);
		out[n++] = (uint8_t)texts[i].n;
		memcpy(out + n, texts[i].p, texts[i].n);
		n += texts[i].n;
	}
	return n;
}

/* <head>, and behind it a list of properties with its length. */
static size_t
put_packet(uint8_t *out, struct span head, struct span list)
{
	uint8_t body[512];
	size_t n = head.n - 1;

	memcpy(body, head.p + 1, n);
	n += mqtt_varint_write(body + n, (uint32_t)list.n);
	memcpy(body + n, list.p, list.n);
	n += list.n;
	out[0] = head.p[0];
	head.n = 1 + mqtt_varint_write(out + 1, (uint32_t)n);
	memcpy(out + head.n, body, n);
	return head.n + n;
}

/* The names the cloud knows the device by stay here, whatever text it puts them
   into; other texts pass. */
static void
test_the_login_stays_here(void **state)
{
	enum { RESPONSE_INFORMATION = 0x1a };
	static const struct span heads[] = {SPAN_OF("\x20\x01\x00"),
	    SPAN_OF("\x20\x00\x8a"), SPAN_OF("\xe0\x8b")};
	static const struct span user = SPAN_OF("is pump_7&a1B2c3D4e5F");
	static const struct span others[] = {SPAN_OF("pump_7&a1B2c3D4e5"),
	    SPAN_OF("/a1B2c3D4e5F/pump_7/user"), SPAN_OF("")};
	struct life *l = *state;

	for (size_t i = 0; i < 2 * ARRAY_LENGTH(heads); i++) {
		struct span head = heads[i / 2];
		bool leaves = head.p[0] == 0xe0;
		struct mqtt_connect sent = {.level = 5,
		    .keep_alive_s = 60,
		    .client_id = SPAN_OF("pump-7")};
		uint8_t list[512], kept[512], out[600];
		size_t n = 0, kept_n = 0;
		struct mqtt_connect got;
		struct span client_id;
		struct frame f;

		assert_true(life_try_begin(l, &sent, SPAN_OF("")));
		cloud_welcome(&l->cloud);
		f = cloud_frame(&l->cloud);
		assert_true(mqtt_connect_read(frame_span(&f), &got, NULL));
		client_id = got.client_id;
		n += put_text(list + n, MQTT_REASON_STRING,
		    i % 2 == 0 ? client_id : user, others[2]);
		n += put_text(
		    list + n, MQTT_USER_PROPERTY, SPAN_OF("by"), client_id);
		n += put_text(list + n, MQTT_USER_PROPERTY, user, others[2]);
		n += put_text(
		    list + n, MQTT_SERVER_REFERENCE, client_id, others[2]);
		if (!leaves)
			n += put_text(list + n, RESPONSE_INFORMATION,
			    i % 2 == 0 ? user : client_id, others[2]);
		kept_n +=
		    put_text(kept, MQTT_USER_PROPERTY, others[0], others[1]);
		memcpy(list + n, kept, kept_n);
		n += kept_n;
		if (leaves) {
			cloud_say(&l->cloud, CONNACK_5);
			lan_expect(&l->lan, CONNACK_5);
		}
		n = put_packet(out, head, (struct span){list, n});
		cloud_say(&l->cloud, (struct span){out, n});
		n = put_packet(out, head, (struct span){kept, kept_n});
		lan_expect(&l->lan, ((struct span){out, n}));
		(void)lan_hears_nothing(&l->lan);
		assert_int_equal(l->lan.in.n, 0);
		frame_free(&f);
		if (l->session != NULL)
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

/* MQTT 5: the Authentication Method "m" */
#define METHOD "\x15\x00\x01m"

/* A CONNECT with these properties, up to where the cloud has it. */
static void
knock_with(struct life *l, uint8_t level, struct span properties)
{
	struct mqtt_connect sent = {.level = level,
	    .keep_alive_s = 60,
	    .client_id = SPAN_OF("pump-7"),
	    .properties = properties};
	struct mqtt_connect got;
	struct frame f;

	assert_true(life_try_begin(l, &sent, SPAN_OF("")));
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	assert_true(mqtt_connect_read(frame_span(&f), &got, NULL));
	assert_span_equal(got.properties, properties);
	frame_free(&f);
}

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
	struct life *l = *state;

	for (int i = 0; i < 2; i++) {
		if (i == 0)
			knock_with(l, 5, SPAN_OF(METHOD));
		else
			life_login(l, 5);
		cloud_say(&l->cloud, i == 0 ? SPAN_OF("\xf0\x06\x18\x04" METHOD
						      "\x20\x03\x00\x00\x00")
					    : SPAN_OF("\x40\x02\x00\x01"));
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

/* Table 2-1: who may send what, before the CONNACK (3.1.4, 3.2.0) and after
   it. */
enum fate { PASSES, ENDS_HERE, IS_REFUSED, IS_THE_END };

/* clang-format off */
static const struct {
	struct span packet; /* at levels 3 and 4 */
	struct span packet_5;
	enum fate from_device, from_cloud; /* after it */
} kinds[] = {
	{ SPAN_OF("\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01t"),
	  SPAN_OF("\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01t"),
	  IS_REFUSED, IS_REFUSED },
	{ SPAN_OF("\x20\x02\0\0"), SPAN_OF("\x20\x03\0\0\0"),
	  IS_REFUSED, IS_REFUSED },
	{ SPAN_OF("\x30\x03\0\x01t"), SPAN_OF("\x30\x04\0\x01t\0"),
	  PASSES, PASSES },
	{ SPAN_OF("\x40\x02\0\x01"), SPAN_OF("\x40\x02\0\x01"),
	  PASSES, PASSES },
	{ SPAN_OF("\x50\x02\0\x01"), SPAN_OF("\x50\x02\0\x01"),
	  PASSES, PASSES },
	{ SPAN_OF("\x62\x02\0\x01"), SPAN_OF("\x62\x02\0\x01"),
	  PASSES, PASSES },
	{ SPAN_OF("\x70\x02\0\x01"), SPAN_OF("\x70\x02\0\x01"),
	  PASSES, PASSES },
	{ SPAN_OF("\x82\x06\0\x01\0\x01t\0"),
	  SPAN_OF("\x82\x07\0\x01\0\0\x01t\0"),
	  PASSES, IS_REFUSED },
	{ SPAN_OF("\x90\x03\0\x01\0"), SPAN_OF("\x90\x04\0\x01\0\0"),
	  IS_REFUSED, PASSES },
	{ SPAN_OF("\xa2\x05\0\x01\0\x01t"),
	  SPAN_OF("\xa2\x06\0\x01\0\0\x01t"),
	  PASSES, IS_REFUSED },
	{ SPAN_OF("\xb0\x02\0\x01"), SPAN_OF("\xb0\x04\0\x01\0\0"),
	  IS_REFUSED, PASSES },
	{ SPAN_OF("\xc0\0"), SPAN_OF("\xc0\0"), ENDS_HERE, IS_REFUSED },
	{ SPAN_OF("\xd0\0"), SPAN_OF("\xd0\0"), IS_REFUSED, ENDS_HERE },
	{ SPAN_OF("\xe0\0"), SPAN_OF("\xe0\x01\x8b"), IS_THE_END, IS_THE_END },
	{ SPAN_OF("\xf0\x06\x18\x04" METHOD), SPAN_OF("\xf0\x06\x18\x04" METHOD),
	  PASSES, PASSES },
};
/* clang-format on */

static enum fate
fate_of(size_t kind, uint8_t level, bool from_cloud)
{
	enum mqtt_type type = (enum mqtt_type)(kind + 1);

	if (level < 5 &&
	    (type == MQTT_AUTH || (type == MQTT_DISCONNECT && from_cloud)))
		return IS_REFUSED;
	return from_cloud ? kinds[kind].from_cloud : kinds[kind].from_device;
}

static struct span
packet_of(size_t kind, uint8_t level, bool from_cloud)
{
	if (kind + 1 == MQTT_DISCONNECT && !from_cloud)
		return SPAN_OF("\xe0\0");
	return level < 5 ? kinds[kind].packet : kinds[kind].packet_5;
}

static void
test_what_may_come_before_the_connack(void **state)
{
	struct life *l = *state;

	assert_int_equal(ARRAY_LENGTH(kinds), MQTT_AUTH);
	for (uint8_t level = 3; level < LEVELS_END; level++) {
		for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
			struct span sent = packet_of(i, level, true);
			enum mqtt_type type = (enum mqtt_type)(i + 1);

			knock_with(l, level,
			    level < 5 ? SPAN_OF("") : SPAN_OF(METHOD));
			cloud_say(&l->cloud, sent);
			if (type == MQTT_CONNACK ||
			    (type == MQTT_AUTH && level == 5)) {
				lan_expect(&l->lan, sent);
				assert_true(lan_hears_nothing(&l->lan));
				session_free(&l->session);
				cloud_hang_up(&l->cloud);
				continue;
			}
			lan_expect(&l->lan, level < 5
						? SPAN_OF("\x20\2\0\3")
						: SPAN_OF("\x20\3\0\x88\0"));
			lan_expect_end(&l->lan);
			life_expect_dead(l);
			assert_string_equal(life_reason(l), "bad_cloud_packet");
		}
	}
}

static void
test_what_may_come_after_the_connack(void **state)
{
	static const struct span end = SPAN_OF("\x40\x02\0\x02");
	struct life *l = *state;

	for (unsigned i = 0; i < 2 * 3 * ARRAY_LENGTH(kinds); i++) {
		uint8_t level = (uint8_t)(3 + i % 3);
		bool from_cloud = i / 3 % 2 == 1;
		struct span sent = packet_of(i / 6, level, from_cloud);
		enum fate fate = fate_of(i / 6, level, from_cloud);

		knock_with(l, level, level < 5 ? SPAN_OF("") : SPAN_OF(METHOD));
		cloud_say(&l->cloud, life_connack(level));
		lan_expect(&l->lan, life_connack(level));
		if (from_cloud)
			cloud_say(&l->cloud, sent);
		else
			lan_write(&l->lan, sent);
		if (fate == IS_REFUSED) {
			life_expect_dead(l);
			assert_non_null(strstr(
			    life_log(l), from_cloud ? "reason=bad_cloud_packet"
					 : i < 6    ? "reason=second_connect"
						    : "reason=bad_packet"));
			continue;
		}
		if (from_cloud && fate != ENDS_HERE)
			lan_expect(&l->lan, sent);
		if (!from_cloud && fate == ENDS_HERE)
			lan_expect(&l->lan, SPAN_OF("\xd0\0"));
		if (!from_cloud && fate != ENDS_HERE)
			cloud_expect(&l->cloud, WS_BINARY, true, sent);
		if (fate == IS_THE_END) {
			life_expect_dead(l);
			continue;
		}
		/* and nothing else comes of it, on either side */
		lan_write(&l->lan, end);
		cloud_expect(&l->cloud, WS_BINARY, true, end);
		cloud_say(&l->cloud, end);
		lan_expect(&l->lan, end);
		assert_true(lan_hears_nothing(&l->lan));
		session_free(&l->session);
		cloud_hang_up(&l->cloud);
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

/* ---- extended authentication (MQTT 5 4.12) ---- */

/* Of the method "m"; the first with data. */
#define AUTH_GOES_ON SPAN_OF("\xf0\x0b\x18\x09" METHOD "\x16\x00\x02\xff\x00")
#define AUTH_AGAIN SPAN_OF("\xf0\x06\x19\x04" METHOD)
#define AUTH_DONE SPAN_OF("\xf0\x06\x00\x04" METHOD)
#define CONNACK_METHOD SPAN_OF("\x20\x07\x00\x00\x04" METHOD)

/* AUTH goes to and fro before the CONNACK, nothing else does. */
static void
test_extended_authentication(void **state)
{
	struct life *l = *state;

	for (int i = 0; i < 3; i++) {
		knock_with(l, 5, SPAN_OF(METHOD "\x16\x00\x01?"));
		for (int turn = 0; turn < 3; turn++) {
			cloud_say(&l->cloud, AUTH_GOES_ON);
			lan_expect(&l->lan, AUTH_GOES_ON);
			lan_write(&l->lan, AUTH_GOES_ON);
			cloud_expect(&l->cloud, WS_BINARY, true, AUTH_GOES_ON);
		}
		if (i == 0) {
			cloud_say(&l->cloud, CONNACK_METHOD);
			lan_expect(&l->lan, CONNACK_METHOD);
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

/* 4.12.1: and after it, both ways, among other packets. The shortest one says
   success, and may come in two pieces. */
static void
test_authentication_again(void **state)
{
	struct life *l = *state;

	knock_with(l, 5, SPAN_OF(METHOD));
	cloud_say(&l->cloud, CONNACK_METHOD);
	lan_expect(&l->lan, CONNACK_METHOD);
	lan_write(&l->lan, AUTH_AGAIN);
	cloud_expect(&l->cloud, WS_BINARY, true, AUTH_AGAIN);
	cloud_say(&l->cloud, AUTH_GOES_ON);
	lan_expect(&l->lan, AUTH_GOES_ON);
	lan_write(&l->lan, AUTH_GOES_ON);
	cloud_expect(&l->cloud, WS_BINARY, true, AUTH_GOES_ON);
	cloud_say(&l->cloud, AUTH_DONE);
	lan_expect(&l->lan, AUTH_DONE);
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

/* What breaks a rule of it is not passed on, from either side. */
static void
test_bad_authentication(void **state)
{
	enum { BEGUN, GOING_ON, UP }; /* before the first AUTH, behind it, in */
	static const struct {
		uint8_t level;
		bool has_method; /* in the CONNECT */
		int when;
		bool from_cloud;
		struct span sent;
		const char *text; /* in the log */
	} rows[] = {
	    {5, true, GOING_ON, false, AUTH_AGAIN, "MQTT-4.12.0-2, -3"},
	    {5, true, GOING_ON, false, SPAN_OF("\xf0\x06\x18\x04\x15\0\1n"),
		"MQTT-4.12.0-5"},
	    {5, true, UP, false, SPAN_OF("\xf0\x06\x19\x04\x15\0\1n"),
		"MQTT-4.12.0-5"},
	    {5, true, UP, false, SPAN_OF("\xf0\x07\x19\x05\x15\0\2mm"),
		"MQTT-4.12.0-5"},
	    {5, true, UP, false, SPAN_OF("\xf0\x02\x19\x00"), "MQTT-4.12.0-5"},
	    {5, true, UP, false, AUTH_DONE, "MQTT-3.15.2-1"},
	    {5, false, UP, false, AUTH_AGAIN, "MQTT-4.12.0-5, -6, -7"},
	    {4, false, UP, false, AUTH_AGAIN, "at level 4"},
	    {3, false, UP, false, AUTH_AGAIN, "at level 3"},
	    {5, true, BEGUN, true, AUTH_DONE, "MQTT-4.12.0-2, -3"},
	    {5, true, BEGUN, true, SPAN_OF("\xf0\x00"), "MQTT-4.12.0-2, -3"},
	    {5, true, BEGUN, true, SPAN_OF("\xf0\x06\x18\x04\x15\0\1n"),
		"MQTT-4.12.0-5"},
	    {5, true, BEGUN, true, AUTH_AGAIN, "MQTT-3.15.2-1"},
	    {5, true, BEGUN, true, SPAN_OF("\x20\x07\0\0\x04\x15\0\1n"),
		"MQTT-4.12.0-5"},
	    {5, false, BEGUN, true, CONNACK_METHOD, "MQTT-4.12.0-5, -6"},
	    {5, false, BEGUN, true, AUTH_GOES_ON, "MQTT-4.12.0-5, -6"},
	    {4, false, BEGUN, true, AUTH_GOES_ON, "at level 4"},
	    {3, false, BEGUN, true, AUTH_GOES_ON, "at level 3"},
	    {5, true, UP, true, SPAN_OF("\xf0\x06\x18\x04\x15\0\1n"),
		"MQTT-4.12.0-5"},
	    {5, false, UP, true, SPAN_OF("\xf0\x00"), "MQTT-4.12.0-6, -7"},
	    {4, false, UP, true, AUTH_DONE, "at level 4"},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		bool up = rows[i].when == UP, cloud = rows[i].from_cloud;

		knock_with(l, rows[i].level,
		    rows[i].has_method ? SPAN_OF(METHOD) : SPAN_OF(""));
		if (rows[i].when == GOING_ON) {
			cloud_say(&l->cloud, AUTH_GOES_ON);
			lan_expect(&l->lan, AUTH_GOES_ON);
		}
		if (up) {
			cloud_say(&l->cloud, life_connack(rows[i].level));
			lan_expect(&l->lan, life_connack(rows[i].level));
		}
		if (cloud)
			cloud_say(&l->cloud, rows[i].sent);
		else
			lan_write(&l->lan, rows[i].sent);
		if (rows[i].level == 5 && up)
			lan_expect(&l->lan, cloud ? SPAN_OF("\xe0\x01\x89")
						  : SPAN_OF("\xe0\x01\x81"));
		if (!up && cloud)
			lan_expect(&l->lan, rows[i].level == 5
						? SPAN_OF("\x20\3\0\x88\0")
						: SPAN_OF("\x20\2\0\3"));
		lan_expect_end(&l->lan);
		cloud_expect(&l->cloud, WS_CLOSE, true,
		    cloud ? SPAN_OF("\x03\xea") : SPAN_OF("\x03\xe8"));
		cloud_bye(&l->cloud);
		until(&l->rig, l->session == NULL);
		assert_string_equal(
		    life_reason(l), cloud ? "bad_cloud_packet" : "bad_packet");
		if (strstr(life_log(l), rows[i].text) == NULL)
			fail_msg("row %zu: '%s' is not in '%s'", i,
			    rows[i].text, life_log(l));
	}
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
		struct span disconnect;
	} rows[] = {
	    {"", NULL, SPAN_OF("")},
	    {"match_client_id = another\n", NULL, SPAN_OF("")},
	    {"password = x\n", "entry_changed", SPAN_OF("\xe0\x01\x8b")},
	    {"client_id = other\n", "entry_changed", SPAN_OF("\xe0\x01\x8b")},
	    {"path = /other\n", "entry_changed", SPAN_OF("\xe0\x01\x8b")},
	    {"enabled = yes\n", NULL, SPAN_OF("")},
	    {"enabled = no\n", "entry_disabled", SPAN_OF("\xe0\x01\x87")},
	    {"allow_from = 127.0.0.0/8\n", NULL, SPAN_OF("")},
	    {"allow_from = 127.0.0.2, ::1\n", "address_not_allowed",
		SPAN_OF("\xe0\x01\x87")},
	    {"enabled = no\npassword = x\n", "entry_disabled",
		SPAN_OF("\xe0\x01\x87")},
	};
	struct life *l = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct credmap *fresh = life_map(l, rows[i].more);

		life_login(l, 5);
		session_remap(l->session, fresh);
		if (rows[i].reason != NULL) {
			lan_expect(&l->lan, rows[i].disconnect);
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

/* It has ended: what it has of the old map is let go, but for what names it. */
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
	assert_true(credmap_is_last_ref(l->map));
	assert_true(credmap_is_last_ref(fresh));
	session_remap(l->session, l->map);
	assert_true(credmap_is_last_ref(l->map));
	credmap_unref(fresh);
	assert_string_equal(l->session->entry->label, l->entry->label);
	assert_string_equal(l->session->entry->host, l->entry->host);
	assert_int_equal(l->session->entry->device_secret.n, 0);
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
	    ws(test_the_login_stays_here),
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
	    ws(test_what_may_come_before_the_connack),
	    ws(test_what_may_come_after_the_connack),
	    ws(test_an_endless_connack),
	    ws(test_extended_authentication),
	    ws(test_authentication_again),
	    ws(test_bad_authentication),
	    ws(test_the_cloud_disconnects),
	    ws(test_ended_from_outside),
	    ws(test_remap),
	    ws(test_remap_when_ended),
	    wss(test_freed_in_every_state),
	    both(test_the_cloud_is_slow),
	    both(test_the_device_is_slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
