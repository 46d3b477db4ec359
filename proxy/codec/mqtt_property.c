#include "codec/mqtt_property.h"

#include "codec/mqtt.h"

enum kind { UNKNOWN, BYTE, U16, U32, VARINT, STRING, BINARY, PAIR };

/* Places, as bits of a row. */
enum {
	CONN = 1 << MQTT_IN_CONNECT,
	WILL = 1 << MQTT_IN_WILL,
	CACK = 1 << MQTT_IN_CONNACK,
	DISC = 1 << MQTT_IN_DISCONNECT,
	AUTH = 1 << MQTT_IN_AUTH,
	PUB = 1 << MQTT_IN_PUBLISH,
	SUB = 1 << MQTT_IN_SUBSCRIBE,
	ACKS = 1 << MQTT_IN_ACK | CACK | DISC | AUTH,
	ANY = ACKS | CONN | WILL | PUB | SUB | 1 << MQTT_IN_UNSUBSCRIBE
};

enum { AUTHENTICATION_DATA = 0x16, ID_MAX = 0x2a };

/* MQTT 5.0 table 2-4; the range of a value is in the section about it. */
struct row {
	enum kind kind;
	unsigned places;
	uint32_t min;
	uint32_t max; /* of a number; 0: all values */
	const char *name;
};

/* clang-format off */
static const struct row rows[ID_MAX + 1] = {
	[0x01] = { BYTE,   WILL|PUB,       0, 1, "Payload Format Indicator" },
	[0x02] = { U32,    WILL|PUB,       0, 0, "Message Expiry Interval" },
	[0x03] = { STRING, WILL|PUB,       0, 0, "Content Type" },
	[0x08] = { STRING, WILL|PUB,       0, 0, "Response Topic" },
	[0x09] = { BINARY, WILL|PUB,       0, 0, "Correlation Data" },
	[0x0b] = { VARINT, PUB|SUB,        1, 0, "Subscription Identifier" },
	[0x11] = { U32,    CONN|CACK|DISC, 0, 0, "Session Expiry Interval" },
	[0x12] = { STRING, CACK,           0, 0, "Assigned Client Identifier" },
	[0x13] = { U16,    CACK,           0, 0, "Server Keep Alive" },
	[0x15] = { STRING, CONN|CACK|AUTH, 0, 0, "Authentication Method" },
	[0x16] = { BINARY, CONN|CACK|AUTH, 0, 0, "Authentication Data" },
	[0x17] = { BYTE,   CONN,           0, 1, "Request Problem Information" },
	[0x18] = { U32,    WILL,           0, 0, "Will Delay Interval" },
	[0x19] = { BYTE,   CONN,           0, 1, "Request Response Information" },
	[0x1a] = { STRING, CACK,           0, 0, "Response Information" },
	[0x1c] = { STRING, CACK|DISC,      0, 0, "Server Reference" },
	[0x1f] = { STRING, ACKS,           0, 0, "Reason String" },
	[0x21] = { U16,    CONN|CACK,      1, 0, "Receive Maximum" },
	[0x22] = { U16,    CONN|CACK,      0, 0, "Topic Alias Maximum" },
	[0x23] = { U16,    PUB,            1, 0, "Topic Alias" },
	[0x24] = { BYTE,   CACK,           0, 1, "Maximum QoS" },
	[0x25] = { BYTE,   CACK,           0, 1, "Retain Available" },
	[0x26] = { PAIR,   ANY,            0, 0, "User Property" },
	[0x27] = { U32,    CONN|CACK,      1, 0, "Maximum Packet Size" },
	[0x28] = { BYTE,   CACK,           0, 1, "Wildcard Subscription Available" },
	[0x29] = { BYTE,   CACK,           0, 1, "Subscription Identifiers Available" },
	[0x2a] = { BYTE,   CACK,           0, 1, "Shared Subscription Available" },
};
/* clang-format on */

static bool
take_value(struct span *in, enum kind kind, struct mqtt_property *out)
{
	uint8_t byte;
	uint16_t two;

	switch (kind) {
	case UNKNOWN:
		return false;
	case BYTE:
		if (!span_take_u8(in, &byte))
			return false;
		out->value = byte;
		return true;
	case U16:
		if (!span_take_u16(in, &two))
			return false;
		out->value = two;
		return true;
	case U32:
		return span_take_u32(in, &out->value);
	case VARINT:
		return mqtt_take_varint(in, &out->value);
	case STRING:
		return mqtt_take_string(in, &out->text);
	case BINARY:
		return mqtt_take_binary(in, &out->text);
	case PAIR:
		return mqtt_take_string(in, &out->text) &&
		       mqtt_take_string(in, &out->text2);
	}
	return false;
}

enum parse
mqtt_property_next(struct span *list, struct mqtt_property *out)
{
	struct span left = *list;

	*out = (struct mqtt_property){0};
	/* 2.2.2.2: an identifier is a varint, but all of them fit one byte */
	if (!span_take_u8(&left, &out->id))
		return PARSE_MORE;
	if (out->id > ID_MAX || !take_value(&left, rows[out->id].kind, out))
		return PARSE_BAD;
	out->whole = (struct span){list->p, list->n - left.n};
	*list = left;
	return PARSE_OK;
}

bool
mqtt_property_find(struct span list, uint8_t id, struct mqtt_property *out)
{
	while (mqtt_property_next(&list, out) == PARSE_OK)
		if (out->id == id)
			return true;
	return false;
}

/* Whether a property may be in one list more than once: 3.3.2.3.8 and the
   sections about User Property. */
static bool
may_repeat(uint8_t id, enum mqtt_property_place place)
{
	return id == MQTT_USER_PROPERTY ||
	       (id == MQTT_SUBSCRIPTION_IDENTIFIER && place == MQTT_IN_PUBLISH);
}

/* What is wrong with a property that stands behind those of <seen>; NULL:
   nothing. */
static const char *
flaw_of(const struct mqtt_property *p, enum mqtt_property_place place,
    uint64_t seen)
{
	const struct row *row = &rows[p->id];

	if ((row->places & 1u << place) == 0)
		return "may not be there (table 2-4)";
	if ((row->max > 0 && p->value > row->max) || p->value < row->min)
		return "is out of its range (2.2.2)";
	if ((seen & UINT64_C(1) << p->id) != 0 && !may_repeat(p->id, place))
		return "is there twice (2.2.2)";
	return NULL;
}

static bool
is_known(uint8_t id)
{
	return id <= ID_MAX && rows[id].kind != UNKNOWN;
}

static bool
set_flaw(struct mqtt_property_flaw *out, uint8_t id, const char *what)
{
	out->id = id;
	out->name = is_known(id) ? rows[id].name : "";
	out->what = what;
	return false;
}

bool
mqtt_properties_check(struct span list, enum mqtt_property_place place,
    struct mqtt_property_flaw *out)
{
	struct mqtt_property p;
	uint64_t seen = 0;
	enum parse got;

	while ((got = mqtt_property_next(&list, &p)) == PARSE_OK) {
		const char *what = flaw_of(&p, place, seen);

		if (what != NULL)
			return set_flaw(out, p.id, what);
		seen |= UINT64_C(1) << p.id;
	}
	if (got == PARSE_BAD)
		return set_flaw(out, p.id,
		    is_known(p.id) ? "is cut short or not valid UTF-8 (1.5)"
				   : "is unknown (table 2-4)");
	if ((seen & UINT64_C(1) << AUTHENTICATION_DATA) != 0 &&
	    (seen & UINT64_C(1) << MQTT_AUTHENTICATION_METHOD) == 0)
		return set_flaw(out, AUTHENTICATION_DATA,
		    "is there without its method (3.1.2.11.10)");
	return true;
}

bool
mqtt_properties_valid(struct span list, enum mqtt_property_place place)
{
	struct mqtt_property_flaw flaw;

	return mqtt_properties_check(list, place, &flaw);
}
