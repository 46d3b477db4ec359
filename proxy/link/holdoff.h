/*
 * holdoff: hosts that have asked, by HTTP Retry-After (RFC 9110 10.2.3), not to
 * be dialled for a while. One worker's, on its thread.
 */
#ifndef PROXY_LINK_HOLDOFF_H
#define PROXY_LINK_HOLDOFF_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct holdoffs;

NODISCARD struct holdoffs *holdoffs_new(void);
void holdoffs_free(struct holdoffs **h);

/*
 * Notes what <host> has asked: <retry_after> is the header's value, seconds or
 * an HTTP date; anything else, also none, asks nothing. At most <max_ms>.
 */
void holdoff_set(struct holdoffs *h, const char *host, uint16_t port,
    struct span retry_after, uint64_t max_ms);

/* True, with <why> filled, while <host> is not to be dialled. */
bool holdoff_asked(
    struct holdoffs *h, const char *host, uint16_t port, struct fault *why);

#endif
