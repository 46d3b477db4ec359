/*
 * file: how the files of the settings are found and opened.
 */
#ifndef PROXY_SETTINGS_FILE_H
#define PROXY_SETTINGS_FILE_H

#include "base/attr.h"
#include "settings/complaints.h"

#include <limits.h>
#include <stdbool.h>

/* The path of <name>, which is relative to the folder of the file <beside>.
   False, with <*why> a sentence, when it is too long. */
NODISCARD bool file_beside(char out[static PATH_MAX], const char *beside,
    const char *name, const char **why);

/*
 * Opens a file for reading, and tells the observer of <to> before that. The
 * descriptor, which the caller closes; -1, with <*why> a sentence that is valid
 * until the thread's next call of strerror(), when it cannot be opened or is no
 * regular file. Never waits.
 */
NODISCARD int file_open(
    const char *path, const struct complaints *to, const char **why);

#endif
