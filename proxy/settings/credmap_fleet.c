#include "settings/credmap_parts.h"

#include "settings/csv.h"
#include "settings/file.h"
#include "settings/pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A section that uses a table. */
struct user {
	struct table_use *use;
	const struct credential *fleet; /* NULL: it is an entry */
};

/* Whose DeviceName stands in a section: entry <i> of the map. */
struct owner {
	const char *device_name;
	const char *product_key;
	size_t i;
};

/* A table being read. */
struct reading {
	struct loading *l;
	struct table *table;
	const struct user *users; /* of this table, fleets first */
	size_t users_count;
	const struct owner *owners; /* all of them, by name */
	size_t owners_count;
};

static int
compare_users(const void *a, const void *b)
{
	const struct user *u = a;
	const struct user *v = b;
	int order = strcmp(u->use->path, v->use->path);

	if (order == 0)
		order = (u->fleet == NULL) - (v->fleet == NULL);
	return order != 0 ? order
			  : (u->use->line > v->use->line) -
				(u->use->line < v->use->line);
}

static int
compare_owners(const void *a, const void *b)
{
	const struct owner *o = a;
	const struct owner *p = b;
	int order = strcmp(o->device_name, p->device_name);

	return order != 0 ? order : strcmp(o->product_key, p->product_key);
}

/* The first owner of a DeviceName, or where it would be. */
static size_t
find_owner(const struct reading *r, const char *device_name)
{
	size_t low = 0;
	size_t high = r->owners_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(r->owners[middle].device_name, device_name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether a row is of a product. */
static bool
is_of(const struct csv_row *row, const char *product_key)
{
	return row->product_key == NULL ||
	       strcmp(row->product_key, product_key) == 0;
}

/* The row's secret, for one that has it from this table. Complains. */
static void
take_secret(struct reading *r, const struct csv_row *row, struct credential *c,
    struct table_use *use)
{
	struct credmap_line line = r->l->line;

	line.path = r->table->path;
	line.n = row->line;
	line.key = "DeviceSecret";
	if (use->row != 0) {
		complain(line.to, line.path, line.n,
		    "DeviceName %s comes twice, first in line %d",
		    c->device_name, use->row);
		return;
	}
	use->row = row->line;
	(void)credmap_line_table_secret(
	    &line, row->device_secret, &c->device_secret);
}

/* Gives the row to those whose own section names it and this table. Whether
   there are any. */
static bool
give_to_owners(struct reading *r, const struct csv_row *row)
{
	struct loading *l = r->l;
	bool taken = false;

	for (size_t i = find_owner(r, row->device_name);
	     i < r->owners_count &&
	     strcmp(r->owners[i].device_name, row->device_name) == 0;
	     i++) {
		size_t entry = r->owners[i].i;
		struct table_use *use = &l->devices[entry].secrets;

		if (!is_of(row, r->owners[i].product_key) ||
		    use->path == NULL || strcmp(use->path, r->table->path) != 0)
			continue;
		take_secret(r, row, credmap_edit(l->line.map, entry), use);
		taken = true;
	}
	return taken;
}

/* Whether a device has a section of its own. */
static bool
is_owned(
    const struct reading *r, const char *device_name, const char *product_key)
{
	for (size_t i = find_owner(r, device_name);
	     i < r->owners_count &&
	     strcmp(r->owners[i].device_name, device_name) == 0;
	     i++)
		if (strcmp(r->owners[i].product_key, product_key) == 0)
			return true;
	return false;
}

/* A text of a device of the fleet; what is NULL stays it. Complains. */
static const char *
fill_in(struct credmap_line *line, const char *key, const char *pattern,
    const char *mark, struct span part, size_t most)
{
	char text[CREDENTIAL_MATCH_MAX + 1];

	if (pattern == NULL || strstr(pattern, mark) == NULL)
		return pattern;
	if (pattern_fill(text, most + 1, pattern, mark, part))
		return credmap_line_keep(line, text);
	complain(line->to, line->path, line->n,
	    "with the part of this DeviceName, %s has more than %zu bytes", key,
	    most);
	return NULL;
}

/* The name, and the label that comes of it. Complains. */
static void
set_name(struct credmap_line *line, const struct credential *fleet,
    const char *device_name, struct credential *c)
{
	char label[CREDENTIAL_ENTRY_LABEL_MAX + 1];

	c->device_name = NULL;
	c->label = NULL;
	line->key = "DeviceName";
	credmap_line_device_name(line, device_name, &c->device_name);
	if (c->device_name == NULL || fleet->label == NULL)
		return;
	(void)snprintf(
	    label, sizeof(label), "%s/%s", fleet->label, device_name);
	c->label = credmap_line_keep(line, label);
}

/* The row as an entry. Complains when it cannot be one. */
static void
add_member(struct reading *r, const struct csv_row *row,
    const struct credential *fleet, struct span part)
{
	struct credmap_line line = r->l->line;
	struct credential *c = credmap_add(line.map);

	if (c == NULL) {
		r->l->line.no_memory = true;
		return;
	}
	*c = *fleet;
	c->table = r->table->path;
	c->line = row->line;
	line.path = r->table->path;
	line.n = row->line;
	set_name(&line, fleet, row->device_name, c);
	line.key = "DeviceSecret";
	(void)credmap_line_table_secret(
	    &line, row->device_secret, &c->device_secret);
	c->client_id = fill_in(&line, "client_id", fleet->client_id,
	    CREDENTIAL_PART, part, ALIYUN_CLIENT_ID_MAX);
	c->match_client_id =
	    fill_in(&line, "match_client_id", fleet->match_client_id,
		CREDENTIAL_MATCH_PART, part, CREDENTIAL_MATCH_MAX);
	c->match_username =
	    fill_in(&line, "match_username", fleet->match_username,
		CREDENTIAL_MATCH_PART, part, CREDENTIAL_MATCH_MAX);
	r->l->line.no_memory = r->l->line.no_memory || line.no_memory;
}

static void
on_row(void *arg, const struct csv_row *row)
{
	struct reading *r = arg;
	bool fits = give_to_owners(r, row);

	for (size_t i = 0; i < r->users_count; i++) {
		const struct credential *fleet = r->users[i].fleet;
		struct span part;

		if (fleet == NULL)
			break;
		if (!is_of(row, fleet->product_key) ||
		    !pattern_fits(fleet->device_name, CREDENTIAL_PART,
			row->device_name, &part))
			continue;
		fits = true;
		r->users[i].use->row = row->line;
		if (!is_owned(r, row->device_name, fleet->product_key) &&
		    !r->l->line.no_memory)
			add_member(r, row, fleet, part);
	}
	if (!fits && r->table->strays++ == 0)
		r->table->first_stray = row->line;
}

static void
tell_unused(struct loading *l, const struct user *user)
{
	complain(l->line.to, l->line.path, user->use->line,
	    "device_secrets_file: no row of the table fits the product_key "
	    "and the device_name of this section");
}

/* Reads a table for its users. */
static void
read_table(struct reading *r)
{
	struct loading *l = r->l;
	const struct csv_handler handler = {on_row, r};
	unsigned errors = l->line.to->errors;
	struct file file;
	const char *why;

	if (!file_open(&file, r->table->path, l->line.to, &why)) {
		l->line.key = "device_secrets_file";
		l->line.n = r->users->use->line;
		credmap_line_refuse_file(&l->line, r->users->use->name, why);
		return;
	}
	(void)!csv_read(&file, &handler, l->line.to);
	file_close(&file);
	for (size_t i = 0; i < r->users_count; i++)
		if (r->users[i].use->row == 0 && l->line.to->errors == errors)
			tell_unused(l, &r->users[i]);
}

/* The sections that name a table, of those that are whole. */
static size_t
collect_users(struct loading *l, struct user *users)
{
	size_t n = 0;

	for (size_t i = 0; i < credmap_count(l->fleets); i++) {
		const struct credential *c = credmap_at(l->fleets, i);

		if (c->product_key != NULL &&
		    l->fleet_devices[i].secrets.path != NULL)
			users[n++] =
			    (struct user){&l->fleet_devices[i].secrets, c};
	}
	for (size_t i = 0; i < credmap_count(l->line.map); i++) {
		const struct credential *c = credmap_at(l->line.map, i);

		if (c->product_key != NULL && c->device_name != NULL &&
		    l->devices[i].secrets.path != NULL)
			users[n++] =
			    (struct user){&l->devices[i].secrets, NULL};
	}
	if (n > 0)
		qsort(users, n, sizeof(*users), compare_users);
	return n;
}

static size_t
collect_owners(struct loading *l, struct owner *owners)
{
	size_t n = 0;

	for (size_t i = 0; i < credmap_count(l->line.map); i++) {
		const struct credential *c = credmap_at(l->line.map, i);

		if (c->product_key != NULL && c->device_name != NULL)
			owners[n++] =
			    (struct owner){c->device_name, c->product_key, i};
	}
	if (n > 0)
		qsort(owners, n, sizeof(*owners), compare_owners);
	return n;
}

/* Reads each table once. */
static void
read_tables(struct reading *r, const struct user *users, size_t count)
{
	struct loading *l = r->l;

	for (size_t i = 0; i < count; i += r->users_count) {
		const char *path = users[i].use->path;

		if (!loading_grow(l, (void **)&l->tables, &l->tables_cap,
			l->tables_count, sizeof(*l->tables)))
			return;
		r->table = &l->tables[l->tables_count++];
		*r->table = (struct table){.path = path};
		r->users = users + i;
		r->users_count = 1;
		while (i + r->users_count < count &&
		       strcmp(users[i + r->users_count].use->path, path) == 0)
			r->users_count++;
		read_table(r);
	}
}

void
loading_read_tables(struct loading *l)
{
	size_t sections = credmap_count(l->line.map);
	struct user *users =
	    calloc(sections + credmap_count(l->fleets) + 1, sizeof(*users));
	struct owner *owners = calloc(sections + 1, sizeof(*owners));
	struct reading r = {.l = l, .owners = owners};

	if (users != NULL && owners != NULL) {
		r.owners_count = collect_owners(l, owners);
		read_tables(&r, users, collect_users(l, users));
	} else {
		l->line.no_memory = true;
	}
	free(users);
	free(owners);
}
