#include "server/keeper.h"

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/thread.h"
#include "server/machine.h"
#include "server/pulse.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

enum {
	HEARD_MS = 50,   /* from an event to the look */
	LOOK_REST = 50,  /* times what a look has taken, on top of that */
	SETTLE_MS = 250, /* files that have changed are left alone so long */
	UNSETTLED_MAX_MS = 5000, /* but not for longer than that */
	BURY_MS = 100,
	STOP_MAX_MS = 5000
};

/* A map that may still be in use. */
struct kept {
	TAILQ_ENTRY(kept) next;
	struct credmap *map; /* a reference */
};

struct keeper {
	struct keeper_config config;
	pthread_t thread;
	int ended; /* readable when the thread has done its last */
	struct event_base *base;
	struct mailbox *mailbox;
	struct event mail;
	struct event heard; /* by inotify */
	struct event look;
	struct event bury;
	struct letter ask, stop, pulse;
	struct pulse_answer *answer; /* while it is asked for */
	atomic_bool asked;           /* <ask> is on its way */
	atomic_bool abandoned;       /* nobody waits for an answer any more */
	struct watch *watch;
	uint64_t look_took_ms;            /* the last one */
	uint64_t changing_since_ms;       /* 0: nothing has changed */
	TAILQ_HEAD(kept_maps, kept) maps; /* the last one is the latest */
};

static struct credmap *
latest(const struct keeper *k)
{
	return TAILQ_LAST(&k->maps, kept_maps)->map;
}

/* ---- maps ---- */

/* Takes a reference. False without memory. */
static bool
keep_map(struct keeper *k, struct credmap *map)
{
	struct kept *m = malloc(sizeof(*m));

	if (m == NULL)
		return false;
	m->map = credmap_ref(map);
	TAILQ_INSERT_TAIL(&k->maps, m, next);
	return true;
}

static void
let_go(struct keeper *k, struct kept *m)
{
	TAILQ_REMOVE(&k->maps, m, next);
	credmap_unref(m->map);
	free(m);
}

/* Not put off by each new map: reloads may follow each other for long. */
static void
bury_later(struct keeper *k)
{
	const struct timeval tv = {.tv_usec = BURY_MS * 1000};

	if (TAILQ_FIRST(&k->maps) != TAILQ_LAST(&k->maps, kept_maps) &&
	    !evtimer_pending(&k->bury, NULL))
		(void)evtimer_add(&k->bury, &tv);
}

/* Of the maps before the latest, those that nobody else has any more. Nobody
   can get one back: whoever takes a reference has one. */
static void
on_bury(evutil_socket_t fd, short what, void *arg)
{
	struct keeper *k = arg;
	struct kept *m, *after;

	(void)fd;
	(void)what;
	for (m = TAILQ_FIRST(&k->maps); m != NULL; m = after) {
		after = TAILQ_NEXT(m, next);
		if (after != NULL && credmap_is_last_ref(m->map))
			let_go(k, m);
	}
	bury_later(k);
}

/* ---- looking ---- */

static void
look_in(struct keeper *k, uint64_t ms)
{
	const struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	(void)evtimer_add(&k->look, &tv);
}

static void on_heard(evutil_socket_t fd, short what, void *arg);

/* Waits for the next change; [reload] interval = 0: for none. */
static void
wait_for_change(struct keeper *k)
{
	uint64_t interval_ms = k->config.settings->reload_interval_ms;
	int fd = watch_fd(k->watch);

	k->changing_since_ms = 0;
	(void)event_del(&k->look);
	(void)event_del(&k->heard);
	if (interval_ms == 0)
		return;
	look_in(k, interval_ms);
	if (fd < 0)
		return;
	(void)event_assign(&k->heard, k->base, fd, EV_READ, on_heard, k);
	(void)event_add(&k->heard, NULL);
}

/* Not at once: more is likely to come. What was heard is taken away by the
   look, so until then there is no point in hearing more. And not always: the
   folder may be busy with other files, and those to look at be many. */
static void
on_heard(evutil_socket_t fd, short what, void *arg)
{
	struct keeper *k = arg;
	uint64_t ms = HEARD_MS + LOOK_REST * k->look_took_ms;
	uint64_t interval_ms = k->config.settings->reload_interval_ms;

	(void)fd;
	(void)what;
	look_in(k, ms < interval_ms ? ms : interval_ms);
}

/* ---- reading ---- */

/* The old watch stays when nothing could be read. */
static void
adopt_watch(struct keeper *k, struct watch *fresh)
{
	(void)event_del(&k->heard);
	watch_free(&k->watch);
	k->watch = fresh;
}

static bool
adopt(struct keeper *k, const struct reload *r)
{
	if (!keep_map(k, r->map))
		return false;
	bury_later(k);
	settings_unref(k->config.settings);
	k->config.settings = settings_ref(r->settings);
	return true;
}

/* At the next look that is due, whatever is heard until then. */
static void
read_again_later(struct keeper *k)
{
	(void)event_del(&k->heard);
	k->changing_since_ms = clock_mono_ms();
}

static void
read_files(struct keeper *k)
{
	struct watch *fresh = watch_new();
	struct reload *r = NULL;
	bool lacking; /* which is not the files' fault */

	if (fresh != NULL)
		r = reload_read(
		    k->config.files, k->config.settings, latest(k), fresh);
	if (r != NULL && r->ok && !adopt(k, r))
		reload_free(&r);
	lacking = r == NULL || (!r->ok && !machine_has_descriptor());
	if (r == NULL) {
		watch_free(&fresh);
		log_write(LOG_ERROR, "reload_refused",
		    "reason=%s hint=\"reload again\"",
		    reason_word(R_OUT_OF_MEMORY));
	} else {
		adopt_watch(k, fresh);
		r->letter.open = k->config.open;
		if (!atomic_load(&k->abandoned))
			mailbox_post(k->config.reply_to, &r->letter);
	}
	wait_for_change(k);
	if (lacking)
		read_again_later(k);
}

/* A change is taken up when the files have been left alone for a moment: a
   person may be saving several, or a program still writing. */
static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	struct keeper *k = arg;
	uint64_t began_ms = clock_mono_ms();
	const char *path = watch_look(k->watch);
	uint64_t now_ms = clock_mono_ms();
	char text[1024];

	(void)fd;
	(void)what;
	k->look_took_ms = now_ms - began_ms;
	if (path != NULL && k->changing_since_ms == 0) {
		k->changing_since_ms = now_ms;
		log_write(LOG_NOTICE, "file_changed", "file=\"%s\"",
		    escape(text, sizeof(text), span_of_string(path)));
	}
	if (path != NULL && now_ms - k->changing_since_ms < UNSETTLED_MAX_MS)
		look_in(k, SETTLE_MS);
	else if (k->changing_since_ms != 0)
		read_files(k);
	else
		wait_for_change(k);
}

/* ---- letters ---- */

static void
open_ask(struct letter *letter, void *arg)
{
	struct keeper *k = arg;

	(void)letter;
	atomic_store(&k->asked, false); /* who asks from here on asks anew */
	read_files(k);
}

void
keeper_ask(struct keeper *k)
{
	if (!atomic_exchange(&k->asked, true))
		mailbox_post(k->mailbox, &k->ask);
}

static void
open_pulse(struct letter *letter, void *arg)
{
	struct keeper *k = arg;

	(void)letter;
	if (!atomic_load(&k->abandoned))
		mailbox_post(k->config.reply_to, &k->answer->letter);
}

void
keeper_pulse(struct keeper *k, struct pulse_answer *answer)
{
	k->answer = answer;
	k->pulse.open = open_pulse;
	mailbox_post(k->mailbox, &k->pulse);
}

static void
open_stop(struct letter *letter, void *arg)
{
	struct keeper *k = arg;

	(void)letter;
	(void)event_base_loopbreak(k->base);
}

static void
on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct keeper *k = arg;

	(void)fd;
	(void)what;
	mailbox_open_all(k->mailbox, k);
}

/* ---- life ---- */

static void *
live(void *arg)
{
	struct keeper *k = arg;

	(void)pthread_setname_np(pthread_self(), "keeper");
	machine_step_back();
	wait_for_change(k);
	(void)event_base_dispatch(k->base);
	(void)eventfd_write(k->ended, 1);
	return NULL;
}

static void
keeper_free(struct keeper *k)
{
	struct kept *m;

	if (k->mailbox != NULL && k->base != NULL) {
		(void)event_del(&k->mail);
		(void)event_del(&k->look);
		(void)event_del(&k->heard);
		(void)event_del(&k->bury);
	}
	mailbox_free(&k->mailbox);
	if (k->base != NULL)
		event_base_free(k->base);
	while ((m = TAILQ_FIRST(&k->maps)) != NULL)
		let_go(k, m);
	settings_unref(k->config.settings);
	watch_free(&k->watch);
	if (k->ended >= 0)
		(void)close(k->ended);
	free(k);
}

static bool
furnish(struct keeper *k)
{
	k->base = event_base_new();
	k->mailbox = mailbox_new();
	k->ended = eventfd(0, EFD_CLOEXEC);
	if (k->base == NULL || k->mailbox == NULL || k->ended < 0)
		return false;
	(void)event_assign(&k->mail, k->base, mailbox_fd(k->mailbox),
	    EV_READ | EV_PERSIST, on_mail, k);
	(void)event_assign(&k->heard, k->base, -1, 0, on_heard, k);
	(void)evtimer_assign(&k->look, k->base, on_look, k);
	(void)evtimer_assign(&k->bury, k->base, on_bury, k);
	k->ask.open = open_ask;
	k->stop.open = open_stop;
	return event_add(&k->mail, NULL) == 0 && keep_map(k, k->config.map);
}

struct keeper *
keeper_start(
    const struct keeper_config *config, struct watch **watch, struct fault *why)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (k != NULL) {
		TAILQ_INIT(&k->maps);
		k->ended = -1;
		k->config = *config;
		(void)settings_ref(config->settings);
		k->watch = *watch;
		*watch = NULL;
		if (furnish(k) && thread_start(&k->thread, live, k))
			return k;
		keeper_free(k);
	}
	watch_free(watch);
	(void)fault_set(why, R_OUT_OF_MEMORY,
	    "the thread that reads the files needs more memory, descriptors or"
	    " threads");
	return NULL;
}

void
keeper_stop(struct keeper **kp)
{
	struct keeper *k = *kp;
	struct pollfd ended;
	int n;

	*kp = NULL;
	if (k == NULL)
		return;
	ended = (struct pollfd){.fd = k->ended, .events = POLLIN};
	mailbox_post(k->mailbox, &k->stop);
	/* a wait that no step of the clock makes shorter or longer */
	do
		n = poll(&ended, 1, STOP_MAX_MS);
	while (n < 0 && errno == EINTR);
	if (n != 1) {
		atomic_store(&k->abandoned, true);
		return;
	}
	(void)pthread_join(k->thread, NULL);
	keeper_free(k);
}
