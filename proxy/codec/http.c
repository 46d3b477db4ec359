#include "codec/http.h"

#include "base/escape.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

enum { SHA1_BYTES = 20 };

static void
write_key(
    const uint8_t nonce[static WS_NONCE_BYTES], char out[static WS_KEY_TEXT])
{
	(void)EVP_EncodeBlock((unsigned char *)out, nonce, WS_NONCE_BYTES);
}

size_t
ws_request_write(const struct ws_request *request,
    const uint8_t nonce[static WS_NONCE_BYTES], char *out, size_t size)
{
	char key[WS_KEY_TEXT];
	bool offers = request->subprotocol != NULL;
	int n;

	write_key(nonce, key);
	n = snprintf(out, size,
	    "GET %s HTTP/1.1\r\n"
	    "Host: %s\r\n"
	    "Upgrade: websocket\r\n"
	    "Connection: Upgrade\r\n"
	    "Sec-WebSocket-Key: %s\r\n"
	    "Sec-WebSocket-Version: 13\r\n"
	    "%s%s%s"
	    "\r\n",
	    request->path, request->host, key,
	    offers ? "Sec-WebSocket-Protocol: " : "",
	    offers ? request->subprotocol : "", offers ? "\r\n" : "");
	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

void
ws_accept_compute(
    const uint8_t nonce[static WS_NONCE_BYTES], char out[static WS_ACCEPT_TEXT])
{
	/* RFC 6455 1.3: the key as text, and the GUID that no other protocol
	   would put behind it */
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[WS_KEY_TEXT - 1 + sizeof(guid)];
	unsigned char sha1[EVP_MAX_MD_SIZE];

	write_key(nonce, text);
	memcpy(text + WS_KEY_TEXT - 1, guid, sizeof(guid));
	out[0] = '\0';
	if (EVP_Digest(text, sizeof(text) - 1, sha1, NULL, EVP_sha1(), NULL))
		(void)EVP_EncodeBlock((unsigned char *)out, sha1, SHA1_BYTES);
}

/* Text without regard to case, as RFC 9110 5.1 wants names compared. */
static bool
same_word(struct span s, const char *word)
{
	return s.n == strlen(word) &&
	       strncasecmp((const char *)s.p, word, s.n) == 0;
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct span
trim(struct span s)
{
	while (s.n > 0 && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* Whether the comma-separated <list> has <word>, in any case. */
static bool
list_has(struct span list, const char *word)
{
	while (list.n > 0) {
		const uint8_t *comma = memchr(list.p, ',', list.n);
		size_t n = comma == NULL ? list.n : (size_t)(comma - list.p);

		if (same_word(trim((struct span){list.p, n}), word))
			return true;
		if (comma == NULL)
			return false;
		list.p += n + 1;
		list.n -= n + 1;
	}
	return false;
}

/* RFC 9110 5.6.2 */
static bool
is_token(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
			(c >= 'a' && c <= 'z') ||
			(c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL)))
			return false;
	}
	return s.n > 0;
}

static enum parse
bad_line(struct fault *why, const char *what, struct span line)
{
	char shown[96];

	(void)fault_set(why, R_UPGRADE_BAD_ANSWER, "HTTP answer: %s: '%s'",
	    what, escape(shown, sizeof(shown), line));
	return PARSE_BAD;
}

/* What speaks there, by its first bytes; a guess for the fault's text only. */
static const char *
looks_like(struct span in)
{
	if (in.n >= 2 && in.p[0] == 0x15 && in.p[1] == 3)
		return " (a TLS alert)";
	if (in.n >= 2 && in.p[0] == 0x16 && in.p[1] == 3)
		return " (a TLS handshake)";
	if (in.n >= 4 && memcmp(in.p, "SSH-", 4) == 0)
		return " (an SSH server)";
	if (in.n >= 4 && memcmp(in.p, "220 ", 4) == 0)
		return " (a mail or FTP server)";
	if (in.n >= 2 && in.p[0] == 0x20 && in.p[1] <= 3)
		return " (an MQTT broker without WebSocket)";
	if (in.n >= 4 && memcmp(in.p, "\0\0", 2) == 0 && in.p[3] == 4)
		return " (HTTP/2)";
	return "";
}

/* PARSE_OK: the first bytes are those of HTTP/1.x. */
static enum parse
check_start(struct span in, struct fault *why)
{
	static const char start[] = "HTTP/1.";
	char shown[96];
	size_t n = in.n < sizeof(start) - 1 ? in.n : sizeof(start) - 1;

	if (n == 0)
		return PARSE_MORE;
	if (memcmp(in.p, start, n) == 0)
		return n == sizeof(start) - 1 ? PARSE_OK : PARSE_MORE;
	(void)fault_set(why, R_UPGRADE_NOT_HTTP,
	    "the answer is not HTTP/1.x%s; it begins with '%s'", looks_like(in),
	    escape(shown, sizeof(shown), in));
	return PARSE_BAD;
}

/*
 * Takes one line off <in>, without its CR LF. A bare LF or CR, a NUL or another
 * control character ends it all (RFC 9112 2.2, RFC 9110 5.5): parsers differ on
 * them, and such a difference is what smuggling lives on.
 */
static enum parse
take_line(struct span *in, struct span *line, struct fault *why)
{
	for (size_t i = 0; i < in->n; i++) {
		uint8_t c = in->p[i];
		struct span seen = {in->p, i};

		if ((c >= 0x20 && c != 0x7f) || c == '\t')
			continue;
		if (c == '\n')
			return bad_line(why, "a line ends without CR", seen);
		if (c != '\r')
			return bad_line(why, "a control character after", seen);
		if (i + 1 == in->n)
			return PARSE_MORE;
		if (in->p[i + 1] != '\n')
			return bad_line(why, "a CR without LF after", seen);
		*line = seen;
		in->p += i + 2;
		in->n -= i + 2;
		return PARSE_OK;
	}
	return PARSE_MORE;
}

/* RFC 9112 section 4. Servers are known to leave the phrase out, and the space
   before it, too. */
static bool
read_status_line(struct span line, struct http_answer *out)
{
	struct span s = line, start;
	int status = 0;

	if (!span_take(&s, strlen("HTTP/1.1 "), &start) || start.p[7] < '0' ||
	    start.p[7] > '9' || start.p[8] != ' ')
		return false;
	if (s.n < 3 || (s.n > 3 && s.p[3] != ' '))
		return false;
	for (size_t i = 0; i < 3; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		status = status * 10 + (s.p[i] - '0');
	}
	out->status = status;
	if (s.n > 4)
		out->reason = trim((struct span){s.p + 4, s.n - 4});
	return status >= 100 && status <= 599;
}

/*
 * Keeps a value in <slot>. The second of a name is a mistake where the
 * handshake hangs on it (RFC 6455 11.3.3, 11.3.4); elsewhere the first holds.
 */
static bool
keep(struct span *slot, struct span value, bool must_be_alone)
{
	if (slot->p != NULL)
		return !must_be_alone;
	*slot = value;
	return true;
}

/* False: a second one of a header that must be alone. */
static bool
note_header(struct http_answer *out, struct span name, struct span value)
{
	if (same_word(name, "Upgrade"))
		out->has_upgrade |= same_word(value, "websocket");
	else if (same_word(name, "Connection"))
		out->has_connection |= list_has(value, "upgrade");
	else if (same_word(name, "Sec-WebSocket-Extensions"))
		out->has_extensions |= value.n > 0;
	else if (same_word(name, "Sec-WebSocket-Accept"))
		return keep(&out->accept, value, true);
	else if (same_word(name, "Sec-WebSocket-Protocol"))
		return keep(&out->subprotocol, value, true);
	else if (same_word(name, "Location"))
		return keep(&out->location, value, true);
	else if (same_word(name, "Retry-After"))
		return keep(&out->retry_after, value, false);
	else if (same_word(name, "Server"))
		return keep(&out->server, value, false);
	return true;
}

static enum parse
read_header(struct span line, struct http_answer *out, struct fault *why)
{
	const uint8_t *colon = memchr(line.p, ':', line.n);
	struct span name, value;

	if (is_blank(line.p[0]))
		return bad_line(why, "a folded header (RFC 9112 5.2)", line);
	if (colon == NULL)
		return bad_line(why, "a header without a colon", line);
	name = (struct span){line.p, (size_t)(colon - line.p)};
	value = (struct span){colon + 1, line.n - name.n - 1};
	if (!is_token(name))
		return bad_line(why, "not the name of a header", name);
	if (!note_header(out, name, trim(value)))
		return bad_line(
		    why, "a header that must be alone stands twice", name);
	return PARSE_OK;
}

/* Takes one head off <in>. */
static enum parse
read_head(struct span *in, struct http_answer *out, struct fault *why)
{
	struct span line;
	enum parse got = check_start(*in, why);

	if (got != PARSE_OK)
		return got;
	*out = (struct http_answer){0};
	got = take_line(in, &line, why);
	if (got != PARSE_OK)
		return got;
	if (!read_status_line(line, out))
		return bad_line(why, "not a status line", line);
	for (;;) {
		got = take_line(in, &line, why);
		if (got != PARSE_OK || line.n == 0)
			return got;
		got = read_header(line, out, why);
		if (got != PARSE_OK)
			return got;
	}
}

enum parse
http_answer_read(
    struct span in, struct http_answer *out, size_t *used, struct fault *why)
{
	struct span left = {in.p, in.n > HTTP_HEAD_MAX ? HTTP_HEAD_MAX : in.n};
	struct span all = left;
	enum parse got;

	/* RFC 9110 15.2: interim answers may come before the one that counts */
	do
		got = read_head(&left, out, why);
	while (got == PARSE_OK && out->status < 200 && out->status != 101);
	if (got == PARSE_OK)
		*used = all.n - left.n;
	if (got != PARSE_MORE || all.n < HTTP_HEAD_MAX)
		return got;
	(void)fault_set(why, R_UPGRADE_BAD_ANSWER,
	    "HTTP answer: the head is over %d bytes", HTTP_HEAD_MAX);
	return PARSE_BAD;
}

/* What an administrator can do about the usual refusals. */
static const char *
advice(int status)
{
	switch (status) {
	case 200:
		return "; a plain web page: wrong path, or a captive portal";
	case 400:
		return "; wrong host, path or subprotocol?";
	case 401:
		return "; the server wants an HTTP login";
	case 403:
		return "; forbidden: wrong host or path, or a firewall";
	case 404:
		return "; no WebSocket at this path";
	case 407:
		return "; an HTTP proxy on the way wants a login";
	case 426:
		return "; the server wants another protocol version";
	case 429:
		return "; too many requests";
	case 503:
		return "; the server is overloaded or down";
	default:
		return "";
	}
}

static bool
refuse_status(const struct http_answer *answer, struct fault *why)
{
	char reason[48], shown[112];
	const char *gap = answer->reason.n > 0 ? " " : "";

	(void)escape(reason, sizeof(reason), answer->reason);
	if (answer->status >= 300 && answer->status <= 399)
		return fault_set(why, R_UPGRADE_REDIRECTED,
		    "the server answers %d%s%s, location '%s'", answer->status,
		    gap, reason,
		    escape(shown, sizeof(shown), answer->location));
	if (answer->retry_after.n > 0)
		return fault_set(why, R_UPGRADE_REFUSED,
		    "the server answers %d%s%s%s; Retry-After: %s",
		    answer->status, gap, reason, advice(answer->status),
		    escape(shown, sizeof(shown), answer->retry_after));
	return fault_set(why, R_UPGRADE_REFUSED, "the server answers %d%s%s%s",
	    answer->status, gap, reason, advice(answer->status));
}

bool
ws_answer_accept(const struct http_answer *answer,
    const uint8_t nonce[static WS_NONCE_BYTES], const char *offered,
    struct fault *why)
{
	char expected[WS_ACCEPT_TEXT], shown[64];
	struct span subprotocol = answer->subprotocol;

	if (answer->status != 101)
		return refuse_status(answer, why);
	if (!answer->has_upgrade)
		return fault_set(why, R_UPGRADE_BAD_ANSWER,
		    "101 without 'Upgrade: websocket' (RFC 6455 4.1)");
	if (!answer->has_connection)
		return fault_set(why, R_UPGRADE_BAD_ANSWER,
		    "101 without 'Connection: Upgrade' (RFC 6455 4.1)");
	ws_accept_compute(nonce, expected);
	if (expected[0] == '\0')
		return fault_set(why, R_INTERNAL, "no SHA-1 to be had");
	if (!span_eq(answer->accept, span_of_string(expected)))
		return fault_set(why, R_UPGRADE_BAD_ANSWER,
		    "Sec-WebSocket-Accept is '%s', not the answer to our key;"
		    " a cache or a middlebox may answer",
		    escape(shown, sizeof(shown), answer->accept));
	if (answer->has_extensions)
		return fault_set(why, R_UPGRADE_BAD_ANSWER,
		    "101 with an extension, although none was offered");
	if (subprotocol.n > 0 &&
	    (offered == NULL || !span_eq(subprotocol, span_of_string(offered))))
		return fault_set(why, R_UPGRADE_BAD_ANSWER,
		    "101 with subprotocol '%s', but '%s' was offered",
		    escape(shown, sizeof(shown), subprotocol),
		    offered == NULL ? "" : offered);
	return true;
}
