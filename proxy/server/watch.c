#include "server/watch.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

/* What tells one state of a file from another; all 0: it is not there. The time
   of the inode shows that owner or mode were mended. */
struct mark {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
	struct timespec ctime;
};

struct watched {
	TAILQ_ENTRY(watched) next;
	struct mark mark;
	char path[];
};

struct watch {
	int fd; /* of inotify, or -1 */
	TAILQ_HEAD(, watched) files;
	void *by_path; /* the same as a tsearch() tree */
};

static int
path_order(const void *a, const void *b)
{
	const struct watched *x = a, *y = b;

	return strcmp(x->path, y->path);
}

static struct mark
mark_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return (struct mark){0};
	return (struct mark){
	    st.st_dev, st.st_ino, st.st_size, st.st_mtim, st.st_ctim};
}

static bool
same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool
same(const struct mark *a, const struct mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       same_time(&a->mtime, &b->mtime) &&
	       same_time(&a->ctime, &b->ctime);
}

struct watch *
watch_new(void)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return NULL;
	TAILQ_INIT(&w->files);
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return w;
}

void
watch_free(struct watch **w)
{
	struct watched *f;

	if (*w == NULL)
		return;
	while ((f = TAILQ_FIRST(&(*w)->files)) != NULL) {
		TAILQ_REMOVE(&(*w)->files, f, next);
		(void)tdelete(f, &(*w)->by_path, path_order);
		free(f);
	}
	if ((*w)->fd >= 0)
		(void)close((*w)->fd);
	free(*w);
	*w = NULL;
}

/* Fails for what is no folder, or not there: the next look finds out. */
static void
hear_folder(const struct watch *w, const char *path)
{
	(void)inotify_add_watch(w->fd, path,
	    IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE |
		IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
		IN_ONLYDIR);
}

/* Folders and not files: a file that is replaced is another one. */
static void
hear_folder_of(const struct watch *w, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash != NULL ? (size_t)(slash - path) : 0;
	char folder[PATH_MAX] = ".";

	if (n >= sizeof(folder))
		return;
	if (slash != NULL) {
		memcpy(folder, path, n + 1); /* with it: it may be the root */
		folder[n + 1] = '\0';
	}
	hear_folder(w, folder);
}

static void
hear(const struct watch *w, const char *path)
{
	char *target;

	if (w->fd < 0)
		return;
	hear_folder_of(w, path);
	hear_folder(w, path);
	target = realpath(path, NULL);
	if (target != NULL && strcmp(target, path) != 0)
		hear_folder_of(w, target);
	free(target);
}

bool
watch_add(struct watch *w, const char *path)
{
	size_t n = strlen(path) + 1;
	struct watched *f = calloc(1, sizeof(*f) + n);
	struct watched **there;

	if (f == NULL)
		return false;
	memcpy(f->path, path, n);
	there = tsearch(f, &w->by_path, path_order);
	if (there == NULL || *there != f) {
		free(f);
		return there != NULL;
	}
	hear(w, path); /* first, so that no change comes between */
	f->mark = mark_of(path);
	TAILQ_INSERT_TAIL(&w->files, f, next);
	return true;
}

int
watch_fd(const struct watch *w)
{
	return w->fd;
}

/* What they say does not matter: the look does. */
static void
forget_events(const struct watch *w)
{
	char events[4096];
	ssize_t n;

	do
		n = read(w->fd, events, sizeof(events));
	while (n > 0 || (n < 0 && errno == EINTR));
}

const char *
watch_look(struct watch *w)
{
	const char *changed = NULL;
	struct watched *f;

	if (w->fd >= 0)
		forget_events(w);
	TAILQ_FOREACH (f, &w->files, next) {
		struct mark now = mark_of(f->path);

		if (same(&now, &f->mark))
			continue;
		f->mark = now;
		if (changed == NULL)
			changed = f->path;
	}
	return changed;
}
