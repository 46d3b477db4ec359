/*
 * network: an IPv4 or IPv6 address, or all that begin with the same bits. An
 * IPv4-mapped IPv6 address counts as IPv4. Pure.
 */
#ifndef PROXY_SETTINGS_NETWORK_H
#define PROXY_SETTINGS_NETWORK_H

#include "base/attr.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	NETWORK_TEXT_MAX = INET6_ADDRSTRLEN + sizeof("/128") - 1,
	NETWORK_BITS_MAX = 128,
	NETWORK_LIST_MAX = 8,
	NETWORK_LIST_TEXT_MAX = NETWORK_LIST_MAX * (NETWORK_TEXT_MAX + 2)
};

/* Bytes only, so that equal networks are equal bytes. */
struct network {
	uint8_t version;                        /* 4 or 6; 0: of no address */
	uint8_t bits;                           /* 32 or 128: one address */
	uint8_t bytes[sizeof(struct in6_addr)]; /* 0 behind the address */
};

struct network_list {
	unsigned count;
	struct network list[NETWORK_LIST_MAX];
};

/* "10.0.0.0", "10.0.0.0/8", "::1", "fd00::/8". Bits behind the prefix stay as
   they are written. False, with <out> of no address, for anything else. */
NODISCARD bool network_read(const char *text, struct network *out);

/* Whether it is one address. */
bool network_is_address(const struct network *n);

/* Its canonical text (RFC 5952), an address without "/". Returns <out>. */
const char *network_write(
    char out[static NETWORK_TEXT_MAX], const struct network *n);

/* What begins with the first <bits> of <n>; <bits> are at most n->bits. */
struct network network_cut(const struct network *n, uint8_t bits);

/* Whether all of <part> is in <whole>. */
bool network_has(const struct network *whole, const struct network *part);

/* Networks with commas between them, or nothing. False, with <out> undefined,
   for anything else. */
NODISCARD bool network_list_read(const char *text, struct network_list *out);

/* As network_list_read() takes it. Returns <out>. */
const char *network_list_write(
    char out[static NETWORK_LIST_TEXT_MAX], const struct network_list *l);

/* Whether one of them has all of <part>. */
bool network_list_has(const struct network_list *l, const struct network *part);

#endif
