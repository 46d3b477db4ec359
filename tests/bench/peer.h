/*
 * peer: one end of a connection of a benchmark: what arrives is gathered and
 * handed on; what is sent is small and must fit the socket. One thread; a
 * failure ends the benchmark.
 */
#ifndef TESTS_BENCH_PEER_H
#define TESTS_BENCH_PEER_H

#include "base/span.h"

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

enum { PEER_KEPT_MAX = 8192 };

struct peer {
	/* Something has arrived: returns how many of the bytes it has taken;
	   called again while it takes some. */
	size_t (*take)(struct peer *p, struct span bytes);
	/* The other side has closed. The peer is to be forgotten; its owner
	   frees it. */
	void (*gone)(struct peer *p);
	void *owner;
	struct event *event;
	int fd;
	size_t kept;
	uint8_t bytes[PEER_KEPT_MAX];
};

/* Zero-initialise but <take>, <gone> and <owner>; takes over <fd>. */
void peer_start(struct peer *p, struct event_base *base, int fd);
void peer_send(struct peer *p, const void *bytes, size_t n);
void peer_stop(struct peer *p); /* one that has not begun is fine */

/* The size of the MQTT packet that <bytes> begin with; 0 when it is not whole.
   MQTT 3.1.1, 2.2.3 */
size_t peer_packet_bytes(struct span bytes);

#endif
