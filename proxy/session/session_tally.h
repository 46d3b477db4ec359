/*
 * session_tally: what a worker's sessions have counted since the start. Plain
 * numbers of its thread.
 */
#ifndef PROXY_SESSION_SESSION_TALLY_H
#define PROXY_SESSION_SESSION_TALLY_H

#include "base/reason.h"
#include "session/flow.h"

#include <stdint.h>

/* What is not a session's own, or is not kept by it. */
struct session_tally {
	uint64_t published_up[3]; /* by the QoS the device, or the cloud, has
				     given it */
	uint64_t published_down[3];
	uint64_t dropped[FLOW_COUNT_KINDS]; /* told in the log as well; up to a
					       minute late */
	uint64_t splits;   /* SUBSCRIBE and UNSUBSCRIBE of our own making */
	uint64_t wills;    /* that were published here */
	uint64_t repeated; /* messages, over another link */
	uint64_t holds;
	uint64_t resumes;
	uint64_t ended[R_COUNT]; /* sessions */
};

/* id, the word that metrics show: sums over sessions, the present ones too */
#define SESSION_SUMS(X)                                                        \
	X(SUM_UP_PACKETS, "up_packets")                                        \
	X(SUM_UP_BYTES, "up_bytes")                                            \
	X(SUM_DOWN_PACKETS, "down_packets")                                    \
	X(SUM_DOWN_BYTES, "down_bytes")                                        \
	X(SUM_QOS2_ENDED, "qos2_ended")                                        \
	X(SUM_RETAIN_CLEARED, "retain_cleared")                                \
	X(SUM_RETAINED_SENT, "retained_sent")                                  \
	X(SUM_RETAINED_DROPPED, "retained_dropped")                            \
	X(SUM_FILTERS_REFUSED, "filters_refused")                              \
	X(SUM_REFUSED, "refused")                                              \
	X(SUM_DOWN_DROPPED, "down_dropped")

#define X(id, word) id,
enum session_sum { SESSION_SUMS(X) SESSION_SUM_COUNT };
#undef X

struct session_sums {
	uint64_t of[SESSION_SUM_COUNT];
};

#endif
