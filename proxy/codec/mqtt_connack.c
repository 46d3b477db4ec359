#include "codec/mqtt_connack.h"

#include "codec/mqtt.h"
#include "codec/mqtt_property.h"

/* MQTT 3.1.1 table 3.1, with the codes of MQTT 5.0 that say the same. */
/* clang-format off */
static const struct {
	const char *word;
	uint8_t code5;
} refusals[] = {
	{ "accepted",                      0x00 },
	{ "unacceptable_protocol_version", 0x84 },
	{ "identifier_rejected",           0x85 },
	{ "server_unavailable",            0x88 },
	{ "bad_user_name_or_password",     0x86 },
	{ "not_authorized",                0x87 },
};

/* MQTT 5.0 3.2.2.2 */
static const struct {
	uint8_t code;
	const char *word;
} words5[] = {
	{ 0x00, "success" },
	{ 0x80, "unspecified_error" },
	{ 0x81, "malformed_packet" },
	{ 0x82, "protocol_error" },
	{ 0x83, "implementation_specific_error" },
	{ 0x84, "unsupported_protocol_version" },
	{ 0x85, "client_identifier_not_valid" },
	{ 0x86, "bad_user_name_or_password" },
	{ 0x87, "not_authorized" },
	{ 0x88, "server_unavailable" },
	{ 0x89, "server_busy" },
	{ 0x8a, "banned" },
	{ 0x8c, "bad_authentication_method" },
	{ 0x90, "topic_name_invalid" },
	{ 0x95, "packet_too_large" },
	{ 0x97, "quota_exceeded" },
	{ 0x99, "payload_format_invalid" },
	{ 0x9a, "retain_not_supported" },
	{ 0x9b, "qos_not_supported" },
	{ 0x9c, "use_another_server" },
	{ 0x9d, "server_moved" },
	{ 0x9f, "connection_rate_exceeded" },
};
/* clang-format on */

enum { REFUSALS = sizeof(refusals) / sizeof(refusals[0]) };

const char *
mqtt_connack_word(uint8_t level, uint8_t code)
{
	if (level < 5)
		return code < REFUSALS ? refusals[code].word : "reserved_code";
	for (size_t i = 0; i < sizeof(words5) / sizeof(words5[0]); i++)
		if (words5[i].code == code)
			return words5[i].word;
	return "reserved_code";
}

static void
note_properties(struct mqtt_connack *out)
{
	struct span list = out->properties;
	struct mqtt_property p;

	while (mqtt_property_next(&list, &p) == PARSE_OK) {
		if (p.id == MQTT_SERVER_KEEP_ALIVE) {
			out->has_server_keep_alive = true;
			out->server_keep_alive_s = (uint16_t)p.value;
		} else if (p.id == MQTT_REASON_STRING) {
			out->reason_string = p.text;
		}
	}
}

bool
mqtt_connack_read(struct span packet, uint8_t level, struct mqtt_connack *out)
{
	struct mqtt_header h;
	struct span in = packet;
	uint8_t flags;
	uint32_t n;

	*out = (struct mqtt_connack){0};
	if (mqtt_header_read(in, &h) != PARSE_OK || h.type != MQTT_CONNACK)
		return false;
	in.p += h.header_bytes;
	in.n -= h.header_bytes;
	if (in.n != h.remaining || !span_take_u8(&in, &flags) ||
	    !span_take_u8(&in, &out->code))
		return false;
	if (level > 3) {
		if (flags > 1)
			return false; /* MQTT-3.2.2-1 */
		/* a refusal has no session, whatever it says: MQTT-3.2.2-6 */
		out->session_present = flags == 1 && out->code == 0;
	}
	if (level < 5)
		return in.n == 0;
	if (in.n == 0) {
		/* a server that knows no MQTT 5.0 refuses in the older form */
		if (out->code == 0 || out->code >= REFUSALS)
			return false;
		out->code = refusals[out->code].code5;
		return true;
	}
	if (!mqtt_take_varint(&in, &n) || n != in.n ||
	    !mqtt_properties_valid(in, MQTT_IN_CONNACK))
		return false;
	out->properties = in;
	note_properties(out);
	return true;
}

/* Whether the cloud speaks about itself here, not about what it can do. */
static bool
stays_here(uint8_t id)
{
	return id == MQTT_SERVER_KEEP_ALIVE || id == MQTT_SERVER_REFERENCE ||
	       id == MQTT_ASSIGNED_CLIENT_IDENTIFIER;
}

/* Copies the device's part of <list> to <to>, unless <to> is NULL; returns its
   size. */
static size_t
copy_for_device(struct span list, uint8_t *to)
{
	struct mqtt_property p;
	size_t n = 0;

	while (mqtt_property_next(&list, &p) == PARSE_OK) {
		if (stays_here(p.id))
			continue;
		if (to != NULL)
			memcpy(to + n, p.whole.p, p.whole.n);
		n += p.whole.n;
	}
	return n;
}

size_t
mqtt_connack_for_device(const struct mqtt_connack *ack, uint8_t level,
    struct span assigned, uint8_t *out, size_t size)
{
	uint8_t head[MQTT_HEADER_MAX], length[4];
	size_t kept, own, head_bytes, length_bytes, total;

	if (level < 5) {
		uint8_t small[MQTT_SMALL_MAX];

		total = mqtt_connack_write(
		    small, level, ack->session_present, ack->code);
		if (total > size)
			return 0;
		memcpy(out, small, total);
		return total;
	}
	if (assigned.n > UINT16_MAX)
		return 0;
	kept = copy_for_device(ack->properties, NULL);
	own = assigned.n > 0 ? 1 + 2 + assigned.n : 0;
	if (2 + sizeof(length) + kept + own > MQTT_REMAINING_MAX)
		return 0;
	length_bytes = mqtt_varint_write(length, (uint32_t)(kept + own));
	head_bytes = mqtt_header_write(
	    head, MQTT_CONNACK << 4, (uint32_t)(2 + length_bytes + kept + own));
	total = head_bytes + 2 + length_bytes + kept + own;
	if (total > size)
		return 0;
	memcpy(out, head, head_bytes);
	out += head_bytes;
	*out++ = ack->session_present;
	*out++ = ack->code;
	memcpy(out, length, length_bytes);
	out += length_bytes;
	if (assigned.n > 0) {
		*out++ = MQTT_ASSIGNED_CLIENT_IDENTIFIER;
		*out++ = (uint8_t)(assigned.n >> 8);
		*out++ = (uint8_t)assigned.n;
		memcpy(out, assigned.p, assigned.n);
		out += assigned.n;
	}
	(void)copy_for_device(ack->properties, out);
	return total;
}
