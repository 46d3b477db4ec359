#include "session/linger.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DISCARD_BYTES = 4096, DISCARDS_PER_EVENT = 64 };

struct lingerer {
	LIST_ENTRY(lingerer) next;
	struct lingering *in;
	int fd;
	struct event io;
	struct event timer;
	struct buffer last;
	struct witness *witness; /* or NULL */
	bool fin_sent;
};

struct lingering {
	LIST_HEAD(, lingerer) all;
	struct event_base *base;
	struct crowd *crowd;
	unsigned writing; /* entries whose FIN has not been sent yet */
	void (*tell_written)(void *arg); /* NULL: nobody asked */
	void *arg;
};

struct lingering *
lingering_new(struct event_base *base, struct crowd *crowd)
{
	struct lingering *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	LIST_INIT(&c->all);
	c->base = base;
	c->crowd = crowd;
	return c;
}

static void
close_counted(struct lingering *c, int fd)
{
	crowd_leave(c->crowd, fd);
	(void)close(fd);
}

bool
lingering_has_written(const struct lingering *c)
{
	return c->writing == 0;
}

void
lingering_tell_written(struct lingering *c, void (*tell)(void *arg), void *arg)
{
	c->tell_written = tell;
	c->arg = arg;
}

/* Its last bytes have gone, or never will. */
static void
done_writing(struct lingerer *l)
{
	struct lingering *c = l->in;

	if (l->fin_sent)
		return;
	l->fin_sent = true;
	if (--c->writing == 0 && c->tell_written != NULL)
		c->tell_written(c->arg);
}

static void
finish(struct lingerer *l)
{
	LIST_REMOVE(l, next);
	(void)event_del(&l->io);
	(void)evtimer_del(&l->timer);
	close_counted(l->in, l->fd);
	buffer_free(&l->last);
	witness_unref(l->witness);
	done_writing(l);
	free(l);
}

/* False: the connection is broken. */
static bool
write_last(struct lingerer *l)
{
	while (l->last.n > 0) {
		struct span rest = buffer_span(&l->last);
		ssize_t n = send(l->fd, rest.p, rest.n, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		buffer_drop(&l->last, (size_t)n);
	}
	if (!l->fin_sent)
		(void)shutdown(l->fd, SHUT_WR);
	done_writing(l);
	return true;
}

void
lingering_free(struct lingering **c)
{
	struct lingerer *l;

	if (*c == NULL)
		return;
	(*c)->tell_written = NULL;
	while ((l = LIST_FIRST(&(*c)->all)) != NULL) {
		(void)write_last(l); /* there may have been no turn for it */
		finish(l);
	}
	free(*c);
	*c = NULL;
}

/* False: the device has closed, or sends more than a last breath. */
static bool
discard(int fd, struct witness *w)
{
	uint8_t bytes[DISCARD_BYTES];

	for (int i = 0; i < DISCARDS_PER_EVENT; i++) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

		if (n == 0 && w != NULL)
			w->saw_fin = true;
		if (n == 0)
			return false;
		if (n < 0 && errno != EINTR)
			return errno == EAGAIN;
	}
	return false;
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	struct lingerer *l = arg;

	(void)what;
	/* a device that has closed its half may still read the other one */
	if (!write_last(l) || (!discard(fd, l->witness) && l->last.n == 0))
		finish(l);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg);
}

void
linger(struct lingering *c, int fd, struct buffer *last, uint64_t bound_ms)
{
	linger_seen(c, fd, last, bound_ms, NULL);
}

void
linger_seen(struct lingering *c, int fd, struct buffer *last, uint64_t bound_ms,
    struct witness *w)
{
	struct timeval tv = {.tv_sec = (time_t)(bound_ms / 1000),
	    .tv_usec = (suseconds_t)(bound_ms % 1000 * 1000)};
	struct lingerer *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		buffer_free(last);
		close_counted(c, fd);
		return;
	}
	l->in = c;
	l->fd = fd;
	l->last = *last;
	*last = (struct buffer){0};
	l->witness = witness_ref(w);
	LIST_INSERT_HEAD(&c->all, l, next);
	c->writing++;
	/* edge-triggered: the first event comes at once, the socket being
	   writable */
	(void)event_assign(&l->io, c->base, fd,
	    EV_READ | EV_WRITE | EV_ET | EV_PERSIST, on_io, l);
	(void)evtimer_assign(&l->timer, c->base, on_deadline, l);
	if (event_add(&l->io, NULL) != 0 || evtimer_add(&l->timer, &tv) != 0)
		finish(l);
}
