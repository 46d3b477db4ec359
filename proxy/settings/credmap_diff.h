/*
 * credmap_diff: what one map says otherwise than another, device by device. A
 * device is its cloud identity, product_key and device_name. Pure.
 */
#ifndef PROXY_SETTINGS_CREDMAP_DIFF_H
#define PROXY_SETTINGS_CREDMAP_DIFF_H

#include "settings/credmap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What has become of a device. Of several, the first that holds. */
enum credmap_change {
	CREDMAP_ADDED,
	CREDMAP_REMOVED,
	CREDMAP_DISABLED, /* it was enabled */
	CREDMAP_CHANGED,
	CREDMAP_RENAMED, /* nothing but the label */
	CREDMAP_CHANGES
};

/* One device that is not the same in both maps. */
struct credmap_difference {
	enum credmap_change what;
	const struct credential *before; /* NULL: added */
	const struct credential *after;  /* NULL: removed */
	uint64_t fields;  /* that differ, when there are both; see below */
	bool disconnects; /* a reload ends its session, if it has one */
};

struct credmap_counts {
	size_t of[CREDMAP_CHANGES];
	size_t disconnects;
};

/*
 * Compares. <tell>, which may be NULL, is called for each difference, first in
 * the order of <before>, then, for devices that are added, of <after>; it must
 * not keep them longer than the maps. <counts>, which may be NULL, gets how
 * many there are.
 */
void credmap_diff(const struct credmap *before, const struct credmap *after,
    void (*tell)(void *arg, const struct credmap_difference *d), void *arg,
    struct credmap_counts *counts);

/* The key of the lowest field of <*fields>, which is taken out of it; NULL when
   there is none left. region and instance are told as host. */
const char *credmap_diff_field(uint64_t *fields);

#endif
