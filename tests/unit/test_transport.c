#include "link/habit.h"
#include "settings/transport.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

static void
test_lists_are_read_and_written(void **state)
{
	static const struct {
		const char *text;
		const char *shown; /* NULL: no list */
	} rows[] = {
	    {"wss", "wss"},
	    {"ws", "ws"},
	    {"mqtts", "mqtts"},
	    {"wss, mqtts", "wss, mqtts"},
	    {"mqtts,wss", "mqtts, wss"},
	    {"wss , mqtts ,  ws", "wss, mqtts, ws"},
	    {"wss ", "wss"},
	    {"", NULL},
	    {",", NULL},
	    {"wss,", NULL},
	    {"wss,,mqtts", NULL},
	    {"wss mqtts", NULL},
	    {"wss, wss", NULL},
	    {"WSS", NULL},
	    {"wsss", NULL},
	    {"w", NULL},
	    {"mqtt", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct transports before = {1, {TRANSPORT_WS}};
		struct transports list = before;
		char text[TRANSPORTS_TEXT];

		assert_int_equal(transports_read(rows[i].text, &list),
		    rows[i].shown != NULL);
		assert_string_equal(transports_write(&list, text),
		    rows[i].shown != NULL ? rows[i].shown : "ws");
	}
}

static void
test_same_lists(void **state)
{
	struct transports a, b;

	(void)state;
	assert_true(transports_read("wss,mqtts", &a));
	assert_true(transports_read("wss,  mqtts", &b));
	assert_true(transports_same(&a, &b));
	assert_true(transports_read("mqtts, wss", &b));
	assert_false(transports_same(&a, &b));
	assert_true(transports_read("wss", &b));
	assert_false(transports_same(&a, &b));
	assert_true(transports_have(&a, TRANSPORT_MQTTS));
	assert_false(transports_have(&a, TRANSPORT_WS));
}

static const char *
order(const struct habits *h, const char *host, const char *wanted)
{
	static char text[TRANSPORTS_TEXT];
	struct transports list;

	assert_true(transports_read(wanted, &list));
	list = habit_order(h, host, &list);
	return transports_write(&list, text);
}

static void
test_what_worked_goes_first(void **state)
{
	struct habits *h = habits_new();

	(void)state;
	assert_non_null(h);
	assert_string_equal(order(h, "a", "wss, mqtts, ws"), "wss, mqtts, ws");
	habit_note(h, "a", TRANSPORT_WS);
	assert_string_equal(order(h, "a", "wss, mqtts, ws"), "ws, wss, mqtts");
	habit_note(h, "a", TRANSPORT_MQTTS);
	assert_string_equal(order(h, "a", "wss, mqtts, ws"), "mqtts, wss, ws");
	assert_string_equal(order(h, "b", "wss, mqtts"), "wss, mqtts");
	/* never one that is not wanted */
	assert_string_equal(order(h, "a", "wss, ws"), "wss, ws");
	assert_string_equal(order(h, "a", "wss"), "wss");
	habits_free(&h);
	assert_null(h);
}

static void
test_habits_are_bounded(void **state)
{
	struct habits *h = habits_new();
	char host[16];

	(void)state;
	assert_non_null(h);
	for (int i = 0; i < 65; i++) {
		(void)snprintf(host, sizeof(host), "host%d", i);
		habit_note(h, host, TRANSPORT_MQTTS);
	}
	assert_string_equal(order(h, "host0", "wss, mqtts"), "wss, mqtts");
	assert_string_equal(order(h, "host1", "wss, mqtts"), "mqtts, wss");
	assert_string_equal(order(h, "host64", "wss, mqtts"), "mqtts, wss");
	habits_free(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lists_are_read_and_written),
	    cmocka_unit_test(test_same_lists),
	    cmocka_unit_test(test_what_worked_goes_first),
	    cmocka_unit_test(test_habits_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
