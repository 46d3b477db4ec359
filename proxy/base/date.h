/*
 * date: the calendar, where time_t may end in 2038: with 32 bits it does, and
 * roots of certification authorities are valid for longer. Pure; any thread.
 */
#ifndef PROXY_BASE_DATE_H
#define PROXY_BASE_DATE_H

#include <stdint.h>
#include <time.h>

/* Seconds from 1970 to <date>, which is UTC and in order, as of strptime() or
   ASN1_TIME_to_tm(); of the years 0 to 9999. */
int64_t date_seconds(const struct tm *date);

#endif
