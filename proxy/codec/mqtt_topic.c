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

const char *
mqtt_topic_name_flaw(struct span s, uint8_t level)
{
	const char *flaw = text_flaw(s, level);

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

/*
 * Takes "$share/NAME/" off a filter that begins so. False: NAME is empty or has
 * a wildcard, or no filter follows.
 */
static bool
take_share(struct span *filter)
{
	size_t n = share_prefix.n;
	struct span share;

	for (; n < filter->n && filter->p[n] != '/'; n++)
		if (filter->p[n] == '+' || filter->p[n] == '#')
			return false;
	return n > share_prefix.n && n + 1 < filter->n &&
	       span_take(filter, n + 1, &share);
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
