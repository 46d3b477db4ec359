#include "session/session_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/mqtt_property.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_device_gone(void *arg, const struct fault *why);
static void on_link_lost(void *arg, const struct fault *why);
static void on_link_idle(void *arg);

static const struct device_owner device_owner = {
    .on_bytes = session_take_device_bytes,
    .on_room = session_on_device_room,
    .on_gone = on_device_gone,
};

static const struct link_owner link_owner = {
    .on_open = session_log_in,
    .on_data = session_take_cloud_data,
    .on_batch = session_end_batch,
    .on_room = session_on_link_room,
    .on_lost = on_link_lost,
    .on_idle = on_link_idle,
};

/* ---- life ---- */

static void
on_burial(void *arg)
{
	struct session *s = arg;

	s->env->on_dead(s->env->arg, s);
}

static bool
keep_auth_method(struct session *s, struct span properties)
{
	struct mqtt_property p;

	return !mqtt_property_find(
		   properties, MQTT_AUTHENTICATION_METHOD, &p) ||
	       buffer_append(&s->auth_method, p.whole);
}

/* A will is a message like any other (MQTT-3.2.2-12). */
static bool
is_will_refused(const struct session *s, const struct mqtt_connect *c)
{
	return c->has_will && c->will_qos == 2 &&
	       s->entry->contract->qos_max < 2 &&
	       s->entry->policies.qos2 == QOS2_REFUSE;
}

struct session *
session_new(
    struct session_env *env, struct knock *k, struct device_memory *memory)
{
	struct session *s = calloc(1, sizeof(*s));
	struct mqtt_connect connect;
	struct buffer pipelined = {0};
	struct span bytes = buffer_span(&k->bytes);
	struct span first;

	if (s == NULL || !span_take(&bytes, k->connect_bytes, &first) ||
	    !buffer_append(&s->connect, first) ||
	    !buffer_append(&pipelined, bytes) ||
	    !mqtt_connect_read(first, &connect, NULL) ||
	    !keep_auth_method(s, connect.properties))
		goto fail;
	s->entry = k->entry;
	s->level = connect.level;
	memcpy(s->peer, k->peer, sizeof(s->peer));
	if (!session_keep_client_id(s, connect.client_id))
		goto fail;
	if (session_keeps_will(s, &connect) && !session_keep_will(s, &connect))
		goto fail;
	s->holds = session_may_hold(s, &connect);
	if (!device_init(
		&s->device, &env->device, &device_owner, s, k->fd, &pipelined))
		goto fail;
	link_init(&s->link, &env->link, &link_owner, s);
	task_init(&s->burial, on_burial, s);
	s->env = env;
	s->map = k->map;
	s->wants_clean = connect.clean;
	s->wants_client_id = connect.level >= 5 && connect.client_id.n == 0;
	s->device_keep_alive_s = connect.keep_alive_s;
	s->began_ms = s->since_ms = clock_mono_ms();
	s->address = k->address;
	s->memory = memory;
	if (connect.clean)
		inbound_forget(&memory->inbound);
	session_begin_traces(s);
	session_begin_retained(s);
	session_begin_pace(s);
	buffer_wipe(&k->bytes);
	free(k);
	link_retarget(&s->link, s->entry);
	if (is_will_refused(s, &connect))
		session_end_for(s, R_QOS_REFUSED, "of its will");
	else
		link_dial(&s->link, s->entry, s->level);
	return s;
fail:
	buffer_free(&pipelined);
	if (s != NULL) {
		buffer_wipe(&s->connect);
		buffer_free(&s->auth_method);
		buffer_free(&s->client_id);
		session_drop_will(s);
	}
	free(s);
	return NULL;
}

void
session_free(struct session **sp)
{
	struct session *s = *sp;

	if (!s->ended)
		session_end_pace(s);
	session_drop_will(s);
	session_end_hold(s);
	task_cancel(&s->burial);
	link_abort(&s->link);
	device_close(&s->device, (struct span){NULL, 0});
	buffer_wipe(&s->connect);
	buffer_free(&s->auth_method);
	buffer_free(&s->gather);
	buffer_free(&s->client_id);
	buffer_free(&s->acks);
	buffer_free(&s->farewell);
	buffer_free(&s->connack);
	outbound_free(&s->outbound);
	loop_uncount(s->env->link.loop, s->granted.list.cap);
	granted_free(&s->granted);
	credmap_unref(s->map);
	free(s);
	*sp = NULL;
}

/* All holds, with the one that is not over. */
static uint64_t
held_ms(const struct session *s)
{
	return s->held_ms +
	       (s->link_lost ? clock_mono_ms() - s->hold->began_ms : 0);
}

static void
log_end(const struct session *s, const struct fault *why)
{
	bool device_did_it = why->why == R_DEVICE_LEFT ||
			     why->why == R_DEVICE_CLOSED ||
			     why->why == R_TAKEN_OVER || why->why == R_DRAINING;

	/* of one that was let in, that it ends is always news */
	bool is_old_news = s->link.is_old_news && !s->accepted;
	enum log_level level = is_old_news     ? LOG_DEBUG
			       : device_did_it ? LOG_INFO
					       : LOG_WARNING;

	SLOG(level, s, "session_end",
	    "reason=%s host=%s port=%u seconds=%llu up_packets=%llu "
	    "up_bytes=%llu"
	    " down_packets=%llu down_bytes=%llu qos2_ended=%u"
	    " retain_cleared=%u retained=%u retained_sent=%u"
	    " retained_dropped=%llu refused=%u filters_refused=%u"
	    " down_dropped=%u holds=%u held_ms=%llu unacknowledged=%u"
	    " detail=\"%s\" hint=\"%s\"",
	    reason_word(why->why), s->entry->host, link_port(&s->link),
	    (unsigned long long)(clock_mono_ms() - s->began_ms) / 1000,
	    (unsigned long long)s->up.packets, (unsigned long long)s->up.bytes,
	    (unsigned long long)s->down.packets,
	    (unsigned long long)s->down.bytes, s->qos2_ended, s->retain_cleared,
	    s->memory->retained.n, s->retained_sent,
	    (unsigned long long)s->retained_dropped, s->refused,
	    s->filters_refused, s->down_dropped_count, s->holds_count,
	    (unsigned long long)held_ms(s), s->outbox.count, why->text,
	    reason_hint(why->why));
}

/*
 * What a device is told before its connection is closed: in CONNECT's answer
 * when that is still due, at level 5 in DISCONNECT; never in the middle of
 * another packet.
 */
static size_t
last_words(const struct session *s, enum reason why,
    uint8_t out[static MQTT_SMALL_MAX])
{
	uint8_t code;

	if (!s->accepted) {
		code = reason_connack(why, s->level);
		return code != 0
			   ? mqtt_connack_write(out, s->level, false, code)
			   : 0;
	}
	code = reason_disconnect(why);
	if (s->level < 5 || code == 0 || s->down_mid_packet)
		return 0;
	return mqtt_disconnect_write(out, s->level, code);
}

static void
bury_when_idle(struct session *s)
{
	if (s->ended && s->link.state == LINK_IDLE)
		loop_again(s->env->link.loop, &s->burial);
}

/* As session_end(), with the very bytes the device gets last. */
void
session_end_with(struct session *s, const struct fault *why, struct span last)
{
	/* whole packets first, or the last words would stand inside one */
	if (!s->ended)
		session_write_run(s);
	if (!s->ended)
		session_say_farewell(s);
	if (s->ended || session_leave_will(s, why, last))
		return;
	s->ended = true;
	s->since_ms = clock_mono_ms();
	log_end(s, why);
	s->env->tally.ended[why->why]++;
	if (s->env->on_end != NULL)
		s->env->on_end(s->env->arg, s, why);
	session_end_hold(s);
	session_end_pace(s);
	device_close(&s->device, last);
	link_close(&s->link,
	    why->why == R_DRAINING ? WS_CLOSE_GOING_AWAY : WS_CLOSE_NORMAL);
	session_note_fault(s, "the session ends", why);
	bury_when_idle(s);
}

void
session_end(struct session *s, const struct fault *why)
{
	uint8_t words[MQTT_SMALL_MAX];
	size_t n = last_words(s, why->why, words);

	session_end_with(s, why, (struct span){words, n});
}

void
session_end_for(struct session *s, enum reason reason, const char *text)
{
	struct fault why;

	(void)fault_set(&why, reason, "%s", text);
	session_end(s, &why);
}

/* It begins a session of its own (3.1.2.4). */
static bool
wants_clean(const struct knock *k)
{
	const struct span connect = {
	    buffer_span(&k->bytes).p, k->connect_bytes};
	struct mqtt_connect c;

	return k->entry->clean_session == CLEAN_YES ||
	       (mqtt_connect_read(connect, &c, NULL) && c.clean);
}

void
session_give_way(struct session *s, const struct knock *k, struct witness *w)
{
	struct fault why;

	s->will.clean_next = wants_clean(k);
	s->device.witness = w;
	(void)fault_set(&why, R_TAKEN_OVER, "by %s", k->peer);
	session_end(s, &why);
}

bool
session_has_left(const struct session *s)
{
	return (s->device.state == DEVICE_WAIT && s->device.fin_seen) ||
	       session_left_backlog(s);
}

bool
session_has_device(const struct session *s)
{
	return s->device.state != DEVICE_GONE && !session_has_left(s);
}

bool
session_seems_lost(const struct session *s)
{
	return device_seems_lost(&s->device);
}

static void
point_to(struct session *s, struct credmap *map, const struct credential *entry)
{
	link_retarget(&s->link, entry);
	s->entry = entry;
	credmap_unref(s->map);
	s->map = map;
}

static void
go_on_as(struct session *s, struct credmap *map, const struct credential *entry)
{
	point_to(s, map, entry);
	session_keep_to_limits(s);
	session_time_hold(s);
	session_go_on(s);
}

/* While it closes it needs a name, but no secret any more. */
static void
let_map_go(struct session *s)
{
	struct credmap *memory = credmap_memory_of(s->entry);

	if (memory != NULL)
		point_to(s, memory, credmap_at(memory, 0));
}

/* Ends a session that cannot go on as one of <entry>, NULL: none. One that is
   held, or can be, only needs another link. */
static void
end_if_changed(struct session *s, const struct credential *entry)
{
	enum reason refused = entry != NULL
				  ? credential_refuses(entry, &s->address)
				  : R_ENTRY_REMOVED;

	if (refused == R_NONE && (!credential_same_device(s->entry, entry) ||
				     session_adapts_too_late(s, entry)))
		refused = R_ENTRY_CHANGED;
	if (refused == R_NONE && !credential_same(s->entry, entry) &&
	    !session_leave_link(s))
		refused = R_ENTRY_CHANGED;
	if (refused != R_NONE)
		session_end_for(s, refused, "");
}

void
session_remap(struct session *s, struct credmap *fresh)
{
	const struct credential *entry;

	if (s->map == fresh)
		return;
	entry = credmap_by_identity(
	    fresh, s->entry->product_key, s->entry->device_name);
	/* the will of a device that is gone needs its link, and no login */
	if (entry == NULL || s->will.state <= WILL_KEPT)
		end_if_changed(s, entry);
	if (s->ended || entry == NULL || s->will.state > WILL_KEPT)
		let_map_go(s);
	else
		go_on_as(s, credmap_ref(fresh), entry);
}

static void
on_device_gone(void *arg, const struct fault *why)
{
	struct session *s = arg;

	if (session_outlives_device(s, why))
		return;
	if (why->why == R_DEVICE_CLOSED && s->up_left > 0)
		session_end_for(s, why->why, "in the middle of a packet");
	else
		session_end(s, why);
}

static void
on_link_lost(void *arg, const struct fault *why)
{
	struct session *s = arg;

	session_note_fault(s, "no link", why);
	if (s->will.state > WILL_KEPT)
		session_lose_will(s);
	else if (!session_hold(s, why))
		session_end(s, why);
}

static void
on_link_idle(void *arg)
{
	struct session *s = arg;

	if (s->ended)
		bury_when_idle(s);
	else if (s->link_lost)
		session_dial_again(s);
}
