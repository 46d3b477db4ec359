/*
 * How a topic map comes to be: its rules are read, compared with one another,
 * and tried out.
 */
#include "base/escape.h"
#include "base/fnv.h"
#include "settings/topic_map_parts.h"

#include <stdlib.h>
#include <string.h>

/* A map on its way in. */
struct compiling {
	struct topic_map *map;
	const struct topic_spec *specs;
	const char *path;
	struct complaints *to;
	bool good;
};

/* Rules that could not be read stay without levels. */
static void
read_rules(struct compiling *c)
{
	for (size_t i = 0; i < c->map->count; i++) {
		struct topic_rule *rule = &c->map->rules[i];

		if (topic_rule_read(rule, &c->specs[i], c->path, c->to))
			continue;
		rule->lan.level_count = 0;
		c->good = false;
	}
}

/* Complains of two rules, of the later one, whose sides get in each other's
   way. */
static void
clash(struct compiling *c, size_t later, size_t first, bool is_cloud,
    const char *flaw)
{
	const struct topic_spec *a = &c->specs[later], *b = &c->specs[first];
	char shown[100], other[100];

	complain(c->to, c->path, a->line,
	    "%s.%s = %s and %s.%s = %s of line %d %s", a->key,
	    is_cloud ? "cloud" : "lan",
	    escape(shown, sizeof(shown),
		span_of_string(is_cloud ? a->cloud : a->lan)),
	    b->key, is_cloud ? "cloud" : "lan",
	    escape(other, sizeof(other),
		span_of_string(is_cloud ? b->cloud : b->lan)),
	    b->line, flaw);
	c->good = false;
}

/* Which of two rules goes before the other must be plain. */
static void
check_order(struct compiling *c, size_t later, size_t first, bool is_cloud,
    enum topic_relation relation)
{
	struct topic_rule *a = &c->map->rules[later];
	struct topic_rule *b = &c->map->rules[first];
	struct topic_rule *wide = relation == TOPIC_INSIDE ? b : a;

	switch (relation) {
	case TOPIC_APART:
		break;
	case TOPIC_SAME:
		clash(c, later, first, is_cloud,
		    "fit the same topics; only one of them can be carried out");
		break;
	case TOPIC_CROSS:
		clash(c, later, first, is_cloud,
		    "may fit the same topic, and neither is more specific at "
		    "every level; make one of them so, or keep them apart");
		break;
	case TOPIC_INSIDE:
	case TOPIC_AROUND:
		if (is_cloud)
			wide->cloud_shadowed = true;
		else
			wide->lan_shadowed = true;
		break;
	}
}

static void
check_pair(struct compiling *c, size_t later, size_t first)
{
	const struct topic_rule *a = &c->map->rules[later];
	const struct topic_rule *b = &c->map->rules[first];
	bool both_up = topic_rule_goes_up(a) && topic_rule_goes_up(b);
	bool both_down = topic_rule_goes_down(a) && topic_rule_goes_down(b);
	enum topic_relation lan = TOPIC_APART;

	if (both_up || a->way != b->way)
		lan = topic_side_relation(&a->lan, &b->lan);
	if (both_up)
		check_order(c, later, first, false, lan);
	else if (lan != TOPIC_APART)
		clash(c, later, first, false,
		    "may fit the same topic, so that what has come down by one "
		    "would go up by the other, to another topic; if they are "
		    "meant as one, say it in one rule with way = both");
	if (both_down)
		check_order(c, later, first, true,
		    topic_side_relation(&a->cloud, &b->cloud));
}

static void
check_pairs(struct compiling *c)
{
	const struct topic_rule *rules = c->map->rules;

	for (size_t i = 0; i < c->map->count; i++)
		for (size_t j = 0; j < i; j++)
			if (rules[i].lan.level_count > 0 &&
			    rules[j].lan.level_count > 0)
				check_pair(c, i, j);
}

static bool
build_indexes(struct topic_map *map)
{
	map->up =
	    topic_index_new(map->rules, map->count, false, topic_rule_goes_up);
	map->down =
	    topic_index_new(map->rules, map->count, true, topic_rule_goes_down);
	map->asked_of = topic_index_new(
	    map->rules, map->count, false, topic_rule_goes_down);
	return map->up != NULL && map->down != NULL && map->asked_of != NULL;
}

/* What the examples are made of; the first ones need no escaping. */
static const struct span samples[] = {SPAN_OF("a"), SPAN_OF("Z9"),
    SPAN_OF("x_y"), SPAN_OF("a-b c"), SPAN_OF(""), SPAN_OF("_"), SPAN_OF("_2F"),
    SPAN_OF("\xc3\xbc")};

enum { PLAIN_SAMPLES = 3, SAMPLES = sizeof(samples) / sizeof(samples[0]) };

static const struct topic_names sample_names = {
    .pk = SPAN_OF("a1b2c3"),
    .dn = SPAN_OF("device"),
    .label = SPAN_OF("label"),
    .client_id = SPAN_OF("client"),
};

/* Example <k> of a LAN topic that fits; its rest has 0 to 2 levels. */
static void
write_example(const struct topic_rule *rule, unsigned k, struct topic_text *t)
{
	unsigned n = rule->escape ? SAMPLES : PLAIN_SAMPLES, rest = k % 3;

	topic_text_begin_lan(t);
	for (unsigned i = 0; i < rule->lan.level_count; i++) {
		const struct topic_level *level = &rule->lan.level[i];

		if (level->kind == TOPIC_LEVEL_REST) {
			for (unsigned j = 0; j < rest; j++) {
				if (i + j > 0)
					topic_text_put(t, SPAN_OF("/"));
				topic_text_put(t, samples[(k + j) % n]);
			}
			break;
		}
		if (i > 0)
			topic_text_put(t, SPAN_OF("/"));
		if (level->capture != 0)
			topic_text_put(t, samples[(k + level->capture) % n]);
		topic_side_put(&rule->lan, level->before, level->before_count,
		    &sample_names, t);
	}
}

static void
not_proven(struct compiling *c, size_t i, struct span from, struct span by,
    struct span to)
{
	char a[100], b[100], d[100];

	complain(c->to, c->path, c->specs[i].line,
	    "%s does not come back as it was: from %s by %s to %s",
	    c->specs[i].key, escape(a, sizeof(a), from),
	    escape(b, sizeof(b), by), escape(d, sizeof(d), to));
	c->good = false;
}

/* Up and back, by the rule itself. */
static void
try_up(struct compiling *c, size_t i, const struct topic_text *lan)
{
	struct span name = topic_text_span(lan);
	struct topic_text cloud, back;

	if (topic_map_up(c->map, &sample_names, name, &cloud) != TOPIC_MAPPED)
		return;
	if (topic_map_down(c->map, &sample_names, topic_text_span(&cloud),
		&back) != TOPIC_MAPPED ||
	    !span_eq(topic_text_span(&back), name))
		not_proven(c, i, name, topic_text_span(&cloud),
		    topic_text_span(&back));
}

/* Down and back: to where it was, or nowhere. */
static void
try_down(struct compiling *c, size_t i, const struct topic_text *cloud)
{
	struct span name = topic_text_span(cloud);
	struct topic_text lan, back;

	if (topic_map_down(c->map, &sample_names, name, &lan) != TOPIC_MAPPED)
		return;
	if (topic_map_up(c->map, &sample_names, topic_text_span(&lan), &back) ==
		TOPIC_MAPPED &&
	    !span_eq(topic_text_span(&back), name))
		not_proven(
		    c, i, name, topic_text_span(&lan), topic_text_span(&back));
}

/* This holds by construction: what is found here is a mistake of ours. */
static void
try_example(struct compiling *c, size_t i, unsigned k)
{
	const struct topic_rule *rule = &c->map->rules[i];
	struct topic_text lan, cloud;
	struct topic_split split;

	write_example(rule, k, &lan);
	if (lan.result != TOPIC_MAPPED || lan.n == 0)
		return;
	topic_split(&split, topic_text_span(&lan));
	if (topic_index_find(c->map->up, &sample_names, &split) != rule)
		return; /* another one is more specific */
	try_up(c, i, &lan);
	topic_text_begin_cloud(&cloud);
	topic_rule_write_cloud(rule, &sample_names, &split, &cloud, NULL);
	if (cloud.result == TOPIC_MAPPED)
		try_down(c, i, &cloud);
}

static void
try_rules(struct compiling *c)
{
	for (size_t i = 0; i < c->map->count; i++)
		for (unsigned k = 0; k < SAMPLES; k++)
			if (c->map->rules[i].way == TOPIC_BOTH)
				try_example(c, i, k);
}

static const char *
copy_text(char **to, const char *text)
{
	size_t n = strlen(text) + 1;
	const char *copy = memcpy(*to, text, n);

	*to += n;
	return copy;
}

/* A copy with its texts in one block. NULL without memory. */
static struct topic_spec *
copy_specs(const struct topic_spec *specs, size_t count)
{
	size_t bytes = (count + 1) * sizeof(*specs);
	struct topic_spec *copy;
	char *text;

	for (size_t i = 0; i < count; i++)
		bytes += strlen(specs[i].key) + strlen(specs[i].lan) +
			 strlen(specs[i].cloud) + 3;
	copy = calloc(1, bytes);
	if (copy == NULL)
		return NULL;
	text = (char *)(copy + count + 1);
	for (size_t i = 0; i < count; i++) {
		copy[i] = specs[i];
		copy[i].key = copy_text(&text, specs[i].key);
		copy[i].lan = copy_text(&text, specs[i].lan);
		copy[i].cloud = copy_text(&text, specs[i].cloud);
	}
	return copy;
}

static uint64_t
id_of(const struct topic_spec *specs, size_t count)
{
	uint64_t id = fnv_begin();

	for (size_t i = 0; i < count; i++) {
		const uint8_t how[] = {(uint8_t)specs[i].way, specs[i].escape};

		id = fnv_add_text(id, span_of_string(specs[i].lan));
		id = fnv_add_text(id, span_of_string(specs[i].cloud));
		id = fnv_add(id, (struct span){how, sizeof(how)});
	}
	return id | 1;
}

static struct topic_map *
allocate(const struct topic_spec *specs, size_t count)
{
	struct topic_map *map = calloc(1, sizeof(*map));

	if (map == NULL)
		return NULL;
	map->rules = calloc(count + 1, sizeof(*map->rules));
	map->specs = copy_specs(specs, count);
	if (map->rules == NULL || map->specs == NULL) {
		topic_map_free(map);
		return NULL;
	}
	map->count = count;
	return map;
}

struct topic_map *
topic_map_compile(const struct topic_spec *specs, size_t count,
    const char *path, struct complaints *to)
{
	struct compiling c = {NULL, specs, path, to, true};

	if (count > TOPIC_RULES_MAX) {
		complain(to, path, specs[TOPIC_RULES_MAX].line,
		    "%s: there are more than %d topic rules",
		    specs[TOPIC_RULES_MAX].key, TOPIC_RULES_MAX);
		return NULL;
	}
	if ((c.map = allocate(specs, count)) == NULL) {
		complain(to, path, 0, "out of memory");
		return NULL;
	}
	read_rules(&c);
	check_pairs(&c);
	if (c.good && !build_indexes(c.map)) {
		complain(to, path, 0, "out of memory");
		c.good = false;
	}
	if (c.good)
		try_rules(&c);
	if (c.good) {
		c.map->id = id_of(specs, count);
		return c.map;
	}
	topic_map_free(c.map);
	return NULL;
}
