/*
 * load: the devices of the benchmarks: MQTT 3.1.1 sessions over TCP to one
 * proxy of the loopback. One thread; it ends when it cannot go on, but a
 * session that is lost is only counted.
 */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum session_stage {
	SESSION_CLOSED,
	SESSION_LOGIN, /* waits for the CONNACK */
	SESSION_UP,
	SESSION_DRAINING /* waits for the PUBACK of its last message */
};

enum { SESSION_IDS = 256, LAST_ID = 65535 };

struct session {
	int fd;
	enum session_stage stage;
	uint32_t interest; /* of epoll */
	uint64_t opened_ns;
	/* to be sent; in <own>, or bytes that sessions share */
	const uint8_t *out;
	size_t out_n;
	size_t out_at;
	uint8_t *own;
	size_t own_cap;
	/* the packet that arrives: its header and the next two bytes */
	uint8_t head[8];
	size_t head_n;
	size_t skip;
	/* messages of QoS 1 that are not acknowledged: when they were due */
	unsigned next_id;
	uint64_t due_ns[SESSION_IDS];
};

/* Of all sessions since the last load_clear(). */
struct load {
	unsigned up;
	unsigned lost; /* never cleared */
	unsigned drained;
	uint64_t sent;
	uint64_t received; /* PUBLISH and PUBACK */
	uint64_t received_bytes;
};
extern struct load load;
void load_clear(void);

uint64_t load_now_ns(void);

/* The client ids are load_<i>, from <first> on, and again after <count>. */
void load_begin(uint16_t port, unsigned first, unsigned count);

void session_open(struct session *s);
void session_close(struct session *s);

/* Queues a copy. */
void session_queue(struct session *s, const uint8_t *p, size_t n);
void session_flush(struct session *s);

/* A PUBLISH of QoS 0, or of QoS 1 with <id> not 0. <out> has 300 bytes more
   than <payload>. Returns its size. */
size_t load_publish(
    uint8_t *out, const char *topic, unsigned id, size_t payload);

/* Sends <message> of <n> bytes of <block> over and over from now on, as fast as
   it is taken; until load_hush(), which ends the last one. */
void load_flood(
    struct session *s, const uint8_t *block, size_t block_n, size_t message_n);
void load_hush(struct session *s);

/* Waits so long for something to happen, and does what there is to do. */
void load_turn(uint64_t ns);

/* Latencies that were noted: of CONNACKs, or of PUBACKs. */
struct latencies {
	unsigned n;
	double p50_us;
	double p99_us;
	double p999_us;
	double worst_p99_us; /* the p99 of the session with the highest */
};
struct latencies load_latencies(void);

#endif
