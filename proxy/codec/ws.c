#include "codec/ws.h"

#include "codec/utf8.h"

#include <assert.h>

enum { FIN = 0x80, RSV = 0x70, OPCODE = 0x0f, MASK = 0x80, LENGTH = 0x7f };

/* 5.2: values of the seven length bits that announce two or eight bytes more.
 */
enum { LENGTH_16 = 126, LENGTH_64 = 127 };

static bool
is_control(uint8_t opcode)
{
	return opcode >= WS_CLOSE; /* 5.5 */
}

size_t
ws_header_write(uint8_t out[static WS_HEADER_MAX], enum ws_opcode opcode,
    bool fin, uint64_t payload_bytes, const uint8_t key[static WS_KEY_BYTES])
{
	size_t n = 2;
	int length_bits = 0;

	assert(payload_bytes <= INT64_MAX);
	out[0] = (uint8_t)((fin ? FIN : 0) | opcode);
	if (payload_bytes < LENGTH_16) {
		out[1] = (uint8_t)(MASK | payload_bytes);
	} else if (payload_bytes <= UINT16_MAX) {
		out[1] = MASK | LENGTH_16;
		length_bits = 16;
	} else {
		out[1] = MASK | LENGTH_64;
		length_bits = 64;
	}
	while (length_bits > 0) {
		length_bits -= 8;
		out[n++] = (uint8_t)(payload_bytes >> length_bits);
	}
	memcpy(out + n, key, WS_KEY_BYTES);
	return n + WS_KEY_BYTES;
}

void
ws_mask_copy(uint8_t *to, const uint8_t *src, size_t n,
    const uint8_t key[static WS_KEY_BYTES])
{
	uint32_t four;
	uint64_t mask, block[2];

	memcpy(&four, key, sizeof(four));
	mask = (uint64_t)four << 32 | four;
	/* blocks that fit one vector register, which the compiler then uses;
	   by memcpy(), because neither side needs to be aligned */
	for (; n >= sizeof(block); n -= sizeof(block)) {
		memcpy(block, src, sizeof(block));
		block[0] ^= mask;
		block[1] ^= mask;
		memcpy(to, block, sizeof(block));
		src += sizeof(block);
		to += sizeof(block);
	}
	if (n >= sizeof(mask)) {
		memcpy(block, src, sizeof(mask));
		block[0] ^= mask;
		memcpy(to, block, sizeof(mask));
		src += sizeof(mask);
		to += sizeof(mask);
		n -= sizeof(mask);
	}
	if (n >= sizeof(four)) {
		uint32_t half;

		memcpy(&half, src, sizeof(half));
		half ^= four;
		memcpy(to, &half, sizeof(half));
		src += sizeof(half);
		to += sizeof(half);
		n -= sizeof(half);
	}
	for (size_t i = 0; i < n; i++) /* fewer than four */
		to[i] = src[i] ^ key[i];
}

size_t
ws_control_write(uint8_t *out, enum ws_opcode opcode, struct span payload,
    const uint8_t key[static WS_KEY_BYTES])
{
	uint8_t header[WS_HEADER_MAX];
	size_t n;

	assert(payload.n <= WS_CONTROL_MAX);
	n = ws_header_write(header, opcode, true, payload.n, key);
	memcpy(out, header, n);
	ws_mask_copy(out + n, payload.p, payload.n, key);
	return n + payload.n;
}

void
ws_reader_init(struct ws_reader *r, uint64_t max_message_bytes)
{
	*r = (struct ws_reader){.max_message_bytes = max_message_bytes};
}

static enum parse
refuse(struct ws_reader *r, enum ws_close_code code, const char *error)
{
	r->error_code = code;
	r->error = error;
	return PARSE_BAD;
}

static enum parse
broken(struct ws_reader *r, const char *error)
{
	return refuse(r, WS_CLOSE_PROTOCOL_ERROR, error);
}

static enum parse
check_first_byte(struct ws_reader *r)
{
	r->fin = (r->header[0] & FIN) != 0;
	r->frame_opcode = r->header[0] & OPCODE;
	if ((r->header[0] & RSV) != 0)
		return broken(r, "an RSV bit is set (5.2)");
	switch (r->frame_opcode) {
	case WS_CONTINUATION:
		if (r->message_opcode == 0)
			return broken(
			    r, "a continuation without a start (5.4)");
		return PARSE_OK;
	case WS_TEXT:
	case WS_BINARY:
		if (r->message_opcode != 0)
			return broken(r, "a start inside a message (5.4)");
		return PARSE_OK;
	case WS_CLOSE:
	case WS_PING:
	case WS_PONG:
		if (!r->fin)
			return broken(r, "a fragmented control frame (5.5)");
		return PARSE_OK;
	default:
		return broken(r, "an unknown opcode (5.2)");
	}
}

static enum parse
check_second_byte(struct ws_reader *r)
{
	uint8_t length = r->header[1] & LENGTH;

	/* lenient readers unmask and go on; a server that masks is none */
	if ((r->header[1] & MASK) != 0)
		return broken(r, "a masked frame from the server (5.1)");
	if (!is_control(r->frame_opcode))
		return PARSE_OK;
	if (length > WS_CONTROL_MAX)
		return broken(r, "a control frame over 125 bytes (5.5)");
	if (r->frame_opcode == WS_CLOSE && length == 1)
		return broken(r, "half a close code (5.5.1)");
	return PARSE_OK;
}

/* How many header bytes are needed, as far as those seen tell. */
static size_t
header_size(const struct ws_reader *r)
{
	if (r->header_bytes < 2)
		return 2;
	switch (r->header[1] & LENGTH) {
	case LENGTH_16:
		return 2 + 2;
	case LENGTH_64:
		return 2 + 8;
	default:
		return 2;
	}
}

/* The header is whole: takes the payload's length from it. */
static enum parse
enter_payload(struct ws_reader *r)
{
	uint64_t n = 0;
	uint64_t max = r->max_message_bytes;

	for (size_t i = 2; i < r->header_bytes; i++)
		n = n << 8 | r->header[i];
	if (r->header_bytes == 2)
		n = r->header[1] & LENGTH;
	else if (n > INT64_MAX)
		return broken(r, "the top bit of a length is set (5.2)");
	else if (n < LENGTH_16 || (r->header_bytes > 4 && n <= UINT16_MAX))
		return broken(r, "a length in a longer form than needed (5.2)");
	r->header_bytes = 0;
	r->in_payload = true;
	r->payload_left = n;
	if (is_control(r->frame_opcode)) {
		r->control_bytes = 0;
		return PARSE_OK;
	}
	if (r->frame_opcode != WS_CONTINUATION) {
		r->message_opcode = r->frame_opcode;
		r->message_bytes = 0;
	}
	if (n > (max == 0 ? UINT64_MAX : max) - r->message_bytes)
		return refuse(r, WS_CLOSE_TOO_BIG, "a message over the limit");
	r->message_bytes += n;
	return PARSE_OK;
}

static enum parse
read_header(struct ws_reader *r, struct span *in)
{
	enum parse got = PARSE_OK;

	while (r->header_bytes < header_size(r)) {
		if (!span_take_u8(in, &r->header[r->header_bytes]))
			return PARSE_MORE;
		r->header_bytes++;
		if (r->header_bytes == 1)
			got = check_first_byte(r);
		else if (r->header_bytes == 2)
			got = check_second_byte(r);
		if (got != PARSE_OK)
			return got;
	}
	return enter_payload(r);
}

/* Takes what there is of the frame's payload. */
static struct span
take_payload(struct ws_reader *r, struct span *in)
{
	struct span piece = {in->p, in->n};

	if (piece.n > r->payload_left)
		piece.n = (size_t)r->payload_left;
	if (piece.n > 0)
		in->p += piece.n;
	in->n -= piece.n;
	r->payload_left -= piece.n;
	r->in_payload = r->payload_left > 0;
	return piece;
}

static enum parse
read_data(struct ws_reader *r, struct span *in, struct ws_event *ev)
{
	if (in->n == 0 && r->payload_left > 0)
		return PARSE_MORE;
	*ev = (struct ws_event){
	    .found = WS_FOUND_DATA,
	    .opcode = r->message_opcode,
	    .payload = take_payload(r, in),
	    .message_begins = r->frame_opcode != WS_CONTINUATION,
	    .message_ends = r->fin && !r->in_payload,
	};
	/* what follows of this frame goes on with the message, too */
	r->frame_opcode = WS_CONTINUATION;
	if (ev->message_ends)
		r->message_opcode = 0;
	return PARSE_OK;
}

/* 7.4.1 and 7.4.2, with what IANA has registered since (1012 to 1014). */
static bool
close_code_may_be_sent(uint16_t code)
{
	return (code >= 1000 && code <= 1003) ||
	       (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static enum parse
read_close(struct ws_reader *r, struct ws_event *ev)
{
	ev->found = WS_FOUND_CLOSE;
	ev->close_code = WS_CLOSE_NONE;
	if (!span_take_u16(&ev->payload, &ev->close_code))
		return PARSE_OK; /* empty: half a code was refused before */
	if (!close_code_may_be_sent(ev->close_code))
		return broken(r, "a close code that may not be sent (7.4)");
	if (!utf8_valid(ev->payload))
		return refuse(r, WS_CLOSE_BAD_DATA,
		    "the reason of a close is not UTF-8 (5.5.1)");
	return PARSE_OK;
}

static enum parse
read_control(struct ws_reader *r, struct span *in, struct ws_event *ev)
{
	struct span piece = take_payload(r, in);

	if (piece.n > 0)
		memcpy(r->control + r->control_bytes, piece.p, piece.n);
	r->control_bytes = (uint8_t)(r->control_bytes + piece.n);
	if (r->in_payload)
		return PARSE_MORE;
	*ev = (struct ws_event){.payload = {r->control, r->control_bytes}};
	if (r->frame_opcode == WS_CLOSE)
		return read_close(r, ev);
	ev->found = r->frame_opcode == WS_PING ? WS_FOUND_PING : WS_FOUND_PONG;
	return PARSE_OK;
}

enum parse
ws_read(struct ws_reader *r, struct span *in, struct ws_event *ev)
{
	if (!r->in_payload) {
		enum parse got = read_header(r, in);

		if (got != PARSE_OK)
			return got;
	}
	if (is_control(r->frame_opcode))
		return read_control(r, in, ev);
	return read_data(r, in, ev);
}
