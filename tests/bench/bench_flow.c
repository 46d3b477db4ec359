/*
 * bench_flow [REPETITIONS]: what the guard of a device's rates costs for each
 * PUBLISH: without limits, with limits that are kept, and with a device that
 * is far over them.
 */
#include "session/flow.h"

#include "bench.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	REPETITIONS_MAX = 100,
	CALLS = 200 * 1000, /* of one repetition */
	PACKET_BYTES = 200
};

struct setting {
	const char *name;
	struct flow_limits limits;
	uint8_t qos;
	uint64_t every_ms; /* a packet */
};

static const struct setting settings[] = {
    {"without limits", {0, 0, 0, 0, 65536}, 0, 0},
    {"QoS 0 below its rate", {30, 10, 1048576, 100, 65536}, 0, 40},
    {"QoS 1 below its rate", {30, 10, 1048576, 100, 65536}, 1, 110},
    {"QoS 1 that waits", {30, 10, 1048576, 100, 65536}, 1, 0},
    {"QoS 0 queued or dropped", {30, 10, 1048576, 100, 65536}, 0, 0},
};

static uint64_t
time_calls(struct loop *loop, const struct setting *s)
{
	static uint8_t packet[PACKET_BYTES];
	const struct flow_publish p = {.qos = s->qos,
	    .bytes = PACKET_BYTES,
	    .packet = {packet, PACKET_BYTES}};
	unsigned verdicts[FLOW_TAKEN + 1] = {0};
	uint64_t now_ms = 1000000, start;
	struct flow flow;

	flow_init(&flow, loop, &s->limits);
	start = bench_now_ns();
	for (size_t i = 0; i < CALLS; i++) {
		verdicts[flow_admit(&flow, &p, now_ms)]++;
		now_ms += s->every_ms;
	}
	start = bench_now_ns() - start;
	flow_free(&flow);
	if ((verdicts[FLOW_PASS] == CALLS) !=
	    (!flow_is_on(&flow) || s->every_ms > 0))
		errx(1, "%s: %u have passed", s->name, verdicts[FLOW_PASS]);
	return start;
}

int
main(int argc, char **argv)
{
	size_t repetitions =
	    argc > 1 ? bench_number("REPETITIONS", argv[1], 1, REPETITIONS_MAX)
		     : 9;
	struct loop *loop = loop_new(1024 * 1024);

	if (loop == NULL)
		errx(1, "no loop");
	printf("flow_admit(), %zu repetitions\n", repetitions);
	printf("%-24s %10s %10s\n", "", "median", "worst");
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		uint64_t figures[REPETITIONS_MAX];

		for (size_t j = 0; j < repetitions; j++)
			figures[j] = time_calls(loop, &settings[i]);
		printf("%-24s %10.1f %10.1f ns\n", settings[i].name,
		    (double)bench_quantile(figures, repetitions, 500) / CALLS,
		    (double)bench_quantile(figures, repetitions, 1000) / CALLS);
	}
	loop_free(&loop);
	return 0;
}
