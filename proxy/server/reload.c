#include "server/reload.h"

#include "base/escape.h"
#include "base/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

static void
on_complaint(
    void *arg, bool is_error, const char *path, int line, const char *text)
{
	char file[160];

	(void)arg;
	log_write(is_error ? LOG_ERROR : LOG_WARNING, "config_complaint",
	    "file=\"%s\" line=%d text=\"%s\"",
	    escape(file, sizeof(file), span_of_string(path)), line, text);
}

/* For built-in settings, in the place of those that have been told of. */
static void
do_not_tell(
    void *arg, bool is_error, const char *path, int line, const char *text)
{
	(void)arg;
	(void)is_error;
	(void)path;
	(void)line;
	(void)text;
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

struct watching {
	struct watch *watch;
	bool ok;
};

static void
on_file(void *arg, const char *path)
{
	struct watching *w = arg;

	w->ok = w->ok && watch_add(w->watch, path);
}

bool
reload_read_trust(const struct settings *settings, struct trust **trust,
    struct watch **watch, struct fault *why)
{
	struct watching w = {watch_new(), true};

	*trust = NULL;
	*watch = NULL;
	if (w.watch != NULL)
		trust_files(settings, on_file, &w);
	if (w.watch == NULL || !w.ok)
		(void)fault_set(why, R_OUT_OF_MEMORY, "no memory for TLS");
	else
		*trust = trust_new(settings, why);
	if (*trust == NULL)
		watch_free(&w.watch);
	*watch = w.watch;
	return *trust != NULL;
}

/* All or nothing. */
static bool
load(struct reload *r)
{
	struct complaints to = {.tell = on_complaint};
	struct complaints again = {.tell = do_not_tell};
	struct settings *defaults;
	struct fault why;

	r->settings = settings_load(r->files->settings, &to);
	/* the map is read even so: all that is wrong is told at once */
	defaults = r->settings != NULL ? settings_ref(r->settings)
				       : settings_load(NULL, &again);
	if (defaults != NULL)
		r->map = credmap_load(r->files->devices, defaults, &to);
	settings_unref(defaults);
	if (r->settings == NULL || r->map == NULL)
		return false;
	if (reload_read_trust(r->settings, &r->trust, &r->watch, &why))
		return true;
	log_write(LOG_ERROR, "config_complaint", "text=\"%s\"", why.text);
	return false;
}

void
reload_drop(struct reload *r)
{
	settings_unref(r->settings);
	credmap_unref(r->map);
	trust_unref(r->trust);
	watch_free(&r->watch);
}

static void *
run(void *arg)
{
	struct reload *r = arg;

	r->ok = load(r);
	if (!r->ok)
		reload_drop(r);
	mailbox_post(r->reply_to, &r->letter);
	return NULL;
}

bool
reload_start(struct reload *r)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t thread;
	bool ok;

	r->settings = NULL;
	r->map = NULL;
	r->trust = NULL;
	r->watch = NULL;
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	ok = pthread_create(&thread, &attr, run, r) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return ok;
}
