/*
 * Subscriptions that are to be asked for again.
 *
 * TEST_SEED in the environment, or 1, is what the random numbers begin with.
 */
#include "session/granted.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 100 * 1000, FILTERS = 12 };

static bool no_memory;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_malloc(size_t n)
{
	return no_memory ? NULL : __real_malloc(n);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return no_memory ? NULL : __real_realloc(p, n);
}

static struct granted granted;

static int
set_up(void **state)
{
	(void)state;
	granted = (struct granted){0};
	granted_begin(&granted);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	granted_free(&granted);
	assert_null(granted.list.p);
	assert_false(granted.is_complete);
	return 0;
}

static void
add(const char *filter, uint8_t options, uint32_t identifier)
{
	granted_add(&granted, &(struct subscription){
				  span_of_string(filter), options, identifier});
}

static void
take_away(const char *filter)
{
	granted_remove(&granted, span_of_string(filter));
}

/* The list, in words. */
static const char *
all(void)
{
	static char text[2000];
	struct span list = buffer_span(&granted.list);
	struct subscription s;
	size_t n = 0;

	text[0] = '\0';
	while (granted_next(&list, &s))
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s:%x:%x ",
		    (int)s.filter.n, (const char *)s.filter.p, s.options,
		    s.identifier);
	assert_int_equal(list.n, 0);
	return text;
}

static void
test_list(void **state)
{
	(void)state;
	assert_true(granted.is_complete);
	assert_string_equal(all(), "");
	take_away("a");
	add("a/+", 1, 0);
	add("b", 0x2e, 268435455);
	add("c/#", 2, 7);
	assert_string_equal(all(), "a/+:1:0 b:2e:fffffff c/#:2:7 ");
	take_away("a");
	take_away("a/+/");
	assert_string_equal(all(), "a/+:1:0 b:2e:fffffff c/#:2:7 ");
	/* MQTT-3.8.4-3 */
	add("b", 0, 0);
	assert_string_equal(all(), "a/+:1:0 c/#:2:7 b:0:0 ");
	take_away("c/#");
	take_away("b");
	take_away("a/+");
	assert_string_equal(all(), "");
	assert_null(granted.list.p);
	assert_true(granted.is_complete);
}

static void
test_another_session(void **state)
{
	(void)state;
	add("a", 1, 0);
	granted_begin(&granted);
	assert_true(granted.is_complete);
	assert_string_equal(all(), "");
}

static void
test_bounds(void **state)
{
	static char filter[GRANTED_BYTES_MAX];
	enum { AROUND = 7 };

	(void)state;
	memset(filter, 'x', GRANTED_BYTES_MAX - AROUND);
	add(filter, 1, 0);
	assert_true(granted.is_complete);
	assert_int_equal(granted.list.n, GRANTED_BYTES_MAX);
	/* in its own place there is room */
	add(filter, 2, 0);
	assert_true(granted.is_complete);
	add("a", 1, 0);
	assert_false(granted.is_complete);
	assert_int_equal(granted.list.n, GRANTED_BYTES_MAX);
	/* what was not noted is unknown for good */
	take_away(filter);
	assert_null(granted.list.p);
	assert_false(granted.is_complete);
	granted_begin(&granted);
	assert_true(granted.is_complete);
}

static void
test_without_memory(void **state)
{
	(void)state;
	no_memory = true;
	add("a", 1, 0);
	no_memory = false;
	assert_false(granted.is_complete);
	assert_string_equal(all(), "");
}

static void
test_random(void **state)
{
	const char *seed = getenv("TEST_SEED");
	struct subscription model[FILTERS] = {0};
	static char names[FILTERS][8];

	(void)state;
	srand(seed != NULL ? (unsigned)atoi(seed) : 1);
	for (int i = 0; i < FILTERS; i++) {
		names[i][0] = (char)('a' + i);
		memset(names[i] + 1, '/', (size_t)i % 4);
	}
	for (int round = 0; round < ROUNDS; round++) {
		int i = rand() % FILTERS, n = 0;
		struct span list;
		struct subscription s;

		if (rand() % 2 == 0) {
			model[i] =
			    (struct subscription){span_of_string(names[i]),
				(uint8_t)rand(), (uint32_t)rand()};
			granted_add(&granted, &model[i]);
		} else {
			model[i].filter.n = 0;
			take_away(names[i]);
		}
		list = buffer_span(&granted.list);
		while (granted_next(&list, &s)) {
			for (i = 0; i < FILTERS; i++)
				if (model[i].filter.n > 0 &&
				    span_eq(model[i].filter, s.filter))
					break;
			assert_true(i < FILTERS);
			assert_int_equal(s.options, model[i].options);
			assert_int_equal(s.identifier, model[i].identifier);
			n++;
		}
		for (i = 0; i < FILTERS; i++)
			n -= model[i].filter.n > 0;
		assert_int_equal(n, 0);
	}
	assert_true(granted.is_complete);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_another_session, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_without_memory, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_random, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
