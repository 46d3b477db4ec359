#include "settings/credmap.h"

#include "settings/credmap_build.h"
#include "settings/credmap_parts.h"
#include "settings/file.h"
#include "settings/ini.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool
loading_grow(
    struct loading *l, void **array, size_t *cap, size_t count, size_t size)
{
	size_t more_cap = *cap > 0 ? 2 * *cap : 64;
	void *more;

	if (count < *cap)
		return true;
	more = reallocarray(*array, more_cap, size);
	if (more == NULL) {
		l->line.no_memory = true;
		return false;
	}
	*array = more;
	*cap = more_cap;
	return true;
}

static void
warn_about_readers(struct loading *l)
{
	const char *path = l->line.path;
	struct stat st;

	if (stat(file_really_read(path, l->line.to), &st) == 0 &&
	    (st.st_mode & S_IROTH) != 0)
		warn_of(l->line.to, path, 0,
		    "holds secrets and every user of this machine may read it: "
		    "take that right away (chmod o-r)");
}

/* Said only of a map without errors: they could be their cause. */
static void
warn_about(struct loading *l)
{
	for (size_t i = 0; i < l->products_count; i++)
		if (!l->products[i].used)
			warn_of(l->line.to, l->line.path, l->products[i].line,
			    "no device is of [product:%s]", l->products[i].key);
	if (credmap_count(l->line.map) == 0)
		warn_of(l->line.to, l->line.path, 0,
		    "holds no [device:LABEL] section: every device will be "
		    "refused");
	warn_about_readers(l);
	for (size_t i = 0; i < l->tables_count; i++) {
		const struct table *t = &l->tables[i];

		if (t->strays > 0)
			warn_of(l->line.to, t->path, t->first_stray,
			    "%u row%s of this table fit%s no section that uses "
			    "it, this one first",
			    t->strays, t->strays > 1 ? "s" : "",
			    t->strays > 1 ? "" : "s");
	}
}

struct credmap *
credmap_load(
    const char *path, const struct settings *defaults, struct complaints *to)
{
	struct sealed_opener opener = {.key_file = defaults->secrets_key_file};
	struct loading l = {.line = {.path = path,
				.to = to,
				.map = credmap_new(),
				.opener = &opener},
	    .settings = defaults,
	    .fleets = credmap_new()};
	const struct ini_handler handler = {
	    loading_on_section, loading_on_value, &l};
	unsigned errors = to->errors;
	struct credmap *map;

	l.line.no_memory = l.line.map == NULL || l.fleets == NULL;
	if (!l.line.no_memory &&
	    (ini_read(path, &handler, to) || l.line.n > 0)) {
		loading_end_section(&l);
		if (!l.line.no_memory)
			loading_complete(&l);
	}
	if (l.line.no_memory)
		complain(to, path, 0, "out of memory");
	if (to->errors == errors)
		warn_about(&l);
	sealed_key_free(opener.key);
	free(l.products);
	free(l.devices);
	free(l.fleet_devices);
	free(l.tables);
	free(l.topics);
	credmap_unref(l.fleets);
	secret_wipe_bytes(&l.entry, sizeof(l.entry));
	map = l.line.map;
	if (to->errors == errors)
		return map;
	credmap_unref(map);
	return NULL;
}

/* Nobody is there to clash. */
static void
on_no_clash(void *arg, enum clash what, const struct credential *later,
    const struct credential *first)
{
	(void)arg;
	(void)what;
	(void)later;
	(void)first;
}

struct credmap *
credmap_await(
    const char *path, const struct settings *defaults, struct complaints *to)
{
	struct credmap *map;

	/* before the look, so that its coming is noticed in any case */
	if (to->on_file != NULL)
		to->on_file(to->arg, path);
	if (access(file_really_read(path, to), F_OK) == 0 || errno != ENOENT)
		return credmap_load(path, defaults, to);
	map = credmap_new();
	if (map == NULL || !credmap_index(map, on_no_clash, NULL)) {
		complain(to, path, 0, "out of memory");
		credmap_unref(map);
		return NULL;
	}
	credmap_set_missing(map);
	warn_of(to, path, 0,
	    "is not there yet: every device is refused until it is");
	return map;
}
