#include "link/holdoff.h"

#include "base/clock.h"
#include "codec/http_date.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { HOLDOFFS_MAX = 64 }; /* hosts; the oldest is forgotten */

struct holdoff {
	TAILQ_ENTRY(holdoff) next;
	uint64_t until_ms; /* of clock_mono_ms() */
	uint16_t port;
	char host[256];
};

struct holdoffs {
	TAILQ_HEAD(holdoff_list, holdoff) all;
	unsigned count;
};

struct holdoffs *
holdoffs_new(void)
{
	struct holdoffs *h = calloc(1, sizeof(*h));

	if (h != NULL)
		TAILQ_INIT(&h->all);
	return h;
}

static void
forget(struct holdoffs *h, struct holdoff *one)
{
	TAILQ_REMOVE(&h->all, one, next);
	h->count--;
	free(one);
}

void
holdoffs_free(struct holdoffs **h)
{
	struct holdoff *one;

	if (*h == NULL)
		return;
	while ((one = TAILQ_FIRST(&(*h)->all)) != NULL)
		forget(*h, one);
	free(*h);
	*h = NULL;
}

static struct holdoff *
find(const struct holdoffs *h, const char *host, uint16_t port)
{
	struct holdoff *one;

	TAILQ_FOREACH (one, &h->all, next)
		if (one->port == port && strcmp(one->host, host) == 0)
			return one;
	return NULL;
}

/* "120", or "Fri, 31 Dec 1999 23:59:59 GMT"; 0: neither, or in the past. */
static uint64_t
wait_of(struct span retry_after)
{
	char text[40], *end;
	uint64_t now_s = clock_wall_ms() / 1000;
	uint64_t s;

	if (retry_after.n == 0 || retry_after.n >= sizeof(text))
		return 0;
	memcpy(text, retry_after.p, retry_after.n);
	text[retry_after.n] = '\0';
	if (text[0] >= '0' && text[0] <= '9') {
		s = strtoull(text, &end, 10);
		return *end == '\0' && s < UINT64_MAX / 1000 ? s * 1000 : 0;
	}
	if (!http_date_read(retry_after, &s))
		return 0;
	return s > now_s ? (s - now_s) * 1000 : 0;
}

void
holdoff_set(struct holdoffs *h, const char *host, uint16_t port,
    struct span retry_after, uint64_t max_ms)
{
	uint64_t wait_ms = wait_of(retry_after);
	struct holdoff *one;

	if (wait_ms > max_ms)
		wait_ms = max_ms;
	if (wait_ms == 0)
		return;
	one = find(h, host, port);
	if (one == NULL) {
		one = calloc(1, sizeof(*one));
		if (one == NULL)
			return; /* the next dial will be told again */
		if (h->count == HOLDOFFS_MAX)
			forget(h, TAILQ_FIRST(&h->all));
		(void)snprintf(one->host, sizeof(one->host), "%s", host);
		one->port = port;
		TAILQ_INSERT_TAIL(&h->all, one, next);
		h->count++;
	}
	one->until_ms = clock_mono_ms() + wait_ms;
}

bool
holdoff_asked(
    struct holdoffs *h, const char *host, uint16_t port, struct fault *why)
{
	struct holdoff *one = find(h, host, port);
	uint64_t now_ms = clock_mono_ms();

	if (one == NULL)
		return false;
	if (now_ms >= one->until_ms) {
		forget(h, one);
		return false;
	}
	(void)fault_set(why, R_CLOUD_BUSY,
	    "%s port %u asked not to be dialled for another %llu s"
	    " (Retry-After)",
	    host, port,
	    (unsigned long long)(one->until_ms - now_ms + 999) / 1000);
	return true;
}
