#include "codec/mqtt_describe.h"

#include "base/escape.h"
#include "base/text.h"
#include "codec/mqtt.h"
#include "codec/mqtt_connack.h"
#include "codec/mqtt_connect.h"
#include "codec/mqtt_packet.h"
#include "codec/mqtt_property.h"

#include <stdbool.h>
#include <string.h>

enum { STRING_MAX = 520, ELLIPSIS_BYTES = 4 };

/* A packet that is told. */
struct view {
	struct mqtt_header header;
	struct span in; /* not told yet */
	bool is_cut;    /* more of it is not here */
	bool lacks;     /* it could not be read on */
	uint8_t level;
	size_t payload_max;
	struct text out;
};

const char *
mqtt_type_word(unsigned type)
{
	static const char *const words[] = {"0", "CONNECT", "CONNACK",
	    "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
	    "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP",
	    "DISCONNECT", "AUTH"};

	return type < sizeof(words) / sizeof(words[0]) ? words[type] : "?";
}

/* ---- what is told ---- */

static void
say_string(struct view *v, const char *name, struct span s)
{
	char text[STRING_MAX];

	text_add(&v->out, " %s=\"%s\"", name, escape(text, sizeof(text), s));
}

static void
say_flag(struct view *v, const char *name, bool is_set)
{
	if (is_set)
		text_add(&v->out, " %s", name);
}

/* ---- what is read ---- */

static unsigned
take_byte(struct view *v)
{
	struct span byte;

	if (!v->lacks && span_take(&v->in, 1, &byte))
		return byte.p[0];
	v->lacks = true;
	return 0;
}

static unsigned
take_short(struct view *v)
{
	unsigned high = take_byte(v);

	return high << 8 | take_byte(v);
}

/* Two bytes of length, and so many; empty when they are not there. */
static struct span
take_binary(struct view *v)
{
	struct span s = {NULL, 0};

	if (!v->lacks && !mqtt_take_binary(&v->in, &s))
		v->lacks = true;
	return v->lacks ? (struct span){NULL, 0} : s;
}

static void
say_id(struct view *v)
{
	unsigned id = take_short(v);

	if (!v->lacks)
		text_add(&v->out, " id=%u", id);
}

/* ---- properties (2.2.2) ---- */

enum kind { NUMBER, STRING, SIZE /* of what is not for the eyes */ };

static const struct {
	const char *name;
	enum kind kind;
} properties[] = {
    [0x01] = {"payload_format", NUMBER},
    [0x02] = {"message_expiry", NUMBER},
    [0x03] = {"content_type", STRING},
    [0x08] = {"response_topic", STRING},
    [0x09] = {"correlation_bytes", SIZE},
    [0x0B] = {"subscription_id", NUMBER},
    [0x11] = {"session_expiry", NUMBER},
    [0x12] = {"assigned_client_id", STRING},
    [0x13] = {"server_keep_alive", NUMBER},
    [0x15] = {"auth_method", STRING},
    [0x16] = {"auth_bytes", SIZE},
    [0x17] = {"request_problem", NUMBER},
    [0x18] = {"will_delay", NUMBER},
    [0x19] = {"request_response", NUMBER},
    [0x1A] = {"response_information", STRING},
    [0x1C] = {"server_reference", STRING},
    [0x1F] = {"reason", STRING},
    [0x21] = {"receive_maximum", NUMBER},
    [0x22] = {"topic_alias_maximum", NUMBER},
    [0x23] = {"topic_alias", NUMBER},
    [0x24] = {"maximum_qos", NUMBER},
    [0x25] = {"retain_available", NUMBER},
    [0x26] = {"user_property", STRING}, /* its name */
    [0x27] = {"maximum_packet", NUMBER},
    [0x28] = {"wildcards_available", NUMBER},
    [0x29] = {"subscription_ids_available", NUMBER},
    [0x2A] = {"shared_available", NUMBER},
};

static void
say_property(struct view *v, const struct mqtt_property *p)
{
	const char *name = properties[p->id].name;

	switch (properties[p->id].kind) {
	case NUMBER:
		text_add(&v->out, " %s=%u", name, p->value);
		break;
	case STRING:
		say_string(v, name, p->text);
		break;
	case SIZE:
		text_add(&v->out, " %s=%zu", name, p->text.n);
	}
}

static void
say_properties(struct view *v, struct span list)
{
	struct mqtt_property p;
	enum parse found;

	while ((found = mqtt_property_next(&list, &p)) == PARSE_OK)
		say_property(v, &p);
	if (found == PARSE_BAD)
		v->lacks = true;
}

/* Those that stand next, at level 5. */
static void
take_properties(struct view *v)
{
	struct span list;
	uint32_t n;

	if (v->level < 5 || v->lacks)
		return;
	if (mqtt_take_varint(&v->in, &n) && span_take(&v->in, n, &list))
		say_properties(v, list);
	else
		v->lacks = true;
}

/* ---- packets ---- */

/* Read by the strict reader: half understood, what stands in the place of a
   client identifier might be a password. */
static void
describe_connect(struct view *v, struct span packet)
{
	struct mqtt_connect c;

	if (v->is_cut || !mqtt_connect_read(packet, &c, NULL)) {
		v->lacks = true;
		return;
	}
	text_add(&v->out, " level=%u clean=%s keep_alive=%u", c.level,
	    c.clean ? "yes" : "no", c.keep_alive_s);
	say_string(v, "client_id", c.client_id);
	if (c.has_will) {
		text_add(&v->out, " will_qos=%u", c.will_qos);
		say_flag(v, "will_retain", c.will_retain);
		say_string(v, "will_topic", c.will_topic);
		text_add(&v->out, " will_bytes=%zu", c.will_payload.n);
		say_properties(v, c.will_properties);
	}
	text_add(&v->out, " username=%s password=%s",
	    c.has_username ? "yes" : "no", c.has_password ? "yes" : "no");
	say_properties(v, c.properties);
}

static void
describe_connack(struct view *v)
{
	bool is_present = (take_byte(v) & 1) != 0;
	unsigned code = take_byte(v);

	if (v->lacks)
		return;
	text_add(&v->out, " code=0x%02x %s", code,
	    mqtt_connack_word(v->level, (uint8_t)code));
	say_flag(v, "session_present", is_present);
	/* a server without MQTT 5.0 has none */
	if (v->in.n > 0)
		take_properties(v);
}

/* What is behind the head of a PUBLISH. */
static void
say_payload(struct view *v, size_t head)
{
	size_t all = v->header.remaining - head;
	struct span shown = v->in;

	text_add(&v->out, " payload_bytes=%zu", all);
	if (v->payload_max == 0)
		return;
	if (shown.n > v->payload_max)
		shown.n = v->payload_max;
	say_string(v, "payload", shown);
	if (shown.n < all)
		text_add(&v->out, "...");
}

static void
describe_publish(struct view *v)
{
	unsigned qos = v->header.flags >> 1 & 3;
	size_t all = v->in.n;
	struct span topic;

	text_add(&v->out, " qos=%u", qos);
	say_flag(v, "dup", (v->header.flags & 8) != 0);
	say_flag(v, "retain", (v->header.flags & 1) != 0);
	topic = take_binary(v);
	if (qos > 0)
		say_id(v);
	if (topic.p != NULL)
		say_string(v, "topic", topic);
	take_properties(v);
	if (!v->lacks)
		say_payload(v, all - v->in.n);
}

/* A reason code and properties, which may be left out (3.4.2.1). */
static void
say_reason(struct view *v)
{
	if (v->level < 5 || v->lacks || (v->in.n == 0 && !v->is_cut))
		return;
	text_add(&v->out, " code=0x%02x", take_byte(v));
	if (v->in.n > 0)
		take_properties(v);
}

static void
describe_ack(struct view *v)
{
	say_id(v);
	say_reason(v);
}

static void
describe_subscribe(struct view *v)
{
	enum { QOS = 3 };

	say_id(v);
	take_properties(v);
	while (!v->lacks && v->in.n > 0) {
		struct span filter = take_binary(v);
		unsigned options = 0;

		if (!v->lacks)
			say_string(v, "filter", filter);
		if (v->header.type == MQTT_UNSUBSCRIBE)
			continue;
		options = take_byte(v);
		if (v->lacks)
			return;
		text_add(&v->out, " qos=%u", options & QOS);
		if ((options & ~(unsigned)QOS) != 0)
			text_add(&v->out, " options=0x%02x", options);
	}
	v->lacks |= v->is_cut;
}

static void
describe_suback(struct view *v)
{
	const char *before = " codes=";

	say_id(v);
	take_properties(v);
	for (; !v->lacks && v->in.n > 0; before = ",")
		text_add(&v->out, "%s0x%02x", before, take_byte(v));
	v->lacks |= v->is_cut;
}

static void
describe(struct view *v, struct span packet)
{
	switch (v->header.type) {
	case MQTT_CONNECT:
		describe_connect(v, packet);
		break;
	case MQTT_CONNACK:
		describe_connack(v);
		break;
	case MQTT_PUBLISH:
		describe_publish(v);
		break;
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBREL:
	case MQTT_PUBCOMP:
		describe_ack(v);
		break;
	case MQTT_SUBSCRIBE:
	case MQTT_UNSUBSCRIBE:
		describe_subscribe(v);
		break;
	case MQTT_SUBACK:
	case MQTT_UNSUBACK:
		describe_suback(v);
		break;
	case MQTT_DISCONNECT:
	case MQTT_AUTH:
		say_reason(v);
		break;
	case MQTT_PINGREQ:
	case MQTT_PINGRESP:
		break;
	}
}

/* What is no packet; its bytes may be those of a login. */
static void
describe_nothing(struct view *v, struct span start)
{
	text_add(&v->out, "malformed");
	if (start.n > 0)
		text_add(&v->out, " first_byte=0x%02x", start.p[0]);
}

const char *
mqtt_describe(struct span start, uint8_t level, size_t payload_max, char *out,
    size_t size)
{
	struct view v = {
	    .level = level,
	    .payload_max = payload_max,
	    .out = {.at = out, .left = size - ELLIPSIS_BYTES},
	};
	struct span head, packet = start;
	uint64_t total;

	*out = '\0';
	if (mqtt_header_read(start, &v.header) != PARSE_OK ||
	    !span_take(&start, v.header.header_bytes, &head)) {
		describe_nothing(&v, start);
		return out;
	}
	total = v.header.header_bytes + (uint64_t)v.header.remaining;
	v.is_cut = packet.n < total;
	v.in = start;
	if (!v.is_cut) {
		packet.n = (size_t)total;
		v.in.n = v.header.remaining;
	}
	text_add(&v.out, "%s bytes=%llu", mqtt_type_word(v.header.type),
	    (unsigned long long)total);
	describe(&v, packet);
	if (v.lacks)
		text_add(&v.out, v.is_cut ? " ..." : " malformed");
	if (v.out.full)
		strcpy(v.out.at, " ...");
	return out;
}
