/*
 * scratch: a folder of the test's own, and a record of what was complained
 * about the files in it.
 */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include "settings/complaints.h"

#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
	char folder[128];
	char path[256]; /* of the file written last */
	struct complaints complaints;
	/* every complaint: "error 12: text\n" or "warning 12: text\n" */
	char told[64 * 1024];
	/* the path of every file that was to be read: "path\n" */
	char files[4096];
};

static inline void
scratch_told(
    void *arg, bool is_error, const char *path, int line, const char *text)
{
	struct scratch *s = arg;
	size_t n = strlen(s->told);

	(void)path;
	for (const char *c = text; *c != '\0'; c++)
		assert_true(*c >= ' ' && *c <= '~' && *c != '"');
	(void)snprintf(s->told + n, sizeof(s->told) - n, "%s %d: %s\n",
	    is_error ? "error" : "warning", line, text);
}

static inline void
scratch_file(void *arg, const char *path)
{
	struct scratch *s = arg;
	size_t n = strlen(s->files);

	(void)snprintf(s->files + n, sizeof(s->files) - n, "%s\n", path);
}

/* Forgets what was told. */
static inline void
scratch_reset(struct scratch *s)
{
	s->told[0] = '\0';
	s->files[0] = '\0';
	s->complaints = (struct complaints){
	    .tell = scratch_told, .on_file = scratch_file, .arg = s};
}

static inline int
scratch_setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct scratch *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return -1;
	(void)snprintf(s->folder, sizeof(s->folder), "%s/unit-XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	scratch_reset(s);
	*state = s;
	return mkdtemp(s->folder) != NULL ? 0 : -1;
}

static inline int
scratch_teardown(void **state)
{
	struct scratch *s = *state;
	DIR *dir = opendir(s->folder);
	struct dirent *entry;

	if (dir == NULL)
		return -1;
	while ((entry = readdir(dir)) != NULL)
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	if (rmdir(s->folder) != 0)
		return -1;
	free(s);
	return 0;
}

/* Writes a file into the folder, for its owner only. Returns its path. */
static inline const char *
scratch_write(struct scratch *s, const char *name, struct span bytes)
{
	int fd;

	(void)snprintf(s->path, sizeof(s->path), "%s/%s", s->folder, name);
	fd = open(s->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes.p, bytes.n), bytes.n);
	assert_int_equal(close(fd), 0);
	return s->path;
}

/* Exactly what was told, line by line; then forgets it. */
#define assert_told(s, want)                                                   \
	do {                                                                   \
		assert_string_equal((s)->told, want);                          \
		scratch_reset(s);                                              \
	} while (0)

/* Exactly one thing was told, and it holds this text; then forgets it. */
#define assert_told_once(s, want)                                              \
	do {                                                                   \
		if (strstr((s)->told, want) == NULL)                           \
			fail_msg("'%s' is not in '%s'", want, (s)->told);      \
		assert_ptr_equal(strchr((s)->told, '\n'),                      \
		    (s)->told + strlen((s)->told) - 1);                        \
		scratch_reset(s);                                              \
	} while (0)

#endif
