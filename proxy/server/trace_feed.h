/*
 * trace_feed: the lines of one trace on their way from the worker that makes
 * them to the door's loop, where somebody reads them. There are two buffers:
 * one is filled while the other is with the reader, who gives it back when it
 * is done with it. So no session waits for a reader; what does not fit is left
 * out, and counted.
 *
 * Begun and ended on the main thread. It is freed there, when the worker has
 * let it go.
 */
#ifndef PROXY_SERVER_TRACE_FEED_H
#define PROXY_SERVER_TRACE_FEED_H

#include "base/attr.h"
#include "base/mailbox.h"
#include "server/home.h"
#include "session/trace.h"
#include "settings/credmap.h"

#include <stdbool.h>
#include <stddef.h>

struct trace_feed;

struct trace_wish {
	const struct credential *entry; /* for the call only */
	bool wants_payload;
	/* <n> bytes of whole lines, the reader's until trace_feed_more(). On
	   the main thread. */
	void (*on_text)(void *arg, const char *text, size_t n);
	void *arg;
};

/* Those of a process. */
struct trace_feeds {
	struct mailbox *door; /* where workers answer */
	unsigned count;       /* not freed yet */
};

/* Begins, at <home>, where that device lives. NULL without memory, or when
   there are TRACES_MAX of them. <all> and <home> must outlive it. */
NODISCARD struct trace_feed *trace_feed_begin(
    struct trace_feeds *all, struct home *home, const struct trace_wish *wish);

/* What was told last is not needed any more, if something was. */
void trace_feed_more(struct trace_feed *f);

/* Nothing more is told. */
void trace_feed_end(struct trace_feed *f);

/* As that, after home_stop(): what is left is told before. */
void trace_feed_finish(struct trace_feed *f);

#endif
