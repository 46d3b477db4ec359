#include "settings/file_replace.h"

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* Always false. */
static bool PRINTF_LIKE(2, 3) fail(struct file_replace *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
	return false;
}

/* The name of the file in its folder. */
static const char *
name_of(const struct file_replace *r)
{
	return strrchr(r->path, '/') + 1; /* an absolute path */
}

/* Waits for others, for a bounded time. */
static bool
lock(struct file_replace *r)
{
	static const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
	struct timespec start, now;

	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	while (flock(r->folder, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return fail(r, "its folder cannot be locked: %s",
			    strerror(errno));
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec >= FILE_REPLACE_WAIT_S)
			return fail(r,
			    "another command is changing a file of this "
			    "folder; try again when it has ended");
		(void)nanosleep(&pause, NULL);
	}
	return true;
}

/* Finds the path of a file that is not there. */
static bool
find_new(struct file_replace *r, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	char folder[PATH_MAX];
	size_t n;

	(void)snprintf(folder, sizeof(folder), "%.*s",
	    slash != NULL ? (int)(name - path) : 1, slash != NULL ? path : ".");
	if (realpath(folder, r->path) == NULL)
		return fail(
		    r, "its folder cannot be opened: %s", strerror(errno));
	n = strlen(r->path);
	if (*name == '\0' || n + 1 + strlen(name) >= sizeof(r->path))
		return fail(r, "cannot be the name of a file");
	(void)snprintf(
	    r->path + n, sizeof(r->path) - n, "%s%s", n > 1 ? "/" : "", name);
	return true;
}

static bool
open_folder(struct file_replace *r)
{
	char folder[PATH_MAX];

	(void)snprintf(folder, sizeof(folder), "%.*s",
	    (int)(name_of(r) - r->path), r->path);
	r->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->folder < 0)
		return fail(
		    r, "its folder cannot be opened: %s", strerror(errno));
	return true;
}

/* The whole file; as many bytes as it said it has. */
static bool
read_file(struct file_replace *r, int fd, size_t max)
{
	size_t n = 0;
	ssize_t got = 1;

	if (fstat(fd, &r->was) != 0)
		return fail(r, "cannot be read: %s", strerror(errno));
	if (!S_ISREG(r->was.st_mode))
		return fail(r, "is not a regular file");
	if ((uintmax_t)r->was.st_size > max)
		return fail(r, "is over %zu bytes", max);
	r->size = (size_t)r->was.st_size;
	r->bytes = malloc(r->size + 1);
	if (r->bytes == NULL)
		return fail(r, "out of memory");
	while (n < r->size && got != 0) {
		got = read(fd, r->bytes + n, r->size - n);
		if (got < 0 && errno != EINTR)
			return fail(r, "cannot be read: %s", strerror(errno));
		n += got > 0 ? (size_t)got : 0;
	}
	return n == r->size || fail(r, "is being changed; try again");
}

bool
file_replace_open(struct file_replace *r, const char *path, size_t max)
{
	bool ok = false;
	int fd;

	memset(r, 0, sizeof(*r));
	r->folder = -1;
	if (realpath(path, r->path) == NULL)
		return fail(r, "cannot be opened: %s", strerror(errno));
	if (open_folder(r) && lock(r)) {
		/* a FIFO must not block us before it can be refused */
		fd = openat(r->folder, name_of(r),
		    O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		ok = fd >= 0 ? read_file(r, fd, max)
			     : fail(r, "cannot be opened: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
	}
	if (!ok)
		file_replace_close(r);
	return ok;
}

/* Whether there is still nothing of that name. */
static bool
is_absent(const struct file_replace *r)
{
	struct stat st;

	return lstat(r->path, &st) != 0 && errno == ENOENT;
}

bool
file_replace_open_new(struct file_replace *r, const char *path)
{
	memset(r, 0, sizeof(*r));
	r->folder = -1;
	r->is_new = true;
	r->bytes = calloc(1, 1);
	if ((r->bytes != NULL || fail(r, "out of memory")) &&
	    find_new(r, path) && open_folder(r) && lock(r) &&
	    (is_absent(r) || fail(r, "cannot be made: it is there, or is a "
				     "link to what is not")))
		return true;
	file_replace_close(r);
	return false;
}

static bool
write_all(int fd, struct span text)
{
	while (text.n > 0) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		text.p += n;
		text.n -= (size_t)n;
	}
	return true;
}

/* Gives the new file the old one's access list. When that has none, the new one
   must not keep what its folder hands out (default entries, acl(5)): that would
   let others read it. A file system without lists is fine. */
static bool
copy_access_list(const struct file_replace *r, int fd)
{
	static const char name[] = "system.posix_acl_access";
	char list[4096];
	ssize_t n = getxattr(r->path, name, list, sizeof(list));

	if (n >= 0)
		return fsetxattr(fd, name, list, (size_t)n, 0) == 0;
	if (errno == ENODATA && fremovexattr(fd, name) == 0)
		return true;
	return errno == ENODATA || errno == ENOTSUP;
}

/* Owner before mode: chown() takes bits off. */
static bool
copy_rights(struct file_replace *r, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return fail(r, "cannot be replaced: %s", strerror(errno));
	if ((st.st_uid != r->was.st_uid || st.st_gid != r->was.st_gid) &&
	    fchown(fd, r->was.st_uid, r->was.st_gid) != 0)
		return fail(r,
		    "belongs to user %lu and group %lu, and this user cannot "
		    "keep it so (%s): run this as root",
		    (unsigned long)r->was.st_uid, (unsigned long)r->was.st_gid,
		    strerror(errno));
	if (fchmod(fd, r->was.st_mode & 07777) != 0 || !copy_access_list(r, fd))
		return fail(
		    r, "its rights cannot be kept: %s", strerror(errno));
	return true;
}

static void
hold_signals(struct file_replace *r)
{
	static const int numbers[] = {
	    SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP};
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		(void)sigaddset(&set, numbers[i]);
	(void)sigprocmask(SIG_BLOCK, &set, &r->signals);
}

/* A new, empty file for the owner only, or -1. */
static int
open_temp(struct file_replace *r)
{
	int fd;

	(void)snprintf(r->temp, sizeof(r->temp), "%.*s.%s.edit",
	    (int)(name_of(r) - r->path), r->path, name_of(r));
	/* whoever made one there has been killed: we have the lock */
	(void)unlink(r->temp);
	hold_signals(r);
	fd = open(r->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    0600);
	if (fd >= 0)
		return fd;
	if (errno == EEXIST)
		(void)fail(r, "%s is in the way: take it away", r->temp);
	else if (errno == EROFS)
		(void)fail(r,
		    "is in a read-only file system: change it where that "
		    "comes from");
	else
		(void)fail(r, "no new file can be made in its folder: %s%s",
		    strerror(errno),
		    errno == EACCES ? "; run this as a user who may write "
				      "there"
				    : "");
	r->temp[0] = '\0';
	(void)sigprocmask(SIG_SETMASK, &r->signals, NULL);
	return -1;
}

bool
file_replace_write(struct file_replace *r, struct span text)
{
	int fd = open_temp(r);
	bool ok;

	if (fd < 0)
		return false;
	ok =
	    (r->is_new || copy_rights(r, fd)) &&
	    ((write_all(fd, text) && fsync(fd) == 0) ||
		fail(r, "the new file cannot be written: %s", strerror(errno)));
	if (close(fd) != 0 && ok)
		return fail(
		    r, "the new file cannot be written: %s", strerror(errno));
	return ok;
}

static bool
same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool
is_unchanged(const struct file_replace *r)
{
	struct stat st;

	if (r->is_new)
		return is_absent(r);
	return lstat(r->path, &st) == 0 && st.st_dev == r->was.st_dev &&
	       st.st_ino == r->was.st_ino && st.st_size == r->was.st_size &&
	       same_time(&st.st_mtim, &r->was.st_mtim) &&
	       same_time(&st.st_ctim, &r->was.st_ctim);
}

/* Says why, by errno. Always false. */
static bool
fail_rename(struct file_replace *r)
{
	switch (errno) {
	case EBUSY:
		return fail(r, "is mounted by itself, so no new file can take "
			       "its place, from the host neither: mount its "
			       "folder instead");
	case EPERM:
		return fail(r, "cannot be replaced: it is immutable (take that "
			       "off with chattr -i), or its folder lets only "
			       "its owner do it (run this as that user)");
	default:
		return fail(r, "cannot be replaced: %s", strerror(errno));
	}
}

bool
file_replace_commit(struct file_replace *r)
{
	bool ok;

	if (!is_unchanged(r))
		return fail(r,
		    "has been changed by somebody else meanwhile; nothing was "
		    "written: try again");
	if (rename(r->temp, r->path) != 0)
		return fail_rename(r);
	r->temp[0] = '\0';
	ok = fsync(r->folder) == 0 ||
	     fail(r,
		 "has been changed, but might not stay so if the power fails "
		 "now: %s",
		 strerror(errno));
	(void)sigprocmask(SIG_SETMASK, &r->signals, NULL);
	return ok;
}

void
file_replace_close(struct file_replace *r)
{
	if (r->temp[0] != '\0') {
		(void)unlink(r->temp);
		(void)sigprocmask(SIG_SETMASK, &r->signals, NULL);
		r->temp[0] = '\0';
	}
	if (r->bytes != NULL)
		secret_wipe_bytes(r->bytes, r->size);
	free(r->bytes);
	r->bytes = NULL;
	if (r->folder >= 0)
		close(r->folder); /* and with it the lock */
	r->folder = -1;
}
