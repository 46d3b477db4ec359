/*
 * log_json: a line of the log as a JSON object (RFC 8259), one line too. Every
 * value is a string, but for the numbers: a key has one type in all lines of
 * its event, whatever a device is called. Bytes that are no printable ASCII
 * stand in strings as they do in text, as \xHH, so the result is ASCII. Pure.
 */
#ifndef PROXY_BASE_LOG_JSON_H
#define PROXY_BASE_LOG_JSON_H

#include "base/span.h"

#include <stddef.h>

enum { LOG_JSON_MAX = 4096 }; /* what a pipe takes in one piece (PIPE_BUF) */

/*
 * Writes <line>, key=value and key="value" with blanks between them and no line
 * end, into <out>, and a line end behind it; returns how many bytes. <fmt> has
 * its formats: those of whole numbers make numbers. A value that does not fit
 * is cut and marked by "...", and what is behind it is left out; so is a last
 * part that is not key=value.
 */
size_t log_json_write(
    char out[static LOG_JSON_MAX], struct span line, const char *fmt);

#endif
