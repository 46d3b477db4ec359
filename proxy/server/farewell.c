#include "server/farewell.h"

#include "base/log.h"
#include "codec/mqtt.h"
#include "codec/mqtt_connect.h"

#include <stdlib.h>

void
farewell_show_out(const struct farewell *f, struct knock *k, enum reason why)
{
	struct span connect = {buffer_span(&k->bytes).p, k->connect_bytes};
	struct buffer last = {0};
	uint8_t words[MQTT_SMALL_MAX];
	struct mqtt_connect c;
	uint8_t code;

	f->count[why]++;
	if (mqtt_connect_read(connect, &c, NULL)) {
		code = reason_connack(why, c.level);
		if (code != 0)
			(void)!buffer_append(&last,
			    (struct span){words, mqtt_connack_write(words,
						     c.level, false, code)});
	}
	linger(f->lingering, k->fd, &last, f->bound_ms);
	buffer_wipe(&k->bytes);
	credmap_unref(k->map);
	free(k);
}

void
farewell_turn_away(const struct farewell *f, struct knock *k, enum reason why)
{
	log_write_for(&k->entry->log, LOG_NOTICE, "device_refused",
	    "label=%s peer=%s reason=%s hint=\"%s\"", k->entry->label, k->peer,
	    reason_word(why), reason_hint(why));
	farewell_show_out(f, k, why);
}
