#include "settings/listener.h"

#include "settings/value.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

static const char prefix[] = "listen:";

const char *
listener_name(const struct listener *l)
{
	const char *colon = strchr(l->section, ':');

	return colon != NULL ? colon + 1 : l->section;
}

bool
listener_is_section(const char *section)
{
	const char *name = section + sizeof(prefix) - 1;

	if (strcmp(section, "listen") == 0)
		return true;
	return strncmp(section, prefix, sizeof(prefix) - 1) == 0 &&
	       value_made_of(name, 1, LISTENER_NAME_MAX, "._-") &&
	       strcmp(name, "listen") != 0 && strcmp(name, "admin") != 0;
}

static const char *
flaw(char text[static LISTENER_FLAW_MAX], const char *key, const char *what)
{
	(void)snprintf(text, LISTENER_FLAW_MAX, "%s: %s", key, what);
	return key;
}

const char *
listener_flaw(const struct listener *l, char text[static LISTENER_FLAW_MAX])
{
	bool is_local = l->socket[0] != '\0';

	if (is_local &&
	    (l->socket[0] != '/' || strlen(l->socket) > LISTENER_SOCKET_MAX))
		return flaw(text, "socket",
		    "a path of at most 107 bytes that starts with / is "
		    "allowed");
	if (l->interface[0] != '\0' && is_local)
		return flaw(text, "interface", "a Unix socket has none");
	if (l->interface[0] != '\0' &&
	    !value_made_of(l->interface, 1, IFNAMSIZ - 1, "._-:@"))
		return flaw(text, "interface",
		    "the name of a network interface is allowed, such as eth1");
	if (l->proxy_protocol && !is_local && l->proxy_from.count == 0)
		return flaw(text, "proxy_protocol",
		    "set proxy_from to the addresses of the load balancers: "
		    "anybody else could pose as any device");
	if (is_local && !l->proxy_protocol && l->allow_from.count > 0)
		return flaw(text, "allow_from",
		    "who comes by a Unix socket has no address; its folder's "
		    "rights say who may");
	return NULL;
}

bool
listener_same_place(const struct listener *a, const struct listener *b)
{
	if (a->socket[0] != '\0' || b->socket[0] != '\0')
		return strcmp(a->socket, b->socket) == 0;
	return a->port != 0 && a->port == b->port &&
	       strcmp(a->address, b->address) == 0 &&
	       strcmp(a->interface, b->interface) == 0;
}
