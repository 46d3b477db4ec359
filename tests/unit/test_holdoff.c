/* To be linked with -Wl,--wrap=clock_mono_ms. */
#include "link/holdoff.h"

#include "base/clock.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAX_MS = 600 * 1000, HOSTS = 64, START_MS = 1000 * 1000 };

static uint64_t now_ms = START_MS;

uint64_t __wrap_clock_mono_ms(void);

uint64_t
__wrap_clock_mono_ms(void)
{
	return now_ms;
}

/* For how many seconds <host> has asked not to be dialled; 0: it has not. */
static unsigned
asked_s(struct holdoffs *h, const char *host, uint16_t port)
{
	struct fault why = {R_NONE, ""};
	const char *number;
	unsigned s;

	if (!holdoff_asked(h, host, port, &why))
		return 0;
	assert_int_equal(why.why, R_CLOUD_BUSY);
	assert_memory_equal(why.text, host, strlen(host));
	assert_non_null(strstr(why.text, "(Retry-After)"));
	number = strstr(why.text, "another ");
	assert_non_null(number);
	assert_int_equal(sscanf(number, "another %u s", &s), 1);
	return s;
}

/* An HTTP date, so many seconds from now. */
static struct span
date(char out[static 40], int seconds)
{
	time_t t = (time_t)(clock_wall_ms() / 1000) + seconds;
	struct tm tm;

	assert_non_null(gmtime_r(&t, &tm));
	assert_true(strftime(out, 40, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0);
	return span_of_string(out);
}

/* RFC 9110 10.2.3: seconds or a date; what is neither asks for nothing. */
static void
test_what_is_asked(void **state)
{
	static const struct {
		struct span value;
		unsigned s;
	} rows[] = {
	    {SPAN_OF("1"), 1},
	    {SPAN_OF("120"), 120},
	    {SPAN_OF("600"), 600},
	    /* no longer than is allowed */
	    {SPAN_OF("601"), 600},
	    {SPAN_OF("18446744073709550"), 600},
	    {SPAN_OF("0"), 0},
	    {SPAN_OF(""), 0},
	    {SPAN_OF("-1"), 0},
	    {SPAN_OF("+1"), 0},
	    {SPAN_OF("1.5"), 0},
	    {SPAN_OF("1 s"), 0},
	    {SPAN_OF("soon"), 0},
	    {SPAN_OF("99999999999999999999"), 0},
	    {SPAN_OF("111111111111111111111111111111111111111111"), 0},
	    {SPAN_OF("Fri, 31 Dec 1999 23:59:59 GMT"), 0},
	    {SPAN_OF("Tue, 31 Dec 2999 23:59:59 GMT"), 600},
	    {SPAN_OF("Tue, 31 Dec 2999 23:59:59 GMT and more"), 0},
	    {SPAN_OF("Tue, 31 Dec 2999 23:59:59"), 0},
	};
	char text[40];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct holdoffs *h = holdoffs_new();

		assert_non_null(h);
		holdoff_set(h, "a.example", 443, rows[i].value, MAX_MS);
		if (asked_s(h, "a.example", 443) != rows[i].s)
			fail_msg(
			    "row %zu: %u s", i, asked_s(h, "a.example", 443));
		holdoffs_free(&h);
		assert_null(h);
	}
	for (int s = -100; s <= 100; s += 100) {
		struct holdoffs *h = holdoffs_new();

		holdoff_set(h, "a.example", 443, date(text, s), MAX_MS);
		if (s > 0)
			assert_in_range(asked_s(h, "a.example", 443), 98, 100);
		else
			assert_int_equal(asked_s(h, "a.example", 443), 0);
		holdoffs_free(&h);
	}
}

/* Of one port of one host, and the newest answer counts. */
static void
test_whom_it_is_about(void **state)
{
	struct holdoffs *h = holdoffs_new();

	(void)state;
	holdoff_set(h, "a.example", 443, SPAN_OF("100"), MAX_MS);
	assert_int_equal(asked_s(h, "a.example", 443), 100);
	assert_int_equal(asked_s(h, "a.example", 8443), 0);
	assert_int_equal(asked_s(h, "b.example", 443), 0);
	holdoff_set(h, "a.example", 443, SPAN_OF("50"), MAX_MS);
	assert_int_equal(asked_s(h, "a.example", 443), 50);
	holdoff_set(h, "a.example", 443, SPAN_OF(""), MAX_MS);
	assert_int_equal(asked_s(h, "a.example", 443), 50);
	holdoffs_free(&h);
}

/* Of many hosts the one that asked first is forgotten. */
static void
test_many_hosts(void **state)
{
	struct holdoffs *h = holdoffs_new();
	char host[16];

	(void)state;
	for (unsigned i = 0; i <= HOSTS; i++) {
		(void)snprintf(host, sizeof(host), "host%u", i);
		holdoff_set(h, host, 443, SPAN_OF("100"), MAX_MS);
	}
	assert_int_equal(asked_s(h, "host0", 443), 0);
	assert_int_equal(asked_s(h, "host1", 443), 100);
	assert_int_equal(asked_s(h, "host64", 443), 100);
	holdoffs_free(&h);
}

/* And when the time is over, it may be dialled. */
static void
test_it_ends(void **state)
{
	struct holdoffs *h = holdoffs_new();

	(void)state;
	holdoff_set(h, "a.example", 443, SPAN_OF("100"), MAX_MS);
	now_ms += 1000;
	assert_int_equal(asked_s(h, "a.example", 443), 99);
	now_ms += 98999;
	assert_int_equal(asked_s(h, "a.example", 443), 1);
	now_ms++;
	assert_int_equal(asked_s(h, "a.example", 443), 0);
	now_ms = START_MS;
	assert_int_equal(asked_s(h, "a.example", 443), 0); /* for good */
	holdoffs_free(&h);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_asked),
	    cmocka_unit_test(test_whom_it_is_about),
	    cmocka_unit_test(test_many_hosts),
	    cmocka_unit_test(test_it_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
