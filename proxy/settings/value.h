/*
 * value: the kinds of values that both files know, from text and back. Pure.
 */
#ifndef PROXY_SETTINGS_VALUE_H
#define PROXY_SETTINGS_VALUE_H

#include "base/attr.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number, a number of bytes (1024-based "K", "M"), a time in milliseconds
   ("ms", "s", "m", "h"; a plain number is seconds). */
enum value_unit { VALUE_COUNT, VALUE_BYTES, VALUE_TIME };

enum { VALUE_TEXT_MAX = 24, VALUE_ADDRESS_MAX = INET6_ADDRSTRLEN };

/* False, with <out> as it was, for anything but digits and one unit, and for
   what does not fit. */
NODISCARD bool value_read(
    const char *text, enum value_unit unit, uint64_t *out);

/* The shortest text that value_read() reads as <n>, with its unit. Returns
   <out>. */
const char *value_write(
    char out[static VALUE_TEXT_MAX], enum value_unit unit, uint64_t n);

/* A numeric IPv4 or IPv6 address in canonical form (RFC 5952), an IPv4-mapped
   one as IPv4. False, with <out> undefined, for anything else. */
NODISCARD bool value_address(
    const char *text, char out[static VALUE_ADDRESS_MAX]);

/* A path for a request line (RFC 9112 3.2.1): "/", then printable ASCII without
   blanks and without "#". */
NODISCARD bool value_path(const char *text);

/* Letters, digits and the characters of <more> only, <least> to <most> of
   them. */
NODISCARD bool value_made_of(
    const char *text, size_t least, size_t most, const char *more);

/* How many letters must be added, taken off or changed to make one of the
   other. A large number for words over 48 bytes. */
unsigned value_distance(const char *a, const char *b);

/* At this distance one word may be meant as the other. */
enum { VALUE_NEAR = 2 };

/*
 * A name from a file as a message may show it: the name itself when it could be
 * meant as a key (letters, "_" and "-"), "?" otherwise: somebody may have put a
 * secret where a name belongs.
 */
const char *value_name_shown(const char *name);

#endif
