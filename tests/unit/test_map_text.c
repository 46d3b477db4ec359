/* Edits of a map's text: what they change, and that nothing else changes. */
#include "unit.h"

#include "settings/map_text.h"

#include <stdlib.h>
#include <string.h>

static struct map_text *
text_of(const char *bytes)
{
	struct map_text *t = map_text_new(span_of_string(bytes));

	assert_non_null(t);
	return t;
}

/* The text is this; frees it. */
static void
ends_as(struct map_text *t, const char *want)
{
	size_t n;
	char *bytes = map_text_join(t, &n);

	assert_non_null(bytes);
	assert_span_equal(
	    ((struct span){(uint8_t *)bytes, n}), span_of_string(want));
	free(bytes);
	map_text_free(t);
}

static void
test_text_without_edits_stays(void **state)
{
	static const char *const texts[] = {"", "\n", "\r\n", "a", "a\r", "a\n",
	    "\xef\xbb\xbf", "\xef\xbb\xbf\n", "\xef\xbb\xbf[a]\r\nb = c",
	    "\xef\xbb", "[a]\nb=c\r\n\n\r\n; d\r", "a\r\r\n\r", "\r", "\n\r"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
		ends_as(text_of(texts[i]), texts[i]);
}

static const struct {
	const char *before, *key, *value, *after; /* of [device:b] */
} sets[] = {
    /* a value that is there */
    {"[device:b]\nk = v\n", "k", "w", "[device:b]\nk = w\n"},
    {"[device:b]\nk=v\n", "k", "w", "[device:b]\nk=w\n"},
    {"[device:b]\nk\t=  v \t\n", "k", "w", "[device:b]\nk\t=  w\n"},
    {"[device:b]\nk = v", "k", "w", "[device:b]\nk = w"},
    {"[device:b]\r\nk = v\r\n; c\n", "k", "w", "[device:b]\r\nk = w\r\n; c\n"},
    {"[device:b]\nk = v\r", "k", "w", "[device:b]\nk = w"},
    {"[device:b]\nk =\n", "k", "w", "[device:b]\nk = w\n"},
    {"[device:b]\nk =  \n", "k", "w", "[device:b]\nk = w\n"},
    {"[device:b]\nk=\n", "k", "w", "[device:b]\nk=w\n"},
    {"[device:b]\nk = v\n", "k", "", "[device:b]\nk = \n"},
    {"[device:b]\nk = a=b\n", "k", "b=a", "[device:b]\nk = b=a\n"},
    {"\xef\xbb\xbf[device:b]\nk = v\n", "k", "w",
	"\xef\xbb\xbf[device:b]\nk = w\n"},
    /* only in its own section, which is found by its whole name */
    {"[device:a]\nk = v\n[device:b]\nk = v\n[device:bb]\nk = v\n", "k", "w",
	"[device:a]\nk = v\n[device:b]\nk = w\n[device:bb]\nk = v\n"},
    {"[device:bb]\nk = v\n[device:b] \t\nk = v\n", "k", "w",
	"[device:bb]\nk = v\n[device:b] \t\nk = w\n"},
    {"; [device:b]\n[device:b]\nkk = v\n;k = v\n[x\nk = v\n", "k", "w",
	"; [device:b]\n[device:b]\nkk = v\nk = w\n;k = v\n[x\nk = v\n"},
    /* a key that is new */
    {"[device:b]", "k", "w", "[device:b]\nk = w"},
    {"[device:b]\n\n", "k", "w", "[device:b]\nk = w\n\n"},
    {"[device:b]\na = 1\n\n; c\n[device:c]\n", "k", "w",
	"[device:b]\na = 1\nk = w\n\n; c\n[device:c]\n"},
    {"[device:b]\n; a\na = 1\n;d = 2\n\n", "k", "w",
	"[device:b]\n; a\na = 1\nk = w\n;d = 2\n\n"},
    {"[device:b]\r\na = 1", "k", "w", "[device:b]\r\na = 1\r\nk = w"},
    {"[device:b]\na = 1\r", "k", "w", "[device:b]\na = 1\r\nk = w"},
};

static void
test_sets_a_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(sets); i++) {
		struct map_text *t = text_of(sets[i].before);
		size_t head = map_text_find(t, "device:b");

		assert_int_not_equal(head, MAP_TEXT_NONE);
		assert_true(map_text_set(
		    t, head, sets[i].key, span_of_string(sets[i].value)));
		assert_int_not_equal(
		    map_text_line(t, head, sets[i].key), MAP_TEXT_NONE);
		ends_as(t, sets[i].after);
	}
}

static void
test_unsets_a_key(void **state)
{
	struct map_text *t =
	    text_of("[a]\nk = 1\n[b]\nk = 2\n; c\nl = 3\nk = 4\n[c]\nk = 5\n");
	size_t head = map_text_find(t, "b");

	(void)state;
	assert_true(map_text_unset(t, head, "k"));
	assert_false(map_text_unset(t, head, "k"));
	assert_int_equal(map_text_line(t, head, "k"), MAP_TEXT_NONE);
	ends_as(t, "[a]\nk = 1\n[b]\n; c\nl = 3\n[c]\nk = 5\n");
}

static const struct {
	const char *before, *after; /* without [b] */
} removals[] = {
    {"[b]", ""},
    {"[b]\nk = v\n", ""},
    {"[a]\nk = v\n\n[b]\nk = v\n", "[a]\nk = v\n"},
    {"[a]\nk = v\n[b]\nk = v\n[c]\n", "[a]\nk = v\n[c]\n"},
    /* the comments before it are its own, those before the next are not */
    {"[a]\n\n; b\n# b\n[b]\nk = v\n; c\n[c]\n", "[a]\n; c\n[c]\n"},
    {"[a]\n\n; b\n[b]\nk = v\n\n; c\n[c]\n", "[a]\n\n; c\n[c]\n"},
    {"[a]\nk = v\n; b\n[b]\n[c]\n", "[a]\nk = v\n[c]\n"},
    /* those between its keys, and directly behind the last */
    {"[a]\n[b]\n; x\nk = v\n;l = v\n\n[c]\n", "[a]\n\n[c]\n"},
    {"[a]\n\n[b]\nk = v\n; x", "[a]"},
    {"[a]\n\n[b]\n\nk = v\n\n; free\n\n[c]\n", "[a]\n\n; free\n\n[c]\n"},
    /* the file's own */
    {"; the map\n[b]\nk = v\n\n[c]\n", "; the map\n\n[c]\n"},
    {"; the map\n\n; b\n[b]\nk = v\n\n[c]\n", "; the map\n\n[c]\n"},
    {"[b]\nk = v\n\n[c]\n", "[c]\n"},
    /* lines that mean nothing are its own too */
    {"[a]\n[b]\nk = v\nrubbish\n[c]\n", "[a]\n[c]\n"},
    {"[a]\n[b]\nk = v\n [c]\nl = w\n", "[a]\n [c]\nl = w\n"},
    {"\xef\xbb\xbf[b]\r\nk = v\r\n\r\n[c]\r\n", "\xef\xbb\xbf[c]\r\n"},
};

static void
test_removes_a_section(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(removals); i++) {
		struct map_text *t = text_of(removals[i].before);

		map_text_remove(t, map_text_find(t, "b"));
		assert_int_equal(map_text_find(t, "b"), MAP_TEXT_NONE);
		ends_as(t, removals[i].after);
	}
}

static void
test_removal_reverses_appending(void **state)
{
	static const char *const texts[] = {"", "\n", "\n\n", "; c", "; c\n",
	    "[a]\nk = v", "[a]\r\nk = v\r\n", "[a]\nk = v\n\n",
	    "[a]\nk = v\n; c\n", "[a]\n\n; c", "\xef\xbb\xbf",
	    "\xef\xbb\xbf[a]\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
		struct map_text *t = text_of(texts[i]);
		size_t head = map_text_append(t, "new");

		assert_int_equal(map_text_find(t, "new"), head);
		assert_true(map_text_set(t, head, "a", SPAN_OF("1")));
		assert_true(map_text_set(t, head, "b", SPAN_OF("")));
		map_text_remove(t, head);
		ends_as(t, texts[i]);
	}
}

static void
test_finds_sections_as_lines_come_and_go(void **state)
{
	struct map_text *t =
	    text_of("[c]\n[b]\nk = v\n[bb]\n[b]\n[a] x\n[\n[]");

	(void)state;
	assert_int_equal(map_text_find(t, "b"), 1); /* the first */
	assert_int_equal(map_text_find(t, "bb"), 3);
	assert_int_equal(map_text_find(t, "a"), 5);
	assert_int_equal(map_text_find(t, ""), MAP_TEXT_NONE);
	assert_int_equal(map_text_find(t, "d"), MAP_TEXT_NONE);
	assert_true(map_text_set(t, 0, "k", SPAN_OF("v")));
	assert_int_equal(map_text_find(t, "b"), 2);
	assert_true(map_text_unset(t, 0, "k"));
	assert_int_equal(map_text_find(t, "b"), 1);
	map_text_remove(t, 1);
	assert_int_equal(map_text_find(t, "b"), 2);
	map_text_free(t);
}

static void
test_appends_a_section(void **state)
{
	struct map_text *t = text_of("[a]\r\nk = v");
	size_t head;

	(void)state;
	head = map_text_append(t, "b");
	assert_true(map_text_set(t, head, "l", SPAN_OF("w")));
	ends_as(t, "[a]\r\nk = v\r\n\r\n[b]\r\nl = w");
	t = text_of("");
	head = map_text_append(t, "b");
	assert_true(map_text_set(t, head, "l", SPAN_OF("w")));
	ends_as(t, "[b]\nl = w\n");
}

static void
test_goes_through_all_keys(void **state)
{
	static const char *const found[][3] = {
	    {"a", "k", "1"}, {"a", "l", ""}, {"", "k", "4"}, {"b", "k", "5"}};
	struct map_text *t =
	    text_of("k = 0\n[a]\nk = 1\n; k = 2\nl =\n k = 3\n[b\nk = 4\n"
		    "[b]\n\nk=5");
	struct map_text_value at = {0};
	size_t n = 0;

	(void)state;
	while (map_text_next(t, &at)) {
		assert_true(n < ARRAY_LENGTH(found));
		assert_span_equal(at.section, span_of_string(found[n][0]));
		assert_span_equal(at.key, span_of_string(found[n][1]));
		assert_span_equal(at.value, span_of_string(found[n][2]));
		assert_true(map_text_replace(t, at.line, SPAN_OF("new")));
		n++;
	}
	assert_int_equal(n, ARRAY_LENGTH(found));
	ends_as(t,
	    "k = 0\n[a]\nk = new\n; k = 2\nl = new\n k = 3\n[b\nk = new\n"
	    "[b]\n\nk=new");
}

static void
test_values_that_cannot_be_written(void **state)
{
	static const struct {
		const char *value;
		const char *why;
	} cases[] = {{" a", "blank"}, {"a\t", "blank"}, {"a\nb", "control"},
	    {"a\x7f", "control"}, {"a ;b", "comment"}, {"##", "comment"},
	    {"a\t#", "comment"}, {"\xff", "UTF-8"}};
	static const char *const good[] = {"", "#", "a", "a;b", "a b", "a\tb",
	    "\xc3\xa4", "[a]", "=", "\"a\""};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		assert_non_null(
		    strstr(map_text_objection(span_of_string(cases[i].value)),
			cases[i].why));
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++)
		assert_null(map_text_objection(span_of_string(good[i])));
	assert_non_null(map_text_objection(SPAN_OF("a\0")));
}

static void
test_is_bounded(void **state)
{
	static char lines[MAP_TEXT_LINES_MAX + 1];

	(void)state;
	memset(lines, '\n', sizeof(lines));
	assert_null(
	    map_text_new((struct span){(uint8_t *)lines, sizeof(lines)}));
	assert_null(
	    map_text_new((struct span){(uint8_t *)lines, MAP_TEXT_MAX + 1u}));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_text_without_edits_stays),
	    cmocka_unit_test(test_sets_a_key),
	    cmocka_unit_test(test_unsets_a_key),
	    cmocka_unit_test(test_removes_a_section),
	    cmocka_unit_test(test_removal_reverses_appending),
	    cmocka_unit_test(test_finds_sections_as_lines_come_and_go),
	    cmocka_unit_test(test_appends_a_section),
	    cmocka_unit_test(test_goes_through_all_keys),
	    cmocka_unit_test(test_values_that_cannot_be_written),
	    cmocka_unit_test(test_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
