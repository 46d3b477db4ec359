#include "link/dns.h"

#include <errno.h>
#include <event2/dns.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	AAAA_WAIT_MS = 50, /* RFC 8305 3 */
	ROUNDS = 3         /* how often each server is asked */
};

enum { HALF_V6, HALF_V4, HALVES };

/* One message to the DNS. Cancelled, it outlives its question: its callback
   comes even so. */
struct request {
	struct dns *dns;
	struct dns_question *question; /* NULL: nobody wants it any more */
	struct evdns_base *evdns;      /* for this request alone */
	unsigned half;
};

struct half {
	struct request *request; /* NULL: its outcome is known */
	int error;               /* DNS_ERR_NONE: there are addresses */
	struct address addresses[ADDRESS_LIST_MAX];
	unsigned count;
	uint32_t ttl_s;
};

struct dns {
	struct event_base *base;
	unsigned requests;
};

struct dns_question {
	struct dns *dns;
	struct resolv_conf conf; /* only servers that there is a way to */
	char name[NAME_BYTES];
	bool absolute;
	uint64_t timeout_ms;
	unsigned tried; /* of the names it may stand for */
	struct half halves[HALVES];
	int error; /* the most telling so far */
	struct event deadline;
	struct event aaaa_wait;
	void (*on_answer)(void *arg, const struct dns_answer *answer);
	void *arg;
};

/* ---- requests ---- */

static void
drop_requests(struct dns_question *q)
{
	for (unsigned i = 0; i < HALVES; i++) {
		struct request *rq = q->halves[i].request;

		if (rq == NULL)
			continue;
		q->halves[i].request = NULL;
		rq->question = NULL;
		/* its callback is scheduled by this, if it was not before */
		evdns_base_free(rq->evdns, 1);
	}
}

static void
keep(struct half *half, char type, int count, const void *found)
{
	for (int i = 0; i < count && half->count < ADDRESS_LIST_MAX; i++) {
		struct address *a = &half->addresses[half->count++];

		memset(a, 0, sizeof(*a));
		if (type == DNS_IPv6_AAAA) {
			struct sockaddr_in6 *v6 = (void *)&a->storage;

			v6->sin6_family = AF_INET6;
			v6->sin6_addr = ((const struct in6_addr *)found)[i];
			a->n = sizeof(*v6);
		} else {
			struct sockaddr_in *v4 = (void *)&a->storage;

			v4->sin_family = AF_INET;
			v4->sin_addr = ((const struct in_addr *)found)[i];
			a->n = sizeof(*v4);
		}
	}
}

static void weigh(struct dns_question *q);

static void
on_reply(int error, char type, int count, int ttl, void *found, void *arg)
{
	struct request *rq = arg;
	struct dns_question *q = rq->question;
	struct half *half;

	rq->dns->requests--;
	if (q == NULL) {
		free(rq);
		return;
	}
	half = &q->halves[rq->half];
	half->request = NULL;
	half->error = error;
	half->ttl_s = ttl > 0 ? (uint32_t)ttl : 0; /* RFC 2181 8 */
	keep(half, type, count, found);
	if (error == DNS_ERR_NONE && half->count == 0)
		half->error = DNS_ERR_NODATA;
	evdns_base_free(rq->evdns, 0);
	free(rq);
	weigh(q);
}

static void
set_option(struct evdns_base *evdns, const char *name, double value)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%.3f", value);
	(void)evdns_base_set_option(evdns, name, text);
}

static void
furnish(struct evdns_base *evdns, const struct dns_question *q)
{
	const struct resolv_conf *conf = &q->conf;
	unsigned sends = ROUNDS * conf->server_count;
	char text[16];

	/* its last time-out is later than ours: one that comes sooner means
	   that servers have failed rather than been silent */
	set_option(
	    evdns, "timeout:", (double)(q->timeout_ms / sends + 1) / 1000.0);
	(void)snprintf(text, sizeof(text), "%u", sends);
	(void)evdns_base_set_option(evdns, "attempts:", text);
	/* no server is put aside, nor probed whether it is back */
	(void)evdns_base_set_option(evdns, "max-timeouts:", "255");
	(void)evdns_base_set_option(evdns, "initial-probe-timeout:", "3600");
	/* some servers answer the name in their own case only */
	(void)evdns_base_set_option(evdns, "randomize-case:", "0");
	/* each is inserted behind the first one */
	for (unsigned i = 0; i < conf->server_count; i++) {
		const struct address *server =
		    &conf->servers[i == 0 ? 0 : conf->server_count - i];

		(void)evdns_base_nameserver_sockaddr_add(evdns,
		    (const struct sockaddr *)&server->storage, server->n, 0);
	}
}

static bool
send_request(struct dns_question *q, unsigned half, const char *name)
{
	struct request *rq = calloc(1, sizeof(*rq));
	struct evdns_request *sent = NULL;

	q->halves[half] = (struct half){.error = DNS_ERR_NONE};
	if (rq == NULL)
		return false;
	rq->dns = q->dns;
	rq->question = q;
	rq->half = half;
	rq->evdns = evdns_base_new(q->dns->base, 0);
	if (rq->evdns != NULL)
		furnish(rq->evdns, q);
	if (rq->evdns != NULL && evdns_base_count_nameservers(rq->evdns) > 0)
		sent = (half == HALF_V6 ? evdns_base_resolve_ipv6
					: evdns_base_resolve_ipv4)(
		    rq->evdns, name, DNS_QUERY_NO_SEARCH, on_reply, rq);
	if (sent == NULL) {
		if (rq->evdns != NULL)
			evdns_base_free(rq->evdns, 0);
		free(rq);
		return false;
	}
	q->dns->requests++;
	q->halves[half].request = rq;
	return true;
}

/* ---- the names it may stand for ---- */

/* Name <i>: as it is, or with a search domain, see resolv.conf(5). False: there
   is none any more, or it is too long. */
static bool
candidate(const struct dns_question *q, unsigned i, char out[static NAME_BYTES])
{
	unsigned own = q->conf.search_count; /* the name itself comes last */
	unsigned dots = 0;
	int n;

	for (const char *c = q->name; *c != '\0'; c++)
		dots += *c == '.';
	if (q->absolute || dots >= q->conf.ndots)
		own = 0;
	if (i == own) {
		memcpy(out, q->name, NAME_BYTES);
		return true;
	}
	n = snprintf(out, NAME_BYTES, "%s.%s", q->name,
	    q->conf.search[i > own ? i - 1 : i]);
	return n < NAME_BYTES - 1;
}

/* False: nothing more can be asked. */
static bool
ask_next(struct dns_question *q)
{
	unsigned names = q->absolute ? 1 : 1 + q->conf.search_count;
	char name[NAME_BYTES];
	bool asked;

	while (q->tried < names) {
		if (!candidate(q, q->tried++, name))
			continue;
		asked = send_request(q, HALF_V6, name);
		return send_request(q, HALF_V4, name) || asked;
	}
	return false;
}

/* ---- the answer ---- */

static void
question_free(struct dns_question *q)
{
	(void)event_del(&q->deadline);
	(void)event_del(&q->aaaa_wait);
	drop_requests(q);
	free(q);
}

/* Also when nothing came of it: "no" is an outcome, a failure is none. */
static bool
is_known(const struct half *half)
{
	return half->request == NULL &&
	       (half->count > 0 || half->error == DNS_ERR_NODATA ||
		   half->error == DNS_ERR_NOTEXIST);
}

static uint32_t
ttl_of(const struct half *halves)
{
	uint32_t ttl_s = UINT32_MAX;

	for (unsigned i = 0; i < HALVES; i++) {
		if (!is_known(&halves[i]))
			return 0;
		if (halves[i].count > 0 && halves[i].ttl_s < ttl_s)
			ttl_s = halves[i].ttl_s;
	}
	return ttl_s;
}

static void
give(struct dns_question *q)
{
	struct dns_answer answer = {.ttl_s = ttl_of(q->halves)};

	for (unsigned i = 0; i < ADDRESS_LIST_MAX; i++)
		for (unsigned h = 0; h < HALVES; h++)
			if (i < q->halves[h].count &&
			    answer.count < ADDRESS_LIST_MAX)
				answer.addresses[answer.count++] =
				    q->halves[h].addresses[i];
	q->on_answer(q->arg, &answer);
	question_free(q);
}

/* In words, and by how much they tell: of several, the last one counts. */
static const struct {
	int error;
	const char *text;
} errors[] = {
    {DNS_ERR_NOTEXIST, "there is no such name"},
    {DNS_ERR_NODATA, "the name has no address"},
    {DNS_ERR_UNKNOWN, "the answer makes no sense"},
    {DNS_ERR_FORMAT, "the server did not understand the question"},
    {DNS_ERR_NOTIMPL, "the server does not answer such questions"},
    {DNS_ERR_REFUSED, "the server refuses to answer"},
    /* before the deadline it stands for SERVFAIL, see furnish() */
    {DNS_ERR_TIMEOUT, "the server failed (SERVFAIL)"},
    {DNS_ERR_TRUNCATED, "the answer was cut; evdns asks over UDP only"},
};

static unsigned
rank(int error)
{
	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].error == error)
			return i + 1;
	return 0;
}

/* Whom the question went to. */
static const char *
list_servers(const struct resolv_conf *conf, char *out, size_t size)
{
	char text[ADDRESS_WRITTEN_MAX];
	size_t at = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < conf->server_count && at < size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%s",
		    i > 0 ? ", " : "", address_write(text, &conf->servers[i]));
	if (conf->server_assumed && at < size)
		(void)snprintf(out + at, size - at, ": no other is set");
	return out;
}

static void
fail(struct dns_question *q, bool late)
{
	struct dns_answer answer = {.count = 0};
	unsigned r = rank(q->error);
	char servers[160];

	(void)list_servers(&q->conf, servers, sizeof(servers));
	/* "no" to one half, or to another name, is not all of the answer */
	if (late && r <= rank(DNS_ERR_NODATA))
		(void)fault_set(&answer.why, R_RESOLVE_TIMEOUT,
		    "%s: no answer in %llu ms (asked: %s)", q->name,
		    (unsigned long long)q->timeout_ms, servers);
	else
		(void)fault_set(&answer.why, R_RESOLVE_FAILED,
		    "%s: %s (asked: %s)", q->name,
		    r > 0 ? errors[r - 1].text
			  : "no memory or descriptors to ask",
		    servers);
	q->on_answer(q->arg, &answer);
	question_free(q);
}

static void
note_errors(struct dns_question *q)
{
	for (unsigned i = 0; i < HALVES; i++)
		if (q->halves[i].request == NULL &&
		    rank(q->halves[i].error) > rank(q->error))
			q->error = q->halves[i].error;
}

/* After each reply. IPv4 is what works at most sites: the outcome of A is
   waited for, that of AAAA not for long. */
static void
weigh(struct dns_question *q)
{
	static const struct timeval wait = {.tv_usec = AAAA_WAIT_MS * 1000};
	const struct half *v4 = &q->halves[HALF_V4];
	const struct half *v6 = &q->halves[HALF_V6];

	if (v4->request != NULL)
		return;
	if (v6->request != NULL) {
		if (v4->count > 0)
			(void)evtimer_add(&q->aaaa_wait, &wait);
		return;
	}
	if (v4->count + v6->count > 0) {
		give(q);
		return;
	}
	note_errors(q);
	if (!ask_next(q))
		fail(q, false);
}

static void
on_aaaa_wait(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	give(arg);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct dns_question *q = arg;

	(void)fd;
	(void)what;
	note_errors(q);
	if (q->halves[HALF_V4].count + q->halves[HALF_V6].count > 0)
		give(q);
	else
		fail(q, true);
}

/* ---- questions ---- */

/* Takes out the servers that there is no route to. False: all of them. */
static bool
keep_routed(struct resolv_conf *conf, const char *name, struct fault *why)
{
	char text[ADDRESS_WRITTEN_MAX];
	unsigned kept = 0;

	for (unsigned i = 0; i < conf->server_count; i++) {
		const struct address *a = &conf->servers[i];
		int fd =
		    socket(a->storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		/* asks the routing table only, and sends nothing */
		if (fd >= 0 && connect(fd, (const struct sockaddr *)&a->storage,
				   a->n) == 0)
			conf->servers[kept++] = *a;
		else
			(void)fault_set(why,
			    errno == EMFILE || errno == ENFILE
				? R_NO_DESCRIPTORS
				: R_RESOLVE_FAILED,
			    "%s: no way to the DNS server %s: %s", name,
			    address_write(text, a), strerror(errno));
		if (fd >= 0)
			(void)close(fd);
	}
	conf->server_count = kept;
	return kept > 0;
}

static bool
set_name(struct dns_question *q, const char *name)
{
	size_t n = strlen(name);

	q->absolute = n > 0 && name[n - 1] == '.';
	n -= q->absolute;
	if (n == 0 || n >= NAME_BYTES)
		return false;
	memcpy(q->name, name, n);
	return true;
}

struct dns_question *
dns_ask(struct dns *dns, const struct resolv_conf *conf, const char *name,
    uint64_t timeout_ms,
    void (*on_answer)(void *arg, const struct dns_answer *answer), void *arg,
    struct fault *why)
{
	struct dns_question *q = calloc(1, sizeof(*q));
	struct timeval tv = {.tv_sec = (time_t)(timeout_ms / 1000),
	    .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};

	if (q == NULL) {
		(void)fault_set(why, R_OUT_OF_MEMORY, "%s", name);
		return NULL;
	}
	q->dns = dns;
	q->conf = *conf;
	q->timeout_ms = timeout_ms;
	q->on_answer = on_answer;
	q->arg = arg;
	(void)evtimer_assign(&q->deadline, dns->base, on_deadline, q);
	(void)evtimer_assign(&q->aaaa_wait, dns->base, on_aaaa_wait, q);
	if (!set_name(q, name)) {
		(void)fault_set(why, R_RESOLVE_FAILED, "%s: no name", name);
	} else if (keep_routed(&q->conf, name, why)) {
		if (evtimer_add(&q->deadline, &tv) == 0 && ask_next(q))
			return q;
		(void)fault_set(why, R_RESOLVE_FAILED,
		    "%s: no host name, or no memory or descriptors to ask",
		    name);
	}
	question_free(q);
	return NULL;
}

void
dns_cancel(struct dns_question *q)
{
	question_free(q);
}

/* ---- life ---- */

struct dns *
dns_new(struct event_base *base)
{
	struct dns *dns = calloc(1, sizeof(*dns));

	if (dns != NULL)
		dns->base = base;
	return dns;
}

void
dns_free(struct dns **dns)
{
	struct dns *d = *dns;
	unsigned before = 0;

	if (d == NULL)
		return;
	*dns = NULL;
	/* callbacks scheduled come turn by turn */
	while (d->requests > 0 && d->requests != before) {
		before = d->requests;
		(void)event_base_loop(d->base, EVLOOP_NONBLOCK);
	}
	free(d);
}
