/*
 * habit: by which transport a host was last reached, where there is a choice.
 * One worker's, on its thread.
 */
#ifndef PROXY_LINK_HABIT_H
#define PROXY_LINK_HABIT_H

#include "base/attr.h"
#include "settings/transport.h"

struct habits;

NODISCARD struct habits *habits_new(void);
void habits_free(struct habits **h);

/* <host> was reached by <worked>. */
void habit_note(struct habits *h, const char *host, enum transport worked);

/* <wanted> in the order to try now: what worked last for <host> goes first, the
   others stay as they are. */
struct transports habit_order(
    const struct habits *h, const char *host, const struct transports *wanted);

#endif
