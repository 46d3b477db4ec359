#include "session/crowd.h"

#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct origin {
	unsigned count;
	char address[48];
};

struct crowd {
	pthread_mutex_t lock;
	/* all under the lock */
	unsigned all;
	void *origins;      /* a tsearch() tree */
	struct origin **of; /* of each descriptor; NULL: not a device's */
	size_t descriptors; /* how many <of> has room for */
};

struct crowd *
crowd_new(void)
{
	struct crowd *c = calloc(1, sizeof(*c));

	if (c != NULL)
		(void)pthread_mutex_init(&c->lock, NULL);
	return c;
}

void
crowd_free(struct crowd **c)
{
	if (*c == NULL)
		return;
	(void)pthread_mutex_destroy(&(*c)->lock);
	free((*c)->of);
	free(*c);
	*c = NULL;
}

static int
origin_order(const void *a, const void *b)
{
	const struct origin *x = a, *y = b;

	return strcmp(x->address, y->address);
}

/* Finds or makes it; NULL without memory. */
static struct origin *
origin_of(struct crowd *c, const char *address)
{
	struct origin *fresh = calloc(1, sizeof(*fresh));
	void *node;

	if (fresh == NULL)
		return NULL;
	(void)snprintf(fresh->address, sizeof(fresh->address), "%s", address);
	node = tsearch(fresh, &c->origins, origin_order);
	if (node == NULL || *(struct origin **)node != fresh)
		free(fresh);
	return node != NULL ? *(struct origin **)node : NULL;
}

static bool
make_room(struct crowd *c, size_t descriptor)
{
	size_t n = c->descriptors > 0 ? c->descriptors : 64;
	struct origin **of;

	if (descriptor < c->descriptors)
		return true;
	while (n <= descriptor)
		n *= 2;
	of = realloc(c->of, n * sizeof(struct origin *));
	if (of == NULL)
		return false;
	memset(of + c->descriptors, 0,
	    (n - c->descriptors) * sizeof(struct origin *));
	c->of = of;
	c->descriptors = n;
	return true;
}

bool
crowd_enter(
    struct crowd *c, int fd, const char *address, struct crowd_count *now)
{
	struct origin *from = NULL;

	pthread_mutex_lock(&c->lock);
	if (make_room(c, (size_t)fd))
		from = origin_of(c, address);
	if (from != NULL) {
		c->of[fd] = from;
		now->from_address = ++from->count;
		now->all = ++c->all;
	}
	pthread_mutex_unlock(&c->lock);
	return from != NULL;
}

void
crowd_leave(struct crowd *c, int fd)
{
	struct origin *from;

	pthread_mutex_lock(&c->lock);
	from = c->of[fd];
	c->of[fd] = NULL;
	c->all--;
	if (--from->count == 0) {
		(void)tdelete(from, &c->origins, origin_order);
		free(from);
	}
	pthread_mutex_unlock(&c->lock);
}

unsigned
crowd_size(struct crowd *c)
{
	unsigned all;

	pthread_mutex_lock(&c->lock);
	all = c->all;
	pthread_mutex_unlock(&c->lock);
	return all;
}
