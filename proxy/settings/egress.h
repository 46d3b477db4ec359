/*
 * egress: the proxy through which a site lets connections out, from proxy.ini
 * or from the environment. Immutable once read; the passwords are wiped by
 * whoever owns the memory.
 */
#ifndef PROXY_SETTINGS_EGRESS_H
#define PROXY_SETTINGS_EGRESS_H

#include "base/attr.h"
#include "base/secret.h"
#include "settings/complaints.h"

#include <stdbool.h>
#include <stdint.h>

enum egress_kind {
	EGRESS_BY_ENVIRONMENT, /* nothing was set */
	EGRESS_NONE,           /* dial directly */
	EGRESS_HTTP,           /* CONNECT */
	EGRESS_HTTPS,          /* CONNECT, inside TLS to the proxy */
	EGRESS_SOCKS5
};

enum { EGRESS_TEXT_MAX = 160 }; /* as shown, with NUL */

/* All texts NUL-terminated. */
struct egress {
	enum egress_kind kind;
	uint16_t port;
	bool has_login;
	bool has_password_file;     /* the password comes from there */
	char host[EGRESS_TEXT_MAX]; /* a name or a numeric address */
	char username[EGRESS_TEXT_MAX];
	struct secret password; /* may be empty */
};

/*
 * Reads "", "none", or [SCHEME://][USER[:PASSWORD]@]HOST[:PORT][/] into <out>.
 * SCHEME is http (also when it is left out), https, socks5 or socks5h (the
 * same: the proxy looks names up); USER and PASSWORD are percent-decoded; an
 * IPv6 HOST stands in brackets; PORT is 1080 when left out, of https 443, as
 * curl has it. False, with <out> wiped, when it is none of that or too long;
 * <*why> is a sentence that holds no byte of <text>.
 */
NODISCARD bool egress_read(
    struct egress *out, const char *text, const char **why);

/* Writes what egress_read() reads as the same proxy, but for the password,
   which becomes "***" (nothing, where it comes from a file). Returns <out>. */
const char *egress_show(
    const struct egress *egress, char out[static EGRESS_TEXT_MAX]);

/*
 * Reads the password of the user of <egress> from the file <path>, of which the
 * observer of <to> is told. False, with <*why> a sentence that is valid until
 * the thread's next call of strerror(), when there is no such user, he has a
 * password already, or the file does not hold one.
 */
NODISCARD bool egress_read_password(struct egress *egress, const char *path,
    const struct complaints *to, const char **why);

bool egress_same(const struct egress *a, const struct egress *b);

/* What the environment says. Zero-initialised: nothing. */
struct egress_environment {
	struct egress tls;    /* for connections with TLS */
	struct egress plain;  /* for those without */
	const char *no_proxy; /* the environment's own; NULL: none */
};

/*
 * Reads https_proxy or HTTPS_PROXY into <tls>, http_proxy into <plain> (not
 * HTTP_PROXY, as a CGI server sets that for its clients), where they are not
 * set all_proxy or ALL_PROXY, and no_proxy or NO_PROXY. The first that is set
 * holds, even when it is empty. <get> is getenv() or stands in for it; what it
 * returns for the latter two is kept. A value that is wrong is told to <to>,
 * with the variable's name and not the value.
 */
void egress_environment_read(struct egress_environment *out,
    char *(*get)(const char *name), struct complaints *to);

/* The proxy to <host>; NULL: dial directly, as loopback hosts always are. */
const struct egress *egress_environment_for(
    const struct egress_environment *env, bool tls, const char *host);

#endif
