/*
 * buffer: bytes kept because they could not go on at once. One owner, no lock.
 * Grows as needed (whoever appends knows the bound), and gives its memory back
 * when it runs empty, so that an idle session owns none.
 */
#ifndef PROXY_BASE_BUFFER_H
#define PROXY_BASE_BUFFER_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty. Bytes [off, off + n) of the cap at <p> are kept.
 */
struct buffer {
	uint8_t *p;
	size_t off;
	size_t n;
	size_t cap;
};

static inline struct span
buffer_span(const struct buffer *b)
{
	return (struct span){b->n > 0 ? b->p + b->off : NULL, b->n};
}

/*
 * Makes room for <n> more bytes and returns where they go, or NULL without
 * memory. Follow with buffer_commit().
 */
NODISCARD uint8_t *buffer_reserve(struct buffer *b, size_t n);
void buffer_commit(struct buffer *b, size_t n);

/* False, with nothing changed, without memory. */
NODISCARD bool buffer_append(struct buffer *b, struct span bytes);

/* Forgets the first <n> bytes, at most all; the last one frees the memory. */
void buffer_drop(struct buffer *b, size_t n);

void buffer_free(struct buffer *b);

/* As above, for bytes that may hold a password: the memory is wiped first. */
void buffer_wipe(struct buffer *b);

#endif
