/*
 * loop: what a worker lends to its links and sessions: the event base, scratch
 * for the bytes of one callback, mask keys, the queue of what has to go on in
 * the next turn, and the account of kept bytes. One thread each; nothing is
 * locked.
 *
 * Descriptors are watched edge-triggered, once for their whole life. Whoever
 * stops reading before the descriptor says "no more" remembers that, and asks
 * for another turn with loop_again(): no event will come for bytes that are
 * already there.
 */
#ifndef PROXY_LINK_LOOP_H
#define PROXY_LINK_LOOP_H

#include "base/attr.h"
#include "base/buffer.h"
#include "base/span.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
	LOOP_HEADROOM = 64, /* writable bytes before loop->in */
	LOOP_IN_BYTES = 64 * 1024,
	LOOP_OUT_BYTES = 128 * 1024, /* frames of one read, and more */
	LOOP_KEY_POOL = 4096
};

/* Something to do after the turn; embedded in what it acts on. */
struct task {
	TAILQ_ENTRY(task) next;
	struct task_queue *queue; /* NULL: not queued */
	void (*run)(void *arg);
	void *arg;
};
TAILQ_HEAD(task_queue, task);

struct loop {
	struct event_base *base;
	uint8_t *in;  /* LOOP_IN_BYTES: valid within one callback */
	uint8_t *out; /* LOOP_OUT_BYTES: frames not yet written, ditto */
	size_t out_n;
	struct task_queue again;   /* run after this turn */
	struct task_queue starved; /* run when kept bytes are given back */
	size_t kept_bytes;
	size_t down_bytes; /* of them, on their way to a device */
	size_t kept_max;
	uint8_t keys[LOOP_KEY_POOL];
	size_t keys_used;
	bool stop; /* set by a callback: loop_run() returns after the turn */
};

/* NULL without memory or descriptors. <kept_max>: bytes, see loop_keep(). */
NODISCARD struct loop *loop_new(size_t kept_max);
void loop_free(struct loop **loop);

/* Runs turns until loop->stop. */
void loop_run(struct loop *loop);

void task_init(struct task *t, void (*run)(void *arg), void *arg);
/* Queues <t> to run after this turn; once, however often it is asked for. */
void loop_again(struct loop *loop, struct task *t);
void task_cancel(struct task *t);

/*
 * Appends to a kept buffer and counts its memory. False without memory: then
 * nothing was kept. What a session may keep is bounded by those who keep; the
 * sum of all is bounded by asking loop_has_room() before reading anything.
 */
NODISCARD bool loop_keep(
    struct loop *loop, struct buffer *b, struct span bytes);
/* Forgets the first <n> bytes of a kept buffer. */
void loop_unkeep(struct loop *loop, struct buffer *b, size_t n);

/* The same for bytes on their way to a device, which gives them back whatever
   becomes of the cloud. */
NODISCARD bool loop_keep_down(
    struct loop *loop, struct buffer *b, struct span bytes);
void loop_unkeep_down(struct loop *loop, struct buffer *b, size_t n);

/* Counts <n> bytes that are kept otherwise than in a buffer, and no more. */
void loop_count(struct loop *loop, size_t n);
void loop_uncount(struct loop *loop, size_t n);

/*
 * What bytes are kept for, each with less of the account than the one before.
 * What is kept until the cloud has acknowledged it is given back only when the
 * cloud can be read, so it must leave room for that.
 */
enum loop_use {
	LOOP_FROM_CLOUD,  /* all of it; of a quarter nobody else can keep it */
	LOOP_FROM_DEVICE, /* three quarters */
	LOOP_FOR_LATER    /* a half: kept though the link is lost, or full */
};

/* True when the account has room for <n> more bytes. */
bool loop_can_hold(const struct loop *loop, size_t n, enum loop_use use);

/*
 * True when <n> more bytes may be kept. If not, <t> is queued to run as soon as
 * others have given bytes back.
 */
NODISCARD bool loop_has_room(
    struct loop *loop, size_t n, enum loop_use use, struct task *t);

/* True while <t> waits for others to give bytes back. */
static inline bool
loop_starves(const struct loop *loop, const struct task *t)
{
	return t->queue == &loop->starved;
}

/* Fills the pool of mask keys from the CSPRNG; false: it has failed. */
NODISCARD bool loop_draw_keys(struct loop *loop);

/* A fresh mask key (RFC 6455 5.3); false: there is none. */
NODISCARD static inline bool
loop_mask_key(struct loop *loop, uint8_t key[static 4])
{
	if (loop->keys_used == LOOP_KEY_POOL && !loop_draw_keys(loop))
		return false;
	memcpy(key, loop->keys + loop->keys_used, 4);
	loop->keys_used += 4;
	return true;
}

#endif
