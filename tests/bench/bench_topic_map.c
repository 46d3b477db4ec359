/*
 * bench_topic_map [REPETITIONS]: what topic rules cost, by their number: to
 * compile, to map a topic by, up and down, and to map a filter that all of them
 * have a topic in common with. The rules differ in a level of their own
 * ("level") or in text before a capture ("part"). Each repetition maps topics
 * of random rules; its figure is their mean.
 */
#include "settings/topic_map.h"

#include "bench.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPETITIONS_MAX = 100, TOPICS = 4096, FILTERS = 20 };

static const struct topic_names names = {
    .pk = SPAN_OF(BENCH_PRODUCT),
    .dn = SPAN_OF("pump-0007"),
    .label = SPAN_OF("pump7"),
    .client_id = SPAN_OF("c_7"),
};

/* Both made out of the number of a rule; the LAN topic of a number too. */
static const struct form {
	const char *name, *lan, *cloud;
} forms[] = {
    {"level", "plant/m%zu/%s/state", "/${pk}/${dn}/user/m%zu/$1"},
    {"part", "plant/m%zu/%s/state", "/${pk}/${dn}/user/m%zu_$1"},
};

enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

static const size_t counts[] = {1, 10, 1000};

enum { COUNTS = sizeof(counts) / sizeof(counts[0]) };

/* A column of figures, one a repetition. */
struct column {
	uint64_t figures[REPETITIONS_MAX];
	size_t count;
};

static struct column compiled, up, down, filter;
static char lan[TOPIC_RULES_MAX][BENCH_TEXT_MAX];
static char cloud[TOPIC_RULES_MAX][BENCH_TEXT_MAX];
static struct topic_spec specs[TOPIC_RULES_MAX];
static char there[TOPICS][BENCH_TEXT_MAX];
static struct topic_text above[TOPICS];

static void
tell(void *arg, bool is_error, const char *path, int line, const char *text)
{
	(void)arg;
	(void)is_error;
	errx(1, "%s:%d: %s", path, line, text);
}

static void
note(struct column *column, uint64_t figure)
{
	column->figures[column->count++] = figure;
}

/* The formats are those of the table. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void
write_rules(const struct form *form, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(lan[i], sizeof(lan[i]), form->lan, i, "+");
		(void)snprintf(cloud[i], sizeof(cloud[i]), form->cloud, i);
		specs[i] = (struct topic_spec){.key = "topic.1",
		    .line = 1,
		    .lan = lan[i],
		    .cloud = cloud[i],
		    .escape = true};
	}
}

static void
write_topics(const struct form *form, size_t count)
{
	for (size_t i = 0; i < TOPICS; i++) {
		char middle[16];

		(void)snprintf(
		    middle, sizeof(middle), "line-%zu", bench_random(100));
		(void)snprintf(there[i], sizeof(there[i]), form->lan,
		    bench_random(count), middle);
	}
}
#pragma GCC diagnostic pop

static void
time_up(const struct topic_map *map)
{
	uint64_t start = bench_now_ns();

	for (size_t i = 0; i < TOPICS; i++)
		if (topic_map_up(map, &names, span_of_string(there[i]),
			&above[i]) != TOPIC_MAPPED)
			errx(1, "%s is not mapped", there[i]);
	note(&up, (bench_now_ns() - start) / TOPICS);
}

static void
time_down(const struct topic_map *map)
{
	uint64_t start = bench_now_ns();
	struct topic_text back;

	for (size_t i = 0; i < TOPICS; i++)
		if (topic_map_down(map, &names, topic_text_span(&above[i]),
			&back) != TOPIC_MAPPED)
			errx(1, "%s does not come back", there[i]);
	note(&down, (bench_now_ns() - start) / TOPICS);
}

static void
found(void *arg, struct span text)
{
	*(size_t *)arg += text.n;
}

static void
time_filter(const struct topic_map *map)
{
	uint64_t start = bench_now_ns();
	size_t bytes = 0;

	for (unsigned i = 0; i < FILTERS; i++)
		(void)topic_map_filter_up(
		    map, &names, SPAN_OF("plant/#"), found, &bytes);
	if (bytes == 0)
		errx(1, "no filter");
	note(&filter, (bench_now_ns() - start) / FILTERS);
}

static void
repeat(size_t count)
{
	struct complaints to = {.tell = tell};
	uint64_t start = bench_now_ns();
	struct topic_map *map = topic_map_compile(specs, count, "rules", &to);

	if (map == NULL)
		errx(1, "the rules do not compile");
	note(&compiled, bench_now_ns() - start);
	time_up(map);
	time_down(map);
	time_filter(map);
	topic_map_free(map);
}

static double
median(struct column *column, double by)
{
	double figure =
	    (double)bench_quantile(column->figures, column->count, 500) / by;

	column->count = 0;
	return figure;
}

int
main(int argc, char **argv)
{
	size_t repetitions =
	    argc > 1 ? bench_number("REPETITIONS", argv[1], 1, REPETITIONS_MAX)
		     : 25;

	printf("topic rules, %zu repetitions, medians\n", repetitions);
	printf("%-8s %6s %12s %8s %8s %12s\n", "differ", "rules",
	    "compile (us)", "up (ns)", "down", "filter (us)");
	for (size_t i = 0; i < FORMS; i++)
		for (size_t k = 0; k < COUNTS; k++) {
			write_rules(&forms[i], counts[k]);
			write_topics(&forms[i], counts[k]);
			for (size_t n = 0; n < repetitions; n++)
				repeat(counts[k]);
			printf("%-8s %6zu %12.1f %8.0f %8.0f %12.1f\n",
			    forms[i].name, counts[k], median(&compiled, 1e3),
			    median(&up, 1), median(&down, 1),
			    median(&filter, 1e3));
		}
	return 0;
}
