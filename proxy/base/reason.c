#include "base/reason.h"

struct row {
	const char *word;
	const char *hint;
	uint8_t connack3;
	uint8_t connack5;
	uint8_t disconnect5;
};

#define X(id, word, connack3, connack5, disconnect5, hint)                     \
	[id] = {word, hint, connack3, connack5, disconnect5},
static const struct row rows[R_COUNT] = {REASONS(X)};
#undef X

const char *
reason_word(enum reason why)
{
	return rows[why].word;
}

const char *
reason_hint(enum reason why)
{
	return rows[why].hint;
}

uint8_t
reason_connack(enum reason why, uint8_t level)
{
	return level >= 5 ? rows[why].connack5 : rows[why].connack3;
}

uint8_t
reason_disconnect(enum reason why)
{
	return rows[why].disconnect5;
}
