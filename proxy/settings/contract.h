/*
 * contract: what a cloud takes of a device, as data. Whoever has to keep to it
 * asks the contract of the device's entry; nobody knows a cloud by name.
 *
 * Each rule is one row of the table CONTRACT below. [contract] in proxy.ini,
 * the keys of devices.ini, what "check" and "device show" print, and what a
 * reload compares are made of that table. Plain values, immutable once loaded;
 * pure.
 */
#ifndef PROXY_SETTINGS_CONTRACT_H
#define PROXY_SETTINGS_CONTRACT_H

#include "base/attr.h"
#include "base/span.h"
#include "settings/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The columns of the table: id, word in both files. */
#define CONTRACT_CLOUDS(X)                                                     \
	X(ALIYUN, "aliyun")                                                    \
	X(NONE, "none")

#define X(id, word) CONTRACT_##id,
enum contract_cloud { CONTRACT_CLOUDS(X) CONTRACT_CLOUD_COUNT };
#undef X

#define CONTRACT_CLOUDS_ALLOWED "aliyun or none"

/*
 * x (whatever the caller of the table gives), name, kind, value for aliyun,
 * value for none (a broker that takes everything), least, most, live, what it
 * is. Kinds: COUNT (a number), BYTES (K and M understood, 1024-based), SECONDS
 * (a time in whole seconds), BOOL (no or yes). Bounds are numbers, in bytes and
 * seconds. live: a change counts for sessions that run; otherwise they have
 * begun by it (what was signed up for, the will, what waits for an answer) and
 * end.
 */
/* clang-format off */
#define CONTRACT(X, x) \
X(x, qos_max,          COUNT,   "1",     "2",      0, 2, false, "the highest QoS of a PUBLISH and of a subscription") \
X(x, will_3,           BOOL,    "no",    "yes",    0, 1, false, "takes a will from devices of MQTT 3.1 and 3.1.1") \
X(x, will_5,           BOOL,    "yes",   "yes",    0, 1, false, "takes a will from devices of MQTT 5") \
X(x, retain_3,         BOOL,    "no",    "yes",    0, 1, true,  "takes retained messages from devices of MQTT 3.1 and 3.1.1") \
X(x, retain_5,         BOOL,    "yes",   "yes",    0, 1, true,  "takes retained messages from devices of MQTT 5") \
X(x, keep_alive_min,   SECONDS, "30s",   "0",      0, 65535, false, "the least keep-alive") \
X(x, keep_alive_max,   SECONDS, "1200s", "65535s", 1, 65535, false, "the most keep-alive") \
X(x, keep_alive_zero,  SECONDS, "300s",  "0",      0, 65535, false, "the keep-alive signed up for when the device has none (0); 0: that passes") \
X(x, filters_per_subscribe, COUNT, "8",  "0",      0, 65535, false, "topic filters in one SUBSCRIBE or UNSUBSCRIBE; 0: no limit") \
X(x, message_max,      BYTES,   "256K",  "0",      0, 268435456, true, "the longest payload; 0: no limit") \
X(x, topic_max,        COUNT,   "128",   "0",      0, 65535, true,  "the longest topic, in bytes; 0: no limit") \
X(x, topic_slashes_max, COUNT,  "7",     "0",      0, 65535, true,  "the most slashes in a topic; 0: no limit") \
X(x, qos0_per_second,  COUNT,   "30",    "0",      0, 1000, true, "messages of QoS 0 from one device in a second; 0: no limit") \
X(x, qos1_per_second,  COUNT,   "10",    "0",      0, 1000, true, "messages of QoS 1 from one device in a second; 0: no limit") \
X(x, bytes_per_second, BYTES,   "1M",    "0",      0, 1073741824, true, "bytes from one device in a second, of whole packets; 0: no limit") \
X(x, inflight_max,     COUNT,   "100",   "0",      0, 65535, true,  "messages of QoS 1 from one device that are not acknowledged yet; 0: no limit")
/* clang-format on */

/* The rules by number, in the order of the table. */
#define X(x, name, kind, aliyun, none, least, most, live, what)                \
	CONTRACT_RULE_##name,
enum contract_rule { CONTRACT(X, ) CONTRACT_RULE_COUNT };
#undef X

/* No padding: equal ones are equal bytes. Of BOOL, yes is 1. */
struct contract {
	uint32_t cloud; /* of enum contract_cloud: the column it started from */
#define X(x, name, kind, aliyun, none, least, most, live, what) uint32_t name;
	CONTRACT(X, )
#undef X
};

/* Of one that does not fit together. */
enum { CONTRACT_FLAW_MAX = 160 };

const char *contract_cloud_word(enum contract_cloud cloud);
/* False, with <out> as it was, for any other word. */
NODISCARD bool contract_cloud_read(const char *text, uint32_t *out);

/* The column of <cloud>, nothing else. */
void contract_of_cloud(enum contract_cloud cloud, struct contract *out);

/* In what follows <rule> is below CONTRACT_RULE_COUNT. */

/* Its key in both files. */
const char *contract_rule_name(unsigned rule);

/* Reads <text> as a file has it. False, with <c> as it was, when it is none of
   the rule's values. */
NODISCARD bool contract_rule_read(
    struct contract *c, unsigned rule, const char *text);

/* What contract_rule_read() would have taken, for a message. */
void contract_rule_describe(unsigned rule, char *out, size_t size);

/* The value as it would stand in a file. */
const char *contract_rule_write(
    const struct contract *c, unsigned rule, char out[static VALUE_TEXT_MAX]);

uint32_t contract_rule_value(const struct contract *c, unsigned rule);
void contract_rule_set(struct contract *c, unsigned rule, uint32_t value);

/* It is as the cloud's column has it. */
bool contract_rule_is_plain(const struct contract *c, unsigned rule);

/* Whether a topic, or a topic filter without "$share/NAME/", is within the
   cloud's limits for those. */
bool contract_takes_topic(const struct contract *c, struct span topic);

/* Whether all rules fit together. Otherwise says in <why> which do not: it is
   always the keep-alives. */
bool contract_fits(
    const struct contract *c, char why[static CONTRACT_FLAW_MAX]);

#endif
