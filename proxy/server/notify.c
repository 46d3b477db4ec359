#include "server/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_MAX = 512 };

void
notify_open(struct notify *n)
{
	const char *at = getenv("NOTIFY_SOCKET");
	size_t bytes = at != NULL ? strlen(at) : 0;

	*n = (struct notify){.fd = -1, .to.sun_family = AF_UNIX};
	if (bytes < 2 || bytes >= sizeof(n->to.sun_path) ||
	    (at[0] != '/' && at[0] != '@'))
		return;
	memcpy(n->to.sun_path, at, bytes);
	if (at[0] == '@')
		n->to.sun_path[0] = '\0';
	n->to_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

void
notify_close(struct notify *n)
{
	if (n->fd >= 0)
		(void)close(n->fd);
	n->fd = -1;
}

void
notify_send(const struct notify *n, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;
	int bytes;

	if (n->fd < 0)
		return;
	va_start(ap, fmt);
	bytes = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (bytes > 0 && bytes < MESSAGE_MAX)
		(void)sendto(n->fd, text, (size_t)bytes,
		    MSG_DONTWAIT | MSG_NOSIGNAL,
		    (const struct sockaddr *)&n->to, n->to_n);
}

void
notify_reloading(const struct notify *n)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	notify_send(n, "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)now.tv_sec * 1000000 +
		(unsigned long long)now.tv_nsec / 1000);
}

/* Digits only; 0: it is none. */
static uint64_t
number_of(const char *variable)
{
	const char *text = getenv(variable);
	char *end;
	unsigned long long n;

	if (text == NULL || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	return *end == '\0' && errno == 0 ? n : 0;
}

uint64_t
notify_watchdog_us(void)
{
	if (getenv("WATCHDOG_PID") != NULL &&
	    number_of("WATCHDOG_PID") != (uint64_t)getpid())
		return 0;
	return number_of("WATCHDOG_USEC");
}
