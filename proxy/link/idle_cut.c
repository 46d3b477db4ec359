#include "link/idle_cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { IDLE_CUTS_MAX = 64 }; /* ways; the oldest is forgotten */

struct idle_cut {
	TAILQ_ENTRY(idle_cut) next;
	uint64_t lost_ms;      /* when the last link was lost */
	uint64_t lost_idle_ms; /* after how much silence; 0: no login awaited */
	uint64_t least_ms;     /* of the proofs so far */
	uint64_t interval_ms;  /* learned */
	unsigned proofs;
	uint16_t port;
	char host[256];
	char egress[256];
};

struct idle_cuts {
	TAILQ_HEAD(idle_cut_list, idle_cut) all;
	unsigned count;
};

struct idle_cuts *
idle_cuts_new(void)
{
	struct idle_cuts *c = calloc(1, sizeof(*c));

	if (c != NULL)
		TAILQ_INIT(&c->all);
	return c;
}

static void
forget(struct idle_cuts *c, struct idle_cut *one)
{
	TAILQ_REMOVE(&c->all, one, next);
	c->count--;
	free(one);
}

void
idle_cuts_free(struct idle_cuts **c)
{
	struct idle_cut *one;

	if (*c == NULL)
		return;
	while ((one = TAILQ_FIRST(&(*c)->all)) != NULL)
		forget(*c, one);
	free(*c);
	*c = NULL;
}

static struct idle_cut *
find(const struct idle_cuts *c, const struct idle_way *way)
{
	struct idle_cut *one;

	TAILQ_FOREACH (one, &c->all, next)
		if (one->port == way->port &&
		    strcmp(one->host, way->host) == 0 &&
		    strcmp(one->egress, way->egress) == 0)
			return one;
	return NULL;
}

static struct idle_cut *
add(struct idle_cuts *c, const struct idle_way *way)
{
	struct idle_cut *one = calloc(1, sizeof(*one));

	if (one == NULL)
		return NULL; /* the next loss tells it again */
	if (c->count == IDLE_CUTS_MAX)
		forget(c, TAILQ_FIRST(&c->all));
	(void)snprintf(one->host, sizeof(one->host), "%s", way->host);
	(void)snprintf(one->egress, sizeof(one->egress), "%s", way->egress);
	one->port = way->port;
	one->interval_ms = UINT64_MAX;
	TAILQ_INSERT_TAIL(&c->all, one, next);
	c->count++;
	return one;
}

void
idle_cut_lost(struct idle_cuts *c, const struct idle_way *way, uint64_t idle_ms,
    uint64_t up_ms, uint64_t now_ms)
{
	struct idle_cut *one = find(c, way);

	if (one == NULL)
		one = add(c, way);
	/* one event, such as a firewall's restart, may end many links, each
	   found out when it pings */
	if (one == NULL || up_ms < one->lost_ms)
		return;
	one->lost_ms = now_ms;
	one->lost_idle_ms = idle_ms;
}

void
idle_cut_logged_in(
    struct idle_cuts *c, const struct idle_way *way, uint64_t now_ms)
{
	struct idle_cut *one = find(c, way);
	uint64_t idle_ms;

	if (one == NULL || one->lost_idle_ms == 0)
		return;
	idle_ms = one->lost_idle_ms;
	one->lost_idle_ms = 0;
	if (now_ms - one->lost_ms > IDLE_CUT_CONFIRM_MS)
		return;
	if (one->proofs == 0 || idle_ms < one->least_ms)
		one->least_ms = idle_ms;
	if (++one->proofs < IDLE_CUT_PROOFS)
		return;
	one->proofs = 0;
	if (one->least_ms / 4 * 3 < one->interval_ms)
		one->interval_ms = one->least_ms / 4 * 3;
}

void
idle_cut_survived(
    struct idle_cuts *c, const struct idle_way *way, uint64_t idle_ms)
{
	struct idle_cut *one = find(c, way);

	if (one == NULL)
		return;
	if (idle_ms >= one->lost_idle_ms)
		one->lost_idle_ms = 0;
	if (idle_ms >= one->least_ms)
		one->proofs = 0;
}

uint64_t
idle_cut_interval_ms(const struct idle_cuts *c, const struct idle_way *way)
{
	const struct idle_cut *one = find(c, way);

	return one != NULL ? one->interval_ms : UINT64_MAX;
}
