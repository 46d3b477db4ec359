/* Races to real sockets of the loopback. */
#include "link/race.h"

#include "rig.h"

#include <sys/resource.h>

enum { USER_TIMEOUT_MS = 12345 };

/* What an address does. */
enum kind {
	LISTENS,
	REFUSES,
	SWALLOWS, /* a listener whose backlog is full drops what comes */
	NO_ROUTE
};

struct track {
	struct rig rig;
	struct race race;
	struct address addresses[ADDRESS_LIST_MAX];
	int far[ADDRESS_LIST_MAX];    /* listeners, or what blocks a port */
	int filler[ADDRESS_LIST_MAX]; /* connections that fill a backlog */
	unsigned count;
	bool restarts;
	/* the outcome */
	unsigned dones;
	int fd;
	struct fault why;
	int descriptors;
};

static int
count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	(void)closedir(dir);
	return count;
}

/* The lowest descriptor that is free. */
static int
free_descriptor(void)
{
	int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)close(fd);
	return fd;
}

static void
on_done(void *arg, int fd, const struct fault *why)
{
	struct track *t = arg;

	t->dones++;
	if (t->restarts) {
		assert_int_equal(fd, -1);
		t->restarts = false;
		race_start(&t->race, t->addresses, t->count, USER_TIMEOUT_MS);
		return;
	}
	t->fd = fd;
	if (why != NULL)
		t->why = *why;
	rig_wake(&t->rig);
}

static int
set_up(void **state)
{
	struct track *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	*state = t;
	t->descriptors = count_descriptors();
	rig_open(&t->rig);
	race_init(&t->race, t->rig.loop->base, on_done, t);
	t->fd = -1;
	return 0;
}

static int
tear_down(void **state)
{
	struct track *t = *state;

	race_cancel(&t->race);
	for (unsigned i = 0; i < t->count; i++) {
		if (t->far[i] >= 0)
			(void)close(t->far[i]);
		if (t->filler[i] >= 0)
			(void)close(t->filler[i]);
	}
	if (t->fd >= 0)
		(void)close(t->fd);
	rig_close(&t->rig);
	assert_int_equal(count_descriptors(), t->descriptors);
	free(t);
	return 0;
}

static void
add(struct track *t, enum kind kind)
{
	uint16_t port = 443;
	unsigned i = t->count++;

	t->far[i] = t->filler[i] = -1;
	switch (kind) {
	case LISTENS:
		t->far[i] = rig_listen(8, 0, &port);
		break;
	case REFUSES:
		t->far[i] = rig_refuse(&port);
		break;
	case SWALLOWS:
		t->far[i] = rig_listen(0, 0, &port);
		t->filler[i] = rig_connect(port);
		break;
	case NO_ROUTE:
		/* TCP has no broadcast */
		assert_true(
		    address_read(&t->addresses[i], "255.255.255.255", port));
		return;
	}
	assert_true(address_read(&t->addresses[i], "127.0.0.1", port));
}

static void
start(struct track *t)
{
	race_start(&t->race, t->addresses, t->count, USER_TIMEOUT_MS);
	assert_int_equal(t->dones, 0); /* never from inside */
}

static void
run(struct track *t)
{
	unsigned dones = t->dones;

	start(t);
	until(&t->rig, t->dones > dones);
	assert_int_equal(t->dones, dones + 1);
}

/* Address <i> has won, and nobody else is left. */
static void
assert_won(struct track *t, unsigned i)
{
	char want[ADDRESS_WRITTEN_MAX], got[ADDRESS_WRITTEN_MAX];
	struct address peer = {.n = sizeof(peer.storage)};

	assert_int_equal(t->dones, 1);
	assert_true(t->fd >= 0);
	assert_int_equal(
	    getpeername(t->fd, (struct sockaddr *)&peer.storage, &peer.n), 0);
	assert_string_equal(
	    address_write(got, &peer), address_write(want, &t->addresses[i]));
	rig_settle(&t->rig);
	assert_int_equal(t->dones, 1);
}

static void
assert_described(const struct track *t, const char *const said[])
{
	char want[FAULT_TEXT_MAX] = "", got[FAULT_TEXT_MAX];
	char text[ADDRESS_WRITTEN_MAX];

	for (unsigned i = 0; said[i] != NULL; i++)
		(void)snprintf(want + strlen(want), sizeof(want) - strlen(want),
		    "%s%s: %s", i > 0 ? "; " : "",
		    address_write(text, &t->addresses[i]), said[i]);
	if (t->dones > 0)
		assert_string_equal(t->why.text, want);
	else
		assert_string_equal(
		    race_describe(&t->race, got, sizeof(got)), want);
}

static int
option(int fd, int level, int name)
{
	int value = -1;
	socklen_t n = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &n), 0);
	return value;
}

/* ---- cases ---- */

static void
test_one_address(void **state)
{
	struct track *t = *state;

	add(t, LISTENS);
	run(t);
	assert_won(t, 0);
	assert_true(option(t->fd, IPPROTO_TCP, TCP_NODELAY) != 0);
	assert_int_equal(
	    option(t->fd, IPPROTO_TCP, TCP_USER_TIMEOUT), USER_TIMEOUT_MS);
	assert_true(fcntl(t->fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(t->fd, F_GETFD) & FD_CLOEXEC);
}

static void
test_the_first_one_is_given_its_time(void **state)
{
	struct track *t = *state;

	add(t, LISTENS);
	add(t, LISTENS);
	run(t);
	assert_won(t, 0);
	/* the second one was not even tried */
	assert_int_equal(accept4(t->far[1], NULL, NULL, 0), -1);
}

static void
test_one_that_swallows_costs_a_quarter_of_a_second(void **state)
{
	struct track *t = *state;
	uint64_t began_ms = clock_mono_ms();

	add(t, SWALLOWS);
	add(t, LISTENS);
	run(t);
	assert_won(t, 1);
	assert_true(clock_mono_ms() - began_ms >= 240);
}

/* No timer is waited for. */
static void
test_one_that_fails_costs_nothing(void **state)
{
	struct track *t = *state;

	add(t, REFUSES);
	add(t, NO_ROUTE);
	add(t, REFUSES);
	add(t, LISTENS);
	start(t);
	for (int i = 0; i < 64 && t->dones == 0; i++)
		rig_turn(&t->rig);
	assert_won(t, 3);
}

/* One that is slow may still win, and the next ones are tried meanwhile. */
static void
test_a_slow_one_wins(void **state)
{
	struct track *t = *state;
	int fd;

	add(t, SWALLOWS);
	add(t, REFUSES);
	start(t);
	until(&t->rig, t->race.attempts[1].error == ECONNREFUSED);
	assert_described(
	    t, (const char *[]){"no answer yet", "Connection refused", NULL});
	/* its SYN is sent again after a second */
	fd = accept4(t->far[0], NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	until(&t->rig, t->dones == 1);
	assert_won(t, 0);
	(void)close(fd);
}

static void
test_all_fail(void **state)
{
	static const struct {
		enum kind kinds[3];
		enum reason why;
	} rows[] = {
	    {{REFUSES, REFUSES, REFUSES}, R_CLOUD_REFUSED},
	    {{NO_ROUTE, NO_ROUTE, NO_ROUTE}, R_CLOUD_UNREACHABLE},
	    /* the one that tells most */
	    {{REFUSES, NO_ROUTE, NO_ROUTE}, R_CLOUD_REFUSED},
	    {{NO_ROUTE, NO_ROUTE, REFUSES}, R_CLOUD_REFUSED},
	};
	const char *said[4] = {NULL};
	struct track *t = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		for (unsigned j = 0; j < 3; j++) {
			add(t, rows[i].kinds[j]);
			said[j] = rows[i].kinds[j] == REFUSES
				      ? "Connection refused"
				      : "Network is unreachable";
		}
		t->dones = 0;
		run(t);
		assert_int_equal(t->fd, -1);
		assert_int_equal(t->why.why, rows[i].why);
		assert_described(t, said);
		while (t->count > 0)
			if (t->far[--t->count] >= 0)
				(void)close(t->far[t->count]);
	}
}

/* However short the text may be: it is cut behind a whole address. */
static void
test_as_many_as_there_may_be(void **state)
{
	struct track *t = *state;
	char all[1024], out[1024];
	size_t n, cut;

	add(t, SWALLOWS);
	while (t->count < ADDRESS_LIST_MAX)
		add(t, REFUSES);
	start(t);
	until(&t->rig, t->race.attempts[ADDRESS_LIST_MAX - 1].error != 0);
	n = strlen(race_describe(&t->race, all, sizeof(all)));
	assert_true(n > 200 && strstr(all, "...") == NULL);
	for (size_t size = 8; size < n + 4; size++) {
		memset(out, 'x', sizeof(out));
		cut = strlen(race_describe(&t->race, out, size)) - 3;
		assert_true(cut + 4 <= size && out[size] == 'x');
		assert_string_equal(out + cut, "...");
		assert_memory_equal(out, all, cut);
		assert_true(cut == 0 || strncmp(all + cut, "; ", 2) == 0);
	}
	assert_string_equal(race_describe(&t->race, out, n + 4), all);
	race_cancel(&t->race);
	assert_string_equal(race_describe(&t->race, out, sizeof(out)), "");
}

static void
test_again_from_inside(void **state)
{
	struct track *t = *state;

	add(t, REFUSES);
	add(t, REFUSES);
	t->restarts = true;
	start(t);
	until(&t->rig, t->dones == 2);
	assert_int_equal(t->why.why, R_CLOUD_REFUSED);
}

static void
test_no_descriptors(void **state)
{
	struct track *t = *state;
	struct rlimit limit, none;

	add(t, REFUSES);
	add(t, LISTENS);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)free_descriptor();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	run(t);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(t->why.why, R_NO_DESCRIPTORS);
	t->dones = 0;
	run(t);
	assert_won(t, 1);
}

static void
test_cancelled(void **state)
{
	struct track *t = *state;

	race_cancel(&t->race); /* idle: harmless */
	add(t, SWALLOWS);
	add(t, SWALLOWS);
	add(t, LISTENS);
	start(t);
	race_cancel(&t->race); /* before the first attempt */
	rig_settle(&t->rig);
	assert_int_equal(t->race.begun, 0);
	start(t);
	until(&t->rig, t->race.begun == 2);
	race_cancel(&t->race);
	race_cancel(&t->race);
	rig_live(&t->rig, 300); /* longer than until the third one */
	assert_int_equal(t->dones, 0);
	assert_int_equal(accept4(t->far[2], NULL, NULL, 0), -1);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
	    TEST(test_one_address),
	    TEST(test_the_first_one_is_given_its_time),
	    TEST(test_one_that_swallows_costs_a_quarter_of_a_second),
	    TEST(test_one_that_fails_costs_nothing),
	    TEST(test_a_slow_one_wins),
	    TEST(test_all_fail),
	    TEST(test_as_many_as_there_may_be),
	    TEST(test_again_from_inside),
	    TEST(test_no_descriptors),
	    TEST(test_cancelled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
