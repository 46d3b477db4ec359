#include "session/asked.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

static bool
has(const struct asked *a, const char *name)
{
	return asked_has(a, span_of_string(name));
}

static void
test_only_what_is_asked_for(void **state)
{
	struct asked a = {0};

	(void)state;
	asked_begin(&a);
	asked_add(&a, SPAN_OF("a/+"), false);
	assert_true(has(&a, "b")); /* the cloud sends nothing else */
	asked_add(&a, SPAN_OF("$share/g/c/#"), true);
	assert_true(has(&a, "a/1"));
	assert_true(has(&a, "c"));
	assert_false(has(&a, "b"));
	asked_add(&a, SPAN_OF("a/+"), false);
	asked_remove(&a, SPAN_OF("a/+"));
	assert_false(has(&a, "a/1"));
	asked_remove(&a, SPAN_OF("nothing"));
	asked_remove(&a, SPAN_OF("$share/g/c/#"));
	assert_int_equal(a.filters.n, 0);
	assert_int_equal(a.wider, 0);
	asked_free(&a);
}

/* Subscriptions from before, or too many: then everything is delivered. */
static void
test_what_is_not_known(void **state)
{
	static char text[ASKED_BYTES_MAX];
	struct asked a = {0};

	(void)state;
	asked_add(&a, SPAN_OF("a"), true);
	assert_true(has(&a, "b"));
	asked_begin(&a);
	asked_add(&a, SPAN_OF("a"), true);
	assert_false(has(&a, "b"));
	memset(text, 'x', sizeof(text));
	asked_add(
	    &a, (struct span){(const uint8_t *)text, sizeof(text) - 1}, false);
	assert_true(has(&a, "b"));
	asked_add(&a, SPAN_OF("a"), true);
	assert_true(has(&a, "b"));
	asked_begin(&a);
	assert_true(has(&a, "b"));
	asked_add(&a, SPAN_OF("a"), true);
	assert_false(has(&a, "b"));
	asked_free(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_only_what_is_asked_for),
	    cmocka_unit_test(test_what_is_not_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
