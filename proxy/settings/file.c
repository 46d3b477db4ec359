#include "settings/file.h"

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool
file_beside(char out[static PATH_MAX], const char *beside, const char *name,
    const char **why)
{
	/* systemd.exec(5): where LoadCredential= puts its files */
	static const char mark[] = "${CREDENTIALS_DIRECTORY}/";
	const char *slash = strrchr(beside, '/');
	const char *folder = beside;
	int folder_n, n; /* the folder with its slash */

	folder_n =
	    slash == NULL || *name == '/' ? 0 : (int)(slash + 1 - beside);
	if (strncmp(name, mark, strlen(mark)) == 0) {
		folder = getenv("CREDENTIALS_DIRECTORY");
		if (folder == NULL || *folder != '/') {
			*why = "the environment has no CREDENTIALS_DIRECTORY: "
			       "a service gets it by a LoadCredential= line; "
			       "elsewhere set it to the folder of these files";
			return false;
		}
		folder_n = (int)strnlen(folder, PATH_MAX);
		name += strlen(mark) - 1;
	}
	n = snprintf(out, PATH_MAX, "%.*s%s", folder_n, folder, name);
	if (n >= 0 && n < PATH_MAX)
		return true;
	*why = strerror(ENAMETOOLONG);
	return false;
}

const char *
file_really_read(const char *path, const struct complaints *to)
{
	return to->path != NULL && strcmp(path, to->path) == 0
		   ? to->read_instead
		   : path;
}

bool
file_open(struct file *f, const char *path, const struct complaints *to,
    const char **why)
{
	struct stat st;

	f->path = path;
	f->error = 0;
	f->at = 0;
	f->n = 0;
	if (to->on_file != NULL)
		to->on_file(to->arg, path);
	/* a FIFO must not block us before it can be refused */
	f->fd = open(file_really_read(path, to),
	    O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd >= 0 && fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode))
		return true;
	*why = f->fd < 0 ? strerror(errno) : "not a regular file";
	if (f->fd >= 0)
		close(f->fd);
	return false;
}

/* Reads more, after all there is was taken. False at the end and on errors. */
static bool
fill(struct file *f)
{
	ssize_t n;

	do
		n = read(f->fd, f->bytes, sizeof(f->bytes));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		f->error = errno;
	if (n <= 0)
		return false;
	f->at = 0;
	f->n = (size_t)n;
	return true;
}

int
file_next(struct file *f)
{
	return f->at < f->n || fill(f) ? f->bytes[f->at++] : EOF;
}

void
file_skip_bom(struct file *f)
{
	static const uint8_t bom[] = {0xef, 0xbb, 0xbf};

	if (fill(f) && f->n >= sizeof(bom) &&
	    memcmp(f->bytes, bom, sizeof(bom)) == 0)
		f->at = sizeof(bom);
}

void
file_close(struct file *f)
{
	close(f->fd);
	secret_wipe_bytes(f->bytes, sizeof(f->bytes));
}
