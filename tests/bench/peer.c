#include "peer.h"

#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void
hand_on(struct peer *p)
{
	size_t done = 0;
	size_t n;

	do {
		n = p->take(p, (struct span){p->bytes + done, p->kept - done});
		done += n;
	} while (n > 0 && done < p->kept);
	p->kept -= done;
	memmove(p->bytes, p->bytes + done, p->kept);
	if (p->kept == sizeof(p->bytes))
		errx(1, "a packet is too long for this benchmark");
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct peer *p = arg;
	ssize_t n = recv(
	    fd, p->bytes + p->kept, sizeof(p->bytes) - p->kept, MSG_DONTWAIT);

	(void)what;
	if (n > 0) {
		p->kept += (size_t)n;
		hand_on(p);
	} else if (n == 0 || errno == ECONNRESET) {
		p->gone(p);
	} else if (errno != EAGAIN) {
		err(1, "recv");
	}
}

void
peer_start(struct peer *p, struct event_base *base, int fd)
{
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	p->fd = fd;
	p->event = event_new(base, fd, EV_READ | EV_PERSIST, on_event, p);
	if (p->event == NULL || event_add(p->event, NULL) != 0)
		errx(1, "an event could not be added");
}

void
peer_send(struct peer *p, const void *bytes, size_t n)
{
	if (send(p->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)n)
		err(1, "send");
}

void
peer_stop(struct peer *p)
{
	if (p->event == NULL)
		return;
	event_free(p->event);
	p->event = NULL;
	(void)close(p->fd);
}

size_t
peer_packet_bytes(struct span bytes)
{
	size_t length = 0;

	for (size_t i = 1; i < bytes.n && i <= 4; i++) {
		length |= (size_t)(bytes.p[i] & 0x7f) << 7 * (i - 1);
		if (bytes.p[i] < 0x80)
			return 1 + i + length <= bytes.n ? 1 + i + length : 0;
	}
	return 0;
}
