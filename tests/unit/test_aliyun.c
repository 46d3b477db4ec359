#include "codec/aliyun.h"

#include "guard.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* A login that must come out exactly so. */
struct vector {
	const char *name;
	const char *client_id;
	const char *device_name;
	const char *product_key;
	const char *secret;
	enum aliyun_sign_method method;
	bool has_timestamp;
	uint64_t timestamp_ms;
	const char *wire_client_id;
	const char *wire_username;
	const char *password;
};

/*
 * V2 is printed in the platform's documentation, V12 uses the sample triple of
 * its C SDK, V13 that of its MQTT.fx page; the others were computed apart from
 * this program from the rule in the documentation.
 */
/* clang-format off */
static const struct vector vectors[] = {
	{ "V1", "12345", "device", "pk", "secret", ALIYUN_HMACMD5, true, 789,
	  "12345|securemode=2,signmethod=hmacmd5,timestamp=789|", "device&pk",
	  "14b198324fe55e1d3c88f2e705e201ee" },
	{ "V2", "12345", "device", "pk", "secret", ALIYUN_HMACSHA1, true, 789,
	  "12345|securemode=2,signmethod=hmacsha1,timestamp=789|", "device&pk",
	  "fafd82a3d602b37fb0fa8b7892f24a477f851a14" },
	{ "V3", "12345", "device", "pk", "secret", ALIYUN_HMACSHA256, true, 789,
	  "12345|securemode=2,signmethod=hmacsha256,timestamp=789|", "device&pk",
	  "6074a46a91b1ebb2cc4ea42790ad0e80202c9843859fc292e57c4eb19fad9e57" },
	{ "V4", "12345", "device", "pk", "secret", ALIYUN_HMACMD5, false, 0,
	  "12345|securemode=2,signmethod=hmacmd5|", "device&pk",
	  "2ce7304ec0ddd548eb1492d65ac0b334" },
	{ "V5", "12345", "device", "pk", "secret", ALIYUN_HMACSHA1, false, 0,
	  "12345|securemode=2,signmethod=hmacsha1|", "device&pk",
	  "3504e4df7ce4766d30f796ee973c9ce7fc5425cb" },
	{ "V6", "12345", "device", "pk", "secret", ALIYUN_HMACSHA256, false, 0,
	  "12345|securemode=2,signmethod=hmacsha256|", "device&pk",
	  "c8cb3dcb7159682438e5fd9a9c34f398e41bb8edb6f222795e307bafee151090" },
	{ "V7", NULL, "device", "pk", "secret", ALIYUN_HMACMD5, false, 0,
	  "|securemode=2,signmethod=hmacmd5|", "device&pk",
	  "c07c9fa9be69010bcfaaf59322258cc2" },
	{ "V8", NULL, "device", "pk", "secret", ALIYUN_HMACSHA1, false, 0,
	  "|securemode=2,signmethod=hmacsha1|", "device&pk",
	  "ef1338106ebf173868958116f51797c8b9149855" },
	{ "V9", NULL, "device", "pk", "secret", ALIYUN_HMACSHA256, false, 0,
	  "|securemode=2,signmethod=hmacsha256|", "device&pk",
	  "4e4fa898ea37565cb40779e7e48196c21a58565cf6c84eeffcd400c63633e7c8" },
	{ "V10", "", "device", "pk", "secret", ALIYUN_HMACSHA256, true, 789,
	  "|securemode=2,signmethod=hmacsha256,timestamp=789|", "device&pk",
	  "edae1c344f3351171fcb02f81675761aabf913b7ce139a132b87cd446fbba070" },
	{ "V11", "pk.device", "device", "pk", "secret", ALIYUN_HMACSHA256,
	  true, 2524608000000,
	  "pk.device|securemode=2,signmethod=hmacsha256,timestamp=2524608000000|",
	  "device&pk",
	  "2eab47d05ec94fab1a34e7e9f54aebd34a1e15770f932e05300193007e0091e9" },
	{ "V12", "a1X2bEnP82z.example1", "example1", "a1X2bEnP82z",
	  "ga7XA6KdlEeiPXQPpRbAjOZXwG8ydgSe", ALIYUN_HMACSHA256,
	  true, 2524608000000,
	  "a1X2bEnP82z.example1|securemode=2,signmethod=hmacsha256,"
	  "timestamp=2524608000000|",
	  "example1&a1X2bEnP82z",
	  "b8ce8f1d706dd3c61d13bfd9855def7e321b785084ca9c93f0169a2b46785dd2" },
	{ "V13", "12345", "device", "fOAt5H5TOWF", "abc123", ALIYUN_HMACSHA1,
	  false, 0,
	  "12345|securemode=2,signmethod=hmacsha1|", "device&fOAt5H5TOWF",
	  "972ec218bee1f39fddcba4567fca0a2583cb2416" },
};
/* clang-format on */

static struct aliyun_identity
identity_of(const struct vector *v)
{
	return (struct aliyun_identity){
	    .product_key = v->product_key,
	    .device_name = v->device_name,
	    .client_id = v->client_id,
	    .extra = "",
	    .method = v->method,
	    .securemode = ALIYUN_SECUREMODE_TLS,
	    .has_timestamp = v->has_timestamp,
	    .timestamp_ms = v->timestamp_ms,
	};
}

static void
test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct aliyun_identity who = identity_of(v);
		struct aliyun_login login;
		struct secret secret = {0};

		print_message("%s\n", v->name);
		assert_true(secret_set(&secret, span_of_string(v->secret)));
		assert_true(aliyun_sign(&who, &secret, &login));
		assert_string_equal(login.client_id, v->wire_client_id);
		assert_string_equal(login.username, v->wire_username);
		assert_string_equal(login.password, v->password);
	}
}

/* Neither is signed, so the password stays that of V3. */
static void
test_securemode_and_extra_are_sent_but_not_signed(void **state)
{
	struct aliyun_identity who = identity_of(&vectors[2]);
	struct aliyun_login login;
	struct secret secret = {0};

	(void)state;
	who.securemode = ALIYUN_SECUREMODE_PLAIN;
	who.extra = "ext=1,lan=C";
	assert_true(secret_set(&secret, SPAN_OF("secret")));
	assert_true(aliyun_sign(&who, &secret, &login));
	assert_string_equal(login.client_id,
	    "12345|securemode=3,signmethod=hmacsha256,timestamp=789,"
	    "ext=1,lan=C|");
	assert_string_equal(login.password, vectors[2].password);
}

static bool
is_zero(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const uint8_t *)p)[i] != 0)
			return false;
	return true;
}

/* A string of <n> times 'x', out of one that is long enough for all. */
static const char *
xs(size_t n)
{
	static const char many[] =
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	    "xxxx";

	assert_true(n < sizeof(many));
	return many + sizeof(many) - 1 - n;
}

/* All fields at their longest fit; each of them one longer is refused. */
static void
test_bounds(void **state)
{
	const struct aliyun_identity longest = {
	    .product_key = xs(ALIYUN_PRODUCT_KEY_MAX),
	    .device_name = xs(ALIYUN_DEVICE_NAME_MAX),
	    .client_id = xs(ALIYUN_CLIENT_ID_MAX),
	    .extra = xs(ALIYUN_EXTRA_MAX),
	    .method = ALIYUN_HMACSHA256,
	    .securemode = ALIYUN_SECUREMODE_TLS,
	    .has_timestamp = true,
	    .timestamp_ms = UINT64_MAX,
	};
	struct guard g = {0};
	struct aliyun_login *login =
	    (struct aliyun_login *)guard_room(&g, sizeof(*login));
	struct secret secret = {0};
	struct aliyun_identity who = longest;
	char want[512];

	(void)state;
	assert_true(
	    secret_set(&secret, span_of_string(xs(ALIYUN_DEVICE_SECRET_MAX))));
	assert_true(aliyun_sign(&who, &secret, login));
	(void)snprintf(want, sizeof(want),
	    "%s|securemode=2,signmethod=hmacsha256,"
	    "timestamp=18446744073709551615,%s|",
	    longest.client_id, longest.extra);
	assert_string_equal(login->client_id, want);
	assert_int_equal(strlen(login->username), 32 + 1 + 20);
	assert_int_equal(strlen(login->password), 64);

	who.product_key = xs(ALIYUN_PRODUCT_KEY_MAX + 1);
	assert_false(aliyun_sign(&who, &secret, login));
	assert_true(is_zero(login, sizeof(*login)));
	who = longest;
	who.device_name = xs(ALIYUN_DEVICE_NAME_MAX + 1);
	assert_false(aliyun_sign(&who, &secret, login));
	who = longest;
	who.client_id = xs(ALIYUN_CLIENT_ID_MAX + 1);
	assert_false(aliyun_sign(&who, &secret, login));
	who = longest;
	who.extra = xs(ALIYUN_EXTRA_MAX + 1);
	assert_false(aliyun_sign(&who, &secret, login));
	who = longest;
	assert_true(secret_set(
	    &secret, span_of_string(xs(ALIYUN_DEVICE_SECRET_MAX + 1))));
	assert_false(aliyun_sign(&who, &secret, login));
	guard_free(&g);
}

static void
test_secret_is_in_no_field_and_login_can_be_wiped(void **state)
{
	static const struct span shown = SPAN_OF("0123456789abcdefTOPSECRET");
	struct aliyun_identity who = identity_of(&vectors[0]);
	struct aliyun_login login;
	struct secret secret = {0};

	(void)state;
	assert_true(secret_set(&secret, shown));
	for (enum aliyun_sign_method m = 0; m < ALIYUN_SIGN_METHODS; m++) {
		who.method = m;
		memset(&login, 0, sizeof(login));
		assert_true(aliyun_sign(&who, &secret, &login));
		assert_null(memmem(&login, sizeof(login), shown.p, shown.n));
		assert_null(memmem(&login, sizeof(login), "TOPSECRET", 9));
	}
	aliyun_login_wipe(&login);
	assert_true(is_zero(&login, sizeof(login)));
}

/* What of a text would tell somebody how the cloud knows the device. */
static void
test_a_text_that_tells_a_login(void **state)
{
	static const struct {
		struct span text;
		bool tells;
	} rows[] = {
	    {SPAN_OF("pump_7&a1B2"), true},
	    {SPAN_OF("no user pump_7&a1B2 here"), true},
	    {SPAN_OF("xpump_7&a1B2x"), true},
	    {SPAN_OF("gw|securemode=2,signmethod=hmacsha256|"), true},
	    {SPAN_OF("\0\xff|securemode="), true},
	    {SPAN_OF(""), false},
	    {SPAN_OF("pump_7&a1B"), false},
	    {SPAN_OF("pump_8&a1B2"), false},
	    {SPAN_OF("pump_7\0&a1B2"), false},
	    {SPAN_OF("/a1B2/pump_7/user/get"), false},
	    {SPAN_OF("|securemode"), false},
	    {SPAN_OF("securemode=2"), false},
	};
	struct guard g = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		if (aliyun_tells_login(guard_copy(&g, rows[i].text), "a1B2",
			"pump_7") != rows[i].tells)
			fail_msg("row %zu", i);
	assert_false(
	    aliyun_tells_login((struct span){NULL, 0}, "a1B2", "pump_7"));
	guard_free(&g);
}

/* ---- logins that devices have signed ---- */

/* Whether the device that sends these three proves to have <secret>. */
static bool
proves(struct span client_id, struct span username, struct span password,
    const char *secret)
{
	struct guard g[3] = {0};
	struct aliyun_claim claim;
	struct secret k = {0};
	bool ok;

	assert_true(secret_set(&k, span_of_string(secret)));
	ok = aliyun_claim_read(guard_copy(&g[0], client_id),
		 guard_copy(&g[1], username), &claim) &&
	     aliyun_claim_signed(&claim, &k, guard_copy(&g[2], password));
	for (size_t i = 0; i < ARRAY_LENGTH(g); i++)
		guard_free(&g[i]);
	return ok;
}

static void
test_every_vector_proves_itself(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct span id = span_of_string(v->wire_client_id);
		struct span name = span_of_string(v->wire_username);
		char hex[65];
		size_t n = strlen(v->password);

		print_message("%s\n", v->name);
		memcpy(hex, v->password, n + 1);
		assert_true(proves(id, name, span_of_string(hex), v->secret));
		assert_false(proves(id, name, span_of_string(hex), "other"));
		assert_false(proves(
		    id, name, (struct span){(uint8_t *)hex, n - 1}, v->secret));
		for (size_t at = 0; at < n; at++) {
			hex[at] ^= 1;
			assert_false(
			    proves(id, name, span_of_string(hex), v->secret));
			hex[at] ^= 1;
		}
		for (size_t at = 0; at < n; at++)
			if (hex[at] >= 'a')
				hex[at] = (char)(hex[at] - 'a' + 'A');
		assert_true(proves(id, name, span_of_string(hex), v->secret));
	}
}

/* Of V1, V2 and V4, with the fields written as devices write them. */
static void
test_claims(void **state)
{
	static const char *const v1 = "14b198324fe55e1d3c88f2e705e201ee";
	static const char *const v2 =
	    "fafd82a3d602b37fb0fa8b7892f24a477f851a14";
	static const char *const v4 = "2ce7304ec0ddd548eb1492d65ac0b334";
	const struct {
		struct span client_id;
		struct span username;
		const char *password;
		bool proves;
	} rows[] = {
	    /* no signmethod is hmacmd5; what else is there is not signed */
	    {SPAN_OF("12345|securemode=3,timestamp=789|"), SPAN_OF("device&pk"),
		v1, true},
	    {SPAN_OF("12345|timestamp=789,_v=aos-r-3.0.3,lan=JS|Ali,gw=0,|"),
		SPAN_OF("device&pk"), v1, true},
	    {SPAN_OF("12345||"), SPAN_OF("device&pk"), v4, true},
	    {SPAN_OF("12345|,|"), SPAN_OF("device&pk"), v4, true},
	    {SPAN_OF("12345|=,==,x,timestampx=1,xtimestamp=1|"),
		SPAN_OF("device&pk"), v4, true},
	    {SPAN_OF("12345|signmethod=hmacsha1,timestamp=789,ext=1,ext=2|"),
		SPAN_OF("device&pk"), v2, true},
	    /* another method, another time, another id */
	    {SPAN_OF("12345|signmethod=hmacsha256,timestamp=789|"),
		SPAN_OF("device&pk"), v2, false},
	    {SPAN_OF("12345|signmethod=hmacsha1,timestamp=788|"),
		SPAN_OF("device&pk"), v2, false},
	    {SPAN_OF("12345|signmethod=hmacsha1|"), SPAN_OF("device&pk"), v2,
		false},
	    {SPAN_OF("12346|signmethod=hmacsha1,timestamp=789|"),
		SPAN_OF("device&pk"), v2, false},
	    /* said twice, unknown, not a number */
	    {SPAN_OF("12345|signmethod=hmacsha1,signmethod=hmacsha1,"
		     "timestamp=789|"),
		SPAN_OF("device&pk"), v2, false},
	    {SPAN_OF("12345|timestamp=789,timestamp=789|"),
		SPAN_OF("device&pk"), v1, false},
	    {SPAN_OF("12345|signmethod=hmacMD5,timestamp=789|"),
		SPAN_OF("device&pk"), v1, false},
	    {SPAN_OF("12345|signmethod=,timestamp=789|"), SPAN_OF("device&pk"),
		v1, false},
	    {SPAN_OF("12345|signmethod,timestamp=789|"), SPAN_OF("device&pk"),
		v1, false},
	    {SPAN_OF("12345|timestamp=|"), SPAN_OF("device&pk"), v4, false},
	    {SPAN_OF("12345|timestamp|"), SPAN_OF("device&pk"), v4, false},
	    {SPAN_OF("12345|timestamp=789\0|"), SPAN_OF("device&pk"), v1,
		false},
	    {SPAN_OF("12345|timestamp=000000000000000000789|"),
		SPAN_OF("device&pk"), v1, false},
	    /* a value may not run into the next name */
	    {SPAN_OF("12345deviceNamedevice|timestamp=789|"), SPAN_OF("&pk"),
		v1, false},
	    /* not of the form */
	    {SPAN_OF("12345|timestamp=789"), SPAN_OF("device&pk"), v1, false},
	    {SPAN_OF("12345|timestamp=789|x"), SPAN_OF("device&pk"), v1, false},
	    {SPAN_OF("12345"), SPAN_OF("device&pk"), v4, false},
	    {SPAN_OF("12345|"), SPAN_OF("device&pk"), v4, false},
	    {SPAN_OF("|"), SPAN_OF("device&pk"), v4, false},
	    {SPAN_OF(""), SPAN_OF(""), "", false},
	    {SPAN_OF("12345||"), SPAN_OF("devicepk"), v4, false},
	    {SPAN_OF("12345||"), SPAN_OF("device&"), v4, false},
	    {SPAN_OF("12345||"), SPAN_OF("&pk"), v4, false},
	    {SPAN_OF("12345||"), SPAN_OF("device&pk&"), v4, false},
	    {SPAN_OF("12345||"), SPAN_OF("device\0&pk"), v4, false},
	    {SPAN_OF("12345||"), SPAN_OF("device&pk"), "", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		if (proves(rows[i].client_id, rows[i].username,
			span_of_string(rows[i].password),
			"secret") != rows[i].proves)
			fail_msg("row %zu", i);
}

/* A client id with an empty value: signed as empty, or not signed. */
static void
test_claim_without_client_id(void **state)
{
	static const struct span id =
	    SPAN_OF("|signmethod=hmacsha256,timestamp=789|");
	static const struct span bare = SPAN_OF("|signmethod=hmacsha256|");

	(void)state;
	assert_true(proves(id, SPAN_OF("device&pk"),
	    span_of_string(vectors[9].password), "secret"));
	assert_true(proves(bare, SPAN_OF("device&pk"),
	    span_of_string(vectors[8].password), "secret"));
	assert_false(proves(id, SPAN_OF("device&pk"),
	    span_of_string(vectors[8].password), "secret"));
}

/* At its bounds, and one byte over each of them. */
static void
test_claim_bounds(void **state)
{
	static const struct {
		size_t client_id, device_name, product_key;
		bool ok;
	} rows[] = {
	    {64, 32, 20, true},
	    {65, 32, 20, false},
	    {64, 33, 20, false},
	    {64, 32, 21, false},
	};
	struct aliyun_claim claim;
	struct secret secret = {0};

	(void)state;
	assert_true(secret_set(&secret, SPAN_OF("secret")));
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct guard a = {0}, b = {0};
		char id[128], name[128];
		bool ok;

		(void)snprintf(id, sizeof(id),
		    "%s|timestamp=18446744073709551615|",
		    xs(rows[i].client_id));
		(void)snprintf(name, sizeof(name), "%s&%s",
		    xs(rows[i].device_name), xs(rows[i].product_key));
		ok = aliyun_claim_read(guard_copy(&a, span_of_string(id)),
		    guard_copy(&b, span_of_string(name)), &claim);
		assert_int_equal(ok, rows[i].ok);
		if (ok)
			assert_false(aliyun_claim_signed(&claim, &secret,
			    SPAN_OF("00000000000000000000000000000000")));
		guard_free(&a);
		guard_free(&b);
	}
}

static void
test_sign_method_words(void **state)
{
	(void)state;
	assert_string_equal(aliyun_sign_method_word(ALIYUN_HMACMD5), "hmacmd5");
	assert_string_equal(
	    aliyun_sign_method_word(ALIYUN_HMACSHA1), "hmacsha1");
	assert_string_equal(
	    aliyun_sign_method_word(ALIYUN_HMACSHA256), "hmacsha256");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_securemode_and_extra_are_sent_but_not_signed),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_secret_is_in_no_field_and_login_can_be_wiped),
	    cmocka_unit_test(test_a_text_that_tells_a_login),
	    cmocka_unit_test(test_every_vector_proves_itself),
	    cmocka_unit_test(test_claims),
	    cmocka_unit_test(test_claim_without_client_id),
	    cmocka_unit_test(test_claim_bounds),
	    cmocka_unit_test(test_sign_method_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
