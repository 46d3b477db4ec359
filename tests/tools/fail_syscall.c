#undef _FORTIFY_SOURCE /* its inline functions have the names of these */
#include "fail_syscall.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096 };

struct fail_order *_Atomic fail_order;
void (*_Atomic fail_told)(int fd);

/* How a descriptor is watched; closed, it may be another thread's next. */
static struct {
	atomic_int epoll;
	struct epoll_event event;
} watched[DESCRIPTORS];

/* Who would have been called otherwise: libc, or a sanitizer. */
static _Atomic(void *) next[FAIL_COUNT];

static void *
find_next(enum fail_call call, const char *name)
{
	void *found = atomic_load(&next[call]);

	if (found == NULL) {
		found = dlsym(RTLD_NEXT, name);
		if (found == NULL)
			abort();
		atomic_store(&next[call], found);
	}
	return found;
}

#define NEXT(name) ((__typeof__(&name))find_next(FAIL_##name, #name))

__attribute__((constructor)) static void
take_orders(void)
{
	const char *path = getenv("FAIL_SYSCALL");
	void *at = MAP_FAILED;
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		at = mmap(NULL, sizeof(struct fail_order),
		    PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		abort();
	(void)NEXT(close)(fd);
	fail_order = at;
}

/* ---- which of them ---- */

/* The port of one end; 0: has none yet; -1: not a TCP socket's. */
static long
port_of(long end, int fd)
{
	struct sockaddr_storage at = {0};
	socklen_t n = sizeof(at);

	/* not by way of libc: a sanitizer would look on */
	if (syscall(end, fd, &at, &n) != 0)
		return -1;
	if (at.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&at)->sin_port);
	if (at.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&at)->sin6_port);
	return -1;
}

static bool
is_meant(unsigned port, int fd)
{
	long wanted = (long)port;
	long here = port_of(SYS_getsockname, fd);

	return here >= 0 && (port == 0 || here == wanted ||
				port_of(SYS_getpeername, fd) == wanted);
}

/* True: this one fails, and errno says with what. */
static bool
fails(enum fail_call call, int fd, bool any)
{
	struct fail_order *o = fail_order;
	void (*told)(int fd);
	int before = errno;
	unsigned n;

	if (o == NULL || o->call != call || !(any || is_meant(o->port, fd))) {
		errno = before;
		return false;
	}
	n = atomic_fetch_add(&o->seen, 1) + 1;
	if (n < o->at || n - o->at >= o->times) {
		errno = before;
		return false;
	}
	told = fail_told;
	if (told != NULL)
		told(fd);
	errno = (int)o->error;
	return true;
}

/* As the kernel does it once there is room, or there are bytes. */
static void
come_back(int fd)
{
	int error = errno;

	if (error == EAGAIN && fd < DESCRIPTORS && watched[fd].epoll > 0)
		(void)NEXT(epoll_ctl)(
		    watched[fd].epoll, EPOLL_CTL_MOD, fd, &watched[fd].event);
	errno = error;
}

/* ---- the calls ---- */

int
accept4(int fd, struct sockaddr *restrict at, socklen_t *restrict n, int flags)
{
	return fails(FAIL_accept4, fd, false) ? -1
					      : NEXT(accept4)(fd, at, n, flags);
}

int
close(int fd)
{
	bool failed = fails(FAIL_close, fd, false);
	int error = errno;
	int r;

	if (fd >= 0 && fd < DESCRIPTORS)
		watched[fd].epoll = 0;
	r = NEXT(close)(fd);
	if (!failed)
		return r;
	errno = error;
	return -1;
}

int
connect(int fd, const struct sockaddr *to, socklen_t n)
{
	if (!fails(FAIL_connect, fd, false))
		return NEXT(connect)(fd, to, n);
	if (errno == EINTR) {
		(void)NEXT(connect)(fd, to, n);
		errno = EINTR;
	}
	return -1;
}

int
epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	if (op == EPOLL_CTL_ADD && fails(FAIL_epoll_ctl, fd, false))
		return -1;
	if (fd >= 0 && fd < DESCRIPTORS) {
		watched[fd].epoll = op == EPOLL_CTL_DEL ? 0 : epoll;
		if (op != EPOLL_CTL_DEL)
			watched[fd].event = *event;
	}
	return NEXT(epoll_ctl)(epoll, op, fd, event);
}

int
epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
	if (fails(FAIL_epoll_wait, epoll, true))
		return -1;
	return NEXT(epoll_wait)(epoll, events, max, timeout_ms);
}

int
getsockopt(
    int fd, int level, int name, void *restrict value, socklen_t *restrict n)
{
	if (fails(FAIL_getsockopt, fd, false))
		return -1;
	return NEXT(getsockopt)(fd, level, name, value, n);
}

ssize_t
read(int fd, void *to, size_t n)
{
	if (!fails(FAIL_read, fd, false))
		return NEXT(read)(fd, to, n);
	come_back(fd);
	return -1;
}

ssize_t
recv(int fd, void *to, size_t n, int flags)
{
	if (!fails(FAIL_recv, fd, false))
		return NEXT(recv)(fd, to, n, flags);
	come_back(fd);
	return -1;
}

ssize_t
send(int fd, const void *from, size_t n, int flags)
{
	if (!fails(FAIL_send, fd, false))
		return NEXT(send)(fd, from, n, flags);
	come_back(fd);
	return -1;
}

int
setsockopt(int fd, int level, int name, const void *value, socklen_t n)
{
	if (fails(FAIL_setsockopt, fd, false))
		return -1;
	return NEXT(setsockopt)(fd, level, name, value, n);
}

int
shutdown(int fd, int how)
{
	return fails(FAIL_shutdown, fd, false) ? -1 : NEXT(shutdown)(fd, how);
}

int
socket(int domain, int type, int protocol)
{
	bool tcp = (domain == AF_INET || domain == AF_INET6) &&
		   (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM;

	if (tcp && fails(FAIL_socket, -1, true))
		return -1;
	return NEXT(socket)(domain, type, protocol);
}

ssize_t
write(int fd, const void *from, size_t n)
{
	if (!fails(FAIL_write, fd, false))
		return NEXT(write)(fd, from, n);
	come_back(fd);
	return -1;
}
