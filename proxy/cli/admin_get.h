/*
 * admin_get: one GET of the admin endpoint of a running proxy (server/admin.h).
 * Blocks, but not for long.
 */
#ifndef PROXY_CLI_ADMIN_GET_H
#define PROXY_CLI_ADMIN_GET_H

#include "base/attr.h"
#include "base/fault.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Asks at the Unix socket <path> for <target>; the body of a good answer goes
 * into <body> of <size> bytes, with a NUL. False: <why> says what is wrong and
 * what to do.
 */
NODISCARD bool admin_get(const char *path, const char *target, char *body,
    size_t size, struct fault *why);

#endif
