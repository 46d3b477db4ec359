/*
 * sink: the cloud of the benchmarks, as light as it can be: TLS, on demand
 * WebSocket, and just enough of MQTT 3.1.1. CONNECT, SUBSCRIBE, PINGREQ and
 * PUBLISH of QoS 1 are answered; the topic down/COUNT/BYTES has COUNT messages
 * of BYTES sent back; everything else is counted and thrown away. One thread;
 * it serves the benchmark's own peers only, and ends when it cannot go on.
 */
#ifndef TESTS_BENCH_SINK_H
#define TESTS_BENCH_SINK_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *p;
	size_t n;
	size_t cap;
};

/* A frame of the client: RFC 6455 5.2 */
struct frame {
	uint8_t header[14];
	unsigned header_bytes; /* seen */
	uint64_t left;         /* of the payload */
	uint8_t key[4];
	unsigned key_at;
	uint8_t opcode;
};

enum sink_stage { SINK_TLS, SINK_REQUEST, SINK_OPEN };

struct client {
	int fd;
	uint32_t interest; /* of epoll */
	enum sink_stage stage;
	bool websocket;
	SSL *ssl;          /* NULL: plain TCP */
	struct bytes kept; /* a request or packet that is not whole */
	struct bytes out;
	size_t out_at;
	struct frame frame;
	size_t skip;      /* of a PUBLISH, still to be thrown away */
	bool owes_puback; /* behind it */
	uint8_t puback_id[2];
	unsigned down_left;
	size_t down_bytes;
};

struct counters {
	uint64_t handshakes;
	uint64_t resumed;
	uint64_t refused; /* handshakes that failed */
	uint64_t frames;
	uint64_t messages;
};
extern struct counters counters;

void bytes_add(struct bytes *b, const void *p, size_t n);
void bytes_clear(struct bytes *b);

/* All that follow: false when the client is to be closed. */

/* Takes the request to upgrade, in pieces. */
bool sink_request(struct client *c, uint8_t *p, size_t n);
/* Frames; unmasked where they stand. */
bool sink_frames(struct client *c, uint8_t *p, size_t n);
/* A stream of MQTT packets. */
bool sink_packets(struct client *c, const uint8_t *p, size_t n);

/* The header of an unmasked frame, to what is sent. */
void sink_frame_begin(struct client *c, uint8_t opcode, size_t payload_bytes);
/* Of down/COUNT/BYTES: adds what is left, up to some 128 KiB. */
void sink_down(struct client *c);

#endif
