/*
 * csv: a table of devices and their secrets, as the cloud's console exports it:
 * a strict reader of RFC 4180. Rows are handed out one by one; nothing of the
 * table is kept. One thread a table.
 */
#ifndef PROXY_SETTINGS_CSV_H
#define PROXY_SETTINGS_CSV_H

#include "base/attr.h"
#include "base/span.h"
#include "settings/complaints.h"
#include "settings/file.h"

#include <stdbool.h>

enum {
	CSV_FIELD_BYTES = 128,    /* that are kept; over every bound of them */
	CSV_ROW_BYTES = 16 * 1024 /* with all columns */
};

/* One device, unchecked: any bytes but NUL, which may be none, or cut when they
   are more than CSV_FIELD_BYTES. Valid during the call that hands it out; wiped
   afterwards. */
struct csv_row {
	int line;                /* where the row starts */
	const char *product_key; /* NULL: the table has no such column */
	const char *device_name;
	struct span device_secret;
};

struct csv_handler {
	void (*row)(void *arg, const struct csv_row *row);
	void *arg;
};

/*
 * Reads a table that file_open() has opened, of which nothing was taken; the
 * caller closes it. The first line names the columns, and tells by its first
 * comma, semicolon or tab what stands between fields. The columns ProductKey
 * (it may be left out), DeviceName and DeviceSecret are found by their names,
 * in capitals or not, with blanks and underscores or without; others are passed
 * over. A field in quotes may hold anything, quotes doubled; lines end in LF or
 * CRLF; UTF-8, with or without a byte order mark, where it matters. Empty rows
 * are passed over.
 *
 * False when it could not be read or there were errors; everything wrong has
 * then been told to <to>, without a byte of the table. A row that is wrong is
 * not handed out, those behind it are. Handlers may complain too.
 */
NODISCARD bool csv_read(struct file *table, const struct csv_handler *handler,
    struct complaints *to);

#endif
