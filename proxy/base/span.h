/*
 * span: borrowed bytes, as pointer and length; never NUL-terminated.
 * A span is valid until the buffer behind it is written, drained or freed.
 * The take functions are the only way codecs walk through input: each compares
 * a length with what is left before it moves, and on failure moves nothing.
 */
#ifndef PROXY_BASE_SPAN_H
#define PROXY_BASE_SPAN_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const uint8_t *p;
	size_t n;
};

/* A span over a string literal, without its NUL. */
#define SPAN_OF(literal)                                                       \
	((struct span){(const uint8_t *)("" literal), sizeof(literal) - 1})

static inline struct span
span_of_string(const char *s)
{
	return (struct span){(const uint8_t *)s, strlen(s)};
}

static inline bool
span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Takes the first n bytes off <in>; false when there are fewer. */
NODISCARD static inline bool
span_take(struct span *in, size_t n, struct span *out)
{
	if (n > in->n)
		return false;
	*out = (struct span){in->p, n};
	if (n > 0)
		in->p += n;
	in->n -= n;
	return true;
}

/* Big-endian integers, the byte order of MQTT and of WebSocket alike. */
NODISCARD static inline bool
span_take_u8(struct span *in, uint8_t *out)
{
	struct span s;

	if (!span_take(in, 1, &s))
		return false;
	*out = s.p[0];
	return true;
}

NODISCARD static inline bool
span_take_u16(struct span *in, uint16_t *out)
{
	struct span s;

	if (!span_take(in, 2, &s))
		return false;
	*out = (uint16_t)(s.p[0] << 8 | s.p[1]);
	return true;
}

NODISCARD static inline bool
span_take_u32(struct span *in, uint32_t *out)
{
	struct span s;

	if (!span_take(in, 4, &s))
		return false;
	*out = (uint32_t)s.p[0] << 24 | (uint32_t)s.p[1] << 16 |
	       (uint32_t)s.p[2] << 8 | s.p[3];
	return true;
}

#endif
