/*
 * keylog: the keys of TLS connections in the format that Wireshark reads (NSS
 * key log). For labs only: who has the file can read all that was said.
 */
#ifndef PROXY_LINK_KEYLOG_H
#define PROXY_LINK_KEYLOG_H

#include "base/attr.h"
#include "base/fault.h"

/* Opens <path> to append, made for its owner only; no symbolic link is
   followed. -1: <why> names the file. Close with close(). */
NODISCARD int keylog_open(const char *path, struct fault *why);

/* Appends one line in one write, so that threads and processes may share the
   file. What cannot be written is lost. */
void keylog_write(int fd, const char *line);

#endif
