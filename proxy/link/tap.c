#include "link/tap.h"

void
tap_tell_all(struct tap *tap, enum tap_way way, struct span bytes, bool begins)
{
	for (; tap != NULL; tap = tap->next)
		tap->on_bytes(tap, way, bytes, begins);
}
