#include "server/pulse.h"

#include "base/log.h"
#include "base/reason.h"

#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_US = 10 * 1000 * 1000, STATUS_MAX = 160 };

struct pulse {
	struct pulse_config config;
	struct event timer;
	bool has_watchdog;
	bool stopped;
	unsigned threads;
	unsigned unanswered;
	char status[STATUS_MAX]; /* told last */
	struct pulse_answer answers[];
};

static void
tell(struct pulse *p)
{
	size_t sessions = 0, online = 0;
	char status[STATUS_MAX];

	for (unsigned i = 0; i < p->config.workers; i++) {
		sessions += p->answers[i].sessions;
		online += p->answers[i].online;
	}
	(void)snprintf(status, sizeof(status),
	    "%u devices connected, %zu of them in the cloud, %zu on their way;"
	    " %zu in the map",
	    crowd_size(p->config.crowd), online, sessions - online,
	    p->config.devices(p->config.arg));
	if (p->has_watchdog)
		notify_send(p->config.notify, "WATCHDOG=1");
	if (strcmp(status, p->status) == 0)
		return;
	strcpy(p->status, status);
	notify_send(p->config.notify, "STATUS=%s", status);
}

static void
open_answer(struct letter *letter, void *arg)
{
	struct pulse_answer *a = (struct pulse_answer *)letter;
	struct pulse *p = a->pulse;

	(void)arg;
	a->asked = false;
	if (--p->unanswered == 0 && !p->stopped)
		tell(p);
}

static void
tell_late(const struct pulse *p)
{
	for (unsigned i = 0; i < p->threads; i++)
		if (p->answers[i].asked)
			log_write(LOG_ERROR, "thread_stuck",
			    "thread=%s number=%u hint=\"it has not answered"
			    " since it was asked last; a supervisor with a"
			    " watchdog will end the process\"",
			    p->answers[i].who, p->answers[i].number);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct pulse *p = arg;

	(void)fd;
	(void)what;
	if (p->unanswered > 0) {
		tell_late(p);
		return;
	}
	p->unanswered = p->threads;
	for (unsigned i = 0; i < p->threads; i++) {
		p->answers[i].asked = true;
		p->config.ask(p->config.arg, i);
	}
}

struct pulse *
pulse_new(const struct pulse_config *config)
{
	unsigned threads = config->workers + 1;
	struct pulse *p =
	    calloc(1, sizeof(*p) + threads * sizeof(struct pulse_answer));

	if (p == NULL)
		return NULL;
	p->config = *config;
	p->threads = threads;
	for (unsigned i = 0; i < threads; i++)
		p->answers[i] =
		    (struct pulse_answer){.letter.open = open_answer,
			.pulse = p,
			.who = i < config->workers ? "worker" : "keeper",
			.number = i < config->workers ? i : 0};
	(void)event_assign(
	    &p->timer, config->base, -1, EV_PERSIST, on_timer, p);
	return p;
}

void
pulse_free(struct pulse **p)
{
	if (*p != NULL)
		pulse_stop(*p);
	free(*p);
	*p = NULL;
}

struct pulse_answer *
pulse_answer(struct pulse *p, unsigned i)
{
	return &p->answers[i];
}

void
pulse_start(struct pulse *p)
{
	uint64_t us = notify_watchdog_us() / 2;
	struct timeval tv;

	if (p->config.notify->fd < 0)
		return;
	p->has_watchdog = us > 0;
	if (us == 0)
		us = STATUS_US;
	tv = (struct timeval){.tv_sec = (time_t)(us / 1000000),
	    .tv_usec = (suseconds_t)(us % 1000000)};
	if (event_add(&p->timer, &tv) != 0)
		log_write(LOG_ERROR, "watchdog_unavailable", "reason=%s",
		    reason_word(R_OUT_OF_MEMORY));
	event_active(&p->timer, EV_TIMEOUT, 0);
}

void
pulse_stop(struct pulse *p)
{
	p->stopped = true;
	(void)event_del(&p->timer);
}
