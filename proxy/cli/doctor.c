/*
 * doctor: goes the way that the proxy goes to the cloud, with the same code,
 * and tells of each step. A real session is started for a device that is the
 * doctor itself, on the other end of a socket pair; without a label nobody logs
 * in.
 */
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/doctor_report.h"
#include "codec/mqtt_property.h"
#include "session/session.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STAY_S = 3, /* a cloud that takes the login back does it soon */
	KEEP_ALIVE_S = 300
};

/* What a worker of the proxy would have, in one thread. */
struct doctor {
	struct report report;
	struct loop *loop;
	struct mailbox *mailbox;
	struct event mail;
	struct event stay;
	struct resolver *resolver;
	struct crowd *crowd;
	struct lingering *lingering;
	struct session_env env;
	struct device_memory memory;
	int device;       /* our end of the socket pair */
	struct link link; /* of a dial without a login */
};

/* ---- the worker's surroundings ---- */

static void
on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct doctor *d = arg;

	(void)fd;
	(void)what;
	mailbox_open_all(d->mailbox, d);
}

static void
open_lookup(struct letter *letter, void *arg)
{
	struct doctor *d = arg;

	resolver_ask(d->resolver, (struct lookup *)letter);
}

static void
unfurnish(struct doctor *d)
{
	resolver_free(&d->resolver);
	/* a look-up that was asked for and one that came back */
	for (int i = 0; i < 2 && d->mailbox != NULL; i++)
		mailbox_open_all(d->mailbox, d);
	lingering_free(&d->lingering);
	crowd_free(&d->crowd);
	tickets_free(&d->env.link.tickets);
	holdoffs_free(&d->env.link.holdoffs);
	habits_free(&d->env.link.habits);
	egress_memory_free(&d->env.link.egress_memory);
	trust_unref(d->env.link.trust);
	if (event_initialized(&d->mail))
		(void)event_del(&d->mail);
	mailbox_free(&d->mailbox);
	loop_free(&d->loop);
}

static void on_dead(void *arg, struct session *s);
static void on_step(void *arg, const struct link *l, const struct fault *why);

static bool
furnish(struct doctor *d, struct settings *settings, struct fault *why)
{
	struct link_env *env = &d->env.link;

	d->loop = loop_new((size_t)settings->session_buffer_bytes);
	d->mailbox = mailbox_new();
	d->crowd = crowd_new();
	env->tickets = tickets_new();
	env->holdoffs = holdoffs_new();
	env->habits = habits_new();
	env->egress_memory = egress_memory_new();
	(void)fault_set(why, R_OUT_OF_MEMORY, "at the start");
	if (d->loop == NULL || d->mailbox == NULL || d->crowd == NULL ||
	    env->tickets == NULL || env->holdoffs == NULL ||
	    env->habits == NULL || env->egress_memory == NULL)
		return false;
	d->lingering = lingering_new(d->loop->base, d->crowd);
	d->resolver = resolver_new(d->loop->base, settings, NULL);
	if (d->lingering == NULL || d->resolver == NULL)
		return false;
	env->trust = trust_new(settings, why);
	if (env->trust == NULL)
		return false;
	(void)event_assign(&d->mail, d->loop->base, mailbox_fd(d->mailbox),
	    EV_READ | EV_PERSIST, on_mail, d);
	env->loop = d->loop;
	env->mailbox = env->resolver_mailbox = d->mailbox;
	env->resolver_open = open_lookup;
	env->settings = settings;
	env->on_step = on_step;
	env->on_step_arg = d;
	d->env.device.loop = d->loop;
	d->env.device.lingering = d->lingering;
	d->env.device.settings = settings;
	d->env.on_dead = on_dead;
	d->env.arg = d;
	return event_add(&d->mail, NULL) == 0;
}

/* Until on_dead() or on_idle(). */
static void
run(struct doctor *d)
{
	d->loop->stop = false;
	loop_run(d->loop);
}

/* ---- a device's session ---- */

static void
on_dead(void *arg, struct session *s)
{
	struct doctor *d = arg;

	session_free(&s);
	d->loop->stop = true;
}

/* The login has held: the device takes its leave. */
static void
on_stay_over(evutil_socket_t fd, short what, void *arg)
{
	struct doctor *d = arg;
	uint8_t packet[MQTT_SMALL_MAX];
	size_t n = mqtt_disconnect_write(packet, 4, 0);

	(void)fd;
	(void)what;
	report_stayed(&d->report, STAY_S * 1000);
	(void)!write(d->device, packet, n);
}

static void
on_step(void *arg, const struct link *l, const struct fault *why)
{
	static const struct timeval stay = {.tv_sec = STAY_S};
	struct doctor *d = arg;

	report_step(&d->report, l, why);
	if (l->state == LINK_LOGIN && why == NULL)
		(void)evtimer_add(&d->stay, &stay);
	else if (l->state == LINK_UP)
		(void)evtimer_del(&d->stay);
}

/* A device's CONNECT; it asks for no clean session, at level 5 for one without
   end (MQTT 5 3.1.2.11.2), so that nothing the cloud keeps for the device is
   lost. */
static bool
put_connect(struct buffer *out, const char *client_id, uint8_t level)
{
	static const uint8_t kept[] = {
	    MQTT_SESSION_EXPIRY_INTERVAL, 0xFF, 0xFF, 0xFF, 0xFF};
	const struct mqtt_connect c = {.level = level,
	    .keep_alive_s = KEEP_ALIVE_S,
	    .properties = {kept, level >= 5 ? sizeof(kept) : 0},
	    .client_id = span_of_string(client_id)};
	size_t n = mqtt_connect_size(&c);
	uint8_t *to = buffer_reserve(out, n);

	if (to == NULL)
		return false;
	mqtt_connect_write(&c, to);
	buffer_commit(out, n);
	return true;
}

static struct knock *
knock_new(struct doctor *d, struct credmap *map, const struct credential *entry,
    uint8_t level)
{
	struct knock *k = calloc(1, sizeof(*k));
	struct crowd_count count;
	int pair[2];

	if (k == NULL || !put_connect(&k->bytes, entry->label, level))
		goto fail;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		pair) != 0)
		goto fail;
	k->connect_bytes = k->bytes.n;
	if (!crowd_enter(d->crowd, pair[0], "doctor", &count)) {
		(void)close(pair[0]);
		(void)close(pair[1]);
		goto fail;
	}
	k->fd = pair[0];
	d->device = pair[1];
	(void)snprintf(k->peer, sizeof(k->peer), "doctor");
	k->map = credmap_ref(map);
	k->entry = entry;
	return k;
fail:
	if (k != NULL)
		buffer_free(&k->bytes);
	free(k);
	return NULL;
}

static bool
visit(struct doctor *d, struct credmap *map, const struct credential *entry,
    uint8_t level)
{
	struct knock *k = knock_new(d, map, entry, level);

	if (k == NULL)
		return false;
	(void)evtimer_assign(&d->stay, d->loop->base, on_stay_over, d);
	report_begin(&d->report, entry);
	if (session_new(&d->env, k, &d->memory) == NULL) {
		crowd_leave(d->crowd, k->fd);
		(void)close(k->fd);
		(void)close(d->device);
		device_memory_free(&d->memory);
		buffer_free(&k->bytes);
		credmap_unref(k->map);
		free(k);
		return false;
	}
	run(d);
	(void)evtimer_del(&d->stay);
	(void)close(d->device);
	device_memory_free(&d->memory);
	return true;
}

/* ---- the way alone ---- */

static void
on_open(void *arg)
{
	struct doctor *d = arg;

	link_close(&d->link, WS_CLOSE_NORMAL);
}

static void
on_data(void *arg, const struct ws_event *piece)
{
	(void)arg;
	(void)piece;
}

static void
on_nothing(void *arg)
{
	(void)arg;
}

static void
on_lost(void *arg, const struct fault *why)
{
	(void)arg;
	(void)why; /* reported as a step */
}

static void
on_idle(void *arg)
{
	struct doctor *d = arg;

	d->loop->stop = true;
}

/* As far as the cloud can be reached without a login. */
static void
look(struct doctor *d, const struct credential *entry, uint8_t level)
{
	static const struct link_owner owner = {
	    .on_open = on_open,
	    .on_data = on_data,
	    .on_batch = on_nothing,
	    .on_room = on_nothing,
	    .on_lost = on_lost,
	    .on_idle = on_idle,
	};

	link_init(&d->link, &d->env.link, &owner, d);
	link_dial(&d->link, entry, level);
	if (d->link.state != LINK_IDLE)
		run(d);
	link_abort(&d->link);
}

static bool
same_way(const struct credential *a, const struct credential *b)
{
	return strcmp(a->host, b->host) == 0 &&
	       strcmp(a->server_name, b->server_name) == 0 &&
	       strcmp(a->path, b->path) == 0 && a->port == b->port &&
	       a->mqtts_port == b->mqtts_port &&
	       transports_same(&a->transports, &b->transports);
}

/* True for the first entry in use of each way to a cloud. */
static bool
is_first_of_its_way(const struct credmap *map, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (credmap_at(map, i)->enabled &&
		    same_way(credmap_at(map, i), credmap_at(map, at)))
			return false;
	return true;
}

/* Whether a second handshake is a short one; that costs no login. */
static void
look_again(struct doctor *d, const struct credential *entry, uint8_t level)
{
	if (d->report.code != CLI_OK)
		return;
	report_resumption_only(&d->report);
	look(d, entry, level);
}

/* ---- the command ---- */

static bool
examine(struct doctor *d, const struct cli_options *o, struct credmap *map)
{
	const struct credential *entry;
	char text[CLI_TEXT_MAX];

	if (o->operand != NULL) {
		entry = credmap_by_label(map, o->operand);
		if (entry == NULL) {
			cli_say_no_device(text, o, map);
			report_no_entry(&d->report, text);
			return true;
		}
		if (!entry->enabled) {
			report_disabled(&d->report, entry);
			return true;
		}
		if (!visit(d, map, entry, o->level))
			return false;
		look_again(d, entry, o->level);
		return true;
	}
	for (size_t i = 0; i < credmap_count(map); i++) {
		if (!credmap_at(map, i)->enabled ||
		    !is_first_of_its_way(map, i))
			continue;
		report_begin(&d->report, credmap_at(map, i));
		look(d, credmap_at(map, i), o->level);
		look_again(d, credmap_at(map, i), o->level);
	}
	return true;
}

static enum cli_exit
doctor(const struct cli_options *o)
{
	struct doctor d = {.device = -1};
	struct settings *settings;
	struct credmap *map;
	struct fault why = {.text = "out of memory"};
	bool ok;

	if (!cli_load(o, &settings, &map))
		return CLI_REFUSED;
	(void)signal(SIGPIPE, SIG_IGN); /* the peer may close first */
	log_overrule(LOG_ERROR);        /* the report says it all */
	report_files(&d.report, o, credmap_count(map));
	report_clock(&d.report);
	ok = furnish(&d, settings, &why) && examine(&d, o, map);
	unfurnish(&d);
	credmap_unref(map);
	settings_unref(settings);
	if (ok)
		return d.report.code;
	cli_tell("%s", why.text);
	return why.why == R_BAD_CONFIG ? CLI_REFUSED : CLI_FAILED;
}

static const struct option options[] = {
    CLI_OPTIONS,
    {"level", required_argument, NULL, 'l'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char help[] =
"Goes the way to the cloud step by step, as the proxy does, and says of each\n"
"step how it went and how long it took. With a LABEL it logs in as that\n"
"device, stays for three seconds, and leaves; a session that the device has at\n"
"that moment is ended by the cloud. Without one it goes to each place that the\n"
"map names, as far as it can without a login. Of several transports it goes on\n"
"only until one works; then those that failed do not count.\n"
"\n"
CLI_OPTIONS_HELP
"      --level N         MQTT 3 (3.1), 4 (3.1.1) or 5; the cloud holds a device\n"
"                        to the one it has used (default: 4)\n"
"\n"
"Exit codes: 0 all is well; 1 could not look; 2 wrong usage; 3 a file was\n"
"refused; or the step that failed first:\n"
DOCTOR_CODES_HELP;
/* clang-format on */

const struct cli_command cli_doctor = {
    .name = "doctor",
    .summary = "go the way to the cloud and say what stands in it",
    .operand = "LABEL",
    .operand_is_optional = true,
    .options = options,
    .help = help,
    .run = doctor,
};
