#include "server/web_page.h"

#include "base/text.h"
#include "codec/base64.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* Where the sources are, for an assembler that gets no -I, as that of a linker
   that optimises. */
#ifndef WEB_PAGE_ROOT
#define WEB_PAGE_ROOT ""
#endif

#define FILE_AT(label, name)                                                   \
	label ":\n"                                                            \
	      ".incbin \"" WEB_PAGE_ROOT "server/" name "\"\n" label "_end:\n"

/* clang-format off */
__asm__(
    ".pushsection .rodata\n"
    ".globl web_page, web_page_end\n"
    ".globl web_page_style, web_page_style_end\n"
    ".globl web_page_script, web_page_main_end\n"
    ".hidden web_page, web_page_end\n"
    ".hidden web_page_style, web_page_style_end\n"
    ".hidden web_page_script, web_page_main_end\n"
    "web_page:\n"
    ".ascii \"<!doctype html>\\n<html lang=en>\\n<meta charset=utf-8>\\n\"\n"
    ".ascii \"<style>\"\n"
    FILE_AT("web_page_style", "web_page.css")
    ".ascii \"</style>\\n\"\n"
    FILE_AT("web_page_body", "web_page.html")
    ".ascii \"<script>\"\n"
    FILE_AT("web_page_script", "web_page_base.js")
    FILE_AT("web_page_knocks", "web_page_knocks.js")
    FILE_AT("web_page_devices", "web_page_devices.js")
    FILE_AT("web_page_main", "web_page.js")
    ".ascii \"</script>\\n\"\n"
    "web_page_end:\n"
    ".popsection\n");
/* clang-format on */

extern const char web_page[], web_page_end[];
extern const char web_page_style[], web_page_style_end[];
extern const char web_page_script[], web_page_main_end[];

enum { HASH_BYTES = 32 };

char *
web_page_copy(size_t *n)
{
	char *copy;

	*n = (size_t)(web_page_end - web_page);
	copy = malloc(*n);
	if (copy != NULL)
		memcpy(copy, web_page, *n);
	return copy;
}

/* Adds " 'sha256-...'", with the padding that base64 has there (CSP 2.3.1). */
static bool
add_hash(struct text *out, const char *begin, const char *end)
{
	unsigned char hash[HASH_BYTES];
	char text[BASE64_LENGTH(HASH_BYTES) + 1];

	if (EVP_Digest(begin, (size_t)(end - begin), hash, NULL, EVP_sha256(),
		NULL) != 1)
		return false;
	base64_write((struct span){hash, sizeof(hash)}, text);
	text_add(out, " 'sha256-%s='", text);
	return true;
}

bool
web_page_headers(char out[static WEB_PAGE_HEADERS_MAX])
{
	struct text text = {.at = out, .left = WEB_PAGE_HEADERS_MAX};
	bool ok;

	text_add(
	    &text, "Content-Security-Policy: default-src 'none'; script-src");
	ok = add_hash(&text, web_page_script, web_page_main_end);
	text_add(&text, "; style-src");
	ok = ok && add_hash(&text, web_page_style, web_page_style_end);
	text_add(&text, "; connect-src 'self'; img-src data:; base-uri 'none';"
			" form-action 'none'; frame-ancestors 'none'\r\n"
			"Referrer-Policy: no-referrer\r\n"
			"Cross-Origin-Resource-Policy: same-origin\r\n");
	return ok && !text.full;
}
