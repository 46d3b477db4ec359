/*
 * log: one event, one line, "key=value" or a JSON object, to standard error, or
 * to a file.
 *
 * Any thread may write. A line is formatted by its writer into a ring; a thread
 * of the log's own takes it from there to the descriptor, so a full pipe never
 * stops a worker: when the ring is full, lines are dropped, counted, and the
 * count is told as soon as there is room. Before log_start() and after
 * log_stop() lines are written directly.
 *
 * Bytes that a device, the cloud or a file supplied go through escape() first.
 *
 * The journal of systemd is written to as any standard error, with a priority
 * ("<4>") before each line: it needs no socket of its own, and the lines of a
 * crash of the program, of libraries and of the log stay in one order. Who
 * wants to select by fields takes JSON.
 */
#ifndef PROXY_BASE_LOG_H
#define PROXY_BASE_LOG_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

/* Each with the priority that syslog and the journal have for it. */
#define LOG_LEVELS(X)                                                          \
	X(LOG_ERROR, "error", '3')                                             \
	X(LOG_WARNING, "warning", '4')                                         \
	X(LOG_NOTICE, "notice", '5')                                           \
	X(LOG_INFO, "info", '6')                                               \
	X(LOG_DEBUG, "debug", '7')
#define LOG_FORMATS(X) X(LOG_TEXT, "text") X(LOG_JSON, "json")

#define X(id, word, priority) id,
enum log_level { LOG_LEVELS(X) LOG_LEVEL_COUNT };
#undef X
#define X(id, word) id,
enum log_format { LOG_FORMATS(X) LOG_FORMAT_COUNT };
#undef X

enum { LOG_LINE_MAX = 1024 }; /* a longer line of text is cut */

const char *log_level_word(enum log_level level);
const char *log_format_word(enum log_format as);

/* Lines that are written from now on. Default: LOG_TEXT. */
void log_set_format(enum log_format as);

/* Lines less important than <level> are not written. Default: LOG_INFO. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* What a device has instead of that level; zero: nothing. */
struct log_own {
	bool set;
	enum log_level level;
	uint64_t device; /* which one it is, for log_set_level_of(); 0: none */
};

enum { LOG_DEVICES_MAX = 16 };

/* From now on lines about <device>, which is not 0, are written up to <level>,
   whatever else is said; at most LOG_DEVICES_MAX devices: false, there are too
   many. One thread at a time. */
NODISCARD bool log_set_level_of(uint64_t device, enum log_level level);

/* No more. */
void log_forget_level_of(uint64_t device);

/* As log_set_level(), and from now on no device has a level of its own. */
void log_overrule(enum log_level level);

/* Looks whether standard error is the journal's, as JOURNAL_STREAM tells
   (systemd.exec(5)); lines have a priority then. Once, at the start. */
void log_find_journal(void);

/*
 * From now on lines go to the file <path>, which is made when it is missing
 * (mode 0640); once, before log_start(). False, with errno: they go where they
 * went.
 */
NODISCARD bool log_to_file(const char *path);

/* Opens the file of log_to_file() again, as whoever has moved the old one away
   wants it; without one nothing happens. False, with errno: lines go on into
   the old one. */
NODISCARD bool log_reopen(void);

/* Starts and ends the writing thread; log_stop() writes what is waiting, for
   at most <bound_ms>. False when no thread can be had. */
NODISCARD bool log_start(void);
void log_stop(uint64_t bound_ms);

/* time=... level=... event=<event> followed by <fmt>, a literal with other
   keys: "key=value ...". */
void log_write(enum log_level level, const char *event, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The same for a line about one device; <own> says what it has itself. */
void log_write_for(const struct log_own *own, enum log_level level,
    const char *event, const char *fmt, ...) PRINTF_LIKE(4, 5);

#endif
