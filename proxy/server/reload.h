/*
 * reload: both files read again, on a thread of its own. All of it is checked
 * before anything changes; what is wrong goes to the log with file and line.
 */
#ifndef PROXY_SERVER_RELOAD_H
#define PROXY_SERVER_RELOAD_H

#include "base/attr.h"
#include "base/mailbox.h"
#include "link/trust.h"
#include "server/files.h"
#include "server/watch.h"
#include "settings/credmap.h"
#include "settings/settings.h"

#include <stdbool.h>

/* One reload; embedded in its owner, who is told by the letter. */
struct reload {
	struct letter letter;
	struct mailbox *reply_to;
	const struct server_files *files;
	/* the outcome; when <ok>, the references are the owner's */
	bool ok;
	struct settings *settings;
	struct trust *trust;
	struct watch *watch; /* of the files that <trust> was read from */
	struct credmap *map;
};

/* Reads, and posts the letter. <r> must stay until then. False: no thread. */
NODISCARD bool reload_start(struct reload *r);

/* Gives back the references of an outcome that is not used. */
void reload_drop(struct reload *r);

/*
 * Reads a trust, and watches its files from before that on. False, with both
 * NULL: <why> says what is wrong.
 */
NODISCARD bool reload_read_trust(const struct settings *settings,
    struct trust **trust, struct watch **watch, struct fault *why);

/* Says loudly when others may listen: the cloud's identity is not verified, or
   the keys of connections are written down. */
void reload_warn_insecure(const struct settings *settings);

#endif
