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
	char file[160], words[400];

	(void)arg;
	(void)snprintf(words, sizeof(words), "%s", text);
	tame(words);
	log_write(is_error ? LOG_ERROR : LOG_WARNING, "config_complaint",
	    "file=\"%s\" line=%d text=\"%s\"",
	    escape(file, sizeof(file), span_of_string(path)), line, words);
}

void
reload_warn_unverified(const struct settings *settings)
{
	if (!settings->tls_verify)
		log_write(LOG_WARNING, "tls_not_verified",
		    "hint=\"[tls] verify = no: anybody can pose as the cloud;"
		    " labs only\"");
}

/* All or nothing. */
static bool
load(struct reload *r)
{
	struct complaints to = {.tell = on_complaint};
	struct settings *defaults;
	struct fault why;

	r->settings = settings_load(r->files->settings, &to);
	/* the map is read even so: all that is wrong is told at once */
	defaults = r->settings != NULL ? settings_ref(r->settings)
				       : settings_load(NULL, &to);
	if (defaults != NULL)
		r->map = credmap_load(r->files->devices, defaults, &to);
	settings_unref(defaults);
	if (r->settings == NULL || r->map == NULL)
		return false;
	r->trust = trust_new(r->settings, &why);
	if (r->trust == NULL)
		log_write(
		    LOG_ERROR, "config_complaint", "text=\"%s\"", why.text);
	return r->trust != NULL;
}

void
reload_drop(struct reload *r)
{
	settings_unref(r->settings);
	credmap_unref(r->map);
	trust_unref(r->trust);
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
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	ok = pthread_create(&thread, &attr, run, r) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return ok;
}
