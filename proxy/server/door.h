/*
 * door: the listeners, and the devices that have not said who they are yet.
 * Lives on the main thread. Reads one whole CONNECT from each, finds its entry
 * in the map, and hands it to its home; whoever cannot be let in is told why.
 */
#ifndef PROXY_SERVER_DOOR_H
#define PROXY_SERVER_DOOR_H

#include "base/attr.h"
#include "base/fault.h"
#include "server/inherited.h"
#include "session/crowd.h"
#include "session/knock.h"
#include "settings/credmap.h"
#include "settings/settings.h"

#include <event2/event.h>
#include <stdbool.h>

struct door;
struct refused;

struct door_config {
	struct event_base *base;
	struct settings *settings; /* the references are taken */
	struct credmap *map;
	struct inherited *inherited; /* listeners that are there already, which
					are taken out of it; NULL: none */
	struct crowd *crowd; /* entered here, left where connections end */
	void (*admit)(void *arg, struct knock *k); /* takes the knock over */
	void *arg;
};

/* One listening socket; valid as long as the door listens. */
struct door_place {
	int fd;
	const char *listener;       /* its name, as listener_name() has it */
	char address[ADDRESS_TEXT]; /* "unix": a Unix socket */
	unsigned port;
	bool inherited;
};

/* Listens: at those inherited, and at each listener of the settings that none
   of them is of. NULL: <why> names the place and what is in the way. */
NODISCARD struct door *door_open(
    const struct door_config *config, struct fault *why);

/* Place <i>; false: there are no more. Those inherited come first, then the
   listeners in their order. */
NODISCARD bool door_place(
    const struct door *d, unsigned i, struct door_place *out);

/* From now on these; the references are taken. */
void door_reload(
    struct door *d, struct settings *settings, struct credmap *map);

/* Another process listens at the same sockets: this one does not any more, but
   lets in who is here. */
void door_leave(struct door *d);

/* Who was not let in; valid as long as the door. */
const struct refused *door_refused(const struct door *d);

/* Whether somebody is here who has not been let in. */
bool door_is_busy(const struct door *d);

/* Listens no more, and sends those away that have not been let in. */
void door_close(struct door *d);

void door_free(struct door **d);

#endif
