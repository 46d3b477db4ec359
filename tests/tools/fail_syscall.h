/*
 * fail_syscall: stands before the calls of libc that reach the kernel, and has
 * some of them fail when it is told to; the others are passed on. Linked into a
 * test, or, as fail_syscall.so, loaded before the proxy: then the order is in
 * the file that $FAIL_SYSCALL names.
 *
 * A failure is one the kernel might have sent: after EINTR connect() and
 * close() go on nevertheless, and behind EAGAIN the descriptor's next event
 * comes.
 */
#ifndef TESTS_TOOLS_FAIL_SYSCALL_H
#define TESTS_TOOLS_FAIL_SYSCALL_H

#include <stdatomic.h>

/* Only those on TCP sockets; of epoll_ctl only EPOLL_CTL_ADD. */
#define FAIL_CALLS(X)                                                          \
	X(accept4)                                                             \
	X(close)                                                               \
	X(connect)                                                             \
	X(epoll_ctl)                                                           \
	X(epoll_wait)                                                          \
	X(getsockopt)                                                          \
	X(read)                                                                \
	X(recv)                                                                \
	X(send)                                                                \
	X(setsockopt)                                                          \
	X(shutdown)                                                            \
	X(socket)                                                              \
	X(write)

#define X(name) FAIL_##name,
enum fail_call { FAIL_nothing, FAIL_CALLS(X) FAIL_COUNT };
#undef X

/* 32 bits each, as tests/e2e/test_fault_injection.py writes them. */
struct fail_order {
	atomic_uint call;  /* enum fail_call; what is written last */
	atomic_uint error; /* errno */
	atomic_uint at;    /* the first to fail; 1: the very next */
	atomic_uint times; /* so many in a row */
	atomic_uint port;  /* of either end of the socket; 0: any */
	atomic_uint seen;  /* of these calls, since there is the order */
};

/* The order in force; NULL: none. */
extern struct fail_order *_Atomic fail_order;

/* Told of a failure, in the call that fails; NULL: nobody. */
extern void (*_Atomic fail_told)(int fd);

#endif
