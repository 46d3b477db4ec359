#include "codec/http_proxy.h"

#include <stdio.h>
#include <string.h>

bool
http_authority_write(
    const char *host, uint16_t port, char out[static HTTP_AUTHORITY_MAX])
{
	bool is_ipv6 = strchr(host, ':') != NULL;
	int n = snprintf(out, HTTP_AUTHORITY_MAX, is_ipv6 ? "[%s]:%u" : "%s:%u",
	    host, (unsigned)port);

	return n > 0 && n < HTTP_AUTHORITY_MAX;
}

size_t
http_connect_write(
    const char *authority, const char *login, char *out, size_t size)
{
	int n = snprintf(out, size,
	    "CONNECT %s HTTP/1.1\r\n"
	    "Host: %s\r\n"
	    "%s%s%s"
	    "\r\n",
	    authority, authority, login != NULL ? "Proxy-Authorization: " : "",
	    login != NULL ? login : "", login != NULL ? "\r\n" : "");

	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static void
note_status(void *arg, int status, struct span reason)
{
	struct http_connect_answer *out = arg;

	*out = (struct http_connect_answer){.status = status, .reason = reason};
}

static bool
note_header(void *arg, struct span name, struct span value)
{
	struct http_connect_answer *out = arg;

	if (http_same_word(name, "Proxy-Authenticate"))
		http_offer_add(&out->offer, value);
	return true;
}

enum parse
http_connect_answer_read(struct span in, struct http_connect_answer *out,
    size_t *used, struct fault *why)
{
	const struct http_head_reader reader = {note_status, note_header, out};
	enum parse got = http_head_read(in, &reader, used, why);

	if (got == PARSE_BAD && why != NULL)
		why->why = R_EGRESS_BAD_ANSWER;
	return got;
}
