/* Which contract each entry of a map has. */
#include "scratch.h"

#include "settings/credmap.h"

#define DEVICE(label, key, name)                                               \
	"[device:" label "]\nproduct_key = " key "\ndevice_name = " name       \
	"\ndevice_secret = x\nhost = h\n"

/* Of a proxy.ini and a devices.ini; NULL after errors. */
static struct credmap *
load(struct scratch *s, const char *proxy, const char *devices)
{
	struct settings *settings =
	    settings_load(scratch_write(s, "proxy.ini", span_of_string(proxy)),
		&s->complaints);
	struct credmap *map;

	assert_told(s, "");
	assert_non_null(settings);
	map = credmap_load(
	    scratch_write(s, "devices.ini", span_of_string(devices)), settings,
	    &s->complaints);
	settings_unref(settings);
	return map;
}

static const struct contract *
contract_of(const struct credmap *map, const char *label)
{
	const struct credential *c = credmap_by_label(map, label);

	if (c == NULL)
		fail_msg("no %s", label);
	return c->contract;
}

static void
assert_contract(const struct contract *c, const struct contract *want)
{
	char is[VALUE_TEXT_MAX], text[VALUE_TEXT_MAX];

	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++)
		if (contract_rule_value(c, i) != contract_rule_value(want, i))
			fail_msg("%s is %s, not %s", contract_rule_name(i),
			    contract_rule_write(c, i, is),
			    contract_rule_write(want, i, text));
	assert_int_equal(c->cloud, want->cloud);
}

static void
test_default_is_aliyun(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s, "", DEVICE("a", "pk", "dev1"));
	struct contract want;

	assert_told(s, "");
	assert_non_null(map);
	contract_of_cloud(CONTRACT_ALIYUN, &want);
	assert_contract(contract_of(map, "a"), &want);
	credmap_unref(map);
}

/* Every rule is read into its own place, of a device and of a product. */
static void
test_reads_every_rule(void **state)
{
	struct scratch *s = *state;

	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++) {
		struct contract want;
		char text[VALUE_TEXT_MAX], rule[64], devices[512];
		struct credmap *map;

		contract_of_cloud(CONTRACT_NONE, &want);
		contract_rule_set(
		    &want, i, contract_rule_value(&want, i) == 1 ? 0 : 1);
		(void)snprintf(rule, sizeof(rule), "contract = none\n%s = %s\n",
		    contract_rule_name(i), contract_rule_write(&want, i, text));
		(void)snprintf(devices, sizeof(devices),
		    "%s%s" DEVICE("b", "pl", "dev1") "[product:pl]\n%s",
		    DEVICE("a", "pk", "dev1"), rule, rule);
		map = load(s, "", devices);
		assert_told(s, "");
		assert_non_null(map);
		assert_contract(contract_of(map, "a"), &want);
		assert_contract(contract_of(map, "b"), &want);
		credmap_unref(map);
	}
}

/* proxy.ini, then the product, then the device; and a cloud that is given
   leaves nothing of what was before. */
static void
test_inherits(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[contract]\nqos_max = 2\ntopic_max = 1\n",
	    "[product:pk]\ntopic_max = 2\nwill_3 = yes\n"
	    "[product:pl]\nwill_5 = no\ncontract = none\n" DEVICE("a", "pk",
		"dev1") DEVICE("b", "pk", "dev2") "topic_max = 3\n" DEVICE("c",
		"pk", "dev3") "retain_5 = no\ncontract = aliyun\n" DEVICE("d",
		"pl", "dev4") DEVICE("e", "pl",
		"dev5") "inflight_max = 5\n" DEVICE("f", "pm", "dev6"));
	struct contract want, none;

	assert_told(s, "");
	assert_non_null(map);
	contract_of_cloud(CONTRACT_ALIYUN, &want);
	want.retain_5 = 0;
	assert_contract(contract_of(map, "c"), &want);
	want.retain_5 = 1;
	want.qos_max = 2;
	want.topic_max = 1;
	assert_contract(contract_of(map, "f"), &want);
	want.topic_max = 2;
	want.will_3 = 1;
	assert_contract(contract_of(map, "a"), &want);
	want.topic_max = 3;
	assert_contract(contract_of(map, "b"), &want);
	contract_of_cloud(CONTRACT_NONE, &none);
	none.will_5 = 0;
	assert_contract(contract_of(map, "d"), &none);
	none.inflight_max = 5;
	assert_contract(contract_of(map, "e"), &none);
	credmap_unref(map);
}

static void
test_fleet_has_one_contract(void **state)
{
	struct scratch *s = *state;
	struct credmap *map;

	(void)scratch_write(
	    s, "t.csv", SPAN_OF("DeviceName,DeviceSecret\ndev1,x\ndev2,x\n"));
	map = load(s, "",
	    "[product:pk]\nqos_max = 2\n"
	    "[device:all]\nproduct_key = pk\ndevice_secrets_file = t.csv\n"
	    "host = h\nwill_3 = yes\n");
	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(contract_of(map, "all/dev1")->will_3, 1);
	assert_int_equal(contract_of(map, "all/dev1")->qos_max, 2);
	assert_ptr_equal(
	    contract_of(map, "all/dev1"), contract_of(map, "all/dev2"));
	credmap_unref(map);
}

/* However they came to be equal; and what is not equal is not shared, however
   many there are. */
static void
test_equal_ones_are_shared(void **state)
{
	enum { MANY = 300 };
	static char text[64 * 1024];
	struct scratch *s = *state;
	struct credmap *map = load(s, "",
	    "[product:pk]\nqos_max = 2\n" DEVICE("a", "pk", "dev1") DEVICE(
		"b", "pl", "dev1") "qos_max = 2\n" DEVICE("c", "pl", "dev2")
		DEVICE("d", "pl", "dev3") "contract = aliyun\n");
	size_t n = 0;

	assert_non_null(map);
	assert_ptr_equal(contract_of(map, "a"), contract_of(map, "b"));
	assert_ptr_equal(contract_of(map, "c"), contract_of(map, "d"));
	assert_ptr_not_equal(contract_of(map, "a"), contract_of(map, "c"));
	credmap_unref(map);

	for (unsigned i = 0; i < MANY; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
		    DEVICE("d%u", "pk", "dev%u") "topic_max = %u\n", i, i,
		    i + 1);
	map = load(s, "", text);
	assert_told(s, "");
	assert_non_null(map);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(
		    credmap_at(map, i)->contract->topic_max, i + 1);
	credmap_unref(map);
}

/* Whatever texts are kept before them. */
static void
test_contracts_are_aligned(void **state)
{
	static const char *const labels[] = {"a", "ab", "abc", "abcd"};
	struct scratch *s = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(labels); i++) {
		char text[256];
		struct credmap *map;

		(void)snprintf(
		    text, sizeof(text), DEVICE("%s", "pk", "dev1"), labels[i]);
		map = load(s, "", text);
		assert_non_null(map);
		assert_int_equal((uintptr_t)credmap_at(map, 0)->contract %
				     _Alignof(struct contract),
		    0);
		credmap_unref(map);
	}
}

static void
test_what_does_not_fit(void **state)
{
	static const struct {
		const char *devices, *told;
	} rows[] = {
	    {DEVICE("a", "pk", "dev1") "keep_alive_max = 29\n",
		"error 1: [device:a]: keep_alive_min (30s) is over "
		"keep_alive_max (29s)\n"},
	    /* of two devices of it, once */
	    {"\n[product:pk]\nkeep_alive_zero = 9\n" DEVICE("a", "pk", "dev1")
		    DEVICE("b", "pk", "dev2"),
		"error 2: [product:pk]: keep_alive_zero (9s) is not between "
		"keep_alive_min (30s) and keep_alive_max (1200s)\n"},
	    {"[product:pk]\nkeep_alive = 20s\n" DEVICE("a", "pk", "dev1")
		    DEVICE("b", "pk", "dev2"),
		"error 2: keep_alive = 20s: the contract of [product:pk] "
		"allows device, or 30s "
		"to 1200s (keep_alive_min, keep_alive_max)\n"},
	    /* the product's, which does not fit the device's contract */
	    {"[product:pk]\nkeep_alive = 40s\n" DEVICE(
		 "a", "pk", "dev1") "keep_alive_min = 50s\n",
		"error 2: keep_alive = 40s: the contract of [device:a] allows "
		"device, or 50s "
		"to 1200s (keep_alive_min, keep_alive_max)\n"},
	    /* and the device's, which does not fit the product's */
	    {"[product:pk]\nkeep_alive_min = 50s\n" DEVICE(
		 "a", "pk", "dev1") "keep_alive = 40s\n",
		"error 8: keep_alive = 40s: the contract of [device:a] allows "
		"device, or 50s "
		"to 1200s (keep_alive_min, keep_alive_max)\n"},
	    {"[product:pk]\nkeep_alive = 40s\n" DEVICE(
		 "a", "pk", "dev1") "keep_alive_max = 29s\n",
		"error 3: [device:a]: keep_alive_min (30s) is over "
		"keep_alive_max (29s)\n"},
	    /* a rule that is wrong is not taken for another */
	    {DEVICE("a", "pk", "dev1") "keep_alive_max = x\n",
		"error 6: keep_alive_max = x: allowed is 1s to 65535s, in "
		"whole seconds\n"},
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		assert_null(load(s, "", rows[i].devices));
		assert_told(s, rows[i].told);
	}
}

static void
test_keep_alive_in_another_range(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s, "[contract]\ncloud = none\n",
	    DEVICE("a", "pk", "dev1") "keep_alive = 1s\n");

	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(credmap_at(map, 0)->keep_alive_s, 1);
	credmap_unref(map);
}

/* What names an entry whose map has gone has its contract still. */
static void
test_memory_has_its_contract(void **state)
{
	struct scratch *s = *state;
	struct credmap *map =
	    load(s, "", DEVICE("a", "pk", "dev1") "contract = none\n");
	struct credmap *memory;
	struct contract want;

	assert_non_null(map);
	memory = credmap_memory_of(credmap_at(map, 0));
	credmap_unref(map);
	assert_non_null(memory);
	contract_of_cloud(CONTRACT_NONE, &want);
	assert_contract(credmap_at(memory, 0)->contract, &want);
	credmap_unref(memory);
}

int
main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_default_is_aliyun),
	    TEST(test_reads_every_rule),
	    TEST(test_inherits),
	    TEST(test_fleet_has_one_contract),
	    TEST(test_equal_ones_are_shared),
	    TEST(test_contracts_are_aligned),
	    TEST(test_what_does_not_fit),
	    TEST(test_keep_alive_in_another_range),
	    TEST(test_memory_has_its_contract),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
