#include "codec/aliyun.h"

#include "base/text.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

enum {
	TIMESTAMP_DIGITS_MAX = 20,
	HEX_MAX = 64, /* of SHA-256, the longest */
	/* everything that is signed, at its longest: names and values */
	CONTENT_MAX = 8 + ALIYUN_CLIENT_ID_MAX + 10 + ALIYUN_DEVICE_NAME_MAX +
		      10 + ALIYUN_PRODUCT_KEY_MAX + 9 + TIMESTAMP_DIGITS_MAX
};

/* What is signed; a value without bytes to point to is left out. */
struct content {
	struct span client_id;
	struct span device_name;
	struct span product_key;
	struct span timestamp;
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

/* Adds name and value; false when there is no room. */
static bool
add_signed(uint8_t out[static CONTENT_MAX], size_t *n, const char *name,
    struct span value)
{
	size_t name_n = strlen(name);

	if (value.p == NULL)
		return true;
	if (value.n > CONTENT_MAX || name_n + value.n > CONTENT_MAX - *n)
		return false;
	memcpy(out + *n, name, name_n);
	memcpy(out + *n + name_n, value.p, value.n);
	*n += name_n + value.n;
	return true;
}

/* The parameters sorted by name, names and values in a row. *hex is the number
   of digits; false when something is over its bound, or without memory. */
static bool
sign_content(const struct content *c, enum aliyun_sign_method method,
    const struct secret *device_secret, char out[static HEX_MAX], size_t *hex)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t content[CONTENT_MAX];
	uint8_t mac[EVP_MAX_MD_SIZE];
	size_t n = 0;
	unsigned mac_bytes;

	if (!add_signed(content, &n, "clientId", c->client_id) ||
	    !add_signed(content, &n, "deviceName", c->device_name) ||
	    !add_signed(content, &n, "productKey", c->product_key) ||
	    !add_signed(content, &n, "timestamp", c->timestamp) ||
	    HMAC(digest_of(method), device_secret->bytes, (int)device_secret->n,
		content, n, mac, &mac_bytes) == NULL)
		return false;
	for (unsigned i = 0; i < mac_bytes; i++) {
		out[2 * i] = digits[mac[i] >> 4];
		out[2 * i + 1] = digits[mac[i] & 15];
	}
	*hex = 2 * (size_t)mac_bytes;
	secret_wipe_bytes(mac, sizeof(mac));
	return true;
}

static bool
write_password(const struct aliyun_identity *who,
    const struct secret *device_secret, char out[static HEX_MAX + 1])
{
	char timestamp[TIMESTAMP_DIGITS_MAX + 1];
	struct content c = {.device_name = span_of_string(who->device_name),
	    .product_key = span_of_string(who->product_key)};
	size_t hex;

	if (who->client_id != NULL)
		c.client_id = span_of_string(who->client_id);
	(void)snprintf(
	    timestamp, sizeof(timestamp), "%" PRIu64, who->timestamp_ms);
	if (who->has_timestamp)
		c.timestamp = span_of_string(timestamp);
	if (!sign_content(&c, who->method, device_secret, out, &hex))
		return false;
	out[hex] = '\0';
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

/* ---- logins that devices have signed ---- */

static const uint8_t *
find_byte(struct span in, char byte)
{
	return in.n > 0 ? memchr(in.p, byte, in.n) : NULL;
}

/* The two sides of the first <byte>; false when there is none. */
static bool
split(struct span in, char byte, struct span *left, struct span *right)
{
	const uint8_t *at = find_byte(in, byte);

	if (at == NULL)
		return false;
	*left = (struct span){in.p, (size_t)(at - in.p)};
	*right = (struct span){at + 1, in.n - left->n - 1};
	return true;
}

/* The values themselves may hold bars ("lan=JS|Ali"). */
bool
aliyun_claim_read(
    struct span client_id, struct span username, struct aliyun_claim *out)
{
	struct span *parameters = &out->parameters;

	if (!split(client_id, '|', &out->client_id, parameters) ||
	    parameters->n == 0 || parameters->p[parameters->n - 1] != '|' ||
	    !split(username, '&', &out->device_name, &out->product_key))
		return false;
	parameters->n--;
	return out->client_id.n <= ALIYUN_CLIENT_ID_MAX &&
	       out->device_name.n >= 1 &&
	       out->device_name.n <= ALIYUN_DEVICE_NAME_MAX &&
	       out->product_key.n >= 1 &&
	       out->product_key.n <= ALIYUN_PRODUCT_KEY_MAX &&
	       find_byte(out->product_key, '&') == NULL;
}

/* Takes the parameter up to the next comma off <in>. */
static void
take_parameter(struct span *in, struct span *name, struct span *value)
{
	struct span parameter = *in, rest = {in->p + in->n, 0};

	(void)split(*in, ',', &parameter, &rest);
	*in = rest;
	*name = parameter;
	*value = (struct span){NULL, 0};
	(void)split(parameter, '=', name, value);
}

static bool
read_method(struct span word, enum aliyun_sign_method *out)
{
	for (int i = 0; i < ALIYUN_SIGN_METHODS; i++) {
		*out = (enum aliyun_sign_method)i;
		if (span_eq(
			word, span_of_string(aliyun_sign_method_word(*out))))
			return true;
	}
	return false;
}

static bool
is_timestamp(struct span value)
{
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] < '0' || value.p[i] > '9')
			return false;
	return value.n >= 1 && value.n <= TIMESTAMP_DIGITS_MAX;
}

/* The two parameters that the signature depends on. */
static bool
read_parameters(
    struct span in, enum aliyun_sign_method *method, struct span *timestamp)
{
	bool has_method = false;
	struct span name, value;

	*method = ALIYUN_HMACMD5;
	*timestamp = (struct span){NULL, 0};
	while (in.n > 0) {
		take_parameter(&in, &name, &value);
		if (span_eq(name, SPAN_OF("signmethod"))) {
			if (has_method || !read_method(value, method))
				return false;
			has_method = true;
		} else if (span_eq(name, SPAN_OF("timestamp"))) {
			if (timestamp->p != NULL || !is_timestamp(value))
				return false;
			*timestamp = value;
		}
	}
	return true;
}

/* In constant time for signatures of one length. */
static bool
same_hex(const char *hex, size_t n, struct span shown)
{
	char lower[HEX_MAX];

	if (shown.n != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = shown.p[i];

		lower[i] = (char)(c >= 'A' && c <= 'F' ? c | 0x20 : c);
	}
	return CRYPTO_memcmp(hex, lower, n) == 0;
}

static bool
is_signature(const struct content *c, enum aliyun_sign_method method,
    const struct secret *device_secret, struct span shown)
{
	char hex[HEX_MAX];
	size_t n;
	bool same = sign_content(c, method, device_secret, hex, &n) &&
		    same_hex(hex, n, shown);

	secret_wipe_bytes(hex, sizeof(hex));
	return same;
}

bool
aliyun_claim_signed(const struct aliyun_claim *claim,
    const struct secret *device_secret, struct span password)
{
	struct content c = {.client_id = claim->client_id,
	    .device_name = claim->device_name,
	    .product_key = claim->product_key};
	enum aliyun_sign_method method;

	if (!read_parameters(claim->parameters, &method, &c.timestamp))
		return false;
	if (is_signature(&c, method, device_secret, password))
		return true;
	if (claim->client_id.n > 0)
		return false;
	c.client_id = (struct span){NULL, 0}; /* see aliyun_identity */
	return is_signature(&c, method, device_secret, password);
}
