/* The rules of a cloud: the table, and the text of its values. */
#include "settings/contract.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static void
test_columns(void **state)
{
	struct contract c;
	char text[VALUE_TEXT_MAX];

	(void)state;
	for (unsigned cloud = 0; cloud < CONTRACT_CLOUD_COUNT; cloud++) {
		char why[CONTRACT_FLAW_MAX];

		memset(&c, 0xff, sizeof(c));
		contract_of_cloud((enum contract_cloud)cloud, &c);
		assert_int_equal(c.cloud, cloud);
		assert_true(contract_fits(&c, why));
		for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++)
			assert_true(contract_rule_is_plain(&c, i));
#define X(x, name, kind, aliyun, none, least, most, live, what)                \
	assert_string_equal(                                                   \
	    contract_rule_write(&c, CONTRACT_RULE_##name, text),               \
	    cloud == CONTRACT_ALIYUN ? aliyun : none);                         \
	assert_string_equal(contract_rule_name(CONTRACT_RULE_##name), #name);  \
	assert_int_equal(contract_rule_value(&c, CONTRACT_RULE_##name), c.name);
		CONTRACT(X, )
#undef X
	}
	/* and as the program sees them */
	contract_of_cloud(CONTRACT_ALIYUN, &c);
	assert_int_equal(c.qos_max, 1);
	assert_int_equal(c.will_3, 0);
	assert_int_equal(c.retain_5, 1);
	assert_int_equal(c.keep_alive_max, 1200);
	assert_int_equal(c.message_max, 256 * 1024);
	assert_int_equal(c.bytes_per_second, 1024 * 1024);
	contract_of_cloud(CONTRACT_NONE, &c);
	assert_int_equal(c.qos_max, 2);
	assert_int_equal(c.keep_alive_min, 0);
	assert_int_equal(c.keep_alive_max, 65535);
	assert_int_equal(c.qos0_per_second, 0);
}

/* Nothing but <rule> is another. */
static void
assert_only(const struct contract *c, unsigned rule)
{
	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++)
		if (i != rule)
			assert_true(contract_rule_is_plain(c, i));
}

/* The bounds are taken, and come back; what is beyond them is not. */
static void
test_bounds(void **state)
{
#define X(x, name, kind, aliyun, none, least, most, live, what) {least, most},
	static const uint32_t bounds[][2] = {CONTRACT(X, )};
#undef X
	struct contract c, was;

	(void)state;
	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++) {
		char text[VALUE_TEXT_MAX], shown[VALUE_TEXT_MAX];
		char beyond[32], allowed[80];

		contract_of_cloud(CONTRACT_ALIYUN, &c);
		for (unsigned j = 0; j < 2; j++) {
			uint32_t n = bounds[i][j];

			contract_rule_set(&c, i, n);
			(void)snprintf(shown, sizeof(shown), "%s",
			    contract_rule_write(&c, i, text));
			contract_rule_set(&c, i, bounds[i][1 - j]);
			assert_true(contract_rule_read(&c, i, shown));
			assert_int_equal(contract_rule_value(&c, i), n);
			assert_only(&c, i);
		}
		was = c;
		contract_rule_describe(i, allowed, sizeof(allowed));
		assert_non_null(strstr(allowed, " "));
		(void)snprintf(beyond, sizeof(beyond), "%u", bounds[i][1] + 1);
		assert_false(contract_rule_read(&c, i, beyond));
		assert_false(contract_rule_read(&c, i, ""));
		assert_false(contract_rule_read(&c, i, "-1"));
		assert_false(contract_rule_read(&c, i, "x"));
		assert_false(contract_rule_read(&c, i, "4294967296"));
		assert_false(contract_rule_read(&c, i, "Yes"));
		assert_memory_equal(&c, &was, sizeof(c));
	}
	assert_false(contract_rule_read(&c, CONTRACT_RULE_keep_alive_max, "0"));
	assert_false(
	    contract_rule_read(&c, CONTRACT_RULE_keep_alive_min, "1500ms"));
}

static void
test_values(void **state)
{
	static const struct {
		unsigned rule;
		const char *text, *shown;
	} rows[] = {
	    {CONTRACT_RULE_keep_alive_max, "20m", "1200s"},
	    {CONTRACT_RULE_keep_alive_max, "600", "10m"},
	    {CONTRACT_RULE_message_max, "262144", "256K"},
	    {CONTRACT_RULE_message_max, "1024K", "1M"},
	    {CONTRACT_RULE_will_3, "yes", "yes"},
	    {CONTRACT_RULE_will_5, "no", "no"},
	    {CONTRACT_RULE_qos_max, "2", "2"},
	};
	struct contract c;
	char text[VALUE_TEXT_MAX];

	(void)state;
	contract_of_cloud(CONTRACT_ALIYUN, &c);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		assert_true(contract_rule_read(&c, rows[i].rule, rows[i].text));
		assert_string_equal(
		    contract_rule_write(&c, rows[i].rule, text), rows[i].shown);
	}
}

static void
test_clouds(void **state)
{
	uint32_t cloud = 7;

	(void)state;
	assert_false(contract_cloud_read("", &cloud));
	assert_false(contract_cloud_read("Aliyun", &cloud));
	assert_int_equal(cloud, 7);
	assert_true(contract_cloud_read("none", &cloud));
	assert_int_equal(cloud, CONTRACT_NONE);
	assert_string_equal(contract_cloud_word(CONTRACT_ALIYUN), "aliyun");
}

static void
test_keep_alives_fit(void **state)
{
	static const struct {
		uint32_t least, most, zero;
		const char *why; /* NULL: they fit */
	} rows[] = {
	    {30, 30, 30, NULL},
	    {30, 60, 0, NULL},
	    {0, 65535, 65535, NULL},
	    {31, 30, 30, "keep_alive_min (31s) is over keep_alive_max (30s)"},
	    {30, 60, 29,
		"keep_alive_zero (29s) is not between keep_alive_min (30s) and "
		"keep_alive_max (60s)"},
	    {30, 60, 61, "keep_alive_zero (61s) is not between"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct contract c = {.keep_alive_min = rows[i].least,
		    .keep_alive_max = rows[i].most,
		    .keep_alive_zero = rows[i].zero};
		char why[CONTRACT_FLAW_MAX] = "";

		assert_int_equal(contract_fits(&c, why), rows[i].why == NULL);
		if (rows[i].why != NULL)
			assert_non_null(strstr(why, rows[i].why));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_columns),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_clouds),
	    cmocka_unit_test(test_keep_alives_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
