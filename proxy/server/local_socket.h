/*
 * local_socket: listening on a Unix socket that not everybody may open. A
 * leftover of a process that is gone is replaced, a socket at which somebody
 * listens never. One thread, and no waiting.
 */
#ifndef PROXY_SERVER_LOCAL_SOCKET_H
#define PROXY_SERVER_LOCAL_SOCKET_H

#include "base/attr.h"
#include "base/fault.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	LOCAL_SOCKET_PATH_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 1
};

struct local_socket {
	int fd; /* -1: none; does not block, listens */
	struct sockaddr_un at;
	struct stat own; /* what was made there */
};

/*
 * Listens at <path>, of at most LOCAL_SOCKET_PATH_MAX bytes, with <mode>; its
 * folder is made when it is missing. False: <why> says what is in the way and
 * what to do.
 */
NODISCARD bool local_socket_open(struct local_socket *s, const char *path,
    mode_t mode, int backlog, struct fault *why);

/* Takes over <fd>, which was inherited. False, with <fd> as it was: it does not
   listen at <path>. */
NODISCARD bool local_socket_adopt(
    struct local_socket *s, int fd, const char *path);

/* Takes the socket away, unless it is another one by now, and closes. */
void local_socket_close(struct local_socket *s);

/* Closes; the socket stays, since another process listens there too. */
void local_socket_leave(struct local_socket *s);

#endif
