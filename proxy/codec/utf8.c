#include "codec/utf8.h"

/*
 * What a lead byte of more than one byte asks for: how many bytes follow, and
 * the range of the first of them, which is where RFC 3629 section 4 shuts out
 * overlong forms (E0, F0), surrogates (ED) and what lies above U+10FFFF (F4).
 */
struct lead {
	size_t more;
	uint8_t low;
	uint8_t high;
};

static bool
lead_read(uint8_t c, struct lead *out)
{
	*out = (struct lead){1, 0x80, 0xbf};
	if (c < 0xc2 || c > 0xf4)
		return false;
	if (c < 0xe0)
		return true;
	out->more = c < 0xf0 ? 2 : 3;
	if (c == 0xe0)
		out->low = 0xa0;
	else if (c == 0xed)
		out->high = 0x9f;
	else if (c == 0xf0)
		out->low = 0x90;
	else if (c == 0xf4)
		out->high = 0x8f;
	return true;
}

bool
utf8_valid(struct span s)
{
	struct lead lead;
	struct span tail;
	uint8_t c;

	while (span_take_u8(&s, &c)) {
		if (c < 0x80)
			continue;
		if (!lead_read(c, &lead) || !span_take(&s, lead.more, &tail))
			return false;
		if (tail.p[0] < lead.low || tail.p[0] > lead.high)
			return false;
		for (size_t i = 1; i < tail.n; i++)
			if ((tail.p[i] & 0xc0) != 0x80)
				return false;
	}
	return true;
}
