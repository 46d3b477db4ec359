/*
 * home: a worker thread and the sessions that live there. A device always comes
 * to the same home (by its identity), so all that is known about it is plain
 * single-threaded state.
 *
 * The door talks to a home by letters only; a home answers into the door's
 * mailbox.
 */
#ifndef PROXY_SERVER_HOME_H
#define PROXY_SERVER_HOME_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/mailbox.h"
#include "base/take_overs.h"
#include "link/trust.h"
#include "session/knock.h"
#include "settings/credmap.h"
#include "settings/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct home;
struct known_names;

/* What a home is given at its start; the references are taken. */
struct home_config {
	struct settings *settings;
	struct trust *trust;
	size_t kept_max_bytes; /* this home's share of [limits] total_buffer */
	struct crowd *crowd;   /* the process's */
	struct dial_rate *dial_rate;     /* ditto */
	struct take_overs *take_overs;   /* ditto */
	_Atomic uint64_t *pings_learned; /* ditto */
	struct mailbox *door;
	/* Opens a look-up (link/resolver.h) on the door's thread. */
	void (*resolver_open)(struct letter *l, void *door);
	struct known_names *names; /* of that resolver; a reference is taken */
	/* Told in the door's mailbox once a draining home has no session left.
	 */
	struct letter *drained;
};

struct pulse_answer;
struct trace;
struct survey_part;

/* Starts the thread. NULL: <why> says what it lacked. */
NODISCARD struct home *home_start(
    const struct home_config *config, struct fault *why);

/* Lets a device in; the knock is the home's from now on. A session of the same
   identity ends first, or the device is refused: by second_device of its entry,
   because two throw each other out again and again, or because it would not be
   dialled now (contest.h). */
void home_admit(struct home *h, struct knock *k);

/* From now on these, and <kept_max_bytes> as in the config; sessions go on, or
   end when their entry says so. False without memory: <h> keeps what it has. */
NODISCARD bool home_reload(struct home *h, struct settings *settings,
    struct trust *trust, struct credmap *map, size_t kept_max_bytes);

/* Has the home count its sessions into <answer>, and post that to the door:
   a sign of life. Not again before that has come. */
void home_ask(struct home *h, struct pulse_answer *answer);

/* Has the home fill in <part> (survey.h), and post it to the door. */
void home_survey(struct home *h, struct survey_part *part);

/* Ends the session of <entry>, if it has one. False without memory. */
NODISCARD bool home_kick(struct home *h, const struct credential *entry);

/* Has it open <l>, with <h> as its argument. */
void home_post(struct home *h, struct letter *l);

/* From inside such a letter: <t>, whose names are those of a device of this
   home, is told of its packets, until it is not any more. */
void home_trace(struct home *h, struct trace *t);
void home_untrace(struct home *h, struct trace *t);

/* Ends its sessions in order, one after the other at an even pace within
   <over_ms>. Devices may still come. Once. */
void home_shed(struct home *h, uint64_t over_ms);

/* Ends every session in order; then posts the <drained> letter. */
void home_drain(struct home *h);

/* Ends the thread, whatever it still has. Letters may still be posted to it. */
void home_stop(struct home *h);

/* Closes what is left and frees it. Only after home_stop(), and after the
   resolver has given all look-ups back. */
void home_free(struct home **h);

#endif
