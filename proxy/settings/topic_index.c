#include "settings/topic_index.h"

#include <stdlib.h>

/* One rule. */
struct topic_entry {
	const struct topic_side *side;
	const struct topic_rule *rule;
};

/*
 * Nodes, edges and sorted rules are arrays. What belongs to a node stands
 * together in them; its edges in the order of topic_level_order(): texts, then
 * levels that have to be compared, then at most one TOPIC_LEVEL_ONE.
 */
struct topic_node {
	const struct topic_entry *ends; /* rules whose last level this is */
	const struct topic_entry *rest; /* those with a REST below it */
	size_t end_count, rest_count;
	const struct topic_edge *edges;
	size_t texts, edge_count;
};

struct topic_edge {
	struct span head; /* of its level, to be near */
	const struct topic_side *side;
	const struct topic_level *level; /* of that side */
	const struct topic_node *to;
	/* the first behind it with another kind, or length of head */
	const struct topic_edge *run_end;
};

struct topic_index {
	struct topic_node *nodes; /* the first is the root */
	struct topic_edge *edges;
	struct topic_entry *entries;
	size_t node_count, edge_count;
};

static int
order_entries(const void *a, const void *b)
{
	const struct topic_side *x = ((const struct topic_entry *)a)->side;
	const struct topic_side *y = ((const struct topic_entry *)b)->side;

	for (unsigned i = 0;; i++) {
		int order;

		if (i == x->level_count || i == y->level_count)
			return (i < x->level_count) - (i < y->level_count);
		order = topic_level_order(&x->level[i], &y->level[i]);
		if (order != 0)
			return order;
	}
}

/* How many of the entries have the first one's level at <depth>. */
static size_t
alike(const struct topic_entry *entries, size_t count, unsigned depth)
{
	const struct topic_level *first = &entries[0].side->level[depth];
	size_t n = 1;

	while (n < count &&
	       topic_level_order(&entries[n].side->level[depth], first) == 0)
		n++;
	return n;
}

/* Takes the rules that end at a node off those that go through it. */
static void
take_ends(struct topic_node *node, const struct topic_entry **entries,
    size_t *count, unsigned depth)
{
	node->ends = *entries;
	while (node->end_count < *count &&
	       node->ends[node->end_count].side->level_count == depth)
		node->end_count++;
	*entries += node->end_count;
	*count -= node->end_count;
	while (*count > 0 && (*entries)[*count - 1].side->level[depth].kind ==
				 TOPIC_LEVEL_REST) {
		--*count;
		node->rest_count++;
	}
	node->rest = *entries + *count;
}

/* Marks where the kind of an edge, or the length of its head, changes. */
static void
mark_runs(struct topic_edge *edges, size_t count)
{
	for (size_t i = count; i-- > 0;) {
		struct topic_edge *edge = &edges[i], *next = edge + 1;

		edge->run_end = next;
		if (i + 1 < count && next->level->kind == edge->level->kind &&
		    next->head.n == edge->head.n)
			edge->run_end = next->run_end;
	}
}

/* Makes the node of sorted entries that agree in their first <depth> levels. */
static const struct topic_node *
build(struct topic_index *index, const struct topic_entry *entries,
    size_t count, unsigned depth)
{
	struct topic_node *node = &index->nodes[index->node_count++];
	struct topic_edge *edge = index->edges + index->edge_count;

	take_ends(node, &entries, &count, depth);
	node->edges = edge;
	for (size_t i = 0; i < count; i += alike(entries + i, count - i, depth))
		node->edge_count++;
	index->edge_count += node->edge_count;
	while (count > 0) {
		size_t n = alike(entries, count, depth);

		edge->side = entries->side;
		edge->level = &entries->side->level[depth];
		edge->head = topic_level_head(edge->level);
		edge->to = build(index, entries, n, depth + 1);
		node->texts += edge->level->kind == TOPIC_LEVEL_TEXT;
		edge++;
		entries += n;
		count -= n;
	}
	mark_runs(edge - node->edge_count, node->edge_count);
	return node;
}

static struct topic_index *
allocate(size_t rules, size_t levels)
{
	struct topic_index *index = calloc(1, sizeof(*index));

	if (index == NULL)
		return NULL;
	index->nodes = calloc(levels + 1, sizeof(*index->nodes));
	index->edges = calloc(levels + 1, sizeof(*index->edges));
	index->entries = calloc(rules + 1, sizeof(*index->entries));
	if (index->nodes == NULL || index->edges == NULL ||
	    index->entries == NULL) {
		topic_index_free(index);
		return NULL;
	}
	return index;
}

static const struct topic_side *
side_of(const struct topic_rule *rule, bool is_cloud)
{
	return is_cloud ? &rule->cloud : &rule->lan;
}

struct topic_index *
topic_index_new(const struct topic_rule *rules, size_t count, bool is_cloud,
    bool (*wants)(const struct topic_rule *rule))
{
	struct topic_index *index;
	size_t n = 0, levels = 0;

	for (size_t i = 0; i < count; i++)
		if (wants(&rules[i]))
			levels += side_of(&rules[i], is_cloud)->level_count;
	if ((index = allocate(count, levels)) == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (wants(&rules[i]))
			index->entries[n++] = (struct topic_entry){
			    side_of(&rules[i], is_cloud), &rules[i]};
	qsort(index->entries, n, sizeof(*index->entries), order_entries);
	(void)build(index, index->entries, n, 0);
	return index;
}

void
topic_index_free(struct topic_index *index)
{
	if (index == NULL)
		return;
	free(index->nodes);
	free(index->edges);
	free(index->entries);
	free(index);
}

/* What stays the same on the way through the tree. */
struct walk {
	const struct topic_names *names;
	const struct topic_split *split;
	void (*met)(void *arg, const struct topic_rule *rule);
	void *arg;
};

/* The first edge from <low> on, before <high>, whose head is <head>; or NULL.
   All have heads of one length, or are texts. */
static const struct topic_edge *
search(const struct topic_edge *low, const struct topic_edge *high,
    struct span head)
{
	const struct topic_edge *end = high;

	while (low < high) {
		const struct topic_edge *middle = low + (high - low) / 2;

		if (topic_text_order(middle->head, head) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < end && span_eq(low->head, head) ? low : NULL;
}

/* The edge with a text, or NULL. */
static const struct topic_edge *
text_edge(const struct topic_node *node, struct span text)
{
	return search(node->edges, node->edges + node->texts, text);
}

/* The first edge from <edge> on, none of a text, that may fit; or NULL. */
static const struct topic_edge *
next_edge(const struct topic_node *node, const struct topic_edge *edge,
    struct span text)
{
	const struct topic_edge *end = node->edges + node->edge_count, *at;
	size_t n;

	for (; edge < end; edge = edge->run_end) {
		n = edge->head.n;
		if (n > text.n)
			continue;
		at = search(edge, edge->run_end, (struct span){text.p, n});
		if (at != NULL)
			return at;
	}
	return NULL;
}

/* Wildcards at the begin do not fit '$' (MQTT-4.7.2-1). */
static bool
hides(const struct walk *w, unsigned depth)
{
	struct span first = w->split->level[0];

	return depth == 0 && first.n > 0 && first.p[0] == '$';
}

/* Whether the level of an edge, which is no text, fits one. */
static bool
edge_fits(const struct walk *w, const struct topic_edge *edge, struct span text,
    unsigned depth)
{
	if (edge->level->kind == TOPIC_LEVEL_ONE)
		return !hides(w, depth);
	return topic_side_fits(edge->side, edge->level, w->names, text, NULL);
}

static const struct topic_rule *
first_of(const struct topic_entry *entries, size_t count)
{
	return count > 0 ? entries[0].rule : NULL;
}

static const struct topic_rule *
find(const struct walk *w, const struct topic_node *node, unsigned depth)
{
	const struct topic_rule *rest = first_of(node->rest, node->rest_count);
	const struct topic_rule *rule = NULL;
	const struct topic_edge *edge;
	struct span text;

	if (depth == w->split->count)
		return node->end_count > 0 ? node->ends[0].rule : rest;
	text = w->split->level[depth];
	if ((edge = text_edge(node, text)) != NULL)
		rule = find(w, edge->to, depth + 1);
	edge = node->edges + node->texts;
	while (rule == NULL && (edge = next_edge(node, edge, text)) != NULL) {
		if (edge_fits(w, edge, text, depth))
			rule = find(w, edge->to, depth + 1);
		edge++;
	}
	return rule != NULL || hides(w, depth) ? rule : rest;
}

const struct topic_rule *
topic_index_find(const struct topic_index *index,
    const struct topic_names *names, const struct topic_split *name)
{
	const struct walk w = {.names = names, .split = name};

	return find(&w, index->nodes, 0);
}

static void
tell(const struct walk *w, const struct topic_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		w->met(w->arg, entries[i].rule);
}

/* Whether an edge has a text in common with a filter's level that takes any. */
static bool
edge_meets_any(
    const struct walk *w, const struct topic_edge *edge, unsigned depth)
{
	/* as hides(), the other way round */
	return depth > 0 || edge->level->kind == TOPIC_LEVEL_ONE ||
	       !topic_side_is_hidden(edge->side, edge->level, w->names);
}

static void meet(
    const struct walk *w, const struct topic_node *node, unsigned depth);

/* The nodes below one, when the filter goes on with any level. */
static void
meet_all(const struct walk *w, const struct topic_node *node, unsigned depth)
{
	for (size_t i = 0; i < node->edge_count; i++)
		if (edge_meets_any(w, &node->edges[i], depth))
			meet(w, node->edges[i].to, depth + 1);
}

/* The nodes below one, when it goes on with <text>. */
static void
meet_some(const struct walk *w, const struct topic_node *node, struct span text,
    unsigned depth)
{
	const struct topic_edge *edge = text_edge(node, text);

	if (edge != NULL)
		meet(w, edge->to, depth + 1);
	edge = node->edges + node->texts;
	while ((edge = next_edge(node, edge, text)) != NULL) {
		if (edge_fits(w, edge, text, depth))
			meet(w, edge->to, depth + 1);
		edge++;
	}
}

static void
meet(const struct walk *w, const struct topic_node *node, unsigned depth)
{
	const struct topic_split *filter = w->split;
	bool ends = depth >= filter->count;
	bool is_open = filter->is_open && depth + 1 >= filter->count;

	if (ends || is_open)
		tell(w, node->ends, node->end_count);
	if (!hides(w, depth))
		tell(w, node->rest, node->rest_count);
	if (is_open || (!ends && span_eq(filter->level[depth], SPAN_OF("+"))))
		meet_all(w, node, depth);
	else if (!ends)
		meet_some(w, node, filter->level[depth], depth);
}

void
topic_index_meet(const struct topic_index *index,
    const struct topic_names *names, const struct topic_split *filter,
    void (*met)(void *arg, const struct topic_rule *rule), void *arg)
{
	const struct walk w = {names, filter, met, arg};

	meet(&w, index->nodes, 0);
}
