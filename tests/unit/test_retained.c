/*
 * The store of retained messages against a plain model, with random messages;
 * and what is due of it to SUBSCRIBEs.
 *
 * TEST_SEED in the environment, or 1, is what the random numbers begin with.
 */
#include "session/retained.h"
#include "session/retained_due.h"

#include "codec/mqtt_property.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ROUNDS = 60 * 1000,
	TOPICS = 100,
	PAYLOAD_MAX = 40 * 1024,
	LOOP_BYTES = 4 * RETAINED_BYTES_MAX
};

static uint8_t zeros[PAYLOAD_MAX];

static struct loop *
begin(void)
{
	struct loop *loop = loop_new(LOOP_BYTES);

	assert_non_null(loop);
	return loop;
}

/* All that was counted is given back. */
static void
end(struct loop *loop)
{
	assert_int_equal(loop->kept_bytes, 0);
	loop_free(&loop);
}

static struct mqtt_packet
message(const char *topic, struct span payload)
{
	return (struct mqtt_packet){.header.type = MQTT_PUBLISH,
	    .retain = true,
	    .topic = span_of_string(topic),
	    .payload = payload};
}

static void
put(struct retained *r, const char *topic, const char *payload)
{
	struct mqtt_packet p = message(topic, span_of_string(payload));

	retained_put(r, &p, 0);
}

/* ---- against a model ---- */

/* What a topic has, as the header says it. */
struct known {
	bool is_there;
	uint64_t number; /* in the order they came */
	size_t n;        /* of the payload */
	uint8_t first;   /* its first byte */
	uint64_t dies_ms;
};

static struct model {
	struct known of[TOPICS];
	uint64_t numbers;
	uint64_t dropped;
} model;

static uint32_t
draw(uint32_t below)
{
	return (uint32_t)random() % below;
}

static void
name_of(unsigned i, char out[static 16])
{
	(void)snprintf(out, 16, "t/%u", i);
}

static size_t
cost_of(unsigned i, size_t payload)
{
	char name[16];

	name_of(i, name);
	return sizeof(struct retained_message) + strlen(name) + payload;
}

static size_t
model_bytes(unsigned *count)
{
	size_t bytes = 0;

	*count = 0;
	for (unsigned i = 0; i < TOPICS; i++) {
		if (!model.of[i].is_there)
			continue;
		bytes += cost_of(i, model.of[i].n);
		++*count;
	}
	return bytes;
}

static void
model_drop_oldest(void)
{
	struct known *oldest = NULL;

	for (unsigned i = 0; i < TOPICS; i++)
		if (model.of[i].is_there &&
		    (oldest == NULL || model.of[i].number < oldest->number))
			oldest = &model.of[i];
	assert_non_null(oldest);
	oldest->is_there = false;
	model.dropped++;
}

static void
model_put(unsigned i, size_t n, uint8_t first, uint64_t dies_ms)
{
	unsigned count;

	model.of[i].is_there = false;
	if (n == 0)
		return;
	if (cost_of(i, n) > RETAINED_BYTES_MAX) {
		model.dropped++;
		return;
	}
	while (model_bytes(&count) + cost_of(i, n) > RETAINED_BYTES_MAX ||
	       count == RETAINED_MAX)
		model_drop_oldest();
	model.of[i] = (struct known){true, ++model.numbers, n, first, dies_ms};
}

static void
model_expire(uint64_t now_ms)
{
	for (unsigned i = 0; i < TOPICS; i++)
		if (model.of[i].dies_ms <= now_ms)
			model.of[i].is_there = false;
}

/* The message with the lowest number over <after>. */
static const struct known *
model_next(uint64_t after)
{
	const struct known *found = NULL;

	for (unsigned i = 0; i < TOPICS; i++)
		if (model.of[i].is_there && model.of[i].number > after &&
		    (found == NULL || model.of[i].number < found->number))
			found = &model.of[i];
	return found;
}

/* All of both, in their order. */
static void
compare(struct retained *r, uint64_t now_ms)
{
	const struct retained_message *m;
	const struct known *k;
	uint64_t after = 0;
	unsigned count;
	size_t bytes;
	char name[16];

	model_expire(now_ms);
	while ((m = retained_next(r, after, now_ms)) != NULL) {
		k = model_next(after);
		assert_non_null(k);
		name_of((unsigned)(k - model.of), name);
		assert_span_equal(m->topic, span_of_string(name));
		assert_int_equal(m->payload.n, k->n);
		assert_int_equal(m->payload.p[0], k->first);
		assert_int_equal(m->number, k->number);
		after = m->number;
	}
	assert_null(model_next(after));
	bytes = model_bytes(&count);
	assert_int_equal(r->n, count);
	assert_int_equal(r->kept_bytes, bytes);
	assert_int_equal(r->loop->kept_bytes, bytes);
	assert_int_equal(r->dropped, model.dropped);
}

static size_t
draw_size(void)
{
	switch (draw(8)) {
	case 0:
		return 0;
	case 1:
		return draw(PAYLOAD_MAX);
	case 2:
		return draw(2000);
	default:
		return 1 + draw(100);
	}
}

static void
test_model(void **state)
{
	const char *seed = getenv("TEST_SEED");
	struct loop *loop = begin();
	struct retained r = {0};
	uint64_t now_ms = 1;

	(void)state;
	srandom(seed != NULL ? (unsigned)atoi(seed) : 1);
	model = (struct model){0};
	retained_init(&r, loop);
	for (int round = 0; round < ROUNDS; round++) {
		unsigned i = draw(TOPICS);
		uint8_t expiry[] = {
		    MQTT_MESSAGE_EXPIRY_INTERVAL, 0, 0, 0, (uint8_t)draw(60)};
		bool expires = draw(4) == 0;
		size_t n = draw_size();
		struct mqtt_packet p;
		char name[16];

		name_of(i, name);
		zeros[0] = (uint8_t)round;
		p = message(name, (struct span){zeros, n});
		if (expires)
			p.properties = (struct span){expiry, sizeof(expiry)};
		compare(&r, now_ms);
		if (draw(50) == 0) {
			retained_drop(&r, p.topic);
			model.of[i].is_there = false;
			model.dropped++;
			continue;
		}
		retained_put(&r, &p, now_ms);
		model_put(i, n, (uint8_t)round,
		    expires ? now_ms + 1000u * expiry[4] : UINT64_MAX);
		now_ms += draw(1000);
	}
	assert_true(model.dropped > ROUNDS / 100);
	retained_free(&r);
	end(loop);
}

/* ---- what is told ---- */

static void
expect_packet(const struct buffer *b, uint8_t level, struct mqtt_packet *out)
{
	assert_true(mqtt_packet_read(
	    buffer_span(b), level, MQTT_FROM_SERVER, out, NULL));
	assert_true(out->retain);
	assert_int_equal(out->qos, 0);
}

static void
test_written(void **state)
{
	static const uint8_t given[] = "\x23\0\7"       /* Topic Alias */
				       "\x02\0\0\0\x0a" /* expiry */
				       "\x26\0\1a\0\1b";
	struct loop *loop = begin();
	struct retained r = {0};
	struct mqtt_packet p = message("t", SPAN_OF("x"));
	struct buffer out = {0};
	const struct retained_message *m;

	(void)state;
	p.properties = (struct span){given, sizeof(given) - 1};
	p.qos = 2;
	p.packet_id = 9;
	p.dup = true;
	retained_init(&r, loop);
	retained_put(&r, &p, 1000);
	m = retained_next(&r, 0, 4999);
	assert_non_null(m);
	for (uint8_t level = 3; level <= 5; level++) {
		assert_true(
		    retained_write(m, level, SPAN_OF("\x0b\x4d"), 4999, &out));
		expect_packet(&out, level, &p);
		assert_span_equal(p.topic, SPAN_OF("t"));
		assert_span_equal(p.payload, SPAN_OF("x"));
		if (level == 5)
			assert_span_equal(p.properties, SPAN_OF("\x02\0\0\0\x07"
								"\x26\0\1a\0\1b"
								"\x0b\x4d"));
		buffer_free(&out);
	}
	assert_non_null(retained_next(&r, 0, 10999));
	assert_null(retained_next(&r, 0, 11000));
	assert_int_equal(r.n, 0);
	end(loop);
}

/* What stays for long may not fill the worker's account. */
static void
test_room_of_the_worker(void **state)
{
	struct loop *loop = begin();
	struct retained r = {0};

	(void)state;
	retained_init(&r, loop);
	put(&r, "a", "x");
	loop_count(loop, LOOP_BYTES / 2 - loop->kept_bytes);
	retained_fit(&r);
	assert_int_equal(r.n, 1);
	put(&r, "b", "x");
	assert_int_equal(r.n, 1);
	put(&r, "a", "x"); /* in the place of the one before */
	assert_int_equal(r.n, 1);
	assert_int_equal(r.dropped, 1);
	put(&r, "a", "longer");
	assert_int_equal(r.n, 0);
	put(&r, "a", "x");
	retained_fit(&r);
	assert_int_equal(r.n, 1);
	loop->kept_max--;
	retained_fit(&r);
	assert_int_equal(r.n, 0);
	assert_int_equal(r.dropped, 3);
	loop_uncount(loop, loop->kept_bytes);
	end(loop);
}

/* ---- what is due ---- */

struct desk {
	struct loop *loop;
	struct retained store;
	struct retained_due due;
	struct filter_set held;
	struct buffer filters;
};

static void
open_desk(struct desk *d, uint8_t level)
{
	*d = (struct desk){.loop = begin()};
	retained_init(&d->store, d->loop);
	retained_due_init(&d->due, d->loop, level);
}

static void
close_desk(struct desk *d)
{
	retained_due_free(&d->due);
	retained_free(&d->store);
	filter_set_free(&d->held);
	buffer_free(&d->filters);
	end(d->loop);
}

/* Adds a filter to the next packet. */
static void
ask(struct desk *d, const char *filter, int options)
{
	uint8_t head[] = {0, (uint8_t)strlen(filter)};
	uint8_t last = (uint8_t)options;

	assert_true(buffer_append(&d->filters, (struct span){head, 2}) &&
		    buffer_append(&d->filters, span_of_string(filter)) &&
		    (options < 0 ||
			buffer_append(&d->filters, (struct span){&last, 1})));
}

static void
note(struct desk *d, enum mqtt_type type, uint16_t id)
{
	const struct mqtt_packet p = {.header.type = type,
	    .packet_id = id,
	    .payload = buffer_span(&d->filters)};

	retained_due_note(&d->due, &p, &d->held);
	buffer_free(&d->filters);
}

static void
grant(struct desk *d, uint16_t id, struct span codes)
{
	const struct mqtt_packet p = {
	    .header.type = MQTT_SUBACK, .packet_id = id, .payload = codes};

	retained_due_grant(&d->due, &p, &d->store, &d->held);
}

/* The topics that are told, with a space behind each. */
static void
expect_told(struct desk *d, const char *want)
{
	char got[256] = "";
	const struct retained_message *m;
	struct span id;

	while ((m = retained_due_next(&d->due, &d->store, 0, &id)) != NULL) {
		assert_true(strlen(got) + m->topic.n + 2 < sizeof(got));
		(void)strncat(got, (const char *)m->topic.p, m->topic.n);
		(void)strcat(got, " ");
	}
	assert_string_equal(got, want);
}

static void
fill(struct desk *d)
{
	put(&d->store, "a", "1");
	put(&d->store, "b/c", "2");
	put(&d->store, "$s", "3");
	put(&d->store, "b/d", "4");
}

static void
test_due(void **state)
{
	struct desk d;

	(void)state;
	for (uint8_t level = 3; level <= 5; level++) {
		open_desk(&d, level);
		fill(&d);
		ask(&d, "b/+", 1);
		ask(&d, "b/#", 1); /* once each, all the same */
		ask(&d, "a", 1);
		ask(&d, "$share/g/a", 1);
		note(&d, MQTT_SUBSCRIBE, 1);
		expect_told(&d, "");
		grant(&d, 2, SPAN_OF("\0\0\0\0"));
		expect_told(&d, "");
		grant(&d, 1, SPAN_OF("\1\1\x80\1"));
		put(&d.store, "b/c", "new");   /* comes from the cloud */
		put(&d.store, "b/e", "later"); /* so does this */
		expect_told(&d, "b/d ");
		assert_null(d.due.first);
		ask(&d, "#", 1);
		note(&d, MQTT_SUBSCRIBE, 1);
		grant(&d, 1, SPAN_OF("\0"));
		expect_told(&d, "a b/d b/c b/e ");
		close_desk(&d);
	}
}

/* Two SUBSCRIBEs at a time, and one at level 3 that comes again; and what is
   taken back before it was told. */
static void
test_due_to_several(void **state)
{
	struct desk d;

	(void)state;
	open_desk(&d, 3);
	fill(&d);
	ask(&d, "a", 0);
	note(&d, MQTT_SUBSCRIBE, 1);
	ask(&d, "b/c", 0);
	ask(&d, "b/d", 0);
	note(&d, MQTT_SUBSCRIBE, 2);
	ask(&d, "a", 0);
	note(&d, MQTT_SUBSCRIBE, 1);
	grant(&d, 2, SPAN_OF("\0\0"));
	ask(&d, "b/c", -1);
	note(&d, MQTT_UNSUBSCRIBE, 3);
	expect_told(&d, "b/d ");
	grant(&d, 1, SPAN_OF("\0"));
	expect_told(&d, "a ");
	assert_null(d.due.first);
	ask(&d, "a", 0);
	note(&d, MQTT_SUBSCRIBE, 1);
	ask(&d, "a", -1);
	note(&d, MQTT_UNSUBSCRIBE, 2);
	grant(&d, 1, SPAN_OF("\0"));
	assert_null(d.due.first);
	close_desk(&d);
}

static void
test_options(void **state)
{
	enum { NO_LOCAL = 4, AS_PUBLISHED = 8, IF_NEW = 0x10, NEVER = 0x20 };
	static const struct {
		uint8_t options;
		bool held;
		bool is_told;
	} rows[] = {
	    {1, false, true},
	    {1, true, true},
	    {AS_PUBLISHED, true, true},
	    {NO_LOCAL, false, false},
	    {IF_NEW, false, true},
	    {IF_NEW, true, false},
	    {IF_NEW | NO_LOCAL, false, false},
	    {NEVER, false, false},
	    {NEVER, true, false},
	};
	struct desk d;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		open_desk(&d, 5);
		fill(&d);
		if (rows[i].held) {
			ask(&d, "a", NEVER);
			note(&d, MQTT_SUBSCRIBE, 1);
			grant(&d, 1, SPAN_OF("\0"));
		}
		ask(&d, "a", rows[i].options);
		note(&d, MQTT_SUBSCRIBE, 2);
		grant(&d, 2, SPAN_OF("\0"));
		expect_told(&d, rows[i].is_told ? "a " : "");
		/* taken back it is new again */
		ask(&d, "a", -1);
		note(&d, MQTT_UNSUBSCRIBE, 3);
		ask(&d, "a", IF_NEW);
		note(&d, MQTT_SUBSCRIBE, 4);
		grant(&d, 4, SPAN_OF("\0"));
		expect_told(&d, "a ");
		close_desk(&d);
	}
	/* one that was refused is not there */
	open_desk(&d, 5);
	fill(&d);
	ask(&d, "a", 0);
	note(&d, MQTT_SUBSCRIBE, 1);
	grant(&d, 1, SPAN_OF("\x87"));
	ask(&d, "a", IF_NEW);
	note(&d, MQTT_SUBSCRIBE, 2);
	grant(&d, 2, SPAN_OF("\0"));
	expect_told(&d, "a ");
	close_desk(&d);
}

/* MQTT 3.1 allows topics that are not UTF-8. */
static void
test_topics_of_level_3(void **state)
{
	struct desk d;

	(void)state;
	for (uint8_t level = 3; level <= 5; level++) {
		open_desk(&d, level);
		put(&d.store, "\xff", "x");
		put(&d.store, "y", "x");
		ask(&d, "#", 0);
		note(&d, MQTT_SUBSCRIBE, 1);
		grant(&d, 1, SPAN_OF("\0"));
		expect_told(&d, level == 3 ? "\xff y " : "y ");
		close_desk(&d);
	}
}

static void
test_bounds_of_what_is_due(void **state)
{
	static char filter[200];
	struct desk d;
	uint16_t id = 0;

	(void)state;
	open_desk(&d, 4);
	fill(&d);
	for (int i = 0; i <= RETAINED_DUE_FILTERS; i++)
		ask(&d, "#", 0);
	note(&d, MQTT_SUBSCRIBE, 1);
	assert_null(d.due.first);
	memset(filter, 'x', sizeof(filter) - 1);
	while (!retained_due_is_full(&d.due)) {
		for (int i = 0; i < RETAINED_DUE_FILTERS; i++)
			ask(&d, filter, 0);
		note(&d, MQTT_SUBSCRIBE, ++id);
	}
	assert_in_range(d.due.kept_bytes, RETAINED_DUE_BYTES,
	    RETAINED_DUE_BYTES + 100 * sizeof(filter) + 1000);
	assert_int_equal(
	    d.loop->kept_bytes, d.due.kept_bytes + d.store.kept_bytes);
	for (int i = 0; i <= RETAINED_DUE_FILTERS; i++)
		ask(&d, "y", -1);
	note(&d, MQTT_UNSUBSCRIBE, 1);
	assert_null(d.due.first);
	close_desk(&d);
}

/* ---- filters ---- */

static void
test_filter_set(void **state)
{
	static char big[FILTER_SET_BYTES_MAX];
	static const char *const names[] = {"a", "bb", "+/#"};
	struct filter_set set = {0};

	(void)state;
	for (unsigned gone = 0; gone < ARRAY_LENGTH(names); gone++) {
		for (unsigned i = 0; i < ARRAY_LENGTH(names); i++) {
			filter_set_add(&set, span_of_string(names[i]));
			filter_set_add(&set, span_of_string(names[i]));
		}
		filter_set_remove(&set, span_of_string(names[gone]));
		filter_set_remove(&set, SPAN_OF("none"));
		for (unsigned i = 0; i < ARRAY_LENGTH(names); i++)
			assert_int_equal(
			    filter_set_has(&set, span_of_string(names[i])),
			    i != gone);
	}
	memset(big, 'x', sizeof(big));
	filter_set_add(
	    &set, (struct span){(const uint8_t *)big, sizeof(big) - 2});
	assert_true(filter_set_has(&set, SPAN_OF("a")));
	for (unsigned i = 0; i < ARRAY_LENGTH(names); i++)
		filter_set_remove(&set, span_of_string(names[i]));
	assert_null(set.filters.p);
	filter_set_add(
	    &set, (struct span){(const uint8_t *)big, sizeof(big) - 2});
	assert_false(filter_set_has(&set, SPAN_OF("a")));
	assert_int_equal(set.filters.n, sizeof(big));
	filter_set_free(&set);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_model),
	    cmocka_unit_test(test_written),
	    cmocka_unit_test(test_room_of_the_worker),
	    cmocka_unit_test(test_due),
	    cmocka_unit_test(test_due_to_several),
	    cmocka_unit_test(test_options),
	    cmocka_unit_test(test_topics_of_level_3),
	    cmocka_unit_test(test_bounds_of_what_is_due),
	    cmocka_unit_test(test_filter_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
