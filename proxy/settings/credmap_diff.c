#include "settings/credmap_diff.h"

#include <string.h>

/*
 * What is compared of two entries: the key that a difference is told by,
 * what it means for a session, and when it is the same, of a and b. The rules
 * of a contract say themselves what they end. credential_same() and the
 * differences are both made of this one table.
 */
enum effect {
	LIVE,  /* none, or it is used from now on */
	LOGIN, /* the cloud has to be logged in to anew */
	END    /* the device has to come again */
};

/* clang-format off */
#define FIELDS(X) \
X("label",           LIVE,  same_text(a->label, b->label)) \
X("product_key",     END,   same_text(a->product_key, b->product_key)) \
X("device_name",     END,   same_text(a->device_name, b->device_name)) \
X("device_secret",   LOGIN, same_secret(&a->device_secret, &b->device_secret)) \
X("client_id",       LOGIN, same_text(a->client_id, b->client_id)) \
X("match_client_id", LIVE,  same_text(a->match_client_id, b->match_client_id)) \
X("match_username",  LIVE,  same_text(a->match_username, b->match_username)) \
X("match_address",   LIVE,  same_text(a->match_address, b->match_address)) \
X("match_case",      LIVE,  a->match_case == b->match_case) \
X("allow_from",      LIVE,  same_networks(&a->allow_from, &b->allow_from)) \
X("password",        END,   same_secret(&a->password, &b->password)) \
X("password_hash",   END,   password_hash_same(&a->hash, &b->hash)) \
X("verify_login",    END,   a->verify_login == b->verify_login) \
X("host",            LOGIN, same_text(a->host, b->host)) \
X("port",            LOGIN, a->port == b->port) \
X("mqtts_port",      LOGIN, a->mqtts_port == b->mqtts_port) \
X("path",            LOGIN, same_text(a->path, b->path)) \
X("transports",      LOGIN, transports_same(&a->transports, &b->transports)) \
X("server_name",     LOGIN, same_server_name(a, b)) \
X("sign_method",     LOGIN, a->sign_method == b->sign_method) \
X("timestamp",       LOGIN, a->timestamp_mode == b->timestamp_mode && \
			    a->timestamp_ms == b->timestamp_ms) \
X("extra",           LOGIN, same_text(a->extra, b->extra)) \
X("enabled",         LIVE,  a->enabled == b->enabled) \
X("keep_alive",      LOGIN, a->keep_alive_s == b->keep_alive_s) \
X("clean_session",   END,   a->clean_session == b->clean_session) \
X("log_level",       LIVE,  a->log.set == b->log.set && \
			    a->log.level == b->log.level) \
POLICIES(POLICY, X) \
X("qos0_queue",      LIVE,  a->qos0_queue_bytes == b->qos0_queue_bytes) \
X("hold_time",       LIVE,  a->hold_time_ms == b->hold_time_ms) \
X("hold_queue",      LIVE,  a->hold_queue_bytes == b->hold_queue_bytes) \
X("topic",           END,   same_topics(a, b)) \
X("contract",        LIVE,  a->contract->cloud == b->contract->cloud) \
CONTRACT(RULE, X)

#define POLICY(X, name, first, second, third, what) \
	X(#name, LIVE, a->policies.name == b->policies.name)
#define RULE(X, name, kind, aliyun, none, least, most, live, what) \
	X(#name, (live) ? LIVE : END, a->contract->name == b->contract->name)
/* clang-format on */

static const struct {
	const char *key;
	enum effect effect;
} fields[] = {
#define X(key, effect, same) {key, effect},
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

#define X(key, effect, same)                                                   \
	differing |= (same) ? 0 : bit;                                         \
	bit <<= 1;
	FIELDS(X)
#undef X
	return differing;
}

/* The gravest of them. */
static enum effect
effect_of(uint64_t differing)
{
	enum effect effect = LIVE;

	for (size_t i = 0; i < FIELD_COUNT; i++)
		if (differing >> i & 1 && fields[i].effect > effect)
			effect = fields[i].effect;
	return effect;
}

bool
credential_same(const struct credential *a, const struct credential *b)
{
	return effect_of(differing_fields(a, b)) == LIVE;
}

bool
credential_same_device(const struct credential *a, const struct credential *b)
{
	return effect_of(differing_fields(a, b)) < END;
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
	    before->enabled && (disabled || effect_of(d->fields) > LIVE);
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
