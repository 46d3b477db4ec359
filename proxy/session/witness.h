/*
 * witness: what became of a connection after this side had ended it. Shared by
 * whoever wants to know and the close under way; one worker's, on its thread.
 */
#ifndef PROXY_SESSION_WITNESS_H
#define PROXY_SESSION_WITNESS_H

#include "base/attr.h"

#include <stdbool.h>
#include <stdlib.h>

struct witness {
	unsigned refs;
	bool saw_fin; /* the peer answered with an end in order: it was alive */
};

/* NULL without memory. */
NODISCARD static inline struct witness *
witness_new(void)
{
	struct witness *w = calloc(1, sizeof(*w));

	if (w != NULL)
		w->refs = 1;
	return w;
}

/* Returns <w>, which may be NULL. */
static inline struct witness *
witness_ref(struct witness *w)
{
	if (w != NULL)
		w->refs++;
	return w;
}

/* Frees it with the last reference. */
static inline void
witness_unref(struct witness *w)
{
	if (w != NULL && --w->refs == 0)
		free(w);
}

#endif
