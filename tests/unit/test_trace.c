/*
 * A trace finds the packets in bytes that come in any pieces, tells each once,
 * and keeps no login that it has seen.
 */
#include "session/trace.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

enum { BIG = 5000, TOLD_MAX = 4096 };

static char told[TOLD_MAX];

/* Without the time, which is checked here. */
static void
tell(struct trace *t, const char *line)
{
	unsigned day, hour, ms;
	int n = 0;

	(void)t;
	assert_true(strlen(line) < TRACE_LINE_MAX);
	assert_int_equal(sscanf(line, "%*4u-%*2u-%2uT%2u:%*2u:%*2u.%3uZ %n",
			     &day, &hour, &ms, &n),
	    3);
	assert_true(n > 0);
	assert_true(strlen(told) + strlen(line + n) + 2 < sizeof(told));
	strcat(told, line + n);
	strcat(told, "\n");
}

static void
begin(struct trace *t)
{
	*t = (struct trace){.tell = tell, .level = 4};
	trace_init(t);
	told[0] = '\0';
}

static void
hear(struct trace *t, enum tap_way way, struct span bytes, bool begins)
{
	t->tap.on_bytes(&t->tap, way, bytes, begins);
}

#define CONNECT                                                                \
	"\x10\x1c\x00\x04MQTT\x04\xc2\x00\x3c\x00\x02me\x00\x04user"           \
	"\x00\x06hidden"

/* A login, one that is told from its head, and small ones. */
static struct span
stream(void)
{
	static uint8_t bytes[BIG + 200];
	static const uint8_t big[] = {
	    0x30, 0x88, 0x27, 0, 3, 'a', '/', 'b'}; /* 5000 bytes */
	static const uint8_t small[] = {0xc0, 0, 0x40, 2, 0, 7, 0xe0, 0};
	size_t n = 0;

	memcpy(bytes, CONNECT, sizeof(CONNECT) - 1);
	n = sizeof(CONNECT) - 1;
	memcpy(bytes + n, big, sizeof(big));
	memset(bytes + n + sizeof(big), 0xff, BIG + 3 - sizeof(big));
	n += BIG + 3;
	memcpy(bytes + n, small, sizeof(small));
	return (struct span){bytes, n + sizeof(small)};
}

#define LINES                                                                  \
	"device->proxy CONNECT bytes=30 level=4 clean=yes keep_alive=60"       \
	" client_id=\"me\" username=yes password=yes\n"                        \
	"device->proxy PUBLISH bytes=5003 qos=0 topic=\"a/b\""                 \
	" payload_bytes=4995\n"                                                \
	"device->proxy PINGREQ bytes=2\n"                                      \
	"device->proxy PUBACK bytes=4 id=7\n"                                  \
	"device->proxy DISCONNECT bytes=2\n"

static void
assert_forgotten(const struct trace *t)
{
	const uint8_t *at = (const uint8_t *)t;

	for (size_t i = 0; i + 5 <= sizeof(*t); i++)
		assert_memory_not_equal(at + i, "hidde", 5);
}

static void
test_pieces_of_any_size(void **state)
{
	const struct span all = stream();
	struct trace t;

	(void)state;
	for (size_t size = 1; size <= all.n; size += size < 70 ? 1 : 397) {
		begin(&t);
		for (size_t at = 0; at < all.n; at += size)
			hear(&t, TAP_FROM_DEVICE,
			    (struct span){all.p + at,
				size < all.n - at ? size : all.n - at},
			    at == 0);
		assert_string_equal(told, LINES);
		assert_forgotten(&t);
	}
}

/* What has begun before is passed over, and each way is its own. */
static void
test_joining_late(void **state)
{
	struct trace t;

	(void)state;
	begin(&t);
	trace_join(&t, TAP_FROM_DEVICE, 5);
	hear(&t, TAP_FROM_DEVICE, SPAN_OF("\xc0\x00\xe0"), false);
	hear(&t, TAP_TO_DEVICE, SPAN_OF("\xd0\x00"), true);
	hear(&t, TAP_FROM_DEVICE, SPAN_OF("12\xc0"), false);
	/* nothing is known of this one before a packet begins */
	hear(&t, TAP_TO_CLOUD, SPAN_OF("\xc0\x00"), false);
	hear(&t, TAP_TO_CLOUD, SPAN_OF("\xe0\x00"), true);
	hear(&t, TAP_FROM_DEVICE, SPAN_OF("\x00"), false);
	assert_string_equal(told, "proxy->device PINGRESP bytes=2\n"
				  "proxy->cloud  DISCONNECT bytes=2\n"
				  "device->proxy PINGREQ bytes=2\n");
}

/* One that was cut short goes with its connection. */
static void
test_restart(void **state)
{
	static const struct span login = SPAN_OF(CONNECT);
	struct trace t;

	(void)state;
	begin(&t);
	hear(&t, TAP_FROM_DEVICE, (struct span){login.p, login.n - 1}, true);
	trace_restart(&t, TAP_FROM_DEVICE);
	assert_forgotten(&t);
	hear(&t, TAP_FROM_DEVICE, SPAN_OF("\xc0\x00"), false);
	assert_string_equal(told, "device->proxy PINGREQ bytes=2\n");
}

/* One that was cut short goes with the trace, whatever way it came. */
static void
test_end(void **state)
{
	static const struct span login = SPAN_OF(CONNECT);
	struct trace t;

	(void)state;
	begin(&t);
	for (enum tap_way way = 0; way < TAP_WAYS; way++)
		hear(&t, way, (struct span){login.p, login.n - 1}, true);
	trace_end(&t);
	assert_forgotten(&t);
	assert_string_equal(told, "");
}

/* What is no packet is told once; what comes behind it cannot be read. */
static void
test_no_packet(void **state)
{
	struct trace t;

	(void)state;
	begin(&t);
	hear(&t, TAP_FROM_CLOUD, SPAN_OF("\xd0\x00\x00hidden\xd0\x00"), true);
	hear(&t, TAP_FROM_CLOUD, SPAN_OF("\xd0\x00"), false);
	hear(&t, TAP_FROM_CLOUD, SPAN_OF("\x30\xff\xff"), true);
	hear(&t, TAP_FROM_CLOUD, SPAN_OF("\xff\xff\xff"), false);
	assert_string_equal(told, "cloud->proxy  PINGRESP bytes=2\n"
				  "cloud->proxy  malformed first_byte=0x00\n"
				  "cloud->proxy  malformed first_byte=0x30\n");
}

static void
test_note(void **state)
{
	char text[2 * TRACE_LINE_MAX] = {0};
	struct trace t;

	(void)state;
	begin(&t);
	trace_note(&t, "something %s", "happens");
	assert_string_equal(told, "-- something happens\n");
	memset(text, 'x', sizeof(text) - 1);
	trace_note(&t, "%s", text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pieces_of_any_size),
	    cmocka_unit_test(test_joining_late),
	    cmocka_unit_test(test_restart),
	    cmocka_unit_test(test_end),
	    cmocka_unit_test(test_no_packet),
	    cmocka_unit_test(test_note),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
