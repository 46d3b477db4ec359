/*
 * server: the process. The door (the calling thread) accepts devices, the homes
 * (worker threads) carry their sessions, the keeper reads the files again;
 * signals drain and reload.
 */
#ifndef PROXY_SERVER_SERVER_H
#define PROXY_SERVER_SERVER_H

#include "base/attr.h"
#include "base/fault.h"
#include "server/files.h"
#include "server/watch.h"
#include "settings/credmap.h"
#include "settings/settings.h"

#include <stdbool.h>

/*
 * Runs until SIGTERM or SIGINT has drained it. Takes over one reference on each
 * of <settings> and <map>, and <watch>, which holds the files they were read
 * from since before that. False when it could not start; <why> says what is in
 * the way.
 */
NODISCARD bool server_run(const struct server_files *files,
    struct settings *settings, struct credmap *map, struct watch *watch,
    struct fault *why);

#endif
