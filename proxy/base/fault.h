/*
 * fault: why a function failed: one reason and one sentence for a person.
 * Whoever knows the device writes it to the log; the function that failed only
 * fills it in. The text never holds a secret, and is
 * fit for a log line as it is: printable ASCII without double quotes.
 */
#ifndef PROXY_BASE_FAULT_H
#define PROXY_BASE_FAULT_H

#include "base/attr.h"
#include "base/reason.h"

#include <stdbool.h>

enum { FAULT_TEXT_MAX = 512 };

struct fault {
	enum reason why;
	char text[FAULT_TEXT_MAX];
};

/*
 * Fills <f>, which may be NULL when the caller does not care; the text is cut
 * at FAULT_TEXT_MAX - 1 bytes. Always false: return fault_set(f, R_..., "...");
 */
bool fault_set(struct fault *f, enum reason why, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
