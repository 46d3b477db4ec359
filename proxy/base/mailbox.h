/*
 * mailbox: the only way work crosses from one thread to another.
 * Many senders, one receiver. The receiver waits for mailbox_fd() to become
 * readable, then calls mailbox_open_all() and handles the letters in order.
 *
 * A letter is embedded in what is sent; the sender owns it until it is posted,
 * the receiver from then on.
 */
#ifndef PROXY_BASE_MAILBOX_H
#define PROXY_BASE_MAILBOX_H

#include "base/attr.h"

#include <sys/queue.h>

/* What the receiver does with a letter; <arg> is what it gave to
 * mailbox_open_all(). */
struct letter {
	STAILQ_ENTRY(letter) next;
	void (*open)(struct letter *letter, void *arg);
};
STAILQ_HEAD(letters, letter);

struct mailbox;

/* NULL without a descriptor or memory. */
NODISCARD struct mailbox *mailbox_new(void);

/* Unopened letters are the caller's: open them before. Either each letter was
   waited for by the descriptor, or who has posted it has ended. */
void mailbox_free(struct mailbox **box);

/* Readable while letters wait. Belongs to the mailbox. */
int mailbox_fd(const struct mailbox *box);

/* Any thread. Never fails and never waits for the receiver. */
void mailbox_post(struct mailbox *box, struct letter *letter);

/* The receiver: opens all letters that are waiting now. */
void mailbox_open_all(struct mailbox *box, void *arg);

#endif
