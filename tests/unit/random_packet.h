/*
 * random_packet: valid packets of every type, level and sender, out of random
 * numbers that are the same for the same seed.
 */
#ifndef TESTS_UNIT_RANDOM_PACKET_H
#define TESTS_UNIT_RANDOM_PACKET_H

#include "codec/mqtt_packet.h"

#include "unit.h"

#include <string.h>

/* Bytes under construction; <n> is set to 0 by hand, since most of <p> need
   not be touched. */
struct bytes {
	size_t n;
	uint8_t p[4096];
};

static uint32_t random_seed; /* not 0 */

/* At least 0, below <n>. */
static inline unsigned
below(unsigned n)
{
	/* xorshift32 */
	random_seed ^= random_seed << 13;
	random_seed ^= random_seed >> 17;
	random_seed ^= random_seed << 5;
	return random_seed % n;
}

static inline void
add(struct bytes *b, struct span s)
{
	assert_true(s.n <= sizeof(b->p) - b->n);
	if (s.n > 0)
		memcpy(b->p + b->n, s.p, s.n);
	b->n += s.n;
}

static inline void
add_u8(struct bytes *b, unsigned value)
{
	uint8_t byte = (uint8_t)value;

	add(b, (struct span){&byte, 1});
}

static inline void
add_u16(struct bytes *b, unsigned value)
{
	add_u8(b, value >> 8);
	add_u8(b, value);
}

static inline void
add_varint(struct bytes *b, size_t value)
{
	uint8_t length[4];

	add(b,
	    (struct span){length, mqtt_varint_write(length, (uint32_t)value)});
}

static inline void
add_field(struct bytes *b, const struct bytes *content)
{
	add_u16(b, (unsigned)content->n);
	add(b, (struct span){content->p, content->n});
}

/* Characters of one to four bytes, no wildcards. */
static inline void
add_text(struct bytes *b, unsigned characters)
{
	static const struct span some[] = {SPAN_OF("a"), SPAN_OF("Z"),
	    SPAN_OF("0"), SPAN_OF("/"), SPAN_OF("$"), SPAN_OF(" "),
	    SPAN_OF("\x7f"), SPAN_OF("\xc2\x80"), SPAN_OF("\xef\xbb\xbf"),
	    SPAN_OF("\xe6\xb8\xa9"), SPAN_OF("\xf4\x8f\xbf\xbf")};

	while (characters-- > 0)
		add(b, some[below(ARRAY_LENGTH(some))]);
}

static inline void
add_text_field(struct bytes *b, unsigned least)
{
	struct bytes text;

	text.n = 0;
	add_text(&text, least + below(12));
	add_field(b, &text);
}

static inline void
add_random(struct bytes *b, unsigned n)
{
	while (n-- > 0)
		add_u8(b, below(256));
}

static inline void
add_binary_field(struct bytes *b)
{
	struct bytes binary;

	binary.n = 0;
	add_random(&binary, below(20));
	add_field(b, &binary);
}

static inline void
add_property(struct bytes *b, uint8_t id)
{
	static const uint32_t varints[] = {
	    1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455};

	add_u8(b, id);
	switch (id) {
	case 0x01:
	case 0x17:
	case 0x19:
	case 0x24:
	case 0x25:
	case 0x28:
	case 0x29:
	case 0x2a:
		add_u8(b, below(2));
		break;
	case 0x13:
	case 0x21:
	case 0x22:
	case 0x23:
		add_u16(b, 1 + below(65535));
		break;
	case 0x02:
	case 0x11:
	case 0x18:
	case 0x27:
		add_u16(b, below(65536));
		add_u16(b, 1 + below(65535));
		break;
	case 0x0b:
		add_varint(b, varints[below(ARRAY_LENGTH(varints))]);
		break;
	case 0x09:
	case 0x16:
		add_binary_field(b);
		break;
	case 0x26:
		add_text_field(b, 0);
		add_text_field(b, 0);
		break;
	default:
		add_text_field(b, 1);
	}
}

/* Some of <ids>, none twice unless it is 0x26 or, when <many>, 0x0b. */
static inline void
add_properties(
    struct bytes *b, uint8_t level, struct span ids, bool many, bool *has_alias)
{
	struct bytes list;

	if (level < 5)
		return;
	list.n = 0;
	for (size_t i = 0; i < ids.n; i++) {
		unsigned turns = below(4) == 0;

		if (ids.p[i] == 0x26 || (ids.p[i] == 0x0b && many))
			turns += below(4) == 0;
		if (ids.p[i] == 0x23 && turns > 0 && has_alias != NULL)
			*has_alias = true;
		for (; turns > 0; turns--)
			add_property(&list, ids.p[i]);
	}
	add_varint(b, list.n);
	add(b, (struct span){list.p, list.n});
}

static inline void
add_filter(struct bytes *b, uint8_t level, bool *shared)
{
	struct bytes f;

	f.n = 0;
	*shared = level == 5 && below(4) == 0;
	if (*shared)
		add(&f, SPAN_OF("$share/name/"));
	for (unsigned levels = below(4); levels > 0; levels--) {
		if (below(2) == 0)
			add(&f, SPAN_OF("+"));
		else
			add_text(&f, below(4));
		add(&f, SPAN_OF("/"));
	}
	if (below(3) == 0)
		add(&f, SPAN_OF("#"));
	else
		add_text(&f, 1 + below(4));
	add_field(b, &f);
}

static inline void
add_filters(struct bytes *b, uint8_t level, bool options)
{
	for (unsigned n = 1 + below(5); n > 0; n--) {
		bool shared;
		unsigned byte = below(3);

		add_filter(b, level, &shared);
		if (level == 3)
			byte |= below(64) << 2;
		if (level == 5) {
			byte |= below(3) << 4 | below(2) << 3;
			byte |= shared ? 0 : below(2) << 2;
		}
		if (options)
			add_u8(b, byte);
	}
}

static inline void
add_code(struct bytes *b, struct span codes)
{
	add_u8(b, codes.p[below((unsigned)codes.n)]);
}

/* A code and properties, or less; false when it could have been less. */
static inline bool
add_reason(struct bytes *b, uint8_t level, struct span codes, struct span ids)
{
	struct bytes list;
	size_t at = b->n;

	if (level < 5 || below(3) == 0)
		return true;
	add_code(b, codes);
	if (below(2) == 0)
		return b->p[at] != 0;
	list.n = 0;
	add_properties(&list, level, ids, false, NULL);
	add(b, (struct span){list.p, list.n});
	return list.n > 1;
}

static inline void
add_connect(struct bytes *b, uint8_t level)
{
	unsigned will = below(2), user = below(2), password = user & below(2);

	if (level == 3)
		add(b, SPAN_OF("\0\x06MQIsdp"));
	else
		add(b, SPAN_OF("\0\x04MQTT"));
	add_u8(b, level);
	add_u8(b, user << 7 | password << 6 | below(2) << 1 |
		      (will ? 4 | below(3) << 3 | below(2) << 5 : 0));
	add_u16(b, below(65536));
	add_properties(
	    b, level, SPAN_OF("\x11\x15\x17\x19\x21\x22\x26\x27"), false, NULL);
	add_text_field(b, 0);
	if (will) {
		add_properties(b, level,
		    SPAN_OF("\x01\x02\x03\x08\x09\x18\x26"), false, NULL);
		add_text_field(b, 1);
		add_binary_field(b);
	}
	if (user)
		add_text_field(b, 0);
	if (password)
		add_binary_field(b);
}

static inline unsigned
add_publish(struct bytes *b, uint8_t level, enum mqtt_direction from)
{
	unsigned qos = below(3), dup = qos > 0 ? below(2) : 0;
	struct bytes list;
	bool has_alias = false;

	list.n = 0;
	add_properties(&list, level,
	    from == MQTT_FROM_SERVER
		? SPAN_OF("\x01\x02\x03\x08\x09\x0b\x23\x26")
		: SPAN_OF("\x01\x02\x03\x08\x09\x23\x26"),
	    true, &has_alias);
	if (level == 3 && below(4) == 0)
		add(b, SPAN_OF("\0\x04\xce\xc2\xb6\xc8"));
	else
		add_text_field(b, !has_alias);
	if (qos > 0)
		add_u16(b, 1 + below(65535));
	add(b, (struct span){list.p, list.n});
	add_random(b, below(4) == 0 ? below(300) : below(20));
	return dup << 3 | qos << 1 | below(2);
}

/* The types that <from> may send at <level>. */
static inline enum mqtt_type
random_type(uint8_t level, enum mqtt_direction from)
{
	static const uint8_t client[] = {MQTT_PUBLISH, MQTT_PUBACK, MQTT_PUBREC,
	    MQTT_PUBREL, MQTT_PUBCOMP, MQTT_SUBSCRIBE, MQTT_UNSUBSCRIBE,
	    MQTT_CONNECT, MQTT_PINGREQ, MQTT_DISCONNECT, MQTT_AUTH};
	static const uint8_t server[] = {MQTT_PUBLISH, MQTT_PUBACK, MQTT_PUBREC,
	    MQTT_PUBREL, MQTT_PUBCOMP, MQTT_SUBACK, MQTT_UNSUBACK, MQTT_CONNACK,
	    MQTT_PINGRESP, MQTT_DISCONNECT, MQTT_AUTH};

	if (from == MQTT_FROM_CLIENT)
		return client[below(level < 5 ? 10 : 11)];
	return server[below(level < 5 ? 9 : 11)];
}

/* Writes a valid packet to <out>, of a <type> that <from> may send at <level>.
   False: there is a shorter form of it. */
static inline bool
random_packet(struct bytes *out, enum mqtt_type type, uint8_t level,
    enum mqtt_direction from)
{
	static const struct span ack_codes =
	    SPAN_OF("\0\x10\x80\x83\x87\x90\x91\x97\x99");
	struct bytes body;
	unsigned flags = 0;
	bool shortest = true;
	unsigned dup = level == 3 ? below(2) << 3 : 0;

	body.n = 0;
	if (type >= MQTT_PUBACK && type <= MQTT_UNSUBACK)
		add_u16(&body, 1 + below(65535));
	switch (type) {
	case MQTT_CONNECT:
		add_connect(&body, level);
		break;
	case MQTT_CONNACK:
		add_u8(&body, 0);
		add_u8(&body, below(6));
		if (body.p[1] == 0 && level > 3)
			body.p[0] = (uint8_t)below(2);
		add_properties(&body, level,
		    SPAN_OF("\x11\x12\x13\x15\x1a\x1c\x1f\x21\x22\x24\x25\x26"
			    "\x27\x28\x29\x2a"),
		    false, NULL);
		break;
	case MQTT_PUBLISH:
		flags = add_publish(&body, level, from);
		break;
	case MQTT_PUBREL:
		flags = 2 | dup;
		/* fall through */
	case MQTT_PUBCOMP:
		shortest = add_reason(
		    &body, level, SPAN_OF("\0\x92"), SPAN_OF("\x1f\x26"));
		break;
	case MQTT_PUBACK:
	case MQTT_PUBREC:
		shortest =
		    add_reason(&body, level, ack_codes, SPAN_OF("\x1f\x26"));
		break;
	case MQTT_SUBSCRIBE:
		flags = 2 | dup;
		add_properties(&body, level, SPAN_OF("\x0b\x26"), false, NULL);
		add_filters(&body, level, true);
		break;
	case MQTT_UNSUBSCRIBE:
		flags = 2 | dup;
		add_properties(&body, level, SPAN_OF("\x26"), false, NULL);
		add_filters(&body, level, false);
		break;
	case MQTT_SUBACK:
		add_properties(&body, level, SPAN_OF("\x1f\x26"), false, NULL);
		for (unsigned n = 1 + below(5); n > 0; n--)
			add_code(&body, SPAN_OF("\0\x01\x02\x80"));
		break;
	case MQTT_UNSUBACK:
		add_properties(&body, level, SPAN_OF("\x1f\x26"), false, NULL);
		for (unsigned n = level == 5 ? 1 + below(5) : 0; n > 0; n--)
			add_code(&body, SPAN_OF("\0\x11\x87"));
		break;
	case MQTT_DISCONNECT:
		shortest = add_reason(&body, level,
		    from == MQTT_FROM_CLIENT ? SPAN_OF("\0\x04\x81")
					     : SPAN_OF("\0\x8b\x9c"),
		    from == MQTT_FROM_CLIENT ? SPAN_OF("\x11\x1f\x26")
					     : SPAN_OF("\x1c\x1f\x26"));
		break;
	case MQTT_AUTH:
		add_u8(&body, 0x18);
		add_u8(&body, 4);
		add(&body, SPAN_OF("\x15\0\x01m"));
		break;
	case MQTT_PINGREQ:
	case MQTT_PINGRESP:
		break;
	}
	out->n = 0;
	add_u8(out, (unsigned)type << 4 | flags);
	add_varint(out, body.n);
	if (level < 5 && out->n == 2 && below(8) == 0) {
		out->p[1] |= 0x80;
		add_u8(out, 0);
		shortest = false;
	}
	add(out, (struct span){body.p, body.n});
	return shortest;
}

#endif
