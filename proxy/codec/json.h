/*
 * json: strings as JSON has them (RFC 8259 section 7). Pure.
 */
#ifndef PROXY_CODEC_JSON_H
#define PROXY_CODEC_JSON_H

#include "base/text.h"

/*
 * Adds <s> in its quotes. Any bytes will do: what is no UTF-8 becomes U+FFFD,
 * byte by byte; control characters are escaped, also those that JSON would take
 * as they are (U+007F to U+009F), so that a terminal may show it.
 */
void json_add_string(struct text *out, const char *s);

#endif
