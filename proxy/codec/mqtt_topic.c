#include "codec/mqtt_topic.h"

#include "codec/utf8.h"

static const struct span share_prefix = {(const uint8_t *)"$share/", 7};

/* What names and filters have in common. */
static const char *
text_flaw(struct span s, uint8_t level)
{
	if (s.n == 0)
		return "is empty (MQTT-4.7.3-1)";
	if (memchr(s.p, 0, s.n) != NULL)
		return "has U+0000 (MQTT-4.7.3-2)";
	if (level > 3 && !utf8_valid(s))
		return "is not valid UTF-8 (MQTT-1.5.4-1)";
	return NULL;
}

/* Eight bytes: 0 when each is one of 0x01 to 0x7f, but no '+' and no '#'. It is
   not 0 for some that are fine, too: a borrow goes on to the next byte. */
static uint64_t
odd_bytes(uint64_t w)
{
	const uint64_t ones = UINT64_MAX / 0xff;
	const uint64_t plus = w ^ ones * '+', hash = w ^ ones * '#';

	return (w | (w - ones) | (plus - ones) | (hash - ones)) & ones * 0x80;
}

/* True: nothing is wrong with a topic name <s> of at least eight bytes, which
   most are. False: it has to be looked at more closely. */
static bool
is_plain(struct span s)
{
	uint64_t odd = 0, w;

	for (size_t i = 0; i + sizeof(w) < s.n; i += sizeof(w)) {
		memcpy(&w, s.p + i, sizeof(w));
		odd |= odd_bytes(w);
	}
	/* the last eight, of which some may have been seen already */
	memcpy(&w, s.p + s.n - sizeof(w), sizeof(w));
	return (odd | odd_bytes(w)) == 0;
}

const char *
mqtt_topic_name_flaw(struct span s, uint8_t level)
{
	const char *flaw;

	if (s.n >= sizeof(uint64_t) && is_plain(s))
		return NULL;
	flaw = text_flaw(s, level);
	if (flaw != NULL)
		return flaw;
	if (memchr(s.p, '+', s.n) != NULL || memchr(s.p, '#', s.n) != NULL)
		return "has a wildcard (MQTT-4.7.0-1)";
	return NULL;
}

bool
mqtt_topic_filter_is_shared(struct span s, uint8_t level)
{
	return level >= 5 && s.n >= share_prefix.n &&
	       memcmp(s.p, share_prefix.p, share_prefix.n) == 0;
}

size_t
mqtt_topic_share_bytes(struct span filter)
{
	size_t n = share_prefix.n;

	if (filter.n < n || memcmp(filter.p, share_prefix.p, n) != 0)
		return 0;
	for (; n < filter.n && filter.p[n] != '/'; n++)
		if (filter.p[n] == '+' || filter.p[n] == '#')
			return 0;
	return n > share_prefix.n && n + 1 < filter.n ? n + 1 : 0;
}

/* Takes "$share/NAME/" off a filter that begins with "$share/"; false when it
   does not go on as it has to. */
static bool
take_share(struct span *filter)
{
	size_t n = mqtt_topic_share_bytes(*filter);
	struct span share;

	return n > 0 && span_take(filter, n, &share);
}

/* A wildcard has a level of its own, and '#' the last one. */
static const char *
wildcard_flaw(struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool begins = i == 0 || s.p[i - 1] == '/';
		bool last = i + 1 == s.n;

		if (s.p[i] == '#' && !(begins && last))
			return "has a '#' that is not the whole last level "
			       "(MQTT-4.7.1-1)";
		if (s.p[i] == '+' && !(begins && (last || s.p[i + 1] == '/')))
			return "has a '+' that is not a whole level "
			       "(MQTT-4.7.1-2)";
	}
	return NULL;
}

const char *
mqtt_topic_filter_flaw(struct span s, uint8_t level)
{
	const char *flaw = text_flaw(s, level);

	if (flaw != NULL)
		return flaw;
	if (mqtt_topic_filter_is_shared(s, level) && !take_share(&s))
		return "is not $share/NAME/FILTER (MQTT-4.8.2-1, -2)";
	return wildcard_flaw(s);
}

struct span
mqtt_topic_take_level(struct span *rest)
{
	const uint8_t *slash = memchr(rest->p, '/', rest->n);
	struct span level = *rest;

	if (slash == NULL) {
		*rest = (struct span){NULL, 0};
		return level;
	}
	level.n = (size_t)(slash - rest->p);
	rest->p = slash + 1;
	rest->n -= level.n + 1;
	return level;
}

bool
mqtt_topic_matches(struct span filter, struct span name)
{
	size_t share = mqtt_topic_share_bytes(filter);
	struct span asked;

	if (name.n == 0 || filter.n == 0)
		return false; /* MQTT-4.7.3-1 */
	filter.p += share;
	filter.n -= share;
	if (name.p[0] == '$' && (filter.p[0] == '+' || filter.p[0] == '#'))
		return false; /* MQTT-4.7.2-1 */
	while (filter.p != NULL) {
		asked = mqtt_topic_take_level(&filter);
		if (span_eq(asked, SPAN_OF("#")))
			return true; /* the parent level too: 4.7.1.2 */
		if (name.p == NULL)
			return false;
		if (!span_eq(mqtt_topic_take_level(&name), asked) &&
		    !span_eq(asked, SPAN_OF("+")))
			return false;
	}
	return name.p == NULL;
}
