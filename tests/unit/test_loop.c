#include "link/loop.h"

#include "unit.h"

#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

/* A task that writes its letter, and may ask for more. */
struct actor {
	struct loop *loop;
	struct task task;
	char letter;
	char *story;          /* all letters so far */
	unsigned again;       /* how often it asks for another turn */
	struct task *cancels; /* when it runs */
	struct task *wakes;   /* when it runs */
	bool ends;            /* stops the loop */
};

static void
act(void *arg)
{
	struct actor *a = arg;
	size_t n = strlen(a->story);

	a->story[n] = a->letter;
	a->story[n + 1] = '\0';
	if (a->again > 0) {
		a->again--;
		loop_again(a->loop, &a->task);
	}
	if (a->cancels != NULL)
		task_cancel(a->cancels);
	if (a->wakes != NULL)
		loop_again(a->loop, a->wakes);
	if (a->ends)
		a->loop->stop = true;
}

enum { ACTORS = 4 };

struct stage {
	struct loop *loop;
	struct actor actors[ACTORS]; /* a, b, c, and . that ends the turn */
	char story[128];
};

static int
set_stage(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));

	if (s == NULL || (s->loop = loop_new(10 * 1000)) == NULL)
		return -1;
	for (int i = 0; i < ACTORS; i++) {
		struct actor *a = &s->actors[i];

		*a = (struct actor){.loop = s->loop,
		    .letter = "abc."[i],
		    .story = s->story,
		    .ends = i == ACTORS - 1};
		task_init(&a->task, act, a);
	}
	*state = s;
	return 0;
}

static int
clear_stage(void **state)
{
	struct stage *s = *state;

	loop_free(&s->loop);
	assert_null(s->loop);
	loop_free(&s->loop);
	free(s);
	return 0;
}

/* One turn with what is queued. */
static void
turn(struct stage *s)
{
	s->loop->stop = false;
	loop_again(s->loop, &s->actors[ACTORS - 1].task);
	loop_run(s->loop);
}

static void
test_tasks_run_once_in_order(void **state)
{
	struct stage *s = *state;

	loop_again(s->loop, &s->actors[1].task);
	loop_again(s->loop, &s->actors[0].task);
	loop_again(s->loop, &s->actors[1].task); /* is queued already */
	turn(s);
	assert_string_equal(s->story, "ba.");
	turn(s);
	assert_string_equal(s->story, "ba..");
}

/* Whoever asks again runs after the others, and after the sockets. */
static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	act(arg);
}

static void
test_a_turn_lies_between(void **state)
{
	struct stage *s = *state;
	struct actor socket = {
	    .loop = s->loop, .letter = 'S', .story = s->story};
	struct event e;

	(void)event_assign(&e, s->loop->base, -1, 0, on_event, &socket);
	s->actors[0].again = 2;
	loop_again(s->loop, &s->actors[0].task);
	loop_again(s->loop, &s->actors[1].task);
	turn(s);
	assert_string_equal(s->story, "ab.");
	event_active(&e, EV_READ, 0);
	turn(s);
	assert_string_equal(s->story, "ab.Sa.");
	turn(s);
	assert_string_equal(s->story, "ab.Sa.a.");
	(void)event_del(&e);
}

static void
test_cancelled_and_woken_from_another(void **state)
{
	struct stage *s = *state;

	s->actors[0].cancels = &s->actors[1].task;
	s->actors[0].wakes = &s->actors[2].task;
	loop_again(s->loop, &s->actors[0].task);
	loop_again(s->loop, &s->actors[1].task);
	loop_again(s->loop, &s->actors[2].task);
	turn(s);
	/* c was still to come in this turn: not twice */
	assert_string_equal(s->story, "ac.");
	turn(s);
	assert_string_equal(s->story, "ac..");
	task_cancel(&s->actors[1].task); /* harmless */
}

static void
keep(struct stage *s, struct buffer *b, size_t n)
{
	static const uint8_t bytes[100 * 1000];

	assert_true(loop_keep(s->loop, b, (struct span){bytes, n}));
}

static void
test_kept_bytes_are_counted(void **state)
{
	struct stage *s = *state;
	struct buffer a = {0}, b = {0};

	keep(s, &a, 10);
	assert_int_equal(s->loop->kept_bytes, a.cap);
	keep(s, &a, 5000);
	keep(s, &b, 100);
	assert_int_equal(s->loop->kept_bytes, a.cap + b.cap);
	loop_unkeep(s->loop, &a, 5009);
	assert_int_equal(a.n, 1);
	assert_int_equal(s->loop->kept_bytes, a.cap + b.cap);
	loop_unkeep(s->loop, &a, 1);
	assert_int_equal(s->loop->kept_bytes, b.cap);
	loop_unkeep(s->loop, &b, 100);
	assert_int_equal(s->loop->kept_bytes, 0);
	loop_unkeep(s->loop, &b, 0);
	assert_null(b.p);
}

static void
test_each_use_leaves_room_for_those_before(void **state)
{
	struct stage *s = *state;
	size_t max = s->loop->kept_max;

	loop_count(s->loop, max / 2);
	assert_false(loop_can_hold(s->loop, 1, LOOP_FOR_LATER));
	assert_true(loop_can_hold(s->loop, max / 4, LOOP_FROM_DEVICE));
	assert_false(loop_can_hold(s->loop, max / 4 + 1, LOOP_FROM_DEVICE));
	assert_false(loop_has_room(
	    s->loop, max / 2, LOOP_FROM_DEVICE, &s->actors[0].task));
	assert_true(loop_has_room(
	    s->loop, max / 2, LOOP_FROM_CLOUD, &s->actors[1].task));
	loop_uncount(s->loop, max / 2);
	turn(s);
	assert_string_equal(s->story, "a.");
}

static void
test_the_cloud_can_be_read_whatever_devices_have_sent(void **state)
{
	static const uint8_t bytes[500];
	struct stage *s = *state;
	size_t quarter = s->loop->kept_max / 4;
	struct buffer b = {0};

	loop_count(s->loop, 2 * s->loop->kept_max);
	assert_true(loop_can_hold(s->loop, quarter, LOOP_FROM_CLOUD));
	assert_false(loop_can_hold(s->loop, quarter + 1, LOOP_FROM_CLOUD));
	assert_false(loop_can_hold(s->loop, 1, LOOP_FROM_DEVICE));
	assert_true(
	    loop_keep_down(s->loop, &b, (struct span){bytes, sizeof(bytes)}));
	assert_int_equal(s->loop->down_bytes, b.cap);
	assert_true(loop_can_hold(s->loop, quarter - b.cap, LOOP_FROM_CLOUD));
	assert_false(
	    loop_can_hold(s->loop, quarter - b.cap + 1, LOOP_FROM_CLOUD));
	loop_unkeep_down(s->loop, &b, b.n);
	assert_int_equal(s->loop->down_bytes, 0);
	loop_uncount(s->loop, 2 * s->loop->kept_max);
}

static void
test_bytes_outside_of_buffers_are_counted(void **state)
{
	struct stage *s = *state;
	size_t max = s->loop->kept_max;

	assert_true(loop_can_hold(
	    s->loop, max + 1, LOOP_FROM_CLOUD)); /* the first one */
	loop_count(s->loop, 100);
	assert_int_equal(s->loop->kept_bytes, 100);
	assert_true(loop_can_hold(s->loop, max - 100, LOOP_FROM_CLOUD));
	assert_false(loop_can_hold(s->loop, max - 99, LOOP_FROM_CLOUD));
	assert_false(loop_has_room(
	    s->loop, max - 99, LOOP_FROM_CLOUD, &s->actors[0].task));
	loop_uncount(s->loop, 1);
	assert_int_equal(s->loop->kept_bytes, 99);
	assert_true(loop_can_hold(s->loop, max - 99, LOOP_FROM_CLOUD));
	turn(s); /* who waited is called */
	assert_string_equal(s->story, "a.");
	loop_uncount(s->loop, 99);
}

static void
test_the_starved_run_when_bytes_are_given_back(void **state)
{
	struct stage *s = *state;
	struct buffer b = {0};

	keep(s, &b, 8000);
	assert_true(loop_has_room(s->loop, s->loop->kept_max - b.cap,
	    LOOP_FROM_CLOUD, &s->actors[0].task));
	assert_false(
	    loop_has_room(s->loop, 8000, LOOP_FROM_CLOUD, &s->actors[0].task));
	assert_false(
	    loop_has_room(s->loop, 8000, LOOP_FROM_CLOUD, &s->actors[1].task));
	assert_false(
	    loop_has_room(s->loop, 8000, LOOP_FROM_CLOUD, &s->actors[0].task));
	turn(s);
	assert_string_equal(s->story, "."); /* they wait */
	loop_unkeep(s->loop, &b, 8000);
	turn(s);
	assert_string_equal(s->story, ".ab.");
	assert_true(
	    loop_has_room(s->loop, 8000, LOOP_FROM_CLOUD, &s->actors[0].task));
	turn(s);
	assert_string_equal(s->story, ".ab..");
}

/* Kept bytes come from what was read before: they may pass the bound. Nobody
   may read more then. */
static void
test_no_room_when_over_the_bound(void **state)
{
	struct stage *s = *state;
	struct buffer b = {0};

	keep(s, &b, 15 * 1000);
	assert_true(s->loop->kept_bytes > s->loop->kept_max);
	assert_false(
	    loop_has_room(s->loop, 1, LOOP_FROM_DEVICE, &s->actors[0].task));
	loop_unkeep(s->loop, &b, 15 * 1000);
	turn(s);
	assert_string_equal(s->story, "a.");
}

/* Or one that needs more than there is for all would wait for ever. */
static void
test_the_only_one_always_has_room(void **state)
{
	struct stage *s = *state;

	assert_true(loop_has_room(
	    s->loop, 1000 * 1000, LOOP_FROM_CLOUD, &s->actors[0].task));
	turn(s);
	assert_string_equal(s->story, ".");
}

static void
test_a_starved_task_can_be_cancelled_or_woken(void **state)
{
	struct stage *s = *state;
	struct buffer b = {0};

	keep(s, &b, 9000);
	assert_false(
	    loop_has_room(s->loop, 9000, LOOP_FROM_CLOUD, &s->actors[0].task));
	assert_false(
	    loop_has_room(s->loop, 9000, LOOP_FROM_CLOUD, &s->actors[1].task));
	task_cancel(&s->actors[0].task);
	loop_again(s->loop, &s->actors[1].task);
	turn(s);
	assert_string_equal(s->story, "b.");
	loop_unkeep(s->loop, &b, 9000);
	turn(s);
	assert_string_equal(s->story, "b..");
}

/* 32 random bits: of some thousands a few may be equal, not more, and none
   twice in a row; over several fillings of the pool. */
static void
test_mask_keys_differ(void **state)
{
	enum { KEYS = 3 * LOOP_KEY_POOL / 4 + 7 };
	struct stage *s = *state;
	uint32_t *keys = calloc(KEYS, sizeof(*keys));
	unsigned equal = 0;

	assert_non_null(keys);
	for (size_t i = 0; i < KEYS; i++) {
		uint8_t key[4] = {0};

		assert_true(loop_mask_key(s->loop, key));
		memcpy(&keys[i], key, 4);
		assert_true(i == 0 || keys[i] != keys[i - 1]);
		for (size_t k = 0; k < i; k++)
			equal += keys[k] == keys[i];
	}
	assert_true(equal < 4);
	free(keys);
}

#define loop_test(test)                                                        \
	cmocka_unit_test_setup_teardown(test, set_stage, clear_stage)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    loop_test(test_tasks_run_once_in_order),
	    loop_test(test_a_turn_lies_between),
	    loop_test(test_cancelled_and_woken_from_another),
	    loop_test(test_kept_bytes_are_counted),
	    loop_test(test_bytes_outside_of_buffers_are_counted),
	    loop_test(test_each_use_leaves_room_for_those_before),
	    loop_test(test_the_cloud_can_be_read_whatever_devices_have_sent),
	    loop_test(test_the_starved_run_when_bytes_are_given_back),
	    loop_test(test_no_room_when_over_the_bound),
	    loop_test(test_the_only_one_always_has_room),
	    loop_test(test_a_starved_task_can_be_cancelled_or_woken),
	    loop_test(test_mask_keys_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
