/*
 * peer_name: where a connection comes from, in words. Pure.
 */
#ifndef PROXY_SERVER_PEER_NAME_H
#define PROXY_SERVER_PEER_NAME_H

#include "codec/proxy_protocol.h"
#include "session/knock.h"

#include <sys/socket.h>

struct peer_name {
	char address[ADDRESS_TEXT];
	char text[PEER_TEXT]; /* the port too */
};

/* An IPv4 address mapped into IPv6 is written as IPv4. Who comes by a Unix
   socket is "unix". */
void peer_name(struct peer_name *out, const struct sockaddr *sa);

/* The one that a load balancer names; its version is not 0. */
void peer_name_of_source(
    struct peer_name *out, const struct proxy_source *source);

#endif
