/*
 * The hasher's thread, its queue, and what it remembers; and who is a suspect.
 *
 * To be linked with -Wl,--wrap=password_hash_check and clock_mono_ms: the
 * thread computes when the test lets it, and time passes when the test says so.
 */
#include "server/hasher.h"

#include "base/clock.h"
#include "server/suspects.h"

#include "rig.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { RIGHT = 'r' }; /* what right passwords begin with */

static struct {
	sem_t may_compute;
	atomic_uint computed;
	bool fails;
} thread;

static uint64_t skipped_ms;

uint64_t __real_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void);
bool __wrap_password_hash_check(
    const struct password_hash *h, const struct secret *password, bool *right);

uint64_t
__wrap_clock_mono_ms(void)
{
	return __real_clock_mono_ms() + skipped_ms;
}

bool
__wrap_password_hash_check(
    const struct password_hash *h, const struct secret *password, bool *right)
{
	(void)h;
	while (sem_wait(&thread.may_compute) != 0)
		continue;
	atomic_fetch_add(&thread.computed, 1);
	*right = password->bytes[0] == RIGHT;
	return !thread.fails;
}

struct site {
	struct rig rig;
	struct hasher *hasher;
	struct password_hash hash;
	char story[2 * HASHER_QUEUE_MAX + 16]; /* a letter for each answer */
	size_t answers;
};

/* Who asks, as a letter; capitals when the answer is right, "-" behind them
   when there is none. */
struct asker {
	struct site *site;
	char letter;
	struct hasher_job *job;
};

static int
set_up(void **state)
{
	struct site *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -1;
	*state = s;
	rig_open(&s->rig);
	(void)sem_init(&thread.may_compute, 0, 0);
	atomic_store(&thread.computed, 0);
	thread.fails = false;
	skipped_ms = 0;
	s->hash = (struct password_hash){.iterations = 1000, .salt_bytes = 8};
	s->hasher = hasher_new(s->rig.loop->base);
	return s->hasher != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
	struct site *s = *state;

	(void)sem_post(&thread.may_compute); /* what was forgotten */
	hasher_free(&s->hasher);
	(void)sem_destroy(&thread.may_compute);
	rig_close(&s->rig);
	free(s);
	return 0;
}

static void
on_answer(void *arg, enum verdict verdict)
{
	struct asker *a = arg;
	struct site *s = a->site;

	assert_true(s->answers + 2 < sizeof(s->story));
	s->story[s->answers++] =
	    (char)(verdict == VERDICT_RIGHT ? a->letter - 'a' + 'A'
					    : a->letter);
	if (verdict == VERDICT_NONE)
		s->story[s->answers++] = '-';
	a->job = NULL;
	rig_wake(&s->rig);
}

static struct secret
password_of(const char *text)
{
	struct secret k = {0};

	assert_true(secret_set(&k, span_of_string(text)));
	return k;
}

static bool
ask(struct site *s, struct asker *a, char letter, const char *password,
    bool is_suspect)
{
	struct secret k = password_of(password);

	*a = (struct asker){.site = s, .letter = letter};
	a->job = hasher_ask(s->hasher, &s->hash, &k, is_suspect, on_answer, a);
	return a->job != NULL;
}

static enum verdict
recall(struct site *s, const char *password)
{
	struct secret k = password_of(password);

	return hasher_recall(s->hasher, &s->hash, &k);
}

static void
let_compute(unsigned n)
{
	while (n-- > 0)
		(void)sem_post(&thread.may_compute);
}

static void
assert_story(struct site *s, const char *want)
{
	until(&s->rig, strlen(s->story) >= strlen(want));
	assert_string_equal(s->story, want);
}

static void
test_answers_and_remembers(void **state)
{
	struct site *s = *state;
	struct asker a, b;

	assert_int_equal(recall(s, "right"), VERDICT_NONE);
	let_compute(2);
	assert_true(ask(s, &a, 'a', "right", false));
	assert_true(ask(s, &b, 'b', "wrong", false));
	assert_story(s, "Ab");
	assert_int_equal(recall(s, "right"), VERDICT_RIGHT);
	assert_int_equal(recall(s, "wrong"), VERDICT_WRONG);
	assert_int_equal(recall(s, "righ"), VERDICT_NONE);
	assert_int_equal(recall(s, "right "), VERDICT_NONE);
	assert_int_equal(recall(s, ""), VERDICT_NONE);
	/* of this hash only */
	s->hash.hash[31] ^= 1;
	assert_int_equal(recall(s, "right"), VERDICT_NONE);
	s->hash.hash[31] ^= 1;
	s->hash.iterations++;
	assert_int_equal(recall(s, "right"), VERDICT_NONE);
	s->hash.iterations--;
	s->hash.salt[0] ^= 1;
	assert_int_equal(recall(s, "right"), VERDICT_NONE);
	s->hash.salt[0] ^= 1;
	/* a wrong one for a minute, a right one for good */
	skipped_ms += VERDICTS_WRONG_MS;
	assert_int_equal(recall(s, "wrong"), VERDICT_NONE);
	skipped_ms += UINT64_C(1) << 40;
	assert_int_equal(recall(s, "right"), VERDICT_RIGHT);
}

/* Others go before, whoever came first; each kind in its order. */
static void
test_suspects_wait_behind_others(void **state)
{
	struct site *s = *state;
	struct asker at[6];

	assert_true(ask(s, &at[0], 'a', "r0", true)); /* at once */
	assert_true(ask(s, &at[1], 'b', "r1", true));
	assert_true(ask(s, &at[2], 'c', "r2", true));
	assert_true(ask(s, &at[3], 'd', "r3", false));
	assert_true(ask(s, &at[4], 'e', "x4", false));
	let_compute(3);
	assert_story(s, "ADe");
	assert_true(ask(s, &at[5], 'f', "r5", false));
	let_compute(3);
	assert_story(s, "ADeBFC"); /* b was begun before f came */
}

/* It had not been known when they came. */
static void
test_those_that_turn_out_to_be_suspects(void **state)
{
	struct site *s = *state;
	struct asker at[5];

	for (size_t i = 0; i < ARRAY_LENGTH(at); i++) {
		char password[] = {'r', (char)('0' + i), '\0'};

		assert_true(ask(s, &at[i], (char)('a' + i), password, i == 4));
	}
	for (size_t i = 0; i < 3; i++)
		hasher_demote(at[i].job); /* of the first it is too late */
	hasher_demote(at[4].job);
	let_compute(5);
	assert_story(s, "ADEBC");
}

static void
test_the_same_is_computed_once(void **state)
{
	struct site *s = *state;
	struct asker at[4];

	for (size_t i = 0; i < ARRAY_LENGTH(at); i++)
		assert_true(
		    ask(s, &at[i], (char)('a' + i), "wrong", i % 2 != 0));
	let_compute(1);
	assert_story(s, "acbd");
	assert_int_equal(atomic_load(&thread.computed), 1);
}

/* Suspects are refused first; the last of them leave for others. */
static void
test_a_full_queue(void **state)
{
	static struct asker at[2 * HASHER_QUEUE_MAX + 1], more;
	struct site *s = *state;
	char password[16];
	size_t n = 0;

	/* one is being computed, and does not count */
	for (; n <= HASHER_QUEUE_MAX; n++) {
		(void)snprintf(password, sizeof(password), "w%zu", n);
		assert_true(ask(s, &at[n], 's', password, true));
	}
	assert_false(ask(s, &more, 'm', "m", true));
	for (; n <= 2 * HASHER_QUEUE_MAX; n++) {
		(void)snprintf(password, sizeof(password), "w%zu", n);
		assert_true(ask(s, &at[n], 'o', password, false));
		assert_int_equal(s->answers, 0); /* not within the call */
	}
	assert_false(ask(s, &more, 'm', "m", true));
	assert_false(ask(s, &more, 'm', "m", false));
	until(&s->rig, s->answers == 2 * HASHER_QUEUE_MAX);
	for (size_t i = 0; i < s->answers; i += 2)
		assert_memory_equal(s->story + i, "s-", 2);
	s->answers = 0;
	memset(s->story, 0, sizeof(s->story));
	let_compute(1 + HASHER_QUEUE_MAX);
	until(&s->rig, s->answers == 1 + HASHER_QUEUE_MAX);
	assert_int_equal(s->story[0], 's');
	assert_int_equal(strspn(s->story + 1, "o"), HASHER_QUEUE_MAX);
}

static void
test_forgets(void **state)
{
	struct site *s = *state;
	struct asker at[4];

	assert_true(ask(s, &at[0], 'a', "r0", false));
	assert_true(ask(s, &at[1], 'b', "r1", false));
	assert_true(ask(s, &at[2], 'c', "r2", true));
	assert_true(ask(s, &at[3], 'd', "r3", false));
	hasher_forget(at[0].job); /* while it is computed */
	hasher_forget(at[1].job);
	hasher_forget(at[2].job);
	let_compute(2);
	assert_story(s, "D");
	assert_int_equal(atomic_load(&thread.computed), 2);
	/* what was computed all the same is known */
	assert_int_equal(recall(s, "r0"), VERDICT_RIGHT);
	assert_int_equal(recall(s, "r1"), VERDICT_NONE);
	assert_true(ask(s, &at[0], 'a', "r0", false));
	hasher_forget(at[0].job); /* whose answer is on its way */
	rig_settle(&s->rig);
	assert_string_equal(s->story, "D");
}

/* That is no verdict, and nothing to remember. */
static void
test_out_of_memory(void **state)
{
	struct site *s = *state;
	struct asker a;

	thread.fails = true;
	let_compute(1);
	assert_true(ask(s, &a, 'a', "right", false));
	assert_story(s, "a-");
	assert_int_equal(recall(s, "right"), VERDICT_NONE);
}

/* Ends in order whatever it is doing. */
static void
test_ends_while_computing(void **state)
{
	struct site *s = *state;
	struct asker a;

	assert_true(ask(s, &a, 'a', "right", false));
	hasher_forget(a.job);
}

/* ---- verdicts ---- */

static void
add(struct verdicts *v, const struct password_hash *h, unsigned n,
    enum verdict verdict)
{
	char text[16];
	struct secret k;
	struct verdict_key key;

	(void)snprintf(text, sizeof(text), "%u", n);
	k = password_of(text);
	assert_true(verdicts_key(v, h, &k, &key));
	verdicts_add(v, &key, verdict, 0);
}

static bool
has(struct verdicts *v, const struct password_hash *h, unsigned n)
{
	char text[16];
	struct secret k;
	struct verdict_key key;

	(void)snprintf(text, sizeof(text), "%u", n);
	k = password_of(text);
	assert_true(verdicts_key(v, h, &k, &key));
	return verdicts_find(v, &key, 0) == VERDICT_RIGHT;
}

/* Right ones stay, however many wrong ones come. */
static void
test_wrong_ones_do_not_drive_out_right_ones(void **state)
{
	const struct password_hash h = {.iterations = 1000};
	struct verdicts *v = verdicts_new();
	unsigned kept = 0;

	(void)state;
	assert_non_null(v);
	for (unsigned n = 0; n < VERDICTS_MAX / 4; n++)
		add(v, &h, n, VERDICT_RIGHT);
	for (unsigned n = 0; n < 4 * VERDICTS_MAX; n++)
		add(v, &h, VERDICTS_MAX + n, VERDICT_WRONG);
	for (unsigned n = 0; n < VERDICTS_MAX / 4; n++)
		kept += has(v, &h, n);
	/* but for chance: nine of them in one set */
	assert_true(kept >= VERDICTS_MAX / 4 - 32);
	verdicts_free(&v);
}

/* ---- suspects ---- */

static struct network
address_of(const char *text)
{
	struct network n;

	assert_true(network_read(text, &n));
	return n;
}

static void
test_suspects(void **state)
{
	static struct suspects s;
	struct network a = address_of("192.0.2.1"), b = address_of("192.0.2.2");
	struct network six = address_of("2001:db8::1");
	struct network near = address_of("2001:db8::ffff:0:0:1");
	struct network far = address_of("2001:db8:0:1::1"), none = {0};
	char text[32];

	(void)state;
	assert_false(suspects_have(&s, &a, 0));
	assert_false(suspects_have(&s, &none, 0));
	assert_true(suspects_add(&s, &a, 10));
	assert_true(suspects_add(&s, &six, 10));
	assert_true(suspects_same(&six, &near));
	assert_false(suspects_same(&six, &far));
	assert_false(suspects_same(&a, &b));
	assert_true(suspects_have(&s, &a, 9 + SUSPECT_MS));
	assert_false(suspects_have(&s, &a, 10 + SUSPECT_MS));
	assert_false(suspects_have(&s, &b, 10));
	assert_true(suspects_have(&s, &near, 10));
	assert_false(suspects_have(&s, &far, 10));
	/* again */
	assert_false(suspects_add(&s, &a, 20));
	assert_true(suspects_have(&s, &a, 19 + SUSPECT_MS));
	/* the oldest is forgotten for others */
	for (int i = 0; i < SUSPECTS_MAX - 1; i++) {
		struct network n;

		(void)snprintf(text, sizeof(text), "10.0.%d.1", i);
		n = address_of(text);
		assert_true(suspects_add(&s, &n, 30));
	}
	assert_true(suspects_have(&s, &a, 30));
	assert_false(suspects_have(&s, &six, 30));
	assert_true(suspects_add(&s, &b, 30));
	assert_false(suspects_have(&s, &a, 30));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_answers_and_remembers),
	    TEST(test_suspects_wait_behind_others),
	    TEST(test_those_that_turn_out_to_be_suspects),
	    TEST(test_the_same_is_computed_once),
	    TEST(test_a_full_queue),
	    TEST(test_forgets),
	    TEST(test_out_of_memory),
	    TEST(test_ends_while_computing),
	    cmocka_unit_test(test_wrong_ones_do_not_drive_out_right_ones),
	    cmocka_unit_test(test_suspects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
