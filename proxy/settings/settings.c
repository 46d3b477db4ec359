#include "settings/settings.h"

#include "base/address.h"
#include "base/escape.h"
#include "settings/file.h"
#include "settings/ini.h"
#include "settings/no_proxy.h"
#include "settings/secret_file.h"
#include "settings/value.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum type {
	TYPE_TEXT,
	TYPE_ADDRESS,
	TYPE_PATH,
	TYPE_PORT,
	TYPE_COUNT,
	TYPE_BYTES,
	TYPE_MS,
	TYPE_SECONDS,
	TYPE_BOOL,
	TYPE_LEVEL,
	TYPE_FORMAT,
	TYPE_TRANSPORTS,
	TYPE_TLS_VERSION,
	TYPE_EGRESS,
	TYPE_CLOUD,
	TYPE_NETWORKS,
	TYPE_RULE
};

struct row {
	const char *section;
	const char *key;
	enum type type;
	size_t offset; /* of the member in struct settings */
	const char *def;
	uint64_t least;
	uint64_t most;
	bool live;
};

/* clang-format off */
#define X(section, key, type, member, def, least, most, live, what)          \
	{ section, key, TYPE_##type, offsetof(struct settings, member), def, \
	    least, most, live },
static const struct row rows[] = { ALL_SETTINGS(X) };
#undef X

#define X(section, key, type, member, def, least, most, live, what)          \
	ROW_##member,
#define LISTENER_ROW(more, key, type, member, def, least, most, live, what)  \
	ROW_LISTEN_##member,
enum { LISTENER(LISTENER_ROW, ) ROW_LISTEN_COUNT };
enum { ROW_LISTEN_LAST = ROW_LISTEN_COUNT - 1, SETTINGS(X) ROW_RULES, ROW_COUNT = ROW_RULES + CONTRACT_RULE_COUNT };
#undef X
/* clang-format on */

/* What the callers of settings_load() hold is the first member. */
struct shared {
	struct settings settings;
	atomic_uint refs;
};

/* Word <i> of a type whose values are words; NULL behind the last one, and for
   other types. */
static const char *
type_word(enum type type, unsigned i)
{
	static const char *const yes_no[] = {"no", "yes"};
	static const char *const versions[] = {"1.2", "1.3"};

	switch (type) {
	case TYPE_BOOL:
		return i < 2 ? yes_no[i] : NULL;
	case TYPE_TLS_VERSION:
		return i < 2 ? versions[i] : NULL;
	case TYPE_LEVEL:
		return i < LOG_LEVEL_COUNT ? log_level_word((enum log_level)i)
					   : NULL;
	case TYPE_FORMAT:
		return i < LOG_FORMAT_COUNT
			   ? log_format_word((enum log_format)i)
			   : NULL;
	case TYPE_CLOUD:
		return i < CONTRACT_CLOUD_COUNT
			   ? contract_cloud_word((enum contract_cloud)i)
			   : NULL;
	case TYPE_TEXT:
	case TYPE_ADDRESS:
	case TYPE_PATH:
	case TYPE_PORT:
	case TYPE_COUNT:
	case TYPE_BYTES:
	case TYPE_MS:
	case TYPE_SECONDS:
	case TYPE_TRANSPORTS:
	case TYPE_EGRESS:
	case TYPE_NETWORKS:
	case TYPE_RULE:
		break;
	}
	return NULL;
}

/* Types whose member is text; of all others it is a number or a word. */
static bool
is_text(enum type type)
{
	return type == TYPE_TEXT || type == TYPE_ADDRESS || type == TYPE_PATH;
}

static enum value_unit
unit_of(enum type type)
{
	if (type == TYPE_BYTES)
		return VALUE_BYTES;
	return type == TYPE_MS || type == TYPE_SECONDS ? VALUE_TIME
						       : VALUE_COUNT;
}

static unsigned
rule_of(const struct row *row)
{
	return (unsigned)(row - rows) - ROW_RULES;
}

/* From the unit of the member to that of value.h. */
static uint64_t
scale(enum type type)
{
	return type == TYPE_SECONDS ? 1000 : 1;
}

static char *
text_at(const struct row *row, struct settings *s)
{
	return (char *)s + row->offset;
}

static const char *
text_of(const struct row *row, const struct settings *s)
{
	return (const char *)s + row->offset;
}

static setting_TRANSPORTS *
transports_at(const struct row *row, struct settings *s)
{
	return (setting_TRANSPORTS *)((char *)s + row->offset);
}

static const setting_TRANSPORTS *
transports_of(const struct row *row, const struct settings *s)
{
	return (const setting_TRANSPORTS *)((const char *)s + row->offset);
}

static struct egress *
egress_at(const struct row *row, struct settings *s)
{
	return (struct egress *)((char *)s + row->offset);
}

static const struct egress *
egress_of(const struct row *row, const struct settings *s)
{
	return (const struct egress *)((const char *)s + row->offset);
}

static struct network_list *
networks_at(const struct row *row, struct settings *s)
{
	return (struct network_list *)((char *)s + row->offset);
}

static const struct network_list *
networks_of(const struct row *row, const struct settings *s)
{
	return (const struct network_list *)((const char *)s + row->offset);
}

/* <row>, which is of [listen], for listener <i>. */
static struct row
row_of_listener(const struct row *row, unsigned i)
{
	struct row own = *row;

	own.offset += i * sizeof(struct listener);
	return own;
}

/* The number or the word's place in a member. */
static uint64_t
number_of(const struct row *row, const struct settings *s)
{
	const void *at = (const char *)s + row->offset;

	switch (row->type) {
	case TYPE_PORT:
		return *(const setting_PORT *)at;
	case TYPE_COUNT:
		return *(const setting_COUNT *)at;
	case TYPE_BYTES:
		return *(const setting_BYTES *)at;
	case TYPE_MS:
		return *(const setting_MS *)at;
	case TYPE_SECONDS:
		return *(const setting_SECONDS *)at;
	case TYPE_BOOL:
		return *(const setting_BOOL *)at;
	case TYPE_LEVEL:
		return *(const setting_LEVEL *)at;
	case TYPE_FORMAT:
		return *(const setting_FORMAT *)at;
	case TYPE_TLS_VERSION:
		return (uint64_t)(*(const setting_TLS_VERSION *)at - 0x0303);
	case TYPE_CLOUD:
		return *(const setting_CLOUD *)at;
	case TYPE_RULE:
		return *(const setting_RULE *)at;
	case TYPE_TEXT:
	case TYPE_ADDRESS:
	case TYPE_PATH:
	case TYPE_TRANSPORTS:
	case TYPE_EGRESS:
	case TYPE_NETWORKS:
		break;
	}
	assert(false); /* neither a number nor a word */
	return 0;
}

static void
set_number(const struct row *row, struct settings *s, uint64_t n)
{
	void *at = (char *)s + row->offset;

	switch (row->type) {
	case TYPE_PORT:
		*(setting_PORT *)at = (setting_PORT)n;
		return;
	case TYPE_COUNT:
		*(setting_COUNT *)at = (setting_COUNT)n;
		return;
	case TYPE_BYTES:
		*(setting_BYTES *)at = n;
		return;
	case TYPE_MS:
		*(setting_MS *)at = n;
		return;
	case TYPE_SECONDS:
		*(setting_SECONDS *)at = (setting_SECONDS)n;
		return;
	case TYPE_BOOL:
		*(setting_BOOL *)at = n != 0;
		return;
	case TYPE_LEVEL:
		*(setting_LEVEL *)at = (setting_LEVEL)n;
		return;
	case TYPE_FORMAT:
		*(setting_FORMAT *)at = (setting_FORMAT)n;
		return;
	case TYPE_TLS_VERSION:
		*(setting_TLS_VERSION *)at = (setting_TLS_VERSION)n + 0x0303;
		return;
	case TYPE_CLOUD:
		*(setting_CLOUD *)at = (setting_CLOUD)n;
		return;
	case TYPE_RULE:
		*(setting_RULE *)at = (setting_RULE)n;
		return;
	case TYPE_TEXT:
	case TYPE_ADDRESS:
	case TYPE_PATH:
	case TYPE_TRANSPORTS:
	case TYPE_EGRESS:
	case TYPE_NETWORKS:
		break;
	}
	assert(false); /* neither a number nor a word */
}

/* Reads <text> into the member of <row>. False, with the member as it was, when
   it is none of the row's values. */
static bool
set(const struct row *row, struct settings *s, const char *text)
{
	char address[VALUE_ADDRESS_MAX];
	const char *word;
	uint64_t n;

	if (row->type == TYPE_TEXT || row->type == TYPE_PATH) {
		if (strlen(text) >= SETTING_TEXT_MAX)
			return false;
		strcpy(text_at(row, s), text);
		return true;
	}
	if (row->type == TYPE_ADDRESS) {
		if (!value_address(text, address))
			return false;
		strcpy(text_at(row, s), address);
		return true;
	}
	if (row->type == TYPE_TRANSPORTS)
		return transports_read(text, transports_at(row, s));
	if (row->type == TYPE_EGRESS)
		return egress_read(egress_at(row, s), text, &word);
	if (row->type == TYPE_NETWORKS)
		return strlen(text) < SETTING_TEXT_MAX &&
		       network_list_read(text, networks_at(row, s));
	if (row->type == TYPE_RULE)
		return contract_rule_read(&s->contract, rule_of(row), text);
	for (unsigned i = 0; (word = type_word(row->type, i)) != NULL; i++) {
		if (strcmp(text, word) == 0) {
			set_number(row, s, i);
			return true;
		}
	}
	if (type_word(row->type, 0) != NULL ||
	    !value_read(text, unit_of(row->type), &n) ||
	    n % scale(row->type) != 0)
		return false;
	n /= scale(row->type);
	if (n < row->least || n > row->most)
		return false;
	set_number(row, s, n);
	return true;
}

/* What set() would have taken, for a message. */
static void
describe(const struct row *row, char *out, size_t size)
{
	char least[VALUE_TEXT_MAX];
	char most[VALUE_TEXT_MAX];
	enum value_unit unit = unit_of(row->type);
	size_t at = 0;

	if (row->type == TYPE_TEXT || row->type == TYPE_PATH) {
		(void)snprintf(out, size, "a text of at most %d bytes",
		    SETTING_TEXT_MAX - 1);
		return;
	}
	if (row->type == TYPE_ADDRESS) {
		(void)snprintf(out, size, "a numeric IPv4 or IPv6 address");
		return;
	}
	if (row->type == TYPE_TRANSPORTS) {
		(void)snprintf(out, size, "%s", TRANSPORTS_ALLOWED);
		return;
	}
	if (row->type == TYPE_NETWORKS) {
		(void)snprintf(out, size,
		    "at most %d addresses and prefixes with commas between "
		    "them, as in 192.0.2.0/24, ::1",
		    NETWORK_LIST_MAX);
		return;
	}
	if (row->type == TYPE_RULE) {
		contract_rule_describe(rule_of(row), out, size);
		return;
	}
	if (type_word(row->type, 0) == NULL) {
		(void)snprintf(out, size, "%s to %s%s",
		    value_write(least, unit, row->least * scale(row->type)),
		    value_write(most, unit, row->most * scale(row->type)),
		    row->type == TYPE_SECONDS ? ", in whole seconds"
		    : unit == VALUE_TIME      ? ", as in 250ms, 10s, 5m, 2h"
		    : row->type == TYPE_BYTES ? ", as in 4096, 64K, 1M"
					      : "");
		return;
	}
	out[0] = '\0';
	for (unsigned i = 0; type_word(row->type, i) != NULL && at < size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%s",
		    i > 0 ? " or " : "", type_word(row->type, i));
}

struct loading {
	struct settings *s;
	const char *path;
	struct complaints *to;
	const struct row *section; /* its first row; NULL: not known */
	unsigned listener;         /* which, when that is [listen] */
	/* where sections (by their first row) and keys are; 0: not seen */
	int section_lines[ROW_COUNT];
	int lines[ROW_COUNT];
	int listener_sections[LISTENERS_MAX];
	int listener_lines[LISTENERS_MAX][ROW_LISTEN_COUNT];
};

/* ---- listeners ---- */

static void
begin_listener(struct settings *s, unsigned i, const char *section)
{
	strcpy(s->listeners[i].section, section);
	for (unsigned k = 0; k < ROW_LISTEN_COUNT; k++) {
		struct row row = row_of_listener(&rows[k], i);
		bool ok = set(&row, s, row.def);

		assert(ok);
		(void)ok;
	}
}

/* Whether <name> is a section of a listener, which is told of then. */
static bool
on_listener(struct loading *l, int line, const char *name)
{
	struct settings *s = l->s;
	unsigned i = 0;

	if (!listener_is_section(name))
		return false;
	while (
	    i < s->listener_count && strcmp(s->listeners[i].section, name) != 0)
		i++;
	if (i == LISTENERS_MAX) {
		complain(l->to, l->path, line,
		    "[%s]: at most %d listeners are allowed", name,
		    LISTENERS_MAX);
		return true;
	}
	if (i == s->listener_count) {
		begin_listener(s, i, name);
		s->listener_count++;
	}
	l->section = rows;
	l->listener = i;
	if (l->listener_sections[i] != 0)
		complain(l->to, l->path, line,
		    "[%s] comes twice, first in line %d: put its keys together",
		    name, l->listener_sections[i]);
	else
		l->listener_sections[i] = line;
	return true;
}

/* The line of a key of listener <i>, or of its section. */
static int
listener_line(const struct loading *l, unsigned i, const char *key)
{
	for (unsigned k = 0; k < ROW_LISTEN_COUNT; k++)
		if (strcmp(rows[k].key, key) == 0 &&
		    l->listener_lines[i][k] != 0)
			return l->listener_lines[i][k];
	return l->listener_sections[i];
}

static void
check_listener(const struct loading *l, unsigned i)
{
	const struct listener *listener = &l->s->listeners[i];
	const int *lines = l->listener_lines[i];
	char text[LISTENER_FLAW_MAX];
	const char *key = listener_flaw(listener, text);

	if (key != NULL)
		complain(l->to, l->path, listener_line(l, i, key), "%s", text);
	if (i > 0 && lines[ROW_LISTEN_port] == 0 &&
	    lines[ROW_LISTEN_socket] == 0)
		complain(l->to, l->path, l->listener_sections[i],
		    "[%s] needs a port, or a socket", listener->section);
	for (unsigned other = 0; other < i; other++) {
		/* [listen] is not there when the file has only others */
		if (other == 0 && l->listener_sections[0] == 0)
			continue;
		if (listener_same_place(&l->s->listeners[other], listener))
			complain(l->to, l->path, listener_line(l, i, "port"),
			    "[%s] is at the same place as [%s]",
			    listener->section, l->s->listeners[other].section);
	}
}

static void
check_listeners(const struct loading *l)
{
	for (unsigned i = 0; i < l->s->listener_count; i++)
		check_listener(l, i);
}

/* A file that has listeners with names, but no [listen], has no such. */
static void
complete_listeners(struct loading *l)
{
	struct settings *s = l->s;

	if (s->listener_count == 1 || l->listener_sections[0] != 0)
		return;
	s->listener_count--;
	memmove(s->listeners, s->listeners + 1,
	    s->listener_count * sizeof(s->listeners[0]));
}

/* ---- the file ---- */

static void
on_section(void *arg, int line, const char *name)
{
	struct loading *l = arg;
	char shown[64];
	int *first;

	l->section = NULL;
	if (on_listener(l, line, name))
		return;
	for (size_t i = 0; i < ROW_COUNT && l->section == NULL; i++)
		if (strcmp(rows[i].section, name) == 0)
			l->section = &rows[i];
	if (l->section == NULL) {
		complain(l->to, l->path, line, "there is no section [%s]",
		    escape(shown, sizeof(shown), span_of_string(name)));
		return;
	}
	first = &l->section_lines[l->section - rows];
	if (*first != 0)
		complain(l->to, l->path, line,
		    "[%s] comes twice, first in line %d: put its keys together",
		    name, *first);
	else
		*first = line;
}

static void
tell_unknown(struct loading *l, int line, const char *name)
{
	const struct row *best = NULL;
	unsigned best_distance = VALUE_NEAR + 1;

	for (size_t i = 0; i < ROW_COUNT; i++) {
		unsigned distance = value_distance(rows[i].key, name);
		bool here = strcmp(rows[i].section, l->section->section) == 0;

		/* of equal ones, one of this section */
		if (distance < best_distance ||
		    (distance == best_distance && best != NULL && here)) {
			best = &rows[i];
			best_distance = distance;
		}
	}
	if (best == NULL)
		complain(l->to, l->path, line, "[%s] has no key %s",
		    l->section->section, value_name_shown(name));
	else
		complain(l->to, l->path, line,
		    "[%s] has no key %s; did you mean [%s] %s?",
		    l->section->section, value_name_shown(name), best->section,
		    best->key);
}

/* Tells what is wrong with a value that set() has not taken. */
static void
tell_refused(
    struct loading *l, int line, const struct row *row, const char *value)
{
	char allowed[128];
	char shown[64];
	const char *why;

	if (row->type == TYPE_EGRESS) {
		/* may hold a password: is not shown */
		if (!egress_read(egress_at(row, l->s), value, &why))
			complain(l->to, l->path, line, "%s: %s", row->key, why);
		return;
	}
	describe(row, allowed, sizeof(allowed));
	complain(l->to, l->path, line, "%s = %s: allowed is %s", row->key,
	    escape(shown, sizeof(shown), span_of_string(value)), allowed);
}

static void
on_value(void *arg, int line, const char *name, const char *value)
{
	struct loading *l = arg;
	const struct row *row = NULL;
	struct row own;
	int *first;

	if (l->section == NULL)
		return; /* told with the section */
	for (size_t i = 0; i < ROW_COUNT && row == NULL; i++)
		if (strcmp(rows[i].section, l->section->section) == 0 &&
		    strcmp(rows[i].key, name) == 0)
			row = &rows[i];
	if (row == NULL) {
		tell_unknown(l, line, name);
		return;
	}
	first = &l->lines[row - rows];
	if (row - rows < ROW_LISTEN_COUNT) {
		first = &l->listener_lines[l->listener][row - rows];
		own = row_of_listener(row, l->listener);
		row = &own;
	}
	if (*first != 0) {
		complain(l->to, l->path, line,
		    "%s comes twice, first in line %d", name, *first);
		return;
	}
	*first = line;
	if (!set(row, l->s, value))
		tell_refused(l, line, row, value);
}

/* A token of RFC 9110 5.6.2. */
static bool
is_token(const char *text)
{
	return value_made_of(text, 1, SETTING_TEXT_MAX, "!#$%&'*+-.^_`|~");
}

static int
later(int a, int b)
{
	return a > b ? a : b;
}

/* What goes into Sec-WebSocket-Protocol. */
static void
check_subprotocol(
    const struct loading *l, const char *key, const char *word, int line)
{
	if (word[0] != '\0' && !is_token(word))
		complain(l->to, l->path, line,
		    "%s: one word of letters, digits, -, _ and . is allowed, "
		    "or nothing",
		    key);
}

static void
check_nameservers(const struct loading *l)
{
	struct address servers[NAMESERVERS_MAX];
	unsigned count;

	if (!address_read_list(
		l->s->cloud_nameservers, 53, servers, NAMESERVERS_MAX, &count))
		complain(l->to, l->path, l->lines[ROW_cloud_nameservers],
		    "nameservers: at most %d numeric addresses with blanks "
		    "between them are allowed, as in 192.0.2.1 "
		    "[2001:db8::1]:53",
		    NAMESERVERS_MAX);
}

static void
check_admin_socket(const struct loading *l)
{
	const char *path = l->s->admin_socket;

	if (settings_want_admin(l->s) &&
	    (path[0] != '/' || strlen(path) > ADMIN_SOCKET_MAX))
		complain(l->to, l->path, l->lines[ROW_admin_socket],
		    "socket: none is allowed, or a path of at most %d bytes "
		    "that starts with /",
		    ADMIN_SOCKET_MAX);
}

/* One address, with its port. */
static void
check_admin_listen(const struct loading *l)
{
	const char *at = l->s->admin_listen;
	struct address address;
	unsigned count;

	if (at[0] == '\0')
		return;
	if (!address_read_list(at, 0, &address, 1, &count) || count != 1 ||
	    ((struct sockaddr_in *)&address.storage)->sin_port == 0)
		complain(l->to, l->path, l->lines[ROW_admin_listen],
		    "listen: an address and a port are allowed, as in"
		    " 127.0.0.1:9441, [::1]:9441");
	if (!settings_want_admin(l->s))
		complain(l->to, l->path, l->lines[ROW_admin_listen],
		    "listen needs a socket too");
	if (l->s->admin_token_file[0] == '\0')
		complain(l->to, l->path, l->lines[ROW_admin_listen],
		    "listen needs a token_file: whoever reaches the port may"
		    " else end sessions");
}

/* What the table cannot say of a row. */
static void
check_rows(const struct loading *l)
{
	const struct settings *s = l->s;
	struct span bad;
	char shown[64];

	if (!no_proxy_valid(s->egress_no_proxy, &bad))
		complain(l->to, l->path, l->lines[ROW_egress_no_proxy],
		    "no_proxy: %s is no name, address or network, as in "
		    "example.com, 10.0.0.7, 10.0.0.0/8, fd00::/8, *",
		    escape(shown, sizeof(shown), bad));
	if (!value_path(s->cloud_path))
		complain(l->to, l->path, l->lines[ROW_cloud_path],
		    "path: it starts with / and holds no blanks, no # and "
		    "ASCII only");
	check_listeners(l);
	check_nameservers(l);
	check_admin_socket(l);
	check_admin_listen(l);
	check_subprotocol(l, "subprotocol", s->cloud_subprotocol,
	    l->lines[ROW_cloud_subprotocol]);
	check_subprotocol(l, "subprotocol_3_1", s->cloud_subprotocol_3_1,
	    l->lines[ROW_cloud_subprotocol_3_1]);
	if (transports_have(&s->cloud_transports, TRANSPORT_WS))
		warn_of(l->to, l->path, l->lines[ROW_cloud_transports],
		    "transports has ws: everything goes to the cloud in the "
		    "clear; for labs only");
	if (!s->tls_verify)
		warn_of(l->to, l->path, l->lines[ROW_tls_verify],
		    "verify = no: any certificate is taken, anyone on the way "
		    "can read and change everything; for labs only");
	if (s->tls_keylog_file[0] != '\0')
		warn_of(l->to, l->path, l->lines[ROW_tls_keylog_file],
		    "keylog_file: whoever has that file can read everything; "
		    "for labs only");
}

/* The line of the last of the keep-alives. */
static int
keep_alive_line(const struct loading *l)
{
	const int *lines = l->lines + ROW_RULES;

	return later(lines[CONTRACT_RULE_keep_alive_zero],
	    later(lines[CONTRACT_RULE_keep_alive_min],
		lines[CONTRACT_RULE_keep_alive_max]));
}

static void
check_contract(const struct loading *l)
{
	const struct settings *s = l->s;
	char why[CONTRACT_FLAW_MAX];

	if (!contract_fits(&s->contract, why))
		complain(l->to, l->path, keep_alive_line(l), "%s", why);
	else if (s->ping_interval_ms >
		 UINT64_C(1000) * s->contract.keep_alive_max)
		warn_of(l->to, l->path,
		    later(l->lines[ROW_ping_interval_ms],
			l->lines[ROW_RULES + CONTRACT_RULE_keep_alive_max]),
		    "ping_interval is over keep_alive_max, so it is never "
		    "reached");
}

/* What no row alone can say. */
static void
check_together(const struct loading *l)
{
	const struct settings *s = l->s;

	check_contract(l);
	if (s->tls_verify && !s->tls_system_roots &&
	    s->tls_ca_file[0] == '\0' && s->tls_ca_path[0] == '\0')
		complain(l->to, l->path, l->lines[ROW_tls_system_roots],
		    "system_roots = no leaves no trusted root: set ca_file or "
		    "ca_path");
	if ((s->tls_client_cert_file[0] != '\0') !=
	    (s->tls_client_key_file[0] != '\0'))
		complain(l->to, l->path,
		    later(l->lines[ROW_tls_client_cert_file],
			l->lines[ROW_tls_client_key_file]),
		    "client_cert_file and client_key_file belong together: "
		    "set both");
}

/* A relative path starts at the folder of the file it stands in, wherever the
   program was started. */
static void
place_path(const struct loading *l, size_t i)
{
	char *name = text_at(&rows[i], l->s);
	char path[PATH_MAX];
	const char *why = "the path is too long";

	if (name[0] == '\0')
		return;
	if (!file_beside(path, l->path, name, &why) ||
	    strlen(path) >= SETTING_TEXT_MAX) {
		complain(
		    l->to, l->path, l->lines[i], "%s: %s", rows[i].key, why);
		return;
	}
	strcpy(name, path);
	if (rows[i].least > 0 && access(name, R_OK) != 0)
		complain(l->to, l->path, l->lines[i],
		    "%s: %s cannot be read: %s", rows[i].key, name,
		    strerror(errno));
}

static void
place_paths(const struct loading *l)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (rows[i].type == TYPE_PATH)
			place_path(l, i);
}

static void
read_egress_password(const struct loading *l)
{
	const char *path = l->s->egress_password_file;
	const char *why;

	if (path[0] != '\0' &&
	    !egress_read_password(&l->s->egress_proxy, path, l->to, &why))
		complain(l->to, l->path, l->lines[ROW_egress_password_file],
		    "password_file: %s", why);
}

static const char *
token_flaw(const struct secret *token)
{
	for (size_t i = 0; i < token->n; i++)
		if (token->bytes[i] <= ' ' || token->bytes[i] >= 0x7f)
			return "the token is one line of ASCII without blanks";
	return token->n < ADMIN_TOKEN_MIN ? "the token has under 16 characters"
					  : NULL;
}

static void
read_admin_token(const struct loading *l)
{
	const char *path = l->s->admin_token_file;
	struct secret *token = &l->s->admin_token;
	const char *why;

	if (path[0] == '\0')
		return;
	if (secret_file_read("", path, l->to, token, &why))
		why = token_flaw(token);
	if (why == NULL)
		return;
	secret_wipe(token);
	complain(l->to, l->path, l->lines[ROW_admin_token_file],
	    "token_file: %s", why);
}

/* The name is not shown: it may be the key, put there by mistake. */
static void
check_key_file(const struct loading *l)
{
	const char *path = l->s->secrets_key_file;

	if (path[0] != '\0' && access(path, R_OK) != 0)
		complain(l->to, l->path, l->lines[ROW_secrets_key_file],
		    "key_file: what it names cannot be read: %s",
		    strerror(errno));
}

/* The rules that the file says nothing of are the cloud's. */
static void
complete_contract(const struct loading *l)
{
	struct contract plain;

	contract_of_cloud(l->s->contract_cloud, &plain);
	l->s->contract.cloud = plain.cloud;
	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++)
		if (l->lines[ROW_RULES + i] == 0)
			contract_rule_set(
			    &l->s->contract, i, contract_rule_value(&plain, i));
}

/* Reads the file, if there is one, and what of the environment it leaves to
   it. Errors are counted. */
static void
load_all(struct loading *l)
{
	const struct ini_handler handler = {on_section, on_value, l};
	unsigned errors = l->to->errors;

	if (l->path != NULL) {
		(void)!ini_read(l->path, &handler, l->to);
		complete_contract(l);
		check_rows(l);
		place_paths(l);
		complete_listeners(l);
		if (l->to->errors == errors) {
			check_together(l);
			read_egress_password(l);
			read_admin_token(l);
			check_key_file(l);
		}
	}
	if (l->to->errors == errors &&
	    l->s->egress_proxy.kind == EGRESS_BY_ENVIRONMENT)
		egress_environment_read(
		    &l->s->egress_environment, getenv, l->to);
}

struct settings *
settings_load(const char *path, struct complaints *to)
{
	struct shared *shared = secret_alloc(sizeof(*shared)); /* a password */
	struct loading l = {.path = path, .to = to};
	unsigned errors = to->errors;

	if (shared == NULL) {
		complain(to, path != NULL ? path : "", 0, "out of memory");
		return NULL;
	}
	atomic_init(&shared->refs, 1);
	l.s = &shared->settings;
	begin_listener(l.s, 0, "listen");
	l.s->listener_count = 1;
	for (size_t i = ROW_LISTEN_COUNT; i < ROW_COUNT; i++) {
		bool ok = set(&rows[i], l.s, rows[i].def);

		assert(ok);
		(void)ok;
	}
	load_all(&l);
	if (to->errors == errors)
		return l.s;
	secret_free(shared, sizeof(*shared));
	return NULL;
}

struct settings *
settings_ref(struct settings *s)
{
	struct shared *shared = (struct shared *)s;

	atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
	return s;
}

void
settings_unref(struct settings *s)
{
	struct shared *shared = (struct shared *)s;

	if (s != NULL && atomic_fetch_sub(&shared->refs, 1) == 1)
		secret_free(shared, sizeof(*shared));
}

const struct egress *
egress_for(const struct settings *s, bool tls, const char *host)
{
	const struct egress *egress = &s->egress_proxy;

	if (no_proxy_has(s->egress_no_proxy, host))
		return NULL;
	if (egress->kind == EGRESS_BY_ENVIRONMENT)
		return egress_environment_for(
		    &s->egress_environment, tls, host);
	return egress->kind == EGRESS_NONE ? NULL : egress;
}

bool
settings_want_admin(const struct settings *s)
{
	return strcmp(s->admin_socket, "none") != 0;
}

const struct listener *
settings_listener(const struct settings *s, const char *section)
{
	for (unsigned i = 0; i < s->listener_count; i++)
		if (strcmp(s->listeners[i].section, section) == 0)
			return &s->listeners[i];
	return NULL;
}

/* The value as it would stand in the file. */
static const char *
show(const struct row *row, const struct settings *s,
    char out[static NETWORK_LIST_TEXT_MAX])
{
	if (is_text(row->type))
		return text_of(row, s);
	if (row->type == TYPE_TRANSPORTS)
		return transports_write(transports_of(row, s), out);
	if (row->type == TYPE_EGRESS)
		return egress_show(egress_of(row, s), out);
	if (row->type == TYPE_NETWORKS)
		return network_list_write(out, networks_of(row, s));
	if (row->type == TYPE_RULE)
		return contract_rule_write(&s->contract, rule_of(row), out);
	if (type_word(row->type, 0) != NULL)
		return type_word(row->type, (unsigned)number_of(row, s));
	return value_write(
	    out, unit_of(row->type), number_of(row, s) * scale(row->type));
}

/* <row> of <a> and <other>, which is of the same key, of <b>. */
static bool
same(const struct row *row, const struct settings *a, const struct row *other,
    const struct settings *b)
{
	if (is_text(row->type))
		return strcmp(text_of(row, a), text_of(other, b)) == 0;
	if (row->type == TYPE_TRANSPORTS)
		return transports_same(
		    transports_of(row, a), transports_of(other, b));
	if (row->type == TYPE_EGRESS)
		return egress_same(egress_of(row, a), egress_of(other, b));
	if (row->type == TYPE_NETWORKS)
		return memcmp(networks_of(row, a), networks_of(other, b),
			   sizeof(struct network_list)) == 0;
	return number_of(row, a) == number_of(other, b);
}

/* Of a rule, that of the cloud that was chosen. */
static bool
has_default(const struct row *row, const struct settings *s)
{
	struct settings defaults;

	if (row->type == TYPE_RULE)
		return contract_rule_is_plain(&s->contract, rule_of(row));
	return set(row, &defaults, row->def) && same(row, s, row, &defaults);
}

struct showing {
	void (*tell)(void *arg, const char *section, const char *key,
	    const char *value, bool is_default);
	void *arg;
};

static void
show_row(const struct showing *to, const struct row *row,
    const struct settings *s, const char *section)
{
	bool is_default = has_default(row, s);
	char out[NETWORK_LIST_TEXT_MAX];

	/* "60s" rather than "1m", where the table says so */
	to->tell(to->arg, section, row->key,
	    is_default && row->type != TYPE_RULE ? row->def : show(row, s, out),
	    is_default);
}

void
settings_show(const struct settings *s,
    void (*tell)(void *arg, const char *section, const char *key,
	const char *value, bool is_default),
    void *arg)
{
	const struct showing to = {tell, arg};

	for (unsigned i = 0; i < s->listener_count; i++)
		for (size_t k = 0; k < ROW_LISTEN_COUNT; k++) {
			struct row row = row_of_listener(&rows[k], i);

			show_row(&to, &row, s, s->listeners[i].section);
		}
	for (size_t i = ROW_LISTEN_COUNT; i < ROW_COUNT; i++)
		show_row(&to, &rows[i], s, rows[i].section);
}

/* Those of listeners, by their sections. */
static void
fixed_changes_of_listeners(const struct settings *old,
    const struct settings *fresh,
    void (*tell)(void *arg, const char *section, const char *key), void *arg)
{
	for (unsigned i = 0; i < old->listener_count; i++) {
		const char *section = old->listeners[i].section;
		const struct listener *now = settings_listener(fresh, section);

		if (now == NULL) {
			tell(arg, section, rows[ROW_LISTEN_address].key);
			continue;
		}
		for (size_t k = 0; k < ROW_LISTEN_COUNT; k++) {
			struct row row = row_of_listener(&rows[k], i);
			struct row other = row_of_listener(
			    &rows[k], (unsigned)(now - fresh->listeners));

			if (!row.live && !same(&row, old, &other, fresh))
				tell(arg, section, row.key);
		}
	}
	for (unsigned i = 0; i < fresh->listener_count; i++)
		if (settings_listener(old, fresh->listeners[i].section) == NULL)
			tell(arg, fresh->listeners[i].section,
			    rows[ROW_LISTEN_address].key);
}

void
settings_fixed_changes(const struct settings *old, const struct settings *fresh,
    void (*tell)(void *arg, const char *section, const char *key), void *arg)
{
	fixed_changes_of_listeners(old, fresh, tell, arg);
	for (size_t i = ROW_LISTEN_COUNT; i < ROW_COUNT; i++)
		if (!rows[i].live && !same(&rows[i], old, &rows[i], fresh))
			tell(arg, rows[i].section, rows[i].key);
}
