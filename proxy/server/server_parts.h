/*
 * server_parts: the process as its own files see it: server.c starts and
 * reloads it, server_leave.c ends it, or hands over to another one. Main
 * thread.
 */
#ifndef PROXY_SERVER_SERVER_PARTS_H
#define PROXY_SERVER_SERVER_PARTS_H

#include "base/mailbox.h"
#include "base/take_overs.h"
#include "link/dial_rate.h"
#include "link/resolver.h"
#include "link/trust.h"
#include "server/admin.h"
#include "server/door.h"
#include "server/files.h"
#include "server/home.h"
#include "server/inherited.h"
#include "server/keeper.h"
#include "server/map_state.h"
#include "server/notify.h"
#include "server/pulse.h"
#include "server/successor.h"
#include "server/survey.h"
#include "server/trace_feed.h"

#include <event2/event_struct.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum { HOMES_MAX = 256 };

struct server {
	const struct server_files *files;
	struct settings *settings;
	struct settings *at_start; /* what cannot change is as it was then */
	struct credmap *map;
	struct trust *trust;
	struct event_base *base;
	struct mailbox *mailbox;
	struct event mail;
	struct event on_term, on_int, on_hup, on_usr1, on_usr2;
	struct event drain_deadline;
	struct resolver *resolver;
	struct door *door;
	struct home *homes[HOMES_MAX];
	struct letter drained[HOMES_MAX];
	unsigned home_count;
	unsigned homes_drained;
	struct inherited inherited;
	struct crowd *crowd;
	struct dial_rate dial_rate;
	struct take_overs take_overs;
	_Atomic uint64_t pings_learned;
	struct keeper *keeper;
	struct notify notify;
	struct pulse *pulse;
	struct survey *survey;
	struct trace_feeds traces;
	uint64_t began_ms; /* by both clocks */
	uint64_t started_ms;
	struct map_state map_state;
	char program[PATH_MAX]; /* as it was called at the start */
	struct successor *successor;
	struct event leave;
	uint64_t leave_by_ms; /* 0: nobody has taken over */
	struct admin *admin;  /* NULL: none is wanted, or can be had */
	bool draining;
};

/* Has SIGTERM, SIGINT and SIGUSR2 handled. False without memory. */
NODISCARD bool server_watch_ends(struct server *s);

/* Ends all sessions in order, then the process; <arg> is the server. */
void server_drain(void *arg);

/* No more; a successor that is starting is ended. */
void server_unwatch_ends(struct server *s);

/* A letter of a home: it has drained. */
void server_open_drained(struct letter *letter, void *arg);

#endif
