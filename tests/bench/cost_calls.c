/*
 * cost_calls: calls the codecs, for cost.py, which counts their instructions.
 * Prints a line for each case, "NAME CALLS", in the order of the calls of
 * count_case(): what the calls of a case cost is what that function costs,
 * divided by CALLS. A call that does not do what it should ends the program.
 */
#include "codec/aliyun.h"
#include "codec/mqtt.h"
#include "codec/mqtt_packet.h"
#include "codec/ws.h"
#include "session/flow.h"
#include "settings/topic_map.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 200, SMALL = 64, LARGE = 16384, RULES = 10, RULE_TEXT = 64 };

/* A case; false: it has failed. */
typedef bool call_of_case(void);

static const uint8_t mask_key[WS_KEY_BYTES] = {0x37, 0xfa, 0x21, 0x3d};
static uint8_t payload[LARGE];
static uint8_t frame[WS_HEADER_MAX + LARGE];

/* ---- frames ---- */

static bool
write_frame(size_t n)
{
	size_t header = ws_header_write(frame, WS_BINARY, true, n, mask_key);

	ws_mask_copy(frame + header, payload, n, mask_key);
	return header > 0;
}

static bool
write_small_frame(void)
{
	return write_frame(SMALL);
}

static bool
write_large_frame(void)
{
	return write_frame(LARGE);
}

/* One of the cloud: without a mask. */
static bool
read_frame(const uint8_t *header, size_t header_bytes, size_t n)
{
	static struct ws_reader reader;
	struct span in = {frame, header_bytes + n};
	struct ws_event ev;

	if (reader.max_message_bytes == 0)
		ws_reader_init(&reader, LARGE);
	memcpy(frame, header, header_bytes);
	return ws_read(&reader, &in, &ev) == PARSE_OK && ev.payload.n == n &&
	       ev.message_ends && in.n == 0;
}

static bool
read_small_frame(void)
{
	static const uint8_t header[] = {0x82, SMALL};

	return read_frame(header, sizeof(header), SMALL);
}

static bool
read_large_frame(void)
{
	static const uint8_t header[] = {0x82, 126, LARGE >> 8, LARGE & 0xff};

	return read_frame(header, sizeof(header), LARGE);
}

/* ---- packets ---- */

#define TOPIC "/a1B2c3D4e5F/pump-0007/user/state"

static const uint8_t publish_4[] = "\x32\x34"
				   "\x00\x21" TOPIC "\x00\x07"
				   "{\"on\": true, ";
static const uint8_t publish_5[] = "\x32\x3c"
				   "\x00\x21" TOPIC "\x00\x07"
				   "\x07\x01\x01\x02\x00\x00\x00\x3c"
				   "{\"on\": true, ";

static bool
read_header(void)
{
	/* not known to the compiler: it would read it */
	static const uint8_t *volatile packet = publish_4;
	struct mqtt_header header;

	return mqtt_header_read((struct span){packet, sizeof(publish_4) - 1},
		   &header) == PARSE_OK &&
	       header.remaining == publish_4[1];
}

static bool
read_packet(const uint8_t *packet, uint8_t level, enum mqtt_direction from)
{
	struct mqtt_packet p;
	struct fault why;

	return mqtt_packet_read((struct span){packet, 2u + packet[1]}, level,
		   from, &p, &why) &&
	       p.packet_id == 7;
}

static bool
read_publish_4(void)
{
	return read_packet(publish_4, 4, MQTT_FROM_CLIENT);
}

static bool
read_publish_5(void)
{
	return read_packet(publish_5, 5, MQTT_FROM_CLIENT);
}

static bool
read_puback(void)
{
	static const uint8_t puback[] = {0x40, 2, 0, 7};

	return read_packet(puback, 4, MQTT_FROM_SERVER);
}

static bool
read_publish_head(void)
{
	struct mqtt_packet p;
	struct fault why;
	size_t n;

	return mqtt_publish_head_read(
		   (struct span){publish_4, sizeof(publish_4) - 1}, 4,
		   MQTT_FROM_CLIENT, &p, &n, &why) == PARSE_OK &&
	       p.topic.n == sizeof(TOPIC) - 1;
}

/* ---- topics ---- */

static struct topic_map *rules;
static const struct topic_names names = {
    .pk = SPAN_OF("a1B2c3D4e5F"),
    .dn = SPAN_OF("pump-0007"),
    .label = SPAN_OF("pump7"),
    .client_id = SPAN_OF("c_7"),
};

static void
tell(void *arg, bool is_error, const char *path, int line, const char *text)
{
	(void)arg;
	(void)is_error;
	errx(1, "%s:%d: %s", path, line, text);
}

static void
compile_rules(void)
{
	static char lan[RULES][RULE_TEXT], cloud[RULES][RULE_TEXT];
	struct topic_spec specs[RULES];
	struct complaints to = {.tell = tell};

	for (size_t i = 0; i < RULES; i++) {
		(void)snprintf(lan[i], RULE_TEXT, "plant/m%zu/+/state", i);
		(void)snprintf(
		    cloud[i], RULE_TEXT, "/${pk}/${dn}/user/m%zu/$1", i);
		specs[i] = (struct topic_spec){.key = "topic.1",
		    .line = 1,
		    .lan = lan[i],
		    .cloud = cloud[i],
		    .escape = true};
	}
	rules = topic_map_compile(specs, RULES, "rules", &to);
	if (rules == NULL)
		errx(1, "the rules do not compile");
}

static struct topic_text above;

static bool
map_topic_up(void)
{
	return topic_map_up(rules, &names, SPAN_OF("plant/m7/line-42/state"),
		   &above) == TOPIC_MAPPED;
}

/* What the last one has made. */
static bool
map_topic_down(void)
{
	struct topic_text below;

	return topic_map_down(rules, &names, topic_text_span(&above), &below) ==
	       TOPIC_MAPPED;
}

/* ---- the rest ---- */

static struct secret device_secret;

static bool
sign_login(void)
{
	const struct aliyun_identity who = {.product_key = "a1B2c3D4e5F",
	    .device_name = "pump-0007",
	    .client_id = "a1B2c3D4e5F.pump-0007",
	    .extra = "",
	    .method = ALIYUN_HMACSHA256,
	    .securemode = ALIYUN_SECUREMODE_TLS,
	    .has_timestamp = true,
	    .timestamp_ms = 1700000000000};
	struct aliyun_login login;

	return aliyun_sign(&who, &device_secret, &login);
}

static struct flow flow;

/* Below its rate, in windows that end: each forgets one that came before. */
static bool
admit_publish(void)
{
	static uint64_t now_ms = 1000000;
	const struct flow_publish p = {.qos = 1,
	    .bytes = sizeof(publish_4) - 1,
	    .packet = {publish_4, sizeof(publish_4) - 1}};

	return flow_admit(&flow, &p, now_ms += 120) == FLOW_PASS;
}

static const struct {
	const char *name;
	call_of_case *call;
} cases[] = {
    {"ws_write_64", write_small_frame},
    {"ws_write_16384", write_large_frame},
    {"ws_read_64", read_small_frame},
    {"ws_read_16384", read_large_frame},
    {"mqtt_header_read", read_header},
    {"publish_read_level_4", read_publish_4},
    {"publish_read_level_5", read_publish_5},
    {"puback_read", read_puback},
    {"publish_head_read", read_publish_head},
    {"topic_up_10_rules", map_topic_up},
    {"topic_down_10_rules", map_topic_down},
    {"login_sign", sign_login},
    {"flow_admit", admit_publish},
};

enum { CASES = sizeof(cases) / sizeof(cases[0]) };

/* cost.py knows it by name. */
__attribute__((noinline)) static void
count_case(call_of_case *call)
{
	for (size_t i = 0; i < CALLS; i++)
		if (!call())
			exit(1);
}

int
main(void)
{
	const struct flow_limits limits = {30, 10, 1048576, 100, 65536};
	struct loop *loop = loop_new(1024 * 1024);

	if (loop == NULL)
		errx(1, "no loop");
	if (!secret_set(
		&device_secret, SPAN_OF("0123456789abcdef0123456789abcdef")))
		errx(1, "no secret");
	flow_init(&flow, loop, &limits);
	compile_rules();
	for (size_t i = 0; i < CASES; i++) {
		/* what only happens once is not counted */
		if (!cases[i].call())
			errx(1, "%s has failed", cases[i].name);
		count_case(cases[i].call);
		printf("%s %d\n", cases[i].name, CALLS);
	}
	topic_map_free(rules);
	flow_free(&flow);
	loop_free(&loop);
	return 0;
}
