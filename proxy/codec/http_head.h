/*
 * http_head: reads the head of an HTTP/1.x answer line by line (RFC 9112),
 * whoever asked for it. Pure; every span told points into the input.
 */
#ifndef PROXY_CODEC_HTTP_HEAD_H
#define PROXY_CODEC_HTTP_HEAD_H

#include "base/attr.h"
#include "base/fault.h"
#include "base/parse.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_HEAD_MAX = 8 * 1024 }; /* a longer answer head is refused */

/* Who is told what stands in the head, as far as it is there. */
struct http_head_reader {
	/* A head begins; it replaces an interim one (1xx) told before. <reason>
	   is the phrase of the status line. */
	void (*status)(void *arg, int status, struct span reason);
	/* One header, without the blanks around its value. False: it must be
	   alone, and is not. */
	bool (*header)(void *arg, struct span name, struct span value);
	void *arg;
};

/*
 * Reads the answer head at the start of <in>. PARSE_OK: *used is its size, up
 * to and with the empty line; interim 1xx answers other than 101 before it are
 * skipped and counted in *used. PARSE_MORE: not whole yet; what was told so far
 * means nothing. PARSE_BAD: not HTTP/1.x, a malformed line (also one that ends
 * in LF alone or has a control character), a folded header, a header that must
 * be alone twice, or over HTTP_HEAD_MAX; <why> is R_UPGRADE_NOT_HTTP (the first
 * bytes escaped in the text) or R_UPGRADE_BAD_ANSWER. Says PARSE_BAD as soon as
 * the first bytes cannot be "HTTP/1.".
 */
NODISCARD enum parse http_head_read(struct span in,
    const struct http_head_reader *to, size_t *used, struct fault *why);

/* Text without regard to case, as RFC 9110 5.1 wants names compared. */
bool http_same_word(struct span s, const char *word);

/* Without the blanks around it. */
struct span http_trim(struct span s);

/* Whether the comma-separated <list> has <word>, in any case. */
bool http_list_has(struct span list, const char *word);

/* RFC 9110 5.6.2 */
bool http_is_token_char(uint8_t c);

#endif
