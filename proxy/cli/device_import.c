#include "cli/cli.h"

#include "base/escape.h"
#include "cli/map_edit.h"
#include "settings/csv.h"
#include "settings/value.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 1000 * 1000 };

/* A row of the table. */
struct row {
	int line;
	char product_key[ALIYUN_PRODUCT_KEY_MAX + 1];
	char device_name[ALIYUN_DEVICE_NAME_MAX + 1];
	char label[CREDENTIAL_LABEL_MAX + 1]; /* of a new device */
	struct secret secret;
	const char *refused;            /* NULL: it is not */
	int first;                      /* line of the row it repeats, or 0 */
	const struct credential *there; /* NULL: a new device */
};

struct import {
	const struct cli_options *o;
	struct row *rows;
	size_t count;
	size_t cap;
	bool no_memory;
};

/* Not realloc(): it would leave secrets behind. */
static bool
grow(struct import *im)
{
	size_t cap = im->cap > 0 ? 2 * im->cap : 64;
	struct row *more;

	if (im->count < im->cap)
		return true;
	more = im->count < ROWS_MAX ? calloc(cap, sizeof(*more)) : NULL;
	if (more == NULL)
		return false;
	if (im->count > 0) {
		memcpy(more, im->rows, im->count * sizeof(*more));
		secret_wipe_bytes(im->rows, im->count * sizeof(*more));
	}
	free(im->rows);
	im->rows = more;
	im->cap = cap;
	return true;
}

/* What is wrong with a secret, or NULL. */
static const char *
secret_objection(struct span secret)
{
	if (secret.n < 1 || secret.n > ALIYUN_DEVICE_SECRET_MAX)
		return "its DeviceSecret is empty or too long";
	for (size_t i = 0; i < secret.n; i++)
		if (secret.p[i] <= ' ' || secret.p[i] > '~')
			return "its DeviceSecret holds something else than "
			       "printable ASCII";
	if (map_text_objection(secret) != NULL)
		return "its DeviceSecret would look like a comment in the map: "
		       "put it into a file of its own (device_secret_file)";
	return NULL;
}

/* What is wrong with a row by itself, or NULL. */
static const char *
row_objection(const struct import *im, const struct csv_row *row)
{
	const char *wanted = im->o->product;

	if (row->product_key == NULL && wanted == NULL)
		return "the table has no ProductKey: say it with --product";
	if (row->product_key != NULL && wanted != NULL &&
	    strcmp(row->product_key, wanted) != 0)
		return "its ProductKey is not that of --product";
	if (row->product_key != NULL &&
	    !value_made_of(row->product_key, 1, ALIYUN_PRODUCT_KEY_MAX, ""))
		return "its ProductKey is none: letters and digits are allowed";
	if (!value_made_of(row->device_name, ALIYUN_DEVICE_NAME_MIN,
		ALIYUN_DEVICE_NAME_MAX, "-_@.:"))
		return "its DeviceName is none: 4 to 32 letters, digits and "
		       "-_@.: are allowed";
	return secret_objection(row->device_secret);
}

static void
on_row(void *arg, const struct csv_row *from)
{
	struct import *im = arg;
	struct row *row;

	if (im->no_memory || !grow(im)) {
		im->no_memory = true;
		return;
	}
	row = &im->rows[im->count++];
	row->line = from->line;
	row->refused = row_objection(im, from);
	if (row->refused != NULL)
		return;
	(void)snprintf(row->product_key, sizeof(row->product_key), "%s",
	    from->product_key != NULL ? from->product_key : im->o->product);
	(void)snprintf(row->device_name, sizeof(row->device_name), "%s",
	    from->device_name);
	if (!secret_set(&row->secret, from->device_secret))
		row->refused = "its DeviceSecret is too long";
}

/* False after telling why. */
static bool
read_table(struct import *im, enum cli_exit *code)
{
	const struct csv_handler handler = {on_row, im};
	struct complaints to = {.tell = cli_complaint};
	struct file table;
	const char *why;
	bool ok;

	*code = CLI_REFUSED;
	if (!file_open(&table, im->o->operand, &to, &why)) {
		cli_tell("%s: %s", im->o->operand, why);
		*code = CLI_FAILED;
		return false;
	}
	ok = csv_read(&table, &handler, &to);
	file_close(&table);
	if (im->no_memory) {
		cli_tell("%s: out of memory, or it has over %d rows",
		    im->o->operand, (int)ROWS_MAX);
		*code = CLI_FAILED;
		return false;
	}
	return ok;
}

static int
compare_identities(const void *a, const void *b)
{
	const struct row *p = a, *q = b;
	int order = strcmp(p->product_key, q->product_key);

	return order != 0 ? order : strcmp(p->device_name, q->device_name);
}

static int
compare_labels(const void *a, const void *b)
{
	const struct row *p = a, *q = b;

	return strcmp(p->label, q->label);
}

static void
keep_row(void *row)
{
	(void)row; /* the tree does not own it */
}

/* The row that is already in the tree, or NULL after <row> was put there. */
static struct row *
enter(struct import *im, void **tree, struct row *row,
    int (*compare)(const void *a, const void *b))
{
	struct row **found = tsearch(row, tree, compare);

	if (found == NULL)
		im->no_memory = true;
	return found == NULL || *found == row ? NULL : *found;
}

static bool
has_same_secret(const struct row *row)
{
	return secret_eq(&row->there->device_secret,
	    (struct span){row->secret.bytes, row->secret.n});
}

/* What is wrong with giving an entry that is there a new secret. */
static const char *
entry_objection(const struct map_edit *e, const struct row *row)
{
	struct map_text_value at;

	if (has_same_secret(row))
		return NULL;
	if (row->there->table != NULL)
		return "its secret stands in the table of a fleet: change it "
		       "there";
	if (!map_text_at(e->text,
		map_text_line(
		    e->text, (size_t)row->there->line - 1, "device_secret"),
		&at))
		return "its secret stands in a file of its own: change it "
		       "there";
	return NULL;
}

/* A label that no other device has: the DeviceName, if need be with a number.
 */
static void
name_row(
    struct import *im, const struct map_edit *e, void **labels, struct row *row)
{
	unsigned n = 1;

	(void)snprintf(row->label, sizeof(row->label), "%s", row->device_name);
	while (map_edit_has(e, row->label) ||
	       enter(im, labels, row, compare_labels) != NULL)
		(void)snprintf(row->label, sizeof(row->label), "%s-%u",
		    row->device_name, ++n);
}

/* Decides what becomes of each row. False: some are refused. */
static bool
decide(struct import *im, const struct map_edit *e)
{
	void *identities = NULL, *labels = NULL;
	bool ok = true;

	for (size_t i = 0; i < im->count; i++) {
		struct row *row = &im->rows[i];
		const struct row *first;

		if (row->refused == NULL) {
			first = enter(im, &identities, row, compare_identities);
			row->first = first != NULL ? first->line : 0;
			row->there = credmap_by_identity(
			    e->map, row->product_key, row->device_name);
			if (row->there != NULL)
				row->refused = entry_objection(e, row);
			else if (first == NULL)
				name_row(im, e, &labels, row);
		}
		ok = ok && row->refused == NULL && row->first == 0;
	}
	tdestroy(identities, keep_row);
	tdestroy(labels, keep_row);
	return ok;
}

static bool
add_row(struct map_edit *e, const struct row *row)
{
	size_t head = map_edit_append(e, row->label);

	return head != MAP_TEXT_NONE &&
	       map_edit_set(
		   e, head, "product_key", span_of_string(row->product_key)) &&
	       map_edit_set(
		   e, head, "device_name", span_of_string(row->device_name)) &&
	       map_edit_set(e, head, "device_secret",
		   (struct span){row->secret.bytes, row->secret.n});
}

/* Sections are added at the end only, so the lines of those that were there
   stay. */
static bool
apply_row(struct map_edit *e, const struct row *row)
{
	if (row->there == NULL)
		return add_row(e, row);
	return has_same_secret(row) ||
	       map_edit_set(e, (size_t)row->there->line - 1, "device_secret",
		   (struct span){row->secret.bytes, row->secret.n});
}

static bool
apply(const struct import *im, struct map_edit *e)
{
	for (size_t i = 0; i < im->count; i++)
		if (!apply_row(e, &im->rows[i]))
			return false;
	return true;
}

static void
report(const struct import *im)
{
	size_t added = 0, changed = 0, unchanged = 0, refused = 0;

	for (size_t i = 0; i < im->count; i++) {
		const struct row *row = &im->rows[i];

		(void)printf("%s:%d: ", im->o->operand, row->line);
		if (row->refused != NULL) {
			(void)printf("refused: %s\n", row->refused);
			refused++;
		} else if (row->first != 0) {
			(void)printf("refused: the device of line %d again\n",
			    row->first);
			refused++;
		} else if (row->there == NULL) {
			(void)printf("added %s\n", row->label);
			added++;
		} else if (has_same_secret(row)) {
			(void)printf("unchanged %s\n", row->there->label);
			unchanged++;
		} else {
			(void)printf("secret changed %s\n", row->there->label);
			changed++;
		}
	}
	(void)printf("%zu added, %zu changed, %zu unchanged, %zu refused\n",
	    added, changed, unchanged, refused);
}

/* With the map under the lock. */
static enum cli_exit
import_into(struct import *im, struct map_edit *e)
{
	struct complaints to = {.tell = cli_complaint};
	bool ok;

	if (e->map == NULL) { /* nobody knows who is there already */
		credmap_unref(credmap_load(im->o->devices, e->settings, &to));
		return CLI_REFUSED;
	}
	ok = decide(im, e);
	if (im->no_memory) {
		cli_tell("out of memory");
		return CLI_FAILED;
	}
	report(im);
	if (!ok) {
		cli_tell("%s was not changed: rows of %s were refused",
		    im->o->devices, im->o->operand);
		return CLI_REFUSED;
	}
	return apply(im, e) ? map_edit_save(e) : CLI_FAILED;
}

static enum cli_exit
import(const struct cli_options *o)
{
	struct import im = {.o = o};
	struct map_edit e;
	enum cli_exit code;

	if (o->product != NULL &&
	    !value_made_of(o->product, 1, ALIYUN_PRODUCT_KEY_MAX, ""))
		return cli_misused(&cli_device_import,
		    "%s: --product: 1 to %d letters and digits are allowed",
		    cli_device_import.name, ALIYUN_PRODUCT_KEY_MAX);
	if (read_table(&im, &code) && map_edit_begin(&e, o, &code)) {
		code = import_into(&im, &e);
		map_edit_end(&e);
	}
	if (im.count > 0)
		secret_wipe_bytes(im.rows, im.count * sizeof(*im.rows));
	free(im.rows);
	return code;
}

static const struct option options[] = {
    CLI_OPTIONS,
    {"dry-run", no_argument, NULL, 'n'},
    {"product", required_argument, NULL, 'p'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char help[] =
"Takes the devices of a table, as the cloud's console exports it, into the\n"
"credential map: those that are not there are added, with their DeviceName for\n"
"a label, and of those that are the secret is changed. The table's first line\n"
"names its columns: ProductKey, DeviceName and DeviceSecret in any order, with\n"
"comma, semicolon or tab between them; other columns do not matter.\n"
"\n"
"Says of each row what becomes of it. When one is refused, nothing is changed.\n"
"\n"
CLI_OPTIONS_HELP
"      --dry-run         only say what would become of each row\n"
"      --product KEY     the ProductKey, for a table without that column\n"
"\n"
"Exit codes: 0 done; 1 could not do it; 2 wrong usage; 3 a file or a row was\n"
"refused, and nothing was changed.\n";
/* clang-format on */

const struct cli_command cli_device_import = {
    .name = "device import",
    .summary = "take in a table of devices",
    .operand = "FILE.csv",
    .options = options,
    .help = help,
    .run = import,
};
