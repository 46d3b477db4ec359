#include "server/reload.h"

#include "base/escape.h"
#include "base/log.h"

#include <stdlib.h>

/* What is under way; the owner's, both. */
struct reading {
	struct watch *watch;
	bool watched; /* all files so far */
	struct map_refusal *refusal;
};

static void
on_complaint(
    void *arg, bool is_error, const char *path, int line, const char *text)
{
	const struct reading *reading = arg;
	char file[160];

	if (is_error)
		map_refusal_add(reading->refusal, path, line, text);
	log_write(is_error ? LOG_ERROR : LOG_WARNING, "config_complaint",
	    "file=\"%s\" line=%d text=\"%s\"",
	    escape(file, sizeof(file), span_of_string(path)), line, text);
}

void
reload_warn_insecure(const struct settings *settings)
{
	char file[4 * SETTING_TEXT_MAX];

	if (!settings->tls_verify)
		log_write(LOG_WARNING, "tls_not_verified",
		    "hint=\"[tls] verify = no: anybody can pose as the cloud;"
		    " labs only\"");
	if (settings->tls_keylog_file[0] != '\0')
		log_write(LOG_WARNING, "tls_keys_logged",
		    "file=\"%s\" hint=\"[tls] keylog_file: whoever has it can"
		    " read everything; labs only\"",
		    escape(file, sizeof(file),
			span_of_string(settings->tls_keylog_file)));
}

static void
on_file(void *arg, const char *path)
{
	struct reading *reading = arg;

	reading->watched = reading->watched && watch_add(reading->watch, path);
}

bool
reload_watch_trust(const struct settings *settings, struct watch *watch)
{
	struct reading reading = {.watch = watch, .watched = true};

	trust_files(settings, on_file, &reading);
	return reading.watched;
}

/* A map that has lost all its devices is more likely one that somebody is just
   writing: cutting every device off for that would be a bad joke. */
static bool
is_emptied(struct reload *r, const char *file, const struct credmap *present)
{
	if (credmap_count(r->map) > 0 || credmap_count(present) == 0)
		return false;
	log_write(LOG_ERROR, "config_complaint",
	    "text=\"the map has no devices any more; if that is meant,"
	    " restart\"");
	map_refusal_add(&r->refusal, file, 0,
	    "the map has no devices any more; if that is meant, restart");
	return true;
}

/* All or nothing; what there is already is in <r> all the same. */
static bool
load(struct reload *r, const struct server_files *files,
    const struct settings *present_settings, const struct credmap *present_map,
    struct reading *reading)
{
	struct complaints to = {
	    .tell = on_complaint, .on_file = on_file, .arg = reading};
	struct complaints nobody = {0}; /* it has been told already */
	struct settings *defaults;
	struct fault why;

	r->settings = settings_load(files->settings, &to);
	/* the map is read even so: all that is wrong is told at once */
	defaults = r->settings != NULL ? settings_ref(r->settings)
				       : settings_load(NULL, &nobody);
	if (defaults != NULL)
		r->map = credmap_is_missing(present_map)
			     ? credmap_await(files->devices, defaults, &to)
			     : credmap_load(files->devices, defaults, &to);
	settings_unref(defaults);
	trust_files(r->settings != NULL ? r->settings : present_settings,
	    on_file, reading);
	if (r->settings == NULL || r->map == NULL ||
	    is_emptied(r, files->devices, present_map))
		return false;
	r->trust = trust_new(r->settings, &why);
	if (r->trust != NULL) {
		credmap_diff(present_map, r->map, NULL, NULL, &r->counts);
		return true;
	}
	log_write(LOG_ERROR, "config_complaint", "text=\"%s\"", why.text);
	map_refusal_add(&r->refusal,
	    files->settings != NULL ? files->settings : "", 0, why.text);
	return false;
}

static void
drop(struct reload *r)
{
	settings_unref(r->settings);
	credmap_unref(r->map);
	trust_unref(r->trust);
	r->settings = NULL;
	r->map = NULL;
	r->trust = NULL;
}

struct reload *
reload_read(const struct server_files *files,
    const struct settings *present_settings, const struct credmap *present_map,
    struct watch *watch)
{
	struct reload *r = calloc(1, sizeof(*r));
	struct reading reading = {.watch = watch, .watched = true};

	if (r == NULL)
		return NULL;
	reading.refusal = &r->refusal;
	r->ok = load(r, files, present_settings, present_map, &reading);
	if (!r->ok)
		drop(r);
	if (reading.watched)
		return r;
	reload_free(&r); /* a change would not be noticed */
	return NULL;
}

void
reload_free(struct reload **r)
{
	if (*r == NULL)
		return;
	drop(*r);
	free(*r);
	*r = NULL;
}
