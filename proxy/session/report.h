/*
 * report: what an administrator is told of one session: a copy, so that other
 * threads may read it while the session goes on.
 */
#ifndef PROXY_SESSION_REPORT_H
#define PROXY_SESSION_REPORT_H

#include "base/reason.h"
#include "link/link.h"
#include "session/knock.h"
#include "settings/transport.h"

#include <stdbool.h>
#include <stdint.h>

/* id, the word that status and metrics show */
#define PRESENCES(X)                                                           \
	X(PRESENCE_DIALLING, "dialling") /* the cloud has not let it in yet */ \
	X(PRESENCE_ONLINE, "online")                                           \
	X(PRESENCE_HELD, "held")       /* connected here, without a link */    \
	X(PRESENCE_LEAVING, "leaving") /* what it has left is on its way */    \
	X(PRESENCE_OFFLINE, "offline") /* without a session */

#define X(id, word) id,
enum presence { PRESENCES(X) PRESENCE_COUNT };
#undef X

const char *presence_word(enum presence p);

enum { REPORT_DETAIL_MAX = 160 };

struct session_report {
	enum presence presence;
	uint64_t since_ms;    /* of clock_mono_ms() */
	enum link_state link; /* what it waits for, while it dials */
	enum transport transport;
	uint16_t port;
	uint8_t level;
	char peer[PEER_TEXT];
	/* why it is held, or offline; else <is_past>: why its last session
	   ended, if that is known, which session_report() does not say */
	enum reason reason;
	char detail[REPORT_DETAIL_MAX];
	bool is_past;
	uint64_t up_packets, up_bytes;
	uint64_t down_packets, down_bytes;
	unsigned holds;
	unsigned unacknowledged; /* by the cloud */
	uint64_t unacknowledged_bytes;
	uint64_t queued;         /* QoS 0 that waits for its turn */
	uint64_t to_cloud_bytes; /* that have not been taken */
	uint64_t to_device_bytes;
};

#endif
