#include "session/linger.h"

#include "lan.h"

#include <fcntl.h>

/* SHORT_MS is waited for; LONG_MS would be over only in a test that fails. */
enum { SHORT_MS = 40, LONG_MS = 60 * 1000 };

struct farewell {
	struct rig rig;
	struct lan lan;
	unsigned written; /* how often it was told so */
};

static void
on_written(void *arg)
{
	struct farewell *f = arg;

	assert_true(lingering_has_written(f->lan.lingering));
	f->written++;
	rig_wake(&f->rig);
}

static int
set_up(void **state)
{
	struct farewell *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	rig_open(&f->rig);
	lan_open(&f->lan, &f->rig);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct farewell *f = *state;

	lan_close(&f->lan);
	assert_null(f->lan.lingering);
	lingering_free(&f->lan.lingering);
	rig_close(&f->rig);
	free(f);
	return 0;
}

/* Ends the connection <fd> with these bytes. */
static void
part(struct farewell *f, int fd, struct span words, uint64_t bound_ms)
{
	struct buffer last = {0};

	assert_true(buffer_append(&last, words));
	linger(f->lan.lingering, fd, &last, bound_ms);
	assert_null(last.p);
	assert_int_equal(last.n, 0);
}

static bool
all_closed(struct farewell *f)
{
	return crowd_size(f->lan.crowd) == 0;
}

/* The last bytes, then FIN; it is over when the device closes too. */
static void
test_last_bytes_then_fin(void **state)
{
	static const struct span rows[] = {SPAN_OF("bye"), SPAN_OF("")};
	struct farewell *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		part(f, lan_connect(&f->lan), rows[i], LONG_MS);
		lan_expect(&f->lan, rows[i]);
		lan_expect_end(&f->lan);
		rig_settle(&f->rig);
		assert_false(all_closed(f));
		lan_fin(&f->lan);
		until(&f->rig, all_closed(f));
	}
}

/* Whether the device has ended it in order, too, is seen; it may also be nobody
   who wants to know any more. */
static void
test_witness(void **state)
{
	struct farewell *f = *state;

	for (int i = 0; i < 4; i++) {
		struct witness *w = witness_new();
		struct buffer last = {0};
		bool in_order = i < 2;

		assert_non_null(w);
		linger_seen(f->lan.lingering, lan_connect(&f->lan), &last,
		    i == 3 ? 1 : LONG_MS, w);
		rig_settle(&f->rig);
		assert_false(w->saw_fin);
		if (i == 1) {
			witness_unref(w);
			w = NULL;
		}
		if (in_order)
			lan_fin(&f->lan);
		else if (i == 2)
			lan_reset(&f->lan);
		until(&f->rig, all_closed(f));
		if (w != NULL)
			assert_int_equal(w->saw_fin, in_order);
		witness_unref(w);
		lan_hang_up(&f->lan);
	}
}

/* Input nobody has read, and input that comes now, would make close() send a
   RST, which overtakes the last bytes. */
static void
test_unread_input_does_not_reset(void **state)
{
	struct farewell *f = *state;
	int fd = lan_connect(&f->lan);

	lan_write(&f->lan, SPAN_OF("never read"));
	part(f, fd, SPAN_OF("bye"), LONG_MS);
	rig_settle(&f->rig);
	lan_write(&f->lan, SPAN_OF("nor this"));
	rig_settle(&f->rig);
	assert_false(all_closed(f));
	lan_expect(&f->lan, SPAN_OF("bye"));
	lan_expect_end(&f->lan);
	lan_fin(&f->lan);
	until(&f->rig, all_closed(f));
}

/* More than the device takes at once: all of it comes, the FIN behind it; also
   to one that has closed its own half already. */
static void
test_a_slow_device(void **state)
{
	static uint8_t much[LAN_MUCH];
	struct farewell *f = *state;

	for (size_t i = 0; i < LAN_MUCH; i++)
		much[i] = (uint8_t)(i * 7 + (i >> 9));
	for (int i = 0; i < 2; i++) {
		int fd = lan_connect(&f->lan);

		if (i == 1)
			lan_fin(&f->lan);
		part(f, fd, (struct span){much, LAN_MUCH}, LONG_MS);
		rig_settle(&f->rig);
		lan_expect(&f->lan, ((struct span){much, LAN_MUCH}));
		lan_expect_end(&f->lan);
		if (i == 0) {
			assert_false(all_closed(f));
			lan_hang_up(&f->lan);
		}
		until(&f->rig, all_closed(f));
	}
}

/* One that never closes, or never reads, meets the bound. */
static void
test_the_bound(void **state)
{
	static const uint8_t much[LAN_MUCH];
	struct farewell *f = *state;

	for (int i = 0; i < 2; i++) {
		uint64_t began_ms = clock_mono_ms();
		struct span words = {much, i == 0 ? 3 : LAN_MUCH};

		part(f, lan_connect(&f->lan), words, SHORT_MS);
		until(&f->rig, all_closed(f));
		/* both clocks are a few milliseconds coarse */
		assert_true(clock_mono_ms() - began_ms >= SHORT_MS - 5);
	}
}

/* One that sends for ever is cut off, and keeps the loop from nothing. */
static void
test_a_device_that_sends_for_ever(void **state)
{
	static const uint8_t noise[64 * 1024];
	static const int bytes = 4 * LAN_MUCH;
	struct farewell *f = *state;
	int fd = lan_connect(&f->lan);
	ssize_t n;

	(void)setsockopt(
	    f->lan.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	part(f, fd, SPAN_OF("bye"), LONG_MS);
	do {
		do
			n = send(f->lan.fd, noise, sizeof(noise), MSG_NOSIGNAL);
		while (n > 0);
		assert_true(
		    errno == EAGAIN || errno == ECONNRESET || errno == EPIPE);
		rig_turn(&f->rig);
	} while (!all_closed(f));
}

/* One that breaks the connection does not have to be waited for: while its last
   bytes are under way, and when they have all been sent. */
static void
test_a_reset(void **state)
{
	static const uint8_t much[LAN_MUCH];
	struct farewell *f = *state;

	for (int i = 0; i < 2; i++) {
		struct span words = {much, i == 0 ? LAN_MUCH : 3};

		part(f, lan_connect(&f->lan), words, LONG_MS);
		rig_settle(&f->rig);
		assert_false(all_closed(f));
		lan_reset(&f->lan);
		until(&f->rig, all_closed(f));
	}
}

/* Whoever asked is told as soon as no last bytes wait any more, although the
   devices have not closed yet; and not when all are freed. */
static void
test_told_when_written(void **state)
{
	static const uint8_t much[LAN_MUCH];
	struct farewell *f = *state;
	struct crowd_count now;
	int ends[2];

	lingering_tell_written(f->lan.lingering, on_written, f);
	assert_true(lingering_has_written(f->lan.lingering));
	part(f, lan_connect(&f->lan), (struct span){much, LAN_MUCH}, LONG_MS);
	rig_pair(ends);
	assert_true(crowd_enter(f->lan.crowd, ends[1], "127.0.0.1", &now));
	part(f, ends[1], SPAN_OF("y"), LONG_MS);
	rig_settle(&f->rig);
	assert_false(lingering_has_written(f->lan.lingering));
	assert_int_equal(f->written, 0);
	lan_expect(&f->lan, ((struct span){much, LAN_MUCH}));
	until(&f->rig, f->written == 1);
	assert_int_equal(crowd_size(f->lan.crowd), 2);
	lan_reset(&f->lan);
	(void)close(ends[0]);
	until(&f->rig, all_closed(f));

	part(f, lan_connect(&f->lan), (struct span){much, LAN_MUCH}, LONG_MS);
	lingering_free(&f->lan.lingering);
	assert_int_equal(f->written, 1);
}

/* Those that are left are closed, and nothing of them comes later. */
static void
test_freed_with_entries_left(void **state)
{
	enum { ENTRIES = 3 };
	struct farewell *f = *state;
	struct crowd_count now;
	int ends[ENTRIES][2];
	char byte;

	for (int i = 0; i < ENTRIES; i++) {
		rig_pair(ends[i]);
		assert_true(
		    crowd_enter(f->lan.crowd, ends[i][1], "127.0.0.1", &now));
		part(f, ends[i][1], SPAN_OF("x"), SHORT_MS);
	}
	rig_settle(&f->rig);
	assert_int_equal(crowd_size(f->lan.crowd), ENTRIES);
	/* one in the middle goes first */
	(void)close(ends[1][0]);
	until(&f->rig, crowd_size(f->lan.crowd) == ENTRIES - 1);
	lingering_free(&f->lan.lingering);
	assert_null(f->lan.lingering);
	assert_true(all_closed(f));
	for (int i = 0; i < ENTRIES; i++) {
		if (i == 1)
			continue;
		assert_int_equal(recv(ends[i][0], &byte, 1, 0), 1);
		assert_int_equal(recv(ends[i][0], &byte, 1, 0), 0);
		(void)close(ends[i][0]);
	}
	rig_live(&f->rig, 2 * SHORT_MS);
}

static void
ignore_warning(int severity, const char *text)
{
	(void)severity;
	(void)text;
}

/* One that the loop cannot watch is closed at once. */
static void
test_one_that_cannot_be_watched(void **state)
{
	struct farewell *f = *state;
	struct crowd_count now;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC); /* epoll refuses it */

	assert_true(fd >= 0);
	assert_true(crowd_enter(f->lan.crowd, fd, "127.0.0.1", &now));
	event_set_log_callback(ignore_warning);
	part(f, fd, SPAN_OF("bye"), LONG_MS);
	event_set_log_callback(NULL);
	assert_true(all_closed(f));
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

/* Also when the loop has had no turn for it any more. */
static void
test_freed_before_the_first_turn(void **state)
{
	struct farewell *f = *state;

	part(f, lan_connect(&f->lan), SPAN_OF("bye"), LONG_MS);
	lingering_free(&f->lan.lingering);
	assert_true(all_closed(f));
	lan_expect(&f->lan, SPAN_OF("bye"));
	lan_expect_end(&f->lan);
}

#define linger_test(test)                                                      \
	cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    linger_test(test_last_bytes_then_fin),
	    linger_test(test_unread_input_does_not_reset),
	    linger_test(test_witness),
	    linger_test(test_a_slow_device),
	    linger_test(test_the_bound),
	    linger_test(test_a_device_that_sends_for_ever),
	    linger_test(test_a_reset),
	    linger_test(test_told_when_written),
	    linger_test(test_freed_with_entries_left),
	    linger_test(test_freed_before_the_first_turn),
	    linger_test(test_one_that_cannot_be_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
