/*
 * granted: the subscriptions that the cloud has granted a device, as the device
 * asked for them, so that they can be asked for again when the cloud has
 * forgotten them with a link. Belongs to the device's identity, on its home's
 * thread.
 *
 * It only knows what it has seen. It is_complete when the device has no others:
 * since its session began, as far as there was room.
 */
#ifndef PROXY_SESSION_GRANTED_H
#define PROXY_SESSION_GRANTED_H

#include "base/attr.h"
#include "base/buffer.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum { GRANTED_BYTES_MAX = 32 * 1024 };

/* Zero-initialised: nothing is known. */
struct granted {
	struct buffer list;
	bool is_complete;
};

/* One subscription. */
struct subscription {
	struct span filter;
	uint8_t options;     /* of 3.8.3.1 */
	uint32_t identifier; /* level 5; 0: none */
};

/* A session without subscriptions has begun. */
void granted_begin(struct granted *g);
/* Nothing is known. */
void granted_free(struct granted *g);

/* <s> was granted, maybe in another's place (MQTT-3.8.4-3). Where there is no
   room, or no memory, it is not complete any more. */
void granted_add(struct granted *g, const struct subscription *s);
/* The device has no such subscription any more. */
void granted_remove(struct granted *g, struct span filter);

/* Takes the next one off <list>, at first buffer_span(&g->list); false: there
   is none. */
NODISCARD bool granted_next(struct span *list, struct subscription *out);

#endif
