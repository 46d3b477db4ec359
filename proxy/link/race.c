#include "link/race.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ATTEMPT_DELAY_MS = 250 }; /* RFC 8305 5 */

/* ---- words ---- */

static enum reason
connect_reason(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return R_CLOUD_REFUSED;
	case ECONNRESET:
		return R_CLOUD_RESET;
	case ETIMEDOUT:
		return R_TCP_TIMEOUT;
	case EMFILE:
	case ENFILE:
		return R_NO_DESCRIPTORS;
	case ENOMEM:
	case ENOBUFS:
		return R_OUT_OF_MEMORY;
	default:
		return R_CLOUD_UNREACHABLE;
	}
}

/* The one that tells most of all that the attempts have met. */
static enum reason
most_telling(const struct race *r)
{
	static const enum reason ranks[] = {R_NO_DESCRIPTORS, R_OUT_OF_MEMORY,
	    R_CLOUD_REFUSED, R_CLOUD_RESET, R_TCP_TIMEOUT};

	for (size_t rank = 0; rank < sizeof(ranks) / sizeof(ranks[0]); rank++)
		for (unsigned i = 0; i < r->begun; i++)
			if (connect_reason(r->attempts[i].error) == ranks[rank])
				return ranks[rank];
	return R_CLOUD_UNREACHABLE;
}

const char *
race_describe(const struct race *r, char *out, size_t size)
{
	static const char cut[] = "...";
	char address[ADDRESS_WRITTEN_MAX], text[ADDRESS_WRITTEN_MAX + 64];
	size_t at = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < r->begun; i++) {
		int error = r->attempts[i].error;
		size_t n = (size_t)snprintf(text, sizeof(text), "%s%s: %s",
		    i > 0 ? "; " : "", address_write(address, &r->addresses[i]),
		    error != 0 ? strerror(error) : "no answer yet");

		if (at + n + sizeof(cut) > size) {
			(void)snprintf(out + at, size - at, "%s", cut);
			break;
		}
		memcpy(out + at, text, n + 1);
		at += n;
	}
	return out;
}

/* ---- attempts ---- */

static void
attempt_over(struct attempt *a, int error)
{
	if (a->fd >= 0) {
		(void)event_del(&a->io);
		(void)close(a->fd);
	}
	a->fd = -1;
	a->error = error;
}

static void
win(struct race *r, struct attempt *a)
{
	int fd = a->fd;

	(void)event_del(&a->io);
	a->fd = -1; /* is not closed with the others */
	race_cancel(r);
	r->on_done(r->arg, fd, NULL);
}

/* Without memory for the timer: at once. */
static void
schedule(struct race *r, long ms)
{
	struct timeval tv = {.tv_usec = ms * 1000};

	if (evtimer_add(&r->next, &tv) != 0)
		event_active(&r->next, EV_TIMEOUT, 0);
}

/* The next one begins at once; without one, and when nobody runs any more, all
   is lost. */
static void
fail(struct race *r, struct attempt *a, int error)
{
	char text[FAULT_TEXT_MAX];
	struct fault why;

	attempt_over(a, error);
	if (r->begun < r->count) {
		schedule(r, 0);
		return;
	}
	for (unsigned i = 0; i < r->count; i++)
		if (r->attempts[i].fd >= 0)
			return;
	(void)fault_set(
	    &why, most_telling(r), "%s", race_describe(r, text, sizeof(text)));
	race_cancel(r);
	r->on_done(r->arg, -1, &why);
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	struct attempt *a = arg;
	struct sockaddr_storage peer;
	socklen_t peer_n = sizeof(peer);
	int error = 0;
	socklen_t error_n = sizeof(error);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_n) != 0)
		error = errno;
	if (error != 0)
		fail(a->race, a, error);
	else if (getpeername(fd, (struct sockaddr *)&peer, &peer_n) == 0)
		win(a->race, a);
}

static void
prepare_socket(int fd, unsigned user_timeout_ms)
{
	static const int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* a connection whose other end is gone is found by the next ping */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
	    sizeof(user_timeout_ms));
}

/* Begins to connect; 0 or an errno. */
static int
attempt_begin(struct attempt *a, const struct address *to)
{
	struct race *r = a->race;
	int fd = socket(to->storage.ss_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return errno;
	a->fd = fd;
	(void)event_assign(
	    &a->io, r->base, fd, EV_WRITE | EV_ET | EV_PERSIST, on_io, a);
	prepare_socket(fd, r->user_timeout_ms);
	/* interrupted, it goes on nevertheless (POSIX connect()) */
	if (connect(fd, (const struct sockaddr *)&to->storage, to->n) != 0 &&
	    errno != EINPROGRESS && errno != EINTR)
		return errno;
	return event_add(&a->io, NULL) == 0 ? 0 : ENOMEM;
}

static void
on_next(evutil_socket_t fd, short what, void *arg)
{
	struct race *r = arg;
	struct attempt *a = &r->attempts[r->begun];
	int error = attempt_begin(a, &r->addresses[r->begun]);

	(void)fd;
	(void)what;
	r->begun++;
	if (error != 0)
		fail(r, a, error);
	else if (r->begun < r->count)
		schedule(r, ATTEMPT_DELAY_MS);
}

/* ---- the owner's side ---- */

void
race_init(struct race *r, struct event_base *base,
    void (*on_done)(void *arg, int fd, const struct fault *why), void *arg)
{
	memset(r, 0, sizeof(*r));
	r->base = base;
	r->on_done = on_done;
	r->arg = arg;
	(void)evtimer_assign(&r->next, base, on_next, r);
	for (unsigned i = 0; i < ADDRESS_LIST_MAX; i++)
		r->attempts[i] = (struct attempt){.race = r, .fd = -1};
}

void
race_start(struct race *r, const struct address *addresses, unsigned count,
    unsigned user_timeout_ms)
{
	r->addresses = addresses;
	r->count = count;
	r->user_timeout_ms = user_timeout_ms;
	schedule(r, 0);
}

void
race_cancel(struct race *r)
{
	(void)event_del(&r->next);
	for (unsigned i = 0; i < r->begun; i++)
		attempt_over(&r->attempts[i], 0);
	r->begun = r->count = 0;
}
