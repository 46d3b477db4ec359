#include "codec/sliding.h"

void
sliding_count_init(struct sliding_count *s, uint64_t *ring, uint32_t max)
{
	*s = (struct sliding_count){.at_ms = ring, .max = max};
}

uint64_t
sliding_count_due_ms(const struct sliding_count *s)
{
	return s->n < s->max ? 0 : s->at_ms[s->next] + SLIDING_WINDOW_MS;
}

void
sliding_count_add(struct sliding_count *s, uint64_t now_ms)
{
	s->at_ms[s->next] = now_ms;
	s->next = s->next + 1 < s->max ? s->next + 1 : 0;
	if (s->n < s->max)
		s->n++;
}

uint64_t
sliding_bytes_due_ms(const struct sliding_bytes *s, uint64_t n, uint64_t max)
{
	uint64_t rest = n < max ? max - n : 0; /* what may be there already */
	uint64_t sum = s->sum;
	uint64_t number = s->newest;

	/* when bucket <number> begins, the one it replaces is forgotten */
	while (sum > rest)
		sum -= s->bytes[++number % SLIDING_BUCKETS];
	return number == s->newest ? 0 : number * SLIDING_BUCKET_MS;
}

/* Forgets what is not in the window any more at <number>. */
static void
advance(struct sliding_bytes *s, uint64_t number)
{
	if (number >= s->newest + SLIDING_BUCKETS) {
		*s = (struct sliding_bytes){.newest = number};
		return;
	}
	while (s->newest < number) {
		uint64_t *oldest = &s->bytes[++s->newest % SLIDING_BUCKETS];

		s->sum -= *oldest;
		*oldest = 0;
	}
}

void
sliding_bytes_add(struct sliding_bytes *s, uint64_t n, uint64_t now_ms)
{
	advance(s, now_ms / SLIDING_BUCKET_MS);
	s->bytes[s->newest % SLIDING_BUCKETS] += n;
	s->sum += n;
}
