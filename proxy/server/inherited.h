/*
 * inherited: listening sockets that whoever started the process has opened for
 * it: systemd (sd_listen_fds(3)), or an earlier process of the proxy that hands
 * over. Main thread, at the start.
 */
#ifndef PROXY_SERVER_INHERITED_H
#define PROXY_SERVER_INHERITED_H

enum {
	INHERITED_MAX = 32,
	INHERITED_FIRST = 3, /* SD_LISTEN_FDS_START */
	INHERITED_NAME_MAX = 64
};

struct inherited_socket {
	int fd;                        /* -1: somebody has it already */
	char name[INHERITED_NAME_MAX]; /* of LISTEN_FDNAMES, or "" */
};

struct inherited {
	unsigned count;
	struct inherited_socket sockets[INHERITED_MAX];
};

/*
 * Takes those of LISTEN_FDS, if LISTEN_PID means this process; they are closed
 * on exec then and do not block. The variables are gone afterwards. Those over
 * INHERITED_MAX are closed.
 */
void inherited_take(struct inherited *in);

/* The first one of that name, which is the caller's from then on; -1: none. */
int inherited_claim(struct inherited *in, const char *name);

/* Closes those that nobody has claimed. */
void inherited_close(struct inherited *in);

#endif
