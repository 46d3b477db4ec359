#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t
clock_ms(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t
clock_mono_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC_COARSE);
}

uint64_t
clock_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

const char *
clock_text(char out[static CLOCK_TEXT_MAX], int64_t s)
{
	time_t seconds = (time_t)s;
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(out, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)strcpy(out, "?");
	return out;
}

const char *
clock_now_text(char out[static CLOCK_MS_TEXT_MAX])
{
	uint64_t now_ms = clock_wall_ms();
	time_t now_s = (time_t)(now_ms / 1000);
	struct tm tm;
	size_t n;

	(void)gmtime_r(&now_s, &tm);
	n = strftime(out, CLOCK_MS_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(out + n, CLOCK_MS_TEXT_MAX - n, ".%03uZ",
	    (unsigned)(now_ms % 1000));
	return out;
}
