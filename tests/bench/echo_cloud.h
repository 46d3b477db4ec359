/*
 * echo_cloud: a cloud for benchmarks: MQTT over WebSocket without TLS, on a
 * free port of the loopback. It accepts every login, sends each PUBLISH at
 * QoS 0 back to whom it came from, and acknowledges those at QoS 1. One thread; a failure ends the benchmark.
 */
#ifndef TESTS_BENCH_ECHO_CLOUD_H
#define TESTS_BENCH_ECHO_CLOUD_H

#include <event2/event.h>

struct echo_cloud;

struct echo_cloud *echo_cloud_start(struct event_base *base);
unsigned echo_cloud_port(const struct echo_cloud *cloud);
void echo_cloud_stop(struct echo_cloud *cloud);

#endif
