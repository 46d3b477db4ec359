/*
 * tap: who is told the bytes of one session's packets, where they come in and
 * go out: read from the device, put on the link, read from it, written to the
 * device. A list, as a session may have several; NULL: nobody is, which costs
 * one look at a pointer. On the session's thread.
 */
#ifndef PROXY_LINK_TAP_H
#define PROXY_LINK_TAP_H

#include "base/span.h"

#include <stdbool.h>

enum tap_way {
	TAP_FROM_DEVICE,
	TAP_TO_CLOUD,
	TAP_FROM_CLOUD,
	TAP_TO_DEVICE,
	TAP_WAYS
};

struct tap {
	struct tap *next;
	/* The next bytes of that way; <begins>: a packet begins with them,
	   whatever was before. The callee must not touch the session. */
	void (*on_bytes)(
	    struct tap *tap, enum tap_way way, struct span bytes, bool begins);
};

void tap_tell_all(
    struct tap *tap, enum tap_way way, struct span bytes, bool begins);

/* Tells all behind <tap>; NULL: nobody. */
static inline void
tap_tell(struct tap *tap, enum tap_way way, struct span bytes, bool begins)
{
	if (tap != NULL)
		tap_tell_all(tap, way, bytes, begins);
}

#endif
