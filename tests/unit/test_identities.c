#include "server/identities.h"

#include "unit.h"

#include <stdio.h>

enum { T0 = 1000 * 1000, CROWD = 1000 };

struct stage {
	struct identities all;
};

static int
set_up(void **state)
{
	static struct stage stage;

	identities_init(&stage.all);
	*state = &stage;
	return 0;
}

static int
tear_down(void **state)
{
	struct stage *s = *state;

	identities_clear(&s->all);
	return s->all.tree == NULL ? 0 : -1;
}

static size_t
resting(const struct stage *s)
{
	struct identity *id;
	size_t n = 0;

	TAILQ_FOREACH (id, &s->all.resting, rest)
		n++;
	return n;
}

/* Device number <i>. */
static struct identity *
come(struct stage *s, unsigned i)
{
	char name[ALIYUN_DEVICE_NAME_MAX + 1];
	struct credential entry = {.product_key = "pk", .device_name = name};
	struct identity *id;

	(void)snprintf(name, sizeof(name), "pump_%u", i);
	id = identity_of(&s->all, &entry);
	assert_non_null(id);
	assert_string_equal(id->device_name, name);
	return id;
}

static void
test_nothing_to_remember(void **state)
{
	struct stage *s = *state;

	identity_drop(&s->all, come(s, 1), T0);
	assert_null(s->all.tree);
}

/* Two that come and go by turns are seen as a loop still. */
static void
test_rivals_are_remembered(void **state)
{
	struct stage *s = *state;

	for (unsigned i = 0; i < RIVALS_ROW; i++) {
		struct identity *id = come(s, 1);

		assert_false(rivals_are_at_it(&id->rivals));
		assert_true(rivals_admit(&id->rivals, T0 + i));
		identity_drop(&s->all, id, T0 + i);
		assert_int_equal(resting(s), 1);
	}
	assert_true(rivals_are_at_it(&come(s, 1)->rivals));
	assert_int_equal(resting(s), 0);
	identity_drop(&s->all, come(s, 1), T0 + RIVALS_ROW);
}

/* Whoever goes takes two with it that nothing has to be known of any more. */
static void
test_crowd_is_forgotten(void **state)
{
	struct stage *s = *state;

	for (unsigned i = 0; i < CROWD; i++) {
		struct identity *id = come(s, i);

		assert_true(rivals_admit(&id->rivals, T0));
		identity_drop(&s->all, id, T0);
	}
	assert_int_equal(resting(s), CROWD);
	for (unsigned i = 0; i < CROWD / 2; i++) {
		identity_drop(&s->all, come(s, CROWD), T0 + RIVALS_ROW_MS);
		assert_int_equal(resting(s), CROWD - 2 * (i + 1));
	}
	assert_null(s->all.tree);
}

/* What has to be remembered for long does not keep the others. */
static void
test_mixed_crowd(void **state)
{
	struct stage *s = *state;
	struct identity *id;

	for (unsigned i = 0; i < CROWD; i++) {
		id = come(s, i);
		assert_true(
		    rivals_admit(&id->rivals, i % 2 == 0 ? T0 + 1 : T0));
		identity_drop(&s->all, id, T0 + 1);
	}
	for (unsigned i = 0; i < CROWD / 2; i++)
		identity_drop(&s->all, come(s, CROWD), T0 + RIVALS_ROW_MS);
	assert_int_equal(resting(s), CROWD / 2);
}

static void
test_in_use(void **state)
{
	struct stage *s = *state;
	struct identity *id = come(s, 1);
	struct knock k = {0};

	id->waiting = &k;
	identity_drop(&s->all, id, T0);
	assert_ptr_equal(come(s, 1), id);
	assert_ptr_equal(id->waiting, &k);
	id->waiting = NULL;
	identity_drop(&s->all, id, T0);
	assert_null(s->all.tree);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_nothing_to_remember, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_rivals_are_remembered, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_crowd_is_forgotten, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_mixed_crowd, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_in_use, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
