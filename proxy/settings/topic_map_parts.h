/*
 * topic_map_parts: what a topic map is made of, for the files that compile it
 * and that look things up in it. Nobody else's.
 */
#ifndef PROXY_SETTINGS_TOPIC_MAP_PARTS_H
#define PROXY_SETTINGS_TOPIC_MAP_PARTS_H

#include "settings/topic_index.h"
#include "settings/topic_map.h"

struct topic_map {
	struct topic_rule *rules;
	struct topic_spec *specs; /* of each, in one block with its texts */
	size_t count;
	uint64_t id;                  /* see topic_map_id() */
	struct topic_index *up;       /* LAN sides of what goes up */
	struct topic_index *down;     /* cloud sides of what goes down */
	struct topic_index *asked_of; /* LAN sides of what goes down */
};

#endif
