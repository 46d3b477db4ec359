/*
 * guard: bytes whose next byte is an unmapped page, so that one read or write
 * too far ends the test at once, with or without a sanitizer.
 */
#ifndef TESTS_UNIT_GUARD_H
#define TESTS_UNIT_GUARD_H

#include "base/span.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Zero-initialised is empty. One at a time: the next room replaces the last. */
struct guard {
	uint8_t *map;
	size_t bytes; /* mapped and usable; the guard page comes behind */
};

static inline void
guard_free(struct guard *g)
{
	if (g->map != NULL)
		munmap(g->map, g->bytes + (size_t)getpagesize());
	*g = (struct guard){0};
}

/* Room for <n> bytes, filled with 0xa5, right before the guard page. */
static inline uint8_t *
guard_room(struct guard *g, size_t n)
{
	size_t page = (size_t)getpagesize();

	if (g->map == NULL || n > g->bytes) {
		guard_free(g);
		g->bytes = (n / page + 1) * page;
		g->map = mmap(NULL, g->bytes + page, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (g->map == MAP_FAILED ||
		    mprotect(g->map + g->bytes, page, PROT_NONE) != 0)
			abort();
	}
	if (n > 0)
		memset(g->map + g->bytes - n, 0xa5, n);
	return g->map + g->bytes - n;
}

static inline struct span
guard_copy(struct guard *g, struct span s)
{
	uint8_t *p = guard_room(g, s.n);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return (struct span){p, s.n};
}

#endif
