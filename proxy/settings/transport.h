/*
 * transport: how MQTT is carried to the cloud, and lists of that. Pure.
 */
#ifndef PROXY_SETTINGS_TRANSPORT_H
#define PROXY_SETTINGS_TRANSPORT_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

/* id, word in both files, in TLS, in WebSocket frames */
#define TRANSPORTS(X)                                                          \
	X(WSS, "wss", true, true)                                              \
	X(WS, "ws", false, true)                                               \
	X(MQTTS, "mqtts", true, false)

#define X(id, word, tls, websocket) TRANSPORT_##id,
enum transport { TRANSPORTS(X) TRANSPORT_COUNT };
#undef X

/* What a list may be, for a message. */
#define TRANSPORTS_ALLOWED                                                     \
	"wss, mqtts or ws, or several of them with commas between"

enum { TRANSPORTS_TEXT = 32 }; /* of the longest list, with NUL */

/* The first is tried first; the others when it cannot be had. */
struct transports {
	uint8_t count;                  /* at least 1 */
	uint8_t order[TRANSPORT_COUNT]; /* of enum transport; 0 behind them */
};

const char *transport_word(enum transport transport);
bool transport_has_tls(enum transport transport);
bool transport_has_websocket(enum transport transport);

/* Reads "wss, mqtts". False, with <out> as it was, unless <text> is a list of
   one or more words, none twice. */
NODISCARD bool transports_read(const char *text, struct transports *out);
/* The list as it would stand in a file; returns <out>. */
const char *transports_write(
    const struct transports *list, char out[static TRANSPORTS_TEXT]);
bool transports_have(const struct transports *list, enum transport which);
bool transports_same(const struct transports *a, const struct transports *b);

#endif
