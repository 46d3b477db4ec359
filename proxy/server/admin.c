#include "server/admin.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "server/admin_http.h"
#include "server/admin_tcp.h"
#include "server/admin_trace.h"
#include "server/local_socket.h"
#include "server/web_page.h"
#include "settings/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
	BODY_FIRST = 32 * 1024,       /* more where it does not fit */
	BODY_MAX = 256 * 1024 * 1024, /* a million devices */
	RELOAD_S = 60,                /* for files to be read again */
	LACK_MAX = 256                /* bytes, of why the proxy is not ready */
};

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct admin {
	struct admin_config config;
	struct local_socket socket;
	int tcp; /* -1: none */
	struct admin_http *http;
	struct admin_traces traces;
};

/* What has to come before an answer. */
enum needs { NEEDS_COUNTS, NEEDS_ROWS, NEEDS_RELOAD, NEEDS_NOTHING };

struct page {
	const char *path;
	const char *type;
	bool is_action; /* by POST */
	enum needs needs;
	void (*answer)(
	    struct admin *a, struct admin_client *c, const struct page *page);
	void (*write)(struct text *out, const struct admin_facts *f);
};

/* ---- answers ---- */

static void
fail(struct admin_client *c)
{
	admin_say(c, "500 Internal Server Error", "500 Internal Server Error");
}

/* The page as a text of its own, in *n its length; NULL without memory. */
static char *
write_page(const struct page *page, const struct admin_facts *f, size_t *n)
{
	for (size_t size = BODY_FIRST; size <= BODY_MAX; size *= 4) {
		char *body = malloc(size);
		struct text text = {.at = body, .left = size};

		if (body == NULL)
			return NULL;
		page->write(&text, f);
		*n = size - text.left;
		if (!text.full)
			return body;
		free(body);
	}
	return NULL;
}

static void
show(struct admin *a, struct admin_client *c, const struct page *page)
{
	const struct admin_question *q = admin_question(c);
	struct admin_facts facts = {.survey = a->config.survey,
	    .wall_ms = clock_wall_ms(),
	    .mono_ms = clock_mono_ms(),
	    .unready = a->config.unready(a->config.arg),
	    .label = q->argument[0] != '\0' ? q->argument : NULL};
	char *body;
	size_t n;

	a->config.fill(a->config.arg, &facts);
	if (facts.label != NULL && facts.devices != NULL &&
	    credmap_by_label(facts.devices, facts.label) == NULL) {
		admin_say(c, "404 Not Found", "no device has that label");
		return;
	}
	body = write_page(page, &facts, &n);
	if (body == NULL)
		fail(c);
	else
		admin_answer(c, "200 OK", page->type, "", body, n);
}

/* The same for everybody: what it shows it asks for by itself. */
static void
show_web_page(struct admin *a, struct admin_client *c, const struct page *page)
{
	char headers[WEB_PAGE_HEADERS_MAX];
	size_t n;
	char *body = web_page_headers(headers) ? web_page_copy(&n) : NULL;

	(void)a;
	if (body == NULL)
		fail(c);
	else
		admin_answer(c, "200 OK", page->type, headers, body, n);
}

/* All workers have answered, so they live. */
static void
tell_health(struct admin *a, struct admin_client *c, const struct page *page)
{
	(void)a;
	(void)page;
	admin_say(c, "200 OK", "ok");
}

/* Why nobody gets to the cloud; R_NONE: somebody does, or nobody has tried. A
   login that is refused says nothing about the way there. */
static enum reason
no_way(const struct survey *survey)
{
	struct survey_part sum;
	const struct link_tally *links = &sum.links;

	survey_sum(survey, &sum);
	if (sum.of[PRESENCE_ONLINE] > 0 ||
	    links->failure.at_ms <= links->accepted_ms ||
	    links->failure.why == R_LOGIN_REFUSED)
		return R_NONE;
	return links->failure.why;
}

static void
tell_ready(struct admin *a, struct admin_client *c, const struct page *page)
{
	const char *lack = a->config.unready(a->config.arg);
	enum reason why = no_way(a->config.survey);
	char line[LACK_MAX];

	(void)page;
	if (lack == NULL && why != R_NONE) {
		(void)snprintf(line, sizeof(line),
		    "the cloud cannot be reached: %s: %s", reason_word(why),
		    reason_hint(why));
		lack = line;
	}
	if (lack == NULL)
		admin_say(c, "200 OK", "ready");
	else
		admin_say(c, "503 Service Unavailable", lack);
}

/* ---- actions ---- */

/* The device that is asked about; NULL after an answer: there is none. */
static const struct credential *
entry_of(struct admin *a, struct admin_client *c)
{
	const char *label = admin_question(c)->argument;
	struct admin_facts facts = {0};
	const struct credential *entry;

	a->config.fill(a->config.arg, &facts);
	entry = credmap_by_label(facts.devices, label);
	if (entry == NULL)
		admin_say(c, "404 Not Found", "no device has that label");
	return entry;
}

/* Whether <entry> has a session, by what all workers have just said. */
static bool
is_here(const struct admin *a, const struct credential *entry)
{
	size_t n = 0;
	const struct survey_row **rows = survey_rows(a->config.survey, &n);
	const struct survey_row *row =
	    survey_find(rows, n, entry->product_key, entry->device_name);
	bool here = row != NULL && row->now.presence != PRESENCE_OFFLINE;

	free(rows);
	return here;
}

static void
kick(struct admin *a, struct admin_client *c, const struct page *page)
{
	const struct credential *entry = entry_of(a, c);

	(void)page;
	if (entry == NULL)
		return;
	if (!is_here(a, entry))
		admin_say(c, "409 Conflict", "that device is not connected");
	else if (!a->config.kick(a->config.arg, entry))
		fail(c);
	else
		admin_say(c, "200 OK", "it is being closed");
}

/* Files have been read again: it is in the facts how that went. */
static void
tell_reloaded(struct admin *a, struct admin_client *c, const struct page *page)
{
	struct admin_facts facts = {0};
	const struct map_refusal *why;
	char text[sizeof(why->file) + sizeof(why->text) + 32];

	(void)page;
	a->config.fill(a->config.arg, &facts);
	why = &facts.map->refusal;
	if (!facts.map->refused) {
		(void)snprintf(text, sizeof(text), "reloaded; %zu device(s)",
		    facts.map->devices);
		admin_say(c, "200 OK", text);
		return;
	}
	(void)snprintf(text, sizeof(text), "refused: %s:%d: %s", why->file,
	    why->line, why->text);
	admin_say(c, "409 Conflict", text);
}

static void
drain(struct admin *a, struct admin_client *c, const struct page *page)
{
	(void)page;
	admin_then(c, a->config.drain, a->config.arg);
	admin_say(c, "200 OK", "sessions are ended in order, then the proxy");
}

/* LOG_LEVEL_COUNT: none has that name. */
static int
level_named(const char *word)
{
	int i = 0;

	while (i < LOG_LEVEL_COUNT &&
	       strcmp(log_level_word((enum log_level)i), word) != 0)
		i++;
	return i;
}

static void
set_device_level(
    struct admin *a, struct admin_client *c, const char *word, int level)
{
	const struct credential *entry = entry_of(a, c);
	bool is_default = strcmp(word, "default") == 0;

	if (entry == NULL)
		return;
	if (is_default) {
		log_forget_level_of(entry->log.device);
	} else if (!log_set_level_of(
		       entry->log.device, (enum log_level)level)) {
		admin_say(c, "409 Conflict",
		    "too many devices have a level for now; end that of"
		    " another one (default)");
		return;
	}
	log_write(
	    LOG_NOTICE, "log_level", "to=%s label=%s", word, entry->label);
	admin_say(c, "200 OK",
	    is_default ? "that device is logged again as the files say"
		       : "that device is logged at this level, until it is"
			 " default again");
}

static void
set_log_level(struct admin *a, struct admin_client *c, const struct page *page)
{
	const struct admin_question *q = admin_question(c);
	bool of_device = q->argument[0] != '\0';
	int level = level_named(q->level);

	(void)page;
	if (level == LOG_LEVEL_COUNT &&
	    !(of_device && strcmp(q->level, "default") == 0)) {
		admin_say(c, "400 Bad Request",
		    "the level is error, warning, notice, info or debug; of a"
		    " device also default");
	} else if (of_device) {
		set_device_level(a, c, q->level, level);
	} else {
		log_set_level((enum log_level)level);
		log_write(LOG_NOTICE, "log_level", "to=%s", q->level);
		admin_say(c, "200 OK",
		    "this is the level, until files are read again");
	}
}

/* By POST, as is_meant() is asked then: topics are for no page in a browser. */
static void
trace(struct admin *a, struct admin_client *c, const struct page *page)
{
	const struct credential *entry = entry_of(a, c);

	(void)page;
	if (entry != NULL)
		admin_trace_begin(&a->traces, c, entry,
		    strcmp(admin_question(c)->payload, "yes") == 0,
		    a->config.trace, a->config.arg);
}

static const struct page pages[] = {
    {"/", "text/html; charset=utf-8", false, NEEDS_NOTHING, show_web_page,
	NULL},
    {"/status", "application/json", false, NEEDS_ROWS, show,
	admin_write_status},
    {"/metrics", METRICS_TYPE, false, NEEDS_COUNTS, show, admin_write_metrics},
    {"/metrics/devices", METRICS_TYPE, false, NEEDS_ROWS, show,
	admin_write_device_metrics},
    {"/healthz", NULL, false, NEEDS_COUNTS, tell_health, NULL},
    {"/readyz", NULL, false, NEEDS_COUNTS, tell_ready, NULL},
    {"/kick", NULL, true, NEEDS_ROWS, kick, NULL},
    {"/reload", NULL, true, NEEDS_RELOAD, tell_reloaded, NULL},
    {"/drain", NULL, true, NEEDS_NOTHING, drain, NULL},
    {"/log", NULL, true, NEEDS_NOTHING, set_log_level, NULL},
    {"/trace", NULL, true, NEEDS_NOTHING, trace, NULL},
};

/* ---- what the workers say ---- */

static void on_survey(void *arg);

/* Asks for all that wait and were not asked for yet: what they are told is not
   older than their question. */
static void
survey_for_waiting(struct admin *a)
{
	bool wants_rows = false, any = false;

	if (survey_runs(a->config.survey))
		return;
	for (struct admin_client *c = admin_next(a->http, NULL); c != NULL;
	     c = admin_next(a->http, c)) {
		struct admin_question *q = admin_question(c);
		const struct page *page = q->about;

		if (page == NULL || page->needs == NEEDS_RELOAD)
			continue;
		q->is_asked = any = true;
		wants_rows |= page->needs == NEEDS_ROWS;
	}
	if (any)
		survey_begin(a->config.survey, wants_rows, on_survey, a);
}

static void
answer_all(struct admin *a, bool is_reload)
{
	struct admin_client *c, *after;

	for (c = admin_next(a->http, NULL); c != NULL; c = after) {
		struct admin_question *q = admin_question(c);
		const struct page *page = q->about;

		after = admin_next(a->http, c);
		if (page == NULL || !q->is_asked ||
		    (page->needs == NEEDS_RELOAD) != is_reload)
			continue;
		q->about = NULL;
		page->answer(a, c, page);
	}
}

static void
on_survey(void *arg)
{
	struct admin *a = arg;

	answer_all(a, false);
	survey_for_waiting(a);
}

void
admin_reloaded(struct admin *a)
{
	if (a != NULL)
		answer_all(a, true);
}

/* ---- requests ---- */

/* -1: it is none. */
static int
hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at != NULL ? (int)((at - digits) % 16) : -1;
}

/* The value behind "key=" in <query>, decoded; false: it is wrong, or too long.
   Without it <out> is empty. */
static bool
take_argument(const char *query, const char *key, char *out, size_t size)
{
	size_t key_n = strlen(key), n = 0;

	out[0] = '\0';
	while (strncmp(query, key, key_n) != 0 || query[key_n] != '=') {
		query += strcspn(query, "&");
		if (*query++ == '\0')
			return true;
	}
	for (query += key_n + 1; *query != '&' && *query != '\0'; query++) {
		char byte = *query;

		if (byte == '%') {
			int high = hex_digit(query[1]);
			int low = high >= 0 ? hex_digit(query[2]) : -1;

			if (low < 0 || (high == 0 && low == 0))
				return false;
			byte = (char)(high * 16 + low);
			query += 2;
		}
		if (n + 1 >= size)
			return false;
		out[n++] = byte;
	}
	out[n] = '\0';
	return true;
}

static const struct page *
page_at(const char *path)
{
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		if (strcmp(pages[i].path, path) == 0)
			return &pages[i];
	return NULL;
}

/* Whether it is this machine that was meant: no name that was made to lead here
   is in Host (DNS rebinding). */
static bool
host_is_plain(const struct admin_request *r)
{
	char host[64];
	struct network address;
	size_t n;

	if (r->host == NULL || strlen(r->host) >= sizeof(host))
		return false;
	strcpy(host, r->host);
	n = host[0] == '[' ? strcspn(host, "]") : strcspn(host, ":");
	if (host[0] == '[') {
		if (host[n] != ']')
			return false;
		host[n] = '\0';
		return network_read(host + 1, &address) &&
		       network_is_address(&address);
	}
	host[n] = '\0';
	return strcmp(host, "localhost") == 0 ||
	       (network_read(host, &address) && network_is_address(&address));
}

/*
 * Nothing that a page of others in somebody's browser can bring about is an
 * action: that has an Origin (RFC 6454 7.3), or such a Host. Nor can it read
 * what needs no token, where somebody leads a port of his to the Unix socket;
 * only what is no browser leaves Host out.
 */
static bool
is_meant(const struct admin_request *r, bool is_action)
{
	if (is_action)
		return r->origin == NULL && host_is_plain(r);
	return !r->is_local || r->host == NULL || host_is_plain(r);
}

static void
begin(struct admin *a, struct admin_client *c, const struct page *page)
{
	struct admin_question *q = admin_question(c);

	switch (page->needs) {
	case NEEDS_NOTHING:
		page->answer(a, c, page);
		break;
	case NEEDS_RELOAD:
		q->about = page;
		q->is_asked = true;
		admin_wait(c, RELOAD_S);
		a->config.reload(a->config.arg);
		break;
	case NEEDS_COUNTS:
	case NEEDS_ROWS:
		q->about = page;
		survey_for_waiting(a);
	}
}

/* By TCP it has to show the token (RFC 6750 2.1). */
static bool
may_ask(const struct admin *a, const struct admin_request *r)
{
	static const char scheme[] = "Bearer ";
	const struct secret *token = a->config.token(a->config.arg);
	size_t n = strlen(scheme);

	return r->is_local ||
	       (token->n > 0 && r->authorization != NULL &&
		   strncasecmp(r->authorization, scheme, n) == 0 &&
		   secret_eq(token, span_of_string(r->authorization + n)));
}

static void
serve(void *arg, struct admin_client *c, const struct admin_request *r)
{
	struct admin *a = arg;
	struct admin_question *q = admin_question(c);
	const struct page *page = page_at(r->path);
	bool is_read =
	    strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;

	/* the page for a browser asks for the token by itself */
	if (!may_ask(a, r) && (page == NULL || page->answer != show_web_page))
		admin_refuse_stranger(c);
	else if (page == NULL)
		admin_say(c, "404 Not Found", "404 Not Found");
	else if (page->is_action ? strcmp(r->method, "POST") != 0 : !is_read)
		admin_refuse_method(c, page->is_action ? "POST" : "GET, HEAD");
	else if (!is_meant(r, page->is_action))
		admin_say(c, "403 Forbidden",
		    "Host has to be localhost or an address, and for an action"
		    " there must be no Origin");
	else if (!take_argument(
		     r->query, "label", q->argument, sizeof(q->argument)) ||
		 !take_argument(
		     r->query, "level", q->level, sizeof(q->level)) ||
		 !take_argument(
		     r->query, "payload", q->payload, sizeof(q->payload)))
		admin_say(c, "400 Bad Request", "that is no label");
	else
		begin(a, c, page);
}

/* ---- life ---- */

static bool
take_socket(struct admin *a, struct fault *why)
{
	int inherited = a->config.inherited;

	if (inherited >= 0 &&
	    local_socket_adopt(&a->socket, inherited, a->config.socket))
		return true;
	if (inherited >= 0)
		(void)close(inherited);
	return local_socket_open(
	    &a->socket, a->config.socket, 0600, ADMIN_BACKLOG, why);
}

static void
close_if_open(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

static bool
open_tcp(struct admin *a, struct fault *why)
{
	const struct admin_config *config = &a->config;
	struct fault lack;

	if (config->listen[0] == '\0') {
		close_if_open(config->inherited_tcp);
		return true;
	}
	a->tcp = admin_tcp_open(
	    config->listen, config->inherited_tcp, ADMIN_BACKLOG, &lack);
	return a->tcp >= 0 ||
	       fault_set(why, lack.why, "[admin] listen = %s: %s",
		   config->listen, lack.text);
}

static bool
open_sockets(struct admin *a, struct fault *why)
{
	struct fault lack;

	if (take_socket(a, &lack))
		return open_tcp(a, why);
	close_if_open(a->config.inherited_tcp);
	return fault_set(why, lack.why, "[admin] socket = %s: %s",
	    a->config.socket, lack.text);
}

static bool
listen_on(struct admin *a, struct fault *why)
{
	const struct admin_http_config config = {
	    .base = a->config.base, .serve = serve, .arg = a};

	if (!open_sockets(a, why))
		return false;
	a->http = admin_http_new(&config);
	if (a->http == NULL)
		return fault_set(
		    why, R_OUT_OF_MEMORY, "no memory for the admin endpoint");
	return admin_http_listen(a->http, a->socket.fd, true, why) &&
	       (a->tcp < 0 || admin_http_listen(a->http, a->tcp, false, why));
}

struct admin *
admin_open(const struct admin_config *config, struct fault *why)
{
	struct admin *a = calloc(1, sizeof(*a));

	if (a == NULL) {
		close_if_open(config->inherited);
		close_if_open(config->inherited_tcp);
		(void)fault_set(
		    why, R_OUT_OF_MEMORY, "no memory for the admin endpoint");
		return NULL;
	}
	a->config = *config;
	a->socket.fd = a->tcp = -1;
	if (!listen_on(a, why))
		admin_free(&a);
	return a;
}

int
admin_socket(const struct admin *a)
{
	return a->socket.fd;
}

int
admin_tcp_socket(const struct admin *a)
{
	return a->tcp;
}

void
admin_leave(struct admin **a)
{
	if (*a != NULL) {
		admin_traces_leave(&(*a)->traces);
		local_socket_leave(&(*a)->socket);
	}
	admin_free(a);
}

void
admin_free(struct admin **ap)
{
	struct admin *a = *ap;

	if (a == NULL)
		return;
	survey_forsake(a->config.survey);
	admin_traces_finish(&a->traces);
	admin_http_free(&a->http);
	local_socket_close(&a->socket);
	close_if_open(a->tcp);
	free(a);
	*ap = NULL;
}
