/*
 * known_names: what host names lead to, for as long as that holds: answers of
 * the DNS and of the hosts file. The resolver keeps them; links look here
 * first, on their own threads, so that a thousand devices that come back
 * together do not cross to the door and back for one name.
 *
 * A change of the hosts file or of resolv.conf counts at once: all that was
 * kept before it is not found any more. Any thread; reference-counted.
 */
#ifndef PROXY_LINK_KNOWN_NAMES_H
#define PROXY_LINK_KNOWN_NAMES_H

#include "base/address.h"
#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

struct known_names;

/* The paths must stay. NULL without memory. */
NODISCARD struct known_names *known_names_new(
    const char *hosts, const char *resolv_conf);

struct known_names *known_names_ref(struct known_names *n);
/* NULL is fine. */
void known_names_unref(struct known_names *n);

/* A number is known, of others what is kept. <host> in any case, at most 255
   bytes; the addresses are without ports, best first. */
NODISCARD bool known_names_find(struct known_names *n, const char *host,
    struct address out[static ADDRESS_LIST_MAX], unsigned *count);

/* Keeps 1 to ADDRESS_LIST_MAX addresses of <host>, in lower case, for that
   long, within bounds; without memory it does not. */
void known_names_keep(struct known_names *n, const char *host,
    const struct address *addresses, unsigned count, uint64_t holds_s);

void known_names_forget(struct known_names *n);

/* Looks at the files. True when one has changed since the last look, and all
   was forgotten; *resolv_conf: that one. */
bool known_names_look(struct known_names *n, bool *resolv_conf);

#endif
