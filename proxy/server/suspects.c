#include "server/suspects.h"

#include <string.h>

static struct network
host_of(const struct network *address)
{
	return address->version == 6 ? network_cut(address, 64) : *address;
}

/* Its place, or the one it would take. */
static size_t
place_of(const struct suspects *s, const struct network *who)
{
	size_t oldest = 0;

	for (size_t i = 0; i < SUSPECTS_MAX; i++) {
		if (memcmp(&s->all[i].who, who, sizeof(*who)) == 0)
			return i;
		if (s->all[i].over_ms < s->all[oldest].over_ms)
			oldest = i;
	}
	return oldest;
}

bool
suspects_same(const struct network *a, const struct network *b)
{
	struct network x = host_of(a), y = host_of(b);

	return memcmp(&x, &y, sizeof(x)) == 0;
}

bool
suspects_add(struct suspects *s, const struct network *address, uint64_t now_ms)
{
	bool is_new = !suspects_have(s, address, now_ms);
	struct network who = host_of(address);
	size_t i = place_of(s, &who);

	s->all[i].who = who;
	s->all[i].over_ms = now_ms + SUSPECT_MS;
	return is_new;
}

bool
suspects_have(
    const struct suspects *s, const struct network *address, uint64_t now_ms)
{
	struct network who = host_of(address);
	size_t i = place_of(s, &who);

	return memcmp(&s->all[i].who, &who, sizeof(who)) == 0 &&
	       now_ms < s->all[i].over_ms;
}
