/*
 * map_heads: where the sections of a text are, to be found by their names: a
 * map has a hundred thousand, and a command may be told thousands of them. For
 * map_text. One thread; all zero is one without heads.
 */
#ifndef PROXY_SETTINGS_MAP_HEADS_H
#define PROXY_SETTINGS_MAP_HEADS_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

struct map_head {
	struct span name; /* borrowed */
	size_t line;
};

struct map_heads {
	struct map_head *list;
	size_t count;
	size_t cap;
};

/* One more. False without memory. */
NODISCARD bool map_heads_add(
    struct map_heads *h, struct span name, size_t line);

/* Once, when all are there. */
void map_heads_sort(struct map_heads *h);

/* The first of that name, of those that are sorted; NULL: there is none. */
const struct map_head *map_heads_find(
    const struct map_heads *h, struct span name);

/* Gives the memory back; there are none then. */
void map_heads_clear(struct map_heads *h);

#endif
