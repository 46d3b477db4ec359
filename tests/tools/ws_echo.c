/*
 * ws_echo: connects to a WebSocket server with the proxy's own link, echoes
 * each message with its own opcode, until the server closes. WebSocket
 * conformance suites try it, and with it codec/ws and link/.
 *
 * A message is answered when it is whole. While an answer goes out the next
 * message is read, and with it pings; when that is whole too, nothing is read.
 * So one message each way is kept at most, and what one read brings.
 */
#include "base/mailbox.h"
#include "link/link.h"

#include <ctype.h>
#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { MESSAGE_MAX_BYTES = 32 << 20, KEPT_MAX_BYTES = 64 << 20 };

enum { CLEAN = 0, FAILED = 1, USAGE = 2 };

/* One to be answered, or on its way in: the last one, until it is whole. */
struct message {
	TAILQ_ENTRY(message) next;
	enum ws_opcode opcode; /* of the next frame of its answer */
	struct buffer bytes;   /* not answered yet */
	bool whole;
};
TAILQ_HEAD(messages, message);

/* How far the text read so far has come into a character. */
struct text {
	unsigned more; /* bytes of it to come; the next one is in this range */
	uint8_t low;
	uint8_t high;
};

struct url {
	char host[CREDENTIAL_HOST_MAX + 1];
	const char *path; /* of the argument */
	uint16_t port;
	enum transport transport;
};

struct echo {
	struct link_env env;
	struct resolver *resolver;
	struct event mail;
	struct credential target;
	struct link link;
	struct messages messages;
	struct text text;
	struct fault why;
};

/* ---- UTF-8 ---- */

/* A byte that is no ASCII and begins a character: RFC 3629 section 4. */
static bool
text_lead(struct text *t, uint8_t c)
{
	if (c < 0xc2 || c > 0xf4)
		return false;
	*t = (struct text){.more = 3, .low = 0x80, .high = 0xbf};
	if (c < 0xe0)
		t->more = 1;
	else if (c < 0xf0)
		t->more = 2;
	if (c == 0xe0)
		t->low = 0xa0;
	else if (c == 0xed)
		t->high = 0x9f;
	else if (c == 0xf0)
		t->low = 0x90;
	else if (c == 0xf4)
		t->high = 0x8f;
	return true;
}

/*
 * Byte by byte, so that a message fails where it is wrong, whatever is still to
 * come of it, as suites want (RFC 6455 8.1). False: not UTF-8.
 */
static bool
text_take(struct text *t, struct span in)
{
	uint8_t c;

	while (span_take_u8(&in, &c)) {
		if (t->more > 0) {
			if (c < t->low || c > t->high)
				return false;
			t->more--;
			t->low = 0x80;
			t->high = 0xbf;
		} else if (c >= 0x80 && !text_lead(t, c)) {
			return false;
		}
	}
	return true;
}

static bool
is_text(struct text *t, const struct ws_event *piece)
{
	if (piece->message_begins)
		*t = (struct text){0};
	return text_take(t, piece->payload) &&
	       (!piece->message_ends || t->more == 0);
}

/* ---- messages ---- */

static struct message *
message_add(struct echo *e, enum ws_opcode opcode)
{
	struct message *m = calloc(1, sizeof(*m));

	if (m == NULL)
		err(FAILED, NULL);
	m->opcode = opcode;
	TAILQ_INSERT_TAIL(&e->messages, m, next);
	return m;
}

static void
message_drop(struct echo *e)
{
	struct message *m = TAILQ_FIRST(&e->messages);

	TAILQ_REMOVE(&e->messages, m, next);
	buffer_free(&m->bytes);
	free(m);
}

/* Puts as much as the link takes. */
static void
answer(struct echo *e)
{
	struct message *m;

	while ((m = TAILQ_FIRST(&e->messages)) != NULL && m->whole &&
	       link_takes(&e->link)) {
		struct span rest = buffer_span(&m->bytes);
		bool ends = rest.n <= LOOP_IN_BYTES;

		if (!ends)
			rest.n = LOOP_IN_BYTES;
		link_put(&e->link, m->opcode, rest, ends);
		m->opcode = WS_CONTINUATION;
		buffer_drop(&m->bytes, rest.n);
		if (ends)
			message_drop(e);
	}
}

/* Writes, and goes on reading unless a second message is waiting. */
static void
carry_on(struct echo *e)
{
	struct message *m = TAILQ_FIRST(&e->messages);

	if (m != NULL)
		m = TAILQ_NEXT(m, next);
	link_flush(&e->link);
	link_pause(&e->link, m != NULL && m->whole);
}

/* ---- what the link tells ---- */

static void
on_open(void *arg)
{
	struct echo *e = arg;

	link_logged_in(&e->link, 0); /* nobody to log in to */
}

static void
on_data(void *arg, const struct ws_event *piece)
{
	struct echo *e = arg;
	struct message *m;
	struct fault why;

	if (piece->opcode == WS_TEXT && !is_text(&e->text, piece)) {
		(void)fault_set(&why, R_BAD_FRAME, "text that is not UTF-8");
		link_fail(&e->link, WS_CLOSE_BAD_DATA, &why);
		return;
	}
	if (piece->message_begins)
		m = message_add(e, piece->opcode);
	else
		m = TAILQ_LAST(&e->messages, messages);
	if (!buffer_append(&m->bytes, piece->payload))
		err(FAILED, NULL);
	if (piece->message_ends) {
		m->whole = true;
		answer(e);
	}
}

static void
on_batch(void *arg)
{
	carry_on(arg);
}

static void
on_room(void *arg)
{
	answer(arg);
	carry_on(arg);
}

static void
on_lost(void *arg, const struct fault *why)
{
	struct echo *e = arg;

	e->why = *why;
}

static void
on_idle(void *arg)
{
	struct echo *e = arg;

	e->env.loop->stop = true;
}

static const struct link_owner owner = {
    .on_open = on_open,
    .on_data = on_data,
    .on_batch = on_batch,
    .on_room = on_room,
    .on_lost = on_lost,
    .on_idle = on_idle,
};

/* The closing handshake was begun by the server, and our answer has been
   written. */
static bool
closed_cleanly(const struct echo *e)
{
	return e->why.why == R_CLOUD_CLOSED && e->link.close_seen &&
	       !e->link.close_due && e->link.blocked_ms == 0;
}

/* ---- one thread is loop, worker and door ---- */

static void
open_lookup(struct letter *letter, void *arg)
{
	struct echo *e = arg;

	resolver_ask(e->resolver, (struct lookup *)letter);
}

static void
on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct echo *e = arg;

	(void)fd;
	(void)what;
	mailbox_open_all(e->env.mailbox, e);
}

static void
furnish(struct echo *e, struct settings *settings)
{
	struct link_env *env = &e->env;
	struct fault why;

	env->settings = settings;
	env->max_message_bytes = MESSAGE_MAX_BYTES;
	env->loop = loop_new(KEPT_MAX_BYTES);
	env->mailbox = mailbox_new();
	env->tickets = tickets_new();
	env->holdoffs = holdoffs_new();
	env->habits = habits_new();
	env->egress_memory = egress_memory_new();
	if (env->loop == NULL || env->mailbox == NULL || env->tickets == NULL ||
	    env->holdoffs == NULL)
		err(FAILED, NULL);
	env->trust = trust_new(settings, &why);
	if (env->trust == NULL)
		errx(FAILED, "%s", why.text);
	env->resolver_mailbox = env->mailbox;
	env->resolver_open = open_lookup;
	e->resolver = resolver_new(env->loop->base, settings, NULL);
	(void)event_assign(&e->mail, env->loop->base, mailbox_fd(env->mailbox),
	    EV_READ | EV_PERSIST, on_mail, e);
	if (e->resolver == NULL || event_add(&e->mail, NULL) != 0)
		err(FAILED, NULL);
	TAILQ_INIT(&e->messages);
}

static void
unfurnish(struct echo *e)
{
	while (!TAILQ_EMPTY(&e->messages))
		message_drop(e);
	resolver_free(&e->resolver);
	mailbox_open_all(e->env.mailbox, e); /* a look-up that came too late */
	(void)event_del(&e->mail);
	tickets_free(&e->env.tickets);
	holdoffs_free(&e->env.holdoffs);
	habits_free(&e->env.habits);
	egress_memory_free(&e->env.egress_memory);
	trust_unref(e->env.trust);
	mailbox_free(&e->env.mailbox);
	loop_free(&e->env.loop);
}

/* ---- command line ---- */

static const char usage[] =
    "usage: ws_echo [--ca FILE] [--subprotocol WORD] URL\n"
    "  URL                 ws://HOST[:PORT][/PATH] or wss://...\n"
    "  --ca FILE           the trusted roots (PEM), not the system's\n"
    "  --subprotocol WORD  to ask for; none without\n";

/* Takes "host", "host:port", "[::1]" or "[::1]:port" off <in>. */
static bool
take_authority(const char **in, struct url *out)
{
	bool literal6 = **in == '[';
	const char *host = *in + literal6;
	size_t n = strcspn(host, literal6 ? "]" : ":/?");
	const char *rest = host + n;
	unsigned long port;
	char *end;

	if (n == 0 || n >= sizeof(out->host) || (literal6 && *rest++ != ']'))
		return false;
	memcpy(out->host, host, n);
	out->host[n] = '\0';
	out->port = out->transport == TRANSPORT_WSS ? 443 : 80;
	if (*rest == ':') {
		port = strtoul(rest + 1, &end, 10);
		if (!isdigit((unsigned char)rest[1]) || port == 0 ||
		    port > UINT16_MAX)
			return false;
		out->port = (uint16_t)port;
		rest = end;
	}
	*in = rest;
	return true;
}

static bool
url_read(const char *in, struct url *out)
{
	for (const char *c = in; *c != '\0'; c++)
		if (!isgraph((unsigned char)*c) || *c == '#')
			return false;
	if (strncmp(in, "wss://", 6) == 0)
		out->transport = TRANSPORT_WSS;
	else if (strncmp(in, "ws://", 5) == 0)
		out->transport = TRANSPORT_WS;
	else
		return false;
	in = strstr(in, "://") + 3;
	if (!take_authority(&in, out))
		return false;
	out->path = *in != '\0' ? in : "/";
	return out->path[0] == '/';
}

/* False: it does not fit. */
static bool
set_text(setting_TEXT *to, const char *value)
{
	return snprintf(*to, sizeof(*to), "%s", value) < (int)sizeof(*to);
}

static bool
arguments_read(
    int argc, char **argv, struct settings *settings, struct url *out)
{
	static const struct option options[] = {
	    {"ca", required_argument, NULL, 'c'},
	    {"subprotocol", required_argument, NULL, 's'},
	    {NULL, 0, NULL, 0},
	};
	bool fit = set_text(&settings->cloud_subprotocol, "");
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'c') {
			fit = fit && set_text(&settings->tls_ca_file, optarg);
			settings->tls_system_roots = false;
		} else if (option == 's') {
			fit = fit &&
			      set_text(&settings->cloud_subprotocol, optarg);
		} else {
			return false;
		}
	}
	return fit && optind == argc - 1 && url_read(argv[optind], out);
}

int
main(int argc, char **argv)
{
	struct complaints none = {0};
	struct settings *settings = settings_load(NULL, &none);
	struct echo e = {0};
	struct url url;
	bool clean;

	if (settings == NULL)
		err(FAILED, NULL);
	if (!arguments_read(argc, argv, settings, &url)) {
		settings_unref(settings);
		(void)fputs(usage, stderr);
		return USAGE;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	furnish(&e, settings);
	e.target = (struct credential){.host = url.host,
	    .port = url.port,
	    .path = url.path,
	    .server_name = url.host,
	    .transports = {1, {(uint8_t)url.transport}}};
	link_init(&e.link, &e.env, &owner, &e);
	link_dial(&e.link, &e.target, 0);
	loop_run(e.env.loop);
	clean = closed_cleanly(&e);
	if (!clean)
		warnx("%s: %s", reason_word(e.why.why), e.why.text);
	unfurnish(&e);
	settings_unref(settings);
	return clean ? CLEAN : FAILED;
}
