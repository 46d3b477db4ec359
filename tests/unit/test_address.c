#include "base/address.h"

#include "unit.h"

#include <netinet/in.h>
#include <string.h>

static void
test_from_text_and_back(void **state)
{
	static const struct {
		const char *host, *text; /* NULL: is none */
	} rows[] = {
	    {"192.0.2.1", "192.0.2.1:443"},
	    {"255.255.255.255", "255.255.255.255:443"},
	    {"::1", "[::1]:443"},
	    {"2001:DB8:0:0::1", "[2001:db8::1]:443"},
	    {"fe80::1%lo", "[fe80::1%lo]:443"},
	    {"fe80::1%1", "[fe80::1%lo]:443"},
	    {"fe80::1%nowhere", "[fe80::1]:443"},
	    {"", NULL},
	    {"%", NULL},
	    {"::1%", NULL},
	    {"192.0.2.1%lo", NULL},
	    {"192.0.2", NULL},
	    {"192.0.2.256", NULL},
	    {"0300.0.2.1", NULL},
	    {"192.0.2.1 ", NULL},
	    {"[::1]", NULL},
	    {"1", NULL},
	    {"::1::", NULL},
	    {"2001:db8:1111:2222:3333:4444:5555:6666:7777:8888:9999", NULL},
	    {"cloud.example", NULL},
	};
	char text[ADDRESS_WRITTEN_MAX];
	struct address a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		bool ok = address_read(&a, rows[i].host, 443);

		if (ok != (rows[i].text != NULL))
			fail_msg("%s", rows[i].host);
		if (ok)
			assert_string_equal(
			    address_write(text, &a), rows[i].text);
	}
	a.storage.ss_family = AF_UNSPEC;
	assert_string_equal(address_write(text, &a), "?");
}

static void
test_lists(void **state)
{
	static const struct {
		const char *list;
		unsigned count;      /* 9: is none */
		const char *text[3]; /* of the first ones */
	} rows[] = {
	    {"", 0, {NULL}},
	    {" \t ", 0, {NULL}},
	    {"192.0.2.1", 1, {"192.0.2.1:53"}},
	    {" 192.0.2.1\t[2001:db8::1]:5353  2001:db8::2 ", 3,
		{"192.0.2.1:53", "[2001:db8::1]:5353", "[2001:db8::2]:53"}},
	    {"192.0.2.1:5353 [::1] ::", 3,
		{"192.0.2.1:5353", "[::1]:53", "[::]:53"}},
	    {"192.0.2.1:65535", 1, {"192.0.2.1:65535"}},
	    {"192.0.2.1:65536", 9, {NULL}},
	    {"192.0.2.1:0", 9, {NULL}},
	    {"192.0.2.1:", 9, {NULL}},
	    {"192.0.2.1:5x", 9, {NULL}},
	    {"192.0.2.1,192.0.2.2", 9, {NULL}},
	    {"192.0.2.1 dns.example", 9, {NULL}},
	    {"[::1", 9, {NULL}},
	    {"[::1]53", 9, {NULL}},
	    {"[::1]:", 9, {NULL}},
	    {"[192.0.2.1]:53", 9, {NULL}},
	    {"[]", 9, {NULL}},
	    {":53", 9, {NULL}},
	    {"::1 ::2 ::3 ::4", 9, {NULL}},
	    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	     "a"
	     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		9, {NULL}},
	};
	char text[ADDRESS_WRITTEN_MAX];
	struct address out[3];
	unsigned count;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		bool ok = address_read_list(rows[i].list, 53, out, 3, &count);

		if (ok != (rows[i].count <= 3))
			fail_msg("%s", rows[i].list);
		for (unsigned j = 0; ok && j < rows[i].count; j++)
			assert_string_equal(
			    address_write(text, &out[j]), rows[i].text[j]);
		if (ok)
			assert_int_equal(count, rows[i].count);
	}
}

static void
test_ports(void **state)
{
	char text[ADDRESS_WRITTEN_MAX];
	struct address a;

	(void)state;
	assert_true(address_read(&a, "192.0.2.1", 1));
	address_set_port(&a, 8883);
	assert_string_equal(address_write(text, &a), "192.0.2.1:8883");
	assert_int_equal(a.n, sizeof(struct sockaddr_in));
	assert_true(address_read(&a, "2001:db8::1", 1));
	address_set_port(&a, 65535);
	assert_string_equal(address_write(text, &a), "[2001:db8::1]:65535");
	assert_int_equal(a.n, sizeof(struct sockaddr_in6));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_from_text_and_back),
	    cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
