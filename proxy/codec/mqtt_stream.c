#include "codec/mqtt_stream.h"

/* Completes the fixed header, from what was kept and the input. */
static enum parse
take_head(struct mqtt_stream *s, struct span *in, struct span *head)
{
	struct span taken;
	enum parse found;

	if (s->head_bytes == 0) {
		found = mqtt_header_read(*in, &s->header);
		if (found == PARSE_OK)
			return span_take(in, s->header.header_bytes, head)
				   ? PARSE_OK
				   : PARSE_BAD;
		if (found == PARSE_BAD)
			return PARSE_BAD;
	}
	do {
		/* a header of five bytes is complete, so there is room */
		if (!span_take(in, 1, &taken))
			return PARSE_MORE;
		s->head[s->head_bytes++] = taken.p[0];
		found = mqtt_header_read(
		    (struct span){s->head, s->head_bytes}, &s->header);
	} while (found == PARSE_MORE);
	*head = (struct span){s->head, s->head_bytes};
	s->head_bytes = 0;
	return found;
}

enum parse
mqtt_stream_next(struct mqtt_stream *s, struct span *in, struct mqtt_piece *out)
{
	*out = (struct mqtt_piece){0};
	if (s->left == 0) {
		enum parse found = take_head(s, in, &out->head);

		if (found != PARSE_OK)
			return found;
		out->begins = true;
		s->left = s->header.remaining;
	} else if (in->n == 0) {
		return PARSE_MORE;
	}
	out->header = s->header;
	if (!span_take(in, in->n < s->left ? in->n : s->left, &out->body))
		return PARSE_BAD;
	s->left -= (uint32_t)out->body.n;
	out->ends = s->left == 0;
	return PARSE_OK;
}
