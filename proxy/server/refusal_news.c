#include "server/refusal_news.h"

#include <string.h>

static bool
is_of(const struct refusal_row *row, const struct network *who, uint64_t what)
{
	return row->ends_ms != 0 && row->what == what &&
	       memcmp(&row->who, who, sizeof(*who)) == 0;
}

/* Its row, or the one it gets. */
static struct refusal_row *
row_of(struct refusal_news *n, const struct network *who, uint64_t what)
{
	struct refusal_row *oldest = &n->all[0];

	for (size_t i = 0; i < REFUSAL_NEWS_MAX; i++) {
		if (is_of(&n->all[i], who, what))
			return &n->all[i];
		if (n->all[i].ends_ms < oldest->ends_ms)
			oldest = &n->all[i];
	}
	*oldest = (struct refusal_row){.who = *who, .what = what};
	return oldest;
}

static bool
is_worth_a_line(struct refusal_row *row, unsigned at_first, uint64_t now_ms)
{
	if (now_ms < row->ends_ms && row->told >= at_first) {
		row->untold++;
		return false;
	}
	if (now_ms >= row->ends_ms) {
		row->ends_ms = now_ms + REFUSAL_NEWS_MS;
		/* whoever has gone on and on has had his first lines */
		row->told = row->untold > 0 ? at_first - 1 : 0;
	}
	return true;
}

static unsigned
take_untold(struct refusal_row *row)
{
	unsigned untold = row->untold;

	row->told++;
	row->untold = 0;
	return untold;
}

bool
refusal_news_tell(struct refusal_news *n, const struct network *who,
    uint64_t what, uint64_t now_ms, unsigned *untold)
{
	struct network host = who->version == 6 ? network_cut(who, 64) : *who;
	struct refusal_row *device, *address;

	*untold = 0;
	device = row_of(n, &host, what != 0 ? what : 1);
	if (!is_worth_a_line(device, REFUSAL_NEWS_OF_DEVICE, now_ms))
		return false;
	address = row_of(n, &host, 0);
	if (!is_worth_a_line(address, REFUSAL_NEWS_OF_ADDRESS, now_ms))
		return false;
	*untold = take_untold(device) + take_untold(address);
	return true;
}
