#include "server/admin_tcp.h"

#include "base/address.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool
listens_at(int fd, const struct address *at)
{
	struct address own = {.n = sizeof(own.storage)};
	char a[ADDRESS_WRITTEN_MAX], b[ADDRESS_WRITTEN_MAX];

	return getsockname(fd, (struct sockaddr *)&own.storage, &own.n) == 0 &&
	       own.storage.ss_family == at->storage.ss_family &&
	       strcmp(address_write(a, &own), address_write(b, at)) == 0;
}

int
admin_tcp_open(const char *text, int inherited, int backlog, struct fault *why)
{
	const int one = 1;
	struct address at;
	unsigned count;
	int fd;

	if (!address_read_list(text, 0, &at, 1, &count) || count != 1) {
		if (inherited >= 0)
			(void)close(inherited);
		(void)fault_set(
		    why, R_CANNOT_LISTEN, "that is no address with a port");
		return -1;
	}
	if (inherited >= 0 && listens_at(inherited, &at))
		return inherited;
	if (inherited >= 0)
		(void)close(inherited);
	fd = socket(at.storage.ss_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    bind(fd, (struct sockaddr *)&at.storage, at.n) == 0 &&
	    listen(fd, backlog) == 0)
		return fd;
	(void)fault_set(why, R_CANNOT_LISTEN, "%s", strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return -1;
}
