#include "server/peer_name.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

void
peer_name(struct peer_name *out, const struct sockaddr *sa)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
	const void *address = &sin->sin_addr;
	unsigned port = ntohs(sin->sin_port);
	int family = sa->sa_family;

	if (family == AF_UNIX) {
		(void)snprintf(out->address, sizeof(out->address), "unix");
		(void)snprintf(out->text, sizeof(out->text), "unix");
		return;
	}
	if (family == AF_INET6) {
		address = &sin6->sin6_addr;
		port = ntohs(sin6->sin6_port);
		if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
			address = &sin6->sin6_addr.s6_addr[12];
			family = AF_INET;
		}
	}
	if (inet_ntop(family, address, out->address, sizeof(out->address)) ==
	    NULL)
		(void)snprintf(out->address, sizeof(out->address), "?");
	(void)snprintf(out->text, sizeof(out->text),
	    family == AF_INET6 ? "[%s]:%u" : "%s:%u", out->address, port);
}

void
peer_name_of_source(struct peer_name *out, const struct proxy_source *source)
{
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
	struct sockaddr_in sin = {.sin_family = AF_INET};

	sin.sin_port = sin6.sin6_port = htons(source->port);
	memcpy(&sin.sin_addr, source->address, sizeof(sin.sin_addr));
	memcpy(&sin6.sin6_addr, source->address, sizeof(sin6.sin6_addr));
	peer_name(out, source->version == 4 ? (struct sockaddr *)&sin
					    : (struct sockaddr *)&sin6);
}
