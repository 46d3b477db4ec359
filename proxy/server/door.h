/*
 * door: the listener, and the devices that have not said who they are yet.
 * Lives on the main thread. Reads one whole CONNECT from each, finds its entry
 * in the map, and hands it to its home; whoever cannot be let in is told why.
 */
#ifndef PROXY_SERVER_DOOR_H
#define PROXY_SERVER_DOOR_H

#include "base/attr.h"
#include "base/fault.h"
#include "session/crowd.h"
#include "session/knock.h"
#include "settings/credmap.h"
#include "settings/settings.h"

#include <event2/event.h>

struct door;

struct door_config {
	struct event_base *base;
	struct settings *settings; /* the references are taken */
	struct credmap *map;
	struct crowd *crowd; /* entered here, left where connections end */
	void (*admit)(void *arg, struct knock *k); /* takes the knock over */
	void *arg;
};

/* Listens. NULL: <why> names the address and what is in the way. */
NODISCARD struct door *door_open(
    const struct door_config *config, struct fault *why);

/* Where it listens, as in "127.0.0.1", 1883. */
void door_address(
    const struct door *d, char out[static ADDRESS_TEXT], unsigned *port);

/* From now on these; the references are taken. */
void door_reload(
    struct door *d, struct settings *settings, struct credmap *map);

/* Listens no more, and sends those away that have not been let in. */
void door_close(struct door *d);

void door_free(struct door **d);

#endif
