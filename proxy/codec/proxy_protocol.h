/*
 * proxy_protocol: the header by which a load balancer says whose connection it
 * passes on: the PROXY protocol of HAProxy, version 1 (a line) and 2 (binary),
 * as in its specification proxy-protocol.txt. Pure.
 */
#ifndef PROXY_CODEC_PROXY_PROTOCOL_H
#define PROXY_CODEC_PROXY_PROTOCOL_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/parse.h"
#include "base/span.h"

#include <stddef.h>
#include <stdint.h>

enum {
	PROXY_PROTOCOL_LINE_MAX = 107, /* of version 1, 2.1 */
	/* of version 2; a longer one is refused, though 2.2 has up to 64 KiB */
	PROXY_PROTOCOL_MAX = 4096
};

/* Whose connection it is. */
struct proxy_source {
	uint8_t version; /* 4 or 6; 0: that of the load balancer itself (LOCAL,
			    UNKNOWN), or one without an IP address */
	uint8_t address[16]; /* the first 4 bytes, or all 16 */
	uint16_t port;
};

/*
 * Reads the header at the start of <in>. PARSE_OK: *used is its size, all
 * behind it is the device's. What a header of version 2 has behind the
 * addresses (TLVs) is skipped. PARSE_BAD: it is none; <why>, which may be NULL,
 * is R_BAD_PROXY_HEADER.
 */
NODISCARD enum parse proxy_protocol_read(
    struct span in, struct proxy_source *out, size_t *used, struct fault *why);

#endif
