/*
 * The input is an edit and a map: its first byte says what is done, the second
 * to which section, the third to which of its keys. Without an edit the text
 * must stay as it was; after one, the reader of the program must see exactly
 * what was meant.
 */
#include "fuzz_file.h"

#include "base/span.h"
#include "settings/ini.h"
#include "settings/map_text.h"

#include <stdbool.h>
#include <string.h>

enum { SEEN_MAX = 4096, TEXT_MAX = 200 };

/* What the reader tells: sections, which have no key, and their values. */
struct seen {
	size_t count;
	struct {
		bool is_section;
		char name[TEXT_MAX];
		char value[TEXT_MAX];
	} at[SEEN_MAX];
};

static void
see(struct seen *s, size_t where, bool is_section, const char *name,
    const char *value)
{
	MUST(where <= s->count && s->count < SEEN_MAX);
	memmove(s->at + where + 1, s->at + where,
	    (s->count - where) * sizeof(s->at[0]));
	s->at[where].is_section = is_section;
	(void)snprintf(s->at[where].name, TEXT_MAX, "%s", name);
	(void)snprintf(s->at[where].value, TEXT_MAX, "%s", value);
	s->count++;
}

static void
forget(struct seen *s, size_t from, size_t to)
{
	memmove(s->at + from, s->at + to, (s->count - to) * sizeof(s->at[0]));
	s->count -= to - from;
}

static void
on_section(void *arg, int line, const char *name)
{
	struct seen *s = arg;

	(void)line;
	see(s, s->count, true, name, "");
}

static void
on_value(void *arg, int line, const char *name, const char *value)
{
	struct seen *s = arg;

	(void)line;
	see(s, s->count, false, name, value);
}

/* All that an edit may have made wrong. */
static void
on_complaint(
    void *arg, bool is_error, const char *path, int line, const char *text)
{
	bool *too_long = arg;

	fuzz_told(NULL, is_error, path, line, text);
	*too_long = strstr(text, "at most 198 are allowed") != NULL;
}

/* False: the text is no map. */
static bool
look(struct span bytes, struct seen *s, bool *too_long)
{
	const struct ini_handler handler = {on_section, on_value, s};
	struct complaints to = {.tell = on_complaint, .arg = too_long};

	s->count = 0;
	*too_long = false;
	return ini_read(fuzz_file(bytes.p, bytes.n), &handler, &to);
}

/* The first section of the same name as the <n>th; the count without any. */
static size_t
pick_section(const struct seen *s, size_t n)
{
	const char *name = NULL;
	size_t sections = 0;

	for (size_t i = 0; i < s->count; i++)
		sections += s->at[i].is_section;
	if (sections == 0)
		return s->count;
	n %= sections;
	for (size_t i = 0; name == NULL; i++)
		if (s->at[i].is_section && n-- == 0)
			name = s->at[i].name;
	for (size_t i = 0;; i++)
		if (s->at[i].is_section && strcmp(s->at[i].name, name) == 0)
			return i;
}

static size_t
section_end(const struct seen *s, size_t section)
{
	size_t i = section + 1;

	while (i < s->count && !s->at[i].is_section)
		i++;
	return i;
}

static size_t
find_key(const struct seen *s, size_t section, const char *key)
{
	size_t end = section_end(s, section);

	for (size_t i = section + 1; i < end; i++)
		if (strcmp(s->at[i].name, key) == 0)
			return i;
	return s->count;
}

/* Sets a key in the text and in what must be seen then. */
static void
set(struct map_text *t, size_t head, struct seen *s, size_t section,
    const char *key)
{
	size_t i = find_key(s, section, key);

	MUST(map_text_set(t, head, key, SPAN_OF("a new value")));
	if (i < s->count)
		(void)snprintf(s->at[i].value, TEXT_MAX, "a new value");
	else
		see(s, section_end(s, section), false, key, "a new value");
}

static void
unset(struct map_text *t, size_t head, struct seen *s, size_t section,
    const char *key)
{
	bool had = false;
	size_t i;

	while ((i = find_key(s, section, key)) < s->count) {
		forget(s, i, i + 1);
		had = true;
	}
	MUST(map_text_unset(t, head, key) == had);
}

static void
replace_all(struct map_text *t, struct seen *s)
{
	struct map_text_value at = {0};

	for (size_t i = 0; i < s->count; i++) {
		if (s->at[i].is_section)
			continue;
		MUST(map_text_next(t, &at));
		MUST(span_eq(at.key, span_of_string(s->at[i].name)));
		MUST(span_eq(at.value, span_of_string(s->at[i].value)));
		MUST(map_text_replace(t, at.line, SPAN_OF("other")));
		(void)snprintf(s->at[i].value, TEXT_MAX, "other");
	}
	MUST(!map_text_next(t, &at));
}

static void
append(struct map_text *t, struct seen *s)
{
	size_t head = map_text_append(t, "appended");

	MUST(head != MAP_TEXT_NONE);
	see(s, s->count, true, "appended", "");
	MUST(map_text_set(t, head, "key", SPAN_OF("")));
	see(s, s->count, false, "key", "");
}

/* False: there is no such section. */
static bool
edit(struct map_text *t, struct seen *s, const uint8_t how[static 3])
{
	char key[TEXT_MAX];
	size_t section, head, i;

	section = pick_section(s, how[1]);
	if (how[0] % 5 == 3)
		append(t, s);
	else if (how[0] % 5 == 4)
		replace_all(t, s);
	else if (section == s->count)
		return false;
	if (how[0] % 5 > 2)
		return true;
	head = map_text_find(t, s->at[section].name);
	MUST(head != MAP_TEXT_NONE);
	i = section + 1 + how[2] % (section_end(s, section) - section);
	(void)snprintf(key, sizeof(key), "%s",
	    i < section_end(s, section) ? s->at[i].name : "new");
	if (how[0] % 5 == 0) {
		set(t, head, s, section, key);
	} else if (how[0] % 5 == 1) {
		unset(t, head, s, section, key);
	} else {
		map_text_remove(t, head);
		forget(s, section, section_end(s, section));
	}
	return true;
}

static void
compare(const struct map_text *t, const struct seen *want)
{
	static struct seen got;
	struct span bytes;
	char *text = map_text_join(t, &bytes.n);
	bool too_long;

	MUST(text != NULL);
	bytes.p = (uint8_t *)text;
	if (!look(bytes, &got, &too_long)) {
		MUST(too_long);
	} else {
		MUST(got.count == want->count);
		for (size_t i = 0; i < got.count; i++) {
			MUST(got.at[i].is_section == want->at[i].is_section);
			MUST(strcmp(got.at[i].name, want->at[i].name) == 0);
			MUST(strcmp(got.at[i].value, want->at[i].value) == 0);
		}
	}
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen seen;
	struct map_text *t;
	struct span in, out;
	bool too_long;
	char *text;

	if (size < 3 || size > SEEN_MAX)
		return 0;
	in = (struct span){data + 3, size - 3};
	t = map_text_new(in);
	MUST(t != NULL);
	text = map_text_join(t, &out.n);
	out.p = (uint8_t *)text;
	MUST(text != NULL && span_eq(in, out));
	free(text);
	if (look(in, &seen, &too_long) && edit(t, &seen, data))
		compare(t, &seen);
	map_text_free(t);
	return 0;
}
