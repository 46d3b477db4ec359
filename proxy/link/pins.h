/*
 * pins: the public keys that a chain must have one of (RFC 7469 2.4): SHA-256
 * over a certificate's SubjectPublicKeyInfo, read from a file. Immutable once
 * read.
 */
#ifndef PROXY_LINK_PINS_H
#define PROXY_LINK_PINS_H

#include "base/attr.h"
#include "base/fault.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PINS_MAX = 64,
	PIN_BYTES = 32,
	PIN_TEXT_MAX = sizeof("sha256/") + 44 /* base64 */
};

struct pins {
	size_t count;
	uint8_t pin[PINS_MAX][PIN_BYTES];
};

/*
 * Reads a file (blocking): one pin a line, in base64, "sha256/" or "sha256//"
 * before it or not; empty lines and lines that start with ";" or "#" are
 * skipped. False: it cannot be read, has a line that is no pin, none at all, or
 * more than PINS_MAX; <why> names file and line.
 */
NODISCARD bool pins_read(struct pins *p, const char *path, struct fault *why);

/* Whether the key of <cert> is among them. */
NODISCARD bool pins_match(const struct pins *p, const X509 *cert);

/* The pin of <cert> as the file takes it. Returns <out>; empty without memory.
 */
const char *pin_text(char out[static PIN_TEXT_MAX], const X509 *cert);

#endif
