#include "link/link_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "codec/mqtt.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	MID_MESSAGE_RETRY_MS = 1000,
	TIMER_SLACK_MS = 5 /* the deadline clock is a few milliseconds coarse */
};

/* ---- the machine ---- */

static check_fn deadline_alive, deadline_over;

struct rule {
	enum link_state in;
	enum link_event on;
	check_fn *check;
	enum link_state then;
};

/* clang-format off */
static const struct rule rules[] = {
	/* in state      on event       check                 then */
	{ LINK_IDLE,     EV_DIAL,       NULL,                 LINK_PERMIT },
	{ LINK_PERMIT,   EV_DEADLINE,   NULL,                 LINK_RESOLVE },
	{ LINK_RESOLVE,  EV_RESOLVED,   link_have_address,    LINK_TCP },
	{ LINK_TCP,      EV_RACED,      link_have_connected,  LINK_EGRESS },
	{ LINK_EGRESS,   EV_IO,         link_have_tunnel,     LINK_TLS },
	{ LINK_TLS,      EV_IO,         link_have_handshake,  LINK_UPGRADE },
	{ LINK_UPGRADE,  EV_IO,         link_have_101,        LINK_LOGIN },
	{ LINK_LOGIN,    EV_IO,         link_carry,           LINK_LOGIN },
	{ LINK_LOGIN,    EV_LOGGED_IN,  NULL,                 LINK_UP },
	{ LINK_UP,       EV_IO,         link_carry,           LINK_UP },
	{ LINK_CLOSING,  EV_IO,         link_have_closed,     LINK_IDLE },

	{ LINK_RESOLVE,  EV_DEADLINE,   deadline_over,        LINK_RESOLVE },
	{ LINK_TCP,      EV_DEADLINE,   deadline_over,        LINK_TCP },
	{ LINK_EGRESS,   EV_DEADLINE,   deadline_over,        LINK_EGRESS },
	{ LINK_TLS,      EV_DEADLINE,   deadline_over,        LINK_TLS },
	{ LINK_UPGRADE,  EV_DEADLINE,   deadline_over,        LINK_UPGRADE },
	{ LINK_LOGIN,    EV_DEADLINE,   deadline_over,        LINK_LOGIN },
	{ LINK_UP,       EV_DEADLINE,   deadline_alive,       LINK_UP },
	{ LINK_CLOSING,  EV_DEADLINE,   NULL,                 LINK_IDLE },
};

/* What it means when a state outlives its deadline. */
static const enum reason deadline_reasons[LINK_STATE_COUNT] = {
	[LINK_RESOLVE] = R_RESOLVE_TIMEOUT,
	[LINK_TCP]     = R_TCP_TIMEOUT,
	[LINK_EGRESS]  = R_EGRESS_TIMEOUT,
	[LINK_TLS]     = R_TLS_TIMEOUT,
	[LINK_UPGRADE] = R_UPGRADE_TIMEOUT,
	[LINK_LOGIN]   = R_LOGIN_TIMEOUT,
};

static void begin_up(struct link *l);   /* from now on: pings */
static void begin_idle(struct link *l); /* give everything back */

static void (*const begin[LINK_STATE_COUNT])(struct link *l) = {
	[LINK_PERMIT]  = link_begin_permit,
	[LINK_RESOLVE] = link_begin_resolve,
	[LINK_TCP]     = link_begin_tcp,
	[LINK_EGRESS]  = link_begin_egress,
	[LINK_TLS]     = link_begin_tls,
	[LINK_UPGRADE] = link_begin_upgrade,
	[LINK_LOGIN]   = link_begin_login,
	[LINK_UP]      = begin_up,
	[LINK_CLOSING] = link_begin_closing,
	[LINK_IDLE]    = begin_idle,
};
/* clang-format on */

#define X(name, waits_for) [LINK_##name] = #name,
static const char *const state_words[LINK_STATE_COUNT] = {LINK_STATES(X)};
#undef X
#define X(name, waits_for) [LINK_##name] = waits_for,
static const char *const state_waits[LINK_STATE_COUNT] = {LINK_STATES(X)};
#undef X

const char *
link_state_word(enum link_state state)
{
	return state_words[state];
}

uint64_t
link_deadline_of(const struct link *l)
{
	const struct settings *s = l->env->settings;

	switch (l->state) {
	case LINK_RESOLVE:
		return s->resolve_timeout_ms;
	case LINK_TCP:
		return s->tcp_timeout_ms;
	case LINK_EGRESS:
		return s->egress_timeout_ms;
	case LINK_TLS:
		return s->tls_timeout_ms;
	case LINK_UPGRADE:
		return s->upgrade_timeout_ms;
	case LINK_LOGIN:
		return s->login_timeout_ms;
	case LINK_CLOSING:
		return s->close_timeout_ms;
	case LINK_IDLE:
	case LINK_PERMIT: /* as long as its turn takes */
	case LINK_UP:     /* has several, see link_arm_up() */
	case LINK_STATE_COUNT:
		break;
	}
	return 0;
}

void
link_arm(struct link *l, uint64_t ms)
{
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
	    .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (evtimer_add(&l->timer, &tv) != 0)
		link_lose_for_memory(l); /* no state without a deadline */
}

/* What writes l->state (but for link_lose() and link_abort()); always the
   caller's last act. */
void
link_enter(struct link *l, enum link_state to)
{
	uint64_t deadline_ms;

	l->state = to;
	(void)evtimer_del(&l->timer);
	deadline_ms = link_deadline_of(l);
	if (deadline_ms > 0)
		link_arm(l, deadline_ms);
	if (l->state == to)
		begin[to](l);
}

static const struct rule *
rule_find(enum link_state in, enum link_event on)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].in == in && rules[i].on == on)
			return &rules[i];
	return NULL;
}

static void
tell_step(struct link *l, const struct fault *why)
{
	if (l->env->on_step != NULL)
		l->env->on_step(l->env->on_step_arg, l, why);
}

static void
go(struct link *l, enum link_state to)
{
	if (to != l->state)
		tell_step(l, NULL);
	link_enter(l, to);
}

/* The only entry point: every callback ends here. */
void
link_event(struct link *l, enum link_event on)
{
	const struct rule *r = rule_find(l->state, on);
	struct fault why = {.why = R_NONE};
	enum verdict v;

	if (r == NULL)
		return; /* late news of something given up */
	v = r->check != NULL ? r->check(l, &why) : GO;
	if (l->state != r->in)
		return; /* the owner has closed it from inside the check */
	if (v == FAIL)
		link_lose(l, l->close_code, &why);
	else if (v == GO)
		go(l, r->then);
}

void
link_on_io(evutil_socket_t fd, short what, void *arg)
{
	struct link *l = arg;

	(void)fd;
	if (what & EV_READ)
		l->readable = true;
	link_event(l, EV_IO);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	link_event(arg, EV_DEADLINE);
}

static void
on_again(void *arg)
{
	link_event(arg, EV_IO);
}

/* ---- giving back ---- */

void
link_drop_lookup(struct dialling *d)
{
	if (d->lookup == NULL)
		return;
	if (d->lookup->link == NULL)
		free(d->lookup); /* it is back */
	else
		d->lookup->link = NULL; /* it frees itself when it is */
	d->lookup = NULL;
}

void
link_drop_dialling(struct link *l)
{
	if (l->dialling == NULL)
		return;
	link_drop_lookup(l->dialling);
	settings_unref(l->dialling->settings);
	race_cancel(&l->dialling->race);
	if (l->dialling->raced_fd >= 0)
		(void)close(l->dialling->raced_fd);
	buffer_wipe(&l->dialling->head);
	free(l->dialling);
	l->dialling = NULL;
}

void
link_drop_socket(struct link *l)
{
	if (l->stream.fd >= 0)
		(void)event_del(&l->io);
	stream_close(&l->stream);
	l->readable = false;
	loop_unkeep(l->env->loop, &l->kept, l->kept.n);
	l->blocked_ms = 0;       /* the next socket has taken all so far */
	l->env->loop->out_n = 0; /* its frames must not go to another link */
}

static void
drop_all(struct link *l)
{
	(void)evtimer_del(&l->timer);
	task_cancel(&l->again);
	link_drop_dialling(l);
	link_drop_socket(l);
}

static void
begin_idle(struct link *l)
{
	drop_all(l);
	l->owner->on_idle(l->arg);
}

/* ---- losing ---- */

bool
link_is_own_fault(enum reason why)
{
	return why == R_OUT_OF_MEMORY || why == R_NO_DESCRIPTORS ||
	       why == R_DRAINING || why == R_INTERNAL;
}

static bool
is_on_the_way(const struct link *l)
{
	return l->state >= LINK_RESOLVE && l->state < LINK_LOGIN;
}

/* Notes, where it is so, that the link stood long enough for its device to be
   dialled at once the next time. */
static bool
has_been_stable(struct link *l, uint64_t now_ms)
{
	if (now_ms - l->up_ms < l->env->settings->dial_stable_after_ms)
		return false;
	if (l->env->governor != NULL)
		governor_stable(l->env->governor, l->target);
	return true;
}

/* It was up, but not for long. */
static void
tell_kicked(struct link *l, const struct fault *why, uint64_t now_ms)
{
	struct link_env *env = l->env;
	unsigned times;

	governor_failed(env->governor, l->target, DIAL_KICKED, now_ms);
	if ((why->why != R_CLOUD_CLOSED && why->why != R_CLOUD_RESET) ||
	    !governor_is_used_elsewhere(
		env->governor, l->target, now_ms, &times))
		return;
	log_write_for(&l->target->log, LOG_WARNING, "identity_in_use",
	    "label=%s product_key=%s device_name=%s times=%u detail=\"%s\""
	    " hint=\"the cloud ends its links soon after the login, as it does"
	    " when somebody else logs in as the same device: look for that one;"
	    " or see what the device sends that the cloud does not take\"",
	    l->target->label, l->target->product_key, l->target->device_name,
	    times, why->text);
	if (env->take_overs != NULL)
		atomic_fetch_add_explicit(
		    &env->take_overs->cloud_loops, 1, memory_order_relaxed);
}

/* What a lost link means for the next dials of this device. */
static void
tell_governor(struct link *l, const struct fault *why)
{
	struct governor *g = l->env->governor;
	uint64_t now_ms = clock_mono_ms();

	if (g == NULL || link_is_own_fault(why->why))
		return;
	if (is_on_the_way(l))
		governor_failed(g, l->target, DIAL_NETWORK, now_ms);
	else if (l->state == LINK_LOGIN) /* some refuse by closing */
		governor_failed(g, l->target,
		    why->why == R_CLOUD_CLOSED ? DIAL_REFUSED : DIAL_NETWORK,
		    now_ms);
	else if (l->state == LINK_UP && !has_been_stable(l, now_ms))
		tell_kicked(l, why, now_ms);
}

static void
count_loss(struct link *l, enum reason why)
{
	struct link_tally *tally = &l->env->tally;

	if (l->state == LINK_UP) {
		tally->lost[why]++;
	} else if (l->state < LINK_UP) {
		tally->failed[why]++;
		tally->failure = (struct link_failure){clock_mono_ms(), why};
	}
}

/* Another transport, when this one cannot be had. */
static bool
try_next_way(struct link *l, const struct fault *why)
{
	if (!is_on_the_way(l) || l->way + 1 >= l->ways.count ||
	    link_is_own_fault(why->why))
		return false;
	log_write_for(&l->target->log, LOG_INFO, "transport_failed",
	    "label=%s transport=%s next=%s reason=%s detail=\"%s\"",
	    l->target->label, transport_word(link_transport(l)),
	    transport_word((enum transport)l->ways.order[l->way + 1]),
	    reason_word(why->why), why->text);
	drop_all(l);
	l->way++;
	link_enter(l, LINK_RESOLVE);
	return true;
}

void
link_lose(struct link *l, enum ws_close_code code, const struct fault *why)
{
	bool told = l->lost_told;

	if (l->state == LINK_IDLE)
		return;
	if (!told) {
		tell_step(l, why);
		count_loss(l, why->why);
		if (try_next_way(l, why))
			return;
		tell_governor(l, why);
		link_idle_lost(l, why->why);
	}
	l->lost_told = true;
	if (link_is_open(l) && (code != WS_CLOSE_NONE || l->close_seen) &&
	    !l->stream.broken) {
		l->close_code = (uint16_t)code;
		if (!told)
			l->owner->on_lost(l->arg, why);
		if (link_is_open(l))
			link_enter(l, LINK_CLOSING);
		return;
	}
	/* so that an owner who closes from inside on_lost meets a link that is
	   on its way out already */
	l->state = LINK_CLOSING;
	drop_all(l);
	if (!told)
		l->owner->on_lost(l->arg, why);
	if (l->state == LINK_CLOSING)
		link_enter(l, LINK_IDLE);
}

void
link_lose_for_memory(struct link *l)
{
	struct fault why;

	(void)fault_set(
	    &why, R_OUT_OF_MEMORY, "in state %s", link_state_word(l->state));
	link_lose(l, WS_CLOSE_NONE, &why);
}

static enum verdict
deadline_over(struct link *l, struct fault *why)
{
	char place[LINK_PLACE_TEXT], tried[200] = "";

	if (link_is_open(l))
		l->close_code = WS_CLOSE_NORMAL;
	link_place(l, place, sizeof(place));
	if (l->state == LINK_TCP)
		race_describe(&l->dialling->race, tried, sizeof(tried));
	(void)fault_set(why,
	    l->state < LINK_EGRESS && l->dialling->egress != NULL
		? R_EGRESS_UNREACHABLE
		: deadline_reasons[l->state],
	    "%s: %llu ms waited for %s%s%s", place,
	    (unsigned long long)link_deadline_of(l), state_waits[l->state],
	    tried[0] != '\0' ? "; " : "", tried);
	return FAIL;
}

/* ---- LOGIN and UP: time ---- */

void
link_logged_in(struct link *l, uint32_t ping_interval_ms)
{
	l->ping_interval_ms = ping_interval_ms;
	l->up_ms = clock_mono_ms();
	l->env->tally.accepted++;
	l->env->tally.accepted_ms = l->up_ms;
	histogram_add(&l->env->tally.dial_ms, l->up_ms - l->dialled_ms);
	if (l->ways.count > 1)
		habit_note(l->env->habits, l->target->host, link_transport(l));
	link_idle_begin(l);
	link_event(l, EV_LOGGED_IN);
}

void
link_turned_away(struct link *l, const struct fault *why)
{
	uint64_t now_ms = clock_mono_ms();

	tell_step(l, why);
	count_loss(l, why->why);
	if (l->env->governor == NULL)
		return;
	if (l->state == LINK_LOGIN)
		governor_failed(
		    l->env->governor, l->target, DIAL_REFUSED, now_ms);
	else if (l->state == LINK_UP && !has_been_stable(l, now_ms))
		tell_kicked(l, why, now_ms);
}

static void
begin_up(struct link *l)
{
	link_arm_up(l);
}

/* The earliest of what may fall due while the link is up. */
void
link_arm_up(struct link *l)
{
	const struct settings *s = l->env->settings;
	uint64_t now_ms = clock_mono_ms();
	uint64_t due_ms = UINT64_MAX;
	uint64_t t;

	if (l->state != LINK_UP)
		return; /* the state's own deadline runs */
	if (l->blocked_ms != 0) {
		due_ms = l->blocked_ms + s->cloud_write_timeout_ms;
	} else if (l->ping_interval_ms != 0 &&
		   (l->ping_sent_ms == 0 || l->paused)) {
		due_ms = l->wrote_ms + link_ping_interval_ms(l);
		if (l->mid_message && due_ms <= now_ms)
			due_ms = now_ms + MID_MESSAGE_RETRY_MS;
	}
	/* a cloud that is not read cannot be heard answering */
	t = l->ping_sent_ms + s->ping_timeout_ms;
	if (l->ping_sent_ms != 0 && !l->paused && t < due_ms)
		due_ms = t;
	if (due_ms != UINT64_MAX)
		link_arm(l,
		    (due_ms > now_ms ? due_ms - now_ms : 0) + TIMER_SLACK_MS);
}

static void
put_ping(struct link *l, uint64_t now_ms)
{
	uint8_t packet[MQTT_SMALL_MAX];
	size_t n = mqtt_pingreq_write(packet);

	l->ping_sent_ms = now_ms;
	link_put(l, WS_BINARY, (struct span){packet, n}, true);
	link_flush(l);
}

static enum verdict
deadline_alive(struct link *l, struct fault *why)
{
	const struct settings *s = l->env->settings;
	uint64_t now_ms = clock_mono_ms();

	/* what is not read cannot be heard */
	if (l->ping_sent_ms != 0 && loop_starves(l->env->loop, &l->again))
		l->ping_sent_ms = now_ms;
	if (l->blocked_ms != 0 &&
	    now_ms >= l->blocked_ms + s->cloud_write_timeout_ms) {
		l->stream.broken = true;
		(void)fault_set(why, R_CLOUD_STUCK, "nothing taken for %llu ms",
		    (unsigned long long)(now_ms - l->blocked_ms));
		return FAIL;
	}
	if (l->ping_sent_ms != 0 && !l->paused &&
	    now_ms >= l->ping_sent_ms + s->ping_timeout_ms) {
		l->stream.broken = true;
		(void)fault_set(why, R_CLOUD_SILENT, "no PINGRESP for %llu ms",
		    (unsigned long long)(now_ms - l->ping_sent_ms));
		return FAIL;
	}
	if (l->blocked_ms == 0 && !l->mid_message &&
	    (l->ping_sent_ms == 0 || l->paused) && l->ping_interval_ms != 0 &&
	    now_ms >= l->wrote_ms + link_ping_interval_ms(l))
		put_ping(l, now_ms);
	link_arm_up(l);
	return STAY;
}

void
link_ponged(struct link *l)
{
	if (l->ping_sent_ms != 0)
		histogram_add(
		    &l->env->tally.ping_ms, clock_mono_ms() - l->ping_sent_ms);
	l->ping_sent_ms = 0;
	link_arm_up(l);
}

void
link_pause(struct link *l, bool paused)
{
	if (l->paused == paused)
		return;
	l->paused = paused;
	if (paused)
		return;
	if (l->ping_sent_ms != 0)
		l->ping_sent_ms = clock_mono_ms();
	link_arm_up(l);
	/* no event will come for what is there already */
	if (l->readable)
		loop_again(l->env->loop, &l->again);
}

/* ---- the owner's side ---- */

void
link_init(struct link *l, struct link_env *env, const struct link_owner *owner,
    void *arg)
{
	*l = (struct link){.env = env, .owner = owner, .arg = arg};
	stream_init(&l->stream);
	(void)evtimer_assign(&l->timer, env->loop->base, on_timer, l);
	task_init(&l->again, on_again, l);
}

void
link_dial(struct link *l, const struct credential *target, uint8_t level)
{
	assert(l->state == LINK_IDLE);
	l->target = target;
	l->level = level;
	l->ways =
	    habit_order(l->env->habits, target->host, &target->transports);
	l->way = 0;
	l->dialled_ms = clock_mono_ms();
	l->wrote_ms = l->dialled_ms;
	l->blocked_ms = l->ping_sent_ms = 0;
	l->ping_interval_ms = 0;
	l->paused = l->deaf = l->mid_message = l->lost_told = false;
	l->is_old_news = false;
	l->pong_due = l->close_due = l->close_seen = false;
	l->close_code = WS_CLOSE_NONE;
	l->cert_expires_s = 0;
	link_event(l, EV_DIAL);
}

void
link_retarget(struct link *l, const struct credential *target)
{
	l->target = target;
}

void
link_close(struct link *l, enum ws_close_code code)
{
	bool lost = l->lost_told; /* for a reason that has its own code */

	l->lost_told = true; /* the owner knows */
	if (l->state == LINK_UP)
		(void)has_been_stable(l, clock_mono_ms());
	if (link_is_open(l)) {
		if (!lost)
			l->close_code = (uint16_t)code;
		link_enter(l, LINK_CLOSING);
	} else if (l->state != LINK_IDLE && l->state != LINK_CLOSING) {
		link_enter(l, LINK_IDLE);
	}
}

void
link_fail(struct link *l, enum ws_close_code code, const struct fault *why)
{
	if (link_is_open(l))
		link_lose(l, code, why);
}

void
link_abort(struct link *l)
{
	drop_all(l);
	l->state = LINK_IDLE;
}

enum transport
link_transport(const struct link *l)
{
	return (enum transport)l->ways.order[l->way];
}

uint16_t
link_port(const struct link *l)
{
	return credential_port(l->target, link_transport(l));
}

SSL *
link_tls(const struct link *l)
{
	return transport_has_tls(link_transport(l)) ? l->stream.ssl : NULL;
}

const char *
link_egress(const struct link *l)
{
	const struct egress *e = egress_for(l->env->settings,
	    transport_has_tls(link_transport(l)), l->target->host);

	return e != NULL ? e->host : "none";
}

const char *
link_tls_version(const struct link *l)
{
	return link_tls(l) != NULL ? SSL_get_version(link_tls(l)) : "plain";
}

bool
link_tls_resumed(const struct link *l)
{
	return link_tls(l) != NULL && SSL_session_reused(link_tls(l)) == 1;
}
