/*
 * mqtt_property: the properties of MQTT 5.0 packets (2.2.2). Pure.
 */
#ifndef PROXY_CODEC_MQTT_PROPERTY_H
#define PROXY_CODEC_MQTT_PROPERTY_H

#include "base/parse.h"
#include "base/span.h"

#include <stdint.h>

/* Table 2-4, those the proxy looks at; the reader knows them all. */
enum mqtt_property_id {
	MQTT_MESSAGE_EXPIRY_INTERVAL = 0x02,
	MQTT_RESPONSE_TOPIC = 0x08,
	MQTT_SUBSCRIPTION_IDENTIFIER = 0x0B,
	MQTT_SESSION_EXPIRY_INTERVAL = 0x11,
	MQTT_ASSIGNED_CLIENT_IDENTIFIER = 0x12,
	MQTT_SERVER_KEEP_ALIVE = 0x13,
	MQTT_AUTHENTICATION_METHOD = 0x15,
	MQTT_WILL_DELAY_INTERVAL = 0x18,
	MQTT_REASON_STRING = 0x1F,
	MQTT_RECEIVE_MAXIMUM = 0x21,
	MQTT_TOPIC_ALIAS_MAXIMUM = 0x22,
	MQTT_TOPIC_ALIAS = 0x23,
	MQTT_MAXIMUM_QOS = 0x24,
	MQTT_RETAIN_AVAILABLE = 0x25,
	MQTT_USER_PROPERTY = 0x26,
	MQTT_SERVER_REFERENCE = 0x1C,
	MQTT_MAXIMUM_PACKET_SIZE = 0x27
};

struct mqtt_property {
	uint8_t id;
	uint32_t value;    /* of byte, two-byte, four-byte and varint ones */
	struct span text;  /* of strings and binary; name of a pair */
	struct span text2; /* value of a pair */
	struct span whole; /* identifier and value as they stand on the wire */
};

/* Finds the first property <id> of a valid list. */
NODISCARD bool mqtt_property_find(
    struct span list, uint8_t id, struct mqtt_property *out);

/* Where a property list stands: table 2-4 says which ones may be in it. */
enum mqtt_property_place {
	MQTT_IN_CONNECT,
	MQTT_IN_WILL,
	MQTT_IN_CONNACK,
	MQTT_IN_DISCONNECT,
	MQTT_IN_AUTH,
	MQTT_IN_PUBLISH,
	MQTT_IN_ACK, /* PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK */
	MQTT_IN_SUBSCRIBE,
	MQTT_IN_UNSUBSCRIBE
};

/*
 * Takes the next property off <list> (the bytes behind the property length).
 * PARSE_OK: here it is. PARSE_MORE: the list is empty. PARSE_BAD: unknown,
 * cut short, or a bad string.
 */
NODISCARD enum parse mqtt_property_next(
    struct span *list, struct mqtt_property *out);

/*
 * True when every property of <list> is well-formed, allowed at <place>, in its
 * range, and there once at most unless it may repeat (User Property, and
 * Subscription Identifier in a PUBLISH), and Authentication Data comes with its
 * method.
 */
NODISCARD bool mqtt_properties_valid(
    struct span list, enum mqtt_property_place place);

/* What is wrong with a property list. */
struct mqtt_property_flaw {
	uint8_t id;       /* of the property in question */
	const char *name; /* as table 2-4 has it; empty when that has no such */
	const char *what; /* "is there twice (2.2.2)": what to say of it */
};

/* As mqtt_properties_valid(); when false, the first flaw is in <out>. */
NODISCARD bool mqtt_properties_check(struct span list,
    enum mqtt_property_place place, struct mqtt_property_flaw *out);

#endif
