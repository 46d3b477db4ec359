#include "settings/contract.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum kind { KIND_COUNT, KIND_BYTES, KIND_SECONDS, KIND_BOOL };

/* clang-format off */
#define X(x, name, kind, aliyun, none, least, most, live, what)        \
	{ #name, KIND_##kind, { aliyun, none }, least, most,           \
	    offsetof(struct contract, name) },
static const struct row {
	const char *name;
	enum kind kind;
	const char *of_cloud[CONTRACT_CLOUD_COUNT];
	uint32_t least;
	uint32_t most;
	size_t offset;
} rows[] = { CONTRACT(X, ) };
#undef X

#define X(id, word) word,
static const char *const clouds[] = { CONTRACT_CLOUDS(X) };
#undef X
/* clang-format on */

_Static_assert(
    sizeof(struct contract) == (CONTRACT_RULE_COUNT + 1) * sizeof(uint32_t),
    "equal contracts are equal bytes");

static const char *const no_yes[] = {"no", "yes"};

static const struct row *
row_of(unsigned rule)
{
	assert(rule < CONTRACT_RULE_COUNT);
	return &rows[rule];
}

static enum value_unit
unit_of(enum kind kind)
{
	return kind == KIND_BYTES     ? VALUE_BYTES
	       : kind == KIND_SECONDS ? VALUE_TIME
				      : VALUE_COUNT;
}

/* From seconds, and what else a row counts, to the unit of value.h. */
static uint64_t
scale(enum kind kind)
{
	return kind == KIND_SECONDS ? 1000 : 1;
}

/* The word's place among <count>, or <count>. */
static uint32_t
find_word(const char *const *words, uint32_t count, const char *text)
{
	uint32_t i = 0;

	while (i < count && strcmp(words[i], text) != 0)
		i++;
	return i;
}

const char *
contract_cloud_word(enum contract_cloud cloud)
{
	assert(cloud < CONTRACT_CLOUD_COUNT);
	return clouds[cloud];
}

bool
contract_cloud_read(const char *text, uint32_t *out)
{
	uint32_t i = find_word(clouds, CONTRACT_CLOUD_COUNT, text);

	if (i == CONTRACT_CLOUD_COUNT)
		return false;
	*out = i;
	return true;
}

void
contract_of_cloud(enum contract_cloud cloud, struct contract *out)
{
	assert(cloud < CONTRACT_CLOUD_COUNT);
	*out = (struct contract){.cloud = cloud};
	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++) {
		bool ok = contract_rule_read(out, i, rows[i].of_cloud[cloud]);

		assert(ok);
		(void)ok;
	}
}

const char *
contract_rule_name(unsigned rule)
{
	return row_of(rule)->name;
}

uint32_t
contract_rule_value(const struct contract *c, unsigned rule)
{
	return *(const uint32_t *)((const char *)c + row_of(rule)->offset);
}

void
contract_rule_set(struct contract *c, unsigned rule, uint32_t value)
{
	*(uint32_t *)((char *)c + row_of(rule)->offset) = value;
}

/* The number that <text> says; false: it says none of the row's. */
static bool
read_number(const struct row *row, const char *text, uint32_t *out)
{
	uint64_t n;

	if (row->kind == KIND_BOOL)
		n = find_word(no_yes, 2, text);
	else if (!value_read(text, unit_of(row->kind), &n) ||
		 n % scale(row->kind) != 0)
		return false;
	n /= scale(row->kind);
	if (n < row->least || n > row->most)
		return false;
	*out = (uint32_t)n;
	return true;
}

bool
contract_rule_read(struct contract *c, unsigned rule, const char *text)
{
	uint32_t n;

	if (!read_number(row_of(rule), text, &n))
		return false;
	contract_rule_set(c, rule, n);
	return true;
}

void
contract_rule_describe(unsigned rule, char *out, size_t size)
{
	const struct row *row = row_of(rule);
	enum value_unit unit = unit_of(row->kind);
	char least[VALUE_TEXT_MAX];
	char most[VALUE_TEXT_MAX];

	if (row->kind == KIND_BOOL)
		(void)snprintf(out, size, "%s or %s", no_yes[0], no_yes[1]);
	else
		(void)snprintf(out, size, "%s to %s%s",
		    value_write(least, unit, row->least * scale(row->kind)),
		    value_write(most, unit, row->most * scale(row->kind)),
		    row->kind == KIND_SECONDS ? ", in whole seconds"
		    : row->kind == KIND_BYTES ? ", as in 4096, 64K, 1M"
					      : "");
}

bool
contract_rule_is_plain(const struct contract *c, unsigned rule)
{
	uint32_t plain = 0;

	return read_number(
		   row_of(rule), rows[rule].of_cloud[c->cloud], &plain) &&
	       contract_rule_value(c, rule) == plain;
}

const char *
contract_rule_write(
    const struct contract *c, unsigned rule, char out[static VALUE_TEXT_MAX])
{
	const struct row *row = row_of(rule);
	uint32_t n = contract_rule_value(c, rule);

	/* "1200s" rather than "20m", where the table says so */
	if (contract_rule_is_plain(c, rule))
		return row->of_cloud[c->cloud];
	if (row->kind == KIND_BOOL)
		return no_yes[n];
	return value_write(out, unit_of(row->kind), n * scale(row->kind));
}

bool
contract_takes_topic(const struct contract *c, struct span topic)
{
	uint32_t slashes = 0;

	if (c->topic_max != 0 && topic.n > c->topic_max)
		return false;
	if (c->topic_slashes_max == 0 || topic.n <= c->topic_slashes_max)
		return true;
	for (size_t i = 0; i < topic.n; i++)
		slashes += topic.p[i] == '/';
	return slashes <= c->topic_slashes_max;
}

bool
contract_fits(const struct contract *c, char why[static CONTRACT_FLAW_MAX])
{
	if (c->keep_alive_min > c->keep_alive_max) {
		(void)snprintf(why, CONTRACT_FLAW_MAX,
		    "keep_alive_min (%us) is over keep_alive_max (%us)",
		    c->keep_alive_min, c->keep_alive_max);
		return false;
	}
	if (c->keep_alive_zero != 0 &&
	    (c->keep_alive_zero < c->keep_alive_min ||
		c->keep_alive_zero > c->keep_alive_max)) {
		(void)snprintf(why, CONTRACT_FLAW_MAX,
		    "keep_alive_zero (%us) is not between keep_alive_min "
		    "(%us) and keep_alive_max (%us)",
		    c->keep_alive_zero, c->keep_alive_min, c->keep_alive_max);
		return false;
	}
	return true;
}
