/*
 * keeper: the thread that keeps the files. It watches them, reads them again
 * when one has changed or it is asked to, and gives what came of it to the
 * door. It also ends the maps that nobody uses any more, so that wiping a large
 * one holds nobody up. Its thread may be slow: it has a lower priority than
 * those that carry messages.
 */
#ifndef PROXY_SERVER_KEEPER_H
#define PROXY_SERVER_KEEPER_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/mailbox.h"
#include "server/reload.h"

struct keeper;
struct pulse_answer;

/* The keeper holds references on <settings> and <map>; the rest must outlive
   it. */
struct keeper_config {
	const struct server_files *files;
	struct settings *settings; /* in use */
	struct credmap *map;
	/* where each struct reload goes, and how it is opened */
	struct mailbox *reply_to;
	void (*open)(struct letter *letter, void *arg);
};

/*
 * Starts it. <*watch> holds the files that <settings> and <map> were read from
 * since before that, and is taken over, also after an error. NULL with <why>:
 * no memory, descriptor or thread.
 */
NODISCARD struct keeper *keeper_start(const struct keeper_config *config,
    struct watch **watch, struct fault *why);

/* Any thread: reads the files again, at once; once for all that ask while it
   reads. */
void keeper_ask(struct keeper *k);

/* Has it post <answer> to where its reloads go: a sign of life. Not again
   before that has come. */
void keeper_pulse(struct keeper *k, struct pulse_answer *answer);

/* Ends the thread and frees it. One that cannot be ended, since a file system
   does not answer, is left to the end of the process. NULL is fine. */
void keeper_stop(struct keeper **k);

#endif
