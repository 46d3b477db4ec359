#include "server/local_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool
make_folder(const char *path, struct fault *why)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	(void)snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash == NULL || slash == folder)
		return true;
	*slash = '\0';
	if (mkdir(folder, 0755) == 0 || errno == EEXIST)
		return true;
	return fault_set(why, R_CANNOT_LISTEN,
	    "cannot make its folder: %s; make it, owned by the proxy's user",
	    strerror(errno));
}

static int
new_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* What the answer to a connection says. */
static bool
is_left_over(const struct sockaddr_un *at)
{
	int fd = new_socket();
	bool refused =
	    fd >= 0 &&
	    connect(fd, (const struct sockaddr *)at, sizeof(*at)) != 0 &&
	    errno == ECONNREFUSED;

	if (fd >= 0)
		(void)close(fd);
	return refused;
}

static bool
make_room(const struct sockaddr_un *at, struct fault *why)
{
	struct stat st;

	if (lstat(at->sun_path, &st) !=
	    0) /* if not for its lack, bind() says */
		return true;
	if (!S_ISSOCK(st.st_mode))
		return fault_set(why, R_CANNOT_LISTEN,
		    "something else than a socket is there; take it away");
	if (!is_left_over(at))
		return fault_set(why, R_CANNOT_LISTEN,
		    "another process listens there; stop it, or give each"
		    " proxy a path of its own");
	if (unlink(at->sun_path) == 0)
		return true;
	return fault_set(why, R_CANNOT_LISTEN,
	    "cannot take away what an earlier process has left: %s",
	    strerror(errno));
}

/* Linux gives a socket in the file system the mode of its descriptor, so it is
   never there with a wider one; less what the umask takes, which comes after.
 */
static bool
bind_and_listen(struct local_socket *s, mode_t mode, int backlog)
{
	return fchmod(s->fd, mode) == 0 &&
	       bind(s->fd, (struct sockaddr *)&s->at, sizeof(s->at)) == 0 &&
	       chmod(s->at.sun_path, mode) == 0 &&
	       lstat(s->at.sun_path, &s->own) == 0 &&
	       listen(s->fd, backlog) == 0;
}

bool
local_socket_open(struct local_socket *s, const char *path, mode_t mode,
    int backlog, struct fault *why)
{
	*s = (struct local_socket){.fd = -1, .at.sun_family = AF_UNIX};
	if (strlen(path) > LOCAL_SOCKET_PATH_MAX)
		return fault_set(why, R_CANNOT_LISTEN,
		    "the path has over %d bytes", LOCAL_SOCKET_PATH_MAX);
	strcpy(s->at.sun_path, path);
	if (!make_folder(path, why) || !make_room(&s->at, why))
		return false;
	s->fd = new_socket();
	if (s->fd >= 0 && bind_and_listen(s, mode, backlog))
		return true;
	(void)fault_set(why, R_CANNOT_LISTEN, "%s%s", strerror(errno),
	    errno == EACCES ? "; give its folder to the proxy's user" : "");
	local_socket_close(s);
	return false;
}

bool
local_socket_adopt(struct local_socket *s, int fd, const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNSPEC};
	socklen_t n = sizeof(at) - 1;

	if (getsockname(fd, (struct sockaddr *)&at, &n) != 0 ||
	    at.sun_family != AF_UNIX || strcmp(at.sun_path, path) != 0)
		return false;
	*s = (struct local_socket){.fd = fd, .at = at};
	return lstat(path, &s->own) == 0;
}

void
local_socket_close(struct local_socket *s)
{
	struct stat now;

	if (s->fd < 0)
		return;
	if (s->own.st_ino != 0 && lstat(s->at.sun_path, &now) == 0 &&
	    now.st_dev == s->own.st_dev && now.st_ino == s->own.st_ino)
		(void)unlink(s->at.sun_path);
	(void)close(s->fd);
	s->fd = -1;
}

void
local_socket_leave(struct local_socket *s)
{
	s->own.st_ino = 0;
	local_socket_close(s);
}
