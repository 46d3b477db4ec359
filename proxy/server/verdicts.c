#include "server/verdicts.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

/* A key has its place in one set, which its first bytes name: nobody outside
   can choose it. */
enum { WAYS = 8, SETS = VERDICTS_MAX / WAYS };

struct line {
	struct verdict_key key;
	enum verdict verdict; /* VERDICT_NONE: free */
	uint64_t used;        /* the time of the set when it was last */
	uint64_t over_ms;     /* of wrong ones */
};

struct verdicts {
	uint8_t hmac_key[32];
	uint64_t time; /* one further at each use */
	struct line lines[SETS][WAYS];
};

struct verdicts *
verdicts_new(void)
{
	struct verdicts *v = calloc(1, sizeof(*v));

	if (v != NULL && RAND_bytes(v->hmac_key, sizeof(v->hmac_key)) != 1)
		verdicts_free(&v);
	return v;
}

void
verdicts_free(struct verdicts **v)
{
	if (*v != NULL)
		secret_wipe_bytes((*v)->hmac_key, sizeof((*v)->hmac_key));
	free(*v);
	*v = NULL;
}

/* Both parts have a fixed size or are the last: no two pairs are the same
   bytes. */
bool
verdicts_key(const struct verdicts *v, const struct password_hash *hash,
    const struct secret *password, struct verdict_key *out)
{
	struct {
		uint32_t iterations;
		uint32_t salt_bytes;
		uint8_t salt[PASSWORD_SALT_MAX];
		uint8_t hash[PASSWORD_HASH_BYTES];
		uint8_t password[SECRET_MAX];
	} both = {
	    .iterations = hash->iterations, .salt_bytes = hash->salt_bytes};
	unsigned n = sizeof(out->bytes);
	bool ok;

	memcpy(both.salt, hash->salt, sizeof(both.salt));
	memcpy(both.hash, hash->hash, sizeof(both.hash));
	memcpy(both.password, password->bytes, password->n);
	ok =
	    HMAC(EVP_sha256(), v->hmac_key, sizeof(v->hmac_key),
		(const uint8_t *)&both, sizeof(both) - SECRET_MAX + password->n,
		out->bytes, &n) != NULL;
	secret_wipe_bytes(&both, sizeof(both));
	return ok;
}

static struct line *
set_of(struct verdicts *v, const struct verdict_key *key)
{
	return v->lines[(key->bytes[0] | (unsigned)key->bytes[1] << 8) % SETS];
}

static struct line *
find(struct verdicts *v, const struct verdict_key *key)
{
	struct line *set = set_of(v, key);

	for (int i = 0; i < WAYS; i++)
		if (set[i].verdict != VERDICT_NONE &&
		    CRYPTO_memcmp(&set[i].key, key, sizeof(*key)) == 0)
			return &set[i];
	return NULL;
}

enum verdict
verdicts_find(
    struct verdicts *v, const struct verdict_key *key, uint64_t now_ms)
{
	struct line *l = find(v, key);

	if (l == NULL)
		return VERDICT_NONE;
	if (l->verdict == VERDICT_WRONG && now_ms >= l->over_ms)
		l->verdict = VERDICT_NONE;
	l->used = ++v->time;
	return l->verdict;
}

/* Free ones go before wrong ones before right ones, then the one that has not
   been used for longest. */
static bool
goes_before(const struct line *a, const struct line *b)
{
	static const int order[] = {
	    [VERDICT_NONE] = 0, [VERDICT_WRONG] = 1, [VERDICT_RIGHT] = 2};

	if (a->verdict != b->verdict)
		return order[a->verdict] < order[b->verdict];
	return a->used < b->used;
}

void
verdicts_add(struct verdicts *v, const struct verdict_key *key,
    enum verdict verdict, uint64_t now_ms)
{
	struct line *set = set_of(v, key), *place = find(v, key);

	if (place == NULL) {
		place = &set[0];
		for (int i = 1; i < WAYS; i++)
			if (goes_before(&set[i], place))
				place = &set[i];
		if (verdict == VERDICT_WRONG && place->verdict == VERDICT_RIGHT)
			return;
	}
	*place = (struct line){.key = *key,
	    .verdict = verdict,
	    .used = ++v->time,
	    .over_ms = now_ms + VERDICTS_WRONG_MS};
}
