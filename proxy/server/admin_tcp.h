/*
 * admin_tcp: the admin endpoint's listening TCP socket. One thread, and no
 * waiting.
 */
#ifndef PROXY_SERVER_ADMIN_TCP_H
#define PROXY_SERVER_ADMIN_TCP_H

#include "base/attr.h"
#include "base/fault.h"

/*
 * A socket that listens at <at>, as in 127.0.0.1:9441, and does not block:
 * <inherited>, which is taken over (-1: none), when it is that one, or a new
 * one. -1: <why> says what is in the way.
 */
NODISCARD int admin_tcp_open(
    const char *at, int inherited, int backlog, struct fault *why);

#endif
