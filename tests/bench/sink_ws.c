#include "sink.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { KEY_TEXT = 24, REQUEST_MAX = 8192 };

/* RFC 6455 4.2.2 */
static void
write_accept(const char *key, unsigned char out[static 29])
{
	char text[KEY_TEXT + 40];
	unsigned char digest[20];

	(void)snprintf(text, sizeof(text), "%.*s%s", KEY_TEXT, key,
	    "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	(void)EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL);
	(void)EVP_EncodeBlock(out, digest, sizeof(digest));
}

bool
sink_request(struct client *c, uint8_t *p, size_t n)
{
	static const char name[] = "\r\nsec-websocket-key: ";
	char answer[256];
	unsigned char accept[29];
	const char *key;
	int size;

	if (c->kept.n + n > REQUEST_MAX)
		return false;
	bytes_add(&c->kept, p, n);
	bytes_add(&c->kept, "", 1);
	c->kept.n--;
	/* a client says nothing more before it is answered */
	if (strstr((char *)c->kept.p, "\r\n\r\n") == NULL)
		return true;
	key = strcasestr((char *)c->kept.p, name);
	if (key == NULL || strlen(key) < sizeof(name) + KEY_TEXT)
		return false;
	write_accept(key + sizeof(name) - 1, accept);
	size = snprintf(answer, sizeof(answer),
	    "HTTP/1.1 101 Switching Protocols\r\n"
	    "Upgrade: websocket\r\n"
	    "Connection: Upgrade\r\n"
	    "Sec-WebSocket-Accept: %s\r\n"
	    "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
	    (const char *)accept);
	bytes_add(&c->out, answer, (size_t)size);
	bytes_clear(&c->kept);
	c->stage = SINK_OPEN;
	return true;
}

void
sink_frame_begin(struct client *c, uint8_t opcode, size_t payload_bytes)
{
	uint8_t header[10] = {(uint8_t)(0x80 | opcode)};
	size_t length_bytes = 0;

	if (payload_bytes < 126) {
		header[1] = (uint8_t)payload_bytes;
	} else if (payload_bytes < 65536) {
		header[1] = 126;
		length_bytes = 2;
	} else {
		header[1] = 127;
		length_bytes = 8;
	}
	for (size_t i = 0; i < length_bytes; i++)
		header[2 + i] =
		    (uint8_t)(payload_bytes >> 8 * (length_bytes - 1 - i));
	bytes_add(&c->out, header, 2 + length_bytes);
}

static void
unmask(struct frame *f, uint8_t *p, size_t n)
{
	uint8_t key[8];
	uint64_t wide;
	uint64_t piece;
	size_t i = 0;

	for (unsigned k = 0; k < 8; k++)
		key[k] = f->key[(f->key_at + k) % 4];
	memcpy(&wide, key, 8);
	for (; i + 8 <= n; i += 8) {
		memcpy(&piece, p + i, 8);
		piece ^= wide;
		memcpy(p + i, &piece, 8);
	}
	for (; i < n; i++)
		p[i] ^= key[i % 8];
	f->key_at = (f->key_at + (unsigned)(n % 4)) % 4;
}

static bool
take_payload(struct client *c, uint8_t *p, size_t n)
{
	unmask(&c->frame, p, n);
	c->frame.left -= n;
	if (c->frame.opcode <= 2)
		return sink_packets(c, p, n);
	if (c->frame.opcode == 9) {
		sink_frame_begin(c, 10, n);
		bytes_add(&c->out, p, n);
	}
	return c->frame.opcode != 8;
}

/* The next byte of a header; true when that was the last one. */
static bool
take_header_byte(struct frame *f, uint8_t byte)
{
	unsigned length_bytes;
	unsigned short_length;

	f->header[f->header_bytes++] = byte;
	if (f->header_bytes < 2)
		return false;
	short_length = f->header[1] & 127;
	length_bytes = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
	if (f->header_bytes < 2 + length_bytes + 4)
		return false;
	f->left = length_bytes == 0 ? short_length : 0;
	for (unsigned i = 0; i < length_bytes; i++)
		f->left = f->left << 8 | f->header[2 + i];
	memcpy(f->key, f->header + 2 + length_bytes, 4);
	f->key_at = 0;
	f->opcode = f->header[0] & 15;
	f->header_bytes = 0;
	return true;
}

bool
sink_frames(struct client *c, uint8_t *p, size_t n)
{
	struct frame *f = &c->frame;

	while (n > 0) {
		if (f->left > 0) {
			size_t piece = f->left < n ? (size_t)f->left : n;

			if (!take_payload(c, p, piece))
				return false;
			p += piece;
			n -= piece;
			continue;
		}
		/* what comes from a client is masked (5.1) */
		if (f->header_bytes == 1 && *p < 0x80)
			return false;
		n--;
		if (!take_header_byte(f, *p++))
			continue;
		counters.frames++;
		/* a ping or close without payload */
		if (f->left == 0 && !take_payload(c, p, 0))
			return false;
	}
	return true;
}
