/*
 * bench: what the benchmarks share: a clock, figures, and maps to load. A
 * benchmark that cannot go on ends with a message.
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Monotonic. */
uint64_t bench_now_ns(void);

/* What of this process is in memory. */
size_t bench_resident_bytes(void);

/* Of <n> figures, at least 1, which are sorted by it: the one below which
   <permille> of 1000 lie; 1000: the largest. */
uint64_t bench_quantile(uint64_t *figures, size_t n, unsigned permille);

/* A number below <n> (1 or more); the same series in every run. */
size_t bench_random(size_t n);

/* A number on the command line, from <least> to <most>. */
size_t bench_number(
    const char *name, const char *text, size_t least, size_t most);

/* How entry <i> of a map is found. */
enum bench_key {
	BENCH_CLIENT_ID,
	BENCH_USERNAME,
	BENCH_ADDRESS,
	BENCH_PREFIX,
	BENCH_KEYS
};
enum bench_key bench_key_of(size_t i);

enum { BENCH_TEXT_MAX = 64 };

#define BENCH_PRODUCT "a1B2c3D4e5F"

/* The text that entry <i> is found by: what its match_ key says, of a prefix an
   address in it. Of entries that are not there too. Returns <out>. */
const char *bench_shown(char out[static BENCH_TEXT_MAX], size_t i);
const char *bench_device_name(char out[static BENCH_TEXT_MAX], size_t i);

/*
 * Writes a map of <entries> for a cloud at <port> of the loopback, by transport
 * ws. Maps of different <variant> have other secrets in their last entry.
 */
void bench_write_map(
    const char *path, size_t entries, unsigned port, unsigned variant);

#endif
