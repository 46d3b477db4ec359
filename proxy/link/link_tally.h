/*
 * link_tally: what a worker's links have counted since the start. Plain numbers
 * of its thread.
 */
#ifndef PROXY_LINK_LINK_TALLY_H
#define PROXY_LINK_LINK_TALLY_H

#include "base/histogram.h"
#include "base/reason.h"

#include <stdint.h>

struct link_failure {
	uint64_t at_ms; /* of clock_mono_ms(); 0: there was none */
	enum reason why;
};

struct link_tally {
	uint64_t accepted;        /* dials up to the cloud's CONNACK */
	uint64_t failed[R_COUNT]; /* each transport that was tried is one */
	uint64_t lost[R_COUNT];   /* links that were up */
	uint64_t handshakes[2];   /* TLS with the cloud; [1]: resumed */
	struct histogram dial_ms; /* of those accepted */
	struct histogram ping_ms; /* from PINGREQ to PINGRESP */
	int64_t root_expires_s;   /* of the last whole handshake, since 1970; 0:
				     not known */
	uint64_t accepted_ms; /* the last one, of clock_mono_ms(); 0: none */
	struct link_failure failure; /* the last one, of a dial */
};

#endif
