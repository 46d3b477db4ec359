/* A session whose topics are mapped, between a device and its cloud. */
#include "codec/mqtt_property.h"
#include "session/session.h"

#include "life.h"

#define OWN "/${pk}/${dn}/user/"
#define REAL "/a1B2c3D4e5F/pump_7/user/"

static const char rules[] = "topic.1.lan = plant/+/state\n"
			    "topic.1.cloud = " OWN "state/$1\n"
			    "topic.1.escape = yes\n"
			    "topic.2.lan = dev/${client_id}/set/+\n"
			    "topic.2.cloud = " OWN "set_$1\n"
			    "topic.3.lan = dev/${client_id}/get/+\n"
			    "topic.3.cloud = " OWN "get_$1\n";

static int
set_up(void **state)
{
	struct life *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -1;
	life_open(l, false);
	*state = l;
	return 0;
}

static int
tear_down(void **state)
{
	struct life *l = *state;

	life_close(l);
	free(l);
	return 0;
}

/* The entry has the rules, and these lines. */
static void
use_rules(struct life *l, const char *more)
{
	char text[800];

	(void)snprintf(text, sizeof(text), "%s%s", rules, more);
	life_use(l, l->contract, text);
}

/* The device leaves, and the session is over. */
static void
leave(struct life *l)
{
	struct frame f;

	lan_write(&l->lan, SPAN_OF("\xe0\x00"));
	f = cloud_frame(&l->cloud);
	assert_int_equal(f.bytes[0], 0xe0);
	frame_free(&f);
	life_expect_dead(l);
	lan_hang_up(&l->lan);
}

static struct span
write_packet(const struct mqtt_packet *p, uint8_t level, struct buffer *out)
{
	size_t n = mqtt_packet_size(p, level);
	uint8_t *to = buffer_reserve(out, n);

	assert_true(n > 0);
	assert_non_null(to);
	mqtt_packet_write(p, level, to);
	buffer_commit(out, n);
	return buffer_span(out);
}

static struct mqtt_packet
publish(const char *topic, uint8_t qos)
{
	return (struct mqtt_packet){.header.type = MQTT_PUBLISH,
	    .topic = span_of_string(topic),
	    .qos = qos,
	    .packet_id = qos > 0 ? 9 : 0,
	    .payload = SPAN_OF("\x00payload\xff")};
}

static void
device_sends(struct life *l, uint8_t level, const struct mqtt_packet *p)
{
	struct buffer bytes = {0};

	lan_write(&l->lan, write_packet(p, level, &bytes));
	buffer_free(&bytes);
}

static void
device_gets(struct life *l, uint8_t level, const struct mqtt_packet *p)
{
	struct buffer bytes = {0};

	lan_expect(&l->lan, write_packet(p, level, &bytes));
	buffer_free(&bytes);
}

static void
cloud_sends(struct life *l, uint8_t level, const struct mqtt_packet *p)
{
	struct buffer bytes = {0};

	cloud_say(&l->cloud, write_packet(p, level, &bytes));
	buffer_free(&bytes);
}

static void
cloud_gets(struct life *l, uint8_t level, const struct mqtt_packet *p)
{
	struct buffer bytes = {0};
	struct span want = write_packet(p, level, &bytes);
	struct frame f = cloud_frame(&l->cloud);

	assert_int_equal(f.opcode, WS_BINARY);
	assert_true(f.fin);
	assert_int_equal(frame_span(&f).n, want.n);
	assert_memory_equal(frame_span(&f).p, want.p, want.n);
	frame_free(&f);
	buffer_free(&bytes);
}

static void
small(struct mqtt_packet *p, enum mqtt_type type, uint16_t id, uint8_t code)
{
	*p = (struct mqtt_packet){
	    .header.type = type, .packet_id = id, .reason_code = code};
}

/* ---- PUBLISH ---- */

/* Each with the topic of the other side, and nothing else changed. */
static void
test_publish(void **state)
{
	struct life *l = *state;

	use_rules(l, "");
	for (uint8_t level = 3; level <= 5; level++) {
		struct mqtt_packet lan = publish("plant/a-b/state", 0);
		struct mqtt_packet cloud = publish(REAL "state/a_2Db", 0);
		struct mqtt_packet ack;

		life_login(l, level);
		device_sends(l, level, &lan);
		cloud_gets(l, level, &cloud);
		cloud_sends(l, level, &cloud);
		device_gets(l, level, &lan);
		lan.qos = cloud.qos = 1;
		lan.packet_id = cloud.packet_id = 300;
		device_sends(l, level, &lan);
		cloud_gets(l, level, &cloud);
		small(&ack, MQTT_PUBACK, 300, 0);
		cloud_sends(l, level, &ack);
		device_gets(l, level, &ack);
		/* what no rule maps passes */
		lan = publish("other", 0);
		device_sends(l, level, &lan);
		cloud_gets(l, level, &lan);
		cloud_sends(l, level, &lan);
		device_gets(l, level, &lan);
		leave(l);
	}
}

/* One that is never whole here: only its head is another. */
static void
test_publish_in_pieces(void **state)
{
	enum { PAYLOAD = 100 * 1000 };
	static uint8_t payload[PAYLOAD];
	struct life *l = *state;
	struct mqtt_packet lan = publish("plant/7/state", 0);
	struct mqtt_packet cloud = publish(REAL "state/7", 0);
	struct buffer up = {0}, want = {0}, down = {0};
	struct span left;

	for (size_t i = 0; i < PAYLOAD; i++)
		payload[i] = (uint8_t)(i * 7 + i / 256);
	lan.payload = cloud.payload = (struct span){payload, PAYLOAD};
	l->rig.settings->session_buffer_bytes = 64 * 1024;
	use_rules(l, "bytes_per_second = 0\n");
	life_login(l, 4);
	left = write_packet(&lan, 4, &down);
	(void)write_packet(&cloud, 4, &want);
	while (up.n < want.n) {
		struct frame f;

		if (left.n > 0)
			(void)lan_try_write(&l->lan, &left);
		if (!cloud_try_frame(&l->cloud, &f)) {
			rig_turn(&l->rig);
			(void)cloud_read(&l->cloud);
			continue;
		}
		assert_int_equal(
		    f.opcode, up.n == 0 ? WS_BINARY : WS_CONTINUATION);
		assert_true(buffer_append(&up, frame_span(&f)));
		assert_int_equal(f.fin, up.n == want.n);
		frame_free(&f);
	}
	assert_int_equal(up.n, want.n);
	assert_memory_equal(buffer_span(&up).p, buffer_span(&want).p, want.n);
	for (left = buffer_span(&want); left.n > 0;) {
		struct span piece;
		size_t n = left.n < 60000 ? left.n : 60000;

		assert_true(span_take(&left, n, &piece));
		cloud_say(&l->cloud, piece);
	}
	lan_expect(&l->lan, buffer_span(&down));
	leave(l);
	buffer_free(&up);
	buffer_free(&want);
	buffer_free(&down);
}

/* Nothing is acknowledged that the cloud has not taken. */
static void
test_drop(void **state)
{
	struct life *l = *state;

	use_rules(l, "topic_unmapped = drop\n");
	for (uint8_t level = 3; level <= 5; level++) {
		struct mqtt_packet p = publish("other", 0);
		struct mqtt_packet ack;

		life_login(l, level);
		device_sends(l, level, &p);
		p = publish("plant/1/state", 0);
		device_sends(l, level, &p);
		p = publish(REAL "state/1", 0);
		cloud_gets(l, level, &p);
		assert_non_null(strstr(life_log(l), "event=message_dropped"));
		/* from the cloud: the device gets none of them */
		p = publish("other", 1);
		cloud_sends(l, level, &p);
		small(&ack, MQTT_PUBACK, 9, 0);
		cloud_gets(l, level, &ack);
		p = publish(REAL "state/1", 0);
		cloud_sends(l, level, &p);
		p = publish("plant/1/state", 0);
		device_gets(l, level, &p);
		p = publish("other", 1);
		device_sends(l, level, &p);
		if (level >= 5) {
			small(&ack, MQTT_PUBACK, 9, 0x90);
			device_gets(l, level, &ack);
			leave(l);
		} else {
			life_expect_dead(l);
			assert_string_equal(life_reason(l), "topic_unmapped");
			lan_hang_up(&l->lan);
		}
	}
}

static void
test_refuse(void **state)
{
	struct life *l = *state;

	use_rules(l, "topic_unmapped = refuse\n");
	for (uint8_t level = 3; level <= 5; level++) {
		struct mqtt_packet p = publish("other", 0);

		life_login(l, level);
		device_sends(l, level, &p);
		life_expect_dead(l);
		assert_string_equal(life_reason(l), "topic_unmapped");
		lan_hang_up(&l->lan);
	}
}

/* One that is too long for the cloud is not sent, whatever the policy. */
static void
test_too_long(void **state)
{
	struct life *l = *state;
	struct mqtt_packet p, ack;

	use_rules(l, "");
	life_login(l, 5);
	p = publish("plant/----------------------------------------/state", 1);
	device_sends(l, 5, &p);
	small(&ack, MQTT_PUBACK, 9, 0x90);
	device_gets(l, 5, &ack);
	leave(l);
}

/* ---- SUBSCRIBE ---- */

static struct mqtt_packet
subscribe(enum mqtt_type type, struct span filters)
{
	return (struct mqtt_packet){
	    .header.type = type, .qos = 1, .packet_id = 5, .payload = filters};
}

/* A SUBSCRIBE, and what it becomes; the cloud takes it. */
static void
asks(struct life *l, struct span filters, struct span become, size_t n)
{
	struct mqtt_packet p = subscribe(MQTT_SUBSCRIBE, filters);

	device_sends(l, 4, &p);
	p.payload = become;
	cloud_gets(l, 4, &p);
	p.header.type = MQTT_SUBACK;
	p.qos = 0;
	p.payload = (struct span){(const uint8_t *)"\0\0\0\0", n};
	cloud_sends(l, 4, &p);
	p.payload.n = 1;
	device_gets(l, 4, &p);
}

/* What comes by a filter that covers more than the device's own only reaches
   the device when it has asked for it. */
static void
test_subscribe(void **state)
{
	struct life *l = *state;
	struct mqtt_packet p, ack;

	use_rules(l, "");
	life_login(l, 4);
	asks(l, SPAN_OF("\0\x0fplant/+/state/#\0"),
	    SPAN_OF("\0\x20" REAL "state/+\0"), 1);
	asks(l,
	    SPAN_OF("\0\x10"
		    "dev/pump-7/set/+\0"),
	    SPAN_OF("\0\x1a" REAL "+\0"), 1);
	p = publish(REAL "set_1", 1);
	cloud_sends(l, 4, &p);
	p = publish("dev/pump-7/set/1", 1);
	device_gets(l, 4, &p);
	p = publish(REAL "get_1", 1);
	cloud_sends(l, 4, &p);
	small(&ack, MQTT_PUBACK, 9, 0);
	cloud_gets(l, 4, &ack);
	asks(l,
	    SPAN_OF("\0\x10"
		    "dev/pump-7/get/+\0"),
	    SPAN_OF("\0\x1a" REAL "+\0"), 1);
	p = publish(REAL "get_1", 1);
	cloud_sends(l, 4, &p);
	p = publish("dev/pump-7/get/1", 1);
	device_gets(l, 4, &p);
	leave(l);
}

/* An UNSUBSCRIBE, and what it becomes, if anything; the device is answered. */
static void
asks_no_more(struct life *l, uint8_t level, struct span filters,
    struct span become, struct span codes)
{
	struct mqtt_packet p = subscribe(MQTT_UNSUBSCRIBE, filters);

	device_sends(l, level, &p);
	if (become.n > 0) {
		p.payload = become;
		cloud_gets(l, level, &p);
	}
	p = (struct mqtt_packet){.header.type = MQTT_UNSUBACK,
	    .packet_id = 5,
	    .payload = level >= 5 ? codes : (struct span){NULL, 0}};
	if (become.n > 0)
		cloud_sends(l, level, &p);
	device_gets(l, level, &p);
}

/* Two filters of the device are one of the cloud: it goes with the last. */
static void
test_unsubscribe(void **state)
{
	struct life *l = *state;
	struct span get = SPAN_OF("\0\x10"
				  "dev/pump-7/get/+");
	struct span set = SPAN_OF("\0\x10"
				  "dev/pump-7/set/+");
	struct span both = SPAN_OF("\0\x1a" REAL "+");
	struct span none = {NULL, 0};

	use_rules(l, "");
	life_login(l, 4);
	asks(l,
	    SPAN_OF("\0\x10"
		    "dev/pump-7/set/+\0"),
	    SPAN_OF("\0\x1a" REAL "+\0"), 1);
	asks(l,
	    SPAN_OF("\0\x10"
		    "dev/pump-7/get/+\0"),
	    SPAN_OF("\0\x1a" REAL "+\0"), 1);
	asks(l, SPAN_OF("\0\x0dplant/+/state\0"),
	    SPAN_OF("\0\x20" REAL "state/+\0"), 1);
	asks(l, SPAN_OF("\0\x0dplant/a/state\0"),
	    SPAN_OF("\0\x20" REAL "state/a\0"), 1);
	asks_no_more(l, 4, get, none, none);
	asks_no_more(l, 4, get, none, none); /* once more */
	asks_no_more(l, 4, SPAN_OF("\0\x0dplant/a/state"),
	    SPAN_OF("\0\x20" REAL "state/a"), none);
	asks_no_more(l, 4, set, both, none);
	/* nobody needs it any more: it is for the cloud to say so */
	asks_no_more(l, 4, set, both, none);
	assert_true(l->env.link.loop->kept_bytes > 0);
	leave(l);
	assert_int_equal(l->env.link.loop->kept_bytes, 0);
}

/* Logs in with this CONNECT, whose answer from the cloud is <connack>. */
static void
log_in_with(
    struct life *l, const struct mqtt_connect *connect, struct span connack)
{
	struct frame f;

	assert_true(life_try_begin(l, connect, SPAN_OF("")));
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	frame_free(&f);
	cloud_say(&l->cloud, connack);
	lan_expect(&l->lan, connack);
	until(&l->rig, l->session->device.state == DEVICE_ONLINE);
}

/* What was asked for by other rules does not say what the device wants by
   these, though it has its session still. */
static void
test_other_rules(void **state)
{
	static const struct mqtt_connect sent = {
	    .level = 4, .keep_alive_s = 60, .client_id = SPAN_OF("pump-7")};
	struct span set = SPAN_OF("\0\x10"
				  "dev/pump-7/set/+\0");
	struct span become = SPAN_OF("\0\x1a" REAL "+\0");
	struct span goes_on = SPAN_OF("\x20\x02\x01\x00");
	struct mqtt_packet get = publish(REAL "get_1", 0);
	struct mqtt_packet lan_get = publish("dev/pump-7/get/1", 0);
	struct mqtt_packet other = publish(REAL "set_1", 0);
	struct mqtt_packet lan_other = publish("dev/pump-7/set/1", 0);
	struct life *l = *state;

	use_rules(l, "");
	log_in_with(l, &sent, CONNACK_4);
	asks(l, set, become, 1);
	leave(l);
	log_in_with(l, &sent, goes_on);
	cloud_sends(l, 4, &get); /* not asked for */
	cloud_sends(l, 4, &other);
	device_gets(l, 4, &lan_other);
	leave(l);
	assert_true(l->env.link.loop->kept_bytes > 0);
	use_rules(l, "topic.4.lan = more\ntopic.4.cloud = " OWN "more\n");
	log_in_with(l, &sent, goes_on);
	cloud_sends(l, 4, &get);
	device_gets(l, 4, &lan_get);
	assert_int_equal(l->env.link.loop->kept_bytes, 0);
	leave(l);
}

/* A login that the cloud refuses begins no session: what the device has asked
   for in its own goes on (3.1.2.4). */
static void
test_refused_login(void **state)
{
	static const struct mqtt_connect sent = {
	    .level = 4, .keep_alive_s = 60, .client_id = SPAN_OF("pump-7")};
	struct span refused = SPAN_OF("\x20\x02\x00\x03");
	struct mqtt_packet get = publish(REAL "get_1", 0);
	struct mqtt_packet set = publish(REAL "set_1", 0);
	struct mqtt_packet lan_set = publish("dev/pump-7/set/1", 0);
	struct life *l = *state;
	struct frame f;

	use_rules(l, "");
	log_in_with(l, &sent, CONNACK_4);
	asks(l,
	    SPAN_OF("\0\x10"
		    "dev/pump-7/set/+\0"),
	    SPAN_OF("\0\x1a" REAL "+\0"), 1);
	leave(l);
	assert_true(life_try_begin(l, &sent, SPAN_OF("")));
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	frame_free(&f);
	cloud_say(&l->cloud, refused);
	lan_expect(&l->lan, refused);
	life_expect_dead(l);
	lan_hang_up(&l->lan);
	log_in_with(l, &sent, SPAN_OF("\x20\x02\x01\x00"));
	cloud_sends(l, 4, &get); /* not asked for */
	cloud_sends(l, 4, &set);
	device_gets(l, 4, &lan_set);
	leave(l);
}

/* ---- the contract ---- */

/* What goes up is within it: 32 bytes are just REAL "state/+". */
static void
test_contract(void **state)
{
	static const uint8_t refused[] = {[3] = 0, [4] = 0x80, [5] = 0x8f};
	struct span filters = SPAN_OF("\0\x0eplant/ab/state\0"
				      "\0\x0dplant/+/state\0");
	struct life *l = *state;

	use_rules(l, "topic_max = 32\n");
	for (uint8_t level = 3; level <= 5; level++) {
		uint8_t codes[] = {refused[level], 0};
		struct mqtt_packet p = subscribe(MQTT_SUBSCRIBE, filters);

		life_login(l, level);
		device_sends(l, level, &p);
		p.payload = SPAN_OF("\0\x20" REAL "state/+\0");
		cloud_gets(l, level, &p);
		p = (struct mqtt_packet){.header.type = MQTT_SUBACK,
		    .packet_id = 5,
		    .payload = {codes + 1, 1}};
		cloud_sends(l, level, &p);
		p.payload = (struct span){codes, 2};
		device_gets(l, level, &p);
		assert_non_null(strstr(life_log(l),
		    "event=filter_refused label=pump-7 peer=127.0.0.1:1 "
		    "reason=topic_refused"));
		/* the rest of it never was in the cloud */
		asks_no_more(l, level, SPAN_OF("\0\x0eplant/ab/state"),
		    (struct span){NULL, 0}, SPAN_OF("\x11"));
		p = publish("plant/ab/state", 0);
		device_sends(l, level, &p);
		p = publish("plant/a/state", 0);
		device_sends(l, level, &p);
		p = publish(REAL "state/a", 0);
		cloud_gets(l, level, &p);
		leave(l);
		assert_non_null(
		    strstr(life_log(l), "refused=1 filters_refused=1 "));
	}
}

/* ---- MQTT 5 ---- */

/* What is too big for the other side with its new topic is not sent to it
   (MQTT-3.1.2-24, -25, 3.2.2.3.6). */
static void
test_maximum_packet_size(void **state)
{
	static const char lan_topic[] = "dev/pump-7/set/1";
	static const struct mqtt_connect sent = {.level = 5,
	    .keep_alive_s = 60,
	    .client_id = SPAN_OF("pump-7"),
	    /* as big as the message is in the LAN */
	    .properties = SPAN_OF("\x27\0\0\0\x20")};
	struct mqtt_packet p, ack;
	struct life *l = *state;

	use_rules(l, "topic.4.lan = long/long/long/long/long/+\n"
		     "topic.4.cloud = " OWN "l/$1\n");
	/* as big as it is in the cloud */
	log_in_with(l, &sent, SPAN_OF("\x20\x08\0\0\x05\x27\0\0\0\x2e"));
	p = publish(lan_topic, 1);
	assert_int_equal(mqtt_packet_size(&p, 5), 32);
	device_sends(l, 5, &p);
	p = publish(REAL "set_1", 1);
	assert_int_equal(mqtt_packet_size(&p, 5), 46);
	cloud_gets(l, 5, &p);
	cloud_sends(l, 5, &p);
	p = publish(lan_topic, 1);
	device_gets(l, 5, &p);
	/* a byte more */
	p = publish("dev/pump-7/set/12", 1);
	device_sends(l, 5, &p);
	small(&ack, MQTT_PUBACK, 9, 0x97);
	device_gets(l, 5, &ack);
	p = publish(REAL "l/1", 1);
	cloud_sends(l, 5, &p);
	small(&ack, MQTT_PUBACK, 9, 0);
	cloud_gets(l, 5, &ack);
	assert_non_null(strstr(life_log(l), "event=message_dropped "));
	leave(l);
	assert_non_null(strstr(life_log(l), "down_dropped=1 "));
}

static void
append_property(struct buffer *list, uint8_t id, const char *text)
{
	struct span s = span_of_string(text);
	const uint8_t head[] = {id, (uint8_t)(s.n >> 8), (uint8_t)s.n};

	assert_true(buffer_append(list, (struct span){head, sizeof(head)}));
	assert_true(buffer_append(list, s));
}

/* A Response Topic is one of the other side too. */
static void
test_response_topic(void **state)
{
	struct life *l = *state;
	struct buffer lan_list = {0}, cloud_list = {0};
	struct mqtt_packet lan = publish("plant/7/state", 0);
	struct mqtt_packet cloud = publish(REAL "state/7", 0);

	append_property(&lan_list, MQTT_RESPONSE_TOPIC, "plant/a/state");
	append_property(&cloud_list, MQTT_RESPONSE_TOPIC, REAL "state/a");
	append_property(&lan_list, 0x03, "text");
	append_property(&cloud_list, 0x03, "text");
	lan.properties = buffer_span(&lan_list);
	cloud.properties = buffer_span(&cloud_list);
	use_rules(l, "topic_unmapped = drop\n");
	life_login(l, 5);
	device_sends(l, 5, &lan);
	cloud_gets(l, 5, &cloud);
	cloud_sends(l, 5, &cloud);
	device_gets(l, 5, &lan);
	/* one where nobody can answer is left out */
	buffer_free(&lan_list);
	append_property(&lan_list, MQTT_RESPONSE_TOPIC, "nowhere");
	lan.properties = buffer_span(&lan_list);
	cloud.properties = (struct span){NULL, 0};
	device_sends(l, 5, &lan);
	cloud_gets(l, 5, &cloud);
	leave(l);
	buffer_free(&lan_list);
	buffer_free(&cloud_list);
}

/* Neither side is offered topic aliases; the will is mapped. */
static void
test_connect(void **state)
{
	static const struct {
		const char *topic;
		const char *up; /* NULL: none */
	} wills[] = {
	    {"plant/gone/state", REAL "state/gone"},
	    {"other", NULL},
	    {"plant/too-long/state", NULL},
	};
	struct life *l = *state;

	use_rules(l, "topic_unmapped = drop\ntopic_max = 36\n");
	for (size_t i = 0; i < ARRAY_LENGTH(wills); i++) {
		struct mqtt_connect got,
		    sent = {.level = 5,
			.keep_alive_s = 60,
			.client_id = SPAN_OF("pump-7"),
			.properties =
			    SPAN_OF("\x22\x00\x05\x11\x00\x00\x00\x09"),
			.has_will = true,
			.will_topic = span_of_string(wills[i].topic),
			.will_payload = SPAN_OF("x")};
		struct frame f;

		assert_true(life_try_begin(l, &sent, SPAN_OF("")));
		cloud_welcome(&l->cloud);
		f = cloud_frame(&l->cloud);
		assert_true(mqtt_connect_read(frame_span(&f), &got, NULL));
		assert_true(
		    span_eq(got.properties, SPAN_OF("\x11\x00\x00\x00\x09")));
		assert_int_equal(got.has_will, wills[i].up != NULL);
		if (wills[i].up != NULL)
			assert_true(span_eq(
			    got.will_topic, span_of_string(wills[i].up)));
		frame_free(&f);
		cloud_say(
		    &l->cloud, SPAN_OF("\x20\x06\x00\x00\x03\x22\x00\x05"));
		lan_expect(&l->lan, SPAN_OF("\x20\x03\x00\x00\x00"));
		until(&l->rig, l->session->device.state == DEVICE_ONLINE);
		leave(l);
	}
}

/* One that is kept here goes up mapped. */
static void
test_kept_will(void **state)
{
	struct life *l = *state;
	struct mqtt_connect sent = {.level = 4,
	    .keep_alive_s = 60,
	    .client_id = SPAN_OF("pump-7"),
	    .has_will = true,
	    .will_topic = SPAN_OF("plant/gone/state"),
	    .will_payload = SPAN_OF("\x00payload\xff")};
	struct mqtt_packet will = publish(REAL "state/gone", 0);
	struct frame f;

	l->contract = "aliyun";
	use_rules(l, "");
	assert_true(life_try_begin(l, &sent, SPAN_OF("")));
	cloud_welcome(&l->cloud);
	f = cloud_frame(&l->cloud);
	frame_free(&f);
	cloud_say(&l->cloud, CONNACK_4);
	lan_expect(&l->lan, CONNACK_4);
	until(&l->rig, l->session->device.state == DEVICE_ONLINE);
	lan_hang_up(&l->lan);
	cloud_gets(l, 4, &will);
	life_expect_dead(l);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_publish),
	    TEST(test_publish_in_pieces),
	    TEST(test_drop),
	    TEST(test_refuse),
	    TEST(test_too_long),
	    TEST(test_subscribe),
	    TEST(test_unsubscribe),
	    TEST(test_other_rules),
	    TEST(test_refused_login),
	    TEST(test_contract),
	    TEST(test_maximum_packet_size),
	    TEST(test_response_topic),
	    TEST(test_connect),
	    TEST(test_kept_will),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
