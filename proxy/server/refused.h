/*
 * refused: who has knocked and was not let in: how often for each reason, and
 * of the latest who they were. Whatever a device has shown is escaped here. The
 * door's, on the main thread.
 */
#ifndef PROXY_SERVER_REFUSED_H
#define PROXY_SERVER_REFUSED_H

#include "base/attr.h"
#include "base/reason.h"
#include "base/span.h"
#include "session/knock.h"
#include "settings/credmap.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	REFUSED_MAX = 256,
	REFUSED_TEXT_MAX = 100,
	REFUSED_MATCH_MAX = CREDENTIAL_MATCH_MAX + 1
};

/* One that is refused for the same reason again is the same one. */
struct refused_device {
	uint64_t hash; /* of what makes it that one */
	char client_id[REFUSED_TEXT_MAX];
	char username[REFUSED_TEXT_MAX]; /* as the other texts: the last time */
	/* the same two, not escaped, as match_client_id and match_username can
	   have them; empty: they cannot */
	char match_client_id[REFUSED_MATCH_MAX];
	char match_username[REFUSED_MATCH_MAX];
	char address[ADDRESS_TEXT];
	char label[CREDENTIAL_ENTRY_LABEL_MAX + 1]; /* empty: not known */
	enum reason reason;
	uint64_t times;
	uint64_t first_ms; /* of the wall clock */
	uint64_t last_ms;
};

struct refused {
	uint64_t count[R_COUNT];
	unsigned n;
	/* in no order */
	struct refused_device devices[REFUSED_MAX];
};

/* Without its times. */
struct refused_knock {
	struct span client_id;
	struct span username;
	const char *address;
	const char *label; /* NULL: not known */
	enum reason reason;
};

/* Notes it; when there is no room, whoever came longest ago is forgotten. */
void refused_note(
    struct refused *r, const struct refused_knock *k, uint64_t now_ms);

#endif
