#include "server/trace_feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	FEED_BYTES = 64 * 1024,
	LEFT_OUT_BYTES = 48 /* of them: for the line that says so */
};

/* The letter is first. */
struct feed_letter {
	struct letter letter;
	struct trace_feed *feed;
};

struct feed_half {
	struct feed_letter filled; /* to the door */
	size_t n;
	char text[FEED_BYTES];
};

struct trace_feed {
	struct trace trace; /* first */
	struct trace_feeds *all;
	struct home *home;
	void (*on_text)(void *arg, const char *text, size_t n);
	void *arg;
	struct feed_letter begin, back, end; /* to the worker */
	struct feed_letter freed;            /* to the door */
	struct feed_half halves[2];
	/* the worker's, and after its end the main thread's: */
	unsigned filling;
	unsigned left_out;
	bool is_away; /* the other half */
	/* the main thread's: */
	bool is_read;     /* the reader has the other half */
	bool is_over;     /* there is no reader any more */
	bool is_finished; /* nor a worker */
};

static struct trace_feed *
feed_of(struct letter *letter)
{
	return ((struct feed_letter *)letter)->feed;
}

/* ---- on the worker ---- */

static void
pass_on(struct trace_feed *f)
{
	struct feed_half *h = &f->halves[f->filling];

	if (f->is_away || h->n == 0)
		return;
	f->is_away = true;
	f->filling ^= 1;
	f->halves[f->filling].n = 0;
	mailbox_post(f->all->door, &h->filled.letter);
}

static void
tell(struct trace *t, const char *line)
{
	struct trace_feed *f = (struct trace_feed *)t;
	struct feed_half *h = &f->halves[f->filling];
	size_t n = strlen(line);

	if (f->left_out > 0 || n >= FEED_BYTES - LEFT_OUT_BYTES - h->n) {
		f->left_out++;
		return;
	}
	memcpy(h->text + h->n, line, n);
	h->text[h->n + n] = '\n';
	h->n += n + 1;
	pass_on(f);
}

/* There is room for the line: tell() leaves it. */
static void
tell_left_out(struct trace_feed *f)
{
	struct feed_half *h = &f->halves[f->filling];

	if (f->left_out > 0)
		h->n += (size_t)snprintf(h->text + h->n, LEFT_OUT_BYTES,
		    "... %u packets not shown\n", f->left_out);
	f->left_out = 0;
}

static void
open_begin(struct letter *letter, void *home)
{
	home_trace(home, &feed_of(letter)->trace);
}

static void
open_back(struct letter *letter, void *home)
{
	struct trace_feed *f = feed_of(letter);

	(void)home;
	f->is_away = false;
	tell_left_out(f);
	pass_on(f);
}

static void
open_end(struct letter *letter, void *home)
{
	struct trace_feed *f = feed_of(letter);

	home_untrace(home, &f->trace);
	if (f->is_finished) /* nobody opens the door's letters any more */
		f->freed.letter.open(&f->freed.letter, NULL);
	else
		mailbox_post(f->all->door, &f->freed.letter);
}

/* ---- on the main thread ---- */

static void
open_filled(struct letter *letter, void *door)
{
	struct trace_feed *f = feed_of(letter);
	const struct feed_half *h = (const struct feed_half *)letter;

	(void)door;
	if (f->is_over)
		return;
	f->is_read = true;
	f->on_text(f->arg, h->text, h->n);
}

static void
open_freed(struct letter *letter, void *door)
{
	struct trace_feed *f = feed_of(letter);

	(void)door;
	f->all->count--;
	free(f);
}

static void
address(struct feed_letter *l, struct trace_feed *f,
    void (*open)(struct letter *letter, void *arg))
{
	l->letter.open = open;
	l->feed = f;
}

struct trace_feed *
trace_feed_begin(
    struct trace_feeds *all, struct home *home, const struct trace_wish *wish)
{
	struct trace_feed *f =
	    all->count < TRACES_MAX ? calloc(1, sizeof(*f)) : NULL;

	if (f == NULL)
		return NULL;
	(void)snprintf(f->trace.product_key, sizeof(f->trace.product_key), "%s",
	    wish->entry->product_key);
	(void)snprintf(f->trace.device_name, sizeof(f->trace.device_name), "%s",
	    wish->entry->device_name);
	f->trace.payload_max = wish->wants_payload ? TRACE_PAYLOAD_MAX : 0;
	f->trace.tell = tell;
	trace_init(&f->trace);
	f->all = all;
	f->home = home;
	f->on_text = wish->on_text;
	f->arg = wish->arg;
	address(&f->begin, f, open_begin);
	address(&f->back, f, open_back);
	address(&f->end, f, open_end);
	address(&f->freed, f, open_freed);
	address(&f->halves[0].filled, f, open_filled);
	address(&f->halves[1].filled, f, open_filled);
	all->count++;
	home_post(home, &f->begin.letter);
	return f;
}

void
trace_feed_more(struct trace_feed *f)
{
	if (!f->is_read)
		return;
	f->is_read = false;
	home_post(f->home, &f->back.letter);
}

void
trace_feed_end(struct trace_feed *f)
{
	f->is_over = true;
	home_post(f->home, &f->end.letter);
}

void
trace_feed_finish(struct trace_feed *f)
{
	const struct feed_half *away = &f->halves[f->filling ^ 1];
	const struct feed_half *last = &f->halves[f->filling];

	/* its letter may not have been opened */
	if (f->is_away && !f->is_read)
		f->on_text(f->arg, away->text, away->n);
	tell_left_out(f);
	f->on_text(f->arg, last->text, last->n);
	f->is_finished = true;
	trace_feed_end(f);
}
