#include "base/buffer.h"

#include "base/secret.h"

#include <stdlib.h>

enum { BUFFER_GROWN_MIN = 512 };

uint8_t *
buffer_reserve(struct buffer *b, size_t n)
{
	uint8_t *p;
	size_t cap;

	if (b->cap - b->off - b->n >= n && b->p != NULL)
		return b->p + b->off + b->n;
	if (b->off > 0) {
		memmove(b->p, b->p + b->off, b->n);
		b->off = 0;
		if (b->cap - b->n >= n)
			return b->p + b->n;
	}
	if (n > SIZE_MAX / 2 - b->n)
		return NULL;
	/* the first time no more than is needed, since most bytes are kept once
	   and then go, or stay as long as the session; twice as much when it
	   goes on growing */
	cap = b->cap * 2;
	if (b->p != NULL && cap < BUFFER_GROWN_MIN)
		cap = BUFFER_GROWN_MIN;
	if (cap - b->n < n)
		cap = b->n + n;
	/* no realloc(): it would leave bytes behind, maybe a password */
	p = malloc(cap);
	if (p == NULL)
		return NULL;
	if (b->n > 0)
		memcpy(p, b->p, b->n);
	if (b->p != NULL)
		secret_wipe_bytes(b->p, b->cap);
	free(b->p);
	b->p = p;
	b->cap = cap;
	return b->p + b->n;
}

void
buffer_commit(struct buffer *b, size_t n)
{
	b->n += n;
}

bool
buffer_append(struct buffer *b, struct span bytes)
{
	uint8_t *to;

	if (bytes.n == 0)
		return true;
	to = buffer_reserve(b, bytes.n);
	if (to == NULL)
		return false;
	memcpy(to, bytes.p, bytes.n);
	buffer_commit(b, bytes.n);
	return true;
}

void
buffer_drop(struct buffer *b, size_t n)
{
	if (n >= b->n) {
		buffer_free(b);
		return;
	}
	b->off += n;
	b->n -= n;
}

void
buffer_free(struct buffer *b)
{
	free(b->p);
	*b = (struct buffer){0};
}

void
buffer_wipe(struct buffer *b)
{
	if (b->p != NULL)
		secret_wipe_bytes(b->p, b->cap);
	buffer_free(b);
}
