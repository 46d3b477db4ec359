#include "server/map_state.h"

#include <stdio.h>

void
map_refusal_add(
    struct map_refusal *r, const char *file, int line, const char *text)
{
	if (r->errors++ > 0)
		return;
	r->line = line;
	(void)snprintf(r->file, sizeof(r->file), "%s", file);
	(void)snprintf(r->text, sizeof(r->text), "%s", text);
}

void
map_state_loaded(struct map_state *m, size_t devices, uint64_t now_ms)
{
	m->devices = devices;
	m->loaded_ms = now_ms;
	m->refused = false;
}

void
map_state_refused(
    struct map_state *m, const struct map_refusal *why, uint64_t now_ms)
{
	/* of several in a row the first says since when, the last says why */
	if (!m->refused)
		m->refused_ms = now_ms;
	m->refused = true;
	m->refusal = *why;
	m->reloads_refused++;
}
