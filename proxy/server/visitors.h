/*
 * visitors: the connections that the door has accepted and that have not been
 * let in yet. Each is read until its CONNECT is there, its entry is looked up,
 * and what it has to show is checked; whoever cannot be let in is told why.
 *
 * A password that is kept as a hash is checked on another thread (hasher.h);
 * the visitor waits meanwhile. One that has shown a wrong password waits too,
 * before it is told. Lives on the main thread.
 */
#ifndef PROXY_SERVER_VISITORS_H
#define PROXY_SERVER_VISITORS_H

#include "base/attr.h"
#include "base/reason.h"
#include "server/peer_name.h"
#include "server/refused.h"
#include "session/crowd.h"
#include "session/knock.h"
#include "settings/credmap.h"
#include "settings/settings.h"

#include <event2/event.h>
#include <stdbool.h>

struct visitors;

struct visitors_config {
	struct event_base *base;
	struct settings *settings; /* the references are taken */
	struct credmap *map;
	struct crowd *crowd; /* left where connections end */
	void (*admit)(void *arg, struct knock *k); /* takes the knock over */
	void *arg;
};

/* NULL without memory, descriptors or threads. */
NODISCARD struct visitors *visitors_new(const struct visitors_config *config);

/* Dismisses who is left. */
void visitors_free(struct visitors **vs);

/*
 * Takes over <fd>, which is in the crowd and comes by <at>; of that listener
 * what may change is read later too. <too_many>: which limit it is over,
 * R_NONE: none. False without memory: it is closed. By a listener with
 * proxy_protocol its header is read first, and <from> is what that says; then
 * the listener's allow_from and the limits are looked at here.
 */
NODISCARD bool visitors_receive(struct visitors *vs, int fd,
    const struct listener *at, const struct peer_name *from,
    enum reason too_many);

/* Which limit there are more connections than, by over <slack>. Those that come
   by a Unix socket have no address. */
enum reason visitors_over_limit(const struct settings *s,
    const struct crowd_count *now, bool has_address, unsigned slack);

/* Who was not let in; valid as long as they are. */
struct refused *visitors_refused(struct visitors *vs);

/* How many are here. */
unsigned visitors_count(const struct visitors *vs);

/* From now on these; the references are taken. Who waits for his password to be
   checked is judged anew. */
void visitors_reload(
    struct visitors *vs, struct settings *settings, struct credmap *map);

/* Sends all away. */
void visitors_dismiss(struct visitors *vs);

#endif
