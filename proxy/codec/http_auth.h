/*
 * http_auth: logins that a server or proxy asks for in an HTTP answer (RFC 9110
 * 11): its challenges, and what answers them. Basic (RFC 7617), and Digest (RFC
 * 7616, and RFC 2617 for servers that know no qop) by MD5 or SHA-256. Pure: the
 * client's nonce is an argument.
 */
#ifndef PROXY_CODEC_HTTP_AUTH_H
#define PROXY_CODEC_HTTP_AUTH_H

#include "base/attr.h"
#include "base/secret.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HTTP_AUTH_TEXT_MAX = 256, /* a realm, nonce or opaque, with NUL */
	HTTP_AUTH_OFFER_TEXT = 96,
	HTTP_AUTH_MAX = 3 * 1024 /* what http_auth_write() writes at most */
};

/* The weakest first. */
enum http_auth_scheme {
	HTTP_AUTH_NONE,
	HTTP_AUTH_BASIC,
	HTTP_AUTH_DIGEST_MD5,
	HTTP_AUTH_DIGEST_SHA256
};

/* One challenge that can be answered. The texts are NUL-terminated, without
   their quotes and escapes. */
struct http_challenge {
	enum http_auth_scheme scheme; /* HTTP_AUTH_NONE: there is none */
	bool has_algorithm;           /* named; otherwise MD5 is meant */
	bool has_qop;                 /* auth is among what is offered */
	bool has_opaque;
	bool is_stale; /* the login was good, its nonce is too old */
	char realm[HTTP_AUTH_TEXT_MAX];
	char nonce[HTTP_AUTH_TEXT_MAX];
	char opaque[HTTP_AUTH_TEXT_MAX];
};

/* All challenges of one answer. Zero-initialised is none. */
struct http_offer {
	struct http_challenge best;
	bool has_windows; /* NTLM, Negotiate or Kerberos is among them */
	/* the schemes by name, printable, as "Basic, Digest MD5-sess" */
	char names[HTTP_AUTH_OFFER_TEXT];
};

/*
 * Adds the challenges of one header (WWW-Authenticate or Proxy-Authenticate,
 * RFC 9110 11.6.1); what is malformed in it, and what comes behind that, is
 * left out. <best> becomes the strongest that can be answered: a Digest needs
 * realm and nonce of less than HTTP_AUTH_TEXT_MAX bytes, no qop or auth, and a
 * library that has the algorithm (one in FIPS mode has no MD5).
 */
void http_offer_add(struct http_offer *offer, struct span value);

/* Who logs in, and for which request. */
struct http_login {
	const char *username; /* for Basic without a colon (RFC 7617 2) */
	const struct secret *password;
	const char *method;
	const char *uri; /* as in the request line */
};

/*
 * Writes the value of Authorization or Proxy-Authorization that answers
 * <challenge>, NUL-terminated. <nc> says for the how-many-th time its nonce is
 * used, from 1; <cnonce> is the client's nonce (both unused where the challenge
 * has no qop). Returns the length without NUL; 0, with <out> wiped, when it
 * does not fit or the library has no such algorithm. It holds what the password
 * can be found from: the caller wipes it.
 */
NODISCARD size_t http_auth_write(const struct http_challenge *challenge,
    const struct http_login *who, uint32_t nc, const char *cnonce, char *out,
    size_t size);

#endif
