#include "settings/sealed.h"

#include "settings/secret_file.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <string.h>

enum { KEY_BYTES = 32, PBKDF2_ITERATIONS = 600 * 1000 };

static const char no_crypto[] = "OpenSSL cannot do it: no memory, or a "
				"configuration of OpenSSL that forbids it";

struct derived {
	uint8_t salt[SEALED_SALT_BYTES];
	uint8_t key[KEY_BYTES];
};

struct sealed_key {
	struct secret material;
	bool is_passphrase;
	/* the first <count> are in use; <next> is the one to be replaced */
	struct derived derived[SEALED_SALTS_MAX];
	size_t count;
	size_t next;
};

/* ---- keys ---- */

/* False, with <out> wiped: these are not the digits of a key. */
static bool
read_hex(const struct secret *digits, struct secret *out)
{
	bool ok = digits->n == 2 * (size_t)KEY_BYTES;

	for (size_t i = 0; ok && i < KEY_BYTES; i++) {
		int high = OPENSSL_hexchar2int(digits->bytes[2 * i]);
		int low = OPENSSL_hexchar2int(digits->bytes[2 * i + 1]);

		ok = high >= 0 && low >= 0;
		out->bytes[i] = (uint8_t)(high * 16 + low);
	}
	out->n = KEY_BYTES;
	if (!ok)
		secret_wipe(out);
	return ok;
}

struct sealed_key *
sealed_key_new(const struct secret *content, const char **why)
{
	struct sealed_key *key = secret_alloc(sizeof(*key));

	if (key == NULL) {
		*why = "no memory";
		return NULL;
	}
	if (read_hex(content, &key->material))
		return key;
	key->is_passphrase = true;
	key->material = *content;
	if (content->n >= SEALED_PASSPHRASE_MIN)
		return key;
	*why = "a passphrase has 12 bytes or more, a key 64 hexadecimal "
	       "digits (openssl rand -hex 32)";
	sealed_key_free(key);
	return NULL;
}

struct sealed_key *
sealed_key_read(const char *path, const struct complaints *to, const char **why)
{
	struct sealed_key *key = NULL;
	struct secret content;

	if (secret_file_read("", path, to, &content, why))
		key = sealed_key_new(&content, why);
	secret_wipe(&content);
	return key;
}

void
sealed_key_free(struct sealed_key *key)
{
	secret_free(key, sizeof(*key));
}

/* RFC 5869. */
static bool
hkdf(const struct secret *material, struct derived *d)
{
	char digest[] = "SHA256", info[] = "sealed:1";
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
	const OSSL_PARAM params[] = {
	    OSSL_PARAM_construct_utf8_string(
		OSSL_KDF_PARAM_DIGEST, digest, strlen(digest)),
	    OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
		(uint8_t *)(uintptr_t)material->bytes, material->n),
	    OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_SALT, d->salt, sizeof(d->salt)),
	    OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_INFO, info, strlen(info)),
	    OSSL_PARAM_END,
	};
	bool ok = ctx != NULL &&
		  EVP_KDF_derive(ctx, d->key, sizeof(d->key), params) == 1;

	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ok;
}

static bool
derive(const struct sealed_key *key, struct derived *d)
{
	if (!key->is_passphrase)
		return hkdf(&key->material, d);
	return PKCS5_PBKDF2_HMAC((const char *)key->material.bytes,
		   (int)key->material.n, d->salt, (int)sizeof(d->salt),
		   PBKDF2_ITERATIONS, EVP_sha256(), (int)sizeof(d->key),
		   d->key) == 1;
}

/* The key of KEY_BYTES for a salt, derived when it is first asked for. NULL,
   with <*why> set. */
static const uint8_t *
key_for(struct sealed_key *key, const uint8_t *salt, const char **why)
{
	struct derived fresh;
	struct derived *d;

	for (size_t i = 0; i < key->count; i++)
		if (memcmp(key->derived[i].salt, salt, SEALED_SALT_BYTES) == 0)
			return key->derived[i].key;
	if (key->is_passphrase && key->count == SEALED_SALTS_MAX) {
		*why = "with it this file has more than 4 salts, and each "
		       "makes loading slow; seal it anew under one of the "
		       "others, or use a key of 64 hexadecimal digits";
		return NULL;
	}
	memcpy(fresh.salt, salt, SEALED_SALT_BYTES);
	if (!derive(key, &fresh)) {
		secret_wipe_bytes(&fresh, sizeof(fresh));
		*why = no_crypto;
		return NULL;
	}
	d = &key->derived[key->next];
	*d = fresh;
	secret_wipe_bytes(&fresh, sizeof(fresh));
	key->next = (key->next + 1) % SEALED_SALTS_MAX;
	if (key->count < SEALED_SALTS_MAX)
		key->count++;
	return d->key;
}

/* ---- AES-256-GCM ---- */

/* With <key>, and with <name> as what is authenticated beside the text. NULL
   on failure. */
static EVP_CIPHER_CTX *
cipher_new(
    const uint8_t *key, const uint8_t *nonce, const char *name, bool seal)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	/* 12 bytes of nonce are what GCM has by default */
	if (ctx != NULL &&
	    EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, seal) ==
		1 &&
	    EVP_CipherUpdate(
		ctx, NULL, &n, (const uint8_t *)name, (int)strlen(name)) == 1)
		return ctx;
	EVP_CIPHER_CTX_free(ctx);
	return NULL;
}

/* <box>: nonce, ciphertext, tag. False: it does not open. */
static bool
open_box(const uint8_t *key, const char *name, uint8_t *box, size_t box_n,
    struct secret *out)
{
	size_t n = box_n - SEALED_NONCE_BYTES - SEALED_TAG_BYTES;
	const uint8_t *text = box + SEALED_NONCE_BYTES;
	EVP_CIPHER_CTX *ctx = cipher_new(key, box, name, false);
	int written, rest;
	bool ok;

	ok = ctx != NULL &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, SEALED_TAG_BYTES,
		 box + box_n - SEALED_TAG_BYTES) == 1 &&
	     EVP_CipherUpdate(ctx, out->bytes, &written, text, (int)n) == 1 &&
	     EVP_CipherFinal_ex(ctx, out->bytes + written, &rest) == 1;
	out->n = n;
	if (!ok)
		secret_wipe(out);
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/* The nonce stands in <box> already; ciphertext and tag are put behind it. */
static bool
fill_box(
    const uint8_t *key, const char *name, const struct secret *in, uint8_t *box)
{
	uint8_t *text = box + SEALED_NONCE_BYTES;
	EVP_CIPHER_CTX *ctx = cipher_new(key, box, name, true);
	int written, rest;
	bool ok;

	ok =
	    ctx != NULL &&
	    EVP_CipherUpdate(ctx, text, &written, in->bytes, (int)in->n) == 1 &&
	    EVP_CipherFinal_ex(ctx, text + written, &rest) == 1 &&
	    EVP_CIPHER_CTX_ctrl(
		ctx, EVP_CTRL_GCM_GET_TAG, SEALED_TAG_BYTES, text + in->n) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/* ---- the text ---- */

/* Takes <start> off. */
static bool
take_start(struct span *text, const char *start)
{
	struct span found;

	return span_take(text, strlen(start), &found) &&
	       span_eq(found, span_of_string(start));
}

bool
sealed_is(struct span text)
{
	return take_start(&text, SEALED_MARK);
}

/* False: not all of it is there. */
static bool
parse(struct span text, uint8_t salt[static SEALED_SALT_BYTES],
    uint8_t box[static SEALED_BOX_MAX], size_t *box_n)
{
	struct span word, colon;
	size_t n;

	return take_start(&text, SEALED_MARK "1:") &&
	       span_take(&text, BASE64_LENGTH(SEALED_SALT_BYTES), &word) &&
	       base64_read(word, salt, SEALED_SALT_BYTES, &n) &&
	       span_take(&text, 1, &colon) && *colon.p == ':' &&
	       base64_read(text, box, SEALED_BOX_MAX, box_n) &&
	       *box_n >= SEALED_NONCE_BYTES + SEALED_TAG_BYTES;
}

bool
sealed_salt(struct span text, uint8_t salt[static SEALED_SALT_BYTES])
{
	uint8_t box[SEALED_BOX_MAX];
	size_t n;

	return parse(text, salt, box, &n);
}

bool
sealed_salt_new(uint8_t salt[static SEALED_SALT_BYTES])
{
	return RAND_bytes(salt, SEALED_SALT_BYTES) == 1;
}

bool
sealed_open(struct sealed_key *key, const char *name, struct span text,
    struct secret *out, const char **why)
{
	uint8_t salt[SEALED_SALT_BYTES], box[SEALED_BOX_MAX];
	const uint8_t *derived;
	size_t n;

	secret_wipe(out);
	if (!parse(text, salt, box, &n)) {
		*why = "it begins with sealed: but is no whole sealed value; "
		       "was a part of it lost?";
		return false;
	}
	derived = key_for(key, salt, why);
	if (derived == NULL)
		return false;
	if (open_box(derived, name, box, n, out))
		return true;
	*why = "it is sealed and does not open: it was sealed with another "
	       "key than [secrets] key_file, or for another name, or it is "
	       "damaged; set the right key_file or write the secret anew";
	return false;
}

bool
sealed_make(struct sealed_key *key, const char *name, const struct secret *in,
    const uint8_t salt[static SEALED_SALT_BYTES],
    char out[static SEALED_TEXT_MAX], const char **why)
{
	uint8_t box[SEALED_BOX_MAX];
	const uint8_t *derived = key_for(key, salt, why);
	struct span bytes = {
	    box, SEALED_NONCE_BYTES + in->n + SEALED_TAG_BYTES};

	if (derived == NULL)
		return false;
	if (RAND_bytes(box, SEALED_NONCE_BYTES) != 1 ||
	    !fill_box(derived, name, in, box)) {
		*why = no_crypto;
		return false;
	}
	memcpy(out, SEALED_MARK "1:", strlen(SEALED_MARK "1:"));
	out += strlen(SEALED_MARK "1:");
	base64_write((struct span){salt, SEALED_SALT_BYTES}, out);
	out += BASE64_LENGTH(SEALED_SALT_BYTES);
	*out++ = ':';
	base64_write(bytes, out);
	return true;
}
