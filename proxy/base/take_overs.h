/*
 * take_overs: how often somebody was found to take over one identity again and
 * again. One for the process; every thread may count at any time, without a
 * lock. It belongs to whoever holds the memory.
 */
#ifndef PROXY_BASE_TAKE_OVERS_H
#define PROXY_BASE_TAKE_OVERS_H

#include <stdint.h>

/* All zero: none yet. Of one identity at most one a minute is counted, as it is
   told in the log. */
struct take_overs {
	_Atomic uint64_t lan_loops;   /* two devices at this proxy */
	_Atomic uint64_t cloud_loops; /* a device here and one elsewhere */
};

#endif
