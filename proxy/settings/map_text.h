/*
 * map_text: the text of a map in memory, to be edited line by line: whatever an
 * edit is not about stays as it was, byte for byte: comments, order, blanks,
 * byte order mark, line ends, and whether the last line has one.
 *
 * The grammar is that of ini.h; lines that break it are kept, and are nobody's
 * key. Pure. One thread. The memory holds secrets: it is wiped when it is given
 * back.
 */
#ifndef PROXY_SETTINGS_MAP_TEXT_H
#define PROXY_SETTINGS_MAP_TEXT_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	MAP_TEXT_MAX = 64 * 1024 * 1024, /* bytes */
	MAP_TEXT_LINES_MAX = 8 * 1024 * 1024
};

/* No such line. */
#define MAP_TEXT_NONE SIZE_MAX

struct map_text;

/* Takes a copy. NULL without memory, or over one of the bounds. */
NODISCARD struct map_text *map_text_new(struct span bytes);
void map_text_free(struct map_text *t); /* NULL is fine */

/* All of the text, in memory that the caller wipes and frees. NULL without
   memory. */
NODISCARD char *map_text_join(const struct map_text *t, size_t *n);

/* Why <value> cannot stand behind "name = ", as a sentence; NULL: it can. */
const char *map_text_objection(struct span value);

/*
 * Sections are named as between the brackets, "device:pump-7", and known by the
 * line of their head. A line counts from 0 here, and stays what it is until
 * lines before it come or go.
 */

/* The first section of that name, or MAP_TEXT_NONE, also without memory. Quick
   when no line has come or gone since the last time. */
size_t map_text_find(struct map_text *t, const char *section);

/* A new one at the end, with an empty line before it. <section> holds no "]"
   and no control characters. Its head, or MAP_TEXT_NONE without memory. */
NODISCARD size_t map_text_append(struct map_text *t, const char *section);

/*
 * Takes a section out: its lines up to its last key, the comments directly
 * before its head, and those directly behind its last key, unless they stand
 * directly before the next head. Comments at the very start of the file are the
 * file's own and stay, as do those with an empty line on both sides. One empty
 * line before all of it goes too, or at the start of the file one behind it, so
 * that it is the very reverse of map_text_append().
 */
void map_text_remove(struct map_text *t, size_t head);

/*
 * Sets a key of a section. When it has it already, only the value changes (of
 * the first, when it comes twice); otherwise a line is put behind the section's
 * last key. map_text_objection() has nothing against <value>. False without
 * memory, with the text as it was.
 */
NODISCARD bool map_text_set(
    struct map_text *t, size_t head, const char *key, struct span value);

/* Takes a key's lines out of a section. False: it had none. */
bool map_text_unset(struct map_text *t, size_t head, const char *key);

/* The line of a section's key, or MAP_TEXT_NONE. */
size_t map_text_line(const struct map_text *t, size_t head, const char *key);

/* A line "key = value". All of it borrowed, until the line changes. */
struct map_text_value {
	size_t line;
	struct span section;
	struct span key;
	struct span value;
};

/*
 * The next key of the file after <at>: start with zeros. False behind the last.
 * In between lines may be changed with map_text_replace().
 */
NODISCARD bool map_text_next(
    const struct map_text *t, struct map_text_value *at);

/* The key in a line; false: none is there. <section> is left out. */
NODISCARD bool map_text_at(
    const struct map_text *t, size_t line, struct map_text_value *out);

/* Changes the value in a line that has one, as map_text_set() does. */
NODISCARD bool map_text_replace(
    struct map_text *t, size_t line, struct span value);

#endif
