/*
 * gateway: whether connections that come through a published port of a
 * container lose their address on the way. There a program of the engine may
 * take each of them and make a new one ("userland proxy"), or the engine's own
 * address stands in for all others: then every device seems to be the gateway
 * of the container's network. Main thread.
 */
#ifndef PROXY_SERVER_GATEWAY_H
#define PROXY_SERVER_GATEWAY_H

#include "base/attr.h"
#include "codec/proxy_protocol.h"
#include "session/knock.h"

#include <stdbool.h>

/* All empty: not in a container, or without a gateway. */
struct gateway {
	char ip4[ADDRESS_TEXT];
	char ip6[ADDRESS_TEXT];
	bool is_told;
};

/* The gateways of the default routes, when this is a container. */
void gateway_find(struct gateway *g);

/* The same from files like /proc/net/route and /proc/net/ipv6_route, wherever
   this is. */
void gateway_read(
    struct gateway *g, const char *routes, const char *ip6_routes);

/* True once: when the first connection comes from a gateway. */
NODISCARD bool gateway_is_news(struct gateway *g, const char *address);

#endif
