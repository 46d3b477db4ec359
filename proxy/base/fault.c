#include "base/fault.h"

#include "base/escape.h"

#include <stdarg.h>
#include <stdio.h>

bool
fault_set(struct fault *f, enum reason why, const char *fmt, ...)
{
	va_list ap;

	if (f == NULL)
		return false;
	f->why = why;
	va_start(ap, fmt);
	(void)vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	tame(f->text);
	return false;
}
