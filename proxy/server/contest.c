#include "server/contest.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdatomic.h>
#include <string.h>

/* Who is in, or about to be, when another one knocks. */
struct holder {
	const char *peer; /* NULL: nobody */
	const struct network *address;
};

static struct holder
holder_of(const struct identity *id)
{
	if (id->waiting != NULL)
		return (struct holder){
		    id->waiting->peer, &id->waiting->address};
	if (id->session != NULL && session_has_device(id->session))
		return (struct holder){
		    id->session->peer, &id->session->address};
	return (struct holder){NULL, NULL};
}

/* ---- second_device = refuse ---- */

/* One that is refused again and again is told once a minute. */
static void
refuse_second(const struct contest *c, struct identity *id, struct knock *k,
    const struct holder *holder)
{
	unsigned untold = 0;
	bool is_news = rivals_are_news(&id->rivals, clock_mono_ms(), &untold);

	log_write_for(&k->entry->log, is_news ? LOG_NOTICE : LOG_DEBUG,
	    "device_refused",
	    "label=%s peer=%s other=%s reason=%s untold=%u hint=\"%s\"",
	    k->entry->label, k->peer, holder->peer,
	    reason_word(R_SECOND_DEVICE), untold, reason_hint(R_SECOND_DEVICE));
	farewell_show_out(&c->farewell, k, R_SECOND_DEVICE);
}

/* ---- loops ---- */

static void
tell_loop(const struct contest *c, struct identity *id, const struct knock *k,
    const struct holder *holder, uint64_t now_ms)
{
	unsigned untold;

	if (!rivals_are_news(&id->rivals, now_ms, &untold))
		return;
	log_write_for(&k->entry->log, LOG_WARNING, "take_over_loop",
	    "label=%s peer=%s other=%s wait_ms=%llu untold=%u hint=\"%s\"",
	    k->entry->label, k->peer, holder->peer,
	    (unsigned long long)rivals_wait_ms(&id->rivals, now_ms), untold,
	    reason_hint(R_TAKE_OVER_LOOP));
	atomic_fetch_add_explicit(
	    &c->take_overs->lan_loops, 1, memory_order_relaxed);
}

static bool
is_same_address(const struct network *a, const struct network *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* True when <k> is for all we know the device that was in. */
static bool
is_same_device(const struct identity *id, const struct knock *k,
    const struct holder *holder, uint64_t now_ms)
{
	if (!is_same_address(holder->address, &k->address))
		return false;
	if (id->thrown_out == NULL || !id->thrown_out->saw_fin ||
	    !is_same_address(&id->thrown_out_from, &k->address) ||
	    (id->waiting == NULL && session_seems_lost(id->session)))
		return true;
	/* each is seen once; but two that wait go on waiting */
	return id->noted && rivals_wait_ms(&id->rivals, now_ms) == 0;
}

/* False: it is one of two that throw each other out, and has to wait. */
static bool
rivals_let_in(const struct contest *c, struct identity *id,
    const struct knock *k, const struct holder *holder)
{
	uint64_t now_ms = clock_mono_ms();
	bool comes_in;

	if (is_same_device(id, k, holder, now_ms))
		return true;
	comes_in = rivals_admit(&id->rivals, now_ms);
	id->noted |= comes_in;
	if (rivals_are_at_it(&id->rivals))
		tell_loop(c, id, k, holder, now_ms);
	if (!comes_in)
		log_write_for(&k->entry->log, LOG_DEBUG, "device_refused",
		    "label=%s peer=%s other=%s reason=%s hint=\"%s\"",
		    k->entry->label, k->peer, holder->peer,
		    reason_word(R_TAKE_OVER_LOOP),
		    reason_hint(R_TAKE_OVER_LOOP));
	return comes_in;
}

/* ---- dials ---- */

/* True: <k> would get no link, in <why> why; and who is in is well. */
static bool
would_gain_nothing(const struct contest *c, const struct identity *id,
    const struct knock *k, struct fault *why)
{
	return id->waiting == NULL && !session_seems_lost(id->session) &&
	       !session_can_adopt(id->session, k) &&
	       governor_refuses(c->governor, k->entry, clock_mono_ms(), why);
}

static void
refuse_dial(const struct contest *c, struct knock *k,
    const struct holder *holder, struct fault *why)
{
	bool is_news =
	    governor_is_news(c->governor, k->entry, clock_mono_ms(), why);

	log_write_for(&k->entry->log, is_news ? LOG_NOTICE : LOG_DEBUG,
	    "device_refused",
	    "label=%s peer=%s other=%s reason=%s detail=\"%s\" hint=\"%s\"",
	    k->entry->label, k->peer, holder->peer, reason_word(why->why),
	    why->text, reason_hint(why->why));
	farewell_show_out(&c->farewell, k, why->why);
}

bool
contest_win(const struct contest *c, struct identity *id, struct knock *k)
{
	struct holder holder = holder_of(id);
	struct fault why;

	if (holder.peer == NULL)
		return true;
	if (k->entry->policies.second_device == SECOND_DEVICE_REFUSE) {
		refuse_second(c, id, k, &holder);
		return false;
	}
	if (!rivals_let_in(c, id, k, &holder)) {
		farewell_show_out(&c->farewell, k, R_TAKE_OVER_LOOP);
		return false;
	}
	if (would_gain_nothing(c, id, k, &why)) {
		refuse_dial(c, k, &holder, &why);
		return false;
	}
	return true;
}
