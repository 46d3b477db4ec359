/*
 * successor: a new process of the program, started by the one that runs, on the
 * same listening sockets. It reads its files and starts up as any other, and
 * says when it is ready; until then nothing changes for the one that runs. Main
 * thread, and no waiting.
 *
 * The sockets go the way of systemd's (inherited.h); READY_VARIABLE names the
 * descriptor at which the new process says that it is ready.
 */
#ifndef PROXY_SERVER_SUCCESSOR_H
#define PROXY_SERVER_SUCCESSOR_H

#include "base/attr.h"
#include "base/fault.h"

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#define SUCCESSOR_READY_VARIABLE "MQTT_WSS_PROXY_READY_FD"

struct successor;

struct successor_socket {
	int fd;
	const char *name;
};

struct successor_config {
	struct event_base *base;
	const char *program; /* its path; the arguments are those of this one */
	const struct successor_socket *sockets;
	unsigned count; /* INHERITED_MAX at most */
	/* The one process <pid> is ready; or it is not, and is gone: <why>. */
	void (*ready)(void *arg, pid_t pid);
	void (*failed)(void *arg, const struct fault *why);
	void *arg;
};

/* Starts it; NULL: <why> says what is in the way. */
NODISCARD struct successor *successor_start(
    const struct successor_config *config, struct fault *why);

/* Ends it, unless it has said that it is ready. */
void successor_free(struct successor **s);

/* In the new process: says that it is ready, to whoever has started it so.
   False: nobody has. */
bool successor_say_ready(void);

#endif
