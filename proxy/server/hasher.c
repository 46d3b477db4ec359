#include "server/hasher.h"

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/thread.h"
#include "server/machine.h"

#include <assert.h>
#include <errno.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

/* In the queue, or a letter: to the thread, or back from it. */
struct hasher_job {
	struct letter letter;
	TAILQ_ENTRY(hasher_job) next;
	struct hasher *hasher;
	struct password_hash hash;
	struct secret password;
	struct verdict_key key;
	enum verdict verdict;
	bool is_suspect;
	bool is_queued;
	void (*answer)(
	    void *arg, enum verdict verdict); /* NULL: nobody waits */
	void *arg;
};
TAILQ_HEAD(jobs, hasher_job);

struct hasher {
	pthread_t thread;
	struct mailbox *orders; /* to the thread */
	struct mailbox *replies;
	struct event mail;
	struct verdicts *verdicts;
	struct jobs queues[2]; /* of suspects is the second */
	unsigned queued;       /* in both */
	bool busy;             /* the thread is */
	struct letter stop;
	bool stopped; /* of the thread */
};

static void on_computed(struct letter *letter, void *arg);
static void on_answer(struct letter *letter, void *arg);

/* ---- on the thread ---- */

static void
compute(struct letter *letter, void *arg)
{
	struct hasher_job *job = (struct hasher_job *)letter;
	bool right;

	(void)arg;
	if (password_hash_check(&job->hash, &job->password, &right))
		job->verdict = right ? VERDICT_RIGHT : VERDICT_WRONG;
	job->letter.open = on_computed;
	mailbox_post(job->hasher->replies, &job->letter);
}

static void
stop(struct letter *letter, void *arg)
{
	struct hasher *h = arg;

	(void)letter;
	h->stopped = true;
}

static void *
live(void *arg)
{
	struct hasher *h = arg;
	struct pollfd orders = {.fd = mailbox_fd(h->orders), .events = POLLIN};

	machine_step_back();
	while (!h->stopped)
		if (poll(&orders, 1, -1) == 1)
			mailbox_open_all(h->orders, h);
	return NULL;
}

/* ---- jobs ---- */

static void
job_free(struct hasher_job *job)
{
	secret_wipe(&job->password);
	secret_wipe_bytes(&job->hash, sizeof(job->hash));
	free(job);
}

static void
put_on(struct hasher *h, struct hasher_job *job)
{
	TAILQ_INSERT_TAIL(&h->queues[job->is_suspect], job, next);
	job->is_queued = true;
	h->queued++;
}

static void
take_off(struct hasher *h, struct hasher_job *job)
{
	TAILQ_REMOVE(&h->queues[job->is_suspect], job, next);
	job->is_queued = false;
	h->queued--;
}

/* By a letter too, so that whoever asks is not answered within his call. */
static void
answer_later(struct hasher *h, struct hasher_job *job)
{
	job->letter.open = on_answer;
	mailbox_post(h->replies, &job->letter);
}

/* The next one that has to be computed; another may have been answered with
   the same by now. */
static struct hasher_job *
take_next(struct hasher *h)
{
	for (int i = 0; i < 2; i++) {
		struct hasher_job *job;

		while ((job = TAILQ_FIRST(&h->queues[i])) != NULL) {
			take_off(h, job);
			job->verdict = verdicts_find(
			    h->verdicts, &job->key, clock_mono_ms());
			if (job->verdict == VERDICT_NONE)
				return job;
			answer_later(h, job);
		}
	}
	return NULL;
}

static void
go_on(struct hasher *h)
{
	struct hasher_job *job = h->busy ? NULL : take_next(h);

	if (job == NULL)
		return;
	h->busy = true;
	job->letter.open = compute;
	mailbox_post(h->orders, &job->letter);
}

static void
on_answer(struct letter *letter, void *arg)
{
	struct hasher_job *job = (struct hasher_job *)letter;

	(void)arg;
	if (job->answer != NULL)
		job->answer(job->arg, job->verdict);
	job_free(job);
}

static void
on_computed(struct letter *letter, void *arg)
{
	struct hasher_job *job = (struct hasher_job *)letter;
	struct hasher *h = arg;

	h->busy = false;
	if (job->verdict != VERDICT_NONE)
		verdicts_add(
		    h->verdicts, &job->key, job->verdict, clock_mono_ms());
	on_answer(letter, arg);
	go_on(h);
}

static void
on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct hasher *h = arg;

	(void)fd;
	(void)what;
	mailbox_open_all(h->replies, h);
}

enum verdict
hasher_recall(struct hasher *h, const struct password_hash *hash,
    const struct secret *password)
{
	struct verdict_key key;

	return verdicts_key(h->verdicts, hash, password, &key)
		   ? verdicts_find(h->verdicts, &key, clock_mono_ms())
		   : VERDICT_NONE;
}

/* For one more; false: there is none. */
static bool
make_room(struct hasher *h, bool is_suspect)
{
	struct hasher_job *last = TAILQ_LAST(&h->queues[1], jobs);

	if (h->queued < HASHER_QUEUE_MAX)
		return true;
	if (is_suspect || last == NULL)
		return false;
	take_off(h, last);
	answer_later(h, last);
	return true;
}

struct hasher_job *
hasher_ask(struct hasher *h, const struct password_hash *hash,
    const struct secret *password, bool is_suspect,
    void (*answer)(void *arg, enum verdict verdict), void *arg)
{
	struct hasher_job *job = calloc(1, sizeof(*job));

	if (job == NULL ||
	    !verdicts_key(h->verdicts, hash, password, &job->key) ||
	    !make_room(h, is_suspect)) {
		free(job);
		return NULL;
	}
	job->hasher = h;
	job->hash = *hash;
	job->password = *password;
	job->is_suspect = is_suspect;
	job->answer = answer;
	job->arg = arg;
	put_on(h, job);
	go_on(h);
	return job;
}

void
hasher_demote(struct hasher_job *job)
{
	if (!job->is_queued || job->is_suspect)
		return;
	take_off(job->hasher, job);
	job->is_suspect = true;
	put_on(job->hasher, job);
}

void
hasher_forget(struct hasher_job *job)
{
	job->answer = NULL;
	if (!job->is_queued)
		return; /* it comes back by letter */
	take_off(job->hasher, job);
	job_free(job);
}

/* ---- life ---- */

static void
free_parts(struct hasher *h)
{
	mailbox_free(&h->orders);
	mailbox_free(&h->replies);
	verdicts_free(&h->verdicts);
	free(h);
}

struct hasher *
hasher_new(struct event_base *base)
{
	struct hasher *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	TAILQ_INIT(&h->queues[0]);
	TAILQ_INIT(&h->queues[1]);
	h->orders = mailbox_new();
	h->replies = mailbox_new();
	h->verdicts = verdicts_new();
	if (h->orders == NULL || h->replies == NULL || h->verdicts == NULL)
		goto fail;
	(void)event_assign(&h->mail, base, mailbox_fd(h->replies),
	    EV_READ | EV_PERSIST, on_mail, h);
	if (event_add(&h->mail, NULL) != 0)
		goto fail;
	if (thread_start(&h->thread, live, h))
		return h;
	(void)event_del(&h->mail);
fail:
	free_parts(h);
	return NULL;
}

void
hasher_free(struct hasher **hp)
{
	struct hasher *h = *hp;

	if (h == NULL)
		return;
	assert(h->queued == 0);
	h->stop.open = stop;
	mailbox_post(h->orders, &h->stop);
	(void)pthread_join(h->thread, NULL);
	mailbox_open_all(h->replies, h);
	(void)event_del(&h->mail);
	free_parts(h);
	*hp = NULL;
}
