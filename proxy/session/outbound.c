#include "session/outbound.h"

#include <stdlib.h>
#include <string.h>

enum state {
	PENDING, /* of this link: the device owes an acknowledgement */
	ORPHAN,  /* the same, of an earlier link */
	ANSWERED /* of an earlier link: the device has acknowledged it, which
		    the cloud may not know */
};

struct outbound_record {
	uint16_t device_id; /* 0 when ANSWERED */
	uint16_t cloud_id;  /* 0: the cloud will not send it again */
	uint32_t mark;
	uint8_t state;
	bool is_qos2;
};

void
outbound_free(struct outbound *o)
{
	free(o->records);
	*o = (struct outbound){.picked = o->picked};
}

static struct outbound_record *
find_device(const struct outbound *o, uint16_t device_id)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->records[i].device_id == device_id)
			return &o->records[i];
	return NULL;
}

static struct outbound_record *
find_cloud(const struct outbound *o, uint16_t cloud_id)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->records[i].cloud_id == cloud_id)
			return &o->records[i];
	return NULL;
}

static void
set_state(struct outbound *o, struct outbound_record *r, enum state state)
{
	o->orphans -= r->state == ORPHAN;
	r->state = (uint8_t)state;
	o->orphans += r->state == ORPHAN;
}

static void
drop(struct outbound *o, struct outbound_record *r)
{
	set_state(o, r, ANSWERED);
	o->qos2 -= r->is_qos2;
	o->n--;
	memmove(r, r + 1, (size_t)(o->records + o->n - r) * sizeof(*r));
	if (o->n == 0 && !o->is_overfull)
		outbound_free(o);
}

/* Room for one more; false without memory. */
static bool
grow(struct outbound *o)
{
	size_t cap = o->cap == 0 ? 4 : o->cap * 2;
	struct outbound_record *r;

	if (o->n < o->cap)
		return true;
	r = realloc(o->records, cap * sizeof(*r));
	if (r == NULL)
		return false;
	o->records = r;
	o->cap = cap;
	return true;
}

/* Downwards: the cloud counts up. Most identifiers are free. */
static uint16_t
pick_id(struct outbound *o)
{
	do {
		o->picked = o->picked > 1 ? o->picked - 1 : UINT16_MAX;
	} while (find_device(o, o->picked) != NULL);
	return o->picked;
}

static enum outbound_move
add(struct outbound *o, uint8_t qos, uint32_t mark, uint16_t *packet_id)
{
	uint16_t cloud_id = *packet_id;

	if (o->n >= OUTBOUND_MAX) {
		o->is_overfull = true;
		return OUTBOUND_PASS;
	}
	if (!grow(o))
		return OUTBOUND_NO_MEMORY;
	if (find_device(o, cloud_id) != NULL)
		*packet_id = pick_id(o);
	o->records[o->n++] = (struct outbound_record){.device_id = *packet_id,
	    .cloud_id = cloud_id,
	    .mark = mark,
	    .state = PENDING,
	    .is_qos2 = qos == 2};
	o->qos2 += qos == 2;
	return OUTBOUND_PASS;
}

/* What the cloud has sent over an earlier link comes again. */
static enum outbound_move
repeated(struct outbound *o, struct outbound_record *r)
{
	if (r->state == ANSWERED) {
		drop(o, r);
		return OUTBOUND_ANSWER;
	}
	set_state(o, r, PENDING);
	return OUTBOUND_TAKEN;
}

enum outbound_move
outbound_publish(struct outbound *o, uint8_t qos, bool dup, uint32_t mark,
    uint16_t *packet_id)
{
	struct outbound_record *r = find_cloud(o, *packet_id);

	if (r == NULL)
		return add(o, qos, mark, packet_id);
	if (r->state == PENDING) {
		*packet_id = r->device_id;
		return OUTBOUND_PASS;
	}
	if (dup && r->mark == mark)
		return repeated(o, r);
	/* another message: what had its identifier is settled for the cloud */
	if (r->state == ANSWERED)
		drop(o, r);
	else
		r->cloud_id = 0;
	return add(o, qos, mark, packet_id);
}

enum outbound_move
outbound_acknowledge(struct outbound *o, uint16_t *packet_id)
{
	struct outbound_record *r = find_device(o, *packet_id);

	if (r == NULL)
		return OUTBOUND_PASS;
	if (r->state == PENDING) {
		*packet_id = r->cloud_id;
		drop(o, r);
		return OUTBOUND_PASS;
	}
	if (r->cloud_id == 0) {
		drop(o, r);
	} else {
		set_state(o, r, ANSWERED);
		r->device_id = 0;
	}
	return OUTBOUND_TAKEN;
}

uint16_t
outbound_for_cloud(const struct outbound *o, uint16_t packet_id)
{
	const struct outbound_record *r = find_device(o, packet_id);

	return r != NULL && r->state == PENDING ? r->cloud_id : packet_id;
}

uint16_t
outbound_for_device(const struct outbound *o, uint16_t packet_id)
{
	const struct outbound_record *r = find_cloud(o, packet_id);

	return r != NULL && r->state == PENDING ? r->device_id : packet_id;
}

void
outbound_disconnect(struct outbound *o)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->records[i].state == PENDING)
			set_state(o, &o->records[i], ORPHAN);
}

void
outbound_forget_cloud(struct outbound *o)
{
	for (size_t i = o->n; i-- > 0;) {
		struct outbound_record *r = &o->records[i];

		r->cloud_id = 0;
		if (r->state == ANSWERED)
			drop(o, r);
	}
}
