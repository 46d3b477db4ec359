/*
 * reload: both files and all they name, read again as a whole. All of it is
 * checked before anything changes; what is wrong goes to the log with file and
 * line.
 */
#ifndef PROXY_SERVER_RELOAD_H
#define PROXY_SERVER_RELOAD_H

#include "base/attr.h"
#include "base/mailbox.h"
#include "link/trust.h"
#include "server/files.h"
#include "server/map_state.h"
#include "server/watch.h"
#include "settings/credmap.h"
#include "settings/credmap_diff.h"
#include "settings/settings.h"

#include <stdbool.h>
#include <stdint.h>

/* What came of it. A letter, which its receiver frees. */
struct reload {
	struct letter letter;
	bool ok;
	struct map_refusal refusal; /* when not <ok> */
	/* NULL unless <ok> */
	struct settings *settings;
	struct trust *trust;
	struct credmap *map;
	struct credmap_counts counts; /* what is new in <map> */
};

/*
 * Reads. <present> is what is in use now: the trust files of its settings are
 * watched when the new settings are no good, and a map that has lost all its
 * devices is refused; one that was not there need not be there now. Adds every
 * file it looks into to <watch>, before it does. NULL without memory.
 */
NODISCARD struct reload *reload_read(const struct server_files *files,
    const struct settings *present_settings, const struct credmap *present_map,
    struct watch *watch);

/* Gives back the references it still has. NULL is fine. */
void reload_free(struct reload **r);

/* Adds the files that a trust of these settings is read from. False without
   memory. */
NODISCARD bool reload_watch_trust(
    const struct settings *settings, struct watch *watch);

/* Says loudly when others may listen: the cloud's identity is not verified, or
   the keys of connections are written down. */
void reload_warn_insecure(const struct settings *settings);

#endif
