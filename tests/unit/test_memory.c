/*
 * One session from its CONNECT to its end, again and again, each time with the
 * next allocation failing: of the proxy's own, of libevent's, of OpenSSL's. The
 * worst that may happen is that this session ends, and says why.
 *
 * To be linked with -Wl,--wrap= malloc, calloc, realloc, loop_run and
 * session_new.
 */
#include "play.h"
#include "timers.h"

#include <event2/event.h>
#include <openssl/crypto.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

static struct {
	bool armed;        /* in the loop, or in session_new() */
	unsigned long n;   /* allocations counted while armed */
	unsigned long at;  /* which one fails; 0: none */
	bool none;         /* all fail, whoever asks */
	bool begins;       /* in session_new() */
	bool tls;          /* it was OpenSSL's */
	bool late;         /* its session had ended already */
	struct life *life; /* whose session */
} fate;

static bool
fails(bool tls)
{
	const struct session *s;

	if (fate.none)
		return true;
	if (!fate.armed || ++fate.n != fate.at)
		return false;
	s = fate.life->session;
	fate.tls = tls;
	fate.late = !fate.begins && (s == NULL || s->ended);
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void __real_loop_run(struct loop *loop);
struct session *__real_session_new(
    struct session_env *env, struct knock *k, struct device_memory *memory);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void __wrap_loop_run(struct loop *loop);
struct session *__wrap_session_new(
    struct session_env *env, struct knock *k, struct device_memory *memory);

void *
__wrap_malloc(size_t n)
{
	return fails(false) ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t count, size_t n)
{
	return fails(false) ? NULL : __real_calloc(count, n);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails(false) ? NULL : __real_realloc(p, n);
}

static void *
tls_malloc(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails(true) ? NULL : __real_malloc(n);
}

static void *
tls_realloc(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return fails(true) ? NULL : __real_realloc(p, n);
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
__wrap_session_new(
    struct session_env *env, struct knock *k, struct device_memory *memory)
{
	struct session *s;

	fate.armed = fate.begins = true;
	s = __real_session_new(env, k, memory);
	fate.armed = fate.begins = false;
	return s;
}

static struct timers timers;

/* ---- playing ---- */

/* Under AddressSanitizer: also of what is still allocated, nothing may be out
   of reach. */
static void
check_leaks(void)
{
#ifdef __SANITIZE_ADDRESS__
	assert_int_equal(__lsan_do_recoverable_leak_check(), 0);
#endif
}

/* The <at>-th allocation fails; false: there were not so many. */
static bool
play_failing(
    struct life *l, const struct script *s, unsigned long at, struct outcome *o)
{
	fate.life = l;
	fate.n = 0;
	fate.at = at;
	fate.tls = fate.late = false;
	*o = play(l, s);
	fate.at = 0;
	return fate.n >= at;
}

/* It ended for want of memory, which OpenSSL cannot always say, or could do
   without. */
static bool
is_right(const struct script *s, const struct outcome *o)
{
	if (o->reason[0] == '\0' || strcmp(o->reason, "out_of_memory") == 0)
		return true;
	if (strcmp(o->reason, play_usual(s)) == 0)
		return fate.late || o->whole;
	return fate.tls && (strcmp(o->reason, "tls_failed") == 0 ||
			       strcmp(o->reason, "internal") == 0);
}

static void
check_outcome(const struct script *s, const struct outcome *o, unsigned long at)
{
	if (is_right(s, o))
		return;
	print_message("%s", life_log(fate.life));
	fail_msg("without allocation %lu%s the session ended with %s", at,
	    fate.tls ? " (OpenSSL's)" : "", o->reason);
}

/* ---- tests ---- */

/* Each time on a new worker, which has everything still to allocate. At the
   start, or when the CONNECT is in the cloud, there is room for <spare> timers
   only: so each timer of a session is once the one without. */
static void
play_every_allocation(struct life *l, uint8_t level, bool cloud_ends,
    unsigned spare, void (*on_login)(struct life *l))
{
	struct script s;
	struct outcome o;
	bool failed = true;

	script_open(&s, level, cloud_ends);
	s.on_login = on_login;
	for (unsigned long at = 1; failed; at++) {
		life_open(l, false);
		if (on_login == NULL)
			timers_fill(
			    &timers, l->rig.loop->base, spare, &fate.none);
		failed = play_failing(l, &s, at, &o);
		if (failed)
			check_outcome(&s, &o, at);
		timers_remove(&timers, timers.n);
		play_well(l, &s);
		timers_remove(&timers, timers.n);
		life_close(l);
		*l = (struct life){0};
		check_leaks();
	}
	script_close(&s);
}

/* The link's. */
static void
test_every_allocation_4(void **state)
{
	play_every_allocation(*state, 4, false, 0, NULL);
}

/* The race's; the rig has one, too. */
static void
test_every_allocation_5(void **state)
{
	play_every_allocation(*state, 5, false, 2, NULL);
}

static void
fill_at_login(struct life *l)
{
	timers_fill(&timers, l->rig.loop->base,
	    evtimer_pending(&l->rig.tick, NULL) ? 0 : 1, &fate.none);
}

/* The device's. */
static void
test_every_allocation_5_cloud_ends(void **state)
{
	play_every_allocation(*state, 5, true, 0, fill_at_login);
}

/* Nearly all are OpenSSL's, thousands; so the worker stays. */
static void
test_every_allocation_tls(void **state)
{
	enum { CHECK_EVERY = 64 };
	struct life *l = *state;
	struct script s;
	struct outcome o;
	bool failed = true;

	script_open(&s, 4, false);
	life_open(l, true);
	for (unsigned long at = 1; failed; at++) {
		/* no ticket: each dial is a whole handshake */
		tickets_free(&l->env.link.tickets);
		l->env.link.tickets = l->rig.env.tickets = tickets_new();
		failed = play_failing(l, &s, at, &o);
		if (failed)
			check_outcome(&s, &o, at);
		if (failed && at % CHECK_EVERY != 0)
			continue;
		play_well(l, &s);
		check_leaks();
	}
	script_close(&s);
}

/* Without memory nobody gets trust that he would not get with it. Each
   <step>-th allocation. */
static void
check_never_trusted(
    struct life *l, SSL_CTX *shown, unsigned step, const char *reason)
{
	struct script s;
	struct outcome o;
	bool failed = true;

	script_open(&s, 4, false);
	cloud_show(&l->cloud, shown);
	for (unsigned long at = 1; failed; at += step) {
		failed = play_failing(l, &s, at, &o);
		if (o.trusted)
			fail_msg("trusted without allocation %lu", at);
	}
	assert_string_equal(o.reason, reason);
	script_close(&s);
}

static void
test_untrusted_without_memory(void **state)
{
	struct life *l = *state;
	struct pki other;

	life_open(l, true);
	pki_open(&other, "Another root");
	check_never_trusted(l,
	    pki_server(&other, "IP:127.0.0.1", -PKI_DAY_S, PKI_DAY_S), 7,
	    "cert_untrusted");
	pki_close(&other);
}

static void
test_wrong_address_without_memory(void **state)
{
	struct life *l = *state;

	life_open(l, true);
	check_never_trusted(l,
	    pki_server(&l->pki, "IP:127.0.0.2", -PKI_DAY_S, PKI_DAY_S), 1,
	    "cert_wrong_name");
}

static void
test_wrong_name_without_memory(void **state)
{
	struct life *l = *state;

	life_open(l, true);
	life_use(l, NULL, "server_name = cloud.test\n");
	check_never_trusted(l,
	    pki_server(&l->pki, "IP:127.0.0.1,DNS:cloud.example", -PKI_DAY_S,
		PKI_DAY_S),
	    1, "cert_wrong_name");
}

/* ---- a session that adapts ---- */

/* QoS 2, topic filters for two parts, QoS 0 that is queued; then the device
   closes, and leaves its will. */
#define SAYS                                                                   \
	SPAN_OF("\x34\x05\x00\x01t\x00\x07"                                    \
		"\x82\x26\x00\x08\x00\x01"                                     \
		"a\x00\x00\x01"                                                \
		"b\x00\x00\x01"                                                \
		"c\x00\x00\x01"                                                \
		"d\x00\x00\x01"                                                \
		"e\x00\x00\x01"                                                \
		"f\x00\x00\x01"                                                \
		"g\x00\x00\x01"                                                \
		"h\x00\x00\x01"                                                \
		"i\x00"                                                        \
		"\x30\x03\x00\x01t\x30\x03\x00\x01t")
#define HEARS                                                                  \
	SPAN_OF("\x20\x02\x00\x00"                                             \
		"\x50\x02\x00\x07"                                             \
		"\x90\x0b\x00\x08\0\0\0\0\0\0\0\0\0")

/* As the cloud; whether somebody takes it is not looked at. */
static void
say(struct cloud *c, enum ws_opcode opcode, struct span payload)
{
	uint8_t frame[64];
	size_t n = cloud_frame_write(frame, opcode, true, payload);

	(void)!send(c->fd, frame, n, MSG_NOSIGNAL);
}

/* What the cloud says to a packet. */
static void
answer(struct cloud *c, const struct frame *f)
{
	struct span all = frame_span(f);
	struct mqtt_packet p;
	uint8_t ack[16] = {0};
	struct mqtt_filter filter;
	uint8_t n = 4;

	if (f->opcode == WS_CLOSE) {
		say(c, WS_CLOSE, SPAN_OF("\x03\xe8"));
		(void)shutdown(c->fd, SHUT_WR);
		return;
	}
	assert_true(mqtt_packet_read(all, 4, MQTT_FROM_CLIENT, &p, NULL));
	ack[2] = (uint8_t)(p.packet_id >> 8);
	ack[3] = (uint8_t)p.packet_id;
	if (p.header.type == MQTT_CONNECT)
		ack[0] = 0x20;
	else if (p.header.type == MQTT_PUBLISH && p.qos == 1)
		ack[0] = 0x40;
	else if (p.header.type == MQTT_SUBSCRIBE)
		ack[0] = 0x90;
	else
		return;
	while (ack[0] == 0x90 &&
	       mqtt_filter_next(&p.payload, MQTT_SUBSCRIBE, &filter))
		n++;
	ack[1] = n - 2;
	say(c, WS_BINARY, (struct span){ack, n});
}

static void
adapted_cloud(struct cloud *c, bool *switched)
{
	struct frame f;

	if ((c->fd < 0 && !cloud_try_accept(c)) || c->ended)
		return;
	while (!c->ended && cloud_read(c))
		continue;
	if (!*switched && c->in.n > 0 &&
	    memmem(buffer_span(&c->in).p, c->in.n, "\r\n\r\n", 4) != NULL) {
		char text[512];
		struct span bytes = cloud_switching(c, text);

		(void)!send(c->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
		*switched = true;
	}
	while (*switched && cloud_try_frame(c, &f)) {
		answer(c, &f);
		frame_free(&f);
	}
}

static void
adapted_device(struct lan *lan, bool *said, bool *closed)
{
	while (!lan->ended && lan_read(lan))
		continue;
	if (lan->ended)
		return;
	if (!*said && lan->in.n >= 4) {
		(void)!send(lan->fd, SAYS.p, SAYS.n, MSG_NOSIGNAL);
		*said = true;
	}
	if (!*closed && lan->in.n >= HEARS.n) {
		(void)shutdown(lan->fd, SHUT_WR);
		*closed = true;
	}
}

/* Nothing may be left; and what the device got is right as far as it goes. */
static void
play_adapted(struct life *l)
{
	static const struct mqtt_connect connect = {.level = 4,
	    .clean = true,
	    .keep_alive_s = 60,
	    .has_will = true,
	    .will_qos = 1,
	    .will_topic = {(const uint8_t *)"w", 1},
	    .will_payload = {(const uint8_t *)"bye", 3}};
	bool switched = false, said = false, closed = false, began;
	size_t n;

	began = life_try_begin(l, &connect, SPAN_OF(""));
	until(&l->rig, (adapted_cloud(&l->cloud, &switched),
			   adapted_device(&l->lan, &said, &closed),
			   l->session == NULL && l->lan.ended &&
			       (l->cloud.fd < 0 || l->cloud.ended)));
	n = l->lan.in.n < HEARS.n ? l->lan.in.n : HEARS.n;
	if (n > 4) /* else it may be a CONNACK that refuses */
		assert_memory_equal(buffer_span(&l->lan.in).p, HEARS.p, n);
	lan_hang_up(&l->lan);
	rig_turn(&l->rig);
	until(&l->rig, crowd_size(l->lan.crowd) == 0);
	do
		cloud_hang_up(&l->cloud);
	while (cloud_try_accept(&l->cloud));
	device_memory_free(&l->memory);
	assert_int_equal(l->rig.loop->kept_bytes, 0);
	assert_int_equal(l->rig.loop->out_n, 0);
	if (began && strcmp(life_reason(l), "out_of_memory") != 0)
		assert_string_equal(life_reason(l),
		    fate.tls && !said ? "internal" : "device_closed");
}

static void
test_every_allocation_adapted(void **state)
{
	struct life *l = *state;

	life_open(l, false);
	l->rig.settings->ping_timeout_ms = 100;
	life_use(l, "aliyun", "qos0_per_second = 1\n");
	fate.life = l;
	for (unsigned long at = 1; fate.n + 1 >= at; at++) {
		fate.n = 0;
		fate.at = at;
		fate.tls = false;
		play_adapted(l);
		fate.at = 0;
		check_leaks();
		if (fate.n < at)
			break;
	}
	assert_non_null(strstr(life_log(l), "event=will_sent"));
	assert_non_null(strstr(life_log(l), "qos0_dropped=1"));
}

static int
set_up(void **state)
{
	*state = calloc(1, sizeof(struct life));
	return *state != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
	struct life *l = *state;

	if (l->rig.loop != NULL)
		life_close(l);
	free(l);
	return 0;
}

#define memory_test(test)                                                      \
	cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    memory_test(test_every_allocation_4),
	    memory_test(test_every_allocation_5),
	    memory_test(test_every_allocation_5_cloud_ends),
	    memory_test(test_every_allocation_adapted),
	    memory_test(test_every_allocation_tls),
	    memory_test(test_untrusted_without_memory),
	    memory_test(test_wrong_address_without_memory),
	    memory_test(test_wrong_name_without_memory),
	};

	event_set_mem_functions(__wrap_malloc, __wrap_realloc, free);
	if (CRYPTO_set_mem_functions(tls_malloc, tls_realloc, tls_free) != 1)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
