/*
 * The first byte is the size of the pieces, the rest a stream of MQTT packets.
 * Read in pieces it must say the same as when it is read whole.
 */
#include "fuzz.h"

#include "codec/mqtt_stream.h"

/* What was found, as one number that does not depend on the pieces. */
struct digest {
	uint64_t hash;
	uint64_t bytes; /* of all packets */
	enum parse last;
	bool at_boundary;
};

static void
add(struct digest *d, struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		d->hash = (d->hash ^ s.p[i]) * UINT64_C(1099511628211);
	d->bytes += s.n;
}

static void
add_piece(struct digest *d, const struct mqtt_piece *piece)
{
	MUST(piece->begins == (piece->head.n > 0));
	MUST(!piece->begins || piece->head.n == piece->header.header_bytes);
	MUST(piece->begins || piece->body.n > 0);
	if (piece->begins)
		d->hash = d->hash * 31 + (uint64_t)piece->header.type + 1;
	add(d, piece->head);
	add(d, piece->body);
	if (piece->ends)
		d->hash = d->hash * 37 + 1;
}

static struct digest
read_in_pieces(struct span stream, size_t piece_bytes)
{
	struct digest d = {.last = PARSE_MORE};
	struct mqtt_stream s = {0};

	while (stream.n > 0 && d.last != PARSE_BAD) {
		struct span in = {
		    stream.p, piece_bytes < stream.n ? piece_bytes : stream.n};
		struct mqtt_piece piece;

		stream.p += in.n;
		stream.n -= in.n;
		while (
		    (d.last = mqtt_stream_next(&s, &in, &piece)) == PARSE_OK) {
			add_piece(&d, &piece);
			MUST(piece.ends == mqtt_stream_at_boundary(&s));
		}
		MUST(d.last == PARSE_BAD || in.n == 0);
	}
	d.at_boundary = d.last != PARSE_BAD && mqtt_stream_at_boundary(&s);
	return d;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct digest whole, pieces;
	struct span stream;

	if (size < 1)
		return 0;
	stream = (struct span){data + 1, size - 1};
	whole = read_in_pieces(stream, size);
	pieces = read_in_pieces(stream, data[0] > 0 ? data[0] : 1);
	MUST(whole.hash == pieces.hash);
	MUST(whole.bytes == pieces.bytes);
	MUST(whole.last == pieces.last);
	MUST(whole.at_boundary == pieces.at_boundary);
	/* every byte of a good stream but those of a header under way is told
	 */
	MUST(whole.last == PARSE_BAD ||
	     stream.n - whole.bytes < MQTT_HEADER_MAX);
	return 0;
}
