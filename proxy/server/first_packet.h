/*
 * first_packet: what a connection begins with: a CONNECT, or something that
 * shows who came to the wrong port. Pure.
 */
#ifndef PROXY_SERVER_FIRST_PACKET_H
#define PROXY_SERVER_FIRST_PACKET_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/parse.h"
#include "base/span.h"
#include "codec/mqtt_connect.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Looks for a whole CONNECT of at most <max_bytes> at the begin of <in>.
 * PARSE_OK: *n is its size and <c> what it says. PARSE_BAD: <why>, and c->level
 * when that much could be read.
 */
NODISCARD enum parse first_packet_read(struct span in, uint64_t max_bytes,
    struct mqtt_connect *c, size_t *n, struct fault *why);

#endif
