/*
 * file: how the files of the settings are found, opened and read. One thread a
 * file; what it holds may be secret.
 */
#ifndef PROXY_SETTINGS_FILE_H
#define PROXY_SETTINGS_FILE_H

#include "base/attr.h"
#include "settings/complaints.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An open file. */
struct file {
	const char *path; /* the caller's */
	int fd;
	int error; /* errno of the read that failed, or 0 */
	size_t at; /* bytes [at, n) of <bytes> are read and not yet taken */
	size_t n;
	uint8_t bytes[16 * 1024];
};

/*
 * The path of <name>, which is relative to the folder of the file <beside>.
 * "${CREDENTIALS_DIRECTORY}/" at its start stands for the folder in which
 * systemd gives a service its credentials; no other variable means anything.
 * False, with <*why> a sentence, when there is no such folder or the path is
 * too long.
 */
NODISCARD bool file_beside(char out[static PATH_MAX], const char *beside,
    const char *name, const char **why);

/* <path>, or the file that <to> says is read instead of it. */
const char *file_really_read(const char *path, const struct complaints *to);

/*
 * Opens a file for reading, and tells the observer of <to> before that; <path>
 * must outlive <f>. False, with <*why> a sentence that is valid until the
 * thread's next call of strerror(), when it cannot be opened or is no regular
 * file; <f> must not be closed then. Never waits.
 */
NODISCARD bool file_open(struct file *f, const char *path,
    const struct complaints *to, const char **why);

/* The next byte, or EOF at the end and on errors. */
int file_next(struct file *f);

/* Passes over a UTF-8 byte order mark, which editors on Windows put at the
   start. For a file of which nothing was taken. */
void file_skip_bom(struct file *f);

/* Closes it and wipes what was read. */
void file_close(struct file *f);

#endif
