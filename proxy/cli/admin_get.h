/*
 * admin_get: one request to the admin endpoint of a running proxy
 * (server/admin.h). Blocks, but not for long, but for admin_follow().
 */
#ifndef PROXY_CLI_ADMIN_GET_H
#define PROXY_CLI_ADMIN_GET_H

#include "base/attr.h"
#include "base/fault.h"
#include "cli/cli.h"

#include <stdbool.h>
#include <stddef.h>

/* What it answers. */
struct admin_answer {
	int status; /* of HTTP: 200 is good */
	char *body; /* malloc()ed, with a NUL */
};

/*
 * The socket to ask at: that of the options, or what the settings say, or the
 * default: settings with errors are just what may have been refused. False,
 * which has been told: there is none.
 */
NODISCARD bool admin_find_socket(
    const struct cli_options *o, char out[static SETTING_TEXT_MAX]);

/*
 * Asks at the Unix socket <path> for <target> by <method>; whatever it answers
 * is in *out, whose body is the caller's to free. False: <why> says what is
 * wrong and what to do.
 */
NODISCARD bool admin_ask(const char *path, const char *method,
    const char *target, struct admin_answer *out, struct fault *why);

/* As admin_ask() by GET; only a good answer is one. */
NODISCARD bool admin_get(
    const char *path, const char *target, char **body, struct fault *why);

/*
 * As admin_ask() by POST, for an answer that goes on: hands each part of a good
 * one to <take> as it comes, until the proxy ends it, or <take> says false. An
 * answer that is not good is a fault.
 */
NODISCARD bool admin_follow(const char *path, const char *target,
    bool (*take)(void *arg, const char *text, size_t n), void *arg,
    struct fault *why);

/* <text> as a part of a target, percent-encoded (RFC 3986 2.1); false: it does
   not fit into <size> bytes. */
NODISCARD bool admin_encode(const char *text, char *out, size_t size);

#endif
