/*
 * The door with real devices before it: what it lets in, and what it does when
 * the kernel, or the memory, fails it. Whatever happens to one that comes,
 * those that are there already do not notice.
 *
 * To be linked with tests/tools/fail_syscall.c and -Wl,--wrap= malloc, calloc,
 * realloc and loop_run.
 */
#include "server/door.h"

#include "base/log.h"
#include "codec/mqtt.h"
#include "codec/mqtt_connect.h"

#include "../tools/fail_syscall.h"
#include "rig.h"
#include "timers.h"

#include <errno.h>
#include <sys/mman.h>

/* ---- what fails ---- */

static struct {
	bool watching;    /* what fails is due */
	bool armed;       /* in the loop: the door's code */
	unsigned long n;  /* allocations counted while armed */
	unsigned long at; /* which one fails; 0: none */
	bool none;        /* all fail, also when not armed */
	struct fail_order order;
} fate;

/* The door's own thread, and not the one that computes hashes. */
static _Thread_local bool on_trial;

static bool
fails(void)
{
	if (!on_trial)
		return false;
	if (!fate.none && (!fate.armed || ++fate.n != fate.at))
		return false;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void __real_loop_run(struct loop *loop);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void __wrap_loop_run(struct loop *loop);

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t count, size_t n)
{
	return fails() ? NULL : __real_calloc(count, n);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void
__wrap_loop_run(struct loop *loop)
{
	fate.armed = fate.watching;
	fail_order = fate.watching ? &fate.order : NULL;
	__real_loop_run(loop);
	fail_order = NULL;
	fate.armed = false;
}

/* The next <times> calls fail. */
static void
fail_calls(enum fail_call call, int error, unsigned times)
{
	fate.order.error = (unsigned)error;
	fate.order.at = 1;
	fate.order.times = times;
	fate.order.seen = 0;
	fate.order.call = call;
	fate.watching = true;
}

static void
fail_nothing(void)
{
	fate.order.call = FAIL_nothing;
	fate.at = 0;
	fate.watching = false;
}

/* ---- the door ---- */

struct entrance {
	struct rig rig;
	struct credmap *map;
	struct crowd *crowd;
	struct door *door;
	uint16_t port;
	unsigned admitted;
	int log; /* takes standard error meanwhile */
	int stderr_kept;
	unsigned descriptors; /* with nobody there */
};

/* Lets it in, and out again at once. */
static void
on_admit(void *arg, struct knock *k)
{
	struct entrance *e = arg;

	e->admitted++;
	crowd_leave(e->crowd, k->fd);
	(void)close(k->fd);
	buffer_free(&k->bytes);
	credmap_unref(k->map);
	free(k);
	rig_wake(&e->rig);
}

static int
set_up(void **state)
{
	static const char devices[] =
	    "[device:pump-7]\n"
	    "product_key = a1B2c3D4e5F\ndevice_name = pump_7\n"
	    "device_secret = 0123456789abcdef0123456789abcdef\n"
	    "host = 127.0.0.1\n";
	struct entrance *e = calloc(1, sizeof(*e));
	struct door_config config = {.admit = on_admit, .arg = e};
	struct door_place place;
	struct fault why;

	if (e == NULL)
		return -1;
	*state = e;
	fail_nothing();
	rig_open(&e->rig);
	e->rig.settings->listeners[0].port = 0;
	(void)strcpy(e->rig.settings->listeners[0].address, "127.0.0.1");
	e->map = credmap_load(scratch_write(e->rig.scratch, "devices.ini",
				  span_of_string(devices)),
	    e->rig.settings, &e->rig.scratch->complaints);
	e->crowd = crowd_new();
	config.base = e->rig.loop->base;
	config.settings = e->rig.settings;
	config.map = e->map;
	config.crowd = e->crowd;
	e->door = door_open(&config, &why);
	assert_true(door_place(e->door, 0, &place));
	e->port = (uint16_t)place.port;
	e->log = memfd_create("log", MFD_CLOEXEC);
	e->stderr_kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	(void)dup2(e->log, STDERR_FILENO);
	log_set_level(LOG_DEBUG);
	e->descriptors = rig_descriptors();
	return 0;
}

/* What was logged so far, NUL-terminated. */
static const char *
logged(struct entrance *e)
{
	static char text[64 * 1024];
	ssize_t n = pread(e->log, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

/* Nobody is there, and nothing of those that were. */
static int
tear_down(void **state)
{
	struct entrance *e = *state;

	fail_nothing();
	(void)dup2(e->stderr_kept, STDERR_FILENO);
	(void)close(e->stderr_kept);
	/* what fail_msg() has said went there too */
	if (strstr(logged(e), "ERROR: ") != NULL)
		(void)fputs(logged(e), stderr);
	until(&e->rig, crowd_size(e->crowd) == 0);
	assert_int_equal(rig_descriptors(), e->descriptors - 1);
	(void)close(e->log);
	door_free(&e->door);
	crowd_free(&e->crowd);
	credmap_unref(e->map);
	rig_close(&e->rig);
	free(e);
	return 0;
}

static unsigned
count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)) != NULL; text++)
		n++;
	return n;
}

/* ---- devices ---- */

/* The CONNECT of the one entry, from its byte <from> on, <n> at most. */
static void
send_connect(int fd, size_t from, size_t n)
{
	struct mqtt_connect c = {.level = 4,
	    .clean = true,
	    .keep_alive_s = 60,
	    .client_id = SPAN_OF("pump-7")};
	uint8_t packet[64];
	size_t size = mqtt_connect_size(&c);

	assert_true(size <= sizeof(packet));
	mqtt_connect_write(&c, packet);
	n = n < size - from ? n : size - from;
	assert_int_equal(send(fd, packet + from, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* One that has begun its CONNECT, and whom the door waits for. */
static int
begin(struct entrance *e)
{
	unsigned others = crowd_size(e->crowd);
	int fd = rig_connect(e->port);

	send_connect(fd, 0, 5);
	until(&e->rig, crowd_size(e->crowd) == others + 1);
	rig_turn(&e->rig);
	return fd;
}

/* It gets in when it goes on. */
static void
finish(struct entrance *e, int fd)
{
	unsigned before = e->admitted;

	send_connect(fd, 5, SIZE_MAX);
	until(&e->rig, e->admitted == before + 1);
	(void)close(fd);
}

/* A whole CONNECT; what comes of it is the door's. */
static int
come(struct entrance *e)
{
	int fd = rig_connect(e->port);

	send_connect(fd, 0, SIZE_MAX);
	return fd;
}

/* ---- tests ---- */

static void
test_lets_in(void **state)
{
	struct entrance *e = *state;
	int a = begin(e), b = begin(e);

	finish(e, b);
	finish(e, a);
	assert_int_equal(e->admitted, 2);
}

/* The next one is accepted at once, and nobody is told. */
static void
test_aborted(void **state)
{
	static const int errors[] = {ECONNABORTED, EINTR, EAGAIN};
	struct entrance *e = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(errors); i++) {
		int fd = come(e);

		fail_calls(FAIL_accept4, errors[i], 3);
		/* no timer: the door comes back for it by itself */
		for (int turn = 0; turn < 8; turn++)
			rig_turn(&e->rig);
		assert_int_equal(e->admitted, i + 1);
		assert_true(fate.order.seen > 3);
		(void)close(fd);
	}
	assert_string_equal(logged(e), "");
}

/* The one that is there goes on, the one that comes, as <comes>, waits. */
static void
check_pause(struct entrance *e, int error, unsigned times, const char *reason,
    int *comes)
{
	int there = begin(e);

	fail_calls(FAIL_accept4, error, times);
	*comes = come(e);
	until(&e->rig, fate.order.seen == 1);
	assert_int_equal(count(logged(e), "event=accept_paused "), 1);
	if (strstr(logged(e), reason) == NULL ||
	    strstr(logged(e), strerror(error)) == NULL)
		fail_msg("not %s in %s", reason, logged(e));
	rig_settle(&e->rig);
	assert_int_equal(fate.order.seen, 1);
	finish(e, there);
	assert_int_equal(e->admitted, 1);
}

static void
test_system_has_no_descriptors(void **state)
{
	int fd;

	check_pause(*state, ENFILE, 1, "reason=no_descriptors ", &fd);
	(void)close(fd);
}

static void
test_no_buffers(void **state)
{
	int fd;

	check_pause(*state, ENOBUFS, 1, "reason=out_of_memory ", &fd);
	(void)close(fd);
}

static void
test_no_memory(void **state)
{
	int fd;

	check_pause(*state, ENOMEM, 1, "reason=out_of_memory ", &fd);
	(void)close(fd);
}

/* Twice: it is said once. Then the door takes those that have waited. */
static void
test_process_has_no_descriptors(void **state)
{
	struct entrance *e = *state;
	int fd;

	check_pause(e, EMFILE, 2, "reason=no_descriptors ", &fd);
	until(&e->rig, e->admitted == 2);
	assert_true(fate.order.seen > 2);
	assert_int_equal(count(logged(e), "event="), 1);
	(void)close(fd);
}

/* The pause is over, but listening cannot be taken up again: once more. */
static void
test_pause_that_cannot_end(void **state)
{
	struct entrance *e = *state;
	int fd;

	fail_calls(FAIL_accept4, EMFILE, 1);
	fd = come(e);
	until(&e->rig, fate.order.seen == 1);
	fail_calls(FAIL_epoll_ctl, ENOMEM, 1);
	until(&e->rig, e->admitted == 1);
	assert_true(fate.order.seen > 1);
	(void)close(fd);
}

/* No memory for the timer that would end the pause: there is none. */
static void
test_pause_that_nobody_would_end(void **state)
{
	static struct timers timers;
	struct entrance *e = *state;
	int fd;

	timers_fill(&timers, e->rig.loop->base, 0, &fate.none);
	fail_calls(FAIL_accept4, EMFILE, 1);
	fd = come(e);
	fate.n = 0;
	fate.at = 1;
	rig_turn(&e->rig);
	fate.at = 0;
	assert_int_equal(fate.order.seen, 1);
	rig_settle(&e->rig);
	assert_int_equal(e->admitted, 1);
	(void)close(fd);
	timers_remove(&timers, timers.n);
}

/* Whether the door has ended the connection. */
static bool
is_ended(int fd)
{
	uint8_t bytes[16];
	ssize_t n;

	do
		n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	while (n > 0);
	return n == 0 || errno != EAGAIN;
}

/* A device comes, another is there already; what fails is set. True: the new
   one has been let in. */
static bool
come_beside(struct entrance *e)
{
	unsigned admitted = e->admitted;
	int there = begin(e), comes = come(e);
	bool in;

	fate.n = 0;
	fate.order.seen = 0;
	fate.watching = true;
	until(&e->rig, e->admitted > admitted || is_ended(comes));
	fate.watching = false;
	in = e->admitted > admitted;
	(void)close(comes);
	finish(e, there);
	return in;
}

/* From accept() to the home; each time all has to be allocated anew. */
static void
test_every_allocation(void **state)
{
	bool failed = true;

	(void)state;
	for (unsigned long at = 1; failed; at++) {
		void *entrance = NULL;
		bool in;

		assert_int_equal(set_up(&entrance), 0);
		fate.at = at;
		in = come_beside(entrance);
		failed = fate.n >= at;
		assert_int_equal(in, !failed);
		assert_int_equal(
		    count(logged(entrance), "reason=out_of_memory "), failed);
		assert_int_equal(tear_down(&entrance), 0);
	}
}

struct row {
	enum fail_call call;
	int error;
	const char *reason; /* NULL: it is let in nevertheless */
};

static void
test_every_call(void **state)
{
	static const struct row rows[] = {
	    {FAIL_epoll_ctl, ENOMEM, "reason=out_of_memory "},
	    {FAIL_epoll_ctl, ENOSPC, "reason=out_of_memory "},
	    {FAIL_recv, ECONNRESET, "reason=device_lost "},
	    {FAIL_recv, ETIMEDOUT, "reason=device_lost "},
	    {FAIL_recv, EAGAIN, NULL},
	    {FAIL_recv, EINTR, NULL},
	    {FAIL_setsockopt, ENOMEM, NULL},
	    {FAIL_accept4, ECONNABORTED, NULL},
	};

	(void)state;
	for (const struct row *row = rows; row < rows + ARRAY_LENGTH(rows);
	     row++) {
		void *entrance = NULL;
		bool in;

		assert_int_equal(set_up(&entrance), 0);
		fail_calls(row->call, row->error, 1);
		fate.watching = false;
		in = come_beside(entrance);
		assert_true(fate.order.seen > 0);
		assert_int_equal(in, row->reason == NULL);
		assert_int_equal(count(logged(entrance), "event="), !in);
		if (!in)
			assert_non_null(strstr(logged(entrance), row->reason));
		assert_int_equal(tear_down(&entrance), 0);
	}
}

#define door_test(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    door_test(test_lets_in),
	    door_test(test_aborted),
	    door_test(test_process_has_no_descriptors),
	    door_test(test_system_has_no_descriptors),
	    door_test(test_no_buffers),
	    door_test(test_no_memory),
	    door_test(test_pause_that_cannot_end),
	    door_test(test_pause_that_nobody_would_end),
	    cmocka_unit_test(test_every_allocation),
	    cmocka_unit_test(test_every_call),
	};

	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
	on_trial = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
