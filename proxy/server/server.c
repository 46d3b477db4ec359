#include "server/server.h"

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "link/dial_rate.h"
#include "link/resolver.h"
#include "link/trust.h"
#include "server/admin.h"
#include "server/door.h"
#include "server/home.h"
#include "server/keeper.h"
#include "server/machine.h"
#include "server/map_state.h"
#include "server/reload.h"
#include "server/watch.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	HOMES_MAX = 256,
	LOG_STOP_MS = 2000,
	SHARE_LEAST_SESSIONS = 4,
	/* descriptors beside two for each session */
	DESCRIPTORS_EXTRA = 64
};

struct server {
	const struct server_files *files;
	struct settings *settings;
	struct settings *at_start; /* what cannot change is as it was then */
	struct credmap *map;
	struct trust *trust;
	struct event_base *base;
	struct mailbox *mailbox;
	struct event mail;
	struct event on_term, on_int, on_hup;
	struct event drain_deadline;
	struct resolver *resolver;
	struct door *door;
	struct home *homes[HOMES_MAX];
	struct letter drained[HOMES_MAX];
	unsigned home_count;
	unsigned homes_drained;
	struct inherited inherited;
	struct crowd *crowd;
	struct dial_rate dial_rate;
	struct take_overs take_overs;
	_Atomic uint64_t pings_learned;
	struct keeper *keeper;
	struct map_state map_state;
	struct admin *admin; /* NULL: none is wanted, or can be had */
	bool draining;
};

/* ---- devices ---- */

/* FNV-1a over the identity, so that a renamed entry stays where it was. */
static unsigned
home_of(const struct server *s, const struct credential *entry)
{
	const char *const parts[] = {entry->product_key, entry->device_name};
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < 2; i++)
		for (const char *p = parts[i];; p++) {
			hash = (hash ^ (uint8_t)*p) * 16777619u;
			if (*p == '\0')
				break;
		}
	return hash % s->home_count;
}

static void
on_admit(void *arg, struct knock *k)
{
	struct server *s = arg;

	home_admit(s->homes[home_of(s, k->entry)], k);
}

static void
open_lookup(struct letter *letter, void *arg)
{
	struct server *s = arg;

	resolver_ask(s->resolver, (struct lookup *)letter);
}

static void
on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	mailbox_open_all(s->mailbox, s);
}

/* ---- reload ---- */

/* A worker's share of what may be kept, but so much that a few sessions that
   keep all they may do not stop the others. */
static size_t
kept_share(const struct settings *settings, unsigned workers)
{
	uint64_t share = settings->total_buffer_bytes / workers;
	uint64_t least = SHARE_LEAST_SESSIONS * settings->session_buffer_bytes;

	return (size_t)(share > least ? share : least);
}

static void
tell_fixed(void *arg, const char *section, const char *key)
{
	(void)arg;
	log_write(LOG_WARNING, "setting_needs_restart", "section=%s key=%s",
	    section, key);
}

static void
adopt(struct server *s, struct reload *r)
{
	const struct credmap_counts *n = &r->counts;

	settings_fixed_changes(s->at_start, r->settings, tell_fixed, NULL);
	log_set_level(r->settings->log_level);
	reload_warn_insecure(r->settings);
	resolver_reload(s->resolver, r->settings);
	dial_rate_set(&s->dial_rate, r->settings->dial_per_second);
	/* before the door: it may let devices in by the new map at once */
	for (unsigned i = 0; i < s->home_count; i++)
		if (!home_reload(s->homes[i], r->settings, r->trust, r->map,
			kept_share(r->settings, s->home_count)))
			log_write(LOG_ERROR, "reload_incomplete",
			    "reason=%s worker=%u hint=\"reload again\"",
			    reason_word(R_OUT_OF_MEMORY), i);
	door_reload(s->door, r->settings, r->map);
	settings_unref(s->settings);
	credmap_unref(s->map);
	trust_unref(s->trust);
	s->settings = settings_ref(r->settings);
	s->map = credmap_ref(r->map);
	s->trust = trust_ref(r->trust);
	map_state_loaded(&s->map_state, credmap_count(s->map), clock_wall_ms());
	s->map_state.reloads++;
	log_write(LOG_NOTICE, "reloaded",
	    "devices=%zu added=%zu removed=%zu disabled=%zu changed=%zu"
	    " renamed=%zu disconnects=%zu",
	    credmap_count(s->map), n->of[CREDMAP_ADDED], n->of[CREDMAP_REMOVED],
	    n->of[CREDMAP_DISABLED], n->of[CREDMAP_CHANGED],
	    n->of[CREDMAP_RENAMED], n->disconnects);
}

static void
open_reload(struct letter *letter, void *arg)
{
	struct reload *r = (struct reload *)letter;
	struct server *s = arg;

	if (!r->ok) {
		map_state_refused(&s->map_state, &r->refusal, clock_wall_ms());
		log_write(LOG_ERROR, "reload_refused",
		    "hint=\"the files in use before stay in use; mend the"
		    " lines named above\"");
	} else if (!s->draining) {
		adopt(s, r);
	}
	reload_free(&r);
}

static void
on_hangup(evutil_socket_t signal, short what, void *arg)
{
	struct server *s = arg;

	(void)signal;
	(void)what;

	keeper_ask(s->keeper);
}

/* ---- end ---- */

static void
stop_loop(struct server *s)
{
	(void)event_base_loopbreak(s->base);
}

static void
open_drained(struct letter *letter, void *arg)
{
	struct server *s = arg;

	(void)letter;
	if (++s->homes_drained == s->home_count)
		stop_loop(s);
}

static void
on_drain_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct server *s = arg;

	(void)fd;
	(void)what;
	log_write(LOG_WARNING, "drain_timeout",
	    "hint=\"the sessions left are cut off\"");
	stop_loop(s);
}

/* The first signal drains, a second one ends at once. */
static void
on_terminate(evutil_socket_t signal, short what, void *arg)
{
	struct server *s = arg;
	uint64_t ms = s->settings->drain_timeout_ms;
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	(void)what;
	if (s->draining) {
		stop_loop(s);
		return;
	}
	s->draining = true;
	log_write(LOG_NOTICE, "draining", "signal=%d", (int)signal);
	door_close(s->door);
	for (unsigned i = 0; i < s->home_count; i++)
		home_drain(s->homes[i]);
	(void)evtimer_add(&s->drain_deadline, &tv);
}

/* ---- start ---- */

static void
on_libevent_log(int severity, const char *text)
{
	log_write(severity >= EVENT_LOG_WARN ? LOG_WARNING : LOG_DEBUG,
	    "libevent", "text=\"%s\"", text);
}

static bool
start_loop(struct server *s, struct fault *why)
{
	s->base = event_base_new();
	s->mailbox = mailbox_new();
	s->crowd = crowd_new();
	if (s->base == NULL || s->mailbox == NULL || s->crowd == NULL)
		goto fail;
	(void)event_assign(&s->mail, s->base, mailbox_fd(s->mailbox),
	    EV_READ | EV_PERSIST, on_mail, s);
	(void)evsignal_assign(&s->on_term, s->base, SIGTERM, on_terminate, s);
	(void)evsignal_assign(&s->on_int, s->base, SIGINT, on_terminate, s);
	(void)evsignal_assign(&s->on_hup, s->base, SIGHUP, on_hangup, s);
	(void)evtimer_assign(&s->drain_deadline, s->base, on_drain_deadline, s);
	s->resolver = resolver_new(s->base, s->settings, NULL);
	dial_rate_set(&s->dial_rate, s->settings->dial_per_second);
	if (s->resolver != NULL && event_add(&s->mail, NULL) == 0 &&
	    event_add(&s->on_term, NULL) == 0 &&
	    event_add(&s->on_int, NULL) == 0 &&
	    event_add(&s->on_hup, NULL) == 0)
		return true;
fail:
	return fault_set(why, R_OUT_OF_MEMORY,
	    "the main loop needs more memory or descriptors");
}

static bool
start_homes(struct server *s, struct fault *why)
{
	unsigned wanted =
	    s->settings->workers != 0 ? s->settings->workers : machine_cpus();
	struct home_config config = {
	    .settings = s->settings,
	    .trust = s->trust,
	    .crowd = s->crowd,
	    .dial_rate = &s->dial_rate,
	    .take_overs = &s->take_overs,
	    .pings_learned = &s->pings_learned,
	    .door = s->mailbox,
	    .resolver_open = open_lookup,
	};

	if (wanted > HOMES_MAX)
		wanted = HOMES_MAX;
	config.kept_max_bytes = kept_share(s->settings, wanted);
	while (s->home_count < wanted) {
		s->drained[s->home_count].open = open_drained;
		config.drained = &s->drained[s->home_count];
		s->homes[s->home_count] = home_start(&config, why);
		if (s->homes[s->home_count] == NULL)
			return false;
		s->home_count++;
	}
	return true;
}

static bool
start_door(struct server *s, struct fault *why)
{
	struct door_config config = {
	    .base = s->base,
	    .settings = s->settings,
	    .map = s->map,
	    .inherited = &s->inherited,
	    .crowd = s->crowd,
	    .admit = on_admit,
	    .arg = s,
	};

	s->door = door_open(&config, why);
	return s->door != NULL;
}

static bool
start_keeper(struct server *s, struct watch **watch, struct fault *why)
{
	const struct keeper_config config = {
	    .files = s->files,
	    .settings = s->settings,
	    .map = s->map,
	    .reply_to = s->mailbox,
	    .open = open_reload,
	};

	s->keeper = keeper_start(&config, watch, why);
	return s->keeper != NULL;
}

/* The files of the settings and the map are in <watch> already. */
static bool
read_trust(struct server *s, struct watch *watch, struct fault *why)
{
	if (!reload_watch_trust(s->settings, watch))
		return fault_set(why, R_OUT_OF_MEMORY, "no memory for TLS");
	s->trust = trust_new(s->settings, why);
	return s->trust != NULL;
}

/* The proxy can do without, but not without what somebody has asked for. */
static bool
start_admin(struct server *s, uint64_t began_ms, struct fault *why)
{
	const char *path = s->settings->admin_socket;
	struct admin_config config = {
	    .base = s->base,
	    .socket = s->at_start->admin_socket,
	    .inherited = inherited_claim(&s->inherited, "admin"),
	    .workers = s->home_count,
	    .began_ms = began_ms,
	    .crowd = s->crowd,
	    .take_overs = &s->take_overs,
	    .pings_learned = &s->pings_learned,
	    .map = &s->map_state,
	};
	struct fault lack;

	if (!settings_want_admin(s->settings)) {
		if (config.inherited >= 0)
			(void)close(config.inherited);
		return true;
	}
	s->admin = admin_open(&config, &lack);
	if (s->admin != NULL)
		return true;
	if (strcmp(path, ADMIN_SOCKET_DEFAULT) != 0)
		return fault_set(
		    why, lack.why, "[admin] socket = %s: %s", path, lack.text);
	log_write(LOG_WARNING, "admin_unavailable",
	    "socket=\"%s\" detail=\"%s\" hint=\"or set [admin] socket to"
	    " another path, or to none\"",
	    path, lack.text);
	return true;
}

static void
warn_of_clock(void)
{
	int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
	char now[CLOCK_TEXT_MAX], release[CLOCK_TEXT_MAX];

	if (now_s < RELEASE_EPOCH_S)
		log_write(LOG_WARNING, "clock_wrong",
		    "clock=%s released=%s hint=\"%s\"", clock_text(now, now_s),
		    clock_text(release, RELEASE_EPOCH_S),
		    reason_hint(R_CLOCK_WRONG));
}

/* One line for each, so that the ready line stays one of fixed length. */
static void
tell_places(const struct server *s)
{
	struct door_place place;

	for (unsigned i = 0; door_place(s->door, i, &place); i++)
		log_write(LOG_NOTICE, "listening",
		    "listener=%s address=%s port=%u inherited=%s",
		    place.listener, place.address, place.port,
		    place.inherited ? "yes" : "no");
}

static void
tell_ready(const struct server *s, unsigned descriptors)
{
	uint64_t wanted =
	    2 * (uint64_t)s->settings->devices_max + DESCRIPTORS_EXTRA;
	struct door_place place = {.address = "none"};

	if (descriptors < wanted)
		log_write(LOG_WARNING, "few_descriptors",
		    "limit=%u wanted=%llu hint=\"%s; or lower [limits]"
		    " devices\"",
		    descriptors, (unsigned long long)wanted,
		    reason_hint(R_NO_DESCRIPTORS));
	reload_warn_insecure(s->settings);
	warn_of_clock();
	tell_places(s);
	(void)!door_place(s->door, 0, &place);
	log_write(LOG_NOTICE, "ready",
	    "address=%s port=%u devices=%zu workers=%u version=%s"
	    " libevent=%s openssl=\"%s\"",
	    place.address, place.port, credmap_count(s->map), s->home_count,
	    PACKAGE_VERSION, event_get_version(),
	    OpenSSL_version(OPENSSL_VERSION));
}

static void
clean_up(struct server *s)
{
	inherited_close(&s->inherited);
	door_free(&s->door);
	admin_free(&s->admin);
	for (unsigned i = 0; i < s->home_count; i++)
		home_stop(s->homes[i]);
	if (s->base != NULL && s->mailbox != NULL) {
		s->draining = true;
		keeper_stop(&s->keeper);
		/* look-ups go back to the homes, which free them */
		resolver_free(&s->resolver);
		mailbox_open_all(s->mailbox, s);
		(void)event_del(&s->mail);
		(void)event_del(&s->on_term);
		(void)event_del(&s->on_int);
		(void)event_del(&s->on_hup);
		(void)event_del(&s->drain_deadline);
	}
	for (unsigned i = 0; i < s->home_count; i++)
		home_free(&s->homes[i]);
	crowd_free(&s->crowd);
	mailbox_free(&s->mailbox);
	if (s->base != NULL)
		event_base_free(s->base);
	trust_unref(s->trust);
	credmap_unref(s->map);
	settings_unref(s->settings);
	settings_unref(s->at_start);
	libevent_global_shutdown();
}

bool
server_run(const struct server_files *files, struct settings *settings,
    struct credmap *map, struct watch *watch, struct fault *why)
{
	struct server *s = calloc(1, sizeof(*s));
	unsigned descriptors = machine_raise_descriptors();
	uint64_t began_ms = clock_mono_ms();
	bool ok;

	if (s == NULL) {
		settings_unref(settings);
		credmap_unref(map);
		watch_free(&watch);
		return fault_set(why, R_OUT_OF_MEMORY, "at the start");
	}
	(void)signal(SIGPIPE, SIG_IGN);
	event_set_log_callback(on_libevent_log);
	log_set_level(settings->log_level);
	inherited_take(&s->inherited);
	s->files = files;
	s->settings = settings;
	s->at_start = settings_ref(settings);
	s->map = map;
	s->map_state.file = files->devices;
	map_state_loaded(&s->map_state, credmap_count(map), clock_wall_ms());
	ok = read_trust(s, watch, why) && start_loop(s, why) &&
	     start_homes(s, why) && start_admin(s, began_ms, why) &&
	     start_door(s, why) && start_keeper(s, &watch, why);
	watch_free(&watch);
	if (ok) {
		if (!log_start())
			log_write(LOG_WARNING, "log_unbuffered", "reason=%s",
			    reason_word(R_OUT_OF_MEMORY));
		tell_ready(s, descriptors);
		(void)event_base_dispatch(s->base);
	}
	clean_up(s);
	free(s);
	if (ok)
		log_write(LOG_NOTICE, "stopped", "seconds=%llu",
		    (unsigned long long)(clock_mono_ms() - began_ms) / 1000);
	log_stop(LOG_STOP_MS);
	return ok;
}
