/*
 * credmap_build: how credmap_load() fills a map, before anybody else sees it.
 * One thread. A map under construction ends with credmap_unref() as any other.
 */
#ifndef PROXY_SETTINGS_CREDMAP_BUILD_H
#define PROXY_SETTINGS_CREDMAP_BUILD_H

#include "base/attr.h"
#include "settings/credmap.h"

#include <stdbool.h>
#include <stddef.h>

/* An empty map with one reference. NULL without memory. */
NODISCARD struct credmap *credmap_new(void);

/* Its file is not there. */
void credmap_set_missing(struct credmap *map);

/* One more entry, all zero; it may move at the next call. NULL without
   memory. */
NODISCARD struct credential *credmap_add(struct credmap *map);

/* Entry <i>, below the count, to be filled in. */
struct credential *credmap_edit(struct credmap *map, size_t i);

/* A copy that lives as long as the map, without alignment; <n> up to 4096.
   NULL without memory. */
NODISCARD const void *credmap_keep(
    struct credmap *map, const void *bytes, size_t n);

/* The same for a contract. */
NODISCARD const struct contract *credmap_keep_contract(
    struct credmap *map, const struct contract *contract);

/* <topics> are freed with the map. False without memory: they still are the
   caller's. */
NODISCARD bool credmap_own_topics(
    struct credmap *map, struct topic_map *topics);

/* What two entries must not have in common. */
enum clash { CLASH_LABEL, CLASH_IDENTITY, CLASH_MATCH };

/*
 * Makes the entries findable, once, when all are there. Entries that share what
 * they must not are told to <clash>, the later one first; of one pair only the
 * first of the three. Fields that are NULL share nothing. False without memory.
 */
NODISCARD bool credmap_index(struct credmap *map,
    void (*clash)(void *arg, enum clash what, const struct credential *later,
	const struct credential *first),
    void *arg);

#endif
