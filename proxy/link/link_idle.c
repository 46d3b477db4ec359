/* The silences of a link that is up: which ones it lives through, which ones it
   is lost in, and what that means for its pings. */
#include "link/link_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "settings/value.h"

#include <stdatomic.h>

static struct idle_way
way_of(const struct link *l)
{
	return (struct idle_way){l->target->host, link_egress(l), link_port(l)};
}

static uint64_t
interval_ms(const struct link *l, uint64_t asked_ms)
{
	const struct link_env *env = l->env;
	struct idle_way way = way_of(l);
	uint64_t ms;

	if (env->idle_cuts == NULL)
		return asked_ms;
	ms = idle_cut_interval_ms(env->idle_cuts, &way);
	if (ms < env->settings->ping_interval_min_ms)
		ms = env->settings->ping_interval_min_ms;
	return ms < asked_ms ? ms : asked_ms;
}

uint64_t
link_ping_interval_ms(const struct link *l)
{
	return interval_ms(l, l->ping_interval_ms);
}

static void
tell_learned(const struct link *l, uint64_t from_ms, uint64_t to_ms)
{
	struct idle_way way = way_of(l);
	char from[VALUE_TEXT_MAX], to[VALUE_TEXT_MAX];

	log_write(LOG_NOTICE, "ping_interval_learned",
	    "host=%s port=%u egress=%s from=%s to=%s hint=\"something on the"
	    " way, such as a firewall, cuts connections that are idle: have it"
	    " keep them longer, or set [cloud] ping_interval to this\"",
	    way.host, way.port, way.egress,
	    value_write(from, VALUE_TIME, from_ms),
	    value_write(to, VALUE_TIME, to_ms));
	if (l->env->pings_learned != NULL)
		atomic_fetch_add_explicit(
		    l->env->pings_learned, 1, memory_order_relaxed);
}

void
link_idle_begin(struct link *l)
{
	uint64_t most_ms = l->env->settings->ping_interval_ms;
	struct idle_way way = way_of(l);
	uint64_t from_ms, to_ms;

	l->moved_ms = l->up_ms;
	l->silence_ms = 0;
	if (l->env->idle_cuts == NULL)
		return;
	from_ms = interval_ms(l, most_ms);
	idle_cut_logged_in(l->env->idle_cuts, &way, l->up_ms);
	to_ms = interval_ms(l, most_ms);
	if (to_ms < from_ms)
		tell_learned(l, from_ms, to_ms);
}

void
link_idle_wrote(struct link *l)
{
	/* what has had no answer for longer, such as a PUBLISH at QoS 0, gets
	   none */
	if (l->silence_ms == 0 ||
	    l->wrote_ms - l->spoke_ms > l->env->settings->ping_timeout_ms) {
		l->silence_ms = l->wrote_ms - l->moved_ms;
		l->spoke_ms = l->wrote_ms;
	}
	l->moved_ms = l->wrote_ms;
}

void
link_idle_read(struct link *l)
{
	uint64_t now_ms = clock_mono_ms();
	uint64_t silence_ms =
	    l->silence_ms != 0 ? l->silence_ms : now_ms - l->moved_ms;

	l->moved_ms = now_ms;
	l->silence_ms = 0;
	/* most are so short that none like them is ever taken for a cut */
	if (l->state == LINK_UP && l->env->idle_cuts != NULL &&
	    silence_ms >= l->env->settings->ping_interval_min_ms / 2) {
		struct idle_way way = way_of(l);

		idle_cut_survived(l->env->idle_cuts, &way, silence_ms);
	}
}

/* For how long the link was idle before it was cut; 0: it was not, or was lost
   for another reason. */
static uint64_t
idle_before(const struct link *l, enum reason why, uint64_t now_ms)
{
	bool ended = l->silence_ms != 0; /* by what we wrote, in vain */

	if (why == R_CLOUD_SILENT)
		return l->silence_ms;
	if (why != R_CLOUD_RESET && (why != R_CLOUD_CLOSED || l->close_seen))
		return 0;
	if (!ended)
		return now_ms - l->moved_ms;
	return now_ms - l->spoke_ms <= l->env->settings->ping_timeout_ms
		   ? l->silence_ms
		   : 0;
}

void
link_idle_lost(struct link *l, enum reason why)
{
	struct idle_way way = way_of(l);
	uint64_t now_ms = clock_mono_ms();
	uint64_t most_ms, idle_ms;

	/* what is not read cannot be told from silence */
	if (l->state != LINK_UP || l->paused || l->env->idle_cuts == NULL)
		return;
	most_ms = link_ping_interval_ms(l);
	idle_ms = idle_before(l, why, now_ms);
	if (idle_ms == 0 || idle_ms < most_ms / 2)
		return;
	if (idle_ms > most_ms)
		idle_ms = most_ms; /* what is over it is the timer's */
	idle_cut_lost(l->env->idle_cuts, &way, idle_ms, l->up_ms, now_ms);
}
