/*
 * knock: a device that has sent its CONNECT and waits to be let in. The door
 * makes it, a session takes it over; exactly one of them owns it.
 */
#ifndef PROXY_SESSION_KNOCK_H
#define PROXY_SESSION_KNOCK_H

#include "base/buffer.h"
#include "base/mailbox.h"
#include "settings/credmap.h"

#include <stddef.h>

enum {
	PEER_TEXT = 64,         /* "192.0.2.7:1234", "[2001:db8::7]:1234" */
	ADDRESS_TEXT = 48,      /* the address alone */
	KNOCK_MORE_BYTES = 4096 /* bytes behind the CONNECT, at most */
};

struct knock {
	struct letter letter; /* from the door to the home */
	int fd;
	char peer[PEER_TEXT];
	struct network address; /* the peer's, or none */
	struct buffer bytes;    /* the CONNECT and what came behind it */
	size_t connect_bytes;
	struct credmap *map;            /* a reference */
	const struct credential *entry; /* of <map> */
};

#endif
