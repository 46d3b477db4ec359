/*
 * resolv_conf: what resolv.conf(5) says of the DNS here: whom to ask, and what
 * to put behind a short name. How long to wait and how often to ask again are
 * the proxy's own settings.
 */
#ifndef PROXY_LINK_RESOLV_CONF_H
#define PROXY_LINK_RESOLV_CONF_H

#include "base/address.h"
#include "settings/settings.h"

#include <stdbool.h>

enum {
	RESOLV_CONF_SEARCH_MAX = 6,
	RESOLV_CONF_PORT = 53,
	NAME_BYTES = 256 /* of a host name with its NUL */
};

struct resolv_conf {
	struct address servers[NAMESERVERS_MAX]; /* asked in this order */
	unsigned server_count;
	bool server_assumed; /* none is named: this machine is asked */
	char search[RESOLV_CONF_SEARCH_MAX][NAME_BYTES];
	unsigned search_count;
	unsigned ndots; /* a name with fewer dots is searched first */
};

/* Reads <path>; what is not understood is passed over. A file that is not there
   is as good as an empty one. */
void resolv_conf_read(struct resolv_conf *conf, const char *path);

#endif
