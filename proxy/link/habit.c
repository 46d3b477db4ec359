#include "link/habit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { HABITS_MAX = 64 }; /* hosts; the oldest is forgotten */

struct habit {
	TAILQ_ENTRY(habit) next;
	enum transport worked;
	char host[256];
};

struct habits {
	TAILQ_HEAD(habit_list, habit) all;
	unsigned count;
};

struct habits *
habits_new(void)
{
	struct habits *h = calloc(1, sizeof(*h));

	if (h != NULL)
		TAILQ_INIT(&h->all);
	return h;
}

static void
forget(struct habits *h, struct habit *one)
{
	TAILQ_REMOVE(&h->all, one, next);
	h->count--;
	free(one);
}

void
habits_free(struct habits **h)
{
	struct habit *one;

	if (*h == NULL)
		return;
	while ((one = TAILQ_FIRST(&(*h)->all)) != NULL)
		forget(*h, one);
	free(*h);
	*h = NULL;
}

static struct habit *
find(const struct habits *h, const char *host)
{
	struct habit *one;

	TAILQ_FOREACH (one, &h->all, next)
		if (strcmp(one->host, host) == 0)
			return one;
	return NULL;
}

void
habit_note(struct habits *h, const char *host, enum transport worked)
{
	struct habit *one = find(h, host);

	if (one == NULL) {
		one = calloc(1, sizeof(*one));
		if (one == NULL)
			return; /* the next dial finds out again */
		if (h->count == HABITS_MAX)
			forget(h, TAILQ_FIRST(&h->all));
		(void)snprintf(one->host, sizeof(one->host), "%s", host);
		TAILQ_INSERT_TAIL(&h->all, one, next);
		h->count++;
	}
	one->worked = worked;
}

struct transports
habit_order(
    const struct habits *h, const char *host, const struct transports *wanted)
{
	const struct habit *one = wanted->count > 1 ? find(h, host) : NULL;
	struct transports out = {0};

	if (one == NULL || !transports_have(wanted, one->worked))
		return *wanted;
	out.order[out.count++] = (uint8_t)one->worked;
	for (unsigned i = 0; i < wanted->count; i++)
		if (wanted->order[i] != one->worked)
			out.order[out.count++] = wanted->order[i];
	return out;
}
