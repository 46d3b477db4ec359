#include "settings/network.h"

#include "settings/value.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { IPV4_BITS = 32, MAPPED_BITS = 96 };

/* As IPv4, when it is a part of ::ffff:0:0/96 (RFC 4291 2.5.5.2). */
static void
unmap(struct network *n)
{
	static const uint8_t mapped[MAPPED_BITS / 8] = {
	    [10] = 0xff, [11] = 0xff};

	if (n->version != 6 || n->bits < MAPPED_BITS ||
	    memcmp(n->bytes, mapped, sizeof(mapped)) != 0)
		return;
	n->version = 4;
	n->bits = (uint8_t)(n->bits - MAPPED_BITS);
	memmove(n->bytes, n->bytes + sizeof(mapped), IPV4_BITS / 8);
	memset(n->bytes + IPV4_BITS / 8, 0, sizeof(mapped));
}

static bool
read_parts(char *text, struct network *out)
{
	char *slash = strchr(text, '/');
	bool is_ipv6 = strchr(text, ':') != NULL;
	uint64_t most = is_ipv6 ? NETWORK_BITS_MAX : IPV4_BITS;
	uint64_t bits = most;

	if (slash != NULL)
		*slash = '\0';
	if (inet_pton(is_ipv6 ? AF_INET6 : AF_INET, text, out->bytes) != 1)
		return false;
	if (slash != NULL &&
	    (!value_read(slash + 1, VALUE_COUNT, &bits) || bits > most))
		return false;
	out->version = is_ipv6 ? 6 : 4;
	out->bits = (uint8_t)bits;
	unmap(out);
	return true;
}

bool
network_read(const char *text, struct network *out)
{
	char parts[NETWORK_TEXT_MAX];
	size_t n = strlen(text);

	*out = (struct network){0};
	if (n >= sizeof(parts))
		return false;
	memcpy(parts, text, n + 1);
	if (read_parts(parts, out))
		return true;
	*out = (struct network){0};
	return false;
}

bool
network_is_address(const struct network *n)
{
	return n->bits == (n->version == 6 ? NETWORK_BITS_MAX : IPV4_BITS);
}

const char *
network_write(char out[static NETWORK_TEXT_MAX], const struct network *n)
{
	char text[INET6_ADDRSTRLEN];

	if (inet_ntop(n->version == 6 ? AF_INET6 : AF_INET, n->bytes, text,
		sizeof(text)) == NULL)
		text[0] = '\0';
	(void)snprintf(out, NETWORK_TEXT_MAX,
	    network_is_address(n) ? "%s" : "%s/%u", text, (unsigned)n->bits);
	return out;
}

struct network
network_cut(const struct network *n, uint8_t bits)
{
	struct network cut = {.version = n->version, .bits = bits};
	unsigned whole = bits / 8;

	memcpy(cut.bytes, n->bytes, whole);
	if (bits % 8 != 0)
		cut.bytes[whole] =
		    (uint8_t)(n->bytes[whole] & 0xff00u >> bits % 8);
	return cut;
}

bool
network_has(const struct network *whole, const struct network *part)
{
	struct network a, b;

	if (whole->bits > part->bits)
		return false;
	a = network_cut(whole, whole->bits); /* the version stays */
	b = network_cut(part, whole->bits);
	return memcmp(&a, &b, sizeof(a)) == 0;
}

bool
network_list_read(const char *text, struct network_list *out)
{
	static const char blanks[] = " \t";
	char word[NETWORK_TEXT_MAX];

	*out = (struct network_list){0};
	if (text[strspn(text, blanks)] == '\0')
		return true;
	for (;;) {
		size_t whole, n;

		text += strspn(text, blanks);
		whole = strcspn(text, ",");
		n = whole;
		while (n > 0 && strchr(blanks, text[n - 1]) != NULL)
			n--;
		if (n >= sizeof(word) || out->count == NETWORK_LIST_MAX)
			return false;
		memcpy(word, text, n);
		word[n] = '\0';
		if (!network_read(word, &out->list[out->count]))
			return false;
		out->count++;
		if (text[whole] == '\0')
			return true;
		text += whole + 1;
	}
}

const char *
network_list_write(
    char out[static NETWORK_LIST_TEXT_MAX], const struct network_list *l)
{
	size_t n = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < l->count; i++) {
		if (i > 0)
			out[n++] = ',';
		(void)network_write(out + n, &l->list[i]);
		n += strlen(out + n);
	}
	return out;
}

bool
network_list_has(const struct network_list *l, const struct network *part)
{
	for (unsigned i = 0; i < l->count; i++)
		if (network_has(&l->list[i], part))
			return true;
	return false;
}
