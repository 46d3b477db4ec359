/*
 * listener: one place where devices connect: the section [listen], or one of
 * [listen:NAME], each of which is as [listen] with its own name. Part of the
 * settings, and as immutable. Pure.
 */
#ifndef PROXY_SETTINGS_LISTENER_H
#define PROXY_SETTINGS_LISTENER_H

#include "base/attr.h"
#include "settings/network.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	LISTENERS_MAX = 16,
	LISTENER_TEXT_MAX = 160,
	LISTENER_NAME_MAX = 32, /* without the NUL */
	LISTENER_SECTION_MAX = sizeof("listen:") + LISTENER_NAME_MAX,
	LISTENER_SOCKET_MAX = 107, /* what a Unix socket's address holds */
	LISTENER_FLAW_MAX = 160
};

/*
 * Their keys, as settings.h has them; <more> passes through. key, type, C
 * member, default, least, most, may change on reload, what it is.
 */
/* clang-format off */
#define LISTENER(X, more) \
X(more, "address",        ADDRESS,  address,        "0.0.0.0", 0, 0, false, "the address devices connect to") \
X(more, "port",           PORT,     port,           "1883", 0, 65535, false, "the port devices connect to; 0: a free one, which the ready line names") \
X(more, "interface",      TEXT,     interface,      "", 0, 0, false, "only what comes in by this network interface, such as eth1; empty: by any") \
X(more, "socket",         TEXT,     socket,         "", 0, 0, false, "a Unix socket to listen at instead, by its path") \
X(more, "backlog",        COUNT,    backlog,        "1024", 1, 65535, false, "connections that may wait to be accepted") \
X(more, "allow_from",     NETWORKS, allow_from,     "", 0, 0, true, "who may connect here: up to 8 addresses and prefixes; empty: everybody") \
X(more, "proxy_protocol", BOOL,     proxy_protocol, "no", 0, 0, true, "each connection begins with a PROXY header, of version 1 or 2, which says where it comes from") \
X(more, "proxy_from",     NETWORKS, proxy_from,     "", 0, 0, true, "the load balancers whose header counts; others are refused")
/* clang-format on */

struct listener {
	char section[LISTENER_SECTION_MAX]; /* "listen", "listen:NAME" */
	char address[LISTENER_TEXT_MAX];
	uint16_t port;
	char interface[LISTENER_TEXT_MAX];
	char socket[LISTENER_TEXT_MAX];
	uint32_t backlog;
	struct network_list allow_from;
	bool proxy_protocol;
	struct network_list proxy_from;
};

/* "listen" itself, or the NAME of "listen:NAME". */
const char *listener_name(const struct listener *l);

/* Whether <section> is "listen", or "listen:NAME" with a NAME that may be one:
   1 to LISTENER_NAME_MAX of letters, digits and . _ -, but neither listen nor
   admin, which descriptors that are handed over are called. */
NODISCARD bool listener_is_section(const char *section);

/* What is wrong with it; the key it is about, or NULL: nothing is. */
const char *listener_flaw(
    const struct listener *l, char text[static LISTENER_FLAW_MAX]);

/* Whether both would listen at the same place. */
bool listener_same_place(const struct listener *a, const struct listener *b);

#endif
