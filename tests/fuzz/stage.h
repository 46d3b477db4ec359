/*
 * stage: the world that a session is fuzzed in. Its clock stands still until
 * the script moves it, its sockets are ends of pairs, its random numbers are
 * zeros, so that what the cloud has to answer is known. The program is linked
 * with --wrap for each function below that begins with __wrap_.
 */
#ifndef TESTS_FUZZ_STAGE_H
#define TESTS_FUZZ_STAGE_H

#include "fuzz.h"

#include "base/attr.h"
#include "base/log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STAGE_TIMERS = 16,
	STAGE_BEGIN_MS = 1000 * 1000,
	STAGE_SMALL_BUFFER = 2048 /* a pipe that fills soon */
};

/* How an attempt to connect goes. */
enum connecting {
	ATTEMPT_AT_ONCE,
	ATTEMPT_LATER,
	ATTEMPT_REFUSED,
	ATTEMPT_NO_SOCKET,
	ATTEMPT_HANGS,
	ATTEMPT_KINDS
};

static struct {
	uint64_t now_ms;
	struct {
		struct event *event;
		uint64_t due_ms;
	} timers[STAGE_TIMERS];
	unsigned timer_count;
	bool small; /* connections have small buffers */
	enum connecting attempts[2];
	unsigned attempted;
	fd_set hung; /* connections that will never be there */
	int cloud;   /* the far end of the newest connection; -1: none */
} stage;

/* ---- time ---- */

uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_wall_ms(void);
int __real_event_add(struct event *event, const struct timeval *tv);
int __wrap_event_add(struct event *event, const struct timeval *tv);
int __real_event_del(struct event *event);
int __wrap_event_del(struct event *event);

uint64_t
__wrap_clock_mono_ms(void)
{
	return stage.now_ms;
}

uint64_t
__wrap_clock_wall_ms(void)
{
	return UINT64_C(1700000000000) + stage.now_ms;
}

static inline void
stage_forget_timer(const struct event *event)
{
	for (unsigned i = 0; i < stage.timer_count; i++)
		if (stage.timers[i].event == event) {
			stage.timers[i] = stage.timers[--stage.timer_count];
			return;
		}
}

int
__wrap_event_add(struct event *event, const struct timeval *tv)
{
	if (tv == NULL)
		return __real_event_add(event, NULL);
	stage_forget_timer(event);
	MUST(stage.timer_count < STAGE_TIMERS);
	stage.timers[stage.timer_count].event = event;
	stage.timers[stage.timer_count++].due_ms = stage.now_ms +
						   (uint64_t)tv->tv_sec * 1000 +
						   (uint64_t)tv->tv_usec / 1000;
	return 0;
}

int
__wrap_event_del(struct event *event)
{
	stage_forget_timer(event);
	return __real_event_del(event);
}

/* Lets time pass to the next timer, and fires it; to <end_ms> when none is due
   by then. False: that was the end. */
static inline bool
stage_pass_time(uint64_t end_ms)
{
	uint64_t due_ms = end_ms;
	struct event *next = NULL;

	for (unsigned i = 0; i < stage.timer_count; i++)
		if (stage.timers[i].due_ms <= due_ms) {
			due_ms = stage.timers[i].due_ms;
			next = stage.timers[i].event;
		}
	if (due_ms > stage.now_ms)
		stage.now_ms = due_ms;
	if (next == NULL)
		return false;
	stage_forget_timer(next);
	event_get_callback(next)(-1, EV_TIMEOUT, event_get_callback_arg(next));
	return true;
}

/* Fires a timer that is due now, if there is one. */
static inline bool
stage_fire_due(void)
{
	return stage_pass_time(stage.now_ms);
}

/* ---- sockets ---- */

int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t n);
int __wrap_getpeername(int fd, struct sockaddr *peer, socklen_t *n);

static inline void
stage_pair(int ends[2], bool small)
{
	static const int bytes = STAGE_SMALL_BUFFER;

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		 ends) == 0);
	for (int i = 0; small && i < 2; i++)
		MUST(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &bytes,
			 sizeof(bytes)) == 0);
}

static inline void
stage_close(int *fd)
{
	if (*fd >= 0)
		MUST(close(*fd) == 0);
	*fd = -1;
}

static inline enum connecting
stage_attempt(void)
{
	return stage.attempts[stage.attempted % 2];
}

int
__wrap_socket(int domain, int type, int protocol)
{
	int ends[2];

	(void)domain;
	(void)protocol;
	MUST((type & SOCK_NONBLOCK) != 0 && (type & SOCK_CLOEXEC) != 0);
	if (stage_attempt() == ATTEMPT_NO_SOCKET) {
		stage.attempted++;
		errno = EMFILE;
		return -1;
	}
	stage_pair(ends, stage.small);
	stage_close(&stage.cloud);
	stage.cloud = ends[1];
	return ends[0];
}

int
__wrap_connect(int fd, const struct sockaddr *to, socklen_t n)
{
	enum connecting how = stage_attempt();

	(void)to;
	(void)n;
	MUST(fd < FD_SETSIZE);
	stage.attempted++;
	if (how == ATTEMPT_HANGS)
		FD_SET(fd, &stage.hung);
	else
		FD_CLR(fd, &stage.hung);
	if (how == ATTEMPT_AT_ONCE)
		return 0;
	errno = how == ATTEMPT_REFUSED ? ECONNREFUSED : EINPROGRESS;
	return -1;
}

/* What tells a connection that is there from one that is not yet. */
int
__wrap_getpeername(int fd, struct sockaddr *peer, socklen_t *n)
{
	(void)peer;
	(void)n;
	errno = ENOTCONN;
	return FD_ISSET(fd, &stage.hung) ? -1 : 0;
}

/* ---- random numbers, log ---- */

int __wrap_RAND_bytes(unsigned char *out, int n);
void __wrap_log_write(enum log_level level, const char *event, const char *fmt,
    ...) PRINTF_LIKE(3, 4);
void __wrap_log_write_for(const struct log_own *own, enum log_level level,
    const char *event, const char *fmt, ...) PRINTF_LIKE(4, 5);

int
__wrap_RAND_bytes(unsigned char *out, int n)
{
	memset(out, 0, (size_t)n);
	return 1;
}

/* Whatever device and cloud have sent, a line stays one line, and its quotes
   are closed. */
PRINTF_LIKE(3, 0)
static inline void
stage_judge_line(
    enum log_level level, const char *event, const char *fmt, va_list args)
{
	char line[4 * LOG_LINE_MAX];
	unsigned quotes = 0;
	int n;

	MUST(level < LOG_LEVEL_COUNT && *event != '\0');
	n = vsnprintf(line, sizeof(line), fmt, args);
	MUST(n >= 0 && (size_t)n < sizeof(line));
	for (const char *c = line; *c != '\0'; c++) {
		MUST(*c >= 0x20 && *c < 0x7f);
		quotes += *c == '"';
	}
	MUST(quotes % 2 == 0);
}

void
__wrap_log_write(enum log_level level, const char *event, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	stage_judge_line(level, event, fmt, args);
	va_end(args);
}

void
__wrap_log_write_for(const struct log_own *own, enum log_level level,
    const char *event, const char *fmt, ...)
{
	va_list args;

	MUST(own != NULL);
	va_start(args, fmt);
	stage_judge_line(level, event, fmt, args);
	va_end(args);
}

/* ---- begin and end ---- */

static inline void
stage_begin(void)
{
	memset(&stage, 0, sizeof(stage));
	stage.now_ms = STAGE_BEGIN_MS;
	stage.cloud = -1;
}

/* The lowest descriptor that is free: one that is lost in between moves it. */
static inline int
stage_free_descriptor(void)
{
	int fd = fcntl(0, F_DUPFD_CLOEXEC, 0);

	MUST(fd >= 0 && close(fd) == 0);
	return fd;
}

#endif
