/*
 * complaints: what is wrong with files, on its way to whoever shows it. For one
 * thread at a time; owns nothing.
 */
#ifndef PROXY_SETTINGS_COMPLAINTS_H
#define PROXY_SETTINGS_COMPLAINTS_H

#include "base/attr.h"

#include <stdbool.h>

enum { COMPLAINTS_MAX = 100 };

/*
 * Where complaints about files go: one call a complaint, in the order of the
 * file; those that need the whole file come last. <line> 0: about the file as a
 * whole. The text says what is wrong and what would be right; it is printable
 * ASCII without double quotes and never holds a secret. Only the first
 * COMPLAINTS_MAX errors and as many warnings are told, then one line says that
 * there are more; all are counted. <text> is ASCII without control characters
 * and double quotes, whatever the files hold.
 */
struct complaints {
	/* NULL: nobody is told, and they are counted only */
	void (*tell)(void *arg, bool is_error, const char *path, int line,
	    const char *text);
	/* Told of each file before it is opened, whether it is there or not,
	   with the path by which it is opened. NULL: nobody wants to know. */
	void (*on_file)(void *arg, const char *path);
	void *arg;
	/* The path of a file, and of another that is read instead, to see
	   what would be if it stood there: what is told is told of <path>,
	   and names in it are relative to the folder of that. NULL: none. */
	const char *path;
	const char *read_instead;
	unsigned errors; /* counted by complain() */
	unsigned warnings;
};

/* Bytes from the file go through escape() before they become an argument, so
   that they can be told from one another. */
void complain(struct complaints *to, const char *path, int line,
    const char *fmt, ...) PRINTF_LIKE(4, 5);
void warn_of(struct complaints *to, const char *path, int line, const char *fmt,
    ...) PRINTF_LIKE(4, 5);

#endif
