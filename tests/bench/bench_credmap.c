/*
 * bench_credmap [ENTRIES [REPETITIONS]]: what a credential map costs: to load,
 * to look up in, to keep, to wipe. A quarter of the entries is found by client
 * id, by user name, by address and by prefix each. Each repetition loads the
 * map anew and looks every entry up, and as many that are not there, in random
 * order; its figure is the mean of these look-ups.
 */
#include "settings/credmap.h"

#include "bench.h"

#include <err.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPETITIONS_MAX = 100, ENTRIES_MAX = 1000000 };

/* What a device shows, read before the clock runs. <i> is the entry it is of,
   also when that is not in the map. */
struct visitor {
	size_t i;
	char text[BENCH_TEXT_MAX];
	char name[BENCH_TEXT_MAX];
	struct credmap_shown shown;
};

struct crowd {
	struct visitor *visitors;
	size_t n;
};

/* A row of the table: one figure a repetition. */
struct row {
	uint64_t figures[REPETITIONS_MAX];
	size_t count;
};

/* The ways to look an entry up: by one of enum bench_key, or */
enum { BY_IDENTITY = BENCH_KEYS, LOOKUPS };

static char folder[] = "/tmp/bench-XXXXXX";
static char path[sizeof(folder) + sizeof("/devices.ini")];

static struct crowd there[LOOKUPS], others[LOOKUPS];
static struct row load, resident, wipe, hits[LOOKUPS], misses[LOOKUPS];

static void
clean_up(void)
{
	(void)unlink(path);
	(void)rmdir(folder);
}

static void
on_signal(int signal)
{
	clean_up();
	_exit(128 + signal);
}

static void
write_map(size_t entries)
{
	if (mkdtemp(folder) == NULL)
		err(1, "%s", folder);
	(void)snprintf(path, sizeof(path), "%s/devices.ini", folder);
	(void)atexit(clean_up);
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGTERM, on_signal);
	bench_write_map(path, entries, 443, 0);
}

static void
tell(void *arg, bool is_error, const char *file, int line, const char *text)
{
	(void)arg;
	if (is_error)
		errx(1, "%s:%d: %s", file, line, text);
}

static void
note(struct row *row, uint64_t figure)
{
	row->figures[row->count++] = figure;
}

static void
show(struct visitor *v)
{
	struct span text = span_of_string(bench_shown(v->text, v->i));

	(void)bench_device_name(v->name, v->i);
	if (bench_key_of(v->i) == BENCH_CLIENT_ID)
		v->shown.client_id = text;
	else if (bench_key_of(v->i) == BENCH_USERNAME)
		v->shown.username = text;
	else if (!network_read(v->text, &v->shown.address))
		errx(1, "%s is no address", v->text);
}

/* Who is looked up in one way: of <n> entries from <first> on those that are
   found so, in random order. */
static struct crowd
gather(int lookup, size_t first, size_t n)
{
	struct crowd crowd = {calloc(n, sizeof(*crowd.visitors)), 0};

	if (crowd.visitors == NULL)
		err(1, NULL);
	for (size_t i = first; i < first + n; i++) {
		size_t j;

		if (lookup != BY_IDENTITY && lookup != (int)bench_key_of(i))
			continue;
		j = bench_random(++crowd.n);
		crowd.visitors[crowd.n - 1].i = crowd.visitors[j].i;
		crowd.visitors[j].i = i;
	}
	for (size_t i = 0; i < crowd.n; i++)
		show(&crowd.visitors[i]);
	return crowd;
}

static const struct credential *
look_up(const struct credmap *map, int lookup, const struct visitor *v)
{
	return lookup == BY_IDENTITY
		   ? credmap_by_identity(map, BENCH_PRODUCT, v->name)
		   : credmap_find(map, &v->shown);
}

static uint64_t
time_lookups(const struct credmap *map, int lookup, const struct crowd *crowd,
    size_t wanted)
{
	uint64_t start = bench_now_ns();
	size_t found = 0;

	for (size_t i = 0; i < crowd->n; i++)
		found += look_up(map, lookup, &crowd->visitors[i]) != NULL;
	if (found != wanted)
		errx(1, "%zu of %zu were found", found, crowd->n);
	return (bench_now_ns() - start) / crowd->n;
}

static void
repeat(const struct settings *settings, size_t n)
{
	struct complaints to = {.tell = tell};
	size_t before = bench_resident_bytes();
	uint64_t start = bench_now_ns();
	struct credmap *map = credmap_load(path, settings, &to);

	if (map == NULL || credmap_count(map) != n)
		errx(1, "the map did not load");
	note(&load, bench_now_ns() - start);
	(void)malloc_trim(0);
	note(&resident, (bench_resident_bytes() - before) / n);
	for (int i = 0; i < LOOKUPS; i++) {
		note(&hits[i], time_lookups(map, i, &there[i], there[i].n));
		note(&misses[i], time_lookups(map, i, &others[i], 0));
	}
	start = bench_now_ns();
	credmap_unref(map);
	note(&wipe, bench_now_ns() - start);
	(void)malloc_trim(0);
}

static void
print_row(const char *name, struct row *row, const char *unit, double by)
{
	printf("%-24s %10.1f %10.1f %s\n", name,
	    (double)bench_quantile(row->figures, row->count, 500) / by,
	    (double)bench_quantile(row->figures, row->count, 1000) / by, unit);
}

static void
print_all(size_t entries, size_t repetitions)
{
	static const char *const names[] = {
	    [BENCH_CLIENT_ID] = "client id",
	    [BENCH_USERNAME] = "user name",
	    [BENCH_ADDRESS] = "address",
	    [BENCH_PREFIX] = "prefix",
	    [BY_IDENTITY] = "identity",
	};
	char name[40];

	printf("credential map, %zu entries, %zu repetitions\n", entries,
	    repetitions);
	printf("%-24s %10s %10s\n", "", "median", "worst");
	print_row("load", &load, "ms", 1e6);
	print_row("free and wipe", &wipe, "ms", 1e6);
	print_row("memory of an entry", &resident, "bytes", 1);
	for (int i = 0; i < LOOKUPS; i++) {
		(void)snprintf(name, sizeof(name), "find %s", names[i]);
		print_row(name, &hits[i], "ns", 1);
		(void)snprintf(name, sizeof(name), "  not there");
		print_row(name, &misses[i], "ns", 1);
	}
}

int
main(int argc, char **argv)
{
	size_t entries =
	    argc > 1 ? bench_number("ENTRIES", argv[1], BENCH_KEYS, ENTRIES_MAX)
		     : 100000;
	size_t repetitions =
	    argc > 2 ? bench_number("REPETITIONS", argv[2], 1, REPETITIONS_MAX)
		     : 9;
	struct complaints to = {.tell = tell};
	struct settings *settings = settings_load(NULL, &to);

	if (settings == NULL)
		errx(1, "no settings");
	write_map(entries);
	for (int i = 0; i < LOOKUPS; i++) {
		there[i] = gather(i, 0, entries);
		others[i] = gather(i, entries, entries);
	}
	for (size_t i = 0; i < repetitions; i++)
		repeat(settings, entries);
	print_all(entries, repetitions);
	settings_unref(settings);
	for (int i = 0; i < LOOKUPS; i++) {
		free(there[i].visitors);
		free(others[i].visitors);
	}
	return 0;
}
