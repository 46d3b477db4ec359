/*
 * watch: whether any of some files has changed since it was added. The truth is
 * what stat() says of each; inotify, where there is any, tells that it is worth
 * a look before the next one is due. For one thread at a time. The paths are
 * added before the files are read, so that no change comes between.
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
 * A descriptor that becomes readable when something happens in a folder where a
 * watched file, or the file that a link leads to, is; -1 when inotify cannot be
 * had. It belongs to <w>.
 */
int watch_fd(const struct watch *w);

/*
 * Looks at all of them (stat). NULL: none has changed since it was added or
 * looked at last; else the first that has: another file, another size, time,
 * owner or mode, gone, or there now. The text is valid as long as <w>.
 */
NODISCARD const char *watch_look(struct watch *w);

#endif
