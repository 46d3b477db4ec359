#include "codec/json.h"

#include "codec/utf8.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the UTF-8 character at <s>, of at most <left>; 0: it is none. */
static size_t
character_bytes(const uint8_t *s, size_t left)
{
	for (size_t n = 1; n <= 4 && n <= left; n++)
		if (utf8_valid((struct span){s, n}))
			return n;
	return 0;
}

static void
add_character(struct text *out, const uint8_t *s, size_t n)
{
	if (n == 0)
		text_add(out, "\\ufffd");
	else if (s[0] == '"' || s[0] == '\\')
		text_add(out, "\\%c", s[0]);
	else if (s[0] < 0x20 || s[0] == 0x7f)
		text_add(out, "\\u%04x", (unsigned)s[0]);
	else if (s[0] == 0xc2 && s[1] < 0xa0)
		text_add(out, "\\u%04x", (unsigned)s[1]);
	else
		text_add(out, "%.*s", (int)n, (const char *)s);
}

void
json_add_string(struct text *out, const char *s)
{
	const uint8_t *at = (const uint8_t *)s;
	size_t left = strlen(s);

	text_add(out, "\"");
	while (left > 0) {
		size_t n = character_bytes(at, left);

		add_character(out, at, n);
		n = n > 0 ? n : 1;
		at += n;
		left -= n;
	}
	text_add(out, "\"");
}
