#include "cli/admin_get.h"

#include "base/clock.h"
#include "base/text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	WAIT_S = 10,
	ACTION_WAIT_S = 70, /* files are read again */
	REQUEST_MAX = 1024,
	FIRST_BYTES = 64 * 1024,
	PART_BYTES = 16 * 1024,
	ANSWER_MAX = 512 * 1024 * 1024
};

static const char *
what_to_do(int error)
{
	switch (error) {
	case ENOENT:
		return "there is no such socket: is the proxy running, and is"
		       " this the socket of its [admin] section?";
	case ECONNREFUSED:
		return "nobody listens there: the proxy does not run any more";
	case EACCES:
	case EPERM:
		return "this user may not: run it as the proxy's user, or as"
		       " root";
	case EAGAIN:
		return "the proxy does not answer; too many ask it at once, or"
		       " it hangs";
	default:
		return strerror(error);
	}
}

static bool
unreachable(struct fault *why, const char *path, int error)
{
	return fault_set(
	    why, R_INTERNAL, "cannot ask at %s: %s", path, what_to_do(error));
}

/* Connected and waiting for no longer than WAIT_S; -1 with errno. */
static int
open_socket(const char *path)
{
	static const struct timeval wait = {.tv_sec = WAIT_S};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error = ENAMETOOLONG;

	if (fd < 0)
		return -1;
	if (strlen(path) < sizeof(at.sun_path)) {
		strcpy(at.sun_path, path);
		error = 0;
		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait,
			sizeof(wait)) != 0 ||
		    connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
			error = errno;
	}
	if (error == 0)
		return fd;
	(void)close(fd);
	errno = error;
	return -1;
}

static bool
send_request(int fd, const char *method, const char *target)
{
	char request[REQUEST_MAX];
	int n = snprintf(request, sizeof(request),
	    "%s %s HTTP/1.0\r\nHost: localhost\r\n\r\n", method, target);

	if (n < 0 || (size_t)n >= sizeof(request)) {
		errno = ENAMETOOLONG;
		return false;
	}
	return send(fd, request, (size_t)n, MSG_NOSIGNAL) == n;
}

/* More room for <*out>, which has <*size> bytes. */
static bool
grow(char **out, size_t *size)
{
	size_t wanted = *size == 0 ? FIRST_BYTES : *size * 2;
	char *more = wanted <= ANSWER_MAX ? realloc(*out, wanted) : NULL;

	if (more == NULL) {
		errno = ENOMEM;
		return false;
	}
	*out = more;
	*size = wanted;
	return true;
}

/* All until the end, with a NUL; the caller's to free, also after an error,
   which is false with errno; within <wait_s>. */
static bool
receive(int fd, unsigned wait_s, char **out)
{
	uint64_t until_ms = clock_mono_ms() + wait_s * 1000;
	size_t n = 0, size = 0;

	for (;;) {
		uint64_t now_ms = clock_mono_ms();
		struct pollfd ready = {fd, POLLIN, 0};
		ssize_t more;

		if (n + 1 >= size && !grow(out, &size))
			return false;
		if (now_ms >= until_ms ||
		    poll(&ready, 1, (int)(until_ms - now_ms)) == 0) {
			errno = EAGAIN;
			return false;
		}
		more = recv(fd, *out + n, size - n - 1, MSG_DONTWAIT);
		if (more == 0)
			break;
		if (more > 0)
			n += (size_t)more;
		else if (errno != EINTR && errno != EAGAIN)
			return false;
	}
	(*out)[n] = '\0';
	return true;
}

/* Leaves of an answer its body; false: it is none. */
static bool
take_body(char *answer, int *status)
{
	char *body = strstr(answer, "\r\n\r\n");

	if (body == NULL || sscanf(answer, "HTTP/1.1 %3d ", status) != 1)
		return false;
	memmove(answer, body + 4, strlen(body + 4) + 1);
	return true;
}

static bool
is_no_proxy(struct fault *why, const char *path)
{
	return fault_set(why, R_INTERNAL,
	    "what listens at %s is not mqtt-wss-proxy, or not"
	    " of this version, or has too much to do",
	    path);
}

bool
admin_ask(const char *path, const char *method, const char *target,
    struct admin_answer *out, struct fault *why)
{
	int fd = open_socket(path);
	bool is_action = strcmp(method, "POST") == 0;
	bool ok = false;
	int error;

	*out = (struct admin_answer){0};
	if (fd < 0)
		return unreachable(why, path, errno);
	ok = send_request(fd, method, target) &&
	     receive(fd, is_action ? ACTION_WAIT_S : WAIT_S, &out->body);
	error = errno;
	(void)close(fd);
	if (ok && take_body(out->body, &out->status))
		return true;
	free(out->body);
	out->body = NULL;
	return ok ? is_no_proxy(why, path) : unreachable(why, path, error);
}

bool
admin_get(const char *path, const char *target, char **body, struct fault *why)
{
	struct admin_answer answer;

	if (!admin_ask(path, "GET", target, &answer, why))
		return false;
	*body = answer.body;
	if (answer.status == 200)
		return true;
	(void)fault_set(why, R_INTERNAL, "%.*s",
	    (int)strcspn(answer.body, "\n"), answer.body);
	free(answer.body);
	*body = NULL;
	return false;
}

/* More of an answer, as it comes; 0: its end, or of the connection. */
static size_t
receive_some(int fd, char *to, size_t size)
{
	ssize_t n;

	do
		n = recv(fd, to, size, 0);
	while (n < 0 && errno == EINTR);
	return n > 0 ? (size_t)n : 0;
}

/* Reads up to the end of the head; in *n how many bytes are there, in *body
   where they go on behind it; NULL: there is no such end. */
static char *
receive_head(int fd, char *at, size_t size, size_t *n)
{
	char *body = NULL;
	size_t more = 1;

	*n = 0;
	while (body == NULL && more > 0 && *n + 1 < size) {
		more = receive_some(fd, at + *n, size - *n - 1);
		*n += more;
		at[*n] = '\0';
		body = strstr(at, "\r\n\r\n");
	}
	return body != NULL ? body + 4 : NULL;
}

/* The line an answer says that is not good. */
static bool
is_refused(int fd, char *body, size_t n, size_t size, struct fault *why)
{
	size_t more;

	while (n + 1 < size &&
	       (more = receive_some(fd, body + n, size - n - 1)) > 0)
		n += more;
	body[n] = '\0';
	return fault_set(
	    why, R_INTERNAL, "%.*s", (int)strcspn(body, "\n"), body);
}

static bool
follow(int fd, const char *path, bool (*take)(void *, const char *, size_t),
    void *arg, struct fault *why)
{
	char part[PART_BYTES];
	int status;
	size_t n;
	char *body = receive_head(fd, part, sizeof(part), &n);

	if (body == NULL || sscanf(part, "HTTP/1.1 %3d ", &status) != 1)
		return is_no_proxy(why, path);
	n -= (size_t)(body - part);
	if (status != 200)
		return is_refused(
		    fd, body, n, sizeof(part) - (size_t)(body - part), why);
	while (n == 0 || take(arg, body, n)) {
		body = part;
		n = receive_some(fd, part, sizeof(part));
		if (n == 0)
			break;
	}
	return true;
}

bool
admin_follow(const char *path, const char *target,
    bool (*take)(void *arg, const char *text, size_t n), void *arg,
    struct fault *why)
{
	int fd = open_socket(path);
	bool ok;

	if (fd < 0)
		return unreachable(why, path, errno);
	ok = send_request(fd, "POST", target) ? follow(fd, path, take, arg, why)
					      : unreachable(why, path, errno);
	(void)close(fd);
	return ok;
}

bool
admin_encode(const char *text, char *out, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~";
	struct text t = {.at = out, .left = size};

	*out = '\0';
	for (; *text != '\0'; text++)
		text_add(&t, strchr(plain, *text) != NULL ? "%c" : "%%%02X",
		    (unsigned char)*text);
	return !t.full;
}

bool
admin_find_socket(
    const struct cli_options *o, char out[static SETTING_TEXT_MAX])
{
	struct complaints nobody = {0};
	struct settings *settings;
	bool is_wanted;

	if (o->socket != NULL) {
		if (strlen(o->socket) >= SETTING_TEXT_MAX) {
			cli_tell("the path of --socket is too long");
			return false;
		}
		strcpy(out, o->socket);
		return true;
	}
	settings = settings_load(o->settings, &nobody);
	is_wanted = settings == NULL || settings_want_admin(settings);
	if (settings == NULL)
		cli_tell("%s has errors: the default socket is asked; name"
			 " another by --socket",
		    o->settings != NULL ? o->settings : "the environment");
	if (!is_wanted)
		cli_tell("[admin] socket = none: this proxy cannot be asked");
	(void)snprintf(out, SETTING_TEXT_MAX, "%s",
	    settings != NULL ? settings->admin_socket : ADMIN_SOCKET_DEFAULT);
	settings_unref(settings);
	return is_wanted;
}
