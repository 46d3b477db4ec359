#include "server/gateway.h"

#include "scratch.h"
#include "unit.h"

#include <arpa/inet.h>

#define HEAD                                                                   \
	"Iface\tDestination\tGateway "                                         \
	"\tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU"                            \
	"\tWindow\tIRTT\n"

static struct gateway
of(struct scratch *s, const char *routes, const char *ip6_routes)
{
	struct gateway g;
	char first[sizeof(s->path)];

	(void)snprintf(first, sizeof(first), "%s",
	    scratch_write(s, "route", span_of_string(routes)));
	gateway_read(&g, first,
	    scratch_write(s, "ipv6_route", span_of_string(ip6_routes)));
	return g;
}

/* The kernel writes the four bytes as one number of this machine. */
static const char *
ip4_line(char out[static 128], const char *destination, const char *gateway,
    unsigned flags, const char *mask)
{
	(void)snprintf(out, 128,
	    "eth0\t%08X\t%08X\t%04X\t0\t0\t0\t%08X\t0\t0\t0\n",
	    inet_addr(destination), inet_addr(gateway), flags, inet_addr(mask));
	return out;
}

static void
test_ip4(void **state)
{
	char own[128], wanted[128], text[512];
	struct gateway g;

	(void)ip4_line(own, "172.17.0.0", "0.0.0.0", 1, "255.255.0.0");
	(void)ip4_line(wanted, "0.0.0.0", "172.17.0.1", 3, "0.0.0.0");
	(void)snprintf(text, sizeof(text), HEAD "%s%s", own, wanted);
	g = of(*state, text, "");
	assert_string_equal(g.ip4, "172.17.0.1");
	assert_string_equal(g.ip6, "");

	/* no gateway to everywhere: a network of its own, a device's, half */
	g = of(*state, HEAD, "");
	assert_string_equal(g.ip4, "");
	(void)snprintf(text, sizeof(text), HEAD "%s", own);
	assert_string_equal(of(*state, text, "").ip4, "");
	(void)ip4_line(text, "0.0.0.0", "0.0.0.0", 1, "0.0.0.0");
	assert_string_equal(of(*state, text, "").ip4, "");
	(void)ip4_line(text, "0.0.0.0", "10.8.0.1", 3, "128.0.0.0");
	assert_string_equal(of(*state, text, "").ip4, "");
	assert_string_equal(of(*state, "\n\xff\n nonsense", "\n").ip4, "");
}

static void
test_ip6(void **state)
{
	static const char own[] =
	    "fd000000000000000000000000000000 40 "
	    "00000000000000000000000000000000 00 "
	    "00000000000000000000000000000000 00000100 00000001 00000000 "
	    "00000001     eth0\n";
	static const char wanted[] =
	    "00000000000000000000000000000000 00 "
	    "00000000000000000000000000000000 00 "
	    "fd0000000000000000000000000000a1 00000400 00000001 00000000 "
	    "00000003     eth0\n";
	static const char unreachable[] =
	    "00000000000000000000000000000000 00 "
	    "00000000000000000000000000000000 00 "
	    "00000000000000000000000000000000 ffffffff 00000001 00000000 "
	    "00200200       lo\n";
	char text[512];

	(void)snprintf(text, sizeof(text), "%s%s%s", own, unreachable, wanted);
	assert_string_equal(of(*state, "", text).ip6, "fd00::a1");
	assert_string_equal(of(*state, "", own).ip6, "");
	assert_string_equal(of(*state, "", unreachable).ip6, "");
	assert_string_equal(
	    of(*state, "", "0 00 0 00 xyz 0 0 0 3 e\n").ip6, "");
}

static void
test_is_told_once(void **state)
{
	char line[128];
	struct gateway g;

	g = of(
	    *state, ip4_line(line, "0.0.0.0", "172.17.0.1", 3, "0.0.0.0"), "");
	assert_false(gateway_is_news(&g, "172.17.0.2"));
	assert_false(gateway_is_news(&g, "unix"));
	assert_true(gateway_is_news(&g, "172.17.0.1"));
	assert_false(gateway_is_news(&g, "172.17.0.1"));
}

static void
test_without_files(void **state)
{
	struct gateway g;

	(void)state;
	gateway_read(&g, "/nonexistent", "/nonexistent");
	assert_string_equal(g.ip4, "");
	assert_false(gateway_is_news(&g, "192.0.2.1"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ip4),
	    cmocka_unit_test(test_ip6),
	    cmocka_unit_test(test_is_told_once),
	    cmocka_unit_test(test_without_files),
	};

	return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
