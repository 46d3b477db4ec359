#include "link/known_names.h"

#include "base/clock.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

enum {
	NAMES_MAX = 256,
	NAME_BYTES = 256,
	HOLDS_LEAST_S = 1, /* a thousand devices that come back together */
	HOLDS_MOST_S = 60 * 60
};

/* What tells that a file is another one; all zero: there is none. */
struct file_state {
	dev_t device;
	ino_t inode;
	off_t bytes;
	struct timespec changed;
};

struct kept {
	TAILQ_ENTRY(kept) next; /* oldest first */
	char host[NAME_BYTES];
	uint64_t until_ms;
	struct address addresses[ADDRESS_LIST_MAX];
	unsigned count;
};

struct files {
	struct file_state hosts;
	struct file_state resolv_conf;
};

struct known_names {
	atomic_uint refs;
	const char *hosts;
	const char *resolv_conf;
	pthread_mutex_t lock; /* for what follows */
	struct files seen;    /* at the last look */
	TAILQ_HEAD(, kept) kept;
	unsigned count;
};

static struct file_state
state_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return (struct file_state){0};
	return (struct file_state){
	    st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

static struct files
files_now(const struct known_names *n)
{
	return (struct files){state_of(n->hosts), state_of(n->resolv_conf)};
}

static bool
is_same(const struct file_state *a, const struct file_state *b)
{
	return a->device == b->device && a->inode == b->inode &&
	       a->bytes == b->bytes && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

/* ---- under the lock ---- */

static void
drop(struct known_names *n, struct kept *k)
{
	TAILQ_REMOVE(&n->kept, k, next);
	n->count--;
	free(k);
}

static void
drop_all(struct known_names *n)
{
	while (!TAILQ_EMPTY(&n->kept))
		drop(n, TAILQ_FIRST(&n->kept));
}

static const struct kept *
find(struct known_names *n, const char *host)
{
	struct kept *k;

	TAILQ_FOREACH (k, &n->kept, next) {
		if (strcmp(k->host, host) != 0)
			continue;
		if (clock_mono_ms() < k->until_ms)
			return k;
		drop(n, k);
		break;
	}
	return NULL;
}

/* ---- of any thread ---- */

struct known_names *
known_names_new(const char *hosts, const char *resolv_conf)
{
	struct known_names *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return NULL;
	atomic_init(&n->refs, 1);
	n->hosts = hosts;
	n->resolv_conf = resolv_conf;
	TAILQ_INIT(&n->kept);
	(void)pthread_mutex_init(&n->lock, NULL);
	return n;
}

struct known_names *
known_names_ref(struct known_names *n)
{
	atomic_fetch_add(&n->refs, 1);
	return n;
}

void
known_names_unref(struct known_names *n)
{
	if (n == NULL || atomic_fetch_sub(&n->refs, 1) > 1)
		return;
	drop_all(n);
	(void)pthread_mutex_destroy(&n->lock);
	free(n);
}

bool
known_names_find(struct known_names *n, const char *host,
    struct address out[static ADDRESS_LIST_MAX], unsigned *count)
{
	const struct kept *k = NULL;
	char name[NAME_BYTES] = "";
	struct files now;

	*count = address_read(&out[0], host, 0);
	if (*count > 0)
		return true;
	for (size_t i = 0; host[i] != '\0' && i + 1 < sizeof(name); i++)
		name[i] = (char)tolower((unsigned char)host[i]);
	now = files_now(n);
	pthread_mutex_lock(&n->lock);
	if (is_same(&now.hosts, &n->seen.hosts) &&
	    is_same(&now.resolv_conf, &n->seen.resolv_conf))
		k = find(n, name);
	if (k != NULL) {
		memcpy(out, k->addresses, k->count * sizeof(*out));
		*count = k->count;
	}
	pthread_mutex_unlock(&n->lock);
	return k != NULL;
}

void
known_names_keep(struct known_names *n, const char *host,
    const struct address *addresses, unsigned count, uint64_t holds_s)
{
	struct kept *k = calloc(1, sizeof(*k));
	uint64_t s = holds_s;

	if (k == NULL)
		return; /* it is looked for again */
	s = s < HOLDS_LEAST_S  ? HOLDS_LEAST_S
	    : s > HOLDS_MOST_S ? HOLDS_MOST_S
			       : s;
	k->until_ms = clock_mono_ms() + s * 1000;
	(void)strncpy(k->host, host, sizeof(k->host) - 1);
	memcpy(k->addresses, addresses, count * sizeof(*addresses));
	k->count = count;
	pthread_mutex_lock(&n->lock);
	if (n->count == NAMES_MAX)
		drop(n, TAILQ_FIRST(&n->kept));
	TAILQ_INSERT_TAIL(&n->kept, k, next);
	n->count++;
	pthread_mutex_unlock(&n->lock);
}

void
known_names_forget(struct known_names *n)
{
	pthread_mutex_lock(&n->lock);
	drop_all(n);
	pthread_mutex_unlock(&n->lock);
}

bool
known_names_look(struct known_names *n, bool *resolv_conf)
{
	struct files now = files_now(n);
	bool changed;

	pthread_mutex_lock(&n->lock);
	*resolv_conf = !is_same(&now.resolv_conf, &n->seen.resolv_conf);
	changed = *resolv_conf || !is_same(&now.hosts, &n->seen.hosts);
	if (changed)
		drop_all(n);
	n->seen = now;
	pthread_mutex_unlock(&n->lock);
	return changed;
}
