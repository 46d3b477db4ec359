#include "codec/http_head.h"

#include "base/escape.h"

#include <string.h>
#include <strings.h>

bool
http_same_word(struct span s, const char *word)
{
	return s.n == strlen(word) &&
	       strncasecmp((const char *)s.p, word, s.n) == 0;
}

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

struct span
http_trim(struct span s)
{
	while (s.n > 0 && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool
http_list_has(struct span list, const char *word)
{
	while (list.n > 0) {
		const uint8_t *comma = memchr(list.p, ',', list.n);
		size_t n = comma == NULL ? list.n : (size_t)(comma - list.p);

		if (http_same_word(http_trim((struct span){list.p, n}), word))
			return true;
		if (comma == NULL)
			return false;
		list.p += n + 1;
		list.n -= n + 1;
	}
	return false;
}

bool
http_is_token_char(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
	       (c >= 'a' && c <= 'z') ||
	       (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool
is_token(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!http_is_token_char(s.p[i]))
			return false;
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
	if (in.n >= 1 && in.p[0] == 5)
		return " (a SOCKS5 proxy)";
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
read_status_line(struct span line, int *status, struct span *reason)
{
	struct span s = line, start;
	int n = 0;

	if (!span_take(&s, strlen("HTTP/1.1 "), &start) || start.p[7] < '0' ||
	    start.p[7] > '9' || start.p[8] != ' ')
		return false;
	if (s.n < 3 || (s.n > 3 && s.p[3] != ' '))
		return false;
	for (size_t i = 0; i < 3; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		n = n * 10 + (s.p[i] - '0');
	}
	*status = n;
	*reason = (struct span){NULL, 0};
	if (s.n > 4)
		*reason = http_trim((struct span){s.p + 4, s.n - 4});
	return n >= 100 && n <= 599;
}

static enum parse
read_header(
    struct span line, const struct http_head_reader *to, struct fault *why)
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
	if (!to->header(to->arg, name, http_trim(value)))
		return bad_line(
		    why, "a header that must be alone stands twice", name);
	return PARSE_OK;
}

/* Takes one head off <in>. */
static enum parse
read_head(struct span *in, const struct http_head_reader *to, int *status,
    struct fault *why)
{
	struct span line, reason;
	enum parse got = check_start(*in, why);

	if (got != PARSE_OK)
		return got;
	got = take_line(in, &line, why);
	if (got != PARSE_OK)
		return got;
	if (!read_status_line(line, status, &reason))
		return bad_line(why, "not a status line", line);
	to->status(to->arg, *status, reason);
	for (;;) {
		got = take_line(in, &line, why);
		if (got != PARSE_OK || line.n == 0)
			return got;
		got = read_header(line, to, why);
		if (got != PARSE_OK)
			return got;
	}
}

enum parse
http_head_read(struct span in, const struct http_head_reader *to, size_t *used,
    struct fault *why)
{
	struct span left = {in.p, in.n > HTTP_HEAD_MAX ? HTTP_HEAD_MAX : in.n};
	struct span all = left;
	enum parse got;
	int status = 0;

	/* RFC 9110 15.2: interim answers may come before the one that counts */
	do
		got = read_head(&left, to, &status, why);
	while (got == PARSE_OK && status < 200 && status != 101);
	if (got == PARSE_OK)
		*used = all.n - left.n;
	if (got != PARSE_MORE || all.n < HTTP_HEAD_MAX)
		return got;
	(void)fault_set(why, R_UPGRADE_BAD_ANSWER,
	    "HTTP answer: the head is over %d bytes", HTTP_HEAD_MAX);
	return PARSE_BAD;
}
