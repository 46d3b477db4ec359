/*
 * A million packets through sessions of all levels, both ways at once: what one
 * end sends is what the other gets, byte for byte, however it is cut, whoever
 * is slow, and whatever the session takes out or puts in between: the login,
 * the pings and their answers.
 *
 * TEST_SEED in the environment, or 1, is what the random numbers begin with.
 */
#include "session/session.h"

#include "codec/aliyun.h"

#include "life.h"
#include "random_packet.h"

#include <stdlib.h>

enum {
	PACKETS = 60 * 1000, /* each way, in each of nine runs */
	FEWER_PACKETS = 20 * 1000,
	BIG_EVERY = 2000, /* packets: one that takes several reads */
	BIG_MAX = 90 * 1000,
	SILENT_EVERY = 2000, /* packets: the device waits for a ping to pass */
	STALL_EVERY = 200 * 1000, /* bytes: a reader stops */
	CUTS = 8,
	CUT_MAX = 8000,
	BEHIND_CONNECT = 3000, /* bytes */
	SMALL_BUFFER = 16 * 1024
};

/* One direction: what is sent, and what must come of it. */
struct course {
	const char *name;
	enum mqtt_direction from;
	uint8_t level;
	uint32_t packets; /* random numbers: the packets, */
	uint32_t cuts;    /* and how they are cut */
	unsigned left;    /* packets still to be made */
	unsigned made;
	unsigned pings; /* of them: PINGREQ or PINGRESP, which end here */
	uint64_t made_bytes;
	struct buffer stream; /* made, but not on the wire */
	struct buffer wire;   /* in frames, where there are any */
	size_t piece;         /* of <wire>: the next write */
	struct buffer due;    /* what must come */
	size_t due_left;      /* of the packet under way; 0: between two */
	uint64_t came;        /* bytes */
	uint64_t stalls_at;   /* so many */
	bool stalled;
	unsigned stalls; /* that have stopped the session, too */
};

/* One run. */
static struct {
	struct life *life;
	uint32_t seed;
	struct course up, down;
	bool silent; /* the device is, until the session has sent a ping */
	unsigned silences;
	bool wants_pings;
	unsigned own_pings;    /* of the session, which the cloud has got, */
	unsigned own_due;      /* and not answered yet */
	unsigned answers;      /* to the device's */
	bool up_mid_message;   /* of what the cloud gets */
	bool down_mid_message; /* of what it sends */
	uint32_t ws_pings;     /* of the cloud, which carry their number */
	uint32_t ws_ponged;    /* the last that was answered */
	uint64_t sent;         /* bytes, of all kinds */
} play;

#define must(f, what)                                                          \
	do                                                                     \
		if (!(what))                                                   \
			fail_msg("seed %u, %s: not %s, after %llu bytes",      \
			    play.seed, (f)->name, #what,                       \
			    (unsigned long long)(f)->came);                    \
	while (0)

/* ---- what is sent ---- */

/* Below <n>, out of the random numbers of the cuts. */
static unsigned
any(struct course *f, unsigned n)
{
	unsigned got;

	random_seed = f->cuts;
	got = below(n);
	f->cuts = random_seed;
	return got;
}

static size_t
any_cut(struct course *f)
{
	static const unsigned at_most[CUTS] = {
	    1, 2, 5, 30, 130, 300, 1500, CUT_MAX};

	return 1 + any(f, at_most[any(f, CUTS)]);
}

static size_t
write_big_publish(uint8_t *to, uint8_t level)
{
	static uint8_t noise[2 * BIG_MAX];
	size_t n = BIG_MAX / 4 + below(BIG_MAX * 3 / 4);
	size_t head = level >= 5 ? 4 : 3;
	size_t at = mqtt_header_write(to, 0x30, (uint32_t)(head + n));

	for (size_t i = 0; noise[0] == 0 && i < sizeof(noise); i++)
		noise[i] = (uint8_t)(1 + (i * i + (i >> 7)) % 255);
	memcpy(to + at, "\x00\x01t\x00", head);
	memcpy(to + at + head, noise + below(BIG_MAX), n);
	return at + head + n;
}

static bool
ends_here(enum mqtt_type type)
{
	return type == MQTT_PINGREQ || type == MQTT_PINGRESP;
}

/* The next packet: to be sent and, unless it ends here, to come. */
static void
make_packet(struct course *f)
{
	static uint8_t big[MQTT_HEADER_MAX + 4 + BIG_MAX];
	static struct bytes small;
	enum mqtt_type type = MQTT_PUBLISH;
	struct span packet = {big, 0};

	random_seed = f->packets;
	if (below(BIG_EVERY) == 0) {
		packet.n = write_big_publish(big, f->level);
	} else {
		do
			type = random_type(f->level, f->from);
		while (type == MQTT_CONNECT || type == MQTT_CONNACK ||
		       type == MQTT_DISCONNECT);
		(void)random_packet(&small, type, f->level, f->from);
		packet = (struct span){small.p, small.n};
	}
	f->packets = random_seed;
	f->left--;
	f->made++;
	f->made_bytes += packet.n;
	assert_true(buffer_append(&f->stream, packet));
	if (ends_here(type))
		f->pings++;
	else
		assert_true(buffer_append(&f->due, packet));
}

/* The cloud's answers to the session's own pings, between two packets. */
static void
answer_own_pings(struct course *f)
{
	for (; play.own_due > 0; play.own_due--) {
		assert_true(buffer_append(&f->stream, SPAN_OF("\xd0\x00")));
		f->made++;
		f->made_bytes += 2;
	}
}

/* Takes up to <n> bytes off the stream, which is made as it goes. When the
   device falls silent, that may be within a packet. */
static size_t
take_stream(struct course *f, uint8_t *to, size_t n)
{
	bool up = f->from == MQTT_FROM_CLIENT;

	if (up && play.silent)
		return 0;
	if (!up)
		answer_own_pings(f);
	while (f->stream.n < n && f->left > 0) {
		if (up && play.wants_pings && f->left % SILENT_EVERY == 0) {
			play.silent = true;
			play.silences++;
			n = f->stream.n + any(f, 3);
		}
		make_packet(f);
	}
	n = n < f->stream.n ? n : f->stream.n;
	if (n > 0)
		memcpy(to, buffer_span(&f->stream).p, n);
	buffer_drop(&f->stream, n);
	return n;
}

static void
put_frame(
    struct course *f, enum ws_opcode opcode, bool fin, struct span payload)
{
	uint8_t *to = buffer_reserve(&f->wire, WS_HEADER_MAX + payload.n);

	assert_non_null(to);
	buffer_commit(&f->wire, cloud_frame_write(to, opcode, fin, payload));
}

static void
put_data(struct course *f, bool fin, struct span payload)
{
	put_frame(f, play.down_mid_message ? WS_CONTINUATION : WS_BINARY, fin,
	    payload);
	play.down_mid_message = !fin;
}

/* The payload of ping <number>. */
static struct span
ping_payload(uint32_t number)
{
	static uint8_t bytes[WS_CONTROL_MAX];

	memcpy(bytes, &number, sizeof(number));
	for (size_t i = sizeof(number); i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(number + i);
	return (struct span){
	    bytes, sizeof(number) + number % (sizeof(bytes) - 3)};
}

static void
put_control_frames(struct course *f)
{
	unsigned kind = any(f, 16);

	if (kind == 0)
		put_frame(f, WS_PONG, true, SPAN_OF("nobody asked"));
	if (kind == 1)
		put_data(f, false, SPAN_OF(""));
	for (; kind > 12; kind--)
		put_frame(f, WS_PING, true, ping_payload(++play.ws_pings));
}

/* Puts more on the empty wire; false: there is nothing more for now. */
static bool
fill_wire(struct course *f)
{
	static uint8_t bytes[CUT_MAX];
	struct span some = {bytes, take_stream(f, bytes, any_cut(f))};

	if (f->from == MQTT_FROM_CLIENT ||
	    !transport_has_websocket(play.life->transport))
		return some.n > 0 && buffer_append(&f->wire, some);
	if (some.n == 0 && !play.down_mid_message)
		return false;
	put_control_frames(f);
	put_data(f, some.n == 0 || any(f, 3) != 0, some);
	return true;
}

/* Writes what goes at once; what it returns is 0 when nothing does. */
static size_t
write_some(const struct course *f, struct span bytes)
{
	struct life *l = play.life;
	ssize_t put;

	if (f->from == MQTT_FROM_CLIENT) {
		put = send(l->lan.fd, bytes.p, bytes.n, MSG_NOSIGNAL);
	} else if (l->cloud.ssl == NULL) {
		put = send(l->cloud.fd, bytes.p, bytes.n, MSG_NOSIGNAL);
	} else {
		ERR_clear_error();
		put = SSL_write(l->cloud.ssl, bytes.p, (int)bytes.n);
		must(f, put > 0 || !cloud_settled(&l->cloud, (int)put));
		return put > 0 ? (size_t)put : 0;
	}
	must(f, put > 0 || errno == EAGAIN);
	return put > 0 ? (size_t)put : 0;
}

/* Sends a few pieces, now one, now more before the loop turns. */
static void
pump(struct course *f)
{
	while (f->wire.n > 0 || fill_wire(f)) {
		struct span next = buffer_span(&f->wire);
		size_t put;

		if (f->piece == 0)
			f->piece = any_cut(f);
		f->piece = f->piece < next.n ? f->piece : next.n;
		next.n = f->piece;
		put = write_some(f, next);
		f->piece -= put;
		buffer_drop(&f->wire, put);
		play.sent += put;
		if (put == 0 || any(f, 2) == 0)
			return;
	}
}

/* ---- what comes ---- */

/* Between two packets: looks at the next one due. */
static void
begin_packet(struct course *f)
{
	struct mqtt_header h;

	if (f->due_left > 0)
		return;
	must(f, f->due.n > 0);
	must(f, mqtt_header_read(buffer_span(&f->due), &h) == PARSE_OK);
	f->due_left = h.header_bytes + h.remaining;
}

/* Takes off <in> what belongs to one packet, which must be the next. */
static void
check_packet(struct course *f, struct span *in)
{
	struct span got;

	begin_packet(f);
	assert_true(
	    span_take(in, in->n < f->due_left ? in->n : f->due_left, &got));
	must(f, memcmp(got.p, buffer_span(&f->due).p, got.n) == 0);
	buffer_drop(&f->due, got.n);
	f->due_left -= got.n;
	f->came += got.n;
}

/* Now and then the far end does not read, until the session takes no more of
   what is sent, or nothing is. */
static bool
far_end_reads(struct course *f, bool takes_no_more)
{
	bool up = f->from == MQTT_FROM_CLIENT;
	bool more = f->wire.n > 0 ||
		    ((f->left > 0 || f->stream.n > 0) && !(up && play.silent));

	if (!f->stalled && f->came >= f->stalls_at)
		f->stalled = true;
	if (f->stalled && more && !takes_no_more)
		return false;
	if (f->stalled) {
		f->stalled = false;
		f->stalls += takes_no_more;
		f->stalls_at = f->came + 1 + any(f, 2 * STALL_EVERY);
	}
	return true;
}

/* One that is not answered may only be followed by one that is. */
static void
check_pong(struct course *f, struct span payload)
{
	uint32_t number;

	must(f, payload.n >= sizeof(number));
	memcpy(&number, payload.p, sizeof(number));
	must(f, number > play.ws_ponged && number <= play.ws_pings);
	must(f, span_eq(payload, ping_payload(number)));
	play.ws_ponged = number;
}

/* A ping of the session's own has come to the cloud. */
static void
note_own_ping(struct course *f)
{
	must(f, play.wants_pings);
	play.own_pings++;
	play.own_due++;
	play.silent = false;
}

/* Packets that come one behind the other; between two of them may stand one of
   type <ping>, which <note> is told of. */
static void
take_packets(struct course *f, struct buffer *bytes, enum mqtt_type ping,
    void (*note)(struct course *f))
{
	struct span in = buffer_span(bytes);

	while (in.n > 0) {
		if (f->due_left > 0 || in.p[0] != ping << 4) {
			check_packet(f, &in);
			continue;
		}
		if (in.n < 2)
			break;
		must(f, in.p[1] == 0);
		note(f);
		in.p += 2;
		in.n -= 2;
	}
	buffer_drop(bytes, bytes->n - in.n);
}

/* One packet is one message; a ping of the session's own is one, too. */
static void
check_message(struct course *f, const struct frame *got)
{
	struct span in = frame_span(got);

	must(f,
	    got->opcode == (play.up_mid_message ? WS_CONTINUATION : WS_BINARY));
	if (!play.up_mid_message && got->fin &&
	    span_eq(in, SPAN_OF("\xc0\x00"))) {
		note_own_ping(f);
		return;
	}
	must(f, play.up_mid_message == (f->due_left > 0));
	check_packet(f, &in);
	must(f, in.n == 0);
	must(f, got->fin == (f->due_left == 0));
	play.up_mid_message = !got->fin;
}

static void
take_at_cloud(struct course *f)
{
	struct life *l = play.life;
	struct frame got;

	if (!far_end_reads(f, l->session->device.paused))
		return;
	(void)cloud_read(&l->cloud);
	must(f, !l->cloud.ended);
	if (!transport_has_websocket(l->transport)) {
		take_packets(f, &l->cloud.in, MQTT_PINGREQ, note_own_ping);
		return;
	}
	while (cloud_try_frame(&l->cloud, &got)) {
		if (got.opcode == WS_PONG)
			check_pong(f, frame_span(&got));
		else
			check_message(f, &got);
		frame_free(&got);
	}
}

/* A PINGRESP has come to the device. */
static void
note_answer(struct course *f)
{
	must(f, ++play.answers <= play.up.pings);
}

static void
take_at_device(struct course *f)
{
	struct life *l = play.life;

	if (!far_end_reads(f, l->session->link.paused))
		return;
	(void)lan_read(&l->lan);
	must(f, !l->lan.ended);
	take_packets(f, &l->lan.in, MQTT_PINGRESP, note_answer);
}

/* ---- a run ---- */

static void
open_flow(struct course *f, const char *name, enum mqtt_direction from,
    uint8_t level, unsigned packets)
{
	uint32_t salt = play.seed * 64 + level * 4 + (unsigned)from * 2 + 1;

	*f = (struct course){.name = name,
	    .from = from,
	    .level = level,
	    .left = packets,
	    .packets = salt * 2654435761u,
	    .cuts = salt * 2246822519u};
	f->stalls_at = 1 + any(f, STALL_EVERY);
}

static void
close_flow(struct course *f)
{
	buffer_free(&f->stream);
	buffer_free(&f->wire);
	buffer_free(&f->due);
}

static bool
is_over(const struct course *f)
{
	return f->left == 0 && f->stream.n == 0 && f->wire.n == 0 &&
	       f->due.n == 0;
}

/* The device's CONNECT with more behind it; what the cloud must get for it. */
static void
connect_device(struct life *l, uint8_t level)
{
	static uint8_t behind[BEHIND_CONNECT];
	struct mqtt_connect c = {.level = level,
	    .keep_alive_s = 45,
	    .client_id = SPAN_OF("pump-7"),
	    .has_will = true,
	    .will_qos = 1,
	    .will_topic = SPAN_OF("gone"),
	    .will_payload = SPAN_OF("\0\xff"),
	    .has_username = true,
	    .username = SPAN_OF("local")};
	struct mqtt_connect due = c;
	struct aliyun_login login;
	uint8_t *to;

	if (level == 5) /* the method is that of the AUTH packets */
		due.properties = c.properties = SPAN_OF("\x15\x00\x01m");
	assert_true(credential_sign(l->entry, l->transport, 0, &login));
	due.client_id = span_of_string(login.client_id);
	due.username = span_of_string(login.username);
	due.has_password = true;
	due.password = span_of_string(login.password);
	to = buffer_reserve(&play.up.due, mqtt_connect_size(&due));
	assert_non_null(to);
	mqtt_connect_write(&due, to);
	buffer_commit(&play.up.due, mqtt_connect_size(&due));
	assert_true(life_try_begin(l, &c,
	    (struct span){
		behind, take_stream(&play.up, behind, sizeof(behind))}));
}

/* The cloud's CONNACK, and what the device must get for it. */
static void
put_connack(uint8_t level)
{
	static const struct {
		struct span sent, due;
	} rows[] = {
	    [3] = {SPAN_OF("\x20\x02\x01\x00"), SPAN_OF("\x20\x02\x00\x00")},
	    [4] = {SPAN_OF("\x20\x02\x01\x00"), SPAN_OF("\x20\x02\x01\x00")},
	    /* without Assigned Client Identifier, Server Keep Alive and
	       Server Reference */
	    [5] = {SPAN_OF("\x20\x1d\x01\x00\x1a\x21\x00\x0a"
			   "\x12\x00\x05other\x13\x01\x2c\x15\x00\x01m"
			   "\x1c\x00\x05there"),
		SPAN_OF("\x20\x0a\x01\x00\x07\x21\x00\x0a\x15\x00\x01m")},
	};

	assert_true(buffer_append(&play.down.stream, rows[level].sent));
	assert_true(buffer_append(&play.down.due, rows[level].due));
	play.down.made++;
	play.down.made_bytes += rows[level].sent.n;
}

/* Grows with all that comes, but for the session's own pings and what their
   answers bring along. */
static uint64_t
progress(void)
{
	return play.up.came + play.down.came + play.answers;
}

static void
relay(struct life *l)
{
	uint64_t came = 0, sent = 0, came_ms = clock_mono_ms();

	while (!is_over(&play.up) || !is_over(&play.down) ||
	       play.answers < play.up.pings || play.ws_ponged < play.ws_pings) {
		bool waits = play.sent == sent && progress() == came;

		if (progress() != came)
			came_ms = clock_mono_ms();
		if (clock_mono_ms() - came_ms > RIG_PATIENCE_MS)
			fail_msg("seed %u: no more than %llu bytes come up,"
				 " %llu down",
			    play.seed, (unsigned long long)play.up.came,
			    (unsigned long long)play.down.came);
		came = progress();
		sent = play.sent;
		pump(&play.up);
		if (play.up.came > 0) /* the CONNECT */
			pump(&play.down);
		if (waits)
			rig_wait(&l->rig);
		else
			rig_turn(&l->rig);
		take_at_cloud(&play.up);
		take_at_device(&play.down);
	}
	rig_settle(&l->rig);
	assert_int_equal(play.answers, play.up.pings);
	assert_int_equal(l->session->up.packets, play.up.made);
	assert_int_equal(l->session->up.bytes, play.up.made_bytes);
	assert_int_equal(l->session->down.packets, play.down.made);
	assert_int_equal(l->session->down.bytes, play.down.made_bytes);
	assert_true(lan_hears_nothing(&l->lan));
}

static void
run(struct life *l, uint8_t level, unsigned packets, bool wants_pings)
{
	static const int bytes = SMALL_BUFFER;
	const char *seed = getenv("TEST_SEED");

	memset(&play, 0, sizeof(play));
	play.life = l;
	play.seed = seed != NULL ? (uint32_t)strtoul(seed, NULL, 10) : 1;
	play.wants_pings = wants_pings;
	open_flow(&play.up, "up", MQTT_FROM_CLIENT, level, packets);
	open_flow(&play.down, "down", MQTT_FROM_SERVER, level, packets);
	l->rig.settings->packet_max_bytes = 2 * BIG_MAX;
	l->rig.settings->ping_interval_ms = wants_pings;
	if (l->transport == TRANSPORT_WS) /* and less is kept whole */
		l->rig.settings->session_buffer_bytes = 4 * SMALL_BUFFER;
	connect_device(l, level);
	cloud_accept(&l->cloud);
	if (transport_has_tls(l->transport))
		assert_true(cloud_handshake(&l->cloud));
	if (transport_has_websocket(l->transport))
		cloud_switch(&l->cloud);
	until(&l->rig, l->session->link.state == LINK_LOGIN);
	(void)setsockopt(l->session->link.stream.fd, SOL_SOCKET, SO_SNDBUF,
	    &bytes, sizeof(bytes));
	put_connack(level);
	relay(l);
	print_message("seed %u: %u packets up, %u down; %u pings of the"
		      " session, %u of the device, %u of WebSocket; blocked"
		      " %u times up, %u down\n",
	    play.seed, play.up.made, play.down.made, play.own_pings,
	    play.answers, play.ws_pings, play.up.stalls, play.down.stalls);
	assert_true(play.own_pings >= play.silences);
	assert_true(
	    play.silences >= (wants_pings ? packets / SILENT_EVERY : 0));
	assert_true(play.up.stalls > 0);
	assert_true(play.down.stalls > 0);
	close_flow(&play.up);
	close_flow(&play.down);
}

static void
test_level_3(void **state)
{
	run(*state, 3, PACKETS, true);
}

static void
test_level_4(void **state)
{
	run(*state, 4, PACKETS, true);
}

static void
test_level_5(void **state)
{
	run(*state, 5, PACKETS, true);
}

/* A session that need not ping does not: no PINGREQ of the device passes. */
static void
test_without_own_pings(void **state)
{
	run(*state, 4, FEWER_PACKETS, false);
}

static int
set_up(void **state, enum transport transport)
{
	struct life *l = calloc(1, sizeof(*l));

	*state = l;
	if (l == NULL)
		return -1;
	life_open_over(l, transport);
	return 0;
}

static int
set_up_wss(void **state)
{
	return set_up(state, TRANSPORT_WSS);
}

static int
set_up_ws(void **state)
{
	return set_up(state, TRANSPORT_WS);
}

static int
set_up_mqtts(void **state)
{
	return set_up(state, TRANSPORT_MQTTS);
}

static int
tear_down(void **state)
{
	life_close(*state);
	free(*state);
	return 0;
}

#define over(test, transport)                                                  \
	{                                                                      \
#test " (" #transport ")", test, set_up_##transport,           \
		    tear_down, NULL                                            \
	}
#define over_all(test) over(test, wss), over(test, ws), over(test, mqtts)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    over_all(test_level_3),
	    over_all(test_level_4),
	    over_all(test_level_5),
	    over_all(test_without_own_pings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
