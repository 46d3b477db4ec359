#include "codec/mqtt_topic.h"

#include "guard.h"
#include "random_packet.h"
#include "unit.h"

#include <string.h>

static const struct {
	const char *filter, *name;
	bool matches;
} rows[] = {
    /* 4.7.1.1 */
    {"a", "a", true},
    {"a", "b", false},
    {"a", "A", false},
    {"a", "a/", false},
    {"a/", "a", false},
    {"/a", "a", false},
    {"a/b", "a/b", true},
    {"a/b", "a/b/c", false},
    {"a/b", "a", false},
    {"a//b", "a//b", true},
    {"a//b", "a/b", false},
    {"/", "/", true},
    {"ACCOUNTS", "Accounts", false},
    {"Accounts payable", "Accounts payable", true},
    /* 4.7.1.2 */
    {"sport/tennis/player1/#", "sport/tennis/player1", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
    {"sport/tennis/player1/#", "sport/tennis/player2", false},
    {"sport/tennis/player1/#", "sport/tennis/player11", false},
    {"sport/tennis/player1/#", "sport/tennis", false},
    {"sport/#", "sport", true},
    {"sport/#", "sport/", true},
    {"#", "a", true},
    {"#", "/", true},
    {"#", "a/b/c", true},
    {"/#", "/", true},
    {"/#", "a", false},
    {"/#", "/a/b", true},
    /* 4.7.1.3 */
    {"sport/tennis/+", "sport/tennis/player1", true},
    {"sport/tennis/+", "sport/tennis/player1/ranking", false},
    {"sport/+", "sport", false},
    {"sport/+", "sport/", true},
    {"+", "a", true},
    {"+", "/a", false},
    {"+/+", "/finance", true},
    {"/+", "/finance", true},
    {"+", "/finance", false},
    {"+/tennis/#", "sport/tennis", true},
    {"sport/+/player1", "sport/tennis/player1", true},
    {"sport/+/player1", "sport//player1", true},
    {"sport/+/player1", "sport/a/b/player1", false},
    {"+/+/#", "a", false},
    {"+/+/#", "a/b", true},
    /* 4.7.2 */
    {"#", "$SYS", false},
    {"#", "$SYS/a", false},
    {"+", "$SYS", false},
    {"+/monitor/Clients", "$SYS/monitor/Clients", false},
    {"$SYS/#", "$SYS/monitor", true},
    {"$SYS/#", "$SYS", true},
    {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
    {"a/+", "a/$b", true},
    {"a/#", "a/$b", true},
    {"/+", "/$SYS", true},
    {"$SYS", "$SYS", true},
    /* 4.8.2 */
    {"$share/g/a", "a", true},
    {"$share/g/a", "$share/g/a", false},
    {"$share/g/+", "a", true},
    {"$share/g/+", "$SYS", false},
    {"$share/g/#", "$SYS/a", false},
    {"$share/g/$SYS/#", "$SYS/a", true},
    {"$share/g//a", "/a", true},
    {"$share/g//a", "a", false},
    {"$share/other/sport/#", "sport/tennis", true},
    /* no shared filter */
    {"$share/g", "$share/g", true},
    {"$share//a", "a", false},
    {"$share/g/", "$share/g/", true},
    {"$shared/g/a", "$shared/g/a", true},
    {"$sharex", "a", false},
    /* neither name nor filter may be empty (MQTT-4.7.3-1) */
    {"", "", false},
    {"#", "", false},
    {"", "a", false},
};

static void
test_matches(void **state)
{
	struct guard g = {0}, h = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		if (mqtt_topic_matches(
			guard_copy(&g, span_of_string(rows[i].filter)),
			guard_copy(&h, span_of_string(rows[i].name))) !=
		    rows[i].matches)
			fail_msg("%s, %s", rows[i].filter, rows[i].name);
	guard_free(&g);
	guard_free(&h);
}

static void
test_share(void **state)
{
	static const struct {
		const char *filter;
		size_t share;
	} shares[] = {
	    {"$share/g/a", 9},
	    {"$share/g/#", 9},
	    {"$share/g//", 9},
	    {"$share/group 1/a/b", 15},
	    {"$share/g/", 0},
	    {"$share/g", 0},
	    {"$share//a", 0},
	    {"$share/", 0},
	    {"$share", 0},
	    {"$share/g+/a", 0},
	    {"$share/#/a", 0},
	    {"share/g/a", 0},
	    {"$SHARE/g/a", 0},
	    {"", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(shares); i++) {
		struct span filter = span_of_string(shares[i].filter);

		assert_int_equal(
		    mqtt_topic_share_bytes(filter), shares[i].share);
		/* both functions know the same shared filters */
		if (mqtt_topic_filter_is_shared(filter, 5))
			assert_int_equal(shares[i].share > 0,
			    mqtt_topic_filter_flaw(filter, 5) == NULL);
	}
}

/* A filter made out of a name, by wildcards for some levels, matches it; after
   one letter has changed it does not, unless a wildcard stood there. */
static void
test_wildcards_for_any_level(void **state)
{
	struct guard g = {0};

	(void)state;
	random_seed = 1;
	for (unsigned n = 0; n < 20000; n++) {
		uint8_t name[40], filter[80];
		size_t size = 1 + below(sizeof(name)), m = 0, at = 0;
		size_t changed = below((unsigned)size);
		bool covered = false;

		for (size_t i = 0; i < size; i++)
			name[i] = (uint8_t) "ab/"[below(3)];
		while (at < size) {
			size_t end = at;
			bool wild = below(3) == 0;

			while (end < size && name[end] != '/')
				end++;
			if (wild && below(4) == 0) {
				filter[m++] = '#';
				covered |= changed >= at;
				at = size;
				break;
			}
			if (wild) {
				filter[m++] = '+';
				covered |= changed >= at && changed < end;
			} else {
				memcpy(filter + m, name + at, end - at);
				m += end - at;
			}
			if (end < size)
				filter[m++] = '/';
			at = end + 1;
		}
		assert_true(
		    mqtt_topic_matches(guard_copy(&g, (struct span){filter, m}),
			(struct span){name, size}));
		if (name[changed] == '/')
			continue;
		name[changed] = 'c';
		assert_int_equal(mqtt_topic_matches((struct span){filter, m},
				     (struct span){name, size}),
		    covered);
	}
	guard_free(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_matches),
	    cmocka_unit_test(test_share),
	    cmocka_unit_test(test_wildcards_for_any_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
