/*
 * play: a whole session, from its CONNECT to its end, between a device and a
 * cloud that do the next thing they can and take every end, because something
 * fails meanwhile. When nothing does, the session keeps bytes for either side,
 * gathers packets, carries some in fragments, and ends in order.
 *
 * Whatever fails: each side gets the other's bytes from the first one on and no
 * others, every state has its deadline, and nothing is left behind.
 */
#ifndef TESTS_UNIT_PLAY_H
#define TESTS_UNIT_PLAY_H

#include "life.h"

enum {
	PLAY_UP_BYTES = 70 * 1000,    /* over what is kept of a packet */
	PLAY_DOWN_BYTES = 120 * 1000, /* over what two sockets take */
	PLAY_FRAGMENT = 60 * 1000,
	PLAY_SOCKET_BYTES = 8 * 1024,
	PLAY_CUTS = 8
};

/* What the two have to say. */
struct script {
	uint8_t level;
	bool cloud_ends;  /* else the device does */
	struct buffer up; /* the device's packets behind CONNECT and PINGREQ */
	struct buffer down;     /* what the device gets */
	size_t cuts[PLAY_CUTS]; /* of <down>, where the cloud's frames end */
	/* The cloud has the CONNECT; NULL: nobody is told. */
	void (*on_login)(struct life *l);
};

struct play {
	struct life *life;
	const struct script *script;
	int small_fd;         /* the link's; its socket takes little by now */
	bool shaken;          /* hands: TLS is done */
	bool switched;        /* to WebSocket */
	bool kept_up;         /* the link has kept something */
	bool kept_down;       /* and the device */
	unsigned messages;    /* of the proxy that the cloud has got */
	size_t cut;           /* of <down>, which the cloud has framed so far */
	struct buffer frames; /* of the cloud, not written yet */
	struct buffer got;    /* by the cloud behind the CONNECT */
	bool closes;          /* the cloud has said so in a frame */
	size_t said;          /* of <up> */
};

/* How it went. */
struct outcome {
	char reason[40]; /* "": there was no memory for a session */
	bool whole;      /* each side has got all packets */
	bool told;       /* and the device all that it was to be told */
	bool trusted;    /* the cloud got to the end of its TLS handshake */
};

/* ---- what they say ---- */

static inline void
script_add(struct buffer *b, struct span bytes)
{
	assert_true(buffer_append(b, bytes));
}

static inline void
script_publish(struct buffer *b, uint8_t level, uint32_t payload_bytes)
{
	/* a topic, and at level 5 no properties */
	struct span start =
	    level >= 5 ? SPAN_OF("\x00\x01t\x00") : SPAN_OF("\x00\x01t");
	uint8_t header[MQTT_HEADER_MAX];
	uint8_t *to;

	script_add(
	    b, (struct span){header, mqtt_header_write(header, 0x30,
					 (uint32_t)start.n + payload_bytes)});
	script_add(b, start);
	to = buffer_reserve(b, payload_bytes);
	assert_non_null(to);
	for (uint32_t i = 0; i < payload_bytes; i++)
		to[i] = (uint8_t)(i * 7);
	buffer_commit(b, payload_bytes);
}

static inline void
script_open(struct script *s, uint8_t level, bool cloud_ends)
{
	size_t at;

	*s = (struct script){.level = level, .cloud_ends = cloud_ends};
	script_add(&s->up, SPAN_OF("\x40\x02\x00\x01\x40\x02\x00\x02"));
	script_publish(&s->up, level, PLAY_UP_BYTES);
	script_add(&s->up, SPAN_OF("\x40\x02\x00\x03"));
	if (!cloud_ends)
		script_add(&s->up, SPAN_OF("\xe0\x00"));

	/* its own client identifier was empty */
	script_add(&s->down,
	    level >= 5 ? SPAN_OF("\x20\x0c\x00\x00\x09\x12\x00\x06pump-7")
		       : CONNACK_4);
	script_add(&s->down, SPAN_OF("\xd0\x00")); /* the proxy's own */
	at = s->down.n;
	s->cuts[0] = at;
	s->cuts[1] = at + 2; /* within the header, within the topic: gathered */
	s->cuts[2] = at + 4;
	script_publish(&s->down, level, 300);
	s->cuts[3] = s->down.n;
	s->cuts[4] = s->down.n + PLAY_FRAGMENT;
	script_publish(&s->down, level, PLAY_DOWN_BYTES);
	s->cuts[5] = s->down.n;
	s->cuts[6] = s->down.n + 3; /* gathered until it is whole */
	script_add(&s->down, level >= 5 ? SPAN_OF("\x90\x04\x00\x05\x00\x01")
					: SPAN_OF("\x90\x03\x00\x05\x01"));
	s->cuts[7] = s->down.n;
	if (cloud_ends && level >= 5) /* a reason, but no other server */
		script_add(&s->down, SPAN_OF("\xe0\x06\x8b\x04\x1f\x00\x01r"));
}

static inline void
script_close(struct script *s)
{
	buffer_free(&s->up);
	buffer_free(&s->down);
}

/* What has been read is acknowledged now, or a socket that takes little would
   wait for it. */
static inline void
play_acknowledge(int fd)
{
	static const int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

/* ---- the cloud ---- */

static inline void
play_frame(struct play *p, enum ws_opcode opcode, bool fin, struct span payload)
{
	static uint8_t out[WS_HEADER_MAX + UINT16_MAX];

	script_add(&p->frames,
	    (struct span){out, cloud_frame_write(out, opcode, fin, payload)});
}

/* The part of <down> up to the next cut. */
static inline void
play_next_cut(struct play *p, enum ws_opcode opcode, bool fin)
{
	const struct script *s = p->script;
	struct span down = buffer_span(&s->down);
	size_t from = s->cuts[p->cut++];

	play_frame(p, opcode, fin,
	    (struct span){down.p + from, s->cuts[p->cut] - from});
}

/* What the cloud says when it has got so many messages. */
static inline void
play_answer(struct play *p)
{
	switch (++p->messages) {
	case 1: /* CONNECT */
		if (p->script->on_login != NULL)
			p->script->on_login(p->life);
		play_frame(p, WS_BINARY, false, life_connack(p->script->level));
		play_next_cut(p, WS_CONTINUATION, true);
		break;
	case 2: /* the first packet */
		play_next_cut(p, WS_BINARY, true);
		play_next_cut(p, WS_BINARY, true);
		play_next_cut(p, WS_BINARY, false);
		play_frame(p, WS_PING, true, SPAN_OF("between"));
		play_next_cut(p, WS_CONTINUATION, true);
		play_next_cut(p, WS_BINARY, true);
		play_next_cut(p, WS_BINARY, true);
		break;
	default:
		break;
	}
}

static inline void
play_close(struct play *p, struct span code)
{
	play_frame(p, WS_CLOSE, true, code);
	p->closes = true;
}

static inline void
play_goodbye(struct play *p)
{
	if (p->script->level >= 5)
		play_frame(p, WS_BINARY, true,
		    SPAN_OF("\xe0\x0c\x8b\x0a\x1f\x00\x01r\x1c\x00\x03"
			    "way"));
	else
		play_close(p, SPAN_OF("\x03\xe9"));
	p->cut++;
}

static inline void
play_take_frames(struct play *p)
{
	struct frame f;

	while (cloud_try_frame(&p->life->cloud, &f)) {
		if (f.opcode == WS_CLOSE && !p->closes)
			play_close(p, SPAN_OF("\x03\xe8"));
		else if (f.opcode <= WS_BINARY && p->messages > 0)
			script_add(&p->got, frame_span(&f));
		if (f.opcode <= WS_BINARY && f.fin)
			play_answer(p);
		frame_free(&f);
	}
}

/* As much as is taken now. */
static inline void
play_write_frames(struct play *p)
{
	struct cloud *c = &p->life->cloud;

	while (p->frames.n > 0) {
		struct span rest = buffer_span(&p->frames);
		ssize_t n = c->ssl != NULL
				? SSL_write(c->ssl, rest.p, (int)rest.n)
				: send(c->fd, rest.p, rest.n, MSG_NOSIGNAL);

		ERR_clear_error();
		if (n <= 0)
			return;
		buffer_drop(&p->frames, (size_t)n);
	}
	/* the server is the first to end the connection (RFC 6455 7.1.1) */
	if (p->closes && c->ssl != NULL)
		(void)SSL_shutdown(c->ssl);
	if (p->closes)
		(void)shutdown(c->fd, SHUT_WR);
}

static inline bool
play_shake_hands(struct play *p)
{
	struct cloud *c = &p->life->cloud;
	int r;

	if (p->shaken || c->tls == NULL)
		return true;
	if (c->ssl == NULL) {
		c->ssl = SSL_new(c->tls);
		assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
	}
	ERR_clear_error();
	r = SSL_accept(c->ssl);
	p->shaken = r == 1;
	c->ended = !p->shaken && cloud_settled(c, r);
	ERR_clear_error();
	return p->shaken;
}

/* With a ping in the same segment. */
static inline void
play_switch(struct play *p)
{
	struct cloud *c = &p->life->cloud;
	char text[512];

	if (p->switched || c->in.n == 0 ||
	    memmem(buffer_span(&c->in).p, c->in.n, "\r\n\r\n", 4) == NULL)
		return;
	script_add(&p->frames, cloud_switching(c, text));
	play_frame(p, WS_PING, true, SPAN_OF("early"));
	p->switched = true;
}

/* The cloud reads no more until the link has had to keep something. */
static inline bool
play_cloud_holds(const struct play *p)
{
	const struct session *s = p->life->session;

	return s != NULL && !s->ended && p->messages > 0 && !p->kept_up;
}

static inline void
play_cloud(struct play *p)
{
	struct cloud *c = &p->life->cloud;

	if ((c->fd < 0 && !cloud_try_accept(c)) || c->ended ||
	    !play_shake_hands(p))
		return;
	while (!c->ended && !play_cloud_holds(p) && cloud_read(c)) {
		play_switch(p);
		if (p->switched)
			play_take_frames(p);
	}
	play_acknowledge(c->fd);
	if (p->script->cloud_ends && p->cut == PLAY_CUTS - 1 &&
	    p->got.n == p->script->up.n &&
	    p->life->lan.in.n >= p->script->cuts[p->cut])
		play_goodbye(p);
	play_write_frames(p);
}

/* ---- the device ---- */

static inline bool
play_device_holds(const struct play *p)
{
	const struct session *s = p->life->session;

	return s != NULL && !s->ended && p->said > 0 && !p->kept_down;
}

static inline void
play_device(struct play *p)
{
	const struct script *s = p->script;
	struct lan *lan = &p->life->lan;
	struct span up = buffer_span(&s->up);
	ssize_t n;

	while (!lan->ended && !play_device_holds(p) && lan_read(lan))
		continue;
	play_acknowledge(lan->fd);
	if (lan->in.n < s->cuts[0]) /* CONNACK, PINGRESP */
		return;
	/* DISCONNECT only when all has come */
	if (!s->cloud_ends && lan->in.n < s->down.n)
		up.n -= 2;
	while (p->said < up.n) {
		n = send(lan->fd, up.p + p->said, up.n - p->said, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		p->said += (size_t)n;
	}
}

/* ---- both ---- */

static inline void
play_take_little(int fd)
{
	static const int bytes = PLAY_SOCKET_BYTES;

	assert_int_equal(
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
}

/* No state lasts without a deadline. */
static inline void
play_check_deadlines(const struct session *s)
{
	const struct link *l = &s->link;

	if (l->state != LINK_IDLE &&
	    (l->state != LINK_UP || l->kept.n > 0 || l->ping_interval_ms > 0) &&
	    !evtimer_pending(&l->timer, NULL))
		fail_msg("no deadline in state %s", link_state_word(l->state));
	if (s->device.state == DEVICE_ONLINE &&
	    !evtimer_pending(&s->device.timer, NULL))
		fail_msg("the device's silence has no end");
}

static inline void
play_look(struct play *p)
{
	const struct session *s = p->life->session;

	if (s == NULL)
		return;
	play_check_deadlines(s);
	if (s->link.stream.fd >= 0 && s->link.stream.fd != p->small_fd) {
		p->small_fd = s->link.stream.fd;
		play_take_little(p->small_fd);
	}
	p->kept_up |= s->link.kept.n > 0;
	p->kept_down |= s->device.out.n > 0;
}

static inline void
play_step(struct play *p)
{
	play_look(p);
	play_cloud(p);
	play_device(p);
}

/* Until the device has the end of its connection, and the cloud of its own,
   unless that was never accepted. */
static inline bool
play_is_over(const struct play *p)
{
	const struct life *l = p->life;

	return l->session == NULL && l->lan.ended &&
	       (l->cloud.fd < 0 || l->cloud.ended);
}

/* How many of the first <n> bytes are whole packets. */
static inline size_t
play_whole_packets(struct span all, size_t n)
{
	struct mqtt_header h;
	size_t at = 0;

	while (mqtt_header_read((struct span){all.p + at, all.n - at}, &h) ==
		   PARSE_OK &&
	       at + h.header_bytes + h.remaining <= n)
		at += h.header_bytes + h.remaining;
	return at;
}

/* <got> is <all> from its first byte on; what a device is told at the end may
   stand behind whole packets. */
static inline void
play_check_got(struct span got, struct span all, bool told)
{
	size_t same = 0;

	while (same < got.n && same < all.n && got.p[same] == all.p[same])
		same++;
	if (same == got.n)
		return;
	assert_true(told);
	same = play_whole_packets(all, same);
	assert_int_equal(got.p[same], same == 0 ? 0x20 : 0xe0);
	assert_int_equal(got.n - same, 2 + got.p[same + 1]);
}

static inline struct outcome
play_judge(struct play *p, bool began)
{
	struct life *l = p->life;
	struct span got = buffer_span(&l->lan.in);
	struct span down = buffer_span(&p->script->down);
	struct span got_up = buffer_span(&p->got);
	struct span up = buffer_span(&p->script->up);
	struct outcome o = {.whole = p->kept_up && p->kept_down &&
				     got.n >= p->script->cuts[PLAY_CUTS - 1] &&
				     got_up.n == up.n,
	    .told = got.n == down.n,
	    .trusted = p->shaken};

	play_check_got(got, down, true);
	play_check_got(got_up, up, false);
	if (began)
		(void)strcpy(o.reason, life_reason(l));
	return o;
}

/* Has one session live from CONNECT to its end; nothing may be left of it. */
static inline struct outcome
play(struct life *l, const struct script *s)
{
	struct mqtt_connect connect = {.level = s->level,
	    .clean = true,
	    .keep_alive_s = 60,
	    .client_id = s->level >= 5 ? SPAN_OF("") : SPAN_OF("pump-7")};
	struct play p = {.life = l, .script = s, .small_fd = -1};
	unsigned fds = rig_descriptors();
	struct outcome o;
	bool began;

	began = life_try_begin(l, &connect, SPAN_OF("\xc0\x00"));
	if (began && l->session->device.fd >= 0)
		play_take_little(l->session->device.fd);
	until(&l->rig, (play_step(&p), play_is_over(&p)));
	o = play_judge(&p, began);
	lan_hang_up(&l->lan);
	rig_turn(&l->rig);
	until(&l->rig, crowd_size(l->lan.crowd) == 0);
	do /* one that was given up before it was accepted */
		cloud_hang_up(&l->cloud);
	while (cloud_try_accept(&l->cloud));
	buffer_free(&p.frames);
	buffer_free(&p.got);
	assert_int_equal(l->rig.loop->kept_bytes, 0);
	assert_int_equal(l->rig.loop->out_n, 0);
	assert_true(TAILQ_EMPTY(&l->rig.loop->again));
	assert_int_equal(rig_descriptors(), fds);
	return o;
}

/* The reason when nothing is wrong. */
static inline const char *
play_usual(const struct script *s)
{
	return s->cloud_ends ? "cloud_closed" : "device_left";
}

static inline void
play_well(struct life *l, const struct script *s)
{
	struct outcome o = play(l, s);

	assert_string_equal(o.reason, play_usual(s));
	assert_true(o.whole && o.told);
}

#endif
