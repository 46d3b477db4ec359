#include "base/log_json.h"

#include <stdbool.h>
#include <string.h>

struct field {
	struct span key;
	struct span value;
	bool is_quoted;
};

struct output {
	char *at;
	size_t n;
	bool full; /* nothing may follow but the end */
};

enum {
	END_BYTES = 2,                   /* "}\n" */
	CUT_BYTES = sizeof("...\"") - 1, /* behind a value that is cut */
	CHARACTER_BYTES = sizeof("\\\\xHH") - 1,
	ROOM = LOG_JSON_MAX - END_BYTES - CUT_BYTES
};

/* ---- reading ---- */

/* Where the value that begins at <s> with a quote ends: at a quote with a blank
   or nothing behind it; a line that was cut has none. */
static size_t
quoted_bytes(struct span s)
{
	for (size_t i = 1; i < s.n; i++)
		if (s.p[i] == '"' && (i + 1 == s.n || s.p[i + 1] == ' '))
			return i + 1;
	return s.n;
}

static size_t
bytes_before(struct span s, char end)
{
	const uint8_t *at = s.n > 0 ? memchr(s.p, end, s.n) : NULL;

	return at != NULL ? (size_t)(at - s.p) : s.n;
}

static void
skip(struct span *s, size_t n)
{
	s->p += n;
	s->n -= n;
}

/* Takes the next field off <*line>; false: there is none. */
static bool
next_field(struct span *line, struct field *f)
{
	size_t n = bytes_before(*line, '=');

	if (n == 0 || n >= bytes_before(*line, ' '))
		return false;
	f->key = (struct span){line->p, n};
	skip(line, n + 1);
	f->is_quoted = line->n > 0 && line->p[0] == '"';
	n = f->is_quoted ? quoted_bytes(*line) : bytes_before(*line, ' ');
	f->value = (struct span){line->p, n};
	skip(line, n < line->n ? n + 1 : n);
	if (!f->is_quoted)
		return true;
	skip(&f->value, 1);
	if (f->value.n > 0 && f->value.p[f->value.n - 1] == '"')
		f->value.n--;
	return true;
}

/* "key=%u", with any flags, width and length, is in <fmt>. */
static bool
is_formatted_as_number(const char *fmt, struct span key)
{
	for (; *fmt != '\0'; fmt += strspn(fmt, " ")) {
		bool is_it = strncmp(fmt, (const char *)key.p, key.n) == 0 &&
			     strncmp(fmt + key.n, "=%", 2) == 0;

		if (is_it) {
			fmt += key.n + 2;
			fmt += strspn(fmt, "0123456789hljzt");
			return *fmt == 'u' || *fmt == 'd';
		}
		fmt += strcspn(fmt, " ");
	}
	return false;
}

static bool
is_number(const struct field *f, const char *fmt)
{
	size_t digits = 0;

	for (size_t i = 0; i < f->value.n; i++)
		if (f->value.p[i] >= '0' && f->value.p[i] <= '9')
			digits++;
		else if (i > 0 || f->value.p[i] != '-')
			return false;
	return digits > 0 && !f->is_quoted &&
	       is_formatted_as_number(fmt, f->key);
}

/* ---- writing ---- */

static void
put(struct output *o, const char *text, size_t n)
{
	memcpy(o->at + o->n, text, n);
	o->n += n;
}

static void
put_character(struct output *o, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";

	if (c < 0x20 || c >= 0x7f) {
		const char text[] = {'\\', '\\', 'x', hex[c >> 4], hex[c & 15]};

		put(o, text, sizeof(text));
		return;
	}
	if (c == '"' || c == '\\')
		put(o, "\\", 1);
	put(o, (const char *)&c, 1);
}

static void
put_string(struct output *o, struct span s)
{
	put(o, "\"", 1);
	for (size_t i = 0; i < s.n && !o->full; i++) {
		o->full = o->n + CHARACTER_BYTES > ROOM;
		if (!o->full)
			put_character(o, s.p[i]);
	}
	if (o->full)
		put(o, "...", 3);
	put(o, "\"", 1);
}

/* What surrounds the value is ASCII of ours: keys and digits. */
static void
put_field(struct output *o, const struct field *f, const char *fmt)
{
	const size_t around = sizeof(",\"\":\"\"") - 1;

	if (o->n + around + f->key.n + CHARACTER_BYTES > ROOM) {
		o->full = true;
		return;
	}
	put(o, o->n > 1 ? ",\"" : "\"", o->n > 1 ? 2 : 1);
	put(o, (const char *)f->key.p, f->key.n);
	put(o, "\":", 2);
	if (is_number(f, fmt) && o->n + f->value.n <= ROOM)
		put(o, (const char *)f->value.p, f->value.n);
	else
		put_string(o, f->value);
}

size_t
log_json_write(char out[static LOG_JSON_MAX], struct span line, const char *fmt)
{
	struct output o = {.at = out};
	struct field f;

	put(&o, "{", 1);
	while (!o.full && next_field(&line, &f))
		put_field(&o, &f, fmt);
	put(&o, "}\n", END_BYTES);
	return o.n;
}
