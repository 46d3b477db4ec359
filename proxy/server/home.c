#include "server/home.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "link/known_names.h"
#include "server/contest.h"
#include "server/departed.h"
#include "server/farewell.h"
#include "server/identities.h"
#include "server/pulse.h"
#include "server/survey.h"
#include "session/session.h"
#include "settings/proof.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REMAP_TURN = 64, SHED_STEP_MS = 50 };

/* Sessions ended at an even pace. */
struct shed {
	struct letter letter;
	struct event timer;
	uint64_t over_ms;
	uint64_t began_ms; /* 0: not at all */
	size_t all;
	size_t ended;
};

struct home {
	pthread_t thread;
	struct loop *loop;
	struct mailbox *mailbox;
	struct event mail;
	struct session_env env;
	struct lingering *lingering;
	struct home_config config;
	struct identities identities;
	struct departed departed;
	struct session_sums past;      /* of sessions that are gone */
	uint64_t turned_away[R_COUNT]; /* who has knocked in vain */
	TAILQ_HEAD(, session) sessions;
	size_t session_count;
	struct credmap *map; /* of the last reload, or NULL */
	struct task remap;   /* points sessions to it, a few a turn */
	size_t remap_left;   /* how many, from the head of the list on */
	struct letter drain;
	struct letter stop;
	struct letter ask;
	struct pulse_answer *answer; /* while it is asked for */
	struct shed shed;
	bool draining;
	bool drained_told;
};

/* ---- devices that wait ---- */

static struct farewell
farewell_of(struct home *h)
{
	return (struct farewell){
	    h->lingering, h->config.settings->close_timeout_ms, h->turned_away};
}

static void
turn_away(struct home *h, struct knock *k, enum reason why)
{
	const struct farewell f = farewell_of(h);

	farewell_turn_away(&f, k, why);
}

static void
begin_session(struct home *h, struct identity *id, struct knock *k)
{
	struct session *s = session_new(&h->env, k, &id->memory);

	if (s == NULL) {
		turn_away(h, k, R_OUT_OF_MEMORY);
		identity_drop(&h->identities, id, clock_mono_ms());
		return;
	}
	s->identity = id;
	id->session = s;
	TAILQ_INSERT_TAIL(&h->sessions, s, next);
	h->session_count++;
}

static void
tell_when_drained(struct home *h)
{
	if (!h->draining || h->drained_told || !TAILQ_EMPTY(&h->sessions) ||
	    !lingering_has_written(h->lingering))
		return;
	h->drained_told = true;
	mailbox_post(h->config.door, h->config.drained);
}

static void
on_last_written(void *arg)
{
	tell_when_drained(arg);
}

/* Why the present map does not let a device in that waits; R_NONE: it does.
   What it has shown at the door is not looked at again. */
static enum reason
refused_now(const struct knock *k, const struct credential *entry)
{
	enum reason why;

	if (entry == NULL)
		return R_ENTRY_REMOVED;
	why = credential_refuses(entry, &k->address);
	if (why != R_NONE)
		return why;
	return proof_same(k->entry, entry) ? R_NONE : R_ENTRY_CHANGED;
}

/* A device that waits is let in by the present map, or not at all. */
static void
remap_waiting(struct home *h, struct identity *id)
{
	struct knock *k = id->waiting;
	const struct credential *entry;
	enum reason why;

	if (k == NULL || h->map == NULL || k->map == h->map)
		return;
	entry = credmap_by_identity(h->map, id->product_key, id->device_name);
	why = refused_now(k, entry);
	if (why != R_NONE) {
		id->waiting = NULL;
		turn_away(h, k, why);
		return;
	}
	k->entry = entry;
	credmap_unref(k->map);
	k->map = credmap_ref(h->map);
}

/* Of a device that is not in the map any more nothing is remembered. */
static void
forget_if_removed(const struct home *h, struct identity *id)
{
	if (h->map != NULL && credmap_by_identity(h->map, id->product_key,
				  id->device_name) == NULL)
		device_memory_free(&id->memory);
}

/* A session has closed both its sides; runs between two turns of the loop. */
static void
on_dead(void *arg, struct session *s)
{
	struct home *h = arg;
	struct identity *id = s->identity;
	struct knock *k;

	TAILQ_REMOVE(&h->sessions, s, next);
	h->session_count--;
	session_sum(s, &h->past);
	session_free(&s);
	id->session = NULL;
	forget_if_removed(h, id);
	remap_waiting(h, id);
	k = id->waiting;
	id->waiting = NULL;
	if (k == NULL)
		identity_drop(&h->identities, id, clock_mono_ms());
	else
		begin_session(h, id, k);
	tell_when_drained(h);
}

static void
on_end(void *arg, const struct session *s, const struct fault *why)
{
	struct home *h = arg;

	departed_note(&h->departed, s->entry, s->peer, why, clock_mono_ms());
}

/* ---- two devices of one identity ---- */

static bool
may_take_over(struct home *h, struct identity *id, struct knock *k)
{
	const struct contest c = {.farewell = farewell_of(h),
	    .governor = h->env.link.governor,
	    .take_overs = h->config.take_overs};

	return contest_win(&c, id, k);
}

/* MQTT-3.1.4-2: the older connection goes (MQTT 5 MQTT-3.1.4-3). */
static void
take_over(struct home *h, struct identity *id, struct knock *k)
{
	if (id->waiting != NULL)
		turn_away(h, id->waiting, R_TAKEN_OVER);
	id->waiting = k;
	/* a device that sent its messages and has closed already is not taken
	   over: they still go up, and the newer connection waits for that */
	if (session_has_left(id->session))
		return;
	if (session_has_device(id->session)) {
		witness_unref(id->thrown_out);
		id->thrown_out = witness_new(); /* without: nothing is seen */
		id->thrown_out_from = id->session->address;
		id->noted = false;
	}
	session_give_way(id->session, k, id->thrown_out);
}

/* ---- letters ---- */

static void
open_knock(struct letter *letter, void *arg)
{
	struct knock *k = (struct knock *)letter;
	struct home *h = arg;
	struct identity *id;

	if (h->draining) {
		turn_away(h, k, R_DRAINING);
		return;
	}
	id = identity_of(&h->identities, k->entry);
	if (id == NULL) {
		turn_away(h, k, R_OUT_OF_MEMORY);
		return;
	}
	if (id->session == NULL)
		begin_session(h, id, k);
	else if (may_take_over(h, id, k) &&
		 (id->waiting != NULL || !session_adopt(id->session, k)))
		take_over(h, id, k);
}

void
home_admit(struct home *h, struct knock *k)
{
	k->letter.open = open_knock;
	mailbox_post(h->mailbox, &k->letter);
}

struct reload_letter {
	struct letter letter;
	struct settings *settings;
	struct trust *trust;
	struct credmap *map;
	size_t kept_max_bytes;
};

/* A few a turn: a worker with thousands of sessions goes on carrying. Those
   that begin meanwhile are behind them, and of the new map. */
static void
on_remap(void *arg)
{
	struct home *h = arg;
	struct session *s;

	for (unsigned i = 0; i < REMAP_TURN && h->remap_left > 0; i++) {
		h->remap_left--;
		s = TAILQ_FIRST(&h->sessions);
		if (s == NULL) { /* the last ones have died meanwhile */
			h->remap_left = 0;
			break;
		}
		TAILQ_REMOVE(&h->sessions, s, next);
		TAILQ_INSERT_TAIL(&h->sessions, s, next);
		remap_waiting(h, s->identity);
		session_remap(s, h->map);
	}
	if (h->remap_left > 0)
		loop_again(h->loop, &h->remap);
	else
		identities_forget_removed(&h->identities, h->map);
}

static void
open_reload(struct letter *letter, void *arg)
{
	struct reload_letter *r = (struct reload_letter *)letter;
	struct home *h = arg;

	settings_unref(h->config.settings);
	trust_unref(h->config.trust);
	h->config.settings = r->settings;
	h->config.trust = r->trust;
	h->env.link.settings = r->settings;
	h->env.link.trust = r->trust;
	h->env.device.settings = r->settings;
	governor_reload(h->env.link.governor, r->settings);
	egress_memory_pardon(h->env.link.egress_memory);
	h->loop->kept_max = r->kept_max_bytes;
	credmap_unref(h->map);
	h->map = r->map;
	h->remap_left = h->session_count;
	loop_again(h->loop, &h->remap);
	free(r);
}

bool
home_reload(struct home *h, struct settings *settings, struct trust *trust,
    struct credmap *map, size_t kept_max_bytes)
{
	struct reload_letter *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return false;
	r->letter.open = open_reload;
	r->settings = settings_ref(settings);
	r->trust = trust_ref(trust);
	r->map = credmap_ref(map);
	r->kept_max_bytes = kept_max_bytes;
	mailbox_post(h->mailbox, &r->letter);
	return true;
}

static void
turn_away_waiting(struct home *h)
{
	struct session *s;

	TAILQ_FOREACH (s, &h->sessions, next) {
		struct identity *id = s->identity;

		if (id->waiting != NULL)
			turn_away(h, id->waiting, R_DRAINING);
		id->waiting = NULL;
	}
}

/* ---- all sessions, one after the other ---- */

static void
end_next(struct home *h, const struct fault *why)
{
	struct session *s;

	TAILQ_FOREACH (s, &h->sessions, next)
		if (!s->ended)
			break;
	if (s != NULL)
		session_end(s, why);
}

/* Those that began meanwhile end with the drain that comes behind it. */
static void
on_shed(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval step = {.tv_usec = SHED_STEP_MS * 1000};
	struct home *h = arg;
	struct shed *shed = &h->shed;
	uint64_t passed_ms = clock_mono_ms() - shed->began_ms;
	size_t due = shed->all;
	struct fault why;

	(void)fd;
	(void)what;
	if (passed_ms < shed->over_ms)
		due = (size_t)(shed->all * passed_ms / shed->over_ms);
	(void)fault_set(&why, R_DRAINING, "%s", "");
	for (; shed->ended < due; shed->ended++)
		end_next(h, &why);
	if (shed->ended < shed->all)
		(void)evtimer_add(&shed->timer, &step);
}

static void
open_shed(struct letter *letter, void *arg)
{
	struct home *h = arg;

	(void)letter;
	h->shed.began_ms = clock_mono_ms();
	h->shed.all = h->session_count;
	on_shed(-1, EV_TIMEOUT, h);
}

void
home_shed(struct home *h, uint64_t over_ms)
{
	h->shed.over_ms = over_ms;
	h->shed.letter.open = open_shed;
	mailbox_post(h->mailbox, &h->shed.letter);
}

static void
open_drain(struct letter *letter, void *arg)
{
	struct home *h = arg;
	struct session *s, *after;
	struct fault why;

	(void)letter;
	h->draining = true;
	(void)event_del(&h->shed.timer);
	turn_away_waiting(h);
	(void)fault_set(&why, R_DRAINING, "%s", "");
	for (s = TAILQ_FIRST(&h->sessions); s != NULL; s = after) {
		after = TAILQ_NEXT(s, next);
		session_end(s, &why);
	}
	tell_when_drained(h);
}

void
home_drain(struct home *h)
{
	h->drain.open = open_drain;
	mailbox_post(h->mailbox, &h->drain);
}

static void
open_ask(struct letter *letter, void *arg)
{
	struct home *h = arg;
	struct pulse_answer *answer = h->answer;
	struct session *s;

	(void)letter;
	answer->sessions = h->session_count;
	answer->online = 0;
	TAILQ_FOREACH (s, &h->sessions, next)
		answer->online += session_presence(s) == PRESENCE_ONLINE;
	mailbox_post(h->config.door, &answer->letter);
}

void
home_ask(struct home *h, struct pulse_answer *answer)
{
	h->answer = answer;
	h->ask.open = open_ask;
	mailbox_post(h->mailbox, &h->ask);
}

/* ---- what is told of them ---- */

static void
name_row(struct survey_row *row, const char *label, const char *product_key,
    const char *device_name)
{
	(void)snprintf(row->label, sizeof(row->label), "%s", label);
	(void)snprintf(
	    row->product_key, sizeof(row->product_key), "%s", product_key);
	(void)snprintf(
	    row->device_name, sizeof(row->device_name), "%s", device_name);
}

static void
tell_last_end(struct survey_row *row, const struct departed_device *last)
{
	row->now.reason = last->reason;
	memcpy(row->now.detail, last->detail, sizeof(row->now.detail));
}

static void
fill_online(struct home *h, struct survey_row *row, const struct session *s)
{
	const struct identity *id = s->identity;
	const struct departed_device *last =
	    departed_of(&h->departed, id->product_key, id->device_name);

	name_row(row, s->entry->label, id->product_key, id->device_name);
	session_report(s, &row->now);
	if (row->now.reason == R_NONE && last != NULL) {
		tell_last_end(row, last);
		row->now.is_past = true;
	}
}

static void
fill_offline(struct survey_row *row, const struct departed_device *last)
{
	name_row(row, last->label, last->product_key, last->device_name);
	row->now.presence = PRESENCE_OFFLINE;
	row->now.since_ms = last->at_ms;
	memcpy(row->now.peer, last->peer, sizeof(row->now.peer));
	tell_last_end(row, last);
}

static void
fill_rows(struct home *h, struct survey_part *part)
{
	const struct departed_device *last;
	const struct session *s;

	part->rows = calloc(
	    h->session_count + h->departed.n + 1, sizeof(struct survey_row));
	if (part->rows == NULL)
		return;
	TAILQ_FOREACH (s, &h->sessions, next)
		fill_online(h, &part->rows[part->count++], s);
	TAILQ_FOREACH (last, &h->departed.all, next)
		if (identities_session(&h->identities, last->product_key,
			last->device_name) == NULL)
			fill_offline(&part->rows[part->count++], last);
}

static void
fill_counts(const struct home *h, struct survey_part *part)
{
	const struct session *s;

	part->sums = h->past;
	part->sessions = h->env.tally;
	part->links = h->env.link.tally;
	memcpy(part->refused, h->turned_away, sizeof(part->refused));
	TAILQ_FOREACH (s, &h->sessions, next) {
		enum presence presence = session_presence(s);

		part->of[presence]++;
		session_sum(s, &part->sums);
		if (presence == PRESENCE_ONLINE)
			part->cert_expires_s = survey_earliest(
			    part->cert_expires_s, s->link.cert_expires_s);
	}
}

static void
open_survey(struct letter *letter, void *arg)
{
	struct survey_part *part = (struct survey_part *)letter;
	struct home *h = arg;

	fill_counts(h, part);
	if (part->wants_rows)
		fill_rows(h, part);
	part->letter.open = part->answered;
	mailbox_post(h->config.door, &part->letter);
}

void
home_survey(struct home *h, struct survey_part *part)
{
	part->letter.open = open_survey;
	mailbox_post(h->mailbox, &part->letter);
}

/* ---- an administrator ends one ---- */

struct kick_letter {
	struct letter letter;
	char product_key[ALIYUN_PRODUCT_KEY_MAX + 1];
	char device_name[ALIYUN_DEVICE_NAME_MAX + 1];
};

static void
open_kick(struct letter *letter, void *arg)
{
	struct kick_letter *k = (struct kick_letter *)letter;
	struct home *h = arg;
	struct session *s =
	    identities_session(&h->identities, k->product_key, k->device_name);
	struct fault why;

	(void)fault_set(&why, R_KICKED, "%s", "");
	if (s != NULL)
		session_end(s, &why);
	free(k);
}

bool
home_kick(struct home *h, const struct credential *entry)
{
	struct kick_letter *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return false;
	k->letter.open = open_kick;
	(void)snprintf(
	    k->product_key, sizeof(k->product_key), "%s", entry->product_key);
	(void)snprintf(
	    k->device_name, sizeof(k->device_name), "%s", entry->device_name);
	mailbox_post(h->mailbox, &k->letter);
	return true;
}

/* ---- somebody looks at the packets of one ---- */

void
home_post(struct home *h, struct letter *l)
{
	mailbox_post(h->mailbox, l);
}

void
home_trace(struct home *h, struct trace *t)
{
	struct session *s =
	    identities_session(&h->identities, t->product_key, t->device_name);

	LIST_INSERT_HEAD(&h->env.traces, t, next);
	if (s != NULL)
		session_trace(s, t);
	else
		trace_note(t, "the device is not connected; waiting for it");
}

void
home_untrace(struct home *h, struct trace *t)
{
	struct session *s =
	    identities_session(&h->identities, t->product_key, t->device_name);

	LIST_REMOVE(t, next);
	if (s != NULL)
		session_untrace(s, t);
	trace_end(t);
}

/* ---- its end ---- */

static void
open_stop(struct letter *letter, void *arg)
{
	struct home *h = arg;

	(void)letter;
	h->loop->stop = true;
}

static void
on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct home *h = arg;

	(void)fd;
	(void)what;
	mailbox_open_all(h->mailbox, h);
}

/* ---- thread ---- */

static void *
live(void *arg)
{
	struct home *h = arg;

	(void)pthread_setname_np(pthread_self(), "worker");
	loop_run(h->loop);
	return NULL;
}

void
home_free(struct home **hp)
{
	struct home *h = *hp;
	struct session *s;

	if (h == NULL)
		return;
	if (h->mailbox != NULL) {
		/* letters nobody has opened yet; a knock among them is turned
		   away, a look-up that came back is freed */
		h->draining = true;
		mailbox_open_all(h->mailbox, h);
	}
	turn_away_waiting(h);
	task_cancel(&h->remap);
	if (h->loop != NULL)
		(void)event_del(&h->shed.timer);
	while ((s = TAILQ_FIRST(&h->sessions)) != NULL) {
		struct identity *id = s->identity;

		TAILQ_REMOVE(&h->sessions, s, next);
		session_free(&s);
		id->session = NULL;
		identity_drop(&h->identities, id, clock_mono_ms());
	}
	identities_clear(&h->identities);
	departed_clear(&h->departed);
	lingering_free(&h->lingering);
	tickets_free(&h->env.link.tickets);
	holdoffs_free(&h->env.link.holdoffs);
	habits_free(&h->env.link.habits);
	idle_cuts_free(&h->env.link.idle_cuts);
	egress_memory_free(&h->env.link.egress_memory);
	governor_free(&h->env.link.governor);
	if (h->mailbox != NULL && h->loop != NULL)
		(void)event_del(&h->mail);
	mailbox_free(&h->mailbox);
	loop_free(&h->loop);
	credmap_unref(h->map);
	settings_unref(h->config.settings);
	trust_unref(h->config.trust);
	known_names_unref(h->config.names);
	free(h);
	*hp = NULL;
}

static struct governor *
furnish_governor(struct home *h)
{
	uint64_t seed;

	if (RAND_bytes((unsigned char *)&seed, sizeof(seed)) != 1)
		return NULL;
	return governor_new(
	    h->config.settings, h->config.dial_rate, seed, clock_mono_ms());
}

static bool
furnish(struct home *h)
{
	h->loop = loop_new(h->config.kept_max_bytes);
	h->mailbox = mailbox_new();
	h->env.link.tickets = tickets_new();
	h->env.link.holdoffs = holdoffs_new();
	h->env.link.habits = habits_new();
	h->env.link.idle_cuts = idle_cuts_new();
	h->env.link.egress_memory = egress_memory_new();
	h->env.link.governor = furnish_governor(h);
	if (h->loop != NULL)
		(void)evtimer_assign(&h->shed.timer, h->loop->base, on_shed, h);
	if (h->loop == NULL || h->mailbox == NULL ||
	    h->env.link.tickets == NULL || h->env.link.holdoffs == NULL ||
	    h->env.link.habits == NULL || h->env.link.idle_cuts == NULL ||
	    h->env.link.egress_memory == NULL || h->env.link.governor == NULL)
		return false;
	h->lingering = lingering_new(h->loop->base, h->config.crowd);
	if (h->lingering == NULL)
		return false;
	lingering_tell_written(h->lingering, on_last_written, h);
	(void)event_assign(&h->mail, h->loop->base, mailbox_fd(h->mailbox),
	    EV_READ | EV_PERSIST, on_mail, h);
	h->env.link.loop = h->loop;
	h->env.link.mailbox = h->mailbox;
	h->env.link.resolver_mailbox = h->config.door;
	h->env.link.resolver_open = h->config.resolver_open;
	h->env.link.names = h->config.names;
	h->env.link.take_overs = h->config.take_overs;
	h->env.link.pings_learned = h->config.pings_learned;
	h->env.link.settings = h->config.settings;
	h->env.link.trust = h->config.trust;
	h->env.device.loop = h->loop;
	h->env.device.lingering = h->lingering;
	h->env.device.settings = h->config.settings;
	h->env.on_dead = on_dead;
	h->env.on_end = on_end;
	h->env.arg = h;
	return event_add(&h->mail, NULL) == 0;
}

struct home *
home_start(const struct home_config *config, struct fault *why)
{
	struct home *h = calloc(1, sizeof(*h));

	if (h == NULL) {
		(void)fault_set(why, R_OUT_OF_MEMORY, "for a worker");
		return NULL;
	}
	TAILQ_INIT(&h->sessions);
	identities_init(&h->identities);
	departed_init(&h->departed);
	task_init(&h->remap, on_remap, h);
	h->config = *config;
	(void)settings_ref(config->settings);
	(void)trust_ref(config->trust);
	(void)known_names_ref(config->names);
	if (furnish(h) && thread_start(&h->thread, live, h))
		return h;
	(void)fault_set(why, R_OUT_OF_MEMORY,
	    "a worker needs more memory, descriptors or threads");
	home_free(&h);
	return NULL;
}

void
home_stop(struct home *h)
{
	h->stop.open = open_stop;
	mailbox_post(h->mailbox, &h->stop);
	(void)pthread_join(h->thread, NULL);
}
