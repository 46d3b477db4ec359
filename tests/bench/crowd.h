/*
 * crowd: devices that send messages at a steady pace, whatever comes back, and
 * measure how long each takes to the cloud, which echoes it, and back. One
 * thread; a failure ends the benchmark.
 */
#ifndef TESTS_BENCH_CROWD_H
#define TESTS_BENCH_CROWD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Round trips, in nanoseconds. */
struct trips {
	uint64_t *ns;
	size_t count;
	size_t cap;
};

struct crowd;

/* Connects <n> devices to a port of the loopback; entry <i> * <stride> of a
   map of bench_write_map() is the <i>th of them. */
struct crowd *crowd_start(struct event_base *base, unsigned port, size_t n,
    size_t stride, size_t messages_per_s);

/* Whether all are logged in. */
bool crowd_is_in(const struct crowd *crowd);

/* From now on messages are sent, and what they take goes to <trips>. */
void crowd_send(struct crowd *crowd, struct trips *trips);

/* No more are sent; those on their way still come back. */
void crowd_hush(struct crowd *crowd);

/* Whether nothing is sent and all have come back. */
bool crowd_is_quiet(const struct crowd *crowd);

void crowd_stop(struct crowd *crowd);

#endif
