#include "settings/topic_side.h"

#include "codec/mqtt_topic.h"

static const struct {
	struct span text;
	enum topic_variable variable;
} variables[] = {
    {SPAN_OF("${pk}"), TOPIC_PK},
    {SPAN_OF("${dn}"), TOPIC_DN},
    {SPAN_OF("${label}"), TOPIC_LABEL},
    {SPAN_OF("${client_id}"), TOPIC_CLIENT_ID},
};

enum { VARIABLES = sizeof(variables) / sizeof(variables[0]) };

static bool
starts_with(struct span s, struct span head)
{
	return head.n == 0 ||
	       (s.n >= head.n && memcmp(s.p, head.p, head.n) == 0);
}

/* A level that is being read. */
struct reading {
	struct topic_side *side;
	struct topic_level *level;
	struct span rest;
};

static bool
take_variable(struct span *rest, enum topic_variable *out)
{
	struct span taken;

	for (size_t i = 0; i < VARIABLES; i++)
		if (starts_with(*rest, variables[i].text)) {
			*out = variables[i].variable;
			return span_take(rest, variables[i].text.n, &taken);
		}
	return false;
}

/* Text up to the next '$' that means something on this side. */
static struct span
take_text(struct reading *r)
{
	size_t n = 0;
	struct span text = r->rest;

	while (n < r->rest.n &&
	       !(r->rest.p[n] == '$' &&
		   (r->side->is_cloud ||
		       starts_with((struct span){r->rest.p + n, r->rest.n - n},
			   SPAN_OF("${")))))
		n++;
	r->rest.p += n;
	r->rest.n -= n;
	text.n = n;
	return text;
}

static void
skip_byte(struct span *rest)
{
	rest->p++;
	rest->n--;
}

/* "$1" and so on, once in a level. */
static const char *
read_capture(struct reading *r)
{
	struct topic_level *level = r->level;
	unsigned number = 0;

	if (starts_with(r->rest, SPAN_OF("$#")))
		return "has a $# that is not the whole last level";
	skip_byte(&r->rest);
	while (r->rest.n > 0 && r->rest.p[0] >= '0' && r->rest.p[0] <= '9' &&
	       number <= TOPIC_CAPTURES_MAX) {
		number = number * 10 + (unsigned)(r->rest.p[0] - '0');
		skip_byte(&r->rest);
	}
	if (number < 1 || number > TOPIC_CAPTURES_MAX)
		return "has a $ before something else than 1 to 9, # or {";
	if (level->capture != 0)
		return "has two captures in one level, which nobody could "
		       "tell apart";
	level->capture = number;
	if (number > r->side->captures)
		r->side->captures = number;
	return NULL;
}

static const char *
add_piece(struct reading *r, struct topic_piece piece)
{
	struct topic_side *side = r->side;

	if (side->piece_count == TOPIC_PIECES_MAX)
		return "has more than 32 parts";
	side->piece[side->piece_count++] = piece;
	if (r->level->capture == 0)
		r->level->before_count++;
	else
		r->level->behind_count++;
	return NULL;
}

/* The next part of a level. */
static const char *
read_part(struct reading *r)
{
	struct topic_piece piece = {TOPIC_NO_VARIABLE, {NULL, 0}};

	piece.text = take_text(r);
	if (piece.text.n > 0) {
		if (r->side->is_cloud && !topic_text_is_plain(piece.text))
			return "has a level with something else than letters, "
			       "digits and _; what the LAN side's wildcards "
			       "stand for is written $1 and so on, and $#";
		return add_piece(r, piece);
	}
	if (take_variable(&r->rest, &piece.variable))
		return add_piece(r, piece);
	if (starts_with(r->rest, SPAN_OF("${")))
		return "has an unknown variable; there are ${pk}, ${dn}, "
		       "${label} and ${client_id}";
	return read_capture(r);
}

static enum topic_level_kind
kind_of(const struct topic_level *level)
{
	if (level->capture != 0)
		return level->before_count + level->behind_count == 0
			   ? TOPIC_LEVEL_ONE
			   : TOPIC_LEVEL_PART;
	for (unsigned i = 0; i < level->before_count; i++)
		if (level->before[i].variable != TOPIC_NO_VARIABLE)
			return TOPIC_LEVEL_VARIABLES;
	return TOPIC_LEVEL_TEXT;
}

static const char *
read_level(struct topic_side *side, struct span text)
{
	struct topic_level *level = &side->level[side->level_count];
	struct reading r = {side, level, text};
	const char *flaw;

	if (side->level_count == TOPIC_LEVELS_MAX)
		return "has more than 16 levels";
	if (topic_side_has_rest(side))
		return "has a $# that is not the whole last level";
	side->level_count++;
	*level = (struct topic_level){0};
	level->before = side->piece + side->piece_count;
	if (span_eq(text, side->is_cloud ? SPAN_OF("$#") : SPAN_OF("#"))) {
		level->kind = TOPIC_LEVEL_REST;
		return NULL;
	}
	if (!side->is_cloud && span_eq(text, SPAN_OF("+"))) {
		level->kind = TOPIC_LEVEL_ONE;
		level->capture = ++side->captures;
		return side->captures > TOPIC_CAPTURES_MAX
			   ? "has more than 9 levels +"
			   : NULL;
	}
	while (r.rest.n > 0)
		if ((flaw = read_part(&r)) != NULL)
			return flaw;
	level->behind = level->before + level->before_count;
	level->kind = kind_of(level);
	return NULL;
}

/* A '$' with a digit would mean a capture, but only on the other side. */
static bool
has_number(struct span text)
{
	for (size_t i = 0; i + 1 < text.n; i++)
		if (text.p[i] == '$' && text.p[i + 1] >= '0' &&
		    text.p[i + 1] <= '9')
			return true;
	return false;
}

static const char *
lan_flaw(struct span text)
{
	const char *flaw = mqtt_topic_filter_flaw(text, 4);

	if (flaw != NULL)
		return flaw;
	if (starts_with(text, SPAN_OF("$share/")))
		return "is a shared filter, which no topic has for a name";
	if (has_number(text))
		return "has a $ before a number; on this side a capture is "
		       "a level +";
	return NULL;
}

static const char *
cloud_flaw(struct span text)
{
	if (text.n < 2 || text.p[0] != '/')
		return "does not begin with a / and a level";
	if (span_eq(text, SPAN_OF("/$#")))
		return "has nothing before the $#, which may stand for "
		       "nothing";
	for (size_t i = 1; i < text.n; i++)
		if (text.p[i] == '/' && (text.p[i - 1] == '/'))
			return "has an empty level";
	return text.p[text.n - 1] == '/' ? "ends with a /" : NULL;
}

const char *
topic_side_read(struct topic_side *side, bool is_cloud, struct span text)
{
	const char *flaw;
	struct span rest;

	side->is_cloud = is_cloud;
	side->level_count = side->piece_count = side->captures = 0;
	if (text.n > TOPIC_SIDE_BYTES_MAX)
		return "has more than 256 bytes";
	if ((flaw = is_cloud ? cloud_flaw(text) : lan_flaw(text)) != NULL)
		return flaw;
	memcpy(side->text, text.p, text.n);
	rest = (struct span){side->text, text.n};
	while (rest.p != NULL) {
		flaw = read_level(side, mqtt_topic_take_level(&rest));
		if (flaw != NULL)
			return flaw;
	}
	return NULL;
}

bool
topic_side_has_rest(const struct topic_side *side)
{
	return side->level_count > 0 &&
	       side->level[side->level_count - 1].kind == TOPIC_LEVEL_REST;
}

int
topic_side_capture_at(const struct topic_side *side, unsigned number)
{
	for (unsigned i = 0; i < side->level_count; i++)
		if (side->level[i].capture == number)
			return (int)i;
	return -1;
}

/* What a piece stands for; false: that cannot stand on this side. */
static bool
value_of(const struct topic_side *side, const struct topic_piece *piece,
    const struct topic_names *names, struct span *out)
{
	switch (piece->variable) {
	case TOPIC_NO_VARIABLE:
		*out = piece->text;
		return true;
	case TOPIC_PK:
		*out = names->pk;
		return !side->is_cloud || !topic_text_is_system(*out);
	case TOPIC_DN:
		*out = names->dn;
		return true;
	case TOPIC_LABEL:
		*out = names->label;
		break;
	case TOPIC_CLIENT_ID:
		*out = names->client_id;
		break;
	}
	return side->is_cloud ? topic_text_is_plain(*out)
			      : topic_text_is_level(*out);
}

void
topic_side_put(const struct topic_side *side, const struct topic_piece *pieces,
    unsigned count, const struct topic_names *names, struct topic_text *t)
{
	struct span value;

	for (unsigned i = 0; i < count; i++) {
		if (!value_of(side, &pieces[i], names, &value))
			topic_text_unfit(t);
		topic_text_put(t, value);
	}
}

/* Takes what the pieces stand for off <text>. */
static bool
take_pieces(const struct topic_side *side, const struct topic_piece *pieces,
    unsigned count, const struct topic_names *names, struct span *text)
{
	struct span value, taken;

	for (unsigned i = 0; i < count; i++)
		if (!value_of(side, &pieces[i], names, &value) ||
		    !starts_with(*text, value) ||
		    !span_take(text, value.n, &taken))
			return false;
	return true;
}

/* The bytes that a level has behind its capture. */
static size_t
bytes_behind(const struct topic_side *side, const struct topic_level *level,
    const struct topic_names *names)
{
	size_t n = 0;
	struct span value = {NULL, 0};

	for (unsigned i = 0; i < level->behind_count; i++)
		if (value_of(side, &level->behind[i], names, &value))
			n += value.n;
	return n;
}

bool
topic_side_fits(const struct topic_side *side, const struct topic_level *level,
    const struct topic_names *names, struct span text, struct span *capture)
{
	struct span captured = {NULL, 0};
	size_t behind;

	if (!take_pieces(
		side, level->before, level->before_count, names, &text))
		return false;
	if (level->capture != 0) {
		behind = bytes_behind(side, level, names);
		if (behind > text.n ||
		    !span_take(&text, text.n - behind, &captured) ||
		    !take_pieces(
			side, level->behind, level->behind_count, names, &text))
			return false;
	}
	if (capture != NULL)
		*capture = captured;
	return text.n == 0;
}

bool
topic_side_is_hidden(const struct topic_side *side,
    const struct topic_level *level, const struct topic_names *names)
{
	struct span value;

	for (unsigned i = 0; i < level->before_count; i++)
		if (value_of(side, &level->before[i], names, &value) &&
		    value.n > 0)
			return value.p[0] == '$';
	return false;
}
