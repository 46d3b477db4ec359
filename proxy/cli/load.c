#include "cli/cli.h"

#include <stdio.h>

void
cli_complaint(
    void *arg, bool is_error, const char *path, int line, const char *text)
{
	const char *kind = is_error ? "error" : "warning";

	(void)arg;
	if (line > 0)
		(void)fprintf(
		    stderr, "%s:%d: %s: %s\n", path, line, kind, text);
	else
		(void)fprintf(stderr, "%s: %s: %s\n", path, kind, text);
}

bool
cli_load(const struct cli_options *o, struct settings **settings,
    struct credmap **map)
{
	return cli_load_watched(o, NULL, NULL, settings, map);
}

typedef struct credmap *(*map_reader)(
    const char *path, const struct settings *defaults, struct complaints *to);

static bool
load(const struct cli_options *o, map_reader read_map, struct complaints *to,
    struct settings **settings, struct credmap **map)
{
	/* for what has been told already */
	struct complaints again = {0};
	struct settings *defaults;

	*map = NULL;
	*settings = settings_load(o->settings, to);
	/* the map is read even so: all that is wrong is told at once */
	defaults = *settings != NULL ? settings_ref(*settings)
				     : settings_load(NULL, &again);
	if (defaults != NULL)
		*map = read_map(o->devices, defaults, to);
	settings_unref(defaults);
	if (*settings != NULL && *map != NULL)
		return true;
	credmap_unref(*map);
	settings_unref(*settings);
	*map = NULL;
	*settings = NULL;
	return false;
}

bool
cli_load_watched(const struct cli_options *o,
    void (*on_file)(void *arg, const char *path), void *arg,
    struct settings **settings, struct credmap **map)
{
	struct complaints to = {
	    .tell = cli_complaint, .on_file = on_file, .arg = arg};

	return load(o, credmap_load, &to, settings, map);
}

bool
cli_load_to_run(const struct cli_options *o,
    void (*on_file)(void *arg, const char *path), void *arg,
    struct settings **settings, struct credmap **map)
{
	struct complaints to = {
	    .tell = cli_complaint, .on_file = on_file, .arg = arg};

	return load(o, credmap_await, &to, settings, map);
}
