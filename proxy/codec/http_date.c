#include "codec/http_date.h"

#include "base/date.h"

#include <string.h>
#include <time.h>

bool
http_date_read(struct span text, uint64_t *out)
{
	struct tm tm = {0};
	char copy[40];
	const char *end;
	int64_t s;

	if (text.n == 0 || text.n >= sizeof(copy))
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	end = strptime(copy, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (end == NULL || *end != '\0')
		return false;
	s = date_seconds(&tm);
	if (s < 0)
		return false;
	*out = (uint64_t)s;
	return true;
}
