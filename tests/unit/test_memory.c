/*
 * One session from its CONNECT to its end, again and again, each time with
 * another allocation failing: of the proxy's own, of libevent's, of OpenSSL's.
 * The worst that may happen is that this session ends; nothing may be left
 * behind.
 *
 * To be linked with -Wl,--wrap= malloc, calloc, realloc, loop_run and
 * session_new.
 */
#include "session/session.h"

#include "life.h"

#include <event2/event.h>
#include <openssl/crypto.h>

static struct {
	bool armed;       /* in the loop, or in session_new() */
	unsigned long n;  /* allocations counted while armed */
	unsigned long at; /* which one fails; 0: none */
} fate;

static bool
fails(void)
{
	return fate.armed && ++fate.n == fate.at;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void __real_loop_run(struct loop *loop);
struct session *__real_session_new(struct session_env *env, struct knock *k);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void __wrap_loop_run(struct loop *loop);
struct session *__wrap_session_new(struct session_env *env, struct knock *k);

void *
__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t count, size_t n)
{
	return fails() ? NULL : __real_calloc(count, n);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

static void *
tls_malloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : __real_malloc(n);
}

static void *
tls_realloc(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails() ? NULL : __real_realloc(p, n);
}

static void
tls_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

/* The proxy's code runs in here; the test's own does not. */
void
__wrap_loop_run(struct loop *loop)
{
	fate.armed = true;
	__real_loop_run(loop);
	fate.armed = false;
}

struct session *
__wrap_session_new(struct session_env *env, struct knock *k)
{
	struct session *s;

	fate.armed = true;
	s = __real_session_new(env, k);
	fate.armed = false;
	return s;
}

/* A cloud and a device that do the next thing they can, and take every end. */
struct play {
	struct life *life;
	bool shaken;   /* hands: TLS is done */
	bool switched; /* to WebSocket */
	bool sent;     /* all that the device has to say */
	unsigned frames;
	struct buffer hello; /* the device's packets */
};

/* A few bytes, for whoever is still there. */
static void
say(struct cloud *c, struct span bytes)
{
	ERR_clear_error();
	if (c->ssl != NULL)
		(void)SSL_write(c->ssl, bytes.p, (int)bytes.n);
	else
		(void)!send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
	ERR_clear_error();
}

static void
cloud_step(struct play *p)
{
	struct cloud *c = &p->life->cloud;
	struct frame f;
	char text[512];

	if (c->ended || (c->fd < 0 && !cloud_try_accept(c)))
		return;
	if (!p->shaken && c->tls != NULL) {
		int r;

		if (c->ssl == NULL) {
			c->ssl = SSL_new(c->tls);
			(void)SSL_set_fd(c->ssl, c->fd);
		}
		ERR_clear_error();
		r = SSL_accept(c->ssl);
		if (!cloud_settled(c, r))
			return;
		ERR_clear_error();
		c->ended = r != 1;
		if (c->ended)
			return;
	}
	p->shaken = true;
	(void)cloud_read(c);
	if (!p->switched) {
		if (c->in.n == 0 || memmem(buffer_span(&c->in).p, c->in.n,
					"\r\n\r\n", 4) == NULL)
			return;
		say(c, cloud_switching(c, text));
		p->switched = true;
	}
	while (!c->ended && cloud_try_frame(c, &f)) {
		/* in two frames, so that both readers keep something */
		if (p->frames++ == 0)
			say(c, SPAN_OF("\x82\x06\x20\x02\x00\x00\x30\x84"));
		else if (p->frames == 2)
			say(c, SPAN_OF("\x82\x07\x00\x00\x01tx\xd0\x00"));
		if (f.opcode == WS_CLOSE)
			say(c, SPAN_OF("\x88\x02\x03\xe8"));
		frame_free(&f);
	}
}

static void
lan_step(struct play *p)
{
	struct lan *lan = &p->life->lan;

	if (!lan->ended)
		(void)lan_read(lan);
	/* the CONNACK is there */
	if (lan->in.n >= 4 && p->hello.n > 0) {
		struct span rest = buffer_span(&p->hello);
		ssize_t n = send(lan->fd, rest.p, rest.n, MSG_NOSIGNAL);

		buffer_drop(&p->hello, n > 0 ? (size_t)n : 0);
	}
}

/* Small packets, a large one, half of one that is kept; then DISCONNECT. */
static void
write_hello(struct buffer *b)
{
	static uint8_t big[100 * 1000];
	size_t n = mqtt_header_write(big, 0x30, sizeof(big) - 5);

	memcpy(big + n, "\x00\x01t", 3);
	assert_true(buffer_append(
	    b, SPAN_OF("\xc0\x00\x40\x02\x00\x01\x40\x02\x00\x02")));
	assert_true(buffer_append(b, (struct span){big, n + sizeof(big) - 5}));
	assert_true(buffer_append(b, SPAN_OF("\x40\x02\x00\x03\xe0\x00")));
}

/* Plays it with allocation <at> failing; returns how many there were. */
static unsigned long
play(struct life *l, unsigned long at)
{
	struct mqtt_connect connect = {
	    .level = 4, .keep_alive_s = 60, .client_id = SPAN_OF("pump-7")};
	struct play p = {.life = l};
	uint64_t by_ms = clock_mono_ms() + RIG_PATIENCE_MS;

	write_hello(&p.hello);
	fate.n = 0;
	fate.at = at;
	if (life_try_begin(l, &connect, SPAN_OF("\xc0\x00"))) {
		while (l->session != NULL) {
			rig_wait(&l->rig);
			cloud_step(&p);
			lan_step(&p);
			if (l->session == NULL || clock_mono_ms() < by_ms)
				continue;
			print_message("allocation %lu: in state %s\n%s", at,
			    link_state_word(l->session->link.state),
			    life_log(l));
			fail();
		}
	}
	fate.at = 0;
	lan_hang_up(&l->lan);
	until(&l->rig, crowd_size(l->lan.crowd) == 0);
	cloud_hang_up(&l->cloud);
	buffer_free(&p.hello);
	assert_int_equal(l->rig.loop->kept_bytes, 0);
	assert_int_equal(l->rig.loop->out_n, 0);
	return fate.n;
}

static int
set_up_ws(void **state)
{
	struct life *l = calloc(1, sizeof(*l));

	*state = l;
	if (l != NULL)
		life_open(l, false);
	return l != NULL ? 0 : -1;
}

static int
set_up_wss(void **state)
{
	struct life *l = calloc(1, sizeof(*l));

	*state = l;
	if (l != NULL)
		life_open(l, true);
	return l != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
	life_close(*state);
	free(*state);
	return 0;
}

static void
test_every_allocation_may_fail(void **state)
{
	struct life *l = *state;
	unsigned long n = play(l, 0);

	assert_string_equal(life_reason(l), "device_left");
	assert_true(n > 10);
	l->rig.settings->close_timeout_ms = 5;
	/* with TLS nearly all are OpenSSL's: some of them will do */
	for (unsigned long at = 1; at <= n; at += n < 1000 ? 1 : 5) {
		/* no ticket: each dial is a whole handshake */
		tickets_free(&l->env.link.tickets);
		l->env.link.tickets = l->rig.env.tickets = tickets_new();
		(void)play(l, at);
	}
	/* and the worker has not suffered */
	(void)play(l, 0);
	assert_string_equal(life_reason(l), "device_left");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    {"test_every_allocation_may_fail (ws)",
		test_every_allocation_may_fail, set_up_ws, tear_down, NULL},
	    {"test_every_allocation_may_fail (wss)",
		test_every_allocation_may_fail, set_up_wss, tear_down, NULL},
	};

	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
	if (CRYPTO_set_mem_functions(tls_malloc, tls_realloc, tls_free) != 1)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
