/* Sections of devices.ini that take their devices from a table. */
#include "settings/credmap.h"

#include "scratch.h"
#include "unit.h"

static struct settings *defaults;

static int
load_defaults(void **state)
{
	struct complaints none = {0};

	(void)state;
	defaults = settings_load(NULL, &none);
	return defaults != NULL ? 0 : -1;
}

static int
drop_defaults(void **state)
{
	(void)state;
	settings_unref(defaults);
	return 0;
}

static struct credmap *
load(struct scratch *s, const char *text)
{
	return credmap_load(
	    scratch_write(s, "devices.ini", span_of_string(text)), defaults,
	    &s->complaints);
}

static void
write_table(struct scratch *s, const char *text)
{
	(void)scratch_write(s, "secrets.csv", span_of_string(text));
}

#define PRODUCT "[product:pk]\nregion = cn-shanghai\n"
#define FLEET(label)                                                           \
	"[device:" label "]\nproduct_key = pk\n"                               \
	"device_secrets_file = secrets.csv\n"
#define HEAD "ProductKey,DeviceName,DeviceSecret\n"
#define TABLE HEAD "pk,pump_1,s1\npk,pump_22,s2\npk,door_1,s3\n"

/* The label of the entry that answers, or "-". */
static const char *
find(const struct credmap *map, const char *client_id, const char *username)
{
	const struct credmap_shown shown = {
	    .client_id = span_of_string(client_id),
	    .username = span_of_string(username)};
	const struct credential *c = credmap_find(map, &shown);

	return c != NULL ? c->label : "-";
}

static void
assert_entry(const struct credmap *map, const char *label,
    const char *device_name, const char *client_id, const char *secret)
{
	const struct credential *c = credmap_by_label(map, label);

	if (c == NULL)
		fail_msg("no %s", label);
	assert_string_equal(c->product_key, "pk");
	assert_string_equal(c->device_name, device_name);
	assert_string_equal(c->client_id, client_id);
	assert_true(secret_eq(&c->device_secret, span_of_string(secret)));
	assert_ptr_equal(credmap_by_identity(map, "pk", device_name), c);
}

static void
test_a_row_is_an_entry(void **state)
{
	struct scratch *s = *state;
	struct credmap *map;

	write_table(s, TABLE);
	map = load(s, PRODUCT FLEET("all"));
	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(credmap_count(map), 3);
	assert_entry(map, "all/pump_1", "pump_1", "pk.pump_1", "s1");
	assert_entry(map, "all/pump_22", "pump_22", "pk.pump_22", "s2");
	assert_entry(map, "all/door_1", "door_1", "pk.door_1", "s3");
	assert_string_equal(find(map, "pump_1", ""), "all/pump_1");
	assert_string_equal(find(map, "pump_2", ""), "-");
	assert_string_equal(find(map, "${1}", ""), "-");
	assert_string_equal(find(map, "*", ""), "-");
	assert_null(credmap_by_label(map, "all"));
	credmap_unref(map);
}

static void
test_the_own_part_stands_in_its_places(void **state)
{
	struct scratch *s = *state;
	const struct credential *c;
	struct credmap *map;
	char path[256];

	write_table(s, TABLE "px,pump_3,s4\n");
	map = load(s, PRODUCT FLEET("pumps") "device_name = pump_${1}\n"
					     "match_client_id = PUMP*/x\n"
					     "match_username = *\n"
					     "client_id = c${1}d\n"
					     "password = common\n"
					     "allow_from = 127.0.0.0/8\n"
					     "keep_alive = 300s\n");
	(void)snprintf(path, sizeof(path), "%s/secrets.csv", s->folder);
	assert_told(s, "warning 4: 2 rows of this table fit no section that "
		       "uses it, this one first\n");
	assert_non_null(map);
	assert_int_equal(credmap_count(map), 2);
	assert_entry(map, "pumps/pump_1", "pump_1", "c1d", "s1");
	assert_entry(map, "pumps/pump_22", "pump_22", "c22d", "s2");
	assert_string_equal(find(map, "PUMP22/x", "22"), "pumps/pump_22");
	assert_string_equal(find(map, "PUMP22/x", "1"), "-");
	assert_string_equal(find(map, "PUMP22", "22"), "-");
	c = credmap_by_label(map, "pumps/pump_22");
	assert_int_equal(c->line, 3);
	assert_string_equal(c->table, path);
	assert_string_equal(c->host, "pk.iot-as-mqtt.cn-shanghai.aliyuncs.com");
	assert_int_equal(c->keep_alive_s, 300);
	assert_true(secret_eq(&c->password, SPAN_OF("common")));
	assert_int_equal(c->allow_from.count, 1);
	assert_ptr_equal(
	    c->allow_from.list, credmap_at(map, 0)->allow_from.list);
	credmap_unref(map);
}

/* The part is not empty, and whole names are compared. */
static void
test_names_fit_as_a_whole(void **state)
{
	struct scratch *s = *state;
	struct credmap *map;

	write_table(s, "DeviceName,DeviceSecret\npump__x,a\npump_1_x,b\n"
		       "pump_1_xy,c\nPump_1_x,d\npump_x,e\npump_2,f\n");
	map = load(s, PRODUCT FLEET("p") "device_name = pump_${1}_x\n");
	assert_told(s, "warning 2: 5 rows of this table fit no section that "
		       "uses it, this one first\n");
	assert_int_equal(credmap_count(map), 1);
	assert_entry(map, "p/pump_1_x", "pump_1_x", "pk.pump_1_x", "b");
	credmap_unref(map);
}

static void
test_an_own_section_goes_before_the_fleet(void **state)
{
	struct scratch *s = *state;
	struct credmap *map;

	write_table(s, TABLE);
	map = load(s, PRODUCT FLEET("all") FLEET(
			  "gate") "device_name = door_1\nclient_id = gate\n"
				  "[device:off]\nproduct_key = pk\n"
				  "device_name = pump_22\ndevice_secret = own\n"
				  "enabled = no\n");
	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(credmap_count(map), 3);
	assert_string_equal(credmap_at(map, 0)->label, "gate");
	assert_entry(map, "gate", "door_1", "gate", "s3");
	assert_null(credmap_by_label(map, "gate")->table);
	assert_int_equal(credmap_by_label(map, "gate")->line, 6);
	assert_entry(map, "off", "pump_22", "pk.pump_22", "own");
	assert_false(credmap_by_label(map, "off")->enabled);
	assert_entry(map, "all/pump_1", "pump_1", "pk.pump_1", "s1");
	assert_string_equal(find(map, "gate", ""), "gate");
	credmap_unref(map);
}

static size_t
count_of(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what)) != NULL) {
		text++;
		n++;
	}
	return n;
}

static void
test_sections_share_a_table(void **state)
{
	struct scratch *s = *state;
	struct credmap *map;

	write_table(s, TABLE);
	(void)scratch_write(
	    s, "other.csv", SPAN_OF("device_secret;device_name\ns5;pump_5\n"));
	map = load(s, PRODUCT FLEET("p") "device_name = pump_${1}\n" FLEET(
			  "d") "device_name = door_${1}\nmatch_username = *\n"
			       "[device:o]\nproduct_key = pk\n"
			       "device_name = pump_${1}\n"
			       "device_secrets_file = ./other.csv\n");
	assert_int_equal(count_of(s->files, "secrets.csv\n"), 1);
	assert_int_equal(count_of(s->files, "/./other.csv\n"), 1);
	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(credmap_count(map), 4);
	assert_string_equal(find(map, "5", ""), "o/pump_5");
	assert_string_equal(find(map, "22", ""), "p/pump_22");
	assert_string_equal(find(map, "22", "1"), "p/pump_22");
	assert_string_equal(find(map, "x", "1"), "d/door_1");
	credmap_unref(map);
}

struct refused {
	const char *map;
	const char *table;
	const char *told;
};

static void
test_refuses_places_without_a_table(void **state)
{
#define OWN(more)                                                              \
	PRODUCT "[device:a]\nproduct_key = pk\ndevice_secret = s\n" more
#define STANDS " stands for the own part of each device's name; "
#define NO_TABLE                                                               \
	STANDS "device_secrets_file is missing, the table of the "             \
	       "devices\n"
	static const struct refused cases[] = {
	    {OWN("device_name = pump_${1}\n"), NULL,
		"error 6: device_name: ${1}" NO_TABLE},
	    {OWN("device_name = pump\nmatch_client_id = P*\n"), NULL,
		"error 7: match_client_id: *" NO_TABLE},
	    {OWN("device_name = pump\nmatch_username = *\n"), NULL,
		"error 7: match_username: *" NO_TABLE},
	    {OWN("device_name = pump\nclient_id = ${1}\n"), NULL,
		"error 7: client_id: ${1}" NO_TABLE},
	    {PRODUCT FLEET("a") "device_name = pump_1\nmatch_username = x*\n",
		TABLE,
		"error 7: match_username: *" STANDS
		"device_name has no place for it: write ${1} there\n"},
	    {PRODUCT FLEET("a") "match_client_id = **\n", TABLE,
		"error 6: match_client_id: *" STANDS "it may come once only\n"},
	    {PRODUCT FLEET("a") "device_name = ${1}-${1}\n", TABLE,
		"error 6: device_name = ${1}-${1}: besides one ${1} up to 31 "
		"of letters, digits and -_@.: are allowed\n"},
	    {PRODUCT FLEET("a") "match_username = all\n", TABLE,
		"error 3: [device:a] needs a * in match_client_id or "
		"match_username, in the place of the own part of each "
		"device's name\n"},
	    {PRODUCT FLEET("a") "match_address = 192.0.2.1\n", TABLE,
		"error 3: [device:a] needs a * in match_client_id or "
		"match_username, in the place of the own part of each "
		"device's name\n"},
	    {PRODUCT FLEET("a") "device_secret = x\n", TABLE,
		"error 6: device_secret and device_secrets_file (line 5) "
		"exclude each other\n"},
	    {"[product:pk]\ndevice_secrets_file = secrets.csv\n", NULL,
		"error 2: device_secrets_file belongs into a [device:LABEL] "
		"section\n"},
	    {PRODUCT FLEET("a") FLEET("a") "device_name = door_${1}\n",
		HEAD "pk,door_1,s\n",
		"error 6: [device:a] has the same label "
		"as [device:a] in line 3\n"},
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		write_table(s, cases[i].table != NULL ? cases[i].table : "");
		assert_null(load(s, cases[i].map));
		if (strncmp(s->told, cases[i].told, strlen(cases[i].told)) !=
			0 &&
		    strstr(s->told, cases[i].told) == NULL)
			fail_msg("%zu: '%s' is not in '%s'", i, cases[i].told,
			    s->told);
		scratch_reset(s);
	}
}

static void
test_refuses_rows(void **state)
{
	static const struct refused cases[] = {
	    /* what is wrong is told with the line of the table */
	    {PRODUCT FLEET("a"), HEAD "pk,pum,s\npk,pump_2,s\n",
		"error 2: DeviceName = pum: allowed are 4 to 32 of letters, "
		"digits and -_@.:; this has 3 bytes\n"},
	    {PRODUCT FLEET("a"), HEAD "pk,\"pump\n1\",s\n",
		"error 2: DeviceName = pump\\x0a1: allowed are 4 to 32 of "
		"letters, digits and -_@.:; this has 6 bytes\n"},
	    {PRODUCT FLEET("a"), HEAD "pk,pump_1,\n",
		"error 2: DeviceSecret: 1 to 64 printable ASCII characters "
		"without blanks are allowed, this has 0 bytes\n"},
	    {PRODUCT FLEET("a"), HEAD "pk,pump_1,hunter 2\n",
		"error 2: DeviceSecret: 1 to 64 printable ASCII characters "
		"without blanks are allowed, this has 8 bytes\n"},
	    {PRODUCT FLEET("a"), HEAD "pk,pump_1,\"\"\"hunter2\"\"\"\n",
		"error 2: DeviceSecret: it stands in quotes; leave them "
		"out\n"},
	    {PRODUCT FLEET("a") "device_name = pump_1\n",
		HEAD "pk,pump_1,hunter 2\n",
		"error 2: DeviceSecret: 1 to 64 printable ASCII characters "
		"without blanks are allowed, this has 8 bytes\n"},
	    {PRODUCT FLEET("a"), HEAD "pk,pump_1,s\npk,pump_2,s\npk,pump_1,t\n",
		"error 4: DeviceName pump_1 comes twice, first in line 2\n"},
	    {PRODUCT FLEET("a") "device_name = pump_1\n",
		HEAD "pk,pump_1,s\npk,pump_2,s\npk,pump_1,t\npk,pump_1,u\n",
		"error 4: DeviceName pump_1 comes twice, first in line 2\n"
		"error 5: DeviceName pump_1 comes twice, first in line 2\n"},
	    {PRODUCT FLEET("a") "client_id = 12345678901234567890"
				"12345678901234567890${1}\n",
		HEAD "pk,pump_4567890123456789012,s\n"
		     "pk,pump_45678901234567890123,s\n",
		"error 3: with the part of this DeviceName, client_id has "
		"more than 64 bytes\n"},
	    /* of the table as a whole */
	    {PRODUCT FLEET("a"), "ProductKey,DeviceName\n",
		"error 1: the first row names no column DeviceSecret: it must "
		"name the columns DeviceName and DeviceSecret, and may name "
		"ProductKey\n"},
	    {PRODUCT FLEET("a"), HEAD "pk,pump_1\n",
		"error 2: the row has 2 columns, the first one has 3\n"},
	    /* and what has to be mended in the map, there */
	    {PRODUCT FLEET("a"), HEAD "px,pump_1,s\n",
		"error 5: device_secrets_file: no row of the table fits the "
		"product_key and the device_name of this section\n"},
	    {PRODUCT FLEET("a") "device_name = pump_2\n", TABLE,
		"error 5: device_secrets_file: no row of the table fits the "
		"product_key and the device_name of this section\n"},
	    {PRODUCT FLEET("a"), NULL,
		"error 5: device_secrets_file: the file it names: No such "
		"file or directory\n"},
	    /* clashes */
	    {PRODUCT FLEET("a") FLEET("b"), HEAD "pk,pump_1,s\n",
		"error 2: b/pump_1 has the same product_key and device_name "
		"as a/pump_1 in line 2\n"},
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct credmap *map;

		if (cases[i].table != NULL)
			write_table(s, cases[i].table);
		else
			(void)unlink(scratch_write(
			    s, "secrets.csv", span_of_string("")));
		map = load(s, cases[i].map);
		if (map != NULL)
			fail_msg("%zu: was taken", i);
		if (strcmp(s->told, cases[i].told) != 0)
			fail_msg("%zu: '%s'", i, s->told);
		assert_null(strstr(s->told, "hunter"));
		scratch_reset(s);
	}
}

/* Of entries in two files, the other file is named. */
static void
test_tells_clashes_with_sections(void **state)
{
	struct scratch *s = *state;
	char want[512];

	write_table(s, HEAD "pk,pump_1,s\n");
	assert_null(load(s,
	    PRODUCT FLEET("a") "match_client_id = X*\n"
			       "[device:Xpump_1]\nproduct_key = pk\n"
			       "device_name = other\ndevice_secret = s\n"));
	(void)snprintf(want, sizeof(want),
	    "error 2: a/pump_1 has the same match_ keys as [device:Xpump_1] "
	    "in line 7 of %s/devices.ini\n",
	    s->folder);
	assert_told(s, want);
}

/* An unusable section: its table is not blamed for that. */
static void
test_says_one_thing_of_a_bad_section(void **state)
{
	struct scratch *s = *state;

	write_table(s, TABLE);
	assert_null(
	    load(s, PRODUCT "[device:a]\ndevice_secrets_file = secrets.csv\n"));
	assert_told(s, "error 3: [device:a] has no product_key\n");
	assert_null(load(s, PRODUCT FLEET("a") "device_name = x y\n"));
	assert_told_once(s, "error 6: device_name = x y: ");
	assert_null(load(s, PRODUCT FLEET("a") "device_secrets_file = x\n"));
	assert_told_once(s, "device_secrets_file comes twice");
	assert_null(load(s, FLEET("a")));
	assert_told(s, "error 1: [device:a] has no region, instance or host, "
		       "and [product:pk] is not there\n");
}

/* The longest of everything, and one over it. */
static void
test_bounds_labels(void **state)
{
#define NAME32 "0123456789abcdef0123456789abcdef"
#define LABEL40 NAME32 "01234567"
	struct scratch *s = *state;
	struct credmap *map;

	write_table(s, HEAD "pk," NAME32 ",s\n");
	map = load(s, PRODUCT FLEET(LABEL40));
	assert_told(s, "");
	assert_entry(map, LABEL40 "/" NAME32, NAME32, "pk." NAME32, "s");
	assert_int_equal(
	    strlen(credmap_at(map, 0)->label), CREDENTIAL_ENTRY_LABEL_MAX);
	credmap_unref(map);
	assert_null(load(s, PRODUCT FLEET("a/b")));
	assert_told_once(s, "the label = a/b: allowed are");
}

/* Many, found each by its own keys. */
static void
test_takes_many(void **state)
{
	enum { MANY = 20000 };
	struct scratch *s = *state;
	size_t size = MANY * 64, n = 0;
	char *text = malloc(size);
	char label[80], id[40];
	struct credmap *map;

	assert_non_null(text);
	n += (size_t)snprintf(text, size, HEAD);
	for (int i = 0; i < MANY; i++)
		n += (size_t)snprintf(
		    text + n, size - n, "pk,pump_%d,%032d\n", i, i);
	write_table(s, text);
	free(text);
	map = load(s, PRODUCT FLEET("p") "device_name = pump_${1}\n"
					 "match_client_id = PUMP*\n");
	assert_told(s, "");
	assert_int_equal(credmap_count(map), MANY);
	for (int i = 0; i < MANY; i += 997) {
		(void)snprintf(label, sizeof(label), "p/pump_%d", i);
		(void)snprintf(id, sizeof(id), "PUMP%d", i);
		assert_string_equal(find(map, id, ""), label);
		assert_ptr_equal(
		    credmap_at(map, (size_t)i), credmap_by_label(map, label));
	}
	credmap_unref(map);
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_a_row_is_an_entry),
	    TEST(test_the_own_part_stands_in_its_places),
	    TEST(test_names_fit_as_a_whole),
	    TEST(test_an_own_section_goes_before_the_fleet),
	    TEST(test_sections_share_a_table),
	    TEST(test_refuses_places_without_a_table),
	    TEST(test_refuses_rows),
	    TEST(test_tells_clashes_with_sections),
	    TEST(test_says_one_thing_of_a_bad_section),
	    TEST(test_bounds_labels),
	    TEST(test_takes_many),
	};

	return cmocka_run_group_tests(tests, load_defaults, drop_defaults);
}
