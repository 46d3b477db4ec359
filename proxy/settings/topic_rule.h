/*
 * topic_rule: one rule that maps topics of the LAN to topics of the cloud, or
 * back, or both: read, checked by itself, and carried out. Whether a rule fits
 * a name is found out by an index (topic_index.h). Read once, immutable then.
 */
#ifndef PROXY_SETTINGS_TOPIC_RULE_H
#define PROXY_SETTINGS_TOPIC_RULE_H

#include "base/attr.h"
#include "base/span.h"
#include "settings/complaints.h"
#include "settings/topic_side.h"
#include "settings/topic_text.h"

#include <stdbool.h>
#include <stddef.h>

enum topic_way { TOPIC_BOTH, TOPIC_UP, TOPIC_DOWN };

/* A rule as it stands in the file. */
struct topic_spec {
	const char *key; /* of its lines, for messages: "topic.1" */
	int line;
	const char *lan;
	const char *cloud;
	enum topic_way way;
	bool escape; /* what a capture stands for, see topic_text.h */
};

/* Not to be copied or moved. */
struct topic_rule {
	struct topic_side lan, cloud;
	enum topic_way way;
	bool escape;
	/* where a capture is on each side; -1: nowhere */
	int lan_at[TOPIC_CAPTURES_MAX + 1];
	int cloud_at[TOPIC_CAPTURES_MAX + 1];
	/* another rule is more specific for some of the names */
	bool lan_shadowed;   /* and maps them up */
	bool cloud_shadowed; /* and maps them down */
};

static inline bool
topic_rule_goes_up(const struct topic_rule *rule)
{
	return rule->way != TOPIC_DOWN;
}

static inline bool
topic_rule_goes_down(const struct topic_rule *rule)
{
	return rule->way != TOPIC_UP;
}

/* Reads <spec>, which need not outlive the call; false after complaints. */
NODISCARD bool topic_rule_read(struct topic_rule *rule,
    const struct topic_spec *spec, const char *path, struct complaints *to);

/* A name or filter, taken apart. */
struct topic_split {
	unsigned count;
	bool is_open; /* its last level is '#' */
	/* the last one is all that remains, when there are too many */
	struct span level[TOPIC_LEVELS_MAX + 1];
};

/* <text> must outlive <split>; it is not empty. */
void topic_split(struct topic_split *split, struct span text);

/*
 * Adds to <t> the topic of the cloud for a name of the LAN that fits, or the
 * filter that covers what a filter of the LAN has in common with the rule.
 * <wider>, which may be NULL, is set when the filter covers more than that.
 */
void topic_rule_write_cloud(const struct topic_rule *rule,
    const struct topic_names *names, const struct topic_split *lan,
    struct topic_text *t, bool *wider);

/* Adds to <t> the topic of the LAN for a name of the cloud that fits. */
void topic_rule_write_lan(const struct topic_rule *rule,
    const struct topic_names *names, const struct topic_split *cloud,
    struct topic_text *t);

#endif
