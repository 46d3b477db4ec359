/*
 * credmap: devices.ini, the credential map, as one immutable object: which LAN
 * device is which cloud identity, and where its cloud is.
 *
 * Reference-counted: every thread may hold one and look up without a lock. The
 * last credmap_unref() wipes the secrets.
 */
#ifndef PROXY_SETTINGS_CREDMAP_H
#define PROXY_SETTINGS_CREDMAP_H

#include "base/attr.h"
#include "base/log.h"
#include "base/reason.h"
#include "base/secret.h"
#include "base/span.h"
#include "codec/aliyun.h"
#include "settings/complaints.h"
#include "settings/contract.h"
#include "settings/network.h"
#include "settings/password_hash.h"
#include "settings/policy.h"
#include "settings/settings.h"
#include "settings/topic_map.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How the place of a device's own part is written in the keys of a fleet. */
#define CREDENTIAL_PART "${1}"
#define CREDENTIAL_MATCH_PART "*" /* in match_client_id, match_username */

enum {
	CREDENTIAL_LABEL_MAX = 40, /* as it stands in the map */
	/* of an entry: that of a fleet, "/", and the DeviceName */
	CREDENTIAL_ENTRY_LABEL_MAX =
	    CREDENTIAL_LABEL_MAX + 1 + ALIYUN_DEVICE_NAME_MAX,
	CREDENTIAL_HOST_MAX = 253,
	CREDENTIAL_MATCH_MAX = 128,
	CREDENTIAL_ALLOW_MAX = 8,
	CREDENTIAL_TOPIC_NUMBER_MAX = 9999,
	CREDENTIAL_QOS0_QUEUE_BYTES = 64 * 1024, /* unless it says otherwise */
	CREDENTIAL_QOS0_QUEUE_MAX = 1024 * 1024,
	CREDENTIAL_HOLD_TIME_MS = 120 * 1000,
	CREDENTIAL_HOLD_TIME_MAX_MS = 24 * 3600 * 1000,
	CREDENTIAL_HOLD_QUEUE_BYTES = 512 * 1024,
	CREDENTIAL_HOLD_QUEUE_MAX = 16 * 1024 * 1024
};

/*
 * The keys of devices.ini: name, may stand in [product:KEY] too, default (NULL:
 * none of its own), what it is. region, instance and host exclude each other,
 * so do the three that tell the DeviceSecret, and those that tell the password.
 * Some come from the table of settings/policy.h, and the last ones are the
 * rules of settings/contract.h, whose defaults here are those of aliyun.
 */
/* clang-format off */
#define CREDMAP_KEYS(X) \
X(product_key,        false, NULL, "the ProductKey: 1 to 20 letters and digits") \
X(device_name,        false, NULL, "the DeviceName: 4 to 32 of letters, digits and -_@.:") \
X(device_secret,      false, NULL, "the DeviceSecret: 1 to 64 printable characters") \
X(device_secret_file, false, NULL, "a file that holds it, relative to the map's folder") \
X(device_secrets_file, false, NULL, "a table in CSV that holds it, relative to the map's folder; with ${1} in device_name the section is a fleet") \
X(client_id,          false, NULL, "the signed client id, <product_key>.<device_name> when left out; may be empty") \
X(match_client_id,    false, NULL, "the client id the device sends; the label, of a fleet *, when no match_ key is given") \
X(match_username,     false, NULL, "the user name the device sends") \
X(match_address,      false, NULL, "the device's own IPv4 or IPv6 address, or a prefix") \
X(match_case,         true,  "yes", "no: match_client_id and match_username in capitals or not (ASCII)") \
X(allow_from,         true,  NULL, "addresses and prefixes it may come from, up to 8; any when left out") \
X(password,           false, NULL, "the password the device must show") \
X(password_file,      false, NULL, "a file that holds it, relative to the map's folder") \
X(password_hash,      false, NULL, "its hash, as mqtt-wss-proxy passwd prints it") \
X(verify_login,       true,  "no", "yes: the device must show a login signed with its device_secret, as to the cloud") \
X(region,             true,  NULL, "of a legacy public instance: the region, such as cn-shanghai") \
X(instance,           true,  NULL, "of any other instance: its id") \
X(host,               true,  NULL, "any other host name or address") \
X(port,               true,  "443", "the cloud's port; default: that of proxy.ini") \
X(mqtts_port,         true,  "8883", "the same for transport mqtts") \
X(path,               true,  "/mqtt", "the WebSocket path; default: that of proxy.ini") \
X(transports,         true,  "wss", "wss, mqtts or ws, or several, the first that can be had; default: that of proxy.ini") \
X(server_name,        true,  NULL, "the name in the certificate, and for SNI and HTTP, when it is not the host dialled") \
X(sign_method,        true,  "hmacsha256", "hmacmd5, hmacsha1 or hmacsha256") \
X(timestamp,          true,  "now", "what is signed: now, none, or a fixed number of milliseconds") \
X(extra,              true,  "", "more parameters of the client id, k=v,k=v") \
X(enabled,            true,  "yes", "no: the device is known, but refused") \
X(keep_alive,         true,  "device", "the keep-alive signed up for: a time, or device: its own") \
X(clean_session,      true,  "device", "whether the cloud is to forget: yes, no, or device: what it says itself") \
X(log_level,          true,  "info", "how much to log of it: error, warning, notice, info or debug; default: that of proxy.ini") \
POLICIES(CREDMAP_POLICY, X) \
X(qos0_queue,         true,  "64K", "messages of QoS 0 kept while they are more than the contract allows in a second, in bytes, 0 to 1M") \
X(hold_time,          true,  "120s", "how long a device is held without a link to the cloud, 1s to 24h") \
X(hold_queue,         true,  "512K", "messages of QoS 1 and 2 kept until the cloud has acknowledged them, in bytes, 4K to 16M") \
X(contract,           true,  "aliyun", "whose rules hold, all of them: aliyun or none; default: those of proxy.ini") \
CONTRACT(CREDMAP_RULE, X)

#define CREDMAP_POLICY(X, name, first, second, third, what) \
	X(name, true, first, what)
/*
 * Besides these, topic.N.NAME in either section, N from 1 to
 * CREDENTIAL_TOPIC_NUMBER_MAX, with gaps and in any order: rules for topics
 * (settings/topic_map.h). A device with any of its own has none of its
 * product's. Name, default, what it is.
 */
#define CREDMAP_TOPIC_KEYS(X) \
X(lan,    NULL,   "the topic of the device: a filter whose + and # are captures") \
X(cloud,  NULL,   "the topic of the cloud, with $1 to $9 and $# for the captures") \
X(way,    "both", "the way it maps: both, up (to the cloud) or down") \
X(escape, "no",   "yes: what a capture stands for may be any text")

#define CREDMAP_RULE(X, name, kind, aliyun, none, least, most, live, what) \
	X(name, true, aliyun, what)
/* clang-format on */

/* Whether <name> is one of CREDMAP_TOPIC_KEYS. */
NODISCARD bool credmap_is_topic_key(const char *name);

enum timestamp_mode { TIMESTAMP_NOW, TIMESTAMP_FIXED, TIMESTAMP_NONE };

/* Owned by a map. */
struct networks {
	const struct network *list;
	size_t count;
};

/* What the cloud is told in Clean Session, at level 5 Clean Start. */
enum clean_session { CLEAN_AS_DEVICE, CLEAN_NO, CLEAN_YES };

/* What an entry's match_ keys ask for; all that are there must hold. */
enum match_keys { MATCH_CLIENT_ID = 4, MATCH_USERNAME = 2, MATCH_ADDRESS = 1 };

/*
 * One device. Owned by its map, valid while a reference on the map is held. All
 * text is NUL-terminated. Product defaults are already filled in.
 */
struct credential {
	const char *label;
	const char *product_key;
	const char *device_name;
	const char *client_id;   /* signed client id; may be "" */
	const char *extra;       /* "k=v,k=v" or "" */
	const char *host;        /* where it is dialled: already built */
	const char *server_name; /* whom the certificate must name */
	const char *path;
	uint16_t port;       /* of the WebSocket transports */
	uint16_t mqtts_port; /* of TRANSPORT_MQTTS */
	struct transports transports;
	enum aliyun_sign_method sign_method;
	enum timestamp_mode timestamp_mode;
	uint64_t timestamp_ms;       /* of TIMESTAMP_FIXED */
	unsigned match;              /* of enum match_keys, at least one */
	const char *match_client_id; /* NULL unless in <match> */
	const char *match_username;
	const char *match_address; /* canonical text form */
	struct network match_network;
	bool match_case;            /* client id and user name, to the letter */
	struct networks allow_from; /* none: from anywhere */
	uint16_t keep_alive_s;      /* 0: the device's own */
	enum clean_session clean_session;
	struct log_own log;
	const struct contract *contract; /* shared where equal */
	/* its own rules, or those of its product; NULL: there are none */
	const struct topic_map *topics;
	struct policies policies;
	uint32_t qos0_queue_bytes;
	uint32_t hold_time_ms;
	uint32_t hold_queue_bytes;
	bool enabled;      /* otherwise it is refused */
	bool has_password; /* it must show <password>, or that of <hash> */
	bool verify_login; /* it must show a login signed with its secret */
	struct secret password;
	struct password_hash hash; /* its iterations 0: none */
	struct secret device_secret;
	/* Where it stands, for messages: the line of its section, or of its row
	   when it is one of a fleet. */
	int line;
	const char *table; /* that the row is in; NULL: it has a section */
};

struct credmap;

/*
 * Loads the map; ports, path, transports and contract that neither entry nor
 * product sets come from <defaults>; an entry's keep-alive has to be in the
 * range of its contract. NULL after errors, which were told to <to>, all of
 * them. Paths of secret files and tables are relative to the map's folder. A
 * section that is a fleet becomes one entry for each of its devices that has no
 * section of its own.
 */
NODISCARD struct credmap *credmap_load(
    const char *path, const struct settings *defaults, struct complaints *to);

/* The same, but a file that is not there is no error: it gives a map without
   entries, of which credmap_is_missing() says so, and a warning. */
NODISCARD struct credmap *credmap_await(
    const char *path, const struct settings *defaults, struct complaints *to);
bool credmap_is_missing(const struct credmap *map);

struct credmap *credmap_ref(struct credmap *map);
void credmap_unref(struct credmap *map); /* NULL is fine */

/* True when the caller's reference is the only one left. */
bool credmap_is_last_ref(const struct credmap *map);

/*
 * A map of the one entry <c>, without its secrets, that answers to no device:
 * for what still has to name it while the map itself goes. NULL without memory.
 */
NODISCARD struct credmap *credmap_memory_of(const struct credential *c);

size_t credmap_count(const struct credmap *map);
/* Those with a section, in the order of the file, then those of fleets, table
   by table; <i> below the count. */
const struct credential *credmap_at(const struct credmap *map, size_t i);
const struct credential *credmap_by_label(
    const struct credmap *map, const char *label);
const struct credential *credmap_by_identity(const struct credmap *map,
    const char *product_key, const char *device_name);

/* What a device shows of itself. */
struct credmap_shown {
	struct span client_id;
	struct span username;
	struct network address; /* one address, or none */
};

/*
 * The entry that answers to a device, or NULL. When several fit, the one that
 * says more wins, by the first of these rules that tells them apart:
 * 1. The keys: client id before user name before address, and a combination
 *    before a single key: client id + user name + address, client id + user
 *    name, client id + address, client id, user name + address, user name,
 *    address.
 * 2. One with client id and user name to the letter (match_case = yes).
 * 3. An address before a longer prefix before a shorter one.
 * 4. One that fits by its keys before one that fits by the device's own login.
 *
 * A device that signs its login itself (codec/aliyun.h) says with it which
 * device of the cloud it is. The entry of that one fits without any key; only
 * the match_address it may have must hold. Whether the signature is right does
 * not count here.
 */
const struct credential *credmap_find(
    const struct credmap *map, const struct credmap_shown *shown);

/* All entries that fit a device, from the one that answers on. <map> and what
   <shown> points to must outlive it. */
struct credmap_search {
	const struct credmap *map;
	const struct credmap_shown *shown;
	unsigned step;   /* of the first two rules */
	unsigned prefix; /* of the third */
	bool by_login;   /* the last one is there by the device's own login */
};

void credmap_search_begin(struct credmap_search *search,
    const struct credmap *map, const struct credmap_shown *shown);

/* The next one, or NULL. */
const struct credential *credmap_search_next(struct credmap_search *search);

/* By which rule one of two entries that fit the same device by their keys goes
   before the other. RULE_LOGIN is that of the search's <by_login>. */
enum credmap_rule { RULE_KEYS = 1, RULE_CASE, RULE_PREFIX, RULE_LOGIN };
enum credmap_rule credmap_rule_between(
    const struct credential *a, const struct credential *b);

/* Which keys of an entry the device has, bits of enum match_keys; all of them
   are c->match. Without <match_case> capitals do not count. */
unsigned credmap_fitting_keys(const struct credential *c,
    const struct credmap_shown *shown, bool match_case);

/* Why a device at <address> is not let in, whatever its password: disabled, or
   it may not come from there. R_NONE: it is. */
enum reason credential_refuses(
    const struct credential *c, const struct network *address);

/* True when a session of <a> can go on unchanged as one of <b>: same secret,
   place, login and local password. The label, what says which device it is
   and whether it is let in, the log level, and of the contract the rules that
   are live do not count. */
bool credential_same(const struct credential *a, const struct credential *b);
/* True when only the link to the cloud has to be another one. */
bool credential_same_device(
    const struct credential *a, const struct credential *b);

/* Where <transport> is had. */
uint16_t credential_port(const struct credential *c, enum transport transport);

/* The login fields for a dial by <transport> now; <now_ms> is used as the
   entry's timestamp mode says. False: a field is over its bound, or no memory.
 */
NODISCARD bool credential_sign(const struct credential *c,
    enum transport transport, uint64_t now_ms, struct aliyun_login *out);

#endif
