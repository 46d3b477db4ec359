#include "codec/http_auth.h"

#include "base/escape.h"
#include "base/text.h"
#include "codec/http_head.h"

#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* ---- challenges ---- */

/* What stands between the quotes of a parameter, or its token; escapes are
   still inside. Those that are not there have no bytes and no place. */
struct params {
	struct span realm;
	struct span nonce;
	struct span opaque;
	struct span algorithm;
	struct span qop;
	struct span stale;
};

static void
skip(struct span *in, const char *these)
{
	while (
	    in->n > 0 && in->p[0] != '\0' && strchr(these, in->p[0]) != NULL) {
		in->p++;
		in->n--;
	}
}

static bool
take_token(struct span *in, struct span *token)
{
	size_t n = 0;

	while (n < in->n && http_is_token_char(in->p[n]))
		n++;
	return n > 0 && span_take(in, n, token);
}

/* RFC 9110 5.6.4 */
static bool
take_quoted(struct span *in, struct span *inside)
{
	for (size_t i = 1; i < in->n; i++) {
		if (in->p[i] == '\\') {
			i++;
		} else if (in->p[i] == '"') {
			*inside = (struct span){in->p + 1, i - 1};
			in->p += i + 1;
			in->n -= i + 1;
			return true;
		}
	}
	return false;
}

/* name "=" ( token / quoted-string ), with blanks around the "=" (RFC 9110
   11.2). False, with nothing taken: it is something else. */
static bool
take_param(struct span *in, struct span *name, struct span *value)
{
	struct span s = *in;

	if (!take_token(&s, name))
		return false;
	skip(&s, " \t");
	if (s.n == 0 || s.p[0] != '=')
		return false;
	s.p++;
	s.n--;
	skip(&s, " \t");
	if (s.n > 0 && s.p[0] == '"' ? !take_quoted(&s, value)
				     : !take_token(&s, value))
		return false;
	*in = s;
	return true;
}

/* The first of a name holds. */
static void
note_param(struct params *to, struct span name, struct span value)
{
	const struct {
		const char *name;
		struct span *slot;
	} known[] = {
	    {"realm", &to->realm},
	    {"nonce", &to->nonce},
	    {"opaque", &to->opaque},
	    {"algorithm", &to->algorithm},
	    {"qop", &to->qop},
	    {"stale", &to->stale},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (http_same_word(name, known[i].name) &&
		    known[i].slot->p == NULL)
			*known[i].slot = value;
}

/* What follows the name of a scheme: parameters, or one token68, or nothing. */
static void
take_params(struct span *in, struct params *out)
{
	struct span name, value;
	bool any = false;

	*out = (struct params){0};
	skip(in, " \t");
	while (take_param(in, &name, &value)) {
		any = true;
		note_param(out, name, value);
		skip(in, " \t");
		if (in->n > 0 && in->p[0] != ',')
			return;
		skip(in, ", \t");
	}
	/* token68 is the token's characters and "/" and "=" for what is here */
	while (!any && in->n > 0 &&
	       (http_is_token_char(in->p[0]) || in->p[0] == '/' ||
		   in->p[0] == '=')) {
		in->p++;
		in->n--;
	}
}

/* Takes the escapes out. False: absent or too long. */
static bool
unquote(struct span inside, char out[static HTTP_AUTH_TEXT_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < inside.n; i++) {
		if (inside.p[i] == '\\' && i + 1 < inside.n)
			i++;
		if (n == HTTP_AUTH_TEXT_MAX - 1 || inside.p[i] == '\0')
			return false;
		out[n++] = (char)inside.p[i];
	}
	out[n] = '\0';
	return inside.p != NULL;
}

static const EVP_MD *
digest_of(enum http_auth_scheme scheme)
{
	switch (scheme) {
	case HTTP_AUTH_DIGEST_MD5:
		return EVP_md5();
	case HTTP_AUTH_DIGEST_SHA256:
		return EVP_sha256();
	case HTTP_AUTH_BASIC:
	case HTTP_AUTH_NONE:
		break;
	}
	return NULL;
}

/* As hexadecimal digits. False, and no error in the library's queue, where TLS
   would take it for its own: there is no such algorithm. */
static bool
hash(enum http_auth_scheme scheme, struct span in,
    char hex[static 2 * EVP_MAX_MD_SIZE + 1])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	bool ok;

	(void)ERR_set_mark();
	ok = EVP_Digest(in.p, in.n, sum, &n, digest_of(scheme), NULL) == 1;
	(void)ERR_pop_to_mark();
	for (unsigned i = 0; ok && i < n; i++) {
		*hex++ = digits[sum[i] >> 4];
		*hex++ = digits[sum[i] & 15];
	}
	*hex = '\0';
	secret_wipe_bytes(sum, sizeof(sum));
	return ok;
}

static bool
can_hash(enum http_auth_scheme scheme)
{
	char hex[2 * EVP_MAX_MD_SIZE + 1];

	return hash(scheme, SPAN_OF("?"), hex);
}

static enum http_auth_scheme
digest_scheme(struct span algorithm)
{
	if (algorithm.p == NULL || http_same_word(algorithm, "MD5"))
		return HTTP_AUTH_DIGEST_MD5;
	if (http_same_word(algorithm, "SHA-256"))
		return HTTP_AUTH_DIGEST_SHA256;
	return HTTP_AUTH_NONE;
}

/* False: nothing that could be answered. */
static bool
read_digest(const struct params *p, struct http_challenge *out)
{
	*out = (struct http_challenge){
	    .scheme = digest_scheme(p->algorithm),
	    .has_algorithm = p->algorithm.p != NULL,
	    .has_qop = p->qop.n > 0,
	    .has_opaque = p->opaque.p != NULL,
	    .is_stale = http_same_word(p->stale, "true"),
	};
	return out->scheme != HTTP_AUTH_NONE && can_hash(out->scheme) &&
	       (!out->has_qop || http_list_has(p->qop, "auth")) &&
	       unquote(p->realm, out->realm) && unquote(p->nonce, out->nonce) &&
	       (!out->has_opaque || unquote(p->opaque, out->opaque));
}

/* Adds a name to the list, unless it is there. */
static void
add_name(struct http_offer *offer, const char *name)
{
	size_t n = strlen(offer->names);

	if (strstr(offer->names, name) == NULL)
		(void)snprintf(offer->names + n, sizeof(offer->names) - n,
		    "%s%s", n > 0 ? ", " : "", name);
}

static void
note_challenge(
    struct http_offer *offer, struct span scheme, const struct params *p)
{
	struct http_challenge c = {.scheme = HTTP_AUTH_NONE};
	char name[48], algorithm[24];
	size_t n;

	(void)escape(name, 24, scheme);
	if (http_same_word(scheme, "Basic")) {
		c.scheme = HTTP_AUTH_BASIC;
	} else if (http_same_word(scheme, "Digest")) {
		if (!read_digest(p, &c))
			c.scheme = HTTP_AUTH_NONE;
		n = strlen(name);
		(void)snprintf(name + n, sizeof(name) - n, " %s",
		    p->algorithm.p == NULL
			? "MD5"
			: escape(algorithm, sizeof(algorithm), p->algorithm));
	} else if (http_same_word(scheme, "NTLM") ||
		   http_same_word(scheme, "Negotiate") ||
		   http_same_word(scheme, "Kerberos")) {
		offer->has_windows = true;
	}
	add_name(offer, name);
	if (c.scheme > offer->best.scheme)
		offer->best = c;
}

void
http_offer_add(struct http_offer *offer, struct span value)
{
	struct params params;
	struct span scheme;

	for (;;) {
		skip(&value, ", \t");
		if (!take_token(&value, &scheme))
			return;
		/* only a blank or a comma ends the name of a scheme */
		if (value.n > 0 && strchr(", \t", value.p[0]) == NULL)
			return;
		take_params(&value, &params);
		note_challenge(offer, scheme, &params);
	}
}

/* ---- what answers them ---- */

static void
add_secret(struct text *t, const struct secret *secret)
{
	if (secret->n >= t->left) {
		t->full = true;
		return;
	}
	memcpy(t->at, secret->bytes, secret->n);
	t->at += secret->n;
	t->left -= secret->n;
}

/* name="value", with escapes (RFC 9110 5.6.4). */
static void
add_quoted(struct text *t, const char *name, const char *value)
{
	text_add(t, "%s=\"", name);
	for (; *value != '\0'; value++)
		text_add(
		    t, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
	text_add(t, "\"");
}

/* RFC 7617 2 */
static void
add_basic(struct text *t, const struct http_login *who)
{
	char pair[512];
	struct text p = {pair, sizeof(pair), false};
	size_t n;

	text_add(&p, "%s:", who->username);
	add_secret(&p, who->password);
	n = (size_t)(p.at - pair);
	text_add(t, "Basic ");
	if (p.full || t->full || t->left < (n + 2) / 3 * 4 + 1) {
		t->full = true;
	} else {
		int written = EVP_EncodeBlock((unsigned char *)t->at,
		    (const unsigned char *)pair, (int)n);

		t->at += written;
		t->left -= (size_t)written;
	}
	secret_wipe_bytes(pair, sizeof(pair));
}

/* RFC 7616 3.4.1; without qop that of RFC 2617 3.2.2.1. False: it does not
   fit, or there is no such algorithm. */
static bool
write_response(const struct http_challenge *c, const struct http_login *who,
    uint32_t nc, const char *cnonce,
    char response[static 2 * EVP_MAX_MD_SIZE + 1])
{
	char line[1024];
	char a1[2 * EVP_MAX_MD_SIZE + 1], a2[2 * EVP_MAX_MD_SIZE + 1];
	struct text t = {line, sizeof(line), false};
	struct span all = {(const uint8_t *)line, 0};
	bool ok;

	text_add(&t, "%s:%s:", who->username, c->realm);
	add_secret(&t, who->password);
	all.n = (size_t)(t.at - line);
	ok = !t.full && hash(c->scheme, all, a1);

	t = (struct text){line, sizeof(line), false};
	text_add(&t, "%s:%s", who->method, who->uri);
	all.n = (size_t)(t.at - line);
	ok = ok && !t.full && hash(c->scheme, all, a2);

	t = (struct text){line, sizeof(line), false};
	if (ok && c->has_qop)
		text_add(&t, "%s:%s:%08" PRIx32 ":%s:auth:%s", a1, c->nonce, nc,
		    cnonce, a2);
	else if (ok)
		text_add(&t, "%s:%s:%s", a1, c->nonce, a2);
	all.n = (size_t)(t.at - line);
	ok = ok && !t.full && hash(c->scheme, all, response);
	secret_wipe_bytes(line, sizeof(line));
	secret_wipe_bytes(a1, sizeof(a1));
	return ok;
}

/* RFC 7616 3.4 */
static void
add_digest(struct text *t, const struct http_challenge *c,
    const struct http_login *who, uint32_t nc, const char *cnonce)
{
	char response[2 * EVP_MAX_MD_SIZE + 1];

	if (!write_response(c, who, nc, cnonce, response)) {
		t->full = true;
		return;
	}
	add_quoted(t, "Digest username", who->username);
	add_quoted(t, ", realm", c->realm);
	add_quoted(t, ", nonce", c->nonce);
	add_quoted(t, ", uri", who->uri);
	add_quoted(t, ", response", response);
	if (c->has_algorithm)
		text_add(t, ", algorithm=%s",
		    c->scheme == HTTP_AUTH_DIGEST_MD5 ? "MD5" : "SHA-256");
	if (c->has_opaque)
		add_quoted(t, ", opaque", c->opaque);
	if (c->has_qop) {
		text_add(t, ", qop=auth, nc=%08" PRIx32, nc);
		add_quoted(t, ", cnonce", cnonce);
	}
}

size_t
http_auth_write(const struct http_challenge *challenge,
    const struct http_login *who, uint32_t nc, const char *cnonce, char *out,
    size_t size)
{
	struct text t = {out, size, size == 0};

	switch (challenge->scheme) {
	case HTTP_AUTH_BASIC:
		add_basic(&t, who);
		break;
	case HTTP_AUTH_DIGEST_MD5:
	case HTTP_AUTH_DIGEST_SHA256:
		add_digest(&t, challenge, who, nc, cnonce);
		break;
	case HTTP_AUTH_NONE:
		t.full = true;
		break;
	}
	if (!t.full)
		return size - t.left;
	secret_wipe_bytes(out, size);
	return 0;
}
