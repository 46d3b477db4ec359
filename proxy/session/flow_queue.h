/*
 * flow_queue: packets of one device that wait for their turn, in order, within
 * a bound. Each is memory of its own, so that the oldest can be dropped at no
 * cost; all of it counts in the account of the worker, on whose thread this
 * lives.
 */
#ifndef PROXY_SESSION_FLOW_QUEUE_H
#define PROXY_SESSION_FLOW_QUEUE_H

#include "base/attr.h"
#include "base/span.h"
#include "link/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct flow_packet {
	STAILQ_ENTRY(flow_packet) next;
	size_t n;
	uint8_t bytes[];
};

struct flow_queue {
	STAILQ_HEAD(, flow_packet) packets;
	uint64_t n;
	size_t kept_bytes; /* what the packets are in memory */
};

void flow_queue_init(struct flow_queue *q);

/* What a packet of <n> bytes is in memory. */
static inline uint64_t
flow_queue_cost(uint64_t n)
{
	return sizeof(struct flow_packet) + n;
}

/* The oldest packet; empty when there is none. Valid until it is dropped. */
static inline struct span
flow_queue_head(const struct flow_queue *q)
{
	const struct flow_packet *p = STAILQ_FIRST(&q->packets);

	return p != NULL ? (struct span){p->bytes, p->n} : (struct span){0};
}

/* Appends a copy; false without memory. The bound is for the caller to see. */
NODISCARD bool flow_queue_add(
    struct flow_queue *q, struct loop *loop, struct span packet);

/* Drops the oldest, which there is. */
void flow_queue_drop(struct flow_queue *q, struct loop *loop);

#endif
