/* To be linked with -Wl,--wrap= calloc and realloc. */
#include "session/crowd.h"

#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool no_memory;

void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_calloc(size_t count, size_t n)
{
	return no_memory ? NULL : __real_calloc(count, n);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return no_memory ? NULL : __real_realloc(p, n);
}

static int
set_up(void **state)
{
	*state = crowd_new();
	return *state != NULL ? 0 : -1;
}

/* Everybody has left. */
static int
tear_down(void **state)
{
	struct crowd *c = *state;

	assert_int_equal(crowd_size(c), 0);
	crowd_free(&c);
	assert_null(c);
	crowd_free(&c);
	return 0;
}

#define expect_enter(c, fd, address, want_all, want_from)                      \
	do {                                                                   \
		struct crowd_count now_;                                       \
                                                                               \
		assert_true(crowd_enter(c, fd, address, &now_));               \
		assert_int_equal(now_.all, want_all);                          \
		assert_int_equal(now_.from_address, want_from);                \
		assert_int_equal(crowd_size(c), want_all);                     \
	} while (0)

static void
test_counts(void **state)
{
	struct crowd *c = *state;

	expect_enter(c, 5, "192.0.2.7", 1, 1);
	expect_enter(c, 6, "192.0.2.8", 2, 1);
	expect_enter(c, 7, "192.0.2.7", 3, 2);
	expect_enter(c, 8, "192.0.2.7", 4, 3);
	crowd_leave(c, 5);
	assert_int_equal(crowd_size(c), 3);
	/* the kernel gives the lowest number again, now to another device */
	expect_enter(c, 5, "192.0.2.8", 4, 2);
	for (int fd = 5; fd <= 8; fd++)
		crowd_leave(c, fd);
	/* an address that had nobody left begins again */
	expect_enter(c, 5, "192.0.2.7", 1, 1);
	crowd_leave(c, 5);
}

/* Addresses are one when their texts are. */
static void
test_addresses(void **state)
{
	static const char *const addresses[] = {
	    "192.0.2.1",
	    "192.0.2.10",
	    "::1",
	    "::ffff:192.0.2.1",
	    "2001:db8::1",
	    "2001:db8::1:1",
	    /* the longest there are, and different at their ends only */
	    "2001:0db8:1111:2222:3333:4444:192.168.100.201",
	    "2001:0db8:1111:2222:3333:4444:192.168.100.202",
	};
	struct crowd *c = *state;
	unsigned all = 0;

	for (unsigned times = 1; times <= 2; times++)
		for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++) {
			all++;
			expect_enter(c, (int)all, addresses[i], all, times);
		}
	for (; all > 0; all--)
		crowd_leave(c, (int)all);
}

static void
test_any_descriptor(void **state)
{
	static const int fds[] = {0, 63, 64, 65, 1023, 70000, 1};
	struct crowd *c = *state;

	for (unsigned i = 0; i < ARRAY_LENGTH(fds); i++)
		expect_enter(c, fds[i], "192.0.2.7", i + 1, i + 1);
	for (unsigned i = 0; i < ARRAY_LENGTH(fds); i++)
		crowd_leave(c, fds[i]);
}

/* Devices of many addresses come and go in any order. */
static void
test_coming_and_going(void **state)
{
	enum { FDS = 400, ADDRESSES = 37, STEPS = 20 * 1000 };
	struct crowd *c = *state;
	unsigned of[FDS] = {0}; /* 1 + the address; 0: not there */
	unsigned from[ADDRESSES] = {0};
	unsigned all = 0;
	uint32_t random = 1;

	for (int i = 0; i < STEPS; i++) {
		unsigned fd, a;
		char address[40];

		random = random * 1664525 + 1013904223;
		fd = (random >> 8) % FDS;
		a = (random >> 20) % ADDRESSES;
		if (of[fd] != 0) {
			crowd_leave(c, (int)fd);
			from[of[fd] - 1]--;
			of[fd] = 0;
			assert_int_equal(crowd_size(c), --all);
			continue;
		}
		(void)snprintf(address, sizeof(address), "2001:db8::%x", a);
		of[fd] = a + 1;
		from[a]++;
		all++;
		expect_enter(c, (int)fd, address, all, from[a]);
	}
	assert_true(all > 0);
	for (int fd = 0; fd < FDS; fd++)
		if (of[fd] != 0)
			crowd_leave(c, fd);
}

/* Two threads; some devices come from an address of each, some from one that
   both have. */
enum { ROUNDS = 2000, TOGETHER = 8, THREADS = 2 };

struct gate {
	pthread_t thread;
	struct crowd *crowd;
	int first_fd;
	const char *own;
	unsigned wrong;
};

static void *
let_in_and_out(void *arg)
{
	struct gate *g = arg;
	int n = g->first_fd;

	for (int i = 0; i < ROUNDS; i++) {
		struct crowd_count now;

		for (int k = 0; k < TOGETHER; k++) {
			bool own = k % 2 == 0;

			if (!crowd_enter(g->crowd, n + k,
				own ? g->own : "192.0.2.99", &now) ||
			    now.all < (unsigned)k + 1 ||
			    now.all > THREADS * TOGETHER ||
			    now.from_address > now.all ||
			    (own && now.from_address != (unsigned)k / 2 + 1))
				g->wrong++;
		}
		for (int k = 0; k < TOGETHER; k++)
			crowd_leave(g->crowd, n + k);
	}
	return NULL;
}

static void
test_two_threads(void **state)
{
	struct gate gates[THREADS] = {
	    {.crowd = *state, .first_fd = 100, .own = "192.0.2.1"},
	    {.crowd = *state, .first_fd = 200, .own = "192.0.2.2"},
	};

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&gates[i].thread, NULL,
				     let_in_and_out, &gates[i]),
		    0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(gates[i].thread, NULL), 0);
		assert_int_equal(gates[i].wrong, 0);
	}
}

/* Who could not be counted is not. */
static void
test_no_memory(void **state)
{
	struct crowd *c = *state;
	struct crowd_count now;

	expect_enter(c, 1, "192.0.2.7", 1, 1);
	no_memory = true;
	assert_null(crowd_new());
	assert_false(crowd_enter(c, 2, "192.0.2.8", &now));
	assert_false(crowd_enter(c, 70000, "192.0.2.7", &now));
	no_memory = false;
	assert_int_equal(crowd_size(c), 1);
	expect_enter(c, 70000, "192.0.2.7", 2, 2);
	expect_enter(c, 2, "192.0.2.8", 3, 1);
	crowd_leave(c, 1);
	crowd_leave(c, 2);
	crowd_leave(c, 70000);
}

#define crowd_test(test)                                                       \
	cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    crowd_test(test_counts),
	    crowd_test(test_addresses),
	    crowd_test(test_any_descriptor),
	    crowd_test(test_coming_and_going),
	    crowd_test(test_two_threads),
	    crowd_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
