/*
 * pattern: a text with one place in it where a device's own part stands, as in
 * "pump_${1}" or "PUMP*"; <mark> is how the place is written. Pure.
 */
#ifndef PROXY_SETTINGS_PATTERN_H
#define PROXY_SETTINGS_PATTERN_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>

/* How many places a text has. */
unsigned pattern_places(const char *text, const char *mark);

/* Whether <text> is the pattern, which has one place, with something in it;
   <part> is that then, a part of <text>. */
NODISCARD bool pattern_fits(
    const char *pattern, const char *mark, const char *text, struct span *part);

/* Writes the pattern into <out> of <size> bytes, with <part> in its first
   place if it has any, NUL-terminated. False when it does not fit. */
NODISCARD bool pattern_fill(char *out, size_t size, const char *pattern,
    const char *mark, struct span part);

#endif
