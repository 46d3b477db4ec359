#include "session/granted.h"

#include <string.h>

/* As it lies in the list: length and text of the filter, options, identifier.
 */
enum { LENGTH_BYTES = 2, BEHIND_BYTES = 5 };

void
granted_begin(struct granted *g)
{
	buffer_free(&g->list);
	g->is_complete = true;
}

void
granted_free(struct granted *g)
{
	buffer_free(&g->list);
	g->is_complete = false;
}

bool
granted_next(struct span *list, struct subscription *out)
{
	uint16_t n;
	struct span behind;

	if (!span_take_u16(list, &n) || !span_take(list, n, &out->filter) ||
	    !span_take(list, BEHIND_BYTES, &behind))
		return false;
	out->options = behind.p[0];
	out->identifier = (uint32_t)behind.p[1] << 24 |
			  (uint32_t)behind.p[2] << 16 |
			  (uint32_t)behind.p[3] << 8 | behind.p[4];
	return true;
}

static bool
append(struct granted *g, const struct subscription *s)
{
	const uint8_t length[] = {
	    (uint8_t)(s->filter.n >> 8), (uint8_t)s->filter.n};
	const uint8_t behind[] = {s->options, (uint8_t)(s->identifier >> 24),
	    (uint8_t)(s->identifier >> 16), (uint8_t)(s->identifier >> 8),
	    (uint8_t)s->identifier};
	size_t bytes = LENGTH_BYTES + s->filter.n + BEHIND_BYTES;
	uint8_t *out;

	if (g->list.n + bytes > GRANTED_BYTES_MAX)
		return false;
	out = buffer_reserve(&g->list, bytes);
	if (out == NULL)
		return false;
	memcpy(out, length, LENGTH_BYTES);
	memcpy(out + LENGTH_BYTES, s->filter.p, s->filter.n);
	memcpy(out + LENGTH_BYTES + s->filter.n, behind, BEHIND_BYTES);
	buffer_commit(&g->list, bytes);
	return true;
}

void
granted_add(struct granted *g, const struct subscription *s)
{
	granted_remove(g, s->filter);
	if (!append(g, s))
		g->is_complete = false;
}

void
granted_remove(struct granted *g, struct span filter)
{
	struct span all = buffer_span(&g->list);
	struct span rest = all;
	struct subscription s;

	for (;;) {
		struct span from = rest;
		size_t bytes;
		uint8_t *at;

		if (!granted_next(&rest, &s))
			return;
		if (!span_eq(s.filter, filter))
			continue;
		bytes = from.n - rest.n;
		at = g->list.p + g->list.off + (all.n - from.n);
		memmove(at, at + bytes, rest.n);
		g->list.n -= bytes;
		if (g->list.n == 0)
			buffer_free(&g->list);
		return;
	}
}
