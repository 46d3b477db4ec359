#include "server/watch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

/* What tells one state of a file from another; all 0: it is not there. */
struct mark {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

struct watched {
	TAILQ_ENTRY(watched) next;
	struct mark mark;
	char path[];
};

struct watch {
	TAILQ_HEAD(, watched) files;
};

static struct mark
mark_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return (struct mark){0};
	return (struct mark){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

static bool
same(const struct mark *a, const struct mark *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime.tv_sec == b->mtime.tv_sec &&
	       a->mtime.tv_nsec == b->mtime.tv_nsec;
}

struct watch *
watch_new(void)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w != NULL)
		TAILQ_INIT(&w->files);
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
		free(f);
	}
	free(*w);
	*w = NULL;
}

bool
watch_add(struct watch *w, const char *path)
{
	size_t n = strlen(path) + 1;
	struct watched *f;

	TAILQ_FOREACH (f, &w->files, next)
		if (strcmp(f->path, path) == 0)
			return true;
	f = calloc(1, sizeof(*f) + n);
	if (f == NULL)
		return false;
	memcpy(f->path, path, n);
	f->mark = mark_of(path);
	TAILQ_INSERT_TAIL(&w->files, f, next);
	return true;
}

const char *
watch_look(struct watch *w)
{
	const char *changed = NULL;
	struct watched *f;

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
