#include "session/flow_queue.h"

#include <stdlib.h>

void
flow_queue_init(struct flow_queue *q)
{
	*q = (struct flow_queue){.n = 0};
	STAILQ_INIT(&q->packets);
}

bool
flow_queue_add(struct flow_queue *q, struct loop *loop, struct span packet)
{
	size_t cost = (size_t)flow_queue_cost(packet.n);
	struct flow_packet *p = malloc(cost);

	if (p == NULL)
		return false;
	p->n = packet.n;
	memcpy(p->bytes, packet.p, packet.n);
	STAILQ_INSERT_TAIL(&q->packets, p, next);
	q->n++;
	q->kept_bytes += cost;
	loop_count(loop, cost);
	return true;
}

void
flow_queue_drop(struct flow_queue *q, struct loop *loop)
{
	struct flow_packet *p = STAILQ_FIRST(&q->packets);
	size_t cost = (size_t)flow_queue_cost(p->n);

	STAILQ_REMOVE_HEAD(&q->packets, next);
	free(p);
	q->n--;
	q->kept_bytes -= cost;
	loop_uncount(loop, cost);
}
