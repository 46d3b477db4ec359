/*
 * identities: the cloud identities of one worker that are in use, and those
 * that were lately, with what has to be remembered of them. One worker's, on
 * its thread.
 */
#ifndef PROXY_SERVER_IDENTITIES_H
#define PROXY_SERVER_IDENTITIES_H

#include "base/attr.h"
#include "server/rivals.h"
#include "session/knock.h"
#include "session/session.h"
#include "settings/credmap.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/*
 * One cloud identity: at most one session, and at most one device that waits
 * for that session's link to be closed before it is let in, so that the cloud
 * never sees two. Both are the worker's to end.
 */
struct identity {
	char product_key[ALIYUN_PRODUCT_KEY_MAX + 1];
	char device_name[ALIYUN_DEVICE_NAME_MAX + 1];
	struct session *session;
	struct knock *waiting;
	struct device_memory memory;
	struct rivals rivals;
	/* of the device that was thrown out last, or NULL, and where that was;
	   <noted>: what was seen of it is in <rivals> */
	struct witness *thrown_out;
	struct network thrown_out_from;
	bool noted;
	TAILQ_ENTRY(identity) rest; /* without a session, but with a memory */
	uint64_t rests_ms;          /* since when; 0: it does not */
};

struct identities {
	void *tree;                     /* of tsearch() */
	TAILQ_HEAD(, identity) resting; /* in the order they are swept */
};

void identities_init(struct identities *all);

/* Forgets those without a session; others must not be left. */
void identities_clear(struct identities *all);

/* Finds or makes the one of <entry>; NULL without memory. */
NODISCARD struct identity *identity_of(
    struct identities *all, const struct credential *entry);

/* The session of that one; NULL: it has none. */
struct session *identities_session(const struct identities *all,
    const char *product_key, const char *device_name);

/* It may not be in use any more: then it is freed, or rests while there is
   something to remember. <now_ms> is of clock_mono_ms(). */
void identity_drop(
    struct identities *all, struct identity *id, uint64_t now_ms);

/* Of devices that are not in <map> any more nothing is remembered, of others
   what their entry allows. */
void identities_forget_removed(
    struct identities *all, const struct credmap *map);

#endif
