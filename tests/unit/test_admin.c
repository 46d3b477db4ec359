/*
 * What the admin endpoint tells, as text: JSON whatever the strings hold, the
 * state of the map after each kind of reload, the form of the metrics.
 */
#include "codec/json.h"
#include "server/admin_pages.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *in;
	const char *out;
} strings[] = {
    {"", "\"\""},
    {"plain text", "\"plain text\""},
    {"a\"b\\c/d", "\"a\\\"b\\\\c/d\""},
    {"\x01\x1f\t\n\r\x7f", "\"\\u0001\\u001f\\u0009\\u000a\\u000d\\u007f\""},
    {"\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80",
	"\"\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80\""},
    /* C1 control characters, and the first behind them */
    {"\xc2\x80\xc2\x9f\xc2\xa0", "\"\\u0080\\u009f\xc2\xa0\""},
    /* no UTF-8: a stray byte, an overlong form, a surrogate, a cut one */
    {"a\xff"
     "b",
	"\"a\\ufffdb\""},
    {"\xc0\x80", "\"\\ufffd\\ufffd\""},
    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
    {"\xe2\x82", "\"\\ufffd\\ufffd\""},
    {"\xe2\x82\"", "\"\\ufffd\\ufffd\\\"\""},
};

static void
test_json_strings(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(strings); i++) {
		char out[128];
		struct text text = {.at = out, .left = sizeof(out)};

		json_add_string(&text, strings[i].in);
		assert_false(text.full);
		assert_string_equal(out, strings[i].out);
	}
}

/* Every string of one byte is quoted, printable, and one line. */
static void
test_json_strings_of_any_byte(void **state)
{
	(void)state;
	for (int byte = 1; byte < 256; byte++) {
		char in[2] = {(char)byte, '\0'};
		char out[16];
		struct text text = {.at = out, .left = sizeof(out)};

		json_add_string(&text, in);
		assert_false(text.full);
		assert_int_equal(out[0], '"');
		assert_int_equal(text.at[-1], '"');
		for (const char *p = out; p < text.at; p++)
			assert_in_range(*p, 0x20, 0x7e);
		assert_int_equal(text.at - out == 3,
		    byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\');
	}
}

static void
test_json_string_that_is_too_long(void **state)
{
	/* on the heap: a sanitizer sees a byte too many */
	char *out = malloc(6);
	struct text text = {.at = out, .left = 6};

	(void)state;
	assert_non_null(out);
	json_add_string(&text, "long enough");
	assert_true(text.full);
	free(out);
}

static const char *
status_of(const struct map_state *map)
{
	static char out[8192];
	struct text text = {.at = out, .left = sizeof(out)};
	struct admin_facts facts = {
	    .pid = 7,
	    .started_ms = 1793491200999,
	    .wall_ms = 1793491261999,
	    .uptime_ms = 61999,
	    .unready = "a \"reason\"",
	    .workers = 2,
	    .connections = 3,
	    .map = map,
	};

	admin_write_status(&text, &facts);
	assert_false(text.full);
	return out;
}

static void
test_status(void **state)
{
	struct map_state map = {.file = "/etc/\"x\"/devices.ini"};
	struct map_refusal first = {0}, second = {0};

	(void)state;
	map_state_loaded(&map, 40, 1793491200000);
	assert_string_equal(status_of(&map),
	    "{\"version\":\"" PACKAGE_VERSION
	    "\",\"pid\":7,\"started\":\"2026-11-01T00:00:00Z\","
	    "\"now\":\"2026-11-01T00:01:01Z\","
	    "\"uptime_seconds\":61,\"workers\":2,\"connections\":3,"
	    "\"unready\":\"a \\\"reason\\\"\","
	    "\"map\":{\"file\":\"/etc/\\\"x\\\"/devices.ini\",\"devices\":40,"
	    "\"loaded\":\"2026-11-01T00:00:00Z\",\"reloads\":0,"
	    "\"reloads_refused\":0,\"refused\":false},\"hints\":{}}\n");
	map_refusal_add(&first, "a.ini", 7, "first");
	map_refusal_add(&first, "b.ini", 8, "second");
	map_state_refused(&map, &first, 1793491201000);
	assert_non_null(strstr(status_of(&map),
	    "\"reloads_refused\":1,\"refused\":true,\"refusal\":{\"since\":"
	    "\"2026-11-01T00:00:01Z\",\"errors\":2,\"file\":\"a.ini\","
	    "\"line\":7,\"text\":\"first\"}},\"hints\":{}}\n"));
	/* again: since when stays, why is the newest */
	map_refusal_add(&second, "c.ini", 0, "third");
	map_state_refused(&map, &second, 1793491202000);
	assert_non_null(strstr(status_of(&map),
	    "\"reloads_refused\":2,\"refused\":true,\"refusal\":{\"since\":"
	    "\"2026-11-01T00:00:01Z\",\"errors\":1,\"file\":\"c.ini\","
	    "\"line\":0,\"text\":\"third\"}},\"hints\":{}}\n"));
	map_state_loaded(&map, 41, 1793491203000);
	assert_non_null(strstr(status_of(&map),
	    "\"devices\":41,\"loaded\":\"2026-11-01T00:00:03Z\","));
	assert_non_null(
	    strstr(status_of(&map), "\"refused\":false},\"hints\":{}}\n"));
	/* and once more: a new series */
	map_state_refused(&map, &first, 1793491204000);
	assert_non_null(
	    strstr(status_of(&map), "\"since\":\"2026-11-01T00:00:04Z\""));
}

/* Whatever is refused, what is kept of it is bounded. */
static void
test_refusal_is_cut(void **state)
{
	struct map_refusal refusal = {0};
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	map_refusal_add(&refusal, text, 1, text);
	assert_int_equal(strlen(refusal.file), sizeof(refusal.file) - 1);
	assert_int_equal(strlen(refusal.text), sizeof(refusal.text) - 1);
}

static const char metrics[] =
    "# HELP mqtt_wss_proxy_build_info The version that runs.\n"
    "# TYPE mqtt_wss_proxy_build_info gauge\n"
    "mqtt_wss_proxy_build_info{version=\"" PACKAGE_VERSION "\"} 1\n"
    "# HELP mqtt_wss_proxy_start_time_seconds When the proxy was "
    "started.\n"
    "# TYPE mqtt_wss_proxy_start_time_seconds gauge\n"
    "mqtt_wss_proxy_start_time_seconds 1793491200.007\n"
    "# HELP mqtt_wss_proxy_connections Connections from devices.\n"
    "# TYPE mqtt_wss_proxy_connections gauge\n"
    "mqtt_wss_proxy_connections 3\n"
    "# HELP mqtt_wss_proxy_map_devices Entries of the map in use.\n"
    "# TYPE mqtt_wss_proxy_map_devices gauge\n"
    "mqtt_wss_proxy_map_devices 40\n"
    "# HELP mqtt_wss_proxy_map_loaded_timestamp_seconds Since when the "
    "map is in use.\n"
    "# TYPE mqtt_wss_proxy_map_loaded_timestamp_seconds gauge\n"
    "mqtt_wss_proxy_map_loaded_timestamp_seconds 1793491201.250\n"
    "# HELP mqtt_wss_proxy_map_reloads_total Reloads since the start, "
    "by how they went.\n"
    "# TYPE mqtt_wss_proxy_map_reloads_total counter\n"
    "mqtt_wss_proxy_map_reloads_total{result=\"ok\"} 5\n"
    "mqtt_wss_proxy_map_reloads_total{result=\"refused\"} 1\n"
    "# HELP mqtt_wss_proxy_map_refused 1 while the files hold "
    "something else than what is in use, because they were refused.\n"
    "# TYPE mqtt_wss_proxy_map_refused gauge\n"
    "mqtt_wss_proxy_map_refused 1\n"
    "# HELP mqtt_wss_proxy_take_over_loops_total Devices that were thrown out "
    "again and again, by another one at the proxy or by one elsewhere; of a "
    "device at most one a minute counts.\n"
    "# TYPE mqtt_wss_proxy_take_over_loops_total counter\n"
    "mqtt_wss_proxy_take_over_loops_total{where=\"lan\"} 6\n"
    "mqtt_wss_proxy_take_over_loops_total{where=\"cloud\"} 9\n"
    "# HELP mqtt_wss_proxy_ping_intervals_learned_total How often a worker has "
    "found that idle links are cut, and pings more often.\n"
    "# TYPE mqtt_wss_proxy_ping_intervals_learned_total counter\n"
    "mqtt_wss_proxy_ping_intervals_learned_total 2\n";

static void
test_metrics(void **state)
{
	struct map_refusal why = {0};
	struct map_state map = {.file = "f", .reloads = 5};
	struct admin_facts facts = {.started_ms = 1793491200007,
	    .connections = 3,
	    .map = &map,
	    .lan_loops = 6,
	    .cloud_loops = 9,
	    .pings_learned = 2};
	char out[4096];
	struct text text = {.at = out, .left = sizeof(out)};

	(void)state;
	map_state_loaded(&map, 40, 1793491201250);
	map_state_refused(&map, &why, 1793491202000);
	admin_write_metrics(&text, &facts);
	assert_false(text.full);
	assert_string_equal(out, metrics);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_json_strings),
	    cmocka_unit_test(test_json_strings_of_any_byte),
	    cmocka_unit_test(test_json_string_that_is_too_long),
	    cmocka_unit_test(test_status),
	    cmocka_unit_test(test_refusal_is_cut),
	    cmocka_unit_test(test_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
