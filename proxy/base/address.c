#include "base/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An interface by number or by name (RFC 4007 11). */
static uint32_t
scope_of(const char *zone)
{
	char *end;
	unsigned long n = strtoul(zone, &end, 10);

	return *end == '\0' ? (uint32_t)n : if_nametoindex(zone);
}

static void
set(struct address *a, const void *from, socklen_t n)
{
	memset(a, 0, sizeof(*a));
	memcpy(&a->storage, from, n);
	a->n = n;
}

bool
address_read(struct address *a, const char *host, uint16_t port)
{
	struct sockaddr_in v4 = {
	    .sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {
	    .sin6_family = AF_INET6, .sin6_port = htons(port)};
	char digits[INET6_ADDRSTRLEN];
	size_t n = strcspn(host, "%");

	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
		set(a, &v4, sizeof(v4));
		return true;
	}
	if (n >= sizeof(digits) || (host[n] == '%' && host[n + 1] == '\0'))
		return false;
	memcpy(digits, host, n);
	digits[n] = '\0';
	if (inet_pton(AF_INET6, digits, &v6.sin6_addr) != 1)
		return false;
	if (host[n] == '%')
		v6.sin6_scope_id = scope_of(host + n + 1);
	set(a, &v6, sizeof(v6));
	return true;
}

static bool
read_port(const char *text, uint16_t *port)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long n = strtoul(text, NULL, 10);

	if (digits == 0 || digits > 5 || text[digits] != '\0' || n == 0 ||
	    n > UINT16_MAX)
		return false;
	*port = (uint16_t)n;
	return true;
}

/* One word of a list, which is changed. */
static bool
read_word(struct address *a, char *word, uint16_t port)
{
	char *colon = strchr(word, ':');
	char *close;

	if (*word == '[') {
		close = strchr(word, ']');
		if (close == NULL)
			return false;
		*close++ = '\0';
		if (*close != '\0' &&
		    (*close != ':' || !read_port(close + 1, &port)))
			return false;
		return strchr(word + 1, ':') != NULL &&
		       address_read(a, word + 1, port);
	}
	/* more colons than one are an IPv6 address */
	if (colon != NULL && strchr(colon + 1, ':') == NULL) {
		*colon = '\0';
		if (!read_port(colon + 1, &port))
			return false;
	}
	return address_read(a, word, port);
}

bool
address_read_list(const char *text, uint16_t port, struct address *out,
    unsigned max, unsigned *count)
{
	char word[ADDRESS_WRITTEN_MAX];
	size_t n;

	*count = 0;
	while (*(text += strspn(text, " \t")) != '\0') {
		n = strcspn(text, " \t");
		if (n >= sizeof(word) || *count == max)
			return false;
		memcpy(word, text, n);
		word[n] = '\0';
		if (!read_word(&out[*count], word, port))
			return false;
		(*count)++;
		text += n;
	}
	return true;
}

const char *
address_write(char out[static ADDRESS_WRITTEN_MAX], const struct address *a)
{
	char host[64], port[8];

	if (getnameinfo((const struct sockaddr *)&a->storage, a->n, host,
		sizeof(host), port, sizeof(port),
		NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		(void)snprintf(out, ADDRESS_WRITTEN_MAX, "?");
	else
		(void)snprintf(out, ADDRESS_WRITTEN_MAX,
		    a->storage.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
		    host, port);
	return out;
}

void
address_set_port(struct address *a, uint16_t port)
{
	if (a->storage.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->storage)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)&a->storage)->sin_port = htons(port);
}
