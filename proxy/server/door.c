#include "server/door.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/gateway.h"
#include "server/listening.h"
#include "server/peer_name.h"
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

/* A listening socket. */
struct post {
	struct door *door;
	struct listener rules;     /* what may change is that of the reload */
	struct local_socket local; /* of a Unix socket of our own */
	struct evconnlistener *listener; /* NULL: closed */
	bool is_unix;
	bool inherited;
};

enum { POSTS_MAX = LISTENERS_MAX + INHERITED_MAX };

struct door {
	struct door_config config;
	struct post posts[POSTS_MAX];
	unsigned post_count;
	struct event reopen; /* ends a pause in accepting */
	uint64_t pause_told_ms;
	unsigned turned_away; /* since it was told last */
	uint64_t turned_away_told_ms;
	struct gateway gateway;
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

/* Closed unread. A flood must not flood the log too. */
static void
turn_away(struct post *post, enum reason why, const struct peer_name *from)
{
	struct door *d = post->door;
	uint64_t now_ms = clock_mono_ms();

	visitors_refused(d->visitors)->count[why]++;
	d->turned_away++;
	if (d->turned_away_told_ms != 0 &&
	    now_ms - d->turned_away_told_ms < TURNED_AWAY_TELL_MS)
		return;
	log_write(LOG_WARNING, "connections_refused",
	    "reason=%s count=%u peer=%s listener=%s hint=\"%s\"",
	    reason_word(why), d->turned_away, from->text,
	    listener_name(&post->rules), reason_hint(why));
	d->turned_away = 0;
	d->turned_away_told_ms = now_ms;
}

/* Whether its address alone keeps it out. Behind a load balancer that is the
   balancer's; the device's is looked at when it is known. */
static enum reason
unwanted(const struct post *post, const struct peer_name *from)
{
	const struct listener *l = &post->rules;
	struct network address;

	if (post->is_unix)
		return R_NONE; /* the file system has let it in */
	/* of no address fits no network */
	(void)!network_read(from->address, &address);
	if (l->proxy_protocol)
		return network_list_has(&l->proxy_from, &address)
			   ? R_NONE
			   : R_PROXY_NOT_TRUSTED;
	return l->allow_from.count == 0 ||
		       network_list_has(&l->allow_from, &address)
		   ? R_NONE
		   : R_LISTENER_NOT_ALLOWED;
}

/* Told once: who relies on addresses has to know. */
static void
warn_of_gateway(struct post *post, const struct peer_name *from)
{
	if (gateway_is_news(&post->door->gateway, from->address))
		log_write(LOG_WARNING, "addresses_hidden",
		    "peer=%s listener=%s hint=\"that is the gateway of this"
		    " container's network: devices that come through a"
		    " published port may all have its address, so match_address"
		    " and allow_from do not work; use the host's network, or"
		    " [listen] proxy_protocol, or userland-proxy = false\"",
		    from->text, listener_name(&post->rules));
}

static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *peer, int peer_n, void *arg)
{
	struct post *post = arg;
	struct door *d = post->door;
	const struct settings *s = d->config.settings;
	bool has_address = !post->is_unix && !post->rules.proxy_protocol;
	struct peer_name from;
	struct crowd_count now;
	enum reason why;

	(void)listener;
	(void)peer_n;
	peer_name(&from, peer);
	if (has_address)
		warn_of_gateway(post, &from);
	why = unwanted(post, &from);
	if (why != R_NONE) {
		turn_away(post, why, &from);
		(void)close(fd);
		return;
	}
	if (!crowd_enter(d->config.crowd, fd, from.address, &now)) {
		turn_away(post, R_OUT_OF_MEMORY, &from);
		(void)close(fd);
		return;
	}
	why = visitors_over_limit(s, &now, has_address, CROWD_SLACK);
	if (why != R_NONE) {
		turn_away(post, why, &from);
		crowd_leave(d->config.crowd, fd);
		(void)close(fd);
		return;
	}
	if (!post->is_unix)
		prepare_socket(d, fd);
	if (!visitors_receive(d->visitors, fd, &post->rules, &from,
		visitors_over_limit(s, &now, has_address, 0)))
		turn_away(post, R_OUT_OF_MEMORY, &from);
}

/* Without the timer nobody would end the pause: then there is none. */
static void
pause_accepting(struct post *post)
{
	const struct timeval pause = {.tv_sec = ACCEPT_PAUSE_S};

	if (evtimer_add(&post->door->reopen, &pause) == 0)
		(void)evconnlistener_disable(post->listener);
}

/* Out of descriptors or memory: the waiting connections stay in the backlog
   while those that are there go on. */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct post *post = arg;
	struct door *d = post->door;
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
	pause_accepting(post);
}

static void
on_reopen(evutil_socket_t fd, short what, void *arg)
{
	struct door *d = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < d->post_count; i++) {
		struct post *post = &d->posts[i];

		if (post->listener != NULL &&
		    evconnlistener_enable(post->listener) != 0)
			pause_accepting(post);
	}
}

/* ---- life ---- */

/* From now on connections to <fd> are accepted, which is taken over. */
static bool
man(struct door *d, const struct listener *rules, int fd,
    const struct local_socket *local, struct fault *why)
{
	struct post *post = &d->posts[d->post_count++];

	*post = (struct post){.door = d, .rules = *rules, .local.fd = -1};
	if (local != NULL)
		post->local = *local;
	post->listener = evconnlistener_new(d->config.base, on_accept, post,
	    LEV_OPT_CLOSE_ON_EXEC | (local == NULL ? LEV_OPT_CLOSE_ON_FREE : 0),
	    0, fd);
	if (post->listener != NULL) {
		evconnlistener_set_error_cb(post->listener, on_accept_error);
		return true;
	}
	if (local == NULL)
		(void)close(fd);
	return fault_set(why, R_OUT_OF_MEMORY, "for a listener");
}

static bool
is_unix(int fd)
{
	struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
	socklen_t n = sizeof(sa);

	return getsockname(fd, (struct sockaddr *)&sa, &n) == 0 &&
	       sa.ss_family == AF_UNIX;
}

/* All that were inherited and are not the admin's. */
static bool
take_inherited(struct door *d, struct inherited *in, struct fault *why)
{
	for (unsigned i = 0; in != NULL && i < in->count; i++) {
		struct inherited_socket *s = &in->sockets[i];
		const struct listener *rules;
		int fd = s->fd;

		if (fd < 0)
			continue;
		rules = listening_for(d->config.settings, fd, s->name, why);
		if (rules == NULL)
			return false;
		s->fd = -1;
		if (!man(d, rules, fd, NULL, why))
			return false;
		d->posts[d->post_count - 1].is_unix = is_unix(fd);
		d->posts[d->post_count - 1].inherited = true;
	}
	return true;
}

static bool
is_manned(const struct door *d, const struct listener *l)
{
	for (unsigned i = 0; i < d->post_count; i++)
		if (strcmp(d->posts[i].rules.section, l->section) == 0)
			return true;
	return false;
}

static bool
listen_at(struct door *d, const struct listener *l, struct fault *why)
{
	struct local_socket local;
	int fd;

	if (l->socket[0] == '\0') {
		fd = listening_open(d->config.settings, l, why);
		return fd >= 0 && man(d, l, fd, NULL, why);
	}
	if (!listening_open_local(l, &local, why) ||
	    !man(d, l, local.fd, &local, why))
		return false;
	d->posts[d->post_count - 1].is_unix = true;
	return true;
}

static bool
listen_on_all(struct door *d, struct fault *why)
{
	const struct settings *s = d->config.settings;

	if (!take_inherited(d, d->config.inherited, why))
		return false;
	for (unsigned i = 0; i < s->listener_count; i++)
		if (!is_manned(d, &s->listeners[i]) &&
		    !listen_at(d, &s->listeners[i], why))
			return false;
	return true;
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
	gateway_find(&d->gateway);
	(void)evtimer_assign(&d->reopen, config->base, on_reopen, d);
	d->visitors = visitors_new(&visitors);
	if (d->visitors == NULL)
		(void)fault_set(why, R_OUT_OF_MEMORY, "for the listener");
	if (d->visitors == NULL || !listen_on_all(d, why))
		door_free(&d);
	return d;
}

bool
door_place(const struct door *d, unsigned i, struct door_place *out)
{
	struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
	socklen_t n = sizeof(sa);
	struct peer_name self;
	const struct post *post = &d->posts[i];

	if (i >= d->post_count || post->listener == NULL)
		return false;
	out->fd = evconnlistener_get_fd(post->listener);
	out->listener = listener_name(&post->rules);
	out->inherited = post->inherited;
	(void)getsockname(out->fd, (struct sockaddr *)&sa, &n);
	peer_name(&self, (struct sockaddr *)&sa);
	memcpy(out->address, self.address, ADDRESS_TEXT);
	out->port =
	    post->is_unix ? 0 : ntohs(((struct sockaddr_in *)&sa)->sin_port);
	return true;
}

/* Where they are stays; a listener that is gone keeps its rules. */
static void
reload_rules(struct door *d, const struct settings *settings)
{
	for (unsigned i = 0; i < d->post_count; i++) {
		struct listener *rules = &d->posts[i].rules;
		const struct listener *fresh =
		    settings_listener(settings, rules->section);

		if (fresh == NULL)
			continue;
		rules->allow_from = fresh->allow_from;
		rules->proxy_protocol = fresh->proxy_protocol;
		rules->proxy_from = fresh->proxy_from;
	}
}

void
door_reload(struct door *d, struct settings *settings, struct credmap *map)
{
	settings_unref(d->config.settings);
	d->config.settings = settings_ref(settings);
	reload_rules(d, settings);
	visitors_reload(d->visitors, settings, map);
}

/* <close_local> is what becomes of Unix sockets of our own. */
static void
stop_listening(struct door *d, void (*close_local)(struct local_socket *s))
{
	for (unsigned i = 0; i < d->post_count; i++) {
		struct post *post = &d->posts[i];

		if (post->listener != NULL)
			evconnlistener_free(post->listener);
		post->listener = NULL;
		close_local(&post->local);
	}
	(void)evtimer_del(&d->reopen);
}

void
door_leave(struct door *d)
{
	stop_listening(d, local_socket_leave);
}

const struct refused *
door_refused(const struct door *d)
{
	return visitors_refused(d->visitors);
}

bool
door_is_busy(const struct door *d)
{
	return visitors_count(d->visitors) > 0;
}

void
door_close(struct door *d)
{
	stop_listening(d, local_socket_close);
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
