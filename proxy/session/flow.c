#include "session/flow.h"

#include "codec/sliding.h"
#include "session/flow_queue.h"

#include <stdlib.h>

/* The packet that the device is not read for. */
struct waiting {
	bool is;
	bool for_puback; /* whatever the time */
	uint8_t qos;
	uint64_t bytes;
	uint64_t puback_ms;  /* since when it waits for that */
	uint64_t counted_ms; /* until when FLOW_WAITED_MS has its time */
};

struct flow_state {
	struct sliding_count packets[2]; /* by QoS; max 0: none yet */
	struct sliding_bytes bytes;
	struct flow_queue queue;
	struct waiting waiting;
	struct flow_counts counts;
	struct flow_counts told; /* when the last line was written */
	uint64_t line_ms;        /* no other line before */
};

#define X(id, word) [id] = word,
static const char *const words[] = {FLOW_COUNTS(X)};
#undef X

const char *
flow_count_word(enum flow_count kind)
{
	return words[kind];
}

/* ---- limits ---- */

static uint32_t
rate_of(const struct flow_limits *l, uint8_t qos)
{
	return qos == 0 ? l->qos0_per_second : l->qos1_per_second;
}

static void
take_limits(struct flow *f, const struct flow_limits *limits)
{
	f->limits = *limits;
	f->limited = limits->qos0_per_second > 0 ||
		     limits->qos1_per_second > 0 ||
		     limits->bytes_per_second > 0 || limits->inflight_max > 0;
}

void
flow_init(struct flow *f, struct loop *loop, const struct flow_limits *limits)
{
	*f = (struct flow){.loop = loop};
	take_limits(f, limits);
}

static void
drop_oldest(struct flow *f, enum flow_count why)
{
	struct flow_state *st = f->state;
	uint64_t *counts = st->counts.of[0];

	counts[why]++;
	counts[FLOW_DROPPED_BYTES] += flow_queue_head(&st->queue).n;
	flow_queue_drop(&st->queue, f->loop);
}

/* Forgets what has passed: rings of another size are made by prepare(). */
static void
forget_windows(struct flow_state *st)
{
	for (int qos = 0; qos < 2; qos++) {
		free(st->packets[qos].at_ms);
		st->packets[qos] = (struct sliding_count){0};
	}
	st->bytes = (struct sliding_bytes){0};
}

/* Makes what is needed to limit <qos>; false without memory. */
static bool
prepare(struct flow *f, uint8_t qos)
{
	uint32_t max = rate_of(&f->limits, qos);
	struct sliding_count *packets;
	uint64_t *ring;

	if (f->state == NULL) {
		f->state = calloc(1, sizeof(*f->state));
		if (f->state == NULL)
			return false;
		flow_queue_init(&f->state->queue);
	}
	packets = &f->state->packets[qos];
	if (packets->max == max)
		return true;
	ring = calloc(max, sizeof(*ring));
	if (ring == NULL)
		return false;
	sliding_count_init(packets, ring, max);
	return true;
}

void
flow_set_limits(
    struct flow *f, const struct flow_limits *limits, uint64_t now_ms)
{
	const struct flow_limits old = f->limits;
	struct flow_state *st = f->state;

	take_limits(f, limits);
	while (st != NULL && st->queue.kept_bytes > limits->queue_max_bytes)
		drop_oldest(f, FLOW_DROPPED_FULL);
	if (old.qos0_per_second == limits->qos0_per_second &&
	    old.qos1_per_second == limits->qos1_per_second &&
	    old.bytes_per_second == limits->bytes_per_second)
		return;
	if (st != NULL)
		forget_windows(st);
	while (flow_queued(f) > 0 && !prepare(f, 0))
		drop_oldest(f, FLOW_DROPPED_NO_MEMORY);
	/* also without a state: under no limit it has published uncounted */
	f->open_ms = f->limited ? now_ms + SLIDING_WINDOW_MS : 0;
}

void
flow_free(struct flow *f)
{
	struct flow_state *st = f->state;

	if (st == NULL)
		return;
	while (st->queue.n > 0)
		flow_queue_drop(&st->queue, f->loop);
	forget_windows(st);
	free(st);
	f->state = NULL;
}

/* ---- when what may pass ---- */

static uint64_t
later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t
sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When a packet of <qos> may pass, and <bytes> with it. */
static uint64_t
due_ms(const struct flow *f, uint8_t qos, uint64_t bytes)
{
	const struct sliding_count *packets = &f->state->packets[qos];
	uint64_t max = f->limits.bytes_per_second;
	uint64_t due = f->open_ms;

	if (packets->max > 0)
		due = later(due, sliding_count_due_ms(packets));
	if (max > 0)
		due = later(
		    due, sliding_bytes_due_ms(&f->state->bytes, bytes, max));
	return due;
}

static uint64_t
head_due_ms(const struct flow *f)
{
	return due_ms(f, 0, flow_queue_head(&f->state->queue).n);
}

/* True when a packet has to wait for the queue: QoS 0 does not overtake QoS 0,
   and where only one of the two fits into a window, it is the older one. */
static bool
is_behind_queue(const struct flow *f, uint8_t qos, uint64_t bytes)
{
	uint64_t head = flow_queue_head(&f->state->queue).n;
	uint64_t max = f->limits.bytes_per_second;

	return head > 0 &&
	       (qos == 0 || (max > 0 && (head > max || bytes > max - head)));
}

/* When a packet may pass that is not: it leaves room for the head. */
static uint64_t
packet_due_ms(const struct flow *f, uint8_t qos, uint64_t bytes)
{
	return due_ms(f, qos, bytes + flow_queue_head(&f->state->queue).n);
}

/* It has passed, with <here> of its <bytes> so far. */
static void
count_sent(
    struct flow *f, uint8_t qos, uint64_t bytes, uint64_t here, uint64_t now_ms)
{
	struct flow_state *st = f->state;
	uint64_t max = f->limits.bytes_per_second;

	st->counts.of[qos][FLOW_SENT]++;
	st->counts.of[qos][FLOW_SENT_BYTES] += bytes;
	if (st->packets[qos].max > 0)
		sliding_count_add(&st->packets[qos], now_ms);
	if (max == 0)
		return;
	sliding_bytes_add(&st->bytes, here, now_ms);
	if (bytes > max)
		f->open_ms =
		    now_ms + (bytes + max - 1) / max * SLIDING_WINDOW_MS;
}

/* ---- a packet that waits ---- */

/* Has the counts know how long it has waited until now. */
static void
count_waiting(struct flow_state *st, uint64_t now_ms)
{
	struct waiting *w = &st->waiting;

	if (!w->is)
		return;
	st->counts.of[w->qos][FLOW_WAITED_MS] += now_ms - w->counted_ms;
	w->counted_ms = now_ms;
}

static void
end_waiting(struct flow_state *st, uint64_t now_ms)
{
	count_waiting(st, now_ms);
	st->waiting.is = false;
}

static enum flow_verdict
hold(struct flow_state *st, const struct flow_publish *p, bool for_puback,
    uint64_t now_ms)
{
	struct waiting *w = &st->waiting;

	if (!w->is) {
		*w = (struct waiting){.is = true,
		    .qos = p->qos,
		    .bytes = p->bytes,
		    .counted_ms = now_ms};
		st->counts.of[p->qos][FLOW_WAITED]++;
	}
	if (!w->for_puback)
		w->puback_ms = now_ms;
	w->for_puback = for_puback;
	return FLOW_WAIT;
}

/* ---- packets of the device ---- */

/* Drops it instead when nothing can be kept, or others for it. */
static void
enqueue(struct flow *f, struct span packet)
{
	struct flow_queue *q = &f->state->queue;
	uint64_t *counts = f->state->counts.of[0];
	uint64_t cost = flow_queue_cost(packet.n);
	enum flow_count why;

	while (q->kept_bytes + cost > f->limits.queue_max_bytes)
		drop_oldest(f, FLOW_DROPPED_FULL);
	while (
	    q->n > 0 && !loop_can_hold(f->loop, (size_t)cost, LOOP_FOR_LATER))
		drop_oldest(f, FLOW_DROPPED_NO_ROOM);
	counts[FLOW_QUEUED]++;
	if (!loop_can_hold(f->loop, (size_t)cost, LOOP_FOR_LATER))
		why = FLOW_DROPPED_NO_ROOM;
	else if (!flow_queue_add(q, f->loop, packet))
		why = FLOW_DROPPED_NO_MEMORY;
	else
		return;
	counts[why]++;
	counts[FLOW_DROPPED_BYTES] += packet.n;
}

/* True when it can wait in the queue. */
static bool
fits_queue(const struct flow *f, const struct flow_publish *p)
{
	return p->qos == 0 && !p->waits && p->packet.n == p->bytes &&
	       flow_queue_cost(p->bytes) <= f->limits.queue_max_bytes;
}

static bool
too_many_in_flight(const struct flow *f, const struct flow_publish *p)
{
	return p->qos > 0 && f->limits.inflight_max > 0 &&
	       p->in_flight >= f->limits.inflight_max;
}

/* While nothing passes. */
static enum flow_verdict
keep_or_drop(struct flow *f, const struct flow_publish *p, uint64_t now_ms)
{
	uint64_t *counts = f->state->counts.of[0];

	end_waiting(f->state, now_ms);
	if (fits_queue(f, p)) {
		enqueue(f, p->packet);
	} else {
		counts[FLOW_DROPPED_HELD]++;
		counts[FLOW_DROPPED_BYTES] += p->bytes;
	}
	return FLOW_TAKEN;
}

enum flow_verdict
flow_admit(struct flow *f, const struct flow_publish *p, uint64_t now_ms)
{
	struct flow_state *st;

	if (!flow_is_on(f)) {
		f->left = p->bytes - p->packet.n;
		return FLOW_PASS;
	}
	f->no_memory = !prepare(f, p->qos);
	if (f->no_memory)
		return FLOW_WAIT;
	st = f->state;
	if (f->held)
		return keep_or_drop(f, p, now_ms);
	if (too_many_in_flight(f, p))
		return hold(st, p, true, now_ms);
	if (is_behind_queue(f, p->qos, p->bytes) ||
	    now_ms < packet_due_ms(f, p->qos, p->bytes)) {
		if (!fits_queue(f, p))
			return hold(st, p, false, now_ms);
		end_waiting(st, now_ms);
		enqueue(f, p->packet);
		return FLOW_TAKEN;
	}
	end_waiting(st, now_ms);
	count_sent(f, p->qos, p->bytes, p->packet.n, now_ms);
	f->left = p->bytes - p->packet.n;
	return FLOW_PASS;
}

void
flow_piece(struct flow *f, uint64_t n, uint64_t now_ms)
{
	/* a packet that began without limits is not counted here */
	f->left -= n < f->left ? n : f->left;
	if (f->state != NULL && f->limits.bytes_per_second > 0)
		sliding_bytes_add(&f->state->bytes, n, now_ms);
}

/* ---- over another link ---- */

void
flow_hold(struct flow *f, bool held)
{
	f->held = held;
	f->left = 0; /* the rest of it goes nowhere */
}

uint64_t
flow_repeat_wait_ms(
    const struct flow *f, uint64_t bytes, uint32_t in_flight, uint64_t now_ms)
{
	uint64_t due;

	if (f->limits.inflight_max > 0 && in_flight >= f->limits.inflight_max)
		return FLOW_NEVER;
	if (f->state == NULL)
		return f->open_ms > now_ms ? f->open_ms - now_ms : 0;
	due = due_ms(f, 1, bytes);
	return due > now_ms ? due - now_ms : 0;
}

void
flow_repeat(struct flow *f, uint64_t bytes, uint64_t now_ms)
{
	/* without memory to count it, it is one too many for a second */
	if (flow_is_on(f) && prepare(f, 1))
		count_sent(f, 1, bytes, bytes, now_ms);
}

/* ---- what is queued ---- */

struct span
flow_next(const struct flow *f, uint64_t now_ms)
{
	if (flow_queued(f) == 0 || f->left > 0 || f->held ||
	    now_ms < head_due_ms(f))
		return (struct span){0};
	return flow_queue_head(&f->state->queue);
}

void
flow_next_sent(struct flow *f, uint64_t now_ms)
{
	uint64_t n = flow_queue_head(&f->state->queue).n;

	count_sent(f, 0, n, n, now_ms);
	flow_queue_drop(&f->state->queue, f->loop);
}

uint64_t
flow_queued(const struct flow *f)
{
	return f->state != NULL ? f->state->queue.n : 0;
}

void
flow_forget_waiting(struct flow *f, uint64_t now_ms)
{
	f->no_memory = false;
	if (f->state != NULL)
		end_waiting(f->state, now_ms);
}

void
flow_end(struct flow *f, uint64_t now_ms)
{
	f->left = 0;
	flow_forget_waiting(f, now_ms);
	while (flow_queued(f) > 0)
		drop_oldest(f, FLOW_DROPPED_ENDED);
}

/* ---- what is told ---- */

static bool
has_news(const struct flow_state *st)
{
	if (st->waiting.is)
		return true;
	for (int qos = 0; qos < 2; qos++)
		for (int i = FLOW_WAITED; i < FLOW_COUNT_KINDS; i++)
			if (st->counts.of[qos][i] != st->told.of[qos][i])
				return true;
	return false;
}

bool
flow_summary(
    struct flow *f, bool last, uint64_t now_ms, struct flow_summary *out)
{
	struct flow_state *st = f->state;

	if (st == NULL || (!last && now_ms < st->line_ms) || !has_news(st))
		return false;
	count_waiting(st, now_ms);
	for (int qos = 0; qos < 2; qos++)
		for (int i = 0; i < FLOW_COUNT_KINDS; i++)
			out->since.of[qos][i] =
			    st->counts.of[qos][i] - st->told.of[qos][i];
	out->queued_now = st->queue.n;
	out->waits_now = st->waiting.is;
	st->told = st->counts;
	st->line_ms = now_ms + FLOW_LINE_MS;
	return true;
}

struct flow_counts
flow_counts(const struct flow *f, uint64_t now_ms)
{
	struct flow_state st;

	if (f->state == NULL)
		return (struct flow_counts){0};
	st = *f->state;
	count_waiting(&st, now_ms);
	return st.counts;
}

uint64_t
flow_puback_wait_ms(const struct flow *f, uint64_t now_ms)
{
	const struct waiting *w = f->state != NULL ? &f->state->waiting : NULL;

	return w != NULL && w->is && w->for_puback
		   ? later(1, now_ms - w->puback_ms)
		   : 0;
}

bool
flow_waits_for_puback(const struct flow *f)
{
	return f->state != NULL && f->state->waiting.is &&
	       f->state->waiting.for_puback;
}

/* The same as a time. */
static uint64_t
next_ms(const struct flow *f)
{
	const struct flow_state *st = f->state;
	const struct waiting *w = &st->waiting;
	uint64_t next = has_news(st) ? st->line_ms : FLOW_NEVER;

	if (f->left > 0 || f->held) /* nothing before that is over */
		return next;
	if (st->queue.n > 0)
		next = sooner(next, head_due_ms(f));
	if (w->is && !w->for_puback && !f->no_memory &&
	    !is_behind_queue(f, w->qos, w->bytes))
		next = sooner(next, packet_due_ms(f, w->qos, w->bytes));
	return next;
}

uint64_t
flow_wait_ms(const struct flow *f, uint64_t now_ms)
{
	uint64_t next = f->state != NULL ? next_ms(f) : FLOW_NEVER;

	if (next != FLOW_NEVER)
		next = next > now_ms ? next - now_ms : 0;
	return f->no_memory ? sooner(next, SLIDING_WINDOW_MS) : next;
}
