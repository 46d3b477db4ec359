#include "settings/topic_map.h"

#include "codec/mqtt_topic.h"

#include "guard.h"
#include "random_packet.h"
#include "topics.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* Rules of all forms, each for itself. */
static const struct topic_spec forms[] = {
    RULE("state", OWN "state", TOPIC_BOTH, false),
    RULE("plant/+/state", OWN "state/$1", TOPIC_BOTH, false),
    RULE("plant/+/state", OWN "state/$1", TOPIC_BOTH, true),
    RULE("plant/+/state", OWN "$1/state", TOPIC_BOTH, true),
    RULE("plant/+/state", OWN "state_$1", TOPIC_BOTH, false),
    RULE("plant/+/state", OWN "state_$1", TOPIC_BOTH, true),
    RULE("plant/+/state", OWN "$1_state", TOPIC_BOTH, true),
    RULE("plant/+/state", OWN "a_$1_b/x", TOPIC_BOTH, true),
    RULE("plant/+/state", OWN "_$1_", TOPIC_BOTH, true),
    RULE("plant/+/state", OWN "_$1_", TOPIC_BOTH, false),
    RULE("+", OWN "$1", TOPIC_BOTH, false),
    RULE("+", OWN "$1", TOPIC_BOTH, true),
    RULE("+", OWN "x$1", TOPIC_BOTH, true),
    RULE("+/+", OWN "$1/$2", TOPIC_BOTH, true),
    RULE("+/+", OWN "$2/$1", TOPIC_BOTH, true),
    RULE("+/+", OWN "$2/$1", TOPIC_BOTH, false),
    RULE("+/+", OWN "b$2/a$1", TOPIC_BOTH, true),
    RULE("+/a/+", OWN "$2/$1/a", TOPIC_BOTH, true),
    RULE("+/+/+", OWN "$3/$1/$2", TOPIC_BOTH, true),
    RULE("/+/+/+", OWN "$3_x/$1/y_$2", TOPIC_BOTH, true),
    RULE("/+/", OWN "$1", TOPIC_BOTH, true),
    RULE("//+", OWN "$1", TOPIC_BOTH, false),
    RULE("#", OWN "$#", TOPIC_BOTH, false),
    RULE("#", OWN "$#", TOPIC_BOTH, true),
    RULE("#", "/x/$#", TOPIC_BOTH, true),
    RULE("plant/#", OWN "p/$#", TOPIC_BOTH, false),
    RULE("plant/#", OWN "p/$#", TOPIC_BOTH, true),
    RULE("plant/+/#", OWN "$1/$#", TOPIC_BOTH, true),
    RULE("plant/+/#", OWN "z$1/$#", TOPIC_BOTH, true),
    RULE("+/+/#", "/${pk}/${dn}/$2/$1/$#", TOPIC_BOTH, true),
    RULE("+/+/#", "/${pk}/${dn}/$2/a$1b/$#", TOPIC_BOTH, false),
    RULE("/#", OWN "$#", TOPIC_BOTH, true),
    RULE("${label}/+", OWN "$1", TOPIC_BOTH, true),
    RULE("${client_id}/+", OWN "$1", TOPIC_BOTH, true),
    RULE("dev_${dn}/+/s", OWN "$1", TOPIC_BOTH, true),
    RULE("${pk}/${dn}/#", OWN "all/$#", TOPIC_BOTH, true),
    RULE("x${pk}-${dn}y/+", OWN "$1", TOPIC_BOTH, false),
    RULE("+/state", OWN "${label}/$1", TOPIC_BOTH, true),
    RULE("+/state", OWN "${label}_$1", TOPIC_BOTH, true),
    RULE("+/state", OWN "$1_${client_id}", TOPIC_BOTH, true),
    RULE("+/state", OWN "${label}_$1_${client_id}", TOPIC_BOTH, false),
    RULE("+/state", OWN "${label}$1${client_id}/x", TOPIC_BOTH, true),
    RULE("$SYS/+", OWN "sys/$1", TOPIC_BOTH, true),
    RULE("$SYS/#", OWN "sys/$#", TOPIC_BOTH, true),
    RULE("a b/\xe6\xb8\xa9/+", OWN "$1", TOPIC_BOTH, true),
    RULE("a$/$b/+", OWN "$1", TOPIC_BOTH, true),
    RULE("+/+/+/+", "/$1/$2/$3/$4", TOPIC_BOTH, true),
    RULE("+/+/+/+/+/+/+", "/$7/$6/$5/$4/$3/$2/$1", TOPIC_BOTH, true),
};

/* A level as devices have them; <plain>: one that the cloud takes. */
static void
add_level(struct bytes *b, bool plain)
{
	static const struct span some[] = {SPAN_OF("a"), SPAN_OF("Z"),
	    SPAN_OF("0"), SPAN_OF("F"), SPAN_OF("_"), SPAN_OF("x"),
	    SPAN_OF("-"), SPAN_OF("$"), SPAN_OF(" "), SPAN_OF("\x7f"),
	    SPAN_OF("\xc2\x80"), SPAN_OF("\xe6\xb8\xa9"),
	    SPAN_OF("\xf4\x8f\xbf\xbf")};

	for (unsigned n = plain + below(4); n > 0; n--)
		add(b, some[below(plain ? 6 : ARRAY_LENGTH(some))]);
}

static struct span
span_of(const struct bytes *b)
{
	return (struct span){b->p, b->n};
}

static void
add_levels(struct bytes *b, unsigned least, bool plain)
{
	for (unsigned n = least + below(4); n > 0; n--) {
		add_level(b, plain);
		if (n > 1)
			add(b, SPAN_OF("/"));
	}
}

static bool
take_variable(struct span *text, struct span *value)
{
	static const struct {
		struct span text, value;
	} all[] = {{SPAN_OF("${pk}"), SPAN_OF("a1Bc")},
	    {SPAN_OF("${dn}"), SPAN_OF("pump-7@x")},
	    {SPAN_OF("${label}"), SPAN_OF("pump7")},
	    {SPAN_OF("${client_id}"), SPAN_OF("c_7")}};
	struct span taken;

	for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
		if (text->n < all[i].text.n ||
		    memcmp(text->p, all[i].text.p, all[i].text.n) != 0)
			continue;
		*value = all[i].value;
		return span_take(text, all[i].text.n, &taken);
	}
	return false;
}

/* A LAN side with the variables' values in it. */
static void
add_filled(struct bytes *b, const char *lan)
{
	struct span rest = span_of_string(lan), value;

	while (rest.n > 0)
		if (take_variable(&rest, &value) || span_take(&rest, 1, &value))
			add(b, value);
}

/* A name that fits a LAN side. */
static void
add_name(struct bytes *b, const char *lan, bool plain)
{
	struct bytes filled;

	filled.n = 0;
	add_filled(&filled, lan);
	for (size_t i = 0; i < filled.n; i++) {
		if (filled.p[i] == '+') {
			add_level(b, plain);
		} else if (filled.p[i] == '#') {
			if (b->n > 0 && below(4) == 0)
				b->n--; /* the level above */
			else
				add_levels(b, 1, plain);
		} else {
			add(b, (struct span){&filled.p[i], 1});
		}
	}
}

static void
assert_cloud_takes(const struct topic_text *t)
{
	unsigned slashes = 0;

	assert_true(t->n > 1 && t->n <= 128);
	for (size_t i = 0; i < t->n; i++) {
		slashes += t->p[i] == '/';
		assert_non_null(strchr("abcdefghijklmnopqrstuvwxyz"
				       "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789_/-@",
		    t->p[i]));
	}
	assert_true(slashes <= 7);
	assert_true(t->p[0] == '/' && t->p[t->n - 1] != '/');
}

/* What a name of the LAN becomes, which must come back. */
static enum topic_result
go_up(const struct topic_map *map, struct span name, bool comes_back)
{
	struct topic_text cloud, lan;
	enum topic_result result = topic_map_up(map, &names, name, &cloud);

	assert_int_equal(result, cloud.result);
	assert_int_equal(result == TOPIC_TOO_LONG, cloud.limit != NULL);
	if (result != TOPIC_MAPPED)
		return result;
	assert_cloud_takes(&cloud);
	if (!comes_back)
		return result;
	assert_int_equal(
	    topic_map_down(map, &names, topic_text_span(&cloud), &lan),
	    TOPIC_MAPPED);
	assert_span_equal(topic_text_span(&lan), name);
	return result;
}

/* What a name of the cloud becomes, which may not go up as another one. */
static enum topic_result
go_down(const struct topic_map *map, struct span name)
{
	struct topic_text cloud, lan;
	enum topic_result result = topic_map_down(map, &names, name, &lan);

	assert_int_equal(result, lan.result);
	if (result != TOPIC_MAPPED)
		return result;
	assert_null(mqtt_topic_name_flaw(topic_text_span(&lan), 4));
	if (topic_map_up(map, &names, topic_text_span(&lan), &cloud) ==
	    TOPIC_MAPPED)
		assert_span_equal(topic_text_span(&cloud), name);
	return result;
}

/* Something near a name: one byte is another, or comes, or goes. */
static struct span
near(struct guard *g, struct span name)
{
	static const char bytes[] = "aF0_-/$ /__25D\xc3";
	uint8_t changed[300];
	size_t at = below((unsigned)name.n), n = name.n;
	uint8_t c = (uint8_t)bytes[below(sizeof(bytes) - 1)];

	memcpy(changed, name.p, n);
	switch (below(3)) {
	case 0:
		changed[at] = c;
		break;
	case 1:
		memmove(changed + at + 1, changed + at, n - at);
		changed[at] = c;
		n++;
		break;
	default:
		memmove(changed + at, changed + at + 1, n - at - 1);
		n--;
	}
	return guard_copy(g, (struct span){changed, n});
}

static void
test_forms_round_trip(void **state)
{
	struct guard g = {0}, h = {0};
	struct topic_text cloud;
	struct bytes b;

	(void)state;
	random_seed = 7;
	assert_true(ARRAY_LENGTH(forms) >= 40);
	for (size_t i = 0; i < ARRAY_LENGTH(forms); i++) {
		struct topic_map *map = compile(&forms[i], 1);
		unsigned mapped = 0, back = 0;

		for (unsigned n = 0; n < 500; n++) {
			struct span name;
			bool plain = !forms[i].escape || below(3) == 0;

			b.n = 0;
			add_name(&b, forms[i].lan, plain);
			name = guard_copy(&g, span_of(&b));
			if (go_up(map, name, true) != TOPIC_MAPPED)
				continue;
			mapped++;
			assert_int_equal(
			    topic_map_up(map, &names, name, &cloud),
			    TOPIC_MAPPED);
			back +=
			    go_down(map, near(&h, topic_text_span(&cloud))) ==
			    TOPIC_MAPPED;
		}
		/* most fit; some are too long, or empty */
		if (mapped < 200)
			fail_msg("%s: only %u", forms[i].lan, mapped);
		assert_true(strpbrk(forms[i].lan, "+#") == NULL || back > 0);
		topic_map_free(map);
	}
	guard_free(&g);
	guard_free(&h);
}

/* Several rules at once, as a product has them. */
static const struct topic_spec plant[] = {
    RULE("plant/+/state", OWN "state/$1", TOPIC_BOTH, true),
    RULE("plant/main/state", OWN "main", TOPIC_BOTH, false),
    RULE("plant/${label}/state", OWN "own", TOPIC_BOTH, false),
    RULE("plant/#", OWN "other/$#", TOPIC_BOTH, true),
    RULE("event/+/+", "/sys/${pk}/${dn}/thing/event/$2/post", TOPIC_UP, false),
    RULE("cmd/+", "/sys/${pk}/${dn}/thing/service/$1", TOPIC_DOWN, false),
    RULE("rrpc/+", "/ext/rrpc/$1/$#", TOPIC_DOWN, false),
    RULE("in/+", OWN "in_$1", TOPIC_BOTH, false),
    RULE("in/all/+", OWN "in_all_$1", TOPIC_BOTH, false),
    RULE("$SYS/#", OWN "sys/$#", TOPIC_BOTH, false),
    RULE("t/+", OWN "t_$1", TOPIC_BOTH, false),
    RULE("u/+", OWN "t_$1_u", TOPIC_BOTH, false),
};

static struct topic_map *
compile_plant(void)
{
	return compile(plant, ARRAY_LENGTH(plant));
}

static void
test_up_and_down(void **state)
{
	static const struct {
		const char *lan, *cloud;
		bool up, down;
	} rows[] = {
	    {"plant/7/state", REAL "state/7", true, true},
	    {"plant/a-b/state", REAL "state/a_2Db", true, true},
	    {"plant//state", REAL "state/_", true, true},
	    {"plant/main/state", REAL "main", true, true},
	    {"plant/pump7/state", REAL "own", true, true},
	    {"plant/7", REAL "other/7", true, true},
	    {"plant/7/8", REAL "other/7/8", true, true},
	    {"plant/7/state/", REAL "other/7/state/_", true, true},
	    {"plant", REAL "other", true, true},
	    {"plant/", REAL "other/_", true, true},
	    {"event/x-y/boiled", "/sys/a1Bc/pump-7@x/thing/event/boiled/post",
		true, false},
	    {"cmd/stop", "/sys/a1Bc/pump-7@x/thing/service/stop", false, true},
	    {"rrpc/99", "/ext/rrpc/99/a/b", false, true},
	    {"rrpc/99", "/ext/rrpc/99", false, true},
	    {"in/x", REAL "in_x", true, true},
	    {"in/", REAL "in_", true, true},
	    {"in/all/x", REAL "in_all_x", true, true},
	    {"t/x", REAL "t_x", true, true},
	    {"u/x", REAL "t_x_u", true, true},
	    {"$SYS", REAL "sys", true, true},
	    {"$SYS/a", REAL "sys/a", true, true},
	};
	struct topic_map *map = compile_plant();
	struct topic_text t;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct span lan = span_of_string(rows[i].lan);
		struct span cloud = span_of_string(rows[i].cloud);
		enum topic_result up = topic_map_up(map, &names, lan, &t);

		if (rows[i].up != (up == TOPIC_MAPPED))
			fail_msg("up %s: %d", rows[i].lan, up);
		if (rows[i].up)
			assert_span_equal(topic_text_span(&t), cloud);
		if (rows[i].down !=
		    (topic_map_down(map, &names, cloud, &t) == TOPIC_MAPPED))
			fail_msg("down %s", rows[i].cloud);
		if (rows[i].down)
			assert_span_equal(topic_text_span(&t), lan);
	}
	topic_map_free(map);
}

static void
test_unmapped(void **state)
{
	static const struct span up[] = {SPAN_OF("plan"), SPAN_OF("plants/7"),
	    SPAN_OF("/plant"), SPAN_OF("event/a"), SPAN_OF("event/a/b/c"),
	    SPAN_OF("event/a/b-c"), SPAN_OF("event/a/"), SPAN_OF("in/a-b"),
	    SPAN_OF("in/x/y"), SPAN_OF("$SYS/a-b"), SPAN_OF("$SYS/"),
	    SPAN_OF("plant/\xff/state"), SPAN_OF(""), SPAN_OF("plant/+/state"),
	    SPAN_OF("plant/#"), SPAN_OF("plant/a\0b"),
	    /* comes back by another rule */
	    SPAN_OF("in/all_x")};
	static const struct span down[] = {SPAN_OF(REAL), SPAN_OF(REAL "x"),
	    SPAN_OF("/a1Bc/pump-8/user/main"), SPAN_OF(REAL "state/7/8"),
	    SPAN_OF(REAL "state/a-b"), SPAN_OF(REAL "state/_2d"),
	    SPAN_OF(REAL "state/"), SPAN_OF(REAL "other/"),
	    SPAN_OF(REAL "in_a-b"), SPAN_OF("/ext/rrpc"), SPAN_OF(""),
	    SPAN_OF("main"), SPAN_OF(REAL "+"), SPAN_OF(REAL "main\0"),
	    /* would go back to another topic */
	    SPAN_OF(REAL "state/main"), SPAN_OF(REAL "state/pump7"),
	    SPAN_OF(REAL "other/7/state")};
	struct topic_map *map = compile_plant();
	struct guard g = {0};
	struct topic_text t;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(up); i++)
		if (topic_map_up(map, &names, guard_copy(&g, up[i]), &t) !=
		    TOPIC_UNMAPPED)
			fail_msg("%s: %.*s", (const char *)up[i].p, (int)t.n,
			    (const char *)t.p);
	for (size_t i = 0; i < ARRAY_LENGTH(down); i++)
		if (topic_map_down(map, &names, guard_copy(&g, down[i]), &t) !=
		    TOPIC_UNMAPPED)
			fail_msg("%s: %.*s", (const char *)down[i].p, (int)t.n,
			    (const char *)t.p);
	guard_free(&g);
	topic_map_free(map);
}

/* Values that cannot stand in a topic, or not in one of the cloud. */
static void
test_names_that_do_not_fit(void **state)
{
	static const struct topic_spec specs[] = {
	    RULE("l/${client_id}/+", "/x/$1", TOPIC_BOTH, false),
	    RULE("c/+", "/y/${client_id}/$1", TOPIC_BOTH, false),
	};
	static const struct {
		struct span client_id;
		bool on_lan, on_cloud;
	} rows[] = {
	    {SPAN_OF("dev_7"), true, true},
	    {SPAN_OF("dev-7"), true, false},
	    {SPAN_OF(""), true, false},
	    {SPAN_OF("a/b"), false, false},
	    {SPAN_OF("a+"), false, false},
	    {SPAN_OF("#"), false, false},
	    {SPAN_OF("a\0"), false, false},
	};
	struct topic_map *map = compile(specs, ARRAY_LENGTH(specs));
	struct topic_names system = names;
	struct topic_text t;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct topic_names who = names;

		who.client_id = rows[i].client_id;
		assert_int_equal(topic_map_down(map, &who, SPAN_OF("/x/1"), &t),
		    rows[i].on_lan ? TOPIC_MAPPED : TOPIC_UNMAPPED);
		assert_int_equal(topic_map_up(map, &who, SPAN_OF("c/1"), &t),
		    rows[i].on_cloud ? TOPIC_MAPPED : TOPIC_UNMAPPED);
	}
	topic_map_free(map);
	map = compile(forms, 1);
	assert_int_equal(
	    topic_map_up(map, &(struct topic_names){0}, SPAN_OF("state"), &t),
	    TOPIC_UNMAPPED);
	assert_int_equal(topic_map_down(map, &(struct topic_names){0},
			     SPAN_OF("/x/y/user/state"), &t),
	    TOPIC_UNMAPPED);
	topic_map_free(map);
	/* no ProductKey, but what the platform's own topics begin with */
	system.pk = SPAN_OF("sys");
	map = compile(forms, 1);
	assert_int_equal(
	    topic_map_up(map, &names, SPAN_OF("state"), &t), TOPIC_MAPPED);
	assert_int_equal(
	    topic_map_up(map, &system, SPAN_OF("state"), &t), TOPIC_UNMAPPED);
	topic_map_free(map);
}

static void
test_limits(void **state)
{
	static const struct topic_spec specs[] = {
	    RULE("a/#", "/x/$#", TOPIC_BOTH, true),
	    RULE("b/${client_id}/+", "/y/$1", TOPIC_BOTH, true),
	};
	struct topic_map *map = compile(specs, ARRAY_LENGTH(specs));
	struct topic_names who = names;
	uint8_t long_id[300], name[200] = "a/";
	struct topic_text t;

	(void)state;
	memset(name + 2, 'z', sizeof(name) - 2);
	/* "/x/" and 125 bytes */
	assert_int_equal(topic_map_up(map, &who, (struct span){name, 127}, &t),
	    TOPIC_MAPPED);
	assert_int_equal(t.n, 128);
	assert_int_equal(topic_map_up(map, &who, (struct span){name, 128}, &t),
	    TOPIC_TOO_LONG);
	assert_string_equal(t.limit, "at most 128 bytes");
	assert_int_equal(topic_map_up(map, &who, SPAN_OF("a/1/2/3/4/5/6"), &t),
	    TOPIC_MAPPED);
	assert_int_equal(
	    topic_map_up(map, &who, SPAN_OF("a/1/2/3/4/5/6/7"), &t),
	    TOPIC_TOO_LONG);
	assert_string_equal(t.limit, "at most 7 slashes");
	/* what no escaping helps is unmapped, however long */
	assert_int_equal(
	    topic_map_up(map, &who, SPAN_OF("a/1/2/3/4/5/6/7/\xff"), &t),
	    TOPIC_UNMAPPED);
	assert_null(t.limit);
	/* "b/" and "/1" */
	memset(long_id, 'i', sizeof(long_id));
	who.client_id = (struct span){long_id, 252};
	assert_int_equal(
	    topic_map_down(map, &who, SPAN_OF("/y/1"), &t), TOPIC_MAPPED);
	assert_int_equal(t.n, 256);
	who.client_id.n = 253;
	assert_int_equal(
	    topic_map_down(map, &who, SPAN_OF("/y/1"), &t), TOPIC_TOO_LONG);
	assert_string_equal(t.limit, "at most 256 bytes");
	topic_map_free(map);
}

/* Any bytes at all, and names with levels without end. */
static void
test_hostile_names(void **state)
{
	struct topic_map *map = compile_plant();
	static uint8_t slashes[65535];
	struct guard g = {0};
	struct topic_text t;

	(void)state;
	random_seed = 11;
	memset(slashes, '/', sizeof(slashes));
	assert_int_equal(topic_map_up(map, &names,
			     (struct span){slashes, sizeof(slashes)}, &t),
	    TOPIC_UNMAPPED);
	memcpy(slashes, "plant", 5);
	assert_int_equal(topic_map_up(map, &names,
			     (struct span){slashes, sizeof(slashes)}, &t),
	    TOPIC_TOO_LONG);
	assert_int_equal(topic_map_down(map, &names,
			     (struct span){slashes, sizeof(slashes)}, &t),
	    TOPIC_UNMAPPED);
	for (unsigned n = 0; n < 20000; n++) {
		static const struct span heads[] = {SPAN_OF(""),
		    SPAN_OF("plant/"), SPAN_OF("in/"), SPAN_OF(REAL),
		    SPAN_OF(REAL "state/"), SPAN_OF(REAL "other/")};
		struct bytes b;
		struct span name;

		b.n = 0;
		add(&b, heads[below(ARRAY_LENGTH(heads))]);
		add_random(&b, below(20));
		name = guard_copy(&g, span_of(&b));
		(void)go_up(map, name, true);
		(void)go_down(map, name);
	}
	guard_free(&g);
	topic_map_free(map);
}

/* What has been told by topic_map_filter_up(). */
struct asked {
	struct topic_filters result;
	size_t count;
	struct bytes filter[64];
};

static void
found(void *arg, struct span filter)
{
	struct asked *a = arg;
	struct bytes *b = &a->filter[a->count++];

	assert_true(a->count <= ARRAY_LENGTH(a->filter));
	assert_null(mqtt_topic_filter_flaw(filter, 5));
	for (size_t i = 0; i + 1 < a->count; i++)
		assert_false(span_eq(span_of(&a->filter[i]), filter));
	b->n = 0;
	add(b, filter);
}

static struct asked *
ask(const struct topic_map *map, struct span filter)
{
	static struct asked a;

	a.count = 0;
	a.result = topic_map_filter_up(map, &names, filter, found, &a);
	assert_int_equal(a.count, a.result.count);
	return &a;
}

static void
test_filters(void **state)
{
	static const struct topic_spec specs[] = {
	    RULE("plant/+/state", OWN "state/$1", TOPIC_BOTH, true),
	    RULE("plant/+/cmd/#", OWN "cmd/$1/$#", TOPIC_DOWN, false),
	    RULE("part/+", OWN "p_$1", TOPIC_BOTH, false),
	    RULE("bits/+", OWN "b_$1", TOPIC_BOTH, false),
	    RULE("up/+", OWN "up/$1", TOPIC_UP, false),
	    RULE("$SYS/+", OWN "sys/$1", TOPIC_DOWN, false),
	    RULE("one", "/ota/$1/${dn}/$#", TOPIC_DOWN, false),
	    RULE("d/${label}", OWN "l", TOPIC_BOTH, false),
	};
	static const struct {
		const char *filter;
		bool wider;
		size_t too_long;
		const char *want[9];
	} rows[] = {
	    {"plant/+/state", false, 0, {REAL "state/+"}},
	    {"plant/7/state", false, 0, {REAL "state/7"}},
	    {"plant/a-b/state", false, 0, {REAL "state/a_2Db"}},
	    {"plant//state", false, 0, {REAL "state/_"}},
	    {"plant/#", false, 0, {REAL "state/+", REAL "cmd/+/#"}},
	    {"plant/7/#", false, 0, {REAL "state/7", REAL "cmd/7/#"}},
	    {"plant/+/#", false, 0, {REAL "state/+", REAL "cmd/+/#"}},
	    {"+/7/+", false, 0, {REAL "state/7", REAL "cmd/7"}},
	    {"plant/+/cmd", false, 0, {REAL "cmd/+"}},
	    {"plant/x/cmd/#", false, 0, {REAL "cmd/x/#"}},
	    {"plant/x/cmd/a/+", false, 0, {REAL "cmd/x/a/+"}},
	    /* no topic has more slashes */
	    {"plant/x/cmd/+/b/#", false, 0, {REAL "cmd/x/+/b"}},
	    {"plant/x/cmd/1/2/3", true, 1, {NULL}},
	    {"plant/x/cmd/a-b", false, 0, {NULL}},
	    {"part/+", true, 0, {REAL "+"}},
	    {"part/7", false, 0, {REAL "p_7"}},
	    {"part/#", true, 0, {REAL "+"}},
	    {"part/7/#", false, 0, {REAL "p_7"}},
	    {"up/+", false, 0, {NULL}},
	    {"one", false, 0, {"/ota/+/pump-7@x/#"}},
	    {"one/#", false, 0, {"/ota/+/pump-7@x/#"}},
	    {"+", false, 0, {"/ota/+/pump-7@x/#"}},
	    {"+/+", true, 0, {REAL "l", REAL "+"}},
	    {"d/pump7", false, 0, {REAL "l"}},
	    {"d/pump8", false, 0, {NULL}},
	    {"$SYS/#", false, 0, {REAL "sys/+"}},
	    {"$SYS/a", false, 0, {REAL "sys/a"}},
	    {"$share/g/plant/7/state", false, 0, {"$share/g/" REAL "state/7"}},
	    {"$share/g/plant/#", false, 0,
		{"$share/g/" REAL "state/+", "$share/g/" REAL "cmd/+/#"}},
	    {"#", true, 0,
		{REAL "state/+", REAL "cmd/+/#", REAL "+", REAL "l",
		    "/ota/+/pump-7@x/#"}},
	    {"plant", false, 0, {NULL}},
	    {"plant/7", false, 0, {NULL}},
	    {"plant/7/state/x", false, 0, {NULL}},
	    {"x/#", false, 0, {NULL}},
	    {"", false, 0, {NULL}},
	    {"plant/#/x", false, 0, {NULL}},
	    {"a+", false, 0, {NULL}},
	};
	struct topic_map *map = compile(specs, ARRAY_LENGTH(specs));

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct asked *a = ask(map, span_of_string(rows[i].filter));
		size_t n = 0;

		for (; rows[i].want[n] != NULL; n++) {
			size_t j = 0;

			while (j < a->count &&
			       !span_eq(span_of(&a->filter[j]),
				   span_of_string(rows[i].want[n])))
				j++;
			if (j == a->count)
				fail_msg("%s: no %s", rows[i].filter,
				    rows[i].want[n]);
		}
		if (n != a->count)
			fail_msg("%s: %zu filters", rows[i].filter, a->count);
		assert_int_equal(a->result.too_long, rows[i].too_long);
		if (n > 0 && a->result.wider != rows[i].wider)
			fail_msg("%s: wider", rows[i].filter);
	}
	topic_map_free(map);
}

/* A wildcard as the first level has nothing in common with a '$' (4.7.2). */
static void
test_dollar_first(void **state)
{
	static const struct topic_spec specs[] = {
	    RULE("+/state", "/p/$1", TOPIC_BOTH, true),
	    RULE("#", "/r/$#", TOPIC_BOTH, true),
	};
	struct topic_map *map = compile(specs, ARRAY_LENGTH(specs));
	struct topic_text t;

	(void)state;
	assert_int_equal(ask(map, SPAN_OF("+/state"))->count, 2);
	assert_int_equal(ask(map, SPAN_OF("$SYS/state"))->count, 0);
	assert_int_equal(ask(map, SPAN_OF("$SYS/#"))->count, 0);
	assert_int_equal(topic_map_up(map, &names, SPAN_OF("$SYS/state"), &t),
	    TOPIC_UNMAPPED);
	assert_int_equal(
	    topic_map_down(map, &names, SPAN_OF("/p/a_24"), &t), TOPIC_MAPPED);
	assert_int_equal(topic_map_down(map, &names, SPAN_OF("/p/_24a"), &t),
	    TOPIC_UNMAPPED);
	assert_int_equal(topic_map_down(map, &names, SPAN_OF("/r/_24a/b"), &t),
	    TOPIC_UNMAPPED);
	topic_map_free(map);
}

/* Filters are wider when another rule takes part of what they cover. */
static void
test_wider(void **state)
{
	static const struct topic_spec specs[] = {
	    RULE("a/+", "/x/$1", TOPIC_BOTH, false),
	    RULE("b", "/x/7", TOPIC_BOTH, false),
	    RULE("c/+", "/y/ab$1b", TOPIC_BOTH, false),
	    RULE("d", "/y/ab", TOPIC_BOTH, false),
	};
	struct topic_map *map = compile(specs, ARRAY_LENGTH(specs));

	(void)state;
	assert_true(ask(map, SPAN_OF("a/+"))->result.wider);
	assert_false(ask(map, SPAN_OF("b"))->result.wider);
	assert_false(ask(map, SPAN_OF("c/1"))->result.wider);
	topic_map_free(map);
}

/* A share's name may have any length. */
static void
test_long_share(void **state)
{
	static const struct topic_spec spec =
	    RULE("a/+", "/x/$1", TOPIC_BOTH, false);
	struct topic_map *map = compile(&spec, 1);
	struct bytes b;

	(void)state;
	for (unsigned n = 100; n < 300; n++) {
		struct asked *a;

		b.n = 0;
		add(&b, SPAN_OF("$share/"));
		for (unsigned i = 0; i < n; i++)
			add(&b, SPAN_OF("g"));
		add(&b, SPAN_OF("/a/+"));
		a = ask(map, span_of(&b));
		assert_int_equal(a->count, b.n - 3 <= 128);
		assert_int_equal(a->result.too_long, b.n - 3 > 128);
		if (a->count == 0)
			continue;
		memcpy(b.p + b.n - 3, "/x/+", 4);
		b.n++;
		assert_span_equal(span_of(&a->filter[0]), span_of(&b));
	}
	topic_map_free(map);
}

/* Whether a filter that <a> fits cannot be had by one less specific: level by
   level a text, then '+', then '#'. Both fit one name. */
static bool
goes_before(struct span a, struct span b)
{
	for (;;) {
		size_t n = 0, m = 0;

		while (n < a.n && a.p[n] != '/')
			n++;
		while (m < b.n && b.p[m] != '/')
			m++;
		if (!span_eq((struct span){a.p, n}, (struct span){b.p, m})) {
			unsigned x = n == 1 && a.p[0] == '+'   ? 1
				     : n == 1 && a.p[0] == '#' ? 2
							       : 0;
			unsigned y = m == 1 && b.p[0] == '+'   ? 1
				     : m == 1 && b.p[0] == '#' ? 2
							       : 0;

			return x < y;
		}
		if (n == a.n || m == b.n)
			return n == a.n && m < b.n;
		a = (struct span){a.p + n + 1, a.n - n - 1};
		b = (struct span){b.p + m + 1, b.n - m - 1};
	}
}

/* A set of rules out of random numbers, the texts in it. */
struct random_set {
	struct topic_spec specs[24];
	char lan[24][64], cloud[24][64];
	size_t count;
};

/* LAN topics of few words, so that many fit one another. */
static void
random_lan(char *out)
{
	static const char *const words[] = {"a", "b", "+", "+", "c_1"};
	unsigned levels = 1 + below(4);

	*out = '\0';
	for (unsigned i = 0; i < levels; i++) {
		if (i > 0)
			strcat(out, "/");
		if (i > 0 && i + 1 == levels && below(3) == 0)
			strcat(out, "#");
		else
			strcat(out, words[below(ARRAY_LENGTH(words))]);
	}
}

/* A template that uses each capture, and tells which rule it is when <alone>.
 */
static void
random_cloud(char *out, const char *lan, bool alone, size_t which)
{
	static const char *const heads[] = {"/", "/", "/a_", "/", "/b"};
	static const char *const tails[] = {"", "", "", "_a", ""};
	unsigned number = 0;

	if (alone)
		(void)snprintf(out, 64, "/${pk}/r%zu", which);
	else
		strcpy(out, below(2) == 0 ? "/${pk}" : "/${pk}/a");
	for (const char *c = lan; *c != '\0'; c++) {
		char *end = out + strlen(out);
		unsigned form = alone ? 0 : below(ARRAY_LENGTH(heads));

		if (*c == '+')
			(void)sprintf(
			    end, "%s$%u%s", heads[form], ++number, tails[form]);
		else if (*c == '#')
			strcpy(end, "/$#");
	}
}

/* Random rules that get along with one another. */
static struct topic_map *
random_map(struct random_set *set, bool alone)
{
	struct topic_map *map = NULL;

	set->count = 0;
	for (unsigned tries = 0; tries < ARRAY_LENGTH(set->specs); tries++) {
		size_t i = set->count;
		struct topic_map *more;

		random_lan(set->lan[i]);
		random_cloud(set->cloud[i], set->lan[i], alone, i);
		set->specs[i] = (struct topic_spec){.key = "topic.1",
		    .line = 10,
		    .lan = set->lan[i],
		    .cloud = set->cloud[i],
		    .way = alone ? TOPIC_BOTH : (enum topic_way)below(3),
		    .escape = below(2) == 0};
		more = try_compile(set->specs, i + 1, NULL);
		if (more == NULL)
			continue;
		topic_map_free(map);
		map = more;
		set->count++;
	}
	return map != NULL ? map : compile(set->specs, 0);
}

static struct span
random_topic(struct bytes *b)
{
	static const struct span words[] = {SPAN_OF("a"), SPAN_OF("b"),
	    SPAN_OF("c_1"), SPAN_OF("d-e"), SPAN_OF("a_a"), SPAN_OF("")};

	b->n = 0;
	for (unsigned levels = 1 + below(5); levels > 0; levels--) {
		add(b, words[below(ARRAY_LENGTH(words))]);
		if (levels > 1)
			add(b, SPAN_OF("/"));
	}
	return span_of(b);
}

/* The rule that the tree finds is the one that a plain comparison of all finds.
 */
static void
test_most_specific_rule(void **state)
{
	static struct random_set set;
	unsigned decided = 0;

	(void)state;
	random_seed = 5;
	for (unsigned n = 0; n < 150; n++) {
		struct topic_map *map = random_map(&set, true);

		for (unsigned k = 0; k < 100; k++) {
			struct bytes b;
			struct span name = random_topic(&b);
			size_t best = set.count, fit = 0;
			struct topic_text t;
			char head[32];

			for (size_t i = 0; i < set.count; i++) {
				struct span lan = span_of_string(set.lan[i]);

				if (!mqtt_topic_matches(lan, name))
					continue;
				fit++;
				if (best == set.count ||
				    goes_before(
					lan, span_of_string(set.lan[best])))
					best = i;
			}
			decided += fit > 1;
			if (topic_map_up(map, &names, name, &t) !=
			    TOPIC_MAPPED) {
				assert_true(best == set.count ||
					    !set.specs[best].escape ||
					    set.specs[best].lan[0] == '$');
				continue;
			}
			assert_true(best < set.count);
			(void)snprintf(head, sizeof(head), "/a1Bc/r%zu", best);
			assert_memory_equal(t.p, head, strlen(head));
			assert_true(
			    t.n == strlen(head) || t.p[strlen(head)] == '/');
		}
		topic_map_free(map);
	}
	assert_true(decided > 1000);
}

/* Whether one of the cloud's filters covers a name. */
static bool
is_asked(const struct asked *a, struct span name)
{
	for (size_t i = 0; i < a->count; i++)
		if (mqtt_topic_matches(span_of(&a->filter[i]), name))
			return true;
	return false;
}

static struct span
random_filter(struct bytes *b)
{
	struct span name = random_topic(b);
	uint8_t text[64];
	size_t n = 0;

	for (size_t i = 0; i < name.n; i++) {
		bool begins = i == 0 || name.p[i - 1] == '/';

		if (!begins || below(3) > 0) {
			text[n++] = name.p[i];
			continue;
		}
		text[n++] = below(3) == 0 ? '#' : '+';
		if (text[n - 1] == '#')
			break;
		while (i + 1 < name.n && name.p[i + 1] != '/')
			i++;
	}
	b->n = 0;
	add(b, (struct span){text, n});
	return span_of(b);
}

/*
 * Sets of rules of all ways that get in each other's way: a name that goes up
 * by a rule for both ways comes back, one that comes down goes up as itself or
 * not at all, and filters cover what they have to, and no more unless they say
 * so.
 */
static void
test_random_sets(void **state)
{
	static struct random_set set;
	unsigned down = 0, covered = 0, exact = 0, several = 0;

	(void)state;
	random_seed = 3;
	for (unsigned n = 0; n < 400; n++) {
		struct topic_map *map = random_map(&set, false);
		bool has_up = false;

		for (size_t i = 0; i < set.count; i++)
			has_up |= set.specs[i].way == TOPIC_UP;
		several += set.count > 4;
		for (unsigned k = 0; k < 60; k++) {
			struct bytes b, c, f;
			struct span cloud, filter;
			struct topic_text lan;
			struct asked *a;

			(void)go_up(map, random_topic(&b), !has_up);
			c.n = 0;
			add(&c, SPAN_OF("/a1Bc/"));
			add(&c, random_topic(&b));
			cloud = span_of(&c);
			if (go_down(map, cloud) != TOPIC_MAPPED)
				continue;
			down++;
			assert_int_equal(
			    topic_map_down(map, &names, cloud, &lan),
			    TOPIC_MAPPED);
			filter = random_filter(&f);
			a = ask(map, filter);
			if (mqtt_topic_matches(filter, topic_text_span(&lan))) {
				covered++;
				assert_true(is_asked(a, cloud));
			} else if (!a->result.wider) {
				exact++;
				assert_false(is_asked(a, cloud));
			}
		}
		topic_map_free(map);
	}
	assert_true(several > 100 && down > 1000);
	assert_true(covered > 200 && exact > 200);
}

/* A thousand rules, each found. */
static void
test_a_thousand_rules(void **state)
{
	static struct topic_spec specs[TOPIC_RULES_MAX];
	static char lan[TOPIC_RULES_MAX][40], cloud[TOPIC_RULES_MAX][60];
	struct topic_map *map;
	struct topic_text t;
	char name[40], want[60];

	(void)state;
	for (unsigned i = 0; i < TOPIC_RULES_MAX; i++) {
		(void)snprintf(lan[i], sizeof(lan[i]), "p%u/+/q%u", i % 10, i);
		(void)snprintf(
		    cloud[i], sizeof(cloud[i]), OWN "r%u_$1/%u", i, i % 7);
		specs[i] = (struct topic_spec){.key = "topic.1",
		    .line = 1,
		    .lan = lan[i],
		    .cloud = cloud[i],
		    .escape = true};
	}
	map = compile(specs, TOPIC_RULES_MAX);
	for (unsigned i = 0; i < TOPIC_RULES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "p%u/-/q%u", i % 10, i);
		(void)snprintf(want, sizeof(want), REAL "r%u__2D/%u", i, i % 7);
		assert_int_equal(
		    go_up(map, span_of_string(name), true), TOPIC_MAPPED);
		assert_int_equal(
		    topic_map_up(map, &names, span_of_string(name), &t),
		    TOPIC_MAPPED);
		assert_span_equal(topic_text_span(&t), span_of_string(want));
	}
	topic_map_free(map);
}

/* Of a thousand rules that give a handful of filters, each is told once. */
static void
test_filters_of_a_thousand_rules(void **state)
{
	static struct topic_spec specs[TOPIC_RULES_MAX];
	static char lan[TOPIC_RULES_MAX][40], cloud[TOPIC_RULES_MAX][60];
	struct topic_map *map;
	struct asked *a;

	(void)state;
	for (unsigned i = 0; i < TOPIC_RULES_MAX; i++) {
		(void)snprintf(lan[i], sizeof(lan[i]), "p/%u/+", i);
		(void)snprintf(
		    cloud[i], sizeof(cloud[i]), OWN "r%u_$1/%u", i, i % 7);
		specs[i] = (struct topic_spec){.key = "topic.1",
		    .line = 1,
		    .lan = lan[i],
		    .cloud = cloud[i]};
	}
	map = compile(specs, TOPIC_RULES_MAX);
	a = ask(map, SPAN_OF("p/#"));
	assert_int_equal(a->count, 7);
	assert_true(a->result.wider);
	a = ask(map, SPAN_OF("p/999/x"));
	assert_int_equal(a->count, 1);
	assert_span_equal(span_of(&a->filter[0]), SPAN_OF(REAL "r999_x/5"));
	topic_map_free(map);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_forms_round_trip),
	    cmocka_unit_test(test_up_and_down),
	    cmocka_unit_test(test_unmapped),
	    cmocka_unit_test(test_names_that_do_not_fit),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_hostile_names),
	    cmocka_unit_test(test_filters),
	    cmocka_unit_test(test_dollar_first),
	    cmocka_unit_test(test_wider),
	    cmocka_unit_test(test_long_share),
	    cmocka_unit_test(test_most_specific_rule),
	    cmocka_unit_test(test_random_sets),
	    cmocka_unit_test(test_a_thousand_rules),
	    cmocka_unit_test(test_filters_of_a_thousand_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
