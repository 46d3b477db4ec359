/* The rules for topics of a section: collected key by key, compiled at its
   end. */
#include "settings/credmap_parts.h"

#include "base/escape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define X(name, def, what) #name,
static const char *const words[] = { CREDMAP_TOPIC_KEYS(X) };
#undef X
/* clang-format on */

/* Complains about the line being read. */
#define WRONG(l, ...)                                                          \
	complain((l)->line.to, (l)->line.path, (l)->line.n, __VA_ARGS__)

/* Takes "topic.N.KEY" apart. False: it is none. */
static bool
read_name(const char *name, unsigned *number, enum topic_key *key)
{
	static const char start[] = "topic.";
	static const char digits[] = "0123456789";
	size_t n;

	if (strncmp(name, start, strlen(start)) != 0)
		return false;
	name += strlen(start);
	n = strspn(name, digits);
	if (n < 1 || n > 4 || name[0] == '0' || name[n] != '.')
		return false;
	*number = 0;
	for (size_t i = 0; i < n; i++)
		*number = *number * 10 + (unsigned)(name[i] - '0');
	for (unsigned i = 0; i < TOPIC_KEY_COUNT; i++) {
		if (strcmp(name + n + 1, words[i]) == 0) {
			*key = (enum topic_key)i;
			return true;
		}
	}
	return false;
}

bool
credmap_is_topic_key(const char *name)
{
	enum topic_key key;
	unsigned number;

	return read_name(name, &number, &key);
}

/* The rule of that number; NULL after complaining, or with no_memory set. */
static struct topic_lines *
find_rule(struct loading *l, unsigned number)
{
	struct topic_lines *rule;
	char key[sizeof("topic.9999")];

	/* the keys of one rule mostly stand together */
	for (size_t i = l->topics_count; i > 0; i--)
		if (l->topics[i - 1].number == number)
			return &l->topics[i - 1];
	if (l->topics_count == TOPIC_RULES_MAX) {
		WRONG(l, "topic.%u: a section has at most %d rules for topics",
		    number, TOPIC_RULES_MAX);
		return NULL;
	}
	if (!loading_grow(l, (void **)&l->topics, &l->topics_cap,
		l->topics_count, sizeof(*l->topics)))
		return NULL;
	(void)snprintf(key, sizeof(key), "topic.%u", number);
	rule = &l->topics[l->topics_count++];
	*rule = (struct topic_lines){
	    .number = number, .spec.key = credmap_line_keep(&l->line, key)};
	return rule;
}

static void
read_way(struct loading *l, const char *name, const char *value,
    struct topic_spec *out)
{
	static const char *const ways[] = {
	    [TOPIC_BOTH] = "both", [TOPIC_UP] = "up", [TOPIC_DOWN] = "down"};
	char shown[64];

	for (int i = TOPIC_BOTH; i <= TOPIC_DOWN; i++) {
		if (strcmp(value, ways[i]) == 0) {
			out->way = (enum topic_way)i;
			return;
		}
	}
	WRONG(l, "%s = %s: both, up or down is allowed", name,
	    escape(shown, sizeof(shown), span_of_string(value)));
}

static void
read_value(struct loading *l, enum topic_key key, const char *name,
    const char *value, struct topic_spec *out)
{
	switch (key) {
	case TOPIC_KEY_lan:
		out->line = l->line.n; /* where the rule is, for messages */
		out->lan = credmap_line_keep(&l->line, value);
		break;
	case TOPIC_KEY_cloud:
		out->cloud = credmap_line_keep(&l->line, value);
		break;
	case TOPIC_KEY_way:
		read_way(l, name, value, out);
		break;
	case TOPIC_KEY_escape:
		l->line.key = name;
		credmap_line_bool(&l->line, value, &out->escape);
		break;
	case TOPIC_KEY_COUNT:
		break;
	}
}

void
loading_on_topic(struct loading *l, const char *name, const char *value)
{
	struct topic_lines *rule;
	enum topic_key key;
	unsigned number;

	if (l->topics_count == 0)
		l->errors_before = l->line.to->errors;
	if (!read_name(name, &number, &key)) {
		WRONG(l,
		    "there is no such key; a rule for topics has topic.N.lan, "
		    "topic.N.cloud, topic.N.way and topic.N.escape, N from 1 "
		    "to %d",
		    CREDENTIAL_TOPIC_NUMBER_MAX);
		return;
	}
	rule = find_rule(l, number);
	if (rule == NULL)
		return;
	if (rule->line[key] != 0) {
		WRONG(l, "%s comes twice, first in line %d", name,
		    rule->line[key]);
		return;
	}
	rule->line[key] = l->line.n;
	read_value(l, key, name, value, &rule->spec);
}

static int
compare_rules(const void *a, const void *b)
{
	const struct topic_lines *p = a;
	const struct topic_lines *q = b;

	return (p->number > q->number) - (p->number < q->number);
}

/* Complains of a rule of which a half is missing. */
static void
check_halves(struct loading *l, const struct topic_lines *rule)
{
	int line = 0;

	for (unsigned i = 0; i < TOPIC_KEY_COUNT; i++)
		if (line == 0 || (rule->line[i] != 0 && rule->line[i] < line))
			line = rule->line[i];
	for (unsigned i = TOPIC_KEY_lan; i <= TOPIC_KEY_cloud; i++)
		if (rule->line[i] == 0)
			complain(l->line.to, l->line.path, line,
			    "topic.%u has no topic.%u.%s", rule->number,
			    rule->number, words[i]);
}

/* The rules are whole. */
static const struct topic_map *
compile(struct loading *l)
{
	struct topic_spec *specs = calloc(l->topics_count, sizeof(*specs));
	struct topic_map *map = NULL;

	if (specs == NULL) {
		l->line.no_memory = true;
		return NULL;
	}
	for (size_t i = 0; i < l->topics_count; i++)
		specs[i] = l->topics[i].spec;
	map =
	    topic_map_compile(specs, l->topics_count, l->line.path, l->line.to);
	free(specs);
	if (map != NULL && !credmap_own_topics(l->line.map, map)) {
		l->line.no_memory = true;
		topic_map_free(map);
		map = NULL;
	}
	return map;
}

void
loading_end_topics(struct loading *l, struct common *common)
{
	common->has_topics = l->topics_count > 0;
	if (!common->has_topics)
		return;
	qsort(l->topics, l->topics_count, sizeof(*l->topics), compare_rules);
	for (size_t i = 0; i < l->topics_count; i++)
		check_halves(l, &l->topics[i]);
	if (l->line.to->errors == l->errors_before)
		common->topics = compile(l);
	l->topics_count = 0;
}
