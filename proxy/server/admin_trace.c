#include "server/admin_trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct admin_trace {
	LIST_ENTRY(admin_trace) next;
	struct admin_client *client;
	struct trace_feed *feed;
};

static void
on_text(void *arg, const char *text, size_t n)
{
	struct admin_trace *t = arg;

	admin_stream_put(t->client, text, n);
}

static void
on_room(void *arg)
{
	struct admin_trace *t = arg;

	trace_feed_more(t->feed);
}

static void
on_gone(void *arg)
{
	struct admin_trace *t = arg;

	trace_feed_end(t->feed);
	LIST_REMOVE(t, next);
	free(t);
}

void
admin_trace_begin(struct admin_traces *all, struct admin_client *c,
    const struct credential *entry, bool wants_payload,
    struct trace_feed *(*begin)(void *arg, const struct trace_wish *wish),
    void *arg)
{
	struct admin_trace *t = calloc(1, sizeof(*t));
	const struct trace_wish wish = {.entry = entry,
	    .wants_payload = wants_payload,
	    .on_text = on_text,
	    .arg = t};

	if (t != NULL)
		t->feed = begin(arg, &wish);
	if (t == NULL || t->feed == NULL) {
		free(t);
		admin_say(c, "503 Service Unavailable",
		    "too many traces are running, or there is no memory for"
		    " one more; end another one");
		return;
	}
	t->client = c;
	LIST_INSERT_HEAD(all, t, next);
	admin_stream_begin(c, on_room, on_gone, t);
}

/* Without its feed, which has been ended. */
static void
drop(struct admin_trace *t, const char *last)
{
	char line[TRACE_TIME_MAX + 80];
	size_t n = trace_time(line);

	n += (size_t)snprintf(
	    line + n, sizeof(line) - n, ADMIN_TRACE_END "%s\n", last);
	admin_stream_put(t->client, line, n);
	admin_stream_end(t->client);
	LIST_REMOVE(t, next);
	free(t);
}

void
admin_traces_leave(struct admin_traces *all)
{
	struct admin_trace *t;

	while ((t = LIST_FIRST(all)) != NULL) {
		trace_feed_end(t->feed);
		drop(t, "another process takes over, which does not trace");
	}
}

void
admin_traces_finish(struct admin_traces *all)
{
	struct admin_trace *t;

	while ((t = LIST_FIRST(all)) != NULL) {
		trace_feed_finish(t->feed);
		drop(t, "the proxy ends");
	}
}
