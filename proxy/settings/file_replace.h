/*
 * file_replace: a file read, and replaced as a whole by another text or not at
 * all: whoever opens it finds the old or the new one, also after a crash.
 * Owner, mode and access list stay. What is behind a symbolic link is replaced,
 * not the link; of a file with several names (hard links) only this one is the
 * new text's. A file that is not there can be made in the same way.
 *
 * From open to close the folder is locked (flock) against others that use this
 * module, and no lock file is left. One thread. May wait for the disk and, for
 * FILE_REPLACE_WAIT_S, for the lock: not for a thread that must not block.
 */
#ifndef PROXY_SETTINGS_FILE_REPLACE_H
#define PROXY_SETTINGS_FILE_REPLACE_H

#include "base/attr.h"
#include "base/span.h"

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum { FILE_REPLACE_WAIT_S = 30, FILE_REPLACE_WHY_MAX = 256 };

struct file_replace {
	char *bytes; /* as the file was read; <size> of them */
	size_t size;
	bool is_new;             /* it is not there yet; <size> is 0 */
	char temp[PATH_MAX + 8]; /* path of the new text; "" without one */
	char why[FILE_REPLACE_WHY_MAX]; /* after a false: what is wrong, and
					   what to do about it */
	/* the module's own */
	char path[PATH_MAX]; /* behind all links */
	int folder;          /* locked; -1 without one */
	struct stat was;     /* the file when it was read */
	sigset_t signals;    /* as they were before the new text */
};

/* Locks, and reads the file of at most <max> bytes. False: <why>, and there is
   nothing to close. */
NODISCARD bool file_replace_open(
    struct file_replace *r, const char *path, size_t max);

/* The same for a file that is not there, in a folder that is. Its mode will be
   600. */
NODISCARD bool file_replace_open_new(struct file_replace *r, const char *path);

/*
 * Writes the new text beside the file, for whoever wants to try it before.
 * Until the end signals that would end the process wait: no secret is left
 * behind in a file without use. What a killed process has left is taken away.
 */
NODISCARD bool file_replace_write(struct file_replace *r, struct span text);

/* Puts the text written in the file's place; not when the file has changed
   since it was read. */
NODISCARD bool file_replace_commit(struct file_replace *r);

/* Takes away the new text if it was not put in place, wipes what was read, and
   lets others go on. */
void file_replace_close(struct file_replace *r);

#endif
