#include "link/governor.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
	/* a second more than the cloud's minute: for the coarseness of our
	   clock, and for logins that are not on their way equally long */
	WINDOW_MS = 61 * 1000,
	NEWS_MS = 60 * 1000,
	SWEPT_AT_ONCE = 2
};

/* What is known of one device. */
struct record {
	TAILQ_ENTRY(record) next;
	char product_key[ALIYUN_PRODUCT_KEY_MAX + 1];
	char device_name[ALIYUN_DEVICE_NAME_MAX + 1];
	uint64_t dial_ms;         /* the newest; in the future: it waits */
	uint64_t not_before_ms;   /* the back-off's end */
	uint64_t row_ends_ms;     /* failures are forgotten then */
	uint64_t news_from_ms;    /* a refusal is worth a line again */
	unsigned untold;          /* refusals since the last line */
	enum dial_failure failed; /* the newest failure's kind */
	bool has_logged_in;       /* with the newest dial */
	unsigned in_a_row[DIAL_FAILURE_COUNT];
	unsigned ended_in_a_row;    /* of the kicked, by the cloud itself */
	uint64_t elsewhere_from_ms; /* that is worth a line again */
	/* A ring of the newest dials: for each the time from which it does not
	   count any more, WINDOW_MS later. */
	uint64_t *free_ms;
	uint32_t free_n; /* places */
	uint32_t oldest;
};

struct backoff {
	uint64_t first_ms;
	uint64_t max_ms;
};

struct governor {
	struct dial_rate *rate;
	uint64_t began_ms;
	uint64_t random;
	uint32_t per_device;
	uint64_t wait_max_ms;
	struct backoff backoffs[DIAL_FAILURE_COUNT];
	void *tree;               /* of tsearch(), all records by identity */
	TAILQ_HEAD(, record) all; /* in the order they will be swept */
	size_t count;
};

/* ---- records ---- */

static int
record_order(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	int order = strcmp(x->device_name, y->device_name);

	return order != 0 ? order : strcmp(x->product_key, y->product_key);
}

static struct record
record_key(const struct credential *target)
{
	struct record key = {0};

	(void)stpncpy(
	    key.product_key, target->product_key, sizeof(key.product_key) - 1);
	(void)stpncpy(
	    key.device_name, target->device_name, sizeof(key.device_name) - 1);
	return key;
}

/* NULL: nothing is known of it. */
static struct record *
find(const struct governor *g, const struct credential *target)
{
	struct record key = record_key(target);
	void *node = tfind(&key, &g->tree, record_order);

	return node != NULL ? *(struct record **)node : NULL;
}

/* NULL without memory. */
static struct record *
find_or_make(struct governor *g, const struct credential *target)
{
	struct record *r = find(g, target);

	if (r != NULL)
		return r;
	r = malloc(sizeof(*r));
	if (r == NULL)
		return NULL;
	*r = record_key(target);
	if (tsearch(r, &g->tree, record_order) == NULL) {
		free(r);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&g->all, r, next);
	g->count++;
	return r;
}

static void
drop(struct governor *g, struct record *r)
{
	(void)tdelete(r, &g->tree, record_order);
	TAILQ_REMOVE(&g->all, r, next);
	g->count--;
	free(r->free_ms);
	free(r);
}

/* Without it the answers would be the same. */
static bool
is_cold(const struct record *r, uint64_t now_ms)
{
	return now_ms >= r->dial_ms + WINDOW_MS && now_ms >= r->row_ends_ms &&
	       now_ms >= r->news_from_ms && now_ms >= r->elsewhere_from_ms;
}

/*
 * Looks at two records for each that may come, around and around: so no call
 * takes long, and at most half of all are of no use, however they are mixed.
 */
static void
sweep(struct governor *g, uint64_t now_ms)
{
	for (int i = 0; i < SWEPT_AT_ONCE && g->count > 0; i++) {
		struct record *r = TAILQ_FIRST(&g->all);

		if (is_cold(r, now_ms)) {
			drop(g, r);
			continue;
		}
		TAILQ_REMOVE(&g->all, r, next);
		TAILQ_INSERT_TAIL(&g->all, r, next);
	}
}

/* ---- a device's own rate ---- */

/* Has the ring as many places at least as there are dials in a minute. New ones
   are as if used in the minute before the start. */
static bool
fit_ring(const struct governor *g, struct record *r)
{
	uint32_t n = g->per_device;
	uint32_t more = n - r->free_n;
	uint64_t *fresh;

	if (r->free_n >= n)
		return true;
	fresh = malloc(n * sizeof(*fresh));
	if (fresh == NULL)
		return false;
	for (uint32_t i = 0; i < more; i++)
		fresh[i] = g->began_ms + (uint64_t)i * WINDOW_MS / n;
	for (uint32_t i = 0; i < r->free_n; i++)
		fresh[more + i] = r->free_ms[(r->oldest + i) % r->free_n];
	free(r->free_ms);
	r->free_ms = fresh;
	r->free_n = n;
	r->oldest = 0;
	return true;
}

/* When the <per_device>th newest dial counts no more, and one may come. */
static uint64_t
rate_allows_ms(const struct governor *g, const struct record *r)
{
	uint32_t n = g->per_device;

	if (n == 0)
		return 0;
	return r->free_ms[(r->oldest + r->free_n - n) % r->free_n];
}

static void
note_dial(struct record *r, uint64_t dial_ms)
{
	r->dial_ms = dial_ms;
	r->has_logged_in = false;
	if (r->free_n == 0)
		return;
	r->free_ms[r->oldest] = dial_ms + WINDOW_MS;
	r->oldest = (r->oldest + 1) % r->free_n;
}

static void
move_newest_dial(struct record *r, uint64_t dial_ms)
{
	r->dial_ms = dial_ms;
	if (r->free_n > 0)
		r->free_ms[(r->oldest + r->free_n - 1) % r->free_n] =
		    dial_ms + WINDOW_MS;
}

/* The newest dial came to no login: the cloud does not count it. */
static void
take_back_dial(struct record *r)
{
	if (r->free_n == 0)
		return;
	r->oldest = (r->oldest + r->free_n - 1) % r->free_n;
	r->free_ms[r->oldest] = 0;
}

static unsigned long long
seconds(uint64_t ms)
{
	return (ms + 999) / 1000;
}

static bool
refuse_for_rate(const struct governor *g, const struct record *r,
    uint64_t now_ms, struct fault *why)
{
	return fault_set(why, R_DIAL_RATE,
	    "the device may log in %u times a minute%s; again in %llu s",
	    g->per_device,
	    now_ms < g->began_ms + WINDOW_MS
		? " (how often it did before the proxy's start is not known)"
		: "",
	    seconds(rate_allows_ms(g, r) - now_ms));
}

/* ---- failures ---- */

/* SplitMix64: what devices do together has to be scattered, not hidden. */
static uint32_t
next_random(struct governor *g)
{
	uint64_t z = g->random += 0x9E3779B97F4A7C15;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
	return (uint32_t)(z >> 32);
}

uint64_t
dial_backoff_ms(
    uint64_t first_ms, uint64_t max_ms, unsigned in_a_row, uint32_t random)
{
	unsigned doubled = in_a_row - 1 < 32 ? in_a_row - 1 : 32;
	uint64_t ms = first_ms << doubled;

	if (ms > max_ms)
		ms = max_ms;
	return ms - ms / 2 * random / UINT32_MAX;
}

static void
forget_failures(struct record *r)
{
	memset(r->in_a_row, 0, sizeof(r->in_a_row));
	r->ended_in_a_row = 0;
	r->not_before_ms = 0;
	r->row_ends_ms = 0;
}

static bool
refuse_for_backoff(const struct record *r, uint64_t now_ms, struct fault *why)
{
#define X(id, text) text,
	static const char *const texts[] = {DIAL_FAILURES(X)};
#undef X

	return fault_set(why, R_DIAL_BACKOFF,
	    "the device %s, %u in a row; it may be dialled again in %llu s",
	    texts[r->failed], r->in_a_row[r->failed],
	    seconds(r->not_before_ms - now_ms));
}

/* ---- what the link asks and tells ---- */

struct governor *
governor_new(const struct settings *settings, struct dial_rate *rate,
    uint64_t seed, uint64_t now_ms)
{
	struct governor *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	TAILQ_INIT(&g->all);
	g->rate = rate;
	g->random = seed;
	g->began_ms = now_ms;
	governor_reload(g, settings);
	return g;
}

void
governor_free(struct governor **g)
{
	struct record *r;

	if (*g == NULL)
		return;
	while ((r = TAILQ_FIRST(&(*g)->all)) != NULL)
		drop(*g, r);
	free(*g);
	*g = NULL;
}

void
governor_reload(struct governor *g, const struct settings *s)
{
	struct record *r;

	g->per_device = s->dial_per_device;
	g->wait_max_ms = s->dial_wait_max_ms;
	g->backoffs[DIAL_NETWORK] =
	    (struct backoff){s->dial_network_first_ms, s->dial_network_max_ms};
	g->backoffs[DIAL_REFUSED] =
	    (struct backoff){s->dial_refused_first_ms, s->dial_refused_max_ms};
	g->backoffs[DIAL_KICKED] =
	    (struct backoff){s->dial_kicked_first_ms, s->dial_kicked_max_ms};
	TAILQ_FOREACH (r, &g->all, next) {
		forget_failures(r);
		r->news_from_ms = 0;
	}
}

/* For what the device itself has done. Its ring fits. */
static bool
is_refused(const struct governor *g, struct record *r, uint64_t now_ms,
    uint64_t *wait_ms, struct fault *why)
{
	if (now_ms >= r->row_ends_ms)
		forget_failures(r);
	if (now_ms < r->not_before_ms) {
		*wait_ms = r->not_before_ms - now_ms;
		(void)refuse_for_backoff(r, now_ms, why);
		return true;
	}
	/* the dial that it waits for counts already */
	if (now_ms < r->dial_ms || now_ms >= rate_allows_ms(g, r))
		return false;
	*wait_ms = rate_allows_ms(g, r) - now_ms;
	(void)refuse_for_rate(g, r, now_ms, why);
	return true;
}

bool
governor_refuses(struct governor *g, const struct credential *target,
    uint64_t now_ms, struct fault *why)
{
	struct record *r = find(g, target);
	uint64_t wait_ms;

	return r != NULL && fit_ring(g, r) &&
	       is_refused(g, r, now_ms, &wait_ms, why);
}

bool
governor_ask(struct governor *g, const struct credential *target,
    uint64_t now_ms, uint64_t *wait_ms, struct fault *why)
{
	struct record *r;

	*wait_ms = 0;
	sweep(g, now_ms);
	r = find_or_make(g, target);
	if (r == NULL || !fit_ring(g, r))
		return fault_set(why, R_OUT_OF_MEMORY, "for a dial");
	if (is_refused(g, r, now_ms, wait_ms, why))
		return false;
	if (now_ms < r->dial_ms) {
		*wait_ms = r->dial_ms - now_ms;
		return true;
	}
	if (!dial_rate_reserve(g->rate, now_ms, g->wait_max_ms, wait_ms))
		return fault_set(why, R_DIAL_QUEUE,
		    "so many devices are to be dialled that this one's turn"
		    " comes in %llu s",
		    seconds(*wait_ms));
	note_dial(r, now_ms + *wait_ms);
	return true;
}

bool
governor_is_news(struct governor *g, const struct credential *target,
    uint64_t now_ms, struct fault *why)
{
	struct record *r = find_or_make(g, target);
	struct fault bare = *why;

	if (r == NULL)
		return true; /* without memory each is told */
	if (now_ms < r->news_from_ms) {
		r->untold++;
		return false;
	}
	if (r->untold > 0)
		(void)fault_set(why, bare.why,
		    "%s (and %u more refusals since the last line)", bare.text,
		    r->untold);
	r->news_from_ms = now_ms + NEWS_MS;
	r->untold = 0;
	return true;
}

void
governor_login(
    struct governor *g, const struct credential *target, uint64_t now_ms)
{
	bool is_known = find(g, target) != NULL;
	struct record *r = find_or_make(g, target);

	if (r == NULL || !fit_ring(g, r))
		return;
	if (is_known)
		move_newest_dial(r, now_ms);
	else /* the way was so long that its dial has been swept */
		note_dial(r, now_ms);
	r->has_logged_in = true;
}

void
governor_failed(struct governor *g, const struct credential *target,
    enum dial_failure kind, uint64_t now_ms)
{
	const struct backoff *b = &g->backoffs[kind];
	struct record *r = find_or_make(g, target);
	uint64_t row_ends_ms;

	if (r == NULL)
		return; /* without memory it has no back-off */
	if (kind == DIAL_NETWORK && !r->has_logged_in)
		take_back_dial(r);
	r->has_logged_in = true; /* is taken back once */
	r->failed = kind;
	r->not_before_ms = now_ms + dial_backoff_ms(b->first_ms, b->max_ms,
					++r->in_a_row[kind], next_random(g));
	row_ends_ms = r->not_before_ms + b->max_ms;
	if (r->row_ends_ms < row_ends_ms)
		r->row_ends_ms = row_ends_ms;
}

bool
governor_is_used_elsewhere(struct governor *g, const struct credential *target,
    uint64_t now_ms, unsigned *times)
{
	struct record *r = find(g, target);

	if (r == NULL || ++r->ended_in_a_row < GOVERNOR_USED_ELSEWHERE ||
	    now_ms < r->elsewhere_from_ms)
		return false;
	*times = r->ended_in_a_row;
	r->elsewhere_from_ms = now_ms + NEWS_MS;
	return true;
}

void
governor_stable(struct governor *g, const struct credential *target)
{
	struct record *r = find(g, target);

	if (r != NULL)
		forget_failures(r);
}

size_t
governor_count(const struct governor *g)
{
	return g->count;
}
