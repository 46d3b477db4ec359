/*
 * The input is a script: four bytes that set the stage, then acts, one byte
 * each with its operands behind it. It plays the device, the cloud, the door
 * and time around one session, which runs for real on its own sockets. The
 * judges look at what both sides have got; at the end nothing may be left.
 */
#include "fuzz_file.h"
#include "judge.h"
#include "stage.h"

#include "codec/http.h"
#include "session/session.h"

#include <sys/ioctl.h>

enum {
	KEPT_MAX_BYTES = 64 << 20,
	/* room for a session while one packet is kept, not for more */
	KEPT_TIGHT_BYTES = 640 << 10,
	FILLER_MAX_BYTES = 512 << 10, /* a script's big packets, together */
	TURNS = 8,                    /* of the loop, after each act */
	TIMERS_FIRED_MAX = 64,
	LONGEST_END_MS = 5 * 60 * 1000
};

/* The third byte of a script. */
enum {
	SMALL_DEVICE = 1, /* pipes that fill soon */
	SMALL_CLOUD = 2,
	RESOLVER_MUTE = 4,
	TIGHT_MEMORY = 8,
	ENDS_IN_ORDER = 16,
	TAKES_ALL = 32, /* the cloud, which is sent everything as it is */
	SLOW = 64,   /* takes little a second; else it is Aliyun's contract */
	MAPPED = 128 /* has topics of its own */
};

/* Acts; the operands are bytes. After each the loop turns, but not after one
   with AT_ONCE: the next one happens in the same moment. */
enum { AT_ONCE = 0x80 };

enum act {
	DEVICE_SENDS,      /* count, bytes */
	DEVICE_PUBLISHES,  /* size, see take_size() */
	DEVICE_READS,      /* KiB */
	DEVICE_CLOSES,     /* how: FIN, or away with what is unread */
	CLOUD_SENDS,       /* count, bytes */
	CLOUD_SENDS_FRAME, /* first byte, count, payload */
	CLOUD_ANSWERS_101, /* how many bytes of it */
	CLOUD_ACCEPTS,     /* CONNACK code, or properties */
	CLOUD_PUBLISHES,   /* size, fragment size */
	CLOUD_READS,       /* KiB */
	CLOUD_CLOSES,      /* how */
	TIME_PASSES,       /* 2^n ms */
	MAP_RELOADED,      /* which map */
	RESOLVER_ANSWERS,  /* with how many addresses */
	SESSION_ENDS,      /* reason */
	DEVICE_REPEATS,    /* 128 times how often, count, bytes */
	CLOUD_REPEATS,     /* the same */
	ACT_COUNT
};

enum {
	MAP_SAME,
	MAP_CHANGED,
	MAP_REMOVED,
	MAP_TAKES_ALL,
	MAP_SLOW,
	MAP_MAPPED,
	MAP_COUNT
};

/* without a time, a login is the same whenever it is signed */
#define PLACE "host = cloud.test\ntransports = ws\ntimestamp = none\n"

#define PUMP                                                                   \
	"[device:pump]\nproduct_key = a1\ndevice_name = pump\n"                \
	"device_secret = first\n" PLACE

static const char *const map_files[MAP_COUNT] = {PUMP,
    "[device:pump]\nproduct_key = a1\ndevice_name = pump\n"
    "device_secret = other\n" PLACE,
    "[device:fan]\nproduct_key = a1\ndevice_name = fans\n"
    "device_secret = first\n" PLACE,
    PUMP "contract = none\nkeep_alive_min = 30s\nkeep_alive_max = 1200s\n"
	 "keep_alive_zero = 300s\n",
    PUMP "qos0_per_second = 2\nqos1_per_second = 1\ninflight_max = 2\n"
	 "bytes_per_second = 64K\nqos0_queue = 8K\nmessage_max = 100K\n"
	 "will_5 = no\nretain_5 = no\nretain = store\n",
    PUMP "topic.1.lan = +/#\ntopic.1.cloud = /${pk}/${dn}/$1/$#\n"
	 "topic.1.escape = yes\n"
	 "topic.2.lan = a/+\ntopic.2.cloud = /${pk}/${dn}/of_a_$1/x\n"
	 "topic_unmapped = drop\nwill_5 = no\nretain = store\n"};

/* One end of a pair: what the script has to send to it, and got from it. */
struct side {
	int fd;
	bool closed;
	struct buffer out;
	struct buffer in;
};

/* What stays from one input to the next. */
static struct {
	struct session_env env;
	struct mailbox *mailbox;
	struct event mail;
	struct task halt;
	struct credmap *maps[MAP_COUNT];
	struct crowd *crowd;
	int events;
} house;

/* One input. */
static struct {
	struct session *session; /* NULL: dead */
	struct device_memory memory;
	struct side device;
	struct side cloud;
	struct lookup *asked; /* by a resolver that does not answer at once */
	bool mute;
	uint8_t addresses; /* of its answer */
	uint8_t level;
	int map;       /* it begins under */
	bool reloaded; /* and may go on under another */
	size_t filler;
} play;

/* ---- the house ---- */

static void
open_answer(struct letter *letter, void *arg)
{
	struct lookup *l = (struct lookup *)letter;

	(void)arg;
	if (l->link != NULL)
		l->on_answer(l);
	else
		free(l);
}

static void
resolve(struct lookup *l)
{
	static const struct sockaddr_in somewhere = {.sin_family = AF_INET};

	l->count = play.addresses;
	for (unsigned i = 0; i < l->count; i++) {
		memcpy(&l->addresses[i].storage, &somewhere, sizeof(somewhere));
		l->addresses[i].n = sizeof(somewhere);
	}
	if (l->count == 0)
		(void)fault_set(&l->why, R_RESOLVE_FAILED, "%s", l->host);
	l->letter.open = open_answer;
	mailbox_post(l->reply_to, &l->letter);
}

static void
open_lookup(struct letter *letter, void *arg)
{
	(void)arg;
	MUST(play.asked == NULL);
	if (play.mute)
		play.asked = (struct lookup *)letter;
	else
		resolve((struct lookup *)letter);
}

static void
on_mail(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	mailbox_open_all(house.mailbox, arg);
}

static void
on_halt(void *arg)
{
	struct loop *loop = arg;

	loop->stop = true;
}

static void
on_dead(void *arg, struct session *s)
{
	(void)arg;
	MUST(s == play.session);
	/* a frame left there would go to another link */
	MUST(house.env.link.loop->out_n == 0);
	session_free(&play.session);
}

static void
build_house(void)
{
	struct complaints to = {.tell = fuzz_told};
	struct settings *defaults = settings_load(NULL, &to);
	struct loop *loop = loop_new(KEPT_MAX_BYTES);

	MUST(defaults != NULL && loop != NULL);
	for (int i = 0; i < MAP_COUNT; i++) {
		const uint8_t *text = (const uint8_t *)map_files[i];
		const char *path = fuzz_file(text, strlen(map_files[i]));

		house.maps[i] = credmap_load(path, defaults, &to);
		MUST(house.maps[i] != NULL);
	}
	house.mailbox = mailbox_new();
	house.crowd = crowd_new();
	MUST(house.mailbox != NULL && house.crowd != NULL);
	house.env = (struct session_env){
	    .link = {.loop = loop,
		.mailbox = house.mailbox,
		.resolver_mailbox = house.mailbox,
		.resolver_open = open_lookup,
		.settings = defaults},
	    .device = {.loop = loop, .settings = defaults},
	    .on_dead = on_dead,
	};
	task_init(&house.halt, on_halt, loop);
	(void)event_assign(&house.mail, loop->base, mailbox_fd(house.mailbox),
	    EV_READ | EV_PERSIST, on_mail, NULL);
	MUST(event_add(&house.mail, NULL) == 0);
	house.events =
	    event_base_get_num_events(loop->base, EVENT_BASE_COUNT_ADDED);
}

/* ---- the two sides ---- */

static void
side_send(struct side *s, struct span bytes)
{
	if (s->fd >= 0)
		MUST(buffer_append(&s->out, bytes));
}

/* Hands over what the socket takes. */
static void
side_push(struct side *s)
{
	while (s->fd >= 0 && s->out.n > 0) {
		struct span rest = buffer_span(&s->out);
		ssize_t n = send(s->fd, rest.p, rest.n, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		buffer_drop(&s->out, (size_t)n);
	}
}

/* Reads up to <most> bytes. */
static void
side_read(struct side *s, size_t most)
{
	while (s->fd >= 0 && most > 0) {
		size_t size = most < 4096 ? most : 4096;
		uint8_t *to = buffer_reserve(&s->in, size);
		ssize_t n;

		MUST(to != NULL);
		n = recv(s->fd, to, size, 0);
		if (n <= 0)
			return;
		buffer_commit(&s->in, (size_t)n);
		most -= (size_t)n;
	}
}

/* FIN behind what was sent, or away at once. */
static void
side_close(struct side *s, bool away)
{
	side_push(s);
	s->closed = true;
	if (s->fd >= 0 && away)
		stage_close(&s->fd);
	else if (s->fd >= 0)
		(void)shutdown(s->fd, SHUT_WR);
}

/* ---- time ---- */

static void
turn(void)
{
	struct loop *loop = house.env.link.loop;

	side_push(&play.device);
	side_push(&play.cloud);
	for (int i = 0; i < TIMERS_FIRED_MAX && stage_fire_due(); i++)
		continue;
	loop->stop = false;
	loop_again(loop, &house.halt);
	loop_run(loop);
	/* a new connection is the stage's until it is the cloud's */
	if (stage.cloud >= 0) {
		stage_close(&play.cloud.fd);
		buffer_free(&play.cloud.in);
		buffer_free(&play.cloud.out);
		play.cloud.fd = stage.cloud;
		play.cloud.closed = false;
		stage.cloud = -1;
	}
}

static void
settle(void)
{
	for (int i = 0; i < TURNS; i++)
		turn();
}

static void
pass_time(uint64_t ms)
{
	uint64_t end_ms = stage.now_ms + ms;

	for (int i = 0; i < TIMERS_FIRED_MAX && stage_pass_time(end_ms); i++)
		settle();
}

/* ---- operands ---- */

static uint8_t
take(struct span *in)
{
	uint8_t byte;

	return span_take_u8(in, &byte) ? byte : 0;
}

/* As many as there are. */
static struct span
take_bytes(struct span *in, size_t n)
{
	struct span bytes = *in;

	return span_take(in, n < in->n ? n : in->n, &bytes)
		   ? bytes
		   : (struct span){NULL, 0};
}

/* Up to 254 KiB, in steps that grow. */
static size_t
take_size(struct span *in)
{
	size_t n = take(in);

	n = n * n * 4;
	if (play.filler + n > FILLER_MAX_BYTES)
		return 0;
	play.filler += n;
	return n;
}

/* ---- packets ---- */

/* A PUBLISH of QoS 0 with <n> bytes behind its topic. Free it. */
static struct buffer
publish(size_t n)
{
	static const uint8_t begin[] = {0, 1, 't', 0}; /* no properties */
	size_t topic = play.level >= 5 ? 4 : 3;
	struct buffer b = {0};
	uint8_t *to = buffer_reserve(&b, MQTT_HEADER_MAX + topic + n);
	size_t header;

	MUST(to != NULL);
	header = mqtt_header_write(to, 0x30, (uint32_t)(topic + n));
	memcpy(to + header, begin, topic);
	memset(to + header + topic, 'x', n);
	buffer_commit(&b, header + topic + n);
	return b;
}

static void
send_publish(size_t n)
{
	struct buffer b = publish(n);

	side_send(&play.device, buffer_span(&b));
	buffer_free(&b);
}

/* As a server does it: without a mask. */
static void
send_frame(uint8_t first, struct span payload)
{
	uint8_t header[10] = {first, 127};

	if (payload.n < 126) {
		header[1] = (uint8_t)payload.n;
		side_send(&play.cloud, (struct span){header, 2});
	} else if (payload.n <= UINT16_MAX) {
		header[1] = 126;
		header[2] = (uint8_t)(payload.n >> 8);
		header[3] = (uint8_t)payload.n;
		side_send(&play.cloud, (struct span){header, 4});
	} else {
		for (int i = 0; i < 8; i++)
			header[2 + i] = (uint8_t)(payload.n >> 8 * (7 - i));
		side_send(&play.cloud, (struct span){header, 10});
	}
	side_send(&play.cloud, payload);
}

/* In fragments of <size>, when that is not 0. */
static void
send_message(struct span m, size_t size)
{
	uint8_t opcode = WS_BINARY;

	while (size > 0 && m.n > size) {
		struct span piece = take_bytes(&m, size);

		send_frame(opcode, piece);
		opcode = WS_CONTINUATION;
	}
	send_frame(0x80 | opcode, m);
}

static void
send_101(size_t n)
{
	static const uint8_t nonce[WS_NONCE_BYTES]; /* see stage.h */
	char accept[WS_ACCEPT_TEXT], head[256];

	ws_accept_compute(nonce, accept);
	(void)snprintf(head, sizeof(head),
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	    "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
	    "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
	    accept);
	side_send(
	    &play.cloud, (struct span){(const uint8_t *)head,
			     n > 0 && n < strlen(head) ? n : strlen(head)});
}

/* <code> 255: accepted, with all the properties that stay on this side. */
static void
send_connack(uint8_t code)
{
	static const uint8_t telling[] = {0x20, 18, 0, 0, 15, 0x13, 0, 60, 0x12,
	    0, 2, 'i', 'd', 0x1c, 0, 1, 's', 0x22, 0, 9};
	uint8_t plain[MQTT_SMALL_MAX];
	bool tells = code == 255 && play.level >= 5;
	size_t n = mqtt_connack_write(plain, play.level, (code & 0x80) != 0,
	    code == 255 ? 0 : code & 0x7f);

	send_message(tells ? (struct span){telling, sizeof(telling)}
			   : (struct span){plain, n},
	    0);
}

/* ---- acts ---- */

static void
reload(uint8_t which)
{
	play.reloaded = true;
	if (play.session != NULL)
		session_remap(play.session, house.maps[which % MAP_COUNT]);
}

static void
answer_lookup(uint8_t addresses)
{
	struct lookup *l = play.asked;

	play.asked = NULL;
	play.addresses = addresses % (LOOKUP_ADDRESSES + 1);
	if (l != NULL)
		resolve(l);
}

static void
end_session(uint8_t reason)
{
	struct fault why;

	(void)fault_set(&why, 1 + reason % (R_COUNT - 1), "by the script");
	if (play.session != NULL)
		session_end(play.session, &why);
}

/* Many small ones in one read are more than the scratch can frame. */
static void
repeat(struct side *s, struct span *in)
{
	size_t times = take(in) * 128u;
	struct span bytes = take_bytes(in, take(in));

	for (; times > 0 && play.filler < FILLER_MAX_BYTES; times--) {
		side_send(s, bytes);
		play.filler += bytes.n;
	}
}

static void
perform(enum act act, struct span *in)
{
	struct span bytes;
	struct buffer b;
	uint8_t first;

	switch (act) {
	case DEVICE_SENDS:
		bytes = take_bytes(in, take(in));
		side_send(&play.device, bytes);
		break;
	case DEVICE_PUBLISHES:
		send_publish(take_size(in));
		break;
	case DEVICE_READS:
		side_read(&play.device, take(in) * 1024u);
		break;
	case DEVICE_CLOSES:
		side_close(&play.device, take(in) % 2 == 1);
		break;
	case CLOUD_SENDS:
		bytes = take_bytes(in, take(in));
		side_send(&play.cloud, bytes);
		break;
	case CLOUD_SENDS_FRAME:
		first = take(in);
		bytes = take_bytes(in, take(in));
		send_frame(first, bytes);
		break;
	case CLOUD_ANSWERS_101:
		send_101(take(in));
		break;
	case CLOUD_ACCEPTS:
		send_connack(take(in));
		break;
	case CLOUD_PUBLISHES:
		b = publish(take_size(in));
		send_message(buffer_span(&b), take(in) * 64u);
		buffer_free(&b);
		break;
	case CLOUD_READS:
		side_read(&play.cloud, take(in) * 1024u);
		break;
	case CLOUD_CLOSES:
		side_close(&play.cloud, take(in) % 2 == 1);
		break;
	case TIME_PASSES:
		pass_time(UINT64_C(1) << take(in) % 24);
		break;
	case MAP_RELOADED:
		reload(take(in));
		break;
	case RESOLVER_ANSWERS:
		answer_lookup(take(in));
		break;
	case SESSION_ENDS:
		end_session(take(in));
		break;
	case DEVICE_REPEATS:
		repeat(&play.device, in);
		break;
	case CLOUD_REPEATS:
		repeat(&play.cloud, in);
		break;
	case ACT_COUNT:
		break;
	}
}

/* ---- begin and end ---- */

static struct mqtt_connect
connect_kind(uint8_t kind)
{
	static const struct mqtt_connect kinds[] = {
	    {.level = 4, .keep_alive_s = 60},
	    {.level = 3, .clean = true, .keep_alive_s = 10},
	    {.level = 5, .clean = true},
	    {.level = 4,
		.keep_alive_s = 5,
		.has_will = true,
		.will_topic = {(const uint8_t *)"w", 1},
		.will_payload = {(const uint8_t *)"gone", 4}},
	    {.level = 5,
		.keep_alive_s = 10,
		.properties = {(const uint8_t *)"\x11\0\0\0\x0a", 5}},
	    {.level = 5, .properties = {(const uint8_t *)"\x15\0\2me", 5}},
	};
	struct mqtt_connect c = kinds[kind % (sizeof(kinds) / sizeof(*kinds))];

	if (kind < 128) {
		c.client_id = SPAN_OF("PUMP");
		c.has_username = c.has_password = true;
		c.username = SPAN_OF("lan");
		c.password = SPAN_OF("local");
	}
	return c;
}

/* The session, dialling; <pipelined> came behind the device's CONNECT. */
static void
knock(uint8_t kind, bool small, struct span pipelined)
{
	struct knock *k = calloc(1, sizeof(*k));
	struct mqtt_connect c = connect_kind(kind);
	struct crowd_count now;
	uint8_t *to;
	int ends[2];

	MUST(k != NULL);
	stage_pair(ends, small);
	play.device.fd = ends[0];
	k->fd = ends[1];
	play.level = c.level;
	k->connect_bytes = mqtt_connect_size(&c);
	to = buffer_reserve(&k->bytes, k->connect_bytes);
	MUST(to != NULL);
	mqtt_connect_write(&c, to);
	buffer_commit(&k->bytes, k->connect_bytes);
	MUST(buffer_append(&k->bytes, pipelined));
	k->map = credmap_ref(house.maps[play.map]);
	k->entry = credmap_at(k->map, 0);
	(void)snprintf(k->peer, sizeof(k->peer), "127.0.0.1:1");
	MUST(crowd_enter(house.crowd, k->fd, "127.0.0.1", &now));
	play.session = session_new(&house.env, k, &play.memory);
	MUST(play.session != NULL);
}

static int
unread(int fd)
{
	int n = 0;

	MUST(ioctl(fd, FIONREAD, &n) == 0);
	return n;
}

/* Grows with every byte that a side gives or gets. */
static size_t
moved(void)
{
	return play.device.in.n + play.cloud.in.n - play.device.out.n -
	       play.cloud.out.n;
}

/* Both sides read until nothing moves any more. Then a session that is up has
   two sides, has taken all they sent but what waits for its turn, and keeps
   nothing it could pass on. One that leaves a will has no device any more. */
static void
drain(void)
{
	const struct session *s;
	size_t before;

	do {
		before = moved();
		settle();
		side_read(&play.device, SIZE_MAX);
		side_read(&play.cloud, SIZE_MAX);
	} while (moved() != before);
	s = play.session;
	if (s == NULL || s->ended || s->link.state != LINK_UP)
		return;
	MUST(!play.cloud.closed && play.cloud.out.n == 0);
	MUST(unread(s->link.stream.fd) == 0);
	MUST(s->device.out.n == 0 && s->link.kept.n == 0);
	if (s->held || s->device.state == DEVICE_GONE)
		return;
	MUST(!play.device.closed && play.device.out.n == 0);
	MUST(unread(s->device.fd) == 0);
}

/* Whatever the other sides do, a session that has ended is gone in time. */
static void
end_in_order(void)
{
	end_session(R_DRAINING - 1);
	settle();
	pass_time(LONGEST_END_MS);
	MUST(play.session == NULL);
}

static void
judge(void)
{
	const struct credential *entry = credmap_at(house.maps[play.map], 0);
	struct aliyun_login due;

	side_read(&play.device, SIZE_MAX);
	side_read(&play.cloud, SIZE_MAX);
	judge_device(buffer_span(&play.device.in), play.level);
	MUST(credential_sign(entry, TRANSPORT_WS, 0, &due));
	judge_cloud(buffer_span(&play.cloud.in), play.level, &due,
	    play.reloaded ? NULL : entry->contract);
	aliyun_login_wipe(&due);
}

static void
clear(void)
{
	struct loop *loop = house.env.link.loop;

	if (play.session != NULL)
		session_free(&play.session);
	device_memory_free(&play.memory);
	answer_lookup(1);
	/* a look-up that was asked for, and its answer */
	play.mute = false;
	mailbox_open_all(house.mailbox, NULL);
	mailbox_open_all(house.mailbox, NULL);
	judge();
	lingering_free(&house.env.device.lingering);
	holdoffs_free(&house.env.link.holdoffs);
	habits_free(&house.env.link.habits);
	idle_cuts_free(&house.env.link.idle_cuts);
	egress_memory_free(&house.env.link.egress_memory);
	stage_close(&play.device.fd);
	stage_close(&play.cloud.fd);
	stage_close(&stage.cloud);
	buffer_free(&play.device.in);
	buffer_free(&play.device.out);
	buffer_free(&play.cloud.in);
	buffer_free(&play.cloud.out);
	task_cancel(&house.halt);
	MUST(crowd_size(house.crowd) == 0);
	MUST(stage.timer_count == 0);
	MUST(loop->kept_bytes == 0 && loop->out_n == 0);
	MUST(TAILQ_EMPTY(&loop->again) && TAILQ_EMPTY(&loop->starved));
	MUST(event_base_get_num_events(loop->base, EVENT_BASE_COUNT_ADDED) ==
	     house.events);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {data, size};
	uint8_t kind, ways, flags;
	int free_descriptor;

	if (house.mailbox == NULL)
		build_house();
	free_descriptor = stage_free_descriptor();
	kind = take(&in);
	ways = take(&in);
	flags = take(&in);
	stage_begin();
	stage.small = (flags & SMALL_CLOUD) != 0;
	stage.attempts[0] = ways % 16 % ATTEMPT_KINDS;
	stage.attempts[1] = ways / 16 % ATTEMPT_KINDS;
	memset(&play, 0, sizeof(play));
	play.device.fd = play.cloud.fd = -1;
	play.mute = (flags & RESOLVER_MUTE) != 0;
	play.addresses = 2;
	play.map = (flags & TAKES_ALL) != 0 ? MAP_TAKES_ALL
		   : (flags & SLOW) != 0    ? MAP_SLOW
		   : (flags & MAPPED) != 0  ? MAP_MAPPED
					    : MAP_SAME;
	house.env.link.loop->kept_max =
	    (flags & TIGHT_MEMORY) != 0 ? KEPT_TIGHT_BYTES : KEPT_MAX_BYTES;
	house.env.link.holdoffs = holdoffs_new();
	house.env.link.habits = habits_new();
	house.env.link.idle_cuts = idle_cuts_new();
	house.env.link.egress_memory = egress_memory_new();
	house.env.device.lingering =
	    lingering_new(house.env.link.loop->base, house.crowd);
	MUST(house.env.link.holdoffs != NULL &&
	     house.env.device.lingering != NULL);
	knock(kind, (flags & SMALL_DEVICE) != 0, take_bytes(&in, take(&in)));
	settle();
	while (in.n > 0) {
		uint8_t act = take(&in);

		perform((act & ~AT_ONCE) % ACT_COUNT, &in);
		if ((act & AT_ONCE) == 0)
			settle();
	}
	if ((flags & ENDS_IN_ORDER) != 0) {
		drain();
		end_in_order();
	}
	clear();
	MUST(stage_free_descriptor() == free_descriptor);
	return 0;
}
