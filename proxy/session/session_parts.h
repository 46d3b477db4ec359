/*
 * session_parts: what the files of a session share and nobody else sees:
 * session.c is its life and its end, session_login.c the login, session_up.c
 * the packets from the device, session_publish.c what becomes of a PUBLISH,
 * session_pace.c what waits, session_retained.c retained messages that are kept
 * here, session_topics.c the rules for topics, session_filters.c what becomes
 * of topic filters, session_will.c the device's will, session_down.c the
 * packets from the cloud, session_hold.c a lost link that the device does not
 * notice, session_resume.c the login after that, session_return.c a device that
 * leaves or comes again meanwhile, session_report.c what an administrator is
 * told of it, session_trace.c those who look at its packets.
 */
#ifndef PROXY_SESSION_SESSION_PARTS_H
#define PROXY_SESSION_SESSION_PARTS_H

#include "codec/mqtt_packet.h"
#include "session/session.h"

/* One event of this session, one line; who it is about stands in each. */
#define SLOG(level, s, event, fmt, ...)                                        \
	log_write_for(&(s)->entry->log, level, event, "label=%s peer=%s " fmt, \
	    (s)->entry->label, (s)->peer, __VA_ARGS__)

/* session.c */

/* As session_end(), with the very bytes the device gets last. */
void session_end_with(
    struct session *s, const struct fault *why, struct span last);
/* As session_end(), with the fault made here. */
void session_end_for(struct session *s, enum reason reason, const char *text);

/* session_login.c */

/* Link owner: the WebSocket is open. */
void session_log_in(void *arg);
/* The cloud's CONNACK, whole. */
void session_take_connack(struct session *s, struct span packet);
/*
 * What an AUTH or an accepting CONNACK, read already, breaks of the extended
 * authentication that the CONNECT has begun, or has not (4.12); NULL: nothing.
 */
const char *session_login_auth_flaw(
    const struct session *s, const struct mqtt_packet *packet);

/* The same of any packet: the others break nothing. */
static inline const char *
session_auth_flaw(const struct session *s, const struct mqtt_packet *packet)
{
	if (packet->header.type != MQTT_AUTH &&
	    packet->header.type != MQTT_CONNACK)
		return NULL;
	return session_login_auth_flaw(s, packet);
}

/* One packet as one message, in as many fragments as it takes. */
void session_put_message(struct session *s, struct span packet);

/* What a CONNACK, of this login or the next, says of the cloud. */
void session_note_limits(struct session *s, const struct mqtt_connack *ack);
uint32_t session_ping_interval_ms(
    const struct session *s, const struct mqtt_connack *ack);
/* What a CONNACK that refuses says. */
void session_login_refusal(
    const struct session *s, const struct mqtt_connack *ack, struct fault *why);

/* session_hold.c */

/* A device that is held, and until what one that is gone has left behind is
   delivered. */
struct hold {
	struct event deadline;
	struct event dial;
	uint64_t began_ms;
	unsigned dials;
	bool device_is_gone; /* for <gone> */
	struct fault gone;
	struct fault why; /* the last link, or dial, was lost */
};

/* True when the session, whose will is kept by now, may outlive its link. */
bool session_may_hold(const struct session *s, const struct mqtt_connect *c);
/* The link was lost, or a dial failed, for <why>: true when the session goes on
   without. */
bool session_hold(struct session *s, const struct fault *why);
/* Another dial, or its login, has failed. */
void session_go_on_holding(struct session *s, const struct fault *why);
/* Its link is of no use any more, as the login has changed: true when the
   session goes on, and is about to dial another. */
bool session_leave_link(struct session *s);
/* Link owner: it is idle, and has to be dialled. */
void session_dial_again(struct session *s);
/* Its entry has come, maybe with another hold_time. */
void session_time_hold(struct session *s);
void session_end_hold(struct session *s);
/* Why the link, or the last dial, was lost; NULL: it is not held. */
const struct fault *session_hold_reason(const struct session *s);
/* True when the device has gone, and what it has left is to be delivered. */
bool session_hold_is_left(const struct session *s);

/* session_resume.c */

/* The device is logged in: keeps its CONNECT for the next login. False without
   memory. */
NODISCARD bool session_keep_connect(struct session *s);
/* Brings the CONNECT of another login to what it has to say; <kept> is what it
   points to then. False without memory. */
NODISCARD bool session_fit_connect_again(
    const struct session *s, struct mqtt_connect *c, struct buffer *kept);
/* The CONNACK of another login. */
void session_take_connack_again(
    struct session *s, const struct mqtt_connack *ack);
/* True when the cloud's DISCONNECT with <code> is no more than a lost link. */
bool session_holds_after_disconnect(const struct session *s, uint8_t code);

/* session_return.c */

/* The device is gone while it is held: true when the session goes on for what
   it has left behind. */
bool session_outlives_device(struct session *s, const struct fault *why);
/* Ends it when that is delivered. */
void session_end_when_delivered(struct session *s);
/* True when its device is gone, and has left something that is not delivered.
 */
bool session_left_backlog(const struct session *s);

/* session_trace.c */

/* Its CONNECT is here, and nothing has happened yet. */
void session_begin_traces(struct session *s);
/* The device has come again: <connect> is that of <k>, whose descriptor is the
   session's now. */
void session_trace_again(
    struct session *s, const struct knock *k, struct span connect);
/* A link is open. */
void session_trace_link(struct session *s);
/* A line for those who look on. */
void session_note(const struct session *s, const char *fmt, ...)
    PRINTF_LIKE(2, 3);
/* The same: "WHAT: taken_over by 192.0.2.7:50000". */
void session_note_fault(
    const struct session *s, const char *what, const struct fault *why);

/* of all of them */

/* The cloud takes no more before it has acknowledged one (MQTT-3.3.4-7). */
static inline bool
session_window_is_full(const struct session *s)
{
	return s->cloud_receive_max != 0 &&
	       s->outbox.sent >= s->cloud_receive_max;
}

/* True when no PUBLISH of the device may go up now: there is no link, or others
   are before it. */
static inline bool
session_makes_wait(const struct session *s)
{
	return s->link_lost || outbox_waiting(&s->outbox) > 0 ||
	       session_window_is_full(s);
}

/* True while the device is to be read, as far as the link goes. */
static inline bool
session_listens(const struct session *s)
{
	return s->link_lost || link_takes(&s->link);
}

/* session_pace.c */

/* When the session begins, and when it has ended. */
void session_begin_pace(struct session *s);
void session_end_pace(struct session *s);
/* True when <entry> wants packets of this session adapted, whose identifiers
   or topic aliases are not known here. */
bool session_adapts_too_late(
    const struct session *s, const struct credential *entry);
/* Its entry has come, or another one. */
void session_keep_to_limits(struct session *s);
/* PUBLISHes at QoS 1 that were sent and are not acknowledged. */
uint32_t session_in_flight(const struct session *s);
/* A member of struct subscribing_rules; <arg> is the session. */
void session_note_answer(void *arg, enum mqtt_type type, struct span properties,
    struct span filters, struct span codes);
/* SUBSCRIBE or UNSUBSCRIBE of the device. False: it has to wait. */
bool session_take_subscribe(
    struct session *s, const struct mqtt_packet *p, struct span packet);
/* SUBACK or UNSUBACK of the cloud. False: it passes as it is. */
bool session_take_suback(struct session *s, const struct mqtt_packet *p);
/* The device has to wait for an acknowledgement of the cloud, whose time
   begins, or goes on. */
void session_await_cloud(struct session *s);
/* The device has taken all that was kept for it, and the cloud is read on: its
   time for answers begins anew. */
void session_device_has_room(struct session *s);
/* True when something may be written to the device here and now. */
bool session_can_answer(const struct session *s);
/* Something has changed for what waits: there is room, or an answer. */
void session_go_on(struct session *s);
/* Writes what is due, and reads the device on or not; the last thing of every
   turn in which something went up or came down. */
void session_end_turn(struct session *s);

/* session_will.c */

/* What only a will that is being left needs. */
struct will_end {
	struct event timer;
	struct fault why; /* the session ends, when that is done */
};

/* True when the cloud takes no will from the device, which has one. */
bool session_keeps_will(const struct session *s, const struct mqtt_connect *c);
/* Brings the will of a CONNECT to what the cloud takes. */
void session_fit_will(const struct session *s, struct mqtt_connect *c);
/* The cloud would not take it as a message either; then it is told now. */
bool session_will_has_no_place(
    const struct session *s, const struct mqtt_connect *c);
/* Keeps it; false without memory. */
NODISCARD bool session_keep_will(
    struct session *s, const struct mqtt_connect *c);
/* The session is to end for <why>, with these bytes for the device: true when
   it goes on for a while without the device, to leave its will. */
bool session_leave_will(
    struct session *s, const struct fault *why, struct span last);
/* Sends what is due of it, when a message may be put. */
void session_send_will(struct session *s);
/* Whether a PUBACK was for it. */
bool session_will_acknowledged(
    struct session *s, const struct mqtt_packet *puback);
/* The link was lost while it was to be left. */
void session_lose_will(struct session *s);
void session_drop_will(struct session *s);

/* session_publish.c */

/* True when the cloud would not take it; *code says so at level 5. */
bool session_objects(const struct session *s, const struct mqtt_packet *p,
    uint64_t payload_bytes, uint8_t *code, struct fault *why);
/* True when a PUBLISH may be dropped here, changed or overtaken: it must not
   have set a topic alias that others need (MQTT 5 3.3.2.3.4). */
bool session_breaks_aliases(const struct credential *entry);
/* A PUBLISH of the device, of <total> bytes, of which <first> are here; its
   head is among them. False: it has to wait. <p> is not to be used again. */
bool session_take_publish(struct session *s, struct mqtt_packet *p,
    struct span first, uint64_t total);
void session_take_publish_piece(struct session *s, struct span piece);
/* True when the cloud takes retained messages of this device. */
bool session_takes_retain(const struct session *s);
/* True when QoS 2 of the device goes up as QoS 1. */
bool session_adapts_qos2(const struct session *s);
/* True when a handshake of the device under this identifier is held here. */
bool session_ends_qos2(const struct session *s, uint16_t packet_id);
/* PUBREL of the device. False: it has to wait. */
bool session_take_pubrel(struct session *s, const struct mqtt_packet *p);
/* PUBACK of the cloud, whose bytes may be changed. False: they pass. */
bool session_take_puback(
    struct session *s, const struct mqtt_packet *p, struct span bytes);

/* session_retained.c */

/* True when retained messages that the cloud does not take are kept here. */
bool session_stores_retained(const struct session *s);
/* When the session begins; the properties of its CONNECT. */
void session_begin_retained(struct session *s);
/* Its entry has come, or another one. */
void session_keep_retained(struct session *s);
/* A retained PUBLISH as the device has sent it, of which all is here or not,
   was taken. */
void session_retain(
    struct session *s, const struct mqtt_packet *p, bool is_whole);
/* The will of a CONNECT, which is kept here: what of it is to be retained when
   it is left, if it is. False without memory. */
NODISCARD bool session_note_retained_will(
    struct session *s, const struct mqtt_connect *c);
/* It is on its way up. */
void session_retain_will(struct session *s);
/* False: a SUBSCRIBE or UNSUBSCRIBE has to wait for a SUBACK. Asked only where
   something may be written to the device: all that is due has been told then.
 */
bool session_can_note_filters(const struct session *s);
/* It was taken. */
void session_note_retained(struct session *s, const struct mqtt_packet *p);
/* A SUBACK, or any other packet, is on its way to the device. */
void session_grant_retained(
    struct session *s, const struct mqtt_packet *suback);
/* Writes what is due to the device, as long as it takes it at once. */
void session_tell_retained(struct session *s);

/* session_topics.c, only where s->entry->topics is not NULL, but for the first
 */

/* Keeps it if there are rules. False without memory. */
NODISCARD bool session_keep_client_id(struct session *s, struct span client_id);

/* What the variables in rules stand for. */
struct topic_names session_names(const struct session *s);
/* Whether what no rule maps passes as it is. */
bool session_passes_unmapped(const struct session *s);

enum session_mapped {
	SESSION_MAPPED,
	SESSION_UNMAPPED_PASSES, /* as it is */
	SESSION_NOT_TAKEN,       /* it goes nowhere */
	SESSION_REFUSED,         /* the session has to end */
	SESSION_NO_MEMORY
};

/*
 * A PUBLISH of the device, with a payload of <payload_bytes>: appends what goes
 * up instead of what is here of it to <out>, and points <p> to that. <why>: why
 * it is NOT_TAKEN or REFUSED.
 */
NODISCARD enum session_mapped session_map_up(const struct session *s,
    struct mqtt_packet *p, uint64_t payload_bytes, struct buffer *out,
    struct fault *why);
/* The same for one of the cloud. One that is NOT_TAKEN is acknowledged. */
NODISCARD enum session_mapped session_map_down(
    struct session *s, const struct mqtt_packet *p, struct buffer *out);
/* Puts one acknowledgement that is due to the cloud; false: there is none. A
   message may be put now. */
bool session_send_ack(struct session *s);

/* What a mapped will points to; zero, and <properties> is freed by the caller.
 */
struct session_will_parts {
	struct topic_text topic;
	struct buffer properties;
};
/* Maps the will, or takes it out, which is logged. False without memory. */
NODISCARD bool session_map_will(const struct session *s, struct mqtt_connect *c,
    struct session_will_parts *parts);
/* Has the cloud send no topic aliases, which a message that is dropped might
   have set; <kept> is what <c> points to then. False without memory. */
NODISCARD bool session_drop_aliases(
    struct mqtt_connect *c, struct buffer *kept);

/* session_filters.c, where s->adapts */

/* A member of struct subscribing_rules; <arg> is the session. */
void session_map_filter(void *arg, enum mqtt_type type, struct span filter,
    subscribing_emit *emit, void *emit_arg);
/* The packet has more filters than are mapped in one go. */
bool session_has_many_filters(
    const struct session *s, const struct mqtt_packet *p);
/* Before the packet is taken, once more maybe: remembers what is asked for. */
void session_note_filters(struct session *s, const struct mqtt_packet *p);
/* It was taken: counts and tells what is refused of it. */
void session_tell_refused(struct session *s, const struct mqtt_packet *p);
/* The cloud has let the device in, whose session is a <fresh> one or not. */
void session_recall_filters(struct session *s, bool fresh);

/* session_up.c */

/* Device owner: bytes from the device; returns how many were taken. */
size_t session_take_device_bytes(void *arg, struct span in);
/* The session ends: a DISCONNECT of the device that waits goes up now. */
void session_say_farewell(struct session *s);
/* Link owner: more may be put. */
void session_on_link_room(void *arg);

/* session_down.c */

/* Link owner: a piece of a message; the end of a read. */
void session_take_cloud_data(void *arg, const struct ws_event *ev);
void session_end_batch(void *arg);
/* Device owner: more may be written. */
void session_on_device_room(void *arg);
/*
 * Appends to <kept> what the device may see of the properties of the cloud's
 * CONNACK or DISCONNECT: not another server, which means nothing to it
 * (3.2.2.3.16, 3.14.2.2.5), and not the login used with the cloud, wherever
 * that is told. False without memory.
 */
NODISCARD bool session_keep_properties(
    const struct session *s, struct span list, struct buffer *kept);
/* The cloud is read unless something is kept for the device. */
void session_pause_link(struct session *s);
/* PUBACK, PUBREC or PUBCOMP of the device, which is in <packet>. */
void session_take_device_ack(
    struct session *s, const struct mqtt_packet *p, struct span packet);
/* Writes what has been collected for the device. */
void session_write_run(struct session *s);
/* Writes the PINGRESPs owed to the device, where one may stand. */
void session_answer_pings(struct session *s);

#endif
