#include "session/device.h"

#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum {
	READS_PER_TURN = 4, /* then the other sessions have their turn */
	TIMER_SLACK_MS = 5 /* the deadline clock is a few milliseconds coarse */
};

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);
static void on_again(void *arg);

bool
device_init(struct device *d, struct device_env *env,
    const struct device_owner *owner, void *arg, int fd,
    struct buffer *pipelined)
{
	*d = (struct device){.env = env, .owner = owner, .arg = arg, .fd = fd};
	(void)event_assign(&d->io, env->loop->base, fd,
	    EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_io, d);
	(void)evtimer_assign(&d->timer, env->loop->base, on_timer, d);
	task_init(&d->again, on_again, d);
	if (!loop_keep(env->loop, &d->in, buffer_span(pipelined)))
		return false;
	if (event_add(&d->io, NULL) != 0) {
		loop_unkeep(env->loop, &d->in, d->in.n);
		return false;
	}
	d->untried = d->in.n > 0;
	buffer_free(pipelined);
	return true;
}

/* Everything but the descriptor is given back. */
static void
leave(struct device *d)
{
	d->state = DEVICE_GONE;
	(void)event_del(&d->io);
	(void)evtimer_del(&d->timer);
	task_cancel(&d->again);
	loop_unkeep(d->env->loop, &d->in, d->in.n);
}

void
device_close(struct device *d, struct span last)
{
	struct buffer rest = {0};

	if (d->state == DEVICE_GONE)
		return;
	leave(d);
	/* without memory the device misses the reason, not the close */
	if (buffer_append(&rest, buffer_span(&d->out)) && !d->torn &&
	    buffer_append(&rest, last))
		tap_tell(d->tap, TAP_TO_DEVICE, last, false);
	loop_unkeep_down(d->env->loop, &d->out, d->out.n);
	linger_seen(d->env->lingering, d->fd, &rest,
	    d->env->settings->close_timeout_ms, d->witness);
	d->fd = -1;
}

static void
gone(struct device *d, enum reason reason, const char *text)
{
	struct fault why;

	if (d->state == DEVICE_GONE)
		return;
	(void)fault_set(&why, reason, "%s", text);
	d->owner->on_gone(d->arg, &why);
}

/* <error>: errno of a call on its socket. */
static void
broken(struct device *d, int error)
{
	gone(d,
	    error == ENOMEM || error == ENOBUFS ? R_OUT_OF_MEMORY
						: R_DEVICE_LOST,
	    strerror(error));
}

/* ---- out ---- */

static void arm(struct device *d);

void
device_write(struct device *d, struct span bytes)
{
	if (d->state == DEVICE_GONE || bytes.n == 0)
		return;
	tap_tell(d->tap, TAP_TO_DEVICE, bytes, false);
	while (d->out.n == 0 && bytes.n > 0) {
		ssize_t n = send(d->fd, bytes.p, bytes.n, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			d->torn = true;
			broken(d, errno);
			return;
		}
		bytes.p += n;
		bytes.n -= (size_t)n;
	}
	if (bytes.n == 0)
		return;
	if (!loop_keep_down(d->env->loop, &d->out, bytes)) {
		d->torn = true;
		gone(d, R_OUT_OF_MEMORY, "for bytes to the device");
		return;
	}
	if (d->blocked_ms == 0) {
		d->blocked_ms = clock_mono_ms();
		arm(d);
	}
}

static void
write_kept(struct device *d)
{
	while (d->out.n > 0) {
		struct span rest = buffer_span(&d->out);
		ssize_t n = send(d->fd, rest.p, rest.n, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			broken(d, errno);
			return;
		}
		loop_unkeep_down(d->env->loop, &d->out, (size_t)n);
		d->blocked_ms = d->out.n > 0 ? clock_mono_ms() : 0;
	}
	d->owner->on_room(d->arg);
}

/* ---- in ---- */

/* Hands on the first <n> bytes of the scratch, which begin with those of d->in.
   What the owner leaves is kept. */
static void
hand_on(struct device *d, size_t n)
{
	struct loop *loop = d->env->loop;
	size_t taken;

	d->untried = false;
	loop_unkeep(loop, &d->in, d->in.n);
	taken = d->owner->on_bytes(d->arg, (struct span){loop->in, n});
	if (d->state == DEVICE_GONE || taken == n)
		return;
	if (!loop_keep(
		loop, &d->in, (struct span){loop->in + taken, n - taken}))
		gone(d, R_OUT_OF_MEMORY, "for bytes from the device");
}

static size_t
read_size(const struct device *d)
{
	uint64_t share = d->env->settings->session_buffer_bytes / 4;

	return share < LOOP_IN_BYTES ? (size_t)share : LOOP_IN_BYTES;
}

/* One read; false when there is nothing more to do for now. */
static bool
read_once(struct device *d)
{
	struct loop *loop = d->env->loop;
	size_t kept = d->in.n;
	size_t size = read_size(d);
	ssize_t n;

	if (kept > 0)
		memcpy(loop->in, d->in.p + d->in.off, kept);
	/* over the size only after a reload has made it smaller */
	if (d->untried || kept >= size) {
		hand_on(d, kept);
		return true;
	}
	if (!d->readable)
		return false;
	n = recv(d->fd, loop->in + kept, size - kept, 0);
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN) {
		d->readable = false;
		return false;
	}
	if (n < 0) {
		broken(d, errno);
		return false;
	}
	if (n == 0) {
		gone(d, R_DEVICE_CLOSED,
		    kept > 0 ? "in the middle of a packet" : "");
		return false;
	}
	/* also after a short read: a FIN or a reset that is there already,
	   behind these bytes, is no event of its own */
	d->heard_ms = clock_mono_ms();
	tap_tell(d->tap, TAP_FROM_DEVICE,
	    (struct span){loop->in + kept, (size_t)n}, false);
	hand_on(d, kept + (size_t)n);
	return true;
}

static void
read_device(struct device *d)
{
	for (int i = 0; i < READS_PER_TURN; i++) {
		if (d->state != DEVICE_ONLINE || d->paused)
			return;
		/* what is kept of a packet is given back when it is whole: one
		   that has begun must go on, or nobody ever gives back */
		if (d->in.n == 0 &&
		    !loop_has_room(d->env->loop, 3 * read_size(d),
			LOOP_FROM_DEVICE, &d->again))
			return;
		if (!read_once(d))
			return;
	}
	if (d->state == DEVICE_ONLINE)
		loop_again(d->env->loop, &d->again);
}

/*
 * Has a waiting device left? One that has sent packets behind its CONNECT and
 * then its FIN still gets them delivered; one that has sent nothing more wants
 * nothing any more, and must not cost a login.
 */
static void
look_whether_left(struct device *d)
{
	uint8_t byte;
	ssize_t n = recv(d->fd, &byte, 1, MSG_PEEK);
	int error = 0;
	socklen_t size = sizeof(error);

	/* a reset behind bytes shows here only */
	if (n > 0 &&
	    getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
	    error != 0) {
		broken(d, error);
		return;
	}
	if (n == 0 && d->in.n == 0)
		gone(d, R_DEVICE_CLOSED, "before the cloud had answered");
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		broken(d, errno);
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	struct device *d = arg;

	(void)fd;
	if (what & EV_CLOSED)
		d->fin_seen = true;
	if (what & (EV_READ | EV_CLOSED))
		d->readable = true;
	if ((what & EV_WRITE) && d->out.n > 0)
		write_kept(d);
	if (d->state == DEVICE_WAIT && d->readable)
		look_whether_left(d);
	read_device(d);
}

static void
on_again(void *arg)
{
	read_device(arg);
}

void
device_pause(struct device *d, bool paused)
{
	if (d->paused == paused || d->state == DEVICE_GONE)
		return;
	d->paused = paused;
	if (paused)
		return;
	d->heard_ms = clock_mono_ms();
	d->untried = d->in.n > 0;
	/* no event will come for what is there already */
	if (d->untried || d->readable)
		loop_again(d->env->loop, &d->again);
	arm(d);
}

/* ---- time ---- */

static uint64_t
remaining(uint64_t since_ms, uint64_t span_ms, uint64_t now_ms)
{
	uint64_t due_ms = since_ms + span_ms;

	return due_ms > now_ms ? due_ms - now_ms : 0;
}

/* The earliest of what may fall due. Re-armed when it fires, not when bytes
   come: those only note the time. The caller's last act. */
static void
arm(struct device *d)
{
	uint64_t now_ms = clock_mono_ms();
	uint64_t ms = UINT64_MAX;
	uint64_t t;
	struct timeval tv;

	if (d->silence_max_ms != 0 && !d->paused)
		ms = remaining(d->heard_ms, d->silence_max_ms, now_ms);
	if (d->blocked_ms != 0) {
		t = remaining(d->blocked_ms,
		    d->env->settings->device_write_timeout_ms, now_ms);
		ms = t < ms ? t : ms;
	}
	if (ms == UINT64_MAX)
		return;
	ms += TIMER_SLACK_MS;
	tv = (struct timeval){.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
	if (evtimer_add(&d->timer, &tv) != 0)
		gone(d, R_OUT_OF_MEMORY, "for a timer");
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct device *d = arg;
	uint64_t now_ms = clock_mono_ms();

	(void)fd;
	(void)what;
	/* what is not read cannot be heard */
	if (loop_starves(d->env->loop, &d->again))
		d->heard_ms = now_ms;
	if (d->blocked_ms != 0 &&
	    remaining(d->blocked_ms, d->env->settings->device_write_timeout_ms,
		now_ms) == 0)
		gone(d, R_DEVICE_STUCK, "");
	else if (d->silence_max_ms != 0 && !d->paused &&
		 remaining(d->heard_ms, d->silence_max_ms, now_ms) == 0)
		gone(d, R_DEVICE_SILENT, "");
	else
		arm(d);
}

/* The kernel had to send something again. */
static bool
is_unacknowledged(int fd)
{
	struct tcp_info info;
	socklen_t n = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 &&
	       info.tcpi_retransmits > 0;
}

bool
device_seems_lost(const struct device *d)
{
	uint64_t keep_alive_ms = d->silence_max_ms / 3 * 2;

	if (d->state == DEVICE_GONE)
		return true;
	return d->out.n > 0 || is_unacknowledged(d->fd) ||
	       (keep_alive_ms != 0 && !d->paused &&
		   clock_mono_ms() - d->heard_ms > keep_alive_ms);
}

void
device_go_online(struct device *d, uint16_t keep_alive_s)
{
	if (d->state != DEVICE_WAIT)
		return;
	d->state = DEVICE_ONLINE;
	d->silence_max_ms = keep_alive_s != 0
				? (uint64_t)keep_alive_s * 1500
				: d->env->settings->idle_timeout_ms;
	d->heard_ms = clock_mono_ms();
	if (d->untried || d->readable)
		loop_again(d->env->loop, &d->again);
	arm(d);
}
