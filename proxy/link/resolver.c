#include "link/resolver.h"

#include "link/dns.h"
#include "link/hosts_file.h"
#include "link/known_names.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What the hosts file says holds until it changes, which is seen. */
enum { HOSTS_HOLD_S = 60 * 60 };

/* A host that is being asked for. */
struct pending {
	LIST_ENTRY(pending) next;
	struct resolver *resolver;
	char host[NAME_BYTES];
	bool outdated; /* asked before a change: for nobody else any more */
	struct dns_question *question;
	SLIST_HEAD(, lookup) waiting;
};

struct resolver {
	struct dns *dns;
	struct known_names *names;
	const char *hosts; /* the files' paths */
	const char *resolv_conf;
	uint64_t timeout_ms;
	struct address servers[NAMESERVERS_MAX]; /* instead of resolv.conf's */
	unsigned server_count;
	struct resolv_conf conf;
	LIST_HEAD(, pending) pending;
};

/* ---- answers ---- */

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
send_back(struct lookup *l)
{
	l->letter.open = open_answer;
	mailbox_post(l->reply_to, &l->letter);
}

static void
answer(struct lookup *l, const struct address *addresses, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		l->addresses[i] = addresses[i];
		address_set_port(&l->addresses[i], l->port);
	}
	l->count = count;
	send_back(l);
}

static void
refuse(struct lookup *l, const struct fault *why)
{
	l->why = *why;
	send_back(l);
}

/* ---- files ---- */

static void
forget_all(struct resolver *r)
{
	struct pending *p;

	known_names_forget(r->names);
	LIST_FOREACH(p, &r->pending, next)
	p->outdated = true;
}

static void
read_resolv_conf(struct resolver *r)
{
	resolv_conf_read(&r->conf, r->resolv_conf);
	if (r->server_count == 0)
		return;
	memcpy(r->conf.servers, r->servers, sizeof(r->servers));
	r->conf.server_count = r->server_count;
	r->conf.server_assumed = false;
}

static void
look_at_files(struct resolver *r)
{
	bool resolv_conf;
	bool changed = known_names_look(r->names, &resolv_conf);

	if (resolv_conf)
		read_resolv_conf(r);
	if (changed)
		forget_all(r);
}

/* ---- look-ups ---- */

static void
pending_free(struct pending *p)
{
	LIST_REMOVE(p, next);
	free(p);
}

static void
on_dns_answer(void *arg, const struct dns_answer *found)
{
	struct pending *p = arg;
	struct lookup *l;

	if (found->count > 0 && !p->outdated)
		known_names_keep(p->resolver->names, p->host, found->addresses,
		    found->count, found->ttl_s);
	while ((l = SLIST_FIRST(&p->waiting)) != NULL) {
		SLIST_REMOVE_HEAD(&p->waiting, waiting);
		if (found->count > 0)
			answer(l, found->addresses, found->count);
		else
			refuse(l, &found->why);
	}
	pending_free(p);
}

/* A thousand devices that come back at once ask one question. */
static struct pending *
find_pending(const struct resolver *r, const char *host)
{
	struct pending *p;

	LIST_FOREACH(p, &r->pending, next)
	if (!p->outdated && strcmp(p->host, host) == 0)
		return p;
	return NULL;
}

static void
ask_dns(struct resolver *r, const char *host, struct lookup *l)
{
	struct pending *p = calloc(1, sizeof(*p));
	struct fault why;

	if (p == NULL) {
		(void)fault_set(&why, R_OUT_OF_MEMORY, "%s", host);
		refuse(l, &why);
		return;
	}
	p->resolver = r;
	memcpy(p->host, host, sizeof(p->host));
	SLIST_INIT(&p->waiting);
	LIST_INSERT_HEAD(&r->pending, p, next);
	p->question = dns_ask(r->dns, &r->conf, host,
	    r->timeout_ms - r->timeout_ms / 10, on_dns_answer, p, &why);
	if (p->question == NULL) {
		pending_free(p);
		refuse(l, &why);
		return;
	}
	SLIST_INSERT_HEAD(&p->waiting, l, waiting);
}

/* RFC 6761 6.3: it is never asked for. */
static bool
is_localhost(const char *host)
{
	static const char word[] = "localhost";
	size_t n = strlen(host), dot = n - (sizeof(word) - 1);

	return n >= sizeof(word) - 1 && strcmp(host + dot, word) == 0 &&
	       (dot == 0 || host[dot - 1] == '.');
}

static unsigned
find_at_home(const struct resolver *r, const char *host,
    struct address out[static ADDRESS_LIST_MAX])
{
	unsigned count = hosts_file_find(r->hosts, host, out);

	if (count == 0 && is_localhost(host))
		count = (unsigned)address_read(&out[0], "::1", 0) +
			(unsigned)address_read(&out[1], "127.0.0.1", 0);
	return count;
}

void
resolver_ask(struct resolver *r, struct lookup *l)
{
	struct address home[ADDRESS_LIST_MAX];
	char host[NAME_BYTES] = "";
	struct pending *pending;
	unsigned count;

	l->count = 0;
	if (r == NULL) {
		(void)fault_set(&l->why, R_DRAINING, "%s", l->host);
		send_back(l);
		return;
	}
	look_at_files(r);
	if (known_names_find(r->names, l->host, home, &count)) {
		answer(l, home, count);
		return;
	}
	for (size_t i = 0; l->host[i] != '\0'; i++)
		host[i] = (char)tolower((unsigned char)l->host[i]);
	pending = find_pending(r, host);
	if (pending != NULL) {
		SLIST_INSERT_HEAD(&pending->waiting, l, waiting);
		return;
	}
	count = find_at_home(r, host, home);
	if (count == 0) {
		ask_dns(r, host, l);
		return;
	}
	known_names_keep(r->names, host, home, count, HOSTS_HOLD_S);
	answer(l, home, count);
}

/* ---- life ---- */

void
resolver_reload(struct resolver *r, const struct settings *settings)
{
	r->timeout_ms = settings->resolve_timeout_ms;
	/* was judged when they were loaded */
	if (!address_read_list(settings->cloud_nameservers, RESOLV_CONF_PORT,
		r->servers, NAMESERVERS_MAX, &r->server_count))
		r->server_count = 0;
	look_at_files(r);
	read_resolv_conf(r);
	forget_all(r);
}

struct resolver *
resolver_new(struct event_base *base, const struct settings *settings,
    const struct resolver_files *files)
{
	static const struct resolver_files system = {
	    .hosts = "/etc/hosts", .resolv_conf = "/etc/resolv.conf"};
	struct resolver *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	if (files == NULL)
		files = &system;
	r->dns = dns_new(base);
	r->names = known_names_new(files->hosts, files->resolv_conf);
	if (r->dns == NULL || r->names == NULL) {
		dns_free(&r->dns);
		known_names_unref(r->names);
		free(r);
		return NULL;
	}
	LIST_INIT(&r->pending);
	r->hosts = files->hosts;
	r->resolv_conf = files->resolv_conf;
	resolver_reload(r, settings);
	return r;
}

void
resolver_free(struct resolver **rp)
{
	struct resolver *r = *rp;
	struct pending *p;
	struct lookup *l;

	if (r == NULL)
		return;
	*rp = NULL; /* who asks from now on is told at once */
	while ((p = LIST_FIRST(&r->pending)) != NULL) {
		dns_cancel(p->question);
		while ((l = SLIST_FIRST(&p->waiting)) != NULL) {
			SLIST_REMOVE_HEAD(&p->waiting, waiting);
			resolver_ask(NULL, l);
		}
		pending_free(p);
	}
	known_names_unref(r->names);
	dns_free(&r->dns);
	free(r);
}

struct known_names *
resolver_names(const struct resolver *r)
{
	return r->names;
}
