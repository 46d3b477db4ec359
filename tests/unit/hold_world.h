/*
 * hold_world: what the model of a held device (test_hold_model) consists of: a
 * session on a clock that only moves when it is told to, timers and all, and
 * what each side has said, as a reference for what the other may be told.
 *
 * To be linked with -Wl,--wrap=clock_mono_ms,--wrap=event_add,--wrap=event_del.
 */
#ifndef TESTS_UNIT_HOLD_WORLD_H
#define TESTS_UNIT_HOLD_WORLD_H

#include "adapt.h"

#include <stdlib.h>

int __real_event_add(struct event *ev, const struct timeval *tv);
int __wrap_event_add(struct event *ev, const struct timeval *tv);
int __real_event_del(struct event *ev);
int __wrap_event_del(struct event *ev);

enum {
	TIMERS = 64,
	UPS_MAX = 6000,
	DOWNS_MAX = 6000,
	FILTERS = 10,
	FILTER_REFUSED = FILTERS - 1, /* by the cloud, always */
	EXCHANGES = 4,
	OWED = 512,
	DEVICE_IDS = 40, /* a device has few, so that they come again soon */
	CLOUD_IDS = 8,
	NOT_SUBSCRIBED = 0xff,
	HOLD_MS = 120 * 1000,
	QUEUE_BYTES = 8 * 1024, /* hold_queue */
	MESSAGE_MAX = 6000
};

/* A message of the device. */
struct up {
	uint8_t qos;
	uint16_t id;
	enum {
		UP_OUT,      /* nothing has been said to it */
		UP_RECEIVED, /* PUBREC */
		UP_RELEASED, /* and PUBREL */
		UP_DONE,
		UP_LOST /* with a connection; of QoS 0 */
	} state;
	unsigned made_link; /* when the device sent it */
	unsigned done_link;
	unsigned got_link; /* the last one the cloud got it over; 0: none */
	bool answered;     /* the cloud has acknowledged it */
	bool again;        /* the device has sent it with DUP */
};

/* A message of the cloud. */
struct down {
	uint8_t qos;
	uint16_t id;
	enum { DOWN_OUT, DOWN_RECEIVED, DOWN_DONE, DOWN_LOST } state;
	unsigned told;    /* how often, on this connection of the device */
	bool is_answered; /* by the device */
	bool is_received; /* the same, with PUBREC */
};

/* A SUBSCRIBE or UNSUBSCRIBE that is not answered. */
struct asking {
	uint16_t id; /* 0: none */
	enum mqtt_type type;
	unsigned n;
	uint8_t filters[FILTERS];
	uint8_t qos[FILTERS];
};

struct fake_device {
	struct buffer out; /* not written yet */
	bool online;
	bool has_left; /* by DISCONNECT */
	bool is_gone;  /* without */
	struct up ups[UPS_MAX];
	unsigned n;
	unsigned first; /* all before are over */
	struct asking asking[EXCHANGES];
	uint8_t filters[FILTERS];      /* as it believes */
	unsigned owes[UINT16_MAX + 1]; /* by identifier; 0: nothing */
	unsigned owed;                 /* how many */
	unsigned pings;                /* not answered */
	unsigned comebacks;
};

/* What the cloud is about to say. */
struct owed {
	uint8_t bytes[32];
	size_t n;
	unsigned up; /* the message it acknowledges, and one; 0: none */
};

struct fake_cloud {
	enum { AWAY, GREETING, LOGIN, ONLINE, CLOSING } phase;
	struct buffer out;      /* not written yet */
	struct buffer part;     /* of a message in fragments */
	struct owed owed[OWED]; /* one after the other */
	unsigned owed_n;
	bool refuses; /* no TCP connection */
	bool mute;    /* says and takes nothing */
	bool keeps;   /* sessions */
	bool has_session;
	bool has_forgotten;
	unsigned link;       /* logins accepted */
	unsigned last_up[3]; /* the last new one of each QoS */
	uint8_t filters[FILTERS];
	unsigned open_qos2; /* PUBLISHes of its own without their end */
	struct down downs[DOWNS_MAX];
	unsigned n;
	unsigned first;
};

static struct world {
	struct life life;
	uint64_t seed;
	uint8_t level;
	bool is_aliyun;
	bool is_clean;
	bool was_present;
	uint64_t lost_ms; /* since when links are of no use; 0: they are */
	/* the same, before this link was; a cloud that breaks the protocol on
	   it has it count again */
	uint64_t before_ms;
	bool errs; /* it does */
	struct fake_device device;
	struct fake_cloud cloud;
	struct {
		struct event *event;
		uint64_t due_ms;
	} timers[TIMERS];
	unsigned timer_n;
	/* for the record */
	uint64_t steps, lives, links, comebacks, repeats, renamed;
} world;

/* ---- random numbers ---- */

static inline uint64_t
random_next(void)
{
	world.seed ^= world.seed << 13;
	world.seed ^= world.seed >> 7;
	world.seed ^= world.seed << 17;
	return world.seed;
}

/* Below <n>. */
static inline unsigned
below(unsigned n)
{
	return (unsigned)((random_next() >> 11) % n);
}

static inline bool
one_in(unsigned n)
{
	return below(n) == 0;
}

/* ---- the clock ---- */

static inline void
timer_forget(unsigned i)
{
	world.timers[i] = world.timers[--world.timer_n];
}

int
__wrap_event_del(struct event *ev)
{
	for (unsigned i = world.timer_n; i-- > 0;)
		if (world.timers[i].event == ev)
			timer_forget(i);
	return __real_event_del(ev);
}

int
__wrap_event_add(struct event *ev, const struct timeval *tv)
{
	/* the rig's own is of the real clock */
	if (tv == NULL || event_get_callback(ev) == rig_on_tick)
		return __real_event_add(ev, tv);
	(void)__wrap_event_del(ev);
	assert_true(world.timer_n < TIMERS);
	world.timers[world.timer_n].event = ev;
	world.timers[world.timer_n++].due_ms = adapt.now_ms +
					       (uint64_t)tv->tv_sec * 1000 +
					       (uint64_t)tv->tv_usec / 1000;
	return 0;
}

/* Moves it to the next timer that is due in <ms>, which fires, or by <ms>.
   Returns what is left of them. */
static inline uint64_t
clock_move(uint64_t ms)
{
	uint64_t end_ms = adapt.now_ms + ms;
	unsigned next = world.timer_n;

	for (unsigned i = 0; i < world.timer_n; i++)
		if (world.timers[i].due_ms <= end_ms &&
		    (next == world.timer_n ||
			world.timers[i].due_ms < world.timers[next].due_ms))
			next = i;
	if (next == world.timer_n) {
		adapt.now_ms = end_ms;
		return 0;
	}
	if (world.timers[next].due_ms > adapt.now_ms)
		adapt.now_ms = world.timers[next].due_ms;
	event_active(world.timers[next].event, EV_TIMEOUT, 0);
	timer_forget(next);
	return end_ms - adapt.now_ms;
}

/* ---- bytes ---- */

static inline void
put(struct buffer *out, struct span bytes)
{
	assert_true(buffer_append(out, bytes));
}

/* Writes some of what waits for <fd>, or all of it; false: it is broken. */
static inline bool
write_some(int fd, struct buffer *out, bool all)
{
	struct span bytes = buffer_span(out);
	ssize_t n;

	if (bytes.n == 0)
		return true;
	if (!all && one_in(4))
		bytes.n = 1 + below((unsigned)bytes.n);
	n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN;
	buffer_drop(out, (size_t)n);
	return true;
}

/* Reads what there is; false at the end. */
static inline bool
read_some(int fd, struct buffer *in)
{
	static uint8_t bytes[64 * 1024];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	put(in, (struct span){bytes, (size_t)n});
	return true;
}

/* The next packet of <in>, which is its own copy in <packet>. */
static inline bool
next_packet(
    struct buffer *in, enum mqtt_direction from, struct mqtt_packet *packet)
{
	static uint8_t copy[64 * 1024];
	struct span bytes = buffer_span(in);
	struct mqtt_header h;
	struct fault why;
	enum parse parse = mqtt_header_read(bytes, &h);

	assert_int_not_equal(parse, PARSE_BAD);
	if (parse == PARSE_MORE || bytes.n < h.header_bytes + h.remaining)
		return false;
	bytes.n = h.header_bytes + h.remaining;
	assert_true(bytes.n <= sizeof(copy));
	memcpy(copy, bytes.p, bytes.n);
	buffer_drop(in, bytes.n);
	if (!mqtt_packet_read(
		(struct span){copy, bytes.n}, world.level, from, packet, &why))
		fail_msg("%s", why.text);
	return true;
}

/* ---- messages ---- */

/* The payload of message <number>: that, and bytes made of it. */
static inline struct span
payload_of(unsigned number)
{
	static uint8_t bytes[MESSAGE_MAX + 8];
	unsigned hash = number * 2654435761u;
	size_t n = 4 + (hash >> 8) % 60;

	if (hash % 23 == 0)
		n = 4 + (hash >> 8) % MESSAGE_MAX;
	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(number + i);
	memcpy(bytes, &number, 4);
	return (struct span){bytes, n};
}

/* The number of the message that <p> must be, below <n>. */
static inline unsigned
number_of(const struct mqtt_packet *p, unsigned n)
{
	unsigned number;

	assert_true(p->payload.n >= 4);
	memcpy(&number, p->payload.p, 4);
	assert_true(number < n);
	assert_span_equal(p->payload, payload_of(number));
	return number;
}

static inline struct span
publish_of(uint8_t qos, bool dup, uint16_t id, unsigned number)
{
	return PACKET(.header.type = MQTT_PUBLISH, .qos = qos, .dup = dup,
	    .packet_id = id, .topic = SPAN_OF("t"),
	    .payload = payload_of(number));
}

/* 'a' is filter 0. */
static inline uint8_t
filter_of(struct span text)
{
	assert_int_equal(text.n, 2);
	assert_true(text.p[1] - 'a' < FILTERS);
	return (uint8_t)(text.p[1] - 'a');
}

#endif
