#include "link/pins.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

enum { BASE64_CHARS = 44, LINE_BYTES = 200 };

/* Takes <text> in base64; nothing but the one way to write it (RFC 4648 3.5).
 */
static bool
pin_from(const char *text, uint8_t pin[static PIN_BYTES])
{
	uint8_t bytes[BASE64_CHARS / 4 * 3];
	char again[BASE64_CHARS + 1];

	if (strlen(text) != BASE64_CHARS ||
	    EVP_DecodeBlock(bytes, (const uint8_t *)text, BASE64_CHARS) !=
		sizeof(bytes))
		return false;
	(void)EVP_EncodeBlock((uint8_t *)again, bytes, PIN_BYTES);
	if (strcmp(again, text) != 0)
		return false;
	memcpy(pin, bytes, PIN_BYTES);
	return true;
}

/* Takes blanks and the line end off <line>. */
static char *
trimmed(char *line)
{
	size_t n;

	line += strspn(line, " \t");
	n = strlen(line);
	while (n > 0 && strchr(" \t\r\n", line[n - 1]) != NULL)
		line[--n] = '\0';
	return line;
}

static const char *
without_prefix(const char *text)
{
	if (strncmp(text, "sha256/", 7) != 0)
		return text;
	text += 7;
	/* "/" is of base64 too: there are two when it is one too long */
	return text[0] == '/' && strlen(text) == BASE64_CHARS + 1 ? text + 1
								  : text;
}

static bool
read_lines(struct pins *p, FILE *f, const char *path, struct fault *why)
{
	char line[LINE_BYTES];

	for (int i = 1; fgets(line, sizeof(line), f) != NULL; i++) {
		bool whole = strchr(line, '\n') != NULL || feof(f);
		const char *text = trimmed(line);
		bool comment = text[0] == ';' || text[0] == '#';

		while (!whole && comment && fgets(line, sizeof(line), f))
			whole = strchr(line, '\n') != NULL || feof(f);
		if (comment || (whole && text[0] == '\0'))
			continue;
		if (p->count == PINS_MAX)
			return fault_set(why, R_BAD_CONFIG,
			    "pin_file %s, line %d: more than %d pins", path, i,
			    PINS_MAX);
		if (!whole || !pin_from(without_prefix(text), p->pin[p->count]))
			return fault_set(why, R_BAD_CONFIG,
			    "pin_file %s, line %d: a pin is a SHA-256 in"
			    " base64, %d characters",
			    path, i, BASE64_CHARS);
		p->count++;
	}
	return !ferror(f) ||
	       fault_set(why, R_BAD_CONFIG, "pin_file %s cannot be read: %s",
		   path, strerror(errno));
}

bool
pins_read(struct pins *p, const char *path, struct fault *why)
{
	FILE *f = fopen(path, "re");
	bool ok;

	p->count = 0;
	if (f == NULL)
		return fault_set(why, R_BAD_CONFIG,
		    "pin_file %s cannot be read: %s", path, strerror(errno));
	ok = read_lines(p, f, path, why);
	(void)fclose(f);
	/* a file that was just emptied must not mean that anybody will do */
	if (ok && p->count == 0)
		return fault_set(
		    why, R_BAD_CONFIG, "pin_file %s has no pin", path);
	return ok;
}

/* False without memory. */
static bool
pin_of(const X509 *cert, uint8_t pin[static PIN_BYTES])
{
	uint8_t *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);

	if (n <= 0)
		return false;
	(void)SHA256(der, (size_t)n, pin);
	OPENSSL_free(der);
	return true;
}

bool
pins_match(const struct pins *p, const X509 *cert)
{
	uint8_t pin[PIN_BYTES];

	if (!pin_of(cert, pin))
		return false;
	for (size_t i = 0; i < p->count; i++)
		if (memcmp(p->pin[i], pin, PIN_BYTES) == 0)
			return true;
	return false;
}

const char *
pin_text(char out[static PIN_TEXT_MAX], const X509 *cert)
{
	uint8_t pin[PIN_BYTES];
	char base64[BASE64_CHARS + 1];

	out[0] = '\0';
	if (!pin_of(cert, pin))
		return out;
	(void)EVP_EncodeBlock((uint8_t *)base64, pin, PIN_BYTES);
	(void)snprintf(out, PIN_TEXT_MAX, "sha256/%s", base64);
	return out;
}
