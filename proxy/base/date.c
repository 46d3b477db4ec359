#include "base/date.h"

/* Days from 1970 to the first of March of <year>: the leap day is the last of
   such a year. 719468 of them are from the year 0 to 1970. */
static int64_t
days_to_march(int64_t year)
{
	return 365 * year + year / 4 - year / 100 + year / 400 - 719468;
}

int64_t
date_seconds(const struct tm *date)
{
	/* days before each month, from March on */
	static const int before[12] = {
	    0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337};
	int month = (date->tm_mon + 10) % 12;
	/* January and February are of the year before; 400 years more, which
	   are 146097 days, so that none is below 0 */
	int64_t year = 400 + 1900 + (int64_t)date->tm_year - (month >= 10);
	int64_t days =
	    days_to_march(year) - 146097 + before[month] + date->tm_mday - 1;

	return ((days * 24 + date->tm_hour) * 60 + date->tm_min) * 60 +
	       date->tm_sec;
}
