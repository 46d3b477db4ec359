#include "settings/value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *word;
	uint64_t times;
};

/* Largest first: value_write() takes the first that leaves no rest. */
static const struct unit bytes_units[] = {
    {"M", 1024 * 1024}, {"K", 1024}, {"", 1}};
static const struct unit time_units[] = {
    {"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}, {"", 1000}};
static const struct unit count_units[] = {{"", 1}};

static const struct unit *
units_of(enum value_unit unit, size_t *n)
{
	switch (unit) {
	case VALUE_BYTES:
		*n = sizeof(bytes_units) / sizeof(bytes_units[0]);
		return bytes_units;
	case VALUE_TIME:
		*n = sizeof(time_units) / sizeof(time_units[0]);
		return time_units;
	case VALUE_COUNT:
		break;
	}
	*n = sizeof(count_units) / sizeof(count_units[0]);
	return count_units;
}

bool
value_read(const char *text, enum value_unit unit, uint64_t *out)
{
	size_t count;
	const struct unit *units = units_of(unit, &count);
	uint64_t n = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++) {
		uint64_t digit = (uint64_t)(*at - '0');

		if (n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	if (at == text)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(at, units[i].word) != 0)
			continue;
		if (n > UINT64_MAX / units[i].times)
			return false;
		*out = n * units[i].times;
		return true;
	}
	return false;
}

const char *
value_write(char out[static VALUE_TEXT_MAX], enum value_unit unit, uint64_t n)
{
	size_t count;
	const struct unit *units = units_of(unit, &count);
	const struct unit *u = units;

	if (n == 0) /* every unit divides it; take the plain one */
		u = units + count - 1;
	while (n % u->times != 0)
		u++;
	(void)snprintf(
	    out, VALUE_TEXT_MAX, "%" PRIu64 "%s", n / u->times, u->word);
	return out;
}

bool
value_address(const char *text, char out[static VALUE_ADDRESS_MAX])
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET6, text, &v6) == 1) {
		if (!IN6_IS_ADDR_V4MAPPED(&v6))
			return inet_ntop(AF_INET6, &v6, out,
				   VALUE_ADDRESS_MAX) != NULL;
		memcpy(&v4, v6.s6_addr + 12, sizeof(v4));
	} else if (inet_pton(AF_INET, text, &v4) != 1) {
		return false;
	}
	return inet_ntop(AF_INET, &v4, out, VALUE_ADDRESS_MAX) != NULL;
}

bool
value_path(const char *text)
{
	if (*text != '/')
		return false;
	for (; *text != '\0'; text++)
		if (*text <= ' ' || *text > '~' || *text == '#')
			return false;
	return true;
}

bool
value_made_of(const char *text, size_t least, size_t most, const char *more)
{
	size_t n = strlen(text);

	for (const char *c = text; *c != '\0'; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			(*c >= '0' && *c <= '9') || strchr(more, *c) != NULL))
			return false;
	return n >= least && n <= most;
}

static unsigned
least_of(unsigned a, unsigned b, unsigned c)
{
	if (b < a)
		a = b;
	return c < a ? c : a;
}

unsigned
value_distance(const char *a, const char *b)
{
	enum { LONGEST = 48 };
	unsigned row[LONGEST + 1]; /* Levenshtein's table, one row of it */
	size_t n = strlen(b);

	if (strlen(a) > LONGEST || n > LONGEST)
		return LONGEST + 1;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i] != '\0'; i++) {
		unsigned before = row[0];

		row[0]++;
		for (size_t j = 0; j < n; j++) {
			unsigned changed = before + (a[i] != b[j]);

			before = row[j + 1];
			row[j + 1] =
			    least_of(row[j] + 1, row[j + 1] + 1, changed);
		}
	}
	return row[n];
}

const char *
value_name_shown(const char *name)
{
	for (const char *c = name; *c != '\0'; c++)
		if (!isalpha((unsigned char)*c) && *c != '_' && *c != '-')
			return "?";
	return name;
}
