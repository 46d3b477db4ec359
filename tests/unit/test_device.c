#include "session/device.h"

#include "lan.h"

#include <fcntl.h>

enum { SHORT_MS = 40, LONG_MS = 60 * 1000 };

/* A device and its owner, who takes whole lines only. */
struct owned {
	struct rig rig;
	struct lan lan;
	struct device device;
	struct buffer taken;
	bool pauses;  /* after every line */
	bool refuses; /* takes nothing */
	bool closes;  /* from inside on_bytes */
	unsigned calls;
	unsigned rooms;
	unsigned gone;
	struct fault why;
};

static size_t
on_bytes(void *arg, struct span bytes)
{
	struct owned *o = arg;
	size_t taken = 0;

	o->calls++;
	assert_true(bytes.n > 0);
	assert_ptr_equal(bytes.p, o->rig.loop->in);
	rig_wake(&o->rig);
	if (o->closes) {
		device_close(&o->device, SPAN_OF("bye"));
		return 0;
	}
	while (!o->refuses) {
		const uint8_t *end =
		    memchr(bytes.p + taken, '\n', bytes.n - taken);

		if (end == NULL)
			break;
		taken = (size_t)(end - bytes.p) + 1;
		if (o->pauses) {
			device_pause(&o->device, true);
			break;
		}
	}
	assert_true(buffer_append(&o->taken, (struct span){bytes.p, taken}));
	/* the scratch is lent only */
	memset(o->rig.loop->in, 0xee, taken);
	return taken;
}

static void
on_room(void *arg)
{
	struct owned *o = arg;

	o->rooms++;
	rig_wake(&o->rig);
}

static void
on_gone(void *arg, const struct fault *why)
{
	struct owned *o = arg;

	o->gone++;
	o->why = *why;
	rig_wake(&o->rig);
	device_close(&o->device, SPAN_OF(""));
}

static const struct device_owner owner = {
    .on_bytes = on_bytes, .on_room = on_room, .on_gone = on_gone};

static int
set_up(void **state)
{
	struct owned *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return -1;
	rig_open(&o->rig);
	o->rig.settings->close_timeout_ms = SHORT_MS;
	lan_open(&o->lan, &o->rig);
	*state = o;
	return 0;
}

static int
tear_down(void **state)
{
	struct owned *o = *state;

	device_close(&o->device, SPAN_OF(""));
	assert_int_equal(o->device.state, DEVICE_GONE);
	assert_null(o->device.in.p);
	assert_null(o->device.out.p);
	lan_close(&o->lan);
	rig_close(&o->rig);
	buffer_free(&o->taken);
	free(o);
	return 0;
}

/* In WAIT, with these bytes behind its CONNECT. */
static void
connect_device(struct owned *o, struct span pipelined)
{
	struct buffer bytes = {0};
	int fd;

	if (o->device.env != NULL)
		device_close(&o->device, SPAN_OF(""));
	fd = lan_connect(&o->lan);
	assert_true(buffer_append(&bytes, pipelined));
	assert_true(
	    device_init(&o->device, &o->lan.env, &owner, o, fd, &bytes));
	assert_null(bytes.p);
	assert_int_equal(o->device.state, DEVICE_WAIT);
	buffer_free(&o->taken);
	o->gone = o->rooms = o->calls = 0;
}

static void
online_device(struct owned *o)
{
	connect_device(o, SPAN_OF(""));
	device_go_online(&o->device, 60);
	assert_int_equal(o->device.state, DEVICE_ONLINE);
}

#define assert_taken(o, want)                                                  \
	assert_span_equal(buffer_span(&(o)->taken), SPAN_OF(want))

/* ---- WAIT ---- */

static void
test_a_waiting_device_is_not_read(void **state)
{
	struct owned *o = *state;

	connect_device(o, SPAN_OF("behind"));
	lan_write(&o->lan, SPAN_OF(" CONNECT\nmore\n"));
	rig_settle(&o->rig);
	assert_int_equal(o->calls, 0);
	assert_int_equal(o->gone, 0);
	device_go_online(&o->device, 60);
	until(&o->rig, o->taken.n == 20);
	assert_taken(o, "behind CONNECT\nmore\n");
}

static void
test_one_that_leaves_while_it_waits(void **state)
{
	struct owned *o = *state;

	connect_device(o, SPAN_OF(""));
	lan_fin(&o->lan);
	until(&o->rig, o->gone > 0);
	assert_int_equal(o->why.why, R_DEVICE_CLOSED);

	/* what it has sent before is still delivered, wherever it lies */
	for (int i = 0; i < 2; i++) {
		connect_device(o, i == 0 ? SPAN_OF("last\n") : SPAN_OF(""));
		if (i == 1)
			lan_write(&o->lan, SPAN_OF("last\n"));
		lan_fin(&o->lan);
		rig_settle(&o->rig);
		assert_int_equal(o->gone, 0);
		device_go_online(&o->device, 60);
		until(&o->rig, o->gone > 0);
		assert_taken(o, "last\n");
		assert_int_equal(o->why.why, R_DEVICE_CLOSED);
		assert_int_equal(o->gone, 1);
	}
}

static void
test_a_reset_while_it_waits(void **state)
{
	struct owned *o = *state;

	for (int i = 0; i < 3; i++) {
		connect_device(o, i == 1 ? SPAN_OF("last\n") : SPAN_OF(""));
		if (i == 2)
			lan_write(&o->lan, SPAN_OF("last\n"));
		lan_reset(&o->lan);
		until(&o->rig, o->gone > 0);
		assert_int_equal(o->why.why, R_DEVICE_LOST);
		rig_settle(&o->rig);
		assert_int_equal(o->gone, 1);
		assert_int_equal(o->calls, 0);
	}
}

static void
ignore_warning(int severity, const char *text)
{
	(void)severity;
	(void)text;
}

/* What the loop cannot watch stays the caller's, with what it has sent. */
static void
test_one_that_cannot_be_watched(void **state)
{
	struct owned *o = *state;
	struct device d;
	struct buffer pipelined = {0};
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC); /* epoll refuses it */

	connect_device(o, SPAN_OF("")); /* another, which it does not touch */
	assert_true(fd >= 0);
	assert_true(buffer_append(&pipelined, SPAN_OF("behind")));
	event_set_log_callback(ignore_warning);
	assert_false(device_init(&d, &o->lan.env, &owner, o, fd, &pipelined));
	event_set_log_callback(NULL);
	assert_span_equal(buffer_span(&pipelined), SPAN_OF("behind"));
	assert_int_equal(o->rig.loop->kept_bytes, 0);
	assert_int_equal(o->calls + o->gone, 0);
	assert_int_equal(close(fd), 0);
	buffer_free(&pipelined);
}

/* ---- in ---- */

static void
test_partial_packets(void **state)
{
	static const char text[] = "one\ntwo\n\nthree and more\n";
	struct owned *o = *state;

	for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
		struct span rest = span_of_string(text), piece;

		online_device(o);
		while (span_take(&rest, cut < rest.n ? cut : rest.n, &piece) &&
		       piece.n > 0) {
			lan_write(&o->lan, piece);
			rig_settle(&o->rig);
			/* what is not whole is kept, and nothing else */
			assert_int_equal(o->taken.n + o->device.in.n,
			    sizeof(text) - 1 - rest.n);
		}
		assert_taken(o, "one\ntwo\n\nthree and more\n");
		assert_null(o->device.in.p);
	}
}

/* More than one turn reads; and a rest between all the reads. */
static void
test_many_bytes(void **state)
{
	enum { BYTES = 3 * 1000 * 1000 };
	struct owned *o = *state;
	uint8_t *sent = malloc(BYTES);
	struct span rest = {sent, BYTES};

	assert_non_null(sent);
	for (size_t i = 0; i < BYTES; i++)
		sent[i] = i % 1009 == 1008 ? '\n' : (uint8_t)('a' + i % 23);
	sent[BYTES - 1] = '\n';
	online_device(o);
	until(&o->rig, (rest.n == 0 || lan_try_write(&o->lan, &rest)) &&
			   o->taken.n == BYTES);
	assert_memory_equal(buffer_span(&o->taken).p, sent, BYTES);
	free(sent);
}

static void
test_pause(void **state)
{
	struct owned *o = *state;

	o->pauses = true;
	online_device(o);
	lan_write(&o->lan, SPAN_OF("1\n2\n3\npart"));
	until(&o->rig, o->taken.n == 2);
	rig_settle(&o->rig);
	assert_taken(o, "1\n");
	lan_write(&o->lan, SPAN_OF(" four\n"));
	rig_settle(&o->rig);
	assert_int_equal(o->calls, 1);
	device_pause(&o->device, false);
	until(&o->rig, o->taken.n == 4);
	rig_settle(&o->rig);
	assert_taken(o, "1\n2\n");
	device_pause(&o->device, false);
	until(&o->rig, o->taken.n == 6);
	device_pause(&o->device, false); /* now from the socket */
	until(&o->rig, o->device.paused);
	assert_taken(o, "1\n2\n3\npart four\n");
	device_pause(&o->device, false);
	rig_settle(&o->rig);
	assert_int_equal(o->calls, 5); /* one with "part" alone */
}

/* What cannot be taken now comes again only with more behind it. */
static void
test_an_owner_who_takes_nothing(void **state)
{
	struct owned *o = *state;

	o->refuses = true;
	online_device(o);
	lan_write(&o->lan, SPAN_OF("1\n"));
	until(&o->rig, o->calls == 1);
	rig_settle(&o->rig);
	assert_int_equal(o->calls, 1);
	o->refuses = false;
	lan_write(&o->lan, SPAN_OF("2\n"));
	until(&o->rig, o->taken.n == 4);
	assert_taken(o, "1\n2\n");
}

static void
test_the_end_behind_bytes(void **state)
{
	static const struct {
		struct span sent;
		bool paused; /* when they and the FIN come */
		size_t taken;
		const char *text;
	} rows[] = {
	    {SPAN_OF(""), false, 0, ""},
	    {SPAN_OF("last\n"), false, 5, ""},
	    {SPAN_OF("last\n"), true, 5, ""},
	    {SPAN_OF("last\nhalf"), false, 5, "in the middle of a packet"},
	    {SPAN_OF("last\nhalf"), true, 5, "in the middle of a packet"},
	};
	struct owned *o = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		online_device(o);
		device_pause(&o->device, rows[i].paused);
		lan_write(&o->lan, rows[i].sent);
		lan_fin(&o->lan);
		if (rows[i].paused) {
			rig_settle(&o->rig);
			assert_int_equal(o->calls + o->gone, 0);
			device_pause(&o->device, false);
		}
		until(&o->rig, o->gone > 0);
		rig_settle(&o->rig);
		assert_int_equal(o->gone, 1);
		assert_int_equal(o->taken.n, rows[i].taken);
		assert_int_equal(o->why.why, R_DEVICE_CLOSED);
		assert_string_equal(o->why.text, rows[i].text);
		lan_expect_end(&o->lan);
	}
}

static void
test_a_reset(void **state)
{
	struct owned *o = *state;

	online_device(o);
	lan_reset(&o->lan);
	until(&o->rig, o->gone > 0);
	assert_int_equal(o->why.why, R_DEVICE_LOST);
}

static void
test_closed_from_inside(void **state)
{
	struct owned *o = *state;

	online_device(o);
	o->closes = true;
	lan_write(&o->lan, SPAN_OF("1\n2\n"));
	lan_expect(&o->lan, SPAN_OF("bye"));
	lan_expect_end(&o->lan);
	assert_int_equal(o->calls, 1);
	assert_int_equal(o->gone, 0);
	device_write(&o->device, SPAN_OF("too late")); /* harmless */
	device_pause(&o->device, true);
	device_pause(&o->device, false);
	assert_false(device_takes(&o->device));
}

static void
test_no_room_for_all(void **state)
{
	static const uint8_t hog[100 * 1000];
	struct owned *o = *state;
	struct buffer kept = {0};

	online_device(o);
	rig_settle(&o->rig);
	assert_true(
	    loop_keep(o->rig.loop, &kept, (struct span){hog, sizeof(hog)}));
	o->rig.loop->kept_max = o->rig.loop->kept_bytes;
	lan_write(&o->lan, SPAN_OF("1\n"));
	rig_settle(&o->rig);
	assert_int_equal(o->calls, 0);
	loop_unkeep(o->rig.loop, &kept, kept.n);
	until(&o->rig, o->taken.n == 2);
}

/* ---- out ---- */

static uint8_t
pattern(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 9));
}

/* Writes more than can be under way; returns where the pattern is now. */
static size_t
fill(struct owned *o, size_t from)
{
	uint8_t *bytes = malloc(LAN_MUCH);

	assert_non_null(bytes);
	assert_true(device_takes(&o->device));
	for (size_t i = 0; i < LAN_MUCH; i++)
		bytes[i] = pattern(from + i);
	device_write(&o->device, (struct span){bytes, LAN_MUCH});
	assert_false(device_takes(&o->device));
	free(bytes);
	return from + LAN_MUCH;
}

static void
expect_pattern(struct owned *o, size_t from, size_t to)
{
	while (from < to) {
		struct span in;

		if (o->lan.in.n == 0)
			lan_read_more(&o->lan);
		in = buffer_span(&o->lan.in);
		if (in.n > to - from)
			in.n = to - from;
		for (size_t i = 0; i < in.n; i++)
			assert_int_equal(in.p[i], pattern(from + i));
		from += in.n;
		buffer_drop(&o->lan.in, in.n);
	}
	assert_int_equal(from, to);
}

static void
test_a_slow_device(void **state)
{
	struct owned *o = *state;
	size_t sent = 0, got = 0;

	online_device(o);
	for (int i = 0; i < 3; i++) {
		sent = fill(o, sent);
		/* behind what is kept, although there is room again */
		(void)lan_read(&o->lan);
		device_write(
		    &o->device, (struct span){(uint8_t[]){pattern(sent)}, 1});
		sent++;
		assert_true(o->device.out.n > 0);
		assert_true(o->rig.loop->kept_bytes >= o->device.out.n);
		o->rooms = 0;
		expect_pattern(o, got, sent);
		got = sent;
		until(&o->rig, o->rooms > 0);
		assert_true(device_takes(&o->device));
		assert_null(o->device.out.p);
		assert_int_equal(o->rooms, 1);
	}
	assert_int_equal(o->gone, 0);
}

/* Also before it is online: an AUTH may go to it then. */
static void
test_a_stuck_device(void **state)
{
	struct owned *o = *state;

	o->rig.settings->device_write_timeout_ms = 2 * SHORT_MS;
	for (int i = 0; i < 2; i++) {
		uint64_t began_ms;

		if (i == 0)
			online_device(o);
		else
			connect_device(o, SPAN_OF(""));
		(void)fill(o, 0);
		began_ms = o->device.blocked_ms;
		assert_true(began_ms != 0);
		until(&o->rig, o->gone > 0);
		assert_int_equal(o->why.why, R_DEVICE_STUCK);
		assert_true(clock_mono_ms() - began_ms >= 2 * SHORT_MS - 5);
	}
}

/* One that takes little at a time is slow, not stuck. */
static void
test_a_slow_device_is_not_stuck(void **state)
{
	struct owned *o = *state;

	o->rig.settings->device_write_timeout_ms = 6 * SHORT_MS;
	for (int i = 0; i < 2; i++) {
		uint64_t began_ms;

		if (i == 0)
			online_device(o);
		else
			connect_device(o, SPAN_OF(""));
		(void)fill(o, 0);
		began_ms = o->device.blocked_ms;
		while (clock_mono_ms() < began_ms + 8 * SHORT_MS) {
			assert_int_equal(o->gone, 0);
			assert_false(device_takes(&o->device));
			(void)lan_read(&o->lan);
			rig_live(&o->rig, SHORT_MS);
		}
		assert_int_equal(o->gone, 0);
	}
}

/* One that breaks the connection while bytes are kept for it. */
static void
test_a_reset_while_bytes_are_kept(void **state)
{
	struct owned *o = *state;

	online_device(o);
	(void)fill(o, 0);
	lan_reset(&o->lan);
	until(&o->rig, o->gone > 0);
	assert_int_equal(o->why.why, R_DEVICE_LOST);
	rig_settle(&o->rig);
	assert_int_equal(o->gone, 1);
	assert_int_equal(o->rooms, 0);
}

/* The last words come behind what is kept, however slow the device is; and it
   gets them although it has sent what nobody has read. */
static void
test_close_delivers_what_is_kept(void **state)
{
	struct owned *o = *state;
	size_t sent;

	o->rig.settings->close_timeout_ms = LONG_MS;
	online_device(o);
	device_pause(&o->device, true);
	lan_write(&o->lan, SPAN_OF("unread"));
	sent = fill(o, 0);
	device_close(&o->device, SPAN_OF("last words"));
	assert_int_equal(o->rig.loop->kept_bytes, 0);
	assert_int_equal(crowd_size(o->lan.crowd), 1);
	expect_pattern(o, 0, sent);
	lan_expect(&o->lan, SPAN_OF("last words"));
	lan_expect_end(&o->lan);
	assert_int_equal(crowd_size(o->lan.crowd), 1); /* it lingers, */
	lan_hang_up(&o->lan);
	until(&o->rig, crowd_size(o->lan.crowd) == 0); /* until here */
}

static void
test_a_close_that_is_not_answered(void **state)
{
	struct owned *o = *state;
	uint64_t began_ms = clock_mono_ms();

	online_device(o);
	device_close(&o->device, SPAN_OF("bye"));
	until(&o->rig, crowd_size(o->lan.crowd) == 0);
	assert_true(clock_mono_ms() - began_ms >= SHORT_MS - 5);
	lan_expect(&o->lan, SPAN_OF("bye"));
	lan_expect_end(&o->lan);
}

/* One that goes on sending instead of closing is cut off. */
static void
test_a_close_that_is_ignored(void **state)
{
	static uint8_t noise[64 * 1024];
	struct owned *o = *state;

	online_device(o);
	device_close(&o->device, SPAN_OF("bye"));
	until(
	    &o->rig, send(o->lan.fd, noise, sizeof(noise), MSG_NOSIGNAL) < 0 &&
			 errno != EAGAIN);
	assert_int_equal(crowd_size(o->lan.crowd), 0);
}

static void
test_nobody_listens_any_more(void **state)
{
	struct owned *o = *state;

	online_device(o);
	lan_write(&o->lan, SPAN_OF("x")); /* keeps the RST from being read */
	device_pause(&o->device, true);
	lan_reset(&o->lan);
	rig_settle(&o->rig);
	device_write(&o->device, SPAN_OF("hello"));
	until(&o->rig, o->gone > 0);
	assert_int_equal(o->why.why, R_DEVICE_LOST);
	assert_int_equal(o->gone, 1);
}

/* ---- silence ---- */

static void
test_keep_alive(void **state)
{
	struct owned *o = *state;

	connect_device(o, SPAN_OF(""));
	device_go_online(&o->device, 10);
	assert_int_equal(o->device.silence_max_ms, 15 * 1000);
	connect_device(o, SPAN_OF(""));
	device_go_online(&o->device, 65535);
	assert_int_equal(o->device.silence_max_ms, 98302500);
	o->rig.settings->idle_timeout_ms = 12345;
	connect_device(o, SPAN_OF(""));
	device_go_online(&o->device, 0);
	assert_int_equal(o->device.silence_max_ms, 12345);
}

static void
test_silence(void **state)
{
	enum { IDLE_MS = 250 };
	struct owned *o = *state;
	uint64_t heard_ms, end_ms;

	o->rig.settings->idle_timeout_ms = IDLE_MS;
	connect_device(o, SPAN_OF(""));
	rig_live(
	    &o->rig, IDLE_MS + SHORT_MS); /* does not count while it waits */
	assert_int_equal(o->gone, 0);
	device_go_online(&o->device, 0);
	end_ms = clock_mono_ms() + 2 * IDLE_MS;
	while (clock_mono_ms() < end_ms) { /* any byte is a sign of life */
		lan_write(&o->lan, SPAN_OF("x"));
		rig_wait(&o->rig);
	}
	assert_int_equal(o->gone, 0);
	heard_ms = o->device.heard_ms;
	until(&o->rig, o->gone > 0);
	assert_int_equal(o->why.why, R_DEVICE_SILENT);
	assert_true(clock_mono_ms() - heard_ms >= IDLE_MS - 5);
}

/* One that is not read cannot be heard. */
static void
test_silence_does_not_count_while_paused(void **state)
{
	struct owned *o = *state;
	uint64_t resumed_ms;

	o->rig.settings->idle_timeout_ms = SHORT_MS;
	connect_device(o, SPAN_OF(""));
	device_go_online(&o->device, 0);
	device_pause(&o->device, true);
	rig_live(&o->rig, 3 * SHORT_MS);
	assert_int_equal(o->gone, 0);
	resumed_ms = clock_mono_ms();
	device_pause(&o->device, false);
	until(&o->rig, o->gone > 0);
	assert_int_equal(o->why.why, R_DEVICE_SILENT);
	assert_true(clock_mono_ms() - resumed_ms >= SHORT_MS - 5);
}

/* Nor one that there is no memory to read. */
static void
test_silence_does_not_count_without_room(void **state)
{
	static const uint8_t hog[100 * 1000];
	struct owned *o = *state;
	struct buffer kept = {0};
	uint64_t resumed_ms;

	o->rig.settings->idle_timeout_ms = SHORT_MS;
	assert_true(
	    loop_keep(o->rig.loop, &kept, (struct span){hog, sizeof(hog)}));
	connect_device(o, SPAN_OF(""));
	o->rig.loop->kept_max = o->rig.loop->kept_bytes;
	device_go_online(&o->device, 0);
	lan_write(&o->lan, SPAN_OF("1\n"));
	rig_live(&o->rig, 3 * SHORT_MS);
	assert_int_equal(o->calls + o->gone, 0);
	resumed_ms = clock_mono_ms();
	loop_unkeep(o->rig.loop, &kept, kept.n);
	until(&o->rig, o->taken.n == 2);
	until(&o->rig, o->gone > 0);
	assert_int_equal(o->why.why, R_DEVICE_SILENT);
	assert_true(clock_mono_ms() - resumed_ms >= SHORT_MS - 5);
}

/* Bytes that go to it are no sign of life. */
static void
test_silence_while_written_to(void **state)
{
	struct owned *o = *state;

	o->rig.settings->idle_timeout_ms = SHORT_MS;
	connect_device(o, SPAN_OF(""));
	device_go_online(&o->device, 0);
	until(&o->rig, (device_write(&o->device, SPAN_OF("x")), o->gone > 0));
	assert_int_equal(o->why.why, R_DEVICE_SILENT);
}

#define device_test(test)                                                      \
	cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    device_test(test_a_waiting_device_is_not_read),
	    device_test(test_one_that_leaves_while_it_waits),
	    device_test(test_a_reset_while_it_waits),
	    device_test(test_one_that_cannot_be_watched),
	    device_test(test_partial_packets),
	    device_test(test_many_bytes),
	    device_test(test_pause),
	    device_test(test_an_owner_who_takes_nothing),
	    device_test(test_the_end_behind_bytes),
	    device_test(test_a_reset),
	    device_test(test_closed_from_inside),
	    device_test(test_no_room_for_all),
	    device_test(test_a_slow_device),
	    device_test(test_a_stuck_device),
	    device_test(test_a_slow_device_is_not_stuck),
	    device_test(test_a_reset_while_bytes_are_kept),
	    device_test(test_close_delivers_what_is_kept),
	    device_test(test_a_close_that_is_not_answered),
	    device_test(test_a_close_that_is_ignored),
	    device_test(test_nobody_listens_any_more),
	    device_test(test_keep_alive),
	    device_test(test_silence),
	    device_test(test_silence_does_not_count_while_paused),
	    device_test(test_silence_does_not_count_without_room),
	    device_test(test_silence_while_written_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
