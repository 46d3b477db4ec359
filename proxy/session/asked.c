#include "session/asked.h"

#include "codec/mqtt_topic.h"

enum { HEAD_BYTES = 3 }; /* of each filter: whether it is wider, its length */

struct entry {
	bool wider;
	struct span filter;
	struct span whole;
};

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

void
asked_free(struct asked *a)
{
	buffer_free(&a->filters);
	*a = (struct asked){0};
}

void
asked_begin(struct asked *a)
{
	asked_free(a);
	a->is_complete = true;
}

void
asked_add(struct asked *a, struct span filter, bool wider)
{
	const uint8_t head[HEAD_BYTES] = {
	    wider, (uint8_t)(filter.n >> 8), (uint8_t)filter.n};
	size_t n = HEAD_BYTES + filter.n;

	if (!a->is_complete)
		return;
	asked_remove(a, filter);
	if (!a->is_complete)
		return;
	if (a->filters.n + n > ASKED_BYTES_MAX ||
	    !buffer_append(&a->filters, (struct span){head, HEAD_BYTES}) ||
	    !buffer_append(&a->filters, filter))
		asked_free(a);
	else
		a->wider += wider;
}

void
asked_remove(struct asked *a, struct span filter)
{
	struct span list = buffer_span(&a->filters);
	struct buffer kept = {0};
	struct entry e;
	unsigned wider = 0;

	while (next(&list, &e)) {
		if (span_eq(e.filter, filter))
			continue;
		wider += e.wider;
		if (!buffer_append(&kept, e.whole)) {
			buffer_free(&kept);
			asked_free(a);
			return;
		}
	}
	buffer_free(&a->filters);
	a->filters = kept;
	a->wider = wider;
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
