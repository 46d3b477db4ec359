/*
 * The first byte chooses the proxy; what follows is what it says, over as many
 * connections and dials as it lasts for. Said byte by byte or at once, it must
 * come to the same.
 */
#include "fuzz.h"

#include "codec/http_head.h"
#include "link/egress_talk.h"

#include <string.h>

static const char *const urls[] = {"http://proxy:3128",
    "http://d%5Cme%22:hush@proxy:3128", "socks5://proxy",
    "socks5://me:hush@proxy"};

/* How a run went. */
struct outcome {
	unsigned opened;
	unsigned failed;
	size_t left; /* bytes that were not taken */
	struct fault why;
};

/* A fault's text goes to the log: printable ASCII, no double quotes, and no
   password. */
static void
check_fault(const struct fault *why)
{
	MUST(why->why == R_EGRESS_AUTH || why->why == R_EGRESS_REFUSED ||
	     why->why == R_EGRESS_CANNOT_REACH ||
	     why->why == R_EGRESS_BAD_ANSWER);
	MUST(memchr(why->text, '\0', sizeof(why->text)) != NULL);
	for (const char *c = why->text; *c != '\0'; c++)
		MUST(*c >= 0x20 && *c < 0x7f && *c != '"');
}

/* A request is one head: nothing that the proxy has said breaks out of it. */
static void
check_request(const uint8_t *out, size_t n)
{
	size_t lines = 0;

	MUST(n > 4 && memcmp(out, "CONNECT ", 8) == 0);
	MUST(memcmp(out + n - 4, "\r\n\r\n", 4) == 0);
	for (size_t i = 0; i < n; i++) {
		MUST(out[i] >= 0x20 || out[i] == '\t' || out[i] == '\r' ||
		     out[i] == '\n');
		MUST((out[i] == '\n') == (i > 0 && out[i - 1] == '\r'));
		lines += out[i] == '\n';
	}
	MUST(lines == 3 || lines == 4);
}

static void
write_all(struct egress_talk *t)
{
	static uint8_t out[EGRESS_WRITE_MAX];
	size_t n = egress_talk_write(t, out, sizeof(out));

	MUST(n > 0 && n <= sizeof(out));
	if (t->proxy->kind == EGRESS_HTTP)
		check_request(out, n);
	MUST(egress_talk_write(t, out, sizeof(out)) == 0);
}

/* One dial; takes what it reads off <in>, <step> bytes more at a time. */
static void
dial(struct egress_memory *m, const struct egress *proxy, struct span *in,
    size_t step, struct outcome *to)
{
	struct egress_talk t;
	size_t n = 0; /* bytes that have come, but were not taken */

	egress_talk_begin(&t, m, proxy, "cloud.example", 443);
	write_all(&t);
	for (;;) {
		struct span come = {in->p, n};
		size_t taken;

		switch (egress_talk_read(&t, &come, &to->why)) {
		case EGRESS_MORE:
			MUST(come.n == n && n < HTTP_HEAD_MAX);
			if (n == in->n) {
				*in = (struct span){NULL, 0};
				return;
			}
			n += step < in->n - n ? step : in->n - n;
			continue;
		case EGRESS_SAY:
		case EGRESS_REDIAL:
			write_all(&t);
			break;
		case EGRESS_OPEN:
			to->opened++;
			in->n -= (size_t)(come.p - in->p);
			in->p = come.p;
			return;
		case EGRESS_FAILED:
			check_fault(&to->why);
			to->failed++;
			*in = (struct span){NULL, 0};
			return;
		}
		taken = (size_t)(come.p - in->p);
		MUST(taken > 0 && taken <= n);
		in->p += taken;
		in->n -= taken;
		n -= taken;
	}
}

static void
run(const struct egress *proxy, struct span in, size_t step, struct outcome *to)
{
	struct egress_memory *m = egress_memory_new();

	MUST(m != NULL);
	*to = (struct outcome){0};
	do
		dial(m, proxy, &in, step, to);
	while (in.n > 0);
	egress_memory_free(&m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct egress proxy;
	struct outcome slow, fast;
	const char *why;

	if (size == 0)
		return 0;
	MUST(egress_read(&proxy, urls[data[0] % 4], &why));
	run(&proxy, (struct span){data + 1, size - 1}, 1, &slow);
	run(&proxy, (struct span){data + 1, size - 1}, size, &fast);
	MUST(slow.opened == fast.opened && slow.failed == fast.failed);
	if (slow.failed > 0)
		MUST(slow.why.why == fast.why.why);
	return 0;
}
