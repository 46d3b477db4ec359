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
#include "settings/complaints.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	INI_LINE_BYTES = 198, /* without the line end */
	INI_SECTION_BYTES = 48,
	INI_NAME_BYTES = 48
};

/*
 * The grammar: "[section]", "name = value", comment lines that start with ";"
 * or "#", empty lines. A value may be "#" alone, but no word in one begins with
 * ";" or "#". UTF-8, with or without a byte order mark; lines end in
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
 * Reads the file; warns of one that was mounted by itself and is not the one
 * outside any more. False when it could not be read or there were errors;
 * everything wrong has then been told to <to>. Handlers may complain too.
 * The line buffers are wiped: values may be secrets.
 */
NODISCARD bool ini_read(
    const char *path, const struct ini_handler *handler, struct complaints *to);

#endif
