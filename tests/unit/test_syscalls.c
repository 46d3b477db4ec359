/*
 * One session from its CONNECT to its end, again and again, each time with the
 * next call of one kind failing: with each error the kernel has for it, on
 * either side. What the proxy can do without ends nothing; anything else ends
 * this session, with the reason that is true.
 *
 * To be linked with tests/tools/fail_syscall.c and -Wl,--wrap= loop_run and
 * session_new.
 */
#include "play.h"

#include "../tools/fail_syscall.h"

enum side { SIDE_CLOUD, SIDE_DEVICE };

static struct {
	struct fail_order order;
	struct life *life;
	bool begins; /* in session_new() */
	bool failed;
	bool late;      /* its session had ended already */
	enum side side; /* whose socket it was */
} fate;

void __real_loop_run(struct loop *loop);
struct session *__real_session_new(
    struct session_env *env, struct knock *k, struct device_memory *memory);
void __wrap_loop_run(struct loop *loop);
struct session *__wrap_session_new(
    struct session_env *env, struct knock *k, struct device_memory *memory);

/* The proxy's code runs in here; the test's own does not. */
void
__wrap_loop_run(struct loop *loop)
{
	fail_order = &fate.order;
	__real_loop_run(loop);
	fail_order = NULL;
}

struct session *
__wrap_session_new(
    struct session_env *env, struct knock *k, struct device_memory *memory)
{
	struct session *s;

	fail_order = &fate.order;
	fate.begins = true;
	s = __real_session_new(env, k, memory);
	fate.begins = false;
	fail_order = NULL;
	return s;
}

static void
on_failure(int fd)
{
	const struct session *s = fate.life->session;

	fate.failed = true;
	fate.late = !fate.begins && (s == NULL || s->ended);
	fate.side = fate.begins || (s != NULL && fd == s->device.fd)
			? SIDE_DEVICE
			: SIDE_CLOUD;
}

/* What it does to a session; NULL: nothing. */
struct row {
	enum fail_call call;
	int error;
	const char *reasons[2]; /* by the side */
};

static const struct row rows[] = {
    {FAIL_socket, EMFILE, {"no_descriptors", NULL}},
    {FAIL_socket, ENFILE, {"no_descriptors", NULL}},
    {FAIL_socket, ENOMEM, {"out_of_memory", NULL}},
    {FAIL_socket, ENOBUFS, {"out_of_memory", NULL}},
    {FAIL_connect, ECONNREFUSED, {"cloud_refused", NULL}},
    {FAIL_connect, ETIMEDOUT, {"tcp_timeout", NULL}},
    {FAIL_connect, ENETUNREACH, {"cloud_unreachable", NULL}},
    {FAIL_connect, EADDRNOTAVAIL, {"cloud_unreachable", NULL}},
    {FAIL_connect, ENOBUFS, {"out_of_memory", NULL}},
    {FAIL_connect, EINTR, {NULL, NULL}},
    {FAIL_getsockopt, ENOBUFS, {"out_of_memory", NULL}},
    {FAIL_setsockopt, ENOMEM, {NULL, NULL}},
    {FAIL_epoll_ctl, ENOMEM, {"out_of_memory", ""}},
    {FAIL_epoll_ctl, ENOSPC, {"out_of_memory", ""}},
    {FAIL_epoll_wait, EINTR, {NULL, NULL}},
    {FAIL_shutdown, ENOTCONN, {NULL, NULL}},
    {FAIL_close, EINTR, {NULL, NULL}},
    {FAIL_send, EPIPE, {"cloud_reset", "device_lost"}},
};

/* Of a connection's reads and writes, whichever the call. */
static const struct row io_rows[] = {
    {FAIL_nothing, ECONNRESET, {"cloud_reset", "device_lost"}},
    {FAIL_nothing, ETIMEDOUT, {"cloud_silent", "device_lost"}},
    {FAIL_nothing, ENOMEM, {"out_of_memory", "out_of_memory"}},
    {FAIL_nothing, ENOBUFS, {"out_of_memory", "out_of_memory"}},
    {FAIL_nothing, EINTR, {NULL, NULL}},
    {FAIL_nothing, EAGAIN, {NULL, NULL}},
};

#define X(name) [FAIL_##name] = #name,
static const char *const names[FAIL_COUNT] = {FAIL_CALLS(X)};
#undef X

/* "": there was no session. */
static const char *
right_reason(const struct row *row, const struct script *s)
{
	const char *reason = NULL;

	if (fate.failed && !fate.late)
		reason = row->reasons[fate.side];
	return reason != NULL ? reason : play_usual(s);
}

static void
check_outcome(const struct row *row, const struct script *s,
    const struct outcome *o, unsigned at)
{
	bool usual = strcmp(o->reason, play_usual(s)) == 0;

	if (strcmp(o->reason, right_reason(row, s)) == 0 &&
	    (!usual || fate.late || (o->whole && o->told)))
		return;
	print_message("%s", life_log(fate.life));
	fail_msg("%s() number %u failed: %s; the session ended with %s%s",
	    names[row->call], at, strerror(row->error), o->reason,
	    o->whole ? "" : ", not all has arrived");
}

static void
play_failing(struct life *l, const struct script *s, const struct row *row,
    unsigned at, struct outcome *o)
{
	fate.life = l;
	fate.failed = fate.late = false;
	fate.order.error = (unsigned)row->error;
	fate.order.at = at;
	fate.order.times = 1;
	fate.order.seen = 0;
	fate.order.call = row->call;
	*o = play(l, s);
	fate.order.call = FAIL_nothing;
}

/* Each of these calls, and after it a session to which nothing happens. */
static void
play_row(struct life *l, const struct script *s, const struct row *row)
{
	unsigned at = 0;

	do {
		struct outcome o;

		play_failing(l, s, row, ++at, &o);
		check_outcome(row, s, &o, at);
		play_well(l, s);
	} while (fate.failed);
	assert_true(at > 1); /* there are such calls */
}

static void
play_io_rows(struct life *l, const struct script *s, enum fail_call call)
{
	for (size_t i = 0; i < ARRAY_LENGTH(io_rows); i++) {
		struct row row = io_rows[i];

		row.call = call;
		play_row(l, s, &row);
	}
}

static void
test_every_call(void **state)
{
	struct life *l = *state;
	struct script s;

	life_open(l, false);
	script_open(&s, 5, false);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		play_row(l, &s, &rows[i]);
	play_io_rows(l, &s, FAIL_send);
	play_io_rows(l, &s, FAIL_recv);
	script_close(&s);
}

/* OpenSSL's own. */
static void
test_every_call_tls(void **state)
{
	static const struct row broken_pipe = {
	    FAIL_write, EPIPE, {"cloud_reset", NULL}};
	struct life *l = *state;
	struct script s;

	life_open(l, true);
	script_open(&s, 4, false);
	play_row(l, &s, &broken_pipe);
	play_io_rows(l, &s, FAIL_write);
	play_io_rows(l, &s, FAIL_read);
	script_close(&s);
}

static int
set_up(void **state)
{
	*state = calloc(1, sizeof(struct life));
	return *state != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
	struct life *l = *state;

	if (l->rig.loop != NULL)
		life_close(l);
	free(l);
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_every_call, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_every_call_tls, set_up, tear_down),
	};

	fail_told = on_failure;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
