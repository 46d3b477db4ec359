/*
 * Packet identifiers of the cloud's PUBLISHes, for a device that outlives its
 * link.
 *
 * TEST_SEED in the environment, or 1, is what the random numbers begin with.
 */
#include "session/outbound.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 300 * 1000, IDS = 12 };

static bool no_memory;

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_realloc(void *p, size_t n)
{
	return no_memory ? NULL : __real_realloc(p, n);
}

static struct outbound out;
static uint32_t mark; /* of the next messages */

static int
tear_down(void **state)
{
	(void)state;
	outbound_free(&out);
	assert_null(out.records);
	out = (struct outbound){0};
	return 0;
}

/* What becomes of a PUBLISH of the cloud under <id>: what the device calls it;
   0: it is TAKEN, -1: it has its ANSWER. */
static int
publish(uint16_t id, bool dup)
{
	uint16_t told = id;

	switch (outbound_publish(&out, 1, dup, mark, &told)) {
	case OUTBOUND_PASS:
		return told;
	case OUTBOUND_TAKEN:
		return 0;
	case OUTBOUND_ANSWER:
		return -1;
	case OUTBOUND_NO_MEMORY:
		break;
	}
	return -2;
}

/* The same of a PUBACK of the device, and the cloud. */
static int
acknowledge(uint16_t id)
{
	return outbound_acknowledge(&out, &id) == OUTBOUND_PASS ? id : 0;
}

static void
test_one_link(void **state)
{
	(void)state;
	assert_int_equal(publish(5, false), 5);
	assert_int_equal(publish(6, false), 6);
	assert_int_equal(outbound_for_cloud(&out, 5), 5);
	assert_int_equal(outbound_for_device(&out, 5), 5);
	assert_int_equal(acknowledge(6), 6);
	assert_int_equal(acknowledge(5), 5);
	assert_null(out.records);
	/* what is not known is not ours */
	assert_int_equal(acknowledge(9), 9);
	assert_int_equal(outbound_for_cloud(&out, 9), 9);
	assert_int_equal(outbound_for_device(&out, 9), 9);
	outbound_disconnect(&out);
	outbound_forget_cloud(&out);
}

/* 4.4: the cloud has its session, and repeats what it has no answer to. */
static void
test_repeated(void **state)
{
	(void)state;
	assert_int_equal(publish(5, false), 5);
	assert_int_equal(publish(6, false), 6);
	outbound_disconnect(&out);
	assert_int_equal(out.orphans, 2);
	/* while the link is lost; the cloud cannot know */
	assert_int_equal(acknowledge(5), 0);
	assert_int_equal(out.orphans, 1);
	assert_int_equal(publish(5, true), -1);
	assert_int_equal(publish(6, true), 0);
	assert_int_equal(out.orphans, 0);
	assert_int_equal(acknowledge(6), 6);
	assert_null(out.records);
}

/* The cloud had the answer, or has another message. */
static void
test_identifier_used_anew(void **state)
{
	int other;

	(void)state;
	assert_int_equal(publish(5, false), 5);
	assert_int_equal(publish(6, false), 6);
	outbound_disconnect(&out);
	assert_int_equal(acknowledge(5), 0);
	assert_int_equal(publish(5, false), 5);
	other = publish(6, false);
	assert_int_equal(other, UINT16_MAX);
	assert_int_equal(outbound_for_cloud(&out, UINT16_MAX), 6);
	assert_int_equal(outbound_for_device(&out, 6), UINT16_MAX);
	/* the old one goes nowhere, the new one to the cloud */
	assert_int_equal(acknowledge(6), 0);
	assert_int_equal(acknowledge(UINT16_MAX), 6);
	assert_int_equal(acknowledge(5), 5);
	assert_null(out.records);
}

static void
test_cloud_without_a_session(void **state)
{
	(void)state;
	assert_int_equal(publish(5, false), 5);
	assert_int_equal(publish(6, false), 6);
	outbound_disconnect(&out);
	assert_int_equal(acknowledge(6), 0);
	outbound_forget_cloud(&out);
	assert_int_equal(out.n, 1);
	/* another message, even if it is repeated already */
	assert_int_equal(publish(6, true), 6);
	assert_int_equal(publish(5, true), UINT16_MAX);
	assert_int_equal(acknowledge(5), 0);
	assert_int_equal(acknowledge(UINT16_MAX), 5);
	assert_int_equal(acknowledge(6), 6);
	assert_null(out.records);
}

/* A session that another login has begun, whose answer was lost. */
static void
test_another_message_with_dup(void **state)
{
	(void)state;
	mark = 1;
	assert_int_equal(publish(5, false), 5);
	assert_int_equal(publish(6, false), 6);
	outbound_disconnect(&out);
	assert_int_equal(acknowledge(6), 0);
	mark = 2;
	assert_int_equal(publish(5, true), UINT16_MAX);
	assert_int_equal(publish(6, true), 6);
	assert_int_equal(acknowledge(5), 0);
	assert_int_equal(acknowledge(UINT16_MAX), 5);
	assert_int_equal(acknowledge(6), 6);
	assert_null(out.records);
}

static void
test_picked_identifiers(void **state)
{
	(void)state;
	assert_int_equal(publish(5, false), 5);
	outbound_disconnect(&out);
	assert_int_equal(publish(5, false), UINT16_MAX);
	/* an identifier of the cloud's that was picked */
	assert_int_equal(publish(UINT16_MAX, false), UINT16_MAX - 1);
	assert_int_equal(outbound_for_cloud(&out, UINT16_MAX), 5);
	assert_int_equal(acknowledge(UINT16_MAX - 1), UINT16_MAX);
	assert_int_equal(acknowledge(UINT16_MAX), 5);
	/* never 0 */
	out.picked = 1;
	assert_int_equal(publish(5, false), UINT16_MAX);
}

static void
test_qos2_is_counted(void **state)
{
	uint16_t id = 5;

	(void)state;
	assert_int_equal(
	    outbound_publish(&out, 2, false, 0, &id), OUTBOUND_PASS);
	assert_int_equal(out.qos2, 1);
	assert_int_equal(publish(6, false), 6);
	assert_int_equal(out.qos2, 1);
	assert_int_equal(acknowledge(5), 5);
	assert_int_equal(out.qos2, 0);
}

static void
test_bounds(void **state)
{
	(void)state;
	for (uint16_t id = 1; id <= OUTBOUND_MAX; id++)
		assert_int_equal(publish(id, false), id);
	assert_false(out.is_overfull);
	assert_int_equal(publish(OUTBOUND_MAX + 1, false), OUTBOUND_MAX + 1);
	assert_int_equal(out.n, OUTBOUND_MAX);
	assert_true(out.is_overfull);
	for (uint16_t id = 1; id <= OUTBOUND_MAX + 1; id++)
		assert_int_equal(acknowledge(id), id);
	/* who has it cannot know whether it has been answered */
	assert_true(out.is_overfull);
	outbound_free(&out);
	assert_false(out.is_overfull);
}

static void
test_without_memory(void **state)
{
	(void)state;
	no_memory = true;
	assert_int_equal(publish(1, false), -2);
	no_memory = false;
	assert_int_equal(out.n, 0);
	for (uint16_t id = 1; id <= 4; id++)
		assert_int_equal(publish(id, false), id);
	no_memory = true;
	assert_int_equal(publish(5, false), -2);
	assert_int_equal(publish(4, true), 4);
	no_memory = false;
	assert_int_equal(out.n, 4);
	assert_int_equal(publish(5, false), 5);
}

/* ---- at random: a cloud with a session and a device, by message ---- */

static struct message {
	uint16_t id;  /* the cloud's; 0: it has been answered */
	int owed_as;  /* by the device; 0: it is not */
	bool is_told; /* to the device */
} messages[IDS];

static bool
is_owed(int id)
{
	for (int i = 0; i < IDS; i++)
		if (messages[i].owed_as == id)
			return true;
	return false;
}

static void
cloud_says(struct message *m, bool dup)
{
	int told = publish(m->id, dup);

	if (told > 0) {
		assert_false(m->is_told && dup && m->owed_as != 0);
		assert_false(is_owed(told));
		m->owed_as = told;
		m->is_told = true;
	} else if (told == 0) {
		assert_true(m->owed_as != 0);
	} else {
		assert_int_equal(told, -1);
		assert_true(m->is_told && m->owed_as == 0);
		*m = (struct message){0};
	}
}

static void
device_answers(struct message *m, bool link_is_lost)
{
	int to = acknowledge((uint16_t)m->owed_as);

	m->owed_as = 0;
	if (link_is_lost) {
		assert_int_equal(to, 0);
		return;
	}
	/* of a cloud that has forgotten: 0 */
	assert_int_equal(to, m->id);
	*m = (struct message){0};
}

static void
link_is_lost(void)
{
	bool forgets = rand() % 3 == 0;

	outbound_disconnect(&out);
	for (int i = 0; i < IDS; i++)
		if (messages[i].owed_as != 0 && rand() % 3 == 0)
			device_answers(&messages[i], true);
	if (forgets) {
		outbound_forget_cloud(&out);
		for (int i = 0; i < IDS; i++) {
			messages[i].id = 0;
			if (messages[i].owed_as == 0)
				messages[i] = (struct message){0};
		}
		return;
	}
	for (int i = 0; i < IDS; i++)
		if (messages[i].id != 0)
			cloud_says(&messages[i], true);
}

static void
test_random(void **state)
{
	const char *seed = getenv("TEST_SEED");

	(void)state;
	srand(seed != NULL ? (unsigned)atoi(seed) : 1);
	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < ROUNDS; i++) {
		struct message *m = &messages[rand() % IDS];

		if (rand() % 20 == 0) {
			link_is_lost();
		} else if (m->owed_as != 0) {
			device_answers(m, false);
		} else if (m->id == 0) {
			m->id = (uint16_t)(1 + (m - messages));
			cloud_says(m, false);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_one_link, tear_down),
	    cmocka_unit_test_teardown(test_repeated, tear_down),
	    cmocka_unit_test_teardown(test_identifier_used_anew, tear_down),
	    cmocka_unit_test_teardown(test_cloud_without_a_session, tear_down),
	    cmocka_unit_test_teardown(test_another_message_with_dup, tear_down),
	    cmocka_unit_test_teardown(test_picked_identifiers, tear_down),
	    cmocka_unit_test_teardown(test_qos2_is_counted, tear_down),
	    cmocka_unit_test_teardown(test_bounds, tear_down),
	    cmocka_unit_test_teardown(test_without_memory, tear_down),
	    cmocka_unit_test_teardown(test_random, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
