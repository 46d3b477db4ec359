/*
 * The resolver against DNS servers of the test's own, which say what the test
 * wants. To be linked with -Wl,--wrap=clock_mono_ms.
 */
#include "link/known_names.h"
#include "link/resolv_conf.h"
#include "link/resolver.h"

#include "rig.h"

#include <ctype.h>

/* Time that the test has let pass; 0, or when the clock stands still. */
static uint64_t passed_ms, stands_ms;

uint64_t __real_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void);

uint64_t
__wrap_clock_mono_ms(void)
{
	return (stands_ms != 0 ? stands_ms : __real_clock_mono_ms()) +
	       passed_ms;
}

/* ---- a DNS server ---- */

enum { TYPE_A = 1, TYPE_AAAA = 28 };

enum say {
	SAY_ADDRESSES,
	SAY_NOTHING,
	SAY_NO_NAME,
	SAY_NO_DATA,
	SAY_FAILED,
	SAY_NOT_UNDERSTOOD,
	SAY_NOT_DONE,
	SAY_REFUSED,
	SAY_CUT,
	SAY_NONSENSE
};

struct voice {
	enum say what;
	unsigned count; /* 192.0.2.1 or 2001:db8::1, and the following */
	uint32_t ttl_s;
};

struct dns_server {
	int fd;
	uint16_t port;
	struct event io;
	struct voice a, aaaa;
	const char *only; /* other names are not there; NULL: every name is */
	unsigned questions;
	char asked[2048]; /* "A name\n" or "AAAA name\n" each */
	/* the question that was not answered last */
	uint8_t held[512];
	size_t held_n;
	struct sockaddr_in held_from;
};

static uint8_t *
put(uint8_t *at, const void *bytes, size_t n)
{
	memcpy(at, bytes, n);
	return at + n;
}

static uint8_t *
put16(uint8_t *at, unsigned n)
{
	return put(at, (uint8_t[]){(uint8_t)(n >> 8), (uint8_t)n}, 2);
}

static uint8_t *
put_addresses(uint8_t *at, unsigned type, const struct voice *v)
{
	uint8_t v4[4] = {192, 0, 2, 0};
	uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8};

	for (unsigned i = 1; i <= v->count; i++) {
		v4[3] = v6[15] = (uint8_t)i;
		at = put16(at, 0xc00c); /* the name of the question */
		at = put16(at, type);
		at = put16(at, 1);
		at = put16(at, v->ttl_s >> 16);
		at = put16(at, v->ttl_s & 0xffff);
		at = put16(at, type == TYPE_A ? 4 : 16);
		at = type == TYPE_A ? put(at, v4, 4) : put(at, v6, 16);
	}
	return at;
}

/* The answer to a question; returns its length, 0: none. */
static size_t
compose(const struct voice *v, unsigned type, const uint8_t *question, size_t n,
    uint8_t *out)
{
	static const unsigned flags[] = {
	    [SAY_NO_NAME] = 3,
	    [SAY_FAILED] = 2,
	    [SAY_NOT_UNDERSTOOD] = 1,
	    [SAY_NOT_DONE] = 4,
	    [SAY_REFUSED] = 5,
	    [SAY_CUT] = 0x0200,
	    [SAY_NONSENSE] = 0,
	};
	uint8_t *at = out + n;

	if (v->what == SAY_NOTHING)
		return 0;
	memcpy(out, question, n);
	(void)put16(out + 2, 0x8180 | flags[v->what]);
	if (v->what == SAY_NONSENSE) {
		out[12] = 'x'; /* another name */
		return n;
	}
	if (v->what == SAY_ADDRESSES) {
		(void)put16(out + 6, v->count);
		at = put_addresses(at, type, v);
	}
	return (size_t)(at - out);
}

/* The name of a question, and its type. */
static unsigned
read_question(const uint8_t *question, size_t n, char name[static 256])
{
	size_t at = 12, out = 0;

	while (at < n && question[at] != 0) {
		size_t label = question[at++];

		assert_true(at + label < n && out + label + 1 < 256);
		memcpy(name + out, question + at, label);
		out += label;
		at += label;
		name[out++] = '.';
	}
	assert_true(out > 0 && at + 5 == n);
	name[out - 1] = '\0';
	return (unsigned)question[at + 1] << 8 | question[at + 2];
}

static void
reply(struct dns_server *s, const uint8_t *question, size_t n,
    const struct sockaddr_in *to)
{
	static const struct voice no_name = {.what = SAY_NO_NAME};
	uint8_t out[2048];
	char name[256];
	unsigned type = read_question(question, n, name);
	const struct voice *v = type == TYPE_A ? &s->a : &s->aaaa;
	size_t out_n;

	if (s->only != NULL && strcmp(s->only, name) != 0)
		v = &no_name;
	out_n = compose(v, type, question, n, out);
	if (out_n > 0)
		assert_int_equal(sendto(s->fd, out, out_n, 0,
				     (const struct sockaddr *)to, sizeof(*to)),
		    out_n);
	else if (n <= sizeof(s->held)) {
		memcpy(s->held, question, n);
		s->held_n = n;
		s->held_from = *to;
	}
}

static void
on_question(evutil_socket_t fd, short what, void *arg)
{
	struct dns_server *s = arg;
	struct sockaddr_in from;
	socklen_t from_n = sizeof(from);
	uint8_t question[512];
	char name[256];
	size_t at = strlen(s->asked);
	ssize_t n = recvfrom(fd, question, sizeof(question), 0,
	    (struct sockaddr *)&from, &from_n);

	(void)what;
	assert_true(n > 0);
	s->questions++;
	(void)snprintf(s->asked + at, sizeof(s->asked) - at, "%s %s\n",
	    read_question(question, (size_t)n, name) == TYPE_A ? "A" : "AAAA",
	    name);
	reply(s, question, (size_t)n, &from);
}

/* What was held back is answered after all. */
static void
release(struct dns_server *s)
{
	assert_true(s->held_n > 0);
	reply(s, s->held, s->held_n, &s->held_from);
	s->held_n = 0;
}

static void
say(struct dns_server *s, enum say a, enum say aaaa)
{
	s->a.what = a;
	s->aaaa.what = aaaa;
}

/* Exactly these were asked since the last look, in any order of the two. */
static void
assert_asked(struct dns_server *s, const char *name)
{
	char one[600], other[600];

	(void)snprintf(one, sizeof(one), "AAAA %s\nA %s\n", name, name);
	(void)snprintf(other, sizeof(other), "A %s\nAAAA %s\n", name, name);
	if (name[0] == '\0')
		assert_string_equal(s->asked, "");
	else if (strcmp(s->asked, one) != 0)
		assert_string_equal(s->asked, other);
	s->asked[0] = '\0';
}

static void
server_open(struct dns_server *s, struct event_base *base)
{
	struct sockaddr_in at = {
	    .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t n = sizeof(at);

	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&at, n), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &n), 0);
	s->port = ntohs(at.sin_port);
	s->a = s->aaaa =
	    (struct voice){.what = SAY_ADDRESSES, .count = 1, .ttl_s = 60};
	(void)event_assign(
	    &s->io, base, s->fd, EV_READ | EV_PERSIST, on_question, s);
	assert_int_equal(event_add(&s->io, NULL), 0);
}

static void
server_close(struct dns_server *s)
{
	(void)event_del(&s->io);
	(void)close(s->fd);
}

/* ---- the desk that asks ---- */

enum { SERVERS = 3 };

struct desk {
	struct rig rig;
	struct dns_server servers[SERVERS];
	char hosts[256], resolv_conf[256];
	struct resolver_files files;
	struct settings *settings;
	struct resolver *resolver;
	unsigned back; /* look-ups that are */
};

static void
write_hosts(struct desk *d, const char *text)
{
	(void)scratch_write(d->rig.scratch, "hosts", span_of_string(text));
}

static void
write_resolv_conf(struct desk *d, const char *text)
{
	(void)scratch_write(
	    d->rig.scratch, "resolv.conf", span_of_string(text));
}

static void
set(struct desk *d, const char *timeout, const char *nameservers)
{
	char text[256];

	settings_unref(d->settings);
	(void)snprintf(text, sizeof(text),
	    "[cloud]\nresolve_timeout = %s\nnameservers = %s\n", timeout,
	    nameservers);
	d->settings = settings_load(
	    scratch_write(d->rig.scratch, "proxy.ini", span_of_string(text)),
	    &d->rig.scratch->complaints);
	assert_non_null(d->settings);
	if (d->resolver != NULL)
		resolver_reload(d->resolver, d->settings);
}

/* The first <count> servers. */
static void
set_servers(struct desk *d, const char *timeout, unsigned count)
{
	char list[64] = "";

	for (unsigned i = 0; i < count; i++)
		(void)snprintf(list + strlen(list), sizeof(list) - strlen(list),
		    " 127.0.0.1:%u", d->servers[i].port);
	set(d, timeout, list);
}

static int
set_up(void **state)
{
	struct desk *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	*state = d;
	passed_ms = stands_ms = 0;
	rig_open(&d->rig);
	for (int i = 0; i < SERVERS; i++)
		server_open(&d->servers[i], d->rig.loop->base);
	(void)snprintf(
	    d->hosts, sizeof(d->hosts), "%s/hosts", d->rig.scratch->folder);
	(void)snprintf(d->resolv_conf, sizeof(d->resolv_conf), "%s/resolv.conf",
	    d->rig.scratch->folder);
	d->files = (struct resolver_files){d->hosts, d->resolv_conf};
	/* of this machine's own name nothing is searched */
	write_resolv_conf(d, "search .\n");
	set_servers(d, "10s", 1);
	d->resolver = resolver_new(d->rig.loop->base, d->settings, &d->files);
	assert_non_null(d->resolver);
	return 0;
}

static int
tear_down(void **state)
{
	struct desk *d = *state;

	resolver_free(&d->resolver);
	assert_null(d->resolver);
	resolver_free(&d->resolver);
	for (int i = 0; i < SERVERS; i++)
		server_close(&d->servers[i]);
	settings_unref(d->settings);
	rig_close(&d->rig);
	free(d);
	return 0;
}

static void
on_back(struct lookup *l)
{
	struct desk *d = l->link;

	d->back++;
	rig_wake(&d->rig);
}

static struct lookup *
start(struct desk *d, const char *host, uint16_t port)
{
	struct lookup *l = calloc(1, sizeof(*l));

	assert_non_null(l);
	(void)snprintf(l->host, sizeof(l->host), "%s", host);
	l->port = port;
	l->reply_to = d->rig.mailbox;
	l->on_answer = on_back;
	l->link = d;
	resolver_ask(d->resolver, l);
	return l;
}

/* The addresses as text, with blanks between them; or the reason. */
static const char *
shown(const struct lookup *l)
{
	static char out[1024];
	char text[ADDRESS_WRITTEN_MAX];

	if (l->count == 0)
		return reason_word(l->why.why);
	out[0] = '\0';
	for (unsigned i = 0; i < l->count; i++)
		(void)snprintf(out + strlen(out), sizeof(out) - strlen(out),
		    "%s%s", i > 0 ? " " : "",
		    address_write(text, &l->addresses[i]));
	return out;
}

/* Asks, waits, and compares. */
static void
check_text(
    struct desk *d, const char *host, const char *want, const char *fault_text)
{
	unsigned back = d->back;
	struct lookup *l = start(d, host, 443);

	until(&d->rig, d->back > back);
	assert_int_equal(d->back, back + 1);
	assert_string_equal(shown(l), want);
	if (strstr(l->why.text, fault_text) == NULL)
		fail_msg("'%s' is not in '%s'", fault_text, l->why.text);
	free(l);
}

static void
check(struct desk *d, const char *host, const char *want)
{
	check_text(d, host, want, "");
}

static const char both[] = "[2001:db8::1]:443 192.0.2.1:443";

/* ---- numbers and files ---- */

static void
test_numbers_ask_nobody(void **state)
{
	struct desk *d = *state;

	set_servers(d, "50ms", 0);
	check(d, "192.0.2.7", "192.0.2.7:443");
	check(d, "2001:db8::7", "[2001:db8::7]:443");
	check(d, "fe80::7%lo", "[fe80::7%lo]:443");
}

static void
test_the_hosts_file_comes_first(void **state)
{
	struct desk *d = *state;

	write_hosts(d, "# of the administrator\n"
		       "192.0.2.50\tother.test\n"
		       "bad line\n"
		       "nonsense cloud.test\n"
		       "192.0.2.51 gate.test Cloud.TEST  # cloud\n"
		       "2001:db8::51 cloud.test.\n"
		       "  2001:db8::52\tx y cloud.test\r\n"
		       "192.0.2.53 #cloud.test\n"
		       "192.0.2.55 z # cloud.test\n"
		       "192.0.2.54");
	check(d, "cloud.test", "192.0.2.51:443 [2001:db8::52]:443");
	check(d, "cLOUD.test", "192.0.2.51:443 [2001:db8::52]:443");
	check(d, "gate.test", "192.0.2.51:443");
	assert_asked(&d->servers[0], "");
	check(d, "test", both);
	assert_asked(&d->servers[0], "test");
}

static void
test_eight_of_many_in_the_hosts_file(void **state)
{
	struct desk *d = *state;
	char text[512] = "";

	for (int i = 1; i <= 9; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
		    "192.0.2.%d cloud.test\n", i);
	write_hosts(d, text);
	check(d, "cloud.test",
	    "192.0.2.1:443 192.0.2.2:443 192.0.2.3:443 192.0.2.4:443"
	    " 192.0.2.5:443 192.0.2.6:443 192.0.2.7:443 192.0.2.8:443");
}

static void
test_a_changed_hosts_file_counts_at_once(void **state)
{
	struct desk *d = *state;

	check(d, "cloud.test", both);
	check(d, "other.test", both);
	assert_int_equal(d->servers[0].questions, 4);
	write_hosts(d, "192.0.2.50 cloud.test\n");
	check(d, "cloud.test", "192.0.2.50:443");
	/* what was kept is forgotten too */
	check(d, "other.test", both);
	assert_int_equal(d->servers[0].questions, 6);
	write_hosts(d, "192.0.2.51 cloud.test\n192.0.2.51 other.test\n");
	check(d, "cloud.test", "192.0.2.51:443");
	check(d, "other.test", "192.0.2.51:443");
	assert_int_equal(unlink(d->hosts), 0);
	check(d, "cloud.test", both);
	assert_int_equal(d->servers[0].questions, 8);
}

static void
assert_known(struct known_names *names, const char *host, unsigned expected)
{
	struct address found[ADDRESS_LIST_MAX];
	unsigned count;

	assert_int_equal(
	    known_names_find(names, host, found, &count), expected > 0);
	if (expected > 0)
		assert_int_equal(count, expected);
}

/* Links look there without asking. */
static void
test_known_names(void **state)
{
	struct desk *d = *state;
	struct known_names *names =
	    known_names_ref(resolver_names(d->resolver));

	assert_known(names, "192.0.2.9", 1);
	assert_known(names, "cloud.test", 0);
	check(d, "cloud.test", both);
	assert_known(names, "Cloud.TEST", 2);
	assert_known(names, "other.test", 0);
	/* at once, though nobody has looked */
	write_hosts(d, "192.0.2.50 cloud.test\n");
	assert_known(names, "cloud.test", 0);
	check(d, "cloud.test", "192.0.2.50:443");
	assert_known(names, "cloud.test", 1);
	write_resolv_conf(d, "search test.\n");
	assert_known(names, "cloud.test", 0);
	check(d, "cloud.test", "192.0.2.50:443");
	assert_known(names, "cloud.test", 1);
	resolver_reload(d->resolver, d->settings);
	assert_known(names, "cloud.test", 0);
	check(d, "cloud.test", "192.0.2.50:443");
	passed_ms += 60 * 60 * 1000;
	assert_known(names, "cloud.test", 0);
	resolver_free(&d->resolver);
	assert_known(names, "cloud.test", 0);
	known_names_unref(names);
}

static void
test_localhost_is_here(void **state)
{
	struct desk *d = *state;

	check(d, "localhost", "[::1]:443 127.0.0.1:443");
	check(d, "cloud.LocalHost", "[::1]:443 127.0.0.1:443");
	assert_asked(&d->servers[0], "");
	check(d, "notlocalhost", both);
	write_hosts(d, "127.0.0.1 localhost\n");
	check(d, "localhost", "127.0.0.1:443");
}

static void
test_resolv_conf(void **state)
{
	struct desk *d = *state;
	char text[ADDRESS_WRITTEN_MAX];
	struct resolv_conf conf;

	write_resolv_conf(d, "# comment\n; comment\n\n"
			     "nameserver\t192.0.2.53\n"
			     "nameserver nonsense\n"
			     "nameserver fe80::53%lo # comment\n"
			     "nameserver\n"
			     "domain first.test\n"
			     "search  .second.test\tthird.test .\r\n"
			     "options rotate ndots:2 timeout:30\n"
			     " nameserver 192.0.2.54\n"
			     "nameserver 192.0.2.55");
	resolv_conf_read(&conf, d->resolv_conf);
	assert_int_equal(conf.server_count, 3);
	assert_false(conf.server_assumed);
	assert_string_equal(
	    address_write(text, &conf.servers[0]), "192.0.2.53:53");
	assert_string_equal(
	    address_write(text, &conf.servers[1]), "[fe80::53%lo]:53");
	assert_string_equal(
	    address_write(text, &conf.servers[2]), "192.0.2.54:53");
	assert_int_equal(conf.search_count, 2);
	assert_string_equal(conf.search[0], "second.test");
	assert_string_equal(conf.search[1], "third.test");
	assert_int_equal(conf.ndots, 2);

	write_resolv_conf(d, "options ndots:99\nsearch 1 2 3 4 5 6 7 8\n");
	resolv_conf_read(&conf, d->resolv_conf);
	assert_int_equal(conf.ndots, 15);
	assert_int_equal(conf.search_count, RESOLV_CONF_SEARCH_MAX);

	assert_int_equal(unlink(d->resolv_conf), 0);
	resolv_conf_read(&conf, d->resolv_conf);
	assert_int_equal(conf.server_count, 1);
	assert_true(conf.server_assumed);
	assert_string_equal(
	    address_write(text, &conf.servers[0]), "127.0.0.1:53");
	assert_int_equal(conf.ndots, 1);
}

static void
test_search_domains(void **state)
{
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];

	s->only = "cloud.third.test";
	write_resolv_conf(d, "search second.test third.test\n");
	check(d, "cloud", both);
	assert_non_null(strstr(s->asked, " cloud.second.test\n"));
	assert_int_equal(s->questions, 4);
	/* a file that has changed counts at once */
	s->only = "cloud";
	write_resolv_conf(d, "search second.test\n");
	check(d, "cloud", both);
	assert_int_equal(s->questions, 8);
	/* enough dots: as it is at first */
	s->only = "cloud.x";
	check(d, "cloud.x", both);
	assert_int_equal(s->questions, 10);
	s->only = "cloud.y.second.test";
	check(d, "cloud.y", both);
	assert_int_equal(s->questions, 14);
	write_resolv_conf(d, "search second.test\noptions ndots:2\n");
	check(d, "cloud.y", both);
	assert_int_equal(s->questions, 16);
	/* a dot at the end: nothing is put behind it */
	check_text(d, "cloud.y.", "resolve_failed", "no such name");
	assert_int_equal(s->questions, 18);
	check_text(d, "cloud.z", "resolve_failed", "no such name");
	assert_int_equal(s->questions, 22);
	/* one that has no address does not hide the next; nor does a name that
	   gets too long */
	s->only = NULL;
	say(s, SAY_NO_DATA, SAY_NO_DATA);
	check_text(d, "cloud", "resolve_failed", "has no address");
	assert_int_equal(s->questions, 26);
}

/* ---- answers ---- */

static void
test_by_turns_v6_first(void **state)
{
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];

	s->a.count = 3;
	s->aaaa.count = 2;
	check(d, "cloud.test",
	    "[2001:db8::1]:443 192.0.2.1:443 [2001:db8::2]:443 192.0.2.2:443"
	    " 192.0.2.3:443");
	s->a.count = 20;
	s->aaaa.count = 1;
	check(d, "many.test",
	    "[2001:db8::1]:443 192.0.2.1:443 192.0.2.2:443 192.0.2.3:443"
	    " 192.0.2.4:443 192.0.2.5:443 192.0.2.6:443 192.0.2.7:443");
	say(s, SAY_NO_DATA, SAY_ADDRESSES);
	check(d, "six.test", "[2001:db8::1]:443");
	/* liars say so of a name that has A only */
	say(s, SAY_ADDRESSES, SAY_NO_NAME);
	s->a.count = 1;
	check(d, "four.test", "192.0.2.1:443");
}

static void
test_names_are_asked_in_small_letters(void **state)
{
	struct desk *d = *state;

	check(d, "Cloud.TEST", both);
	assert_asked(&d->servers[0], "cloud.test");
	check(d, "cloud.test", both);
	assert_asked(&d->servers[0], "");
}

static void
test_aaaa_is_not_waited_for_long(void **state)
{
	struct desk *d = *state;
	uint64_t began_ms = clock_mono_ms();

	say(&d->servers[0], SAY_ADDRESSES, SAY_NOTHING);
	check(d, "cloud.test", "192.0.2.1:443");
	assert_true(clock_mono_ms() - began_ms >= 40);
	assert_asked(&d->servers[0], "cloud.test");
	stands_ms = clock_mono_ms() - 500;
	/* half an answer is kept for the least time */
	check(d, "cloud.test", "192.0.2.1:443");
	assert_asked(&d->servers[0], "");
	passed_ms += 1500;
	say(&d->servers[0], SAY_ADDRESSES, SAY_ADDRESSES);
	check(d, "cloud.test", both);
	/* so is one whose other half has failed */
	say(&d->servers[0], SAY_ADDRESSES, SAY_FAILED);
	check(d, "half.test", "192.0.2.1:443");
	passed_ms += 1001;
	say(&d->servers[0], SAY_ADDRESSES, SAY_ADDRESSES);
	check(d, "half.test", both);
}

static void
test_aaaa_in_time(void **state)
{
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];
	struct lookup *l;

	say(s, SAY_ADDRESSES, SAY_NOTHING);
	l = start(d, "cloud.test", 443);
	until(&d->rig, s->questions == 2);
	say(s, SAY_ADDRESSES, SAY_ADDRESSES);
	release(s);
	until(&d->rig, d->back == 1);
	assert_string_equal(shown(l), both);
	free(l);
}

static void
test_a_is_waited_for(void **state)
{
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];
	struct lookup *l;

	say(s, SAY_NOTHING, SAY_ADDRESSES);
	l = start(d, "cloud.test", 443);
	until(&d->rig, s->questions == 2);
	rig_live(&d->rig, 100); /* longer than for AAAA */
	assert_int_equal(d->back, 0);
	say(s, SAY_ADDRESSES, SAY_ADDRESSES);
	release(s);
	until(&d->rig, d->back == 1);
	assert_string_equal(shown(l), both);
	free(l);
	/* to the end: then what is there is taken */
	set_servers(d, "100ms", 1);
	say(s, SAY_NOTHING, SAY_ADDRESSES);
	check(d, "six.test", "[2001:db8::1]:443");
}

/* ---- what is kept ---- */

static void
test_kept_for_the_least_ttl(void **state)
{
	static const struct {
		uint32_t a_s, aaaa_s;
		uint64_t kept_ms;
	} rows[] = {
	    {60, 60, 60 * 1000}, {60, 20, 20 * 1000}, {5, 20, 5 * 1000},
	    {0, 20, 1000}, {86400, 86400, 3600 * 1000},
	    {0xffffffff, 30, 1000}, /* RFC 2181 8: as 0 */
	};
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];

	stands_ms = clock_mono_ms();
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		s->a.ttl_s = rows[i].a_s;
		s->aaaa.ttl_s = rows[i].aaaa_s;
		passed_ms += 3601 * 1000;
		check(d, "cloud.test", both);
		assert_asked(s, "cloud.test");
		passed_ms += rows[i].kept_ms - 1;
		check(d, "cloud.test", both);
		assert_asked(s, "");
		passed_ms++;
		check(d, "cloud.test", both);
		assert_asked(s, "cloud.test");
	}
}

/* A half that is not there has no TTL that counts. */
static void
test_kept_with_one_half(void **state)
{
	struct desk *d = *state;

	say(&d->servers[0], SAY_ADDRESSES, SAY_NO_DATA);
	check(d, "cloud.test", "192.0.2.1:443");
	passed_ms += 59 * 1000;
	check(d, "cloud.test", "192.0.2.1:443");
	assert_asked(&d->servers[0], "cloud.test");
}

static void
test_a_thousand_ask_once(void **state)
{
	enum { DEVICES = 1000 };
	struct desk *d = *state;
	struct lookup *all[DEVICES];

	for (uint16_t i = 0; i < DEVICES; i++)
		all[i] = start(d, "cloud.test", (uint16_t)(1000 + i));
	until(&d->rig, d->back == DEVICES);
	rig_settle(&d->rig);
	assert_int_equal(d->back, DEVICES);
	for (unsigned i = 0; i < DEVICES; i++) {
		char want[64];

		(void)snprintf(want, sizeof(want),
		    "[2001:db8::1]:%u 192.0.2.1:%u", 1000 + i, 1000 + i);
		assert_string_equal(shown(all[i]), want);
		free(all[i]);
	}
	/* others come later */
	check(d, "CLOUD.test", both);
	assert_asked(&d->servers[0], "cloud.test");
}

static void
test_the_oldest_names_are_dropped(void **state)
{
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];
	char host[32];

	for (int i = 0; i <= 256; i++) {
		(void)snprintf(host, sizeof(host), "cloud-%d.test", i);
		check(d, host, both);
		s->asked[0] = '\0';
	}
	check(d, "cloud-1.test", both);
	check(d, "cloud-256.test", both);
	assert_asked(s, "");
	check(d, "cloud-0.test", both);
	assert_asked(s, "cloud-0.test");
	check(d, "cloud-1.test", both);
	assert_asked(s, "cloud-1.test");
}

static void
test_reloaded_and_forgotten(void **state)
{
	struct desk *d = *state;
	struct dns_server *other = &d->servers[1];
	static const char three[] =
	    "[2001:db8::1]:443 192.0.2.1:443 192.0.2.2:443";
	char list[64];
	struct lookup *l, *next;

	check(d, "cloud.test", both);
	set_servers(d, "10s", 1);
	check(d, "cloud.test", both);
	assert_int_equal(d->servers[0].questions, 4);
	/* what was asked before a change is of no use after it */
	say(&d->servers[0], SAY_NOTHING, SAY_ADDRESSES);
	l = start(d, "late.test", 443);
	until(&d->rig, d->servers[0].questions == 6);
	(void)snprintf(list, sizeof(list), "127.0.0.1:%u", other->port);
	set(d, "10s", list);
	other->a.count = 2;
	say(other, SAY_NOTHING, SAY_ADDRESSES);
	next = start(d, "late.test", 443);
	until(&d->rig, other->questions == 2);
	say(&d->servers[0], SAY_ADDRESSES, SAY_ADDRESSES);
	release(&d->servers[0]);
	until(&d->rig, d->back == 3);
	assert_string_equal(shown(l), both);
	say(other, SAY_ADDRESSES, SAY_ADDRESSES);
	release(other);
	until(&d->rig, d->back == 4);
	assert_string_equal(shown(next), three);
	check(d, "late.test", three);
	assert_int_equal(other->questions, 2);
	free(l);
	free(next);
}

/* ---- failures ---- */

static void
test_failures_in_words(void **state)
{
	static const struct {
		enum say what;
		const char *text;
	} rows[] = {
	    {SAY_NO_NAME, "cloud.test: there is no such name (asked: 127.0"},
	    {SAY_NO_DATA, "the name has no address"},
	    {SAY_FAILED, "the server failed (SERVFAIL)"},
	    {SAY_NOT_UNDERSTOOD, "did not understand the question"},
	    {SAY_NOT_DONE, "does not answer such questions"},
	    {SAY_REFUSED, "refuses to answer"},
	    {SAY_CUT, "the answer was cut; evdns asks over UDP only"},
	    {SAY_NONSENSE, "makes no sense"},
	};
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		say(s, rows[i].what, rows[i].what);
		check_text(d, "cloud.test", "resolve_failed", rows[i].text);
		/* the one that tells more, be it which half it may */
		say(s, rows[i].what, SAY_NO_NAME);
		check_text(d, "cloud.test", "resolve_failed", rows[i].text);
		say(s, SAY_NO_NAME, rows[i].what);
		check_text(d, "cloud.test", "resolve_failed", rows[i].text);
		/* a failure is not kept */
		say(s, SAY_ADDRESSES, SAY_ADDRESSES);
		check(d, "cloud.test", both);
		passed_ms += 61 * 1000;
	}
}

static void
test_a_dead_server_comes_back(void **state)
{
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];
	uint64_t began_ms;

	set_servers(d, "500ms", 1);
	say(s, SAY_NOTHING, SAY_NOTHING);
	for (int i = 0; i < 4; i++) {
		began_ms = clock_mono_ms();
		check_text(
		    d, "cloud.test", "resolve_timeout", "no answer in 450 ms");
		assert_true(clock_mono_ms() - began_ms >= 440);
	}
	say(s, SAY_ADDRESSES, SAY_ADDRESSES);
	s->asked[0] = '\0';
	check(d, "cloud.test", both);
	assert_asked(s, "cloud.test");
	/* half dead is dead: nothing is known */
	say(s, SAY_NOTHING, SAY_NO_NAME);
	check(d, "half.test", "resolve_timeout");
	say(s, SAY_NOTHING, SAY_REFUSED);
	check_text(d, "half.test", "resolve_failed", "refuses");
}

/* What got lost on the way is asked again. */
static void
test_a_lost_question(void **state)
{
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];
	struct lookup *l;

	set_servers(d, "2s", 1);
	say(s, SAY_NOTHING, SAY_NOTHING);
	l = start(d, "cloud.test", 443);
	until(&d->rig, s->questions == 2);
	say(s, SAY_ADDRESSES, SAY_ADDRESSES);
	until(&d->rig, d->back == 1);
	assert_string_equal(shown(l), both);
	assert_int_equal(s->questions, 4);
	free(l);
}

static void
test_servers_in_order(void **state)
{
	struct desk *d = *state;
	struct dns_server *first = &d->servers[0], *second = &d->servers[1];
	static const enum say ill[] = {SAY_NOTHING, SAY_FAILED};

	set_servers(d, "3s", SERVERS);
	check(d, "cloud.test", both);
	assert_int_equal(second->questions, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(ill); i++) {
		say(first, ill[i], ill[i]);
		passed_ms += 61 * 1000;
		check(d, "cloud.test", both);
		assert_int_equal(second->questions, 2 * (i + 1));
	}
	/* what the first one says counts, also that there is nothing */
	say(first, SAY_NO_NAME, SAY_NO_NAME);
	check_text(d, "no.test", "resolve_failed", "no such name");
	assert_int_equal(second->questions, 4);
	assert_int_equal(d->servers[2].questions, 0);
	/* after this one evdns takes any of the others */
	say(first, SAY_REFUSED, SAY_REFUSED);
	passed_ms += 61 * 1000;
	check(d, "cloud.test", both);
}

static void
test_no_way_to_any_server(void **state)
{
	struct desk *d = *state;
	char list[64];

	/* broadcasts need a permission that no look-up asks for */
	set(d, "10s", "255.255.255.255");
	check_text(d, "cloud.test", "resolve_failed",
	    "no way to the DNS server 255.255.255.255:53: ");
	(void)snprintf(list, sizeof(list), "255.255.255.255 127.0.0.1:%u",
	    d->servers[0].port);
	set(d, "10s", list);
	check(d, "cloud.test", both);
}

static void
test_what_is_no_name(void **state)
{
	static const char *const bad[] = {"", ".",
	    "a123456789a123456789a123456789a123456789a123456789a123456789abcd"
	    ".test"};
	struct desk *d = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		check_text(d, bad[i], "resolve_failed", "name");
	assert_asked(&d->servers[0], "");
}

static void
test_all_come_back_at_the_end(void **state)
{
	struct desk *d = *state;
	struct dns_server *s = &d->servers[0];
	struct lookup *all[40];

	say(s, SAY_NOTHING, SAY_ADDRESSES);
	for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
		char host[32];

		(void)snprintf(host, sizeof(host), "%zu.test", i / 2);
		all[i] = start(d, host, 443);
	}
	/* nobody waits for the last one */
	all[ARRAY_LENGTH(all) - 1]->link = NULL;
	until(&d->rig, s->questions == ARRAY_LENGTH(all));
	resolver_free(&d->resolver);
	all[0]->link = d;
	until(&d->rig, d->back == ARRAY_LENGTH(all) - 1);
	for (size_t i = 0; i < ARRAY_LENGTH(all) - 1; i++) {
		assert_string_equal(shown(all[i]), "draining");
		free(all[i]);
	}
	check(d, "cloud.test", "draining");
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
	    TEST(test_numbers_ask_nobody),
	    TEST(test_the_hosts_file_comes_first),
	    TEST(test_eight_of_many_in_the_hosts_file),
	    TEST(test_a_changed_hosts_file_counts_at_once),
	    TEST(test_known_names),
	    TEST(test_localhost_is_here),
	    TEST(test_resolv_conf),
	    TEST(test_search_domains),
	    TEST(test_by_turns_v6_first),
	    TEST(test_names_are_asked_in_small_letters),
	    TEST(test_aaaa_is_not_waited_for_long),
	    TEST(test_aaaa_in_time),
	    TEST(test_a_is_waited_for),
	    TEST(test_kept_for_the_least_ttl),
	    TEST(test_kept_with_one_half),
	    TEST(test_a_thousand_ask_once),
	    TEST(test_the_oldest_names_are_dropped),
	    TEST(test_reloaded_and_forgotten),
	    TEST(test_failures_in_words),
	    TEST(test_a_dead_server_comes_back),
	    TEST(test_a_lost_question),
	    TEST(test_servers_in_order),
	    TEST(test_no_way_to_any_server),
	    TEST(test_what_is_no_name),
	    TEST(test_all_come_back_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
