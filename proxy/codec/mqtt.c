#include "codec/mqtt.h"

#include "codec/utf8.h"

#include <assert.h>

/* PUBLISH has all but QoS 3 (MQTT-3.3.1-4), and DUP at QoS 0 (MQTT-3.3.1-2);
   PUBREL and its like are at QoS 1, with DUP or without. */
enum { NO_FLAGS = 1 << 0, AT_QOS_1 = 1 << 0x2 | 1 << 0xa };
const uint16_t mqtt_flags_allowed[16] = {[MQTT_CONNECT] = NO_FLAGS,
    [MQTT_CONNACK] = NO_FLAGS,
    [MQTT_PUBLISH] = 0x3c3f,
    [MQTT_PUBACK] = NO_FLAGS,
    [MQTT_PUBREC] = NO_FLAGS,
    [MQTT_PUBREL] = AT_QOS_1,
    [MQTT_PUBCOMP] = NO_FLAGS,
    [MQTT_SUBSCRIBE] = AT_QOS_1,
    [MQTT_SUBACK] = NO_FLAGS,
    [MQTT_UNSUBSCRIBE] = AT_QOS_1,
    [MQTT_UNSUBACK] = NO_FLAGS,
    [MQTT_PINGREQ] = NO_FLAGS,
    [MQTT_PINGRESP] = NO_FLAGS,
    [MQTT_DISCONNECT] = NO_FLAGS,
    [MQTT_AUTH] = NO_FLAGS};

/*
 * The decoding of 1.5.5. PARSE_OK: <*bytes> is how many of <in> it took, and
 * the last of them is in.p[*bytes - 1].
 */
static enum parse
varint_read(struct span in, uint32_t *value, size_t *bytes)
{
	*value = 0;
	for (size_t i = 0; i < 4; i++) {
		if (i == in.n)
			return PARSE_MORE;
		*value |= (uint32_t)(in.p[i] & 0x7f) << 7 * i;
		if ((in.p[i] & 0x80) == 0) {
			*bytes = i + 1;
			return PARSE_OK;
		}
	}
	return PARSE_BAD;
}

enum parse
mqtt_header_read_any(struct span in, struct mqtt_header *out)
{
	uint8_t first;
	size_t length_bytes;
	enum parse got;

	if (!span_take_u8(&in, &first))
		return PARSE_MORE;
	if ((mqtt_flags_allowed[first >> 4] >> (first & 0xf) & 1) == 0)
		return PARSE_BAD;
	got = varint_read(in, &out->remaining, &length_bytes);
	if (got != PARSE_OK)
		return got;
	out->type = first >> 4;
	out->flags = first & 0xf;
	out->header_bytes = 1 + length_bytes;
	return PARSE_OK;
}

size_t
mqtt_header_write(
    uint8_t out[static MQTT_HEADER_MAX], uint8_t first_byte, uint32_t remaining)
{
	out[0] = first_byte;
	return 1 + mqtt_varint_write(out + 1, remaining);
}

size_t
mqtt_connack_write(uint8_t out[static MQTT_SMALL_MAX], uint8_t level,
    bool session_present, uint8_t code)
{
	/* the bit is reserved in MQTT 3.1, and 0 in a refusal (MQTT-3.2.2-6) */
	out[2] = session_present && level > 3 && code == 0;
	out[3] = code;
	out[4] = 0; /* property length */
	out[0] = MQTT_CONNACK << 4;
	out[1] = level >= 5 ? 3 : 2;
	return 2 + (size_t)out[1];
}

size_t
mqtt_disconnect_write(
    uint8_t out[static MQTT_SMALL_MAX], uint8_t level, uint8_t code)
{
	out[0] = MQTT_DISCONNECT << 4;
	out[1] = level >= 5 && code != 0; /* 3.14.2.1: none means 0 */
	out[2] = code;
	return 2 + (size_t)out[1];
}

static size_t
write_empty(uint8_t *out, enum mqtt_type type)
{
	out[0] = (uint8_t)(type << 4);
	out[1] = 0;
	return 2;
}

size_t
mqtt_pingreq_write(uint8_t out[static MQTT_SMALL_MAX])
{
	return write_empty(out, MQTT_PINGREQ);
}

size_t
mqtt_pingresp_write(uint8_t out[static MQTT_SMALL_MAX])
{
	return write_empty(out, MQTT_PINGRESP);
}

bool
mqtt_utf8_valid(struct span s)
{
	return s.n == 0 || (memchr(s.p, 0, s.n) == NULL && utf8_valid(s));
}

bool
mqtt_take_binary(struct span *in, struct span *out)
{
	struct span left = *in;
	uint16_t n;

	if (!span_take_u16(&left, &n) || !span_take(&left, n, out))
		return false;
	*in = left;
	return true;
}

bool
mqtt_take_string(struct span *in, struct span *out)
{
	struct span left = *in;

	if (!mqtt_take_binary(&left, out) || !mqtt_utf8_valid(*out))
		return false;
	*in = left;
	return true;
}

bool
mqtt_take_varint(struct span *in, uint32_t *out)
{
	size_t bytes;

	if (varint_read(*in, out, &bytes) != PARSE_OK)
		return false;
	if (bytes > 1 && in->p[bytes - 1] == 0)
		return false; /* MQTT-1.5.5-1: the shortest form */
	in->p += bytes;
	in->n -= bytes;
	return true;
}

size_t
mqtt_varint_write(uint8_t out[static 4], uint32_t value)
{
	size_t n = 0;

	assert(value <= MQTT_REMAINING_MAX);
	for (; value > 0x7f; value >>= 7)
		out[n++] = (uint8_t)(value | 0x80);
	out[n++] = (uint8_t)value;
	return n;
}
