#include "settings/topic_text.h"

#include "codec/utf8.h"

static const char hex[] = "0123456789ABCDEF";

static void
begin(struct topic_text *t, size_t bytes_max, unsigned slashes_max)
{
	t->result = TOPIC_MAPPED;
	t->limit = NULL;
	t->n = 0;
	t->bytes_max = bytes_max;
	t->slashes = 0;
	t->slashes_max = slashes_max;
}

void
topic_text_begin_lan(struct topic_text *t)
{
	begin(t, TOPIC_LAN_BYTES_MAX, TOPIC_LAN_BYTES_MAX);
}

void
topic_text_begin_cloud(struct topic_text *t)
{
	begin(t, TOPIC_CLOUD_BYTES_MAX, TOPIC_CLOUD_SLASHES_MAX);
}

void
topic_text_begin_filter(struct topic_text *t, struct span share)
{
	begin(t, TOPIC_SHARE_BYTES_MAX, TOPIC_SHARE_BYTES_MAX);
	topic_text_put(t, share);
	t->bytes_max = t->n + TOPIC_CLOUD_BYTES_MAX;
	t->slashes = 0;
	t->slashes_max = TOPIC_CLOUD_SLASHES_MAX;
}

struct span
topic_text_span(const struct topic_text *t)
{
	return (struct span){t->p, t->n};
}

void
topic_text_unfit(struct topic_text *t)
{
	t->result = TOPIC_UNMAPPED;
	t->limit = NULL;
}

static void
too_long(struct topic_text *t, const char *limit)
{
	t->result = TOPIC_TOO_LONG;
	t->limit = limit;
}

void
topic_text_put(struct topic_text *t, struct span s)
{
	if (t->result != TOPIC_MAPPED)
		return;
	if (s.n > t->bytes_max - t->n) {
		too_long(t, t->slashes_max == TOPIC_CLOUD_SLASHES_MAX
				? "at most 128 bytes"
				: "at most 256 bytes");
		return;
	}
	for (size_t i = 0; i < s.n; i++) {
		t->p[t->n++] = s.p[i];
		if (s.p[i] == '/' && ++t->slashes > t->slashes_max) {
			too_long(t, "at most 7 slashes");
			return;
		}
	}
}

void
topic_text_put_open(struct topic_text *t)
{
	struct span open = SPAN_OF("/#");

	if (t->slashes < t->slashes_max && open.n <= t->bytes_max - t->n)
		topic_text_put(t, open);
}

static bool
is_alnum(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

bool
topic_text_is_plain(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_alnum(s.p[i]) && s.p[i] != '_')
			return false;
	return true;
}

bool
topic_text_is_system(struct span s)
{
	static const struct span words[] = {SPAN_OF("sys"), SPAN_OF("ext"),
	    SPAN_OF("ota"), SPAN_OF("shadow"), SPAN_OF("broadcast")};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (span_eq(s, words[i]))
			return true;
	return false;
}

bool
topic_text_is_level(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\0' || s.p[i] == '+' || s.p[i] == '#' ||
		    s.p[i] == '/')
			return false;
	return true;
}

int
topic_text_order(struct span a, struct span b)
{
	if (a.n != b.n)
		return a.n < b.n ? -1 : 1;
	return a.n > 0 ? memcmp(a.p, b.p, a.n) : 0;
}

static void
put_byte(struct topic_text *t, uint8_t c)
{
	topic_text_put(t, (struct span){&c, 1});
}

static void
put_plain(struct topic_text *t, struct span s)
{
	if (!topic_text_is_plain(s))
		topic_text_unfit(t);
	topic_text_put(t, s);
}

void
topic_text_put_escaped(struct topic_text *t, struct span s, bool escape)
{
	if (!escape) {
		put_plain(t, s);
		return;
	}
	if (!topic_text_is_level(s) || !utf8_valid(s))
		topic_text_unfit(t);
	if (s.n == 0)
		put_byte(t, '_');
	for (size_t i = 0; i < s.n && t->result == TOPIC_MAPPED; i++) {
		uint8_t c = s.p[i];

		if (!is_alnum(c))
			put_byte(t, '_');
		if (is_alnum(c) || c == '_') {
			put_byte(t, c);
		} else {
			put_byte(t, (uint8_t)hex[c >> 4]);
			put_byte(t, (uint8_t)hex[c & 15]);
		}
	}
}

/* The value of a capital hexadecimal digit, or -1. */
static int
digit_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Takes one byte of a level off its escaped form, not empty; false: that is
   none. */
static bool
take_byte(struct span *in, uint8_t *out)
{
	uint8_t first = in->p[0];
	size_t used = 1;
	struct span s;

	if (is_alnum(first)) {
		*out = first;
	} else if (first == '_' && in->n >= 2 && in->p[1] == '_') {
		*out = '_';
		used = 2;
	} else if (first == '_' && in->n >= 3) {
		int high = digit_value(in->p[1]), low = digit_value(in->p[2]);

		if (high < 0 || low < 0)
			return false;
		*out = (uint8_t)(high << 4 | low);
		used = 3;
		/* these have a shorter form */
		if (is_alnum(*out) || *out == '_')
			return false;
	} else {
		return false;
	}
	return span_take(in, used, &s);
}

void
topic_text_put_unescaped(struct topic_text *t, struct span s, bool escape)
{
	size_t begin = t->n;
	struct span level;
	uint8_t c;

	if (!escape) {
		put_plain(t, s);
		return;
	}
	if (s.n == 0)
		topic_text_unfit(t);
	if (span_eq(s, SPAN_OF("_")))
		return;
	while (s.n > 0 && t->result == TOPIC_MAPPED) {
		if (take_byte(&s, &c))
			put_byte(t, c);
		else
			topic_text_unfit(t);
	}
	level = (struct span){t->p + begin, t->n - begin};
	if (t->result == TOPIC_MAPPED &&
	    (!topic_text_is_level(level) || !utf8_valid(level)))
		topic_text_unfit(t);
}
