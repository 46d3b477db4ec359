/* The frames of an open link: LOGIN, UP, CLOSING. */
#include "link/link_parts.h"

#include "base/clock.h"
#include "base/escape.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { READS_PER_TURN = 4 /* then the other sessions have their turn */ };

/* ---- writing ---- */

/* Writes <bytes> from the front; *put: how many the cloud took. */
static bool
write_some(struct link *l, struct span bytes, size_t *put, struct fault *why)
{
	*put = 0;
	while (*put < bytes.n) {
		struct span rest = {bytes.p + *put, bytes.n - *put};
		size_t n;

		switch (stream_write(&l->stream, rest, &n, why)) {
		case IO_OK:
			*put += n;
			continue;
		case IO_AGAIN:
			return true;
		case IO_EOF:
			return fault_set(why, R_CLOUD_CLOSED,
			    "the cloud closed the connection");
		case IO_FAILED:
			return false;
		}
	}
	return true;
}

void
link_write_scratch(struct link *l)
{
	struct loop *loop = l->env->loop;
	struct span frames = {loop->out, loop->out_n};
	struct fault why;
	size_t put = 0;

	loop->out_n = 0;
	if (frames.n == 0)
		return;
	l->wrote_ms = clock_mono_ms();
	link_idle_wrote(l);
	if (l->kept.n == 0 && !write_some(l, frames, &put, &why)) {
		link_lose(l, WS_CLOSE_NONE, &why);
		return;
	}
	frames = (struct span){frames.p + put, frames.n - put};
	if (frames.n == 0)
		return;
	if (!loop_keep(loop, &l->kept, frames)) {
		link_lose_for_memory(l);
		return;
	}
	if (l->blocked_ms == 0) {
		l->blocked_ms = l->wrote_ms;
		link_arm_up(l);
	}
}

bool
link_write_kept(struct link *l, struct fault *why)
{
	size_t put;

	if (l->kept.n == 0)
		return true;
	if (!write_some(l, buffer_span(&l->kept), &put, why))
		return false;
	loop_unkeep(l->env->loop, &l->kept, put);
	if (put > 0) {
		l->wrote_ms = clock_mono_ms();
		l->blocked_ms = l->kept.n > 0 ? l->wrote_ms : 0;
		link_arm_up(l); /* the next ping is due sooner */
	}
	return true;
}

/* A control frame goes between our frames, only when none is kept. */
static void
put_control(struct link *l, enum ws_opcode opcode, struct span payload)
{
	struct loop *loop = l->env->loop;
	uint8_t key[WS_KEY_BYTES];

	if (LOOP_OUT_BYTES - loop->out_n < WS_HEADER_MAX + WS_CONTROL_MAX) {
		link_write_scratch(l);
		if (l->state == LINK_IDLE)
			return; /* lost */
	}
	if (!loop_mask_key(loop, key))
		return; /* nothing may be sent unmasked */
	loop->out_n +=
	    ws_control_write(loop->out + loop->out_n, opcode, payload, key);
}

static void
put_pong(struct link *l)
{
	if (!l->pong_due || l->kept.n > 0)
		return;
	l->pong_due = false;
	put_control(l, WS_PONG, (struct span){l->pong, l->pong_bytes});
}

/* Says that nothing more will come: a close frame, or without WebSocket the end
   of the stream. */
static void
put_close(struct link *l)
{
	uint8_t payload[2] = {
	    (uint8_t)(l->close_code >> 8), (uint8_t)l->close_code};
	bool silent = l->close_code == WS_CLOSE_NONE;

	if (!l->close_due || l->kept.n > 0)
		return;
	l->close_due = false;
	if (l->framed)
		put_control(
		    l, WS_CLOSE, (struct span){payload, silent ? 0 : 2});
	else
		stream_finish(&l->stream);
}

/* What is put may have to be kept: at most half of what a session may keep. */
static size_t
out_limit(const struct link *l)
{
	uint64_t half = l->env->settings->session_buffer_bytes / 2;

	return half < LOOP_OUT_BYTES ? (size_t)half : LOOP_OUT_BYTES;
}

/* Puts a frame into the scratch, where there is room for it. False: there are
   no mask keys. */
static bool
put_frame(struct link *l, enum ws_opcode opcode, struct span payload, bool ends)
{
	struct loop *loop = l->env->loop;
	uint8_t *out = loop->out + loop->out_n;
	uint8_t key[WS_KEY_BYTES];
	size_t n;

	if (!loop_mask_key(loop, key))
		return false;
	n = ws_header_write(out, opcode, ends, payload.n, key);
	ws_mask_copy(out + n, payload.p, payload.n, key);
	loop->out_n += n + payload.n;
	return true;
}

void
link_put(struct link *l, enum ws_opcode opcode, struct span payload, bool ends)
{
	struct loop *loop = l->env->loop;
	struct fault why;

	assert(payload.n <= LOOP_IN_BYTES);
	/* what the one before has cost the link must not stay in the scratch,
	   from where another link would send it */
	if (!link_is_open(l))
		return;
	if (loop->out_n > 0 &&
	    loop->out_n + WS_HEADER_MAX + payload.n > out_limit(l)) {
		link_write_scratch(l);
		if (!link_is_open(l))
			return;
	}
	if (!l->framed) {
		if (payload.n > 0)
			memcpy(loop->out + loop->out_n, payload.p, payload.n);
		loop->out_n += payload.n;
	} else if (!put_frame(l, opcode, payload, ends)) {
		(void)fault_set(&why, R_INTERNAL, "no random numbers");
		link_lose(l, WS_CLOSE_NONE, &why);
		return;
	}
	l->mid_message = !ends;
	tap_tell(l->tap, TAP_TO_CLOUD, payload, opcode != WS_CONTINUATION);
}

void
link_flush(struct link *l)
{
	put_pong(l);
	link_write_scratch(l);
}

/* ---- reading ---- */

enum io
link_fill(
    struct link *l, uint8_t *to, size_t size, size_t *n, struct fault *why)
{
	*n = 0;
	while (*n < size) {
		size_t got;
		enum io io =
		    stream_read(&l->stream, to + *n, size - *n, &got, why);

		*n += got;
		if (io == IO_OK)
			continue;
		if (io == IO_AGAIN)
			l->readable = false;
		return io;
	}
	return IO_OK;
}

static enum verdict
take_close(struct link *l, const struct ws_event *ev, struct fault *why)
{
	char text[WS_CONTROL_MAX];

	if (ev->close_code == WS_CLOSE_NONE)
		(void)fault_set(
		    why, R_CLOUD_CLOSED, "WebSocket close without a code");
	else
		(void)fault_set(why, R_CLOUD_CLOSED, "WebSocket close %u%s%s",
		    ev->close_code, ev->payload.n > 0 ? " " : "",
		    escape(text, sizeof(text), ev->payload));
	l->close_seen = true;
	l->close_code = ev->close_code; /* 5.5.1: echoed */
	return FAIL;
}

/* Looks for the close frame among what still comes. */
static void
skim(struct link *l, struct span in)
{
	struct ws_event ev;

	while (l->framed && !l->deaf && !l->close_seen) {
		enum parse found = ws_read(&l->reader, &in, &ev);

		if (found == PARSE_MORE)
			return;
		l->deaf = found == PARSE_BAD;
		l->close_seen = found == PARSE_OK && ev.found == WS_FOUND_CLOSE;
	}
}

/* Hands on frames that have been read; STAY: all of it was taken. */
static enum verdict
take_frames(struct link *l, struct span in, struct fault *why)
{
	struct ws_event ev;

	while (link_is_open(l)) {
		switch (ws_read(&l->reader, &in, &ev)) {
		case PARSE_MORE:
			return STAY;
		case PARSE_BAD:
			l->deaf = true;
			l->close_code = (uint16_t)l->reader.error_code;
			(void)fault_set(
			    why, R_BAD_FRAME, "%s", l->reader.error);
			return FAIL;
		case PARSE_OK:
			break;
		}
		switch (ev.found) {
		case WS_FOUND_DATA:
			l->owner->on_data(l->arg, &ev);
			break;
		case WS_FOUND_PING: /* at once (5.5.2), or while frames are
				       kept the latest only (5.5.3) */
			l->pong_due = true;
			l->pong_bytes = (uint8_t)ev.payload.n;
			memcpy(l->pong, ev.payload.p, ev.payload.n);
			put_pong(l);
			break;
		case WS_FOUND_PONG:
			break;
		case WS_FOUND_CLOSE:
			return take_close(l, &ev, why);
		}
	}
	/* the owner is closing: what is left may hold the cloud's close, and
	   the reader must not lose its place */
	if (l->state == LINK_CLOSING)
		skim(l, in);
	return STAY;
}

/* Without WebSocket there is nothing around the packets. */
static enum verdict
take_bare(struct link *l, struct span in)
{
	struct ws_event ev = {
	    .found = WS_FOUND_DATA, .opcode = WS_BINARY, .payload = in};

	l->owner->on_data(l->arg, &ev);
	return STAY;
}

/* One read's bytes: pieces, the batch's end, pongs. */
static enum verdict
take_batch(struct link *l, struct span in, struct fault *why)
{
	enum verdict v = l->framed ? take_frames(l, in, why) : take_bare(l, in);

	if (!link_is_open(l))
		return STAY;
	l->owner->on_batch(l->arg);
	if (!link_is_open(l))
		return STAY;
	if (v == STAY)
		link_flush(l);
	return v;
}

static enum verdict
read_cloud(struct link *l, struct fault *why)
{
	struct loop *loop = l->env->loop;
	uint64_t share = l->env->settings->session_buffer_bytes / 4;
	size_t size = share < LOOP_IN_BYTES ? (size_t)share : LOOP_IN_BYTES;

	for (int i = 0; i < READS_PER_TURN; i++) {
		struct fault read_why;
		enum io io;
		size_t n;

		if (l->paused || !l->readable)
			return STAY;
		if (!loop_has_room(loop, 3 * size, LOOP_FROM_CLOUD, &l->again))
			return STAY;
		io = link_fill(l, loop->in, size, &n, &read_why);
		if (n > 0) {
			enum verdict v;

			link_idle_read(l);
			v = take_batch(l, (struct span){loop->in, n}, why);
			if (v == FAIL || !link_is_open(l))
				return v;
		}
		if (io == IO_FAILED) {
			*why = read_why;
			l->close_code = WS_CLOSE_NONE;
			return FAIL;
		}
		if (io == IO_EOF) {
			(void)fault_set(why, R_CLOUD_CLOSED,
			    "the cloud closed the connection%s",
			    l->state == LINK_LOGIN
				? " without an answer to the login"
				: "");
			l->stream.broken = l->stream.ssl == NULL;
			l->close_code = WS_CLOSE_NONE;
			return FAIL;
		}
	}
	loop_again(loop, &l->again);
	return STAY;
}

static enum verdict
carry(struct link *l, struct fault *why)
{
	if (l->kept.n > 0) {
		if (!link_write_kept(l, why))
			return FAIL;
		if (l->kept.n == 0) {
			link_flush(l);
			if (link_is_open(l) && l->kept.n == 0)
				l->owner->on_room(l->arg);
			if (!link_is_open(l))
				return STAY;
		}
	}
	return read_cloud(l, why);
}

/* Loses the link itself: with one read it may have gone from LOGIN to UP and to
   its end, and the rule that asked was LOGIN's. */
enum verdict
link_carry(struct link *l, struct fault *why)
{
	if (carry(l, why) == FAIL)
		link_lose(l, l->close_code, why);
	return STAY;
}

/* ---- states ---- */

void
link_begin_login(struct link *l)
{
	struct buffer rest = l->dialling->head;
	struct fault why;
	enum verdict v = STAY;

	l->dialling->head = (struct buffer){0};
	link_drop_dialling(l);
	l->framed = transport_has_websocket(link_transport(l));
	ws_reader_init(&l->reader, l->env->max_message_bytes);
	l->close_code = WS_CLOSE_NONE;
	if (l->env->governor != NULL)
		governor_login(l->env->governor, l->target, clock_mono_ms());
	l->owner->on_open(l->arg);
	/* frames may stand in the same segment as the 101 */
	if (link_is_open(l) && rest.n > 0) {
		assert(rest.n <= LOOP_IN_BYTES);
		memcpy(l->env->loop->in, rest.p + rest.off, rest.n);
		v = take_batch(
		    l, (struct span){l->env->loop->in, rest.n}, &why);
	}
	buffer_free(&rest);
	if (!link_is_open(l))
		return;
	if (v == FAIL)
		link_lose(l, l->close_code, &why);
	else
		link_event(l, EV_IO);
}

void
link_begin_closing(struct link *l)
{
	l->close_due = true;
	link_write_scratch(l); /* what was put before goes first */
	if (l->state == LINK_CLOSING)
		put_close(l);
	if (l->state == LINK_CLOSING)
		link_write_scratch(l);
	/* not read before the next turn: whoever closes may still have spans
	   into the scratch */
	if (l->state == LINK_CLOSING)
		loop_again(l->env->loop, &l->again);
}

enum verdict
link_have_closed(struct link *l, struct fault *why)
{
	struct loop *loop = l->env->loop;

	if (!link_write_kept(l, why))
		return GO;
	put_close(l);
	link_write_scratch(l);
	if (l->state != LINK_CLOSING)
		return STAY;
	for (int i = 0; i < READS_PER_TURN; i++) {
		enum io io;
		size_t n;

		/* with both close frames gone, the server ends the TCP
		   connection (RFC 6455 7.1.1) */
		if (!l->readable)
			return STAY;
		io = link_fill(l, loop->in, LOOP_IN_BYTES, &n, why);
		skim(l, (struct span){loop->in, n});
		if (io == IO_EOF || io == IO_FAILED)
			return GO;
	}
	loop_again(loop, &l->again);
	return STAY;
}
