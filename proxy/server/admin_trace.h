/*
 * admin_trace: traces as answers of the admin endpoint, which have no end but
 * that of their reader, or of the process. On the door's loop.
 */
#ifndef PROXY_SERVER_ADMIN_TRACE_H
#define PROXY_SERVER_ADMIN_TRACE_H

#include "server/admin_http.h"
#include "server/trace_feed.h"

#include <sys/queue.h>

/* What the last line of a trace says, behind its time, unless it was broken
   off. */
#define ADMIN_TRACE_END "-- the trace ends: "

struct admin_trace;
LIST_HEAD(admin_traces, admin_trace);

/* Answers <c> with a trace. <begin> is trace_feed_begin() at the home of that
   device, and gets <arg>. */
void admin_trace_begin(struct admin_traces *all, struct admin_client *c,
    const struct credential *entry, bool wants_payload,
    struct trace_feed *(*begin)(void *arg, const struct trace_wish *wish),
    void *arg);

/* Ends all of them: another process has taken over; or, after home_stop(), this
   one ends. */
void admin_traces_leave(struct admin_traces *all);
void admin_traces_finish(struct admin_traces *all);

#endif
