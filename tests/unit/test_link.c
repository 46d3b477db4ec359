/* The machine's table is static: it is looked at from inside. */
#include "link/link.c"

#include "cloud.h"

enum { SMALL_BUFFER = 16 * 1024, SHORT_MS = 40, LONG_MS = 60 * 1000 };

/*
 * One link, its owner, and the cloud it dials. What the owner is told goes into
 * <told>, in order: O open, L lost, I idle; with <verbose> also d data and B
 * batch. R room is counted: when a socket takes more is the kernel's business.
 */
struct dial {
	struct rig rig;
	struct pki pki;
	struct cloud cloud;
	struct link link;
	struct credential target;
	struct dial_rate rate;
	struct buffer data; /* all payload */
	struct fault why;   /* of the loss */
	char told[64];
	bool verbose;
	bool puts;   /* on_open: a login of 5 bytes */
	char act_on; /* at this letter, once: */
	void (*act)(struct dial *d);
	unsigned rooms;
	unsigned ends; /* of messages */
};

/* Does what the test wants to be done inside this callback. */
static void
react(struct dial *d, char letter)
{
	rig_wake(&d->rig);
	if (letter != d->act_on)
		return;
	d->act_on = '\0';
	d->act(d);
}

static void
tell(struct dial *d, char letter)
{
	size_t n = strlen(d->told);

	assert_true(n < sizeof(d->told) - 1);
	d->told[n] = letter;
	react(d, letter);
}

static void
on_open(void *arg)
{
	struct dial *d = arg;

	if (d->puts) {
		link_put(&d->link, WS_BINARY, SPAN_OF("login"), true);
		link_flush(&d->link);
	}
	tell(d, 'O');
}

static void
on_data(void *arg, const struct ws_event *piece)
{
	struct dial *d = arg;

	assert_int_equal(piece->found, WS_FOUND_DATA);
	assert_int_equal(piece->opcode, WS_BINARY);
	assert_true(buffer_append(&d->data, piece->payload));
	/* "may be changed there" */
	if (piece->payload.n > 0)
		memset(d->rig.loop->in + (piece->payload.p - d->rig.loop->in),
		    0xee, piece->payload.n);
	d->ends += piece->message_ends;
	if (d->verbose)
		tell(d, 'd');
	else
		react(d, 'd');
}

static void
on_batch(void *arg)
{
	struct dial *d = arg;

	if (d->verbose)
		tell(d, 'B');
	else
		react(d, 'B');
}

static void
on_room(void *arg)
{
	struct dial *d = arg;

	d->rooms++;
	react(d, 'R');
}

static void
on_lost(void *arg, const struct fault *why)
{
	struct dial *d = arg;

	d->why = *why;
	assert_true(why->text[0] != '\0');
	tell(d, 'L');
}

static void
on_idle(void *arg)
{
	tell(arg, 'I');
}

static const struct link_owner owner = {
    .on_open = on_open,
    .on_data = on_data,
    .on_batch = on_batch,
    .on_room = on_room,
    .on_lost = on_lost,
    .on_idle = on_idle,
};

static bool
has_told(const struct dial *d, char letter)
{
	return strchr(d->told, letter) != NULL;
}

static struct trust *
new_trust(struct dial *d)
{
	struct fault why;
	struct trust *t = trust_new(d->rig.settings, &why);

	if (t == NULL)
		fail_msg("%s", why.text);
	return t;
}

static SSL_CTX *
good_server(struct dial *d)
{
	return pki_server(&d->pki,
	    "DNS:cloud.example,DNS:a.example,IP:127.0.0.1,IP:::1", -PKI_DAY_S,
	    PKI_DAY_S);
}

static int
set_up(void **state, bool tls)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return -1;
	rig_open(&d->rig);
	pki_open(&d->pki, "Throw-away root");
	pki_trust(&d->pki, d->rig.scratch, d->rig.settings);
	d->rig.env.trust = new_trust(d);
	d->rig.env.tickets = tickets_new();
	d->rig.env.holdoffs = holdoffs_new();
	d->rig.env.habits = habits_new();
	d->rig.env.idle_cuts = idle_cuts_new();
	d->rig.env.egress_memory = egress_memory_new();
	cloud_open(
	    &d->cloud, &d->rig, tls ? good_server(d) : NULL, SMALL_BUFFER);
	d->target = (struct credential){
	    .label = "pump-7",
	    .product_key = "a1B2c3D4e5F",
	    .device_name = "pump_7",
	    .host = "cloud.example",
	    .server_name = "cloud.example",
	    .path = "/mqtt",
	    .port = d->cloud.port,
	    .transports = {1, {tls ? TRANSPORT_WSS : TRANSPORT_WS}},
	};
	link_init(&d->link, &d->rig.env, &owner, d);
	*state = d;
	return 0;
}

static int
set_up_wss(void **state)
{
	return set_up(state, true);
}

static int
set_up_ws(void **state)
{
	return set_up(state, false);
}

static int
tear_down(void **state)
{
	struct dial *d = *state;

	link_abort(&d->link);
	assert_int_equal(d->link.state, LINK_IDLE);
	assert_null(d->link.dialling);
	assert_int_equal(d->link.stream.fd, -1);
	assert_null(d->link.stream.ssl);
	cloud_close(&d->cloud);
	rig_close(&d->rig);
	trust_unref(d->rig.env.trust);
	tickets_free(&d->rig.env.tickets);
	holdoffs_free(&d->rig.env.holdoffs);
	habits_free(&d->rig.env.habits);
	idle_cuts_free(&d->rig.env.idle_cuts);
	egress_memory_free(&d->rig.env.egress_memory);
	pki_close(&d->pki);
	buffer_free(&d->data);
	free(d);
	return 0;
}

/* ---- ways to get somewhere ---- */

static void
dial_link(struct dial *d)
{
	memset(d->told, 0, sizeof(d->told));
	buffer_free(&d->data);
	d->ends = d->rooms = 0;
	d->why = (struct fault){0};
	link_dial(&d->link, &d->target, 4);
}

/* Dials up to LOGIN. */
static void
open_link(struct dial *d)
{
	dial_link(d);
	cloud_welcome(&d->cloud);
	until(&d->rig, has_told(d, 'O'));
	assert_string_equal(d->told, "O");
	assert_int_equal(d->link.state, LINK_LOGIN);
}

static void
up_link(struct dial *d, uint32_t ping_interval_ms)
{
	open_link(d);
	link_logged_in(&d->link, ping_interval_ms);
	assert_int_equal(d->link.state, LINK_UP);
}

/* So that little is under way when the cloud does not read. */
static void
narrow(struct dial *d)
{
	static const int bytes = SMALL_BUFFER;

	(void)setsockopt(
	    d->link.stream.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* A port whose queue of connections is full: SYNs are dropped. */
struct deaf_port {
	int listener;
	int filler;
	uint16_t port;
};

static void
deaf_open(struct deaf_port *p)
{
	p->listener = rig_listen(0, 0, &p->port);
	p->filler = rig_connect(p->port);
}

static void
deaf_close(struct deaf_port *p)
{
	(void)close(p->filler);
	(void)close(p->listener);
}

/* All dials of the next minute are taken. */
static void
book_out(struct dial *d)
{
	uint64_t wait_ms;

	memset(&d->rate, 0, sizeof(d->rate));
	dial_rate_set(&d->rate, 1);
	d->rig.settings->dial_wait_max_ms = 2 * LONG_MS;
	for (int i = 0; i < LONG_MS / 1000; i++)
		assert_true(dial_rate_reserve(
		    &d->rate, clock_mono_ms(), 2 * LONG_MS, &wait_ms));
	d->rig.env.governor =
	    governor_new(d->rig.settings, &d->rate, 1, clock_mono_ms());
	assert_non_null(d->rig.env.governor);
}

/* The cloud's listener is an egress proxy from now on. */
static void
egress_open(struct dial *d)
{
	char text[64];
	const char *why;

	(void)snprintf(
	    text, sizeof(text), "http://127.0.0.1:%u", d->cloud.port);
	assert_true(egress_read(&d->rig.settings->egress_proxy, text, &why));
}

static void
egress_close(struct dial *d)
{
	const char *why;

	assert_true(egress_read(&d->rig.settings->egress_proxy, "none", &why));
}

/* Dials, and stops in <at>. */
static void
reach(struct dial *d, enum link_state at, struct deaf_port *deaf)
{
	switch (at) {
	case LINK_IDLE:
	case LINK_STATE_COUNT:
		break;
	case LINK_PERMIT:
		book_out(d);
		dial_link(d);
		rig_settle(&d->rig);
		break;
	case LINK_RESOLVE:
		d->rig.mute = true;
		dial_link(d);
		rig_settle(&d->rig);
		break;
	case LINK_TCP:
		deaf_open(deaf);
		d->rig.ports[0] = deaf->port;
		d->rig.port_count = 1;
		dial_link(d);
		until(&d->rig, d->link.state == LINK_TCP);
		rig_settle(&d->rig);
		break;
	case LINK_EGRESS:
		egress_open(d);
		dial_link(d);
		cloud_accept(&d->cloud);
		until(&d->rig, d->link.state == LINK_EGRESS);
		break;
	case LINK_TLS:
		dial_link(d);
		cloud_accept(&d->cloud);
		until(&d->rig, d->link.state == LINK_TLS);
		break;
	case LINK_UPGRADE:
		dial_link(d);
		cloud_accept(&d->cloud);
		assert_true(cloud_handshake(&d->cloud));
		until(&d->rig, d->link.state == LINK_UPGRADE);
		break;
	case LINK_LOGIN:
		open_link(d);
		break;
	case LINK_UP:
		up_link(d, LONG_MS);
		break;
	case LINK_CLOSING:
		up_link(d, LONG_MS);
		link_close(&d->link, WS_CLOSE_NORMAL);
		rig_settle(&d->rig);
		break;
	}
	assert_int_equal(d->link.state, at);
}

static void
leave(struct dial *d, struct deaf_port *deaf, enum link_state at)
{
	if (at == LINK_TCP)
		deaf_close(deaf);
	if (at == LINK_EGRESS)
		egress_close(d);
	if (at == LINK_PERMIT)
		governor_free(&d->rig.env.governor);
}

/* ---- the table ---- */

/* What a newcomer reads, and what must hold whatever is added. */
static void
test_rules(void **state)
{
	/* the owner or a loss begins the close, from any state */
	bool reached[LINK_STATE_COUNT] = {
	    [LINK_IDLE] = true, [LINK_CLOSING] = true};
	bool has_deadline[LINK_STATE_COUNT] = {false};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rules); i++) {
		const struct rule *r = &rules[i];

		reached[r->then] = true;
		has_deadline[r->in] |= r->on == EV_DEADLINE;
		/* one answer to one event; a rule without a check moves on */
		assert_ptr_equal(rule_find(r->in, r->on), r);
		assert_true(r->check != NULL || r->in != r->then);
	}
	for (int i = 0; i < LINK_STATE_COUNT; i++) {
		enum link_state s = (enum link_state)i;

		assert_true(reached[s]);
		assert_int_equal(has_deadline[s], s != LINK_IDLE);
		assert_non_null(begin[s]);
		assert_true(link_state_word(s)[0] != '\0');
		assert_true(state_waits[s][0] != '\0');
		/* a state that can be outlived says with which reason */
		if (rule_find(s, EV_DEADLINE) != NULL &&
		    rule_find(s, EV_DEADLINE)->check == deadline_over)
			assert_int_not_equal(deadline_reasons[s], R_NONE);
	}
}

/* ---- deadlines ---- */

static void
test_every_state_has_its_deadline(void **state)
{
	static const struct {
		enum link_state at;
		enum reason why;
	} rows[] = {
	    {LINK_RESOLVE, R_RESOLVE_TIMEOUT},
	    {LINK_TCP, R_TCP_TIMEOUT},
	    {LINK_EGRESS, R_EGRESS_TIMEOUT},
	    {LINK_TLS, R_TLS_TIMEOUT},
	    {LINK_UPGRADE, R_UPGRADE_TIMEOUT},
	    {LINK_LOGIN, R_LOGIN_TIMEOUT},
	};
	/* long enough to be met in the state before it is over */
	enum { DEADLINE_MS = 150 };
	struct dial *d = *state;
	struct settings *s = d->rig.settings;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct deaf_port deaf;

		uint64_t *const deadlines[LINK_STATE_COUNT] = {
		    [LINK_RESOLVE] = &s->resolve_timeout_ms,
		    [LINK_TCP] = &s->tcp_timeout_ms,
		    [LINK_EGRESS] = &s->egress_timeout_ms,
		    [LINK_TLS] = &s->tls_timeout_ms,
		    [LINK_UPGRADE] = &s->upgrade_timeout_ms,
		    [LINK_LOGIN] = &s->login_timeout_ms,
		};
		uint64_t before = *deadlines[rows[i].at];

		*deadlines[rows[i].at] = DEADLINE_MS;
		d->rig.mute = false;
		d->rig.port_count = 0;
		reach(d, rows[i].at, &deaf);
		if (rows[i].at == LINK_LOGIN) { /* the cloud is told */
			cloud_expect(
			    &d->cloud, WS_CLOSE, true, SPAN_OF("\x03\xe8"));
			cloud_send_close(&d->cloud, WS_CLOSE_NORMAL);
		}
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(
		    d->told, rows[i].at == LINK_LOGIN ? "OLI" : "LI");
		assert_int_equal(d->why.why, rows[i].why);
		assert_true(
		    clock_mono_ms() - d->link.dialled_ms >= DEADLINE_MS - 5);
		*deadlines[rows[i].at] = before;
		assert_non_null(strstr(d->why.text,
		    rows[i].at == LINK_EGRESS ? "egress proxy 127.0.0.1"
					      : "cloud.example"));
		leave(d, &deaf, rows[i].at);
		cloud_hang_up(&d->cloud);
	}
}

static void
test_closing_has_its_deadline(void **state)
{
	struct dial *d = *state;

	d->rig.settings->close_timeout_ms = SHORT_MS;
	up_link(d, LONG_MS);
	link_close(&d->link, WS_CLOSE_GOING_AWAY);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "OI");
	cloud_expect(&d->cloud, WS_CLOSE, true, SPAN_OF("\x03\xe9"));
	cloud_read_all(&d->cloud);
	assert_false(d->cloud.reset);
}

/* ---- addresses ---- */

static void
test_refused(void **state)
{
	struct dial *d = *state;
	uint16_t port;
	int fd = rig_refuse(&port);

	d->target.port = port;
	dial_link(d);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "LI");
	assert_int_equal(d->why.why, R_CLOUD_REFUSED);
	assert_non_null(strstr(d->why.text, "127.0.0.1:"));
	assert_non_null(strstr(d->why.text, "cloud.example"));
	(void)close(fd);
}

static void
test_the_next_address_is_tried(void **state)
{
	struct dial *d = *state;
	struct deaf_port deaf;
	uint16_t port;
	int fd = rig_refuse(&port);

	deaf_open(&deaf);
	memcpy(d->rig.ports, (uint16_t[]){port, deaf.port, d->cloud.port},
	    3 * sizeof(port));
	d->rig.port_count = 3;
	open_link(d);
	deaf_close(&deaf);
	(void)close(fd);
}

static void
test_all_addresses_fail(void **state)
{
	struct dial *d = *state;
	struct deaf_port deaf;
	uint16_t port;
	int fd = rig_refuse(&port);

	deaf_open(&deaf);
	d->rig.settings->tcp_timeout_ms = 10 * SHORT_MS;
	memcpy(d->rig.ports, (uint16_t[]){port, deaf.port}, 2 * sizeof(port));
	d->rig.port_count = 2;
	dial_link(d);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "LI");
	assert_int_equal(d->why.why, R_TCP_TIMEOUT);
	/* what each has said */
	assert_non_null(strstr(d->why.text, "Connection refused"));
	assert_non_null(strstr(d->why.text, "no answer yet"));
	deaf_close(&deaf);
	(void)close(fd);
}

/* A look-up that comes back late, to nobody, is freed. */
static void
test_a_late_answer(void **state)
{
	struct dial *d = *state;
	struct lookup *asked;

	reach(d, LINK_RESOLVE, NULL);
	asked = d->rig.asked;
	link_close(&d->link, WS_CLOSE_NORMAL);
	assert_string_equal(d->told, "I");
	d->rig.mute = false;
	open_link(d);
	d->rig.asked = NULL;
	rig_resolve(&d->rig, asked);
	rig_settle(&d->rig);
	assert_int_equal(d->link.state, LINK_LOGIN);
}

static void
test_no_address(void **state)
{
	struct dial *d = *state;
	struct lookup *l;

	reach(d, LINK_RESOLVE, NULL);
	l = d->rig.asked;
	d->rig.asked = NULL;
	assert_string_equal(l->host, "cloud.example");
	assert_int_equal(l->port, d->cloud.port);
	(void)fault_set(&l->why, R_RESOLVE_FAILED, "%s: no such name", l->host);
	l->letter.open = rig_open_answer;
	mailbox_post(l->reply_to, &l->letter);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "LI");
	assert_int_equal(d->why.why, R_RESOLVE_FAILED);
}

/* ---- TLS ---- */

static void
test_whom_it_trusts(void **state)
{
	static const struct {
		const char *dialled;
		const char *names;
		long from_s, to_s;
		enum reason why; /* R_NONE: trusted */
		bool other_root;
		const char *text;
	} rows[] = {
	    {"cloud.example", "DNS:cloud.example", -1, 60, R_NONE, false, ""},
	    {"iot.cloud.example", "DNS:*.cloud.example", -1, 60, R_NONE, false,
		""},
	    {"127.0.0.1", "IP:127.0.0.1", -1, 60, R_NONE, false, ""},
	    {"::1", "IP:::1", -1, 60, R_NONE, false, ""},
	    {"cloud.example", "DNS:cloud.example", -1, 60, R_CERT_UNTRUSTED,
		true, "issuer CN=Another root"},
	    {"cloud.example", "DNS:cloud.example", -60, -1, R_CERT_EXPIRED,
		false, "subject CN=cloud"},
	    {"cloud.example", "DNS:cloud.example", 3600, 7200,
		R_CERT_NOT_YET_VALID, false, "depth 0"},
	    {"cloud.example", "DNS:example", -1, 60, R_CERT_WRONG_NAME, false,
		"subject CN=cloud"},
	    {"iot.cloud.example", "DNS:i*.cloud.example", -1, 60,
		R_CERT_WRONG_NAME, false, ""},
	    {"cloud.example", "IP:127.0.0.1", -1, 60, R_CERT_WRONG_NAME, false,
		""},
	    {"127.0.0.1", "IP:127.0.0.2", -1, 60, R_CERT_WRONG_NAME, false, ""},
	    /* a name that looks like an address is none */
	    {"127.0.0.1", "DNS:127.0.0.1", -1, 60, R_CERT_WRONG_NAME, false,
		""},
	};
	struct dial *d = *state;
	struct pki other;

	pki_open(&other, "Another root");
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		cloud_show(&d->cloud,
		    pki_server(rows[i].other_root ? &other : &d->pki,
			rows[i].names, rows[i].from_s, rows[i].to_s));
		d->target.host = d->target.server_name = rows[i].dialled;
		if (rows[i].why == R_NONE) {
			open_link(d);
			assert_string_equal(
			    link_tls_version(&d->link), "TLSv1.3");
			assert_false(link_tls_resumed(&d->link));
			link_close(&d->link, WS_CLOSE_NORMAL);
			cloud_hang_up(&d->cloud);
			until(&d->rig, has_told(d, 'I'));
			continue;
		}
		dial_link(d);
		cloud_accept(&d->cloud);
		(void)cloud_handshake(&d->cloud);
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(d->told, "LI");
		assert_int_equal(d->why.why, rows[i].why);
		assert_non_null(strstr(d->why.text, rows[i].dialled));
		assert_non_null(strstr(d->why.text, rows[i].text));
		cloud_hang_up(&d->cloud);
	}
	pki_close(&other);
}

static void
test_verify_no_takes_any_certificate(void **state)
{
	struct dial *d = *state;

	trust_unref(d->rig.env.trust);
	d->rig.settings->tls_verify = false;
	d->rig.env.trust = new_trust(d);
	cloud_show(
	    &d->cloud, pki_server(&d->pki, "DNS:other.example", -60, -1));
	open_link(d);
}

static const char *
server_name(struct dial *d)
{
	return SSL_get_servername(d->cloud.ssl, TLSEXT_NAMETYPE_host_name);
}

/* RFC 6066 3: names only. */
static void
test_server_name_indication(void **state)
{
	struct dial *d = *state;

	open_link(d);
	assert_string_equal(server_name(d), "cloud.example");
	link_abort(&d->link);
	d->target.host = d->target.server_name = "127.0.0.1";
	open_link(d);
	assert_null(server_name(d));
}

static void
test_the_oldest_version(void **state)
{
	struct dial *d = *state;
	SSL_CTX *old = good_server(d);

	(void)SSL_CTX_set_max_proto_version(old, TLS1_2_VERSION);
	cloud_show(&d->cloud, old);
	open_link(d);
	assert_string_equal(link_tls_version(&d->link), "TLSv1.2");
	link_abort(&d->link);
	trust_unref(d->rig.env.trust);
	d->rig.settings->tls_min_version = TLS1_3_VERSION;
	d->rig.env.trust = new_trust(d);
	dial_link(d);
	cloud_accept(&d->cloud);
	assert_false(cloud_handshake(&d->cloud));
	until(&d->rig, has_told(d, 'I'));
	assert_int_equal(d->why.why, R_TLS_FAILED);
}

static void
test_no_tls_at_the_port(void **state)
{
	static const struct span answers[] = {
	    SPAN_OF("HTTP/1.1 400 Bad Request\r\n\r\n"), SPAN_OF("\x15"),
	    SPAN_OF("")};
	struct dial *d = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
		reach(d, LINK_TLS, NULL);
		cloud_write(&d->cloud, answers[i]);
		cloud_hang_up(&d->cloud);
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(d->told, "LI");
		/* with what the link sent unread, a close is a RST */
		assert_true(d->why.why == R_TLS_FAILED ||
			    (i > 0 && d->why.why == R_CLOUD_RESET));
	}
}

/* Dials, takes the tickets, says good-bye. True: it was resumed. */
static bool
dial_and_close(struct dial *d)
{
	bool resumed;

	open_link(d);
	resumed = link_tls_resumed(&d->link);
	assert_int_equal(resumed, SSL_session_reused(d->cloud.ssl));
	link_close(&d->link, WS_CLOSE_NORMAL);
	cloud_expect(&d->cloud, WS_CLOSE, true, SPAN_OF("\x03\xe8"));
	cloud_send_close(&d->cloud, WS_CLOSE_NORMAL);
	until(&d->rig, has_told(d, 'I'));
	cloud_read_all(&d->cloud);
	assert_int_equal(SSL_get_shutdown(d->cloud.ssl) & SSL_RECEIVED_SHUTDOWN,
	    SSL_RECEIVED_SHUTDOWN);
	cloud_hang_up(&d->cloud);
	return resumed;
}

static void
test_resumption(void **state)
{
	struct dial *d = *state;
	struct trust *first;
	uint16_t port = d->cloud.port;

	assert_false(dial_and_close(d));
	assert_true(dial_and_close(d));
	assert_true(dial_and_close(d));

	/* another name, and the same name at another port, are other hosts */
	d->target.host = d->target.server_name = "127.0.0.1";
	assert_false(dial_and_close(d));
	d->target.host = d->target.server_name = "cloud.example";
	d->rig.ports[0] = port;
	d->rig.port_count = 1;
	d->target.port = 443;
	assert_false(dial_and_close(d));
	d->target.port = port;
	assert_true(dial_and_close(d));

	/* a resumed handshake checks no certificate, so whoever is trusted
	   anew is checked anew; and the old trust's tickets do not come back */
	first = d->rig.env.trust;
	d->rig.env.trust = new_trust(d);
	assert_false(dial_and_close(d));
	assert_true(dial_and_close(d));
	trust_unref(d->rig.env.trust);
	d->rig.env.trust = first;
	assert_false(dial_and_close(d));
}

/* A link that was dialled before the trust was exchanged gets its ticket
   after: it must not be offered under the new one. */
static void
test_a_late_ticket_of_an_old_trust(void **state)
{
	struct dial *d = *state;
	struct trust *old = d->rig.env.trust;

	reach(d, LINK_TLS, NULL);
	d->rig.env.trust = new_trust(d);
	trust_unref(old);
	assert_true(cloud_handshake(&d->cloud));
	cloud_switch(&d->cloud);
	until(&d->rig, has_told(d, 'O'));
	link_close(&d->link, WS_CLOSE_NORMAL);
	cloud_send_close(&d->cloud, WS_CLOSE_NORMAL);
	until(&d->rig, has_told(d, 'I'));
	assert_false(dial_and_close(d));
}

/* 64 hosts are remembered, the one dialled longest ago is forgotten; here the
   links of forgotten hosts are still open. */
static void
test_tickets_of_many_hosts(void **state)
{
	struct dial *d = *state;
	struct tickets *t = d->rig.env.tickets;
	SSL *held[200];

	assert_false(dial_and_close(d));
	for (uint16_t i = 0; i < 200; i++) {
		held[i] = trust_client(
		    d->rig.env.trust, t, TRUST_WSS, "cloud.example", i);
		assert_non_null(held[i]);
		if (i % 20 == 0)
			assert_true(dial_and_close(d));
	}
	/* enough of them, and it is forgotten */
	for (uint16_t i = 0; i < 64; i++)
		SSL_free(trust_client(
		    d->rig.env.trust, t, TRUST_WSS, "cloud.example", i));
	assert_false(dial_and_close(d));
	for (int i = 0; i < 100; i++)
		SSL_free(held[i]);
	tickets_free(&d->rig.env.tickets);
	for (int i = 100; i < 200; i++)
		SSL_free(held[i]);
	d->rig.env.tickets = tickets_new();
	assert_false(dial_and_close(d));
}

static void
test_trust_without_roots(void **state)
{
	struct dial *d = *state;
	struct settings *s = d->rig.settings;
	struct fault why = {0};

	s->tls_ca_file[0] = '\0';
	assert_null(trust_new(s, &why));
	assert_int_equal(why.why, R_BAD_CONFIG);
	(void)snprintf(s->tls_ca_file, sizeof(s->tls_ca_file), "%s",
	    "/nonexistent/root.pem");
	assert_null(trust_new(s, &why));
	assert_non_null(strstr(why.text, "/nonexistent/root.pem"));
}

/* ---- upgrade ---- */

static void
test_the_request(void **state)
{
	struct dial *d = *state;
	char request[1024], want[64], previous[1024] = "";

	for (int i = 0; i < 2; i++) {
		reach(d, LINK_UPGRADE, NULL);
		cloud_request(&d->cloud, request);
		assert_memory_equal(request, "GET /mqtt HTTP/1.1\r\n", 20);
		(void)snprintf(want, sizeof(want),
		    "\r\nHost: cloud.example:%u\r\n", d->cloud.port);
		assert_non_null(strstr(request, want));
		assert_non_null(strstr(request, "Sec-WebSocket-Key: "));
		assert_non_null(
		    strstr(request, "\r\nSec-WebSocket-Protocol: mqtt\r\n"));
		/* RFC 6455 4.1: the key is another one each time */
		assert_string_not_equal(request, previous);
		(void)strcpy(previous, request);
		link_abort(&d->link);
	}
}

static void
test_the_request_of_other_hosts(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
		enum transport transport;
		const char *want;
	} rows[] = {
	    {"a.example", 443, TRANSPORT_WSS, "a.example"},
	    {"a.example", 80, TRANSPORT_WSS, "a.example:80"},
	    {"a.example", 80, TRANSPORT_WS, "a.example"},
	    {"a.example", 443, TRANSPORT_WS, "a.example:443"},
	    {"::1", 443, TRANSPORT_WSS, "[::1]"},
	    {"::1", 8443, TRANSPORT_WSS, "[::1]:8443"},
	    {"127.0.0.1", 8443, TRANSPORT_WSS, "127.0.0.1:8443"},
	};
	struct dial *d = *state;
	uint16_t port = d->cloud.port;
	char request[1024], want[64];

	d->rig.ports[0] = port; /* whatever port is dialled */
	d->rig.port_count = 1;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		d->target.host = d->target.server_name = rows[i].host;
		d->target.port = rows[i].port;
		d->target.transports.order[0] = (uint8_t)rows[i].transport;
		dial_link(d);
		cloud_accept(&d->cloud);
		if (rows[i].transport == TRANSPORT_WSS)
			assert_true(cloud_handshake(&d->cloud));
		cloud_request(&d->cloud, request);
		(void)snprintf(
		    want, sizeof(want), "\r\nHost: %s\r\n", rows[i].want);
		assert_non_null(strstr(request, want));
		link_abort(&d->link);
	}
}

/* MQTT 3.1 may have a subprotocol of its own; or none is offered. */
static void
test_the_subprotocol(void **state)
{
	static const char name[] = "Sec-WebSocket-Protocol: ";
	static const struct {
		const char *all, *of_3_1;
		uint8_t level;
		const char *want;
	} rows[] = {
	    {"mqtt", "", 3, "mqtt"},
	    {"mqtt", "mqttv3.1", 3, "mqttv3.1"},
	    {"mqtt", "mqttv3.1", 4, "mqtt"},
	    {"mqtt", "mqttv3.1", 5, "mqtt"},
	    {"", "", 4, NULL},
	};
	struct dial *d = *state;
	struct settings *s = d->rig.settings;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		char request[1024];
		const char *found;

		(void)strcpy(s->cloud_subprotocol, rows[i].all);
		(void)strcpy(s->cloud_subprotocol_3_1, rows[i].of_3_1);
		link_dial(&d->link, &d->target, rows[i].level);
		cloud_accept(&d->cloud);
		cloud_request(&d->cloud, request);
		found = strstr(request, name);
		assert_int_equal(found != NULL, rows[i].want != NULL);
		if (found != NULL) {
			found += strlen(name);
			assert_memory_equal(
			    found, rows[i].want, strlen(rows[i].want));
			assert_int_equal(found[strlen(rows[i].want)], '\r');
		}
		link_abort(&d->link);
	}
}

/* What a reload brings is for the next dial. */
static void
test_reload_while_the_upgrade_is_answered(void **state)
{
	struct dial *d = *state;
	struct settings fresh;

	reach(d, LINK_UPGRADE, NULL);
	fresh = *d->rig.settings;
	(void)snprintf(
	    fresh.cloud_subprotocol, sizeof(fresh.cloud_subprotocol), "other");
	d->rig.env.settings = &fresh;
	cloud_switch(&d->cloud);
	until(&d->rig, has_told(d, 'O') || has_told(d, 'L'));
	assert_string_equal(d->told, "O");
	d->rig.env.settings = d->rig.settings;
}

/* Who has asked not to be dialled for a while is not; others are. */
static void
test_retry_after(void **state)
{
	struct dial *d = *state;

	reach(d, LINK_UPGRADE, NULL);
	cloud_write(&d->cloud,
	    SPAN_OF("HTTP/1.1 503 Busy\r\nRetry-After: 100\r\n\r\n"));
	until(&d->rig, has_told(d, 'I'));
	assert_int_equal(d->why.why, R_UPGRADE_REFUSED);
	d->rig.env.governor =
	    governor_new(d->rig.settings, &d->rate, 1, clock_mono_ms());
	assert_non_null(d->rig.env.governor);
	for (int i = 0; i < 2; i++) {
		unsigned before = d->rig.lookups;

		dial_link(d);
		assert_string_equal(d->told, "LI"); /* at once */
		assert_int_equal(d->rig.lookups, before);
		assert_int_equal(d->why.why, R_CLOUD_BUSY);
		assert_non_null(strstr(d->why.text, "Retry-After"));
		assert_int_equal(d->link.is_old_news, i > 0);
	}
	governor_free(&d->rig.env.governor);
	d->target.host = d->target.server_name = "127.0.0.1";
	open_link(d);
}

/* The first frames stand behind the 101, in one segment with it or cut
   anywhere. */
static void
test_upgrade_answer_byte_by_byte(void **state)
{
	struct dial *d = *state;
	char text[512 + 16];
	struct span rest, byte;
	uint8_t *frame;
	size_t n;

	dial_link(d);
	cloud_accept(&d->cloud);
	rest = cloud_switching(&d->cloud, text);
	frame = (uint8_t *)text + rest.n;
	n = cloud_frame_write(frame, WS_BINARY, true, SPAN_OF("hello"));
	rest.n += n;
	while (span_take(&rest, 1, &byte)) {
		cloud_write(&d->cloud, byte);
		rig_turn(&d->rig);
		assert_int_equal(has_told(d, 'O'), rest.n <= n);
	}
	until(&d->rig, d->data.n == 5);
	assert_span_equal(buffer_span(&d->data), SPAN_OF("hello"));
}

static void
test_data_behind_the_101(void **state)
{
	struct dial *d = *state;
	char text[512 + 64];
	struct span whole;
	size_t head;

	d->verbose = true;
	for (size_t cut = 0; cut <= 14; cut++) {
		dial_link(d);
		cloud_accept(&d->cloud);
		assert_true(cloud_handshake(&d->cloud));
		whole = cloud_switching(&d->cloud, text);
		head = whole.n;
		whole.n += cloud_frame_write((uint8_t *)text + whole.n,
		    WS_BINARY, true, SPAN_OF("hello"));
		whole.n += cloud_frame_write((uint8_t *)text + whole.n,
		    WS_BINARY, true, SPAN_OF("again"));
		assert_int_equal(whole.n, head + 14);
		cloud_write(&d->cloud, (struct span){whole.p, head + cut});
		until(&d->rig, has_told(d, 'O'));
		rig_settle(&d->rig);
		cloud_write(
		    &d->cloud, (struct span){whole.p + head + cut, 14 - cut});
		until(&d->rig, d->data.n == 10);
		assert_span_equal(buffer_span(&d->data), SPAN_OF("helloagain"));
		assert_int_equal(d->ends, 2);
		assert_int_equal(d->told[strlen(d->told) - 1], 'B');
		link_abort(&d->link);
	}
}

static void
test_refused_upgrades(void **state)
{
	static const struct {
		const char *answer;
		enum reason why;
		const char *text;
	} rows[] = {
	    {"HTTP/1.1 403 Forbidden\r\n\r\n", R_UPGRADE_REFUSED, "403"},
	    {"HTTP/1.1 302 Found\r\nLocation: https://b.example/\r\n\r\n",
		R_UPGRADE_REDIRECTED, "b.example"},
	    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
	     "Connection: Upgrade\r\n"
	     "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
		R_UPGRADE_BAD_ANSWER, "cloud.example"},
	    {"\x15\x03\x01", R_UPGRADE_NOT_HTTP, ""},
	    /* and what ends in the middle */
	    {"HTTP/1.1 101 Swi", R_UPGRADE_NOT_HTTP, "16 bytes"},
	    {"", R_UPGRADE_NOT_HTTP, "0 bytes"},
	};
	struct dial *d = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		reach(d, LINK_UPGRADE, NULL);
		cloud_write(&d->cloud, span_of_string(rows[i].answer));
		cloud_bye(&d->cloud);
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(d->told, "LI");
		assert_int_equal(d->why.why, rows[i].why);
		assert_non_null(strstr(d->why.text, rows[i].text));
	}
}

/* More than a head may have, sent at once, is refused at once. */
static void
test_an_endless_answer(void **state)
{
	static char line[16 * 1024 + 1];
	struct dial *d = *state;

	(void)snprintf(line, sizeof(line), "HTTP/1.1 101 ");
	memset(line + 13, 'x', sizeof(line) - 1 - 13);
	for (size_t n = HTTP_HEAD_MAX - 1; n <= HTTP_HEAD_MAX + 1; n++) {
		reach(d, LINK_UPGRADE, NULL);
		cloud_write(&d->cloud, (struct span){(uint8_t *)line, n});
		cloud_write(&d->cloud, SPAN_OF("xxxx"));
		until(&d->rig, has_told(d, 'I'));
		assert_int_equal(d->why.why, R_UPGRADE_BAD_ANSWER);
		cloud_hang_up(&d->cloud);
	}
}

/* ---- frames ---- */

static void
test_messages_out(void **state)
{
	struct dial *d = *state;
	struct frame f, g;

	d->puts = true;
	open_link(d);
	cloud_expect(&d->cloud, WS_BINARY, true, SPAN_OF("login"));
	link_put(&d->link, WS_BINARY, SPAN_OF(""), true);
	link_put(&d->link, WS_BINARY, SPAN_OF("one"), false);
	link_put(&d->link, WS_CONTINUATION, SPAN_OF("two"), false);
	link_put(&d->link, WS_CONTINUATION, SPAN_OF("three"), true);
	link_flush(&d->link);
	cloud_expect(&d->cloud, WS_BINARY, true, SPAN_OF(""));
	cloud_expect(&d->cloud, WS_BINARY, false, SPAN_OF("one"));
	cloud_expect(&d->cloud, WS_CONTINUATION, false, SPAN_OF("two"));
	cloud_expect(&d->cloud, WS_CONTINUATION, true, SPAN_OF("three"));
	/* RFC 6455 5.3: a fresh key for each frame */
	link_put(&d->link, WS_BINARY, SPAN_OF("same"), true);
	link_put(&d->link, WS_BINARY, SPAN_OF("same"), true);
	link_flush(&d->link);
	f = cloud_frame(&d->cloud);
	g = cloud_frame(&d->cloud);
	assert_memory_not_equal(f.key, g.key, WS_KEY_BYTES);
	frame_free(&f);
	frame_free(&g);
}

/* Every size at which something changes; more than the scratch holds is put
   before one flush. */
static void
test_messages_of_every_size_out(void **state)
{
	static const size_t sizes[] = {0, 1, 125, 126, 127, 65535,
	    LOOP_IN_BYTES, LOOP_IN_BYTES, LOOP_IN_BYTES, 16384, 1};
	static uint8_t bytes[LOOP_IN_BYTES];
	struct dial *d = *state;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 131 + (i >> 8));
	open_link(d);
	narrow(d);
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
		link_put(
		    &d->link, WS_BINARY, (struct span){bytes, sizes[i]}, true);
	link_flush(&d->link);
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
		cloud_expect(&d->cloud, WS_BINARY, true,
		    ((struct span){bytes, sizes[i]}));
	until(&d->rig, link_takes(&d->link));
}

/* One message in fragments, with control frames between and inside. */
static void
test_fragments_in(void **state)
{
	struct dial *d = *state;

	up_link(d, LONG_MS);
	cloud_send(&d->cloud, WS_BINARY, false, SPAN_OF("one"));
	cloud_send(&d->cloud, WS_PING, true, SPAN_OF("alive?"));
	cloud_expect(&d->cloud, WS_PONG, true, SPAN_OF("alive?"));
	assert_int_equal(d->ends, 0);
	cloud_send(&d->cloud, WS_CONTINUATION, false, SPAN_OF(""));
	cloud_send(&d->cloud, WS_PONG, true, SPAN_OF("unasked"));
	cloud_send(&d->cloud, WS_CONTINUATION, true, SPAN_OF("two"));
	until(&d->rig, d->ends == 1);
	assert_span_equal(buffer_span(&d->data), SPAN_OF("onetwo"));
	assert_string_equal(d->told, "O");
}

/* The link's own message is in fragments: a pong goes between them. */
static void
test_a_pong_between_our_fragments(void **state)
{
	struct dial *d = *state;

	up_link(d, LONG_MS);
	link_put(&d->link, WS_BINARY, SPAN_OF("one"), false);
	link_flush(&d->link);
	cloud_expect(&d->cloud, WS_BINARY, false, SPAN_OF("one"));
	cloud_send(&d->cloud, WS_PING, true, SPAN_OF(""));
	cloud_expect(&d->cloud, WS_PONG, true, SPAN_OF(""));
	link_put(&d->link, WS_CONTINUATION, SPAN_OF("two"), true);
	link_flush(&d->link);
	cloud_expect(&d->cloud, WS_CONTINUATION, true, SPAN_OF("two"));
}

/* Each of many pings in one read is answered (RFC 6455 5.5.2). */
static void
test_many_pings(void **state)
{
	struct dial *d = *state;
	uint8_t out[64];
	size_t n = 0;

	up_link(d, LONG_MS);
	n += cloud_frame_write(out + n, WS_PING, true, SPAN_OF("a"));
	n += cloud_frame_write(out + n, WS_PING, true, SPAN_OF("b"));
	n += cloud_frame_write(out + n, WS_PING, true, SPAN_OF("c"));
	cloud_write(&d->cloud, (struct span){out, n});
	cloud_expect(&d->cloud, WS_PONG, true, SPAN_OF("a"));
	cloud_expect(&d->cloud, WS_PONG, true, SPAN_OF("b"));
	cloud_expect(&d->cloud, WS_PONG, true, SPAN_OF("c"));
	assert_true(cloud_hears_nothing(&d->cloud));
}

static void
test_broken_frames(void **state)
{
	static const struct {
		struct span bytes;
		struct span close; /* what the cloud is told */
	} rows[] = {
	    {SPAN_OF("\x82\x81\1\2\3\4x"), SPAN_OF("\x03\xea")}, /* masked */
	    {SPAN_OF("\xc2\x01x"), SPAN_OF("\x03\xea")},
	    {SPAN_OF("\x80\x01x"), SPAN_OF("\x03\xea")},
	    {SPAN_OF("\x88\x03\x03\xe8\xff"), SPAN_OF("\x03\xef")},
	};
	struct dial *d = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		up_link(d, LONG_MS);
		cloud_say(&d->cloud, SPAN_OF("before"));
		cloud_write(&d->cloud, rows[i].bytes);
		cloud_say(&d->cloud, SPAN_OF("behind"));
		cloud_expect(&d->cloud, WS_CLOSE, true, rows[i].close);
		assert_string_equal(d->told, "OL");
		assert_int_equal(d->why.why, R_BAD_FRAME);
		/* what it says now is not understood: only its end counts */
		cloud_send(&d->cloud, WS_CLOSE, true, SPAN_OF("\x03\xe8"));
		rig_settle(&d->rig);
		assert_string_equal(d->told, "OL");
		cloud_bye(&d->cloud);
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(d->told, "OLI");
		assert_span_equal(buffer_span(&d->data), SPAN_OF("before"));
	}
}

/* ---- other ways ---- */

/* What comes from the cloud and what goes to it is the owner's bytes alone. */
static void
test_mqtts_has_no_frames(void **state)
{
	struct dial *d = *state;

	d->target.transports.order[0] = TRANSPORT_MQTTS;
	d->target.mqtts_port = d->cloud.port;
	d->target.port = 1;
	d->puts = true;
	dial_link(d);
	cloud_accept(&d->cloud);
	assert_true(cloud_handshake(&d->cloud));
	until(&d->rig, has_told(d, 'O'));
	link_logged_in(&d->link, 50);
	link_put(&d->link, WS_BINARY, SPAN_OF("fir"), false);
	link_put(&d->link, WS_CONTINUATION, SPAN_OF("st"), true);
	link_flush(&d->link);
	while (d->cloud.in.n < 12) /* with a ping */
		cloud_read_more(&d->cloud);
	assert_int_equal(
	    memcmp(buffer_span(&d->cloud.in).p, "loginfirst\xc0\0", 12), 0);
	/* what looks like a close frame is none */
	cloud_write(&d->cloud, SPAN_OF("\x88\x02\x03\xe8"));
	until(&d->rig, d->data.n == 4);
	assert_span_equal(buffer_span(&d->data), SPAN_OF("\x88\x02\x03\xe8"));
	assert_string_equal(d->told, "O");
}

/* The last bytes arrive, then the end of the stream; the link waits for that of
   the other side, or what is under way would be lost with a RST. */
static void
test_mqtts_closes_in_order(void **state)
{
	struct dial *d = *state;

	d->target.transports.order[0] = TRANSPORT_MQTTS;
	d->target.mqtts_port = d->cloud.port;
	for (int i = 0; i < 2; i++) {
		dial_link(d);
		cloud_accept(&d->cloud);
		assert_true(cloud_handshake(&d->cloud));
		until(&d->rig, has_told(d, 'O'));
		link_logged_in(&d->link, LONG_MS);
		if (i == 0) {
			link_put(&d->link, WS_BINARY, SPAN_OF("last"), true);
			link_close(&d->link, WS_CLOSE_NORMAL);
		} else {
			cloud_finish(&d->cloud);
			until(&d->rig, has_told(d, 'L'));
			assert_int_equal(d->why.why, R_CLOUD_CLOSED);
		}
		cloud_read_all(&d->cloud);
		assert_false(d->cloud.reset);
		assert_span_equal(buffer_span(&d->cloud.in),
		    i == 0 ? SPAN_OF("last") : SPAN_OF(""));
		cloud_bye(&d->cloud);
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(d->told, i == 0 ? "OI" : "OLI");
	}
}

/* What is kept goes before the end of the stream. */
static void
test_mqtts_closes_while_blocked(void **state)
{
	struct dial *d = *state;
	size_t put = 0;

	d->target.transports.order[0] = TRANSPORT_MQTTS;
	d->target.mqtts_port = d->cloud.port;
	d->rig.settings->close_timeout_ms = LONG_MS;
	dial_link(d);
	cloud_accept(&d->cloud);
	assert_true(cloud_handshake(&d->cloud));
	until(&d->rig, has_told(d, 'O'));
	link_logged_in(&d->link, LONG_MS);
	narrow(d);
	while (link_takes(&d->link)) {
		static const uint8_t chunk[8 * 1024];

		link_put(&d->link, WS_BINARY,
		    (struct span){chunk, sizeof(chunk)}, true);
		link_flush(&d->link);
		put += sizeof(chunk);
	}
	link_close(&d->link, WS_CLOSE_NORMAL);
	cloud_read_all(&d->cloud);
	assert_false(d->cloud.reset);
	assert_int_equal(d->cloud.in.n, put);
}

/* The next transport is tried when one cannot be had, and goes first then. */
static void
test_the_next_way_is_tried(void **state)
{
	struct dial *d = *state;
	uint16_t port;
	int fd = rig_refuse(&port);

	assert_true(transports_read("wss, mqtts", &d->target.transports));
	d->target.port = port;
	d->target.mqtts_port = d->cloud.port;
	for (int i = 0; i < 2; i++) {
		unsigned lookups = d->rig.lookups;

		dial_link(d);
		cloud_accept(&d->cloud);
		assert_true(cloud_handshake(&d->cloud));
		until(&d->rig, has_told(d, 'O'));
		assert_string_equal(d->told, "O");
		assert_int_equal(link_transport(&d->link), TRANSPORT_MQTTS);
		assert_int_equal(link_port(&d->link), d->cloud.port);
		assert_int_equal(d->rig.lookups - lookups, i == 0 ? 2 : 1);
		link_logged_in(&d->link, LONG_MS);
		link_abort(&d->link);
	}
	(void)close(fd);
}

static void
expect_connect(struct dial *d, const char *login)
{
	char request[1024];

	cloud_request(&d->cloud, request);
	assert_non_null(strstr(request, "CONNECT cloud.example:"));
	if (login != NULL)
		assert_non_null(strstr(request, login));
	else
		assert_null(strstr(request, "Proxy-Authorization"));
}

/* A tunnel, asked for twice: the second time with the password. */
static void
test_a_tunnel(void **state)
{
	struct dial *d = *state;
	const char *why;
	char url[64];

	(void)snprintf(
	    url, sizeof(url), "http://u:p@127.0.0.1:%u", d->cloud.port);
	assert_true(egress_read(&d->rig.settings->egress_proxy, url, &why));
	dial_link(d);
	cloud_accept(&d->cloud);
	expect_connect(d, NULL);
	cloud_write(
	    &d->cloud, SPAN_OF("HTTP/1.1 407 No\r\n"
			       "Proxy-Authenticate: Basic realm=\"r\"\r\n"
			       "Content-Length: 4\r\n\r\nbody"));
	cloud_accept(&d->cloud); /* a connection of its own */
	expect_connect(d, "Proxy-Authorization: Basic dTpw\r\n");
	cloud_write(&d->cloud, SPAN_OF("HTTP/1.1 200 Open\r\n\r\n"));
	assert_true(cloud_handshake(&d->cloud));
	cloud_switch(&d->cloud);
	until(&d->rig, has_told(d, 'O'));
	assert_string_equal(server_name(d), "cloud.example");
	link_abort(&d->link);

	/* nobody can speak before TLS has begun */
	dial_link(d);
	cloud_accept(&d->cloud);
	expect_connect(d, "Proxy-Authorization: Basic dTpw\r\n");
	cloud_write(&d->cloud, SPAN_OF("HTTP/1.1 200 Open\r\n\r\nx"));
	until(&d->rig, has_told(d, 'I'));
	assert_int_equal(d->why.why, R_EGRESS_BAD_ANSWER);
	assert_non_null(strstr(d->why.text, "by egress proxy 127.0.0.1"));
	egress_close(d);
}

/* A reload puts another map in the place of the one that it was dialled by. */
static void
test_a_tunnel_outlives_the_map(void **state)
{
	struct dial *d = *state;
	struct credential fresh = d->target;
	char *host = strdup(d->target.host);

	assert_non_null(host);
	egress_open(d);
	d->target.host = host;
	dial_link(d);
	link_retarget(&d->link, &fresh);
	free(host);
	cloud_accept(&d->cloud);
	expect_connect(d, NULL);
	link_abort(&d->link);
	egress_close(d);
}

/* TLS as far as the proxy is none with the cloud. */
static void
test_ws_in_a_tls_tunnel(void **state)
{
	struct dial *d = *state;
	char url[64];
	const char *why;

	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", d->cloud.port);
	assert_true(egress_read(&d->rig.settings->egress_proxy, url, &why));
	d->target.transports = (struct transports){1, {TRANSPORT_WS}};
	dial_link(d);
	cloud_accept(&d->cloud);
	assert_true(cloud_handshake(&d->cloud));
	expect_connect(d, NULL);
	cloud_write(&d->cloud, SPAN_OF("HTTP/1.1 200 Open\r\n\r\n"));
	cloud_switch(&d->cloud);
	until(&d->rig, has_told(d, 'O'));
	assert_non_null(d->link.stream.ssl);
	assert_null(link_tls(&d->link));
	assert_string_equal(link_tls_version(&d->link), "plain");
	link_abort(&d->link);
	egress_close(d);
}

/* Each end of a connection to the proxy, and what it means. */
static void
test_no_tunnel(void **state)
{
	static const struct {
		struct span answer;
		enum reason why;
	} rows[] = {
	    {SPAN_OF("HTTP/1.1 403 Forbidden\r\n\r\n"), R_EGRESS_REFUSED},
	    {SPAN_OF("HTTP/1.1 503 No way\r\n\r\n"), R_EGRESS_CANNOT_REACH},
	    {SPAN_OF("SSH-2.0-x\r\n"), R_EGRESS_BAD_ANSWER},
	    {SPAN_OF("HTTP/1.1 20"), R_EGRESS_BAD_ANSWER},
	    {SPAN_OF(""), R_EGRESS_BAD_ANSWER},
	};
	struct dial *d = *state;
	uint16_t port = d->cloud.port;
	int fd;

	egress_open(d);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		dial_link(d);
		cloud_accept(&d->cloud);
		expect_connect(d, NULL);
		cloud_write(&d->cloud, rows[i].answer);
		cloud_bye(&d->cloud);
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(d->told, "LI");
		assert_int_equal(d->why.why, rows[i].why);
		assert_non_null(strstr(d->why.text, "egress proxy 127.0.0.1"));
	}
	/* a reset */
	dial_link(d);
	cloud_accept(&d->cloud);
	cloud_reset(&d->cloud);
	until(&d->rig, has_told(d, 'I'));
	assert_int_equal(d->why.why, R_EGRESS_BAD_ANSWER);
	assert_non_null(strstr(d->why.text, "egress proxy 127.0.0.1"));
	/* the proxy itself is not there */
	fd = rig_refuse(&port);
	d->rig.ports[0] = port;
	d->rig.port_count = 1;
	dial_link(d);
	until(&d->rig, has_told(d, 'I'));
	assert_int_equal(d->why.why, R_EGRESS_UNREACHABLE);
	assert_non_null(strstr(d->why.text, "refused"));
	(void)close(fd);
	egress_close(d);
}

/* ---- the end ---- */

static void
test_the_clouds_close_is_echoed(void **state)
{
	static const struct {
		struct span payload;
		struct span echo;
		const char *text;
	} rows[] = {
	    {SPAN_OF("\x03\xe8"), SPAN_OF("\x03\xe8"), "1000"},
	    {SPAN_OF("\x03\xe9gone\n"), SPAN_OF("\x03\xe9"), "1001"},
	    {SPAN_OF("\x0f\xa0"), SPAN_OF("\x0f\xa0"), "4000"},
	    {SPAN_OF(""), SPAN_OF(""), "close"},
	};
	struct dial *d = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		up_link(d, LONG_MS);
		cloud_say(&d->cloud, SPAN_OF("last"));
		cloud_send(&d->cloud, WS_CLOSE, true, rows[i].payload);
		cloud_expect(&d->cloud, WS_CLOSE, true, rows[i].echo);
		/* the server is the one to end the connection */
		rig_settle(&d->rig);
		assert_string_equal(d->told, "OL");
		cloud_finish(&d->cloud);
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(d->told, "OLI");
		assert_int_equal(d->why.why, R_CLOUD_CLOSED);
		assert_non_null(strstr(d->why.text, rows[i].text));
		assert_span_equal(buffer_span(&d->data), SPAN_OF("last"));
		cloud_read_all(&d->cloud);
		assert_int_equal(d->cloud.in.n, 0); /* one close frame only */
		assert_false(d->cloud.reset);
	}
}

static void
test_the_cloud_ends_without_a_close_frame(void **state)
{
	struct dial *d = *state;

	for (int i = 0; i < 4; i++) {
		if (i < 2)
			open_link(d);
		else
			up_link(d, LONG_MS);
		cloud_say(&d->cloud, SPAN_OF("last"));
		if (i % 2 == 0) {
			cloud_bye(&d->cloud);
		} else {
			until(&d->rig, d->data.n == 4);
			cloud_reset(&d->cloud);
		}
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(d->told, "OLI");
		assert_int_equal(
		    d->why.why, i % 2 == 0 ? R_CLOUD_CLOSED : R_CLOUD_RESET);
		/* what came before the end is not lost */
		assert_span_equal(buffer_span(&d->data), SPAN_OF("last"));
	}
}

/* A FIN without close_notify, as load balancers do it, is a close, too. */
static void
test_an_end_without_close_notify(void **state)
{
	struct dial *d = *state;

	up_link(d, LONG_MS);
	cloud_say(&d->cloud, SPAN_OF("last"));
	cloud_hang_up(&d->cloud);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "OLI");
	assert_int_equal(d->why.why, R_CLOUD_CLOSED);
	assert_span_equal(buffer_span(&d->data), SPAN_OF("last"));
}

static void
test_close_in_every_state(void **state)
{
	struct dial *d = *state;

	for (int i = 0; i < LINK_STATE_COUNT; i++) {
		enum link_state at = (enum link_state)i;
		bool open = at == LINK_LOGIN || at == LINK_UP;
		bool said = open || at == LINK_CLOSING;
		struct deaf_port deaf;

		reach(d, at, &deaf);
		link_close(&d->link, WS_CLOSE_GOING_AWAY);
		link_close(&d->link, WS_CLOSE_NORMAL); /* changes nothing */
		if (said) {
			cloud_expect(&d->cloud, WS_CLOSE, true,
			    open ? SPAN_OF("\x03\xe9") : SPAN_OF("\x03\xe8"));
			assert_string_equal(d->told, "O");
			cloud_send_close(&d->cloud, WS_CLOSE_NORMAL);
			until(&d->rig, has_told(d, 'I'));
		}
		rig_settle(&d->rig);
		assert_string_equal(d->told, at == LINK_IDLE ? ""
					     : said          ? "OI"
							     : "I");
		assert_int_equal(d->link.state, LINK_IDLE);
		leave(d, &deaf, at);
		cloud_hang_up(&d->cloud);
		d->rig.mute = false;
		d->rig.port_count = 0;
		if (d->rig.asked != NULL)
			rig_resolve(&d->rig, d->rig.asked);
		d->rig.asked = NULL;
		/* and it can be dialled again */
		up_link(d, LONG_MS);
		link_abort(&d->link);
		memset(d->told, 0, sizeof(d->told));
	}
}

static void
test_abort_in_every_state(void **state)
{
	struct dial *d = *state;

	for (int i = 0; i < LINK_STATE_COUNT; i++) {
		enum link_state at = (enum link_state)i;
		struct deaf_port deaf;
		char told[sizeof(d->told)];

		reach(d, at, &deaf);
		(void)strcpy(told, d->told);
		link_abort(&d->link);
		rig_settle(&d->rig);
		assert_string_equal(d->told, told);
		assert_int_equal(d->link.state, LINK_IDLE);
		leave(d, &deaf, at);
		cloud_hang_up(&d->cloud);
		d->rig.mute = false;
		d->rig.port_count = 0;
		if (d->rig.asked != NULL)
			rig_resolve(&d->rig, d->rig.asked);
		d->rig.asked = NULL;
	}
}

/* The cloud is not read to the end after a close: what it sends before its
   close frame is thrown away, the owner gets none of it. */
static void
test_data_behind_our_close(void **state)
{
	struct dial *d = *state;

	up_link(d, LONG_MS);
	link_close(&d->link, WS_CLOSE_NORMAL);
	for (int i = 0; i < 100; i++)
		cloud_say(&d->cloud, SPAN_OF("too late"));
	cloud_expect(&d->cloud, WS_CLOSE, true, SPAN_OF("\x03\xe8"));
	assert_string_equal(d->told, "O");
	cloud_send_close(&d->cloud, WS_CLOSE_NORMAL);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "OI");
	assert_int_equal(d->data.n, 0);
}

static void
test_fail(void **state)
{
	struct dial *d = *state;
	struct fault why;

	(void)fault_set(&why, R_TEXT_MESSAGE, "a text");
	link_fail(&d->link, WS_CLOSE_UNSUPPORTED, &why); /* idle: nothing */
	up_link(d, LONG_MS);
	link_fail(&d->link, WS_CLOSE_UNSUPPORTED, &why);
	assert_string_equal(d->told, "OL");
	assert_int_equal(d->why.why, R_TEXT_MESSAGE);
	link_fail(&d->link, WS_CLOSE_PROTOCOL_ERROR, &why);
	cloud_expect(&d->cloud, WS_CLOSE, true, SPAN_OF("\x03\xeb"));
	cloud_send_close(&d->cloud, WS_CLOSE_UNSUPPORTED);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "OLI");
}

static void fill_link(struct dial *d);

/* The owner has closed: it is not told that the close failed, too. */
static void
test_a_reset_before_our_close(void **state)
{
	struct dial *d = *state;

	up_link(d, LONG_MS);
	rig_settle(&d->rig);
	cloud_reset(&d->cloud); /* what the link has not seen yet */
	link_close(&d->link, WS_CLOSE_NORMAL);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "OI");
}

/* Nothing of one dial is left for the next. */
static void
test_dialled_again(void **state)
{
	struct dial *d = *state;

	up_link(d, LONG_MS);
	fill_link(d);
	link_pause(&d->link, true);
	link_abort(&d->link);
	up_link(d, LONG_MS);
	link_put(&d->link, WS_BINARY, SPAN_OF("not flushed"), false);
	link_abort(&d->link);
	up_link(d, SHORT_MS);
	cloud_say(&d->cloud, SPAN_OF("hello"));
	until(&d->rig, d->data.n == 5);
	cloud_expect(&d->cloud, WS_BINARY, true, SPAN_OF("\xc0\x00"));
}

/* ---- from inside the callbacks ---- */

static void
act_close(struct dial *d)
{
	link_close(&d->link, WS_CLOSE_NORMAL);
}

static void
act_fail(struct dial *d)
{
	struct fault why;

	(void)fault_set(&why, R_BAD_CLOUD_PACKET, "found inside");
	link_fail(&d->link, WS_CLOSE_PROTOCOL_ERROR, &why);
}

static void
act_abort(struct dial *d)
{
	link_abort(&d->link);
}

static void
act_redial(struct dial *d)
{
	link_abort(&d->link);
	link_dial(&d->link, &d->target, 4);
}

/* Runs a dial up to the callback <letter>, in which <act> is called. */
static void
play(struct dial *d, char letter, void (*act)(struct dial *d))
{
	d->act_on = letter;
	d->act = act;
	dial_link(d);
	cloud_welcome(&d->cloud);
	until(&d->rig, has_told(d, 'O'));
	if (letter == 'O')
		return;
	link_logged_in(&d->link, LONG_MS);
	if (letter == 'd' || letter == 'B')
		cloud_say(&d->cloud, SPAN_OF("data"));
	if (letter == 'R') {
		fill_link(d);
		until(&d->rig, (cloud_read(&d->cloud), d->rooms > 0));
	}
	if (letter == 'L')
		cloud_send(&d->cloud, WS_CLOSE, true, SPAN_OF("\x03\xe8"));
	until(&d->rig, d->act_on == '\0');
}

static void
test_the_owner_acts_inside_callbacks(void **state)
{
	static const char letters[] = "OdBRL";
	static const struct {
		void (*act)(struct dial *d);
		bool loses;  /* the owner is told of it */
		bool speaks; /* a close frame is sent, and on_idle comes */
	} acts[] = {
	    {act_close, false, true},
	    {act_fail, true, true},
	    {act_abort, false, false},
	};
	struct dial *d = *state;

	for (const char *l = letters; *l != '\0'; l++) {
		for (size_t i = 0; i < ARRAY_LENGTH(acts); i++) {
			const char *lost;
			bool loses = acts[i].loses || *l == 'L';
			bool answered = false;

			play(d, *l, acts[i].act);
			if (acts[i].speaks) {
				while (!d->cloud.ended) {
					until(&d->rig, cloud_read(&d->cloud) ||
							   has_told(d, 'I'));
					if (d->cloud.ended)
						break;
					if (has_told(d, 'I'))
						cloud_read_all(&d->cloud);
					else if (!answered)
						cloud_send_close(
						    &d->cloud, WS_CLOSE_NORMAL);
					answered = true;
				}
				until(&d->rig, has_told(d, 'I'));
			}
			rig_settle(&d->rig);
			assert_int_equal(d->link.state, LINK_IDLE);
			assert_int_equal(has_told(d, 'I'), acts[i].speaks);
			lost = strchr(d->told, 'L');
			assert_int_equal(lost != NULL, loses);
			if (lost != NULL) /* once */
				assert_null(strchr(lost + 1, 'L'));
			/* idle is told last, and once */
			if (acts[i].speaks)
				assert_ptr_equal(strchr(d->told, 'I'),
				    d->told + strlen(d->told) - 1);
			cloud_hang_up(&d->cloud);
		}
	}
}

static void
test_redialled_inside_callbacks(void **state)
{
	static const char letters[] = "OdBRLI";
	struct dial *d = *state;

	for (const char *l = letters; *l != '\0'; l++) {
		if (*l == 'I') {
			d->act_on = 'I';
			d->act = act_redial;
			up_link(d, LONG_MS);
			cloud_bye(&d->cloud);
		} else {
			play(d, *l, act_redial);
		}
		cloud_welcome(&d->cloud);
		until(&d->rig, d->link.state == LINK_LOGIN);
		rig_settle(&d->rig);
		assert_int_equal(d->told[strlen(d->told) - 1], 'O');
		buffer_free(&d->data);
		cloud_say(&d->cloud, SPAN_OF("fresh"));
		until(&d->rig, d->data.n == 5);
		link_abort(&d->link);
		cloud_hang_up(&d->cloud);
	}
}

/* ---- blocked ---- */

static uint32_t
fill_pattern(uint8_t *bytes, size_t n, uint32_t x)
{
	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
	return x;
}

enum { PIECE = 48 * 1024 };

/* Puts messages until the cloud takes no more; each is the next part of one
   pattern. Returns how many. The last two together are more than both sockets'
   buffers hold, so that it stays blocked until the cloud reads. */
static unsigned
fill_with_pattern(struct dial *d)
{
	static uint8_t bytes[PIECE];
	unsigned n = 0;
	uint32_t x = 0;

	narrow(d);
	while (link_takes(&d->link)) {
		for (int i = 0; i < 2; i++) {
			x = fill_pattern(bytes, PIECE, x);
			link_put(&d->link, WS_BINARY,
			    (struct span){bytes, PIECE}, true);
			n++;
		}
		link_flush(&d->link);
		rig_settle(&d->rig);
	}
	return n;
}

static void
fill_link(struct dial *d)
{
	(void)fill_with_pattern(d);
}

static void
expect_pattern(struct dial *d, unsigned messages)
{
	static uint8_t want[PIECE];
	uint32_t x = 0;

	while (messages-- > 0) {
		x = fill_pattern(want, PIECE, x);
		cloud_expect(
		    &d->cloud, WS_BINARY, true, ((struct span){want, PIECE}));
	}
}

static void
test_blocked_write(void **state)
{
	struct dial *d = *state;
	unsigned n;

	for (int round = 0; round < 2; round++) {
		if (round == 0)
			up_link(d, LONG_MS);
		n = fill_with_pattern(d);
		assert_true(d->link.kept.n > 0);
		assert_true(d->rig.loop->kept_bytes >= d->link.kept.n);
		/* pings while blocked: the last one is answered, behind what
		   is kept */
		cloud_send(&d->cloud, WS_PING, true, SPAN_OF("first"));
		cloud_send(&d->cloud, WS_PING, true, SPAN_OF("last"));
		rig_settle(&d->rig);
		expect_pattern(d, n);
		cloud_expect(&d->cloud, WS_PONG, true, SPAN_OF("last"));
		until(&d->rig, d->rooms > 0);
		assert_string_equal(d->told, "O");
		d->rooms = 0;
		assert_true(link_takes(&d->link));
		assert_null(d->link.kept.p);
		assert_true(cloud_hears_nothing(&d->cloud));
	}
}

/* A close waits for what is kept. */
static void
test_close_while_blocked(void **state)
{
	struct dial *d = *state;
	unsigned n;

	up_link(d, LONG_MS);
	n = fill_with_pattern(d);
	link_close(&d->link, WS_CLOSE_GOING_AWAY);
	assert_false(link_takes(&d->link));
	expect_pattern(d, n);
	cloud_expect(&d->cloud, WS_CLOSE, true, SPAN_OF("\x03\xe9"));
	cloud_send_close(&d->cloud, WS_CLOSE_GOING_AWAY);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "OI");
	cloud_read_all(&d->cloud);
	assert_false(d->cloud.reset);
}

/* The cloud closes while it takes nothing: the link does not wait for ever. */
static void
test_closed_by_the_cloud_while_blocked(void **state)
{
	struct dial *d = *state;

	d->rig.settings->close_timeout_ms = SHORT_MS;
	up_link(d, LONG_MS);
	fill_link(d);
	cloud_send_close(&d->cloud, WS_CLOSE_NORMAL);
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "OLI");
	assert_int_equal(d->why.why, R_CLOUD_CLOSED);
}

static void
test_stuck(void **state)
{
	struct dial *d = *state;

	d->rig.settings->cloud_write_timeout_ms = 2 * SHORT_MS;
	for (int i = 0; i < 2; i++) {
		up_link(d, i == 0 ? 0 : SHORT_MS);
		fill_link(d);
		until(&d->rig, has_told(d, 'I'));
		assert_string_equal(d->told, "OLI");
		assert_int_equal(d->why.why, R_CLOUD_STUCK);
		cloud_hang_up(&d->cloud);
	}
}

/* Data still comes down while the way up is blocked. */
static void
test_reading_while_blocked(void **state)
{
	struct dial *d = *state;
	unsigned n;

	up_link(d, LONG_MS);
	n = fill_with_pattern(d);
	for (int i = 0; i < 10; i++)
		cloud_say(&d->cloud, SPAN_OF("0123456789"));
	until(&d->rig, d->ends == 10);
	assert_int_equal(d->data.n, 100);
	assert_string_equal(d->told, "O");
	expect_pattern(d, n);
}

/* ---- paused ---- */

/* Nothing is handed on while paused, all of it after; also what lies in the
   TLS object already, for which no event comes. */
static void
test_pause(void **state)
{
	static uint8_t sent[40 * 1000];
	struct dial *d = *state;

	(void)fill_pattern(sent, sizeof(sent), 0);
	d->rig.settings->session_buffer_bytes = 4 * 1024; /* reads of 1 KiB */
	up_link(d, LONG_MS);
	for (int i = 0; i < 5; i++) {
		size_t before = d->data.n;

		link_pause(&d->link, true);
		/* one TLS record of 16 KB: 1 KiB of it is read at a time */
		cloud_say(&d->cloud, (struct span){sent, 8000});
		rig_settle(&d->rig);
		assert_int_equal(d->data.n, before);
		link_pause(&d->link, false);
		until(&d->rig, d->data.n == before + 8000);
		assert_memory_equal(
		    buffer_span(&d->data).p + before, sent, 8000);
	}
}

static void
act_pause(struct dial *d)
{
	link_pause(&d->link, true);
}

static void
test_paused_inside_a_batch(void **state)
{
	static uint8_t sent[12 * 1000];
	struct dial *d = *state;

	(void)fill_pattern(sent, sizeof(sent), 7);
	d->rig.settings->session_buffer_bytes = 4 * 1024;
	up_link(d, LONG_MS);
	cloud_say(&d->cloud, (struct span){sent, sizeof(sent)});
	for (size_t before = 0; d->data.n < sizeof(sent);) {
		d->act_on = 'B';
		d->act = act_pause;
		link_pause(&d->link, false);
		until(&d->rig, d->link.paused);
		assert_true(d->data.n > before);
		assert_true(d->data.n <= before + 1024);
		before = d->data.n;
		rig_settle(&d->rig);
		assert_int_equal(d->data.n, before); /* not one byte more */
	}
	assert_span_equal(
	    buffer_span(&d->data), ((struct span){sent, sizeof(sent)}));
}

/* Many links, little memory: a link reads when others have given back. */
static void
test_no_room_for_all(void **state)
{
	static const uint8_t hog[100 * 1000];
	struct dial *d = *state;
	struct buffer kept = {0};

	up_link(d, LONG_MS);
	rig_settle(&d->rig);
	assert_true(
	    loop_keep(d->rig.loop, &kept, (struct span){hog, sizeof(hog)}));
	d->rig.loop->kept_max = d->rig.loop->kept_bytes;
	cloud_say(&d->cloud, SPAN_OF("hello"));
	rig_settle(&d->rig);
	assert_int_equal(d->data.n, 0);
	loop_unkeep(d->rig.loop, &kept, kept.n);
	until(&d->rig, d->data.n == 5);
}

/* ---- pings ---- */

#define PINGREQ SPAN_OF("\xc0\x00")

static void
test_ping_after_silence(void **state)
{
	struct dial *d = *state;
	uint64_t began_ms, took_ms;

	up_link(d, SHORT_MS);
	for (int i = 0; i < 3; i++) {
		began_ms = d->link.wrote_ms;
		cloud_expect(&d->cloud, WS_BINARY, true, PINGREQ);
		took_ms = clock_mono_ms() - began_ms;
		assert_true(took_ms >= SHORT_MS - 5);
		assert_true(d->link.ping_sent_ms != 0);
		link_ponged(&d->link);
	}
	assert_string_equal(d->told, "O");
}

static void
test_no_ping_while_busy(void **state)
{
	enum { BUSY_MS = 300 };
	struct dial *d = *state;
	uint64_t end_ms;

	up_link(d, BUSY_MS);
	end_ms = clock_mono_ms() + 2 * BUSY_MS;
	while (clock_mono_ms() < end_ms) {
		link_put(&d->link, WS_BINARY, SPAN_OF("busy"), true);
		link_flush(&d->link);
		cloud_expect(&d->cloud, WS_BINARY, true, SPAN_OF("busy"));
		rig_wait(&d->rig);
	}
	cloud_expect(&d->cloud, WS_BINARY, true, PINGREQ);
}

static void
test_no_ping_before_login_or_without_interval(void **state)
{
	struct dial *d = *state;

	open_link(d);
	rig_live(&d->rig, 2 * SHORT_MS);
	link_logged_in(&d->link, 0);
	rig_live(&d->rig, 2 * SHORT_MS);
	assert_true(cloud_hears_nothing(&d->cloud));
}

/* The message under way is ended first: a PINGREQ inside would break it. */
static void
test_no_ping_inside_a_message(void **state)
{
	struct dial *d = *state;

	up_link(d, SHORT_MS);
	link_put(&d->link, WS_BINARY, SPAN_OF("one"), false);
	link_flush(&d->link);
	cloud_expect(&d->cloud, WS_BINARY, false, SPAN_OF("one"));
	rig_live(&d->rig, 2 * SHORT_MS);
	assert_true(cloud_hears_nothing(&d->cloud));
	link_put(&d->link, WS_CONTINUATION, SPAN_OF("two"), true);
	link_flush(&d->link);
	cloud_expect(&d->cloud, WS_CONTINUATION, true, SPAN_OF("two"));
	cloud_expect(&d->cloud, WS_BINARY, true, PINGREQ);
}

static void
test_silent(void **state)
{
	struct dial *d = *state;

	d->rig.settings->ping_timeout_ms = SHORT_MS;
	up_link(d, SHORT_MS);
	cloud_expect(&d->cloud, WS_BINARY, true, PINGREQ);
	/* other bytes are no answer */
	cloud_say(&d->cloud, SPAN_OF("data"));
	until(&d->rig, has_told(d, 'I'));
	assert_string_equal(d->told, "OLI");
	assert_int_equal(d->why.why, R_CLOUD_SILENT);
}

/* A cloud that is not read cannot be heard answering. */
static void
test_not_silent_while_paused(void **state)
{
	struct dial *d = *state;
	uint64_t resumed_ms;

	d->rig.settings->ping_timeout_ms = SHORT_MS;
	for (int i = 0; i < 2; i++) { /* paused before or after the ping */
		up_link(d, SHORT_MS);
		link_pause(&d->link, i == 0);
		cloud_expect(&d->cloud, WS_BINARY, true, PINGREQ);
		link_pause(&d->link, true);
		rig_live(&d->rig, 3 * SHORT_MS);
		assert_string_equal(d->told, "O");
		resumed_ms = clock_mono_ms();
		link_pause(&d->link, false);
		assert_string_equal(d->told, "O");
		until(&d->rig, has_told(d, 'I')); /* it counts anew */
		assert_int_equal(d->why.why, R_CLOUD_SILENT);
		assert_true(clock_mono_ms() - resumed_ms >= SHORT_MS - 5);
	}
}

/* The ping's timer must not be lost behind the one of a blocked write. */
static void
test_ping_after_having_been_blocked(void **state)
{
	struct dial *d = *state;
	uint64_t began_ms;
	unsigned n;

	d->rig.settings->cloud_write_timeout_ms = LONG_MS;
	up_link(d, 500);
	n = fill_with_pattern(d);
	expect_pattern(d, n);
	until(&d->rig, d->rooms > 0);
	began_ms = clock_mono_ms();
	cloud_expect(&d->cloud, WS_BINARY, true, PINGREQ);
	assert_true(clock_mono_ms() - began_ms < 5000);
}

/* The cloud gets a ping, and nothing comes back. */
static void
lose_in_silence(struct dial *d)
{
	d->rig.settings->ping_timeout_ms = SHORT_MS;
	up_link(d, SHORT_MS);
	cloud_expect(&d->cloud, WS_BINARY, true, PINGREQ);
	until(&d->rig, has_told(d, 'I'));
	assert_int_equal(d->why.why, R_CLOUD_SILENT);
}

/* Something comes back. */
static void
live_through_silence(struct dial *d)
{
	d->rig.settings->ping_timeout_ms = LONG_MS;
	up_link(d, SHORT_MS);
	cloud_expect(&d->cloud, WS_BINARY, true, PINGREQ);
	cloud_say(&d->cloud, SPAN_OF("data"));
	until(&d->rig, d->data.n > 0);
	link_abort(&d->link);
}

static void
test_idle_links_are_cut(void **state)
{
	struct dial *d = *state;

	d->rig.settings->ping_interval_ms = SHORT_MS;
	d->rig.settings->ping_interval_min_ms = SHORT_MS / 4;
	for (int i = 1; i < IDLE_CUT_PROOFS; i++)
		lose_in_silence(d);
	live_through_silence(d);
	for (int i = 0; i < IDLE_CUT_PROOFS; i++) {
		lose_in_silence(d);
		assert_int_equal(link_ping_interval_ms(&d->link), SHORT_MS);
	}
	up_link(d, SHORT_MS);
	assert_int_equal(link_ping_interval_ms(&d->link), SHORT_MS / 4 * 3);
}

/* What is learned holds for a link that is up, too, from its next ping on. */
static void
test_idle_cut_of_others(void **state)
{
	struct dial *d = *state;
	struct idle_cuts *c = d->rig.env.idle_cuts;
	const struct idle_way way = {"cloud.example", "none", d->target.port};

	d->rig.settings->ping_interval_min_ms = SHORT_MS;
	up_link(d, LONG_MS);
	for (int i = 0; i < IDLE_CUT_PROOFS; i++) {
		uint64_t now_ms = clock_mono_ms();

		idle_cut_lost(c, &way, 2 * SHORT_MS, now_ms, now_ms);
		idle_cut_logged_in(c, &way, now_ms);
	}
	link_ponged(&d->link);
	cloud_expect(&d->cloud, WS_BINARY, true, PINGREQ);
}

#define wss(test) cmocka_unit_test_setup_teardown(test, set_up_wss, tear_down)
#define ws(test) cmocka_unit_test_setup_teardown(test, set_up_ws, tear_down)
/* where plain sockets and TLS differ, and both matter */
#define both(test)                                                             \
	{#test " (wss)", test, set_up_wss, tear_down, NULL},                   \
	{                                                                      \
#test " (ws)", test, set_up_ws, tear_down, NULL                \
	}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rules),
	    wss(test_every_state_has_its_deadline),
	    both(test_closing_has_its_deadline),
	    ws(test_refused),
	    ws(test_the_next_address_is_tried),
	    ws(test_all_addresses_fail),
	    ws(test_a_late_answer),
	    ws(test_no_address),
	    wss(test_whom_it_trusts),
	    wss(test_verify_no_takes_any_certificate),
	    wss(test_server_name_indication),
	    wss(test_the_oldest_version),
	    wss(test_no_tls_at_the_port),
	    wss(test_mqtts_has_no_frames),
	    wss(test_mqtts_closes_in_order),
	    wss(test_mqtts_closes_while_blocked),
	    wss(test_the_next_way_is_tried),
	    wss(test_a_tunnel),
	    wss(test_a_tunnel_outlives_the_map),
	    wss(test_ws_in_a_tls_tunnel),
	    wss(test_no_tunnel),
	    wss(test_resumption),
	    wss(test_a_late_ticket_of_an_old_trust),
	    wss(test_tickets_of_many_hosts),
	    wss(test_trust_without_roots),
	    wss(test_the_request),
	    wss(test_the_request_of_other_hosts),
	    ws(test_the_subprotocol),
	    wss(test_reload_while_the_upgrade_is_answered),
	    wss(test_retry_after),
	    ws(test_upgrade_answer_byte_by_byte),
	    wss(test_data_behind_the_101),
	    wss(test_refused_upgrades),
	    wss(test_an_endless_answer),
	    both(test_messages_out),
	    both(test_messages_of_every_size_out),
	    wss(test_fragments_in),
	    wss(test_a_pong_between_our_fragments),
	    wss(test_many_pings),
	    wss(test_broken_frames),
	    both(test_the_clouds_close_is_echoed),
	    both(test_the_cloud_ends_without_a_close_frame),
	    wss(test_an_end_without_close_notify),
	    wss(test_close_in_every_state),
	    wss(test_abort_in_every_state),
	    both(test_data_behind_our_close),
	    both(test_a_reset_before_our_close),
	    wss(test_dialled_again),
	    wss(test_fail),
	    both(test_the_owner_acts_inside_callbacks),
	    both(test_redialled_inside_callbacks),
	    both(test_blocked_write),
	    both(test_close_while_blocked),
	    both(test_closed_by_the_cloud_while_blocked),
	    wss(test_stuck),
	    wss(test_reading_while_blocked),
	    both(test_pause),
	    both(test_paused_inside_a_batch),
	    both(test_no_room_for_all),
	    wss(test_ping_after_silence),
	    wss(test_no_ping_while_busy),
	    wss(test_no_ping_before_login_or_without_interval),
	    wss(test_no_ping_inside_a_message),
	    wss(test_silent),
	    wss(test_not_silent_while_paused),
	    wss(test_ping_after_having_been_blocked),
	    ws(test_idle_links_are_cut),
	    ws(test_idle_cut_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
