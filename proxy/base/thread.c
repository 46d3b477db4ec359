#include "base/thread.h"

#include <signal.h>
#include <stddef.h>

bool
thread_start(pthread_t *thread, void *(*live)(void *arg), void *arg)
{
	sigset_t all, before;
	bool ok;

	/* a thread begins with the mask of the one that starts it */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	ok = pthread_create(thread, NULL, live, arg) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ok;
}
