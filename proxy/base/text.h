/*
 * text: a string that grows to the right, in memory of its owner's. Pure.
 */
#ifndef PROXY_BASE_TEXT_H
#define PROXY_BASE_TEXT_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>

struct text {
	char *at;    /* its end, where the next part goes */
	size_t left; /* bytes from there on, for a NUL too */
	bool full;   /* something did not fit; the string is not whole */
};

/* Adds a part and a NUL behind it; one that does not fit, and all behind it,
   are left out, and <full> is set. */
void text_add(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
