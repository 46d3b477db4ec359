/*
 * The input is a stream of MQTT packets: their headers are scanned, CONNECT
 * and CONNACK are read, written, and read again. A login that is signed must
 * not pass for one of a secret that nobody has.
 */
#include "fuzz.h"

#include "codec/aliyun.h"
#include "codec/mqtt.h"
#include "codec/mqtt_connack.h"
#include "codec/mqtt_connect.h"

#include <string.h>

static bool
connect_equal(const struct mqtt_connect *a, const struct mqtt_connect *b)
{
	return a->level == b->level && a->clean == b->clean &&
	       a->keep_alive_s == b->keep_alive_s &&
	       span_eq(a->properties, b->properties) &&
	       span_eq(a->client_id, b->client_id) &&
	       a->has_will == b->has_will && a->will_qos == b->will_qos &&
	       a->will_retain == b->will_retain &&
	       span_eq(a->will_properties, b->will_properties) &&
	       span_eq(a->will_topic, b->will_topic) &&
	       span_eq(a->will_payload, b->will_payload) &&
	       a->has_username == b->has_username &&
	       span_eq(a->username, b->username) &&
	       a->has_password == b->has_password &&
	       span_eq(a->password, b->password);
}

static void
try_claim(const struct mqtt_connect *c)
{
	struct aliyun_claim claim;
	struct secret k = {0};

	if (!aliyun_claim_read(c->client_id, c->username, &claim))
		return;
	MUST(claim.client_id.n + claim.parameters.n + 2 == c->client_id.n);
	MUST(claim.device_name.n + claim.product_key.n + 1 == c->username.n);
	MUST(secret_set(&k, SPAN_OF("nobody's")));
	MUST(!aliyun_claim_signed(&claim, &k, c->password));
}

static void
try_connect(struct span packet)
{
	struct mqtt_connect c, again;
	struct fault why;
	uint8_t *out;
	size_t n;

	if (!mqtt_connect_read(packet, &c, &why)) {
		MUST(
		    why.why == R_BAD_CONNECT || why.why == R_UNSUPPORTED_LEVEL);
		MUST(why.text[0] != '\0');
		return;
	}
	n = mqtt_connect_size(&c);
	MUST(n > 0 && n <= packet.n);
	out = malloc(n);
	MUST(out != NULL);
	mqtt_connect_write(&c, out);
	MUST(mqtt_connect_read((struct span){out, n}, &again, NULL));
	MUST(connect_equal(&c, &again));
	free(out);
	try_claim(&c);
}

static void
try_connack(struct span packet, uint8_t level, struct span assigned)
{
	size_t size = packet.n + assigned.n + 8, n;
	struct mqtt_connack ack, again;
	uint8_t *out;

	if (!mqtt_connack_read(packet, level, &ack))
		return;
	MUST(mqtt_connack_word(level, ack.code)[0] != '\0');
	out = malloc(size);
	MUST(out != NULL);
	n = mqtt_connack_for_device(&ack, level, assigned, out, size);
	MUST(n > 0 && n <= size);
	MUST(mqtt_connack_read((struct span){out, n}, level, &again));
	MUST(again.code == ack.code);
	MUST(again.session_present == ack.session_present);
	MUST(!again.has_server_keep_alive);
	MUST(span_eq(again.reason_string, ack.reason_string));
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {data, size}, packet;
	struct mqtt_header h, shorter;

	/* also what no header announces, to come past the first check */
	try_connect(in);
	while (mqtt_header_read(in, &h) == PARSE_OK) {
		size_t n = h.header_bytes + h.remaining;

		MUST(h.header_bytes <= in.n);
		for (size_t cut = 0; cut < h.header_bytes; cut++)
			MUST(mqtt_header_read((struct span){in.p, cut},
				 &shorter) == PARSE_MORE);
		if (!span_take(&in, n, &packet))
			break;
		if (h.type == MQTT_CONNECT)
			try_connect(packet);
		for (uint8_t level = 3; level <= 5; level++) {
			try_connack(packet, level, SPAN_OF(""));
			try_connack(packet, level, SPAN_OF("assigned"));
		}
	}
	return 0;
}
