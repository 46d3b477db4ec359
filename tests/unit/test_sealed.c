/*
 * Sealed values, alone and in a map. The expected texts were made with another
 * implementation. To be linked with -Wl,--wrap=RAND_bytes.
 */
#include "settings/sealed.h"

#include "settings/credmap.h"

#include "scratch.h"
#include "unit.h"

#include <openssl/rand.h>

#define HEX_KEY                                                                \
	"000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"
#define PASSPHRASE "correct horse battery"
#define SECRET "0123456789abcdef0123456789abcdef"
#define SALT "AAECAwQFBgcICQoLDA0ODw"
#define SEALED_SECRET                                                          \
	"sealed:1:" SALT ":8PHy8/T19vf4+fr7gLVZwp/tPzclrHl/4eKDD/bW4CxAskJGzG" \
	"XfetS0KeqvUxuxmXNHhbFfFXQPPrR0"
#define SEALED_PASSWORD                                                        \
	"sealed:1:" SALT ":8PHy8/T19vf4+fr7wKQcVzzUujMjvsqlZPYWd5kB6A"

int __real_RAND_bytes(unsigned char *out, int n);
int __wrap_RAND_bytes(unsigned char *out, int n);

static enum { RANDOM, RISING, BROKEN } random_is;

int
__wrap_RAND_bytes(unsigned char *out, int n)
{
	if (random_is == RANDOM)
		return __real_RAND_bytes(out, n);
	for (int i = 0; i < n; i++)
		out[i] = (unsigned char)(0xf0 + i);
	return random_is == RISING;
}

static const uint8_t salt[SEALED_SALT_BYTES] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static struct secret
secret_of(struct span bytes)
{
	struct secret k;

	assert_true(secret_set(&k, bytes));
	return k;
}

static struct sealed_key *
key_of(const char *content)
{
	struct secret k = secret_of(span_of_string(content));
	struct sealed_key *key;
	const char *why;

	key = sealed_key_new(&k, &why);
	assert_non_null(key);
	return key;
}

static void
assert_opens(struct sealed_key *key, const char *name, const char *text,
    struct span want)
{
	struct secret out;
	const char *why;

	if (!sealed_open(key, name, span_of_string(text), &out, &why))
		fail_msg("%s: %s", text, why);
	assert_true(secret_eq(&out, want));
}

static void
assert_shut(struct sealed_key *key, const char *name, const char *text,
    const char *want)
{
	static const struct secret none;
	struct secret out = {.bytes = "left over", .n = 9};
	const char *why = NULL;

	if (sealed_open(key, name, span_of_string(text), &out, &why))
		fail_msg("opens: %s", text);
	assert_memory_equal(&out, &none, sizeof(out));
	assert_non_null(strstr(why, want));
}

static void
test_known_answers(void **state)
{
	static uint8_t longest[SECRET_MAX];
	const struct {
		const char *key;
		const char *name;
		struct span secret;
		const char *text;
	} cases[] = {
	    {HEX_KEY, "device_secret", SPAN_OF(SECRET), SEALED_SECRET},
	    {HEX_KEY, "password", SPAN_OF("p w"), SEALED_PASSWORD},
	    {HEX_KEY, "password", {longest, sizeof(longest)},
		"sealed:1:" SALT
		":8PHy8/T19vf4+fr7T3uUDlQn9v/iaufifXkZljkYLeCLeIuOC6NB50gvs3O7"
		"Sm74KsdlkN5pCpkSPh+x0iHsDgJAWQib56WDRvNO/MaL0NtI9RHfUQNulKsLe"
		"GnD0WB7MKNs4Lt3Lbldzq6Yk79CM6XQFK6Bgnc304zyirtLS9JROamKOs4icw"
		"trCM3TPcp4FrhtgXIcLeBgZnWT"},
	    {PASSPHRASE, "device_secret", SPAN_OF(SECRET),
		"sealed:1:" SALT
		":8PHy8/T19vf4+fr7MYkdklVT1c8C0EmSW9/BcyYS+tFlyL9a1CLWVDl0lo1H"
		"eOnf1VppTv7Ksdye3bJo"},
	};

	(void)state;
	memset(longest, 0xff, sizeof(longest));
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct sealed_key *key = key_of(cases[i].key);
		struct secret in = secret_of(cases[i].secret);
		uint8_t its_salt[SEALED_SALT_BYTES];
		char text[SEALED_TEXT_MAX];
		const char *why;

		random_is = RISING;
		assert_true(
		    sealed_make(key, cases[i].name, &in, salt, text, &why));
		random_is = RANDOM;
		assert_string_equal(text, cases[i].text);
		assert_true(strlen(text) < SEALED_TEXT_MAX);
		assert_true(sealed_is(span_of_string(text)));
		assert_true(sealed_salt(span_of_string(text), its_salt));
		assert_memory_equal(its_salt, salt, sizeof(salt));
		assert_opens(key, cases[i].name, text, cases[i].secret);
		sealed_key_free(key);
	}
}

static void
test_never_twice_the_same(void **state)
{
	struct sealed_key *key = key_of(HEX_KEY);
	struct secret in = secret_of(SPAN_OF("x"));
	uint8_t one_salt[SEALED_SALT_BYTES], other_salt[SEALED_SALT_BYTES];
	char one[SEALED_TEXT_MAX], other[SEALED_TEXT_MAX];
	const char *why;

	(void)state;
	assert_true(sealed_make(key, "password", &in, salt, one, &why));
	assert_true(sealed_make(key, "password", &in, salt, other, &why));
	assert_string_not_equal(one, other);
	assert_true(sealed_salt_new(one_salt));
	assert_true(sealed_salt_new(other_salt));
	assert_memory_not_equal(one_salt, other_salt, sizeof(one_salt));
	random_is = BROKEN;
	assert_false(sealed_make(key, "password", &in, salt, one, &why));
	assert_non_null(strstr(why, "OpenSSL"));
	assert_false(sealed_salt_new(one_salt));
	random_is = RANDOM;
	sealed_key_free(key);
}

/* Every byte of the text, in turn, as every other one; every part of it. */
static void
test_tampering(void **state)
{
	struct sealed_key *key = key_of(HEX_KEY);
	const size_t n = strlen(SEALED_SECRET);
	char text[SEALED_TEXT_MAX + 1];
	struct secret out;
	const char *why;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		for (int c = 0; c <= UINT8_MAX; c++) {
			strcpy(text, SEALED_SECRET);
			text[i] = (char)c;
			if (strcmp(text, SEALED_SECRET) != 0 &&
			    sealed_open(key, "device_secret",
				span_of_string(text), &out, &why))
				fail_msg("byte %zu may be %d", i, c);
		}
	}
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(text, sizeof(text), "%.*s%s", (int)i,
		    SEALED_SECRET, SEALED_SECRET + i + 1);
		assert_shut(key, "device_secret", text, "");
	}
	for (size_t i = 0; i <= n; i++) {
		(void)snprintf(text, sizeof(text), "%.*sA%s", (int)i,
		    SEALED_SECRET, SEALED_SECRET + i);
		assert_shut(key, "device_secret", text, "");
	}
	sealed_key_free(key);
}

static void
test_is_for_one_key_and_one_name(void **state)
{
	struct sealed_key *key = key_of(HEX_KEY);
	struct sealed_key *other = key_of("0" HEX_KEY);

	(void)state;
	assert_shut(key, "password", SEALED_SECRET, "does not open");
	assert_shut(key, "device_secret", SEALED_PASSWORD, "does not open");
	assert_shut(other, "device_secret", SEALED_SECRET, "does not open");
	assert_opens(key, "device_secret", SEALED_SECRET, SPAN_OF(SECRET));
	sealed_key_free(key);
	sealed_key_free(other);
	sealed_key_free(NULL);
}

static void
test_is_no_sealed_value(void **state)
{
	static const char *const texts[] = {
	    "sealed:", "sealed:1:", "sealed:1::",
	    "sealed:2:" SALT ":8PHy8/T19vf4+fr7wKQcVzzUujMjvsqlZPYWd5kB6A",
	    "sealed:1:" SALT, "sealed:1:" SALT ":",
	    /* a tag that is too short by a byte */
	    "sealed:1:" SALT ":AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	    "sealed:1:" SALT "A:8PHy8/T19vf4+fr7wKQcVzzUujMjvsqlZPYWd5kB6A",
	    "sealed:1:AAEC:8PHy8/T19vf4+fr7wKQcVzzUujMjvsqlZPYWd5kB6A"};
	struct sealed_key *key = key_of(HEX_KEY);
	uint8_t its_salt[SEALED_SALT_BYTES];
	char text[2 * SEALED_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
		assert_true(sealed_is(span_of_string(texts[i])));
		assert_false(sealed_salt(span_of_string(texts[i]), its_salt));
		assert_shut(key, "password", texts[i], "no whole sealed value");
	}
	(void)snprintf(text, sizeof(text), "sealed:1:" SALT ":%0250d", 0);
	assert_shut(key, "password", text, "no whole sealed value");
	assert_false(sealed_is(SPAN_OF("Sealed:1:")));
	assert_false(sealed_is(SPAN_OF("sealed")));
	assert_false(sealed_is(SPAN_OF("")));
	sealed_key_free(key);
}

static void
test_keys(void **state)
{
	static const struct {
		struct span content;
		bool ok;
	} cases[] = {
	    {SPAN_OF(HEX_KEY), true},
	    {SPAN_OF("12 bytes are"), true},
	    {SPAN_OF("eleven byte"), false},
	    {SPAN_OF(""), false},
	    {SPAN_OF("\0\0\0\0\0\0\0\0\0\0\0\0"), true},
	};
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct secret k = secret_of(cases[i].content);
		struct sealed_key *key = sealed_key_new(&k, &why);

		assert_int_equal(key != NULL, cases[i].ok);
		if (key == NULL)
			assert_non_null(strstr(why, "openssl rand -hex 32"));
		sealed_key_free(key);
	}
}

/* A key takes any number of salts; a passphrase a few, which stay usable. */
static void
test_salts(void **state)
{
	struct sealed_key *key = key_of(HEX_KEY);
	struct sealed_key *slow = key_of(PASSPHRASE);
	struct secret in = secret_of(SPAN_OF("x"));
	char texts[3 * SEALED_SALTS_MAX][SEALED_TEXT_MAX];
	uint8_t its_salt[SEALED_SALT_BYTES] = {0};
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
		its_salt[7] = (uint8_t)i;
		assert_true(sealed_make(
		    key, "password", &in, its_salt, texts[i], &why));
	}
	for (size_t i = 0; i < 2 * ARRAY_LENGTH(texts); i++)
		assert_opens(key, "password", texts[i / 2], SPAN_OF("x"));
	for (size_t i = 0; i <= SEALED_SALTS_MAX; i++) {
		its_salt[7] = (uint8_t)i;
		assert_int_equal(sealed_make(slow, "password", &in, its_salt,
				     texts[i], &why),
		    i < SEALED_SALTS_MAX);
	}
	assert_non_null(strstr(why, "more than 4 salts"));
	for (size_t i = 0; i < SEALED_SALTS_MAX; i++)
		assert_opens(slow, "password", texts[i], SPAN_OF("x"));
	assert_shut(
	    slow, "password", texts[SEALED_SALTS_MAX], "more than 4 salts");
	sealed_key_free(key);
	sealed_key_free(slow);
}

/* RFC 4648 10, and the two characters that another alphabet has otherwise. */
static void
test_base64(void **state)
{
	static const struct {
		struct span bytes;
		const char *text;
	} cases[] = {{SPAN_OF(""), ""}, {SPAN_OF("f"), "Zg"},
	    {SPAN_OF("fo"), "Zm8"}, {SPAN_OF("foo"), "Zm9v"},
	    {SPAN_OF("foobar"), "Zm9vYmFy"},
	    {SPAN_OF("\xfb\xef\xff\xff"), "++///w"}};
	static const char *const bad[] = {"A", "Zg==", "Zh", "Zm9", "Zm9v\n",
	    "Zm-v", "Zm_v", "Zm9vA", " Zg", "Zm9vYmFyZm9v"};
	char text[16];
	uint8_t bytes[8];
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		base64_write(cases[i].bytes, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(strlen(text), BASE64_LENGTH(cases[i].bytes.n));
		assert_true(base64_read(
		    span_of_string(text), bytes, sizeof(bytes), &n));
		assert_span_equal(((struct span){bytes, n}), cases[i].bytes);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		assert_false(base64_read(
		    span_of_string(bad[i]), bytes, sizeof(bytes), &n));
}

/* ---- in a map ---- */

#define DEVICE "[device:a]\nproduct_key = pk\ndevice_name = devi\nhost = h\n"

static struct credmap *
load(struct scratch *s, const char *key_file, const char *text)
{
	struct settings *settings = settings_load(NULL, &s->complaints);
	struct credmap *map;

	assert_non_null(settings);
	if (key_file != NULL)
		(void)snprintf(settings->secrets_key_file, SETTING_TEXT_MAX,
		    "%s/%s", s->folder, key_file);
	map =
	    credmap_load(scratch_write(s, "devices.ini", span_of_string(text)),
		settings, &s->complaints);
	settings_unref(settings);
	return map;
}

static void
test_in_a_map(void **state)
{
	struct scratch *s = *state;
	struct credmap *map;

	(void)scratch_write(s, "key", SPAN_OF(HEX_KEY "\n"));
	map = load(s, "key",
	    DEVICE "device_secret = " SEALED_SECRET
		   "\npassword = " SEALED_PASSWORD "\n"
		   "[device:b]\nproduct_key = pk\ndevice_name = devj\n"
		   "host = h\ndevice_secret = plain\npassword = sealed\n");
	assert_told(s, "");
	assert_non_null(map);
	assert_true(
	    secret_eq(&credmap_at(map, 0)->device_secret, SPAN_OF(SECRET)));
	assert_true(secret_eq(&credmap_at(map, 0)->password, SPAN_OF("p w")));
	assert_true(
	    secret_eq(&credmap_at(map, 1)->device_secret, SPAN_OF("plain")));
	assert_true(
	    secret_eq(&credmap_at(map, 1)->password, SPAN_OF("sealed")));
	credmap_unref(map);
}

static void
test_in_a_table(void **state)
{
	static const char text[] =
	    "[device:f]\nproduct_key = pk\ndevice_name = pump_${1}\n"
	    "host = h\ndevice_secrets_file = t.csv\n";
	struct scratch *s = *state;
	struct credmap *map;

	(void)scratch_write(s, "key", SPAN_OF(HEX_KEY "\n"));
	(void)scratch_write(s, "t.csv",
	    SPAN_OF("DeviceName,DeviceSecret\npump_1," SEALED_SECRET
		    "\npump_2,plain\n"));
	map = load(s, "key", text);
	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(credmap_count(map), 2);
	assert_true(
	    secret_eq(&credmap_at(map, 0)->device_secret, SPAN_OF(SECRET)));
	assert_true(
	    secret_eq(&credmap_at(map, 1)->device_secret, SPAN_OF("plain")));
	credmap_unref(map);
	(void)scratch_write(s, "t.csv",
	    SPAN_OF("DeviceName,DeviceSecret\npump_1," SEALED_PASSWORD "\n"));
	assert_null(load(s, "key", text));
	assert_told_once(s, "error 2: DeviceSecret: it is sealed and does");
	assert_null(load(s, NULL, text));
	assert_told_once(s, "error 2: DeviceSecret: it is sealed, and there");
}

static void
test_in_a_map_with_errors(void **state)
{
	static const char good[] = DEVICE "device_secret = " SEALED_SECRET
					  "\npassword = " SEALED_PASSWORD "\n";
	struct scratch *s = *state;

	/* no key: told once, as it is the same of all */
	assert_null(load(s, NULL, good));
	assert_told(s,
	    "error 5: device_secret: it is sealed, and there is no key to "
	    "open it: set [secrets] key_file in proxy.ini\n");
	assert_null(load(s, "none", good));
	assert_told(s,
	    "error 5: device_secret: it is sealed, and the key in [secrets] "
	    "key_file cannot be used: No such file or directory\n");
	(void)scratch_write(s, "key", SPAN_OF("too short"));
	assert_null(load(s, "key", good));
	assert_told_once(s, "a passphrase has 12 bytes or more");
	(void)scratch_write(s, "key", SPAN_OF("1" HEX_KEY));
	assert_null(load(s, "key", good));
	assert_non_null(strstr(s->told, "error 5: device_secret: it is sealed "
					"and does not open"));
	assert_non_null(strstr(s->told, "error 6: password: it is sealed"));
	scratch_reset(s);

	(void)scratch_write(s, "key", SPAN_OF(HEX_KEY "\r\n"));
	assert_null(
	    load(s, "key", DEVICE "device_secret = " SEALED_PASSWORD "\n"));
	assert_told_once(s, "error 5: device_secret: it is sealed and does");
	assert_null(load(s, "key", DEVICE "device_secret = sealed:1:abc\n"));
	assert_told_once(s, "error 5: device_secret: it begins with sealed:");
	/* what it holds has to be good, too */
	assert_null(load(s, "key",
	    DEVICE "device_secret = x\npassword = sealed:1:" SALT
		   ":8PHy8/T19vf4+fr7gLVZwp/tPzclrHl/4eKDD/bW4Cx\n"));
	assert_told_once(s, "error 6: password: it ");
	/* and a file holds no sealed value */
	(void)scratch_write(s, "secret", SPAN_OF(SEALED_PASSWORD));
	assert_null(load(s, "key", DEVICE "device_secret_file = secret\n"));
	assert_told_once(s, "error 5: device_secret_file: 1 to 64 printable");
}

#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_base64),
	    cmocka_unit_test(test_known_answers),
	    cmocka_unit_test(test_never_twice_the_same),
	    cmocka_unit_test(test_tampering),
	    cmocka_unit_test(test_is_for_one_key_and_one_name),
	    cmocka_unit_test(test_is_no_sealed_value),
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_salts),
	    TEST(test_in_a_map),
	    TEST(test_in_a_table),
	    TEST(test_in_a_map_with_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
