#include "settings/ini.h"

#include "base/secret.h"
#include "codec/utf8.h"
#include "settings/file.h"

#include <assert.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Of which section the lines are: none yet, one that the handler was told, one
   whose "[name]" line was wrong. */
enum inside { INSIDE_NONE, INSIDE_GOOD, INSIDE_BAD };

struct reader {
	const char *path;
	const struct ini_handler *handler;
	struct complaints *to;
	int line;
	enum inside inside;
	struct file file;
};

/* Complains about the line read last. Always false. The line itself is not
   shown: it may hold a secret. */
static bool
refuse(struct reader *r, const char *text)
{
	complain(r->to, r->path, r->line, "%s", text);
	return false;
}

/*
 * Takes the next line into <line> of INI_LINE_BYTES + 2 bytes, without its line
 * end, NUL-terminated. <*n> is its whole length; what does not fit is
 * dropped. False at the end of the file.
 */
static bool
take_line(struct reader *r, char *line, size_t *n)
{
	size_t kept;
	int last = 0;
	int c = file_next(&r->file);

	*n = 0;
	if (c == EOF)
		return false;
	for (; c != EOF && c != '\n'; c = file_next(&r->file)) {
		if (*n <= INI_LINE_BYTES)
			line[*n] = (char)c;
		++*n;
		last = c;
	}
	if (last == '\r')
		--*n;
	kept = *n <= INI_LINE_BYTES ? *n : INI_LINE_BYTES + 1;
	line[kept] = '\0';
	r->line++;
	return true;
}

static const char looks_like_comment[] =
    "a ';' or '#' at the start of a word looks like a comment: put comments on "
    "lines of their own";

/* Length of <s> up to <end>, without the blanks before <end>. */
static size_t
trimmed(const char *s, const char *end)
{
	while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return (size_t)(end - s);
}

/* Where the value is, when that is a '#' and nothing else: the filter for every
   topic. inih only takes one for a comment that begins a line. Else NULL. */
static const char *
lone_hash(const char *line)
{
	const char *value = strchr(line, '=');

	if (value == NULL)
		return NULL;
	value += 1 + strspn(value + 1, " \t");
	return *value == '#' && value[1 + strspn(value + 1, " \t")] == '\0'
		   ? value
		   : NULL;
}

/* "[name]". */
static bool
section_line(struct reader *r, const char *line)
{
	char name[INI_SECTION_BYTES + 1];
	const char *end = strchr(line, ']');
	size_t n;

	if (end == NULL)
		return refuse(r, "the ']' is missing: write [section]");
	if (end[1 + strspn(end + 1, " \t")] != '\0')
		return refuse(r, "nothing may follow the ']'");
	n = (size_t)(end - line) - 1;
	if (n == 0)
		return refuse(r, "the section has no name");
	if (n > INI_SECTION_BYTES) {
		complain(r->to, r->path, r->line,
		    "the section's name has %zu bytes, at most %d are allowed",
		    n, (int)INI_SECTION_BYTES);
		return false;
	}
	memcpy(name, line + 1, n);
	name[n] = '\0';
	r->inside = INSIDE_GOOD;
	r->handler->section(r->handler->arg, r->line, name);
	return true;
}

/* "name = value". */
static bool
value_line(struct reader *r, const char *line)
{
	/* inih takes the first of these for the sign between the two */
	const char *sign = strpbrk(line, "=:");
	size_t n;

	if (sign == NULL || *sign != '=')
		return refuse(r,
		    "this is no 'name = value', no [section] and no comment");
	if ((sign[1] == ';' || sign[1] == '#') && sign + 1 != lone_hash(line))
		return refuse(r, looks_like_comment);
	n = trimmed(line, sign);
	if (n == 0)
		return refuse(r, "the name before the '=' is missing");
	if (n > INI_NAME_BYTES) {
		complain(r->to, r->path, r->line,
		    "the name before the '=' has %zu bytes, at most %d are "
		    "allowed",
		    n, (int)INI_NAME_BYTES);
		return false;
	}
	if (r->inside == INSIDE_NONE)
		return refuse(r, "this stands before the first [section]");
	return r->inside == INSIDE_GOOD;
}

/*
 * Whether inih would understand the line as a person does. Each of the things
 * refused here is one that inih 55 takes silently for something else.
 */
static bool
line_good(struct reader *r, const char *line, size_t n)
{
	const char *text = line + strspn(line, " \t");
	size_t kept = n <= INI_LINE_BYTES ? n : INI_LINE_BYTES + 1;

	if (*text == '[')
		r->inside = INSIDE_BAD; /* until it is seen to be good */
	if (memchr(line, '\0', kept) != NULL)
		return refuse(r,
		    "the line holds a NUL byte: save the file as plain text "
		    "in UTF-8");
	if (*text == '\0' || *text == ';' || *text == '#')
		return false; /* nothing that inih has to see */
	if (n > INI_LINE_BYTES) {
		complain(r->to, r->path, r->line,
		    "the line has %zu bytes, at most %d are allowed", n,
		    (int)INI_LINE_BYTES);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)line[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return refuse(r, "the line holds a control character");
		if ((c == ';' || c == '#') && i > 0 &&
		    (line[i - 1] == ' ' || line[i - 1] == '\t') &&
		    line + i != lone_hash(line))
			return refuse(r, looks_like_comment);
	}
	if (!utf8_valid(span_of_string(line)))
		return refuse(
		    r, "the line is not UTF-8: save the file as UTF-8");
	if (text != line)
		return refuse(r,
		    "the line is indented: take the blanks at its start off");
	return *line == '[' ? section_line(r, line) : value_line(r, line);
}

/*
 * inih's source of lines. It gets one for each line of the file, so that its
 * line numbers are ours; lines that it must not see are empty. <line> is the
 * only place where inih keeps values: at the end it is wiped.
 */
static char *
on_read(char *line, int size, void *arg)
{
	struct reader *r = arg;
	size_t n;

	assert(size >= INI_LINE_BYTES + 2);
	if (!take_line(r, line, &n)) {
		secret_wipe_bytes(line, (size_t)size);
		return NULL;
	}
	if (!line_good(r, line, n))
		line[0] = '\0';
	return line;
}

static int
on_value(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *r = arg;

	(void)section; /* the handler was told when it began */
	r->handler->value(r->handler->arg, r->line, name, value);
	return 1; /* go on */
}

/* A path leads to a file without a name only where that file was mounted by
   itself: what is put in its place outside never arrives. */
static void
warn_if_replaced_outside(const char *path, struct complaints *to)
{
	struct stat st;

	if (stat(path, &st) == 0 && st.st_nlink == 0)
		warn_of(to, path, 0,
		    "is mounted by itself, and has been replaced or removed "
		    "outside: this is the old one; mount its folder instead");
}

bool
ini_read(
    const char *path, const struct ini_handler *handler, struct complaints *to)
{
	struct reader r = {.path = path, .handler = handler, .to = to};
	unsigned errors = to->errors;
	const char *why;
	int bad_line;

	if (!file_open(&r.file, path, to, &why)) {
		complain(to, path, 0, "cannot be opened: %s", why);
		return false;
	}
	warn_if_replaced_outside(path, to);
	file_skip_bom(&r.file);
	bad_line = ini_parse_stream(on_read, &r, on_value, &r);
	if (r.file.error != 0)
		complain(
		    to, path, 0, "cannot be read: %s", strerror(r.file.error));
	else if (bad_line != 0 && to->errors == errors)
		complain(to, path, bad_line > 0 ? bad_line : 0,
		    "the INI library does not take this file");
	file_close(&r.file);
	return to->errors == errors;
}
