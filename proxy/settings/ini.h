/*
 * ini: a strict reader over inih. inih as packaged cuts section names and long
 * lines silently, joins indented lines to the value before them, cuts values at
 * " ;" and takes a directory for an empty file; here each of these is an error
 * with its line. A file is read once, top to bottom, and all its errors are
 * reported, not only the first.
 */
#ifndef PROXY_SETTINGS_INI_H
#define PROXY_SETTINGS_INI_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>

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
	void (*tell)(void *arg, bool is_error, const char *path, int line,
	    const char *text);
	void *arg;
	unsigned errors; /* counted by complain() */
	unsigned warnings;
};

/* Bytes from the file go through escape() before they become an argument, so
   that they can be told from one another. */
void complain(struct complaints *to, const char *path, int line,
    const char *fmt, ...) PRINTF_LIKE(4, 5);
void warn_of(struct complaints *to, const char *path, int line, const char *fmt,
    ...) PRINTF_LIKE(4, 5);

enum {
	COMPLAINTS_MAX = 100,
	INI_LINE_BYTES = 198, /* without the line end */
	INI_SECTION_BYTES = 48,
	INI_NAME_BYTES = 48
};

/*
 * The grammar: "[section]", "name = value", comment lines that start with ";"
 * or "#", empty lines. UTF-8, with or without a byte order mark; lines end in
 * LF or CRLF. Comments may be of any length and may be indented, nothing else.
 */
struct ini_handler {
	/* A "[name]" line; a section that comes twice is told twice. */
	void (*section)(void *arg, int line, const char *name);
	/* A "name = value" line of the section told last; blanks around both
	   are gone. Not called for lines that were complained about, nor for
	   those of a section whose "[name]" line was. */
	void (*value)(void *arg, int line, const char *name, const char *value);
	void *arg;
};

/*
 * Reads the file. False when it could not be read or there were errors;
 * everything wrong has then been told to <to>. Handlers may complain too.
 * The line buffers are wiped: values may be secrets.
 */
NODISCARD bool ini_read(
    const char *path, const struct ini_handler *handler, struct complaints *to);

#endif
