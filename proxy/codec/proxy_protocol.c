#include "codec/proxy_protocol.h"

#include "base/escape.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

enum {
	HEAD_2_BYTES = 16, /* of version 2, before the addresses */
	BYTES_INET = 12,
	BYTES_INET6 = 36,
	BYTES_UNIX = 216,
	SHOWN_BYTES = 24
};

/* The high half of byte 14 of version 2 (2.2). */
enum family { FAMILY_NONE, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX };

static enum parse
bad(struct fault *why, const char *text)
{
	(void)fault_set(why, R_BAD_PROXY_HEADER, "%s", text);
	return PARSE_BAD;
}

static enum parse
bad_start(struct span in, struct fault *why)
{
	char text[4 * SHOWN_BYTES + 8];
	struct span start = {in.p, in.n < SHOWN_BYTES ? in.n : SHOWN_BYTES};

	(void)fault_set(why, R_BAD_PROXY_HEADER, "it begins with %s",
	    escape(text, sizeof(text), start));
	return PARSE_BAD;
}

/* Whether <in> begins with <start>, as far as it goes. */
static bool
may_begin(struct span in, struct span start)
{
	size_t n = in.n < start.n ? in.n : start.n;

	return memcmp(in.p, start.p, n) == 0;
}

/* ---- version 1 ---- */

/* Takes the next word, and the one blank behind it. */
static struct span
take_word(struct span *line)
{
	const uint8_t *blank = memchr(line->p, ' ', line->n);
	struct span word = {
	    line->p, blank != NULL ? (size_t)(blank - line->p) : line->n};
	size_t n = word.n + (blank != NULL);

	line->p += n;
	line->n -= n;
	return word;
}

static bool
read_address(struct span word, int family, uint8_t out[static 16])
{
	char text[INET6_ADDRSTRLEN];

	if (word.n >= sizeof(text) || memchr(word.p, '\0', word.n) != NULL)
		return false;
	memcpy(text, word.p, word.n);
	text[word.n] = '\0';
	return inet_pton(family, text, out) == 1;
}

/* 0 to 65535, without leading zeros. */
static bool
read_port(struct span word, uint16_t *out)
{
	uint32_t port = 0;

	if (word.n == 0 || word.n > 5 || (word.n > 1 && word.p[0] == '0'))
		return false;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] < '0' || word.p[i] > '9')
			return false;
		port = port * 10 + word.p[i] - '0';
	}
	*out = (uint16_t)port;
	return port <= UINT16_MAX;
}

/* <line> is what stands behind "PROXY ", without the line end. */
static bool
read_line(struct span line, struct proxy_source *out)
{
	struct span protocol = take_word(&line);
	bool is_inet = span_eq(protocol, SPAN_OF("TCP4"));
	int family = is_inet ? AF_INET : AF_INET6;
	struct span from, to, from_port;
	uint8_t passed_over[16];
	uint16_t port;

	if (span_eq(protocol, SPAN_OF("UNKNOWN")))
		return true; /* whatever follows (2.1) */
	if (!is_inet && !span_eq(protocol, SPAN_OF("TCP6")))
		return false;
	from = take_word(&line);
	to = take_word(&line);
	from_port = take_word(&line);
	if (!read_address(from, family, out->address) ||
	    !read_address(to, family, passed_over) ||
	    !read_port(from_port, &out->port) || !read_port(line, &port))
		return false;
	out->version = is_inet ? 4 : 6;
	return true;
}

static enum parse
read_1(
    struct span in, struct proxy_source *out, size_t *used, struct fault *why)
{
	size_t n =
	    in.n < PROXY_PROTOCOL_LINE_MAX ? in.n : PROXY_PROTOCOL_LINE_MAX;
	const uint8_t *end = memchr(in.p, '\n', n);
	size_t start = SPAN_OF("PROXY ").n;

	if (end == NULL && n < PROXY_PROTOCOL_LINE_MAX)
		return PARSE_MORE;
	if (end == NULL)
		return bad(why, "its line is over 107 bytes");
	n = (size_t)(end - in.p);
	if (in.p[n - 1] != '\r' ||
	    !read_line((struct span){in.p + start, n - 1 - start}, out)) {
		*out = (struct proxy_source){0};
		return bad_start(in, why);
	}
	*used = n + 1;
	return PARSE_OK;
}

/* ---- version 2 ---- */

/* What the addresses of a family take. */
static size_t
address_bytes(enum family family)
{
	switch (family) {
	case FAMILY_INET:
		return BYTES_INET;
	case FAMILY_INET6:
		return BYTES_INET6;
	case FAMILY_UNIX:
		return BYTES_UNIX;
	case FAMILY_NONE:
		break;
	}
	return 0;
}

/* <in> holds them: both addresses, then both ports. */
static void
take_source(const uint8_t *in, enum family family, struct proxy_source *out)
{
	size_t n = family == FAMILY_INET ? 4 : 16;

	memcpy(out->address, in, n);
	out->port = (uint16_t)(in[2 * n] << 8 | in[2 * n + 1]);
	out->version = family == FAMILY_INET ? 4 : 6;
}

static enum parse
read_2(
    struct span in, struct proxy_source *out, size_t *used, struct fault *why)
{
	unsigned command, family, transport;
	size_t n;

	if (in.n < HEAD_2_BYTES)
		return PARSE_MORE;
	command = in.p[12] & 0x0f;
	family = in.p[13] >> 4;
	transport = in.p[13] & 0x0f;
	n = (size_t)(in.p[14] << 8 | in.p[15]);
	if (in.p[12] >> 4 != 2)
		return bad(why, "it is of no version that is known");
	if (command > 1)
		return bad(why, "it has no command that is known");
	if (family > FAMILY_UNIX || transport > 2)
		return bad(why, "it has no address family that is known");
	if (HEAD_2_BYTES + n > PROXY_PROTOCOL_MAX)
		return bad(why, "it is over 4096 bytes");
	/* LOCAL: whatever follows (2.2) */
	if (command == 1 && n < address_bytes((enum family)family))
		return bad(why, "it is too short for its addresses");
	if (in.n < HEAD_2_BYTES + n)
		return PARSE_MORE;
	if (command == 1 && transport == 1 &&
	    (family == FAMILY_INET || family == FAMILY_INET6))
		take_source(in.p + HEAD_2_BYTES, (enum family)family, out);
	*used = HEAD_2_BYTES + n;
	return PARSE_OK;
}

enum parse
proxy_protocol_read(
    struct span in, struct proxy_source *out, size_t *used, struct fault *why)
{
	const struct span line = SPAN_OF("PROXY ");
	const struct span signature = SPAN_OF("\r\n\r\n\0\r\nQUIT\n");

	*out = (struct proxy_source){0};
	*used = 0;
	if (in.n == 0)
		return PARSE_MORE;
	if (may_begin(in, line))
		return in.n < line.n ? PARSE_MORE : read_1(in, out, used, why);
	if (may_begin(in, signature))
		return in.n < signature.n ? PARSE_MORE
					  : read_2(in, out, used, why);
	return bad_start(in, why);
}
