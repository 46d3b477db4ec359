#include "codec/http.h"

#include "base/escape.h"

#include <openssl/evp.h>
#include <stdio.h>

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

static void
note_status(void *arg, int status, struct span reason)
{
	struct http_answer *out = arg;

	*out = (struct http_answer){.status = status, .reason = reason};
}

/* False: a second one of a header that must be alone. */
static bool
note_header(void *arg, struct span name, struct span value)
{
	struct http_answer *out = arg;

	if (http_same_word(name, "Upgrade"))
		out->has_upgrade |= http_same_word(value, "websocket");
	else if (http_same_word(name, "Connection"))
		out->has_connection |= http_list_has(value, "upgrade");
	else if (http_same_word(name, "Sec-WebSocket-Extensions"))
		out->has_extensions |= value.n > 0;
	else if (http_same_word(name, "Sec-WebSocket-Accept"))
		return keep(&out->accept, value, true);
	else if (http_same_word(name, "Sec-WebSocket-Protocol"))
		return keep(&out->subprotocol, value, true);
	else if (http_same_word(name, "Location"))
		return keep(&out->location, value, true);
	else if (http_same_word(name, "Retry-After"))
		return keep(&out->retry_after, value, false);
	else if (http_same_word(name, "Date"))
		return keep(&out->date, value, false);
	else if (http_same_word(name, "Server"))
		return keep(&out->server, value, false);
	return true;
}

enum parse
http_answer_read(
    struct span in, struct http_answer *out, size_t *used, struct fault *why)
{
	const struct http_head_reader reader = {note_status, note_header, out};

	return http_head_read(in, &reader, used, why);
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
