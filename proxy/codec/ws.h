/*
 * ws: WebSocket frames, the client's side of RFC 6455. Pure: mask keys are
 * arguments, the reader unframes in place in the caller's buffer and keeps only
 * headers and control payloads.
 */
#ifndef PROXY_CODEC_WS_H
#define PROXY_CODEC_WS_H

#include "base/parse.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode {
	WS_CONTINUATION = 0,
	WS_TEXT = 1,
	WS_BINARY = 2,
	WS_CLOSE = 8,
	WS_PING = 9,
	WS_PONG = 10
};

/* RFC 6455 7.4.1 */
enum ws_close_code {
	WS_CLOSE_NORMAL = 1000,
	WS_CLOSE_GOING_AWAY = 1001,
	WS_CLOSE_PROTOCOL_ERROR = 1002,
	WS_CLOSE_UNSUPPORTED = 1003,
	WS_CLOSE_NONE = 1005, /* never on the wire: no code was given */
	WS_CLOSE_BAD_DATA = 1007,
	WS_CLOSE_TOO_BIG = 1009
};

enum {
	WS_HEADER_MAX = 14,   /* with mask key */
	WS_CONTROL_MAX = 125, /* 5.5 */
	WS_KEY_BYTES = 4
};

/*
 * Writes the header of a client frame: FIN as given, mask bit set, the shortest
 * length form (5.2). Returns its size.
 */
size_t ws_header_write(uint8_t out[static WS_HEADER_MAX], enum ws_opcode opcode,
    bool fin, uint64_t payload_bytes, const uint8_t key[static WS_KEY_BYTES]);

/*
 * Copies the <n> bytes of a frame's payload, masked with <key> (5.3). <to> and
 * <src> may be the same place, but not overlap otherwise.
 */
void ws_mask_copy(uint8_t *to, const uint8_t *src, size_t n,
    const uint8_t key[static WS_KEY_BYTES]);

/* Writes a whole masked control frame of at most WS_CONTROL_MAX payload bytes.
   Returns its size. <out> holds WS_HEADER_MAX + WS_CONTROL_MAX. */
size_t ws_control_write(uint8_t *out, enum ws_opcode opcode,
    struct span payload, const uint8_t key[static WS_KEY_BYTES]);

/* What the reader found. */
enum ws_found {
	WS_FOUND_DATA, /* payload of a message, or a piece of it */
	WS_FOUND_PING, /* payload: to be sent back in a pong */
	WS_FOUND_PONG,
	WS_FOUND_CLOSE /* close_code, payload: the reason text */
};

struct ws_event {
	enum ws_found found;
	enum ws_opcode opcode; /* of the message: WS_TEXT or WS_BINARY */
	struct span payload; /* in the input, of control frames in the reader */
	bool message_begins; /* DATA: first piece of a message */
	bool message_ends;   /* DATA: last piece; may be empty */
	uint16_t close_code; /* CLOSE: WS_CLOSE_NONE when none was given */
};

/* Zero-initialise through ws_reader_init(); about 200 bytes. */
struct ws_reader {
	uint64_t max_message_bytes;
	uint64_t message_bytes; /* of the message so far */
	uint64_t payload_left;  /* of the frame */
	uint8_t header[WS_HEADER_MAX];
	uint8_t header_bytes; /* bytes of the header seen; 0: between frames */
	uint8_t frame_opcode;
	bool in_payload;
	bool fin;
	uint8_t message_opcode; /* 0: no message is open */
	uint8_t control_bytes;
	uint8_t control[WS_CONTROL_MAX];
	/* set with PARSE_BAD */
	enum ws_close_code error_code;
	const char *error; /* a few words: which rule was broken */
};

/* <max_message_bytes> 0: no limit. */
void ws_reader_init(struct ws_reader *r, uint64_t max_message_bytes);

/*
 * Takes bytes off <in> up to the next event. PARSE_OK: <ev> is filled, its
 * payload valid until the next call or until the input is overwritten.
 * PARSE_MORE: all of <in> was taken, no further event. PARSE_BAD: error_code
 * and error tell why (1002, for a message over the limit 1009, for bad UTF-8 in
 * the reason of a close 1007); the reader is of no further use.
 * A server that masks, RSV bits, unknown opcodes, control frames that are
 * fragmented or over 125 bytes, lengths in a longer form than needed or with
 * the top bit set, a continuation without a start, a start inside a message,
 * and close codes that may not be sent (7.4 and the registry it founds) are
 * errors (5.1, 5.2, 5.4, 5.5).
 */
NODISCARD enum parse ws_read(
    struct ws_reader *r, struct span *in, struct ws_event *ev);

#endif
