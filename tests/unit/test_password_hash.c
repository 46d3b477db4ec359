#include "settings/password_hash.h"

#include "unit.h"

#include <stdio.h>

static struct secret
secret_of(struct span bytes)
{
	struct secret k = {0};

	assert_true(secret_set(&k, bytes));
	return k;
}

static bool
is_right(const struct password_hash *h, struct span password)
{
	struct secret k = secret_of(password);
	bool right;

	assert_true(password_hash_check(h, &k, &right));
	return right;
}

/* RFC 7914, section 11; of its 64 bytes the first 32. */
static void
test_vector_of_the_standard(void **state)
{
	const struct password_hash h = {.iterations = 80000,
	    .salt_bytes = 4,
	    .salt = "NaCl",
	    .hash = {0x4d, 0xdc, 0xd8, 0xf6, 0x0b, 0x98, 0xbe, 0x21, 0x83, 0x0c,
		0xee, 0x5e, 0xf2, 0x27, 0x01, 0xf9, 0x64, 0x1a, 0x44, 0x18,
		0xd0, 0x4c, 0x04, 0x14, 0xae, 0xff, 0x08, 0x87, 0x6b, 0x34,
		0xab, 0x56}};

	(void)state;
	assert_true(is_right(&h, SPAN_OF("Password")));
	assert_false(is_right(&h, SPAN_OF("password")));
}

/* Computed apart from this program. */
static const char *const texts[] = {
    "$pbkdf2-sha256$i=1000$c2FsdHNhbHQ$"
    "E196ZhRPzw+wA84EjzHwJO1cv/MFJdO6C/sxmUeTYqY",
    "$pbkdf2-sha256$i=4096$AAECAwQFBgcICQoLDA0ODw$"
    "IoqDGvzfTXth06hpXGyrHZMVUKCaqQbBx7KD/WCRqi4",
    "$pbkdf2-sha256$i=1234$"
    "U1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NTU1NT"
    "U1NTU1NTU1NTU1NTU1NTU1NTUw$"
    "POU3uN++k4zM3Amz05bGgUIvH4KJzl2tFUtZKWIm/cs",
};

static void
test_texts(void **state)
{
	uint8_t full[SECRET_MAX];
	const struct span passwords[] = {
	    SPAN_OF("password"), SPAN_OF("pass\0word"), {full, sizeof(full)}};

	(void)state;
	memset(full, 0xff, sizeof(full));
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
		char again[PASSWORD_HASH_TEXT];
		struct password_hash h;
		const char *why;

		assert_true(password_hash_read(texts[i], &h, &why));
		assert_true(is_right(&h, passwords[i]));
		assert_false(is_right(&h, SPAN_OF("Password")));
		assert_false(is_right(&h, SPAN_OF("")));
		password_hash_write(&h, again);
		assert_string_equal(again, texts[i]);
	}
}

/* No byte of a text can be left out, doubled, or be another. */
static void
test_every_byte_counts(void **state)
{
	struct password_hash first, h;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
		size_t n = strlen(texts[i]);

		assert_true(password_hash_read(texts[i], &first, &why));
		for (size_t at = 0; at < n; at++) {
			char text[256];

			(void)snprintf(text, sizeof(text), "%.*s%s", (int)at,
			    texts[i], texts[i] + at + 1);
			assert_false(password_hash_read(text, &h, &why) &&
				     password_hash_same(&h, &first));
			(void)snprintf(text, sizeof(text), "%.*s%c%s", (int)at,
			    texts[i], texts[i][at], texts[i] + at);
			assert_false(password_hash_read(text, &h, &why) &&
				     password_hash_same(&h, &first));
			for (int c = 1; c < 256; c++) {
				(void)snprintf(
				    text, sizeof(text), "%s", texts[i]);
				text[at] = (char)c;
				if (text[at] == texts[i][at])
					continue;
				assert_false(
				    password_hash_read(text, &h, &why) &&
				    password_hash_same(&h, &first));
			}
		}
	}
}

#define SALT "c2FsdHNhbHQ"
#define HASH "E196ZhRPzw+wA84EjzHwJO1cv/MFJdO6C/sxmUeTYqY"

static void
test_refuses(void **state)
{
	static const char *const wrong[] = {
	    "",
	    "$",
	    "$pbkdf2-sha256",
	    "$pbkdf2-sha256$i=",
	    "$pbkdf2-sha256$i=1000",
	    "$pbkdf2-sha256$i=1000$",
	    "$pbkdf2-sha256$i=1000$$",
	    "$pbkdf2-sha256$i=1000$" SALT,
	    "$pbkdf2-sha256$i=1000$" SALT "$",
	    "$pbkdf2-sha1$i=1000$" SALT "$" HASH,
	    "pbkdf2-sha256$i=1000$" SALT "$" HASH,
	    "$pbkdf2-sha256$1000$" SALT "$" HASH,
	    "$pbkdf2-sha256$i=01000$" SALT "$" HASH,
	    "$pbkdf2-sha256$i=+1000$" SALT "$" HASH,
	    "$pbkdf2-sha256$i=1000,l=32$" SALT "$" HASH,
	    "$pbkdf2-sha256$i=999$" SALT "$" HASH,
	    "$pbkdf2-sha256$i=10000001$" SALT "$" HASH,
	    "$pbkdf2-sha256$i=4294968296$" SALT "$" HASH,
	    "$pbkdf2-sha256$i=18446744073709552616$" SALT "$" HASH,
	    "$pbkdf2-sha256$i=1000$c2FsdHM$" HASH,
	    "$pbkdf2-sha256$i=1000$" SALT "=$" HASH,
	    "$pbkdf2-sha256$i=1000$ " SALT "$" HASH,
	    "$pbkdf2-sha256$i=1000$" SALT "$" HASH "=",
	    "$pbkdf2-sha256$i=1000$" SALT "$" HASH "AAA",
	    "$pbkdf2-sha256$i=1000$" SALT "$" HASH "$",
	    "$pbkdf2-sha256$i=1000$" SALT "$E196",
	    /* bits behind the last byte */
	    "$pbkdf2-sha256$i=1000$c2FsdHNhbHR$" HASH,
	    /* URL-safe, a blank within, one letter too many, 65 bytes */
	    "$pbkdf2-sha256$i=1000$c2FsdHN_bHQ$" HASH,
	    "$pbkdf2-sha256$i=1000$c2Fs HNhbHQ$" HASH,
	    "$pbkdf2-sha256$i=1000$c2FsdHNhbHQAA$" HASH,
	    "$pbkdf2-sha256$i=1000$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA$" HASH,
	};
	struct password_hash h = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		const char *why = NULL;

		if (password_hash_read(wrong[i], &h, &why))
			fail_msg("taken: %s", wrong[i]);
		assert_non_null(why);
		assert_null(strstr(why, HASH));
		assert_int_equal(h.iterations, 0);
	}
}

static void
test_makes_one_of_its_own_each_time(void **state)
{
	struct secret k = secret_of(SPAN_OF("a password"));
	struct password_hash a, b, read;
	char text[PASSWORD_HASH_TEXT];
	const char *why;

	(void)state;
	assert_true(password_hash_make(&k, PASSWORD_ITERATIONS_MIN, &a));
	assert_true(password_hash_make(&k, PASSWORD_ITERATIONS_MIN, &b));
	assert_false(password_hash_same(&a, &b));
	assert_memory_not_equal(a.hash, b.hash, sizeof(a.hash));
	password_hash_write(&a, text);
	assert_true(password_hash_read(text, &read, &why));
	assert_true(password_hash_same(&a, &read));
	assert_true(is_right(&read, SPAN_OF("a password")));
	assert_false(is_right(&read, SPAN_OF("a passworD")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vector_of_the_standard),
	    cmocka_unit_test(test_texts),
	    cmocka_unit_test(test_every_byte_counts),
	    cmocka_unit_test(test_refuses),
	    cmocka_unit_test(test_makes_one_of_its_own_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
