#include "session/outbox.h"

#include <stdlib.h>
#include <string.h>

enum { DUP_BIT = 0x08 }; /* 3.3.1.1 */

static size_t
cost_of(const struct outbox_message *m)
{
	return outbox_cost(m->is_kept ? m->total : 0);
}

static void
drop(struct outbox *o, struct loop *loop, struct outbox_message *m)
{
	if (o->open == m)
		o->open = NULL;
	TAILQ_REMOVE(&o->messages, m, next);
	o->count--;
	o->sent -= m->is_sent;
	o->kept_bytes -= cost_of(m);
	loop_uncount(loop, cost_of(m));
	free(m);
}

bool
outbox_has_room(const struct outbox *o, uint64_t total, uint64_t max_bytes)
{
	return outbox_cost(0) + total + o->kept_bytes <= max_bytes;
}

bool
outbox_add(struct outbox *o, struct loop *loop, struct span first,
    uint64_t total, uint16_t packet_id, bool is_sent, bool is_kept)
{
	size_t bytes = outbox_cost(is_kept ? total : 0);
	struct outbox_message *m = malloc(bytes);

	if (m == NULL)
		return false;
	if (o->count == 0)
		TAILQ_INIT(&o->messages);
	*m = (struct outbox_message){.total = (size_t)total,
	    .packet_id = packet_id,
	    .is_sent = is_sent,
	    .is_kept = is_kept};
	TAILQ_INSERT_TAIL(&o->messages, m, next);
	o->count++;
	o->sent += is_sent;
	o->kept_bytes += bytes;
	loop_count(loop, bytes);
	o->open = m;
	outbox_more(o, first);
	return true;
}

void
outbox_more(struct outbox *o, struct span piece)
{
	struct outbox_message *m = o->open;

	if (m == NULL) /* it has been acknowledged before it was whole */
		return;
	if (m->is_kept)
		memcpy(m->bytes + m->n, piece.p, piece.n);
	m->n += piece.n;
	if (m->n == m->total)
		o->open = NULL;
}

void
outbox_drop_open(struct outbox *o, struct loop *loop)
{
	if (o->open != NULL)
		drop(o, loop, o->open);
}

/* The oldest that was sent under <packet_id>, or NULL. */
static struct outbox_message *
oldest_sent(const struct outbox *o, uint16_t packet_id)
{
	struct outbox_message *m;

	if (o->sent == 0)
		return NULL;
	TAILQ_FOREACH (m, &o->messages, next)
		if (!m->is_sent || m->packet_id == packet_id)
			return m->is_sent ? m : NULL;
	return NULL;
}

bool
outbox_acknowledge(struct outbox *o, struct loop *loop, uint16_t packet_id)
{
	struct outbox_message *m = oldest_sent(o, packet_id);

	if (m != NULL)
		drop(o, loop, m);
	return m != NULL;
}

void
outbox_leave(struct outbox *o)
{
	struct outbox_message *m;

	if (o->count == 0)
		return;
	TAILQ_FOREACH (m, &o->messages, next)
		m->is_left = true;
}

bool
outbox_is_left(const struct outbox *o, uint16_t packet_id)
{
	const struct outbox_message *m = oldest_sent(o, packet_id);

	return m != NULL && m->is_left;
}

bool
outbox_rewind(struct outbox *o)
{
	struct outbox_message *m;
	bool all_kept = true;

	if (o->count == 0)
		return true;
	TAILQ_FOREACH (m, &o->messages, next) {
		if (!m->is_sent)
			break;
		m->is_sent = false;
		if (m->is_kept)
			m->bytes[0] |= DUP_BIT;
		all_kept = all_kept && m->is_kept;
	}
	o->sent = 0;
	return all_kept;
}

/* The first that waits. */
static struct outbox_message *
first_waiting(const struct outbox *o)
{
	struct outbox_message *m;

	if (outbox_waiting(o) == 0)
		return NULL;
	TAILQ_FOREACH (m, &o->messages, next)
		if (!m->is_sent)
			return m;
	return NULL;
}

struct span
outbox_next(const struct outbox *o)
{
	const struct outbox_message *m = first_waiting(o);

	return m != NULL && m->n == m->total ? (struct span){m->bytes, m->n}
					     : (struct span){NULL, 0};
}

void
outbox_next_sent(struct outbox *o)
{
	first_waiting(o)->is_sent = true;
	o->sent++;
}

bool
outbox_will_repeat(struct outbox *o, uint16_t packet_id)
{
	struct outbox_message *m, *found = NULL;

	if (o->count == 0)
		return false;
	/* some firmware has one identifier for all: the oldest that is left */
	TAILQ_FOREACH (m, &o->messages, next)
		if (!m->is_sent && m->packet_id == packet_id &&
		    (found == NULL || (m->is_left && !found->is_left)))
			found = m;
	if (found != NULL)
		found->is_left = false;
	return found != NULL;
}

unsigned
outbox_clear(struct outbox *o, struct loop *loop)
{
	unsigned n = o->count;

	while (o->count > 0)
		drop(o, loop, TAILQ_FIRST(&o->messages));
	return n;
}
