/*
 * asked: the topic filters of a device whose topics are mapped, as it has sent
 * them. A filter of the cloud may cover more than the device has asked for;
 * what comes by it is compared with these. On the device's home thread;
 * outlives a session, as subscriptions do.
 *
 * It only knows what it has seen: subscriptions from before the proxy started,
 * or more than it can keep, are unknown, and then everything is delivered.
 */
#ifndef PROXY_SESSION_ASKED_H
#define PROXY_SESSION_ASKED_H

#include "base/buffer.h"
#include "base/span.h"

#include <stdbool.h>

enum { ASKED_BYTES_MAX = 16 * 1024 };

/* Zero-initialised: nothing is known. */
struct asked {
	struct buffer filters;
	unsigned wider;   /* of them are covered by more than themselves */
	bool is_complete; /* the device has no others */
};

/* The device has no subscriptions: a session of its own has begun. */
void asked_begin(struct asked *a);

/* It asks for <filter>, once more maybe; <wider>: the cloud is asked for more.
   A filter is of 1 to 65,535 bytes. */
void asked_add(struct asked *a, struct span filter, bool wider);

/* It does not any more. */
void asked_remove(struct asked *a, struct span filter);

/* Whether a message with the topic <name>, mapped, is for the device. */
bool asked_has(const struct asked *a, struct span name);

/* Nothing is known. */
void asked_free(struct asked *a);

#endif
