#include "settings/csv.h"

#include "base/secret.h"

#include <stdio.h>
#include <string.h>

enum column { PRODUCT_KEY, DEVICE_NAME, DEVICE_SECRET, COLUMNS };

static const char *const names[] = {
    [PRODUCT_KEY] = "ProductKey",
    [DEVICE_NAME] = "DeviceName",
    [DEVICE_SECRET] = "DeviceSecret",
};

struct field {
	size_t n; /* of the field; what is over CSV_FIELD_BYTES is dropped */
	uint8_t bytes[CSV_FIELD_BYTES + 1]; /* one for a NUL */
};

struct reader {
	struct file *table;
	struct complaints *to;
	int line;                /* of the next byte */
	int row_line;            /* where the row starts */
	size_t row_bytes;        /* taken of the row */
	int last;                /* the byte taken last */
	bool failed;             /* nothing more can be read; told */
	int delimiter;           /* 0: none was seen yet */
	unsigned columns;        /* of the first row; 0: it was not read yet */
	unsigned place[COLUMNS]; /* which column of the table it is, from 1;
				    0: it has none */
	struct field fields[COLUMNS + 1]; /* the last: of any other column */
};

/* What a field ends with. */
enum end { END_FIELD, END_ROW, END_BAD };

/* Complains about the row. Always END_BAD. */
static enum end
refuse(struct reader *r, const char *text)
{
	if (!r->failed)
		complain(r->to, r->table->path, r->row_line, "%s", text);
	return END_BAD;
}

/* The next byte; EOF where nothing more can be read. */
static int
next(struct reader *r)
{
	int c = file_next(r->table);

	if (c == EOF && r->table->error != 0 && !r->failed) {
		r->failed = true;
		complain(r->to, r->table->path, 0, "cannot be read: %s",
		    strerror(r->table->error));
	}
	if (c == '\0') {
		refuse(r, "the row holds a NUL byte: save the table as CSV in "
			  "UTF-8");
		r->failed = true;
		c = EOF;
	}
	if (c == '\n')
		r->line++;
	r->row_bytes++;
	r->last = c;
	return c;
}

static bool
is_delimiter(struct reader *r, int c)
{
	if (r->delimiter == 0 && (c == ',' || c == ';' || c == '\t'))
		r->delimiter = c;
	return r->delimiter != 0 && c == r->delimiter;
}

/* What <c>, of which no field is made, ends. */
static enum end
end_with(struct reader *r, int c, const char *otherwise)
{
	if (is_delimiter(r, c))
		return END_FIELD;
	if (c == '\r' && next(r) != '\n')
		return refuse(
		    r, "a CR without LF: only a field in quotes may hold one");
	if (c == '\n' || c == '\r' || c == EOF)
		return r->failed ? END_BAD : END_ROW;
	return refuse(r, otherwise);
}

static void
put(struct field *f, int c)
{
	if (f->n < CSV_FIELD_BYTES)
		f->bytes[f->n] = (uint8_t)c;
	f->n++;
}

static bool
too_long(struct reader *r)
{
	if (r->row_bytes <= CSV_ROW_BYTES)
		return false;
	complain(r->to, r->table->path, r->row_line,
	    "the row has more than %d bytes; is a closing quote missing?",
	    CSV_ROW_BYTES);
	return true;
}

/* What stands behind the opening quote. */
static enum end
take_quoted(struct reader *r, struct field *f)
{
	for (;;) {
		int c = next(r);

		if (c == '"') {
			c = next(r);
			if (c != '"')
				return end_with(r, c,
				    "something follows a closing quote; a "
				    "quote inside a field is doubled");
		}
		if (c == EOF)
			return refuse(r, "the closing quote is missing");
		if (too_long(r))
			return END_BAD;
		put(f, c);
	}
}

/* The field that starts with <c>. */
static enum end
take_field(struct reader *r, int c, struct field *f)
{
	f->n = 0;
	if (c == '"')
		return take_quoted(r, f);
	while (c != '\r' && c != '\n' && c != EOF && !is_delimiter(r, c)) {
		if (c == '"')
			return refuse(r,
			    "a quote inside a field that does not start with "
			    "one");
		if (too_long(r))
			return END_BAD;
		put(f, c);
		c = next(r);
	}
	return end_with(r, c, "");
}

/* Whether a field of the first row is a column's name. */
static bool
names_column(const struct field *f, const char *name)
{
	size_t at = 0;

	for (size_t i = 0; i < f->n && i < CSV_FIELD_BYTES; i++) {
		uint8_t c = f->bytes[i];

		if (c == ' ' || c == '_')
			continue;
		if (name[at] == '\0' || (c | 0x20) != (name[at] | 0x20))
			return false;
		at++;
	}
	return name[at] == '\0' && f->n <= CSV_FIELD_BYTES;
}

static void
note_column(struct reader *r, unsigned place, const struct field *f)
{
	for (size_t i = 0; i < COLUMNS; i++) {
		if (!names_column(f, names[i]))
			continue;
		if (r->place[i] != 0)
			complain(r->to, r->table->path, r->row_line,
			    "there are two columns %s", names[i]);
		r->place[i] = place;
	}
}

static struct field *
field_at(struct reader *r, unsigned place)
{
	size_t i = 0;

	while (i < COLUMNS && r->place[i] != place)
		i++;
	return &r->fields[i];
}

/* The first row: the names of the columns. False when it will not do. */
static bool
take_names(struct reader *r)
{
	struct field *f = &r->fields[COLUMNS];
	unsigned errors = r->to->errors;
	unsigned place = 0;
	enum end end;

	do {
		end = take_field(r, next(r), f);
		if (end == END_BAD)
			return false;
		note_column(r, ++place, f);
	} while (end == END_FIELD);
	r->columns = place;
	if (r->place[DEVICE_NAME] == 0 || r->place[DEVICE_SECRET] == 0)
		complain(r->to, r->table->path, r->row_line,
		    "the first row names no column %s: it must name the "
		    "columns DeviceName and DeviceSecret, and may name "
		    "ProductKey",
		    names[r->place[DEVICE_NAME] == 0 ? DEVICE_NAME
						     : DEVICE_SECRET]);
	return r->to->errors == errors;
}

/* Ends the text of a field. */
static struct span
field_end(struct field *f)
{
	size_t n = f->n <= CSV_FIELD_BYTES ? f->n : CSV_FIELD_BYTES;

	f->bytes[n] = '\0';
	return (struct span){f->bytes, n};
}

static void
hand_out(struct reader *r, unsigned columns, const struct csv_handler *handler)
{
	struct span field[COLUMNS];
	struct csv_row row = {.line = r->row_line};
	size_t bytes = 0;

	for (size_t i = 0; i < COLUMNS; i++) {
		field[i] = field_end(&r->fields[i]);
		bytes += field[i].n;
	}
	/* a row that was cleared: some programs leave the delimiters */
	if (bytes == 0)
		return;
	if (columns != r->columns) {
		complain(r->to, r->table->path, r->row_line,
		    "the row has %u columns, the first one has %u", columns,
		    r->columns);
		return;
	}
	if (r->place[PRODUCT_KEY] != 0)
		row.product_key = (const char *)field[PRODUCT_KEY].p;
	row.device_name = (const char *)field[DEVICE_NAME].p;
	row.device_secret = field[DEVICE_SECRET];
	handler->row(handler->arg, &row);
}

/* A row behind the first. False at the end of the table. */
static bool
take_row(struct reader *r, const struct csv_handler *handler)
{
	unsigned place = 0;
	enum end end = END_FIELD;

	for (size_t i = 0; i < COLUMNS; i++)
		r->fields[i].n = 0;
	r->row_line = r->line;
	r->row_bytes = 0;
	while (end == END_FIELD) {
		int c = next(r);

		if (c == EOF && place == 0)
			return false;
		place++;
		end = take_field(r, c, field_at(r, place));
	}
	if (end == END_ROW)
		hand_out(r, place, handler);
	else /* the next line is the next row, as far as can be told */
		while (r->last != '\n' && r->last != EOF)
			(void)next(r);
	return r->last != EOF;
}

bool
csv_read(struct file *table, const struct csv_handler *handler,
    struct complaints *to)
{
	unsigned errors = to->errors;
	struct reader r = {.table = table, .to = to, .line = 1, .row_line = 1};

	file_skip_bom(table);
	if (take_names(&r))
		while (take_row(&r, handler))
			;
	secret_wipe_bytes(r.fields, sizeof(r.fields));
	return to->errors == errors;
}
