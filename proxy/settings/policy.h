/*
 * policy: what is done for a device where it asks for more than the contract of
 * its cloud gives, or for something else. Each policy is one row of the table
 * POLICIES, which the keys of devices.ini and what is shown are made of. Plain
 * values; pure.
 */
#ifndef PROXY_SETTINGS_POLICY_H
#define PROXY_SETTINGS_POLICY_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * x (whatever the caller of the table gives), name, its words, the default
 * first (NULL: there is no third), what it is.
 */
/* clang-format off */
#define POLICIES(X, x) \
X(x, qos2,           "adapt",   "refuse", NULL,   "what becomes of QoS 2 where the contract has no more than 1: carried as QoS 1, or refused") \
X(x, retain,         "clear",   "store",  NULL,   "what becomes of a retained message where the contract has none: sent as one that is not, or kept here too") \
X(x, topic_unmapped, "pass",    "refuse", "drop", "what becomes of a message whose topic no rule maps, where there are rules: it passes, ends the session, or is dropped") \
X(x, second_device,  "replace", "refuse", NULL,   "who goes when a second device shows the same identity: the first, or the second") \
X(x, on_link_loss,   "hold",    "close",  NULL,   "what becomes of the device when the link to the cloud is lost: it is held while the link is dialled again, or closed")
/* clang-format on */

/* The values, in the order of the words. */
enum { QOS2_ADAPT, QOS2_REFUSE };
enum { RETAIN_CLEAR, RETAIN_STORE };
enum { TOPIC_UNMAPPED_PASS, TOPIC_UNMAPPED_REFUSE, TOPIC_UNMAPPED_DROP };
enum { SECOND_DEVICE_REPLACE, SECOND_DEVICE_REFUSE };
enum { ON_LINK_LOSS_HOLD, ON_LINK_LOSS_CLOSE };

#define X(x, name, first, second, third, what) POLICY_##name,
enum policy { POLICIES(X, ) POLICY_COUNT };
#undef X

/* Zero: all defaults. */
struct policies {
#define X(x, name, first, second, third, what) uint8_t name;
	POLICIES(X, )
#undef X
};

/* Word <i> of a policy; NULL behind its last one. */
const char *policy_word(enum policy policy, unsigned i);

/* False, with <out> as it was, when <text> is none of the policy's words. */
NODISCARD bool policy_read(enum policy policy, const char *text, uint8_t *out);

#endif
