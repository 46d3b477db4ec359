#include "base/mailbox.h"

#include "unit.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

enum { SENDERS = 4, LETTERS = 20 * 1000 };

struct note {
	struct letter letter;
	unsigned sender;
	unsigned number;
};

static bool
waits(const struct mailbox *box, int timeout_ms)
{
	return poll(&(struct pollfd){mailbox_fd(box), POLLIN, 0}, 1,
		   timeout_ms) == 1;
}

/* What was opened, in order. */
struct heap {
	struct mailbox *box;
	unsigned count;
	struct note *last;
	struct note *answer; /* to be posted from inside an open */
};

static void
open_note(struct letter *letter, void *arg)
{
	struct heap *h = arg;

	h->last = (struct note *)letter;
	assert_int_equal(h->last->number, h->count++);
	if (h->answer != NULL)
		mailbox_post(h->box, &h->answer->letter);
	h->answer = NULL;
}

static void
test_letters_are_opened_in_order_once(void **state)
{
	struct heap h = {.box = mailbox_new()};
	struct note notes[3];

	(void)state;
	assert_non_null(h.box);
	assert_false(waits(h.box, 0));
	mailbox_open_all(h.box, &h);
	assert_int_equal(h.count, 0);
	for (unsigned i = 0; i < 3; i++) {
		notes[i] = (struct note){.letter.open = open_note, .number = i};
		mailbox_post(h.box, &notes[i].letter);
		assert_true(waits(h.box, 0));
	}
	mailbox_open_all(h.box, &h);
	assert_int_equal(h.count, 3);
	assert_false(waits(h.box, 0));
	mailbox_open_all(h.box, &h);
	assert_int_equal(h.count, 3);
	mailbox_free(&h.box);
	assert_null(h.box);
	mailbox_free(&h.box);
}

/* Two that answer each other must not keep the loop from its other work. */
static void
test_a_letter_posted_while_opening_waits_for_the_next_time(void **state)
{
	struct heap h = {.box = mailbox_new()};
	struct note first = {.letter.open = open_note};
	struct note second = {.letter.open = open_note, .number = 1};

	(void)state;
	h.answer = &second;
	mailbox_post(h.box, &first.letter);
	mailbox_open_all(h.box, &h);
	assert_int_equal(h.count, 1);
	assert_true(waits(h.box, 0));
	mailbox_open_all(h.box, &h);
	assert_int_equal(h.count, 2);
	assert_false(waits(h.box, 0));
	mailbox_free(&h.box);
}

struct sender {
	pthread_t thread;
	struct mailbox *box;
	struct note *notes;
};

static void *
send_all(void *arg)
{
	struct sender *s = arg;

	for (unsigned i = 0; i < LETTERS; i++)
		mailbox_post(s->box, &s->notes[i].letter);
	return NULL;
}

static void
count_note(struct letter *letter, void *arg)
{
	const struct note *n = (const struct note *)letter;
	unsigned *next = arg;

	assert_int_equal(n->number, next[n->sender]++);
}

/* The receiver sleeps until it is woken: a lost wake-up ends the test. */
static void
test_many_senders_nothing_lost(void **state)
{
	struct mailbox *box = mailbox_new();
	struct sender senders[SENDERS];
	unsigned next[SENDERS] = {0};
	unsigned opened = 0;

	(void)state;
	for (unsigned i = 0; i < SENDERS; i++) {
		struct sender *s = &senders[i];

		*s = (struct sender){
		    .box = box, .notes = calloc(LETTERS, sizeof(*s->notes))};
		assert_non_null(s->notes);
		for (unsigned k = 0; k < LETTERS; k++)
			s->notes[k] = (struct note){
			    {.open = count_note}, .sender = i, .number = k};
		assert_int_equal(
		    pthread_create(&s->thread, NULL, send_all, s), 0);
	}
	while (opened < SENDERS * LETTERS) {
		assert_true(waits(box, 10 * 1000));
		mailbox_open_all(box, next);
		opened = 0;
		for (unsigned i = 0; i < SENDERS; i++)
			opened += next[i];
	}
	for (unsigned i = 0; i < SENDERS; i++) {
		assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
		assert_int_equal(next[i], LETTERS);
		free(senders[i].notes);
	}
	assert_false(waits(box, 0));
	mailbox_free(&box);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_letters_are_opened_in_order_once),
	    cmocka_unit_test(
		test_a_letter_posted_while_opening_waits_for_the_next_time),
	    cmocka_unit_test(test_many_senders_nothing_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
