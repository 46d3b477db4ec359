/*
 * filter_set: topic filters, each of them once. Bounded: one that does not fit
 * is not there, so only "has" is certain. Whoever owns it, on that thread.
 */
#ifndef PROXY_SESSION_FILTER_SET_H
#define PROXY_SESSION_FILTER_SET_H

#include "base/buffer.h"
#include "base/span.h"

#include <stdbool.h>

enum { FILTER_SET_BYTES_MAX = 8 * 1024 };

/* Zero-initialised is empty; when empty it owns no memory. */
struct filter_set {
	struct buffer filters; /* each behind its length, of 2 bytes */
};

/* A filter is of 1 to 65,535 bytes. */
bool filter_set_has(const struct filter_set *set, struct span filter);
void filter_set_add(struct filter_set *set, struct span filter);
void filter_set_remove(struct filter_set *set, struct span filter);
void filter_set_free(struct filter_set *set);

#endif
