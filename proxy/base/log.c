#include "base/log.h"

#include "base/clock.h"
#include "base/log_json.h"
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RING_LINES = 1024 };

struct line {
	enum log_level level;
	const char *fmt; /* of what is behind the event; a literal */
	size_t n;
	char text[LOG_LINE_MAX]; /* without a line end */
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	pthread_t thread;
	bool running;     /* under lock */
	bool stopping;    /* under lock */
	uint64_t dropped; /* under lock */
	size_t head;      /* under lock: next line to write */
	size_t count;     /* under lock: lines waiting */
	struct line ring[RING_LINES];
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_int threshold = LOG_INFO;
static atomic_bool overruled;
static atomic_int format = LOG_TEXT;

/* Devices with a level for now; 0: a free place. Those who write lines look
   only while there is one, and may see a level a moment late. */
static struct {
	atomic_uint_least64_t device;
	atomic_int level;
} chosen[LOG_DEVICES_MAX];
static atomic_int chosen_count;

/* Where lines go. The file, once it is there, keeps its descriptor: another one
   is put under the same number. */
static atomic_int output = STDERR_FILENO;
static char file[PATH_MAX];
static atomic_bool to_journal; /* which takes a priority before each line */

/* When the writing thread has to give up; 0: never. */
static atomic_uint_least64_t give_up_ms;

#define X(id, word, priority) [id] = word,
static const char *const words[LOG_LEVEL_COUNT] = {LOG_LEVELS(X)};
#undef X
#define X(id, word, priority) [id] = priority,
static const char priorities[LOG_LEVEL_COUNT] = {LOG_LEVELS(X)};
#undef X
#define X(id, word) [id] = word,
static const char *const formats[LOG_FORMAT_COUNT] = {LOG_FORMATS(X)};
#undef X

const char *
log_level_word(enum log_level level)
{
	return words[level];
}

const char *
log_format_word(enum log_format as)
{
	return formats[as];
}

void
log_set_format(enum log_format as)
{
	atomic_store_explicit(&format, (int)as, memory_order_relaxed);
}

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

void
log_overrule(enum log_level level)
{
	atomic_store_explicit(&overruled, true, memory_order_relaxed);
	log_set_level(level);
}

static int
place_of(uint64_t device)
{
	for (int i = 0; i < LOG_DEVICES_MAX; i++)
		if (atomic_load_explicit(
			&chosen[i].device, memory_order_acquire) == device)
			return i;
	return -1;
}

bool
log_set_level_of(uint64_t device, enum log_level level)
{
	int at = place_of(device);

	if (at < 0) {
		at = place_of(0);
		if (at < 0)
			return false;
		atomic_fetch_add(&chosen_count, 1);
	}
	atomic_store(&chosen[at].level, (int)level);
	atomic_store_explicit(&chosen[at].device, device, memory_order_release);
	return true;
}

void
log_forget_level_of(uint64_t device)
{
	int at = place_of(device);

	if (at < 0)
		return;
	atomic_store(&chosen[at].device, 0);
	atomic_fetch_sub(&chosen_count, 1);
}

/* Up to where lines about that device are written. */
static int
level_of(const struct log_own *own)
{
	int at = -1;

	if (own->device != 0 &&
	    atomic_load_explicit(&chosen_count, memory_order_relaxed) > 0)
		at = place_of(own->device);
	if (at >= 0)
		return atomic_load_explicit(
		    &chosen[at].level, memory_order_relaxed);
	if (own->set && !atomic_load_explicit(&overruled, memory_order_relaxed))
		return (int)own->level;
	return atomic_load_explicit(&threshold, memory_order_relaxed);
}

bool
log_enabled(enum log_level level)
{
	return (int)level <=
	       atomic_load_explicit(&threshold, memory_order_relaxed);
}

/*
 * Writes all of it, waiting for room until it is time to give up. Asks for room
 * first: a pipe that has any takes a whole line (LOG_LINE_MAX < PIPE_BUF), so
 * the write itself never waits, although the descriptor is a blocking one.
 */
static void
put(const char *p, size_t n)
{
	while (n > 0) {
		uint64_t by_ms = atomic_load(&give_up_ms);
		ssize_t r;

		int fd = atomic_load_explicit(&output, memory_order_relaxed);

		if (poll(&(struct pollfd){fd, POLLOUT, 0}, 1, 100) == 0) {
			if (by_ms != 0 && clock_mono_ms() >= by_ms)
				return;
			continue;
		}
		r = write(fd, p, n);
		if (r < 0 && errno != EINTR && errno != EAGAIN)
			return; /* nobody can be told: it is gone, or full */
		if (r > 0) {
			p += r;
			n -= (size_t)r;
		}
	}
}

/* In one piece, so that what others write to the same pipe is not within. */
static void
put_line(const struct line *line)
{
	enum { PRIORITY = sizeof("<6>") - 1 };
	char out[PRIORITY + LOG_JSON_MAX] = {'<', priorities[line->level], '>'};
	bool prefix = atomic_load_explicit(&to_journal, memory_order_relaxed);
	size_t n;

	if (atomic_load_explicit(&format, memory_order_relaxed) == LOG_JSON) {
		n = log_json_write(out + PRIORITY,
		    (struct span){(const uint8_t *)line->text, line->n},
		    line->fmt);
	} else {
		memcpy(out + PRIORITY, line->text, line->n);
		out[PRIORITY + line->n] = '\n';
		n = line->n + 1;
	}
	put(prefix ? out : out + PRIORITY, prefix ? PRIORITY + n : n);
}

void
log_find_journal(void)
{
	const char *named = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (named == NULL || fstat(STDERR_FILENO, &st) != 0)
		return;
	(void)snprintf(own, sizeof(own), "%llu:%llu",
	    (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	atomic_store(&to_journal, strcmp(named, own) == 0);
}

/* A FIFO that nobody reads is an error rather than a wait. */
static int
open_file(const char *path)
{
	return open(path,
	    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
	    0640);
}

bool
log_to_file(const char *path)
{
	int fd = open_file(path);

	if (fd < 0)
		return false;
	(void)snprintf(file, sizeof(file), "%s", path);
	atomic_store(&output, fd);
	atomic_store(&to_journal, false);
	return true;
}

bool
log_reopen(void)
{
	int fd, error;
	bool ok;

	if (file[0] == '\0')
		return true;
	fd = open_file(file);
	if (fd < 0)
		return false;
	ok = dup3(fd, atomic_load(&output), O_CLOEXEC) >= 0;
	error = errno;
	(void)close(fd);
	errno = error;
	return ok;
}

static size_t
format_head(char *out, size_t size, enum log_level level, const char *event)
{
	char now[CLOCK_MS_TEXT_MAX];

	return (size_t)snprintf(out, size, "time=%s level=%s event=%s",
	    clock_now_text(now), words[level], event);
}

/* Formats all of it. A line that is too long is cut; what would end a line, or
   move a terminal's cursor, is none of it. */
PRINTF_LIKE(4, 0)
static void
format_line(struct line *line, enum log_level level, const char *event,
    const char *fmt, va_list ap)
{
	size_t n = format_head(line->text, LOG_LINE_MAX, level, event);
	int more;

	line->level = level;
	line->fmt = fmt;
	if (fmt[0] != '\0') {
		line->text[n++] = ' ';
		more = vsnprintf(line->text + n, LOG_LINE_MAX - n, fmt, ap);
		if (more > 0)
			n += (size_t)more;
	}
	if (n >= LOG_LINE_MAX) {
		n = LOG_LINE_MAX - 1;
		memcpy(line->text + n - 3, "...", 3);
	}
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line->text[i] < 0x20 ||
		    line->text[i] == 0x7f)
			line->text[i] = '?';
	line->n = n;
}

PRINTF_LIKE(4, 5)
static void
format_own_line(struct line *line, enum log_level level, const char *event,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	format_line(line, level, event, fmt, ap);
	va_end(ap);
}

static void
tell_dropped(uint64_t dropped)
{
	struct line line;

	format_own_line(&line, LOG_WARNING, "log_lines_dropped", "count=%llu",
	    (unsigned long long)dropped);
	put_line(&line);
}

static void
copy_line(struct line *to, const struct line *from)
{
	memcpy(to, from, offsetof(struct line, text) + from->n);
}

static void *
writer(void *arg)
{
	static struct line taken; /* only this thread's */
	uint64_t dropped;

	(void)arg;
	pthread_mutex_lock(&ring.lock);
	for (;;) {
		while (ring.count == 0 && !ring.stopping)
			pthread_cond_wait(&ring.filled, &ring.lock);
		if (ring.count == 0)
			break;
		if (ring.stopping &&
		    clock_mono_ms() >= atomic_load(&give_up_ms))
			break;
		copy_line(&taken, &ring.ring[ring.head]);
		ring.head = (ring.head + 1) % RING_LINES;
		ring.count--;
		dropped = ring.dropped;
		ring.dropped = 0;
		pthread_mutex_unlock(&ring.lock);
		put_line(&taken);
		if (dropped > 0)
			tell_dropped(dropped);
		pthread_mutex_lock(&ring.lock);
	}
	pthread_mutex_unlock(&ring.lock);
	return NULL;
}

bool
log_start(void)
{
	bool ok;

	pthread_mutex_lock(&ring.lock);
	(void)pthread_cond_init(&ring.filled, NULL);
	ring.stopping = false;
	ok = thread_start(&ring.thread, writer, NULL);
	ring.running = ok;
	pthread_mutex_unlock(&ring.lock);
	return ok;
}

void
log_stop(uint64_t bound_ms)
{
	pthread_mutex_lock(&ring.lock);
	if (!ring.running) {
		pthread_mutex_unlock(&ring.lock);
		return;
	}
	ring.stopping = true;
	atomic_store(&give_up_ms, clock_mono_ms() + bound_ms);
	pthread_cond_signal(&ring.filled);
	pthread_mutex_unlock(&ring.lock);
	(void)pthread_join(ring.thread, NULL);
	pthread_mutex_lock(&ring.lock);
	ring.running = false;
	/* who has given up once does not wait for the same pipe again */
	if (ring.count == 0)
		atomic_store(&give_up_ms, 0);
	ring.head = ring.count = 0;
	ring.dropped = 0;
	pthread_mutex_unlock(&ring.lock);
	(void)pthread_cond_destroy(&ring.filled);
}

PRINTF_LIKE(3, 0)
static void
write_line(enum log_level level, const char *event, const char *fmt, va_list ap)
{
	struct line line;

	format_line(&line, level, event, fmt, ap);
	pthread_mutex_lock(&ring.lock);
	if (!ring.running) {
		pthread_mutex_unlock(&ring.lock);
		put_line(&line);
		return;
	}
	if (ring.count == RING_LINES) {
		ring.dropped++;
	} else {
		copy_line(
		    &ring.ring[(ring.head + ring.count) % RING_LINES], &line);
		ring.count++;
		pthread_cond_signal(&ring.filled);
	}
	pthread_mutex_unlock(&ring.lock);
}

void
log_write(enum log_level level, const char *event, const char *fmt, ...)
{
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	write_line(level, event, fmt, ap);
	va_end(ap);
}

void
log_write_for(const struct log_own *own, enum log_level level,
    const char *event, const char *fmt, ...)
{
	va_list ap;

	if ((int)level > level_of(own))
		return;
	va_start(ap, fmt);
	write_line(level, event, fmt, ap);
	va_end(ap);
}
