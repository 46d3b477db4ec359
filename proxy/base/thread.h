/*
 * thread: threads as all but the main one are here: no signal is delivered to
 * them, since signals are the door's business. The caller joins it.
 */
#ifndef PROXY_BASE_THREAD_H
#define PROXY_BASE_THREAD_H

#include "base/attr.h"

#include <pthread.h>
#include <stdbool.h>

/* Starts <live> with <arg>. False: there is none to be had. */
NODISCARD bool thread_start(
    pthread_t *thread, void *(*live)(void *arg), void *arg);

#endif
