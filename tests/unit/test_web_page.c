/*
 * The page for a browser: one document, in whose policy its own script and
 * style are named by their hash, and nothing else is let in.
 */
#include "server/web_page.h"

#include "codec/base64.h"

#include "unit.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char headers[WEB_PAGE_HEADERS_MAX];

/* As a string. */
static char *
page(void)
{
	size_t n;
	char *copy = web_page_copy(&n), *text;

	assert_non_null(copy);
	text = strndup(copy, n);
	assert_non_null(text);
	/* no NUL in it */
	assert_int_equal(strlen(text), n);
	free(copy);
	return text;
}

/* How CSP names what stands between <begin> and <end>, which are there once. */
static void
assert_named(const char *text, const char *begin, const char *end)
{
	const char *from = strstr(text, begin);
	const char *to;
	unsigned char hash[32];
	char word[BASE64_LENGTH(sizeof(hash)) + 1];
	char source[sizeof(word) + 16];

	assert_non_null(from);
	from += strlen(begin);
	assert_null(strstr(from, begin));
	to = strstr(from, end);
	assert_non_null(to);
	assert_null(strstr(to + 1, end));
	assert_true(to - from > 1000);
	assert_int_equal(EVP_Digest(from, (size_t)(to - from), hash, NULL,
			     EVP_sha256(), NULL),
	    1);
	base64_write((struct span){hash, sizeof(hash)}, word);
	(void)snprintf(source, sizeof(source), "-src 'sha256-%s=';", word);
	assert_non_null(strstr(headers, source));
}

static void
test_policy(void **state)
{
	static const char *const parts[] = {
	    "Content-Security-Policy: default-src 'none'; script-src 'sha256-",
	    "; connect-src 'self'; img-src data:; base-uri 'none';"
	    " form-action 'none'; frame-ancestors 'none'\r\n",
	    "\r\nReferrer-Policy: no-referrer\r\n",
	};
	char *text = page();

	(void)state;
	assert_true(web_page_headers(headers));
	for (size_t i = 0; i < ARRAY_LENGTH(parts); i++)
		assert_non_null(strstr(headers, parts[i]));
	assert_null(strstr(headers, "unsafe"));
	assert_named(text, "<script>", "</script>");
	assert_named(text, "<style>", "</style>");
	free(text);
}

/* Nothing that the policy would not let through, or that makes markup of what
   devices say. */
static void
test_what_is_not_in_it(void **state)
{
	static const char *const parts[] = {"http://", "https://", "//cdn",
	    " style=", " onclick", "javascript:", "innerHTML", "outerHTML",
	    "insertAdjacent", "document.write", "eval(", "Function(",
	    "localStorage", "@import", "url("};
	char *text = page();
	/* the one of the icon is a name, and leads nowhere */
	char *name = strstr(text, "http://www.w3.org/2000/svg");

	(void)state;
	assert_non_null(name);
	memset(name, ' ', strlen("http://"));
	for (size_t i = 0; i < ARRAY_LENGTH(parts); i++)
		if (strstr(text, parts[i]) != NULL)
			fail_msg("it has %s", parts[i]);
	assert_int_equal(strncmp(text, "<!doctype html>\n", 16), 0);
	free(text);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_policy),
	    cmocka_unit_test(test_what_is_not_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
