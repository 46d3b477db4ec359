#include "settings/pattern.h"

#include <stdio.h>

unsigned
pattern_places(const char *text, const char *mark)
{
	unsigned n = 0;

	while ((text = strstr(text, mark)) != NULL) {
		text += strlen(mark);
		n++;
	}
	return n;
}

bool
pattern_fits(
    const char *pattern, const char *mark, const char *text, struct span *part)
{
	const char *place = strstr(pattern, mark);
	const char *behind;
	size_t before, after, n = strlen(text);

	if (place == NULL)
		return false;
	before = (size_t)(place - pattern);
	behind = place + strlen(mark);
	after = strlen(behind);
	if (n <= before + after || memcmp(text, pattern, before) != 0 ||
	    memcmp(text + n - after, behind, after) != 0)
		return false;
	part->p = (const uint8_t *)text + before;
	part->n = n - before - after;
	return true;
}

bool
pattern_fill(char *out, size_t size, const char *pattern, const char *mark,
    struct span part)
{
	const char *place = strstr(pattern, mark);
	int n;

	if (place == NULL)
		n = snprintf(out, size, "%s", pattern);
	else
		n = snprintf(out, size, "%.*s%.*s%s", (int)(place - pattern),
		    pattern, (int)part.n, (const char *)part.p,
		    place + strlen(mark));
	return n >= 0 && (size_t)n < size;
}
