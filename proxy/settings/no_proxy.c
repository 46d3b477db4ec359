#include "settings/no_proxy.h"

#include "settings/network.h"

#include <string.h>
#include <strings.h>

/* The next entry of <*list>; false at its end. */
static bool
take_entry(const char **list, struct span *entry)
{
	static const char between[] = ", \t";
	size_t n;

	*list += strspn(*list, between);
	n = strcspn(*list, between);
	*entry = (struct span){(const uint8_t *)*list, n};
	*list += n;
	return n > 0;
}

/* Without a dot before it or one behind it. */
static struct span
without_dots(struct span name)
{
	if (name.n > 0 && name.p[0] == '.') {
		name.p++;
		name.n--;
	}
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	return name;
}

/* As network_read(), with brackets around an address or without. */
static bool
read_network(struct span entry, struct network *out)
{
	char text[NETWORK_TEXT_MAX + sizeof("[]") - 1];
	char *close;

	if (entry.n >= sizeof(text))
		return false;
	memcpy(text, entry.p, entry.n);
	text[entry.n] = '\0';
	if (text[0] != '[')
		return network_read(text, out);
	close = strchr(text, ']');
	if (close == NULL || (close[1] != '\0' && close[1] != '/'))
		return false;
	memmove(close, close + 1, strlen(close));
	return network_read(text + 1, out);
}

/* <name> is <domain>, or below it. */
static bool
is_below(struct span name, struct span domain)
{
	size_t before;

	if (domain.n == 0 || name.n < domain.n)
		return false;
	before = name.n - domain.n;
	return strncasecmp((const char *)name.p + before,
		   (const char *)domain.p, domain.n) == 0 &&
	       (before == 0 || name.p[before - 1] == '.');
}

static bool
is_star(struct span entry)
{
	return span_eq(entry, SPAN_OF("*"));
}

bool
no_proxy_has(const char *list, const char *host)
{
	struct span name = without_dots(span_of_string(host));
	struct network address, network;
	bool is_address = read_network(name, &address);
	struct span entry;

	while (take_entry(&list, &entry)) {
		if (is_star(entry))
			return true;
		if (is_address ? read_network(entry, &network) &&
				     network_has(&network, &address)
			       : is_below(name, without_dots(entry)))
			return true;
	}
	return false;
}

/* Letters, digits and what else stands in names of hosts. */
static bool
is_name(struct span entry)
{
	for (size_t i = 0; i < entry.n; i++) {
		uint8_t c = entry.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '-' || c == '_' ||
			c == '.'))
			return false;
	}
	return without_dots(entry).n > 0;
}

bool
no_proxy_valid(const char *list, struct span *bad)
{
	struct network network;

	while (take_entry(&list, bad))
		if (!is_star(*bad) && !is_name(*bad) &&
		    !read_network(*bad, &network))
			return false;
	return true;
}
