#include "bench.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t
bench_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

size_t
bench_resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages;

	if (f == NULL || fscanf(f, "%*u %lu", &pages) != 1)
		errx(1, "/proc/self/statm cannot be read");
	(void)fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t
bench_quantile(uint64_t *figures, size_t n, unsigned permille)
{
	qsort(figures, n, sizeof(*figures), compare);
	return figures[permille == 1000 ? n - 1 : n * permille / 1000];
}

size_t
bench_random(size_t n)
{
	static uint64_t state = 1;

	/* splitmix64 */
	uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (size_t)((z ^ z >> 31) % n);
}

size_t
bench_number(const char *name, const char *text, size_t least, size_t most)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 ||
	    n < least || n > most)
		errx(
		    2, "%s %s: %zu to %zu is allowed", name, text, least, most);
	return n;
}

enum bench_key
bench_key_of(size_t i)
{
	return (enum bench_key)(i % BENCH_KEYS);
}

/* IPv4 address <n> behind <first>. */
static const char *
address(char out[static BENCH_TEXT_MAX], uint32_t first, size_t n)
{
	uint32_t a = first + (uint32_t)n;

	(void)snprintf(out, BENCH_TEXT_MAX, "%u.%u.%u.%u", a >> 24,
	    a >> 16 & 255, a >> 8 & 255, a & 255);
	return out;
}

/* Half of the prefixes are of IPv6. */
static const char *
prefix(char out[static BENCH_TEXT_MAX], size_t i, const char *v4_end,
    const char *v6_end)
{
	char start[BENCH_TEXT_MAX];
	size_t n = i / BENCH_KEYS;

	if (n % 2 == 0)
		(void)snprintf(out, BENCH_TEXT_MAX, "%s%s",
		    address(start, 10u << 24, 8 * n), v4_end);
	else
		(void)snprintf(out, BENCH_TEXT_MAX, "fd00:0:%x:%x::%s",
		    (unsigned)(n >> 16), (unsigned)(n & 0xffff), v6_end);
	return out;
}

const char *
bench_shown(char out[static BENCH_TEXT_MAX], size_t i)
{
	if (bench_key_of(i) == BENCH_ADDRESS)
		return address(out, 128u << 24, i / BENCH_KEYS);
	if (bench_key_of(i) == BENCH_PREFIX)
		return prefix(out, i, "", "7");
	(void)snprintf(out, BENCH_TEXT_MAX, "METER-%zu-hall-%zu", i, i % 97);
	return out;
}

const char *
bench_device_name(char out[static BENCH_TEXT_MAX], size_t i)
{
	(void)snprintf(out, BENCH_TEXT_MAX, "meter_%zu", i);
	return out;
}

static void
write_entry(FILE *f, size_t i, size_t secret)
{
	static const char *const keys[] = {
	    [BENCH_CLIENT_ID] = "match_client_id",
	    [BENCH_USERNAME] = "match_username",
	    [BENCH_ADDRESS] = "match_address",
	    [BENCH_PREFIX] = "match_address",
	};
	char name[BENCH_TEXT_MAX];
	char match[BENCH_TEXT_MAX];

	if (bench_key_of(i) == BENCH_PREFIX)
		(void)prefix(match, i, "/29", "/64");
	else
		(void)bench_shown(match, i);
	(void)fprintf(f,
	    "\n[device:m%zu]\n"
	    "product_key = " BENCH_PRODUCT "\n"
	    "device_name = %s\n"
	    "device_secret = %032zx\n"
	    "%s = %s\n",
	    i, bench_device_name(name, i), secret, keys[bench_key_of(i)],
	    match);
}

void
bench_write_map(
    const char *path, size_t entries, unsigned port, unsigned variant)
{
	FILE *f = fopen(path, "wxe");

	if (f == NULL || fchmod(fileno(f), 0600) != 0)
		err(1, "%s", path);
	(void)fprintf(f,
	    "[product:" BENCH_PRODUCT "]\n"
	    "host = 127.0.0.1\n"
	    "port = %u\n"
	    "transports = ws\n",
	    port);
	for (size_t i = 0; i < entries; i++)
		write_entry(f, i, i + 1 < entries ? i : i + variant);
	if (ferror(f) || fclose(f) != 0)
		err(1, "%s", path);
}
