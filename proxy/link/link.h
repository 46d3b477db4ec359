/*
 * link: one dialled connection to the cloud: name, TCP, egress proxy, TLS,
 * WebSocket, and the frames on it. A link is embedded in the session that owns
 * it, lives on the session's thread, and can be dialled again once it is idle.
 *
 *	IDLE -> PERMIT -> RESOLVE -> TCP -> EGRESS -> TLS -> UPGRADE -> LOGIN
 *	     -> UP -> CLOSING -> IDLE
 *
 * A step that a dial does not need is passed at once: EGRESS without an egress
 * proxy, TLS of ws, UPGRADE of mqtts. When one of several transports cannot be
 * had, the dial goes back to RESOLVE with the next one.
 *
 * The link carries bytes; what they say is the owner's business. The owner logs
 * in when told that the link is open, and says what the cloud has answered.
 */
#ifndef PROXY_LINK_LINK_H
#define PROXY_LINK_LINK_H

#include "base/attr.h"
#include "base/buffer.h"
#include "base/fault.h"
#include "base/mailbox.h"
#include "base/span.h"
#include "base/take_overs.h"
#include "codec/ws.h"
#include "link/egress_talk.h"
#include "link/governor.h"
#include "link/habit.h"
#include "link/holdoff.h"
#include "link/idle_cut.h"
#include "link/link_tally.h"
#include "link/loop.h"
#include "link/resolver.h"
#include "link/stream.h"
#include "link/tap.h"
#include "link/trust.h"
#include "settings/credmap.h"
#include "settings/settings.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name, what it is waiting for */
#define LINK_STATES(X)                                                         \
	X(IDLE, "to be dialled")                                               \
	X(PERMIT, "its turn to be dialled")                                    \
	X(RESOLVE, "addresses")                                                \
	X(TCP, "a TCP connection")                                             \
	X(EGRESS, "a tunnel through the egress proxy")                         \
	X(TLS, "a verified TLS handshake")                                     \
	X(UPGRADE, "HTTP 101 to the WebSocket request")                        \
	X(LOGIN, "the cloud's CONNACK")                                        \
	X(UP, "bytes from either side")                                        \
	X(CLOSING, "the cloud's end of the close")

#define X(name, waits_for) LINK_##name,
enum link_state { LINK_STATES(X) LINK_STATE_COUNT };
#undef X

const char *link_state_word(enum link_state state);

/*
 * What the owner is told. Each call may come from inside any link function but
 * link_init(), and the owner may call any link function from inside it.
 */
struct link_owner {
	/* The way is open: put the CONNECT. */
	void (*on_open)(void *arg);
	/* A piece of a message; the payload lies in the loop's scratch and may
	   be changed there. */
	void (*on_data)(void *arg, const struct ws_event *piece);
	/* All pieces of one read have been told. */
	void (*on_batch)(void *arg);
	/* Nothing is kept any more: more may be put. */
	void (*on_room)(void *arg);
	/* The link was lost, or the dial failed. Once for a dial at most, and
	   not for a close the owner asked for. */
	void (*on_lost)(void *arg, const struct fault *why);
	/* Idle again. Once for every dial, last. */
	void (*on_idle)(void *arg);
};

struct known_names;
struct link;

/* What a worker's links share; the pointers may be exchanged by a reload. */
struct link_env {
	struct loop *loop;
	struct mailbox *mailbox; /* the worker's own: look-ups come back here */
	struct mailbox *resolver_mailbox; /* the door's */
	void (*resolver_open)(
	    struct letter *l, void *arg); /* opens a look-up */
	struct known_names *names; /* looked at before; NULL: there are none */
	struct settings *settings;
	struct trust *trust;
	struct tickets *tickets;
	struct holdoffs *holdoffs;
	struct habits *habits;
	struct egress_memory *egress_memory;
	struct idle_cuts *idle_cuts;     /* NULL: nothing is learned */
	struct governor *governor;       /* NULL: dial whenever asked to */
	struct take_overs *take_overs;   /* NULL: not counted */
	_Atomic uint64_t *pings_learned; /* how often an interval was; ditto */
	struct link_tally tally;
	uint64_t max_message_bytes; /* of the cloud's; 0: no limit */
	/* Told of each step of each dial, or NULL: the state that was passed
	   (<why> NULL) or where the dial failed; called before the link has
	   left it. */
	void (*on_step)(
	    void *on_step_arg, const struct link *l, const struct fault *why);
	void *on_step_arg;
};

struct link {
	struct link_env *env;
	const struct link_owner *owner;
	void *arg;
	struct tap *tap; /* of what is put; the owner's, or NULL */
	const struct credential *target; /* the owner's; see link_retarget() */
	enum link_state state;
	uint8_t level;          /* of MQTT, for the subprotocol */
	struct transports ways; /* in the order they are tried */
	unsigned way;           /* which of them */
	struct dialling
	    *dialling; /* what only a dial needs; NULL from LOGIN on */
	struct stream stream;
	struct event io;
	struct event timer;
	struct task again;
	struct ws_reader reader;
	struct buffer kept; /* frames the cloud has not taken yet */
	bool framed;        /* in WebSocket frames; from LOGIN on */
	bool readable;      /* nothing has said "no more" yet */
	bool paused;        /* the owner takes no more for now */
	bool deaf;          /* closing after an error: input is thrown away */
	bool mid_message;   /* of what we send: a fragment has gone before */
	bool lost_told;
	bool is_old_news; /* the loss was told in the log a while ago */
	bool pong_due;
	bool close_due;      /* a close is to be written */
	bool close_seen;     /* the cloud's close frame has come */
	uint16_t close_code; /* of ours */
	uint8_t pong_bytes;
	uint8_t pong[WS_CONTROL_MAX];
	uint32_t ping_interval_ms; /* asked for; 0: none */
	uint64_t wrote_ms;
	uint64_t ping_sent_ms; /* 0: no answer is awaited */
	uint64_t moved_ms;     /* the last bytes, either way */
	uint64_t silence_ms;   /* what we wrote ended so much of it, and nothing
				  has come since; 0: not so */
	uint64_t spoke_ms;     /* when that was */
	uint64_t blocked_ms;   /* since when frames are kept; 0: none are */
	uint64_t
	    retry_ms; /* a dial was not allowed; after this long it may be */
	uint64_t dialled_ms;
	uint64_t up_ms;         /* since when it is logged in */
	int64_t cert_expires_s; /* the cloud's, since 1970; 0: not known */
};

/* <env>, <owner> and <arg> must outlive the link. */
void link_init(struct link *l, struct link_env *env,
    const struct link_owner *owner, void *arg);

/* Only when idle. The outcome comes by on_open or on_lost. <target> is borrowed
   until on_idle. <level> is the MQTT protocol level that will be spoken. */
void link_dial(struct link *l, const struct credential *target, uint8_t level);

/* The same place, in a map that has replaced the old one. */
void link_retarget(struct link *l, const struct credential *target);

/*
 * Puts one frame: a whole message, or a fragment of one. <opcode> is WS_BINARY
 * or WS_TEXT where the message begins, WS_CONTINUATION after that. At most
 * LOOP_IN_BYTES. Only while link_takes(), or further frames of what was begun
 * then; nothing is put on a link that is lost by that.
 */
void link_put(
    struct link *l, enum ws_opcode opcode, struct span payload, bool ends);

/* Writes what was put since the last flush; to be called before the callback
   ends. What the cloud does not take at once is kept. */
void link_flush(struct link *l);

/* True from on_open until it is closed or lost. */
static inline bool
link_is_open(const struct link *l)
{
	return l->state == LINK_LOGIN || l->state == LINK_UP;
}

/* True while the link is open and keeps nothing: the owner may put more. */
static inline bool
link_takes(const struct link *l)
{
	return link_is_open(l) && l->kept.n == 0;
}

/* Accepted: from now on a ping is sent whenever nothing was written for
   <ping_interval_ms>, or for what was learned of the way (idle_cut.h). */
void link_logged_in(struct link *l, uint32_t ping_interval_ms);

/* The cloud has said, in MQTT, that it will not have this device, now or any
   more: the next dials have to wait. The link is still the owner's to close. */
void link_turned_away(struct link *l, const struct fault *why);

/* The cloud has answered a ping. */
void link_ponged(struct link *l);

/* While paused the owner gets no data (and the cloud is not read). */
void link_pause(struct link *l, bool paused);

/* Writes what is kept, closes in order with <code>, and drops the connection
   when the cloud does not close within its time. Harmless when idle. */
void link_close(struct link *l, enum ws_close_code code);

/* What the owner found to be against the protocol: as a lost link, and the
   cloud is told <code>. */
void link_fail(
    struct link *l, enum ws_close_code code, const struct fault *why);

/* At once, with no word to anybody: neither the cloud nor the owner. */
void link_abort(struct link *l);

/* How the cloud is reached, and on which port. */
enum transport link_transport(const struct link *l);
uint16_t link_port(const struct link *l);
/* The host of the egress proxy a dial of it goes by now; "none": direct. */
const char *link_egress(const struct link *l);

/* How the cloud is dialled now, for a line that a person reads. */
void link_describe_way(const struct link *l, char *out, size_t size);
/* What a dial has brought in the state <l> is in; from inside on_step only. */
void link_describe(const struct link *l, char *out, size_t size);

/* The TLS with the cloud, from its handshake on; NULL for ws, whatever there is
   between here and an egress proxy. */
SSL *link_tls(const struct link *l);

/* TLS facts for the log line; "plain" and false for ws. */
const char *link_tls_version(const struct link *l);
bool link_tls_resumed(const struct link *l);

#endif
