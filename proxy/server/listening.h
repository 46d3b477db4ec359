/*
 * listening: a listener of the settings as a socket: its own, or one that was
 * inherited. One thread, and no waiting.
 */
#ifndef PROXY_SERVER_LISTENING_H
#define PROXY_SERVER_LISTENING_H

#include "base/attr.h"
#include "base/fault.h"
#include "server/local_socket.h"
#include "settings/settings.h"

#include <stdbool.h>

/* A socket that listens, and does not block; -1: <why> names the place and
   what is in the way. <all> has <l>. Not for Unix sockets. */
NODISCARD int listening_open(
    const struct settings *all, const struct listener *l, struct fault *why);

/* The same for a Unix socket; its mode is 0660. */
NODISCARD bool listening_open_local(
    const struct listener *l, struct local_socket *out, struct fault *why);

/*
 * Whose rules hold for a socket that was inherited as <name>: the listener with
 * its address, or that name, or [listen]. NULL with <why>: none, or it is no
 * socket that listens for connections.
 */
const struct listener *listening_for(
    const struct settings *all, int fd, const char *name, struct fault *why);

#endif
