#include "settings/transport.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *word;
	bool tls;
	bool websocket;
} facts[TRANSPORT_COUNT] = {
#define X(id, word, tls, websocket) [TRANSPORT_##id] = {word, tls, websocket},
    TRANSPORTS(X)
#undef X
};

const char *
transport_word(enum transport transport)
{
	return facts[transport].word;
}

bool
transport_has_tls(enum transport transport)
{
	return facts[transport].tls;
}

bool
transport_has_websocket(enum transport transport)
{
	return facts[transport].websocket;
}

/* The transport called by the <n> bytes at <text>; TRANSPORT_COUNT: none. */
static enum transport
find(const char *text, size_t n)
{
	int i = 0;

	while (i < TRANSPORT_COUNT && (strlen(facts[i].word) != n ||
					  memcmp(facts[i].word, text, n) != 0))
		i++;
	return (enum transport)i;
}

bool
transports_read(const char *text, struct transports *out)
{
	struct transports list = {0};

	for (;;) {
		size_t n = strcspn(text, ", ");
		enum transport which = find(text, n);

		if (which == TRANSPORT_COUNT || transports_have(&list, which))
			return false;
		list.order[list.count++] = (uint8_t)which;
		text += n;
		text += strspn(text, " ");
		if (*text == '\0')
			break;
		if (*text++ != ',')
			return false;
		text += strspn(text, " ");
	}
	*out = list;
	return true;
}

const char *
transports_write(
    const struct transports *list, char out[static TRANSPORTS_TEXT])
{
	int n = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < list->count && n < TRANSPORTS_TEXT; i++)
		n += snprintf(out + n, (size_t)(TRANSPORTS_TEXT - n), "%s%s",
		    i > 0 ? ", " : "", facts[list->order[i]].word);
	return out;
}

bool
transports_have(const struct transports *list, enum transport which)
{
	for (unsigned i = 0; i < list->count; i++)
		if (list->order[i] == which)
			return true;
	return false;
}

bool
transports_same(const struct transports *a, const struct transports *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
