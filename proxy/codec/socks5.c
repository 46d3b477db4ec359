#include "codec/socks5.h"

#include "base/escape.h"

#include <arpa/inet.h>
#include <string.h>

enum { SOCKS_VERSION = 5, LOGIN_VERSION = 1, CONNECT = 1 };
enum address_type { IPV4 = 1, NAME = 3, IPV6 = 4 };

/* Bytes that grow to the right; <full> once something did not fit. */
struct bytes {
	uint8_t *at;
	size_t left;
	bool full;
};

static void
add(struct bytes *b, const void *from, size_t n)
{
	if (n > b->left) {
		b->full = true;
		return;
	}
	memcpy(b->at, from, n);
	b->at += n;
	b->left -= n;
}

static void
add_u8(struct bytes *b, uint8_t value)
{
	add(b, &value, 1);
}

/* With its length in one byte before it. */
static void
add_text(struct bytes *b, struct span text)
{
	b->full |= text.n > SOCKS5_TEXT_MAX;
	add_u8(b, (uint8_t)text.n);
	add(b, text.p, text.n);
}

static size_t
written(const struct bytes *b, size_t size)
{
	return b->full ? 0 : size - b->left;
}

/* RFC 1928 3 */
size_t
socks5_greeting_write(bool has_login, uint8_t *out, size_t size)
{
	struct bytes b = {out, size, false};

	add_u8(&b, SOCKS_VERSION);
	add_u8(&b, has_login ? 2 : 1);
	add_u8(&b, SOCKS5_NO_LOGIN);
	if (has_login)
		add_u8(&b, SOCKS5_PASSWORD);
	return written(&b, size);
}

/* RFC 1929 2 */
size_t
socks5_login_write(const char *username, const struct secret *password,
    uint8_t *out, size_t size)
{
	struct bytes b = {out, size, false};

	add_u8(&b, LOGIN_VERSION);
	add_text(&b, span_of_string(username));
	add_text(&b, (struct span){password->bytes, password->n});
	return written(&b, size);
}

/* RFC 1928 4, 5 */
size_t
socks5_connect_write(const char *host, uint16_t port, uint8_t *out, size_t size)
{
	struct bytes b = {out, size, false};
	uint8_t address[sizeof(struct in6_addr)];

	add(&b, (const uint8_t[]){SOCKS_VERSION, CONNECT, 0}, 3);
	if (inet_pton(AF_INET, host, address) == 1) {
		add_u8(&b, IPV4);
		add(&b, address, 4);
	} else if (inet_pton(AF_INET6, host, address) == 1) {
		add_u8(&b, IPV6);
		add(&b, address, 16);
	} else {
		add_u8(&b, NAME);
		add_text(&b, span_of_string(host));
	}
	add_u8(&b, (uint8_t)(port >> 8));
	add_u8(&b, (uint8_t)port);
	return written(&b, size);
}

static enum parse
bad(struct fault *why, const char *what, struct span in)
{
	char shown[64];

	(void)fault_set(why, R_EGRESS_BAD_ANSWER,
	    "the answer is not SOCKS5%s; it begins with '%s'", what,
	    escape(shown, sizeof(shown), in));
	return PARSE_BAD;
}

static enum parse
check_version(struct span in, struct fault *why)
{
	if (in.n == 0)
		return PARSE_MORE;
	if (in.p[0] == SOCKS_VERSION)
		return PARSE_OK;
	return bad(why,
	    in.p[0] == 0      ? " (SOCKS4)"
	    : in.p[0] == 'H'  ? " (an HTTP proxy)"
	    : in.p[0] == 0x15 ? " (a TLS alert)"
			      : "",
	    in);
}

/* RFC 1928 3 */
enum parse
socks5_method_read(
    struct span in, uint8_t *method, size_t *used, struct fault *why)
{
	enum parse got = check_version(in, why);

	if (got != PARSE_OK)
		return got;
	if (in.n < 2)
		return PARSE_MORE;
	*method = in.p[1];
	*used = 2;
	return PARSE_OK;
}

/* RFC 1929 2. Of the version 1 some proxies make a 5; the status says it all.
 */
enum parse
socks5_login_read(struct span in, bool *accepted, size_t *used)
{
	if (in.n < 2)
		return PARSE_MORE;
	*accepted = in.p[1] == 0;
	*used = 2;
	return PARSE_OK;
}

/* RFC 1928 6 */
enum parse
socks5_reply_read(
    struct span in, uint8_t *code, size_t *used, struct fault *why)
{
	enum parse got = check_version(in, why);
	size_t size = 4 + 2; /* head and port */

	if (got != PARSE_OK)
		return got;
	if (in.n < 2)
		return PARSE_MORE;
	*code = in.p[1];
	*used = in.n;
	if (*code != SOCKS5_OK)
		return PARSE_OK;
	if (in.n < 5)
		return PARSE_MORE;
	switch (in.p[3]) {
	case IPV4:
		size += 4;
		break;
	case IPV6:
		size += 16;
		break;
	case NAME:
		size += 1 + (size_t)in.p[4];
		break;
	default:
		return bad(why, " (an address of no known kind)", in);
	}
	*used = size;
	return in.n < size ? PARSE_MORE : PARSE_OK;
}

const char *
socks5_reply_text(uint8_t code)
{
	static const char *const texts[] = {
	    "succeeded",
	    "general failure",
	    "not allowed by its rules",
	    "network unreachable",
	    "host unreachable",
	    "connection refused",
	    "TTL expired",
	    "command not supported",
	    "kind of address not supported",
	};

	return code < sizeof(texts) / sizeof(texts[0]) ? texts[code]
						       : "unknown error";
}
