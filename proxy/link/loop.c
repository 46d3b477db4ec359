#include "link/loop.h"

#include <openssl/rand.h>
#include <stdlib.h>

struct loop *
loop_new(size_t kept_max)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	uint8_t *scratch = malloc(LOOP_HEADROOM + LOOP_IN_BYTES);

	if (loop == NULL || scratch == NULL)
		goto fail;
	loop->in = scratch + LOOP_HEADROOM;
	loop->out = malloc(LOOP_OUT_BYTES);
	loop->base = event_base_new();
	if (loop->out == NULL || loop->base == NULL)
		goto fail;
	TAILQ_INIT(&loop->again);
	TAILQ_INIT(&loop->starved);
	loop->kept_max = kept_max;
	loop->keys_used = LOOP_KEY_POOL;
	return loop;
fail:
	if (loop != NULL)
		free(loop->out);
	free(loop);
	free(scratch);
	return NULL;
}

void
loop_free(struct loop **loop)
{
	if (*loop == NULL)
		return;
	event_base_free((*loop)->base);
	free((*loop)->in - LOOP_HEADROOM);
	free((*loop)->out);
	free(*loop);
	*loop = NULL;
}

/* Runs what is queued now; what that queues runs after the next turn. */
static void
run_again(struct loop *loop)
{
	struct task_queue now;
	struct task *t;

	if (TAILQ_EMPTY(&loop->again))
		return;
	TAILQ_INIT(&now);
	TAILQ_CONCAT(&now, &loop->again, next);
	TAILQ_FOREACH (t, &now, next)
		t->queue = &now;
	while ((t = TAILQ_FIRST(&now)) != NULL) {
		task_cancel(t);
		t->run(t->arg);
	}
}

void
loop_run(struct loop *loop)
{
	while (!loop->stop) {
		int flags = EVLOOP_ONCE;

		if (!TAILQ_EMPTY(&loop->again))
			flags |= EVLOOP_NONBLOCK;
		(void)event_base_loop(loop->base, flags);
		run_again(loop);
	}
}

void
task_init(struct task *t, void (*run)(void *arg), void *arg)
{
	*t = (struct task){.run = run, .arg = arg};
}

void
loop_again(struct loop *loop, struct task *t)
{
	if (t->queue != NULL && t->queue != &loop->starved)
		return;
	task_cancel(t);
	TAILQ_INSERT_TAIL(&loop->again, t, next);
	t->queue = &loop->again;
}

void
task_cancel(struct task *t)
{
	if (t->queue == NULL)
		return;
	TAILQ_REMOVE(t->queue, t, next);
	t->queue = NULL;
}

/* All of them: each asks again, and the first ones to find no room wait anew.
 */
static void
feed_starved(struct loop *loop)
{
	struct task *t;

	while ((t = TAILQ_FIRST(&loop->starved)) != NULL)
		loop_again(loop, t);
}

void
loop_count(struct loop *loop, size_t n)
{
	loop->kept_bytes += n;
}

void
loop_uncount(struct loop *loop, size_t n)
{
	loop->kept_bytes -= n;
	feed_starved(loop);
}

bool
loop_keep(struct loop *loop, struct buffer *b, struct span bytes)
{
	size_t before = b->cap;
	bool ok = buffer_append(b, bytes);

	loop_count(loop, b->cap - before);
	return ok;
}

void
loop_unkeep(struct loop *loop, struct buffer *b, size_t n)
{
	size_t before = b->cap;

	if (n >= b->n)
		buffer_wipe(b); /* there may have been a login in it */
	else
		buffer_drop(b, n);
	if (b->cap != before)
		loop_uncount(loop, before - b->cap);
}

bool
loop_keep_down(struct loop *loop, struct buffer *b, struct span bytes)
{
	size_t before = b->cap;
	bool ok = loop_keep(loop, b, bytes);

	loop->down_bytes += b->cap - before;
	return ok;
}

void
loop_unkeep_down(struct loop *loop, struct buffer *b, size_t n)
{
	size_t before = b->cap;

	loop_unkeep(loop, b, n);
	loop->down_bytes -= before - b->cap;
}

bool
loop_can_hold(const struct loop *loop, size_t n, enum loop_use use)
{
	size_t quarter = loop->kept_max / 4;
	size_t max = loop->kept_max - quarter * use;

	if (use == LOOP_FROM_CLOUD && loop->down_bytes + n <= quarter)
		return true;
	/* the account may be over its bound: the first one is always let in */
	return loop->kept_bytes == 0 ||
	       (loop->kept_bytes <= max && n <= max - loop->kept_bytes);
}

bool
loop_has_room(struct loop *loop, size_t n, enum loop_use use, struct task *t)
{
	if (loop_can_hold(loop, n, use))
		return true;
	if (t->queue == NULL) {
		TAILQ_INSERT_TAIL(&loop->starved, t, next);
		t->queue = &loop->starved;
	}
	return false;
}

bool
loop_draw_keys(struct loop *loop)
{
	if (RAND_bytes(loop->keys, LOOP_KEY_POOL) != 1)
		return false;
	loop->keys_used = 0;
	return true;
}
