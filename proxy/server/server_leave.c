#include "server/server_parts.h"

#include "base/clock.h"
#include "base/log.h"

#include <event2/event.h>
#include <signal.h>
#include <unistd.h>

enum { LEAVE_LOOK_MS = 100 };

/* ---- end ---- */

static void
stop_loop(struct server *s)
{
	(void)event_base_loopbreak(s->base);
}

void
server_open_drained(struct letter *letter, void *arg)
{
	struct server *s = arg;

	(void)letter;
	if (++s->homes_drained == s->home_count)
		stop_loop(s);
}

static void
on_drain_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	log_write(LOG_WARNING, "drain_timeout",
	    "hint=\"the sessions left are cut off\"");
	stop_loop(s);
}

static struct timeval
timeval_of(uint64_t ms)
{
	return (struct timeval){.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

static void
drain(struct server *s)
{
	struct timeval tv = timeval_of(s->settings->drain_timeout_ms);

	(void)event_del(&s->leave);
	successor_free(&s->successor);
	s->draining = true;
	door_close(s->door);
	for (unsigned i = 0; i < s->home_count; i++)
		home_drain(s->homes[i]);
	(void)evtimer_add(&s->drain_deadline, &tv);
}

static void
begin_drain(struct server *s, int signal)
{
	log_write(LOG_NOTICE, "draining", "signal=%d", signal);
	notify_send(
	    &s->notify, "STOPPING=1\nSTATUS=sessions are ended in order");
	drain(s);
}

/* The first signal drains, a second one ends at once. */
static void
on_terminate(evutil_socket_t signal, short what, void *arg)
{
	struct server *s = arg;

	(void)what;
	if (s->draining)
		stop_loop(s);
	else
		begin_drain(s, (int)signal);
}

void
server_drain(void *arg)
{
	struct server *s = arg;

	if (!s->draining)
		begin_drain(s, 0);
}

/* ---- another process takes over ---- */

/* Sessions have been ended by now, one after the other. Who has come before the
   other process took over may still have to be let in: each has a deadline. */
static void
on_leave(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval soon = {.tv_usec = LEAVE_LOOK_MS * 1000};
	struct server *s = arg;

	(void)fd;
	(void)what;
	if (door_is_busy(s->door) && clock_mono_ms() < s->leave_by_ms &&
	    evtimer_add(&s->leave, &soon) == 0)
		return;
	drain(s);
}

/* At the pace at which the other process may dial for them again. */
static uint64_t
handover_ms(const struct server *s)
{
	uint64_t most_ms = s->settings->handover_timeout_ms;
	uint64_t rate = s->settings->dial_per_second;
	uint64_t ms;

	if (rate == 0)
		return 0;
	ms = (uint64_t)crowd_size(s->crowd) * 1000 / rate;
	return ms < most_ms ? ms : most_ms;
}

static void
on_successor(void *arg, pid_t pid)
{
	struct server *s = arg;
	uint64_t over_ms = handover_ms(s);
	struct timeval tv = timeval_of(over_ms);

	log_write(LOG_NOTICE, "handed_over",
	    "pid=%ld connections=%u over_ms=%llu", (long)pid,
	    crowd_size(s->crowd), (unsigned long long)over_ms);
	/* from here on the supervisor hears the other process */
	notify_send(&s->notify, "MAINPID=%ld", (long)pid);
	pulse_stop(s->pulse);
	notify_close(&s->notify);
	successor_free(&s->successor);
	door_leave(s->door);
	admin_leave(&s->admin);
	s->leave_by_ms =
	    clock_mono_ms() + over_ms + s->settings->connect_timeout_ms;
	for (unsigned i = 0; i < s->home_count; i++)
		home_shed(s->homes[i], over_ms);
	if (evtimer_add(&s->leave, &tv) != 0)
		drain(s);
}

static void
tell_not_handed_over(const struct fault *why)
{
	log_write(LOG_ERROR, "handover_failed",
	    "reason=%s detail=\"%s\" hint=\"this process goes on as before\"",
	    reason_word(why->why), why->text);
}

static void
on_no_successor(void *arg, const struct fault *why)
{
	struct server *s = arg;

	successor_free(&s->successor);
	tell_not_handed_over(why);
}

/* Why there must be no other process now; NULL: there may be. */
static const char *
stays(const struct server *s)
{
	/* when it ends, the kernel ends all other processes of the container */
	if (getpid() == 1)
		return "it is process 1 of its container, which ends with it:"
		       " start a new container instead";
	if (s->draining || s->leave_by_ms != 0)
		return "it is ending already";
	if (s->successor != NULL)
		return "another process is starting already";
	return NULL;
}

static void
on_hand_over(evutil_socket_t signal, short what, void *arg)
{
	struct server *s = arg;
	struct door_place places[INHERITED_MAX];
	struct successor_socket sockets[INHERITED_MAX];
	struct successor_config config = {
	    .base = s->base,
	    .program = s->program,
	    .sockets = sockets,
	    .ready = on_successor,
	    .failed = on_no_successor,
	    .arg = s,
	};
	const char *lack = stays(s);
	struct fault why;
	unsigned n = 0;

	(void)signal;
	(void)what;
	if (lack != NULL) {
		log_write(LOG_ERROR, "handover_refused", "detail=\"%s\"", lack);
		return;
	}
	if (s->admin != NULL)
		sockets[n++] =
		    (struct successor_socket){admin_socket(s->admin), "admin"};
	if (s->admin != NULL && admin_tcp_socket(s->admin) >= 0)
		sockets[n++] = (struct successor_socket){
		    admin_tcp_socket(s->admin), "admin-tcp"};
	for (unsigned i = 0;
	     n < INHERITED_MAX && door_place(s->door, i, &places[i]); i++)
		sockets[n++] =
		    (struct successor_socket){places[i].fd, places[i].listener};
	config.count = n;
	log_write(LOG_NOTICE, "handing_over", "program=\"%s\" sockets=%u",
	    s->program, n);
	s->successor = successor_start(&config, &why);
	if (s->successor == NULL)
		tell_not_handed_over(&why);
}

/* ---- signals ---- */

bool
server_watch_ends(struct server *s)
{
	(void)evsignal_assign(&s->on_term, s->base, SIGTERM, on_terminate, s);
	(void)evsignal_assign(&s->on_int, s->base, SIGINT, on_terminate, s);
	(void)evsignal_assign(&s->on_usr2, s->base, SIGUSR2, on_hand_over, s);
	(void)evtimer_assign(&s->leave, s->base, on_leave, s);
	(void)evtimer_assign(&s->drain_deadline, s->base, on_drain_deadline, s);
	return event_add(&s->on_term, NULL) == 0 &&
	       event_add(&s->on_int, NULL) == 0 &&
	       event_add(&s->on_usr2, NULL) == 0;
}

void
server_unwatch_ends(struct server *s)
{
	successor_free(&s->successor);
	(void)event_del(&s->on_term);
	(void)event_del(&s->on_int);
	(void)event_del(&s->on_usr2);
	(void)event_del(&s->leave);
	(void)event_del(&s->drain_deadline);
}
