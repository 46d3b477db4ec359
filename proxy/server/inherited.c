#include "server/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A number without anything behind it; 0: it is none. */
static unsigned long
number_of(const char *variable)
{
	const char *text = getenv(variable);
	char *end;
	unsigned long n;

	if (text == NULL || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	n = strtoul(text, &end, 10);
	return *end == '\0' && errno == 0 ? n : 0;
}

static bool
prepare(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
	       fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* Takes the next of names with colons between them. */
static void
take_name(const char **names, char out[static INHERITED_NAME_MAX])
{
	size_t n;

	out[0] = '\0';
	if (*names == NULL)
		return;
	n = strcspn(*names, ":");
	(void)snprintf(out, INHERITED_NAME_MAX, "%.*s", (int)n, *names);
	*names = (*names)[n] == ':' ? *names + n + 1 : NULL;
}

void
inherited_take(struct inherited *in)
{
	unsigned long count = number_of("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");

	in->count = 0;
	if (number_of("LISTEN_PID") != (unsigned long)getpid())
		count = 0;
	for (unsigned long i = 0; i < count && i < 1024; i++) {
		struct inherited_socket *s = &in->sockets[in->count];
		int fd = INHERITED_FIRST + (int)i;

		if (in->count == INHERITED_MAX) {
			(void)close(fd);
			continue;
		}
		take_name(&names, s->name);
		s->fd = fd;
		if (prepare(fd))
			in->count++;
	}
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDNAMES");
}

int
inherited_claim(struct inherited *in, const char *name)
{
	for (unsigned i = 0; i < in->count; i++) {
		struct inherited_socket *s = &in->sockets[i];
		int fd = s->fd;

		if (fd < 0 || strcmp(s->name, name) != 0)
			continue;
		s->fd = -1;
		return fd;
	}
	return -1;
}

void
inherited_close(struct inherited *in)
{
	for (unsigned i = 0; i < in->count; i++)
		if (in->sockets[i].fd >= 0)
			(void)close(in->sockets[i].fd);
	in->count = 0;
}
