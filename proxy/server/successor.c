#include "server/successor.h"

#include "server/inherited.h"

#include <errno.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	READY_MAX_S = 60, /* the same as systemd gives a start, roughly */
	ARGUMENTS_MAX = 64,
	COMMAND_LINE_MAX = 16 * 1024,
	OWN_VARIABLES = 5,
	VARIABLE_MAX = 32,
	NAMES_MAX = INHERITED_MAX * (INHERITED_NAME_MAX + 1) + VARIABLE_MAX
};

struct successor {
	struct successor_config config;
	pid_t pid; /* 0: it is on its own */
	int ready; /* readable when it says so, or ends */
	struct event on_ready;
};

/* All that the child needs, made before fork(): after it only what is safe in a
   signal handler may be called. */
struct start {
	char line[COMMAND_LINE_MAX];
	char *arguments[ARGUMENTS_MAX + 1];
	char **environment;
	char names[NAMES_MAX];
	char count[VARIABLE_MAX];
	char ready[2 * VARIABLE_MAX];
	char listen_pid[VARIABLE_MAX];   /* the child fills in its own */
	char watchdog_pid[VARIABLE_MAX]; /* ditto */
	/* what goes to INHERITED_FIRST and behind: the sockets, and the pipe */
	int from[INHERITED_MAX + 1];
	unsigned from_count;
	sigset_t mask;
};

/* ---- what it is started with ---- */

static bool
read_arguments(struct start *s)
{
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, s->line, sizeof(s->line)) : -1;
	unsigned count = 0;

	if (fd >= 0)
		(void)close(fd);
	if (n <= 0 || n == sizeof(s->line) || s->line[n - 1] != '\0')
		return false;
	for (char *at = s->line; at < s->line + n; at += strlen(at) + 1) {
		if (count == ARGUMENTS_MAX)
			return false;
		s->arguments[count++] = at;
	}
	s->arguments[count] = NULL;
	return true;
}

static bool
is_own(const char *variable)
{
	static const char *const own[OWN_VARIABLES] = {
	    "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "WATCHDOG_PID=",
	    SUCCESSOR_READY_VARIABLE "="};

	for (unsigned i = 0; i < OWN_VARIABLES; i++)
		if (strncmp(variable, own[i], strlen(own[i])) == 0)
			return true;
	return false;
}

static bool
make_environment(struct start *s, const struct successor_config *config)
{
	size_t n = 0, at = 0;

	while (environ != NULL && environ[n] != NULL)
		n++;
	s->environment = calloc(n + OWN_VARIABLES + 1, sizeof(char *));
	if (s->environment == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_own(environ[i]))
			s->environment[at++] = environ[i];
	(void)snprintf(
	    s->count, sizeof(s->count), "LISTEN_FDS=%u", config->count);
	(void)snprintf(s->ready, sizeof(s->ready),
	    SUCCESSOR_READY_VARIABLE "=%u", INHERITED_FIRST + config->count);
	(void)snprintf(s->listen_pid, sizeof(s->listen_pid), "LISTEN_PID=");
	(void)snprintf(
	    s->watchdog_pid, sizeof(s->watchdog_pid), "WATCHDOG_PID=");
	n = (size_t)snprintf(s->names, sizeof(s->names), "LISTEN_FDNAMES=");
	for (unsigned i = 0; i < config->count; i++)
		n += (size_t)snprintf(s->names + n, sizeof(s->names) - n,
		    "%s%s", i > 0 ? ":" : "", config->sockets[i].name);
	s->environment[at++] = s->count;
	s->environment[at++] = s->ready;
	s->environment[at++] = s->listen_pid;
	s->environment[at++] = s->names;
	if (getenv("WATCHDOG_PID") != NULL)
		s->environment[at++] = s->watchdog_pid;
	return true;
}

/* Copies above all places they are to go to, so that none is in another's
   way. */
static bool
copy_descriptors(
    struct start *s, const struct successor_config *config, int ready)
{
	int above = INHERITED_FIRST + (int)config->count + 1;

	for (unsigned i = 0; i <= config->count; i++) {
		int fd = i < config->count ? config->sockets[i].fd : ready;

		s->from[i] = fcntl(fd, F_DUPFD_CLOEXEC, above);
		if (s->from[i] < 0)
			return false;
		s->from_count++;
	}
	return true;
}

static void
start_free(struct start *s)
{
	for (unsigned i = 0; i < s->from_count; i++)
		(void)close(s->from[i]);
	free(s->environment);
	free(s);
}

static struct start *
start_new(const struct successor_config *config, int ready, struct fault *why)
{
	struct start *s = calloc(1, sizeof(*s));

	if (s != NULL && !read_arguments(s)) {
		(void)fault_set(why, R_INTERNAL,
		    "its own command line cannot be read (/proc)");
		start_free(s);
		return NULL;
	}
	if (s != NULL && make_environment(s, config) &&
	    copy_descriptors(s, config, ready))
		return s;
	if (s != NULL)
		start_free(s);
	(void)fault_set(why, R_OUT_OF_MEMORY,
	    "a new process needs more memory or descriptors");
	return NULL;
}

/* ---- in the child ---- */

static void
append_number(char *text, unsigned long n)
{
	char digits[24];
	size_t count = 0;
	char *at = text;

	while (*at != '\0')
		at++;
	do {
		digits[count++] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	while (count > 0)
		*at++ = digits[--count];
	*at = '\0';
}

/* Does not return. */
static void
become(const char *program, struct start *s)
{
	static const int caught[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	unsigned long pid = (unsigned long)getpid();

	/* the handlers of this program write into a pipe of the parent's */
	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
		(void)signal(caught[i], SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &s->mask, NULL);
	append_number(s->listen_pid, pid);
	append_number(s->watchdog_pid, pid);
	for (unsigned i = 0; i < s->from_count; i++)
		if (dup2(s->from[i], INHERITED_FIRST + (int)i) < 0)
			_exit(127);
	(void)execve(program, s->arguments, s->environment);
	_exit(126);
}

/* ---- how it goes ---- */

static void
describe(char *out, size_t size, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 126)
		(void)snprintf(out, size, "the program cannot be executed");
	else if (WIFEXITED(status))
		(void)snprintf(out, size,
		    "it ended with exit code %d before it was ready; what it "
		    "says stands above",
		    WEXITSTATUS(status));
	else
		(void)snprintf(out, size,
		    "it ended by signal %d before it was ready",
		    WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/* Its end of the pipe is closed, or it is too late: nothing of it is left. */
static int
put_an_end(struct successor *s)
{
	int status = 0;

	(void)kill(s->pid, SIGKILL);
	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
	return status;
}

static void
on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct successor *s = arg;
	struct successor_config config = s->config;
	char word;
	struct fault why;
	char text[FAULT_TEXT_MAX / 2];
	pid_t pid = s->pid;

	if ((what & EV_TIMEOUT) == 0 && read(fd, &word, 1) == 1) {
		s->pid = 0;
		config.ready(config.arg, pid);
		return;
	}
	if ((what & EV_TIMEOUT) != 0) {
		(void)put_an_end(s);
		(void)fault_set(&why, R_INTERNAL,
		    "it was not ready within %d seconds", READY_MAX_S);
	} else {
		describe(text, sizeof(text), put_an_end(s));
		(void)fault_set(&why, R_BAD_CONFIG, "%s", text);
	}
	config.failed(config.arg, &why);
}

/* ---- life ---- */

static pid_t
fork_off(const char *program, struct start *start)
{
	sigset_t all;
	pid_t pid;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &start->mask);
	pid = fork();
	if (pid == 0)
		become(program, start);
	(void)sigprocmask(SIG_SETMASK, &start->mask, NULL);
	return pid;
}

struct successor *
successor_start(const struct successor_config *config, struct fault *why)
{
	static const struct timeval patience = {.tv_sec = READY_MAX_S};
	struct successor *s = calloc(1, sizeof(*s));
	struct start *start;
	int pipes[2];

	if (s == NULL || pipe2(pipes, O_CLOEXEC) != 0) {
		free(s);
		(void)fault_set(why, R_OUT_OF_MEMORY,
		    "a new process needs more memory or descriptors");
		return NULL;
	}
	s->config = *config;
	s->ready = pipes[0];
	start = start_new(config, pipes[1], why);
	if (start != NULL) {
		s->pid = fork_off(config->program, start);
		start_free(start);
		if (s->pid < 0) {
			s->pid = 0;
			(void)fault_set(why, R_OUT_OF_MEMORY,
			    "no new process: %s", strerror(errno));
		}
	}
	(void)close(pipes[1]);
	(void)event_assign(
	    &s->on_ready, config->base, s->ready, EV_READ, on_ready, s);
	if (s->pid != 0 && event_add(&s->on_ready, &patience) == 0)
		return s;
	if (s->pid != 0)
		(void)fault_set(why, R_OUT_OF_MEMORY, "for its events");
	successor_free(&s);
	return NULL;
}

void
successor_free(struct successor **sp)
{
	struct successor *s = *sp;

	if (s == NULL)
		return;
	(void)event_del(&s->on_ready);
	(void)close(s->ready);
	if (s->pid != 0)
		(void)put_an_end(s);
	free(s);
	*sp = NULL;
}

bool
successor_say_ready(void)
{
	const char *text = getenv(SUCCESSOR_READY_VARIABLE);
	char *end;
	long fd;

	if (text == NULL)
		return false;
	fd = strtol(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' ||
	    fd < INHERITED_FIRST || fd > INHERITED_FIRST + INHERITED_MAX)
		return false;
	(void)!write((int)fd, "\n", 1);
	(void)close((int)fd);
	(void)unsetenv(SUCCESSOR_READY_VARIABLE);
	return true;
}
