/*
 * lan: the far end of a device's connection: the device itself, one step a
 * call. While a step waits, the rig's loop turns.
 */
#ifndef TESTS_UNIT_LAN_H
#define TESTS_UNIT_LAN_H

#include "base/buffer.h"
#include "session/crowd.h"
#include "session/device.h"
#include "session/linger.h"

#include "rig.h"

#include <errno.h>

struct lan {
	struct rig *rig;
	struct crowd *crowd;
	struct lingering *lingering;
	struct device_env env;
	int fd;
	struct event ready;
	struct buffer in; /* read, and not looked at yet */
	bool ended;       /* nothing comes behind <in> */
	bool reset;       /* it ended with a RST */
};

static inline void
lan_on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct lan *l = arg;

	(void)fd;
	(void)what;
	rig_wake(l->rig);
}

static inline void
lan_open(struct lan *l, struct rig *r)
{
	*l = (struct lan){.rig = r, .crowd = crowd_new(), .fd = -1};
	assert_non_null(l->crowd);
	l->lingering = lingering_new(r->loop->base, l->crowd);
	assert_non_null(l->lingering);
	l->env = (struct device_env){.loop = r->loop,
	    .lingering = l->lingering,
	    .settings = r->settings};
}

static inline void
lan_hang_up(struct lan *l)
{
	if (l->fd >= 0) {
		(void)event_del(&l->ready);
		(void)close(l->fd);
	}
	l->fd = -1;
	buffer_free(&l->in);
	l->ended = l->reset = false;
}

/* Every connection must have been closed, or be lingering. */
static inline void
lan_close(struct lan *l)
{
	lan_hang_up(l);
	lingering_free(&l->lingering);
	assert_int_equal(crowd_size(l->crowd), 0);
	crowd_free(&l->crowd);
}

static inline void
lan_reset(struct lan *l)
{
	(void)setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
	    sizeof(struct linger));
	lan_hang_up(l);
}

/* A new connection; returns the proxy's end, of which the kernel takes less
   than LAN_MUCH bytes when the device does not read. */
enum { LAN_MUCH = 1024 * 1024 };

static inline int
lan_connect(struct lan *l)
{
	static const int bytes = 64 * 1024; /* set, so that they do not grow */
	struct crowd_count now;
	int ends[2];

	lan_hang_up(l);
	rig_pair(ends);
	l->fd = ends[0];
	(void)setsockopt(ends[0], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	(void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	(void)event_assign(&l->ready, l->rig->loop->base, l->fd,
	    EV_READ | EV_WRITE | EV_ET | EV_PERSIST, lan_on_ready, l);
	(void)event_add(&l->ready, NULL);
	assert_true(crowd_enter(l->crowd, ends[1], "127.0.0.1", &now));
	return ends[1];
}

static inline bool
lan_try_write(struct lan *l, struct span *bytes)
{
	ssize_t n = send(l->fd, bytes->p, bytes->n, MSG_NOSIGNAL);

	assert_true(n > 0 || errno == EAGAIN);
	if (n > 0) {
		bytes->p += n;
		bytes->n -= (size_t)n;
	}
	return bytes->n == 0;
}

static inline void
lan_write(struct lan *l, struct span bytes)
{
	if (bytes.n > 0)
		until(l->rig, lan_try_write(l, &bytes));
}

static inline void
lan_fin(struct lan *l)
{
	assert_int_equal(shutdown(l->fd, SHUT_WR), 0);
}

/* Reads what there is now. True when there was something, or the end. */
static inline bool
lan_read(struct lan *l)
{
	enum { BYTES = 64 * 1024 };
	uint8_t *to = buffer_reserve(&l->in, BYTES);
	ssize_t n = recv(l->fd, to, BYTES, 0);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n > 0)
		buffer_commit(&l->in, (size_t)n);
	l->ended = n <= 0;
	l->reset = n < 0;
	return true;
}

static inline void
lan_read_more(struct lan *l)
{
	assert_false(l->ended);
	until(l->rig, lan_read(l));
}

/* The next bytes, which must be these. */
#define lan_expect(l, want)                                                    \
	do {                                                                   \
		struct span want__ = (want);                                   \
                                                                               \
		while ((l)->in.n < want__.n)                                   \
			lan_read_more(l);                                      \
		assert_memory_equal(                                           \
		    buffer_span(&(l)->in).p, want__.p, want__.n);              \
		buffer_drop(&(l)->in, want__.n);                               \
	} while (0)

/* Nothing more comes but the FIN. */
static inline void
lan_expect_end(struct lan *l)
{
	while (!l->ended)
		lan_read_more(l);
	assert_int_equal(l->in.n, 0);
	assert_false(l->reset);
}

static inline bool
lan_hears_nothing(struct lan *l)
{
	rig_settle(l->rig);
	return !lan_read(l) && l->in.n == 0;
}

#endif
