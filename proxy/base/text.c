#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

void
text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->full)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->at, t->left, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= t->left) {
		if (t->left > 0)
			*t->at = '\0';
		t->full = true;
		return;
	}
	t->at += n;
	t->left -= (size_t)n;
}
