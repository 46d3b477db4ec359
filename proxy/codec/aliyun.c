#include "codec/aliyun.h"

#include "base/text.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

/* Everything that is signed, at its longest: names, values, 20 digits, NUL. */
enum {
	CONTENT_MAX = 8 + ALIYUN_CLIENT_ID_MAX + 10 + ALIYUN_DEVICE_NAME_MAX +
		      10 + ALIYUN_PRODUCT_KEY_MAX + 9 + 20 + 1
};

/* How those of the client identifier begin. */
#define PARAMETERS "|securemode="

const char *
aliyun_sign_method_word(enum aliyun_sign_method method)
{
	static const char *const words[ALIYUN_SIGN_METHODS] = {
	    [ALIYUN_HMACMD5] = "hmacmd5",
	    [ALIYUN_HMACSHA1] = "hmacsha1",
	    [ALIYUN_HMACSHA256] = "hmacsha256",
	};

	return words[method];
}

static const EVP_MD *
digest_of(enum aliyun_sign_method method)
{
	switch (method) {
	case ALIYUN_HMACMD5:
		return EVP_md5();
	case ALIYUN_HMACSHA1:
		return EVP_sha1();
	case ALIYUN_HMACSHA256:
		return EVP_sha256();
	case ALIYUN_SIGN_METHODS:
		break;
	}
	return NULL;
}

static bool
within_bounds(
    const struct aliyun_identity *who, const struct secret *device_secret)
{
	return strlen(who->product_key) <= ALIYUN_PRODUCT_KEY_MAX &&
	       strlen(who->device_name) <= ALIYUN_DEVICE_NAME_MAX &&
	       strlen(who->extra) <= ALIYUN_EXTRA_MAX &&
	       (who->client_id == NULL ||
		   strlen(who->client_id) <= ALIYUN_CLIENT_ID_MAX) &&
	       device_secret->n <= ALIYUN_DEVICE_SECRET_MAX;
}

static bool
write_client_id(const struct aliyun_identity *who, char *out, size_t size)
{
	struct text t = {out, size, false};

	text_add(&t, "%s" PARAMETERS "%d,signmethod=%s",
	    who->client_id == NULL ? "" : who->client_id, who->securemode,
	    aliyun_sign_method_word(who->method));
	if (who->has_timestamp)
		text_add(&t, ",timestamp=%" PRIu64, who->timestamp_ms);
	if (who->extra[0] != '\0')
		text_add(&t, ",%s", who->extra);
	text_add(&t, "|");
	return !t.full;
}

/* What is signed: the parameters sorted by name, names and values in a row. */
static bool
write_content(const struct aliyun_identity *who, char *out, size_t size)
{
	struct text t = {out, size, false};

	if (who->client_id != NULL)
		text_add(&t, "clientId%s", who->client_id);
	text_add(
	    &t, "deviceName%sproductKey%s", who->device_name, who->product_key);
	if (who->has_timestamp)
		text_add(&t, "timestamp%" PRIu64, who->timestamp_ms);
	return !t.full;
}

static bool
write_password(const struct aliyun_identity *who,
    const struct secret *device_secret, char out[static 65])
{
	static const char hex[] = "0123456789abcdef";
	char content[CONTENT_MAX];
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_bytes;

	if (!write_content(who, content, sizeof(content)) ||
	    HMAC(digest_of(who->method), device_secret->bytes,
		(int)device_secret->n, (const unsigned char *)content,
		strlen(content), mac, &mac_bytes) == NULL)
		return false;
	for (unsigned i = 0; i < mac_bytes; i++) {
		*out++ = hex[mac[i] >> 4];
		*out++ = hex[mac[i] & 15];
	}
	*out = '\0';
	secret_wipe_bytes(mac, sizeof(mac));
	return true;
}

static void
write_username(const char *product_key, const char *device_name,
    char out[static ALIYUN_USERNAME_TEXT])
{
	(void)snprintf(
	    out, ALIYUN_USERNAME_TEXT, "%s&%s", device_name, product_key);
}

bool
aliyun_sign(const struct aliyun_identity *who,
    const struct secret *device_secret, struct aliyun_login *out)
{
	if (within_bounds(who, device_secret) &&
	    write_client_id(who, out->client_id, sizeof(out->client_id)) &&
	    write_password(who, device_secret, out->password)) {
		write_username(
		    who->product_key, who->device_name, out->username);
		return true;
	}
	aliyun_login_wipe(out);
	return false;
}

void
aliyun_login_wipe(struct aliyun_login *login)
{
	secret_wipe_bytes(login, sizeof(*login));
}

static bool
has(struct span text, const char *word)
{
	return text.n > 0 && memmem(text.p, text.n, word, strlen(word)) != NULL;
}

bool
aliyun_tells_login(
    struct span text, const char *product_key, const char *device_name)
{
	char username[ALIYUN_USERNAME_TEXT];

	write_username(product_key, device_name, username);
	return has(text, PARAMETERS) || has(text, username);
}
