/*
 * hasher: whether a password is that of a hash. Computing it takes long on
 * purpose, so a thread of its own does it, one after the other; what it has
 * found is remembered (verdicts.h). That thread has a lower priority than those
 * that carry messages, or whoever guesses would slow them down. All else is on
 * the thread of the loop.
 *
 * Who has shown a wrong password lately, a suspect, waits behind all others.
 * The queue is bounded; when it is full, suspects have to leave it first.
 */
#ifndef PROXY_SERVER_HASHER_H
#define PROXY_SERVER_HASHER_H

#include "base/attr.h"
#include "base/secret.h"
#include "server/verdicts.h"
#include "settings/password_hash.h"

#include <event2/event.h>
#include <stdbool.h>

enum { HASHER_QUEUE_MAX = 256 };

struct hasher;
struct hasher_job;

/* Starts the thread. NULL without memory, descriptors or threads. */
NODISCARD struct hasher *hasher_new(struct event_base *base);

/* Ends the thread, once it has computed what it has begun, which takes as long
   as the hash says. Nobody may wait for an answer any more. */
void hasher_free(struct hasher **h);

/* What is known without computing it. */
enum verdict hasher_recall(struct hasher *h, const struct password_hash *hash,
    const struct secret *password);

/*
 * Computes it; <answer> is called once, by the loop, unless the job is
 * forgotten before. VERDICT_NONE: it was not computed, because the queue is
 * full of others by now, or the machine out of memory. The arguments are
 * copied. NULL: the same at once.
 */
NODISCARD struct hasher_job *hasher_ask(struct hasher *h,
    const struct password_hash *hash, const struct secret *password,
    bool is_suspect, void (*answer)(void *arg, enum verdict verdict),
    void *arg);

/* Who asked turns out to be a suspect. */
void hasher_demote(struct hasher_job *job);

/* Nobody waits for the answer any more. */
void hasher_forget(struct hasher_job *job);

#endif
