/*
 * linger: ends a connection so that its last bytes arrive: writes them, sends
 * FIN, and reads until the device closes too. A plain close() with unread input
 * would reset the connection, and the CONNACK with the reason would be lost.
 *
 * One collection for each loop, on its thread. Each entry has a deadline.
 */
#ifndef PROXY_SESSION_LINGER_H
#define PROXY_SESSION_LINGER_H

#include "base/attr.h"
#include "base/buffer.h"
#include "session/crowd.h"
#include "session/witness.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct lingering;

/* Each connection leaves <crowd> when it is closed. */
NODISCARD struct lingering *lingering_new(
    struct event_base *base, struct crowd *crowd);

/* True when no last bytes wait to be written any more. */
bool lingering_has_written(const struct lingering *c);

/* <tell> is called whenever that has become true. */
void lingering_tell_written(
    struct lingering *c, void (*tell)(void *arg), void *arg);

/* Closes all that are left. */
void lingering_free(struct lingering **c);

/*
 * Takes over <fd> and the bytes of <last> (which is then empty), and closes
 * within <bound_ms>. Without memory it closes at once.
 */
void linger(
    struct lingering *c, int fd, struct buffer *last, uint64_t bound_ms);

/* The same; a reference on <w> is taken (NULL: none) until it is closed. */
void linger_seen(struct lingering *c, int fd, struct buffer *last,
    uint64_t bound_ms, struct witness *w);

#endif
