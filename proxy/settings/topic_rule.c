#include "settings/topic_rule.h"

#include "base/escape.h"
#include "codec/aliyun.h"

#include <stdio.h>

/* A rule on its way in. */
struct reading {
	struct topic_rule *rule;
	const struct topic_spec *spec;
	const char *path;
	struct complaints *to;
	bool good;
};

static void
wrong(struct reading *r, bool is_cloud, const char *flaw)
{
	const char *value = is_cloud ? r->spec->cloud : r->spec->lan;
	char shown[160];

	complain(r->to, r->path, r->spec->line, "%s.%s = %s: %s", r->spec->key,
	    is_cloud ? "cloud" : "lan",
	    escape(shown, sizeof(shown), span_of_string(value)), flaw);
	r->good = false;
}

static void
read_side(struct reading *r, bool is_cloud)
{
	struct topic_side *side = is_cloud ? &r->rule->cloud : &r->rule->lan;
	const char *flaw = topic_side_read(side, is_cloud,
	    span_of_string(is_cloud ? r->spec->cloud : r->spec->lan));

	if (flaw != NULL)
		wrong(r, is_cloud, flaw);
}

static unsigned
times_used(const struct topic_side *side, unsigned number)
{
	unsigned n = 0;

	for (unsigned i = 0; i < side->level_count; i++)
		n += side->level[i].capture == number;
	return n;
}

static void
wrong_capture(struct reading *r, unsigned number, const char *flaw)
{
	char text[160];

	(void)snprintf(text, sizeof(text), "$%u %s", number, flaw);
	wrong(r, true, text);
}

/*
 * What one side has, the other must give: the cloud side what is mapped up, the
 * LAN side what is mapped down. What is not needed may only be left out where
 * there is no way back.
 */
static void
check_capture(struct reading *r, unsigned number)
{
	bool on_lan = number <= r->rule->lan.captures;
	unsigned used = times_used(&r->rule->cloud, number);

	if (used > 1)
		wrong_capture(r, number, "is used twice");
	else if (used == 0 && on_lan && topic_rule_goes_down(r->rule))
		wrong_capture(r, number,
		    "is not used, so that nothing says on the way down what "
		    "stands there on the LAN side; use it, or set way = up");
	else if (used == 1 && !on_lan && topic_rule_goes_up(r->rule))
		wrong_capture(r, number,
		    "is used, but the LAN side has no such + that would say "
		    "what it is on the way up");
}

static void
check_rest(struct reading *r)
{
	bool on_lan = topic_side_has_rest(&r->rule->lan);
	bool on_cloud = topic_side_has_rest(&r->rule->cloud);

	if (on_lan && !on_cloud && topic_rule_goes_down(r->rule))
		wrong(r, true,
		    "$# is not used, so that nothing says on the way down what "
		    "stands there on the LAN side; use it, or set way = up");
	if (!on_lan && on_cloud && topic_rule_goes_up(r->rule))
		wrong(r, true,
		    "$# is used, but the LAN side has no # that would say what "
		    "it is on the way up");
}

/* The fewest bytes a piece may have. */
static size_t
least_bytes(const struct topic_piece *piece)
{
	switch (piece->variable) {
	case TOPIC_NO_VARIABLE:
		return piece->text.n;
	case TOPIC_DN:
		return ALIYUN_DEVICE_NAME_MIN;
	case TOPIC_PK:
	case TOPIC_LABEL:
		return 1;
	case TOPIC_CLIENT_ID:
		break;
	}
	return 0;
}

/* No topic that this rule gives could be short enough. */
static void
check_limits(struct reading *r)
{
	const struct topic_side *side = &r->rule->cloud;
	size_t slashes = side->level_count - 1, bytes;

	if (topic_side_has_rest(side))
		slashes--;
	bytes = slashes;
	for (unsigned i = 0; i < side->piece_count; i++)
		bytes += least_bytes(&side->piece[i]);
	for (unsigned i = 0; i < side->level_count; i++)
		bytes += side->level[i].kind == TOPIC_LEVEL_ONE;
	if (slashes > TOPIC_CLOUD_SLASHES_MAX)
		wrong(r, true,
		    "has more than the 7 slashes that the platform takes");
	else if (bytes > TOPIC_CLOUD_BYTES_MAX)
		wrong(r, true,
		    "is always longer than the 128 bytes that the platform "
		    "takes");
}

bool
topic_rule_read(struct topic_rule *rule, const struct topic_spec *spec,
    const char *path, struct complaints *to)
{
	struct reading r = {rule, spec, path, to, true};

	*rule = (struct topic_rule){.way = spec->way, .escape = spec->escape};
	read_side(&r, false);
	read_side(&r, true);
	if (!r.good)
		return false;
	for (unsigned i = 1; i <= TOPIC_CAPTURES_MAX; i++) {
		check_capture(&r, i);
		rule->lan_at[i] = topic_side_capture_at(&rule->lan, i);
		rule->cloud_at[i] = topic_side_capture_at(&rule->cloud, i);
	}
	check_rest(&r);
	check_limits(&r);
	return r.good;
}
