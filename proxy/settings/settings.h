/*
 * settings: proxy.ini as one immutable object. Each key is one row of the table
 * SETTINGS below; reader, "check" output, sample file and manual follow it, and
 * a test compares them.
 *
 * Reference-counted: every thread may hold one and read it without a lock.
 */
#ifndef PROXY_SETTINGS_SETTINGS_H
#define PROXY_SETTINGS_SETTINGS_H

#include "base/attr.h"
#include "base/log.h"
#include "base/secret.h"
#include "settings/complaints.h"
#include "settings/contract.h"
#include "settings/egress.h"
#include "settings/listener.h"
#include "settings/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SETTING_TEXT_MAX = 160,
	NAMESERVERS_MAX = 3,
	ADMIN_TOKEN_MIN = 16,  /* characters */
	ADMIN_SOCKET_MAX = 107 /* what a Unix socket's address holds */
};

/* In bytes. A process of 32 bits has no more than 3 GiB to give. */
#define TOTAL_BUFFER_MAX                                                       \
	(SIZE_MAX > UINT32_MAX ? UINT64_C(17179869184) : UINT64_C(2147483648))

#define ADMIN_SOCKET_DEFAULT "/run/mqtt-wss-proxy/admin.sock"

/*
 * section, key, type, C member, default, least, most, may change on reload,
 * what it is. Types: TEXT (SETTING_TEXT_MAX bytes with NUL), ADDRESS (a numeric
 * IPv4 or IPv6 address as text), PATH (text; a relative one starts at the
 * folder of the file it stands in; least 1: what it names must be there), PORT,
 * COUNT (a number), BYTES (a number, K and M understood, 1024-based), MS (a
 * time: "250ms", "10s", "5m", "2h"; plain numbers are seconds; kept in
 * milliseconds), SECONDS (the same, kept in seconds), BOOL (yes or no), LEVEL
 * (log level), FORMAT (of the log), TRANSPORTS (a list of them), TLS_VERSION
 * (1.2 or 1.3). EGRESS (a proxy as egress_read() takes it), NETWORKS (a list of
 * addresses and prefixes), CLOUD (a column of settings/contract.h). Bounds of
 * times are in the unit of the member. The rules of [contract] stand in their
 * own table, see ALL_SETTINGS.
 */
/* clang-format off */
#define SETTINGS(X) \
X("cloud", "port",             PORT,      cloud_port,            "443", 1, 65535, true, "the cloud's port, unless a product or device has its own") \
X("cloud", "mqtts_port",       PORT,      cloud_mqtts_port,      "8883", 1, 65535, true, "the same for transport mqtts") \
X("cloud", "path",             TEXT,      cloud_path,            "/mqtt", 0, 0, true, "the WebSocket path, unless a product or device has its own") \
X("cloud", "transports",       TRANSPORTS, cloud_transports,     "wss", 0, 0, true, "wss, mqtts (MQTT in TLS without WebSocket), ws (plain, for labs only), or several: the next one is tried when one cannot be had") \
X("cloud", "subprotocol",      TEXT,      cloud_subprotocol,     "mqtt", 0, 0, true, "the WebSocket subprotocol offered; empty: none") \
X("cloud", "subprotocol_3_1",  TEXT,      cloud_subprotocol_3_1, "", 0, 0, true, "another subprotocol for devices of MQTT 3.1, such as mqttv3.1; empty: the same") \
X("cloud", "retry_after_max",  MS,        retry_after_max_ms,    "1h", 0, 86400000, true, "how long the cloud may ask not to be dialled (HTTP Retry-After)") \
X("cloud", "ping_interval",    MS,        ping_interval_ms,      "60s", 100, 1200000, true, "a ping is sent to the cloud when nothing was written for so long") \
X("cloud", "ping_interval_min", MS,       ping_interval_min_ms,  "20s", 100, 1200000, true, "where idle connections are cut, the proxy pings more often by itself, down to this; as ping_interval or more: never") \
X("cloud", "ping_timeout",     MS,        ping_timeout_ms,       "20s", 100, 600000, true, "the link is lost when a ping is not answered in this time") \
X("cloud", "nameservers",      TEXT,      cloud_nameservers,     "", 0, 0, true, "DNS servers to ask instead of those of this machine; empty: those") \
X("cloud", "resolve_timeout",  MS,        resolve_timeout_ms,    "5s", 50, 120000, true, "to resolve the cloud's host") \
X("cloud", "tcp_timeout",      MS,        tcp_timeout_ms,        "10s", 50, 120000, true, "to connect, over all addresses") \
X("cloud", "tls_timeout",      MS,        tls_timeout_ms,        "10s", 50, 120000, true, "for the TLS handshake") \
X("cloud", "upgrade_timeout",  MS,        upgrade_timeout_ms,    "10s", 50, 120000, true, "for the answer to the WebSocket request") \
X("cloud", "login_timeout",    MS,        login_timeout_ms,      "10s", 50, 120000, true, "for the cloud's CONNACK") \
X("cloud", "write_timeout",    MS,        cloud_write_timeout_ms, "60s", 100, 3600000, true, "the link is lost when the cloud takes nothing for so long") \
X("cloud", "close_timeout",    MS,        close_timeout_ms,      "2s", 10, 60000, true, "for the closing handshake with the cloud, and for a device to take its last bytes") \
X("tls", "ca_file",            PATH,      tls_ca_file,           "", 1, 0, true, "more trusted roots (PEM), besides the system's") \
X("tls", "ca_path",            PATH,      tls_ca_path,           "", 1, 0, true, "the same as a folder that openssl rehash has seen") \
X("tls", "system_roots",       BOOL,      tls_system_roots,      "yes", 0, 0, true, "trust the system's roots") \
X("tls", "min_version",        TLS_VERSION, tls_min_version,     "1.2", 0, 0, true, "the oldest TLS version spoken") \
X("tls", "verify",             BOOL,      tls_verify,            "yes", 0, 0, true, "no: take any certificate (labs only; said loudly)") \
X("tls", "pin_file",           PATH,      tls_pin_file,          "", 1, 0, true, "public keys (base64 SHA-256, one a line) of which the chain must have one") \
X("tls", "client_cert_file",   PATH,      tls_client_cert_file,  "", 1, 0, true, "the certificate to show to a cloud that asks for one, with its chain (PEM)") \
X("tls", "client_key_file",    PATH,      tls_client_key_file,   "", 1, 0, true, "the key of client_cert_file (PEM)") \
X("tls", "keylog_file",        PATH,      tls_keylog_file,       "", 0, 0, true, "where to append the keys of all connections, for Wireshark (labs only; said loudly)") \
X("tls_mqtts", "ca_file",      PATH,      tls_mqtts_ca_file,     "", 1, 0, true, "the only trusted roots (PEM) of transport mqtts; empty, and ca_path too: all of [tls]") \
X("tls_mqtts", "ca_path",      PATH,      tls_mqtts_ca_path,     "", 1, 0, true, "the same as a folder that openssl rehash has seen") \
X("tls_mqtts", "pin_file",     PATH,      tls_mqtts_pin_file,    "", 1, 0, true, "the pin_file of transport mqtts; empty: that of [tls]") \
X("dial", "per_device",        COUNT,     dial_per_device,       "5", 0, 60, true, "logins of one device in any minute; 0: no limit") \
X("dial", "per_second",        COUNT,     dial_per_second,       "100", 0, 10000, true, "dials of all devices in a second; 0: no limit") \
X("dial", "wait_max",          MS,        dial_wait_max_ms,      "10s", 0, 600000, true, "a device waits at most so long for its turn of per_second") \
X("dial", "network_first",     MS,        dial_network_first_ms, "1s", 0, 86400000, true, "a device whose dial failed is not dialled for so long; doubled each time") \
X("dial", "network_max",       MS,        dial_network_max_ms,   "60s", 0, 86400000, true, "but at most for so long") \
X("dial", "refused_first",     MS,        dial_refused_first_ms, "10s", 0, 86400000, true, "the same for one whose login the cloud refused") \
X("dial", "refused_max",       MS,        dial_refused_max_ms,   "10m", 0, 86400000, true, "but at most for so long") \
X("dial", "kicked_first",      MS,        dial_kicked_first_ms,  "5s", 0, 86400000, true, "the same for one that was accepted and lost again before stable_after") \
X("dial", "kicked_max",        MS,        dial_kicked_max_ms,    "5m", 0, 86400000, true, "but at most for so long") \
X("dial", "stable_after",      MS,        dial_stable_after_ms,  "60s", 0, 3600000, true, "a link that has held for so long ends the count of failures") \
X("egress", "proxy",           EGRESS,    egress_proxy,          "", 0, 0, true, "the proxy to get out of the site by, as http://user:password@host:port, https:// or socks5://; none; empty: what the environment says") \
X("egress", "password_file",   PATH,      egress_password_file,  "", 0, 0, true, "a file with the password of the proxy's user; a relative path starts at the folder of this file") \
X("egress", "no_proxy",        TEXT,      egress_no_proxy,       "", 0, 0, true, "hosts and networks dialled without the proxy, separated by commas") \
X("egress", "timeout",         MS,        egress_timeout_ms,     "10s", 50, 120000, true, "for the proxy to open the tunnel") \
X("secrets", "key_file",       PATH,      secrets_key_file,      "", 0, 0, true, "the key of the sealed secrets in devices.ini: 64 hexadecimal digits, or a passphrase; a relative path starts at the folder of this file") \
X("limits", "workers",         COUNT,     workers,               "0", 0, 256, false, "threads that carry sessions; 0: one for each usable CPU") \
X("limits", "devices",         COUNT,     devices_max,           "10000", 1, 1000000, true, "connections from devices at once") \
X("limits", "devices_per_address", COUNT, devices_per_address_max, "0", 0, 1000000, true, "connections at once from one address; 0: no limit of its own") \
X("limits", "connect_timeout", MS,        connect_timeout_ms,    "10s", 50, 600000, true, "for a device's complete CONNECT") \
X("limits", "connect_max",     BYTES,     connect_max_bytes,     "64K", 64, 1048576, true, "a longer CONNECT is refused") \
X("limits", "wrong_password_pause", MS,   wrong_password_pause_ms, "1s", 0, 60000, true, "a device that shows a wrong local password, or signature, is told so only after this time") \
X("limits", "packet_max",      BYTES,     packet_max_bytes,      "1M", 128, 268435460, true, "a longer packet from a device is refused") \
X("limits", "idle_timeout",    MS,        idle_timeout_ms,       "1h", 100, 604800000, true, "for devices with keep-alive 0: closed after this much silence") \
X("limits", "device_write_timeout", MS,   device_write_timeout_ms, "60s", 100, 3600000, true, "a device that takes nothing for so long is closed") \
X("limits", "session_buffer",  BYTES,     session_buffer_bytes,  "512K", 65536, 67108864, true, "kept for one session at most, both ways together") \
X("limits", "total_buffer",    BYTES,     total_buffer_bytes,    "128M", 1048576, TOTAL_BUFFER_MAX, true, "kept for all sessions at most; each worker has its share of it, but never less than four times session_buffer") \
X("limits", "drain_timeout",   MS,        drain_timeout_ms,      "10s", 0, 600000, true, "for all sessions to end in order at shutdown") \
X("limits", "handover_timeout", MS,       handover_timeout_ms,   "2m", 0, 3600000, true, "for the devices of a process that hands over to another one (SIGUSR2): they are ended at the pace of [dial] per_second, faster if that would take longer than this") \
X("log", "level",              LEVEL,     log_level,             "info", 0, 0, true, "error, warning, notice, info or debug") \
X("log", "format",             FORMAT,    log_format,            "text", 0, 0, true, "one line for each event: text (key=value) or json") \
X("log", "file",               PATH,      log_file,              "", 0, 0, false, "a file to log to instead of standard error; SIGUSR1 opens it again") \
X("reload", "interval",        MS,        reload_interval_ms,    "10s", 0, 3600000, true, "how often to look whether a file has changed whose changes are not heard of, and reload then; 0: never watch any file") \
X("admin", "socket",           TEXT,      admin_socket,          ADMIN_SOCKET_DEFAULT, 0, 0, false, "the Unix socket at which the running proxy can be asked; none: no such socket") \
X("admin", "listen",           TEXT,      admin_listen,          "", 0, 0, false, "an address and a port at which the same can be asked by TCP, by whoever has the token, as 127.0.0.1:9441; empty: none") \
X("admin", "token_file",       PATH,      admin_token_file,      "", 0, 0, true, "a file with the token for listen, which clients send as Authorization: Bearer TOKEN; a relative path starts at the folder of this file") \
X("contract", "cloud",         CLOUD,     contract_cloud,        "aliyun", 0, 0, true, "whose rules hold: aliyun, or none for a broker that takes everything")

/* The same; before them the keys of [listen], whose members here are those of
   the first listener; behind them the rules of [contract], of type RULE: their
   default here is that of aliyun, their member is one of a struct contract. */
#define ALL_SETTINGS(X) \
	LISTENER(SETTING_OF_LISTENER, X) SETTINGS(X) CONTRACT(SETTING_OF_RULE, X)
#define SETTING_OF_LISTENER(X, key, type, member, def, least, most, live, what) \
	X("listen", key, type, listeners[0].member, def, least, most, live, what)
#define SETTING_OF_RULE(X, name, kind, aliyun, none, least, most, live, what) \
	X("contract", #name, RULE, contract.name, aliyun, least, most, true, what)
/* clang-format on */

/* C types of the setting types */
typedef char setting_TEXT[SETTING_TEXT_MAX];
typedef char setting_ADDRESS[SETTING_TEXT_MAX];
typedef char setting_PATH[SETTING_TEXT_MAX];
typedef uint16_t setting_PORT;
typedef uint32_t setting_COUNT;
typedef uint64_t setting_BYTES;
typedef uint64_t setting_MS;
typedef uint32_t setting_SECONDS;
typedef bool setting_BOOL;
typedef enum log_level setting_LEVEL;
typedef enum log_format setting_FORMAT;
typedef struct transports setting_TRANSPORTS;
typedef struct egress setting_EGRESS;
typedef int setting_TLS_VERSION; /* 0x0303 or 0x0304, as on the wire */
typedef enum contract_cloud setting_CLOUD;
typedef struct network_list setting_NETWORKS;
typedef uint32_t setting_RULE;

#define X(section, key, type, member, def, least, most, live, what)            \
	setting_##type member;
struct settings {
	/* [listen] first, unless there are only others */
	struct listener listeners[LISTENERS_MAX];
	unsigned listener_count; /* at least 1 */
	SETTINGS(X)
	struct contract contract;
	struct egress_environment egress_environment;
	struct secret admin_token; /* what token_file holds; empty: none */
};
#undef X

/* Reads <path>; NULL path: all defaults. NULL after errors, which were told. */
NODISCARD struct settings *settings_load(
    const char *path, struct complaints *to);
struct settings *settings_ref(struct settings *s);
/* NULL is fine. */
void settings_unref(struct settings *s);

/* The proxy through which <host> is dialled, with TLS or without; NULL:
   directly. Valid as long as <s>. */
const struct egress *egress_for(
    const struct settings *s, bool tls, const char *host);

/* Whether there is to be an admin socket. */
bool settings_want_admin(const struct settings *s);

/* The listener of that section ("listen", "listen:NAME"); NULL: none is. */
const struct listener *settings_listener(
    const struct settings *s, const char *section);

/* Writes "section.key = value" lines for every setting, in table order, to
   <tell>, the listeners one after the other; values as they would stand in the
   file. A section's name is one pointer for all of its keys, valid as long as
   <s>. */
void settings_show(const struct settings *s,
    void (*tell)(void *arg, const char *section, const char *key,
	const char *value, bool is_default),
    void *arg);

/*
 * Names the settings that differ between <old> and <fresh> and cannot change
 * while running (the row says so), one call each; a listener that only one of
 * them has by its address.
 */
void settings_fixed_changes(const struct settings *old,
    const struct settings *fresh,
    void (*tell)(void *arg, const char *section, const char *key), void *arg);

#endif
