#include "settings/map_heads.h"

#include <stdlib.h>
#include <string.h>

bool
map_heads_add(struct map_heads *h, struct span name, size_t line)
{
	if (h->count == h->cap) {
		size_t cap = h->cap > 0 ? 2 * h->cap : 64;
		struct map_head *more =
		    reallocarray(h->list, cap, sizeof(*more));

		if (more == NULL)
			return false;
		h->list = more;
		h->cap = cap;
	}
	h->list[h->count++] = (struct map_head){name, line};
	return true;
}

static int
compare_names(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

	return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int
compare(const void *a, const void *b)
{
	const struct map_head *h = a;
	const struct map_head *i = b;
	int order = compare_names(h->name, i->name);

	return order != 0 ? order : (h->line > i->line) - (h->line < i->line);
}

void
map_heads_sort(struct map_heads *h)
{
	if (h->count > 0)
		qsort(h->list, h->count, sizeof(*h->list), compare);
}

const struct map_head *
map_heads_find(const struct map_heads *h, struct span name)
{
	size_t low = 0;
	size_t high = h->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_names(h->list[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < h->count && span_eq(h->list[low].name, name)
		   ? &h->list[low]
		   : NULL;
}

void
map_heads_clear(struct map_heads *h)
{
	free(h->list);
	*h = (struct map_heads){0};
}
