#include "server/door.h"

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "codec/mqtt.h"
#include "codec/mqtt_connect.h"
#include "session/linger.h"
#include "settings/proof.h"

#include <arpa/inet.h>
#include <ctype.h>
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

/* A connection whose CONNECT has not been read yet. */
struct visitor {
	LIST_ENTRY(visitor) next;
	struct door *door;
	int fd;
	struct event io;
	struct event timer;
	struct buffer bytes;
	enum reason too_many; /* which limit it is over; R_NONE: none */
	char address[ADDRESS_TEXT];
	char peer[PEER_TEXT];
};

struct door {
	struct door_config config;
	struct evconnlistener *listener; /* NULL once closed */
	struct event reopen;             /* ends a pause in accepting */
	uint64_t pause_told_ms;
	unsigned turned_away; /* since it was told last */
	uint64_t turned_away_told_ms;
	struct lingering *lingering;
	LIST_HEAD(, visitor) visitors;
};

/* ---- visitors ---- */

static void
visitor_free(struct visitor *v)
{
	LIST_REMOVE(v, next);
	(void)event_del(&v->io);
	(void)evtimer_del(&v->timer);
	buffer_wipe(&v->bytes); /* a password may be among them */
	free(v);
}

/* Closes after <last>; the bytes that were read are of no use any more. */
static void
send_away(struct visitor *v, struct buffer *last)
{
	struct door *d = v->door;
	int fd = v->fd;

	visitor_free(v);
	linger(d->lingering, fd, last, d->config.settings->close_timeout_ms);
}

/* <entry> as for refuse(). */
static void
log_refusal(const struct visitor *v, const struct mqtt_connect *c,
    const struct credential *entry, const struct fault *why)
{
	static const struct log_own nothing;
	char client_id[160], username[160];

	log_write_for(entry != NULL ? &entry->log : &nothing, LOG_NOTICE,
	    "device_refused",
	    "peer=%s reason=%s client_id=\"%s\" username=\"%s\" detail=\"%s\""
	    " hint=\"%s\"",
	    v->peer, reason_word(why->why),
	    escape(client_id, sizeof(client_id), c->client_id),
	    escape(username, sizeof(username), c->username), why->text,
	    reason_hint(why->why));
}

/* <c> holds what is known of the CONNECT; level 0: nothing. <entry> NULL: it
   is not known which. */
static void
refuse(struct visitor *v, const struct mqtt_connect *c,
    const struct credential *entry, const struct fault *why)
{
	uint8_t code = c->level != 0 ? reason_connack(why->why, c->level) : 0;
	struct buffer last = {0};
	uint8_t words[MQTT_SMALL_MAX];

	log_refusal(v, c, entry, why);
	if (code != 0)
		(void)!buffer_append(&last,
		    (struct span){words,
			mqtt_connack_write(words, c->level, false, code)});
	send_away(v, &last);
}

static void
refuse_unread(struct visitor *v, const struct fault *why)
{
	static const struct mqtt_connect nothing;

	refuse(v, &nothing, NULL, why);
}

/* "GET / HTTP/1.1", "POST ..." */
static bool
looks_like_http(struct span in)
{
	size_t i = 0;

	while (i < in.n && isupper(in.p[i]))
		i++;
	return i >= 3 && i <= 7 && i < in.n && in.p[i] == ' ';
}

/* What came instead of a CONNECT. */
static bool
explain_stranger(struct span in, struct fault *why)
{
	char text[64];

	if (in.n >= 2 && in.p[0] == 0x16 && in.p[1] == 0x03) /* RFC 8446 5.1 */
		return fault_set(why, R_TLS_ON_MQTT_PORT, "TLS ClientHello");
	(void)escape(
	    text, sizeof(text), (struct span){in.p, in.n < 24 ? in.n : 24});
	if (looks_like_http(in))
		return fault_set(why, R_HTTP_ON_MQTT_PORT, "%s", text);
	return fault_set(
	    why, R_NOT_MQTT, "it begins with %s, not with a CONNECT", text);
}

/*
 * Looks for a whole CONNECT. PARSE_OK: *n is its size and <c> what it says.
 * PARSE_BAD: <why>, and c->level when that much could be read.
 */
static enum parse
read_connect(const struct door *d, struct span in, struct mqtt_connect *c,
    size_t *n, struct fault *why)
{
	struct mqtt_header h;
	uint64_t total;

	*c = (struct mqtt_connect){0};
	if (in.n == 0)
		return PARSE_MORE;
	if (in.p[0] != MQTT_CONNECT << 4) { /* MQTT-3.1.0-1 */
		(void)explain_stranger(in, why);
		return PARSE_BAD;
	}
	switch (mqtt_header_read(in, &h)) {
	case PARSE_MORE:
		return PARSE_MORE;
	case PARSE_BAD:
		(void)fault_set(why, R_NOT_MQTT,
		    "a CONNECT with an impossible remaining length");
		return PARSE_BAD;
	case PARSE_OK:
		break;
	}
	total = h.header_bytes + (uint64_t)h.remaining;
	if (total > d->config.settings->connect_max_bytes) {
		(void)fault_set(why, R_CONNECT_TOO_BIG,
		    "%llu bytes announced, %llu allowed",
		    (unsigned long long)total,
		    (unsigned long long)d->config.settings->connect_max_bytes);
		return PARSE_BAD;
	}
	if (in.n < total)
		return PARSE_MORE;
	*n = (size_t)total;
	return mqtt_connect_read((struct span){in.p, *n}, c, why) ? PARSE_OK
								  : PARSE_BAD;
}

static void
admit(struct visitor *v, const struct credential *entry,
    const struct network *address, size_t connect_bytes)
{
	struct door *d = v->door;
	struct knock *k = calloc(1, sizeof(*k));
	struct mqtt_connect nothing = {0};
	struct fault why;

	if (k == NULL) {
		(void)fault_set(&why, R_OUT_OF_MEMORY, "for a session");
		refuse(v, &nothing, entry, &why);
		return;
	}
	k->fd = v->fd;
	memcpy(k->peer, v->peer, sizeof(k->peer));
	k->address = *address;
	k->bytes = v->bytes;
	v->bytes = (struct buffer){0};
	k->connect_bytes = connect_bytes;
	k->map = credmap_ref(d->config.map);
	k->entry = entry;
	visitor_free(v);
	d->config.admit(d->config.arg, k);
}

static void
judge(struct visitor *v, const struct mqtt_connect *c, size_t connect_bytes)
{
	struct door *d = v->door;
	struct credmap_shown shown = {
	    .client_id = c->client_id, .username = c->username};
	const struct credential *entry;
	struct fault why = {.why = R_NONE};

	/* of no address fits no address */
	(void)!network_read(v->address, &shown.address);
	entry = credmap_find(d->config.map, &shown);

	if (entry == NULL)
		(void)fault_set(&why, R_UNKNOWN_DEVICE,
		    "no entry of devices.ini answers to it");
	else if (credential_refuses(entry, &shown.address) != R_NONE)
		(void)fault_set(&why, credential_refuses(entry, &shown.address),
		    "entry %s", entry->label);
	else if (v->too_many != R_NONE)
		(void)fault_set(&why, v->too_many, "entry %s", entry->label);
	else
		(void)!proof_given(entry, c, &why);
	if (why.why != R_NONE)
		refuse(v, c, entry, &why);
	else
		admit(v, entry, &shown.address, connect_bytes);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct visitor *v = arg;
	uint8_t bytes[KNOCK_MORE_BYTES];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
	struct mqtt_connect c;
	struct fault why;
	size_t connect_bytes;
	bool kept;

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		struct buffer none = {0};

		/* a probe, as monitoring and load balancers send it, is no
		   news; half a CONNECT is */
		log_write(v->bytes.n > 0 ? LOG_NOTICE : LOG_DEBUG,
		    "device_refused",
		    "peer=%s reason=%s detail=\"after %zu bytes of its"
		    " CONNECT\"",
		    v->peer,
		    reason_word(n == 0 ? R_DEVICE_CLOSED : R_DEVICE_LOST),
		    v->bytes.n);
		send_away(v, &none);
		return;
	}
	kept = buffer_append(&v->bytes, (struct span){bytes, (size_t)n});
	secret_wipe_bytes(bytes, (size_t)n);
	if (!kept) {
		(void)fault_set(&why, R_OUT_OF_MEMORY, "for a CONNECT");
		refuse_unread(v, &why);
		return;
	}
	switch (read_connect(
	    v->door, buffer_span(&v->bytes), &c, &connect_bytes, &why)) {
	case PARSE_MORE:
		break;
	case PARSE_BAD:
		refuse(v, &c, NULL, &why);
		break;
	case PARSE_OK:
		judge(v, &c, connect_bytes);
	}
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct visitor *v = arg;
	struct fault why;

	(void)fd;
	(void)what;
	(void)fault_set(&why, R_CONNECT_TIMEOUT, "%zu bytes came", v->bytes.n);
	refuse_unread(v, &why);
}

/* ---- accepting ---- */

/* The peer as text; an IPv4 address mapped into IPv6 as IPv4. */
static void
name_peer(struct visitor *v, const struct sockaddr *sa)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
	const void *address = &sin->sin_addr;
	unsigned port = ntohs(sin->sin_port);
	int family = sa->sa_family;

	if (family == AF_INET6) {
		address = &sin6->sin6_addr;
		port = ntohs(sin6->sin6_port);
		if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
			address = &sin6->sin6_addr.s6_addr[12];
			family = AF_INET;
		}
	}
	if (inet_ntop(family, address, v->address, sizeof(v->address)) == NULL)
		(void)snprintf(v->address, sizeof(v->address), "?");
	(void)snprintf(v->peer, sizeof(v->peer),
	    family == AF_INET6 ? "[%s]:%u" : "%s:%u", v->address, port);
}

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
	struct timeval tv = {.tv_sec = (time_t)(s->connect_timeout_ms / 1000),
	    .tv_usec = (suseconds_t)(s->connect_timeout_ms % 1000 * 1000)};
	struct visitor *v = calloc(1, sizeof(*v));
	struct crowd_count now;

	(void)listener;
	(void)peer_n;
	if (v != NULL)
		name_peer(v, peer);
	if (v == NULL || !crowd_enter(d->config.crowd, fd, v->address, &now)) {
		turn_away(d, R_OUT_OF_MEMORY);
		(void)close(fd);
		free(v);
		return;
	}
	v->too_many = over_limit(s, &now, 0);
	if (over_limit(s, &now, CROWD_SLACK) != R_NONE) {
		turn_away(d, v->too_many);
		crowd_leave(d->config.crowd, fd);
		(void)close(fd);
		free(v);
		return;
	}
	v->door = d;
	v->fd = fd;
	prepare_socket(d, fd);
	LIST_INSERT_HEAD(&d->visitors, v, next);
	(void)event_assign(
	    &v->io, d->config.base, fd, EV_READ | EV_PERSIST, on_readable, v);
	(void)evtimer_assign(&v->timer, d->config.base, on_deadline, v);
	if (event_add(&v->io, NULL) != 0 || evtimer_add(&v->timer, &tv) != 0) {
		struct fault why;

		(void)fault_set(&why, R_OUT_OF_MEMORY, "for its events");
		refuse_unread(v, &why);
	}
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
	struct door *d = calloc(1, sizeof(*d));

	if (d == NULL) {
		(void)fault_set(why, R_OUT_OF_MEMORY, "for the listener");
		return NULL;
	}
	d->config = *config;
	(void)settings_ref(config->settings);
	(void)credmap_ref(config->map);
	LIST_INIT(&d->visitors);
	(void)evtimer_assign(&d->reopen, config->base, on_reopen, d);
	d->lingering = lingering_new(config->base, config->crowd);
	if (d->lingering == NULL)
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
	struct visitor v = {0};

	(void)getsockname(
	    evconnlistener_get_fd(d->listener), (struct sockaddr *)&sa, &n);
	name_peer(&v, (struct sockaddr *)&sa);
	memcpy(out, v.address, ADDRESS_TEXT);
	*port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
}

void
door_reload(struct door *d, struct settings *settings, struct credmap *map)
{
	settings_unref(d->config.settings);
	credmap_unref(d->config.map);
	d->config.settings = settings_ref(settings);
	d->config.map = credmap_ref(map);
}

void
door_close(struct door *d)
{
	struct visitor *v;

	if (d->listener != NULL)
		evconnlistener_free(d->listener);
	d->listener = NULL;
	(void)evtimer_del(&d->reopen);
	while ((v = LIST_FIRST(&d->visitors)) != NULL) {
		struct buffer none = {0};

		send_away(v, &none);
	}
}

void
door_free(struct door **d)
{
	if (*d == NULL)
		return;
	if ((*d)->lingering != NULL)
		door_close(*d);
	lingering_free(&(*d)->lingering);
	settings_unref((*d)->config.settings);
	credmap_unref((*d)->config.map);
	free(*d);
	*d = NULL;
}
