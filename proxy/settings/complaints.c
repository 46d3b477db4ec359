#include "settings/complaints.h"

#include "base/escape.h"

#include <stdarg.h>
#include <stdio.h>

static void PRINTF_LIKE(5, 0) tell(struct complaints *to, bool is_error,
    const char *path, int line, const char *fmt, va_list ap)
{
	unsigned told = is_error ? to->errors++ : to->warnings++;
	char text[512];

	if (told > COMPLAINTS_MAX || to->tell == NULL)
		return;
	if (told == COMPLAINTS_MAX) {
		to->tell(to->arg, is_error, path, 0,
		    is_error ? "there are more errors; mend these first"
			     : "there are more warnings");
		return;
	}
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	tame(text); /* it may quote the file */
	to->tell(to->arg, is_error, path, line, text);
}

void
complain(
    struct complaints *to, const char *path, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(to, true, path, line, fmt, ap);
	va_end(ap);
}

void
warn_of(struct complaints *to, const char *path, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(to, false, path, line, fmt, ap);
	va_end(ap);
}
