/*
 * rig: what a link, a device or a session needs around it, without threads: a
 * loop that a test turns by hand, a mailbox, settings, and a resolver that
 * answers what the test wants. All sockets are on the loopback.
 *
 * Nothing here waits for a time to pass: until() turns the loop until something
 * has happened, and fails the test when that takes ten seconds.
 */
#ifndef TESTS_UNIT_RIG_H
#define TESTS_UNIT_RIG_H

#include "base/clock.h"
#include "base/mailbox.h"
#include "link/link.h"
#include "link/loop.h"
#include "settings/settings.h"

#include "scratch.h"
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RIG_PATIENCE_MS = 10 * 1000, RIG_SETTLE_TURNS = 16 };

struct rig {
	struct loop *loop;
	struct mailbox *mailbox;
	struct event mail;
	struct event tick;
	struct task halt;
	struct scratch *scratch; /* the settings' files */
	struct settings *settings;
	struct link_env env; /* without trust */
	/* the resolver */
	uint16_t ports[LOOKUP_ADDRESSES]; /* answers 127.0.0.1 with these; */
	unsigned port_count;              /* 0: with the port asked for */
	bool mute;                        /* keeps what it is asked */
	struct lookup *asked;             /* the last one kept */
	unsigned lookups;
};

/* From a callback: what the test waits for may have happened. */
static inline void
rig_wake(struct rig *r)
{
	r->loop->stop = true;
}

static inline void
rig_on_wake(void *arg)
{
	rig_wake(arg);
}

static inline void
rig_on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	rig_wake(arg);
}

static inline void
rig_on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct rig *r = arg;

	(void)fd;
	(void)what;
	mailbox_open_all(r->mailbox, r);
}

/* One turn, without waiting. */
static inline void
rig_turn(struct rig *r)
{
	r->loop->stop = false;
	loop_again(r->loop, &r->halt);
	loop_run(r->loop);
}

/* Turns until something wakes the test, for a millisecond at most. */
static inline void
rig_wait(struct rig *r)
{
	r->loop->stop = false;
	(void)evtimer_add(&r->tick, &(struct timeval){.tv_usec = 1000});
	loop_run(r->loop);
}

#define until(rig, what)                                                       \
	for (uint64_t by_ms_ = clock_mono_ms() + RIG_PATIENCE_MS; !(what);     \
	     rig_wait(rig))                                                    \
		if (clock_mono_ms() >= by_ms_)                                 \
	fail_msg("waited in vain for %s", #what)

/* So many turns that what is under way between two sockets of one machine has
   arrived and been answered: before saying that something does not happen. */
static inline void
rig_settle(struct rig *r)
{
	for (int i = 0; i < RIG_SETTLE_TURNS; i++)
		rig_turn(r);
}

/* As long as it takes for a timer of <ms> to be over, with the loop turning. */
static inline void
rig_live(struct rig *r, uint64_t ms)
{
	uint64_t end_ms = clock_mono_ms() + ms;

	until(r, clock_mono_ms() >= end_ms);
}

/* ---- the resolver ---- */

static inline void
rig_open_answer(struct letter *letter, void *arg)
{
	struct lookup *l = (struct lookup *)letter;

	(void)arg;
	if (l->link != NULL)
		l->on_answer(l);
	else
		free(l);
}

static inline void
rig_resolve(struct rig *r, struct lookup *l)
{
	l->count = r->port_count > 0 ? r->port_count : 1;
	for (unsigned i = 0; i < l->count; i++) {
		struct sockaddr_in to = {.sin_family = AF_INET,
		    .sin_port =
			htons(r->port_count > 0 ? r->ports[i] : l->port),
		    .sin_addr = {htonl(INADDR_LOOPBACK)}};

		memcpy(&l->addresses[i].storage, &to, sizeof(to));
		l->addresses[i].n = sizeof(to);
	}
	l->letter.open = rig_open_answer;
	mailbox_post(l->reply_to, &l->letter);
}

static inline void
rig_on_lookup(struct letter *letter, void *arg)
{
	struct lookup *l = (struct lookup *)letter;
	struct rig *r = arg;

	r->lookups++;
	if (r->mute)
		r->asked = l;
	else
		rig_resolve(r, l);
}

/* ---- set-up ---- */

static inline void
rig_open(struct rig *r)
{
	void *scratch = NULL;

	(void)signal(SIGPIPE, SIG_IGN); /* as the program does: for OpenSSL */
	*r = (struct rig){0};
	assert_int_equal(scratch_setup(&scratch), 0);
	r->scratch = scratch;
	r->settings = settings_load(NULL, &r->scratch->complaints);
	r->loop = loop_new(64 << 20);
	r->mailbox = mailbox_new();
	assert_non_null(r->settings);
	assert_non_null(r->loop);
	assert_non_null(r->mailbox);
	task_init(&r->halt, rig_on_wake, r);
	(void)evtimer_assign(&r->tick, r->loop->base, rig_on_tick, r);
	(void)event_assign(&r->mail, r->loop->base, mailbox_fd(r->mailbox),
	    EV_READ | EV_PERSIST, rig_on_mail, r);
	assert_int_equal(event_add(&r->mail, NULL), 0);
	r->env = (struct link_env){
	    .loop = r->loop,
	    .mailbox = r->mailbox,
	    .resolver_mailbox = r->mailbox,
	    .resolver_open = rig_on_lookup,
	    .settings = r->settings,
	};
}

/* Nothing may be kept any more. */
static inline void
rig_close(struct rig *r)
{
	void *scratch = r->scratch;

	if (r->asked != NULL)
		rig_resolve(r, r->asked);
	mailbox_open_all(r->mailbox, r);
	assert_true(TAILQ_EMPTY(&r->loop->again));
	assert_true(TAILQ_EMPTY(&r->loop->starved));
	assert_int_equal(r->loop->kept_bytes, 0);
	assert_int_equal(r->loop->out_n, 0);
	(void)event_del(&r->mail);
	(void)event_del(&r->tick);
	mailbox_free(&r->mailbox);
	loop_free(&r->loop);
	settings_unref(r->settings);
	assert_int_equal(scratch_teardown(&scratch), 0);
}

/* ---- sockets ---- */

/* How many descriptors this process has open. */
static inline unsigned
rig_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n;
}

/* A listener on a free port of 127.0.0.1. <receive_bytes> 0: as it comes. */
static inline int
rig_listen(int backlog, int receive_bytes, uint16_t *port)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (receive_bytes > 0)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF,
				     &receive_bytes, sizeof(receive_bytes)),
		    0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

/* A port where nothing listens: bound by <fd>, which does not listen. */
static inline int
rig_refuse(uint16_t *port)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
	*port = ntohs(at.sin_port);
	return fd;
}

static inline int
rig_connect(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* Two ends of a TCP connection, neither of which blocks. */
static inline void
rig_pair(int ends[static 2])
{
	static const int one = 1;
	uint16_t port;
	int listener = rig_listen(1, 0, &port);

	ends[0] = rig_connect(port);
	do
		ends[1] =
		    accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (ends[1] < 0 && errno == EAGAIN &&
	       poll(&(struct pollfd){listener, POLLIN, 0}, 1,
		   RIG_PATIENCE_MS) == 1);
	assert_true(ends[1] >= 0);
	(void)evutil_make_socket_nonblocking(ends[0]);
	for (int i = 0; i < 2; i++)
		(void)setsockopt(
		    ends[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)close(listener);
}

#endif
