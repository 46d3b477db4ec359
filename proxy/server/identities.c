#include "server/identities.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	RATES_MS = 2000, /* more than any window of flow.h */
	SWEPT_AT_ONCE = 2
};

static int
identity_order(const void *a, const void *b)
{
	const struct identity *x = a, *y = b;
	int order = strcmp(x->product_key, y->product_key);

	return order != 0 ? order : strcmp(x->device_name, y->device_name);
}

static struct identity
identity_key(const char *product_key, const char *device_name)
{
	struct identity key = {0};

	(void)snprintf(
	    key.product_key, sizeof(key.product_key), "%s", product_key);
	(void)snprintf(
	    key.device_name, sizeof(key.device_name), "%s", device_name);
	return key;
}

static void
wake(struct identities *all, struct identity *id)
{
	if (id->rests_ms != 0)
		TAILQ_REMOVE(&all->resting, id, rest);
	id->rests_ms = 0;
}

struct identity *
identity_of(struct identities *all, const struct credential *entry)
{
	struct identity key =
	    identity_key(entry->product_key, entry->device_name);
	struct identity *fresh;
	void *node = tfind(&key, &all->tree, identity_order);

	if (node != NULL) {
		wake(all, *(struct identity **)node);
		return *(struct identity **)node;
	}
	fresh = malloc(sizeof(*fresh));
	if (fresh == NULL)
		return NULL;
	*fresh = key;
	if (tsearch(fresh, &all->tree, identity_order) == NULL) {
		free(fresh);
		return NULL;
	}
	return fresh;
}

struct session *
identities_session(const struct identities *all, const char *product_key,
    const char *device_name)
{
	struct identity key = identity_key(product_key, device_name);
	void *node = tfind(&key, &all->tree, identity_order);

	return node != NULL ? (*(struct identity **)node)->session : NULL;
}

static void
identity_free(struct identities *all, struct identity *id)
{
	wake(all, id);
	(void)tdelete(id, &all->tree, identity_order);
	device_memory_free(&id->memory);
	witness_unref(id->thrown_out);
	free(id);
}

/* Nothing of it is worth remembering. */
static bool
is_blank(const struct identity *id, uint64_t now_ms)
{
	return device_memory_is_empty(&id->memory) &&
	       rivals_are_cold(&id->rivals, now_ms);
}

/*
 * Looks at two of those that rest for each that may come, around and around: so
 * no call takes long, and few are kept for nothing. What is remembered of a
 * device's rates goes first.
 */
static void
sweep(struct identities *all, uint64_t now_ms)
{
	for (int i = 0; i < SWEPT_AT_ONCE && !TAILQ_EMPTY(&all->resting); i++) {
		struct identity *id = TAILQ_FIRST(&all->resting);

		if (now_ms - id->rests_ms >= RATES_MS)
			flow_free(&id->memory.flow);
		if (is_blank(id, now_ms)) {
			identity_free(all, id);
			continue;
		}
		TAILQ_REMOVE(&all->resting, id, rest);
		TAILQ_INSERT_TAIL(&all->resting, id, rest);
	}
}

void
identity_drop(struct identities *all, struct identity *id, uint64_t now_ms)
{
	if (id->session != NULL || id->waiting != NULL)
		return;
	sweep(all, now_ms);
	if (is_blank(id, now_ms)) {
		identity_free(all, id);
		return;
	}
	id->rests_ms = now_ms > 0 ? now_ms : 1;
	TAILQ_INSERT_TAIL(&all->resting, id, rest);
}

void
identities_forget_removed(struct identities *all, const struct credmap *map)
{
	struct identity *id, *after;
	const struct credential *entry;

	for (id = TAILQ_FIRST(&all->resting); id != NULL; id = after) {
		after = TAILQ_NEXT(id, rest);
		entry =
		    credmap_by_identity(map, id->product_key, id->device_name);
		if (entry == NULL)
			identity_free(all, id);
		else
			device_memory_remap(&id->memory, entry);
	}
}

void
identities_init(struct identities *all)
{
	all->tree = NULL;
	TAILQ_INIT(&all->resting);
}

void
identities_clear(struct identities *all)
{
	while (!TAILQ_EMPTY(&all->resting))
		identity_free(all, TAILQ_FIRST(&all->resting));
}
