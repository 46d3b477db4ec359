#include "codec/mqtt_packet.h"

#include "base/escape.h"
#include "codec/mqtt_property.h"
#include "codec/mqtt_topic.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* Who may send a reason code in which packet, as bits. */
enum {
	ACK = 1 << 0, /* PUBACK, PUBREC */
	REL = 1 << 1, /* PUBREL, PUBCOMP */
	SUB = 1 << 2,
	UNSUB = 1 << 3,
	CLIENT_BYE = 1 << 4, /* DISCONNECT */
	SERVER_BYE = 1 << 5,
	CLIENT_AUTH = 1 << 6,
	SERVER_AUTH = 1 << 7,
	BYE = CLIENT_BYE | SERVER_BYE,
	AUTH = CLIENT_AUTH | SERVER_AUTH
};

/* clang-format off */

/* The reason codes of MQTT 5.0: tables 2-6, 3-8 (SUBACK), 3-9 (UNSUBACK), 3-10
   (DISCONNECT) and 3-11 (AUTH). Of 0x8C tables 2-6 and 3-10 disagree; it is
   accepted. */
static const uint8_t code_users[] = {
	[0x00] = ACK | REL | SUB | UNSUB | BYE | SERVER_AUTH, /* success */
	[0x01] = SUB,                       /* granted QoS 1 */
	[0x02] = SUB,                       /* granted QoS 2 */
	[0x04] = CLIENT_BYE,                /* with will message */
	[0x10] = ACK,                       /* no matching subscribers */
	[0x11] = UNSUB,                     /* no subscription existed */
	[0x18] = AUTH,                      /* continue authentication */
	[0x19] = CLIENT_AUTH,               /* re-authenticate */
	[0x80] = ACK | SUB | UNSUB | BYE,   /* unspecified error */
	[0x81] = BYE,                       /* malformed packet */
	[0x82] = BYE,                       /* protocol error */
	[0x83] = ACK | SUB | UNSUB | BYE,   /* implementation specific error */
	[0x87] = ACK | SUB | UNSUB | SERVER_BYE, /* not authorized */
	[0x89] = SERVER_BYE,                /* server busy */
	[0x8b] = SERVER_BYE,                /* server shutting down */
	[0x8c] = SERVER_BYE,                /* bad authentication method */
	[0x8d] = SERVER_BYE,                /* keep alive timeout */
	[0x8e] = SERVER_BYE,                /* session taken over */
	[0x8f] = SUB | UNSUB | SERVER_BYE,  /* topic filter invalid */
	[0x90] = ACK | BYE,                 /* topic name invalid */
	[0x91] = ACK | SUB | UNSUB,         /* packet identifier in use */
	[0x92] = REL,                       /* packet identifier not found */
	[0x93] = BYE,                       /* receive maximum exceeded */
	[0x94] = BYE,                       /* topic alias invalid */
	[0x95] = BYE,                       /* packet too large */
	[0x96] = BYE,                       /* message rate too high */
	[0x97] = ACK | SUB | BYE,           /* quota exceeded */
	[0x98] = BYE,                       /* administrative action */
	[0x99] = ACK | BYE,                 /* payload format invalid */
	[0x9a] = SERVER_BYE,                /* retain not supported */
	[0x9b] = SERVER_BYE,                /* QoS not supported */
	[0x9c] = SERVER_BYE,                /* use another server */
	[0x9d] = SERVER_BYE,                /* server moved */
	[0x9e] = SUB | SERVER_BYE,          /* shared subscriptions */
	[0x9f] = SERVER_BYE,                /* connection rate exceeded */
	[0xa0] = SERVER_BYE,                /* maximum connect time */
	[0xa1] = SUB | SERVER_BYE,          /* subscription identifiers */
	[0xa2] = SUB | SERVER_BYE,          /* wildcard subscriptions */
};

enum { NEVER = 6 }; /* over any level */

/* Table 2-1: the lowest level at which the client and the server may send a
   packet, which reason codes they may put in, and the rule about those. */
static const struct kind {
	const char *name;
	uint8_t level[2];
	uint8_t codes[2];
	const char *code_rule;
} kinds[] = {
	[0]                = { "packet",      { NEVER, NEVER }, { 0, 0 }, "" },
	[MQTT_CONNECT]     = { "CONNECT",     { 3, NEVER }, { 0, 0 }, "" },
	[MQTT_CONNACK]     = { "CONNACK",     { NEVER, 3 }, { 0, 0 }, "" },
	[MQTT_PUBLISH]     = { "PUBLISH",     { 3, 3 }, { 0, 0 }, "" },
	[MQTT_PUBACK]      = { "PUBACK",      { 3, 3 }, { ACK, ACK }, "MQTT-3.4.2-1" },
	[MQTT_PUBREC]      = { "PUBREC",      { 3, 3 }, { ACK, ACK }, "MQTT-3.5.2-1" },
	[MQTT_PUBREL]      = { "PUBREL",      { 3, 3 }, { REL, REL }, "MQTT-3.6.2-1" },
	[MQTT_PUBCOMP]     = { "PUBCOMP",     { 3, 3 }, { REL, REL }, "MQTT-3.7.2-1" },
	[MQTT_SUBSCRIBE]   = { "SUBSCRIBE",   { 3, NEVER }, { 0, 0 }, "" },
	[MQTT_SUBACK]      = { "SUBACK",      { NEVER, 3 }, { 0, SUB }, "MQTT-3.9.3-2" },
	[MQTT_UNSUBSCRIBE] = { "UNSUBSCRIBE", { 3, NEVER }, { 0, 0 }, "" },
	[MQTT_UNSUBACK]    = { "UNSUBACK",    { NEVER, 3 }, { 0, UNSUB }, "MQTT-3.11.3-2" },
	[MQTT_PINGREQ]     = { "PINGREQ",     { 3, NEVER }, { 0, 0 }, "" },
	[MQTT_PINGRESP]    = { "PINGRESP",    { NEVER, 3 }, { 0, 0 }, "" },
	[MQTT_DISCONNECT]  = { "DISCONNECT",  { 3, 5 }, { CLIENT_BYE, SERVER_BYE }, "MQTT-3.14.2-1" },
	[MQTT_AUTH]        = { "AUTH",        { 5, 5 }, { CLIENT_AUTH, SERVER_AUTH }, "MQTT-3.15.2-1" },
};

/* clang-format on */

/* Bits of the fixed header (2.1.3) and of the options of a SUBSCRIBE (3.8.3.1).
 */
enum {
	DUP = 0x08,
	QOS_BITS = 0x06,
	QOS_SHIFT = 1,
	RETAIN = 0x01,
	MAXIMUM_QOS = 0x03,
	NO_LOCAL = 0x04,
	RETAIN_HANDLING = 0x30
};

/* In a SUBACK below level 5. 3.1 has no word for failure, and servers use that
   of 3.1.1. */
enum { FAILURE = 0x80 };

/* The packet being read: what is left of it, and where to say what is wrong. */
struct reader {
	struct span in;
	size_t to_come; /* its bytes behind <in>, which are not here yet */
	uint8_t level;
	enum mqtt_direction from;
	const struct kind *kind;
	struct fault *why;
	bool more; /* a field is not whole, but may become so */
};

static bool bad(const struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Always false. */
static bool
bad(const struct reader *r, const char *fmt, ...)
{
	char text[FAULT_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fault_set(r->why,
	    r->from == MQTT_FROM_CLIENT ? R_BAD_PACKET : R_BAD_CLOUD_PACKET,
	    "%s: %s", r->kind->name, text);
}

static const char *
sender_name(const struct reader *r)
{
	return r->from == MQTT_FROM_CLIENT ? "client" : "server";
}

/* Says what is wrong with the <field> that reads <s>. Always false. */
static bool
bad_text(
    const struct reader *r, const char *field, const char *what, struct span s)
{
	char shown[96];

	return bad(
	    r, "the %s %s: '%s'", field, what, escape(shown, sizeof(shown), s));
}

/* ---- fields ---- */

/* <field> needs <n> bytes, which are more than there are. Always false. */
static bool
lacking(struct reader *r, size_t n, const char *field)
{
	if (n - r->in.n > r->to_come)
		return bad(r, "the %s is missing or cut short", field);
	r->more = true;
	return false;
}

static bool
read_u16(struct reader *r, const char *field, uint16_t *out)
{
	return span_take_u16(&r->in, out) || lacking(r, 2, field);
}

static bool
read_bytes(struct reader *r, const char *field, size_t n, struct span *out)
{
	return span_take(&r->in, n, out) || lacking(r, n, field);
}

static bool
read_varint(struct reader *r, const char *field, uint32_t *out)
{
	size_t n = 0;

	if (mqtt_take_varint(&r->in, out))
		return true;
	while (n < r->in.n && (r->in.p[n] & 0x80) != 0)
		n++;
	if (n == r->in.n && n < 4)
		return lacking(r, n + 1, field);
	return bad(r,
	    "the %s is over four bytes or not the shortest form "
	    "(MQTT-1.5.5-1)",
	    field);
}

static bool
read_packet_id(struct reader *r, uint16_t *out)
{
	if (!read_u16(r, "packet identifier", out))
		return false;
	if (*out == 0)
		return bad(r, "the packet identifier is 0 (MQTT-2.2.1-3, -4)");
	return true;
}

/* The property list with its length, which only level 5 has. */
static bool
read_properties(
    struct reader *r, enum mqtt_property_place place, struct span *out)
{
	struct mqtt_property_flaw flaw;
	uint32_t n;

	if (r->level < 5)
		return true;
	if (!read_varint(r, "property length", &n) ||
	    !read_bytes(r, "property list", n, out))
		return false;
	if (mqtt_properties_check(*out, place, &flaw))
		return true;
	return bad(r, "property 0x%02x %s%s%s", flaw.id, flaw.name,
	    flaw.name[0] != '\0' ? " " : "", flaw.what);
}

static bool
at_end(const struct reader *r)
{
	if (r->in.n > 0)
		return bad(r, "%zu bytes follow the last field", r->in.n);
	return true;
}

/* A topic, and what is wrong with it; NULL: nothing. */
static bool
check_topic(const struct reader *r, const char *field, struct span topic,
    const char *flaw)
{
	if (flaw != NULL)
		return bad_text(r, field, flaw, topic);
	return true;
}

/* ---- packets ---- */

/* Why mqtt_header_read() said PARSE_BAD. Always false. */
static bool
bad_header(const struct reader *r)
{
	const struct span first = {r->in.p, 1};
	uint8_t type = first.p[0] >> 4, flags = first.p[0] & 0xf;
	struct mqtt_header h;

	if (mqtt_header_read(first, &h) != PARSE_BAD)
		return bad(
		    r, "the remaining length is over four bytes (1.5.5)");
	if (type == 0)
		return bad(r, "type 0 is reserved (table 2-1)");
	if (type != MQTT_PUBLISH)
		return bad(r, "the flags are 0x%x (MQTT-2.1.3-1)", flags);
	return (flags & QOS_BITS) == QOS_BITS
		   ? bad(r, "the QoS is 3 (MQTT-3.3.1-4)")
		   : bad(r, "DUP is set at QoS 0 (MQTT-3.3.1-2)");
}

/* What mqtt_header_read() cannot know: the sender and the level. */
static bool
check_header(const struct reader *r, const struct mqtt_packet *p)
{
	const struct mqtt_header *h = &p->header;

	if (r->level < r->kind->level[r->from])
		return bad(r, "no %s may send it at level %u (table 2-1)",
		    sender_name(r), r->level);
	if (h->type == MQTT_CONNECT)
		return true; /* has a level of its own */
	if (r->level > 3 && p->dup && h->type != MQTT_PUBLISH)
		return bad(r, "DUP is set (MQTT-2.1.3-1)");
	if (r->level >= 5 && h->header_bytes > 2 &&
	    r->in.p[h->header_bytes - 1] == 0)
		return bad(r, "the remaining length is not in the shortest "
			      "form (MQTT-1.5.5-1)");
	return true;
}

/* The fixed header; then r->in is what is there of the bytes behind it. */
static inline enum parse
read_header(struct reader *r, struct mqtt_packet *out)
{
	struct mqtt_header *h = &out->header;

	if (r->in.n > 0)
		r->kind = &kinds[r->in.p[0] >> 4];
	switch (mqtt_header_read(r->in, h)) {
	case PARSE_MORE:
		return PARSE_MORE;
	case PARSE_BAD:
		(void)bad_header(r);
		return PARSE_BAD;
	case PARSE_OK:
		break;
	}
	out->dup = (h->flags & DUP) != 0;
	out->qos = (uint8_t)((h->flags & QOS_BITS) >> QOS_SHIFT);
	out->retain = (h->flags & RETAIN) != 0;
	if (!check_header(r, out))
		return PARSE_BAD;
	r->in.p += h->header_bytes;
	r->in.n -= h->header_bytes;
	return PARSE_OK;
}

/* The rules of 3.3.2.3 about properties whose values matter. */
static bool
check_publish_properties(const struct reader *r, const struct mqtt_packet *p)
{
	struct mqtt_property found;

	if (p->topic.n == 0 &&
	    !mqtt_property_find(p->properties, MQTT_TOPIC_ALIAS, &found))
		return bad(r, "the topic name is empty, and there is no Topic "
			      "Alias (3.3.2.1)");
	if (r->from == MQTT_FROM_CLIENT &&
	    mqtt_property_find(
		p->properties, MQTT_SUBSCRIPTION_IDENTIFIER, &found))
		return bad(r, "a client may not send a Subscription Identifier "
			      "(MQTT-3.3.4-6)");
	return !mqtt_property_find(
		   p->properties, MQTT_RESPONSE_TOPIC, &found) ||
	       check_topic(r, "Response Topic", found.text,
		   mqtt_topic_name_flaw(found.text, r->level));
}

static inline bool
read_publish_head(struct reader *r, struct mqtt_packet *out)
{
	uint16_t n = 0;

	if (!read_u16(r, "topic name", &n) ||
	    !read_bytes(r, "topic name", n, &out->topic))
		return false;
	/* at level 5 there may be an alias in its place; see above */
	if ((n > 0 || r->level < 5) &&
	    !check_topic(r, "topic name", out->topic,
		mqtt_topic_name_flaw(out->topic, r->level)))
		return false;
	if (out->qos > 0 && !read_packet_id(r, &out->packet_id))
		return false;
	return r->level < 5 ||
	       (read_properties(r, MQTT_IN_PUBLISH, &out->properties) &&
		   check_publish_properties(r, out));
}

static bool
check_code(const struct reader *r, uint8_t code)
{
	if (code < sizeof(code_users) &&
	    (code_users[code] & r->kind->codes[r->from]) != 0)
		return true;
	return bad(r,
	    "reason code 0x%02x is not one that a %s may send in it (%s)", code,
	    sender_name(r), r->kind->code_rule);
}

/*
 * At level 5 a packet may end before its reason code, which then is 0, or
 * before its properties (3.4.2.1, 3.14.2.1). Below, it has neither.
 */
static bool
read_reason(
    struct reader *r, enum mqtt_property_place place, struct mqtt_packet *out)
{
	if (r->level >= 5) {
		bool here = span_take_u8(&r->in, &out->reason_code);

		if (!check_code(r, out->reason_code))
			return false;
		if (here && r->in.n > 0 &&
		    !read_properties(r, place, &out->properties))
			return false;
	}
	return at_end(r);
}

static bool
read_ack(struct reader *r, struct mqtt_packet *out)
{
	return read_packet_id(r, &out->packet_id) &&
	       read_reason(r, MQTT_IN_ACK, out);
}

static bool
read_disconnect(struct reader *r, struct mqtt_packet *out)
{
	struct mqtt_property found;

	if (!read_reason(r, MQTT_IN_DISCONNECT, out))
		return false;
	if (r->from == MQTT_FROM_SERVER &&
	    mqtt_property_find(
		out->properties, MQTT_SESSION_EXPIRY_INTERVAL, &found))
		return bad(r, "a server may not send a Session Expiry Interval "
			      "(MQTT-3.14.2-2)");
	return true;
}

/* 3.15.2.1: nothing at all is success; all else has a code and properties, and
   among them the method. */
static bool
read_auth(struct reader *r, struct mqtt_packet *out)
{
	bool is_short = r->in.n == 0;
	struct mqtt_property found;

	if (r->in.n == 1)
		return lacking(r, 2, "property length");
	if (!read_reason(r, MQTT_IN_AUTH, out))
		return false;
	if (!is_short && !mqtt_property_find(out->properties,
			     MQTT_AUTHENTICATION_METHOD, &found))
		return bad(r, "there is no Authentication Method "
			      "(MQTT-4.12.0-5)");
	return true;
}

bool
mqtt_filter_next(
    struct span *list, enum mqtt_type type, struct mqtt_filter *out)
{
	struct span left = *list;

	*out = (struct mqtt_filter){0};
	if (!mqtt_take_binary(&left, &out->text) ||
	    (type == MQTT_SUBSCRIBE && !span_take_u8(&left, &out->options)))
		return false;
	out->qos = out->options & MAXIMUM_QOS;
	*list = left;
	return true;
}

/* What is wrong with the options of a filter (3.8.3.1); NULL: nothing. Level 4
   has the QoS only, and level 3 no rule about the rest. */
static const char *
options_flaw(const struct mqtt_filter *f, uint8_t level)
{
	unsigned reserved = level >= 5 ? 0xc0 : level == 4 ? 0xfc : 0;

	if (f->qos == 3)
		return "is asked for at QoS 3 (3.8.3.1)";
	if ((f->options & reserved) != 0)
		return "has reserved option bits set (MQTT-3.8.3-5)";
	if (level < 5)
		return NULL;
	if ((f->options & RETAIN_HANDLING) == RETAIN_HANDLING)
		return "has Retain Handling 3 (3.8.3.1)";
	if ((f->options & NO_LOCAL) != 0 &&
	    mqtt_topic_filter_is_shared(f->text, level))
		return "is shared and has No Local set (MQTT-3.8.3-4)";
	return NULL;
}

static bool
read_filters(struct reader *r, struct mqtt_packet *out)
{
	enum mqtt_type type = out->header.type;
	enum mqtt_property_place place =
	    type == MQTT_SUBSCRIBE ? MQTT_IN_SUBSCRIBE : MQTT_IN_UNSUBSCRIBE;
	struct mqtt_filter f;

	if (!read_packet_id(r, &out->packet_id) ||
	    !read_properties(r, place, &out->properties))
		return false;
	out->payload = r->in;
	do {
		if (!mqtt_filter_next(&r->in, type, &f))
			return bad(r, "a topic filter is missing or cut short "
				      "(MQTT-3.8.3-2, MQTT-3.10.3-2)");
		if (!check_topic(r, "topic filter", f.text,
			mqtt_topic_filter_flaw(f.text, r->level)) ||
		    !check_topic(
			r, "topic filter", f.text, options_flaw(&f, r->level)))
			return false;
	} while (r->in.n > 0);
	return true;
}

/* SUBACK, and UNSUBACK from level 5 on. */
static bool
read_codes(struct reader *r, struct mqtt_packet *out)
{
	if (!read_packet_id(r, &out->packet_id) ||
	    !read_properties(r, MQTT_IN_ACK, &out->properties))
		return false;
	out->payload = r->in;
	if (r->in.n == 0)
		return bad(r, "the reason codes are missing (3.9.3, 3.11.3)");
	for (size_t i = 0; i < r->in.n; i++) {
		uint8_t code = r->in.p[i];

		if (r->level >= 5 && !check_code(r, code))
			return false;
		if (r->level < 5 && code > 2 && code != FAILURE)
			return bad(r,
			    "return code 0x%02x is reserved (MQTT-3.9.3-2)",
			    code);
	}
	return true;
}

/* mqtt_connack_read() decides; what follows finds the field that is wrong. */
static bool
read_connack(struct reader *r, struct span packet, struct mqtt_packet *out)
{
	struct span properties, fixed;

	if (mqtt_connack_read(packet, r->level, &out->connack))
		return true;
	if (!read_bytes(r, "flags or reason code", 2, &fixed))
		return false;
	if (r->level > 3 && fixed.p[0] > 1)
		return bad(r, "reserved flags are set (MQTT-3.2.2-1)");
	if (!read_properties(r, MQTT_IN_CONNACK, &properties))
		return false;
	return bad(r, "%zu bytes follow the last field", r->in.n);
}

static bool
read_body(struct reader *r, struct span packet, struct mqtt_packet *out)
{
	switch (out->header.type) {
	case MQTT_CONNECT:
		return mqtt_connect_read(packet, &out->connect, r->why);
	case MQTT_CONNACK:
		return read_connack(r, packet, out);
	case MQTT_PUBLISH:
		if (!read_publish_head(r, out))
			return false;
		out->payload = r->in;
		return true;
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBREL:
	case MQTT_PUBCOMP:
		return read_ack(r, out);
	case MQTT_SUBSCRIBE:
	case MQTT_UNSUBSCRIBE:
		return read_filters(r, out);
	case MQTT_SUBACK:
		return read_codes(r, out);
	case MQTT_UNSUBACK:
		return r->level >= 5 ? read_codes(r, out) : read_ack(r, out);
	case MQTT_PINGREQ:
	case MQTT_PINGRESP:
		return at_end(r);
	case MQTT_DISCONNECT:
		return read_disconnect(r, out);
	case MQTT_AUTH:
		return read_auth(r, out);
	}
	return false;
}

static struct reader
reader_of(
    struct span in, uint8_t level, enum mqtt_direction from, struct fault *why)
{
	assert(level >= 3 && level <= 5);
	return (struct reader){.in = in,
	    .level = level,
	    .from = from,
	    .kind = &kinds[0],
	    .why = why};
}

/* All fields but those of CONNECT and CONNACK, which have readers that set
   them: they are most of the bytes, and most packets are neither. */
static void
clear(struct mqtt_packet *p)
{
	memset(p, 0, offsetof(struct mqtt_packet, connect));
}

bool
mqtt_packet_read(struct span packet, uint8_t level, enum mqtt_direction from,
    struct mqtt_packet *out, struct fault *why)
{
	struct reader r = reader_of(packet, level, from, why);

	clear(out);
	switch (read_header(&r, out)) {
	case PARSE_MORE:
		return bad(&r, "the fixed header is cut short");
	case PARSE_BAD:
		return false;
	case PARSE_OK:
		break;
	}
	if (r.in.n != out->header.remaining)
		return bad(&r, "%zu bytes follow the fixed header, not %u",
		    r.in.n, (unsigned)out->header.remaining);
	return read_body(&r, packet, out);
}

enum parse
mqtt_publish_head_read(struct span start, uint8_t level,
    enum mqtt_direction from, struct mqtt_packet *out, size_t *head_bytes,
    struct fault *why)
{
	struct reader r = reader_of(start, level, from, why);
	enum parse got;

	clear(out);
	*head_bytes = 0;
	got = read_header(&r, out);
	if (got != PARSE_OK)
		return got;
	if (out->header.type != MQTT_PUBLISH) {
		(void)bad(&r, "a PUBLISH was expected");
		return PARSE_BAD;
	}
	if (r.in.n > out->header.remaining)
		r.in.n = out->header.remaining;
	r.to_come = out->header.remaining - r.in.n;
	if (!read_publish_head(&r, out))
		return r.more ? PARSE_MORE : PARSE_BAD;
	*head_bytes = (size_t)(r.in.p - start.p);
	out->payload = r.in;
	return PARSE_OK;
}
