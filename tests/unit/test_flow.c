/* To be linked with -Wl,--wrap= calloc and malloc. */
#include "session/flow.h"

#include "codec/sliding.h"
#include "session/flow_queue.h"

#include "unit.h"

#include <stdlib.h>

enum {
	W = SLIDING_WINDOW_MS,
	BUCKETS_MS = SLIDING_BUCKETS * SLIDING_BUCKET_MS,
	START_MS = 1000000, /* where a bucket begins */
	KEPT_MAX = 100 * 1000,
	BIG = 200 * 1000
};

static int memory_left = -1; /* calls until there is none; -1: there is */
static unsigned calls;

void *__real_calloc(size_t count, size_t n);
void *__real_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_malloc(size_t n);

static bool
has_memory(void)
{
	calls++;
	if (memory_left > 0)
		memory_left--;
	return memory_left != 0;
}

void *
__wrap_calloc(size_t count, size_t n)
{
	return has_memory() ? __real_calloc(count, n) : NULL;
}

void *
__wrap_malloc(size_t n)
{
	return has_memory() ? __real_malloc(n) : NULL;
}

static struct loop *loop;
static struct flow flow;
static uint64_t now;
static uint32_t in_flight;
static uint8_t bytes[BIG]; /* of every packet; the first is its number */

static int
set_up(void **state)
{
	(void)state;
	memory_left = -1;
	now = START_MS;
	in_flight = 0;
	loop = loop_new(KEPT_MAX);
	return loop != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
	(void)state;
	memory_left = -1;
	flow_free(&flow);
	flow_free(&flow);
	assert_int_equal(loop->kept_bytes, 0);
	loop_free(&loop);
	return 0;
}

static void
begin(struct flow_limits limits)
{
	flow_init(&flow, loop, &limits);
}

static void
change(struct flow_limits limits)
{
	flow_set_limits(&flow, &limits, now);
}

/* A PUBLISH of <n> bytes, of which <here> are here, as packet <number>. */
static enum flow_verdict
offer_piece(uint8_t number, uint8_t qos, uint64_t n, size_t here)
{
	struct flow_publish p = {.qos = qos,
	    .bytes = n,
	    .packet = {bytes, here},
	    .in_flight = in_flight};

	bytes[0] = number;
	return flow_admit(&flow, &p, now);
}

static enum flow_verdict
offer(uint8_t number, uint8_t qos, size_t n)
{
	return offer_piece(number, qos, n, n);
}

static uint64_t
wait_ms(void)
{
	return flow_wait_ms(&flow, now);
}

/* The line that is due at once when there is something to tell. */
static void
swallow_line(void)
{
	struct flow_summary s;

	assert_int_equal(wait_ms(), 0);
	assert_true(flow_summary(&flow, false, now, &s));
}

static uint64_t
count(uint8_t qos, enum flow_count kind)
{
	return flow_counts(&flow, now).of[qos][kind];
}

/* Sends what is due of the queue: <numbers>, as text. */
#define expect_next(numbers)                                                   \
	do {                                                                   \
		char got_[64];                                                 \
		size_t n_ = 0;                                                 \
		struct span packet_;                                           \
                                                                               \
		while ((packet_ = flow_next(&flow, now)).n > 0) {              \
			got_[n_++] = (char)packet_.p[0];                       \
			flow_next_sent(&flow, now);                            \
		}                                                              \
		got_[n_] = '\0';                                               \
		assert_string_equal(got_, numbers);                            \
	} while (0)

static void
test_without_limits_nothing_is_kept(void **state)
{
	unsigned before;

	(void)state;
	begin((struct flow_limits){.queue_max_bytes = 1000});
	assert_false(flow_is_on(&flow));
	before = calls;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(offer('a', i % 2 == 1, 100), FLOW_PASS);
	assert_int_equal(offer_piece('a', 1, BIG, 1000), FLOW_PASS);
	flow_piece(&flow, BIG - 1000, now);
	assert_int_equal(calls, before);
	assert_true(wait_ms() == FLOW_NEVER);
	assert_int_equal(flow_next(&flow, now).n, 0);
	assert_int_equal(count(0, FLOW_SENT), 0);
	flow_end(&flow, now);
}

static void
test_idle_under_limits_owns_nothing(void **state)
{
	struct flow_summary s;
	unsigned before = calls;

	(void)state;
	begin((struct flow_limits){10, 10, 10, 10, 10});
	assert_true(flow_is_on(&flow));
	assert_true(wait_ms() == FLOW_NEVER);
	assert_int_equal(flow_puback_wait_ms(&flow, now), 0);
	assert_false(flow_summary(&flow, true, now, &s));
	change((struct flow_limits){20, 20, 20, 20, 20});
	assert_int_equal(calls, before);
}

static void
test_qos1_is_slowed(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos1_per_second = 2});
	assert_int_equal(offer('a', 1, 10), FLOW_PASS);
	now += 300;
	assert_int_equal(offer('b', 1, 10), FLOW_PASS);
	assert_true(wait_ms() == FLOW_NEVER);
	assert_int_equal(offer('c', 1, 10), FLOW_WAIT);
	swallow_line();
	assert_int_equal(wait_ms(), W - 300);
	now += W - 301;
	assert_int_equal(offer('c', 1, 10), FLOW_WAIT);
	assert_int_equal(wait_ms(), 1);
	now++;
	assert_int_equal(wait_ms(), 0);
	assert_int_equal(offer('c', 1, 10), FLOW_PASS);
	assert_int_equal(offer('d', 1, 10), FLOW_WAIT);
	assert_int_equal(wait_ms(), 300);
	/* QoS 0 has a limit of its own, here none */
	assert_int_equal(offer('e', 0, 10), FLOW_PASS);
	assert_int_equal(count(1, FLOW_SENT), 3);
	assert_int_equal(count(1, FLOW_SENT_BYTES), 30);
	assert_int_equal(count(0, FLOW_SENT), 1);
}

static void
test_one_a_second(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos0_per_second = 1, .qos1_per_second = 1});
	for (int i = 0; i < 5; i++) {
		assert_int_equal(offer('a', 0, 10), FLOW_PASS);
		assert_int_equal(offer('b', 1, 10), FLOW_PASS);
		now += W - 1;
		assert_int_equal(offer('c', 1, 10), FLOW_WAIT);
		assert_int_equal(offer('c', 0, 10), FLOW_WAIT);
		now++;
	}
}

static void
test_qos0_is_queued_in_order(void **state)
{
	(void)state;
	begin((struct flow_limits){
	    .qos0_per_second = 2, .queue_max_bytes = 1000});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	now += 100;
	assert_int_equal(offer('b', 0, 10), FLOW_PASS);
	assert_int_equal(offer('c', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer('d', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer('e', 0, 10), FLOW_TAKEN);
	assert_int_equal(flow_queued(&flow), 3);
	assert_int_equal(loop->kept_bytes, 3 * flow_queue_cost(10));
	expect_next("");
	swallow_line();
	assert_int_equal(wait_ms(), W - 100);
	now += W - 100;
	/* none overtakes, though it could go */
	assert_int_equal(offer('f', 0, 10), FLOW_TAKEN);
	assert_int_equal(wait_ms(), 0);
	expect_next("c");
	assert_int_equal(wait_ms(), 100);
	now += 5 * W; /* the timer is late: still not more than two at once */
	expect_next("de");
	assert_int_equal(wait_ms(), W);
	now += W;
	expect_next("f");
	assert_int_equal(loop->kept_bytes, 0);
	assert_int_equal(offer('g', 0, 10), FLOW_PASS);
	assert_int_equal(count(0, FLOW_QUEUED), 4);
	assert_int_equal(count(0, FLOW_SENT), 7);
}

static void
test_the_oldest_are_dropped(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos0_per_second = 1,
	    .queue_max_bytes = (uint32_t)(3 * flow_queue_cost(10))});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	for (uint8_t i = 'b'; i <= 'f'; i++)
		assert_int_equal(offer(i, 0, 10), FLOW_TAKEN);
	assert_int_equal(flow_queued(&flow), 3);
	assert_int_equal(loop->kept_bytes, 3 * flow_queue_cost(10));
	assert_int_equal(count(0, FLOW_DROPPED_FULL), 2);
	assert_int_equal(count(0, FLOW_DROPPED_BYTES), 20);
	/* one byte more, and two have to make room */
	assert_int_equal(offer('g', 0, 11), FLOW_TAKEN);
	assert_int_equal(flow_queued(&flow), 2);
	now += W;
	expect_next("f");
	now += W;
	expect_next("g");
}

static void
test_too_big_for_the_queue(void **state)
{
	size_t big = 1001 - (size_t)flow_queue_cost(0);

	(void)state;
	begin((struct flow_limits){
	    .qos0_per_second = 1, .queue_max_bytes = 1000});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	assert_int_equal(offer('b', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer('c', 0, big), FLOW_WAIT);
	swallow_line();
	assert_int_equal(wait_ms(), W);
	now += W;
	/* not before what is queued */
	assert_int_equal(offer('c', 0, big), FLOW_WAIT);
	expect_next("b");
	assert_int_equal(offer('c', 0, big), FLOW_WAIT);
	assert_int_equal(wait_ms(), W);
	now += W;
	assert_int_equal(offer('c', 0, big), FLOW_PASS);
	assert_int_equal(count(0, FLOW_WAITED), 1);
	assert_int_equal(count(0, FLOW_WAITED_MS), 2 * W);
	/* one byte less fits */
	assert_int_equal(offer('d', 0, big - 1), FLOW_TAKEN);
	/* one that is not all here cannot be kept, however small it is */
	assert_int_equal(offer_piece('e', 0, 100, 99), FLOW_WAIT);
}

static void
test_without_queue_qos0_waits(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos0_per_second = 1});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	assert_int_equal(offer('b', 0, 10), FLOW_WAIT);
	swallow_line();
	assert_int_equal(wait_ms(), W);
	assert_int_equal(loop->kept_bytes, 0);
}

/* START_MS is the start of a bucket: what is sent then is forgotten
   BUCKETS_MS later. */
static void
test_bytes_count_for_both(void **state)
{
	(void)state;
	begin((struct flow_limits){
	    .bytes_per_second = 100, .queue_max_bytes = 1000});
	assert_int_equal(offer('a', 0, 60), FLOW_PASS);
	assert_int_equal(offer('b', 1, 40), FLOW_PASS);
	assert_int_equal(offer('c', 1, 1), FLOW_WAIT);
	swallow_line();
	assert_int_equal(wait_ms(), BUCKETS_MS);
	now += BUCKETS_MS;
	assert_int_equal(offer('c', 1, 1), FLOW_PASS);
	assert_int_equal(offer('d', 0, 100), FLOW_TAKEN);
	assert_int_equal(wait_ms(), BUCKETS_MS);
}

static void
test_the_queue_has_the_bytes_first(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos0_per_second = 1,
	    .bytes_per_second = 100,
	    .queue_max_bytes = 1000});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	assert_int_equal(offer('b', 0, 50), FLOW_TAKEN);
	assert_int_equal(offer('c', 0, 20), FLOW_TAKEN);
	/* 10 sent, 50 for the head: 40 may overtake */
	assert_int_equal(offer('d', 1, 41), FLOW_WAIT);
	swallow_line();
	assert_int_equal(wait_ms(), W); /* the head, by its count */
	assert_int_equal(offer('d', 1, 40), FLOW_PASS);
	now += BUCKETS_MS;
	expect_next("b");
	/* 50 sent, 20 for the head */
	assert_int_equal(offer('e', 1, 31), FLOW_WAIT);
	now += BUCKETS_MS;
	assert_int_equal(offer('e', 1, 31), FLOW_PASS);
	expect_next("c");
}

/* Where both do not fit into a window, QoS 1 has to wait for the queue. */
static void
test_qos1_that_leaves_no_room(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos0_per_second = 1,
	    .bytes_per_second = 100,
	    .queue_max_bytes = 1000});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	assert_int_equal(offer('b', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer('c', 0, 200), FLOW_TAKEN);
	now += BUCKETS_MS;
	assert_int_equal(offer('d', 1, 91), FLOW_WAIT);
	swallow_line();
	assert_int_equal(wait_ms(), 0);
	expect_next("b");
	/* nor does it go with a head that is over the limit itself */
	assert_int_equal(offer('d', 1, 1), FLOW_WAIT);
	assert_int_equal(wait_ms(), BUCKETS_MS);
	now += BUCKETS_MS;
	expect_next("c");
	assert_int_equal(offer('d', 1, 91), FLOW_WAIT);
	assert_int_equal(wait_ms(), 2 * W);
	now += 2 * W;
	assert_int_equal(offer('d', 1, 91), FLOW_PASS);
}

static void
test_in_flight(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos1_per_second = 10, .inflight_max = 2});
	assert_int_equal(offer('a', 1, 10), FLOW_PASS);
	in_flight = 1;
	assert_int_equal(offer('b', 1, 10), FLOW_PASS);
	in_flight = 2;
	assert_int_equal(offer('c', 1, 10), FLOW_WAIT);
	swallow_line();
	assert_int_equal(flow_puback_wait_ms(&flow, now), 1);
	now += 5000;
	assert_int_equal(offer('c', 1, 10), FLOW_WAIT);
	/* no time will help; but the log may be told again */
	assert_int_equal(wait_ms(), FLOW_LINE_MS - 5000);
	assert_int_equal(flow_puback_wait_ms(&flow, now), 5000);
	assert_int_equal(offer('d', 0, 10), FLOW_PASS);
	in_flight = 1;
	assert_int_equal(offer('c', 1, 10), FLOW_PASS);
	assert_int_equal(flow_puback_wait_ms(&flow, now), 0);
	assert_int_equal(count(1, FLOW_WAITED), 1);
	assert_int_equal(count(1, FLOW_WAITED_MS), 5000);
}

/* First the rate was over, then too many were in flight. */
static void
test_waits_for_one_then_for_the_other(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos1_per_second = 1, .inflight_max = 1});
	assert_int_equal(offer('a', 1, 10), FLOW_PASS);
	assert_int_equal(offer('b', 1, 10), FLOW_WAIT);
	swallow_line();
	now += W;
	assert_int_equal(flow_puback_wait_ms(&flow, now), 0);
	in_flight = 1;
	assert_int_equal(offer('b', 1, 10), FLOW_WAIT);
	now += 70;
	assert_int_equal(flow_puback_wait_ms(&flow, now), 70);
	in_flight = 0;
	assert_int_equal(offer('b', 1, 10), FLOW_PASS);
	assert_int_equal(count(1, FLOW_WAITED_MS), W + 70);
}

static void
test_a_packet_in_pieces(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos0_per_second = 1,
	    .bytes_per_second = 1000,
	    .queue_max_bytes = 1000});
	assert_int_equal(offer('a', 0, 100), FLOW_PASS);
	assert_int_equal(offer('b', 0, 100), FLOW_TAKEN);
	swallow_line();
	/* as a whole: 801 would leave no room for b */
	assert_int_equal(offer_piece('c', 1, 801, 10), FLOW_WAIT);
	assert_int_equal(offer_piece('c', 1, 800, 10), FLOW_PASS);
	now += 2 * W;
	expect_next(""); /* not amid the packet */
	assert_int_equal(wait_ms(), FLOW_LINE_MS - 2 * W);
	flow_piece(&flow, 290, now);
	expect_next("");
	now += 500;
	flow_piece(&flow, 500, now);
	assert_int_equal(wait_ms(), 0);
	expect_next("b");
	/* its bytes count from when they were sent */
	assert_int_equal(offer('d', 1, 111), FLOW_WAIT);
	assert_int_equal(offer('d', 1, 110), FLOW_PASS);
	assert_int_equal(count(1, FLOW_SENT_BYTES), 910);
}

static void
test_over_the_bytes_of_a_second(void **state)
{
	(void)state;
	begin((struct flow_limits){.bytes_per_second = 1000});
	assert_int_equal(offer('a', 1, 1), FLOW_PASS);
	assert_int_equal(offer_piece('b', 1, BIG, 100), FLOW_WAIT);
	swallow_line();
	assert_int_equal(wait_ms(), BUCKETS_MS); /* it goes alone */
	now += BUCKETS_MS;
	assert_int_equal(offer_piece('b', 1, BIG, 100), FLOW_PASS);
	flow_piece(&flow, BIG - 100, now);
	assert_int_equal(offer('c', 0, 1), FLOW_WAIT);
	now += BIG / 1000 * W - 1;
	assert_int_equal(offer('c', 0, 1), FLOW_WAIT);
	swallow_line();
	assert_int_equal(wait_ms(), 1);
	now++;
	assert_int_equal(offer('c', 0, 1), FLOW_PASS);
}

static void
test_a_rate_changes(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos0_per_second = 1,
	    .qos1_per_second = 5,
	    .queue_max_bytes = 1000});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	assert_int_equal(offer('b', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer('c', 0, 10), FLOW_TAKEN);
	swallow_line();
	now += 500;
	/* of what has passed, nobody knows any more */
	change((struct flow_limits){.qos0_per_second = 3,
	    .qos1_per_second = 5,
	    .queue_max_bytes = 1000});
	assert_int_equal(wait_ms(), W);
	assert_int_equal(offer('d', 1, 10), FLOW_WAIT);
	now += W - 1;
	expect_next("");
	now++;
	expect_next("bc");
	assert_int_equal(offer('d', 1, 10), FLOW_PASS);
	assert_int_equal(offer('e', 0, 10), FLOW_PASS);
	assert_int_equal(offer('f', 0, 10), FLOW_TAKEN);
	/* what is the same holds nobody up; but the queue is smaller now */
	change((struct flow_limits){.qos0_per_second = 3,
	    .qos1_per_second = 5,
	    .inflight_max = 3,
	    .queue_max_bytes = 1});
	assert_int_equal(offer('g', 1, 10), FLOW_PASS);
	assert_int_equal(flow_queued(&flow), 0);
	assert_int_equal(count(0, FLOW_DROPPED_FULL), 1);
}

static void
test_limits_come_and_go(void **state)
{
	(void)state;
	begin((struct flow_limits){.queue_max_bytes = 1000});
	assert_int_equal(offer('a', 1, 10), FLOW_PASS); /* uncounted */
	change((struct flow_limits){
	    .qos0_per_second = 1, .queue_max_bytes = 1000});
	assert_int_equal(offer('b', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer('c', 0, 10), FLOW_TAKEN);
	swallow_line();
	assert_int_equal(wait_ms(), W);
	now += W;
	expect_next("b");
	assert_int_equal(offer('d', 1, 10), FLOW_PASS);
	change((struct flow_limits){.queue_max_bytes = 1000});
	assert_int_equal(wait_ms(), 0);
	assert_int_equal(offer('e', 0, 10), FLOW_TAKEN); /* still in order */
	expect_next("ce");
	for (int i = 0; i < 100; i++)
		assert_int_equal(offer('f', i % 2 == 1, 10), FLOW_PASS);
}

/* What has passed uncounted stays so when a limit comes that is no rate. */
static void
test_a_rate_comes_after_another_limit(void **state)
{
	(void)state;
	begin((struct flow_limits){0});
	assert_int_equal(offer('a', 1, 10), FLOW_PASS);
	change((struct flow_limits){.inflight_max = 5});
	change((struct flow_limits){.qos1_per_second = 1, .inflight_max = 5});
	now += W - 1;
	assert_int_equal(offer('b', 1, 10), FLOW_WAIT);
	now++;
	assert_int_equal(offer('b', 1, 10), FLOW_PASS);
}

/* A packet that waits may go when its limit is gone. */
static void
test_a_limit_goes_under_a_waiting_packet(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos1_per_second = 1, .inflight_max = 1});
	in_flight = 1;
	assert_int_equal(offer('a', 1, 10), FLOW_WAIT);
	swallow_line();
	now += 10;
	change((struct flow_limits){0});
	assert_int_equal(offer('a', 1, 10), FLOW_PASS);
	assert_int_equal(count(1, FLOW_WAITED_MS), 10);
	/* nor do pieces that begin under one limit and end under another */
	assert_int_equal(offer_piece('b', 1, 100, 10), FLOW_PASS);
	change((struct flow_limits){.bytes_per_second = 50});
	flow_piece(&flow, 90, now);
	now += W + BUCKETS_MS;
	assert_int_equal(offer('c', 0, 10), FLOW_PASS);
}

static void
test_time_jumps(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos0_per_second = 2,
	    .bytes_per_second = 20,
	    .queue_max_bytes = 1000});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	now += UINT64_C(1) << 40;
	for (uint8_t i = 'b'; i < 'h'; i++)
		assert_int_equal(
		    offer(i, 0, 10), i < 'd' ? FLOW_PASS : FLOW_TAKEN);
	now += UINT64_C(1) << 40;
	expect_next("de");
	assert_int_equal(flow_wait_ms(&flow, now + (UINT64_C(1) << 40)), 0);
}

static void
test_the_worker_has_no_room(void **state)
{
	size_t share = KEPT_MAX / 2; /* LOOP_FOR_LATER */

	(void)state;
	begin((struct flow_limits){
	    .qos0_per_second = 1, .queue_max_bytes = KEPT_MAX});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	loop_count(loop, share - 2 * (size_t)flow_queue_cost(10));
	assert_int_equal(offer('b', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer('c', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer('d', 0, 10), FLOW_TAKEN); /* for b */
	assert_int_equal(loop->kept_bytes, share);
	assert_int_equal(flow_queued(&flow), 2);
	/* one that no dropping makes room for is dropped itself */
	assert_int_equal(offer('e', 0, 500), FLOW_TAKEN);
	assert_int_equal(flow_queued(&flow), 0);
	assert_int_equal(count(0, FLOW_DROPPED_NO_ROOM), 4);
	assert_int_equal(count(0, FLOW_DROPPED_BYTES), 530);
	assert_int_equal(count(0, FLOW_QUEUED), 4);
	loop_uncount(loop, share - 2 * (size_t)flow_queue_cost(10));
}

static void
test_without_memory(void **state)
{
	struct flow_limits limits = {1, 1, 0, 0, 1000};

	(void)state;
	begin(limits);
	for (memory_left = 1; memory_left < 3;) { /* its state, its ring */
		int before = memory_left;

		assert_int_equal(offer('a', 0, 10), FLOW_WAIT);
		assert_int_equal(wait_ms(), W);
		memory_left = before + 1;
	}
	memory_left = -1;
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	assert_true(wait_ms() == FLOW_NEVER);
	memory_left = 1; /* for a packet in the queue */
	assert_int_equal(offer('b', 0, 10), FLOW_TAKEN);
	assert_int_equal(flow_queued(&flow), 0);
	assert_int_equal(count(0, FLOW_DROPPED_NO_MEMORY), 1);
	swallow_line();
	memory_left = -1;
	/* for a ring of another size: what is queued cannot be counted */
	assert_int_equal(offer('c', 0, 10), FLOW_TAKEN);
	limits.qos0_per_second = 2;
	memory_left = 1;
	change(limits);
	assert_int_equal(flow_queued(&flow), 0);
	assert_int_equal(count(0, FLOW_DROPPED_NO_MEMORY), 2);
	/* and a packet that waited for its time, then for memory */
	assert_int_equal(offer('d', 1, 10), FLOW_WAIT);
	assert_int_equal(wait_ms(), W);
	memory_left = -1;
	assert_int_equal(offer('d', 1, 10), FLOW_WAIT);
	now += W;
	assert_int_equal(offer('d', 1, 10), FLOW_PASS);
	memory_left = 1;
	change((struct flow_limits){1, 2, 0, 0, 1000});
	now += 2 * W;
	assert_int_equal(offer('e', 1, 10), FLOW_WAIT);
	flow_end(&flow, now);
	assert_int_equal(wait_ms(), FLOW_LINE_MS - 3 * W);
}

static void
test_a_line_a_minute(void **state)
{
	struct flow_summary s;

	(void)state;
	begin((struct flow_limits){.qos0_per_second = 1,
	    .qos1_per_second = 1,
	    .queue_max_bytes = (uint32_t)flow_queue_cost(10)});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	assert_int_equal(offer('b', 1, 10), FLOW_PASS);
	assert_false(flow_summary(&flow, false, now, &s));
	assert_int_equal(offer('c', 0, 10), FLOW_TAKEN);
	assert_int_equal(wait_ms(), 0); /* the first is told at once */
	assert_true(flow_summary(&flow, false, now, &s));
	assert_int_equal(s.since.of[0][FLOW_SENT], 1);
	assert_int_equal(s.since.of[0][FLOW_QUEUED], 1);
	assert_int_equal(s.since.of[1][FLOW_SENT], 1);
	assert_int_equal(s.queued_now, 1);
	assert_false(s.waits_now);
	assert_int_equal(offer('d', 0, 10), FLOW_TAKEN);
	now += 100;
	assert_int_equal(offer('e', 1, 20), FLOW_WAIT);
	now += W;
	expect_next("d");
	now += FLOW_LINE_MS - W - 101;
	assert_false(flow_summary(&flow, false, now, &s));
	assert_int_equal(wait_ms(), 0); /* e may go */
	now++;
	assert_true(flow_summary(&flow, false, now, &s));
	assert_int_equal(s.since.of[0][FLOW_SENT], 1);
	assert_int_equal(s.since.of[0][FLOW_QUEUED], 1);
	assert_int_equal(s.since.of[0][FLOW_DROPPED_FULL], 1);
	assert_int_equal(s.since.of[0][FLOW_DROPPED_BYTES], 10);
	assert_int_equal(s.since.of[1][FLOW_SENT], 0);
	assert_int_equal(s.since.of[1][FLOW_WAITED], 1);
	assert_int_equal(s.since.of[1][FLOW_WAITED_MS], FLOW_LINE_MS - 100);
	assert_int_equal(s.queued_now, 0);
	assert_true(s.waits_now);
	now += 50;
	assert_int_equal(offer('e', 1, 20), FLOW_PASS);
	assert_false(flow_summary(&flow, false, now, &s));
	/* the rest, at the end */
	assert_true(flow_summary(&flow, true, now, &s));
	assert_int_equal(s.since.of[1][FLOW_SENT], 1);
	assert_int_equal(s.since.of[1][FLOW_SENT_BYTES], 20);
	assert_int_equal(s.since.of[1][FLOW_WAITED], 0);
	assert_int_equal(s.since.of[1][FLOW_WAITED_MS], 50);
	assert_false(s.waits_now);
	assert_false(flow_summary(&flow, true, now, &s));
	assert_true(wait_ms() == FLOW_NEVER);
	assert_int_equal(count(1, FLOW_WAITED_MS), FLOW_LINE_MS - 50);
}

/* The next session of the device goes on with the same windows. */
static void
test_the_session_ends(void **state)
{
	struct flow_summary s;

	(void)state;
	begin((struct flow_limits){.qos0_per_second = 1,
	    .qos1_per_second = 1,
	    .queue_max_bytes = 1000});
	assert_int_equal(offer('a', 0, 10), FLOW_PASS);
	assert_int_equal(offer('b', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer_piece('c', 1, 100, 10), FLOW_PASS);
	flow_end(&flow, now);
	assert_int_equal(loop->kept_bytes, 0);
	assert_true(flow_summary(&flow, true, now, &s));
	assert_int_equal(s.since.of[0][FLOW_DROPPED_ENDED], 1);
	assert_int_equal(s.since.of[0][FLOW_DROPPED_BYTES], 10);
	now += W - 1;
	assert_int_equal(offer('d', 0, 10), FLOW_TAKEN);
	assert_int_equal(offer('e', 1, 10), FLOW_WAIT);
	assert_int_equal(wait_ms(), 1);
	flow_end(&flow, now);
	assert_int_equal(wait_ms(), FLOW_LINE_MS - W + 1);
	now++;
	assert_int_equal(offer('f', 0, 10), FLOW_PASS);
	assert_int_equal(offer('g', 1, 10), FLOW_PASS);
	assert_int_equal(offer('h', 0, 10), FLOW_TAKEN); /* freed with it */
}

static void
test_words(void **state)
{
	(void)state;
	assert_string_equal(flow_count_word(FLOW_SENT), "sent");
	assert_string_equal(
	    flow_count_word(FLOW_DROPPED_BYTES), "dropped_bytes");
}

#define FLOW_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- while the link is lost, and after ---- */

static void
test_held(void **state)
{
	(void)state;
	begin((struct flow_limits){.queue_max_bytes = BIG});
	assert_int_equal(offer('0', 0, 10), FLOW_PASS);
	assert_false(flow_is_on(&flow));
	flow_hold(&flow, true);
	assert_true(flow_is_on(&flow));
	for (uint8_t i = '1'; i < '4'; i++)
		assert_int_equal(offer(i, 0, 10), FLOW_TAKEN);
	assert_int_equal(flow_queued(&flow), 3);
	expect_next("");
	/* what is not all here does not wait either */
	assert_int_equal(offer_piece('4', 0, 100, 10), FLOW_TAKEN);
	assert_int_equal(count(0, FLOW_DROPPED_HELD), 1);
	assert_int_equal(count(0, FLOW_DROPPED_BYTES), 100);
	swallow_line();
	assert_true(wait_ms() > 1000);
	flow_hold(&flow, false);
	assert_int_equal(wait_ms(), 0);
	/* no other before */
	assert_int_equal(offer('5', 0, 10), FLOW_TAKEN);
	expect_next("1235");
	assert_int_equal(offer('6', 0, 10), FLOW_PASS);
}

/* What had begun to pass goes nowhere. */
static void
test_held_in_a_packet(void **state)
{
	(void)state;
	begin(
	    (struct flow_limits){.qos0_per_second = 1, .queue_max_bytes = BIG});
	assert_int_equal(offer_piece('1', 0, 100, 10), FLOW_PASS);
	assert_int_equal(offer('2', 0, 10), FLOW_TAKEN);
	flow_hold(&flow, true);
	now += W;
	expect_next("");
	flow_hold(&flow, false);
	expect_next("2");
}

static void
test_held_without_a_queue(void **state)
{
	(void)state;
	begin((struct flow_limits){0});
	flow_hold(&flow, true);
	assert_int_equal(offer('1', 0, 10), FLOW_TAKEN);
	assert_int_equal(count(0, FLOW_DROPPED_HELD), 1);
	assert_int_equal(flow_queued(&flow), 0);
}

static void
test_sent_again(void **state)
{
	(void)state;
	begin((struct flow_limits){.qos1_per_second = 2, .inflight_max = 3});
	assert_int_equal(flow_repeat_wait_ms(&flow, 10, 0, now), 0);
	assert_int_equal(flow_repeat_wait_ms(&flow, 10, 3, now), FLOW_NEVER);
	flow_repeat(&flow, 10, now);
	flow_repeat(&flow, 10, now);
	assert_int_equal(flow_repeat_wait_ms(&flow, 10, 2, now), W);
	/* one limit for them and for what is new */
	assert_int_equal(offer('1', 1, 10), FLOW_WAIT);
	now += W;
	assert_int_equal(flow_repeat_wait_ms(&flow, 10, 2, now), 0);
	assert_int_equal(count(1, FLOW_SENT), 2);
	assert_int_equal(count(1, FLOW_SENT_BYTES), 20);
}

static void
test_sent_again_after_other_limits(void **state)
{
	(void)state;
	begin((struct flow_limits){0});
	flow_repeat(&flow, 10, now);
	assert_null(flow.state);
	change((struct flow_limits){.bytes_per_second = 100});
	assert_int_equal(flow_repeat_wait_ms(&flow, 60, 0, now), W);
	now += W;
	flow_repeat(&flow, 60, now);
	assert_true(flow_repeat_wait_ms(&flow, 60, 0, now) > 0);
	assert_int_equal(flow_repeat_wait_ms(&flow, 40, 0, now), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    FLOW_TEST(test_without_limits_nothing_is_kept),
	    FLOW_TEST(test_idle_under_limits_owns_nothing),
	    FLOW_TEST(test_qos1_is_slowed),
	    FLOW_TEST(test_one_a_second),
	    FLOW_TEST(test_qos0_is_queued_in_order),
	    FLOW_TEST(test_the_oldest_are_dropped),
	    FLOW_TEST(test_too_big_for_the_queue),
	    FLOW_TEST(test_without_queue_qos0_waits),
	    FLOW_TEST(test_bytes_count_for_both),
	    FLOW_TEST(test_the_queue_has_the_bytes_first),
	    FLOW_TEST(test_qos1_that_leaves_no_room),
	    FLOW_TEST(test_in_flight),
	    FLOW_TEST(test_waits_for_one_then_for_the_other),
	    FLOW_TEST(test_a_packet_in_pieces),
	    FLOW_TEST(test_over_the_bytes_of_a_second),
	    FLOW_TEST(test_a_rate_changes),
	    FLOW_TEST(test_limits_come_and_go),
	    FLOW_TEST(test_a_rate_comes_after_another_limit),
	    FLOW_TEST(test_a_limit_goes_under_a_waiting_packet),
	    FLOW_TEST(test_time_jumps),
	    FLOW_TEST(test_the_worker_has_no_room),
	    FLOW_TEST(test_without_memory),
	    FLOW_TEST(test_a_line_a_minute),
	    FLOW_TEST(test_the_session_ends),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test_setup_teardown(test_held, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_held_in_a_packet, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_held_without_a_queue, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_sent_again, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
		test_sent_again_after_other_limits, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
