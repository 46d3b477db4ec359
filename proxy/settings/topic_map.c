#include "settings/topic_map.h"

#include "codec/mqtt_topic.h"
#include "settings/topic_map_parts.h"

#include <stdlib.h>
#include <string.h>

void
topic_map_free(struct topic_map *map)
{
	if (map == NULL)
		return;
	topic_index_free(map->up);
	topic_index_free(map->down);
	topic_index_free(map->asked_of);
	free(map->rules);
	free(map->specs);
	free(map);
}

/* Whether the topic just written finds <rule> on its way back. */
static bool
finds(const struct topic_index *index, const struct topic_names *names,
    const struct topic_text *t, const struct topic_rule *rule)
{
	struct topic_split split;

	topic_split(&split, topic_text_span(t));
	return topic_index_find(index, names, &split) == rule;
}

enum topic_result
topic_map_up(const struct topic_map *map, const struct topic_names *names,
    struct span name, struct topic_text *out)
{
	const struct topic_rule *rule;
	struct topic_split split;

	topic_text_begin_cloud(out);
	if (mqtt_topic_name_flaw(name, 3) != NULL) {
		topic_text_unfit(out);
		return out->result;
	}
	topic_split(&split, name);
	rule = topic_index_find(map->up, names, &split);
	if (rule == NULL)
		topic_text_unfit(out);
	else
		topic_rule_write_cloud(rule, names, &split, out, NULL);
	if (out->result == TOPIC_MAPPED && rule->way == TOPIC_BOTH &&
	    rule->cloud_shadowed && !finds(map->down, names, out, rule))
		topic_text_unfit(out);
	return out->result;
}

/* The platform knows no empty level but the one before the first slash. */
static bool
has_empty_level(struct span name)
{
	for (size_t i = 1; i < name.n; i++)
		if (name.p[i] == '/' && name.p[i - 1] == '/')
			return true;
	return name.p[name.n - 1] == '/';
}

enum topic_result
topic_map_down(const struct topic_map *map, const struct topic_names *names,
    struct span name, struct topic_text *out)
{
	const struct topic_rule *rule;
	struct topic_split split;

	topic_text_begin_lan(out);
	if (mqtt_topic_name_flaw(name, 3) != NULL || has_empty_level(name)) {
		topic_text_unfit(out);
		return out->result;
	}
	topic_split(&split, name);
	rule = topic_index_find(map->down, names, &split);
	if (rule == NULL)
		topic_text_unfit(out);
	else
		topic_rule_write_lan(rule, names, &split, out);
	if (out->result == TOPIC_MAPPED && rule->lan_shadowed &&
	    !finds(map->up, names, out, rule))
		topic_text_unfit(out);
	return out->result;
}

/* ---- the rules themselves ---- */

const struct topic_spec *
topic_map_specs(const struct topic_map *map, size_t *count)
{
	*count = map->count;
	return map->specs;
}

static bool
same_spec(const struct topic_spec *a, const struct topic_spec *b)
{
	return strcmp(a->lan, b->lan) == 0 && strcmp(a->cloud, b->cloud) == 0 &&
	       a->way == b->way && a->escape == b->escape;
}

uint64_t
topic_map_id(const struct topic_map *map)
{
	return map->id;
}

bool
topic_map_same(const struct topic_map *a, const struct topic_map *b)
{
	if (a == NULL || b == NULL || a == b)
		return a == b;
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!same_spec(&a->specs[i], &b->specs[i]))
			return false;
	return true;
}

static const struct topic_spec *
spec_for(const struct topic_map *map, const struct topic_index *index,
    const struct topic_names *names, struct span name)
{
	const struct topic_rule *rule;
	struct topic_split split;

	if (mqtt_topic_name_flaw(name, 3) != NULL)
		return NULL;
	topic_split(&split, name);
	rule = topic_index_find(index, names, &split);
	return rule != NULL ? &map->specs[rule - map->rules] : NULL;
}

const struct topic_spec *
topic_map_rule_up(const struct topic_map *map, const struct topic_names *names,
    struct span name)
{
	return spec_for(map, map->up, names, name);
}

const struct topic_spec *
topic_map_rule_down(const struct topic_map *map,
    const struct topic_names *names, struct span name)
{
	return spec_for(map, map->down, names, name);
}

/* ---- filters ---- */

enum { SEEN_SLOTS = 2048 }; /* a power of two, twice the rules and more */

/* A filter on its way to the cloud. */
struct asking {
	const struct topic_map *map;
	const struct topic_names *names;
	struct span share;
	struct topic_split filter;
	void (*found)(void *arg, struct span filter);
	void *arg;
	struct topic_filters told;
	/* the rules whose filters were told, as 1 + their place, by hash */
	uint16_t seen[SEEN_SLOTS];
};

static void
write_filter(const struct asking *a, const struct topic_rule *rule,
    struct topic_text *t, bool *wider)
{
	topic_text_begin_filter(t, a->share);
	topic_rule_write_cloud(rule, a->names, &a->filter, t, wider);
}

/* FNV-1a; two filters with one hash only cost a comparison. */
static uint32_t
hash_of(struct span s)
{
	uint32_t hash = 2166136261;

	for (size_t i = 0; i < s.n; i++)
		hash = (hash ^ s.p[i]) * 16777619;
	return hash;
}

/* False: another rule has given the same filter. */
static bool
is_new(struct asking *a, const struct topic_rule *rule, struct span filter)
{
	uint32_t slot = hash_of(filter) % SEEN_SLOTS;
	struct topic_text other;

	for (; a->seen[slot] != 0; slot = (slot + 1) % SEEN_SLOTS) {
		write_filter(
		    a, &a->map->rules[a->seen[slot] - 1], &other, NULL);
		if (span_eq(topic_text_span(&other), filter))
			return false;
	}
	a->seen[slot] = (uint16_t)(rule - a->map->rules + 1);
	return true;
}

static void
met(void *arg, const struct topic_rule *rule)
{
	struct asking *a = arg;
	struct topic_text t;
	bool wider = rule->cloud_shadowed;

	write_filter(a, rule, &t, &wider);
	if (t.result == TOPIC_TOO_LONG)
		a->told.too_long++;
	if (t.result != TOPIC_MAPPED)
		return;
	a->told.wider |= wider;
	if (!is_new(a, rule, topic_text_span(&t)))
		return;
	a->told.count++;
	a->found(a->arg, topic_text_span(&t));
}

struct topic_filters
topic_map_filter_up(const struct topic_map *map,
    const struct topic_names *names, struct span filter,
    void (*found)(void *arg, struct span filter), void *arg)
{
	size_t share = mqtt_topic_share_bytes(filter);
	struct asking a = {
	    .map = map, .names = names, .found = found, .arg = arg};

	if (mqtt_topic_filter_flaw(filter, 3) != NULL)
		return a.told;
	a.share = (struct span){filter.p, share};
	topic_split(
	    &a.filter, (struct span){filter.p + share, filter.n - share});
	topic_index_meet(map->asked_of, names, &a.filter, met, &a);
	return a.told;
}
