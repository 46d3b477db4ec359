/*
 * secret_file: a secret that stands in a file of its own, as container
 * platforms hand them out.
 */
#ifndef PROXY_SETTINGS_SECRET_FILE_H
#define PROXY_SETTINGS_SECRET_FILE_H

#include "base/attr.h"
#include "base/secret.h"
#include "settings/complaints.h"

#include <stdbool.h>

/*
 * Reads the whole file into <out>; one line end (LF or CRLF) at its end is
 * taken off. <name> is relative to the folder of the file <beside>. The
 * observer of <to> is told of the file; errors are the caller's to tell. False,
 * with <out> wiped and <*why> a sentence that holds no byte of the file, when
 * it cannot be read, is no regular file, or is over SECRET_MAX bytes. <*why> is
 * valid until the thread's next call of strerror().
 */
NODISCARD bool secret_file_read(const char *beside, const char *name,
    const struct complaints *to, struct secret *out, const char **why);

#endif
