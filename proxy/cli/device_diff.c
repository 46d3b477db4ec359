#include "cli/cli.h"

#include "settings/credmap_diff.h"

#include <stdio.h>
#include <string.h>

static void
show_fields(uint64_t fields)
{
	const char *before = ":";
	const char *key;

	while ((key = credmap_diff_field(&fields)) != NULL) {
		(void)printf("%s %s", before, key);
		before = ",";
	}
}

/* Whether the session ends, of a device that may have one. */
static void
show_session(const struct credmap_difference *d)
{
	if (d->before != NULL && d->before->enabled)
		(void)printf("; %s",
		    d->disconnects ? "disconnected" : "stays connected");
	(void)putchar('\n');
}

static void
on_difference(void *arg, const struct credmap_difference *d)
{
	static const char *const words[] = {
	    [CREDMAP_ADDED] = "added",
	    [CREDMAP_REMOVED] = "removed",
	    [CREDMAP_DISABLED] = "disabled",
	    [CREDMAP_CHANGED] = "changed",
	    [CREDMAP_RENAMED] = "renamed",
	};
	const struct credential *c = d->after != NULL ? d->after : d->before;

	(void)arg;
	(void)printf("%s ", words[d->what]);
	if (d->before != NULL && d->after != NULL &&
	    strcmp(d->before->label, d->after->label) != 0)
		(void)printf("%s to ", d->before->label);
	(void)printf("%s %s/%s ", c->label, c->product_key, c->device_name);
	cli_show_line(c);
	if (d->what == CREDMAP_DISABLED || d->what == CREDMAP_CHANGED)
		show_fields(d->fields);
	show_session(d);
}

/* Complaints about the new map are about the file it stands in. */
static void
on_complaint(
    void *arg, bool is_error, const char *path, int line, const char *text)
{
	const struct cli_options *o = arg;

	if (strcmp(path, o->devices) == 0)
		path = o->operand;
	cli_complaint(NULL, is_error, path, line, text);
}

static void
compare(const struct credmap *before, const struct credmap *after)
{
	struct credmap_counts counts;

	credmap_diff(before, after, on_difference, NULL, &counts);
	(void)printf("%zu added, %zu removed, %zu disabled, %zu changed, %zu "
		     "renamed; a reload disconnects up to %zu of %zu\n",
	    counts.of[CREDMAP_ADDED], counts.of[CREDMAP_REMOVED],
	    counts.of[CREDMAP_DISABLED], counts.of[CREDMAP_CHANGED],
	    counts.of[CREDMAP_RENAMED], counts.disconnects,
	    credmap_count(before));
	if (credmap_count(after) == 0 && credmap_count(before) > 0)
		cli_tell("the new map has no device: a running proxy does not "
			 "take it over");
}

static enum cli_exit
diff(const struct cli_options *o)
{
	struct complaints to = {.tell = on_complaint,
	    .arg = (void *)(uintptr_t)o,
	    .path = o->devices,
	    .read_instead = o->operand};
	struct settings *settings;
	struct credmap *before, *after;

	if (!cli_load(o, &settings, &before))
		return CLI_REFUSED;
	after = credmap_load(o->devices, settings, &to);
	if (after != NULL)
		compare(before, after);
	credmap_unref(after);
	credmap_unref(before);
	settings_unref(settings);
	return after != NULL ? CLI_OK : CLI_REFUSED;
}

static const struct option options[] = {CLI_OPTIONS, {NULL, 0, NULL, 0}};

/* clang-format off */
static const char help[] =
"Says what a reload would do if NEWFILE stood in the place of the credential\n"
"map: which devices are added, removed, disabled, changed or renamed, which\n"
"keys differ, and whose session ends by it. A device is the same when its\n"
"product_key and device_name are. Files that NEWFILE names are looked for where\n"
"the map is. Values are not printed. Nothing is changed.\n"
"\n"
"A device with another allow_from also ends if it comes from elsewhere.\n"
"\n"
CLI_OPTIONS_HELP
"\n"
"Exit codes: 0 compared, whether they differ or not; 2 wrong usage;\n"
"3 a file was refused.\n";
/* clang-format on */

const struct cli_command cli_device_diff = {
    .name = "device diff",
    .summary = "say what a reload of another map would do",
    .operand = "NEWFILE",
    .options = options,
    .help = help,
    .run = diff,
};
