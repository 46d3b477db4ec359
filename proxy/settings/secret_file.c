#include "settings/secret_file.h"

#include "settings/file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

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
secret_file_read(const char *beside, const char *name,
    const struct complaints *to, struct secret *out, const char **why)
{
	char bytes[SECRET_MAX + 2 + 1]; /* CRLF, and one to see more */
	struct span secret = {(const uint8_t *)bytes, 0};
	char path[PATH_MAX];
	ssize_t n;
	bool ok = false;
	int fd;

	secret_wipe(out);
	if (!file_beside(path, beside, name, why))
		return false;
	fd = file_open(path, to, why);
	if (fd < 0)
		return false;
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
	close(fd);
	return ok;
}
