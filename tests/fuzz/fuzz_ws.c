/*
 * The first byte is the size of the pieces, the second the message limit, the
 * rest what a server sends. Read in pieces it must say the same as when it is
 * read whole.
 */
#include "fuzz.h"

#include "codec/ws.h"

/* What was found, as one number that does not depend on the pieces. */
struct digest {
	uint64_t hash;
	enum parse last;
	enum ws_close_code error_code;
};

static void
add_byte(struct digest *d, uint8_t byte)
{
	d->hash = (d->hash ^ byte) * UINT64_C(1099511628211); /* FNV-1a */
}

static void
add_event(struct digest *d, const struct ws_event *ev)
{
	if (ev->found != WS_FOUND_DATA) {
		MUST(ev->payload.n <= WS_CONTROL_MAX);
		add_byte(d, 'c');
		add_byte(d, (uint8_t)ev->found);
		add_byte(d, (uint8_t)ev->payload.n);
	}
	if (ev->found == WS_FOUND_CLOSE) {
		add_byte(d, (uint8_t)(ev->close_code >> 8));
		add_byte(d, (uint8_t)ev->close_code);
	}
	if (ev->found == WS_FOUND_DATA && ev->message_begins)
		add_byte(d, (uint8_t)('b' + ev->opcode));
	for (size_t i = 0; i < ev->payload.n; i++)
		add_byte(d, ev->payload.p[i]);
	if (ev->found == WS_FOUND_DATA && ev->message_ends)
		add_byte(d, 'e');
}

static struct digest
read_in_pieces(struct span stream, size_t piece, uint64_t limit)
{
	struct digest d = {.last = PARSE_MORE};
	struct ws_reader r;

	ws_reader_init(&r, limit);
	while (stream.n > 0 && d.last != PARSE_BAD) {
		struct span in = {
		    stream.p, piece < stream.n ? piece : stream.n};
		struct ws_event ev;

		stream.p += in.n;
		stream.n -= in.n;
		while ((d.last = ws_read(&r, &in, &ev)) == PARSE_OK)
			add_event(&d, &ev);
		MUST(d.last == PARSE_BAD || in.n == 0);
	}
	if (d.last == PARSE_BAD) {
		MUST(r.error != NULL);
		d.error_code = r.error_code;
	}
	return d;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct digest whole, pieces;
	struct span stream;

	if (size < 2)
		return 0;
	stream = (struct span){data + 2, size - 2};
	whole = read_in_pieces(stream, size, data[1]);
	pieces = read_in_pieces(stream, data[0] > 0 ? data[0] : 1, data[1]);
	MUST(whole.hash == pieces.hash);
	MUST(whole.last == pieces.last);
	MUST(whole.error_code == pieces.error_code);
	return 0;
}
