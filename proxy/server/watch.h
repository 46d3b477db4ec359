/*
 * watch: whether any of some files has changed since it was added. Only looks
 * when it is asked to; for one thread at a time. The paths are added before the
 * files are read, so that no change comes between.
 */
#ifndef PROXY_SERVER_WATCH_H
#define PROXY_SERVER_WATCH_H

#include "base/attr.h"

#include <stdbool.h>

struct watch;

/* NULL without memory. */
NODISCARD struct watch *watch_new(void);
void watch_free(struct watch **w);

/* Adds a file or folder as it is now, symbolic links followed; it need not be
   there. One that is watched already is not added again. False without
   memory. */
NODISCARD bool watch_add(struct watch *w, const char *path);

/*
 * Looks at all of them (stat). NULL: none has changed since it was added or
 * looked at last; else the first that has: another file, another size or time,
 * gone, or there now. The text is valid as long as <w>.
 */
NODISCARD const char *watch_look(struct watch *w);

#endif
