/*
 * Topics written by a rule that fits.
 */
#include "codec/mqtt_topic.h"
#include "settings/topic_rule.h"

static bool
is_wildcard(struct span level)
{
	return level.n == 1 && (level.p[0] == '+' || level.p[0] == '#');
}

void
topic_split(struct topic_split *split, struct span text)
{
	struct span rest = text;

	split->count = 0;
	while (rest.p != NULL && split->count < TOPIC_LEVELS_MAX)
		split->level[split->count++] = mqtt_topic_take_level(&rest);
	if (rest.p != NULL)
		split->level[split->count++] = rest;
	split->is_open = span_eq(split->level[split->count - 1], SPAN_OF("#"));
}

/* Level <i> and all behind it, as one text; <i> is below the count. */
static struct span
rest_from(const struct topic_split *split, unsigned i)
{
	const struct span *last = &split->level[split->count - 1];
	const uint8_t *begin = split->level[i].p;

	return (struct span){begin, (size_t)(last->p + last->n - begin)};
}

/* True when '#' stands for level <i>, and maybe for others before it. */
static bool
is_covered(const struct topic_split *split, unsigned i)
{
	return split->is_open && i + 1 >= split->count;
}

/* A level of a name of the cloud has a byte at least. */
static void
end_level(struct topic_text *t, size_t begin)
{
	if (t->result == TOPIC_MAPPED && t->n == begin)
		topic_text_unfit(t);
}

/* What the LAN has from level <i> on. */
static void
write_cloud_rest(const struct topic_rule *rule, const struct topic_split *lan,
    unsigned i, struct topic_text *t)
{
	struct span rest, level;
	size_t begin;

	if (!topic_side_has_rest(&rule->lan) || is_covered(lan, i)) {
		topic_text_put_open(t);
		return;
	}
	if (i >= lan->count)
		return;
	rest = rest_from(lan, i);
	while (rest.p != NULL) {
		level = mqtt_topic_take_level(&rest);
		if (span_eq(level, SPAN_OF("#"))) {
			topic_text_put_open(t);
			return;
		}
		topic_text_put(t, SPAN_OF("/"));
		begin = t->n;
		if (is_wildcard(level))
			topic_text_put(t, level);
		else
			topic_text_put_escaped(t, level, rule->escape);
		end_level(t, begin);
	}
}

/* Whether the capture may be any level at all. */
static bool
is_any(const struct topic_rule *rule, const struct topic_level *level,
    const struct topic_split *lan)
{
	int at = rule->lan_at[level->capture];

	return at < 0 || is_covered(lan, (unsigned)at) ||
	       is_wildcard(lan->level[at]);
}

static void
write_cloud_level(const struct topic_rule *rule,
    const struct topic_level *level, const struct topic_names *names,
    const struct topic_split *lan, struct topic_text *t, bool *wider)
{
	if (level->capture != 0 && is_any(rule, level, lan)) {
		topic_text_put(t, SPAN_OF("+"));
		if (level->kind == TOPIC_LEVEL_PART && wider != NULL)
			*wider = true;
		return;
	}
	topic_side_put(
	    &rule->cloud, level->before, level->before_count, names, t);
	if (level->capture == 0)
		return;
	topic_text_put_escaped(
	    t, lan->level[rule->lan_at[level->capture]], rule->escape);
	topic_side_put(
	    &rule->cloud, level->behind, level->behind_count, names, t);
}

void
topic_rule_write_cloud(const struct topic_rule *rule,
    const struct topic_names *names, const struct topic_split *lan,
    struct topic_text *t, bool *wider)
{
	const struct topic_side *cloud = &rule->cloud;

	/* level 0 is the one before the first slash, and empty */
	for (unsigned i = 1; i < cloud->level_count; i++) {
		const struct topic_level *level = &cloud->level[i];
		size_t begin;

		if (level->kind == TOPIC_LEVEL_REST) {
			write_cloud_rest(
			    rule, lan, rule->lan.level_count - 1, t);
			break;
		}
		topic_text_put(t, SPAN_OF("/"));
		begin = t->n;
		write_cloud_level(rule, level, names, lan, t, wider);
		end_level(t, begin);
	}
}

/* What the cloud has from level <i> on; <begins>: nothing stands before it. */
static void
write_lan_rest(const struct topic_rule *rule, const struct topic_split *cloud,
    unsigned i, bool begins, struct topic_text *t)
{
	struct span rest;

	if (i >= cloud->count)
		return;
	rest = rest_from(cloud, i);
	while (rest.p != NULL) {
		if (!begins)
			topic_text_put(t, SPAN_OF("/"));
		begins = false;
		topic_text_put_unescaped(
		    t, mqtt_topic_take_level(&rest), rule->escape);
	}
}

static void
write_lan_level(const struct topic_rule *rule, const struct topic_level *level,
    const struct topic_names *names, const struct topic_split *cloud,
    struct topic_text *t)
{
	int at = rule->cloud_at[level->capture];
	struct span capture;

	if (level->capture == 0) {
		topic_side_put(
		    &rule->lan, level->before, level->before_count, names, t);
		return;
	}
	if (topic_side_fits(&rule->cloud, &rule->cloud.level[at], names,
		cloud->level[at], &capture))
		topic_text_put_unescaped(t, capture, rule->escape);
	else
		topic_text_unfit(t);
}

void
topic_rule_write_lan(const struct topic_rule *rule,
    const struct topic_names *names, const struct topic_split *cloud,
    struct topic_text *t)
{
	const struct topic_side *lan = &rule->lan;

	for (unsigned i = 0; i < lan->level_count; i++) {
		const struct topic_level *level = &lan->level[i];

		if (level->kind == TOPIC_LEVEL_REST) {
			write_lan_rest(rule, cloud, rule->cloud.level_count - 1,
			    i == 0, t);
			break;
		}
		if (i > 0)
			topic_text_put(t, SPAN_OF("/"));
		write_lan_level(rule, level, names, cloud, t);
	}
	/* no name is empty (MQTT-4.7.3-1), and on the way up a wildcard would
	   not fit a '$' (MQTT-4.7.2-1) */
	if (t->result == TOPIC_MAPPED &&
	    (t->n == 0 ||
		(t->p[0] == '$' && lan->level[0].kind >= TOPIC_LEVEL_ONE)))
		topic_text_unfit(t);
}
