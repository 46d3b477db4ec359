#include "codec/mqtt_connect.h"

#include "base/escape.h"
#include "codec/mqtt.h"
#include "codec/mqtt_property.h"

#include <assert.h>

/* The connect flags, 3.1.2.3 to 3.1.2.9. */
enum {
	FLAG_RESERVED = 0x01,
	FLAG_CLEAN = 0x02,
	FLAG_WILL = 0x04,
	WILL_QOS_SHIFT = 3,
	WILL_QOS_BITS = 3,
	FLAG_WILL_RETAIN = 0x20,
	FLAG_PASSWORD = 0x40,
	FLAG_USERNAME = 0x80
};

static bool
bad(struct fault *why, const char *what)
{
	return fault_set(why, R_BAD_CONNECT, "CONNECT: %s", what);
}

/* Takes off the fixed header, and checks that the packet is as long as it says.
 */
static bool
read_fixed_header(struct span *in, struct fault *why)
{
	struct mqtt_header h;

	if (mqtt_header_read(*in, &h) != PARSE_OK || h.type != MQTT_CONNECT)
		return bad(why, "the fixed header is not that of a CONNECT");
	in->p += h.header_bytes;
	in->n -= h.header_bytes;
	if (in->n != h.remaining)
		return fault_set(why, R_BAD_CONNECT,
		    "CONNECT: %zu bytes follow the fixed header, which says %u",
		    in->n, (unsigned)h.remaining);
	return true;
}

static bool
read_name_and_level(struct span *in, uint8_t *level, struct fault *why)
{
	char shown[48];
	struct span name;
	uint8_t asked;

	if (!mqtt_take_binary(in, &name))
		return bad(why, "the protocol name is cut short");
	if (!span_eq(name, SPAN_OF("MQTT")) &&
	    !span_eq(name, SPAN_OF("MQIsdp")))
		return fault_set(why, R_BAD_CONNECT,
		    "CONNECT: the protocol name is '%s', not 'MQTT' or "
		    "'MQIsdp'",
		    escape(shown, sizeof(shown), name));
	if (!span_take_u8(in, &asked))
		return bad(why, "the protocol level is missing");
	*level = asked;
	if (name.n == 4 ? asked == 4 || asked == 5 : asked == 3)
		return true;
	/* Mosquitto's bridge asks with the top bit set first, and falls back
	   when it is refused in the older form */
	*level = name.n == 6                                   ? 3
		 : asked < 5 || asked == 0x83 || asked == 0x84 ? 4
							       : 5;
	return fault_set(why, R_UNSUPPORTED_LEVEL,
	    "CONNECT: protocol name '%s' with level %u; supported are "
	    "'MQIsdp' with 3 and 'MQTT' with 4 or 5",
	    escape(shown, sizeof(shown), name), (unsigned)asked);
}

static bool
read_flags(struct span *in, struct mqtt_connect *out, struct fault *why)
{
	uint8_t flags;

	if (!span_take_u8(in, &flags))
		return bad(why, "the connect flags are missing");
	out->clean = (flags & FLAG_CLEAN) != 0;
	out->has_will = (flags & FLAG_WILL) != 0;
	out->will_qos = flags >> WILL_QOS_SHIFT & WILL_QOS_BITS;
	out->will_retain = (flags & FLAG_WILL_RETAIN) != 0;
	out->has_username = (flags & FLAG_USERNAME) != 0;
	out->has_password = (flags & FLAG_PASSWORD) != 0;
	if (!out->has_will && out->level == 3) {
		/* 3.1 gives these bits a meaning with a will only */
		out->will_qos = 0;
		out->will_retain = false;
	}
	/* 3.1 has the bit, but no rule for it */
	if ((flags & FLAG_RESERVED) != 0 && out->level > 3)
		return bad(why, "the reserved flag is set (MQTT-3.1.2-3)");
	if (out->will_qos > 2)
		return bad(why, "the will has QoS 3 (MQTT-3.1.2-12)");
	if (!out->has_will && (out->will_qos > 0 || out->will_retain))
		return bad(why, "will QoS or retain without a will "
				"(MQTT-3.1.2-11)");
	/* allowed by 5.0, see its 3.1.2.9 */
	if (out->has_password && !out->has_username && out->level < 5)
		return bad(why, "a password without a user name "
				"(MQTT-3.1.2-22 of 3.1.1)");
	return true;
}

static bool
read_properties(struct span *in, struct span *out,
    enum mqtt_property_place place, struct fault *why)
{
	uint32_t n;

	if (mqtt_take_varint(in, &n) && span_take(in, n, out) &&
	    mqtt_properties_valid(*out, place))
		return true;
	if (place == MQTT_IN_WILL)
		return bad(why, "the will properties are cut short, repeated, "
				"out of range or not of a will (3.1.3.2)");
	return bad(why, "the properties are cut short, repeated, out of range "
			"or not of a CONNECT (3.1.2.11)");
}

/* A UTF-8 string field; <name> is what the fault calls it. */
static bool
read_string(
    struct span *in, struct span *out, const char *name, struct fault *why)
{
	char shown[64];

	if (!mqtt_take_binary(in, out))
		return fault_set(
		    why, R_BAD_CONNECT, "CONNECT: the %s is cut short", name);
	if (!mqtt_utf8_valid(*out))
		return fault_set(why, R_BAD_CONNECT,
		    "CONNECT: the %s is not valid UTF-8 (MQTT-1.5.4-1, -2): "
		    "'%s'",
		    name, escape(shown, sizeof(shown), *out));
	return true;
}

static bool
read_will(struct span *in, struct mqtt_connect *out, struct fault *why)
{
	if (!out->has_will)
		return true;
	if (out->level >= 5 &&
	    !read_properties(in, &out->will_properties, MQTT_IN_WILL, why))
		return false;
	if (!read_string(in, &out->will_topic, "will topic", why))
		return false;
	if (out->will_topic.n == 0)
		return bad(why, "the will topic is empty (MQTT-4.7.3-1)");
	if (memchr(out->will_topic.p, '+', out->will_topic.n) != NULL ||
	    memchr(out->will_topic.p, '#', out->will_topic.n) != NULL)
		return bad(why, "the will topic has a wildcard (MQTT-4.7.0-1)");
	return mqtt_take_binary(in, &out->will_payload) ||
	       bad(why, "the will payload is cut short");
}

/*
 * MQTT 3.1 section 3.1: the remaining length takes precedence over these two
 * flags, so at level 3 a field that a flag announces may be missing.
 */
static bool
read_login(struct span *in, struct mqtt_connect *out, struct fault *why)
{
	if (out->level == 3 && in->n == 0)
		out->has_username = false;
	/* not shown: firmware is known to keep tokens there */
	if (out->has_username && !mqtt_take_string(in, &out->username))
		return bad(
		    why, "the user name is cut short or not valid UTF-8");
	if (out->level == 3 && in->n == 0)
		out->has_password = false;
	return !out->has_password || mqtt_take_binary(in, &out->password) ||
	       bad(why, "the password is cut short");
}

bool
mqtt_connect_read(
    struct span packet, struct mqtt_connect *out, struct fault *why)
{
	struct span in = packet;

	*out = (struct mqtt_connect){0};
	if (!read_fixed_header(&in, why) ||
	    !read_name_and_level(&in, &out->level, why) ||
	    !read_flags(&in, out, why))
		return false;
	if (!span_take_u16(&in, &out->keep_alive_s))
		return bad(why, "the keep-alive is missing");
	if (out->level >= 5 &&
	    !read_properties(&in, &out->properties, MQTT_IN_CONNECT, why))
		return false;
	if (!read_string(&in, &out->client_id, "client identifier", why) ||
	    !read_will(&in, out, why) || !read_login(&in, out, why))
		return false;
	return in.n == 0 ||
	       fault_set(why, R_BAD_CONNECT,
		   "CONNECT: %zu bytes follow the last field", in.n);
}

static size_t
varint_bytes(size_t value)
{
	size_t n = 1;

	for (; value > 0x7f; value >>= 7)
		n++;
	return n;
}

static struct span
protocol_name(const struct mqtt_connect *c)
{
	return c->level == 3 ? SPAN_OF("MQIsdp") : SPAN_OF("MQTT");
}

/* Bytes of a property list with its length; 0 below level 5. */
static size_t
properties_bytes(const struct mqtt_connect *c, struct span list)
{
	return c->level < 5 ? 0 : varint_bytes(list.n) + list.n;
}

/* The bytes behind the fixed header; over MQTT_REMAINING_MAX: too many. */
static size_t
remaining_bytes(const struct mqtt_connect *c)
{
	static const size_t too_many = (size_t)MQTT_REMAINING_MAX + 1;
	const struct span fields[] = {c->client_id, c->will_topic,
	    c->will_payload, c->username, c->password};
	size_t n;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].n > UINT16_MAX)
			return too_many;
	if (c->properties.n > MQTT_REMAINING_MAX ||
	    c->will_properties.n > MQTT_REMAINING_MAX)
		return too_many;
	n = 2 + protocol_name(c).n + 1 + 1 + 2; /* level, flags, keep-alive */
	n += properties_bytes(c, c->properties);
	n += 2 + c->client_id.n;
	if (c->has_will) {
		n += properties_bytes(c, c->will_properties);
		n += 2 + c->will_topic.n + 2 + c->will_payload.n;
	}
	if (c->has_username)
		n += 2 + c->username.n;
	if (c->has_password)
		n += 2 + c->password.n;
	return n;
}

size_t
mqtt_connect_size(const struct mqtt_connect *c)
{
	size_t remaining = remaining_bytes(c);

	if (remaining > MQTT_REMAINING_MAX)
		return 0;
	return 1 + varint_bytes(remaining) + remaining;
}

static uint8_t *
write_bytes(uint8_t *at, struct span s)
{
	if (s.n > 0)
		memcpy(at, s.p, s.n);
	return at + s.n;
}

static uint8_t *
write_u16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return at + 2;
}

/* A string or binary field: its length and its bytes. */
static uint8_t *
write_field(uint8_t *at, struct span s)
{
	return write_bytes(write_u16(at, s.n), s);
}

static uint8_t *
write_properties(const struct mqtt_connect *c, uint8_t *at, struct span list)
{
	if (c->level < 5)
		return at;
	return write_bytes(at + mqtt_varint_write(at, (uint32_t)list.n), list);
}

static uint8_t
flags_of(const struct mqtt_connect *c)
{
	unsigned flags = 0;

	if (c->clean)
		flags |= FLAG_CLEAN;
	if (c->has_will)
		flags |= FLAG_WILL | (unsigned)c->will_qos << WILL_QOS_SHIFT;
	if (c->has_will && c->will_retain)
		flags |= FLAG_WILL_RETAIN;
	if (c->has_password)
		flags |= FLAG_PASSWORD;
	if (c->has_username)
		flags |= FLAG_USERNAME;
	return (uint8_t)flags;
}

void
mqtt_connect_write(const struct mqtt_connect *c, uint8_t *out)
{
	uint8_t header[MQTT_HEADER_MAX];
	uint8_t *at = out;

	assert(mqtt_connect_size(c) > 0);
	at = write_bytes(at,
	    (struct span){header, mqtt_header_write(header, MQTT_CONNECT << 4,
				      (uint32_t)remaining_bytes(c))});
	at = write_field(at, protocol_name(c));
	*at++ = c->level;
	*at++ = flags_of(c);
	at = write_u16(at, c->keep_alive_s);
	at = write_properties(c, at, c->properties);
	at = write_field(at, c->client_id);
	if (c->has_will) {
		at = write_properties(c, at, c->will_properties);
		at = write_field(at, c->will_topic);
		at = write_field(at, c->will_payload);
	}
	if (c->has_username)
		at = write_field(at, c->username);
	if (c->has_password)
		(void)write_field(at, c->password);
}
