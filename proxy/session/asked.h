/*
 * asked: the topic filters of a device whose topics are mapped, as it has sent
 * them, and what it needs of the cloud for them. A filter of the cloud may
 * cover more than the device has asked for: what comes by it is compared with
 * these. And one may serve several of the device's: it goes with the last. On
 * the device's home thread; outlives a session, as subscriptions do.
 *
 * It only knows what it has seen: subscriptions from before the proxy started,
 * or by other rules, or more than it can keep, are unknown. Then everything is
 * delivered, and nothing is held to be needed.
 */
#ifndef PROXY_SESSION_ASKED_H
#define PROXY_SESSION_ASKED_H

#include "base/attr.h"
#include "base/buffer.h"
#include "base/span.h"
#include "link/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum { ASKED_BYTES_MAX = 16 * 1024 }; /* of filters, and once more of needs */

/* Zero-initialised: nothing is known. Its bytes are in the loop's account. */
struct asked {
	struct loop *loop;
	uint64_t rules; /* by which the device's topics are mapped */
	struct buffer filters;
	struct buffer needs; /* filters of the cloud, by their hash */
	unsigned wider;   /* of <filters> are covered by more than they are */
	bool is_complete; /* the device has no others */
};

/* The device has no subscriptions: a session of its own has begun. <rules>: a
   number for its rules and for what their variables stand for. */
void asked_begin(struct asked *a, struct loop *loop, uint64_t rules);

/* It goes on with those it had; by other rules they are unknown. */
void asked_resume(struct asked *a, uint64_t rules);

/*
 * The device asks for <filter>, once more maybe; <wider>: the cloud is asked
 * for more. A filter is of 1 to 65,535 bytes. True when it is new, and
 * asked_need() is due for each filter of the cloud that it becomes.
 */
NODISCARD bool asked_add(struct asked *a, struct span filter, bool wider);

/* It does not any more. True when it did, and asked_release() is due. */
NODISCARD bool asked_remove(struct asked *a, struct span filter);

/* A filter of the cloud is needed by one more of the device's, by one less;
   whether any does, as far as is known. */
void asked_need(struct asked *a, struct span filter);
void asked_release(struct asked *a, struct span filter);
bool asked_needs(const struct asked *a, struct span filter);

/* Whether a message with the topic <name>, mapped, is for the device. Costs
   nothing while none of its filters is wider. */
bool asked_has(const struct asked *a, struct span name);

/* Nothing is known. */
void asked_free(struct asked *a);

#endif
