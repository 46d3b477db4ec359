#include "server/door.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/visitors.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	ACCEPT_PAUSE_S = 1, /* without descriptors */
	ACCEPT_PAUSE_TELL_MS = 60 * 1000,
	TURNED_AWAY_TELL_MS = 1000,
	CROWD_SLACK = 64 /* over a limit, they are still told why */
};

struct door {
	struct door_config config;
	struct evconnlistener *listener; /* NULL once closed */
	struct event reopen;             /* ends a pause in accepting */
	uint64_t pause_told_ms;
	unsigned turned_away; /* since it was told last */
	uint64_t turned_away_told_ms;
	struct visitors *visitors;
};

/* ---- accepting ---- */

/* A device that lost its power says nothing more: the probes find that out,
   also for one whose keep-alive is 0. */
static void
prepare_socket(const struct door *d, int fd)
{
	static const int one = 1, idle_s = 60, interval_s = 15, probes = 4;
	unsigned ms = (unsigned)d->config.settings->device_write_timeout_ms;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(
	    fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(
	    fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

/* Which limit there are more connections than, by over <slack>. */
static enum reason
over_limit(
    const struct settings *s, const struct crowd_count *now, unsigned slack)
{
	if (now->all > s->devices_max + slack)
		return R_TOO_MANY_DEVICES;
	if (s->devices_per_address_max != 0 &&
	    now->from_address > s->devices_per_address_max + slack)
		return R_TOO_MANY_FROM_ADDRESS;
	return R_NONE;
}

/* Closed unread. A flood must not flood the log too. */
static void
turn_away(struct door *d, enum reason why)
{
	uint64_t now_ms = clock_mono_ms();

	d->turned_away++;
	if (d->turned_away_told_ms != 0 &&
	    now_ms - d->turned_away_told_ms < TURNED_AWAY_TELL_MS)
		return;
	log_write(LOG_WARNING, "connections_refused",
	    "reason=%s count=%u hint=\"%s\"", reason_word(why), d->turned_away,
	    reason_hint(why));
	d->turned_away = 0;
	d->turned_away_told_ms = now_ms;
}

static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *peer, int peer_n, void *arg)
{
	struct door *d = arg;
	const struct settings *s = d->config.settings;
	struct peer_name from;
	struct crowd_count now;

	(void)listener;
	(void)peer_n;
	peer_name(&from, peer);
	if (!crowd_enter(d->config.crowd, fd, from.address, &now)) {
		turn_away(d, R_OUT_OF_MEMORY);
		(void)close(fd);
		return;
	}
	if (over_limit(s, &now, CROWD_SLACK) != R_NONE) {
		turn_away(d, over_limit(s, &now, 0));
		crowd_leave(d->config.crowd, fd);
		(void)close(fd);
		return;
	}
	prepare_socket(d, fd);
	if (!visitors_receive(d->visitors, fd, &from, over_limit(s, &now, 0)))
		turn_away(d, R_OUT_OF_MEMORY);
}

/* Without the timer nobody would end the pause: then there is none. */
static void
pause_accepting(struct door *d)
{
	const struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};

	if (evtimer_add(&d->reopen, &pause) == 0)
		(void)evconnlistener_disable(d->listener);
}

/* Out of descriptors or memory: the waiting connections stay in the backlog
   while those that are there go on. */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct door *d = arg;
	int error = EVUTIL_SOCKET_ERROR();
	enum reason why = error == EMFILE || error == ENFILE ? R_NO_DESCRIPTORS
							     : R_OUT_OF_MEMORY;
	uint64_t now_ms = clock_mono_ms();

	(void)listener;
	if (d->pause_told_ms == 0 ||
	    now_ms - d->pause_told_ms >= ACCEPT_PAUSE_TELL_MS) {
		d->pause_told_ms = now_ms;
		log_write(LOG_ERROR, "accept_paused",
		    "reason=%s detail=\"%s\" hint=\"%s\"", reason_word(why),
		    strerror(error), reason_hint(why));
	}
	pause_accepting(d);
}

static void
on_reopen(evutil_socket_t fd, short what, void *arg)
{
	struct door *d = arg;

	(void)fd;
	(void)what;
	if (d->listener != NULL && evconnlistener_enable(d->listener) != 0)
		pause_accepting(d);
}

/* ---- life ---- */

/* The address was checked when the settings were read. */
static void
listen_address(const struct settings *s, struct sockaddr_storage *sa, int *n)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)sa;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)sa;

	*sa = (struct sockaddr_storage){0};
	*n = sizeof(*sa);
	(void)evutil_parse_sockaddr_port(
	    s->listen_address, (struct sockaddr *)sa, n);
	/* it refuses port 0, so the port goes in by hand */
	if (sa->ss_family == AF_INET6)
		sin6->sin6_port = htons(s->listen_port);
	else
		sin->sin_port = htons(s->listen_port);
}

static struct evconnlistener *
listen_on(struct door *d, struct fault *why)
{
	const struct settings *s = d->config.settings;
	struct sockaddr_storage sa;
	struct evconnlistener *l;
	int n;

	listen_address(s, &sa, &n);
	l = evconnlistener_new_bind(d->config.base, on_accept, d,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
	    (int)s->listen_backlog, (struct sockaddr *)&sa, n);
	if (l == NULL)
		(void)fault_set(why, R_CANNOT_LISTEN,
		    "cannot listen on %s port %u: %s%s", s->listen_address,
		    s->listen_port, strerror(errno),
		    errno == EADDRINUSE
			? "; is another broker running? stop it, or set"
			  " [listen] port"
		    : errno == EACCES ? "; ports under 1024 need rights"
		    : errno == EADDRNOTAVAIL
			? "; this machine has no such address"
			: "");
	else
		evconnlistener_set_error_cb(l, on_accept_error);
	return l;
}

struct door *
door_open(const struct door_config *config, struct fault *why)
{
	const struct visitors_config visitors = {
	    .base = config->base,
	    .settings = config->settings,
	    .map = config->map,
	    .crowd = config->crowd,
	    .admit = config->admit,
	    .arg = config->arg,
	};
	struct door *d = calloc(1, sizeof(*d));

	if (d == NULL) {
		(void)fault_set(why, R_OUT_OF_MEMORY, "for the listener");
		return NULL;
	}
	d->config = *config;
	(void)settings_ref(config->settings);
	(void)evtimer_assign(&d->reopen, config->base, on_reopen, d);
	d->visitors = visitors_new(&visitors);
	if (d->visitors == NULL)
		(void)fault_set(why, R_OUT_OF_MEMORY, "for the listener");
	else
		d->listener = listen_on(d, why);
	if (d->listener == NULL)
		door_free(&d);
	return d;
}

void
door_address(
    const struct door *d, char out[static ADDRESS_TEXT], unsigned *port)
{
	struct sockaddr_storage sa = {0};
	socklen_t n = sizeof(sa);
	struct peer_name self;

	(void)getsockname(
	    evconnlistener_get_fd(d->listener), (struct sockaddr *)&sa, &n);
	peer_name(&self, (struct sockaddr *)&sa);
	memcpy(out, self.address, ADDRESS_TEXT);
	*port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
}

void
door_reload(struct door *d, struct settings *settings, struct credmap *map)
{
	settings_unref(d->config.settings);
	d->config.settings = settings_ref(settings);
	visitors_reload(d->visitors, settings, map);
}

void
door_close(struct door *d)
{
	if (d->listener != NULL)
		evconnlistener_free(d->listener);
	d->listener = NULL;
	(void)evtimer_del(&d->reopen);
	visitors_dismiss(d->visitors);
}

void
door_free(struct door **d)
{
	if (*d == NULL)
		return;
	if ((*d)->visitors != NULL)
		door_close(*d);
	visitors_free(&(*d)->visitors);
	settings_unref((*d)->config.settings);
	free(*d);
	*d = NULL;
}
