#include "crowd.h"

#include "bench.h"
#include "peer.h"

#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { TICK_US = 1000, STAMP_BYTES = 8 };

struct device {
	struct crowd *crowd;
	struct peer peer;
};

struct crowd {
	struct device *devices;
	size_t n;
	size_t in;
	size_t messages_per_s;
	struct event *tick;
	struct trips *trips;
	bool sending;
	uint64_t start_ns; /* of sending */
	uint64_t sent;     /* since then */
	size_t on_their_way;
};

static void
note(struct trips *trips, uint64_t ns)
{
	if (trips->count == trips->cap) {
		trips->cap = trips->cap > 0 ? 2 * trips->cap : 4096;
		trips->ns =
		    reallocarray(trips->ns, trips->cap, sizeof(*trips->ns));
		if (trips->ns == NULL)
			err(1, NULL);
	}
	trips->ns[trips->count++] = ns;
}

/* A PUBLISH of QoS 0 with topic "t"; the time is its payload. */
static void
publish(struct device *d)
{
	uint8_t packet[5 + STAMP_BYTES] = {0x30, 3 + STAMP_BYTES, 0, 1, 't'};
	uint64_t now = bench_now_ns();

	memcpy(packet + 5, &now, STAMP_BYTES);
	peer_send(&d->peer, packet, sizeof(packet));
	d->crowd->on_their_way++;
}

static void
take_publish(struct crowd *crowd, struct span packet)
{
	uint64_t sent;

	if (packet.n != 5 + STAMP_BYTES || crowd->on_their_way == 0)
		errx(1, "a message came back as another");
	memcpy(&sent, packet.p + 5, STAMP_BYTES);
	crowd->on_their_way--;
	note(crowd->trips, bench_now_ns() - sent);
}

static size_t
take(struct peer *p, struct span bytes)
{
	struct device *d = p->owner;
	size_t n = peer_packet_bytes(bytes);

	if (n == 0)
		return 0;
	if (bytes.p[0] == 0x30)
		take_publish(d->crowd, (struct span){bytes.p, n});
	else if (bytes.p[0] == 0x20 && bytes.p[3] == 0)
		d->crowd->in++;
	else
		errx(1, "a device got %02x %02x %02x %02x", bytes.p[0],
		    bytes.p[1], bytes.p[2], bytes.p[3]);
	return n;
}

static void
gone(struct peer *p)
{
	(void)p;
	errx(1, "a device was disconnected");
}

static void
log_in(struct device *d, size_t entry)
{
	/* MQTT 3.1.1, 3.1: clean session, no keep-alive */
	uint8_t packet[14 + BENCH_TEXT_MAX] = {
	    0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 0};
	char client_id[BENCH_TEXT_MAX];
	size_t n = strlen(bench_shown(client_id, entry));

	packet[1] = (uint8_t)(12 + n);
	packet[13] = (uint8_t)n;
	memcpy(packet + 14, client_id, n);
	peer_send(&d->peer, packet, 14 + n);
}

static int
connect_to(unsigned port)
{
	const struct sockaddr_in there = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&there, sizeof(there)) != 0)
		err(1, "connect to port %u", port);
	return fd;
}

/* Sends what is due by now. */
static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct crowd *crowd = arg;
	uint64_t due;

	(void)fd;
	(void)what;
	if (!crowd->sending)
		return;
	due = (bench_now_ns() - crowd->start_ns) / 1000 *
	      crowd->messages_per_s / 1000000;
	for (; crowd->sent < due; crowd->sent++)
		publish(&crowd->devices[crowd->sent % crowd->n]);
}

struct crowd *
crowd_start(struct event_base *base, unsigned port, size_t n, size_t stride,
    size_t messages_per_s)
{
	const struct timeval tick = {.tv_usec = TICK_US};
	struct crowd *crowd = calloc(1, sizeof(*crowd));

	if (crowd == NULL)
		err(1, NULL);
	crowd->n = n;
	crowd->messages_per_s = messages_per_s;
	crowd->devices = calloc(n, sizeof(*crowd->devices));
	crowd->tick = event_new(base, -1, EV_PERSIST, on_tick, crowd);
	if (crowd->devices == NULL || crowd->tick == NULL ||
	    event_add(crowd->tick, &tick) != 0)
		err(1, NULL);
	for (size_t i = 0; i < n; i++) {
		struct device *d = &crowd->devices[i];

		d->crowd = crowd;
		d->peer.take = take;
		d->peer.gone = gone;
		d->peer.owner = d;
		peer_start(&d->peer, base, connect_to(port));
		log_in(d, i * stride);
	}
	return crowd;
}

bool
crowd_is_in(const struct crowd *crowd)
{
	return crowd->in == crowd->n;
}

void
crowd_send(struct crowd *crowd, struct trips *trips)
{
	crowd->trips = trips;
	crowd->sending = true;
	crowd->start_ns = bench_now_ns();
	crowd->sent = 0;
}

void
crowd_hush(struct crowd *crowd)
{
	crowd->sending = false;
}

bool
crowd_is_quiet(const struct crowd *crowd)
{
	return !crowd->sending && crowd->on_their_way == 0;
}

void
crowd_stop(struct crowd *crowd)
{
	for (size_t i = 0; i < crowd->n; i++)
		peer_stop(&crowd->devices[i].peer);
	event_free(crowd->tick);
	free(crowd->devices);
	free(crowd);
}
