#include "server/refused.h"

#include "base/escape.h"
#include "base/fnv.h"
#include "settings/map_text.h"

#include <stdio.h>
#include <string.h>

static uint64_t
hash_of(const struct refused_knock *k)
{
	uint8_t reason = (uint8_t)k->reason;
	uint64_t hash = fnv_add_text(fnv_begin(), k->client_id);

	hash = fnv_add_text(hash, span_of_string(k->address));
	return fnv_add(hash, (struct span){&reason, 1});
}

/* The place of that one: its own, a free one, or that of the oldest. */
static struct refused_device *
place_of(struct refused *r, uint64_t hash)
{
	struct refused_device *oldest = &r->devices[0];

	for (unsigned i = 0; i < r->n; i++) {
		struct refused_device *d = &r->devices[i];

		if (d->hash == hash)
			return d;
		if (d->last_ms < oldest->last_ms)
			oldest = d;
	}
	return r->n < REFUSED_MAX ? &r->devices[r->n++] : oldest;
}

/* Keeps <text> if devices.ini can hold it behind a match_ key, where "*" has a
   meaning of its own. */
static void
keep_for_map(char out[static REFUSED_MATCH_MAX], struct span text)
{
	out[0] = '\0';
	if (text.n == 0 || text.n >= REFUSED_MATCH_MAX ||
	    memchr(text.p, CREDENTIAL_MATCH_PART[0], text.n) != NULL ||
	    map_text_objection(text) != NULL)
		return;
	memcpy(out, text.p, text.n);
	out[text.n] = '\0';
}

void
refused_note(struct refused *r, const struct refused_knock *k, uint64_t now_ms)
{
	uint64_t hash = hash_of(k);
	struct refused_device *d = place_of(r, hash);

	r->count[k->reason]++;
	if (d->hash != hash || d->times == 0)
		*d = (struct refused_device){.hash = hash, .first_ms = now_ms};
	d->times++;
	d->last_ms = now_ms;
	d->reason = k->reason;
	(void)escape(d->client_id, sizeof(d->client_id), k->client_id);
	(void)escape(d->username, sizeof(d->username), k->username);
	keep_for_map(d->match_client_id, k->client_id);
	keep_for_map(d->match_username, k->username);
	(void)snprintf(d->address, sizeof(d->address), "%s", k->address);
	(void)snprintf(
	    d->label, sizeof(d->label), "%s", k->label != NULL ? k->label : "");
}
