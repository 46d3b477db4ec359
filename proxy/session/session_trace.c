/* Traces of a device, while it has a session. */
#include "session/session_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NOTE_MAX = 600 };

static bool
is_about(const struct trace *t, const struct credential *entry)
{
	return strcmp(t->product_key, entry->product_key) == 0 &&
	       strcmp(t->device_name, entry->device_name) == 0;
}

static void
enlist(struct session *s, struct trace *t)
{
	t->level = s->level;
	t->tap.next = s->link.tap;
	s->link.tap = s->device.tap = &t->tap;
}

static void
hear(struct trace *t, enum tap_way way, struct span bytes, bool begins)
{
	t->tap.on_bytes(&t->tap, way, bytes, begins);
}

/* The CONNECT was read at the door, and what came with it. */
static void
hear_connect(const struct session *s, struct trace *t, struct span connect)
{
	hear(t, TAP_FROM_DEVICE, connect, true);
	hear(t, TAP_FROM_DEVICE, buffer_span(&s->device.in), false);
	trace_restart(t, TAP_TO_DEVICE);
}

void
session_begin_traces(struct session *s)
{
	for (struct trace *t = LIST_FIRST(&s->env->traces); t != NULL;
	     t = LIST_NEXT(t, next)) {
		if (!is_about(t, s->entry))
			continue;
		enlist(s, t);
		trace_note(t, "a session begins: peer %s, MQTT level %u",
		    s->peer, s->level);
		hear_connect(s, t, buffer_span(&s->connect));
	}
}

void
session_trace_again(
    struct session *s, const struct knock *k, struct span connect)
{
	s->device.tap = s->link.tap;
	session_note(s, "the device is back: peer %s", k->peer);
	for (struct tap *tap = s->link.tap; tap != NULL; tap = tap->next)
		hear_connect(s, (struct trace *)tap, connect);
}

void
session_trace_link(struct session *s)
{
	session_note(s, "the cloud is reached: %s port %u by %s",
	    s->entry->host, link_port(&s->link),
	    transport_word(link_transport(&s->link)));
	for (struct tap *tap = s->link.tap; tap != NULL; tap = tap->next)
		trace_restart((struct trace *)tap, TAP_FROM_CLOUD);
}

void
session_trace(struct session *s, struct trace *t)
{
	const struct mqtt_stream *down = &s->down_stream;

	enlist(s, t);
	trace_note(t, "the device has a session: %s, peer %s, MQTT level %u",
	    presence_word(session_presence(s)), s->peer, s->level);
	trace_join(t, TAP_FROM_DEVICE, s->up_left);
	trace_join(t, TAP_FROM_CLOUD, down->left);
	trace_join(t, TAP_TO_DEVICE, s->down_mid_packet ? down->left : 0);
	hear(t, TAP_FROM_DEVICE, buffer_span(&s->device.in), false);
	hear(t, TAP_FROM_CLOUD, (struct span){down->head, down->head_bytes},
	    false);
}

void
session_untrace(struct session *s, struct trace *t)
{
	struct tap **at = &s->link.tap;

	while (*at != NULL && *at != &t->tap)
		at = &(*at)->next;
	if (*at != NULL)
		*at = t->tap.next;
	s->device.tap = s->link.tap;
}

void
session_note(const struct session *s, const char *fmt, ...)
{
	char text[NOTE_MAX];
	va_list ap;

	if (s->link.tap == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (struct tap *tap = s->link.tap; tap != NULL; tap = tap->next)
		trace_note((struct trace *)tap, "%s", text);
}

void
session_note_fault(
    const struct session *s, const char *what, const struct fault *why)
{
	session_note(s, "%s: %s%s%s", what, reason_word(why->why),
	    why->text[0] != '\0' ? " " : "", why->text);
}
