/* To be linked with -Wl,--wrap= calloc. */
#include "settings/topic_map.h"

#include "topics.h"
#include "unit.h"

#include <string.h>

/* How many calls of calloc() succeed before one fails; below 0: all. */
static int calls_left = -1;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *
__wrap_calloc(size_t n, size_t size)
{
	if (calls_left >= 0 && calls_left-- == 0)
		return NULL;
	return __real_calloc(n, size);
}

static struct span
put_escaped(struct topic_text *t, struct span s)
{
	topic_text_begin_lan(t);
	topic_text_put_escaped(t, s, true);
	return topic_text_span(t);
}

/* Every level of up to three bytes out of those that matter: each has a form,
   from which it comes back, so no two have the same. */
static void
test_escape_is_injective(void **state)
{
	static const char bytes[] = "aF5_-/+#$ \xc3\xa9\x01";
	const unsigned many = sizeof(bytes); /* its NUL counts */
	unsigned good = 0;

	(void)state;
	for (unsigned n = 0; n <= 3; n++) {
		unsigned all = 1;

		for (unsigned i = 0; i < n; i++)
			all *= many;
		for (unsigned which = 0; which < all; which++) {
			uint8_t level[3];
			unsigned left = which;
			struct span s = {level, n};
			struct topic_text t, back;

			for (unsigned i = 0; i < n; i++, left /= many)
				level[i] = (uint8_t)bytes[left % many];
			(void)put_escaped(&t, s);
			if (t.result != TOPIC_MAPPED)
				continue;
			good++;
			assert_true(topic_text_is_plain(topic_text_span(&t)));
			topic_text_begin_lan(&back);
			topic_text_put_unescaped(
			    &back, topic_text_span(&t), true);
			assert_int_equal(back.result, TOPIC_MAPPED);
			assert_span_equal(topic_text_span(&back), s);
		}
	}
	/* 8 single bytes of ASCII that are fit, and one pair of UTF-8 */
	assert_int_equal(good, 1 + 8 + (8 * 8 + 1) + (8 * 8 * 8 + 2 * 8));
}

/* Every text of up to five bytes: it stands for no level, or is the form of
   that level. */
static void
test_unescape_takes_one_form(void **state)
{
	static const char bytes[] = "aF25C39_-";
	const unsigned many = sizeof(bytes) - 1;
	unsigned good = 0;

	(void)state;
	for (unsigned n = 0; n <= 5; n++) {
		unsigned all = 1;

		for (unsigned i = 0; i < n; i++)
			all *= many;
		for (unsigned which = 0; which < all; which++) {
			uint8_t text[5];
			unsigned left = which;
			struct span s = {text, n};
			struct topic_text level, again;

			for (unsigned i = 0; i < n; i++, left /= many)
				text[i] = (uint8_t)bytes[left % many];
			topic_text_begin_lan(&level);
			topic_text_put_unescaped(&level, s, true);
			if (level.result != TOPIC_MAPPED)
				continue;
			good++;
			(void)put_escaped(&again, topic_text_span(&level));
			assert_int_equal(again.result, TOPIC_MAPPED);
			assert_span_equal(topic_text_span(&again), s);
		}
	}
	assert_true(good > 7 * 7 * 7 * 7 * 7);
}

static void
test_escaped_forms(void **state)
{
	static const struct {
		struct span level, form;
	} rows[] = {
	    {SPAN_OF("aZ09"), SPAN_OF("aZ09")},
	    {SPAN_OF("a_b"), SPAN_OF("a__b")},
	    {SPAN_OF("a-b"), SPAN_OF("a_2Db")},
	    {SPAN_OF("c d"), SPAN_OF("c_20d")},
	    {SPAN_OF("\xc3\xa9"), SPAN_OF("_C3_A9")},
	    {SPAN_OF("\x7f"), SPAN_OF("_7F")},
	    {SPAN_OF("_2D"), SPAN_OF("__2D")},
	    {SPAN_OF(""), SPAN_OF("_")},
	};
	static const struct span no_level[] = {SPAN_OF("a\0b"), SPAN_OF("a+"),
	    SPAN_OF("#"), SPAN_OF("a/b"), SPAN_OF("\xc3"), SPAN_OF("\xff")};
	static const struct span no_form[] = {SPAN_OF(""), SPAN_OF("a_"),
	    SPAN_OF("___"), SPAN_OF("_2"), SPAN_OF("_2d"), SPAN_OF("_5F"),
	    SPAN_OF("_41"), SPAN_OF("_G0"), SPAN_OF("_0G"), SPAN_OF("_00"),
	    SPAN_OF("_2B"), SPAN_OF("_23"), SPAN_OF("_2F"), SPAN_OF("_C3"),
	    SPAN_OF("_FF"), SPAN_OF("a-b"), SPAN_OF("\xc3\xa9"), SPAN_OF("/")};
	struct topic_text t;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		assert_span_equal(put_escaped(&t, rows[i].level), rows[i].form);
	for (size_t i = 0; i < ARRAY_LENGTH(no_level); i++) {
		(void)put_escaped(&t, no_level[i]);
		assert_int_equal(t.result, TOPIC_UNMAPPED);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(no_form); i++) {
		topic_text_begin_lan(&t);
		topic_text_put_unescaped(&t, no_form[i], true);
		assert_int_equal(t.result, TOPIC_UNMAPPED);
	}
}

/* Each complaint names the rule's line and says what is wrong. */
static void
test_flaws(void **state)
{
	static const struct {
		struct topic_spec spec;
		const char *told;
	} rows[] = {
	    {RULE("", "/x", TOPIC_UP, false), "lan = : is empty"},
	    {RULE("a/#/b", "/x", TOPIC_UP, false), "MQTT-4.7.1-1"},
	    {RULE("a+/b", "/x", TOPIC_UP, false), "MQTT-4.7.1-2"},
	    {RULE("\xff", "/x", TOPIC_UP, false),
		"lan = \\xff: is not valid UTF-8"},
	    {RULE("$share/g/a", "/x", TOPIC_UP, false), "shared filter"},
	    {RULE("a/$1", "/x", TOPIC_UP, false), "a capture is a level +"},
	    {RULE("a/${key}", "/x", TOPIC_UP, false), "unknown variable"},
	    {RULE("a/${pk", "/x", TOPIC_UP, false), "unknown variable"},
	    {RULE("+/+/+/+/+/+/+/+/+/+", "/x", TOPIC_UP, false), "more than 9"},
	    {RULE("1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/6/7", "/x", TOPIC_UP, false),
		"more than 16 levels"},
	    {RULE("a", "", TOPIC_UP, false), "cloud = : does not begin"},
	    {RULE("a", "x", TOPIC_UP, false), "does not begin with a /"},
	    {RULE("a", "/", TOPIC_UP, false), "does not begin with a /"},
	    {RULE("a", "/x//y", TOPIC_UP, false), "empty level"},
	    {RULE("a", "/x/", TOPIC_UP, false), "ends with a /"},
	    {RULE("a", "/x-y", TOPIC_UP, false), "letters, digits and _"},
	    {RULE("+", "/x/+", TOPIC_UP, false), "is written $1"},
	    {RULE("#", "/x/#", TOPIC_UP, false), "and $#"},
	    {RULE("a", "/${nobody}", TOPIC_UP, false), "unknown variable"},
	    {RULE("+", "/$", TOPIC_UP, false), "$ before something else"},
	    {RULE("+", "/$0", TOPIC_UP, false), "$ before something else"},
	    {RULE("+", "/$10", TOPIC_UP, false), "$ before something else"},
	    {RULE("+", "/$x", TOPIC_UP, false), "$ before something else"},
	    {RULE("+/+", "/$1$2", TOPIC_UP, false),
		"two captures in one level"},
	    {RULE("+/+", "/$1_$2", TOPIC_UP, false), "two captures"},
	    {RULE("#", "/x_$#", TOPIC_UP, false), "not the whole last level"},
	    {RULE("#", "/$#/x", TOPIC_UP, false), "not the whole last level"},
	    {RULE("#", "/$#", TOPIC_UP, false), "nothing before the $#"},
	    {RULE("+", "/x", TOPIC_BOTH, false), "$1 is not used"},
	    {RULE("+/+", "/$2", TOPIC_DOWN, false), "$1 is not used"},
	    {RULE("a/#", "/x", TOPIC_BOTH, false), "$# is not used"},
	    {RULE("a/#", "/x", TOPIC_DOWN, false), "$# is not used"},
	    {RULE("+", "/$1/$1", TOPIC_BOTH, false), "$1 is used twice"},
	    {RULE("+", "/$1/$1", TOPIC_UP, false), "$1 is used twice"},
	    {RULE("+", "/$1/$1", TOPIC_DOWN, false), "$1 is used twice"},
	    {RULE("a", "/$1", TOPIC_BOTH, false), "has no such +"},
	    {RULE("+", "/$1/$2", TOPIC_UP, false), "$2 is used, but"},
	    {RULE("a", "/x/$#", TOPIC_UP, false), "has no #"},
	    {RULE("a", "/1/2/3/4/5/6/7/8", TOPIC_UP, false), "7 slashes"},
	    {RULE("a/#", "/1/2/3/4/5/6/7/8/$#", TOPIC_UP, false), "7 slashes"},
	    {RULE("+",
		 "/0123456789012345678901234567890123456789012345678901234567"
		 "8901234567890123456789012345678901234567890123456789/"
		 "12345678901234567/$1",
		 TOPIC_UP, false),
		"longer than the 128 bytes"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		unsigned errors;
		struct topic_map *map = try_compile(&rows[i].spec, 1, &errors);

		if (map != NULL || strstr(told, rows[i].told) == NULL)
			fail_msg("%s, %s: '%s'", rows[i].spec.lan,
			    rows[i].spec.cloud, told);
		assert_int_equal(errors, 1);
		assert_int_equal(told_line, 10);
		assert_memory_equal(told, "topic.1.", 8);
	}
}

/* What stands just inside the bounds. */
static void
test_no_flaws(void **state)
{
	static const struct topic_spec rows[] = {
	    RULE("+/+/+/+/+/+/+/+/+", "/x", TOPIC_UP, false),
	    RULE("1/2/3/4/5/6/7/8/9/0/1/2/3/4/5/#", "/x", TOPIC_UP, false),
	    RULE("+/+", "/x/$2", TOPIC_UP, false),
	    RULE("a", "/x/$1/$9/$#", TOPIC_DOWN, false),
	    RULE("a/#", "/1/2/3/4/5/6/7/$#", TOPIC_BOTH, false),
	    RULE("a$/$b", "/x", TOPIC_BOTH, false),
	    RULE("+",
		"/012345678901234567890123456789012345678901234567890123456"
		"78901234567890123456789012345678901234567890123456789/"
		"1234567890123/$1",
		TOPIC_UP, false),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		topic_map_free(compile(&rows[i], 1));
	topic_map_free(compile(NULL, 0));
}

static void
test_clashes(void **state)
{
	static const struct {
		const char *lan[2], *cloud[2];
		enum topic_way way[2];
		const char *told; /* NULL: they get along */
	} rows[] = {
	    {{"a", "a"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP}, "same topics"},
	    {{"a/+", "a/+"}, {"/x/$1", "/y/$1"}, {TOPIC_BOTH, TOPIC_UP},
		"same topics"},
	    {{"a/#", "a/#"}, {"/x/$#", "/y/$#"}, {TOPIC_BOTH, TOPIC_BOTH},
		"same topics"},
	    {{"+/b", "a/+"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP}, "neither"},
	    {{"a/b/#", "a/+"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP}, "neither"},
	    {{"${dn}/b", "${label}/b"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP},
		"neither"},
	    {{"a_${dn}", "${label}_b"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP},
		"neither"},
	    {{"a_${dn}", "b_${label}"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP},
		NULL},
	    {{"${dn}_a", "${label}_b"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP},
		NULL},
	    {{"${dn}", "pump"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP}, NULL},
	    {{"+/b", "a/b"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP}, NULL},
	    {{"a/#", "a"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP}, NULL},
	    {{"a/#", "a/+"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP}, NULL},
	    {{"#", "$SYS"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP}, NULL},
	    {{"+/b", "$SYS/+"}, {"/x", "/y"}, {TOPIC_UP, TOPIC_UP}, NULL},
	    /* two for one topic only matter where it is looked up */
	    {{"a", "b"}, {"/x", "/x"}, {TOPIC_UP, TOPIC_UP}, NULL},
	    {{"a", "a"}, {"/x", "/y"}, {TOPIC_DOWN, TOPIC_DOWN}, NULL},
	    {{"a", "b"}, {"/x", "/x"}, {TOPIC_UP, TOPIC_DOWN}, NULL},
	    {{"a", "b"}, {"/x", "/x"}, {TOPIC_DOWN, TOPIC_BOTH}, "same topics"},
	    {{"a/+", "b/+"}, {"/p_$1", "/$1_s"}, {TOPIC_BOTH, TOPIC_BOTH},
		"neither"},
	    {{"a/+", "b/+"}, {"/p_$1", "/p_$1"}, {TOPIC_BOTH, TOPIC_BOTH},
		"same topics"},
	    {{"a/+", "b/+"}, {"/p_$1", "/p_q_$1"}, {TOPIC_BOTH, TOPIC_BOTH},
		NULL},
	    {{"a/+", "b/+"}, {"/p_$1", "/q_$1"}, {TOPIC_BOTH, TOPIC_BOTH},
		NULL},
	    {{"a/+", "b/+"}, {"/p_$1", "/${dn}_$1"}, {TOPIC_BOTH, TOPIC_BOTH},
		"neither"},
	    {{"a", "b/+"}, {"/p_q", "/p_$1"}, {TOPIC_BOTH, TOPIC_BOTH}, NULL},
	    {{"a/#", "b/#"}, {"/sys/${pk}/${dn}/x/$#", OWN "$#"},
		{TOPIC_BOTH, TOPIC_BOTH}, NULL},
	    {{"a/#", "b/#"}, {"/six/${pk}/${dn}/x/$#", OWN "$#"},
		{TOPIC_BOTH, TOPIC_BOTH}, "neither"},
	    /* down by one, up by the other */
	    {{"a", "a"}, {"/x", "/y"}, {TOPIC_DOWN, TOPIC_UP},
		"would go up by the other"},
	    {{"a/b", "#"}, {"/x", "/y/$#"}, {TOPIC_DOWN, TOPIC_BOTH},
		"would go up by the other"},
	    {{"#", "a/+"}, {"/x", "/y/$1"}, {TOPIC_UP, TOPIC_DOWN},
		"would go up by the other"},
	    {{"a", "b"}, {"/x", "/y"}, {TOPIC_DOWN, TOPIC_UP}, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct topic_spec specs[2];
		struct topic_map *map;

		for (int k = 0; k < 2; k++)
			specs[k] = (struct topic_spec){
			    .key = k == 0 ? "topic.1" : "topic.2",
			    .line = k == 0 ? 17 : 23,
			    .lan = rows[i].lan[k],
			    .cloud = rows[i].cloud[k],
			    .way = rows[i].way[k],
			};
		map = try_compile(specs, 2, NULL);
		if ((map == NULL) != (rows[i].told != NULL) ||
		    (map == NULL && (strstr(told, rows[i].told) == NULL ||
					told_line != 23 ||
					strstr(told, "of line 17") == NULL)))
			fail_msg("%s, %s: %d '%s'", rows[i].lan[0],
			    rows[i].lan[1], told_line, told);
		topic_map_free(map);
	}
}

/* All of it is told at once. */
static void
test_all_errors_are_told(void **state)
{
	struct topic_spec specs[TOPIC_RULES_MAX + 1];
	unsigned errors;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(specs); i++)
		specs[i] = (struct topic_spec){.key = "topic.1",
		    .line = (int)i + 1,
		    .lan = "a/#",
		    .cloud = i == 1 ? "bad" : "/x",
		    .way = i == 2 ? TOPIC_BOTH : TOPIC_UP};
	assert_null(try_compile(specs, 4, &errors));
	/* the second and the third, and the fourth with the first */
	assert_int_equal(errors, 3);
	assert_null(try_compile(specs, ARRAY_LENGTH(specs), &errors));
	assert_int_equal(errors, 1);
	assert_int_equal(told_line, 1001);
	assert_non_null(strstr(told, "more than 1000"));
}

/* Whichever allocation fails, it is told and nothing is left behind. */
static void
test_no_memory(void **state)
{
	static const struct topic_spec specs[] = {
	    RULE("a/+", "/x/$1", TOPIC_BOTH, false),
	    RULE("b/#", "/y/$#", TOPIC_DOWN, false),
	};
	struct topic_map *map = NULL;
	int failed = 0;

	(void)state;
	for (; map == NULL; failed++) {
		calls_left = failed;
		map = try_compile(specs, ARRAY_LENGTH(specs), NULL);
		calls_left = -1;
		if (map == NULL)
			assert_string_equal(told, "out of memory");
	}
	/* the map, its rules, their texts, and four for each of three indexes
	 */
	assert_int_equal(failed - 1, 3 + 3 * 4);
	topic_map_free(map);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_escape_is_injective),
	    cmocka_unit_test(test_unescape_takes_one_form),
	    cmocka_unit_test(test_escaped_forms),
	    cmocka_unit_test(test_flaws),
	    cmocka_unit_test(test_no_flaws),
	    cmocka_unit_test(test_clashes),
	    cmocka_unit_test(test_all_errors_are_told),
	    cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
