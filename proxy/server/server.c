#include "server/server.h"

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "server/machine.h"
#include "server/reload.h"
#include "server/server_parts.h"
#include "server/watch.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LOG_STOP_MS = 2000,
	SHARE_LEAST_SESSIONS = 4,
	/* descriptors beside two for each session */
	DESCRIPTORS_EXTRA = 64
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
	log_set_format(r->settings->log_format);
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
	} else if (!s->draining && s->leave_by_ms == 0) {
		adopt(s, r);
	}
	reload_free(&r);
	admin_reloaded(s->admin);
	notify_send(&s->notify, "READY=1");
}

/* sd_notify(3): the supervisor waits for READY=1 from here on. */
static void
ask_for_reload(void *arg)
{
	struct server *s = arg;

	notify_reloading(&s->notify);
	keeper_ask(s->keeper);
}

static void
on_hangup(evutil_socket_t signal, short what, void *arg)
{
	(void)signal;
	(void)what;
	ask_for_reload(arg);
}

/* ---- log ---- */

static void
on_reopen_log(evutil_socket_t signal, short what, void *arg)
{
	(void)signal;
	(void)what;
	(void)arg;
	if (!log_reopen())
		log_write(LOG_ERROR, "log_not_reopened",
		    "detail=\"%s\" hint=\"lines go on into the old file\"",
		    strerror(errno));
	else
		log_write(
		    LOG_NOTICE, "log_reopened", "pid=%ld", (long)getpid());
}

/* ---- signs of life ---- */

static void
ask_thread(void *arg, unsigned i)
{
	struct server *s = arg;
	struct pulse_answer *answer = pulse_answer(s->pulse, i);

	if (i < s->home_count)
		home_ask(s->homes[i], answer);
	else
		keeper_pulse(s->keeper, answer);
}

static size_t
devices_of_map(void *arg)
{
	const struct server *s = arg;

	return credmap_count(s->map);
}

static bool
start_pulse(struct server *s, struct fault *why)
{
	const struct pulse_config config = {
	    .base = s->base,
	    .notify = &s->notify,
	    .crowd = s->crowd,
	    .workers = s->home_count,
	    .ask = ask_thread,
	    .devices = devices_of_map,
	    .arg = s,
	};

	s->pulse = pulse_new(&config);
	return s->pulse != NULL ||
	       fault_set(why, R_OUT_OF_MEMORY, "for signs of life");
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
	s->mailbox = s->traces.door = mailbox_new();
	s->crowd = crowd_new();
	if (s->base == NULL || s->mailbox == NULL || s->crowd == NULL)
		goto fail;
	(void)event_assign(&s->mail, s->base, mailbox_fd(s->mailbox),
	    EV_READ | EV_PERSIST, on_mail, s);
	(void)evsignal_assign(&s->on_hup, s->base, SIGHUP, on_hangup, s);
	(void)evsignal_assign(&s->on_usr1, s->base, SIGUSR1, on_reopen_log, s);
	s->resolver = resolver_new(s->base, s->settings, NULL);
	dial_rate_set(&s->dial_rate, s->settings->dial_per_second);
	if (s->resolver != NULL && event_add(&s->mail, NULL) == 0 &&
	    event_add(&s->on_hup, NULL) == 0 &&
	    event_add(&s->on_usr1, NULL) == 0 && server_watch_ends(s))
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
	    .names = resolver_names(s->resolver),
	};

	if (wanted > HOMES_MAX)
		wanted = HOMES_MAX;
	config.kept_max_bytes = kept_share(s->settings, wanted);
	while (s->home_count < wanted) {
		s->drained[s->home_count].open = server_open_drained;
		config.drained = &s->drained[s->home_count];
		s->homes[s->home_count] = home_start(&config, why);
		if (s->homes[s->home_count] == NULL)
			return false;
		s->home_count++;
	}
	return true;
}

static bool
open_log(const struct server *s, struct fault *why)
{
	const char *path = s->settings->log_file;

	return path[0] == '\0' || log_to_file(path) ||
	       fault_set(why, R_BAD_CONFIG, "[log] file = %s: %s", path,
		   strerror(errno));
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

/* ---- what is told of it ---- */

static void
ask_home(void *arg, unsigned i, struct survey_part *part)
{
	struct server *s = arg;

	home_survey(s->homes[i], part);
}

static void
fill_facts(void *arg, struct admin_facts *f)
{
	const struct server *s = arg;

	f->pid = getpid();
	f->started_ms = s->started_ms;
	f->uptime_ms = clock_mono_ms() - s->began_ms;
	f->workers = s->home_count;
	f->connections = crowd_size(s->crowd);
	f->lan_loops = s->take_overs.lan_loops;
	f->cloud_loops = s->take_overs.cloud_loops;
	f->pings_learned = s->pings_learned;
	f->map = &s->map_state;
	f->devices = s->map;
	f->refused = s->door != NULL ? door_refused(s->door) : NULL;
}

static const char *
unready(void *arg)
{
	const struct server *s = arg;

	if (s->draining || s->leave_by_ms != 0)
		return "the proxy is ending";
	if (s->door == NULL)
		return "the proxy is starting";
	if (credmap_is_missing(s->map))
		return "there is no devices.ini yet";
	return NULL;
}

static const struct secret *
admin_token(void *arg)
{
	const struct server *s = arg;

	return &s->settings->admin_token;
}

static bool
kick(void *arg, const struct credential *entry)
{
	struct server *s = arg;

	log_write_for(
	    &entry->log, LOG_NOTICE, "kick", "label=%s", entry->label);
	return home_kick(s->homes[home_of(s, entry)], entry);
}

static struct trace_feed *
trace(void *arg, const struct trace_wish *wish)
{
	struct server *s = arg;
	const struct credential *entry = wish->entry;
	struct trace_feed *f =
	    trace_feed_begin(&s->traces, s->homes[home_of(s, entry)], wish);

	if (f != NULL)
		log_write_for(&entry->log, LOG_NOTICE, "trace",
		    "label=%s payload=%s", entry->label,
		    wish->wants_payload ? "yes" : "no");
	return f;
}

static bool
start_survey(struct server *s, struct fault *why)
{
	const struct survey_config config = {
	    .workers = s->home_count, .ask = ask_home, .arg = s};

	s->survey = survey_new(&config);
	return s->survey != NULL ||
	       fault_set(why, R_OUT_OF_MEMORY, "for the admin endpoint");
}

/* The proxy can do without, but not without what somebody has asked for. */
static bool
start_admin(struct server *s, struct fault *why)
{
	const char *path = s->settings->admin_socket;
	struct admin_config config = {
	    .base = s->base,
	    .socket = s->at_start->admin_socket,
	    .inherited = inherited_claim(&s->inherited, "admin"),
	    .listen = s->at_start->admin_listen,
	    .inherited_tcp = inherited_claim(&s->inherited, "admin-tcp"),
	    .token = admin_token,
	    .survey = s->survey,
	    .fill = fill_facts,
	    .unready = unready,
	    .kick = kick,
	    .trace = trace,
	    .reload = ask_for_reload,
	    .drain = server_drain,
	    .arg = s,
	};
	struct fault lack;

	if (!settings_want_admin(s->settings)) {
		if (config.inherited >= 0)
			(void)close(config.inherited);
		if (config.inherited_tcp >= 0)
			(void)close(config.inherited_tcp);
		return true;
	}
	s->admin = admin_open(&config, &lack);
	if (s->admin != NULL)
		return true;
	if (s->at_start->admin_listen[0] != '\0' ||
	    strcmp(path, ADMIN_SOCKET_DEFAULT) != 0)
		return fault_set(why, lack.why, "%s", lack.text);
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
	char file[160];

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
	if (credmap_is_missing(s->map))
		log_write(LOG_WARNING, "map_missing", "file=\"%s\" hint=\"%s\"",
		    escape(
			file, sizeof(file), span_of_string(s->files->devices)),
		    reason_hint(R_NO_MAP));
	log_write(LOG_NOTICE, "ready",
	    "address=%s port=%u devices=%zu map=%s workers=%u version=%s"
	    " libevent=%s openssl=\"%s\"",
	    place.address, place.port, credmap_count(s->map),
	    credmap_is_missing(s->map) ? "missing" : "loaded", s->home_count,
	    PACKAGE_VERSION, event_get_version(),
	    OpenSSL_version(OPENSSL_VERSION));
}

static void
clean_up(struct server *s)
{
	inherited_close(&s->inherited);
	door_free(&s->door);
	for (unsigned i = 0; i < s->home_count; i++)
		home_stop(s->homes[i]);
	admin_free(&s->admin);
	if (s->pulse != NULL)
		pulse_stop(s->pulse);
	if (s->base != NULL && s->mailbox != NULL) {
		s->draining = true;
		keeper_stop(&s->keeper);
		/* look-ups go back to the homes, which free them */
		resolver_free(&s->resolver);
		mailbox_open_all(s->mailbox, s);
		(void)event_del(&s->mail);
		(void)event_del(&s->on_hup);
		(void)event_del(&s->on_usr1);
		server_unwatch_ends(s);
	}
	for (unsigned i = 0; i < s->home_count; i++)
		home_free(&s->homes[i]);
	pulse_free(&s->pulse);
	survey_free(&s->survey);
	crowd_free(&s->crowd);
	mailbox_free(&s->mailbox);
	if (s->base != NULL)
		event_base_free(s->base);
	trust_unref(s->trust);
	credmap_unref(s->map);
	settings_unref(s->settings);
	settings_unref(s->at_start);
	notify_close(&s->notify);
	libevent_global_shutdown();
}

/* By its path: what stands there later is the next version. */
static void
remember_program(struct server *s)
{
	ssize_t n =
	    readlink("/proc/self/exe", s->program, sizeof(s->program) - 1);

	s->program[n > 0 ? n : 0] = '\0';
}

bool
server_run(const struct server_files *files, struct settings *settings,
    struct credmap *map, struct watch *watch, struct fault *why)
{
	struct server *s = calloc(1, sizeof(*s));
	unsigned descriptors = machine_raise_descriptors();
	bool ok;

	if (s == NULL) {
		settings_unref(settings);
		credmap_unref(map);
		watch_free(&watch);
		return fault_set(why, R_OUT_OF_MEMORY, "at the start");
	}
	(void)signal(SIGPIPE, SIG_IGN);
	event_set_log_callback(on_libevent_log);
	log_find_journal();
	log_set_level(settings->log_level);
	log_set_format(settings->log_format);
	inherited_take(&s->inherited);
	remember_program(s);
	s->began_ms = clock_mono_ms();
	s->started_ms = clock_wall_ms();
	s->files = files;
	s->settings = settings;
	s->at_start = settings_ref(settings);
	s->map = map;
	s->map_state.file = files->devices;
	map_state_loaded(&s->map_state, credmap_count(map), clock_wall_ms());
	notify_open(&s->notify);
	ok = open_log(s, why) && read_trust(s, watch, why) &&
	     start_loop(s, why) && start_homes(s, why) &&
	     start_survey(s, why) && start_admin(s, why) &&
	     start_door(s, why) && start_keeper(s, &watch, why) &&
	     start_pulse(s, why);
	watch_free(&watch);
	if (ok) {
		if (!log_start())
			log_write(LOG_WARNING, "log_unbuffered", "reason=%s",
			    reason_word(R_OUT_OF_MEMORY));
		tell_ready(s, descriptors);
		/* one that takes over is known to the supervisor as ready */
		if (!successor_say_ready())
			notify_send(&s->notify, "READY=1");
		pulse_start(s->pulse);
		(void)event_base_dispatch(s->base);
	}
	clean_up(s);
	if (ok)
		log_write(LOG_NOTICE, "stopped", "seconds=%llu",
		    (unsigned long long)(clock_mono_ms() - s->began_ms) / 1000);
	free(s);
	log_stop(LOG_STOP_MS);
	return ok;
}
