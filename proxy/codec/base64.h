/*
 * base64: bytes as a word of a configuration value (RFC 4648 4), without
 * padding. Pure.
 */
#ifndef PROXY_CODEC_BASE64_H
#define PROXY_CODEC_BASE64_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters for <n> bytes, without NUL. */
#define BASE64_LENGTH(n) (((n)*4 + 2) / 3)

/* Writes BASE64_LENGTH(in.n) characters and a NUL. */
void base64_write(struct span in, char *out);

/*
 * Reads all of <text> into <out> of <size> bytes; <*n> is how many there are.
 * False, with <out> and <*n> undefined, when they do not fit or <text> is not
 * what base64_write() makes of any bytes: one text for each sequence of
 * bytes, so unused bits are zero (RFC 4648 3.5).
 */
NODISCARD bool base64_read(
    struct span text, uint8_t *out, size_t size, size_t *n);

#endif
