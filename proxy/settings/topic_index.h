/*
 * topic_index: one side of many rules as a tree of levels, so that looking a
 * topic up costs about the same whether there is one rule or a thousand.
 * Immutable once built, for any number of threads; borrows the rules.
 */
#ifndef PROXY_SETTINGS_TOPIC_INDEX_H
#define PROXY_SETTINGS_TOPIC_INDEX_H

#include "base/attr.h"
#include "settings/topic_rule.h"

#include <stdbool.h>
#include <stddef.h>

struct topic_index;

/* Of those rules for which <wants> says so. NULL without memory. */
NODISCARD struct topic_index *topic_index_new(const struct topic_rule *rules,
    size_t count, bool is_cloud, bool (*wants)(const struct topic_rule *rule));
void topic_index_free(struct topic_index *index); /* NULL is fine */

/*
 * The rule that fits a name, or NULL. When several do, the most specific one,
 * level by level: text before text with variables, before a capture with
 * something around it (the more of that, the better), before one level, before
 * the rest. No two of the index may be TOPIC_SAME on this side.
 */
const struct topic_rule *topic_index_find(const struct topic_index *index,
    const struct topic_names *names, const struct topic_split *name);

/* Tells <met> of each rule, once, whose LAN side may have a name in common with
   a filter. <index> is one of LAN sides. */
void topic_index_meet(const struct topic_index *index,
    const struct topic_names *names, const struct topic_split *filter,
    void (*met)(void *arg, const struct topic_rule *rule), void *arg);

#endif
