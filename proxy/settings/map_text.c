#include "settings/map_text.h"

#include "base/secret.h"
#include "codec/utf8.h"
#include "settings/map_heads.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Without its line end. */
struct line {
	char *text;
	uint32_t n;
	bool crlf;
	bool own; /* allocated for itself, not a part of <bytes> */
};

struct map_text {
	char *bytes; /* as it was read */
	size_t size;
	struct line *lines;
	size_t count;
	size_t cap;
	struct map_heads heads; /* none: to be looked for */
	bool has_mark;          /* a byte order mark */
	bool crlf;              /* new lines end so */
	bool ends;              /* the last line has a line end */
};

enum kind { LINE_EMPTY, LINE_COMMENT, LINE_HEAD, LINE_VALUE, LINE_OTHER };

static const char mark[] = "\xef\xbb\xbf";

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* [from, to) without blanks around it. */
static struct span
trimmed(const char *from, const char *to)
{
	while (from < to && is_blank(*from))
		from++;
	while (to > from && is_blank(to[-1]))
		to--;
	return (struct span){(const uint8_t *)from, (size_t)(to - from)};
}

/* Its end, without the CR that a last line may have. */
static const char *
end_of(const struct line *l)
{
	const char *end = l->text + l->n;

	return l->n > 0 && end[-1] == '\r' ? end - 1 : end;
}

/* What a line is; <name> and <value> are what it says. A head that is not well
   formed has an empty name: what stands below is no other section's. */
static enum kind
read_line(const struct line *l, struct span *name, struct span *value)
{
	const char *end = end_of(l);
	struct span all = trimmed(l->text, end);
	const char *sign;

	*name = *value = (struct span){(const uint8_t *)l->text, 0};
	if (all.n == 0)
		return LINE_EMPTY;
	if (*all.p == ';' || *all.p == '#')
		return LINE_COMMENT;
	if (*all.p == '[') {
		sign = memchr(l->text, ']', (size_t)(end - l->text));
		if (*l->text == '[' && sign != NULL)
			*name = (struct span){(const uint8_t *)l->text + 1,
			    (size_t)(sign - l->text) - 1};
		return LINE_HEAD;
	}
	sign = memchr(l->text, '=', (size_t)(end - l->text));
	if (sign == NULL || is_blank(*l->text))
		return LINE_OTHER;
	*name = trimmed(l->text, sign);
	*value = trimmed(sign + 1, end);
	return LINE_VALUE;
}

static enum kind
kind_of(const struct map_text *t, size_t line)
{
	struct span name, value;

	return read_line(&t->lines[line], &name, &value);
}

static void
drop_text(struct line *l)
{
	if (!l->own)
		return;
	secret_wipe_bytes(l->text, l->n);
	free(l->text);
}

void
map_text_free(struct map_text *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->count; i++)
		drop_text(&t->lines[i]);
	map_heads_clear(&t->heads);
	free(t->lines);
	if (t->size > 0)
		secret_wipe_bytes(t->bytes, t->size);
	free(t->bytes);
	free(t);
}

/* Room for one more line. */
static bool
grow(struct map_text *t)
{
	size_t cap = t->cap > 0 ? 2 * t->cap : 64;
	struct line *more;

	if (t->count < t->cap)
		return true;
	if (t->count >= MAP_TEXT_LINES_MAX)
		return false;
	more = reallocarray(t->lines, cap, sizeof(*more));
	if (more == NULL)
		return false;
	t->lines = more;
	t->cap = cap;
	return true;
}

/* Makes lines of <bytes>, from <at> on. */
static bool
split(struct map_text *t, char *at)
{
	char *end = t->bytes + t->size;

	t->ends = true;
	while (at < end) {
		char *sign = memchr(at, '\n', (size_t)(end - at));
		char *stop = sign != NULL ? sign : end;
		bool crlf = sign != NULL && sign > at && sign[-1] == '\r';

		if (!grow(t))
			return false;
		if (t->count == 0)
			t->crlf = crlf;
		t->ends = sign != NULL;
		if (!t->ends && stop[-1] != '\r') /* for one behind it */
			crlf = t->crlf;
		else if (crlf)
			stop--;
		t->lines[t->count++] = (struct line){
		    .text = at, .n = (uint32_t)(stop - at), .crlf = crlf};
		at = sign != NULL ? sign + 1 : end;
	}
	return true;
}

struct map_text *
map_text_new(struct span bytes)
{
	struct map_text *t;

	if (bytes.n > MAP_TEXT_MAX)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->bytes = malloc(bytes.n + 1);
	if (t->bytes != NULL) {
		if (bytes.n > 0)
			memcpy(t->bytes, bytes.p, bytes.n);
		t->size = bytes.n;
		t->has_mark = bytes.n >= strlen(mark) &&
			      memcmp(bytes.p, mark, strlen(mark)) == 0;
		if (split(t, t->bytes + (t->has_mark ? strlen(mark) : 0)))
			return t;
	}
	map_text_free(t);
	return NULL;
}

static char *
put(char *at, const char *bytes, size_t n)
{
	if (n > 0)
		memcpy(at, bytes, n);
	return at + n;
}

char *
map_text_join(const struct map_text *t, size_t *n)
{
	size_t size = strlen(mark);
	char *bytes, *at;

	for (size_t i = 0; i < t->count; i++)
		size += t->lines[i].n + strlen("\r\n");
	bytes = at = malloc(size);
	if (bytes == NULL)
		return NULL;
	if (t->has_mark)
		at = put(at, mark, strlen(mark));
	for (size_t i = 0; i < t->count; i++) {
		const struct line *l = &t->lines[i];

		at = put(at, l->text, l->n);
		if (i + 1 < t->count || t->ends)
			at = l->crlf ? put(at, "\r\n", 2) : put(at, "\n", 1);
	}
	*n = (size_t)(at - bytes);
	return bytes;
}

const char *
map_text_objection(struct span value)
{
	if (value.n > 0 && (is_blank((char)value.p[0]) ||
			       is_blank((char)value.p[value.n - 1])))
		return "it starts or ends with a blank, which a value in this "
		       "file cannot";
	for (size_t i = 0; i < value.n; i++) {
		uint8_t c = value.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return "it holds a control character";
		if ((c == ';' || c == '#') && !span_eq(value, SPAN_OF("#")) &&
		    (i == 0 || is_blank((char)value.p[i - 1])))
			return "a ';' or '#' at the start of a word would look "
			       "like a comment";
	}
	return utf8_valid(value) ? NULL : "it is not UTF-8";
}

/* Puts a line there, which then owns <text>. False without memory: <text> is
   gone too. */
static bool
insert(struct map_text *t, size_t line, char *text, size_t n)
{
	struct line added = {text, (uint32_t)n, t->crlf, true};

	if (text == NULL || !grow(t)) {
		if (text != NULL)
			drop_text(&added);
		return false;
	}
	map_heads_clear(&t->heads);
	memmove(t->lines + line + 1, t->lines + line,
	    (t->count - line) * sizeof(*t->lines));
	t->lines[line] = added;
	t->count++;
	return true;
}

/* Takes lines [from, to) out. */
static void
take_out(struct map_text *t, size_t from, size_t to)
{
	map_heads_clear(&t->heads);
	for (size_t i = from; i < to; i++)
		drop_text(&t->lines[i]);
	memmove(t->lines + from, t->lines + to,
	    (t->count - to) * sizeof(*t->lines));
	t->count -= to - from;
}

/* Three texts one behind the other. NULL without memory. */
static char *
compose(struct span a, struct span b, struct span c)
{
	char *text = malloc(a.n + b.n + c.n + 1);

	if (text == NULL)
		return NULL;
	(void)put(
	    put(put(text, (const char *)a.p, a.n), (const char *)b.p, b.n),
	    (const char *)c.p, c.n);
	return text;
}

/* False without memory. */
static bool
look_for_heads(struct map_text *t)
{
	struct span name, value;

	for (size_t i = 0; i < t->count; i++)
		if (t->lines[i].n > 0 && t->lines[i].text[0] == '[' &&
		    read_line(&t->lines[i], &name, &value) == LINE_HEAD &&
		    name.n > 0 && !map_heads_add(&t->heads, name, i)) {
			map_heads_clear(&t->heads);
			return false;
		}
	map_heads_sort(&t->heads);
	return true;
}

size_t
map_text_find(struct map_text *t, const char *section)
{
	const struct map_head *found;

	if (t->heads.count == 0 && !look_for_heads(t))
		return MAP_TEXT_NONE;
	found = map_heads_find(&t->heads, span_of_string(section));
	return found != NULL ? found->line : MAP_TEXT_NONE;
}

size_t
map_text_append(struct map_text *t, const char *section)
{
	struct span name = span_of_string(section);
	size_t before = t->count;
	char *text;

	assert(strchr(section, ']') == NULL);
	if (t->count > 0 && !insert(t, t->count, malloc(1), 0))
		return MAP_TEXT_NONE;
	text = compose(SPAN_OF("["), name, SPAN_OF("]"));
	if (insert(t, t->count, text, name.n + 2))
		return t->count - 1;
	take_out(t, before, t->count);
	return MAP_TEXT_NONE;
}

/* The line behind a section: the next head, or the end. */
static size_t
section_end(const struct map_text *t, size_t head)
{
	size_t line = head + 1;

	while (line < t->count && kind_of(t, line) != LINE_HEAD)
		line++;
	return line;
}

/* The last line of a section that is no comment and not empty; its head, if
   need be. */
static size_t
last_key(const struct map_text *t, size_t head)
{
	size_t line = section_end(t, head) - 1;

	while (line > head && (kind_of(t, line) == LINE_EMPTY ||
				  kind_of(t, line) == LINE_COMMENT))
		line--;
	return line;
}

void
map_text_remove(struct map_text *t, size_t head)
{
	size_t end = section_end(t, head);
	size_t from = head;
	size_t to = last_key(t, head) + 1;
	size_t comments = to;

	while (from > 0 && kind_of(t, from - 1) == LINE_COMMENT)
		from--;
	if (from == 0)
		from = head; /* the file's own comments */
	while (comments < end && kind_of(t, comments) == LINE_COMMENT)
		comments++;
	if (comments < end || end == t->count)
		to = comments;
	if (from > 0 && kind_of(t, from - 1) == LINE_EMPTY)
		from--;
	else if (from == 0 && to < t->count && kind_of(t, to) == LINE_EMPTY)
		to++;
	take_out(t, from, to);
}

size_t
map_text_line(const struct map_text *t, size_t head, const char *key)
{
	const struct span wanted = span_of_string(key);
	size_t end = section_end(t, head);
	struct span name, value;

	for (size_t line = head + 1; line < end; line++)
		if (read_line(&t->lines[line], &name, &value) == LINE_VALUE &&
		    span_eq(name, wanted))
			return line;
	return MAP_TEXT_NONE;
}

bool
map_text_replace(struct map_text *t, size_t line, struct span value)
{
	struct line *l = &t->lines[line];
	struct span before, name, old;
	const char *sign;
	char *text;
	bool spaced;

	if (read_line(l, &name, &old) != LINE_VALUE)
		return false;
	sign = memchr(l->text, '=', l->n);
	/* "name =": an empty value has not shown what stands before one */
	spaced = old.n == 0 && sign > l->text && is_blank(sign[-1]);
	before = (struct span){(const uint8_t *)l->text,
	    old.n == 0 ? (size_t)(sign + 1 - l->text)
		       : (size_t)((const char *)old.p - l->text)};
	text = compose(before, spaced ? SPAN_OF(" ") : SPAN_OF(""), value);
	if (text == NULL)
		return false;
	drop_text(l);
	*l = (struct line){.text = text,
	    .n = (uint32_t)(before.n + spaced + value.n),
	    .crlf = l->crlf,
	    .own = true};
	return true;
}

bool
map_text_set(
    struct map_text *t, size_t head, const char *key, struct span value)
{
	size_t line = map_text_line(t, head, key);
	struct span name = span_of_string(key);

	assert(map_text_objection(value) == NULL);
	if (line != MAP_TEXT_NONE)
		return map_text_replace(t, line, value);
	return insert(t, last_key(t, head) + 1,
	    compose(name, SPAN_OF(" = "), value), name.n + 3 + value.n);
}

bool
map_text_unset(struct map_text *t, size_t head, const char *key)
{
	bool had = false;
	size_t line;

	while ((line = map_text_line(t, head, key)) != MAP_TEXT_NONE) {
		take_out(t, line, line + 1);
		had = true;
	}
	return had;
}

bool
map_text_at(const struct map_text *t, size_t line, struct map_text_value *out)
{
	out->line = line;
	return line < t->count &&
	       read_line(&t->lines[line], &out->key, &out->value) == LINE_VALUE;
}

bool
map_text_next(const struct map_text *t, struct map_text_value *at)
{
	/* a key needs a section before it: line 0 has none */
	for (size_t line = at->line + (at->section.p != NULL); line < t->count;
	     line++) {
		switch (read_line(&t->lines[line], &at->key, &at->value)) {
		case LINE_HEAD:
			at->section = at->key;
			break;
		case LINE_VALUE:
			at->line = line;
			if (at->section.p != NULL)
				return true;
			break;
		case LINE_EMPTY:
		case LINE_COMMENT:
		case LINE_OTHER:
			break;
		}
	}
	return false;
}
