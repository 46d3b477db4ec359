#include "link/keylog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>

int
keylog_open(const char *path, struct fault *why)
{
	/* O_NONBLOCK: a pipe that nobody reads is an error, not a wait */
	int fd = open(path,
	    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
	    0600);

	if (fd < 0)
		(void)fault_set(why, R_BAD_CONFIG,
		    "[tls] keylog_file %s cannot be opened: %s", path,
		    strerror(errno));
	return fd;
}

void
keylog_write(int fd, const char *line)
{
	struct iovec parts[] = {
	    {(void *)(uintptr_t)line, strlen(line)},
	    {(void *)(uintptr_t) "\n", 1},
	};

	(void)!writev(fd, parts, 2);
}
