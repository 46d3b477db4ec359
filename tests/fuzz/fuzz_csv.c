/*
 * The input is a table of devices. Rows are handed out in their order and
 * within their bounds; written once more, all fields in quotes, they are read
 * as the same.
 */
#include "fuzz_file.h"

#include "settings/csv.h"

#include <string.h>

/* A table as it is written once more, and what is read of it. */
struct again {
	char *text; /* NULL: no memory asked for yet */
	size_t size;
	FILE *to;
	int line;
	unsigned rows;
};

static void
put_quoted(FILE *to, struct span field)
{
	(void)fputc('"', to);
	for (size_t i = 0; i < field.n; i++)
		(void)fprintf(
		    to, field.p[i] == '"' ? "\"%c" : "%c", field.p[i]);
	(void)fputc('"', to);
}

static void
on_row(void *arg, const struct csv_row *row)
{
	struct again *again = arg;
	const char *key = row->product_key != NULL ? row->product_key : "";

	MUST(row->line > again->line);
	MUST(strlen(key) <= CSV_FIELD_BYTES);
	MUST(strlen(row->device_name) <= CSV_FIELD_BYTES);
	MUST(row->device_secret.n <= CSV_FIELD_BYTES);
	again->line = row->line;
	again->rows++;
	put_quoted(again->to, span_of_string(row->device_name));
	(void)fputc(';', again->to);
	put_quoted(again->to, span_of_string(key));
	(void)fputc(';', again->to);
	put_quoted(again->to, row->device_secret);
	(void)fputs("\r\n", again->to);
}

static struct again
read_table(const void *data, size_t size, struct complaints *to)
{
	struct again again = {.line = 1};
	const struct csv_handler handler = {on_row, &again};
	struct file file;
	const char *why;

	again.to = open_memstream(&again.text, &again.size);
	MUST(again.to != NULL);
	(void)fputs("DeviceName;ProductKey;DeviceSecret\r\n", again.to);
	MUST(file_open(&file, fuzz_file(data, size), to, &why));
	MUST(csv_read(&file, &handler, to) == (to->errors == 0));
	file_close(&file);
	MUST(fclose(again.to) == 0);
	return again;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints to = {.tell = fuzz_told};
	struct complaints none = {.tell = fuzz_told};
	struct again first = read_table(data, size, &to);
	struct again second = read_table(first.text, first.size, &none);

	MUST(none.errors == 0);
	MUST(first.rows == second.rows && first.size == second.size);
	MUST(memcmp(first.text, second.text, first.size) == 0);
	free(first.text);
	free(second.text);
	return 0;
}
