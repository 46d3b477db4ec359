#include "session/asked.h"

#include "base/fnv.h"
#include "codec/mqtt_topic.h"

enum { HEAD_BYTES = 3 }; /* of each filter: whether it is wider, its length */

struct entry {
	bool wider;
	struct span filter;
	struct span whole;
};

/* One element of <needs>, which are in the order of their hashes. That two
   filters have the same only makes one stay in the cloud. */
struct need {
	uint64_t hash;
	uint64_t count; /* of the device's filters */
};

/* ---- the device's ---- */

static bool
next(struct span *list, struct entry *out)
{
	uint8_t wider = 0;
	uint16_t n = 0;

	out->whole.p = list->p;
	if (!span_take_u8(list, &wider) || !span_take_u16(list, &n) ||
	    !span_take(list, n, &out->filter))
		return false;
	out->wider = wider != 0;
	out->whole.n = HEAD_BYTES + out->filter.n;
	return true;
}

static bool
find(const struct asked *a, struct span filter, struct entry *out)
{
	struct span list = buffer_span(&a->filters);

	while (next(&list, out))
		if (span_eq(out->filter, filter))
			return true;
	return false;
}

/* Takes <n> bytes out of the middle, or of an end. */
static void
cut(struct asked *a, struct buffer *b, size_t at, size_t n)
{
	uint8_t *p = b->p + b->off + at;

	memmove(p, p + n, b->n - at - n);
	b->n -= n;
	if (b->n == 0)
		loop_unkeep(a->loop, b, 0);
}

/* Where <s> is in <b>, which it points into. */
static size_t
place_in(const struct buffer *b, struct span s)
{
	return (size_t)(s.p - (b->p + b->off));
}

void
asked_free(struct asked *a)
{
	if (a->loop != NULL) {
		loop_unkeep(a->loop, &a->filters, a->filters.n);
		loop_unkeep(a->loop, &a->needs, a->needs.n);
	}
	*a = (struct asked){0};
}

void
asked_begin(struct asked *a, struct loop *loop, uint64_t rules)
{
	asked_free(a);
	a->loop = loop;
	a->rules = rules;
	a->is_complete = true;
}

void
asked_resume(struct asked *a, uint64_t rules)
{
	if (a->rules != rules)
		asked_free(a);
}

/* False, and nothing is known any more, without memory or room. */
static bool
append(struct asked *a, struct buffer *b, struct span bytes)
{
	if (b->n + bytes.n <= ASKED_BYTES_MAX && loop_keep(a->loop, b, bytes))
		return true;
	asked_free(a);
	return false;
}

bool
asked_add(struct asked *a, struct span filter, bool wider)
{
	const uint8_t head[HEAD_BYTES] = {
	    wider, (uint8_t)(filter.n >> 8), (uint8_t)filter.n};
	struct entry e;

	if (!a->is_complete || find(a, filter, &e) ||
	    !append(a, &a->filters, (struct span){head, HEAD_BYTES}) ||
	    !append(a, &a->filters, filter))
		return false;
	a->wider += wider;
	return true;
}

bool
asked_remove(struct asked *a, struct span filter)
{
	struct entry e;

	if (!find(a, filter, &e))
		return false;
	a->wider -= e.wider;
	cut(a, &a->filters, place_in(&a->filters, e.whole), e.whole.n);
	return true;
}

bool
asked_has(const struct asked *a, struct span name)
{
	struct span list = buffer_span(&a->filters);
	struct entry e;

	if (!a->is_complete || a->wider == 0)
		return true;
	while (next(&list, &e))
		if (mqtt_topic_matches(e.filter, name))
			return true;
	return false;
}

/* ---- the cloud's ---- */

static struct need *
all(const struct asked *a, size_t *n)
{
	*n = a->needs.n / sizeof(struct need);
	return (struct need *)(void *)(a->needs.p + a->needs.off);
}

/* The place of the first that is not before <hash>; true when it is that. */
static bool
search(const struct asked *a, uint64_t hash, size_t *at)
{
	size_t n, low = 0;
	const struct need *needs;

	*at = 0;
	if (a->needs.n == 0)
		return false;
	needs = all(a, &n);
	while (low < n) {
		size_t middle = low + (n - low) / 2;

		if (needs[middle].hash < hash)
			low = middle + 1;
		else
			n = middle;
	}
	*at = low;
	all(a, &n);
	return low < n && needs[low].hash == hash;
}

static uint64_t
hash_of(struct span filter)
{
	return fnv_add(fnv_begin(), filter);
}

void
asked_need(struct asked *a, struct span filter)
{
	const struct need fresh = {.hash = hash_of(filter), .count = 1};
	struct need *needs;
	size_t at, n;

	if (!a->is_complete)
		return;
	if (search(a, fresh.hash, &at)) {
		all(a, &n)[at].count++;
		return;
	}
	if (!append(a, &a->needs,
		(struct span){(const uint8_t *)&fresh, sizeof(fresh)}))
		return;
	needs = all(a, &n);
	memmove(needs + at + 1, needs + at, (n - 1 - at) * sizeof(*needs));
	needs[at] = fresh;
}

void
asked_release(struct asked *a, struct span filter)
{
	size_t at, n;

	if (search(a, hash_of(filter), &at) && --all(a, &n)[at].count == 0)
		cut(a, &a->needs, at * sizeof(struct need),
		    sizeof(struct need));
}

bool
asked_needs(const struct asked *a, struct span filter)
{
	size_t at;

	return search(a, hash_of(filter), &at);
}
