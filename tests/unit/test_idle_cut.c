/* To be linked with -Wl,--wrap=clock_mono_ms. */
#include "link/idle_cut.h"

#include "base/clock.h"
#include "link/link_parts.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

enum {
	WAYS = 64,
	S = 1000,
	INTERVAL_MS = 60 * S,
	LEAST_MS = 20 * S,
	TIMEOUT_MS = 20 * S
};

#define NOTHING UINT64_MAX

static const struct idle_way a = {"a", "none", 443};

static uint64_t now_ms = 1000 * S;

uint64_t __wrap_clock_mono_ms(void);

uint64_t
__wrap_clock_mono_ms(void)
{
	return now_ms;
}

/* ---- what is learned ---- */

/* A link comes up, and is lost after <idle_ms> of silence. */
static void
live_and_lose(struct idle_cuts *c, uint64_t idle_ms)
{
	uint64_t up_ms = now_ms;

	idle_cut_logged_in(c, &a, now_ms);
	now_ms += idle_ms;
	idle_cut_lost(c, &a, idle_ms, up_ms, now_ms);
	now_ms += S;
}

static uint64_t
learned(const struct idle_cuts *c)
{
	return idle_cut_interval_ms(c, &a);
}

static void
lose_three(struct idle_cuts *c, uint64_t idle_ms)
{
	for (int i = 0; i < IDLE_CUT_PROOFS; i++)
		live_and_lose(c, idle_ms);
}

/* Three in a row, once a login works after the third; the least counts, and it
   goes on from there, but never back. */
static void
test_three_in_a_row(void **state)
{
	static const struct idle_way others[] = {
	    {"b", "none", 443}, {"a", "proxy", 443}, {"a", "none", 8883}};
	struct idle_cuts *c = idle_cuts_new();

	(void)state;
	live_and_lose(c, 60 * S);
	live_and_lose(c, 52 * S);
	live_and_lose(c, 56 * S);
	assert_int_equal(learned(c), NOTHING);
	idle_cut_logged_in(c, &a, now_ms);
	assert_int_equal(learned(c), 39 * S);
	/* of this way alone */
	for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
		assert_int_equal(idle_cut_interval_ms(c, &others[i]), NOTHING);
	lose_three(c, 36 * S);
	idle_cut_logged_in(c, &a, now_ms);
	assert_int_equal(learned(c), 27 * S);
	lose_three(c, 60 * S);
	idle_cut_logged_in(c, &a, now_ms);
	idle_cut_survived(c, &a, 60 * S);
	assert_int_equal(learned(c), 27 * S);
	idle_cuts_free(&c);
	assert_null(c);
}

/* The network was down: that says nothing of idle links. */
static void
test_no_login_soon(void **state)
{
	struct idle_cuts *c = idle_cuts_new();

	(void)state;
	for (int i = 0; i < 4 * IDLE_CUT_PROOFS; i++) {
		live_and_lose(c, 60 * S);
		now_ms += IDLE_CUT_CONFIRM_MS;
	}
	assert_int_equal(learned(c), NOTHING);
	lose_three(c, 60 * S);
	now_ms += IDLE_CUT_CONFIRM_MS - S; /* just in time */
	idle_cut_logged_in(c, &a, now_ms);
	assert_int_equal(learned(c), 45 * S);
	idle_cuts_free(&c);
}

/* One event ends many links, and some of them find out late. */
static void
test_links_of_one_event(void **state)
{
	struct idle_cuts *c = idle_cuts_new();
	uint64_t up_ms = now_ms;

	(void)state;
	for (int i = 0; i < 10; i++) {
		now_ms += 5 * S;
		idle_cut_lost(c, &a, 50 * S, up_ms, now_ms);
		idle_cut_logged_in(c, &a, now_ms + 1);
	}
	assert_int_equal(learned(c), NOTHING);
	idle_cuts_free(&c);
}

/* A link that lives through a silence as long ends the row; one that lives
   through a shorter one does not. */
static void
test_counterexample(void **state)
{
	static const struct {
		uint64_t survived_ms;
		uint64_t learned_ms;
	} rows[] = {{50 * S, NOTHING}, {60 * S, NOTHING}, {49 * S, 37500}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		for (int lost = 1; lost < IDLE_CUT_PROOFS; lost++) {
			struct idle_cuts *c = idle_cuts_new();

			for (int k = 0; k < IDLE_CUT_PROOFS; k++) {
				if (k == lost)
					idle_cut_survived(
					    c, &a, rows[i].survived_ms);
				live_and_lose(c, 50 * S);
			}
			idle_cut_logged_in(c, &a, now_ms);
			if (learned(c) != rows[i].learned_ms)
				fail_msg("row %zu, %d: %llu", i, lost,
				    (unsigned long long)learned(c));
			idle_cuts_free(&c);
		}
	}
}

static void
test_bounded(void **state)
{
	struct idle_cuts *c = idle_cuts_new();
	char host[16];
	struct idle_way other = {host, "none", 443};

	(void)state;
	lose_three(c, 60 * S);
	idle_cut_logged_in(c, &a, now_ms);
	for (int i = 0; i < WAYS; i++) {
		assert_int_equal(learned(c), 45 * S);
		(void)snprintf(host, sizeof(host), "h%d", i);
		idle_cut_lost(c, &other, 60 * S, now_ms, now_ms);
	}
	assert_int_equal(learned(c), NOTHING); /* the oldest */
	idle_cuts_free(&c);
}

/* ---- the silences of a link ---- */

struct play {
	struct settings settings;
	struct link_env env;
	struct credential target;
	struct link link;
	_Atomic uint64_t count;
};

static void
open_play(struct play *p)
{
	memset(p, 0, sizeof(*p));
	p->settings.egress_proxy.kind = EGRESS_NONE;
	p->settings.ping_interval_ms = INTERVAL_MS;
	p->settings.ping_interval_min_ms = LEAST_MS;
	p->settings.ping_timeout_ms = TIMEOUT_MS;
	p->env.settings = &p->settings;
	p->env.idle_cuts = idle_cuts_new();
	p->env.pings_learned = &p->count;
	p->target.host = "cloud.example";
	p->link = (struct link){.env = &p->env,
	    .target = &p->target,
	    .ping_interval_ms = INTERVAL_MS,
	    .ways = {1, {TRANSPORT_WS}}};
}

static void
close_play(struct play *p)
{
	idle_cuts_free(&p->env.idle_cuts);
}

static void
come_up(struct play *p)
{
	now_ms += S;
	p->link.state = LINK_UP;
	p->link.close_seen = p->link.paused = false;
	p->link.up_ms = p->link.wrote_ms = now_ms;
	link_idle_begin(&p->link);
}

static void
write_after(struct play *p, uint64_t ms)
{
	now_ms += ms;
	p->link.wrote_ms = now_ms;
	link_idle_wrote(&p->link);
}

static void
read_after(struct play *p, uint64_t ms)
{
	now_ms += ms;
	link_idle_read(&p->link);
}

static void
lose_after(struct play *p, uint64_t ms, enum reason why)
{
	now_ms += ms;
	link_idle_lost(&p->link, why);
}

/* One link's life, with its end. */
typedef void life_fn(struct play *p);

static void
silent(struct play *p)
{
	write_after(p, 60 * S);
	lose_after(p, 20 * S, R_CLOUD_SILENT);
}

static void
reset_by_the_ping(struct play *p)
{
	write_after(p, 60 * S);
	lose_after(p, 50, R_CLOUD_RESET);
}

static void
ended_by_the_ping(struct play *p)
{
	write_after(p, 60 * S + 7);
	write_after(p, S); /* of the device */
	lose_after(p, 50, R_CLOUD_CLOSED);
}

static void
reset_while_idle(struct play *p)
{
	write_after(p, S);
	read_after(p, 50);
	lose_after(p, 48 * S, R_CLOUD_RESET);
}

static void
reset_by_the_device(struct play *p)
{
	write_after(p, 40 * S);
	lose_after(p, 50, R_CLOUD_RESET);
}

static void
unanswered_before(struct play *p)
{
	for (int i = 0; i < 10; i++) /* at QoS 0 */
		write_after(p, 25 * S);
	write_after(p, 60 * S);
	lose_after(p, 50, R_CLOUD_RESET);
}

static void
closed_in_order(struct play *p)
{
	write_after(p, 60 * S);
	p->link.close_seen = true;
	lose_after(p, 50, R_CLOUD_CLOSED);
}

static void
answered(struct play *p)
{
	write_after(p, 60 * S);
	read_after(p, 50);
	lose_after(p, S, R_CLOUD_RESET);
}

static void
other_bytes_came(struct play *p)
{
	write_after(p, 60 * S);
	read_after(p, 50);
	lose_after(p, 20 * S, R_CLOUD_SILENT);
}

static void
not_idle_for_long(struct play *p)
{
	write_after(p, 29 * S);
	lose_after(p, 50, R_CLOUD_RESET);
}

static void
long_after_the_ping(struct play *p)
{
	write_after(p, 60 * S);
	lose_after(p, 21 * S, R_CLOUD_RESET);
}

static void
other_reason(struct play *p)
{
	write_after(p, 60 * S);
	lose_after(p, 50, R_BAD_FRAME);
}

static void
not_read(struct play *p)
{
	p->link.paused = true;
	write_after(p, 60 * S);
	lose_after(p, 50, R_CLOUD_RESET);
}

static void
not_logged_in(struct play *p)
{
	p->link.state = LINK_LOGIN;
	write_after(p, 60 * S);
	lose_after(p, 50, R_CLOUD_RESET);
}

static void
one_survives(struct play *p)
{
	write_after(p, 60 * S);
	read_after(p, 50);
	lose_after(p, 60 * S, R_CLOUD_RESET);
}

static void
test_ends(void **state)
{
	static const struct {
		const char *name;
		life_fn *live;
		uint64_t ping_ms;
	} rows[] = {
	    {"silent", silent, 45 * S},
	    {"reset by the ping", reset_by_the_ping, 45 * S},
	    {"ended by the ping", ended_by_the_ping, 45 * S},
	    {"reset while idle", reset_while_idle, 36 * S},
	    {"reset by the device", reset_by_the_device, 30 * S},
	    {"unanswered before", unanswered_before, 45 * S},
	    {"closed in order", closed_in_order, INTERVAL_MS},
	    {"answered", answered, INTERVAL_MS},
	    {"other bytes came", other_bytes_came, INTERVAL_MS},
	    {"not idle for long", not_idle_for_long, INTERVAL_MS},
	    {"long after the ping", long_after_the_ping, INTERVAL_MS},
	    {"other reason", other_reason, INTERVAL_MS},
	    {"not read", not_read, INTERVAL_MS},
	    {"not logged in", not_logged_in, INTERVAL_MS},
	    {"one survives", one_survives, INTERVAL_MS},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct play p;

		open_play(&p);
		for (int k = 0; k < IDLE_CUT_PROOFS; k++) {
			come_up(&p);
			assert_int_equal(
			    link_ping_interval_ms(&p.link), INTERVAL_MS);
			rows[i].live(&p);
		}
		come_up(&p);
		if (link_ping_interval_ms(&p.link) != rows[i].ping_ms)
			fail_msg("%s: %llu", rows[i].name,
			    (unsigned long long)link_ping_interval_ms(&p.link));
		assert_int_equal(p.count, rows[i].ping_ms != INTERVAL_MS);
		close_play(&p);
	}
}

/* Pings at the interval in use, until a link lives or there is nothing to
   gain. */
static void
live_with_cut(struct play *p, uint64_t cut_ms)
{
	for (int i = 0; i < 100; i++) {
		uint64_t silence_ms;

		come_up(p);
		silence_ms = link_ping_interval_ms(&p->link);
		write_after(p, silence_ms);
		if (silence_ms < cut_ms) {
			read_after(p, 50);
			return;
		}
		lose_after(p, TIMEOUT_MS, R_CLOUD_SILENT);
	}
}

static void
test_how_far(void **state)
{
	static const struct {
		uint64_t cut_ms;
		uint64_t least_ms;
		uint64_t ping_ms;
		unsigned told;
	} rows[] = {
	    {90 * S, LEAST_MS, INTERVAL_MS, 0},
	    {50 * S, LEAST_MS, 45 * S, 1},
	    {40 * S, LEAST_MS, 33750, 2},
	    {10 * S, LEAST_MS, LEAST_MS, 4}, /* in vain */
	    {50 * S, 50 * S, 50 * S, 1},
	    {50 * S, INTERVAL_MS, INTERVAL_MS, 0}, /* turned off */
	    {50 * S, 2 * INTERVAL_MS, INTERVAL_MS, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct play p;

		open_play(&p);
		p.settings.ping_interval_min_ms = rows[i].least_ms;
		live_with_cut(&p, rows[i].cut_ms);
		if (link_ping_interval_ms(&p.link) != rows[i].ping_ms ||
		    p.count != rows[i].told)
			fail_msg("row %zu: %llu, told %llu", i,
			    (unsigned long long)link_ping_interval_ms(&p.link),
			    (unsigned long long)p.count);
		close_play(&p);
	}
}

/* A link of a shorter interval keeps that, one without pings too, and the
   settings of now say how far it goes. */
static void
test_what_was_asked_for(void **state)
{
	struct play p;

	(void)state;
	open_play(&p);
	live_with_cut(&p, 50 * S);
	p.link.ping_interval_ms = 30 * S;
	assert_int_equal(link_ping_interval_ms(&p.link), 30 * S);
	p.link.ping_interval_ms = 0;
	assert_int_equal(link_ping_interval_ms(&p.link), 0);
	p.link.ping_interval_ms = 2 * INTERVAL_MS;
	assert_int_equal(link_ping_interval_ms(&p.link), 45 * S);
	p.settings.ping_interval_min_ms = 50 * S;
	assert_int_equal(link_ping_interval_ms(&p.link), 50 * S);
	close_play(&p);
	/* nothing to learn with */
	live_with_cut(&p, 50 * S);
	assert_int_equal(link_ping_interval_ms(&p.link), 2 * INTERVAL_MS);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_three_in_a_row),
	    cmocka_unit_test(test_no_login_soon),
	    cmocka_unit_test(test_links_of_one_event),
	    cmocka_unit_test(test_counterexample),
	    cmocka_unit_test(test_bounded),
	    cmocka_unit_test(test_ends),
	    cmocka_unit_test(test_how_far),
	    cmocka_unit_test(test_what_was_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
