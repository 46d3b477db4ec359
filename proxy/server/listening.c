#include "server/listening.h"

#include "base/address.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- our own ---- */

/* "::" takes IPv4 too, unless another listener has that. */
static bool
wants_ipv6_only(const struct settings *all, const struct listener *l)
{
	for (unsigned i = 0; i < all->listener_count; i++) {
		const struct listener *other = &all->listeners[i];

		if (other->socket[0] == '\0' && other->port == l->port &&
		    l->port != 0 && strchr(other->address, ':') == NULL)
			return true;
	}
	return false;
}

/* Linux lets anybody do that since 5.7, once for a socket. */
static bool
bind_to_interface(int fd, const char *name)
{
	return name[0] == '\0' || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE,
				      name, (socklen_t)strlen(name) + 1) == 0;
}

static bool
prepare(int fd, const struct settings *all, const struct listener *l,
    const struct address *at)
{
	const int one = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    !bind_to_interface(fd, l->interface))
		return false;
	if (at->storage.ss_family == AF_INET6 && wants_ipv6_only(all, l) &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0)
		return false;
	return bind(fd, (const struct sockaddr *)&at->storage, at->n) == 0 &&
	       listen(fd, (int)l->backlog) == 0;
}

static const char *
advice(int error, const struct listener *l)
{
	switch (error) {
	case EADDRINUSE:
		return "; is another broker running? stop it, or set another"
		       " port";
	case EACCES:
		return "; ports under 1024 need rights";
	case EADDRNOTAVAIL:
		return "; this machine has no such address";
	case ENODEV:
		return "; this machine has no such interface";
	case EPERM:
		return l->interface[0] != '\0'
			   ? "; for interface, Linux before 5.7 wants"
			     " CAP_NET_RAW"
			   : "";
	default:
		return "";
	}
}

int
listening_open(
    const struct settings *all, const struct listener *l, struct fault *why)
{
	struct address at;
	int error, fd = -1;

	if (!address_read(&at, l->address, l->port)) {
		(void)fault_set(why, R_INTERNAL, "no address: %s", l->address);
		return -1;
	}
	fd = socket(at.storage.ss_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && prepare(fd, all, l, &at))
		return fd;
	error = errno;
	if (fd >= 0)
		(void)close(fd);
	(void)fault_set(why, R_CANNOT_LISTEN,
	    "[%s] port = %u: cannot listen on %s%s%s: %s%s", l->section,
	    l->port, l->address, l->interface[0] != '\0' ? " of " : "",
	    l->interface, strerror(error), advice(error, l));
	return -1;
}

bool
listening_open_local(
    const struct listener *l, struct local_socket *out, struct fault *why)
{
	struct fault lack;

	if (local_socket_open(out, l->socket, 0660, (int)l->backlog, &lack))
		return true;
	return fault_set(
	    why, lack.why, "[%s] socket: %s", l->section, lack.text);
}

/* ---- inherited ---- */

static bool
is_at(const struct listener *l, const struct sockaddr_storage *sa)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
	const struct sockaddr_un *sun = (const struct sockaddr_un *)sa;
	struct address at;

	if (sa->ss_family == AF_UNIX)
		return l->socket[0] != '\0' &&
		       strcmp(l->socket, sun->sun_path) == 0;
	if (l->socket[0] != '\0' || l->port == 0 ||
	    !address_read(&at, l->address, l->port) ||
	    at.storage.ss_family != sa->ss_family)
		return false;
	if (sa->ss_family == AF_INET)
		return memcmp(&((struct sockaddr_in *)&at.storage)->sin_addr,
			   &sin->sin_addr, sizeof(sin->sin_addr)) == 0 &&
		       ntohs(sin->sin_port) == l->port;
	return memcmp(&((struct sockaddr_in6 *)&at.storage)->sin6_addr,
		   &sin6->sin6_addr, sizeof(sin6->sin6_addr)) == 0 &&
	       ntohs(sin6->sin6_port) == l->port;
}

/* Several listeners may have one address, each of another interface. */
static bool
is_of_interface(const struct listener *l, int fd)
{
	char name[IFNAMSIZ] = "";
	socklen_t n = sizeof(name);

	return l->socket[0] != '\0' ||
	       (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &n) == 0 &&
		   strcmp(name, l->interface) == 0);
}

static bool
is_listening(int fd, struct sockaddr_storage *sa)
{
	socklen_t n = sizeof(int), sa_n = sizeof(*sa) - 1;
	int listens = 0, type = 0;

	*sa = (struct sockaddr_storage){0};
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) == 0 &&
	       listens != 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 &&
	       type == SOCK_STREAM &&
	       getsockname(fd, (struct sockaddr *)sa, &sa_n) == 0 &&
	       (sa->ss_family == AF_INET || sa->ss_family == AF_INET6 ||
		   sa->ss_family == AF_UNIX);
}

const struct listener *
listening_for(
    const struct settings *all, int fd, const char *name, struct fault *why)
{
	struct sockaddr_storage sa;
	const struct listener *l;

	if (!is_listening(fd, &sa)) {
		(void)fault_set(why, R_CANNOT_LISTEN,
		    "descriptor %d, which was handed over, is no stream socket"
		    " that listens (LISTEN_FDS; ListenStream= of the .socket"
		    " unit, without Accept=yes)",
		    fd);
		return NULL;
	}
	for (unsigned i = 0; i < all->listener_count; i++)
		if (is_at(&all->listeners[i], &sa) &&
		    is_of_interface(&all->listeners[i], fd))
			return &all->listeners[i];
	for (unsigned i = 0; i < all->listener_count; i++)
		if (strcmp(listener_name(&all->listeners[i]), name) == 0)
			return &all->listeners[i];
	l = settings_listener(all, "listen");
	if (l == NULL)
		(void)fault_set(why, R_CANNOT_LISTEN,
		    "descriptor %d, which was handed over (LISTEN_FDS), fits"
		    " no listener by its address or name, and there is no"
		    " section [listen]",
		    fd);
	return l;
}
