#include "base/escape.h"

const char *
escape(char *out, size_t size, struct span in)
{
	static const char hex[] = "0123456789abcdef";
	size_t at = 0, cut = 0; /* cut: the last place where "..." still fits */

	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

		if (size - at >= sizeof("..."))
			cut = at;
		if (size - at <= (plain ? 1u : 4u)) {
			memcpy(out + cut, "...", sizeof("..."));
			return out;
		}
		if (plain) {
			out[at++] = (char)c;
			continue;
		}
		out[at++] = '\\';
		out[at++] = 'x';
		out[at++] = hex[c >> 4];
		out[at++] = hex[c & 15];
	}
	out[at] = '\0';
	return out;
}

void
tame(char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '"')
			*text = '\'';
		else if (*text < 0x20 || *text >= 0x7f)
			*text = '?';
	}
}
