/*
 * A device that publishes at random, for simulated minutes, through a flow
 * whose caller does as its header says: what the cloud gets stays below the
 * limits in every second, in order; nothing is lost without being counted; and
 * what was announced for a time goes at that time.
 *
 * TEST_SEED in the environment, or 1, is what the random numbers begin with.
 */
#include "session/flow.h"

#include "codec/sliding.h"
#include "session/flow_queue.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

enum {
	ROUNDS = 2000,
	ROUND_MS = 120 * 1000,
	PACKET_MAX = 4000,
	WHOLE_MAX = 2000, /* what is longer comes in pieces */
	SENT_MAX = 64 * 1024,
	ACKS_MAX = 512,
	KEPT_MAX = 24 * 1000
};

/* What the cloud has got: bytes at a time, with which a packet begins or goes
   on. */
struct sent {
	uint64_t at_ms;
	uint64_t bytes;
	uint8_t qos;
	bool begins;
	bool is_giant; /* of a packet over bytes_per_second */
};

/* A packet of the device; its number, by QoS, are its first bytes. */
struct packet {
	uint8_t qos;
	uint64_t n;
	uint64_t number;
};

static struct world {
	struct loop *loop;
	struct flow flow;
	struct flow_limits limits;
	uint64_t now;
	/* the device */
	uint64_t next_ms; /* when it has a packet */
	bool blocked;     /* it has, and is not read */
	struct packet packet;
	uint64_t made[2], made_bytes[2];
	unsigned pause_ms; /* about so long from packet to packet */
	/* the cloud */
	struct sent sent[SENT_MAX];
	size_t sent_n;
	uint64_t passed[2];      /* packets */
	uint64_t highest[2];     /* the last number, and one */
	uint64_t acks[ACKS_MAX]; /* when PUBACKs come */
	uint32_t in_flight;
	uint64_t link_ms; /* the link has no room before */
	/* the rest of a packet in pieces */
	uint64_t rest;
	uint64_t piece_ms;
	bool rest_is_giant;
	bool rest_is_old; /* it was let in under other limits */
	bool changed;     /* the limits */
	size_t changed_n; /* how much was sent before */
	bool is_exact;    /* nothing but an announced time has come */
	/* lines */
	struct flow_counts told;
	uint64_t told_ms;
} w;

static struct totals {
	uint64_t sent, waits, queued, dropped, changes, giants, on_time;
} totals;

static uint64_t seed;

static uint64_t
below(uint64_t n)
{
	/* splitmix64 */
	uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % n;
}

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static bool
chance(unsigned percent)
{
	return below(100) < percent;
}

static struct flow_limits
random_limits(void)
{
	static const uint32_t rates[] = {0, 1, 3, 10, 30, 200};
	static const uint32_t sums[] = {0, 1000, 8000, 100000};
	static const uint32_t queues[] = {0, 200, 3000, 20000};

	return (struct flow_limits){
	    .qos0_per_second = rates[below(ARRAY_LENGTH(rates))],
	    .qos1_per_second = rates[below(ARRAY_LENGTH(rates))],
	    .bytes_per_second = sums[below(ARRAY_LENGTH(sums))],
	    .inflight_max = chance(50) ? 0 : (uint32_t)below(20),
	    .queue_max_bytes = queues[below(ARRAY_LENGTH(queues))],
	};
}

/* ---- what the cloud gets ---- */

/*
 * The last second, with what comes now, is within the limits. What passed under
 * others was no less than a second ago; only pieces of a packet go on at once.
 */
static void
check_window(bool begins)
{
	uint64_t packets[2] = {0, 0}, bytes = 0;
	bool has_giant = false;

	for (size_t i = w.sent_n; i-- > 0;) {
		const struct sent *s = &w.sent[i];

		if (w.now - s->at_ms > 1000 || (!begins && i < w.changed_n))
			break;
		if (s->begins)
			packets[s->qos]++;
		bytes += s->bytes;
		has_giant |= s->is_giant;
		if (has_giant && w.limits.bytes_per_second > 0)
			assert_true(s->is_giant); /* it goes alone */
	}
	if (w.limits.qos0_per_second > 0)
		assert_in_range(packets[0], 0, w.limits.qos0_per_second);
	if (w.limits.qos1_per_second > 0)
		assert_in_range(packets[1], 0, w.limits.qos1_per_second);
	if (w.limits.bytes_per_second > 0 && !has_giant &&
	    (begins || !w.rest_is_old))
		assert_in_range(bytes, 0, w.limits.bytes_per_second);
}

/* What goes at the time announced could not have gone a millisecond before: the
   window was full. Of bytes the unit tests say that. */
static void
check_was_full(uint8_t qos)
{
	uint32_t max =
	    qos == 0 ? w.limits.qos0_per_second : w.limits.qos1_per_second;
	uint32_t n = 0;

	if (!w.is_exact || w.limits.bytes_per_second > 0)
		return;
	for (size_t i = w.sent_n; i-- > 0;) {
		const struct sent *s = &w.sent[i];

		if (s->at_ms + SLIDING_WINDOW_MS <= w.now - 1)
			break;
		n += s->begins && s->qos == qos && s->at_ms < w.now;
	}
	assert_int_equal(n, max);
}

static void
arrive(uint8_t qos, uint64_t n, bool begins, bool is_giant)
{
	if (w.sent_n == SENT_MAX) { /* the last seconds are enough */
		memmove(w.sent, w.sent + SENT_MAX / 2,
		    SENT_MAX / 2 * sizeof(w.sent[0]));
		w.sent_n = SENT_MAX / 2;
		w.changed_n -=
		    w.changed_n < SENT_MAX / 2 ? w.changed_n : SENT_MAX / 2;
	}
	w.sent[w.sent_n++] = (struct sent){w.now, n, qos, begins, is_giant};
	check_window(begins);
}

/* A packet begins: none before it, of its QoS, is still to come. */
static void
arrive_first(uint8_t qos, uint64_t number, uint64_t n, uint64_t here)
{
	uint64_t max = w.limits.bytes_per_second;

	assert_int_equal(w.rest, 0);
	assert_true(number >= w.highest[qos]);
	if (qos == 1) /* none of these is ever lost */
		assert_int_equal(number, w.highest[1]);
	w.highest[qos] = number + 1;
	w.passed[qos]++;
	totals.sent++;
	check_was_full(qos);
	w.rest = n - here;
	w.rest_is_old = false;
	w.rest_is_giant = max > 0 && n > max;
	totals.giants += w.rest_is_giant;
	arrive(qos, here, true, w.rest_is_giant);
}

static void
send_piece(void)
{
	uint64_t n = 1 + below(w.rest);

	w.rest -= n;
	arrive(0, n, false, w.rest_is_giant);
	flow_piece(&w.flow, n, w.now);
	w.piece_ms = w.now + below(700);
}

static void
acknowledge_later(void)
{
	uint64_t delay = chance(90) ? below(400) : below(6000);

	assert_true(w.in_flight < ACKS_MAX);
	w.acks[w.in_flight++] = w.now + delay;
}

/* The PUBACKs whose time has come; true when there was one. */
static bool
take_acks(void)
{
	uint32_t before = w.in_flight;

	for (uint32_t i = 0; i < w.in_flight;)
		if (w.acks[i] <= w.now)
			w.acks[i] = w.acks[--w.in_flight];
		else
			i++;
	return w.in_flight < before;
}

/* ---- the caller ---- */

static bool
link_takes(void)
{
	return w.now >= w.link_ms && w.rest == 0;
}

/* Offers the device's packet; true when it has passed. */
static bool
offer(void)
{
	static uint8_t bytes[PACKET_MAX];
	const struct packet *k = &w.packet;
	uint64_t here = k->n <= WHOLE_MAX ? k->n : 1 + below(WHOLE_MAX);
	struct flow_publish p = {.qos = k->qos,
	    .bytes = k->n,
	    .packet = {bytes, (size_t)here},
	    .in_flight = w.in_flight};
	uint64_t queued = flow_queued(&w.flow);
	enum flow_verdict verdict;

	memcpy(bytes, &k->number, sizeof(k->number));
	verdict = flow_admit(&w.flow, &p, w.now);
	w.blocked = verdict == FLOW_WAIT;
	if (verdict == FLOW_TAKEN) {
		assert_int_equal(k->qos, 0);
		assert_int_equal(here, k->n);
		return false;
	}
	assert_int_equal(flow_queued(&w.flow), queued);
	if (verdict == FLOW_WAIT)
		return false;
	assert_true(k->qos == 1 || queued == 0);
	if (k->qos == 1 && w.limits.inflight_max > 0)
		assert_true(w.in_flight < w.limits.inflight_max);
	arrive_first(k->qos, k->number, k->n, here);
	if (w.rest > 0)
		w.piece_ms = w.now + below(700);
	if (k->qos == 1)
		acknowledge_later();
	return true;
}

/* Sends what may go of the queue; how many. */
static unsigned
send_queued(void)
{
	unsigned n = 0;
	struct span packet;

	while (link_takes()) {
		uint64_t number;

		packet = flow_next(&w.flow, w.now);
		if (packet.n == 0)
			break;
		memcpy(&number, packet.p, sizeof(number));
		arrive_first(0, number, packet.n, packet.n);
		flow_next_sent(&w.flow, w.now);
		n++;
	}
	return n;
}

static void
check_line(void)
{
	struct flow_summary s;

	if (!flow_summary(&w.flow, false, w.now, &s))
		return;
	assert_true(w.told_ms == 0 || w.now - w.told_ms >= FLOW_LINE_MS);
	w.told_ms = w.now;
	assert_int_equal(s.waits_now, w.blocked);
	assert_int_equal(s.queued_now, flow_queued(&w.flow));
	for (int qos = 0; qos < 2; qos++)
		for (int i = 0; i < FLOW_COUNT_KINDS; i++)
			w.told.of[qos][i] += s.since.of[qos][i];
}

static void
change_limits(void)
{
	w.limits = random_limits();
	w.changed = true;
	w.changed_n = w.sent_n;
	w.rest_is_giant = false;
	w.rest_is_old = true;
	flow_set_limits(&w.flow, &w.limits, w.now);
	totals.changes++;
}

/* Nothing is lost but what is counted, and the bounds hold. */
static void
check_account(void)
{
	struct flow_counts c = flow_counts(&w.flow, w.now);
	const uint64_t *of = c.of[0];
	uint64_t dropped = of[FLOW_DROPPED_FULL] + of[FLOW_DROPPED_NO_ROOM] +
			   of[FLOW_DROPPED_NO_MEMORY] + of[FLOW_DROPPED_ENDED];
	uint64_t waiting[2] = {0, 0};

	waiting[w.packet.qos] = w.blocked;
	assert_int_equal(w.made[0],
	    w.passed[0] + dropped + flow_queued(&w.flow) + waiting[0]);
	assert_int_equal(w.made[1], w.passed[1] + waiting[1]);
	assert_in_range(w.loop->kept_bytes, 0, w.limits.queue_max_bytes);
	assert_in_range(w.loop->kept_bytes, 0, KEPT_MAX);
	if (flow_queued(&w.flow) == 0)
		assert_int_equal(w.loop->kept_bytes, 0);
}

/* ---- time ---- */

static void
make_packet(void)
{
	uint8_t qos = chance(40);
	uint64_t n = chance(95) ? 8 + below(300) : 8 + below(PACKET_MAX - 8);

	w.packet = (struct packet){qos, n, w.made[qos]++};
	w.made_bytes[qos] += n;
	if (chance(2)) /* a burst, a trickle */
		w.pause_ms = chance(50) ? 2 : 1 + (unsigned)below(400);
	w.next_ms = w.now + below(2 * (uint64_t)w.pause_ms);
}

/* When anything happens next; *timer: when the caller's timer is over. */
static uint64_t
next_event(uint64_t *timer)
{
	uint64_t wait = flow_wait_ms(&w.flow, w.now);
	uint64_t next = w.blocked ? FLOW_NEVER : w.next_ms;

	*timer = FLOW_NEVER;
	if (w.rest > 0) { /* nothing else until it has passed */
		next = w.piece_ms;
	} else if (w.now < w.link_ms) {
		next = w.link_ms;
	} else if (wait != FLOW_NEVER) {
		*timer = w.now + wait;
		next = sooner(next, *timer);
	}
	for (uint32_t i = 0; i < w.in_flight; i++)
		next = sooner(next, w.acks[i]);
	return next > w.now ? next : w.now;
}

/* Everything that is due now, as flow.h tells the caller to. */
static void
turn(bool on_time)
{
	uint64_t told_ms = w.told_ms;
	bool acked = take_acks();
	unsigned went = 0;

	if (w.rest > 0 && w.now >= w.piece_ms)
		send_piece();
	w.is_exact = on_time && !acked && !w.changed;
	if (link_takes()) {
		went = send_queued();
		if (w.blocked && link_takes()) {
			went += offer();
			totals.waits += w.blocked;
		}
	}
	w.is_exact = false;
	check_line();
	if (on_time) { /* what was announced */
		assert_true(went > 0 || acked || w.told_ms != told_ms);
		totals.on_time += went;
	}
	while (!w.blocked && link_takes() && w.now >= w.next_ms) {
		make_packet();
		(void)offer();
	}
}

static void
begin_round(void)
{
	struct loop *loop = w.loop;

	memset(&w, 0, sizeof(w));
	w.loop = loop;
	w.now = 1 + below(1000000);
	w.pause_ms = 1 + (unsigned)below(100);
	w.limits = random_limits();
	flow_init(&w.flow, w.loop, &w.limits);
}

/* Nothing comes from the device any more: all of it gets through. */
static void
finish(void)
{
	uint64_t end = w.now + UINT64_C(3600) * 1000;

	w.next_ms = FLOW_NEVER;
	while (w.blocked || w.rest > 0 || flow_queued(&w.flow) > 0) {
		uint64_t timer, next = next_event(&timer);

		assert_true(next < end);
		w.now = next;
		turn(next == timer);
		check_account();
	}
}

static void
check_end(void)
{
	struct flow_counts c = flow_counts(&w.flow, w.now);
	struct flow_summary s;

	if (flow_summary(&w.flow, true, w.now, &s))
		for (int qos = 0; qos < 2; qos++)
			for (int i = 0; i < FLOW_COUNT_KINDS; i++)
				w.told.of[qos][i] += s.since.of[qos][i];
	for (int qos = 0; qos < 2; qos++)
		for (int i = FLOW_WAITED; i < FLOW_COUNT_KINDS; i++)
			assert_int_equal(w.told.of[qos][i], c.of[qos][i]);
	totals.queued += c.of[0][FLOW_QUEUED];
	totals.dropped += w.made[0] - w.passed[0];
	flow_free(&w.flow);
	assert_int_equal(w.loop->kept_bytes, 0);
}

static void
round_of(bool changes)
{
	uint64_t end;

	begin_round();
	end = w.now + ROUND_MS;
	while (w.now < end) {
		uint64_t timer, next = next_event(&timer);
		bool late = chance(10);

		assert_true(next < FLOW_NEVER);
		w.now = next + (late ? below(300) : 0);
		turn(!late && next == timer);
		check_account();
		if (changes && chance(1) && chance(20)) {
			change_limits();
			turn(false);
		}
		if (chance(1))
			w.link_ms = w.now + below(2000);
	}
	finish();
	check_end();
}

static void
run(bool changes)
{
	w.loop = loop_new(KEPT_MAX);
	assert_non_null(w.loop);
	memset(&totals, 0, sizeof(totals));
	for (int i = 0; i < ROUNDS; i++)
		round_of(changes);
	loop_free(&w.loop);
	print_message("%llu packets sent, %llu of them when announced, %llu"
		      " queued, %llu dropped, %llu over the bytes of a second;"
		      " waited on %llu times; %llu changes\n",
	    (unsigned long long)totals.sent, (unsigned long long)totals.on_time,
	    (unsigned long long)totals.queued,
	    (unsigned long long)totals.dropped,
	    (unsigned long long)totals.giants, (unsigned long long)totals.waits,
	    (unsigned long long)totals.changes);
	/* it has been about something */
	assert_true(totals.on_time > 10000 && totals.queued > 10000 &&
		    totals.dropped > 1000 && totals.giants > 10);
	assert_int_equal(totals.changes > 0, changes);
}

static void
test_same_limits(void **state)
{
	(void)state;
	run(false);
}

static void
test_changing_limits(void **state)
{
	(void)state;
	run(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_same_limits),
	    cmocka_unit_test(test_changing_limits),
	};
	const char *text = getenv("TEST_SEED");

	seed = text != NULL ? strtoul(text, NULL, 10) : 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
