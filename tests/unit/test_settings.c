#include "settings/settings.h"

#include "scratch.h"
#include "settings/value.h"
#include "unit.h"

#include <pthread.h>

#if SIZE_MAX > UINT32_MAX
#define TOTAL_BUFFER_MOST "16384M, as in"
#else
#define TOTAL_BUFFER_MOST "2048M, as in"
#endif

static struct settings *
load(struct scratch *s, const char *text)
{
	return settings_load(
	    scratch_write(s, "proxy.ini", span_of_string(text)),
	    &s->complaints);
}

/* settings_show() as "section.key=value\n", "!" behind what is no default. */
static char shown[8192];

static void
on_show(void *arg, const char *section, const char *key, const char *value,
    bool is_default)
{
	size_t n = strlen(shown);

	(void)arg;
	(void)snprintf(shown + n, sizeof(shown) - n, "%s.%s=%s%s\n", section,
	    key, value, is_default ? "" : "!");
}

static void
on_fixed(void *arg, const char *section, const char *key)
{
	size_t n = strlen(shown);

	(void)arg;
	(void)snprintf(shown + n, sizeof(shown) - n, "%s.%s ", section, key);
}

static void
test_defaults_are_those_of_the_table(void **state)
{
	static char want[8192];
	struct scratch *s = *state;
	struct settings *settings = settings_load(NULL, &s->complaints);
	struct settings *empty = load(s, "; nothing\n");

	assert_non_null(settings);
	assert_non_null(empty);
	want[0] = '\0';
#define X(section, key, type, member, def, least, most, live, what)            \
	strcat(want, section "." key "=" def "\n");
	ALL_SETTINGS(X)
#undef X
	shown[0] = '\0';
	settings_show(settings, on_show, NULL);
	assert_string_equal(shown, want);
	shown[0] = '\0';
	settings_show(empty, on_show, NULL);
	assert_string_equal(shown, want);
	/* and as the program sees them */
	assert_string_equal(settings->listeners[0].address, "0.0.0.0");
	assert_int_equal(settings->listeners[0].port, 1883);
	assert_int_equal(settings->contract.keep_alive_max, 1200);
	assert_int_equal(settings->ping_interval_ms, 60000);
	assert_int_equal(settings->ping_interval_min_ms, 20000);
	assert_int_equal(settings->packet_max_bytes, 1024 * 1024);
	assert_int_equal(settings->idle_timeout_ms, 3600 * 1000);
	assert_int_equal(settings->log_level, LOG_INFO);
	assert_int_equal(settings->tls_min_version, 0x0303);
	assert_int_equal(settings->cloud_transports.order[0], TRANSPORT_WSS);
	assert_true(settings->tls_verify);
	assert_told(s, "");
	settings_unref(empty);
	settings_unref(settings);
	settings_unref(NULL);
}

/* The sections of the table must not be interleaved: readers of the file and
   of settings_show() rely on it. No key may come twice. */
static void
test_table_is_in_order(void **state)
{
	static const char *const names[][2] = {
#define X(section, key, type, member, def, least, most, live, what)            \
	{section, key},
	    ALL_SETTINGS(X)
#undef X
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		for (size_t j = 0; j < i; j++) {
			bool same = strcmp(names[i][0], names[j][0]) == 0;

			assert_false(
			    same && strcmp(names[i][1], names[j][1]) == 0);
			assert_true(
			    !same || strcmp(names[i - 1][0], names[i][0]) == 0);
		}
	}
}

static void
test_reads_every_type(void **state)
{
	struct scratch *s = *state;
	const char *roots = scratch_write(s, "a b.pem", SPAN_OF("x"));
	char ca_file[256];
	struct settings *settings;

	(void)snprintf(ca_file, sizeof(ca_file), "%s", roots);
	settings = load(s,
	    "[listen]\naddress = ::ffff:10.1.2.3\nport = 0\n"
	    "[cloud]\npath = /a/b?c=d\ntransports = ws\nsubprotocol =\n"
	    "resolve_timeout = 2\nping_interval = 1500ms\n"
	    "ping_timeout = 3\n"
	    "[tls]\nca_file = a b.pem\nmin_version = 1.3\n"
	    "verify = no\n"
	    "[limits]\nworkers = 3\nconnect_max = 4096\npacket_max = 2M\n"
	    "session_buffer = 100K\nidle_timeout = 2h\n"
	    "[log]\nlevel = debug\n[contract]\nkeep_alive_min = 2m\n");

	assert_non_null(settings);
	assert_string_equal(settings->listeners[0].address, "10.1.2.3");
	assert_int_equal(settings->listeners[0].port, 0);
	assert_string_equal(settings->cloud_path, "/a/b?c=d");
	assert_int_equal(settings->cloud_transports.order[0], TRANSPORT_WS);
	assert_string_equal(settings->cloud_subprotocol, "");
	assert_int_equal(settings->contract.keep_alive_min, 120);
	assert_int_equal(settings->ping_interval_ms, 1500);
	assert_int_equal(settings->ping_timeout_ms, 3000);
	/* relative to the file it stands in, not to where we are */
	assert_string_equal(settings->tls_ca_file, ca_file);
	assert_int_equal(settings->tls_min_version, 0x0304);
	assert_false(settings->tls_verify);
	assert_int_equal(settings->workers, 3);
	assert_int_equal(settings->connect_max_bytes, 4096);
	assert_int_equal(settings->packet_max_bytes, 2 * 1024 * 1024);
	assert_int_equal(settings->session_buffer_bytes, 100 * 1024);
	assert_int_equal(settings->idle_timeout_ms, 7200 * 1000);
	assert_int_equal(settings->log_level, LOG_DEBUG);
	assert_told(s,
	    "warning 6: transports has ws: everything goes to the cloud in the "
	    "clear; for labs only\n"
	    "warning 14: verify = no: any certificate is taken, anyone on the "
	    "way can read and change everything; for labs only\n");
	shown[0] = '\0';
	settings_show(settings, on_show, NULL);
	assert_non_null(strstr(shown, "listen.address=10.1.2.3!\n"));
	assert_non_null(strstr(shown, "contract.keep_alive_min=2m!\n"));
	assert_non_null(strstr(shown, "cloud.ping_interval=1500ms!\n"));
	assert_non_null(strstr(shown, "cloud.subprotocol=!\n"));
	assert_non_null(strstr(shown, "limits.connect_max=4K!\n"));
	assert_non_null(strstr(shown, "tls.min_version=1.3!\n"));
	assert_non_null(strstr(shown, "tls.verify=no!\n"));
	assert_non_null(strstr(shown, "log.level=debug!\n"));
	settings_unref(settings);
}

/* Listeners with names: each as [listen] but for what it says itself. */
static void
test_listeners(void **state)
{
	static const char text[] =
	    "[listen]\nport = 1884\n"
	    "[listen:plc]\naddress = ::1\nport = 1885\ninterface = eth1\n"
	    "allow_from = 192.168.1.0/24,  ::1\n"
	    "[listen:local]\nsocket = /run/x.sock\n"
	    "[listen:balancer]\nport = 0\nproxy_protocol = yes\n"
	    "proxy_from = 10.0.0.7\n";
	struct scratch *s = *state;
	struct settings *settings = load(s, text);
	struct settings *others = load(s, strchr(text, ']') + 14);
	const struct listener *l;
	struct network from;

	assert_told(s, "");
	assert_non_null(settings);
	assert_int_equal(settings->listener_count, 4);
	assert_string_equal(listener_name(&settings->listeners[0]), "listen");
	assert_int_equal(settings->listeners[0].port, 1884);
	l = settings_listener(settings, "listen:plc");
	assert_non_null(l);
	assert_string_equal(listener_name(l), "plc");
	assert_string_equal(l->address, "::1");
	assert_string_equal(l->interface, "eth1");
	assert_int_equal(l->backlog, 1024);
	assert_true(network_read("192.168.1.77", &from));
	assert_true(network_list_has(&l->allow_from, &from));
	assert_true(network_read("192.168.2.1", &from));
	assert_false(network_list_has(&l->allow_from, &from));
	assert_true(
	    settings_listener(settings, "listen:balancer")->proxy_protocol);
	assert_null(settings_listener(settings, "listen:none"));
	/* without [listen] there is none */
	assert_non_null(others);
	assert_int_equal(others->listener_count, 3);
	assert_string_equal(others->listeners[0].section, "listen:plc");
	shown[0] = '\0';
	settings_show(others, on_show, NULL);
	assert_ptr_equal(strstr(shown, "listen:plc.address=::1!\n"), shown);
	assert_non_null(
	    strstr(shown, "listen:plc.allow_from=192.168.1.0/24,::1!\n"));
	shown[0] = '\0';
	settings_fixed_changes(settings, others, on_fixed, NULL);
	assert_string_equal(shown, "listen.address ");
	shown[0] = '\0';
	settings_fixed_changes(others, settings, on_fixed, NULL);
	assert_string_equal(shown, "listen.address ");
	settings_unref(others);
	settings_unref(settings);
}

static void
test_wrong_listeners(void **state)
{
	static const struct {
		const char *text;
		const char *told;
	} cases[] = {
	    {"[listen:]\nport = 1\n", "there is no section [listen:]"},
	    {"[listen:a b]\nport = 1\n", "there is no section [listen:a b]"},
	    {"[listen:listen]\nport = 1\n",
		"there is no section [listen:listen]"},
	    {"[listen:a]\nbacklog = 1\n",
		"error 1: [listen:a] needs a port, or a socket"},
	    {"[listen:a]\nport = 1\n[cloud]\n[listen:a]\n",
		"error 4: [listen:a] comes twice, first in line 1"},
	    {"[listen]\n[listen:a]\nport = 1883\n",
		"error 3: [listen:a] is at the same place as [listen]"},
	    {"[listen:a]\nport = 1\nproxy_protocol = yes\n",
		"error 3: proxy_protocol: set proxy_from"},
	    {"[listen:a]\nsocket = x.sock\n", "error 2: socket: a path of"},
	    {"[listen:a]\nsocket = /x\nallow_from = ::1\n",
		"error 3: allow_from: who comes by a Unix socket"},
	    {"[listen]\nallow_from = 10.0.0.0/8 ::1\n",
		"error 2: allow_from = 10.0.0.0/8 ::1: allowed is at most 8"},
	    {"[listen]\ninterface = a/b\n", "error 2: interface: the name of"},
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		assert_null(load(s, cases[i].text));
		assert_told_once(s, cases[i].told);
		scratch_reset(s);
	}
}

/* What is shown, read as a file, gives the same. */
static void
on_show_as_file(void *arg, const char *section, const char *key,
    const char *value, bool is_default)
{
	char *last = arg;
	size_t n = strlen(shown);

	(void)is_default;
	if (strcmp(last, section) != 0)
		n += (size_t)snprintf(
		    shown + n, sizeof(shown) - n, "[%s]\n", section);
	strcpy(last, section);
	(void)snprintf(shown + n, sizeof(shown) - n, "%s = %s\n", key, value);
}

static void
test_what_is_shown_can_be_read(void **state)
{
	static char text[8192];
	static char first[8192];
	char last[32] = "";
	struct scratch *s = *state;
	struct settings *a =
	    load(s, "[listen]\naddress = ::\n[cloud]\nping_timeout = 1001ms\n"
		    "[limits]\npacket_max = 12345\ndrain_timeout = 0\n"
		    "[tls]\nmin_version = 1.3\n");
	struct settings *b;

	assert_non_null(a);
	shown[0] = '\0';
	settings_show(a, on_show_as_file, last);
	strcpy(text, shown);
	shown[0] = '\0';
	settings_show(a, on_show, NULL);
	strcpy(first, shown);
	b = load(s, text);
	assert_told(s, "");
	assert_non_null(b);
	shown[0] = '\0';
	settings_show(b, on_show, NULL);
	assert_string_equal(shown, first);
	settings_unref(a);
	settings_unref(b);
}

static void
test_refuses_values_with_their_range(void **state)
{
	static const struct {
		const char *text;
		const char *told;
	} cases[] = {
	    {"[listen]\nport = 65536",
		"error 2: port = 65536: allowed is 0 to 65535\n"},
	    {"[listen]\nport = -1", "0 to 65535"},
	    {"[listen]\nport =", "0 to 65535"},
	    {"[listen]\nport = 18446744073709551617", "0 to 65535"},
	    {"[listen]\nport = 0x50", "0 to 65535"},
	    {"[listen]\naddress = localhost", "numeric IPv4 or IPv6"},
	    {"[listen]\naddress = 1.2.3", "numeric IPv4 or IPv6"},
	    {"[limits]\nworkers = 257", "0 to 256"},
	    {"[limits]\nconnect_max = 2G", "64 to 1M, as in 4096"},
	    {"[limits]\nconnect_max = 63", "64 to 1M"},
	    {"[limits]\ntotal_buffer = 18014398509481985K",
		"1M to " TOTAL_BUFFER_MOST},
	    {"[limits]\ntotal_buffer = 16385M",
		"total_buffer = 16385M: allowed is 1M to " TOTAL_BUFFER_MOST},
	    {"[cloud]\ntls_timeout = 49ms",
		"50ms to 2m, as in 250ms, 10s, 5m, 2h"},
	    {"[cloud]\ntls_timeout = 3m", "50ms to 2m"},
	    {"[cloud]\ntls_timeout = 10 s", "50ms to 2m"},
	    {"[cloud]\ntls_timeout = 5124095576030432h", "50ms to 2m"},
	    {"[contract]\nkeep_alive_min = 1500ms",
		"0 to 65535s, in whole seconds"},
	    {"[contract]\ncloud = other", "allowed is aliyun or none"},
	    {"[contract]\nqos_max = 3", "qos_max = 3: allowed is 0 to 2\n"},
	    {"[contract]\nwill_3 = 1", "allowed is no or yes"},
	    {"[contract]\nmessage_max = 512M", "0 to 256M, as in 4096"},
	    {"[cloud]\ntransports = tcp", "allowed is wss, mqtts or ws"},
	    {"[cloud]\npath = mqtt", "it starts with /"},
	    {"[cloud]\npath =", "it starts with /"},
	    {"[cloud]\npath = /a b", "it starts with /"},
	    {"[cloud]\nnameservers = dns.example", "3 numeric addresses"},
	    {"[cloud]\nnameservers = ::1 ::2 ::3 ::4", "3 numeric addresses"},
	    {"[cloud]\nsubprotocol = mqtt, x", "one word"},
	    {"[cloud]\nsubprotocol_3_1 = a b", "subprotocol_3_1: one word"},
	    {"[tls]\nverify = true", "allowed is no or yes"},
	    {"[tls]\nmin_version = 1.1", "allowed is 1.2 or 1.3"},
	    {"[tls]\nsystem_roots = no", "leaves no trusted root"},
	    {"[log]\nlevel = loud",
		"error or warning or notice or info or debug"},
	    {"[log]\nlevel = \xe5\x93\x8d", "level = \\xe5\\x93\\x8d: "},
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		assert_null(load(s, cases[i].text));
		assert_memory_equal(s->told, "error 2: ", 9);
		assert_told_once(s, cases[i].told);
	}
}

static void
test_bounds_are_allowed(void **state)
{
	struct scratch *s = *state;
	char text[256];
	char n[VALUE_TEXT_MAX];
	struct settings *settings;

#define NUMBER(unit, section, key, value)                                      \
	do {                                                                   \
		(void)snprintf(text, sizeof(text), "[%s]\n%s = %s\n", section, \
		    key, value_write(n, unit, value));                         \
		settings = load(s, text);                                      \
		if (settings == NULL)                                          \
			fail_msg("%s: %s", text, s->told);                     \
		settings_unref(settings);                                      \
		scratch_reset(s);                                              \
	} while (0)
#define TRY_PORT(a, b, c) NUMBER(VALUE_COUNT, a, b, c)
#define TRY_COUNT(a, b, c) NUMBER(VALUE_COUNT, a, b, c)
#define TRY_BYTES(a, b, c) NUMBER(VALUE_BYTES, a, b, c)
#define TRY_MS(a, b, c) NUMBER(VALUE_TIME, a, b, c)
#define TRY_SECONDS(a, b, c) NUMBER(VALUE_TIME, a, b, UINT64_C(1000) * (c))
#define TRY_TEXT(a, b, c) (void)(c)
#define TRY_ADDRESS(a, b, c) (void)(c)
#define TRY_PATH(a, b, c) (void)(c)
#define TRY_BOOL(a, b, c) (void)(c)
#define TRY_NETWORKS(a, b, c) (void)(c)
#define TRY_LEVEL(a, b, c) (void)(c)
#define TRY_FORMAT(a, b, c) (void)(c)
#define TRY_TRANSPORTS(a, b, c) (void)(c)
#define TRY_TLS_VERSION(a, b, c) (void)(c)
#define TRY_EGRESS(a, b, c) (void)(c)
#define TRY_CLOUD(a, b, c) (void)(c)
#define TRY_RULE(a, b, c) (void)(c) /* see test_contract.c */
#define X(section, key, type, member, def, least, most, live, what)            \
	TRY_##type(section, key, least);                                       \
	TRY_##type(section, key, most);
	ALL_SETTINGS(X)
#undef X
}

static void
test_tells_all_errors_of_a_file(void **state)
{
	struct scratch *s = *state;

	assert_null(load(s, "[listen]\n"
			    "prot = 1883\n"
			    "port = x\n"
			    "port = 1883\n"
			    "connect_timeout = 3s\n"
			    "zzzzzzzz = 1\n"
			    "0123456789abcdef = 1\n"
			    "[cluod]\n"
			    "port = 99999\n"
			    "[cloud]\n"
			    " port = 443\n"
			    "path = x\n"
			    "[listen]\n"
			    "backlog = 0\n"));
	assert_told(s,
	    "error 2: [listen] has no key prot; did you mean [listen] port?\n"
	    "error 3: port = x: allowed is 0 to 65535\n"
	    "error 4: port comes twice, first in line 3\n"
	    "error 5: [listen] has no key connect_timeout; did you mean "
	    "[limits] connect_timeout?\n"
	    "error 6: [listen] has no key zzzzzzzz\n"
	    "error 7: [listen] has no key ?\n"
	    "error 8: there is no section [cluod]\n"
	    "error 11: the line is indented: take the blanks at its start "
	    "off\n"
	    "error 13: [listen] comes twice, first in line 1: put its keys "
	    "together\n"
	    "error 14: backlog = 0: allowed is 1 to 65535\n"
	    "error 12: path: it starts with / and holds no blanks, no # and "
	    "ASCII only\n");
}

static void
test_roots_can_be_read(void **state)
{
	struct scratch *s = *state;

	assert_null(load(s, "[tls]\n\nca_file = none.pem\n"));
	assert_non_null(strstr(s->told, "error 3: ca_file: "));
	assert_told_once(s, "/none.pem cannot be read: No such file");
	assert_null(load(s, "[tls]\nca_file = /none.pem\n"));
	assert_told_once(s, "ca_file: /none.pem cannot be read");
}

/* Where systemd has put a service's credentials; other variables mean nothing.
 */
static void
test_paths_of_credentials(void **state)
{
	struct scratch *s = *state;
	struct settings *settings;
	char path[256];

	(void)snprintf(path, sizeof(path), "%s",
	    scratch_write(s, "pw", SPAN_OF("hush\n")));
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", s->folder, 1), 0);
	settings = load(s, "[tls]\npin_file = ${CREDENTIALS_DIRECTORY}/pw\n"
			   "[egress]\nproxy = http://me@p\n"
			   "password_file = ${CREDENTIALS_DIRECTORY}/pw\n");
	assert_told(s, "");
	assert_non_null(settings);
	assert_string_equal(settings->tls_pin_file, path);
	assert_string_equal(settings->egress_password_file, path);
	assert_true(
	    secret_eq(&settings->egress_proxy.password, SPAN_OF("hush")));
	settings_unref(settings);

	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	assert_null(load(s, "[egress]\nproxy = http://me@p\n"
			    "password_file = ${CREDENTIALS_DIRECTORY}/pw\n"));
	assert_told_once(s,
	    "error 3: password_file: the environment has no "
	    "CREDENTIALS_DIRECTORY: a service gets it by a LoadCredential= ");
	assert_null(load(s, "[tls]\nca_file = ${HOME}/pw\n"));
	assert_told_once(s, "/${HOME}/pw cannot be read: No such file");
}

/* The key itself may stand where its file belongs. */
static void
test_key_file(void **state)
{
	struct scratch *s = *state;
	struct settings *settings;

	assert_null(load(s, "[secrets]\nkey_file = 0123456789abcdef\n"));
	assert_told(s,
	    "error 2: key_file: what it names cannot be read: No such file or "
	    "directory\n");
	(void)scratch_write(s, "key", SPAN_OF("x"));
	settings = load(s, "[secrets]\nkey_file = key\n");
	assert_told(s, "");
	assert_non_null(settings);
	settings_unref(settings);
}

/* Each starts at the folder of the file; all but the key log must be there. */
static void
test_paths(void **state)
{
	static const char *const keys[] = {"[tls]\nca_file", "[tls]\nca_path",
	    "[tls]\npin_file", "[tls_mqtts]\nca_file", "[tls_mqtts]\nca_path",
	    "[tls_mqtts]\npin_file"};
	struct scratch *s = *state;
	char text[512], want[256];
	struct settings *settings;

	for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
		(void)snprintf(text, sizeof(text), "%s = none\n", keys[i]);
		assert_null(load(s, text));
		assert_memory_equal(s->told, "error 2: ", 9);
		assert_told_once(s, "/none cannot be read: No such file");
		(void)snprintf(text, sizeof(text), "%s = %0159d\n", keys[i], 1);
		assert_null(load(s, text));
		assert_told_once(s, "the path is too long");
	}
	settings = load(s, "[tls]\nkeylog_file = keys\n");
	assert_non_null(settings);
	(void)snprintf(want, sizeof(want), "%s/keys", s->folder);
	assert_string_equal(settings->tls_keylog_file, want);
	assert_told(s, "warning 2: keylog_file: whoever has that file can read "
		       "everything; for labs only\n");
	settings_unref(settings);
	/* a folder of roots will do where the system's are not trusted */
	settings = load(s, "[tls]\nca_path = .\nsystem_roots = no\n");
	assert_told(s, "");
	assert_non_null(settings);
	settings_unref(settings);
}

static void
test_certificate_and_key_belong_together(void **state)
{
	struct scratch *s = *state;
	struct settings *settings;

	(void)scratch_write(s, "a.pem", SPAN_OF("x"));
	assert_null(load(s, "[tls]\nclient_cert_file = a.pem\n"));
	assert_told(s, "error 2: client_cert_file and client_key_file belong "
		       "together: set both\n");
	assert_null(load(s, "[tls]\n\nclient_key_file = a.pem\n"));
	assert_told_once(s, "error 3: client_cert_file and");
	settings = load(
	    s, "[tls]\nclient_cert_file = a.pem\nclient_key_file = a.pem\n");
	assert_told(s, "");
	assert_non_null(settings);
	settings_unref(settings);
}

static void
test_keep_alives_fit_together(void **state)
{
	struct scratch *s = *state;

	assert_null(load(s, "[contract]\nkeep_alive_max = 29s\n"));
	assert_told(
	    s, "error 2: keep_alive_min (30s) is over keep_alive_max (29s)\n");
	assert_null(load(
	    s, "[contract]\nkeep_alive_zero = 20s\nkeep_alive_min = 21\n"));
	assert_told(s,
	    "error 3: keep_alive_zero (20s) is not between keep_alive_min "
	    "(21s) and keep_alive_max (1200s)\n");
	assert_null(load(s, "[contract]\nkeep_alive_max = 299\n"));
	assert_told_once(s, "error 2: keep_alive_zero (300s)");
	settings_unref(
	    load(s, "[contract]\nkeep_alive_min = 50\nkeep_alive_zero = 50\n"
		    "keep_alive_max = 50\n"));
	assert_told_once(s, "warning 4: ping_interval is over keep_alive_max");
	/* that 0 passes */
	settings_unref(load(s, "[contract]\nkeep_alive_zero = 0\n"));
	assert_told(s, "");
}

/* The cloud gives the rules that the file does not, wherever it stands. */
static void
test_contract(void **state)
{
	struct scratch *s = *state;
	struct settings *settings =
	    load(s, "[contract]\nqos_max = 1\ncloud = none\nwill_5 = no\n");
	struct contract none;

	assert_told(s, "");
	assert_non_null(settings);
	contract_of_cloud(CONTRACT_NONE, &none);
	none.qos_max = 1;
	none.will_5 = 0;
	assert_memory_equal(&settings->contract, &none, sizeof(none));
	shown[0] = '\0';
	settings_show(settings, on_show, NULL);
	assert_non_null(strstr(shown, "contract.cloud=none!\n"));
	assert_non_null(strstr(shown, "contract.qos_max=1!\n"));
	assert_non_null(strstr(shown, "contract.will_5=no!\n"));
	assert_non_null(strstr(shown, "contract.will_3=yes\n"));
	assert_non_null(strstr(shown, "contract.keep_alive_max=65535s\n"));
	settings_unref(settings);
}

static void
test_names_what_cannot_change(void **state)
{
	struct scratch *s = *state;
	struct settings *a = settings_load(NULL, &s->complaints);
	struct settings *b = load(s,
	    "[listen]\nport = 1884\naddress = ::1\n[log]\nlevel = error\n"
	    "[limits]\nworkers = 2\n");

	assert_non_null(b);
	shown[0] = '\0';
	settings_fixed_changes(a, b, on_fixed, NULL);
	assert_string_equal(
	    shown, "listen.address listen.port limits.workers ");
	shown[0] = '\0';
	settings_fixed_changes(a, a, on_fixed, NULL);
	assert_string_equal(shown, "");
	settings_unref(a);
	settings_unref(b);
}

static void *
hold_and_drop(void *arg)
{
	struct settings *settings = arg;

	for (int i = 0; i < 10000; i++)
		settings_unref(settings_ref(settings));
	settings_unref(settings);
	return NULL;
}

/* A sanitizer sees it when it is freed too early, twice or never. */
static void
test_is_shared_by_threads(void **state)
{
	struct scratch *s = *state;
	struct settings *settings = settings_load(NULL, &s->complaints);
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
				     hold_and_drop, settings_ref(settings)),
		    0);
	settings_unref(settings);
	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void
test_value_texts(void **state)
{
	char out[VALUE_TEXT_MAX];
	char address[VALUE_ADDRESS_MAX];
	uint64_t n;

	(void)state;
	assert_string_equal(value_write(out, VALUE_TIME, 0), "0");
	assert_string_equal(value_write(out, VALUE_TIME, 90 * 1000), "90s");
	assert_string_equal(value_write(out, VALUE_TIME, 1), "1ms");
	assert_string_equal(value_write(out, VALUE_BYTES, 1536), "1536");
	assert_string_equal(
	    value_write(out, VALUE_COUNT, UINT64_MAX), "18446744073709551615");
	assert_true(value_read("18446744073709551615", VALUE_COUNT, &n));
	assert_true(n == UINT64_MAX);
	assert_false(value_read("18446744073709551616", VALUE_COUNT, &n));
	assert_false(value_read("18446744073709551615", VALUE_TIME, &n));
	assert_false(value_read("1K", VALUE_COUNT, &n));
	assert_false(value_read("1k", VALUE_BYTES, &n));
	assert_false(value_read("+1", VALUE_COUNT, &n));
	assert_false(value_read("1.5s", VALUE_TIME, &n));
	assert_true(value_address("2001:DB8:0::1", address));
	assert_string_equal(address, "2001:db8::1");
	assert_false(value_address("[::1]", address));
	assert_false(value_address("010.0.0.1", address));
	assert_int_equal(value_distance("kitten", "sitting"), 3);
	assert_int_equal(value_distance("", "ab"), 2);
	assert_int_equal(value_distance("port", "prot"), 2);
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_defaults_are_those_of_the_table),
	    TEST(test_table_is_in_order),
	    TEST(test_reads_every_type),
	    TEST(test_listeners),
	    TEST(test_wrong_listeners),
	    TEST(test_what_is_shown_can_be_read),
	    TEST(test_refuses_values_with_their_range),
	    TEST(test_bounds_are_allowed),
	    TEST(test_tells_all_errors_of_a_file),
	    TEST(test_roots_can_be_read),
	    TEST(test_paths),
	    TEST(test_key_file),
	    TEST(test_paths_of_credentials),
	    TEST(test_certificate_and_key_belong_together),
	    TEST(test_keep_alives_fit_together),
	    TEST(test_contract),
	    TEST(test_names_what_cannot_change),
	    TEST(test_is_shared_by_threads),
	    TEST(test_value_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
