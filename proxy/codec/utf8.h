/*
 * utf8: is it UTF-8? One answer for MQTT strings and for the reason in a
 * WebSocket close. Pure.
 */
#ifndef PROXY_CODEC_UTF8_H
#define PROXY_CODEC_UTF8_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>

/*
 * Well-formed as RFC 3629 section 4 has it: shortest forms only, no surrogates,
 * nothing above U+10FFFF. U+0000 is a character like any other; nothing at all
 * is valid.
 */
NODISCARD bool utf8_valid(struct span s);

#endif
