/*
 * credmap_line: the values of devices.ini, one function for each kind. Each
 * keeps a value that is allowed in the map and puts it into <out>; otherwise it
 * complains and leaves <out> as it was. Secrets are never shown. One thread.
 */
#ifndef PROXY_SETTINGS_CREDMAP_LINE_H
#define PROXY_SETTINGS_CREDMAP_LINE_H

#include "settings/credmap.h"
#include "settings/sealed.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What opens sealed values. The key is read for the first of them; whoever owns
   this frees it. */
struct sealed_opener {
	const char *key_file; /* "": none */
	struct sealed_key *key;
	bool failed; /* told already */
};

/* The line being read, and where what it says goes. */
struct credmap_line {
	const char *path;
	struct complaints *to;
	struct credmap *map;
	int n;
	const char *key; /* what complaints call the value */
	struct sealed_opener *opener;
	bool no_memory; /* set when there was none; the map is of no use then */
};

/* A copy of <text> in the map, or NULL with <no_memory> set. */
const char *credmap_line_keep(struct credmap_line *line, const char *text);

/* <least> to <most> letters, digits and characters of <more>. */
void credmap_line_name(struct credmap_line *line, const char *value,
    size_t least, size_t most, const char *more, const char **out);

/* A DeviceName. */
void credmap_line_device_name(
    struct credmap_line *line, const char *value, const char **out);

/* The same, or that of a fleet, with a place for the device's own part. */
void credmap_line_device_name_pattern(
    struct credmap_line *line, const char *value, const char **out);

/* The part of the cloud's client id before its first bar; may be empty. */
void credmap_line_client_id(
    struct credmap_line *line, const char *value, const char **out);

/* What a device sends: 1 to CREDENTIAL_MATCH_MAX bytes. */
void credmap_line_match(
    struct credmap_line *line, const char *value, const char **out);

/* A numeric address or a prefix, kept in canonical form too. */
void credmap_line_address(struct credmap_line *line, const char *value,
    const char **text, struct network *out);

/* 1 to CREDENTIAL_ALLOW_MAX of them, with commas between them. */
void credmap_line_networks(
    struct credmap_line *line, const char *value, struct networks *out);

/* A DeviceSecret, plain or sealed as the key device_secret, or the name of a
   file that holds it plain. */
void credmap_line_device_secret(struct credmap_line *line, const char *value,
    bool is_file, struct secret *out);

/* A DeviceSecret that stands in a table, plain or sealed as the key
   device_secret. False when it is wrong. */
bool credmap_line_table_secret(
    struct credmap_line *line, struct span value, struct secret *out);

/* Complains of the file <value>, which cannot be used: <why>. */
void credmap_line_refuse_file(
    struct credmap_line *line, const char *value, const char *why);

/* A local password of any bytes, plain or sealed as the key password, or the
   name of a file that holds it plain. */
void credmap_line_password(struct credmap_line *line, const char *value,
    bool is_file, struct secret *out);

/* What password_hash_read() takes. */
void credmap_line_password_hash(
    struct credmap_line *line, const char *value, struct password_hash *out);

/* A region that has legacy public instances. */
void credmap_line_region(
    struct credmap_line *line, const char *value, const char **out);

/* A host's name or numeric address. */
void credmap_line_host(
    struct credmap_line *line, const char *value, const char **out);

void credmap_line_port(
    struct credmap_line *line, const char *value, uint16_t *out);

void credmap_line_path(
    struct credmap_line *line, const char *value, const char **out);

/* Warns of plain ws. */
void credmap_line_transports(
    struct credmap_line *line, const char *value, struct transports *out);

void credmap_line_sign_method(
    struct credmap_line *line, const char *value, enum aliyun_sign_method *out);

/* "now", "none" or a number, which goes into <ms>. */
void credmap_line_timestamp(struct credmap_line *line, const char *value,
    enum timestamp_mode *mode, uint64_t *ms);

void credmap_line_bool(struct credmap_line *line, const char *value, bool *out);

/* "device", which is 0, or a time that MQTT can say. */
void credmap_line_keep_alive(
    struct credmap_line *line, const char *value, uint16_t *out);

/* "device", "yes" or "no". */
void credmap_line_clean_session(
    struct credmap_line *line, const char *value, enum clean_session *out);

/* A word of a policy. */
void credmap_line_policy(struct credmap_line *line, const char *value,
    enum policy policy, uint8_t *out);

/* Up to CREDENTIAL_QOS0_QUEUE_MAX bytes. */
void credmap_line_qos0_queue(
    struct credmap_line *line, const char *value, uint32_t *out);
/* 1 s to CREDENTIAL_HOLD_TIME_MAX_MS. */
void credmap_line_hold_time(
    struct credmap_line *line, const char *value, uint32_t *out_ms);
/* 4K to CREDENTIAL_HOLD_QUEUE_MAX bytes. */
void credmap_line_hold_queue(
    struct credmap_line *line, const char *value, uint32_t *out);

/* A cloud of a contract, into its <cloud>. */
void credmap_line_cloud(
    struct credmap_line *line, const char *value, struct contract *out);

/* A rule of a contract. False when it is wrong. */
bool credmap_line_rule(struct credmap_line *line, const char *value,
    unsigned rule, struct contract *out);

/* A log level. */
void credmap_line_log_level(
    struct credmap_line *line, const char *value, struct log_own *out);

/* "k=v,k=v", without the parameters that are not the administrator's; may be
   empty. */
void credmap_line_extra(
    struct credmap_line *line, const char *value, const char **out);

#endif
