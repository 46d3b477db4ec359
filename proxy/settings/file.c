#include "settings/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool
file_beside(char out[static PATH_MAX], const char *beside, const char *name,
    const char **why)
{
	const char *slash = strrchr(beside, '/');
	/* the folder, with its slash */
	int folder =
	    slash == NULL || *name == '/' ? 0 : (int)(slash + 1 - beside);
	int n = snprintf(out, PATH_MAX, "%.*s%s", folder, beside, name);

	if (n >= 0 && n < PATH_MAX)
		return true;
	*why = strerror(ENAMETOOLONG);
	return false;
}

int
file_open(const char *path, const struct complaints *to, const char **why)
{
	struct stat st;
	int fd;

	if (to->on_file != NULL)
		to->on_file(to->arg, path);
	/* a FIFO must not block us before it can be refused */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	*why = fd < 0 ? strerror(errno) : "not a regular file";
	if (fd >= 0)
		close(fd);
	return -1;
}
