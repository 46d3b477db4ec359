#include "settings/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int
open_beside(const char *beside, const char *name)
{
	const char *slash = strrchr(beside, '/');
	/* the folder, with its slash */
	int folder =
	    slash == NULL || *name == '/' ? 0 : (int)(slash + 1 - beside);
	char path[PATH_MAX];
	int n;

	n = snprintf(path, sizeof(path), "%.*s%s", folder, beside, name);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	/* a FIFO must not block us before it can be refused */
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* Reads until <size> bytes or the end; -1 with errno. */
static ssize_t
read_all(int fd, char *bytes, size_t size)
{
	size_t n = 0;

	while (n < size) {
		ssize_t got = read(fd, bytes + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

bool
secret_file_read(
    const char *beside, const char *name, struct secret *out, const char **why)
{
	char bytes[SECRET_MAX + 2 + 1]; /* CRLF, and one to see more */
	struct span secret = {(const uint8_t *)bytes, 0};
	struct stat st;
	ssize_t n = -1;
	bool ok = false;
	int fd;

	secret_wipe(out);
	fd = open_beside(beside, name);
	if (fd < 0 || fstat(fd, &st) != 0) {
		*why = strerror(errno);
		goto done;
	}
	if (!S_ISREG(st.st_mode)) {
		*why = "not a regular file";
		goto done;
	}
	n = read_all(fd, bytes, sizeof(bytes));
	if (n < 0) {
		*why = strerror(errno);
		goto done;
	}
	secret.n = (size_t)n;
	if (secret.n > 0 && bytes[secret.n - 1] == '\n') {
		secret.n--;
		if (secret.n > 0 && bytes[secret.n - 1] == '\r')
			secret.n--;
	}
	ok = secret_set(out, secret);
	if (!ok)
		*why = "it is too long for a secret";
done:
	if (n > 0)
		secret_wipe_bytes(bytes, (size_t)n);
	if (fd >= 0)
		close(fd);
	return ok;
}
