#include "server/rivals.h"

#include "unit.h"

enum { T0 = 1000 * 1000 };

/* Three within a minute; returns when the third was. */
static uint64_t
begin_loop(struct rivals *r)
{
	for (uint64_t at = 0; at < RIVALS_ROW; at++) {
		assert_false(rivals_are_at_it(r));
		assert_true(rivals_admit(r, T0 + at * 1000));
	}
	assert_true(rivals_are_at_it(r));
	return T0 + (RIVALS_ROW - 1) * 1000;
}

static void
test_three_in_a_minute(void **state)
{
	struct rivals r = {0};

	(void)state;
	assert_int_equal(
	    rivals_wait_ms(&r, begin_loop(&r)), RIVALS_WAIT_FIRST_MS);
}

/* However many there are, at their pace there is time enough. */
static void
test_seldom(void **state)
{
	struct rivals r = {0};

	(void)state;
	for (uint64_t at = 0; at < 100; at++) {
		assert_true(rivals_admit(&r, T0 + at * RIVALS_ROW_MS / 2));
		assert_false(rivals_are_at_it(&r));
	}
	/* the window is open at its end: a millisecond less is a loop */
	r = (struct rivals){0};
	assert_true(rivals_admit(&r, T0));
	assert_true(rivals_admit(&r, T0));
	assert_true(rivals_admit(&r, T0 + RIVALS_ROW_MS - 1));
	assert_true(rivals_are_at_it(&r));
}

static void
test_patience_grows(void **state)
{
	struct rivals r = {0};
	uint64_t now_ms = begin_loop(&r), wait_ms = RIVALS_WAIT_FIRST_MS;

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(rivals_wait_ms(&r, now_ms), wait_ms);
		assert_false(rivals_admit(&r, now_ms));
		assert_false(rivals_admit(&r, now_ms + wait_ms - 1));
		now_ms += wait_ms;
		assert_int_equal(rivals_wait_ms(&r, now_ms), 0);
		assert_true(rivals_admit(&r, now_ms));
		wait_ms = 2 * wait_ms < RIVALS_WAIT_MAX_MS ? 2 * wait_ms
							   : RIVALS_WAIT_MAX_MS;
	}
	assert_int_equal(wait_ms, RIVALS_WAIT_MAX_MS);
}

static void
test_row_ends(void **state)
{
	struct rivals r = {0};
	uint64_t ends_ms =
	    begin_loop(&r) + RIVALS_WAIT_FIRST_MS + RIVALS_WAIT_MAX_MS;

	(void)state;
	assert_false(rivals_are_cold(&r, ends_ms - 1));
	assert_true(rivals_are_cold(&r, ends_ms));
	assert_true(rivals_admit(&r, ends_ms));
	assert_false(rivals_are_at_it(&r));
	/* a millisecond before, it goes on */
	r = (struct rivals){0};
	(void)begin_loop(&r);
	assert_true(rivals_admit(&r, ends_ms - 1));
	assert_true(rivals_are_at_it(&r));
}

static void
test_cold(void **state)
{
	struct rivals r = {0};

	(void)state;
	assert_true(rivals_are_cold(&r, T0));
	assert_true(rivals_admit(&r, T0));
	assert_false(rivals_are_cold(&r, T0 + RIVALS_ROW_MS - 1));
	assert_true(rivals_are_cold(&r, T0 + RIVALS_ROW_MS));
}

static void
test_news(void **state)
{
	struct rivals r = {0};
	unsigned untold = 7;

	(void)state;
	assert_true(rivals_are_news(&r, T0, &untold));
	assert_int_equal(untold, 0);
	assert_false(rivals_are_news(&r, T0, &untold));
	assert_false(rivals_are_news(&r, T0 + RIVALS_NEWS_MS - 1, &untold));
	assert_false(rivals_are_cold(&r, T0 + RIVALS_NEWS_MS - 1));
	assert_true(rivals_are_news(&r, T0 + RIVALS_NEWS_MS, &untold));
	assert_int_equal(untold, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_three_in_a_minute),
	    cmocka_unit_test(test_seldom),
	    cmocka_unit_test(test_patience_grows),
	    cmocka_unit_test(test_row_ends),
	    cmocka_unit_test(test_cold),
	    cmocka_unit_test(test_news),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
