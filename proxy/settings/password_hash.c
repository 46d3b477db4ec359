#include "settings/password_hash.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "$pbkdf2-sha256$i="

/* Base64 of the longest salt, padded, with its NUL. */
enum { BASE64_MAX = (PASSWORD_SALT_MAX + 2) / 3 * 4 + 1 };

/* Without padding; returns its length. */
static size_t
write_base64(const uint8_t *bytes, size_t n, char out[static BASE64_MAX])
{
	size_t length =
	    (size_t)EVP_EncodeBlock((unsigned char *)out, bytes, (int)n);

	while (length > 0 && out[length - 1] == '=')
		length--;
	out[length] = '\0';
	return length;
}

/* The only way to write <n> bytes, or nothing: no blanks, no padding, no bits
   behind the last byte. */
static bool
read_base64(
    const char *text, size_t length, uint8_t *out, size_t max, size_t *n)
{
	uint8_t bytes[BASE64_MAX];
	char padded[BASE64_MAX], again[BASE64_MAX];
	bool ok;

	*n = length / 4 * 3 + length % 4 * 3 / 4;
	if (*n > max || length > BASE64_MAX - 3)
		return false;
	memcpy(padded, text, length);
	memcpy(padded + length, "===", 3);
	ok = EVP_DecodeBlock(bytes, (const unsigned char *)padded,
		 (int)((length + 3) / 4 * 4)) >= 0 &&
	     write_base64(bytes, *n, again) == length &&
	     memcmp(text, again, length) == 0;
	if (ok)
		memcpy(out, bytes, *n);
	secret_wipe_bytes(bytes, sizeof(bytes));
	secret_wipe_bytes(padded, sizeof(padded));
	secret_wipe_bytes(again, sizeof(again));
	return ok;
}

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
	size_t salt, hash, n;
	bool ok = false;

	*why = "write $pbkdf2-sha256$i=ITERATIONS$SALT$HASH, as "
	       "\"mqtt-wss-proxy passwd\" prints it";
	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return false;
	text += strlen(PREFIX);
	if (!read_iterations(&text, &h.iterations))
		return false;
	n = strcspn(text, "$");
	if (text[n] != '$' ||
	    !read_base64(text, n, h.salt, sizeof(h.salt), &salt) ||
	    !read_base64(text + n + 1, strlen(text + n + 1), h.hash,
		sizeof(h.hash), &hash) ||
	    hash != sizeof(h.hash))
		goto done;
	h.salt_bytes = (uint8_t)salt;
	if (h.iterations < PASSWORD_ITERATIONS_MIN ||
	    h.iterations > PASSWORD_ITERATIONS_MAX) {
		*why = "1000 to 10000000 iterations are allowed";
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
	char salt[BASE64_MAX], hash[BASE64_MAX];

	(void)write_base64(h->salt, h->salt_bytes, salt);
	(void)write_base64(h->hash, sizeof(h->hash), hash);
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
