/*
 * session: one device's life: its LAN side (device), its way to the cloud
 * (link) and the packets between them. Lives on one worker's thread; a callback
 * acts on its own session only.
 *
 * A session ends in one function, with one reason; it stays allocated until the
 * loop turn is over and both its sides have closed.
 */
#ifndef PROXY_SESSION_SESSION_H
#define PROXY_SESSION_SESSION_H

#include "base/attr.h"
#include "base/fault.h"
#include "codec/mqtt_connect.h"
#include "codec/mqtt_stream.h"
#include "link/link.h"
#include "session/asked.h"
#include "session/device.h"
#include "session/filter_set.h"
#include "session/flow.h"
#include "session/granted.h"
#include "session/inbound.h"
#include "session/knock.h"
#include "session/outbound.h"
#include "session/outbox.h"
#include "session/report.h"
#include "session/retained.h"
#include "session/retained_due.h"
#include "session/session_tally.h"
#include "session/subscribing.h"
#include "session/trace.h"
#include "settings/credmap.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct session;
struct hold;

/* What a worker's sessions share. */
struct session_env {
	struct link_env link;
	struct device_env device;
	struct session_tally tally;
	struct traces traces; /* the worker's, of whatever devices */
	/* Both sides have closed: the session may be freed, by
	   session_free(), and the same identity may dial again. */
	void (*on_dead)(void *arg, struct session *s);
	/* It has ended, for <why>; both sides are about to close. NULL: nobody
	   wants to know. */
	void (*on_end)(
	    void *arg, const struct session *s, const struct fault *why);
	void *arg;
};

/* What is remembered of a device from one session to the next. Zero-initialised
   is empty. */
struct device_memory {
	struct inbound inbound;
	struct flow flow;
	struct asked asked; /* of an entry with rules for topics */
	/* of an entry that stores what is retained: */
	struct retained retained;
	struct filter_set subscribed; /* at level 5: by its session */
};

struct traffic {
	uint64_t packets;
	uint64_t bytes;
};

/*
 * A will that is kept here. KEPT until the device is lost; then DELAYED (level
 * 5), DUE behind what the device has queued, NEXT until the cloud's limits let
 * it go up, SENT until the cloud has acknowledged it.
 */
enum will_state {
	WILL_NONE,
	WILL_KEPT,
	WILL_DELAYED,
	WILL_DUE,
	WILL_NEXT,
	WILL_SENT
};

struct will {
	enum will_state state;
	struct buffer packet; /* the PUBLISH */
	struct buffer
	    to_retain; /* as the device has it, if that is kept here */
	uint8_t qos;
	bool wanted;     /* the device has left, and wants it published */
	bool clean_next; /* the next connection begins a session of its own */
	uint32_t delay_s;
	uint64_t dropped;     /* messages that it did not wait for any longer */
	uint16_t packet_id;   /* it was sent under */
	struct will_end *end; /* from DELAYED on */
};

struct session {
	TAILQ_ENTRY(session) next; /* the worker's */
	void *identity;            /* the worker's */
	struct session_env *env;
	struct credmap *map; /* a reference, for <entry> */
	const struct credential *entry;
	struct device device;
	struct link link;
	struct task burial;
	bool ended;
	bool accepted; /* the cloud's CONNACK said so, and the device has it */
	uint8_t level;
	/* it has forgotten its session, and closes when the cloud's is there
	   (MQTT-3.2.2-1, -4), as with clean_session = no it may be */
	bool wants_clean;
	bool wants_client_id; /* level 5, and the device's own was empty */
	bool has_aliases;     /* the device may set topic aliases */
	uint16_t device_keep_alive_s;
	uint16_t cloud_keep_alive_s; /* what the cloud was told */
	uint32_t device_packet_max;  /* level 5: bytes the device takes */
	uint32_t cloud_packet_max;   /* and the cloud; 0: no limit */
	/* level 5: what it takes without an acknowledgement; 0: no limit */
	uint32_t cloud_receive_max;
	struct buffer connect; /* the device's, until it is logged in; without
				  its login as long as the session, where it
				  may be needed again */
	/* its Authentication Method (level 5), identifier and value as they
	   stand on the wire; empty: it has named none */
	struct buffer auth_method;
	struct buffer client_id; /* the device's own, for rules for topics */
	/* up */
	struct device_memory *memory; /* the worker's, outlives the session */
	struct subscribing subscribing;
	struct will will;
	struct event *pace; /* when more may go up; NULL: it never waited */
	bool paced;         /* that is set */
	bool adapts;        /* what is under way is known here: the cloud has no
			       QoS 2, takes fewer or other filters, or no will */
	bool held;          /* the device is not read until one of them went */
	uint64_t owed_ms;   /* since when it waits for no more than an
			       acknowledgement of the cloud; 0: it does not */
	uint64_t suback_ms; /* the same of SUBSCRIBE and UNSUBSCRIBE, whether
			       or not the device waits; 0: none is under way */
	uint64_t up_left;   /* of a packet that travels in fragments */
	bool up_dropped;    /* it does not go up */
	unsigned refused;   /* messages that the cloud would not take */
	unsigned filters_refused;
	unsigned retain_cleared;
	uint64_t retained_dropped; /* for want of space */
	unsigned qos2_ended;       /* went up as QoS 1 */
	struct buffer acks;        /* due to the cloud for what was dropped */
	struct buffer farewell;    /* the device's DISCONNECT, while it waits */
	bool up_kept;              /* the packet under way is in the outbox */
	unsigned up_qos2; /* handshakes that pass, and are not finished */
	struct traffic up;
	/* down */
	struct mqtt_stream down_stream;
	bool down_mid_packet;        /* the device has got a part of a packet */
	bool down_dropped;           /* it does not get the one under way */
	unsigned down_dropped_count; /* no rule maps them, or not asked for */
	unsigned down_oversize;      /* of them: mapped, too big for it */
	struct retained_due retained_due;
	unsigned retained_sent;
	struct buffer gather; /* the start of one that cannot be judged yet */
	uint8_t *run;         /* in the scratch: bytes for the device */
	size_t run_bytes;
	struct traffic down;
	/* over a lost link (session_hold.c) */
	bool holds;             /* what that takes is kept */
	bool link_lost;         /* nothing may be put */
	bool progress;          /* the link has been of use */
	bool was_present;       /* the device relies on what the cloud kept */
	struct hold *hold;      /* while it is held, and until what a device
				   that is gone has left is delivered */
	uint64_t hold_since_ms; /* or since when links are of no use; 0: not */
	struct outbox outbox;
	struct outbound outbound;
	struct granted granted;
	unsigned restoring; /* SUBSCRIBEs of our own without an answer */
	unsigned logins; /* since the granted were known to be at the cloud */
	struct buffer connack; /* that the device had, at level 5 */
	unsigned holds_count;
	uint64_t held_ms; /* all of them, but this one */
	uint32_t pingresp_due;
	uint64_t began_ms;
	uint64_t since_ms; /* it does what session_report() says */
	char peer[PEER_TEXT];
	struct network address; /* the peer's, or none */
};

/*
 * Starts a session for <k>, which it takes over, and dials. NULL without
 * memory: <k> is then still the caller's. <env> and <memory>, which is the
 * device's alone, must outlive it.
 */
NODISCARD struct session *session_new(
    struct session_env *env, struct knock *k, struct device_memory *memory);

/* Nothing is worth remembering. */
bool device_memory_is_empty(const struct device_memory *m);
void device_memory_free(struct device_memory *m);
/* A new map has come for a device without a session: forgets what it is not to
   keep by its <entry>. */
void device_memory_remap(
    struct device_memory *m, const struct credential *entry);

/* Ends it for <why>: the device is told as its level allows, the link closed.
   The first reason wins; later ends change nothing. */
void session_end(struct session *s, const struct fault *why);

/*
 * Ends it because <k> has come as the same device. With Clean Start that ends
 * the device's session too, and not only this connection. <w> is told what the
 * device does then, and outlives the session; NULL: nobody is.
 */
void session_give_way(
    struct session *s, const struct knock *k, struct witness *w);

/* True when the device has closed, but packets it sent before the cloud's
   answer are still on their way up. */
bool session_has_left(const struct session *s);

/* False when it has no device any more: it has ended, or the device has left
   and only what it left behind is still on its way up. */
bool session_has_device(const struct session *s);

/* True when the device is probably gone, though that is not sure yet. */
bool session_seems_lost(const struct session *s);
/* True when session_adopt() would take <k>, memory permitting. */
bool session_can_adopt(const struct session *s, const struct knock *k);

/*
 * The device of <k> is that of this session, and has come again while its link
 * is lost: true when the session, with all it keeps, is now that connection's,
 * and <k> is gone. Only for a session that both have asked to be kept.
 */
NODISCARD bool session_adopt(struct session *s, struct knock *k);

/* Adds what it has counted so far. */
void session_sum(const struct session *s, struct session_sums *sums);

/* What an administrator is told of it. */
enum presence session_presence(const struct session *s);
void session_report(const struct session *s, struct session_report *out);

/* <t>, which is about this device and one of the worker's, joins; or leaves, if
   it is there. It must have left before it is freed. */
void session_trace(struct session *s, struct trace *t);
void session_untrace(struct session *s, struct trace *t);

/* A new map has come: goes on under its entry, or ends when that is gone or
   does not let the device in any more, or another login is due. */
void session_remap(struct session *s, struct credmap *fresh);

/* Frees it, at once and whatever its state. */
void session_free(struct session **s);

#endif
