#include "server/refusal_news.h"

#include "unit.h"

#include <stdio.h>

enum { MINUTE_MS = REFUSAL_NEWS_MS };

static struct refusal_news news;

static int
forget(void **state)
{
	(void)state;
	news = (struct refusal_news){0};
	return 0;
}

/* The count of those untold, or -1 when this one is not told either. */
static int
tell(const char *address, uint64_t what, uint64_t now_ms)
{
	struct network who;
	unsigned untold;

	assert_true(network_read(address, &who));
	if (refusal_news_tell(&news, &who, what, now_ms, &untold))
		return (int)untold;
	assert_int_equal(untold, 0);
	return -1;
}

static void
test_a_device_that_comes_again(void **state)
{
	(void)state;
	for (int i = 0; i < REFUSAL_NEWS_OF_DEVICE; i++)
		assert_int_equal(tell("192.0.2.1", 7, 1000), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(
		    tell("192.0.2.1", 7, 1000 + MINUTE_MS - 1), -1);
	/* another refusal, and another device */
	assert_int_equal(tell("192.0.2.1", 8, 1001), 0);
	assert_int_equal(tell("192.0.2.2", 7, 1001), 0);
	/* from then on one a minute */
	assert_int_equal(tell("192.0.2.1", 7, 1000 + MINUTE_MS), 100);
	assert_int_equal(tell("192.0.2.1", 7, 1001 + MINUTE_MS), -1);
	assert_int_equal(tell("192.0.2.1", 7, 1000 + 2 * MINUTE_MS), 1);
	/* until it was quiet for so long */
	for (int i = 0; i < REFUSAL_NEWS_OF_DEVICE; i++)
		assert_int_equal(tell("192.0.2.1", 7, 1000 + 3 * MINUTE_MS), 0);
	assert_int_equal(tell("192.0.2.1", 7, 1000 + 3 * MINUTE_MS), -1);
}

/* One that shows something else each time is bounded by its address. */
static void
test_an_address(void **state)
{
	unsigned told = 0;

	(void)state;
	for (unsigned i = 1; i <= 1000; i++)
		told += tell("192.0.2.1", i, 1000) == 0;
	assert_int_equal(told, REFUSAL_NEWS_OF_ADDRESS);
	assert_int_equal(tell("192.0.2.2", 1, 1000), 0);
	assert_int_equal(tell("192.0.2.1", 5000, 1000 + MINUTE_MS),
	    1000 - REFUSAL_NEWS_OF_ADDRESS);
}

static void
test_a_host_has_many_addresses(void **state)
{
	char address[64];
	unsigned told = 0;

	(void)state;
	for (unsigned i = 1; i <= 200; i++) {
		(void)snprintf(address, sizeof(address), "2001:db8::%x", i);
		told += tell(address, i, 1000) == 0;
	}
	assert_int_equal(told, REFUSAL_NEWS_OF_ADDRESS);
}

/* Who has come last is known, however many there are. */
static void
test_many(void **state)
{
	char address[64];

	(void)state;
	for (unsigned i = 0; i < 4 * REFUSAL_NEWS_MAX; i++) {
		(void)snprintf(
		    address, sizeof(address), "10.0.%u.%u", i / 256, i % 256);
		for (int n = 0; n < REFUSAL_NEWS_OF_DEVICE; n++)
			assert_int_equal(tell(address, 7, 1000 + i), 0);
		assert_int_equal(tell(address, 7, 1000 + i), -1);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_a_device_that_comes_again, forget),
	    cmocka_unit_test_setup(test_an_address, forget),
	    cmocka_unit_test_setup(test_a_host_has_many_addresses, forget),
	    cmocka_unit_test_setup(test_many, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
