#include "session/filter_set.h"

#include <string.h>

enum { LENGTH_BYTES = 2 };

/* Takes the next filter off <list>, into *whole with its length. */
static bool
next(struct span *list, struct span *whole, struct span *filter)
{
	uint16_t n = 0;

	whole->p = list->p;
	if (!span_take_u16(list, &n) || !span_take(list, n, filter))
		return false;
	whole->n = LENGTH_BYTES + (size_t)n;
	return true;
}

/* Where <wanted> stands, with its length; false: nowhere. */
static bool
find(const struct filter_set *set, struct span wanted, struct span *whole)
{
	struct span list = buffer_span(&set->filters);
	struct span filter;

	while (next(&list, whole, &filter))
		if (span_eq(filter, wanted))
			return true;
	return false;
}

bool
filter_set_has(const struct filter_set *set, struct span filter)
{
	struct span whole;

	return find(set, filter, &whole);
}

void
filter_set_add(struct filter_set *set, struct span filter)
{
	const uint8_t length[LENGTH_BYTES] = {
	    (uint8_t)(filter.n >> 8), (uint8_t)filter.n};
	struct buffer *b = &set->filters;
	uint8_t *to;

	if (filter_set_has(set, filter) ||
	    b->n + LENGTH_BYTES + filter.n > FILTER_SET_BYTES_MAX)
		return;
	to = buffer_reserve(b, LENGTH_BYTES + filter.n);
	if (to == NULL)
		return;
	memcpy(to, length, LENGTH_BYTES);
	memcpy(to + LENGTH_BYTES, filter.p, filter.n);
	buffer_commit(b, LENGTH_BYTES + filter.n);
}

void
filter_set_remove(struct filter_set *set, struct span filter)
{
	struct buffer *b = &set->filters;
	uint8_t *first = b->p + b->off;
	struct span whole;

	if (!find(set, filter, &whole))
		return;
	/* what stands before it moves up to what stands behind it */
	memmove(first + whole.n, first, (size_t)(whole.p - first));
	buffer_drop(b, whole.n);
}

void
filter_set_free(struct filter_set *set)
{
	buffer_free(&set->filters);
}
