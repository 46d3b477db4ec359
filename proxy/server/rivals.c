#include "server/rivals.h"

/* The row's last take-over is within a minute of its first. */
static bool
row_is_full(const struct rivals *r, uint64_t now_ms)
{
	uint64_t first_ms = r->taken_ms[r->oldest];

	return first_ms != 0 && now_ms - first_ms < RIVALS_ROW_MS;
}

static void
note(struct rivals *r, uint64_t now_ms)
{
	r->taken_ms[r->oldest] = now_ms;
	r->oldest = (r->oldest + 1) % RIVALS_ROW;
}

/* Whoever is in now has twice as long as the one before. */
static void
begin_wait(struct rivals *r, uint64_t now_ms)
{
	uint64_t ms = RIVALS_WAIT_MAX_MS;

	if (r->waits < 16)
		ms = (uint64_t)RIVALS_WAIT_FIRST_MS << r->waits;
	if (ms > RIVALS_WAIT_MAX_MS)
		ms = RIVALS_WAIT_MAX_MS;
	r->waits++;
	r->not_before_ms = now_ms + ms;
	r->row_ends_ms = r->not_before_ms + RIVALS_WAIT_MAX_MS;
}

bool
rivals_admit(struct rivals *r, uint64_t now_ms)
{
	if (now_ms >= r->row_ends_ms)
		r->waits = 0;
	if (now_ms < r->not_before_ms)
		return false;
	note(r, now_ms);
	if (r->waits > 0 || row_is_full(r, now_ms))
		begin_wait(r, now_ms);
	return true;
}

bool
rivals_are_at_it(const struct rivals *r)
{
	return r->waits > 0;
}

uint64_t
rivals_wait_ms(const struct rivals *r, uint64_t now_ms)
{
	return now_ms < r->not_before_ms ? r->not_before_ms - now_ms : 0;
}

bool
rivals_are_news(struct rivals *r, uint64_t now_ms, unsigned *untold)
{
	if (now_ms < r->news_from_ms) {
		r->untold++;
		return false;
	}
	*untold = r->untold;
	r->untold = 0;
	r->news_from_ms = now_ms + RIVALS_NEWS_MS;
	return true;
}

bool
rivals_are_cold(const struct rivals *r, uint64_t now_ms)
{
	unsigned newest = (r->oldest + RIVALS_ROW - 1) % RIVALS_ROW;

	return (r->taken_ms[newest] == 0 ||
		   now_ms - r->taken_ms[newest] >= RIVALS_ROW_MS) &&
	       now_ms >= r->row_ends_ms && now_ms >= r->news_from_ms;
}
