/*
 * The input is what a load balancer sends first. It is read in parts that grow
 * by a byte: as long as more is asked for nothing is known, and once it is
 * decided it stays so, whatever follows.
 */
#include "fuzz.h"

#include "codec/proxy_protocol.h"

#include <string.h>

static void
check_source(const struct proxy_source *s)
{
	static const uint8_t zero[16];

	MUST(s->version == 0 || s->version == 4 || s->version == 6);
	if (s->version == 0)
		MUST(memcmp(s->address, zero, sizeof(zero)) == 0 &&
		     s->port == 0);
	if (s->version == 4)
		MUST(memcmp(s->address + 4, zero, 12) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_source first = {0};
	enum parse decided = PARSE_MORE;
	size_t most = size < 300 ? size : 300, at = 0;

	for (size_t n = 0; n <= size; n += n < most ? 1 : 997) {
		uint8_t *part = malloc(n > 0 ? n : 1);
		struct proxy_source source;
		struct fault why;
		enum parse got;
		size_t used;

		MUST(part != NULL);
		if (n > 0)
			memcpy(part, data, n);
		got = proxy_protocol_read(
		    (struct span){part, n}, &source, &used, &why);
		free(part);
		check_source(&source);
		MUST((used > 0) == (got == PARSE_OK) && used <= n);
		if (got == PARSE_BAD)
			MUST(why.why == R_BAD_PROXY_HEADER);
		if (got == PARSE_MORE)
			MUST(n < PROXY_PROTOCOL_MAX);
		if (decided == PARSE_MORE) {
			decided = got;
			first = source;
			at = used;
		}
		MUST(got == decided && used == at);
		MUST(memcmp(&source, &first, sizeof(source)) == 0);
	}
	return 0;
}
