/* To be linked with -Wl,--wrap= malloc and calloc. */
#include "link/governor.h"

#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	MINUTE_MS = 60 * 1000,
	WINDOW_MS = 61 * 1000, /* as in governor.c: a second of margin */
	T0 = 1000 * 1000,      /* the process began */
	LATER = T0 + 10 * 60 * 1000
};

static bool no_memory;

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);

void *
__wrap_malloc(size_t n)
{
	return no_memory ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t count, size_t n)
{
	return no_memory ? NULL : __real_calloc(count, n);
}

/* The same numbers in each run. */
static uint32_t
random_below(uint32_t n)
{
	static uint32_t state = 1;

	state = state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)state * n >> 32);
}

/* ---- the rate of all devices ---- */

static void
test_rate_none(void **state)
{
	struct dial_rate r = {0};
	uint64_t wait_ms = 7;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		assert_true(dial_rate_reserve(&r, 0, 0, &wait_ms));
		assert_int_equal(wait_ms, 0);
	}
}

static void
expect_wait(struct dial_rate *r, uint64_t now_ms, uint64_t want_ms)
{
	uint64_t wait_ms;

	assert_true(dial_rate_reserve(r, now_ms, want_ms, &wait_ms));
	assert_int_equal(wait_ms, want_ms);
}

static void
test_rate_pace(void **state)
{
	struct dial_rate r = {0};
	uint64_t wait_ms;

	(void)state;
	dial_rate_set(&r, 10);
	/* a tenth of a second ahead, then at an even pace */
	expect_wait(&r, 5, 0);
	expect_wait(&r, 5, 0);
	expect_wait(&r, 5, 100);
	expect_wait(&r, 5, 200);
	/* what takes too long takes nothing */
	for (int i = 0; i < 10; i++) {
		assert_false(dial_rate_reserve(&r, 5, 299, &wait_ms));
		assert_int_equal(wait_ms, 300);
	}
	expect_wait(&r, 5, 300);
	expect_wait(&r, 305, 100);
	/* nobody gains more than that by not coming */
	expect_wait(&r, 100 * 1000, 0);
	expect_wait(&r, 100 * 1000, 0);
	expect_wait(&r, 100 * 1000, 100);
}

static void
test_rate_rounds_up(void **state)
{
	struct dial_rate r = {0};

	(void)state;
	dial_rate_set(&r, 3);
	assert_int_equal(r.interval_ns, 333333334);
	expect_wait(&r, 0, 0);
	expect_wait(&r, 0, 234); /* 333.3 - 100 */
	expect_wait(&r, 0, 567);
	dial_rate_set(&r, 10000);
	r.due_ns = 0;
	for (int i = 0; i <= 1000; i++)
		expect_wait(&r, 0, 0);
	for (int i = 0; i < 10; i++)
		expect_wait(&r, 0, 1);
	expect_wait(&r, 0, 2);
}

static void
test_rate_changes(void **state)
{
	struct dial_rate r = {0};

	(void)state;
	dial_rate_set(&r, 1);
	expect_wait(&r, 0, 0);
	expect_wait(&r, 0, 900);
	/* what is reserved stays so, what follows has the new pace */
	dial_rate_set(&r, 100);
	expect_wait(&r, 0, 1900);
	expect_wait(&r, 0, 1910);
	dial_rate_set(&r, 0);
	expect_wait(&r, 0, 0);
	expect_wait(&r, 0, 0);
}

static int
number_order(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* In any time of T there are at most (T + 0.1 s) * rate + 1; a millisecond for
   the rounding. */
static void
assert_rate_kept(uint64_t *times, size_t n, uint64_t per_second)
{
	qsort(times, n, sizeof(*times), number_order);
	/* every number of dials up to a hundred, and some greater ones */
	for (size_t more = 1; more < n; more += 1 + more / 100)
		for (size_t i = more; i < n; i++) {
			uint64_t ms = times[i] - times[i - more];

			if (more > (ms + 101) * per_second / 1000)
				fail_msg("%zu dials in %u ms", more + 1,
				    (unsigned)ms);
		}
}

static void
test_rate_any_schedule(void **state)
{
	static const uint32_t rates[] = {1, 7, 30, 333, 10000};
	static uint64_t times[3000];

	(void)state;
	for (size_t k = 0; k < ARRAY_LENGTH(rates); k++) {
		struct dial_rate r = {0};
		uint64_t now_ms = 0, wait_ms;
		size_t n = 0;

		dial_rate_set(&r, rates[k]);
		while (n < ARRAY_LENGTH(times)) {
			uint64_t max_ms = random_below(2000);

			/* bursts and silence */
			if (random_below(20) == 0)
				now_ms += random_below(3000 * 20 / rates[k]);
			if (!dial_rate_reserve(&r, now_ms, max_ms, &wait_ms)) {
				assert_true(wait_ms > max_ms);
				now_ms++;
				continue;
			}
			assert_true(wait_ms <= max_ms);
			times[n++] = now_ms + wait_ms;
		}
		assert_rate_kept(times, n, rates[k]);
	}
}

enum {
	THREADS = 4,
	DIALS_EACH = 20 * 1000,
	DIALS_A_ROUND = 200, /* then all wait, to begin at the same moment */
	PER_SECOND = 10 * 1000
};

struct dialler {
	pthread_t thread;
	struct dial_rate *rate;
	atomic_uint *clock;
	pthread_barrier_t *start;
	uint64_t times[DIALS_EACH];
};

/* Time goes on for all whenever somebody is told to wait too long. */
static uint64_t
dial_once(struct dialler *d)
{
	uint64_t now_ms, wait_ms;

	for (;;) {
		now_ms = atomic_load(d->clock);
		if (dial_rate_reserve(d->rate, now_ms, 20, &wait_ms))
			return now_ms + wait_ms;
		(void)atomic_fetch_add(d->clock, 1);
	}
}

static void *
dial_all(void *arg)
{
	struct dialler *d = arg;

	for (size_t n = 0; n < DIALS_EACH; n++) {
		if (n % DIALS_A_ROUND == 0)
			(void)pthread_barrier_wait(d->start);
		d->times[n] = dial_once(d);
	}
	return NULL;
}

static void
test_rate_of_threads(void **state)
{
	static struct dialler diallers[THREADS];
	static uint64_t times[THREADS * DIALS_EACH];
	struct dial_rate rate = {0};
	pthread_barrier_t start;
	atomic_uint clock = T0;

	(void)state;
	dial_rate_set(&rate, PER_SECOND);
	assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
	for (int i = 0; i < THREADS; i++) {
		diallers[i].rate = &rate;
		diallers[i].clock = &clock;
		diallers[i].start = &start;
		assert_int_equal(pthread_create(&diallers[i].thread, NULL,
				     dial_all, &diallers[i]),
		    0);
	}
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(diallers[i].thread, NULL), 0);
		memcpy(times + i * DIALS_EACH, diallers[i].times,
		    sizeof(diallers[i].times));
	}
	(void)pthread_barrier_destroy(&start);
	assert_rate_kept(times, ARRAY_LENGTH(times), PER_SECOND);
	/* each has taken its own time: all were in use all the while */
	assert_int_equal(rate.due_ns / 1000,
	    T0 * 1000ULL + ARRAY_LENGTH(times) * 1000000ULL / PER_SECOND);
}

/* ---- one worker's devices ---- */

struct stage {
	struct settings settings;
	struct dial_rate rate;
	struct governor *g;
	struct fault why;
	uint64_t wait_ms;
};

static int
set_up(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -1;
	s->settings.dial_per_device = 5;
	s->settings.dial_wait_max_ms = 10 * 1000;
	s->settings.dial_network_first_ms = 1000;
	s->settings.dial_network_max_ms = 60 * 1000;
	s->settings.dial_refused_first_ms = 10 * 1000;
	s->settings.dial_refused_max_ms = 600 * 1000;
	s->settings.dial_kicked_first_ms = 5 * 1000;
	s->settings.dial_kicked_max_ms = 300 * 1000;
	s->g = governor_new(&s->settings, &s->rate, 1, T0);
	*state = s;
	return s->g != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
	struct stage *s = *state;

	governor_free(&s->g);
	assert_null(s->g);
	governor_free(&s->g);
	free(s);
	return 0;
}

/* A governor of other settings, which began at <now_ms>. */
static void
begin_anew(struct stage *s, uint64_t now_ms)
{
	governor_free(&s->g);
	s->g = governor_new(&s->settings, &s->rate, 1, now_ms);
	assert_non_null(s->g);
}

static const struct credential pump = {
    .product_key = "a1B2c3D4e5F", .device_name = "pump"};

/* What governor_refuses() says before has to be true. */
static bool
ask(struct stage *s, uint64_t now_ms)
{
	struct fault why = {.why = R_NONE};
	bool refused = governor_refuses(s->g, &pump, now_ms, &why);
	bool may = governor_ask(s->g, &pump, now_ms, &s->wait_ms, &s->why);

	if (!refused) {
		assert_true(may || (s->why.why != R_DIAL_RATE &&
				       s->why.why != R_DIAL_BACKOFF));
	} else {
		assert_false(may);
		assert_int_equal(why.why, s->why.why);
		assert_string_equal(why.text, s->why.text);
	}
	return may;
}

#define assert_dial(s, now_ms)                                                 \
	do {                                                                   \
		if (!ask(s, now_ms))                                           \
			fail_msg("%s", (s)->why.text);                         \
		assert_int_equal((s)->wait_ms, 0);                             \
	} while (0)

#define assert_refused(s, now_ms, reason, text_)                               \
	do {                                                                   \
		assert_false(ask(s, now_ms));                                  \
		assert_int_equal((s)->why.why, reason);                        \
		if (strstr((s)->why.text, text_) == NULL)                      \
			fail_msg("%s", (s)->why.text);                         \
	} while (0)

static void
test_device_rate(void **state)
{
	struct stage *s = *state;

	for (uint64_t i = 0; i < 5; i++)
		assert_dial(s, LATER + i);
	assert_refused(s, LATER + 5, R_DIAL_RATE,
	    "the device may log in 5 times a minute; again in 61 s");
	assert_refused(s, LATER + 60000, R_DIAL_RATE, "; again in 1 s");
	assert_refused(s, LATER + WINDOW_MS - 1, R_DIAL_RATE, "; again in 1 s");
	assert_dial(s, LATER + WINDOW_MS);
	assert_refused(s, LATER + WINDOW_MS, R_DIAL_RATE, "; again in 1 s");
	assert_dial(s, LATER + WINDOW_MS + 1);
}

/* Another device is another device. */
static void
test_devices_are_told_apart(void **state)
{
	static const char *const names[][2] = {
	    {"pk", "device"},
	    {"pk", "Device"},
	    {"pk2", "device"},
	    {"p", "kdevice"},
	    /* the longest there are, different at their ends only */
	    {"abcdefghijklmnopqrst", "abcdefghijklmnopqrstuvwxyz012345"},
	    {"abcdefghijklmnopqrst", "abcdefghijklmnopqrstuvwxyz012346"},
	    {"abcdefghijklmnopqrsu", "abcdefghijklmnopqrstuvwxyz012345"},
	};
	struct stage *s = *state;

	s->settings.dial_per_device = 1;
	governor_reload(s->g, &s->settings);
	for (int turn = 0; turn < 2; turn++)
		for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
			struct credential c = {.product_key = names[i][0],
			    .device_name = names[i][1]};

			assert_int_equal(
			    governor_ask(s->g, &c, LATER, &s->wait_ms, &s->why),
			    turn == 0);
		}
	assert_int_equal(governor_count(s->g), ARRAY_LENGTH(names));
}

/* How many of the first <n> times are after <after_ms>. */
static unsigned
count_since(const uint64_t *times, size_t n, uint64_t after_ms)
{
	unsigned count = 0;

	while (n > 0 && times[n - 1] > after_ms) {
		count++;
		n--;
	}
	return count;
}

/*
 * Any schedule, against a list of all times: a dial is allowed exactly when
 * fewer than <per_device> were before it in the window; so in no minute are
 * there more. Some dials get as far as their login, later.
 */
static void
test_device_rate_is_exact(void **state)
{
	static const uint32_t rates[] = {1, 2, 5, 17, 60};
	static uint64_t times[2000];
	struct stage *s = *state;

	for (size_t k = 0; k < ARRAY_LENGTH(rates); k++) {
		uint32_t rate = s->settings.dial_per_device = rates[k];
		uint64_t now_ms = T0 + WINDOW_MS;
		size_t n = 0;

		begin_anew(s, T0);
		while (n < ARRAY_LENGTH(times)) {
			unsigned before;

			now_ms += random_below(4) == 0
				      ? random_below(2 * WINDOW_MS / rate)
				      : random_below(200);
			before = count_since(times, n, now_ms - WINDOW_MS);
			assert_int_equal(ask(s, now_ms), before < rate);
			if (before >= rate)
				continue;
			times[n++] = now_ms;
			if (random_below(2) == 0)
				continue;
			now_ms += random_below(20 * 1000);
			governor_login(s->g, &pump, now_ms);
			times[n - 1] = now_ms;
		}
		for (size_t i = rate; i < n; i++)
			assert_true(times[i] - times[i - rate] > MINUTE_MS);
	}
}

/* The same while the rate changes: never more than allowed at that moment. */
static void
test_device_rate_changes(void **state)
{
	static uint64_t times[5000];
	struct stage *s = *state;
	uint64_t now_ms = LATER;
	size_t n = 0;

	while (n < ARRAY_LENGTH(times)) {
		if (random_below(50) == 0) {
			s->settings.dial_per_device = 1 + random_below(60);
			governor_reload(s->g, &s->settings);
		}
		now_ms += random_below(2000);
		if (!ask(s, now_ms))
			continue;
		assert_true(count_since(times, n, now_ms - WINDOW_MS) <
			    s->settings.dial_per_device);
		times[n++] = now_ms;
	}
}

static void
test_device_rate_none(void **state)
{
	struct stage *s = *state;

	s->settings.dial_per_device = 0;
	governor_reload(s->g, &s->settings);
	for (int i = 0; i < 1000; i++)
		assert_dial(s, T0);
	governor_login(s->g, &pump, T0);
	/* what was before the limit is not known */
	s->settings.dial_per_device = 2;
	governor_reload(s->g, &s->settings);
	assert_dial(s, LATER);
	assert_dial(s, LATER);
	assert_refused(s, LATER, R_DIAL_RATE, "2 times a minute");
	/* what was since then is */
	s->settings.dial_per_device = 0;
	governor_reload(s->g, &s->settings);
	assert_dial(s, LATER + 1);
	s->settings.dial_per_device = 2;
	governor_reload(s->g, &s->settings);
	assert_refused(s, LATER + WINDOW_MS - 1, R_DIAL_RATE, "; again in 1 s");
	assert_dial(s, LATER + WINDOW_MS);
	assert_refused(s, LATER + WINDOW_MS, R_DIAL_RATE, "; again in 1 s");
	assert_dial(s, LATER + WINDOW_MS + 1);
}

/* As if it had been in steady use before: one dial at once, one more every
   12.2 s; after a minute all that is left of the five. */
static void
test_start_budget(void **state)
{
	static const char told[] =
	    "the device may log in 5 times a minute (how often it did before "
	    "the proxy's start is not known); again in 13 s";
	struct stage *s = *state;

	assert_dial(s, T0);
	assert_refused(s, T0, R_DIAL_RATE, told);
	assert_refused(s, T0 + 12199, R_DIAL_RATE, "; again in 1 s");
	assert_dial(s, T0 + 12200);
	assert_refused(s, T0 + 12200, R_DIAL_RATE, "; again in 13 s");
	assert_dial(s, T0 + 36600);
	assert_dial(s, T0 + 36600);
	assert_refused(s, T0 + 36600, R_DIAL_RATE, "; again in 13 s");
	assert_dial(s, T0 + 48800);
	assert_refused(s, T0 + WINDOW_MS - 1, R_DIAL_RATE, "; again in 1 s");
	/* a machine that has just been switched on */
	begin_anew(s, 3);
	assert_dial(s, 3);
	assert_refused(s, 12202, R_DIAL_RATE, "; again in 1 s");
	assert_dial(s, 12203);
	/* who comes after that minute only has all */
	begin_anew(s, T0);
	for (int i = 0; i < 5; i++)
		assert_dial(s, T0 + WINDOW_MS);
	assert_refused(s, T0 + WINDOW_MS, R_DIAL_RATE, "");
}

/* ---- turns of the rate of all ---- */

static void
test_waits_for_its_turn(void **state)
{
	static const struct credential other = {
	    .product_key = "a1B2c3D4e5F", .device_name = "fan"};
	struct stage *s = *state;

	dial_rate_set(&s->rate, 1);
	assert_true(governor_ask(s->g, &other, LATER, &s->wait_ms, &s->why));
	assert_true(ask(s, LATER));
	assert_int_equal(s->wait_ms, 900);
	/* it goes, and comes again: the same dial */
	assert_true(ask(s, LATER + 300));
	assert_int_equal(s->wait_ms, 600);
	for (uint64_t i = 0; i < 20; i++)
		assert_true(ask(s, LATER + 899));
	assert_int_equal(s->wait_ms, 1);
	/* it was dialled then, at 900; the next is another one */
	assert_true(ask(s, LATER + 900));
	assert_int_equal(s->wait_ms, 1000);
	/* its timer was early, but its login has gone out */
	governor_login(s->g, &pump, LATER + 1899);
	assert_true(ask(s, LATER + 1899));
	assert_int_equal(s->wait_ms, 1001);
	/* and each counted once */
	s->settings.dial_per_device = 3;
	governor_reload(s->g, &s->settings);
	dial_rate_set(&s->rate, 0);
	assert_refused(s, LATER + 900 + WINDOW_MS - 1, R_DIAL_RATE, "");
	assert_true(ask(s, LATER + 900 + WINDOW_MS));
}

/* A login counts even when its dial began so long ago that it was swept. */
static void
test_late_login(void **state)
{
	static const struct credential other = {
	    .product_key = "a1B2c3D4e5F", .device_name = "other"};
	struct stage *s = *state;

	s->settings.dial_per_device = 1;
	governor_reload(s->g, &s->settings);
	assert_true(ask(s, LATER));
	assert_true(governor_ask(
	    s->g, &other, LATER + WINDOW_MS, &s->wait_ms, &s->why));
	assert_int_equal(governor_count(s->g), 1);
	governor_login(s->g, &pump, LATER + WINDOW_MS);
	assert_refused(s, LATER + 2 * WINDOW_MS - 1, R_DIAL_RATE, "");
	assert_true(ask(s, LATER + 2 * WINDOW_MS));
}

/* Who is not given a turn has not been dialled. */
static void
test_queue_is_full(void **state)
{
	struct stage *s = *state;
	struct dial_rate before;

	s->settings.dial_per_device = 1;
	governor_reload(s->g, &s->settings);
	dial_rate_set(&s->rate, 1);
	for (int i = 0; i < 11; i++)
		assert_true(dial_rate_reserve(
		    &s->rate, LATER, UINT64_MAX, &s->wait_ms));
	before = s->rate;
	for (int i = 0; i < 10; i++)
		assert_refused(s, LATER, R_DIAL_QUEUE,
		    "so many devices are to be dialled that this one's turn "
		    "comes in 11 s");
	assert_int_equal(s->rate.due_ns, before.due_ns);
	assert_true(ask(s, LATER + 900));
	assert_int_equal(s->wait_ms, 10 * 1000);
	/* neither is who may not be dialled given a turn */
	assert_refused(s, LATER + 10900, R_DIAL_RATE, "");
	governor_failed(s->g, &pump, DIAL_REFUSED, LATER + WINDOW_MS + 11000);
	assert_refused(s, LATER + WINDOW_MS + 11000, R_DIAL_BACKOFF, "");
	assert_int_equal(s->rate.due_ns, before.due_ns + 1000000000ULL);
}

/* A device that knocks in a tight loop has one line a minute, and what is kept
   for that stays, however many others are swept. */
static void
test_refusals_are_told_once_a_minute(void **state)
{
	enum { NEWS_MS = 60 * 1000 };
	struct stage *s = *state;
	struct credential other = {
	    .product_key = "a1B2c3D4e5F", .device_name = "other"};

	dial_rate_set(&s->rate, 1);
	for (int i = 0; i < 11; i++)
		assert_true(dial_rate_reserve(
		    &s->rate, LATER, UINT64_MAX, &s->wait_ms));
	for (int i = 0; i < 10; i++) {
		assert_refused(s, LATER, R_DIAL_QUEUE, "");
		assert_int_equal(
		    governor_is_news(s->g, &pump, LATER, &s->why), i == 0);
		assert_false(
		    governor_ask(s->g, &other, LATER, &s->wait_ms, &s->why));
	}
	assert_false(
	    governor_is_news(s->g, &pump, LATER + NEWS_MS - 1, &s->why));
	(void)fault_set(&s->why, R_DIAL_QUEUE, "not yet");
	assert_true(governor_is_news(s->g, &pump, LATER + NEWS_MS, &s->why));
	assert_string_equal(
	    s->why.text, "not yet (and 10 more refusals since the last line)");
	assert_int_equal(s->why.why, R_DIAL_QUEUE);
}

/* An outage: all knock every second until they are in. */
static void
test_outage(void **state)
{
	enum { DEVICES = 1000, PER_S = 20 };
	static uint64_t times[DEVICES];
	static bool in[DEVICES];
	struct stage *s = *state;
	uint64_t now_ms = LATER;
	size_t n = 0;

	dial_rate_set(&s->rate, PER_S);
	for (; n < DEVICES; now_ms += 1000)
		for (unsigned i = 0; i < DEVICES; i++) {
			char name[16];
			struct credential c = {
			    .product_key = "pk", .device_name = name};

			(void)snprintf(name, sizeof(name), "d%u", i);
			if (in[i] || !governor_ask(s->g, &c, now_ms,
					 &s->wait_ms, &s->why))
				continue;
			in[i] = true;
			times[n++] = now_ms + s->wait_ms;
		}
	assert_rate_kept(times, n, PER_S);
	assert_in_range(times[n - 1] - LATER, 0, DEVICES * 1000 / PER_S);
}

/* ---- failures ---- */

static void
test_backoff_bounds(void **state)
{
	uint64_t full_ms = 1000;

	(void)state;
	for (unsigned n = 1; n <= 100; n++) {
		assert_int_equal(dial_backoff_ms(1000, 60000, n, 0), full_ms);
		assert_int_equal(
		    dial_backoff_ms(1000, 60000, n, UINT32_MAX), full_ms / 2);
		for (int i = 0; i < 100; i++)
			assert_in_range(dial_backoff_ms(1000, 60000, n,
					    random_below(UINT32_MAX)),
			    full_ms / 2, full_ms);
		full_ms = full_ms < 30000 ? full_ms * 2 : 60000;
	}
	assert_int_equal(dial_backoff_ms(1000, 60000, UINT32_MAX, 0), 60000);
	/* the longest the settings allow */
	assert_int_equal(
	    dial_backoff_ms(86400000, 86400000, 1000, 0), 86400000);
	assert_int_equal(
	    dial_backoff_ms(86400000, 86400000, 1000, UINT32_MAX), 43200000);
	/* a max below the first, and none at all */
	assert_int_equal(dial_backoff_ms(1000, 300, 1, 0), 300);
	assert_int_equal(dial_backoff_ms(0, 60000, 50, 0), 0);
	assert_int_equal(dial_backoff_ms(1000, 0, 50, 0), 0);
}

/* When it may be dialled again, which is what it was told; its rate has no
   limit. */
static uint64_t
backoff_of(struct stage *s, uint64_t now_ms)
{
	uint64_t told_ms, ms;
	const char *text;

	if (ask(s, now_ms))
		return 0;
	assert_int_equal(s->why.why, R_DIAL_BACKOFF);
	text = strstr(s->why.text, "again in ");
	assert_non_null(text);
	told_ms = strtoull(text + strlen("again in "), NULL, 10) * 1000;
	ms = told_ms - 1000;
	while (!ask(s, now_ms + ms))
		ms++;
	assert_in_range(ms, told_ms - 999, told_ms);
	return ms;
}

static void
no_device_rate(struct stage *s)
{
	s->settings.dial_per_device = 0;
	governor_reload(s->g, &s->settings);
}

static void
test_backoff_of_each_kind(void **state)
{
	static const struct {
		uint64_t first_ms, max_ms;
		const char *text;
	} kinds[] = {
	    [DIAL_NETWORK] = {1000, 60 * 1000,
		"the device could not be connected to the cloud, 3 in a row; "
		"it may be dialled again in "},
	    [DIAL_REFUSED] = {10 * 1000, 600 * 1000,
		"the device was refused by the cloud, 3 in a row; "},
	    [DIAL_KICKED] = {5 * 1000, 300 * 1000,
		"the device was accepted and soon lost again, 3 in a row; "},
	};
	struct stage *s = *state;
	uint64_t now_ms = LATER;

	no_device_rate(s);
	for (unsigned k = 0; k < ARRAY_LENGTH(kinds); k++) {
		uint64_t full_ms = kinds[k].first_ms;

		for (unsigned n = 1; n <= 10; n++) {
			uint64_t ms;

			governor_failed(
			    s->g, &pump, (enum dial_failure)k, now_ms);
			if (n == 3)
				assert_refused(
				    s, now_ms, R_DIAL_BACKOFF, kinds[k].text);
			ms = backoff_of(s, now_ms);
			assert_in_range(ms, full_ms / 2, full_ms);
			now_ms += ms;
			full_ms *= 2;
			if (full_ms > kinds[k].max_ms)
				full_ms = kinds[k].max_ms;
		}
	}
}

/* Failures of one kind do not make those of another one worse. */
static void
test_kinds_are_counted_apart(void **state)
{
	struct stage *s = *state;
	uint64_t now_ms = LATER;

	no_device_rate(s);
	for (int i = 0; i < 6; i++) {
		governor_failed(s->g, &pump, DIAL_REFUSED, now_ms);
		now_ms += backoff_of(s, now_ms);
	}
	governor_failed(s->g, &pump, DIAL_NETWORK, now_ms);
	assert_in_range(backoff_of(s, now_ms), 500, 1000);
	governor_failed(s->g, &pump, DIAL_KICKED, now_ms + 1000);
	assert_in_range(backoff_of(s, now_ms + 1000), 2500, 5000);
	/* nor do they end its row */
	now_ms += 8 * MINUTE_MS;
	assert_dial(s, now_ms);
	governor_failed(s->g, &pump, DIAL_REFUSED, now_ms);
	assert_refused(s, now_ms, R_DIAL_BACKOFF, "cloud, 7 in a row;");
	assert_in_range(backoff_of(s, now_ms), 300000, 600000);
}

/* Devices that failed together come back apart, in any worker. */
static void
test_backoffs_are_scattered(void **state)
{
	enum { DEVICES = 1000 };
	struct stage *s = *state;
	struct governor *g = governor_new(&s->settings, &s->rate, 2, T0);
	unsigned in_tenth[10] = {0};
	unsigned same = 0;

	assert_non_null(g);
	for (unsigned i = 0; i < DEVICES; i++) {
		uint64_t ms[2] = {0};
		char name[16];
		struct credential c = {
		    .product_key = "pk", .device_name = name};

		(void)snprintf(name, sizeof(name), "d%u", i);
		for (unsigned k = 0; k < 2; k++) {
			struct governor *of = k == 0 ? s->g : g;

			governor_failed(of, &c, DIAL_REFUSED, LATER);
			while (!governor_ask(
			    of, &c, LATER + ms[k], &s->wait_ms, &s->why))
				ms[k] += 100;
			assert_in_range(ms[k], 5000, 10000);
		}
		same += ms[0] == ms[1];
		in_tenth[(ms[0] - 5000) / 501]++;
	}
	for (unsigned i = 0; i < 10; i++)
		assert_in_range(in_tenth[i], DEVICES / 20, DEVICES / 5);
	assert_in_range(same, 0, DEVICES / 10);
	governor_free(&g);
}

static void
fail_often(struct stage *s, uint64_t now_ms)
{
	for (int i = 0; i < 8; i++) {
		governor_failed(s->g, &pump, DIAL_NETWORK, now_ms);
		governor_failed(s->g, &pump, DIAL_KICKED, now_ms);
		governor_failed(s->g, &pump, DIAL_REFUSED, now_ms);
	}
	assert_refused(s, now_ms, R_DIAL_BACKOFF, "8 in a row");
}

static void
assert_begins_anew(struct stage *s, uint64_t now_ms)
{
	assert_dial(s, now_ms);
	governor_failed(s->g, &pump, DIAL_REFUSED, now_ms);
	assert_in_range(backoff_of(s, now_ms), 5000, 10000);
	governor_failed(s->g, &pump, DIAL_KICKED, now_ms + 10000);
	assert_in_range(backoff_of(s, now_ms + 10000), 2500, 5000);
	governor_failed(s->g, &pump, DIAL_NETWORK, now_ms + 15000);
	assert_in_range(backoff_of(s, now_ms + 15000), 500, 1000);
}

static void
test_stable_ends_the_row(void **state)
{
	static const struct credential unknown = {
	    .product_key = "pk", .device_name = "unknown"};
	struct stage *s = *state;

	no_device_rate(s);
	governor_stable(s->g, &unknown);
	assert_int_equal(governor_count(s->g), 0);
	fail_often(s, LATER);
	governor_stable(s->g, &pump);
	assert_begins_anew(s, LATER);
}

/* The cloud counts logins, so a dial that came to none is taken back; once. */
static void
test_dials_without_a_login(void **state)
{
	struct stage *s = *state;

	s->settings.dial_network_first_ms = 0;
	governor_reload(s->g, &s->settings);
	for (int i = 0; i < 20; i++) {
		assert_dial(s, LATER);
		governor_failed(s->g, &pump, DIAL_NETWORK, LATER);
		governor_failed(s->g, &pump, DIAL_NETWORK, LATER);
	}
	for (int i = 0; i < 5; i++) {
		assert_dial(s, LATER);
		governor_login(s->g, &pump, LATER);
		governor_failed(s->g, &pump, DIAL_NETWORK, LATER);
	}
	assert_refused(s, LATER, R_DIAL_RATE, "");
}

/* A link that the cloud has ended soon after the login, once more. */
static bool
is_used_elsewhere(struct stage *s, uint64_t now_ms, unsigned *times)
{
	governor_failed(s->g, &pump, DIAL_KICKED, now_ms);
	return governor_is_used_elsewhere(s->g, &pump, now_ms, times);
}

static void
test_used_elsewhere(void **state)
{
	struct stage *s = *state;
	unsigned times = 0;

	assert_dial(s, LATER);
	assert_false(is_used_elsewhere(s, LATER, &times));
	assert_false(is_used_elsewhere(s, LATER, &times));
	assert_true(is_used_elsewhere(s, LATER, &times));
	assert_int_equal(times, GOVERNOR_USED_ELSEWHERE);
	/* told once a minute */
	assert_false(is_used_elsewhere(s, LATER + MINUTE_MS - 1, &times));
	assert_true(is_used_elsewhere(s, LATER + MINUTE_MS, &times));
	assert_int_equal(times, 5);
}

static void
test_used_elsewhere_is_forgotten(void **state)
{
	static const struct credential unknown = {
	    .product_key = "pk", .device_name = "unknown"};
	struct stage *s = *state;
	unsigned times = 0;

	assert_false(governor_is_used_elsewhere(s->g, &unknown, LATER, &times));
	assert_dial(s, LATER);
	for (int i = 0; i < 3; i++) {
		assert_false(is_used_elsewhere(s, LATER, &times));
		assert_false(is_used_elsewhere(s, LATER, &times));
		if (i == 0)
			governor_stable(s->g, &pump);
		else
			governor_reload(s->g, &s->settings);
	}
	/* failures of other kinds are not the cloud's doing */
	governor_failed(s->g, &pump, DIAL_NETWORK, LATER);
	governor_failed(s->g, &pump, DIAL_KICKED, LATER);
	assert_false(is_used_elsewhere(s, LATER, &times));
	assert_false(is_used_elsewhere(s, LATER, &times));
	assert_true(is_used_elsewhere(s, LATER, &times));
}

/* A reload forgets failures, but not what was dialled. */
static void
test_reload_pardons(void **state)
{
	struct stage *s = *state;

	fail_often(s, LATER);
	governor_reload(s->g, &s->settings);
	for (int i = 0; i < 5; i++) {
		assert_dial(s, LATER);
		governor_login(s->g, &pump, LATER);
	}
	fail_often(s, LATER);
	governor_reload(s->g, &s->settings);
	assert_refused(s, LATER, R_DIAL_RATE, "");
	no_device_rate(s);
	assert_begins_anew(s, LATER);
	/* and back-offs are by the new settings */
	s->settings.dial_refused_first_ms = 0;
	governor_reload(s->g, &s->settings);
	governor_failed(s->g, &pump, DIAL_REFUSED, LATER + 20000);
	assert_dial(s, LATER + 20000);
}

/* A device that comes late has its row still, one that comes very late has
   not. */
static void
test_row_ends_by_itself(void **state)
{
	struct stage *s = *state;
	uint64_t now_ms = LATER;

	no_device_rate(s);
	for (int i = 0; i < 6; i++) {
		governor_failed(s->g, &pump, DIAL_REFUSED, now_ms);
		now_ms += backoff_of(s, now_ms);
	}
	/* the longest back-off is ten minutes; meanwhile others are swept */
	now_ms += 9 * MINUTE_MS;
	for (unsigned i = 0; i < 100; i++) {
		char name[16];
		struct credential c = {
		    .product_key = "pk", .device_name = name};

		(void)snprintf(name, sizeof(name), "d%u", i);
		assert_true(
		    governor_ask(s->g, &c, now_ms, &s->wait_ms, &s->why));
	}
	assert_dial(s, now_ms);
	governor_failed(s->g, &pump, DIAL_REFUSED, now_ms);
	assert_refused(s, now_ms, R_DIAL_BACKOFF, "7 in a row");
	now_ms += 2 * 10 * MINUTE_MS;
	assert_begins_anew(s, now_ms);
}

/* ---- memory ---- */

static bool
ask_numbered(struct stage *s, unsigned i, uint64_t now_ms)
{
	char name[16];
	struct credential c = {.product_key = "pk", .device_name = name};

	(void)snprintf(name, sizeof(name), "d%u", i);
	return governor_ask(s->g, &c, now_ms, &s->wait_ms, &s->why);
}

/*
 * 100,000 devices come once each; a tenth of them fails. What is kept is at
 * most twice what is of use, and nothing once nothing is.
 */
static void
test_memory_is_bounded(void **state)
{
	enum { DEVICES = 100 * 1000, PER_S = 50 };
	struct stage *s = *state;
	/* dials of the last minute, back-offs of up to a minute and a row that
	   ends a minute later */
	size_t hot = PER_S * 61 + PER_S / 10 * 120;
	uint64_t now_ms = LATER;

	for (unsigned i = 0; i < DEVICES; i++) {
		char name[16];
		struct credential c = {
		    .product_key = "pk", .device_name = name};

		now_ms += 1000 / PER_S;
		assert_true(ask_numbered(s, i, now_ms));
		if (i % 10 == 0) {
			(void)snprintf(name, sizeof(name), "d%u", i);
			governor_failed(s->g, &c, DIAL_NETWORK, now_ms);
		}
		assert_true(governor_count(s->g) <= 2 * hot);
	}
	/* still known are those that matter */
	assert_in_range(governor_count(s->g), PER_S * 61, 2 * hot);
	/* one that comes steadily clears them all away */
	for (unsigned i = 0; i < hot; i++) {
		now_ms += WINDOW_MS;
		assert_true(ask(s, now_ms));
	}
	assert_int_equal(governor_count(s->g), 1);
}

/* All come in one minute: each is known, and each has its own rate. */
static void
test_all_at_once(void **state)
{
	enum { DEVICES = 100 * 1000 };
	struct stage *s = *state;

	s->settings.dial_per_device = 2;
	governor_reload(s->g, &s->settings);
	for (unsigned turn = 0; turn < 3; turn++)
		for (unsigned i = 0; i < DEVICES; i++)
			assert_int_equal(
			    ask_numbered(s, i, LATER + turn), turn < 2);
	assert_int_equal(governor_count(s->g), DEVICES);
}

static void
test_no_memory(void **state)
{
	struct stage *s = *state;
	struct governor *g;

	no_memory = true;
	g = governor_new(&s->settings, &s->rate, 1, T0);
	assert_null(g);
	assert_refused(s, LATER, R_OUT_OF_MEMORY, "");
	governor_failed(s->g, &pump, DIAL_REFUSED, LATER);
	no_memory = false;
	assert_int_equal(governor_count(s->g), 0);
	for (int i = 0; i < 5; i++)
		assert_dial(s, LATER);
	/* no room for more of its dials: what is known stays */
	s->settings.dial_per_device = 6;
	governor_reload(s->g, &s->settings);
	no_memory = true;
	assert_refused(s, LATER, R_OUT_OF_MEMORY, "");
	no_memory = false;
	assert_dial(s, LATER);
	assert_refused(s, LATER, R_DIAL_RATE, "");
}

#define governor_test(test)                                                    \
	cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rate_none),
	    cmocka_unit_test(test_rate_pace),
	    cmocka_unit_test(test_rate_rounds_up),
	    cmocka_unit_test(test_rate_changes),
	    cmocka_unit_test(test_rate_any_schedule),
	    cmocka_unit_test(test_rate_of_threads),
	    governor_test(test_device_rate),
	    governor_test(test_devices_are_told_apart),
	    governor_test(test_device_rate_is_exact),
	    governor_test(test_device_rate_changes),
	    governor_test(test_device_rate_none),
	    governor_test(test_start_budget),
	    governor_test(test_waits_for_its_turn),
	    governor_test(test_late_login),
	    governor_test(test_queue_is_full),
	    governor_test(test_refusals_are_told_once_a_minute),
	    governor_test(test_outage),
	    governor_test(test_backoff_bounds),
	    governor_test(test_backoff_of_each_kind),
	    governor_test(test_kinds_are_counted_apart),
	    governor_test(test_backoffs_are_scattered),
	    governor_test(test_stable_ends_the_row),
	    governor_test(test_dials_without_a_login),
	    governor_test(test_used_elsewhere),
	    governor_test(test_used_elsewhere_is_forgotten),
	    governor_test(test_reload_pardons),
	    governor_test(test_row_ends_by_itself),
	    governor_test(test_memory_is_bounded),
	    governor_test(test_all_at_once),
	    governor_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
