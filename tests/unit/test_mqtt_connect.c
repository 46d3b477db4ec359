#include "codec/mqtt.h"
#include "codec/mqtt_connack.h"
#include "codec/mqtt_connect.h"
#include "codec/mqtt_property.h"

#include "guard.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

/* A string or binary field whose length is below 256 bytes. */
#define FIELD(n, literal) "\0" n literal

/* Protocol name and level, as a CONNECT begins behind its fixed header. */
#define MQTT_3 "\0\x06MQIsdp\x03"
#define MQTT_4 "\0\x04MQTT\x04"
#define MQTT_5 "\0\x04MQTT\x05"

static const struct span nothing = {NULL, 0};

/* A packet out of its first byte and the bytes behind the fixed header. */
static struct span
packet_of(struct guard *g, uint8_t first_byte, struct span body)
{
	uint8_t header[MQTT_HEADER_MAX];
	size_t n = mqtt_header_write(header, first_byte, (uint32_t)body.n);
	uint8_t *p = guard_room(g, n + body.n);

	memcpy(p, header, n);
	if (body.n > 0)
		memcpy(p + n, body.p, body.n);
	return (struct span){p, n + body.n};
}

static bool
reads(struct guard *g, struct span body, struct mqtt_connect *out,
    struct fault *why)
{
	return mqtt_connect_read(packet_of(g, 0x10, body), out, why);
}

static void
assert_connect_equal(const struct mqtt_connect *a, const struct mqtt_connect *b)
{
	assert_int_equal(a->level, b->level);
	assert_int_equal(a->clean, b->clean);
	assert_int_equal(a->keep_alive_s, b->keep_alive_s);
	assert_span_equal(a->properties, b->properties);
	assert_span_equal(a->client_id, b->client_id);
	assert_int_equal(a->has_will, b->has_will);
	assert_int_equal(a->will_qos, b->will_qos);
	assert_int_equal(a->will_retain, b->will_retain);
	assert_span_equal(a->will_properties, b->will_properties);
	assert_span_equal(a->will_topic, b->will_topic);
	assert_span_equal(a->will_payload, b->will_payload);
	assert_int_equal(a->has_username, b->has_username);
	assert_span_equal(a->username, b->username);
	assert_int_equal(a->has_password, b->has_password);
	assert_span_equal(a->password, b->password);
}

/* Written again, into just as much room as it asks for, it is <want>. */
static void
assert_writes(const struct mqtt_connect *c, struct span want)
{
	struct guard g = {0};
	size_t n = mqtt_connect_size(c);
	uint8_t *to = guard_room(&g, n);

	mqtt_connect_write(c, to);
	assert_span_equal(((struct span){to, n}), want);
	guard_free(&g);
}

/* clang-format off */
#define CONNECT_PROPERTIES                                                     \
	"\x11\0\0\x0e\x10" "\x15\0\x04SCRM" "\x16\0\x02\xff\0"    \
	"\x17\0" "\x19\x01" "\x21\0\x14" "\x22\0\x0a"                \
	"\x26\0\x01k\0\x01v" "\x26\0\x01k\0\x01v" "\x27\0\x01\0\0"
#define WILL_PROPERTIES                                                        \
	"\x01\x01" "\x02\0\0\0\x3c" "\x03\0\x01j" "\x08\0\x01r"   \
	"\x09\0\x02\0\x01" "\x18\0\0\0\x05"                          \
	"\x26\0\x01k\0\x01v" "\x26\0\0\0\0"

/*
 * Every vector: the body of a CONNECT, in its shortest form, and what it says.
 * The first five are what firmware in the field sends.
 */
static const struct {
	const char *name;
	struct span body;
	struct mqtt_connect want;
} vectors[] = {
	{ "PubSubClient: keep-alive 15, retained will, user and password",
	  SPAN_OF(MQTT_4 "\xe6\0\x0f"
	      FIELD("\x0e", "ESP8266-3f2a01")
	      FIELD("\x0c", "stat/pump-7/")
	      FIELD("\x07", "offline")
	      FIELD("\x04", "pump")
	      FIELD("\x06", "secret")),
	  { .level = 4, .clean = true, .keep_alive_s = 15,
	    .client_id = SPAN_OF("ESP8266-3f2a01"),
	    .has_will = true, .will_retain = true,
	    .will_topic = SPAN_OF("stat/pump-7/"),
	    .will_payload = SPAN_OF("offline"),
	    .has_username = true, .username = SPAN_OF("pump"),
	    .has_password = true, .password = SPAN_OF("secret") } },
	{ "PubSubClient: keep-alive 15, will at QoS 1, without payload",
	  SPAN_OF(MQTT_4 "\x0e\0\x0f"
	      FIELD("\x05", "PUMP7")
	      FIELD("\x03", "w/t")
	      FIELD("\0", "")),
	  { .level = 4, .clean = true, .keep_alive_s = 15,
	    .client_id = SPAN_OF("PUMP7"),
	    .has_will = true, .will_qos = 1, .will_topic = SPAN_OF("w/t") } },
	{ "mosquitto_pub",
	  SPAN_OF(MQTT_4 "\x02\0\x3c"
	      FIELD("\x17", "mosq-8Zl9iVyrMB4tKq2aXw")),
	  { .level = 4, .clean = true, .keep_alive_s = 60,
	    .client_id = SPAN_OF("mosq-8Zl9iVyrMB4tKq2aXw") } },
	{ "libemqtt: MQTT 3.1, keep-alive 3, user and password",
	  SPAN_OF(MQTT_3 "\xc2\0\x03"
	      FIELD("\x08", "avengalv")
	      FIELD("\x05", "cid01")
	      FIELD("\x04", "camp")),
	  { .level = 3, .clean = true, .keep_alive_s = 3,
	    .client_id = SPAN_OF("avengalv"),
	    .has_username = true, .username = SPAN_OF("cid01"),
	    .has_password = true, .password = SPAN_OF("camp") } },
	{ "MQTT-C: empty client identifier, keep-alive 400",
	  SPAN_OF(MQTT_4 "\x02\x01\x90" FIELD("\0", "")),
	  { .level = 4, .clean = true, .keep_alive_s = 400 } },
	{ "no Clean Session with an empty client identifier",
	  SPAN_OF(MQTT_4 "\0\xff\xff" FIELD("\0", "")),
	  { .level = 4, .keep_alive_s = 65535 } },
	{ "MQTT 3.1, over 23 bytes of client identifier, will at QoS 2",
	  SPAN_OF(MQTT_3 "\x14\0\0"
	      FIELD("\x1e", "a-client-identifier-of-over-23")
	      FIELD("\x01", "t")
	      FIELD("\x03", "\0\xff\xfe")),
	  { .level = 3,
	    .client_id = SPAN_OF("a-client-identifier-of-over-23"),
	    .has_will = true, .will_qos = 2, .will_topic = SPAN_OF("t"),
	    .will_payload = SPAN_OF("\0\xff\xfe") } },
	{ "an empty user name, no password",
	  SPAN_OF(MQTT_4 "\x80\0\x1e" FIELD("\x01", "c") FIELD("\0", "")),
	  { .level = 4, .keep_alive_s = 30, .client_id = SPAN_OF("c"),
	    .has_username = true } },
	{ "MQTT 5.0 without properties",
	  SPAN_OF(MQTT_5 "\x02\0\x3c\0" FIELD("\x01", "c")),
	  { .level = 5, .clean = true, .keep_alive_s = 60,
	    .client_id = SPAN_OF("c") } },
	{ "MQTT 5.0, password without user name",
	  SPAN_OF(MQTT_5 "\x42\0\x3c\0" FIELD("\x01", "c") FIELD("\x02", "pw")),
	  { .level = 5, .clean = true, .keep_alive_s = 60,
	    .client_id = SPAN_OF("c"),
	    .has_password = true, .password = SPAN_OF("pw") } },
	{ "MQTT 5.0 with all properties of a CONNECT and of its will",
	  SPAN_OF(MQTT_5 "\xee\0\x3c"
	      "\x2e" CONNECT_PROPERTIES
	      FIELD("\x01", "c")
	      "\x25" WILL_PROPERTIES
	      FIELD("\x01", "t")
	      FIELD("\x01", "p")
	      FIELD("\x01", "u")
	      FIELD("\x01", "s")),
	  { .level = 5, .clean = true, .keep_alive_s = 60,
	    .properties = SPAN_OF(CONNECT_PROPERTIES),
	    .client_id = SPAN_OF("c"),
	    .has_will = true, .will_qos = 1, .will_retain = true,
	    .will_properties = SPAN_OF(WILL_PROPERTIES),
	    .will_topic = SPAN_OF("t"), .will_payload = SPAN_OF("p"),
	    .has_username = true, .username = SPAN_OF("u"),
	    .has_password = true, .password = SPAN_OF("s") } },
};
/* clang-format on */

static void
test_vectors_read_and_written_again(void **state)
{
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++) {
		struct mqtt_connect c;
		struct fault why = {R_NONE, ""};
		struct span packet = packet_of(&g, 0x10, vectors[i].body);

		print_message("%s\n", vectors[i].name);
		if (!mqtt_connect_read(packet, &c, &why))
			fail_msg("%s", why.text);
		assert_connect_equal(&c, &vectors[i].want);
		assert_writes(&c, packet);
	}
	guard_free(&g);
}

/* As the network may cut them, and as a liar may. */
static void
test_every_prefix_is_refused(void **state)
{
	struct guard g = {0};
	struct mqtt_connect c;
	struct fault why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++) {
		struct span body = vectors[i].body;
		struct span packet = packet_of(&g, 0x10, body);
		struct guard cut = {0};

		for (size_t n = 0; n < packet.n; n++) {
			assert_false(mqtt_connect_read(
			    guard_copy(&cut, (struct span){packet.p, n}), &c,
			    &why));
			assert_int_equal(why.why, R_BAD_CONNECT);
		}
		guard_free(&cut);
		/* the fixed header tells the truth, the fields do not fit it;
		   with MQTT 3.1 the login may be missing (3.1, section 3.1) */
		for (size_t n = 0; n < body.n; n++) {
			bool ok = reads(&g, (struct span){body.p, n}, &c, &why);

			if (ok && c.level == 3)
				assert_true(vectors[i].want.has_username &&
					    !c.has_password);
			else
				assert_false(ok);
			if (!ok)
				assert_int_equal(why.why, R_BAD_CONNECT);
		}
	}
	guard_free(&g);
}

static void
test_bytes_behind_the_last_field(void **state)
{
	struct guard g = {0}, longer = {0};
	struct mqtt_connect c;
	struct fault why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++) {
		struct span body = vectors[i].body;
		uint8_t *p = guard_room(&longer, body.n + 1);

		memcpy(p, body.p, body.n);
		assert_false(reads(&g, (struct span){p, body.n + 1}, &c, &why));
		assert_int_equal(why.why, R_BAD_CONNECT);
		assert_non_null(strstr(why.text, "1 bytes follow"));
		assert_int_equal(c.level, vectors[i].want.level);
	}
	guard_free(&g);
	guard_free(&longer);
}

static void
test_refused(void **state)
{
	static const struct {
		struct span body;
		enum reason why;
		uint8_t level;
		const char *text; /* in the fault's */
	} rows[] = {
	    /* name and level */
	    {SPAN_OF(""), R_BAD_CONNECT, 0, "protocol name"},
	    {SPAN_OF(FIELD("\x04", "HTTP") "\x04\x02\0\x3c\0\0"), R_BAD_CONNECT,
		0, "'HTTP'"},
	    {SPAN_OF(FIELD("\x04", "mqtt") "\x04\x02\0\x3c\0\0"), R_BAD_CONNECT,
		0, "'mqtt'"},
	    {SPAN_OF(FIELD("\x05", "M\"\x1b\xff\n") "\x04\x02\0\x3c\0\0"),
		R_BAD_CONNECT, 0, "'M\\x22\\x1b\\xff\\x0a'"},
	    {SPAN_OF(FIELD("\x04", "MQTT")), R_BAD_CONNECT, 0, "level"},
	    {SPAN_OF(FIELD("\x04", "MQTT") "\x06\x02\0\x3c\0\0"),
		R_UNSUPPORTED_LEVEL, 5, "level 6"},
	    {SPAN_OF(FIELD("\x04", "MQTT") "\x03\x02\0\x3c\0\0"),
		R_UNSUPPORTED_LEVEL, 4, "'MQTT' with level 3"},
	    {SPAN_OF(FIELD("\x06", "MQIsdp") "\x04\x02\0\x3c\0\0"),
		R_UNSUPPORTED_LEVEL, 3, "'MQIsdp' with level 4"},
	    {SPAN_OF(FIELD("\x04", "MQTT") "\0\x02\0\x3c\0\0"),
		R_UNSUPPORTED_LEVEL, 4, "level 0"},
	    /* a Mosquitto bridge's first try */
	    {SPAN_OF(FIELD("\x04", "MQTT") "\x84\x02\0\x3c\0\0"),
		R_UNSUPPORTED_LEVEL, 4, "level 132"},
	    /* what comes behind is of no interest then */
	    {SPAN_OF(FIELD("\x04", "MQTT") "\x07"), R_UNSUPPORTED_LEVEL, 5,
		"level 7"},
	    /* flags */
	    {SPAN_OF(MQTT_4 "\x03\0\x3c\0\0"), R_BAD_CONNECT, 4,
		"MQTT-3.1.2-3"},
	    {SPAN_OF(MQTT_5 "\x03\0\x3c\0\0\0"), R_BAD_CONNECT, 5,
		"MQTT-3.1.2-3"},
	    {SPAN_OF(MQTT_4 "\x1e\0\x3c\0\0\0\x01t\0\0"), R_BAD_CONNECT, 4,
		"QoS 3"},
	    {SPAN_OF(MQTT_4 "\x0a\0\x3c\0\0"), R_BAD_CONNECT, 4,
		"without a will"},
	    {SPAN_OF(MQTT_4 "\x22\0\x3c\0\0"), R_BAD_CONNECT, 4,
		"without a will"},
	    {SPAN_OF(MQTT_4 "\x42\0\x3c\0\0\0\x01p"), R_BAD_CONNECT, 4,
		"password without a user name"},
	    {SPAN_OF(MQTT_3 "\x42\0\x3c\0\0\0\x01p"), R_BAD_CONNECT, 3,
		"password without a user name"},
	    /* strings */
	    {SPAN_OF(MQTT_4 "\x02\0\x3c" FIELD("\x02", "\xc0\xaf")),
		R_BAD_CONNECT, 4, "client identifier is not valid UTF-8"},
	    {SPAN_OF(MQTT_4 "\x02\0\x3c" FIELD("\x03", "a\0b")), R_BAD_CONNECT,
		4, "'a\\x00b'"},
	    {SPAN_OF(MQTT_4 "\x06\0\x3c\0\0" FIELD("\x01", "\xff") "\0\0"),
		R_BAD_CONNECT, 4, "will topic is not valid UTF-8"},
	    {SPAN_OF(MQTT_4 "\x06\0\x3c\0\0\0\0\0\0"), R_BAD_CONNECT, 4,
		"will topic is empty"},
	    {SPAN_OF(MQTT_4 "\x06\0\x3c\0\0" FIELD("\x03", "a/#") "\0\0"),
		R_BAD_CONNECT, 4, "wildcard"},
	    {SPAN_OF(MQTT_4 "\x06\0\x3c\0\0" FIELD("\x03", "+/a") "\0\0"),
		R_BAD_CONNECT, 4, "wildcard"},
	    {SPAN_OF(MQTT_4 "\x82\0\x3c\0\0" FIELD("\x02", "u\xff")),
		R_BAD_CONNECT, 4, "user name"},
	    /* property lists */
	    {SPAN_OF(MQTT_5 "\x02\0\x3c"
			    "\x09"
			    "\0\0"),
		R_BAD_CONNECT, 5, "3.1.2.11"},
	    {SPAN_OF(MQTT_5 "\x02\0\x3c"
			    "\x80\0"
			    "\0\0"),
		R_BAD_CONNECT, 5, "3.1.2.11"},
	    {SPAN_OF(MQTT_5 "\x02\0\x3c"
			    "\x05\x18\0\0\0\x05"
			    "\0\0"),
		R_BAD_CONNECT, 5, "3.1.2.11"},
	    {SPAN_OF(MQTT_5 "\x06\0\x3c"
			    "\0"
			    "\0\0"
			    "\x05\x11\0\0\0\x05"
			    "\0\x01t\0\0"),
		R_BAD_CONNECT, 5, "3.1.3.2"},
	};
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct mqtt_connect c;
		struct fault why;

		if (reads(&g, rows[i].body, &c, &why))
			fail_msg("accepted: %s", rows[i].text);
		if (strstr(why.text, rows[i].text) == NULL)
			fail_msg("'%s' is not in '%s'", rows[i].text, why.text);
		assert_int_equal(why.why, rows[i].why);
		assert_int_equal(c.level, rows[i].level);
		assert_false(reads(&g, rows[i].body, &c, NULL));
	}
	guard_free(&g);
}

static void
test_fixed_header_of_another_packet(void **state)
{
	struct guard g = {0};
	struct mqtt_connect c;
	struct fault why;

	(void)state;
	for (unsigned first = 0; first < 256; first++)
		assert_int_equal(mqtt_connect_read(packet_of(&g, (uint8_t)first,
						       vectors[4].body),
				     &c, &why),
		    first == 0x10);
	guard_free(&g);
}

/* No fault shows what may be a secret. */
static void
test_faults_show_no_login(void **state)
{
	struct guard g = {0};
	struct mqtt_connect c;
	struct fault why;

	(void)state;
	assert_false(reads(&g,
	    SPAN_OF(MQTT_4 "\xc2\0\x3c\0\0" FIELD("\x07", "token\xff!")
		    FIELD("\x06", "hidden") "x"),
	    &c, &why));
	assert_null(strstr(why.text, "token"));
	assert_false(reads(&g,
	    SPAN_OF(MQTT_4 "\xc2\0\x3c\0\0" FIELD("\x05", "token")
		    FIELD("\x07", "hidden")),
	    &c, &why));
	assert_null(strstr(why.text, "token"));
	assert_null(strstr(why.text, "hidden"));
	guard_free(&g);
}

/* What MQTT 3.1 allows and later levels do not. */
static void
test_leniency_of_mqtt_3_1(void **state)
{
	struct guard g = {0};
	struct mqtt_connect c;
	struct fault why;

	(void)state;
	/* reserved bit; will bits without a will */
	assert_true(reads(
	    &g, SPAN_OF(MQTT_3 "\x3b\0\x3c" FIELD("\x01", "c")), &c, &why));
	assert_false(c.has_will);
	assert_int_equal(c.will_qos, 0);
	assert_false(c.will_retain);
	/* flags announce a login that is missing, or half of one */
	assert_true(reads(
	    &g, SPAN_OF(MQTT_3 "\xc2\0\x3c" FIELD("\x01", "c")), &c, &why));
	assert_false(c.has_username);
	assert_false(c.has_password);
	assert_true(reads(&g,
	    SPAN_OF(MQTT_3 "\xc2\0\x3c" FIELD("\x01", "c") FIELD("\x01", "u")),
	    &c, &why));
	assert_true(c.has_username);
	assert_false(c.has_password);
	assert_writes(&c, SPAN_OF("\x10\x12" MQTT_3 "\x82\0\x3c" FIELD(
			      "\x01", "c") FIELD("\x01", "u")));
	guard_free(&g);
}

/* A longer form than needed is read, and written in the shortest. */
static void
test_long_form_of_the_remaining_length(void **state)
{
	struct guard g = {0};
	struct mqtt_connect c;
	struct fault why;

	(void)state;
	assert_true(mqtt_connect_read(
	    guard_copy(&g, SPAN_OF("\x10\x8c\x80\0" MQTT_4 "\x02\0\x3c"
				   "\0\0")),
	    &c, &why));
	assert_writes(&c, SPAN_OF("\x10\x0c" MQTT_4 "\x02\0\x3c\0\0"));
	guard_free(&g);
}

/* Fills <n> bytes, 5 or more, with User Properties. */
static void
fill_with_properties(uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t value = n - 5 > 60000 ? 60000 : n - 5;

		*p++ = MQTT_USER_PROPERTY;
		*p++ = 0;
		*p++ = 0;
		*p++ = (uint8_t)(value >> 8);
		*p++ = (uint8_t)value;
		memset(p, 'v', value);
		p += value;
		n -= 5 + value;
	}
}

/* The borders of the remaining length (1.5.5): one byte more, one size more. */
static void
test_remaining_length_borders(void **state)
{
	static const size_t borders[] = {127, 16383, 2097151};
	static uint8_t list[2097152];
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LENGTH(borders); i++) {
		size_t remaining = borders[i / 2] + i % 2;
		size_t length_bytes = i / 2 + 1; /* of the property length */
		struct mqtt_connect c = {.level = 5}, again;
		struct fault why;
		size_t n;
		uint8_t *to;

		c.properties.p = list;
		c.properties.n = remaining - 10 - length_bytes - 2;
		fill_with_properties(list, c.properties.n);
		n = mqtt_connect_size(&c);
		assert_int_equal(n, 1 + length_bytes + i % 2 + remaining);
		to = guard_room(&g, n);
		mqtt_connect_write(&c, to);
		assert_true(
		    mqtt_connect_read((struct span){to, n}, &again, &why));
		assert_connect_equal(&again, &c);
	}
	guard_free(&g);
}

static void
test_fields_at_their_bounds(void **state)
{
	static uint8_t many[65536];
	struct guard g = {0};
	struct mqtt_connect c = {.level = 4}, again;
	struct span *const fields[] = {&c.client_id, &c.will_topic,
	    &c.will_payload, &c.username, &c.password};
	struct fault why;
	uint8_t *to;
	size_t n;

	(void)state;
	memset(many, 'a', sizeof(many));
	c.has_will = c.has_username = c.has_password = true;
	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
		*fields[i] = (struct span){many, 65535};
	n = mqtt_connect_size(&c);
	assert_int_equal(n, 1 + 3 + 10 + 5 * (2 + 65535));
	to = guard_room(&g, n);
	mqtt_connect_write(&c, to);
	assert_true(mqtt_connect_read((struct span){to, n}, &again, &why));
	assert_connect_equal(&again, &c);
	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		fields[i]->n = 65536;
		assert_int_equal(mqtt_connect_size(&c), 0);
		fields[i]->n = 65535;
	}
	c = (struct mqtt_connect){.level = 5};
	c.properties = (struct span){many, MQTT_REMAINING_MAX - 16};
	assert_int_equal(mqtt_connect_size(&c), 1 + 4 + MQTT_REMAINING_MAX);
	c.properties.n++;
	assert_int_equal(mqtt_connect_size(&c), 0);
	c.properties.n = SIZE_MAX;
	assert_int_equal(mqtt_connect_size(&c), 0);
	guard_free(&g);
}

static unsigned
next_random(unsigned *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 16;
}

/* Any CONNECT there can be: written, read, equal. */
static void
test_round_trip_of_random_fields(void **state)
{
	static const char text[] =
	    "abcdefghijklmnopqrstuvwxyz0123456789/$-_.:\xc3\xa9";
	static const struct span lists[] = {SPAN_OF(""),
	    SPAN_OF("\x11\0\0\0\x05"), SPAN_OF("\x26\0\x01k\0\x01v")};
	static const struct span will_lists[] = {
	    SPAN_OF(""), SPAN_OF("\x01\x01"), SPAN_OF("\x18\0\0\0\x05")};
	unsigned seed = 7;
	struct guard g = {0};

	(void)state;
	for (int turn = 0; turn < 5000; turn++) {
		struct mqtt_connect c = {0}, again;
		struct span *const strings[] = {&c.client_id, &c.will_topic,
		    &c.will_payload, &c.username, &c.password};
		struct fault why;
		unsigned flags = next_random(&seed);
		size_t n;
		uint8_t *to;

		c.level = (uint8_t)(3 + next_random(&seed) % 3);
		c.clean = flags & 1;
		c.has_will = flags & 2;
		c.has_username = flags & 4;
		c.has_password = c.has_username && (flags & 8);
		c.keep_alive_s = (uint16_t)next_random(&seed);
		for (size_t i = 0; i < ARRAY_LENGTH(strings); i++)
			*strings[i] = (struct span){(const uint8_t *)text,
			    1 + next_random(&seed) % (sizeof(text) - 3)};
		if (c.has_will) {
			c.will_qos = (uint8_t)(next_random(&seed) % 3);
			c.will_retain = flags & 16;
		} else {
			c.will_topic = c.will_payload = nothing;
		}
		if (!c.has_username)
			c.username = nothing;
		if (!c.has_password)
			c.password = nothing;
		if (c.level == 5)
			c.properties = lists[next_random(&seed) % 3];
		if (c.level == 5 && c.has_will)
			c.will_properties = will_lists[next_random(&seed) % 3];
		n = mqtt_connect_size(&c);
		to = guard_room(&g, n);
		mqtt_connect_write(&c, to);
		if (!mqtt_connect_read((struct span){to, n}, &again, &why))
			fail_msg("turn %d: %s", turn, why.text);
		assert_connect_equal(&again, &c);
	}
	guard_free(&g);
}

/* ---- properties ---- */

/* MQTT 5.0 table 2-4: one of each, and the packets it may stand in: C CONNECT,
   W will, A CONNACK, D DISCONNECT, U AUTH, P PUBLISH, K PUBACK and its like,
   SUBACK and UNSUBACK, S SUBSCRIBE, N UNSUBSCRIBE. */
static const struct {
	struct span whole;
	const char *places;
} properties[] = {
    {SPAN_OF("\x01\x01"), "WP"},
    {SPAN_OF("\x02\0\0\0\x01"), "WP"},
    {SPAN_OF("\x03\0\x01j"), "WP"},
    {SPAN_OF("\x08\0\x01r"), "WP"},
    {SPAN_OF("\x09\0\x02\xff\0"), "WP"},
    {SPAN_OF("\x0b\xff\x7f"), "PS"},
    {SPAN_OF("\x11\0\0\0\x01"), "CAD"},
    {SPAN_OF("\x12\0\x01i"), "A"},
    {SPAN_OF("\x13\0\x3c"), "A"},
    {SPAN_OF("\x15\0\x01m"), "CAU"},
    {SPAN_OF("\x17\x01"), "C"},
    {SPAN_OF("\x18\0\0\0\x01"), "W"},
    {SPAN_OF("\x19\x01"), "C"},
    {SPAN_OF("\x1a\0\x01i"), "A"},
    {SPAN_OF("\x1c\0\x01s"), "AD"},
    {SPAN_OF("\x1f\0\x01r"), "ADUK"},
    {SPAN_OF("\x21\0\x01"), "CA"},
    {SPAN_OF("\x22\0\x01"), "CA"},
    {SPAN_OF("\x23\0\x01"), "P"},
    {SPAN_OF("\x24\x01"), "A"},
    {SPAN_OF("\x25\x01"), "A"},
    {SPAN_OF("\x26\0\x01k\0\x01v"), "CWADUPKSN"},
    {SPAN_OF("\x27\0\0\0\x01"), "CA"},
    {SPAN_OF("\x28\x01"), "A"},
    {SPAN_OF("\x29\x01"), "A"},
    {SPAN_OF("\x2a\x01"), "A"},
};

static const char place_letters[] = {
    [MQTT_IN_CONNECT] = 'C',
    [MQTT_IN_WILL] = 'W',
    [MQTT_IN_CONNACK] = 'A',
    [MQTT_IN_DISCONNECT] = 'D',
    [MQTT_IN_AUTH] = 'U',
    [MQTT_IN_PUBLISH] = 'P',
    [MQTT_IN_ACK] = 'K',
    [MQTT_IN_SUBSCRIBE] = 'S',
    [MQTT_IN_UNSUBSCRIBE] = 'N',
};

static void
test_property_places_and_repeats(void **state)
{
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(properties); i++) {
		struct span one = properties[i].whole;
		uint8_t twice[32];

		memcpy(twice, one.p, one.n);
		memcpy(twice + one.n, one.p, one.n);
		for (size_t at = 0; at < ARRAY_LENGTH(place_letters); at++) {
			enum mqtt_property_place place =
			    (enum mqtt_property_place)at;
			bool here = strchr(properties[i].places,
					place_letters[at]) != NULL;
			bool repeats =
			    one.p[0] == MQTT_USER_PROPERTY ||
			    (one.p[0] == MQTT_SUBSCRIPTION_IDENTIFIER &&
				place == MQTT_IN_PUBLISH);

			if (mqtt_properties_valid(guard_copy(&g, one), place) !=
			    here)
				fail_msg("property %02x at %c", one.p[0],
				    place_letters[at]);
			assert_int_equal(
			    mqtt_properties_valid(
				(struct span){twice, 2 * one.n}, place),
			    here && repeats);
		}
	}
	guard_free(&g);
}

static void
test_property_next_and_every_prefix(void **state)
{
	struct guard g = {0};
	struct mqtt_property p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(properties); i++) {
		struct span one = properties[i].whole;
		struct span list = guard_copy(&g, one);

		assert_int_equal(mqtt_property_next(&list, &p), PARSE_OK);
		assert_int_equal(p.id, one.p[0]);
		assert_span_equal(p.whole, one);
		assert_int_equal(list.n, 0);
		assert_int_equal(mqtt_property_next(&list, &p), PARSE_MORE);
		for (size_t n = 1; n < one.n; n++) {
			list = guard_copy(&g, (struct span){one.p, n});
			assert_int_equal(
			    mqtt_property_next(&list, &p), PARSE_BAD);
			assert_int_equal(list.n, n);
		}
	}
	guard_free(&g);
}

static void
test_property_values(void **state)
{
	struct span list =
	    SPAN_OF("\x17\x01\x13\x01\x02\x11\x01\x02\x03\x04"
		    "\x0b\x80\x01\x1f\0\x02hi\x26\0\x01k\0\x02vv");
	struct mqtt_property p;

	(void)state;
	assert_int_equal(mqtt_property_next(&list, &p), PARSE_OK);
	assert_int_equal(p.value, 1);
	assert_int_equal(mqtt_property_next(&list, &p), PARSE_OK);
	assert_int_equal(p.value, 0x0102);
	assert_int_equal(mqtt_property_next(&list, &p), PARSE_OK);
	assert_int_equal(p.value, 0x01020304);
	assert_int_equal(mqtt_property_next(&list, &p), PARSE_OK);
	assert_int_equal(p.value, 128);
	assert_int_equal(mqtt_property_next(&list, &p), PARSE_OK);
	assert_span_equal(p.text, SPAN_OF("hi"));
	assert_int_equal(mqtt_property_next(&list, &p), PARSE_OK);
	assert_span_equal(p.text, SPAN_OF("k"));
	assert_span_equal(p.text2, SPAN_OF("vv"));
	assert_int_equal(mqtt_property_next(&list, &p), PARSE_MORE);
}

/* All other identifiers, and values the sections of each one forbid. */
static void
test_properties_refused(void **state)
{
	static const struct {
		struct span list;
		enum mqtt_property_place place;
	} rows[] = {
	    {SPAN_OF("\x17\x02"), MQTT_IN_CONNECT},
	    {SPAN_OF("\x19\x02"), MQTT_IN_CONNECT},
	    {SPAN_OF("\x21\0\0"), MQTT_IN_CONNECT},
	    {SPAN_OF("\x27\0\0\0\0"), MQTT_IN_CONNECT},
	    {SPAN_OF("\x01\x02"), MQTT_IN_WILL},
	    {SPAN_OF("\x24\x02"), MQTT_IN_CONNACK},
	    {SPAN_OF("\x25\x02"), MQTT_IN_CONNACK},
	    {SPAN_OF("\x28\x02"), MQTT_IN_CONNACK},
	    {SPAN_OF("\x2a\xff"), MQTT_IN_CONNACK},
	    /* no Authentication Data without its method */
	    {SPAN_OF("\x16\0\x01x"), MQTT_IN_CONNECT},
	    /* bad strings */
	    {SPAN_OF("\x15\0\x01\xff"), MQTT_IN_CONNECT},
	    {SPAN_OF("\x26\0\x01k\0\x01\0"), MQTT_IN_CONNECT},
	    {SPAN_OF("\x26\0\x01\xff\0\x01v"), MQTT_IN_CONNECT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		if (mqtt_properties_valid(rows[i].list, rows[i].place))
			fail_msg("row %zu", i);
	assert_true(mqtt_properties_valid(
	    SPAN_OF("\x16\0\x01x\x15\0\x01m"), MQTT_IN_CONNECT));
	assert_true(mqtt_properties_valid(nothing, MQTT_IN_CONNECT));
	for (unsigned id = 0; id < 256; id++) {
		uint8_t bytes[16] = {(uint8_t)id};
		struct span list = {bytes, sizeof(bytes)};
		struct mqtt_property p;
		bool known = id == 0x16;

		for (size_t i = 0; i < ARRAY_LENGTH(properties); i++)
			known |= properties[i].whole.p[0] == id;
		assert_int_equal(mqtt_property_next(&list, &p),
		    known ? PARSE_OK : PARSE_BAD);
	}
}

/* ---- CONNACK ---- */

static void
test_connack_read(void **state)
{
	static const struct {
		struct span packet;
		uint8_t level;
		bool ok;
		bool session_present;
		uint8_t code;
	} rows[] = {
	    {SPAN_OF("\x20\x02\0\0"), 3, true, false, 0},
	    /* reserved at level 3 */
	    {SPAN_OF("\x20\x02\x01\0"), 3, true, false, 0},
	    {SPAN_OF("\x20\x02\xff\x04"), 3, true, false, 4},
	    {SPAN_OF("\x20\x02\0\0"), 4, true, false, 0},
	    {SPAN_OF("\x20\x02\x01\0"), 4, true, true, 0},
	    {SPAN_OF("\x20\x02\0\x05"), 4, true, false, 5},
	    {SPAN_OF("\x20\x02\x01\x05"), 4, true, false, 5},
	    {SPAN_OF("\x20\x02\x02\0"), 4, false, false, 0},
	    {SPAN_OF("\x20\x03\0\0\0"), 4, false, false, 0},
	    {SPAN_OF("\x20\x01\0"), 4, false, false, 0},
	    {SPAN_OF("\x20\x00"), 4, false, false, 0},
	    {SPAN_OF("\x30\x02\0\0"), 4, false, false, 0},
	    {SPAN_OF("\x21\x02\0\0"), 4, false, false, 0},
	    {SPAN_OF("\x20\x03\0\0\0"), 5, true, false, 0},
	    {SPAN_OF("\x20\x03\x01\0\0"), 5, true, true, 0},
	    {SPAN_OF("\x20\x03\0\x87\0"), 5, true, false, 0x87},
	    {SPAN_OF("\x20\x03\x02\0\0"), 5, false, false, 0},
	    /* a server of MQTT 3.1.1 refuses a client of 5.0 */
	    {SPAN_OF("\x20\x02\0\x01"), 5, true, false, 0x84},
	    {SPAN_OF("\x20\x02\0\x05"), 5, true, false, 0x87},
	    {SPAN_OF("\x20\x02\0\0"), 5, false, false, 0},
	    {SPAN_OF("\x20\x02\0\x06"), 5, false, false, 0},
	    {SPAN_OF("\x20\x02\0\x87"), 5, false, false, 0},
	    /* property lists that do not fit, or not here */
	    {SPAN_OF("\x20\x03\0\0\x01"), 5, false, false, 0},
	    {SPAN_OF("\x20\x04\0\0\0\0"), 5, false, false, 0},
	    {SPAN_OF("\x20\x05\0\0\x02\x17\0"), 5, false, false, 0},
	};
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct mqtt_connack ack;

		if (mqtt_connack_read(guard_copy(&g, rows[i].packet),
			rows[i].level, &ack) != rows[i].ok)
			fail_msg("row %zu", i);
		for (size_t n = 0; n < rows[i].packet.n; n++) {
			struct mqtt_connack cut;

			assert_false(mqtt_connack_read(
			    guard_copy(&g, (struct span){rows[i].packet.p, n}),
			    rows[i].level, &cut));
		}
		if (!rows[i].ok)
			continue;
		assert_int_equal(ack.session_present, rows[i].session_present);
		assert_int_equal(ack.code, rows[i].code);
		assert_int_equal(ack.properties.n, 0);
		assert_false(ack.has_server_keep_alive);
	}
	guard_free(&g);
}

static const struct span talkative =
    SPAN_OF("\x20\x2a\x01\0\x27"
	    "\x13\0\x78"         /* Server Keep Alive */
	    "\x21\0\x14"         /* Receive Maximum */
	    "\x12\0\x06gw-007"   /* Assigned Client Identifier */
	    "\x26\0\x01k\0\x01v" /* User Property */
	    "\x1c\0\x05other"    /* Server Reference */
	    "\x1f\0\x02ok"       /* Reason String */
	    "\x24\x01"           /* Maximum QoS */
	    "\x25\0");           /* Retain Available */

static void
test_connack_properties(void **state)
{
	struct guard g = {0};
	struct mqtt_connack ack;

	(void)state;
	assert_true(mqtt_connack_read(guard_copy(&g, talkative), 5, &ack));
	assert_true(ack.has_server_keep_alive);
	assert_int_equal(ack.server_keep_alive_s, 120);
	assert_span_equal(ack.reason_string, SPAN_OF("ok"));
	for (size_t n = 0; n < talkative.n; n++) {
		struct guard cut = {0};

		assert_false(mqtt_connack_read(
		    guard_copy(&cut, (struct span){talkative.p, n}), 5, &ack));
		guard_free(&cut);
	}
	guard_free(&g);
}

static void
assert_for_device(const struct mqtt_connack *ack, uint8_t level,
    struct span assigned, struct span want)
{
	struct guard g = {0};
	uint8_t *out = guard_room(&g, want.n);

	assert_int_equal(
	    mqtt_connack_for_device(ack, level, assigned, out, want.n), want.n);
	assert_memory_equal(out, want.p, want.n);
	for (size_t size = 0; size < want.n; size++)
		assert_int_equal(mqtt_connack_for_device(ack, level, assigned,
				     guard_room(&g, size), size),
		    0);
	guard_free(&g);
}

static void
test_connack_for_device(void **state)
{
	struct mqtt_connack ack, again;
	uint8_t out[128];
	size_t n;

	(void)state;
	assert_true(mqtt_connack_read(SPAN_OF("\x20\x02\x01\0"), 4, &ack));
	assert_for_device(&ack, 4, nothing, SPAN_OF("\x20\x02\x01\0"));
	assert_true(mqtt_connack_read(SPAN_OF("\x20\x02\0\x04"), 3, &ack));
	assert_for_device(&ack, 3, SPAN_OF("x"), SPAN_OF("\x20\x02\0\x04"));

	assert_true(mqtt_connack_read(SPAN_OF("\x20\x02\0\x04"), 5, &ack));
	assert_for_device(&ack, 5, nothing, SPAN_OF("\x20\x03\0\x86\0"));

	assert_true(mqtt_connack_read(talkative, 5, &ack));
	assert_for_device(&ack, 5, nothing,
	    SPAN_OF("\x20\x16\x01\0\x13"
		    "\x21\0\x14"
		    "\x26\0\x01k\0\x01v"
		    "\x1f\0\x02ok"
		    "\x24\x01\x25\0"));
	assert_for_device(&ack, 5, SPAN_OF("me"),
	    SPAN_OF("\x20\x1b\x01\0\x18"
		    "\x12\0\x02me"
		    "\x21\0\x14"
		    "\x26\0\x01k\0\x01v"
		    "\x1f\0\x02ok"
		    "\x24\x01\x25\0"));
	/* and what a device gets is a CONNACK again */
	n = mqtt_connack_for_device(
	    &ack, 5, SPAN_OF("me"), out, talkative.n + 2 + 8);
	assert_true(mqtt_connack_read((struct span){out, n}, 5, &again));
	assert_true(again.session_present);
	assert_false(again.has_server_keep_alive);
}

/* The room the header promises to be enough, where lengths grow a byte. */
static void
test_connack_room_that_is_always_enough(void **state)
{
	static uint8_t many[65536];
	struct guard g = {0}, in = {0};
	struct mqtt_connack ack;

	(void)state;
	memset(many, 'a', sizeof(many));
	/* 300 and 15 times 4349 is the longest there is */
	for (size_t n = 0; n <= 65535; n += n < 300 ? 1 : 4349) {
		size_t size = 5 + n + 8;

		assert_true(mqtt_connack_read(
		    guard_copy(&in, SPAN_OF("\x20\x03\0\0\0")), 5, &ack));
		assert_true(
		    mqtt_connack_for_device(&ack, 5, (struct span){many, n},
			guard_room(&g, size), size) > 0);
	}
	assert_int_equal(
	    mqtt_connack_for_device(&ack, 5, (struct span){many, 65536},
		guard_room(&g, 70000), 70000),
	    0);
	guard_free(&g);
	guard_free(&in);
}

static void
test_connack_words(void **state)
{
	(void)state;
	assert_string_equal(mqtt_connack_word(3, 0), "accepted");
	assert_string_equal(
	    mqtt_connack_word(4, 4), "bad_user_name_or_password");
	assert_string_equal(mqtt_connack_word(4, 5), "not_authorized");
	assert_string_equal(mqtt_connack_word(4, 6), "reserved_code");
	assert_string_equal(mqtt_connack_word(4, 0x87), "reserved_code");
	assert_string_equal(mqtt_connack_word(5, 0), "success");
	assert_string_equal(mqtt_connack_word(5, 5), "reserved_code");
	assert_string_equal(mqtt_connack_word(5, 0x87), "not_authorized");
	assert_string_equal(
	    mqtt_connack_word(5, 0x9f), "connection_rate_exceeded");
	assert_string_equal(mqtt_connack_word(5, 0xff), "reserved_code");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors_read_and_written_again),
	    cmocka_unit_test(test_every_prefix_is_refused),
	    cmocka_unit_test(test_bytes_behind_the_last_field),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_fixed_header_of_another_packet),
	    cmocka_unit_test(test_faults_show_no_login),
	    cmocka_unit_test(test_leniency_of_mqtt_3_1),
	    cmocka_unit_test(test_long_form_of_the_remaining_length),
	    cmocka_unit_test(test_remaining_length_borders),
	    cmocka_unit_test(test_fields_at_their_bounds),
	    cmocka_unit_test(test_round_trip_of_random_fields),
	    cmocka_unit_test(test_property_places_and_repeats),
	    cmocka_unit_test(test_property_next_and_every_prefix),
	    cmocka_unit_test(test_property_values),
	    cmocka_unit_test(test_properties_refused),
	    cmocka_unit_test(test_connack_read),
	    cmocka_unit_test(test_connack_properties),
	    cmocka_unit_test(test_connack_for_device),
	    cmocka_unit_test(test_connack_room_that_is_always_enough),
	    cmocka_unit_test(test_connack_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
