#include "codec/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "abcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_write(struct span in, char *out)
{
	uint32_t bits = 0;
	unsigned held = 0; /* of <bits>, the lowest are not written yet */

	for (size_t i = 0; i < in.n; i++) {
		bits = bits << 8 | in.p[i];
		for (held += 8; held >= 6; held -= 6)
			*out++ = digits[bits >> (held - 6) & 63];
	}
	if (held > 0)
		*out++ = digits[bits << (6 - held) & 63];
	*out = '\0';
}

bool
base64_read(struct span text, uint8_t *out, size_t size, size_t *n)
{
	uint32_t bits = 0;
	unsigned held = 0; /* of <bits>, the lowest are not in <out> yet */

	*n = 0;
	for (size_t i = 0; i < text.n; i++) {
		const char *digit =
		    memchr(digits, text.p[i], sizeof(digits) - 1);

		if (digit == NULL)
			return false;
		bits = bits << 6 | (uint32_t)(digit - digits);
		held += 6;
		if (held < 8)
			continue;
		held -= 8;
		if (*n == size)
			return false;
		out[(*n)++] = (uint8_t)(bits >> held);
	}
	return held < 6 && (bits & ((1u << held) - 1)) == 0;
}
