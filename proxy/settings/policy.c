#include "settings/policy.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

enum { WORDS_MAX = 3 };

/* clang-format off */
#define X(x, name, first, second, third, what) { first, second, third },
static const char *const words[][WORDS_MAX] = { POLICIES(X, ) };
#undef X
/* clang-format on */

const char *
policy_word(enum policy policy, unsigned i)
{
	assert(policy < POLICY_COUNT);
	return i < WORDS_MAX ? words[policy][i] : NULL;
}

bool
policy_read(enum policy policy, const char *text, uint8_t *out)
{
	const char *word;

	for (unsigned i = 0; (word = policy_word(policy, i)) != NULL; i++) {
		if (strcmp(word, text) == 0) {
			*out = (uint8_t)i;
			return true;
		}
	}
	return false;
}
