#include "settings/map_seal.h"

#include "base/secret.h"

#include "scratch.h"
#include "unit.h"

#define HEX_KEY                                                                \
	"000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static struct sealed_key *
key_of(struct span content)
{
	struct sealed_key *key;
	struct secret k;
	const char *why;

	assert_true(secret_set(&k, content));
	key = sealed_key_new(&k, &why);
	assert_non_null(key);
	return key;
}

static struct map_seal
begin(struct scratch *s, const char *text)
{
	struct map_seal m = {.text = map_text_new(span_of_string(text)),
	    .path = "devices.ini",
	    .to = &s->complaints,
	    .key = key_of(SPAN_OF(HEX_KEY))};

	assert_non_null(m.text);
	return m;
}

static void
end(struct map_seal *m)
{
	map_text_free(m->text);
	sealed_key_free(m->key);
}

/* Valid until the next call. */
static const char *
text_of(const struct map_seal *m)
{
	static char text[4096];
	size_t n;
	char *joined = map_text_join(m->text, &n);

	assert_non_null(joined);
	assert_true(n < sizeof(text));
	memcpy(text, joined, n);
	text[n] = '\0';
	free(joined);
	return text;
}

static size_t
count(const char *text, const char *word)
{
	size_t n = 0;

	for (; (text = strstr(text, word)) != NULL; text++)
		n++;
	return n;
}

static const char map[] = "; device_secret = hunter2 in a comment\r\n"
			  "[product:pk]\n"
			  "\n"
			  "[device:a]   \n"
			  "device_secret =   hunter2-a\n"
			  "; about the password\n"
			  "password=hunter2 b\n"
			  "device_secret_file = hunter2-file\n"
			  "[device:b]\n"
			  "device_name = hunter2-name\n"
			  "device_secret = hunter2-c";

static bool
only_b(void *arg, struct span label)
{
	(*(unsigned *)arg)++;
	return span_eq(label, SPAN_OF("b"));
}

static void
test_there_and_back(void **state)
{
	struct scratch *s = *state;
	struct map_seal m = begin(s, map);
	uint8_t salt[SEALED_SALT_BYTES];
	char sealed[4096];

	assert_false(map_seal_salt(m.text, salt));
	assert_true(map_seal(&m));
	assert_int_equal(m.changed, 3);
	assert_int_equal(m.unchanged, 0);
	strcpy(sealed, text_of(&m));
	/* all but those that are no secrets, and one salt for all */
	assert_int_equal(count(sealed, "hunter2"), 3);
	assert_int_equal(count(sealed, "sealed:1:"), 3);
	assert_true(map_seal_salt(m.text, salt));
	base64_write(
	    (struct span){salt, sizeof(salt)}, sealed + sizeof(sealed) - 32);
	assert_int_equal(count(sealed, sealed + sizeof(sealed) - 32), 3);

	assert_true(map_seal(&m));
	assert_int_equal(m.changed, 0);
	assert_int_equal(m.unchanged, 3);
	assert_string_equal(text_of(&m), sealed);

	assert_true(map_unseal(&m));
	assert_int_equal(m.changed, 3);
	assert_string_equal(text_of(&m), map);
	assert_true(map_unseal(&m));
	assert_int_equal(m.changed, 0);
	assert_int_equal(m.unchanged, 3);
	assert_told(s, "");
	end(&m);
}

static void
test_some_only(void **state)
{
	struct scratch *s = *state;
	struct map_seal m = begin(s, map);
	uint8_t salt[SEALED_SALT_BYTES], same[SEALED_SALT_BYTES];
	unsigned asked = 0;

	m.is_meant = only_b;
	m.arg = &asked;
	assert_true(map_seal(&m));
	assert_int_equal(asked, 3);
	assert_int_equal(m.changed, 1);
	assert_null(strstr(text_of(&m), "hunter2-c"));
	assert_non_null(strstr(text_of(&m), "hunter2-a"));
	assert_true(map_seal_salt(m.text, salt));
	m.is_meant = NULL;
	assert_true(map_seal(&m));
	assert_int_equal(m.changed, 2);
	assert_int_equal(m.unchanged, 1);
	assert_true(map_seal_salt(m.text, same));
	assert_memory_equal(salt, same, sizeof(salt));
	assert_told(s, "");
	end(&m);
}

static void
test_errors(void **state)
{
	struct scratch *s = *state;
	struct map_seal m = begin(s, map);
	struct sealed_key *other = key_of(SPAN_OF("another passphrase"));
	struct sealed_key *right = m.key;
	char text[512];

	assert_true(map_seal(&m));
	m.key = other;
	assert_false(map_unseal(&m));
	m.key = right;
	assert_int_equal(m.changed, 0);
	assert_non_null(
	    strstr(s->told, "error 5: device_secret: it is sealed and"));
	assert_non_null(strstr(s->told, "error 7: password: it is sealed and"));
	assert_int_equal(s->complaints.errors, 3);
	scratch_reset(s);
	end(&m);

	(void)snprintf(text, sizeof(text),
	    "[device:a]\npassword = %088d\n[device:b]\npassword = %089d\n"
	    "[device:c]\npassword = %0129d\n",
	    0, 0, 0);
	m = begin(s, text);
	assert_false(map_seal(&m));
	assert_int_equal(m.changed, 1);
	assert_told(s,
	    "error 4: password: sealed it would be too long for a line: keep "
	    "it in a file\n"
	    "error 6: password: it is too long for a secret\n");
	end(&m);
	sealed_key_free(other);
}

#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_there_and_back),
	    TEST(test_some_only),
	    TEST(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
