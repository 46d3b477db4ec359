/* The login: the device's CONNECT signed for the cloud, and what it answers. */
#include "session/session_parts.h"

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "codec/mqtt_connack.h"
#include "codec/mqtt_property.h"

#include <errno.h>

/* That of the entry, or the device's own, in the range that the cloud takes. */
static uint16_t
cloud_keep_alive_s(const struct session *session)
{
	const struct contract *contract = session->entry->contract;
	uint32_t value = session->entry->keep_alive_s;

	if (value == 0)
		value = session->device_keep_alive_s;
	if (value == 0) /* which may pass, below the least */
		return (uint16_t)contract->keep_alive_zero;
	if (value < contract->keep_alive_min)
		value = contract->keep_alive_min;
	if (value > contract->keep_alive_max)
		value = contract->keep_alive_max;
	return (uint16_t)value;
}

void
session_put_message(struct session *s, struct span packet)
{
	enum ws_opcode opcode = WS_BINARY;

	do {
		struct span piece;
		size_t n = packet.n < LOOP_IN_BYTES ? packet.n : LOOP_IN_BYTES;

		if (!span_take(&packet, n, &piece))
			return;
		link_put(&s->link, opcode, piece, packet.n == 0);
		opcode = WS_CONTINUATION;
	} while (packet.n > 0 && !s->ended);
	link_flush(&s->link);
}

/* What a CONNECT or CONNACK of level 5 says of the other side's packets; 0: no
   limit. */
static uint32_t
packet_max(struct span properties)
{
	struct mqtt_property p;

	return mqtt_property_find(properties, MQTT_MAXIMUM_PACKET_SIZE, &p)
		   ? p.value
		   : 0;
}

/* What a CONNECT points to whose topics are mapped. */
struct mapped {
	struct buffer properties;
	struct buffer again;
	struct session_will_parts will;
};

static bool
map_topics(
    const struct session *s, struct mqtt_connect *c, struct mapped *mapped)
{
	return !c->has_will || session_map_will(s, c, &mapped->will);
}

/* A topic alias of the cloud ends with its link, and could be lost with a
   message that the device does not get. */
static bool
fit_properties(
    const struct session *s, struct mqtt_connect *c, struct mapped *mapped)
{
	if (s->level >= 5 && (s->entry->topics != NULL || s->holds) &&
	    !session_drop_aliases(c, &mapped->properties))
		return false;
	return !s->accepted || session_fit_connect_again(s, c, &mapped->again);
}

/* The device's CONNECT with the cloud's login in place of the device's own. */
static bool
rewrite_connect(struct session *s, const struct aliyun_login *login,
    struct mapped *mapped, struct buffer *packet)
{
	struct mqtt_connect c;
	uint8_t *out;
	size_t n;

	if (!mqtt_connect_read(buffer_span(&s->connect), &c, NULL))
		return false;
	s->device_packet_max = packet_max(c.properties);
	session_fit_will(s, &c);
	if (!fit_properties(s, &c, mapped) ||
	    (s->entry->topics != NULL && !map_topics(s, &c, mapped)))
		return false;
	if (c.has_will && session_will_has_no_place(s, &c))
		c.has_will = false;
	c.client_id = span_of_string(login->client_id);
	c.has_username = c.has_password = true;
	c.username = span_of_string(login->username);
	c.password = span_of_string(login->password);
	c.keep_alive_s = s->cloud_keep_alive_s;
	if (s->entry->clean_session != CLEAN_AS_DEVICE)
		c.clean = s->entry->clean_session == CLEAN_YES;
	n = mqtt_connect_size(&c);
	out = n > 0 ? buffer_reserve(packet, n) : NULL;
	if (out == NULL)
		return false;
	mqtt_connect_write(&c, out);
	buffer_commit(packet, n);
	return true;
}

void
session_log_in(void *arg)
{
	struct session *s = arg;
	struct aliyun_login login;
	struct buffer packet = {0};
	struct mapped mapped = {0};

	session_trace_link(s);
	s->logins += s->accepted;
	s->cloud_keep_alive_s = cloud_keep_alive_s(s);
	errno = 0;
	if (credential_sign(
		s->entry, link_transport(&s->link), clock_wall_ms(), &login) &&
	    rewrite_connect(s, &login, &mapped, &packet))
		session_put_message(s, buffer_span(&packet));
	else
		session_end_for(s,
		    errno == ENOMEM ? R_OUT_OF_MEMORY : R_INTERNAL,
		    "the login could not be built");
	aliyun_login_wipe(&login);
	buffer_free(&mapped.properties);
	buffer_free(&mapped.again);
	buffer_free(&mapped.will.properties);
	buffer_wipe(&packet);
}

static void
log_up(const struct session *s)
{
	const struct link *l = &s->link;

	SLOG(LOG_INFO, s, "session_up",
	    "mqtt_level=%u transport=%s host=%s port=%u egress=%s tls=%s "
	    "resumed=%s dial_ms=%llu"
	    " device_keep_alive=%u cloud_keep_alive=%u",
	    s->level, transport_word(link_transport(l)), s->entry->host,
	    link_port(l), link_egress(l), link_tls_version(l),
	    link_tls_resumed(l) ? "yes" : "no",
	    (unsigned long long)(clock_mono_ms() - l->dialled_ms),
	    s->device_keep_alive_s, s->cloud_keep_alive_s);
}

/* The ping keeps both the cloud and whatever stands between content. */
uint32_t
session_ping_interval_ms(
    const struct session *s, const struct mqtt_connack *ack)
{
	uint64_t ms = s->env->link.settings->ping_interval_ms;
	uint32_t keep_alive_s = s->cloud_keep_alive_s;

	/* MQTT-3.1.2-21: the server's value holds */
	if (ack->has_server_keep_alive)
		keep_alive_s = ack->server_keep_alive_s;
	if (keep_alive_s != 0 && keep_alive_s * 1000u < ms)
		ms = keep_alive_s * 1000u;
	return (uint32_t)ms;
}

static const char *
login_hint(uint8_t level, uint8_t code)
{
	/* MQTT 5 codes, and how this platform uses those of 3.1.1 */
	switch (level >= 5 ? code : code + 0x100) {
	case 0x84:
	case 0x101:
		return "the instance does not speak this MQTT version";
	case 0x85:
	case 0x102:
		return "check client_id, the keep-alive range and the"
		       " transports";
	case 0x86:
	case 0x104:
		return "the signature is wrong: check device_secret,"
		       " product_key, device_name and sign_method";
	case 0x87:
	case 0x105:
		return "the device is disabled, deleted, or not of this"
		       " instance";
	default:
		return "the cloud cannot serve it now; it says so too when a"
		       " device logs in more often than it allows";
	}
}

void
session_login_refusal(
    const struct session *s, const struct mqtt_connack *ack, struct fault *why)
{
	char text[96];

	(void)fault_set(why, R_LOGIN_REFUSED, "CONNACK %u (%s)%s%s; %s",
	    ack->code, mqtt_connack_word(s->level, ack->code),
	    ack->reason_string.n > 0 ? " " : "",
	    escape(text, sizeof(text), ack->reason_string),
	    login_hint(s->level, ack->code));
}

static void
login_refused(
    struct session *s, const struct mqtt_connack *ack, struct span answer)
{
	struct fault why;

	session_login_refusal(s, ack, &why);
	link_turned_away(&s->link, &why);
	session_end_with(s, &why, answer);
}

enum { MAXIMUM_QOS_BYTES = 2 }; /* of the property */

/* MQTT-3.2.2-9: the device is told when no more is taken, by the cloud or by
   us. False without memory. */
static bool
keep_maximum_qos(const struct session *s, const struct mqtt_connack *ack,
    struct buffer *kept)
{
	uint32_t qos = s->entry->contract->qos_max;
	uint8_t property[MAXIMUM_QOS_BYTES] = {MQTT_MAXIMUM_QOS};
	struct mqtt_property p;

	if (ack->code != 0 || qos >= 2 || session_adapts_qos2(s))
		return true;
	if (mqtt_property_find(ack->properties, MQTT_MAXIMUM_QOS, &p) &&
	    p.value < qos)
		qos = p.value;
	property[1] = (uint8_t)qos;
	return buffer_append(kept, (struct span){property, sizeof(property)});
}

/* Appends to <kept> what the device gets of its properties. */
static bool
keep_properties(const struct session *s, const struct mqtt_connack *ack,
    struct buffer *kept)
{
	return s->level < 5 ||
	       (session_keep_properties(s, ack->properties, kept) &&
		   keep_maximum_qos(s, ack, kept));
}

void
session_note_limits(struct session *s, const struct mqtt_connack *ack)
{
	struct mqtt_property p;

	s->cloud_packet_max = packet_max(ack->properties);
	s->cloud_receive_max =
	    mqtt_property_find(ack->properties, MQTT_RECEIVE_MAXIMUM, &p)
		? p.value
		: 0;
}

/* What is known of the session that the cloud has accepted. */
static void
remember_session(struct session *s, const struct mqtt_connack *ack)
{
	struct mqtt_property p;

	s->has_aliases =
	    mqtt_property_find(ack->properties, MQTT_TOPIC_ALIAS_MAXIMUM, &p);
	/* 3.1.2.4: then the device forgets too; level 3 does not say */
	bool fresh = s->wants_clean || (!ack->session_present && s->level > 3);

	if (fresh) {
		inbound_forget(&s->memory->inbound);
		filter_set_free(&s->memory->subscribed);
	}
	session_recall_filters(s, fresh);
	session_note_limits(s, ack);
	s->was_present = ack->session_present;
	if (!s->was_present)
		granted_begin(&s->granted);
}

/* The device has its CONNACK: <answer>. */
static void
begin_session(
    struct session *s, const struct mqtt_connack *ack, struct span answer)
{
	s->accepted = true;
	s->since_ms = clock_mono_ms();
	remember_session(s, ack);
	if (!s->holds)
		buffer_wipe(&s->connect);
	else if (!session_keep_connect(s) ||
		 (s->level >= 5 && !buffer_append(&s->connack, answer)))
		s->holds = false;
	link_logged_in(&s->link, session_ping_interval_ms(s, ack));
	log_up(s);
	device_write(&s->device, answer);
	device_go_online(&s->device, s->device_keep_alive_s);
}

static void
take_first_connack(struct session *s, struct mqtt_connack *ack, size_t bytes)
{
	struct buffer kept = {0}, answer = {0};
	struct span assigned = {NULL, 0};
	size_t size, n = 0;
	uint8_t *out;

	if (s->wants_clean)
		ack->session_present = false;
	if (s->wants_client_id)
		assigned = span_of_string(s->entry->label);
	size = bytes + assigned.n + 8 + MAXIMUM_QOS_BYTES;
	out = buffer_reserve(&answer, size);
	if (out != NULL && keep_properties(s, ack, &kept)) {
		ack->properties = buffer_span(&kept);
		n = mqtt_connack_for_device(ack, s->level, assigned, out, size);
	}
	if (n == 0)
		session_end_for(s, R_OUT_OF_MEMORY, "for the CONNACK");
	else if (ack->code != 0)
		login_refused(s, ack, (struct span){out, n});
	else
		begin_session(s, ack, (struct span){out, n});
	buffer_free(&kept);
	buffer_free(&answer);
}

/* The cloud's CONNACK, whole. */
void
session_take_connack(struct session *s, struct span packet)
{
	struct mqtt_connack ack;

	if (!mqtt_connack_read(packet, s->level, &ack))
		session_end_for(s, R_BAD_CLOUD_PACKET, "malformed CONNACK");
	else if (s->accepted)
		session_take_connack_again(s, &ack);
	else
		take_first_connack(s, &ack, packet.n);
}

const char *
session_login_auth_flaw(
    const struct session *s, const struct mqtt_packet *packet)
{
	enum { CONTINUE = 0x18 };
	bool is_auth = packet->header.type == MQTT_AUTH;
	struct mqtt_property method;

	if (!is_auth && packet->connack.code != 0)
		return NULL;
	if (mqtt_property_find(
		is_auth ? packet->properties : packet->connack.properties,
		MQTT_AUTHENTICATION_METHOD, &method) &&
	    !span_eq(method.whole, buffer_span(&s->auth_method)))
		return "AUTH or CONNACK with an Authentication Method that"
		       " is not the CONNECT's (MQTT-4.12.0-5, -6, -7)";
	if (is_auth && s->auth_method.n == 0)
		return "AUTH, but the CONNECT has no Authentication Method"
		       " (MQTT-4.12.0-6, -7)";
	if (is_auth && !s->accepted && packet->reason_code != CONTINUE)
		return "AUTH before the CONNACK with a reason code other than"
		       " 0x18 (MQTT-4.12.0-2, -3)";
	return NULL;
}
