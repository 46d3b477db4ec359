#include "echo_cloud.h"

#include "peer.h"

#include <arpa/inet.h>
#include <err.h>
#include <event2/listener.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

enum { WS_KEY_TEXT = 24, WS_SHORT_MAX = 125 };

struct guest {
	LIST_ENTRY(guest) next;
	bool upgraded;
	struct peer peer;
};

struct echo_cloud {
	struct event_base *base;
	struct evconnlistener *listener;
	LIST_HEAD(, guest) guests;
};

/* A frame of a server: not masked (RFC 6455 5.1). */
static void
send_frame(struct guest *g, uint8_t opcode, struct span payload)
{
	uint8_t frame[2 + WS_SHORT_MAX];

	if (payload.n > WS_SHORT_MAX)
		errx(1, "a message is too long for this benchmark");
	frame[0] = 0x80 | opcode;
	frame[1] = (uint8_t)payload.n;
	memcpy(frame + 2, payload.p, payload.n);
	peer_send(&g->peer, frame, 2 + payload.n);
}

/* A PUBLISH of QoS 1, with a length of one byte (3.3). */
static void
acknowledge(struct guest *g, struct span packet)
{
	uint8_t puback[] = {0x40, 2, 0, 0};
	size_t at = packet.n > 4 ? 4 + packet.p[3] : 0;

	if (at == 0 || packet.p[1] > 127 || at + 2 > packet.n)
		errx(1, "a message that this benchmark does not send");
	memcpy(puback + 2, packet.p + at, 2);
	send_frame(g, 2, (struct span){puback, sizeof(puback)});
}

static void
take_packet(struct guest *g, struct span packet)
{
	static const uint8_t connack[] = {0x20, 2, 0, 0};
	static const uint8_t pingresp[] = {0xd0, 0};

	if (packet.n == 0)
		return;
	switch (packet.p[0] >> 4) {
	case 1:
		send_frame(g, 2, (struct span){connack, sizeof(connack)});
		break;
	case 3:
		if ((packet.p[0] & 6) == 0)
			send_frame(g, 2, packet);
		else
			acknowledge(g, packet);
		break;
	case 12:
		send_frame(g, 2, (struct span){pingresp, sizeof(pingresp)});
		break;
	default:
		break;
	}
}

/* RFC 6455 5.2. The payload is unmasked where it stands. */
static size_t
take_frame(struct guest *g, uint8_t *p, size_t n)
{
	size_t header = 6;
	size_t length;

	if (n < 8)
		return 0;
	length = p[1] & 0x7f;
	if (length == 126) {
		header = 8;
		length = (size_t)p[2] << 8 | p[3];
	}
	if (length == 127 || n < header + length)
		return 0;
	for (size_t i = 0; i < length; i++)
		p[header + i] ^= p[header - 4 + i % 4];
	if ((p[0] & 0xf) == 2)
		take_packet(g, (struct span){p + header, length});
	else if ((p[0] & 0xf) == 9)
		send_frame(g, 10, (struct span){p + header, length});
	else if ((p[0] & 0xf) == 8)
		send_frame(g, 8, (struct span){p + header, length});
	return header + length;
}

/* What proves to the client that its request was read (RFC 6455 4.2.2). */
static void
accept_of(const char *key, unsigned char out[static 29])
{
	char text[WS_KEY_TEXT + 40];
	unsigned char digest[20];

	(void)snprintf(text, sizeof(text), "%.*s%s", WS_KEY_TEXT, key,
	    "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL) != 1)
		errx(1, "no SHA-1");
	(void)EVP_EncodeBlock(out, digest, sizeof(digest));
}

static size_t
take_request(struct guest *g, struct span bytes)
{
	static const char name[] = "sec-websocket-key: ";
	char request[PEER_KEPT_MAX + 1];
	char answer[256];
	unsigned char proof[29];
	const char *key;

	memcpy(request, bytes.p, bytes.n);
	request[bytes.n] = '\0';
	if (strstr(request, "\r\n\r\n") == NULL)
		return 0;
	key = strcasestr(request, name);
	if (key == NULL || strlen(key) < sizeof(name) - 1 + WS_KEY_TEXT)
		errx(1, "no WebSocket request: %.80s", request);
	accept_of(key + sizeof(name) - 1, proof);
	(void)snprintf(answer, sizeof(answer),
	    "HTTP/1.1 101 Switching Protocols\r\n"
	    "Upgrade: websocket\r\n"
	    "Connection: Upgrade\r\n"
	    "Sec-WebSocket-Accept: %s\r\n"
	    "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
	    (const char *)proof);
	peer_send(&g->peer, answer, strlen(answer));
	g->upgraded = true;
	return bytes.n;
}

static size_t
take(struct peer *p, struct span bytes)
{
	struct guest *g = p->owner;

	if (!g->upgraded)
		return take_request(g, bytes);
	return take_frame(g, p->bytes + (bytes.p - p->bytes), bytes.n);
}

static void
forget(struct guest *g)
{
	LIST_REMOVE(g, next);
	peer_stop(&g->peer);
	free(g);
}

static void
gone(struct peer *p)
{
	forget(p->owner);
}

static void
on_connection(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *from, int n, void *arg)
{
	struct echo_cloud *cloud = arg;
	struct guest *g = calloc(1, sizeof(*g));

	(void)listener;
	(void)from;
	(void)n;
	if (g == NULL)
		err(1, NULL);
	g->peer.take = take;
	g->peer.gone = gone;
	g->peer.owner = g;
	LIST_INSERT_HEAD(&cloud->guests, g, next);
	peer_start(&g->peer, cloud->base, fd);
}

struct echo_cloud *
echo_cloud_start(struct event_base *base)
{
	const struct sockaddr_in here = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct echo_cloud *cloud = calloc(1, sizeof(*cloud));

	if (cloud == NULL)
		err(1, NULL);
	cloud->base = base;
	LIST_INIT(&cloud->guests);
	cloud->listener = evconnlistener_new_bind(base, on_connection, cloud,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, SOMAXCONN,
	    (const struct sockaddr *)&here, sizeof(here));
	if (cloud->listener == NULL)
		err(1, "listen");
	return cloud;
}

unsigned
echo_cloud_port(const struct echo_cloud *cloud)
{
	struct sockaddr_in here;
	socklen_t n = sizeof(here);

	if (getsockname(evconnlistener_get_fd(cloud->listener),
		(struct sockaddr *)&here, &n) != 0)
		err(1, "getsockname");
	return ntohs(here.sin_port);
}

void
echo_cloud_stop(struct echo_cloud *cloud)
{
	while (!LIST_EMPTY(&cloud->guests))
		forget(LIST_FIRST(&cloud->guests));
	evconnlistener_free(cloud->listener);
	free(cloud);
}
