/*
 * clock: the two clocks of the program. Codecs never read them; they get time
 * as an argument.
 */
#ifndef PROXY_BASE_CLOCK_H
#define PROXY_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic milliseconds, a few milliseconds coarse: for deadlines. */
uint64_t clock_mono_ms(void);

/* Milliseconds since 1970 UTC: for signatures and log lines. */
uint64_t clock_wall_ms(void);

#endif
