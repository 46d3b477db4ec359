#include "codec/sliding.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

enum {
	START_MS = 1000007, /* in the middle of a bucket */
	EVENTS = 20000,
	COUNT_MAX = 1000
};

static void
test_count_of_one(void **state)
{
	struct sliding_count s;
	uint64_t ring[1];

	(void)state;
	sliding_count_init(&s, ring, 1);
	assert_int_equal(sliding_count_due_ms(&s), 0);
	sliding_count_add(&s, 0); /* 0 is a time like any other */
	assert_int_equal(sliding_count_due_ms(&s), SLIDING_WINDOW_MS);
	sliding_count_add(&s, 5000);
	assert_int_equal(sliding_count_due_ms(&s), 5000 + SLIDING_WINDOW_MS);
}

static void
test_count_is_exact(void **state)
{
	struct sliding_count s;
	uint64_t ring[3];

	(void)state;
	sliding_count_init(&s, ring, ARRAY_LENGTH(ring));
	sliding_count_add(&s, 10);
	sliding_count_add(&s, 20);
	assert_int_equal(sliding_count_due_ms(&s), 0);
	sliding_count_add(&s, 20);
	assert_int_equal(sliding_count_due_ms(&s), 10 + SLIDING_WINDOW_MS);
	sliding_count_add(&s, 2000);
	assert_int_equal(sliding_count_due_ms(&s), 20 + SLIDING_WINDOW_MS);
	sliding_count_add(&s, 2000);
	assert_int_equal(sliding_count_due_ms(&s), 20 + SLIDING_WINDOW_MS);
	sliding_count_add(&s, 2001);
	assert_int_equal(sliding_count_due_ms(&s), 2000 + SLIDING_WINDOW_MS);
}

static void
test_bytes_leave_with_their_bucket(void **state)
{
	struct sliding_bytes s = {0};
	uint64_t gone = (20 + SLIDING_BUCKETS) * SLIDING_BUCKET_MS;

	(void)state;
	assert_int_equal(sliding_bytes_due_ms(&s, 100, 100), 0);
	sliding_bytes_add(&s, 40, 20 * SLIDING_BUCKET_MS);
	sliding_bytes_add(&s, 20, 21 * SLIDING_BUCKET_MS - 1);
	sliding_bytes_add(&s, 30, 21 * SLIDING_BUCKET_MS);
	assert_int_equal(sliding_bytes_due_ms(&s, 10, 100), 0);
	assert_int_equal(sliding_bytes_due_ms(&s, 11, 100), gone);
	assert_int_equal(sliding_bytes_due_ms(&s, 70, 100), gone);
	assert_int_equal(
	    sliding_bytes_due_ms(&s, 71, 100), gone + SLIDING_BUCKET_MS);
	/* the last byte of the bucket is as old as the window by then */
	assert_true(gone - (21 * SLIDING_BUCKET_MS - 1) > SLIDING_WINDOW_MS);
	sliding_bytes_add(&s, 70, gone);
	assert_int_equal(s.sum, 100);
	assert_int_equal(
	    sliding_bytes_due_ms(&s, 1, 100), gone + SLIDING_BUCKET_MS);
}

/* What is over the limit, or the limit under what there is. */
static void
test_bytes_over_the_limit(void **state)
{
	struct sliding_bytes s = {0};

	(void)state;
	assert_int_equal(sliding_bytes_due_ms(&s, UINT64_MAX, 100), 0);
	sliding_bytes_add(&s, 1, 0);
	assert_int_equal(sliding_bytes_due_ms(&s, UINT64_MAX, 100),
	    SLIDING_BUCKETS * SLIDING_BUCKET_MS);
	sliding_bytes_add(&s, 500, 10);
	assert_int_equal(sliding_bytes_due_ms(&s, 0, 100),
	    SLIDING_BUCKETS * SLIDING_BUCKET_MS);
}

static void
test_bytes_after_a_long_time(void **state)
{
	struct sliding_bytes s = {0};

	(void)state;
	sliding_bytes_add(&s, 100, START_MS);
	sliding_bytes_add(&s, 3, UINT64_MAX / 2);
	assert_int_equal(s.sum, 3);
	/* a time that goes back counts as the last one */
	sliding_bytes_add(&s, 4, START_MS);
	assert_int_equal(s.sum, 7);
}

struct event {
	uint64_t at_ms;
	uint64_t bytes;
};
static struct event events[EVENTS];

/* No window that begins with an event has more than <max>. */
static void
check_windows(uint64_t max, uint64_t window_ms)
{
	uint64_t sum = 0;

	for (size_t first = 0, end = 0; first < EVENTS; first++) {
		while (end < EVENTS &&
		       events[end].at_ms - events[first].at_ms < window_ms)
			sum += events[end++].bytes;
		assert_in_range(sum, 1, max);
		sum -= events[first].bytes;
	}
}

static uint64_t
random_below(unsigned n)
{
	return (uint64_t)rand() % n;
}

/* Whoever comes as soon as is allowed, and at times a little later, fills the
   window but never overfills it. */
static void
test_count_over_time(void **state)
{
	static const uint32_t limits[] = {1, 2, 10, 30, COUNT_MAX};
	static uint64_t ring[COUNT_MAX];
	struct sliding_count s;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(limits); i++) {
		uint64_t now = START_MS;

		sliding_count_init(&s, ring, limits[i]);
		for (size_t j = 0; j < EVENTS; j++) {
			uint64_t due = sliding_count_due_ms(&s);

			if (due > now)
				now = due;
			if (j > EVENTS / 2) /* first without a pause */
				now += random_below(8) * random_below(20);
			sliding_count_add(&s, now);
			events[j] = (struct event){now, 1};
		}
		check_windows(limits[i], SLIDING_WINDOW_MS);
		assert_int_equal(
		    events[EVENTS / 2 / limits[i] * limits[i]].at_ms,
		    START_MS + EVENTS / 2 / limits[i] * SLIDING_WINDOW_MS);
	}
}

static void
test_bytes_over_time(void **state)
{
	enum { MAX = 10000 };
	struct sliding_bytes s = {0};
	uint64_t now = START_MS, sent = 0;

	(void)state;
	for (size_t j = 0; j < EVENTS; j++) {
		uint64_t n = 1 + random_below(j % 3 > 0 ? 200 : MAX);
		uint64_t due = sliding_bytes_due_ms(&s, n, MAX);

		if (due > now)
			now = due;
		sliding_bytes_add(&s, n, now);
		events[j] = (struct event){now, n};
		sent += n;
	}
	check_windows(MAX, SLIDING_WINDOW_MS);
	/* half of the limit at least, though a big one may have to wait until
	   nearly all has gone */
	assert_true(sent / ((now - START_MS) / 1000) > MAX / 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_count_of_one),
	    cmocka_unit_test(test_count_is_exact),
	    cmocka_unit_test(test_bytes_leave_with_their_bucket),
	    cmocka_unit_test(test_bytes_over_the_limit),
	    cmocka_unit_test(test_bytes_after_a_long_time),
	    cmocka_unit_test(test_count_over_time),
	    cmocka_unit_test(test_bytes_over_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
