/*
 * mqtt_topic: the rules about topic names and topic filters (4.7, 4.8.2). Pure.
 *
 * At level 3 a topic need not be UTF-8, which nobody checked in those days;
 * the rest is in MQTT 3.1 too (3.3, appendix A).
 */
#ifndef PROXY_CODEC_MQTT_TOPIC_H
#define PROXY_CODEC_MQTT_TOPIC_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What is wrong with a topic at <level>, to be said of it: "is empty
 * (MQTT-4.7.3-1)". NULL: nothing is.
 */
NODISCARD const char *mqtt_topic_name_flaw(struct span s, uint8_t level);
NODISCARD const char *mqtt_topic_filter_flaw(struct span s, uint8_t level);

/* True for "$share/...", which only level 5 knows. */
NODISCARD bool mqtt_topic_filter_is_shared(struct span s, uint8_t level);

/* The bytes of "$share/NAME/" before the filter proper; 0: <filter> is not
   $share/NAME/FILTER. For level 5: below it this is a topic like any other. */
NODISCARD size_t mqtt_topic_share_bytes(struct span filter);

/* Takes the first level off a name or filter, and the slash behind it. The last
   one leaves a span with a NULL pointer; before that there is none. */
struct span mqtt_topic_take_level(struct span *rest);

/*
 * Whether <name> is one of those that <filter> asks for (4.7): '+' is any one
 * level, '#' all levels from there on and the level above; neither matches a
 * '$' at the begin; "$share/NAME/" before a filter does not count. Both are
 * without a flaw (see above); of others the answer means nothing, but is given.
 */
NODISCARD bool mqtt_topic_matches(struct span filter, struct span name);

#endif
