/* What a step of a dial has brought, in words. */
#include "link/link_parts.h"

#include "base/clock.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void
describe_address(
    const struct sockaddr *address, socklen_t n, char *out, size_t size)
{
	char host[64];

	if (getnameinfo(
		address, n, host, sizeof(host), NULL, 0, NI_NUMERICHOST) != 0)
		(void)snprintf(host, sizeof(host), "?");
	(void)snprintf(out, size, "%s", host);
}

void
link_describe_way(const struct link *l, char *out, size_t size)
{
	enum transport transport = link_transport(l);
	bool websocket = transport_has_websocket(transport);
	const char *egress = link_egress(l);
	bool direct = strcmp(egress, "none") == 0;

	(void)snprintf(out, size, "%s to %s port %u%s%s%s%s",
	    transport_word(transport), l->target->host, link_port(l),
	    websocket ? " path " : "", websocket ? l->target->path : "",
	    direct ? "" : " by egress proxy ", direct ? "" : egress);
}

static void
describe_addresses(const struct lookup *found, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%s:", found->host);

	for (unsigned i = 0; i < found->count && n < size; i++) {
		char text[64];

		describe_address(
		    (const struct sockaddr *)&found->addresses[i].storage,
		    found->addresses[i].n, text, sizeof(text));
		n += (size_t)snprintf(out + n, size - n, " %s", text);
	}
}

static void
describe_peer(int fd, char *out, size_t size)
{
	struct sockaddr_storage peer;
	socklen_t n = sizeof(peer);

	if (getpeername(fd, (struct sockaddr *)&peer, &n) == 0)
		describe_address((struct sockaddr *)&peer, n, out, size);
}

static void
describe_tls(const SSL *ssl, char *out, size_t size)
{
	if (ssl == NULL)
		(void)snprintf(out, size, "none: in the clear");
	else
		(void)snprintf(out, size, "%s, %s, %s", SSL_get_version(ssl),
		    SSL_get_cipher_name(ssl),
		    SSL_session_reused(ssl) == 1 ? "resumed"
						 : "full handshake");
}

/* A clock that is far off breaks certificates. */
static void
describe_upgrade(const struct link *l, char *out, size_t size)
{
	const struct dialling *d = l->dialling;
	long long ahead;

	if (!transport_has_websocket(link_transport(l))) {
		(void)snprintf(out, size, "none: MQTT in TLS");
	} else if (!d->has_server_date) {
		(void)snprintf(out, size, "WebSocket open");
	} else {
		ahead = (long long)(clock_wall_ms() / 1000) -
			(long long)d->server_date_s;
		(void)snprintf(out, size,
		    "WebSocket open; this machine's clock is %lld s %s the"
		    " server's",
		    ahead < 0 ? -ahead : ahead,
		    ahead < 0 ? "behind" : "ahead of");
	}
}

void
link_describe(const struct link *l, char *out, size_t size)
{
	out[0] = '\0';
	switch (l->state) {
	case LINK_RESOLVE:
		describe_addresses(l->dialling->lookup, out, size);
		break;
	case LINK_TCP:
		describe_peer(l->stream.fd, out, size);
		break;
	case LINK_EGRESS:
		if (l->dialling->egress == NULL)
			(void)snprintf(out, size, "none: dialled directly");
		else
			(void)snprintf(out, size, "tunnel by %s port %u",
			    l->dialling->egress->host,
			    l->dialling->egress->port);
		break;
	case LINK_TLS:
		describe_tls(link_tls(l), out, size);
		break;
	case LINK_UPGRADE:
		describe_upgrade(l, out, size);
		break;
	case LINK_LOGIN:
		(void)snprintf(out, size, "accepted");
		break;
	case LINK_IDLE:
	case LINK_PERMIT:
	case LINK_UP:
	case LINK_CLOSING:
	case LINK_STATE_COUNT:
		break;
	}
}
