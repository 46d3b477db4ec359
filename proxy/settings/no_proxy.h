/*
 * no_proxy: lists of hosts that are dialled without a proxy, as curl reads the
 * environment's no_proxy: entries between commas or blanks; a name stands for
 * itself and all below it ("example.com" and ".example.com" are the same), an
 * address for itself, 10.0.0.0/8 or fd00::/8 for a network, * for every host.
 * Pure.
 */
#ifndef PROXY_SETTINGS_NO_PROXY_H
#define PROXY_SETTINGS_NO_PROXY_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>

/* Whether <host>, a name or a numeric address, is in <list>. Entries that make
   no sense match nothing. */
bool no_proxy_has(const char *list, const char *host);

/* Whether every entry makes sense; if not, <bad> is the first that does not. */
NODISCARD bool no_proxy_valid(const char *list, struct span *bad);

#endif
