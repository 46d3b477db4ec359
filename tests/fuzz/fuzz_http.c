/*
 * The input is what a server answers to the upgrade request, and maybe more.
 */
#include "fuzz.h"

#include "codec/http.h"

#include <string.h>

/* RFC 6455 1.3: its accept value stands in the corpus. */
static const uint8_t nonce[WS_NONCE_BYTES] = "the sample nonce";

/* A fault's text goes to the log: printable ASCII, no double quotes. */
static void
check_text(const struct fault *why)
{
	MUST(why->why != R_NONE);
	MUST(memchr(why->text, '\0', sizeof(why->text)) != NULL);
	for (const char *c = why->text; *c != '\0'; c++)
		MUST(*c >= 0x20 && *c < 0x7f && *c != '"');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = {data, size};
	struct http_answer answer, shorter;
	struct fault why = {R_NONE, ""};
	size_t used = 0, ignored;
	enum parse got = http_answer_read(in, &answer, &used, &why);

	if (got == PARSE_BAD)
		check_text(&why);
	if (got != PARSE_OK) {
		/* no part of it is a head either */
		in.n /= 2;
		MUST(
		    http_answer_read(in, &shorter, &ignored, NULL) != PARSE_OK);
		return 0;
	}
	MUST(used > 0 && used <= size && used <= HTTP_HEAD_MAX);
	MUST(answer.status >= 101 && answer.status <= 599);
	in.n = used - 1;
	MUST(http_answer_read(in, &shorter, &ignored, NULL) == PARSE_MORE);
	if (!ws_answer_accept(&answer, nonce, "mqtt", &why))
		check_text(&why);
	return 0;
}
