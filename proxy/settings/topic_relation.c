/*
 * How the names that fit two levels, or two sides, can lie to one another.
 */
#include "settings/topic_side.h"

static int
order_pieces(const struct topic_piece *a, unsigned a_count,
    const struct topic_piece *b, unsigned b_count)
{
	int order;

	if (a_count != b_count)
		return a_count < b_count ? 1 : -1;
	for (unsigned i = 0; i < a_count; i++) {
		if (a[i].variable != b[i].variable)
			return a[i].variable < b[i].variable ? -1 : 1;
		if ((order = topic_text_order(a[i].text, b[i].text)) != 0)
			return order;
	}
	return 0;
}

/* The text of a level without its variables. */
static size_t
text_bytes(const struct topic_level *l)
{
	size_t n = 0;

	for (unsigned i = 0; i < l->before_count; i++)
		n += l->before[i].text.n;
	for (unsigned i = 0; i < l->behind_count; i++)
		n += l->behind[i].text.n;
	return n;
}

struct span
topic_level_head(const struct topic_level *l)
{
	/* a variable has no text */
	return l->before_count > 0 ? l->before[0].text : (struct span){NULL, 0};
}

int
topic_level_order(const struct topic_level *a, const struct topic_level *b)
{
	struct span ah = topic_level_head(a), bh = topic_level_head(b);
	int order;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->kind == TOPIC_LEVEL_TEXT)
		return topic_text_order(ah, bh);
	if (ah.n != bh.n)
		return ah.n > bh.n ? -1 : 1;
	if ((order = topic_text_order(ah, bh)) != 0)
		return order;
	if (text_bytes(a) != text_bytes(b))
		return text_bytes(a) > text_bytes(b) ? -1 : 1;
	order = order_pieces(
	    a->before, a->before_count, b->before, b->before_count);
	return order != 0 ? order
			  : order_pieces(a->behind, a->behind_count, b->behind,
				b->behind_count);
}

/* The text behind the last one. */
static struct span
tail_of(const struct topic_level *l)
{
	if (l->behind_count > 0)
		return l->behind[l->behind_count - 1].text;
	return l->capture == 0 && l->before_count > 1
		   ? l->before[l->before_count - 1].text
		   : (struct span){NULL, 0};
}

static bool
heads_agree(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;

	return n == 0 || memcmp(a.p, b.p, n) == 0;
}

static bool
tails_agree(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;

	return n == 0 || memcmp(a.p + a.n - n, b.p + b.n - n, n) == 0;
}

/* Whether some text may fit both levels. <a> is the more specific kind. */
static bool
may_meet(const struct topic_level *a, const struct topic_level *b)
{
	struct span tail =
	    a->kind == TOPIC_LEVEL_TEXT ? topic_level_head(a) : tail_of(a);

	if (!heads_agree(topic_level_head(a), topic_level_head(b)) ||
	    !tails_agree(tail, tail_of(b)))
		return false;
	return a->kind != TOPIC_LEVEL_TEXT ||
	       topic_level_head(a).n >= text_bytes(b);
}

static bool
has_variables(const struct topic_level *l)
{
	for (unsigned i = 0; i < l->before_count; i++)
		if (l->before[i].variable != TOPIC_NO_VARIABLE)
			return true;
	for (unsigned i = 0; i < l->behind_count; i++)
		if (l->behind[i].variable != TOPIC_NO_VARIABLE)
			return true;
	return false;
}

/* Two levels TOPIC_LEVEL_PART that agree as far as both go, and differ. */
static enum topic_relation
part_relation(const struct topic_level *a, const struct topic_level *b)
{
	struct span ah = topic_level_head(a), at = tail_of(a);
	struct span bh = topic_level_head(b), bt = tail_of(b);

	if (has_variables(a) || has_variables(b))
		return TOPIC_CROSS;
	if (ah.n >= bh.n && at.n >= bt.n)
		return TOPIC_INSIDE;
	return ah.n <= bh.n && at.n <= bt.n ? TOPIC_AROUND : TOPIC_CROSS;
}

static enum topic_relation
level_relation(const struct topic_level *a, const struct topic_level *b)
{
	if (a->kind < b->kind)
		return may_meet(a, b) ? TOPIC_INSIDE : TOPIC_APART;
	if (a->kind > b->kind)
		return may_meet(b, a) ? TOPIC_AROUND : TOPIC_APART;
	if (topic_level_order(a, b) == 0)
		return TOPIC_SAME;
	if (a->kind == TOPIC_LEVEL_TEXT || !may_meet(a, b))
		return TOPIC_APART;
	return a->kind == TOPIC_LEVEL_PART ? part_relation(a, b) : TOPIC_CROSS;
}

/* What holds for both of two relations, of one level and of those before. */
static enum topic_relation
both(enum topic_relation a, enum topic_relation b)
{
	if (a == TOPIC_APART || b == TOPIC_APART)
		return TOPIC_APART;
	if (a == TOPIC_SAME || a == b)
		return b;
	return b == TOPIC_SAME ? a : TOPIC_CROSS;
}

/* A wildcard as the first level does not fit a '$' (MQTT-4.7.2-1). */
static bool
dollar_parts(const struct topic_side *a, const struct topic_side *b)
{
	struct span head = topic_level_head(&a->level[0]);

	return head.n > 0 && head.p[0] == '$' &&
	       b->level[0].kind >= TOPIC_LEVEL_ONE;
}

/* One begins as the topics of the platform's own, the other with ${pk}. */
static bool
system_parts(const struct topic_side *a, const struct topic_side *b)
{
	const struct topic_level *system = &a->level[1], *pk = &b->level[1];

	return a->is_cloud && system->kind == TOPIC_LEVEL_TEXT &&
	       topic_text_is_system(topic_level_head(system)) &&
	       pk->kind == TOPIC_LEVEL_VARIABLES && pk->before_count == 1 &&
	       pk->before[0].variable == TOPIC_PK;
}

enum topic_relation
topic_side_relation(const struct topic_side *a, const struct topic_side *b)
{
	enum topic_relation so_far = TOPIC_SAME;

	if (dollar_parts(a, b) || dollar_parts(b, a) || system_parts(a, b) ||
	    system_parts(b, a))
		return TOPIC_APART;
	for (unsigned i = 0; so_far != TOPIC_APART; i++) {
		bool a_ends = i == a->level_count, b_ends = i == b->level_count;
		bool a_rests = !a_ends && a->level[i].kind == TOPIC_LEVEL_REST;
		bool b_rests = !b_ends && b->level[i].kind == TOPIC_LEVEL_REST;

		if ((a_ends && b_ends) || (a_rests && b_rests))
			break;
		/* it stands for no level as well */
		if (a_rests)
			return both(so_far, TOPIC_AROUND);
		if (b_rests)
			return both(so_far, TOPIC_INSIDE);
		if (a_ends || b_ends)
			return TOPIC_APART;
		so_far =
		    both(so_far, level_relation(&a->level[i], &b->level[i]));
	}
	return so_far;
}
