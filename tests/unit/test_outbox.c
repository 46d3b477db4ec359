/*
 * What a device has published and the cloud has not acknowledged.
 *
 * TEST_SEED in the environment, or 1, is what the random numbers begin with.
 */
#include "session/outbox.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 200 * 1000, MOST = 20, BYTES_MAX = 300 };

static bool no_memory;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);

void *
__wrap_malloc(size_t n)
{
	return no_memory ? NULL : __real_malloc(n);
}

static struct loop *loop;
static struct outbox box;

static int
set_up(void **state)
{
	(void)state;
	loop = loop_new(1 << 20);
	box = (struct outbox){0};
	return loop == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	(void)outbox_clear(&box, loop);
	assert_int_equal(box.kept_bytes, 0);
	assert_int_equal(loop->kept_bytes, 0);
	loop_free(&loop);
	return 0;
}

/* A packet whose bytes are its identifier, under a PUBLISH's first byte. */
static struct span
packet(uint16_t id, size_t n)
{
	static uint8_t bytes[BYTES_MAX];

	memset(bytes, id, n);
	bytes[0] = 0x32;
	return (struct span){bytes, n};
}

static void
add(uint16_t id, size_t n, bool is_sent)
{
	assert_true(
	    outbox_add(&box, loop, packet(id, n), n, id, is_sent, true));
}

/* The next one that waits is <id>, with this first byte. */
static void
assert_next(uint16_t id, uint8_t first)
{
	struct span next = outbox_next(&box);

	assert_int_not_equal(next.n, 0);
	assert_int_equal(next.p[0], first);
	assert_int_equal(next.p[1], id);
}

static void
test_what_was_sent_is_acknowledged(void **state)
{
	(void)state;
	assert_false(outbox_acknowledge(&box, loop, 1));
	assert_true(outbox_rewind(&box));
	assert_int_equal(outbox_next(&box).n, 0);
	add(1, 10, true);
	add(2, 20, true);
	add(1, 30, true); /* some devices have one identifier for all */
	add(3, 40, false);
	assert_int_equal(box.sent, 3);
	assert_int_equal(outbox_waiting(&box), 1);
	assert_int_equal(box.kept_bytes, loop->kept_bytes);
	assert_int_equal(box.kept_bytes, outbox_cost(10) + outbox_cost(20) +
					     outbox_cost(30) + outbox_cost(40));
	assert_false(outbox_acknowledge(&box, loop, 3)); /* it waits */
	assert_true(outbox_will_repeat(&box, 3));
	assert_true(outbox_acknowledge(&box, loop, 1));
	assert_int_equal(box.kept_bytes,
	    outbox_cost(20) + outbox_cost(30) + outbox_cost(40));
	assert_true(outbox_acknowledge(&box, loop, 1));
	assert_false(outbox_acknowledge(&box, loop, 1));
	assert_false(outbox_will_repeat(&box, 1));
	assert_true(outbox_acknowledge(&box, loop, 2));
	assert_int_equal(outbox_clear(&box, loop), 1);
	assert_int_equal(outbox_clear(&box, loop), 0);
}

/* MQTT-3.3.1-1, 4.4, 4.6 */
static void
test_over_another_link(void **state)
{
	(void)state;
	add(1, 10, true);
	add(2, 20, true);
	assert_true(outbox_rewind(&box));
	add(3, 30, false);
	assert_int_equal(outbox_waiting(&box), 3);
	assert_next(1, 0x3a);
	outbox_next_sent(&box);
	assert_next(2, 0x3a);
	/* lost again: what was not sent stays as it was */
	assert_true(outbox_rewind(&box));
	assert_next(1, 0x3a);
	outbox_next_sent(&box);
	outbox_next_sent(&box);
	assert_next(3, 0x32);
	outbox_next_sent(&box);
	assert_int_equal(outbox_next(&box).n, 0);
	assert_true(outbox_rewind(&box));
	for (int i = 0; i < 2; i++)
		outbox_next_sent(&box);
	assert_next(3, 0x3a);
}

static void
test_in_pieces(void **state)
{
	struct span whole = packet(7, 100);

	(void)state;
	assert_true(outbox_add(
	    &box, loop, (struct span){whole.p, 40}, 100, 7, true, true));
	assert_true(outbox_rewind(&box));
	/* not before it is whole */
	assert_int_equal(outbox_next(&box).n, 0);
	outbox_more(&box, (struct span){whole.p + 40, 60});
	assert_int_equal(outbox_next(&box).n, 100);
	assert_next(7, 0x3a);
	assert_memory_equal(outbox_next(&box).p + 1, whole.p + 1, 99);
	outbox_drop_open(&box, loop); /* there is none */
	assert_int_equal(box.count, 1);
	assert_true(outbox_add(
	    &box, loop, (struct span){whole.p, 40}, 100, 8, false, true));
	outbox_drop_open(&box, loop);
	assert_int_equal(box.count, 1);
	/* acknowledged before it is whole */
	outbox_next_sent(&box);
	assert_true(outbox_acknowledge(&box, loop, 7));
	assert_true(outbox_add(
	    &box, loop, (struct span){whole.p, 40}, 100, 9, true, true));
	assert_true(outbox_acknowledge(&box, loop, 9));
	outbox_more(&box, (struct span){whole.p, 60});
	assert_int_equal(box.count, 0);
}

/* One that is too big holds its place, but cannot be sent again. */
static void
test_one_that_is_not_kept(void **state)
{
	(void)state;
	assert_true(outbox_add(&box, loop, packet(1, 90), 200, 1, true, false));
	assert_int_equal(box.kept_bytes, outbox_cost(0));
	outbox_more(&box, packet(1, 110));
	add(2, 20, true);
	assert_false(outbox_rewind(&box));
	assert_int_equal(outbox_clear(&box, loop), 2);
	assert_true(
	    outbox_add(&box, loop, packet(1, 200), 200, 1, true, false));
	assert_true(outbox_acknowledge(&box, loop, 1));
	assert_true(outbox_rewind(&box));
}

static void
test_bounds(void **state)
{
	size_t max = outbox_cost(50) + outbox_cost(60);

	(void)state;
	assert_true(outbox_has_room(&box, 50, max));
	assert_false(outbox_has_room(&box, max, max));
	add(1, 50, true);
	assert_true(outbox_has_room(&box, 60, max));
	assert_false(outbox_has_room(&box, 61, max));
	assert_false(outbox_has_room(&box, UINT32_MAX, max));
}

static void
test_without_memory(void **state)
{
	(void)state;
	add(1, 50, true);
	no_memory = true;
	assert_false(outbox_add(&box, loop, packet(2, 60), 60, 2, true, true));
	no_memory = false;
	assert_int_equal(box.count, 1);
	assert_int_equal(box.kept_bytes, outbox_cost(50));
	assert_int_equal(loop->kept_bytes, outbox_cost(50));
}

/* ---- at random, beside a list ---- */

struct entry {
	uint16_t id;
	size_t n;
	bool is_sent;
	bool has_dup;
};

static struct entry list[MOST];
static unsigned n, sent;

static void
check(void)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += outbox_cost(list[i].n);
	assert_int_equal(box.count, n);
	assert_int_equal(box.sent, sent);
	assert_int_equal(box.kept_bytes, bytes);
	assert_int_equal(loop->kept_bytes, bytes);
	if (sent == n) {
		assert_int_equal(outbox_next(&box).n, 0);
		return;
	}
	assert_int_equal(outbox_next(&box).n, list[sent].n);
	assert_next(list[sent].id, list[sent].has_dup ? 0x3a : 0x32);
}

static void
acknowledge(uint16_t id)
{
	unsigned i = 0;

	while (i < sent && list[i].id != id)
		i++;
	assert_int_equal(outbox_acknowledge(&box, loop, id), i < sent);
	if (i == sent)
		return;
	n--;
	sent--;
	memmove(&list[i], &list[i + 1], (n - i) * sizeof(*list));
}

static void
take_one(uint16_t id, size_t bytes)
{
	bool now = sent == n && rand() % 4 > 0;

	if (n == MOST)
		return;
	add(id, bytes, now);
	list[n++] = (struct entry){id, bytes, now, false};
	sent += now;
}

static void
rewind_all(void)
{
	assert_true(outbox_rewind(&box));
	for (; sent > 0; sent--)
		list[sent - 1].has_dup = true;
}

static void
test_random(void **state)
{
	const char *seed = getenv("TEST_SEED");

	(void)state;
	srand(seed != NULL ? (unsigned)atoi(seed) : 1);
	n = sent = 0;
	for (int i = 0; i < ROUNDS; i++) {
		int what = rand() % 100;
		uint16_t id = (uint16_t)(1 + rand() % 10);

		if (what < 40) {
			take_one(id, 2 + (size_t)rand() % (BYTES_MAX - 2));
		} else if (what < 70) {
			acknowledge(id);
		} else if (what < 95 && sent < n) {
			outbox_next_sent(&box);
			sent++;
		} else if (what == 99) {
			rewind_all();
		}
		check();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_what_was_sent_is_acknowledged, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_over_another_link, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_in_pieces, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_one_that_is_not_kept, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_without_memory, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
