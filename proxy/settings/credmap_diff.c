#include "settings/credmap_diff.h"

#include <string.h>

/*
 * What is compared of two entries: the key that a difference is told by,
 * whether a session has to end by it, and when it is the same, of a and b. The
 * rules of a contract say themselves what they end. credential_same() and the
 * differences are both made of this one table.
 */
/* clang-format off */
#define FIELDS(X) \
X("label",           false, same_text(a->label, b->label)) \
X("product_key",     true,  same_text(a->product_key, b->product_key)) \
X("device_name",     true,  same_text(a->device_name, b->device_name)) \
X("device_secret",   true,  same_secret(&a->device_secret, &b->device_secret)) \
X("client_id",       true,  same_text(a->client_id, b->client_id)) \
X("match_client_id", false, same_text(a->match_client_id, b->match_client_id)) \
X("match_username",  false, same_text(a->match_username, b->match_username)) \
X("match_address",   false, same_text(a->match_address, b->match_address)) \
X("match_case",      false, a->match_case == b->match_case) \
X("allow_from",      false, same_networks(&a->allow_from, &b->allow_from)) \
X("password",        true,  same_secret(&a->password, &b->password)) \
X("password_hash",   true,  password_hash_same(&a->hash, &b->hash)) \
X("verify_login",    true,  a->verify_login == b->verify_login) \
X("host",            true,  same_text(a->host, b->host)) \
X("port",            true,  a->port == b->port) \
X("mqtts_port",      true,  a->mqtts_port == b->mqtts_port) \
X("path",            true,  same_text(a->path, b->path)) \
X("transports",      true,  transports_same(&a->transports, &b->transports)) \
X("server_name",     true,  same_server_name(a, b)) \
X("sign_method",     true,  a->sign_method == b->sign_method) \
X("timestamp",       true,  a->timestamp_mode == b->timestamp_mode && \
			    a->timestamp_ms == b->timestamp_ms) \
X("extra",           true,  same_text(a->extra, b->extra)) \
X("enabled",         false, a->enabled == b->enabled) \
X("keep_alive",      true,  a->keep_alive_s == b->keep_alive_s) \
X("clean_session",   true,  a->clean_session == b->clean_session) \
X("log_level",       false, a->log.set == b->log.set && \
			    a->log.level == b->log.level) \
POLICIES(POLICY, X) \
X("qos0_queue",      false, a->qos0_queue_bytes == b->qos0_queue_bytes) \
X("topic",           true,  same_topics(a, b)) \
X("contract",        false, a->contract->cloud == b->contract->cloud) \
CONTRACT(RULE, X)

#define POLICY(X, name, first, second, third, what) \
	X(#name, false, a->policies.name == b->policies.name)
#define RULE(X, name, kind, aliyun, none, least, most, live, what) \
	X(#name, !(live), a->contract->name == b->contract->name)
/* clang-format on */

static const struct {
	const char *key;
	bool ends_session;
} fields[] = {
#define X(key, ends_session, same) {key, ends_session},
    FIELDS(X)
#undef X
};

enum { FIELD_COUNT = sizeof(fields) / sizeof(fields[0]), LABEL = 1 };

_Static_assert(FIELD_COUNT <= 64, "differences are bits of a uint64_t");

/* NULL: there is none. */
static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_secret(const struct secret *a, const struct secret *b)
{
	return secret_eq(a, (struct span){b->bytes, b->n});
}

static bool
same_networks(const struct networks *a, const struct networks *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (memcmp(&a->list[i], &b->list[i], sizeof(a->list[i])) != 0)
			return false;
	return true;
}

/* One that is only the host's is told as that. */
static bool
same_server_name(const struct credential *a, const struct credential *b)
{
	return (a->server_name == a->host && b->server_name == b->host) ||
	       same_text(a->server_name, b->server_name);
}

/* The label is one of the names that rules may have. */
static bool
same_topics(const struct credential *a, const struct credential *b)
{
	return topic_map_same(a->topics, b->topics) &&
	       (a->topics == NULL || same_text(a->label, b->label));
}

/* Bit i: the field of row i is not the same. */
static uint64_t
differing_fields(const struct credential *a, const struct credential *b)
{
	uint64_t differing = 0, bit = 1;

#define X(key, ends_session, same)                                             \
	differing |= (same) ? 0 : bit;                                         \
	bit <<= 1;
	FIELDS(X)
#undef X
	return differing;
}

static bool
end_session(uint64_t differing)
{
	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (differing >> i & 1 && fields[i].ends_session)
			return true;
	return false;
}

bool
credential_same(const struct credential *a, const struct credential *b)
{
	return !end_session(differing_fields(a, b));
}

const char *
credmap_diff_field(uint64_t *differing)
{
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		if (*differing >> i & 1) {
			*differing &= ~(UINT64_C(1) << i);
			return fields[i].key;
		}
	}
	return NULL;
}

/* Of a device that both maps have. False: there is no difference. */
static bool
compare(const struct credential *before, const struct credential *after,
    struct credmap_difference *d)
{
	bool disabled = before->enabled && !after->enabled;

	*d = (struct credmap_difference){
	    .before = before,
	    .after = after,
	    .fields = differing_fields(before, after),
	};
	d->what = disabled             ? CREDMAP_DISABLED
		  : d->fields == LABEL ? CREDMAP_RENAMED
				       : CREDMAP_CHANGED;
	d->disconnects =
	    before->enabled && (disabled || end_session(d->fields));
	return d->fields != 0;
}

struct telling {
	void (*tell)(void *arg, const struct credmap_difference *d);
	void *arg;
	struct credmap_counts counts;
};

static void
tell_one(struct telling *t, const struct credmap_difference *d)
{
	t->counts.of[d->what]++;
	t->counts.disconnects += d->disconnects;
	if (t->tell != NULL)
		t->tell(t->arg, d);
}

void
credmap_diff(const struct credmap *before, const struct credmap *after,
    void (*tell)(void *arg, const struct credmap_difference *d), void *arg,
    struct credmap_counts *counts)
{
	struct telling t = {.tell = tell, .arg = arg};
	struct credmap_difference d;

	for (size_t i = 0; i < credmap_count(before); i++) {
		const struct credential *c = credmap_at(before, i);
		const struct credential *other =
		    credmap_by_identity(after, c->product_key, c->device_name);

		if (other == NULL)
			tell_one(&t, &(struct credmap_difference){
					 .what = CREDMAP_REMOVED,
					 .before = c,
					 .disconnects = c->enabled});
		else if (compare(c, other, &d))
			tell_one(&t, &d);
	}
	for (size_t i = 0; i < credmap_count(after); i++) {
		const struct credential *c = credmap_at(after, i);

		if (credmap_by_identity(
			before, c->product_key, c->device_name) == NULL)
			tell_one(&t, &(struct credmap_difference){
					 .what = CREDMAP_ADDED, .after = c});
	}
	if (counts != NULL)
		*counts = t.counts;
}
