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
#include <stdint.h>

/*
 * What is wrong with a topic at <level>, to be said of it: "is empty
 * (MQTT-4.7.3-1)". NULL: nothing is.
 */
NODISCARD const char *mqtt_topic_name_flaw(struct span s, uint8_t level);
NODISCARD const char *mqtt_topic_filter_flaw(struct span s, uint8_t level);

/* True for "$share/...", which only level 5 knows. */
NODISCARD bool mqtt_topic_filter_is_shared(struct span s, uint8_t level);

#endif
