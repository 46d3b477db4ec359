/*
 * address: where a socket leads over IPv4 or IPv6, from text and back. Nothing
 * is looked up.
 */
#ifndef PROXY_BASE_ADDRESS_H
#define PROXY_BASE_ADDRESS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
	ADDRESS_LIST_MAX = 8, /* what one name may lead to */
	ADDRESS_WRITTEN_MAX = 80
};

struct address {
	struct sockaddr_storage storage;
	socklen_t n;
};

/* A numeric IPv4 or IPv6 address, the latter maybe with a scope ("%eth0"; a
   scope that this machine does not have is 0). False, with <a> undefined, for
   anything else. */
NODISCARD bool address_read(struct address *a, const char *host, uint16_t port);

/*
 * A list of addresses with blanks between them, each with or without a port:
 * "192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:5353". <port> is
 * that of those without one. False, with <out> undefined, when one cannot be
 * read, or when there are more than <max>.
 */
NODISCARD bool address_read_list(const char *text, uint16_t port,
    struct address *out, unsigned max, unsigned *count);

/* "192.0.2.1:443", "[2001:db8::1]:443". Returns <out>. */
const char *address_write(
    char out[static ADDRESS_WRITTEN_MAX], const struct address *a);

void address_set_port(struct address *a, uint16_t port);

#endif
