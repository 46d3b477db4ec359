/*
 * aliyun: the login fields of Alibaba Cloud IoT Platform: client identifier,
 * user name and signed password, one secret per device. Pure: the time is an
 * argument. Rules: "Establish MQTT over WebSocket connections" in the
 * platform's device documentation.
 */
#ifndef PROXY_CODEC_ALIYUN_H
#define PROXY_CODEC_ALIYUN_H

#include "base/secret.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

enum aliyun_sign_method {
	ALIYUN_HMACMD5,
	ALIYUN_HMACSHA1,
	ALIYUN_HMACSHA256,
	ALIYUN_SIGN_METHODS
};

/* The word on the wire and in the map: hmacmd5, hmacsha1, hmacsha256. */
const char *aliyun_sign_method_word(enum aliyun_sign_method method);

enum {
	ALIYUN_PRODUCT_KEY_MAX = 20,
	ALIYUN_DEVICE_NAME_MIN = 4,
	ALIYUN_DEVICE_NAME_MAX = 32,
	ALIYUN_DEVICE_SECRET_MAX = 64,
	ALIYUN_CLIENT_ID_MAX = 64, /* the part before the first bar */
	ALIYUN_EXTRA_MAX = 128,
	ALIYUN_USERNAME_TEXT = 64, /* with its NUL */
	ALIYUN_SECUREMODE_TLS = 2,
	ALIYUN_SECUREMODE_PLAIN = 3
};

/* All strings NUL-terminated and already within the bounds above. */
struct aliyun_identity {
	const char *product_key;
	const char *device_name;
	/* "": sent and signed as empty ("clientId" without a value), as the
	   platform's C SDK does it; NULL: sent as empty, left out of what is
	   signed (the platform takes clientId as optional) */
	const char *client_id;
	const char *extra; /* "k=v,k=v", or empty */
	enum aliyun_sign_method method;
	int securemode; /* 2 over TLS, 3 over plain TCP */
	bool has_timestamp;
	uint64_t timestamp_ms;
};

/* NUL-terminated; the password is lower-case hex. Wipe with
   aliyun_login_wipe(). */
struct aliyun_login {
	char client_id[384];
	char username[ALIYUN_USERNAME_TEXT];
	char password[65];
};

/*
 * Builds the three login fields:
 *   client_id  <id>|securemode=..,signmethod=..[,timestamp=..][,extra]|
 *   username   <device_name>&<product_key>
 *   password   hex(HMAC(secret, "[clientId<id>]deviceName<..>productKey<..>
 *              [timestamp<ms>]"))
 * False when a field is over its bound or the library has no memory.
 */
NODISCARD bool aliyun_sign(const struct aliyun_identity *who,
    const struct secret *device_secret, struct aliyun_login *out);

void aliyun_login_wipe(struct aliyun_login *login);

/*
 * The login of a device that signs it itself, as old firmware of the platform
 * does that was made to talk to the cloud without a gateway. Spans into its
 * CONNECT; any bytes.
 */
struct aliyun_claim {
	struct span client_id;  /* before the first bar; may be empty */
	struct span parameters; /* between the first bar and the last */
	struct span device_name;
	struct span product_key;
};

/* True when the two fields have the form that aliyun_sign() gives them, within
   the bounds above. */
NODISCARD bool aliyun_claim_read(
    struct span client_id, struct span username, struct aliyun_claim *out);

/*
 * True when <password> is the claim's signature with <device_secret>: hex in
 * capitals or not, over client id, names and, if there is one, the timestamp
 * (1 to 20 digits), by the signmethod of the parameters, hmacmd5 when they have
 * none. An empty client id may be signed as empty or not at all. False also
 * when signmethod or timestamp comes twice. How old the timestamp is does not
 * matter. In constant time for signatures of one length.
 */
NODISCARD bool aliyun_claim_signed(const struct aliyun_claim *claim,
    const struct secret *device_secret, struct span password);

/* True when <text> tells a login: the parameters of any client identifier, or
   the user name of this device. */
NODISCARD bool aliyun_tells_login(
    struct span text, const char *product_key, const char *device_name);

#endif
