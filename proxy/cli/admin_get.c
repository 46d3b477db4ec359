#include "cli/admin_get.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { WAIT_S = 10, REQUEST_MAX = 128 };

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
send_request(int fd, const char *target)
{
	char request[REQUEST_MAX];
	int n = snprintf(
	    request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", target);

	return send(fd, request, (size_t)n, MSG_NOSIGNAL) == n;
}

/* All until the end, or until <size> bytes are full. -1 with errno. */
static ssize_t
receive(int fd, char *out, size_t size)
{
	uint64_t until_ms = clock_mono_ms() + WAIT_S * 1000;
	size_t n = 0;

	while (n < size) {
		uint64_t now_ms = clock_mono_ms();
		struct pollfd ready = {fd, POLLIN, 0};
		ssize_t more;

		if (now_ms >= until_ms ||
		    poll(&ready, 1, (int)(until_ms - now_ms)) == 0) {
			errno = EAGAIN;
			return -1;
		}
		more = recv(fd, out + n, size - n, MSG_DONTWAIT);
		if (more == 0)
			break;
		if (more > 0)
			n += (size_t)more;
		else if (errno != EINTR && errno != EAGAIN)
			return -1;
	}
	return (ssize_t)n;
}

/* Leaves of an answer its body; false: it is no good answer. */
static bool
take_body(char *answer)
{
	char *body = strstr(answer, "\r\n\r\n");

	if (body == NULL || strncmp(answer, "HTTP/1.1 200 ", 13) != 0)
		return false;
	memmove(answer, body + 4, strlen(body + 4) + 1);
	return true;
}

bool
admin_get(const char *path, const char *target, char *body, size_t size,
    struct fault *why)
{
	int fd = open_socket(path);
	ssize_t n = -1;
	int error;

	if (fd < 0)
		return unreachable(why, path, errno);
	if (send_request(fd, target))
		n = receive(fd, body, size - 1);
	error = errno;
	(void)close(fd);
	if (n < 0)
		return unreachable(why, path, error);
	body[n] = '\0';
	if (take_body(body))
		return true;
	return fault_set(why, R_INTERNAL,
	    "what listens at %s is not mqtt-wss-proxy, or not"
	    " of this version, or has too much to do",
	    path);
}
