#include "settings/egress.h"

#include "settings/no_proxy.h"
#include "settings/secret_file.h"
#include "settings/value.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct scheme {
	const char *word;
	enum egress_kind kind;
	uint16_t port;
};

/* The first of a kind is the one that is shown. */
static const struct scheme schemes[] = {
    {"http", EGRESS_HTTP, 1080},
    {"https", EGRESS_HTTPS, 443},
    {"socks5", EGRESS_SOCKS5, 1080},
    {"socks5h", EGRESS_SOCKS5, 1080},
};
enum { SCHEME_COUNT = sizeof(schemes) / sizeof(schemes[0]) };

/* ---- reading ---- */

static struct span
up_to(struct span s, const uint8_t *end)
{
	return (struct span){s.p, (size_t)(end - s.p)};
}

static struct span
behind(struct span s, const uint8_t *at)
{
	return (struct span){at + 1, (size_t)(s.p + s.n - at) - 1};
}

/* Takes "scheme://" off. False: there is one, but not one of ours. */
static bool
take_scheme(struct span *in, struct egress *out)
{
	static const char mark[] = "://";
	const uint8_t *end = memmem(in->p, in->n, mark, strlen(mark));
	struct span word;

	out->kind = EGRESS_HTTP;
	out->port = schemes[0].port;
	if (end == NULL)
		return true;
	word = up_to(*in, end);
	*in = behind(*in, end + 2);
	for (size_t i = 0; i < SCHEME_COUNT; i++) {
		if (word.n != strlen(schemes[i].word) ||
		    strncasecmp(
			(const char *)word.p, schemes[i].word, word.n) != 0)
			continue;
		out->kind = schemes[i].kind;
		out->port = schemes[i].port;
		return true;
	}
	return false;
}

/* RFC 3986 2.1. False: over <size>, a % without two digits, or a control
   character, which no login may have (RFC 7617 2). */
static bool
decode(struct span in, uint8_t *out, size_t size, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < in.n; i++) {
		int c = in.p[i];

		if (c == '%') {
			int high = i + 2 < in.n
				       ? OPENSSL_hexchar2int(in.p[i + 1])
				       : -1;
			int low = i + 2 < in.n
				      ? OPENSSL_hexchar2int(in.p[i + 2])
				      : -1;

			if (high < 0 || low < 0)
				return false;
			c = high << 4 | low;
			i += 2;
		}
		if (c < 0x20 || c == 0x7f || *n == size)
			return false;
		out[(*n)++] = (uint8_t)c;
	}
	return true;
}

/* "user" or "user:password"; NULL, or what is wrong. */
static const char *
read_login(struct span in, struct egress *out)
{
	const uint8_t *colon = memchr(in.p, ':', in.n);
	struct span user = colon != NULL ? up_to(in, colon) : in;
	uint8_t *username = (uint8_t *)out->username;
	size_t n;

	if (!decode(user, username, sizeof(out->username) - 1, &n))
		return "the user name is too long, has a % without two "
		       "hexadecimal digits, or a control character";
	out->username[n] = '\0';
	if (n == 0)
		return "there is no user name before the @";
	if (out->kind != EGRESS_SOCKS5 && strchr(out->username, ':') != NULL)
		return "a user name may hold no colon (RFC 7617)";
	out->has_login = true;
	if (colon != NULL && !decode(behind(in, colon), out->password.bytes,
				 sizeof(out->password.bytes), &out->password.n))
		return "the password is too long, has a % without two "
		       "hexadecimal digits (write % as %25), or a control "
		       "character";
	return NULL;
}

static bool
read_port(struct span in, struct egress *out)
{
	unsigned port = 0;

	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] < '0' || in.p[i] > '9')
			return false;
		port = port * 10 + (unsigned)(in.p[i] - '0');
		if (port > UINT16_MAX)
			return false;
	}
	out->port = (uint16_t)port;
	return port > 0;
}

/* A name, an IPv4 address, or an IPv6 address in brackets. */
static bool
read_host(struct span in, struct egress *out)
{
	bool has_brackets = in.n >= 2 && in.p[0] == '[';
	char text[EGRESS_TEXT_MAX], address[VALUE_ADDRESS_MAX];

	if (has_brackets)
		in = (struct span){in.p + 1, in.n - 2};
	if (in.n >= sizeof(text))
		return false;
	memcpy(text, in.p, in.n);
	text[in.n] = '\0';
	if (has_brackets) {
		if (strchr(text, ':') == NULL || !value_address(text, address))
			return false;
		strcpy(out->host, address);
		return true;
	}
	strcpy(out->host, text);
	return value_made_of(text, 1, sizeof(text) - 1, "-_.");
}

/* "host" or "host:port"; NULL, or what is wrong. */
static const char *
read_place(struct span in, struct egress *out)
{
	const uint8_t *end = memchr(in.p, ']', in.n); /* of the brackets */
	struct span rest = end != NULL ? behind(in, end) : in;
	const uint8_t *colon = memchr(rest.p, ':', rest.n);
	struct span host = colon != NULL ? up_to(in, colon) : in;

	if (in.n == 0 || host.n == 0)
		return "the host is missing";
	if (colon != NULL && !read_port(behind(in, colon), out))
		return "the port is not 1 to 65535 (IPv6 addresses are "
		       "written in brackets)";
	if (!read_host(host, out) || (end != NULL && host.p[host.n - 1] != ']'))
		return "the host is no name, no IPv4 address and no IPv6 "
		       "address in brackets";
	return NULL;
}

/* NULL, or what is wrong. */
static const char *
read_url(struct span in, struct egress *out)
{
	const uint8_t *at, *slash;
	const char *wrong = NULL;
	char shown[EGRESS_TEXT_MAX];

	if (!take_scheme(&in, out))
		return "the scheme is not http, https, socks5 or socks5h";
	/* the last @: passwords are often not encoded */
	at = memrchr(in.p, '@', in.n);
	if (at != NULL) {
		wrong = read_login(up_to(in, at), out);
		in = behind(in, at);
	}
	if (wrong != NULL)
		return wrong;
	slash = memchr(in.p, '/', in.n);
	if (slash != NULL && behind(in, slash).n > 0)
		return "nothing may follow host and port";
	if (slash != NULL)
		in = up_to(in, slash);
	wrong = read_place(in, out);
	if (wrong != NULL)
		return wrong;
	(void)egress_show(out, shown);
	return shown[0] == '\0' ? "user name and host are too long" : NULL;
}

bool
egress_read(struct egress *out, const char *text, const char **why)
{
	const char *wrong = NULL;

	secret_wipe_bytes(out, sizeof(*out)); /* to zero */
	if (strcmp(text, "none") == 0)
		out->kind = EGRESS_NONE;
	else if (text[0] != '\0')
		wrong = read_url(span_of_string(text), out);
	if (wrong == NULL)
		return true;
	secret_wipe_bytes(out, sizeof(*out));
	*why = wrong;
	return false;
}

bool
egress_read_password(struct egress *egress, const char *path,
    const struct complaints *to, const char **why)
{
	struct secret *password = &egress->password;

	*why = NULL;
	if (!egress->has_login)
		*why = "[egress] proxy has no user whose password it could be";
	else if (password->n > 0)
		*why = "[egress] proxy has a password already";
	if (*why != NULL || !secret_file_read("", path, to, password, why))
		return false;
	if (password->n == 0)
		*why = "the file is empty";
	for (size_t i = 0; i < password->n; i++)
		if (password->bytes[i] < 0x20 || password->bytes[i] == 0x7f)
			*why = "the file has more than one line, or a control "
			       "character";
	if (*why != NULL)
		secret_wipe(password);
	egress->has_password_file = *why == NULL;
	return *why == NULL;
}

bool
egress_same(const struct egress *a, const struct egress *b)
{
	return a->kind == b->kind && a->port == b->port &&
	       a->has_login == b->has_login && strcmp(a->host, b->host) == 0 &&
	       strcmp(a->username, b->username) == 0 &&
	       secret_eq(&a->password,
		   (struct span){b->password.bytes, b->password.n});
}

/* ---- showing ---- */

/* What RFC 3986 3.2.1 allows in a user name, everything else encoded. Returns
   the length without NUL, also where <out> is smaller. */
static size_t
encode(const char *in, char *out, size_t size)
{
	size_t n = 0;

	for (; *in != '\0'; in++) {
		unsigned char c = (unsigned char)*in;
		bool plain =
		    c < 0x7f && (isalnum(c) || strchr("-._~!$&'()*+,=", c));
		size_t left = n < size ? size - n : 0;

		n += (size_t)snprintf(left > 0 ? out + n : NULL, left,
		    plain ? "%c" : "%%%02X", c);
	}
	return n;
}

const char *
egress_show(const struct egress *egress, char out[static EGRESS_TEXT_MAX])
{
	char user[EGRESS_TEXT_MAX] = "";
	bool literal6 = strchr(egress->host, ':') != NULL;
	bool shows_password =
	    egress->password.n > 0 && !egress->has_password_file;
	const char *word = NULL;
	int n;

	out[0] = '\0';
	if (egress->kind == EGRESS_NONE)
		return strcpy(out, "none");
	for (size_t i = 0; i < SCHEME_COUNT && word == NULL; i++)
		if (schemes[i].kind == egress->kind)
			word = schemes[i].word;
	if (word == NULL ||
	    encode(egress->username, user, sizeof(user)) >= sizeof(user))
		return out;
	n = snprintf(out, EGRESS_TEXT_MAX, "%s://%s%s%s%s%s%s:%u", word, user,
	    shows_password ? ":***" : "", egress->has_login ? "@" : "",
	    literal6 ? "[" : "", egress->host, literal6 ? "]" : "",
	    (unsigned)egress->port);
	if (n < 0 || n >= EGRESS_TEXT_MAX)
		out[0] = '\0';
	return out;
}

/* ---- the environment ---- */

/* Reads the first of these variables that is set. False: none is. */
static bool
read_variable(struct egress *out, const char *const names[],
    char *(*get)(const char *name), struct complaints *to)
{
	for (; *names != NULL; names++) {
		const char *value = get(*names);
		const char *why;

		if (value == NULL)
			continue;
		if (!egress_read(out, value, &why))
			complain(to, "environment", 0, "%s: %s", *names, why);
		else if (out->kind == EGRESS_BY_ENVIRONMENT)
			out->kind = EGRESS_NONE;
		return true;
	}
	return false;
}

void
egress_environment_read(struct egress_environment *out,
    char *(*get)(const char *name), struct complaints *to)
{
	static const char *const tls[] = {
	    "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
	static const char *const plain[] = {
	    "http_proxy", "all_proxy", "ALL_PROXY", NULL};

	*out = (struct egress_environment){.no_proxy = get("no_proxy")};
	if (out->no_proxy == NULL)
		out->no_proxy = get("NO_PROXY");
	(void)read_variable(&out->tls, tls, get, to);
	(void)read_variable(&out->plain, plain, get, to);
}

const struct egress *
egress_environment_for(
    const struct egress_environment *env, bool tls, const char *host)
{
	const struct egress *egress = tls ? &env->tls : &env->plain;

	if (egress->kind < EGRESS_HTTP ||
	    no_proxy_has("localhost 127.0.0.0/8 ::1", host) ||
	    (env->no_proxy != NULL && no_proxy_has(env->no_proxy, host)))
		return NULL;
	return egress;
}
