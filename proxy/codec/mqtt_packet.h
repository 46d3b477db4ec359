/*
 * mqtt_packet: every packet of MQTT 3.1, 3.1.1 and 5.0, read, checked and
 * written, in both directions. Pure; allocates nothing. All spans point into
 * the bytes that were read.
 *
 * What a packet breaks by itself is an error here. What also depends on other
 * packets (is the identifier in use? was a second CONNECT sent?) is for the
 * session to say, and what depends on the server (may this device use the
 * topic? are QoS 2 or retained messages supported?) for the cloud.
 *
 * Rules are numbered as in MQTT 5.0, where older levels have the same one.
 * MQTT 3.1 has fewer, and what it does not forbid is accepted at level 3: DUP
 * on PUBREL, SUBSCRIBE and UNSUBSCRIBE, reserved bits behind a topic filter,
 * and topics as mqtt_topic.h has it.
 */
#ifndef PROXY_CODEC_MQTT_PACKET_H
#define PROXY_CODEC_MQTT_PACKET_H

#include "base/fault.h"
#include "base/parse.h"
#include "base/span.h"
#include "codec/mqtt.h"
#include "codec/mqtt_connack.h"
#include "codec/mqtt_connect.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who has sent the packet: the device or, for the cloud, the server. */
enum mqtt_direction { MQTT_FROM_CLIENT, MQTT_FROM_SERVER };

/* Fields that a packet does not have are 0, false or empty. */
struct mqtt_packet {
	struct mqtt_header header;
	/* The flags of the fixed header by their names in 3.1, where every type
	   has them; PUBREL, SUBSCRIBE and UNSUBSCRIBE are at QoS 1. */
	bool dup;
	uint8_t qos;
	bool retain;
	uint16_t packet_id;     /* never 0 in a packet that has one */
	uint8_t reason_code;    /* level 5, of PUBACK and its like, DISCONNECT
				   and AUTH; 0 when left out */
	struct span topic;      /* PUBLISH; at level 5 empty with an alias */
	struct span properties; /* level 5, without their length */
	struct span payload;    /* PUBLISH: the message; SUBSCRIBE, UNSUBSCRIBE:
				   see mqtt_filter_next(); SUBACK and, at level
				   5, UNSUBACK: one code for each filter */
	/* These two types have all but their fixed header here, where another
	   one has left what was there before. */
	union {
		struct mqtt_connect connect;
		struct mqtt_connack connack;
	};
};

/*
 * Reads <packet>, which is exactly one packet with its fixed header, as the
 * sender <from> may send it at <level> (3, 4 or 5; a CONNECT names its own).
 * On false <why>, which may be NULL, names the type, the field and the rule;
 * <out> is not to be used. The reason is R_BAD_PACKET from a client (of CONNECT
 * that of mqtt_connect_read()) and R_BAD_CLOUD_PACKET from a server.
 */
NODISCARD bool mqtt_packet_read(struct span packet, uint8_t level,
    enum mqtt_direction from, struct mqtt_packet *out, struct fault *why);

/*
 * Reads the head of a PUBLISH (fixed header, topic, packet identifier and
 * properties) whose payload need not be here yet: <start> begins with the fixed
 * header and ends anywhere in the packet or behind it. PARSE_OK: the head is
 * whole, has *head_bytes, and is as mqtt_packet_read() would accept it;
 * out->payload is what <start> has of the payload. PARSE_MORE: it is not whole,
 * and nothing is wrong so far. PARSE_BAD: as false above, also when it is no
 * PUBLISH. A head may be as long as the whole packet: the caller bounds what it
 * collects.
 */
NODISCARD enum parse mqtt_publish_head_read(struct span start, uint8_t level,
    enum mqtt_direction from, struct mqtt_packet *out, size_t *head_bytes,
    struct fault *why);

/* One entry of a SUBSCRIBE or UNSUBSCRIBE. */
struct mqtt_filter {
	struct span text;
	/* SUBSCRIBE only: the byte behind it (3.8.3.1), and its lowest two
	   bits, the maximum QoS asked for. */
	uint8_t options;
	uint8_t qos;
};

/*
 * Takes the next entry off <list>, which is the payload of a packet of <type>
 * MQTT_SUBSCRIBE or MQTT_UNSUBSCRIBE. False: there is no other (or, in a list
 * that mqtt_packet_read() has not accepted, it is cut short).
 */
NODISCARD bool mqtt_filter_next(
    struct span *list, enum mqtt_type type, struct mqtt_filter *out);

/*
 * Bytes that mqtt_packet_write() needs; 0 when the remaining length would be
 * over MQTT_REMAINING_MAX or a field over 65,535 bytes. Of the header only the
 * type is looked at.
 */
NODISCARD size_t mqtt_packet_size(const struct mqtt_packet *p, uint8_t level);

/*
 * Writes exactly mqtt_packet_size() bytes, which is not 0, in the shortest form
 * there is: what is read from it equals <p>, the size of the packet apart. The
 * fields are trusted to be such as mqtt_packet_read() accepts.
 */
void mqtt_packet_write(
    const struct mqtt_packet *p, uint8_t level, uint8_t *out);

/*
 * The same for the head of a PUBLISH alone (fixed header, topic, identifier and
 * properties), whose <payload_bytes> follow; p->payload is not looked at.
 */
NODISCARD size_t mqtt_publish_head_size(
    const struct mqtt_packet *p, uint8_t level, uint64_t payload_bytes);
void mqtt_publish_head_write(const struct mqtt_packet *p, uint8_t level,
    uint64_t payload_bytes, uint8_t *out);

#endif
