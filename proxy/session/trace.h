/*
 * trace: the packets of one device as lines of text, as they come in and go
 * out, whatever becomes of its session: it waits for the next one. A trace is
 * the worker's whose device that is, and on its thread; its lines go to whoever
 * has made it.
 *
 *	2026-11-01T00:00:00.123Z device->proxy PUBLISH bytes=24 qos=1 ...
 *	2026-11-01T00:00:00.123Z proxy->cloud  PUBLISH bytes=31 qos=1 ...
 *	2026-11-01T00:00:00.456Z -- the session ends: device_left
 *
 * No user name and no password is in them (codec/mqtt_describe.h).
 */
#ifndef PROXY_SESSION_TRACE_H
#define PROXY_SESSION_TRACE_H

#include "base/attr.h"
#include "base/span.h"
#include "codec/aliyun.h"
#include "link/tap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
	TRACE_HEAD_MAX = 1024,   /* of a packet that comes in pieces */
	TRACE_TIME_MAX = 33,     /* with a NUL */
	TRACE_LINE_MAX = 1280,   /* ditto */
	TRACE_PAYLOAD_MAX = 128, /* shown of a message, where that is wanted */
	TRACES_MAX = 4           /* of the whole process */
};

/* The packets of one way. */
struct trace_way {
	uint64_t skip; /* the rest of a packet that was told, or joined late */
	bool is_lost;  /* nothing is known of what comes before one begins */
	size_t n;      /* in <head> */
	uint8_t head[TRACE_HEAD_MAX]; /* of one that is not told yet */
};

struct trace {
	struct tap tap; /* first: a tap of a session is a trace */
	LIST_ENTRY(trace) next;
	char product_key[ALIYUN_PRODUCT_KEY_MAX + 1];
	char device_name[ALIYUN_DEVICE_NAME_MAX + 1];
	size_t payload_max;
	uint8_t level;
	struct trace_way ways[TAP_WAYS];
	/* <line> is without its end. */
	void (*tell)(struct trace *t, const char *line);
};
LIST_HEAD(traces, trace);

/* <t> is all zero but for its names, <payload_max> and tell(). */
void trace_init(struct trace *t);

/* It hears no more, and keeps nothing of a packet that was not whole yet: there
   may be a login in it. */
void trace_end(struct trace *t);

/* Nothing is left of what came before on that way: a packet begins next. */
void trace_restart(struct trace *t, enum tap_way way);

/* It joins in the middle of a packet, of which <left> bytes are to come. */
void trace_join(struct trace *t, enum tap_way way, uint64_t left);

/* What a line begins with, the blank behind it included. Returns its length. */
size_t trace_time(char out[static TRACE_TIME_MAX]);

/* A line that is about no packet. */
void trace_note(struct trace *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
