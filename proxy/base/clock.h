/*
 * clock: the two clocks of the program. Codecs never read them; they get time
 * as an argument.
 */
#ifndef PROXY_BASE_CLOCK_H
#define PROXY_BASE_CLOCK_H

#include <stdint.h>

/* When this version was released, in seconds since 1970 UTC: a wall clock that
   is before it is wrong. configure.ac says it; this is for other builds. */
#ifndef RELEASE_EPOCH_S
#define RELEASE_EPOCH_S 1793491200 /* 2026-11-01 */
#endif

enum { CLOCK_TEXT_MAX = 24, CLOCK_MS_TEXT_MAX = 32 };

/* Monotonic milliseconds, a few milliseconds coarse: for deadlines. */
uint64_t clock_mono_ms(void);

/* Milliseconds since 1970 UTC: for signatures and log lines. */
uint64_t clock_wall_ms(void);

/* Seconds since 1970 as "2026-11-01T00:00:00Z"; "?" for what is far from any
   calendar. Returns <out>. */
const char *clock_text(char out[static CLOCK_TEXT_MAX], int64_t s);

/* Now, by the wall clock, as "2026-11-01T00:00:00.000Z". Returns <out>. */
const char *clock_now_text(char out[static CLOCK_MS_TEXT_MAX]);

#endif
