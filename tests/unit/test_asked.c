#include "session/asked.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULES = 7 };

static struct loop loop; /* only its account is used */

static void
begin(struct asked *a)
{
	TAILQ_INIT(&loop.starved);
	asked_begin(a, &loop, RULES);
}

/* Nothing may be left. */
static void
end(struct asked *a)
{
	asked_free(a);
	assert_int_equal(loop.kept_bytes, 0);
}

static void
add(struct asked *a, const char *filter, bool wider)
{
	assert_true(asked_add(a, span_of_string(filter), wider));
}

static bool
has(const struct asked *a, const char *name)
{
	return asked_has(a, span_of_string(name));
}

static bool
needs(const struct asked *a, const char *filter)
{
	return asked_needs(a, span_of_string(filter));
}

static void
test_only_what_is_asked_for(void **state)
{
	struct asked a = {0};

	(void)state;
	begin(&a);
	add(&a, "a/+", false);
	assert_true(has(&a, "b")); /* the cloud sends nothing else */
	add(&a, "$share/g/c/#", true);
	assert_true(has(&a, "a/1"));
	assert_true(has(&a, "c"));
	assert_false(has(&a, "b"));
	assert_false(asked_add(&a, SPAN_OF("a/+"), false));
	assert_true(asked_remove(&a, SPAN_OF("a/+")));
	assert_false(asked_remove(&a, SPAN_OF("a/+")));
	assert_false(has(&a, "a/1"));
	assert_true(has(&a, "c/1"));
	assert_false(asked_remove(&a, SPAN_OF("nothing")));
	assert_true(asked_remove(&a, SPAN_OF("$share/g/c/#")));
	assert_int_equal(a.filters.n, 0);
	assert_int_equal(a.wider, 0);
	assert_int_equal(loop.kept_bytes, 0);
	end(&a);
}

/* One out of the middle leaves the others as they were. */
static void
test_any_can_go(void **state)
{
	static const char *const filters[] = {"a", "bb/+", "#", "dddd", "e"};
	struct asked a = {0};

	(void)state;
	for (unsigned gone = 0; gone < ARRAY_LENGTH(filters); gone++) {
		begin(&a);
		for (unsigned i = 0; i < ARRAY_LENGTH(filters); i++)
			add(&a, filters[i], true);
		assert_true(asked_remove(&a, span_of_string(filters[gone])));
		for (unsigned i = 0; i < ARRAY_LENGTH(filters); i++)
			assert_int_equal(
			    asked_remove(&a, span_of_string(filters[i])),
			    i != gone);
		end(&a);
	}
}

/* Subscriptions from before, or too many: then everything is delivered. */
static void
test_what_is_not_known(void **state)
{
	static char text[ASKED_BYTES_MAX];
	struct asked a = {0};

	(void)state;
	assert_false(asked_add(&a, SPAN_OF("a"), true));
	asked_need(&a, SPAN_OF("/a"));
	assert_true(has(&a, "b"));
	assert_false(needs(&a, "/a"));
	begin(&a);
	add(&a, "a", true);
	asked_need(&a, SPAN_OF("/a"));
	assert_false(has(&a, "b"));
	assert_true(needs(&a, "/a"));
	assert_true(loop.kept_bytes > 0);
	memset(text, 'x', sizeof(text));
	assert_false(asked_add(
	    &a, (struct span){(const uint8_t *)text, sizeof(text) - 1}, false));
	assert_true(has(&a, "b"));
	assert_false(needs(&a, "/a"));
	assert_int_equal(loop.kept_bytes, 0);
	assert_false(asked_add(&a, SPAN_OF("a"), true));
	assert_true(has(&a, "b"));
	begin(&a);
	assert_true(has(&a, "b"));
	add(&a, "a", true);
	assert_false(has(&a, "b"));
	end(&a);
}

/* What was asked for by other rules says nothing. */
static void
test_other_rules(void **state)
{
	struct asked a = {0};

	(void)state;
	begin(&a);
	add(&a, "a", true);
	asked_resume(&a, RULES);
	assert_false(has(&a, "b"));
	asked_resume(&a, RULES + 1);
	assert_true(has(&a, "b"));
	assert_false(asked_add(&a, SPAN_OF("c"), true));
	end(&a);
}

/* A filter of the cloud goes with the last that needs it. */
static void
test_needs(void **state)
{
	enum { MANY = 500 };
	struct asked a = {0};
	char text[16];

	(void)state;
	begin(&a);
	for (unsigned i = 0; i < 2 * MANY; i++) {
		(void)snprintf(text, sizeof(text), "/%u", i % MANY);
		asked_need(&a, span_of_string(text));
	}
	asked_release(&a, SPAN_OF("/other"));
	assert_false(needs(&a, "/other"));
	for (unsigned i = 0; i < 2 * MANY; i++) {
		(void)snprintf(text, sizeof(text), "/%u", i % MANY);
		assert_true(needs(&a, text));
		asked_release(&a, span_of_string(text));
		assert_int_equal(needs(&a, text), i < MANY);
	}
	assert_int_equal(loop.kept_bytes, 0);
	/* more than can be kept */
	for (unsigned i = 0; i <= ASKED_BYTES_MAX / 16; i++) {
		(void)snprintf(text, sizeof(text), "/%u", i);
		asked_need(&a, span_of_string(text));
		assert_int_equal(needs(&a, text), i < ASKED_BYTES_MAX / 16);
	}
	assert_false(a.is_complete);
	end(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_only_what_is_asked_for),
	    cmocka_unit_test(test_any_can_go),
	    cmocka_unit_test(test_what_is_not_known),
	    cmocka_unit_test(test_other_rules),
	    cmocka_unit_test(test_needs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
