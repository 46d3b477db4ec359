/*
 * notify: what systemd, or whoever else supervises the process, is told of it:
 * datagrams to $NOTIFY_SOCKET, as in sd_notify(3). Without that variable
 * nothing is sent. Main thread; never waits.
 */
#ifndef PROXY_SERVER_NOTIFY_H
#define PROXY_SERVER_NOTIFY_H

#include "base/attr.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	int fd; /* -1: nobody wants to know */
	struct sockaddr_un to;
	socklen_t to_n;
};

/* Reads the variable: a path, or "@name" for an abstract socket. Anything else,
   and what cannot be opened, is nobody. */
void notify_open(struct notify *n);
void notify_close(struct notify *n);

/* Lines of "KEY=value", as sd_notify(3) lists them; lost when the receiver has
   no room. */
void notify_send(const struct notify *n, const char *fmt, ...)
    PRINTF_LIKE(2, 3);

/* RELOADING=1, with the time to the microsecond: systemd takes one for an older
   reload that is before the signal it has sent. READY=1 has to follow. */
void notify_reloading(const struct notify *n);

/* How often $WATCHDOG_USEC wants to hear WATCHDOG=1 of this process at least,
   in microseconds; 0: never, or it is meant for another one. */
uint64_t notify_watchdog_us(void);

#endif
