#include "server/visitors.h"

#include "base/clock.h"
#include "base/escape.h"
#include "base/fnv.h"
#include "base/log.h"
#include "codec/mqtt.h"
#include "codec/mqtt_connect.h"
#include "codec/proxy_protocol.h"
#include "server/first_packet.h"
#include "server/hasher.h"
#include "server/refusal_news.h"
#include "server/suspects.h"
#include "session/linger.h"
#include "settings/proof.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

enum stage {
	STAGE_READING,  /* its CONNECT is not there yet */
	STAGE_CHECKING, /* the hasher has its password */
	STAGE_PAUSING   /* it is refused, but not told yet */
};

struct visitor {
	TAILQ_ENTRY(visitor) next;
	struct visitors *in;
	int fd;
	enum stage stage;
	const struct listener *at;
	bool needs_header; /* of the PROXY protocol */
	struct event io;   /* pending only while it is read */
	struct event timer;
	struct buffer bytes;
	size_t connect_bytes;   /* of them, once it is there */
	enum reason too_many;   /* which limit it is over; R_NONE: none */
	struct hasher_job *job; /* while it is checked */
	uint8_t level;          /* of a refusal to be told later */
	enum reason refused;    /* ditto */
	struct peer_name from;
	struct network address; /* the same, or none */
};

struct visitors {
	struct visitors_config config;
	struct hasher *hasher;
	struct suspects suspects;
	struct refusal_news news;
	struct refused refused;
	struct lingering *lingering;
	TAILQ_HEAD(, visitor) all; /* who has come last is the last */
	unsigned count;
};

/* ---- their end ---- */

static void
visitor_free(struct visitor *v)
{
	TAILQ_REMOVE(&v->in->all, v, next);
	v->in->count--;
	if (v->job != NULL)
		hasher_forget(v->job);
	(void)event_del(&v->io);
	(void)evtimer_del(&v->timer);
	buffer_wipe(&v->bytes); /* a password may be among them */
	free(v);
}

/* Closes after <last>; the bytes that were read are of no use any more. */
static void
send_away(struct visitor *v, struct buffer *last)
{
	struct visitors *vs = v->in;
	int fd = v->fd;

	visitor_free(v);
	linger(vs->lingering, fd, last, vs->config.settings->close_timeout_ms);
}

static void
send_away_silently(struct visitor *v)
{
	struct buffer none = {0};

	send_away(v, &none);
}

/* With a CONNACK, where one is due; level 0: nothing is known of its CONNECT.
 */
static void
tell_and_send_away(struct visitor *v, uint8_t level, enum reason why)
{
	uint8_t code = level != 0 ? reason_connack(why, level) : 0;
	struct buffer last = {0};
	uint8_t words[MQTT_SMALL_MAX];

	if (code != 0)
		(void)!buffer_append(
		    &last, (struct span){words,
			       mqtt_connack_write(words, level, false, code)});
	send_away(v, &last);
}

/* One that is refused again and again is told once a minute. */
static enum log_level
level_of_refusal(const struct visitor *v, enum reason why, struct span id,
    struct span name, unsigned *untold)
{
	uint64_t what =
	    fnv_add_text(fnv_begin(), span_of_string(reason_word(why)));

	what = fnv_add_text(fnv_add_text(what, id), name);
	return refusal_news_tell(
		   &v->in->news, &v->address, what, clock_mono_ms(), untold)
		   ? LOG_NOTICE
		   : LOG_DEBUG;
}

/* <entry> as for refuse(). */
static void
log_refusal(const struct visitor *v, const struct mqtt_connect *c,
    const struct credential *entry, const struct fault *why)
{
	static const struct log_own nothing;
	char client_id[160], username[160];
	unsigned untold;
	enum log_level level =
	    level_of_refusal(v, why->why, c->client_id, c->username, &untold);

	log_write_for(entry != NULL ? &entry->log : &nothing, level,
	    "device_refused",
	    "peer=%s reason=%s client_id=\"%s\" username=\"%s\" untold=%u"
	    " detail=\"%s\" hint=\"%s\"",
	    v->from.text, reason_word(why->why),
	    escape(client_id, sizeof(client_id), c->client_id),
	    escape(username, sizeof(username), c->username), untold, why->text,
	    reason_hint(why->why));
}

/* It has gone before its CONNECT was there. A probe, as monitoring and load
   balancers send it, is no news; half a CONNECT is. */
static void
log_half(const struct visitor *v, enum reason why)
{
	static const struct span none;
	enum log_level level = LOG_DEBUG;
	unsigned untold = 0;

	if (v->bytes.n > 0)
		level = level_of_refusal(v, why, none, none, &untold);
	log_write(level, "device_refused",
	    "peer=%s reason=%s untold=%u detail=\"after %zu bytes of its"
	    " CONNECT\"",
	    v->from.text, reason_word(why), untold, v->bytes.n);
}

static void
note_refusal(struct visitor *v, const struct mqtt_connect *c,
    const struct credential *entry, enum reason why)
{
	const struct refused_knock knock = {.client_id = c->client_id,
	    .username = c->username,
	    .address = v->from.address,
	    .label = entry != NULL ? entry->label : NULL,
	    .reason = why};

	refused_note(&v->in->refused, &knock, clock_wall_ms());
}

static bool
set_timer(struct visitor *v, uint64_t ms)
{
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	return evtimer_add(&v->timer, &tv) == 0;
}

/* A wrong one costs the sender time: whoever guesses is slowed down. */
static bool
delay_refusal(struct visitor *v, uint8_t level, enum reason why)
{
	uint64_t pause_ms = v->in->config.settings->wrong_password_pause_ms;

	if ((why != R_BAD_PASSWORD && why != R_BAD_SIGNATURE) ||
	    pause_ms == 0 || !set_timer(v, pause_ms))
		return false;
	(void)event_del(&v->io);
	buffer_wipe(&v->bytes);
	v->stage = STAGE_PAUSING;
	v->level = level;
	v->refused = why;
	return true;
}

/* Others from there that wait already wait behind all others too. */
static void
suspect(const struct visitor *v)
{
	struct visitors *vs = v->in;

	if (!suspects_add(&vs->suspects, &v->address, clock_mono_ms()))
		return;
	for (struct visitor *other = TAILQ_FIRST(&vs->all); other != NULL;
	     other = TAILQ_NEXT(other, next))
		if (other->job != NULL &&
		    suspects_same(&other->address, &v->address))
			hasher_demote(other->job);
}

/* <c> holds what is known of the CONNECT; level 0: nothing. <entry> NULL: it
   is not known which. */
static void
refuse(struct visitor *v, const struct mqtt_connect *c,
    const struct credential *entry, const struct fault *why)
{
	uint8_t level = c->level;

	log_refusal(v, c, entry, why);
	note_refusal(v, c, entry, why->why);
	if (why->why == R_BAD_PASSWORD && c->has_password)
		suspect(v);
	if (!delay_refusal(v, level, why->why))
		tell_and_send_away(v, level, why->why);
}

static void
refuse_unread(struct visitor *v, const struct fault *why)
{
	static const struct mqtt_connect nothing;

	refuse(v, &nothing, NULL, why);
}

/* ---- what it shows ---- */

static void
admit(struct visitor *v, const struct credential *entry)
{
	const struct visitors_config *config = &v->in->config;
	struct knock *k = calloc(1, sizeof(*k));
	struct mqtt_connect nothing = {0};
	struct fault why;

	if (k == NULL) {
		(void)fault_set(&why, R_OUT_OF_MEMORY, "for a session");
		refuse(v, &nothing, entry, &why);
		return;
	}
	k->fd = v->fd;
	memcpy(k->peer, v->from.text, sizeof(k->peer));
	k->address = v->address;
	k->bytes = v->bytes;
	v->bytes = (struct buffer){0};
	k->connect_bytes = v->connect_bytes;
	k->map = credmap_ref(config->map);
	k->entry = entry;
	visitor_free(v);
	config->admit(config->arg, k);
}

/* What can be said at once of a visitor and its entry, which may be NULL. */
static bool
may_enter(const struct visitor *v, const struct mqtt_connect *c,
    const struct credential *entry, struct fault *why)
{
	enum reason refused;

	if (entry == NULL && credmap_is_missing(v->in->config.map))
		return fault_set(why, R_NO_MAP, "%s", "");
	if (entry == NULL)
		return fault_set(why, R_UNKNOWN_DEVICE,
		    "no entry of devices.ini answers to it");
	refused = credential_refuses(entry, &v->address);
	if (refused == R_NONE)
		refused = v->too_many;
	if (refused != R_NONE)
		return fault_set(why, refused, "entry %s", entry->label);
	return proof_given(entry, c, why);
}

static void on_verdict(void *arg, enum verdict verdict);

/* False, with <why>, when the hasher has no room for it. */
static bool
ask_hasher(struct visitor *v, const struct credential *entry,
    const struct secret *password, struct fault *why)
{
	struct visitors *vs = v->in;
	bool is_suspect =
	    suspects_have(&vs->suspects, &v->address, clock_mono_ms());

	v->job = hasher_ask(
	    vs->hasher, &entry->hash, password, is_suspect, on_verdict, v);
	if (v->job == NULL)
		return fault_set(why, R_SERVER_BUSY, "entry %s", entry->label);
	log_write_for(&entry->log, LOG_DEBUG, "password_waits",
	    "label=%s peer=%s suspect=%s", entry->label, v->from.text,
	    is_suspect ? "yes" : "no");
	v->stage = STAGE_CHECKING;
	(void)event_del(&v->io);
	return true;
}

/*
 * Whether its password, which proof_given() has found possible, is the one of
 * its entry's hash. VERDICT_NONE: that is asked now; or it is not, and <why> is
 * set.
 */
static enum verdict
check_hash(struct visitor *v, const struct mqtt_connect *c,
    const struct credential *entry, struct fault *why)
{
	enum verdict verdict;
	struct secret password = {0};

	(void)!secret_set(&password, c->password);
	verdict = hasher_recall(v->in->hasher, &entry->hash, &password);
	if (verdict == VERDICT_NONE)
		(void)!ask_hasher(v, entry, &password, why);
	else
		log_write_for(&entry->log, LOG_DEBUG, "password_remembered",
		    "label=%s peer=%s", entry->label, v->from.text);
	secret_wipe(&password);
	return verdict;
}

static const struct credential *
entry_of(const struct visitor *v, const struct mqtt_connect *c)
{
	const struct credmap_shown shown = {.client_id = c->client_id,
	    .username = c->username,
	    .address = v->address};

	return credmap_find(v->in->config.map, &shown);
}

/* <verdict> is that of the hasher on this CONNECT and the map in use. */
static void
judge(struct visitor *v, const struct mqtt_connect *c, enum verdict verdict)
{
	const struct credential *entry = entry_of(v, c);
	struct fault why = {.why = R_NONE};

	if (may_enter(v, c, entry, &why) && entry->hash.iterations != 0) {
		if (verdict == VERDICT_NONE)
			verdict = check_hash(v, c, entry, &why);
		else
			log_write_for(&entry->log, LOG_DEBUG, "password_hashed",
			    "label=%s peer=%s", entry->label, v->from.text);
		if (verdict == VERDICT_NONE && why.why == R_NONE)
			return; /* on_verdict() goes on */
		if (verdict == VERDICT_WRONG)
			(void)fault_set(
			    &why, R_BAD_PASSWORD, "entry %s", entry->label);
	}
	if (why.why != R_NONE)
		refuse(v, c, entry, &why);
	else
		admit(v, entry);
}

/* Its CONNECT, which has been read once already. */
static void
connect_of(const struct visitor *v, struct mqtt_connect *c)
{
	struct span bytes = buffer_span(&v->bytes);

	bytes.n = v->connect_bytes;
	(void)!mqtt_connect_read(bytes, c, NULL);
}

/* Its password could not be checked, or not in time. */
static void
refuse_unchecked(struct visitor *v, enum reason reason, const char *detail)
{
	struct mqtt_connect c;
	struct fault why;

	connect_of(v, &c);
	(void)fault_set(&why, reason, "%s", detail);
	refuse(v, &c, entry_of(v, &c), &why);
}

static void
on_verdict(void *arg, enum verdict verdict)
{
	struct visitor *v = arg;
	struct mqtt_connect c;

	v->job = NULL;
	if (verdict == VERDICT_NONE) {
		refuse_unchecked(v, R_SERVER_BUSY, "too many wait before it");
		return;
	}
	connect_of(v, &c);
	judge(v, &c, verdict);
}

/* By another map. */
static void
judge_anew(struct visitor *v)
{
	struct mqtt_connect c;

	hasher_forget(v->job);
	v->job = NULL;
	connect_of(v, &c);
	judge(v, &c, VERDICT_NONE);
}

/* ---- whose connection it is ---- */

enum reason
visitors_over_limit(const struct settings *s, const struct crowd_count *now,
    bool has_address, unsigned slack)
{
	if (now->all > s->devices_max + slack)
		return R_TOO_MANY_DEVICES;
	if (has_address && s->devices_per_address_max != 0 &&
	    now->from_address > s->devices_per_address_max + slack)
		return R_TOO_MANY_FROM_ADDRESS;
	return R_NONE;
}

/* Counts it as one from <to>. False without memory: it is gone. */
static bool
move(struct visitor *v, const struct peer_name *to)
{
	const struct visitors_config *config = &v->in->config;
	struct crowd_count now;
	int fd = v->fd;

	crowd_leave(config->crowd, fd);
	if (!crowd_enter(config->crowd, fd, to->address, &now)) {
		log_write(LOG_WARNING, "device_refused", "peer=%s reason=%s",
		    to->text, reason_word(R_OUT_OF_MEMORY));
		visitor_free(v);
		(void)close(fd);
		return false;
	}
	log_write(LOG_DEBUG, "proxied", "peer=%s via=%s listener=%s", to->text,
	    v->from.text, listener_name(v->at));
	v->from = *to;
	(void)!network_read(to->address, &v->address);
	v->too_many = visitors_over_limit(config->settings, &now, true, 0);
	return true;
}

/* What the load balancer says itself (a probe of its own) has no source: then
   the connection is what it looks like. False: it is gone. */
static bool
take_source(struct visitor *v, const struct proxy_source *source)
{
	struct peer_name from;
	struct fault why;

	if (source->version != 0) {
		peer_name_of_source(&from, source);
		if (!move(v, &from))
			return false;
	}
	if (v->at->allow_from.count == 0 ||
	    network_list_has(&v->at->allow_from, &v->address))
		return true;
	(void)fault_set(
	    &why, R_LISTENER_NOT_ALLOWED, "listener %s", listener_name(v->at));
	refuse_unread(v, &why);
	return false;
}

/* True when its header is there, and it may go on. */
static bool
take_header(struct visitor *v)
{
	struct proxy_source source;
	struct fault why;
	size_t used;

	switch (
	    proxy_protocol_read(buffer_span(&v->bytes), &source, &used, &why)) {
	case PARSE_MORE:
		return false;
	case PARSE_BAD:
		refuse_unread(v, &why);
		return false;
	case PARSE_OK:
		break;
	}
	buffer_drop(&v->bytes, used);
	v->needs_header = false;
	return take_source(v, &source);
}

/* ---- its CONNECT ---- */

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct visitor *v = arg;
	uint8_t bytes[KNOCK_MORE_BYTES];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
	struct mqtt_connect c;
	struct fault why;
	bool kept;

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		log_half(v, n == 0 ? R_DEVICE_CLOSED : R_DEVICE_LOST);
		send_away_silently(v);
		return;
	}
	kept = buffer_append(&v->bytes, (struct span){bytes, (size_t)n});
	secret_wipe_bytes(bytes, (size_t)n);
	if (!kept) {
		(void)fault_set(&why, R_OUT_OF_MEMORY, "for a CONNECT");
		refuse_unread(v, &why);
		return;
	}
	if (v->needs_header && !take_header(v))
		return;
	switch (first_packet_read(buffer_span(&v->bytes),
	    v->in->config.settings->connect_max_bytes, &c, &v->connect_bytes,
	    &why)) {
	case PARSE_MORE:
		break;
	case PARSE_BAD:
		refuse(v, &c, NULL, &why);
		break;
	case PARSE_OK:
		judge(v, &c, VERDICT_NONE);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct visitor *v = arg;
	struct fault why;

	(void)fd;
	(void)what;
	switch (v->stage) {
	case STAGE_READING:
		(void)fault_set(
		    &why, R_CONNECT_TIMEOUT, "%zu bytes came", v->bytes.n);
		refuse_unread(v, &why);
		return;
	case STAGE_CHECKING:
		refuse_unchecked(
		    v, R_SERVER_BUSY, "its password was not checked in time");
		return;
	case STAGE_PAUSING:
		tell_and_send_away(v, v->level, v->refused);
	}
}

/* ---- all of them ---- */

struct refused *
visitors_refused(struct visitors *vs)
{
	return &vs->refused;
}

unsigned
visitors_count(const struct visitors *vs)
{
	return vs->count;
}

bool
visitors_receive(struct visitors *vs, int fd, const struct listener *at,
    const struct peer_name *from, enum reason too_many)
{
	struct visitor *v = calloc(1, sizeof(*v));
	struct fault why;

	if (v == NULL) {
		crowd_leave(vs->config.crowd, fd);
		(void)close(fd);
		return false;
	}
	v->in = vs;
	v->fd = fd;
	v->at = at;
	v->needs_header = at->proxy_protocol;
	v->too_many = too_many;
	v->from = *from;
	/* of no address fits no address */
	(void)!network_read(from->address, &v->address);
	TAILQ_INSERT_TAIL(&vs->all, v, next);
	vs->count++;
	(void)event_assign(
	    &v->io, vs->config.base, fd, EV_READ | EV_PERSIST, on_readable, v);
	(void)evtimer_assign(&v->timer, vs->config.base, on_timer, v);
	if (event_add(&v->io, NULL) != 0 ||
	    !set_timer(v, vs->config.settings->connect_timeout_ms)) {
		(void)fault_set(&why, R_OUT_OF_MEMORY, "for its events");
		refuse_unread(v, &why);
	}
	return true;
}

void
visitors_reload(
    struct visitors *vs, struct settings *settings, struct credmap *map)
{
	struct visitor *v, *after;

	settings_unref(vs->config.settings);
	credmap_unref(vs->config.map);
	vs->config.settings = settings_ref(settings);
	vs->config.map = credmap_ref(map);
	for (v = TAILQ_FIRST(&vs->all); v != NULL; v = after) {
		after = TAILQ_NEXT(v, next);
		if (v->stage == STAGE_CHECKING)
			judge_anew(v);
	}
}

void
visitors_dismiss(struct visitors *vs)
{
	struct visitor *v;

	while ((v = TAILQ_FIRST(&vs->all)) != NULL) {
		switch (v->stage) {
		case STAGE_READING:
			send_away_silently(v);
			break;
		case STAGE_CHECKING:
			refuse_unchecked(
			    v, R_DRAINING, "its password was not checked yet");
			break;
		case STAGE_PAUSING:
			tell_and_send_away(v, v->level, v->refused);
		}
	}
}

struct visitors *
visitors_new(const struct visitors_config *config)
{
	struct visitors *vs = calloc(1, sizeof(*vs));

	if (vs == NULL)
		return NULL;
	TAILQ_INIT(&vs->all);
	vs->config = *config;
	(void)settings_ref(config->settings);
	(void)credmap_ref(config->map);
	vs->lingering = lingering_new(config->base, config->crowd);
	vs->hasher = hasher_new(config->base);
	if (vs->lingering == NULL || vs->hasher == NULL)
		visitors_free(&vs);
	return vs;
}

void
visitors_free(struct visitors **vs)
{
	if (*vs == NULL)
		return;
	visitors_dismiss(*vs);
	hasher_free(&(*vs)->hasher);
	lingering_free(&(*vs)->lingering);
	settings_unref((*vs)->config.settings);
	credmap_unref((*vs)->config.map);
	free(*vs);
	*vs = NULL;
}
