#include "session/trace.h"

#include "base/clock.h"
#include "base/secret.h"
#include "codec/mqtt.h"
#include "codec/mqtt_describe.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- lines ---- */

size_t
trace_time(char out[static TRACE_TIME_MAX])
{
	char now[CLOCK_MS_TEXT_MAX];

	return (size_t)snprintf(
	    out, TRACE_TIME_MAX, "%s ", clock_now_text(now));
}

static void
tell_packet(struct trace *t, enum tap_way way, struct span start)
{
	static const char *const words[TAP_WAYS] = {
	    "device->proxy ",
	    "proxy->cloud  ",
	    "cloud->proxy  ",
	    "proxy->device ",
	};
	char line[TRACE_LINE_MAX];
	size_t n = trace_time(line);

	n += (size_t)snprintf(line + n, sizeof(line) - n, "%s", words[way]);
	(void)mqtt_describe(
	    start, t->level, t->payload_max, line + n, sizeof(line) - n);
	t->tell(t, line);
}

void
trace_note(struct trace *t, const char *fmt, ...)
{
	char line[TRACE_LINE_MAX];
	size_t n = trace_time(line);
	va_list ap;

	n += (size_t)snprintf(line + n, sizeof(line) - n, "-- ");
	va_start(ap, fmt);
	(void)vsnprintf(line + n, sizeof(line) - n, fmt, ap);
	va_end(ap);
	t->tell(t, line);
}

/* ---- packets ---- */

/* There may be a login in it. */
static void
forget_head(struct trace_way *w)
{
	secret_wipe_bytes(w->head, w->n);
	w->n = 0;
}

void
trace_restart(struct trace *t, enum tap_way way)
{
	struct trace_way *w = &t->ways[way];

	forget_head(w);
	w->skip = 0;
	w->is_lost = false;
}

void
trace_join(struct trace *t, enum tap_way way, uint64_t left)
{
	trace_restart(t, way);
	t->ways[way].skip = left;
}

/* The size of the packet <start> begins with. PARSE_BAD: it is none. */
static enum parse
packet_size(struct span start, uint64_t *size)
{
	struct mqtt_header h;
	enum parse found = mqtt_header_read(start, &h);

	if (found == PARSE_OK)
		*size = h.header_bytes + (uint64_t)h.remaining;
	return found;
}

/* The packet is told, of which <taken> bytes have been taken off its way. */
static void
end_head(struct trace *t, enum tap_way way, struct span start, uint64_t size)
{
	struct trace_way *w = &t->ways[way];

	tell_packet(t, way, start);
	w->skip = size - start.n;
	forget_head(w);
}

/* Bytes after which no packet can be found any more. */
static void
lose(struct trace *t, enum tap_way way, struct span start)
{
	tell_packet(t, way, start);
	forget_head(&t->ways[way]);
	t->ways[way].is_lost = true;
}

/* Adds to the head what it needs, first for its fixed header. */
static void
gather(struct trace *t, enum tap_way way, struct span *in)
{
	struct trace_way *w = &t->ways[way];
	uint64_t size = TRACE_HEAD_MAX;
	enum parse found = PARSE_MORE;

	while (in->n > 0) {
		struct span more;
		size_t n = 1;

		if (found == PARSE_OK)
			n = (size_t)(size < TRACE_HEAD_MAX ? size
							   : TRACE_HEAD_MAX) -
			    w->n;
		if (!span_take(in, n < in->n ? n : in->n, &more))
			return;
		memcpy(w->head + w->n, more.p, more.n);
		w->n += more.n;
		found = packet_size((struct span){w->head, w->n}, &size);
		if (found == PARSE_BAD) {
			lose(t, way, (struct span){w->head, w->n});
			return;
		}
		if (found == PARSE_OK &&
		    (w->n == size || w->n == TRACE_HEAD_MAX)) {
			end_head(t, way, (struct span){w->head, w->n}, size);
			return;
		}
	}
}

/* The next packet, as far as it is there. */
static void
take_packet(struct trace *t, enum tap_way way, struct span *in)
{
	struct span packet;
	uint64_t size = 0;

	/* what is whole needs no copy, and logins are */
	if (t->ways[way].n > 0 || packet_size(*in, &size) != PARSE_OK ||
	    size > in->n)
		gather(t, way, in);
	else if (span_take(in, (size_t)size, &packet))
		end_head(t, way, packet, size);
}

static void
on_bytes(struct tap *tap, enum tap_way way, struct span in, bool begins)
{
	struct trace *t = (struct trace *)tap;
	struct trace_way *w = &t->ways[way];
	struct span skipped;

	if (begins)
		trace_restart(t, way);
	while (in.n > 0 && !w->is_lost) {
		if (w->skip == 0) {
			take_packet(t, way, &in);
			continue;
		}
		if (span_take(
			&in, w->skip < in.n ? (size_t)w->skip : in.n, &skipped))
			w->skip -= skipped.n;
	}
}

void
trace_init(struct trace *t)
{
	t->tap.on_bytes = on_bytes;
	for (int way = 0; way < TAP_WAYS; way++)
		t->ways[way].is_lost = true;
}

void
trace_end(struct trace *t)
{
	for (int way = 0; way < TAP_WAYS; way++)
		forget_head(&t->ways[way]);
}
