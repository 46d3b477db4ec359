/*
 * topics: topic maps for unit tests, one device that they are asked for, and
 * what was complained of.
 */
#ifndef TESTS_UNIT_TOPICS_H
#define TESTS_UNIT_TOPICS_H

#include "settings/topic_map.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

static const struct topic_names names = {
    .pk = SPAN_OF("a1Bc"),
    .dn = SPAN_OF("pump-7@x"),
    .label = SPAN_OF("pump7"),
    .client_id = SPAN_OF("c_7"),
};

/* What was complained of, the last of it. */
static char told[600];
static int told_line;

static inline void
tell(void *arg, bool is_error, const char *path, int line, const char *text)
{
	(void)arg;
	assert_true(is_error);
	assert_string_equal(path, "devices.ini");
	(void)snprintf(told, sizeof(told), "%s", text);
	told_line = line;
}

static inline struct topic_map *
try_compile(const struct topic_spec *specs, size_t count, unsigned *errors)
{
	struct complaints to = {.tell = tell};
	struct topic_map *map;

	told[0] = '\0';
	told_line = -1;
	map = topic_map_compile(specs, count, "devices.ini", &to);
	assert_true((map == NULL) == (to.errors > 0));
	if (errors != NULL)
		*errors = to.errors;
	return map;
}

static inline struct topic_map *
compile(const struct topic_spec *specs, size_t count)
{
	struct topic_map *map = try_compile(specs, count, NULL);

	if (map == NULL)
		fail_msg("line %d: %s", told_line, told);
	return map;
}

/* A rule in a table of a test. */
#define RULE(lan_, cloud_, way_, escape_)                                      \
	{                                                                      \
		.key = "topic.1", .line = 10, .lan = (lan_),                   \
		.cloud = (cloud_), .way = (way_), .escape = (escape_)          \
	}

#define OWN "/${pk}/${dn}/user/"
#define REAL "/a1Bc/pump-7@x/user/"

#endif
