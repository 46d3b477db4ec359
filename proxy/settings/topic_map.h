/*
 * topic_map: rules that map the topics of a device on the LAN to topics of the
 * cloud and back, since the platform only takes topics of its own form.
 *
 * A map is compiled once, immutable then, for any number of threads and all
 * devices of a product: what the variables stand for is given at each look-up.
 * Look-ups do not allocate; what they cost hardly grows with the rules.
 *
 * Of several rules that fit, the most specific decides alone (topic_index.h):
 * when it cannot write the topic, since without escaping the cloud does not
 * take what a capture stands for, the name is unmapped.
 *
 * What a rule for both ways maps comes back as it was, and what has come down
 * never goes up as something else. Where a more specific rule stands in the way
 * of that, the less specific one does not fit: with a/+ <-> /x/$1 and a/7 <->
 * /y, the topic /x/7 of the cloud is unmapped, as it would go back to /y.
 */
#ifndef PROXY_SETTINGS_TOPIC_MAP_H
#define PROXY_SETTINGS_TOPIC_MAP_H

#include "base/attr.h"
#include "base/span.h"
#include "settings/complaints.h"
#include "settings/topic_rule.h"
#include "settings/topic_side.h"
#include "settings/topic_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOPIC_RULES_MAX = 1000 };

struct topic_map;

/*
 * Of <count> rules, up to TOPIC_RULES_MAX, which need not outlive the call;
 * <path> is their file. NULL after errors, which were told to <to>, all of
 * them.
 */
NODISCARD struct topic_map *topic_map_compile(const struct topic_spec *specs,
    size_t count, const char *path, struct complaints *to);
void topic_map_free(struct topic_map *map); /* NULL is fine */

/* The rules as they stand in the file, *count of them, in the order they were
   given. The map's own. */
const struct topic_spec *topic_map_specs(
    const struct topic_map *map, size_t *count);

/* A number for the rules, never 0: others have another. */
uint64_t topic_map_id(const struct topic_map *map);

/* Whether both have the same rules in the same order; where they stand does not
   count. NULL: no rules. */
NODISCARD bool topic_map_same(
    const struct topic_map *a, const struct topic_map *b);

/*
 * Writes to <out> what a topic name of the LAN is in the cloud, or the other
 * way round. Besides the limits of the platform, names of the LAN have at most
 * TOPIC_LAN_BYTES_MAX bytes. A <name> that is none (mqtt_topic_name_flaw()), or
 * a device whose names cannot stand in a topic, is unmapped.
 */
NODISCARD enum topic_result topic_map_up(const struct topic_map *map,
    const struct topic_names *names, struct span name, struct topic_text *out);
NODISCARD enum topic_result topic_map_down(const struct topic_map *map,
    const struct topic_names *names, struct span name, struct topic_text *out);

/* The rule that decides about a name of the LAN, or of the cloud, whether it
   can map it or not; NULL: none fits. */
const struct topic_spec *topic_map_rule_up(const struct topic_map *map,
    const struct topic_names *names, struct span name);
const struct topic_spec *topic_map_rule_down(const struct topic_map *map,
    const struct topic_names *names, struct span name);

/* What has become of a filter. */
struct topic_filters {
	size_t count;    /* filters that were told */
	size_t too_long; /* rules left out, as no topic can be that long */
	bool wider;      /* they may cover more than the one of the LAN */
};

/*
 * Tells <found> of the cloud's filters for what <filter> of the LAN asks for:
 * of each rule for the way down that has a topic in common with it, no two of
 * them alike, each with the "$share/NAME/" of <filter> before it. When they are
 * wider, what comes down has to be mapped and then compared with <filter>, by
 * mqtt_topic_matches(). What no rule maps down is the caller's affair. <filter>
 * is without a flaw (mqtt_topic_filter_flaw()); one that is not meets no rule.
 *
 * This takes time for every rule that is met, below a microsecond each: who
 * takes filters from devices bounds how many of them are mapped in one go.
 */
struct topic_filters topic_map_filter_up(const struct topic_map *map,
    const struct topic_names *names, struct span filter,
    void (*found)(void *arg, struct span filter), void *arg);

#endif
