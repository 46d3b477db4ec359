#include "server/departed.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
order(const void *a, const void *b)
{
	const struct departed_device *x = a, *y = b;
	int by_key = strcmp(x->product_key, y->product_key);

	return by_key != 0 ? by_key : strcmp(x->device_name, y->device_name);
}

static struct departed_device
key_of(const char *product_key, const char *device_name)
{
	struct departed_device key = {0};

	(void)snprintf(
	    key.product_key, sizeof(key.product_key), "%s", product_key);
	(void)snprintf(
	    key.device_name, sizeof(key.device_name), "%s", device_name);
	return key;
}

static void
forget(struct departed *d, struct departed_device *device)
{
	(void)tdelete(device, &d->tree, order);
	TAILQ_REMOVE(&d->all, device, next);
	d->n--;
	free(device);
}

void
departed_init(struct departed *d)
{
	d->tree = NULL;
	d->n = 0;
	TAILQ_INIT(&d->all);
}

void
departed_clear(struct departed *d)
{
	while (!TAILQ_EMPTY(&d->all))
		forget(d, TAILQ_FIRST(&d->all));
}

/* Finds or makes it, in any place of the list; NULL without memory. */
static struct departed_device *
device_of(struct departed *d, const struct credential *entry)
{
	struct departed_device key =
	    key_of(entry->product_key, entry->device_name);
	void *node = tfind(&key, &d->tree, order);
	struct departed_device *fresh;

	if (node != NULL)
		return *(struct departed_device **)node;
	if (d->n == DEPARTED_MAX)
		forget(d, TAILQ_FIRST(&d->all));
	fresh = malloc(sizeof(*fresh));
	if (fresh == NULL)
		return NULL;
	*fresh = key;
	if (tsearch(fresh, &d->tree, order) == NULL) {
		free(fresh);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&d->all, fresh, next);
	d->n++;
	return fresh;
}

void
departed_note(struct departed *d, const struct credential *entry,
    const char *peer, const struct fault *why, uint64_t now_ms)
{
	struct departed_device *device = device_of(d, entry);

	if (device == NULL)
		return;
	TAILQ_REMOVE(&d->all, device, next);
	TAILQ_INSERT_TAIL(&d->all, device, next);
	(void)snprintf(
	    device->label, sizeof(device->label), "%s", entry->label);
	(void)snprintf(device->peer, sizeof(device->peer), "%s", peer);
	(void)snprintf(device->detail, sizeof(device->detail), "%.*s",
	    REPORT_DETAIL_MAX - 1, why->text);
	device->reason = why->why;
	device->at_ms = now_ms;
}

const struct departed_device *
departed_of(
    const struct departed *d, const char *product_key, const char *device_name)
{
	struct departed_device key = key_of(product_key, device_name);
	void *node = tfind(&key, &d->tree, order);

	return node != NULL ? *(struct departed_device **)node : NULL;
}
