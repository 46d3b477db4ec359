/*
 * escape: bytes from outside made safe for one log line or one terminal line.
 */
#ifndef PROXY_BASE_ESCAPE_H
#define PROXY_BASE_ESCAPE_H

#include "base/span.h"

#include <stddef.h>

/*
 * Writes <in> into <out> of <size> bytes (at least 8), NUL-terminated:
 * printable ASCII but '"' and '\\' as it is, everything else as \xHH. What does
 * not fit is cut and marked by "...". Returns <out>, so that it can stand in a
 * call.
 */
const char *escape(char *out, size_t size, struct span in);

/*
 * Makes a text of ours fit for standing between double quotes on one line: each
 * '"' becomes '\'', each control or non-ASCII byte '?'. Unlike escape() it
 * keeps what has been escaped already.
 */
void tame(char *text);

#endif
