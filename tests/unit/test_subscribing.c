/*
 * Packets are written as words here: "S 7 a:2 b:0" is a SUBSCRIBE with packet
 * identifier 7, "s" the same with DUP, "U 7 a b" an UNSUBSCRIBE, "SA 7 01 80"
 * and "UA 7 00 11" their acknowledgements; "{text}" behind the number is a User
 * Property with that name.
 *
 * TEST_SEED in the environment, or 1, is what the random numbers begin with.
 */
#include "session/subscribing.h"

#include "codec/mqtt_property.h"

#include "guard.h"
#include "random_packet.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned allocations_left = UINT_MAX;

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);

/* One fails, those behind it do not. */
static bool
fails(void)
{
	return allocations_left != UINT_MAX && allocations_left-- == 0;
}

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t count, size_t n)
{
	return fails() ? NULL : __real_calloc(count, n);
}

static struct subscribing subs;
static struct subscribing_rules rules;
static struct guard guard;
static struct fault why;
static char said[2000]; /* what was written, in words */

static void
say(const char *text)
{
	assert_true(strlen(said) + strlen(text) < sizeof(said));
	strcat(said, text);
}

static void
begin(uint8_t level, unsigned filters_max, uint8_t qos_max)
{
	subscribing_init(&subs, level);
	rules = (struct subscribing_rules){
	    .filters_max = filters_max, .qos_max = qos_max};
	said[0] = '\0';
}

static void
end(void)
{
	assert_int_equal(subs.count, 0);
	assert_int_equal(subs.kept_bytes, 0);
	subscribing_free(&subs);
	guard_free(&guard);
}

/* ---- words ---- */

static enum mqtt_type
type_of(const char *word)
{
	if (strcmp(word, "SA") == 0)
		return MQTT_SUBACK;
	if (strcmp(word, "UA") == 0)
		return MQTT_UNSUBACK;
	return word[0] == 'U' ? MQTT_UNSUBSCRIBE : MQTT_SUBSCRIBE;
}

static void
add_item(struct bytes *b, enum mqtt_type type, char *word)
{
	char *qos = strchr(word, ':');

	if (type == MQTT_SUBACK || type == MQTT_UNSUBACK) {
		add_u8(b, (unsigned)strtoul(word, NULL, 16));
		return;
	}
	if (qos != NULL)
		*qos++ = '\0';
	add_u16(b, (unsigned)strlen(word));
	add(b, span_of_string(word));
	if (type == MQTT_SUBSCRIBE)
		add_u8(b, (unsigned)strtoul(qos, NULL, 16));
}

static void
add_pair(struct bytes *b, char *word)
{
	word[strlen(word) - 1] = '\0';
	add_u8(b, MQTT_USER_PROPERTY);
	add_u16(b, (unsigned)strlen(word + 1));
	add(b, span_of_string(word + 1));
	add_u16(b, 0);
}

/* The packet that <words> say, before an unmapped page. */
static struct span
packet_of(const char *words)
{
	static uint8_t room[8192];
	static struct bytes payload, properties;
	char text[400], *rest = NULL;
	struct mqtt_packet p = {0};

	assert_true(strlen(words) < sizeof(text));
	strcpy(text, words);
	payload.n = properties.n = 0;
	for (char *w = strtok_r(text, " ", &rest); w != NULL;
	     w = strtok_r(NULL, " ", &rest)) {
		if (p.header.type == 0) {
			p.header.type = type_of(w);
			p.dup = w[0] == 's';
		} else if (p.packet_id == 0) {
			p.packet_id = (uint16_t)atoi(w);
		} else if (w[0] == '{') {
			add_pair(&properties, w);
		} else {
			add_item(&payload, p.header.type, w);
		}
	}
	p.qos = p.header.type == MQTT_SUBSCRIBE ||
		p.header.type == MQTT_UNSUBSCRIBE;
	p.payload = (struct span){payload.p, payload.n};
	p.properties = (struct span){properties.p, properties.n};
	assert_true(mqtt_packet_size(&p, subs.level) <= sizeof(room));
	mqtt_packet_write(&p, subs.level, room);
	return guard_copy(
	    &guard, (struct span){room, mqtt_packet_size(&p, subs.level)});
}

static void
say_properties(struct span list)
{
	struct mqtt_property property;
	char text[100];

	while (mqtt_property_next(&list, &property) == PARSE_OK) {
		(void)snprintf(text, sizeof(text), " {%.*s}",
		    (int)property.text.n, (const char *)property.text.p);
		say(text);
	}
}

static void
say_packet(struct span bytes, enum mqtt_direction from)
{
	static const char *const names[] = {[MQTT_SUBSCRIBE] = "S",
	    [MQTT_UNSUBSCRIBE] = "U",
	    [MQTT_SUBACK] = "SA",
	    [MQTT_UNSUBACK] = "UA"};
	struct mqtt_packet p;
	struct mqtt_filter f;
	char text[100];

	if (!mqtt_packet_read(bytes, subs.level, from, &p, &why))
		fail_msg("%s", why.text);
	assert_false(p.dup);
	(void)snprintf(
	    text, sizeof(text), "%s %u", names[p.header.type], p.packet_id);
	say(text);
	say_properties(p.properties);
	if (from == MQTT_FROM_SERVER) {
		for (size_t i = 0; i < p.payload.n; i++) {
			(void)snprintf(
			    text, sizeof(text), " %02x", p.payload.p[i]);
			say(text);
		}
		return;
	}
	while (mqtt_filter_next(&p.payload, p.header.type, &f)) {
		(void)snprintf(text, sizeof(text),
		    p.header.type == MQTT_SUBSCRIBE ? " %.*s:%x" : " %.*s",
		    (int)f.text.n, (const char *)f.text.p, f.options);
		say(text);
	}
}

/* Writes all there is to write. */
static void
drain(void)
{
	struct buffer out = {0};
	enum subscribing_to to;

	while ((to = subscribing_next(&subs, &rules, &out)) !=
	       SUBSCRIBING_NOTHING) {
		assert_int_not_equal(to, SUBSCRIBING_STARVED);
		say(to == SUBSCRIBING_TO_CLOUD ? "> " : "< ");
		say_packet(buffer_span(&out), to == SUBSCRIBING_TO_CLOUD
						  ? MQTT_FROM_CLIENT
						  : MQTT_FROM_SERVER);
		say("\n");
		buffer_free(&out);
	}
	assert_int_equal(out.n, 0);
}

static enum subscribing_move
device(const char *words)
{
	enum subscribing_move move;
	struct mqtt_packet p;

	if (!mqtt_packet_read(
		packet_of(words), subs.level, MQTT_FROM_CLIENT, &p, &why))
		fail_msg("%s", why.text);
	move = subscribing_take(&subs, &p, &rules, &why);
	guard_copy(&guard, SPAN_OF("")); /* it has to be kept by now */
	drain();
	return move;
}

static enum subscribing_move
cloud(const char *words)
{
	enum subscribing_move move;
	struct mqtt_packet p;

	if (!mqtt_packet_read(
		packet_of(words), subs.level, MQTT_FROM_SERVER, &p, &why))
		fail_msg("%s", why.text);
	move = subscribing_acknowledge(&subs, &p, &why);
	drain();
	return move;
}

/* What has been written since the last time. */
static void
assert_said(const char *text)
{
	assert_string_equal(said, text);
	said[0] = '\0';
}

/* ---- rules ---- */

static void
test_what_suits_passes(void **state)
{
	(void)state;
	begin(4, 2, 1);
	assert_int_equal(device("S 1 a:0 b:1"), SUBSCRIBING_PASS);
	assert_int_equal(device("U 2 a b"), SUBSCRIBING_PASS);
	assert_true(subscribing_has(&subs, 2));
	assert_int_equal(subs.kept_bytes, 0);
	assert_int_equal(cloud("UA 2"), SUBSCRIBING_PASS);
	assert_false(subscribing_has(&subs, 2));
	assert_int_equal(cloud("SA 1 00 80"), SUBSCRIBING_PASS);
	assert_said("");
	end();
}

static void
test_no_limit(void **state)
{
	(void)state;
	begin(3, 0, 2);
	assert_int_equal(device("S 1 a:2 b:2 c:2 d:2 e:2 f:2 g:2 h:2 i:2 j:1"),
	    SUBSCRIBING_PASS);
	assert_int_equal(
	    cloud("SA 1 02 02 02 02 02 02 02 02 02 80"), SUBSCRIBING_PASS);
	end();
}

static void
test_too_many_filters_go_in_parts(void **state)
{
	(void)state;
	begin(4, 2, 1);
	assert_int_equal(device("S 9 a:0 b:1 c:0 d:1 e:1"), SUBSCRIBING_TAKEN);
	assert_said("> S 9 a:0 b:1\n");
	assert_int_equal(cloud("SA 9 00 01"), SUBSCRIBING_TAKEN);
	assert_said("> S 9 c:0 d:1\n");
	assert_int_equal(cloud("SA 9 80 00"), SUBSCRIBING_TAKEN);
	assert_said("> S 9 e:1\n");
	assert_int_equal(cloud("SA 9 01"), SUBSCRIBING_TAKEN);
	assert_said("< SA 9 00 01 80 00 01\n");
	end();
}

static void
test_unsubscribe_in_parts(void **state)
{
	(void)state;
	begin(4, 2, 1);
	assert_int_equal(device("U 9 a b c"), SUBSCRIBING_TAKEN);
	assert_said("> U 9 a b\n");
	assert_int_equal(cloud("UA 9"), SUBSCRIBING_TAKEN);
	assert_said("> U 9 c\n");
	assert_int_equal(cloud("UA 9"), SUBSCRIBING_TAKEN);
	assert_said("< UA 9\n");
	end();
	begin(5, 2, 1);
	assert_int_equal(device("U 9 a b c"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 9 00 11"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 9 87"), SUBSCRIBING_TAKEN);
	assert_said("> U 9 a b\n> U 9 c\n< UA 9 00 11 87\n");
	end();
}

/* Nothing but the QoS: retain handling, for one, stays. */
static void
test_qos_is_lowered(void **state)
{
	(void)state;
	begin(5, 8, 1);
	assert_int_equal(device("S 1 a:2e b:1 c:0"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 a:2d b:1 c:0\n");
	assert_int_equal(cloud("SA 1 01 01 00"), SUBSCRIBING_TAKEN);
	assert_said("< SA 1 01 01 00\n");
	end();
	begin(3, 8, 0);
	assert_int_equal(device("S 1 a:fe"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 00"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 a:fc\n< SA 1 00\n");
	end();
}

static void
test_properties(void **state)
{
	(void)state;
	begin(5, 1, 1);
	assert_int_equal(
	    device("S 1 {of} {device} a:0 b:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 {first} {one} 00"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 {second} 01"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 {of} {device} a:0\n"
		    "> S 1 {of} {device} b:0\n"
		    "< SA 1 {first} {one} 00 01\n");
	end();
}

/* What is too long for the rest of the room is left out, as a whole. */
static void
test_properties_of_the_answer_are_bounded(void **state)
{
	static struct bytes list;
	struct mqtt_packet ack = {.header.type = MQTT_SUBACK, .packet_id = 1};
	uint8_t name[600];

	(void)state;
	begin(5, 1, 1);
	assert_int_equal(device("S 1 a:0 b:0"), SUBSCRIBING_TAKEN);
	memset(name, 'n', sizeof(name));
	list.n = 0;
	add(&list, SPAN_OF("\x26\0\x01x\0\0"));
	for (size_t n = 598; n <= 600; n++) {
		add_u8(&list, MQTT_USER_PROPERTY);
		add_u16(&list, (unsigned)n);
		add(&list, (struct span){name, n});
		add_u16(&list, 0);
	}
	ack.properties = (struct span){list.p, list.n};
	ack.payload = SPAN_OF("\0");
	allocations_left = 1;
	assert_int_equal(
	    subscribing_acknowledge(&subs, &ack, &why), SUBSCRIBING_NO_MEMORY);
	assert_int_equal(
	    subscribing_acknowledge(&subs, &ack, &why), SUBSCRIBING_TAKEN);
	ack.properties = SPAN_OF("");
	said[0] = '\0';
	drain();
	assert_said("> S 1 b:0\n");
	assert_int_equal(
	    subscribing_acknowledge(&subs, &ack, &why), SUBSCRIBING_TAKEN);
	{
		struct buffer out = {0};

		assert_int_equal(subscribing_next(&subs, &rules, &out),
		    SUBSCRIBING_TO_DEVICE);
		assert_true(mqtt_packet_read(
		    buffer_span(&out), 5, MQTT_FROM_SERVER, &ack, &why));
		assert_int_equal(ack.properties.n, 5 + 598 + 6);
		buffer_free(&out);
	}
	end();
}

/* What came later goes up later, but none waits for another's answer. */
static void
test_order(void **state)
{
	(void)state;
	begin(4, 2, 1);
	assert_int_equal(device("S 1 z:0"), SUBSCRIBING_PASS);
	assert_int_equal(device("S 2 a:0 b:0 c:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 3 c"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 4 c a b"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("S 5 d:0"), SUBSCRIBING_TAKEN);
	assert_said("> S 2 a:0 b:0\n");
	assert_int_equal(cloud("SA 2 00 00"), SUBSCRIBING_TAKEN);
	assert_said("> S 2 c:0\n> U 3 c\n> U 4 c a\n");
	assert_int_equal(cloud("UA 4"), SUBSCRIBING_TAKEN);
	assert_said("> U 4 b\n> S 5 d:0\n");
	assert_int_equal(device("S 6 e:0"), SUBSCRIBING_PASS);
	assert_int_equal(cloud("SA 6 00"), SUBSCRIBING_PASS);
	assert_int_equal(cloud("SA 5 01"), SUBSCRIBING_TAKEN);
	assert_said("< SA 5 01\n");
	assert_int_equal(cloud("UA 4"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 3"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 2 80"), SUBSCRIBING_TAKEN);
	assert_said("< UA 4\n< UA 3\n< SA 2 00 00 80\n");
	assert_int_equal(cloud("SA 1 00"), SUBSCRIBING_PASS);
	end();
}

static void
test_an_identifier_in_use(void **state)
{
	(void)state;
	begin(4, 2, 1);
	assert_int_equal(device("S 1 a:0"), SUBSCRIBING_PASS);
	assert_int_equal(device("S 1 b:0"), SUBSCRIBING_BAD);
	assert_int_equal(why.why, R_BAD_PACKET);
	assert_string_equal(why.text,
	    "SUBSCRIBE: the packet identifier 1 is in "
	    "use by a SUBSCRIBE (MQTT-2.2.1-3)");
	assert_int_equal(device("U 1 a"), SUBSCRIBING_BAD);
	assert_int_equal(cloud("SA 1 00"), SUBSCRIBING_PASS);
	assert_int_equal(device("U 1 a b c"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 1 a b c"), SUBSCRIBING_BAD);
	subscribing_free(&subs);
	end();
}

/* MQTT 3.1, 2.1 and 4.2: a client may, when the answer takes long. */
static void
test_sent_again_at_level_3(void **state)
{
	(void)state;
	begin(3, 2, 1);
	assert_int_equal(device("S 1 a:0"), SUBSCRIBING_PASS);
	assert_int_equal(device("s 1 a:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 1 a"), SUBSCRIBING_BAD);
	assert_said("");
	assert_int_equal(cloud("SA 1 00"), SUBSCRIBING_PASS);
	assert_int_equal(device("s 1 a:0 b:0 c:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("s 1 a:0 b:0 c:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 00 00"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 00"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 a:0 b:0\n> S 1 c:0\n< SA 1 00 00 00\n");
	end();
}

static void
test_bad_acknowledgements(void **state)
{
	static const char *const bad[] = {"SA 3 00", "SA 1 00", "SA 1 00 00 00",
	    "UA 1 00 00", "SA 2 00", "SA 2 00 00 00", "UA 2 00 00", "SA 4 00",
	    "SA 5 00", "UA 5 00 00"};

	(void)state;
	begin(5, 2, 1);
	assert_int_equal(device("S 1 a:0 b:0"), SUBSCRIBING_PASS);
	assert_int_equal(device("S 2 a:0 b:0 c:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("S 4 a:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 5 a"), SUBSCRIBING_TAKEN);
	said[0] = '\0';
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		why.why = R_NONE;
		assert_int_equal(cloud(bad[i]), SUBSCRIBING_BAD);
		assert_int_equal(why.why, R_BAD_CLOUD_PACKET);
	}
	assert_said("");
	assert_int_equal(subs.count, 4);
	subscribing_free(&subs);
	/* where there are no codes to count */
	begin(4, 2, 1);
	assert_int_equal(device("U 1 a b c"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 2 a"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 2"), SUBSCRIBING_BAD);
	subscribing_free(&subs);
	end();
}

static void
test_bounds(void **state)
{
	char words[40];

	(void)state;
	begin(4, 2, 1);
	for (unsigned i = 1; i <= SUBSCRIBING_MAX; i++) {
		(void)snprintf(words, sizeof(words), "S %u a:0", i);
		assert_int_equal(device(words), SUBSCRIBING_PASS);
	}
	assert_int_equal(device("S 999 a:0"), SUBSCRIBING_WAIT);
	assert_false(subscribing_has(&subs, 999));
	assert_int_equal(cloud("SA 30 00"), SUBSCRIBING_PASS);
	assert_int_equal(device("S 999 a:0"), SUBSCRIBING_PASS);
	subscribing_free(&subs);
	end();
}

/* As many bytes as a packet may have are kept even so. */
static void
test_bytes_are_bounded(void **state)
{
	static uint8_t list[SUBSCRIBING_KEPT_BYTES];
	struct mqtt_packet big = {.header.type = MQTT_UNSUBSCRIBE,
	    .packet_id = 1,
	    .qos = 1,
	    .payload = {list, sizeof(list) / 4 * 4}};

	(void)state;
	begin(4, 8, 1);
	for (size_t i = 0; i < sizeof(list); i += 4)
		memcpy(list + i, "\0\2ab", 4);
	assert_int_equal(
	    subscribing_take(&subs, &big, &rules, &why), SUBSCRIBING_TAKEN);
	assert_true(subs.kept_bytes >= SUBSCRIBING_KEPT_BYTES);
	assert_true(subs.kept_bytes < 4 * SUBSCRIBING_KEPT_BYTES);
	assert_int_equal(device("U 2 a"), SUBSCRIBING_WAIT);
	assert_said("> U 1 ab ab ab ab ab ab ab ab\n");
	subscribing_free(&subs);
	end();
}

/* ---- other topics ---- */

/* "x" is itself, "3x" three others, "0x" none, "=x" itself and another. */
static void
map_by_digit(void *arg, enum mqtt_type type, struct span filter,
    subscribing_emit *emit, void *emit_arg)
{
	bool stays =
	    type == MQTT_UNSUBSCRIBE && memchr(filter.p, 'k', filter.n) != NULL;
	unsigned n = filter.p[0] >= '0' && filter.p[0] <= '9'
			 ? filter.p[0] - (unsigned)'0'
			 : 10;
	char text[100];

	(void)arg;
	if (n == 10)
		emit(emit_arg, filter, stays);
	if (filter.p[0] == '=')
		emit(emit_arg, SPAN_OF("other"), false);
	for (unsigned i = 0; n < 10 && i < n; i++) {
		(void)snprintf(text, sizeof(text), "%.*s/%u", (int)filter.n - 1,
		    (const char *)filter.p + 1, i);
		emit(emit_arg, span_of_string(text), stays && i % 2 == 0);
	}
}

static void
test_one_filter_becomes_several(void **state)
{
	(void)state;
	begin(5, 8, 1);
	rules.map = map_by_digit;
	assert_int_equal(device("S 1 3a:2 b:0 2c:1"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 a/0:1 a/1:1 a/2:1 b:0 c/0:1 c/1:1\n");
	assert_int_equal(cloud("SA 1 01 00 01 00 97 80"), SUBSCRIBING_TAKEN);
	assert_said("< SA 1 00 00 97\n");
	assert_int_equal(device("U 1 2a 2b 2c"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 1 11 00 11 11 00 87"), SUBSCRIBING_TAKEN);
	assert_said("> U 1 a/0 a/1 b/0 b/1 c/0 c/1\n< UA 1 00 11 87\n");
	assert_int_equal(device("S 1 a:0"), SUBSCRIBING_PASS);
	assert_int_equal(cloud("SA 1 00"), SUBSCRIBING_PASS);
	assert_int_equal(device("S 1 =a:1"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 01 00"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 =a:1 other:1\n< SA 1 00\n");
	end();
}

/* A part may end within one. */
static void
test_several_over_the_limit(void **state)
{
	(void)state;
	begin(4, 2, 1);
	rules.map = map_by_digit;
	assert_int_equal(device("S 1 a:0 5b:1 c:1"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 00 01"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 01 01"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 01 00"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 01"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 a:0 b/0:1\n> S 1 b/1:1 b/2:1\n> S 1 b/3:1 b/4:1\n"
		    "> S 1 c:1\n< SA 1 00 00 01\n");
	end();
}

static void
test_filters_that_stand_for_none(void **state)
{
	(void)state;
	begin(5, 2, 1);
	rules.map = map_by_digit;
	assert_int_equal(
	    device("S 1 0a:0 b:0 0c:0 d:0 0e:0"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 b:0 d:0\n");
	assert_int_equal(cloud("SA 1 00 80"), SUBSCRIBING_TAKEN);
	assert_said("< SA 1 8f 00 8f 80 8f\n");
	assert_int_equal(device("S 2 0a:0 0b:0"), SUBSCRIBING_TAKEN);
	assert_said("< SA 2 8f 8f\n");
	assert_int_equal(device("U 3 0a 0b"), SUBSCRIBING_TAKEN);
	assert_said("< UA 3 11 11\n");
	/* in its turn */
	assert_int_equal(device("U 1 a b c"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 2 0a"), SUBSCRIBING_TAKEN);
	assert_said("> U 1 a b\n");
	assert_int_equal(cloud("UA 1 00 00"), SUBSCRIBING_TAKEN);
	assert_said("> U 1 c\n");
	assert_int_equal(cloud("UA 1 00"), SUBSCRIBING_TAKEN);
	assert_said("< UA 1 00 00 00\n< UA 2 11\n");
	end();
	begin(4, 2, 1);
	rules.map = map_by_digit;
	assert_int_equal(device("S 1 0a:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 1 0a"), SUBSCRIBING_TAKEN);
	assert_said("< SA 1 80\n< UA 1\n");
	end();
	/* MQTT 3.1 has no code for it (3.8) */
	begin(3, 2, 1);
	rules.map = map_by_digit;
	assert_int_equal(device("S 1 0a:2 b:0 0c:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 00"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 b:0\n< SA 1 01 00 00\n");
	end();
}

/* An UNSUBSCRIBE leaves the cloud what the device needs for others. */
static void
test_filters_that_stay(void **state)
{
	(void)state;
	begin(5, 2, 1);
	rules.map = map_by_digit;
	assert_int_equal(device("U 1 k"), SUBSCRIBING_TAKEN);
	assert_said("< UA 1 00\n");
	assert_int_equal(device("U 2 a 5k"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 2 11 00"), SUBSCRIBING_TAKEN);
	assert_said("> U 2 a k/1\n> U 2 k/3\n");
	assert_int_equal(cloud("UA 2 11"), SUBSCRIBING_TAKEN);
	assert_said("< UA 2 11 00\n");
	assert_int_equal(device("U 3 a"), SUBSCRIBING_PASS);
	assert_int_equal(device("U 4 k"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 5 b"), SUBSCRIBING_PASS);
	assert_said(""); /* in its turn */
	assert_int_equal(cloud("UA 5 00"), SUBSCRIBING_PASS);
	assert_said("");
	assert_int_equal(cloud("UA 3 00"), SUBSCRIBING_PASS);
	assert_said("< UA 4 00\n");
	end();
	begin(4, 2, 1);
	rules.map = map_by_digit;
	assert_int_equal(device("S 1 k:0"), SUBSCRIBING_PASS);
	assert_int_equal(cloud("SA 1 00"), SUBSCRIBING_PASS);
	assert_int_equal(device("U 1 k a"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 1"), SUBSCRIBING_TAKEN);
	assert_said("> U 1 a\n< UA 1\n");
	end();
}

/* Long ones part a packet even where the cloud has no limit. */
static void
test_parts_are_bounded_in_bytes(void **state)
{
	static uint8_t list[4 * 30002];
	struct mqtt_packet p = {.header.type = MQTT_UNSUBSCRIBE,
	    .packet_id = 1,
	    .qos = 1,
	    .payload = {list, sizeof(list)}};
	struct buffer out = {0};

	(void)state;
	begin(4, 0, 1);
	rules.map = map_by_digit;
	memset(list, 'x', sizeof(list));
	for (size_t i = 0; i < sizeof(list); i += 30002) {
		list[i] = 30000 >> 8;
		list[i + 1] = 30000 & 0xff;
	}
	list[2] = '1'; /* so that it cannot pass */
	assert_int_equal(
	    subscribing_take(&subs, &p, &rules, &why), SUBSCRIBING_TAKEN);
	assert_int_equal(
	    subscribing_next(&subs, &rules, &out), SUBSCRIBING_TO_CLOUD);
	assert_true(out.n > 30000 && out.n < SUBSCRIBING_PART_BYTES + 16);
	buffer_free(&out);
	assert_int_equal(cloud("UA 1"), SUBSCRIBING_TAKEN);
	subscribing_free(&subs);
	end();
}

/* ---- without memory ---- */

static bool starved; /* an allocation has failed, and it was said */

/* As device() and cloud(), but what has failed is done again. */
static void
insist(const char *words, enum mqtt_direction from)
{
	enum subscribing_move move;
	struct buffer out = {0};
	enum subscribing_to to;
	struct mqtt_packet p;

	assert_true(
	    mqtt_packet_read(packet_of(words), subs.level, from, &p, &why));
	do {
		move = from == MQTT_FROM_CLIENT
			   ? subscribing_take(&subs, &p, &rules, &why)
			   : subscribing_acknowledge(&subs, &p, &why);
		starved |= move == SUBSCRIBING_NO_MEMORY;
	} while (move == SUBSCRIBING_NO_MEMORY);
	if (move == SUBSCRIBING_PASS)
		say("passes\n");
	while ((to = subscribing_next(&subs, &rules, &out)) !=
	       SUBSCRIBING_NOTHING) {
		if (to == SUBSCRIBING_STARVED) {
			assert_int_equal(out.n, 0);
			starved = true;
			continue;
		}
		say_packet(buffer_span(&out), to == SUBSCRIBING_TO_CLOUD
						  ? MQTT_FROM_CLIENT
						  : MQTT_FROM_SERVER);
		say("\n");
		buffer_free(&out);
	}
}

/* Each allocation in its turn. */
static void
test_without_memory(void **state)
{
	unsigned n = 0;

	(void)state;
	do {
		begin(5, 2, 1);
		rules.map = map_by_digit;
		starved = false;
		allocations_left = n++;
		insist("S 1 a:0", MQTT_FROM_CLIENT);
		insist("S 2 {p} 3a:2 0b:0 c:1", MQTT_FROM_CLIENT);
		insist("SA 2 {q} {r} 00 01", MQTT_FROM_SERVER);
		insist("SA 2 01 80", MQTT_FROM_SERVER);
		insist("U 3 0a", MQTT_FROM_CLIENT);
		insist("SA 1 00", MQTT_FROM_SERVER);
		allocations_left = UINT_MAX;
		assert_said("passes\nS 2 {p} a/0:1 a/1:1\n"
			    "S 2 {p} a/2:1 c:1\n"
			    "SA 2 {q} {r} 00 8f 80\npasses\nUA 3 11\n");
		end();
	} while (starved);
	assert_true(n > 10);
}

/* ---- any ---- */

enum {
	RUNS = 1000,
	STEPS = 1000, /* of each */
	IDS = 80,
	FILTERS = 20, /* of a packet */
	CODES = FILTERS * 9,
	DUE = IDS * CODES
};

/* One packet of the device, and what has to come of it. */
struct ask {
	bool active;
	enum mqtt_type type;
	unsigned to_come; /* filters of the cloud */
	struct bytes properties;
	struct bytes codes; /* for the device */
	bool acknowledged;
	struct bytes ack_properties; /* of the first part */
	bool under_way;              /* a part is */
	struct bytes due;            /* its codes */
};

/* What has to come to the cloud, in this order. */
struct due {
	unsigned packet_id;
	unsigned options;
	char text[16];
};

static struct world {
	struct ask asks[IDS + 1];
	struct due due[DUE];
	unsigned due_first, due_n;
	unsigned serial;
	unsigned answers;
} w;

/* What the cloud says of a filter; the same each time. */
static uint8_t
cloud_code(enum mqtt_type type, const char *text, unsigned qos)
{
	unsigned hash = 7;

	for (; *text != '\0'; text++)
		hash = hash * 31 + (unsigned char)*text;
	hash = hash / 7 % 8;
	if (type == MQTT_SUBSCRIBE)
		return (uint8_t)(hash < 6                      ? qos
				 : hash == 6 || subs.level < 5 ? 0x80
							       : 0x97);
	if (subs.level < 5)
		return 0;
	return hash < 5 ? 0 : hash < 7 ? 0x11 : 0x87;
}

static void
expect(unsigned packet_id, const char *text, unsigned options)
{
	struct due *d = &w.due[(w.due_first + w.due_n++) % DUE];

	assert_true(w.due_n <= DUE);
	d->packet_id = packet_id;
	d->options = options;
	strcpy(d->text, text);
	w.asks[packet_id].to_come++;
}

/* One filter of the device: what it becomes, and what is said of that. */
static void
ask_filter(unsigned packet_id, struct bytes *payload)
{
	struct ask *a = &w.asks[packet_id];
	bool mapped = rules.map != NULL && below(3) == 0;
	unsigned n = mapped ? below(10) : 1, qos = below(3), failure = 0,
		 least = 0xff, options;
	char text[16], stem[12];

	(void)snprintf(
	    stem, sizeof(stem), "%c%u", below(2) == 0 ? 'f' : 'k', w.serial++);
	(void)snprintf(text, sizeof(text), mapped ? "%u%s" : "%.0u%s",
	    mapped ? n : 0, stem);
	add_u16(payload, (unsigned)strlen(text));
	add(payload, span_of_string(text));
	options = qos | (subs.level == 5 ? below(3) << 4 : 0);
	if (a->type == MQTT_SUBSCRIBE)
		add_u8(payload, options);
	if (qos > rules.qos_max) {
		options = options - qos + rules.qos_max;
		qos = rules.qos_max;
	}
	for (unsigned i = 0; i < n; i++) {
		unsigned code;

		if (mapped)
			(void)snprintf(text, sizeof(text), "%s/%u", stem, i);
		if (rules.map != NULL && a->type == MQTT_UNSUBSCRIBE &&
		    stem[0] == 'k' && i % 2 == 0) {
			least = 0;
			continue;
		}
		expect(packet_id, text, options);
		code = cloud_code(a->type, text, qos);
		if (failure == 0 && code >= 0x80)
			failure = code;
		if (code < least)
			least = code;
	}
	if (n == 0)
		least = a->type == MQTT_UNSUBSCRIBE ? 0x11
			: subs.level == 3           ? qos
			: subs.level < 5            ? 0x80
						    : 0x8f;
	if (a->type == MQTT_SUBSCRIBE || subs.level == 5)
		add_u8(&a->codes, failure != 0 ? failure : least);
}

static void
random_properties(struct bytes *b)
{
	b->n = 0;
	if (subs.level == 5 && below(2) == 0)
		for (unsigned n = below(3); n > 0; n--)
			add_property(b, MQTT_USER_PROPERTY);
}

static void
device_gets(struct span bytes)
{
	struct mqtt_packet p;
	struct ask *a;

	assert_true(
	    mqtt_packet_read(bytes, subs.level, MQTT_FROM_SERVER, &p, &why));
	assert_true(p.packet_id <= IDS);
	a = &w.asks[p.packet_id];
	assert_true(a->active && !a->under_way);
	assert_int_equal(p.header.type, a->type + 1);
	assert_int_equal(a->to_come, 0);
	assert_span_equal(p.payload, ((struct span){a->codes.p, a->codes.n}));
	assert_span_equal(p.properties,
	    ((struct span){a->ack_properties.p, a->ack_properties.n}));
	a->active = false;
	w.answers++;
}

static void
cloud_gets(struct span bytes)
{
	struct mqtt_packet p;
	struct mqtt_filter f;
	struct ask *a;
	unsigned n = 0;

	assert_true(
	    mqtt_packet_read(bytes, subs.level, MQTT_FROM_CLIENT, &p, &why));
	a = &w.asks[p.packet_id];
	assert_true(a->active && !a->under_way);
	assert_int_equal(p.header.type, a->type);
	assert_span_equal(
	    p.properties, ((struct span){a->properties.p, a->properties.n}));
	a->due.n = 0;
	for (; mqtt_filter_next(&p.payload, p.header.type, &f); n++) {
		const struct due *d = &w.due[w.due_first];

		assert_true(w.due_n > 0);
		assert_int_equal(d->packet_id, p.packet_id);
		assert_span_equal(f.text, span_of_string(d->text));
		if (a->type == MQTT_SUBSCRIBE)
			assert_int_equal(f.options, d->options);
		if (a->type == MQTT_SUBSCRIBE || subs.level == 5)
			add_u8(&a->due,
			    cloud_code(a->type, d->text, d->options & 3));
		a->to_come--;
		w.due_first = (w.due_first + 1) % DUE;
		w.due_n--;
	}
	assert_true(rules.filters_max == 0 || n <= rules.filters_max);
	a->under_way = true;
}

static void
drain_any(void)
{
	struct buffer out = {0};
	enum subscribing_to to;

	while ((to = subscribing_next(&subs, &rules, &out)) !=
	       SUBSCRIBING_NOTHING) {
		if (to == SUBSCRIBING_TO_CLOUD)
			cloud_gets(buffer_span(&out));
		else
			device_gets(buffer_span(&out));
		buffer_free(&out);
	}
}

/* Writes it down, and reads it as the session would. */
static struct span
bytes_of(const struct mqtt_packet *p, enum mqtt_direction from,
    struct mqtt_packet *out)
{
	uint8_t *room = guard_room(&guard, mqtt_packet_size(p, subs.level));
	struct span bytes = {room, mqtt_packet_size(p, subs.level)};

	mqtt_packet_write(p, subs.level, room);
	assert_true(mqtt_packet_read(bytes, subs.level, from, out, &why));
	return bytes;
}

static void
device_asks(void)
{
	static struct bytes payload;
	uint16_t packet_id = (uint16_t)(1 + below(IDS));
	struct ask *a = &w.asks[packet_id];
	unsigned due_n = w.due_n;
	struct mqtt_packet p = {.packet_id = packet_id, .qos = 1}, read;
	struct span bytes;

	if (a->active)
		return;
	a->type = below(2) == 0 ? MQTT_SUBSCRIBE : MQTT_UNSUBSCRIBE;
	a->codes.n = payload.n = a->ack_properties.n = a->to_come = 0;
	a->acknowledged = a->under_way = false;
	random_properties(&a->properties);
	for (unsigned n = 1 + below(below(3) == 0 ? FILTERS : 3); n > 0; n--)
		ask_filter(packet_id, &payload);
	p.header.type = a->type;
	p.properties = (struct span){a->properties.p, a->properties.n};
	p.payload = (struct span){payload.p, payload.n};
	bytes = bytes_of(&p, MQTT_FROM_CLIENT, &read);
	a->active = true;
	switch (subscribing_take(&subs, &read, &rules, &why)) {
	case SUBSCRIBING_PASS:
		cloud_gets(bytes);
		break;
	case SUBSCRIBING_TAKEN:
		break;
	case SUBSCRIBING_WAIT:
		assert_true(subs.count == SUBSCRIBING_MAX ||
			    subs.kept_bytes >= SUBSCRIBING_KEPT_BYTES);
		a->active = false;
		w.due_n = due_n;
		break;
	case SUBSCRIBING_BAD:
	case SUBSCRIBING_NO_MEMORY:
		fail();
	}
	drain_any();
}

static void
cloud_answers(void)
{
	static struct bytes properties;
	uint16_t packet_id = (uint16_t)(1 + below(IDS));
	struct ask *a = &w.asks[packet_id];
	struct mqtt_packet p = {.packet_id = packet_id}, read;
	struct span bytes;
	enum subscribing_move move;
	bool wrong;

	if (!a->under_way)
		return;
	random_properties(&properties);
	wrong = a->due.n > 0 && below(20) == 0;
	p.header.type = a->type + 1;
	p.properties = (struct span){properties.p, properties.n};
	if (wrong)
		add_u8(&a->due, 0);
	p.payload = (struct span){a->due.p, a->due.n};
	bytes = bytes_of(&p, MQTT_FROM_SERVER, &read);
	move = subscribing_acknowledge(&subs, &read, &why);
	if (wrong) {
		assert_int_equal(move, SUBSCRIBING_BAD);
		a->due.n--;
		return;
	}
	a->under_way = false;
	if (!a->acknowledged) {
		a->ack_properties.n = 0;
		add(&a->ack_properties, p.properties);
	}
	a->acknowledged = true;
	if (move == SUBSCRIBING_PASS)
		device_gets(bytes);
	else
		assert_int_equal(move, SUBSCRIBING_TAKEN);
	drain_any();
}

static bool
is_active(void)
{
	for (unsigned i = 1; i <= IDS; i++)
		if (w.asks[i].active)
			return true;
	return false;
}

static void
test_any_packets(void **state)
{
	const char *seed = getenv("TEST_SEED");
	unsigned answers = 0;

	(void)state;
	random_seed = seed != NULL ? (uint32_t)strtoul(seed, NULL, 10) : 1;
	for (unsigned run = 0; run < RUNS; run++) {
		unsigned haste = 1 + below(4);

		memset(&w, 0, sizeof(w));
		begin((uint8_t)(3 + below(3)), below(10), (uint8_t)below(3));
		rules.map = below(2) == 0 ? map_by_digit : NULL;
		for (unsigned i = 0; i < STEPS; i++)
			if (below(haste) == 0)
				device_asks();
			else
				cloud_answers();
		if (below(4) == 0)
			subscribing_free(&subs); /* the connection broke */
		else
			while (is_active())
				cloud_answers();
		answers += w.answers;
		end();
	}
	assert_true(answers > RUNS * STEPS / 40);
}

/* ---- over another link ---- */

static void
on_answer(void *arg, enum mqtt_type type, struct span properties,
    struct span filters, struct span codes)
{
	struct mqtt_filter f;
	char text[100];

	assert_null(arg);
	say(type == MQTT_SUBSCRIBE ? "S" : "U");
	say_properties(properties);
	while (mqtt_filter_next(&filters, type, &f)) {
		(void)snprintf(text, sizeof(text), " %.*s:%x", (int)f.text.n,
		    (const char *)f.text.p, f.options);
		say(text);
	}
	for (size_t i = 0; i < codes.n; i++) {
		(void)snprintf(text, sizeof(text), " %02x", codes.p[i]);
		say(text);
	}
	say(" ");
}

static void
begin_noting(uint8_t l)
{
	begin(l, 2, 1);
	rules.on_answer = on_answer;
}

/* Which are kept, and told with what the device has asked for. */
static void
test_answers_are_noted(void **state)
{
	(void)state;
	begin_noting(5);
	assert_int_equal(device("S 1 {p} a:2e"), SUBSCRIBING_TAKEN);
	assert_true(subs.kept_bytes > 0);
	assert_said("> S 1 {p} a:2d\n");
	assert_int_equal(cloud("SA 1 01"), SUBSCRIBING_TAKEN);
	assert_said("S {p} a:2e 01 < SA 1 01\n");
	assert_int_equal(device("U 2 a b c"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 2 00 11"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 2 80"), SUBSCRIBING_TAKEN);
	assert_said("> U 2 a b\n> U 2 c\n"
		    "U a:0 b:0 c:0 00 11 80 < UA 2 00 11 80\n");
	end();
	begin_noting(4);
	assert_int_equal(device("U 2 a"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 2"), SUBSCRIBING_TAKEN);
	assert_said("> U 2 a\nU a:0 < UA 2\n");
	end();
}

static void
test_restart(void **state)
{
	(void)state;
	begin_noting(5);
	assert_int_equal(device("S 1 a:0 b:1 c:0"), SUBSCRIBING_TAKEN);
	assert_int_equal(device("U 2 d"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 {old} 80 01"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 a:0 b:1\n> S 1 c:0\n> U 2 d\n");
	subscribing_restart(&subs);
	/* what was due is not any more */
	assert_int_equal(cloud("UA 2 00"), SUBSCRIBING_BAD);
	assert_said("> S 1 a:0 b:1\n");
	assert_int_equal(cloud("SA 1 {new} 00 01"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("SA 1 00"), SUBSCRIBING_TAKEN);
	assert_int_equal(cloud("UA 2 00"), SUBSCRIBING_TAKEN);
	assert_said("> S 1 c:0\n> U 2 d\n"
		    "S a:0 b:1 c:0 00 01 00 < SA 1 {new} 00 01 00\n"
		    "U d:0 00 < UA 2 00\n");
	end();
}

static enum subscribing_to
next_to(void)
{
	struct buffer out = {0};
	enum subscribing_to to = subscribing_next(&subs, &rules, &out);

	if (to == SUBSCRIBING_TO_CLOUD || to == SUBSCRIBING_TO_DEVICE)
		say_packet(buffer_span(&out), to == SUBSCRIBING_TO_CLOUD
						  ? MQTT_FROM_CLIENT
						  : MQTT_FROM_SERVER);
	buffer_free(&out);
	return to;
}

static enum subscribing_move
cloud_only(const char *words)
{
	struct mqtt_packet p;

	assert_true(mqtt_packet_read(
	    packet_of(words), subs.level, MQTT_FROM_SERVER, &p, &why));
	return subscribing_acknowledge(&subs, &p, &why);
}

#define RESTORED SPAN_OF("\0\1x\1\0\1y\0")

/* Before all others; the device does not see it. */
static void
test_restore(void **state)
{
	(void)state;
	begin_noting(4);
	assert_int_equal(device("S 65535 a:0"), SUBSCRIBING_TAKEN);
	subscribing_restart(&subs);
	said[0] = '\0';
	assert_true(
	    subscribing_restore(&subs, 65534, SPAN_OF(""), RESTORED, 2));
	assert_true(
	    subscribing_restore(&subs, 65533, SPAN_OF(""), RESTORED, 2));
	assert_int_equal(next_to(), SUBSCRIBING_TO_CLOUD);
	assert_int_equal(next_to(), SUBSCRIBING_TO_CLOUD);
	assert_int_equal(next_to(), SUBSCRIBING_TO_CLOUD);
	assert_said("S 65534 x:1 y:0S 65533 x:1 y:0S 65535 a:0");
	assert_int_equal(next_to(), SUBSCRIBING_NOTHING);
	assert_int_equal(cloud_only("SA 65534 01 00"), SUBSCRIBING_TAKEN);
	assert_int_equal(next_to(), SUBSCRIBING_RESTORED);
	assert_int_equal(cloud_only("SA 65533 80 00"), SUBSCRIBING_TAKEN);
	assert_int_equal(next_to(), SUBSCRIBING_REFUSED);
	assert_int_equal(next_to(), SUBSCRIBING_NOTHING);
	/* with another link it may not be needed */
	assert_true(
	    subscribing_restore(&subs, 65534, SPAN_OF(""), RESTORED, 2));
	/* the device has that identifier, too: not now */
	assert_int_equal(device("S 65534 b:0"), SUBSCRIBING_WAIT);
	subscribing_restart(&subs);
	assert_int_equal(subs.count, 1);
	said[0] = '\0';
	assert_int_equal(next_to(), SUBSCRIBING_TO_CLOUD);
	assert_said("S 65535 a:0");
	assert_int_equal(cloud("SA 65535 00"), SUBSCRIBING_TAKEN);
	end();
}

static void
test_restore_without_memory(void **state)
{
	(void)state;
	begin_noting(4);
	allocations_left = 0;
	assert_false(
	    subscribing_restore(&subs, 65534, SPAN_OF(""), RESTORED, 2));
	allocations_left = UINT_MAX;
	assert_int_equal(subs.count, 0);
	end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_suits_passes),
	    cmocka_unit_test(test_no_limit),
	    cmocka_unit_test(test_too_many_filters_go_in_parts),
	    cmocka_unit_test(test_unsubscribe_in_parts),
	    cmocka_unit_test(test_qos_is_lowered),
	    cmocka_unit_test(test_properties),
	    cmocka_unit_test(test_properties_of_the_answer_are_bounded),
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_an_identifier_in_use),
	    cmocka_unit_test(test_sent_again_at_level_3),
	    cmocka_unit_test(test_bad_acknowledgements),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_bytes_are_bounded),
	    cmocka_unit_test(test_one_filter_becomes_several),
	    cmocka_unit_test(test_several_over_the_limit),
	    cmocka_unit_test(test_filters_that_stand_for_none),
	    cmocka_unit_test(test_filters_that_stay),
	    cmocka_unit_test(test_parts_are_bounded_in_bytes),
	    cmocka_unit_test(test_without_memory),
	    cmocka_unit_test(test_any_packets),
	    cmocka_unit_test(test_answers_are_noted),
	    cmocka_unit_test(test_restart),
	    cmocka_unit_test(test_restore),
	    cmocka_unit_test(test_restore_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
