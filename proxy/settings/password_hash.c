#include "settings/password_hash.h"

#include "codec/base64.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "$pbkdf2-sha256$i="

/* Digits up to the next "$", without zeros before them. */
static bool
read_iterations(const char **text, uint32_t *out)
{
	uint32_t n = 0;

	if (**text == '0')
		return false;
	while (**text >= '0' && **text <= '9' && n <= PASSWORD_ITERATIONS_MAX)
		n = 10 * n + (uint32_t)(*(*text)++ - '0');
	*out = n;
	return *(*text)++ == '$';
}

bool
password_hash_read(
    const char *text, struct password_hash *out, const char **why)
{
	struct password_hash h = {0};
	size_t salt, hash;
	struct span word;
	const char *end;
	bool ok = false;

	*why = "write $pbkdf2-sha256$i=ITERATIONS$SALT$HASH, as "
	       "\"mqtt-wss-proxy passwd\" prints it";
	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return false;
	text += strlen(PREFIX);
	if (!read_iterations(&text, &h.iterations))
		return false;
	end = strchr(text, '$');
	if (end == NULL)
		goto done;
	word = (struct span){(const uint8_t *)text, (size_t)(end - text)};
	if (!base64_read(word, h.salt, sizeof(h.salt), &salt) ||
	    !base64_read(
		span_of_string(end + 1), h.hash, sizeof(h.hash), &hash) ||
	    hash != sizeof(h.hash))
		goto done;
	h.salt_bytes = (uint8_t)salt;
	if (h.iterations < PASSWORD_ITERATIONS_MIN ||
	    h.iterations > PASSWORD_ITERATIONS_MAX) {
		*why = "1000 to 2000000 iterations are allowed";
		goto done;
	}
	if (salt < PASSWORD_SALT_MIN) {
		*why = "the salt has less than 8 bytes";
		goto done;
	}
	*out = h;
	ok = true;
done:
	secret_wipe_bytes(&h, sizeof(h));
	return ok;
}

void
password_hash_write(
    const struct password_hash *h, char out[static PASSWORD_HASH_TEXT])
{
	char salt[BASE64_LENGTH(PASSWORD_SALT_MAX) + 1];
	char hash[BASE64_LENGTH(PASSWORD_HASH_BYTES) + 1];

	base64_write((struct span){h->salt, h->salt_bytes}, salt);
	base64_write((struct span){h->hash, sizeof(h->hash)}, hash);
	(void)snprintf(out, PASSWORD_HASH_TEXT, PREFIX "%u$%.86s$%.43s",
	    h->iterations, salt, hash);
	secret_wipe_bytes(hash, sizeof(hash));
}

static bool
derive(const struct password_hash *h, const struct secret *password,
    uint8_t out[static PASSWORD_HASH_BYTES])
{
	return PKCS5_PBKDF2_HMAC((const char *)password->bytes,
		   (int)password->n, h->salt, h->salt_bytes, (int)h->iterations,
		   EVP_sha256(), PASSWORD_HASH_BYTES, out) == 1;
}

bool
password_hash_make(const struct secret *password, uint32_t iterations,
    struct password_hash *out)
{
	assert(iterations >= PASSWORD_ITERATIONS_MIN &&
	       iterations <= PASSWORD_ITERATIONS_MAX);
	*out = (struct password_hash){
	    .iterations = iterations, .salt_bytes = PASSWORD_SALT};
	return RAND_bytes(out->salt, PASSWORD_SALT) == 1 &&
	       derive(out, password, out->hash);
}

bool
password_hash_check(
    const struct password_hash *h, const struct secret *password, bool *right)
{
	uint8_t hash[PASSWORD_HASH_BYTES];
	bool ok = derive(h, password, hash);

	if (ok)
		*right = CRYPTO_memcmp(hash, h->hash, sizeof(hash)) == 0;
	secret_wipe_bytes(hash, sizeof(hash));
	return ok;
}

bool
password_hash_same(const struct password_hash *a, const struct password_hash *b)
{
	return a->iterations == b->iterations &&
	       a->salt_bytes == b->salt_bytes &&
	       memcmp(a->salt, b->salt, a->salt_bytes) == 0 &&
	       CRYPTO_memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}
