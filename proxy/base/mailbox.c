#include "base/mailbox.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mailbox {
	pthread_mutex_t lock;
	struct letters waiting; /* under lock */
	int fd;
};

struct mailbox *
mailbox_new(void)
{
	struct mailbox *box = calloc(1, sizeof(*box));

	if (box == NULL)
		return NULL;
	box->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (box->fd < 0) {
		free(box);
		return NULL;
	}
	(void)pthread_mutex_init(&box->lock, NULL);
	STAILQ_INIT(&box->waiting);
	return box;
}

void
mailbox_free(struct mailbox **box)
{
	if (*box == NULL)
		return;
	(void)close((*box)->fd);
	(void)pthread_mutex_destroy(&(*box)->lock);
	free(*box);
	*box = NULL;
}

int
mailbox_fd(const struct mailbox *box)
{
	return box->fd;
}

void
mailbox_post(struct mailbox *box, struct letter *letter)
{
	static const uint64_t one = 1;
	int fd = box->fd;
	bool first;

	pthread_mutex_lock(&box->lock);
	first = STAILQ_EMPTY(&box->waiting);
	STAILQ_INSERT_TAIL(&box->waiting, letter, next);
	pthread_mutex_unlock(&box->lock);
	/* one wake-up for a whole batch; the counter cannot overflow; not under
	   the lock, which whom it wakes would find taken. Nothing of the box is
	   touched any more: the receiver, once woken, may free it */
	if (first && write(fd, &one, sizeof(one)) < 0)
		abort();
}

void
mailbox_open_all(struct mailbox *box, void *arg)
{
	struct letters taken = STAILQ_HEAD_INITIALIZER(taken);
	struct letter *letter;
	uint64_t count;

	/* before the take, so that a letter posted after it wakes us again */
	(void)!read(box->fd, &count, sizeof(count));
	pthread_mutex_lock(&box->lock);
	STAILQ_CONCAT(&taken, &box->waiting);
	pthread_mutex_unlock(&box->lock);
	while ((letter = STAILQ_FIRST(&taken)) != NULL) {
		STAILQ_REMOVE_HEAD(&taken, next);
		letter->open(letter, arg);
	}
}
