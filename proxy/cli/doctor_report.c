#include "cli/doctor_report.h"

#include "base/clock.h"
#include "link/cert_text.h"

#include <stdio.h>

enum { TEXT_MAX = 1200 };

#define X(id, code, name) STEP_##id,
enum step { DOCTOR_STEPS(X) STEP_COUNT };
#undef X

static const struct {
	enum cli_exit code;
	const char *name;
} steps[STEP_COUNT] = {
#define X(id, code, name) [STEP_##id] = {(enum cli_exit)(code), name},
    DOCTOR_STEPS(X)
#undef X
};

/* The step that a link's state is about; STEP_COUNT: none that is told. */
static enum step
step_of(enum link_state state)
{
	switch (state) {
	case LINK_RESOLVE:
		return STEP_NAMES;
	case LINK_TCP:
		return STEP_TCP;
	case LINK_EGRESS:
		return STEP_EGRESS;
	case LINK_TLS:
		return STEP_TLS;
	case LINK_UPGRADE:
		return STEP_UPGRADE;
	case LINK_LOGIN:
		return STEP_LOGIN;
	case LINK_UP:
		return STEP_STAY;
	case LINK_IDLE:
	case LINK_PERMIT:
	case LINK_CLOSING:
	case LINK_STATE_COUNT:
		break;
	}
	return STEP_COUNT;
}

static void
say(const char *name, const char *outcome, uint64_t ms, const char *text)
{
	(void)printf("%-11s %-7s %6llu ms  %s\n", name, outcome,
	    (unsigned long long)ms, text);
	(void)fflush(stdout); /* who waits wants to see where it hangs */
}

static void
say_more(const char *what, const char *text)
{
	(void)printf("%-31s%s%s\n", "", what, text);
}

static void
fail(struct report *r, enum step step, uint64_t ms, const struct fault *why)
{
	say(steps[step].name, "FAILED", ms, why->text);
	say_more("reason: ", reason_word(why->why));
	say_more("do: ", reason_hint(why->why));
	if (r->code == CLI_OK)
		r->code = steps[step].code;
}

void
report_files(struct report *r, const struct cli_options *o, size_t devices)
{
	char text[TEXT_MAX];

	r->began_ms = clock_mono_ms();
	(void)snprintf(text, sizeof(text), "%s; %s: %zu device%s",
	    o->settings != NULL ? o->settings : "built-in defaults", o->devices,
	    devices, devices == 1 ? "" : "s");
	say("settings", "ok", 0, text);
}

void
report_clock(struct report *r)
{
	int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
	char now[CLOCK_TEXT_MAX], release[CLOCK_TEXT_MAX];
	struct fault why;

	(void)clock_text(now, now_s);
	if (now_s >= RELEASE_EPOCH_S) {
		say("clock", "ok", 0, now);
		return;
	}
	(void)fault_set(&why, R_CLOCK_WRONG,
	    "it says %s; this version is of %s", now,
	    clock_text(release, RELEASE_EPOCH_S));
	fail(r, STEP_CLOCK, 0, &why);
}

void
report_no_entry(struct report *r, const char *text)
{
	struct fault why;

	(void)fault_set(&why, R_UNKNOWN_DEVICE, "%s", text);
	fail(r, STEP_ENTRY, 0, &why);
}

void
report_disabled(struct report *r, const struct credential *entry)
{
	struct fault why;

	(void)fault_set(&why, R_ENTRY_DISABLED, "%s, line %d%s%s", entry->label,
	    entry->line, entry->table != NULL ? " of " : "",
	    entry->table != NULL ? entry->table : "");
	fail(r, STEP_ENTRY, 0, &why);
}

void
report_begin(struct report *r, const struct credential *entry)
{
	char text[TEXT_MAX];

	(void)snprintf(text, sizeof(text), "%s: %s/%s, %s", entry->label,
	    entry->product_key, entry->device_name,
	    aliyun_sign_method_word(entry->sign_method));
	say("entry", "ok", 0, text);
	r->only_resumption = false;
	r->code_before = r->code;
	r->began_ms = clock_mono_ms();
}

/* Who vouches for whom, from the cloud's certificate up. */
static void
say_chain(SSL *ssl)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);

	if (chain == NULL) /* not verified, or resumed */
		chain = SSL_get_peer_cert_chain(ssl);
	for (int i = 0; chain != NULL && i < sk_X509_num(chain); i++) {
		const X509 *cert = sk_X509_value(chain, i);
		char name[160], from[CLOCK_TEXT_MAX], until[CLOCK_TEXT_MAX];
		char text[TEXT_MAX];

		(void)cert_text_name(
		    name, sizeof(name), X509_get_subject_name(cert));
		(void)cert_text_date(
		    from, sizeof(from), X509_get0_notBefore(cert));
		(void)cert_text_date(
		    until, sizeof(until), X509_get0_notAfter(cert));
		(void)snprintf(
		    text, sizeof(text), "%s, %s to %s", name, from, until);
		say_more("certificate ", text);
	}
}

static void
say_resumption(const struct link *l, const struct fault *why)
{
	if (l->state != LINK_TLS || link_tls(l) == NULL || why != NULL)
		return;
	say("resumption", "ok", 0,
	    link_tls_resumed(l) ? "the next handshake was a short one"
				: "none: each handshake is a full one");
}

/* Each transport is a way of its own. */
static void
say_way(struct report *r, const struct link *l)
{
	char text[TEXT_MAX];

	link_describe_way(l, text, sizeof(text));
	say("way", "", 0, text);
	r->way = l->way;
}

void
report_step(struct report *r, const struct link *l, const struct fault *why)
{
	uint64_t now_ms = clock_mono_ms();
	uint64_t ms = now_ms - r->began_ms;
	enum step step = step_of(l->state);
	char text[TEXT_MAX];

	r->began_ms = now_ms;
	if (r->only_resumption) {
		say_resumption(l, why);
		return;
	}
	if (l->state == LINK_PERMIT && why == NULL) {
		say_way(r, l);
		return;
	}
	if (r->way != l->way)
		say_way(r, l);
	if (why != NULL) {
		fail(r, step != STEP_COUNT ? step : STEP_STAY, ms, why);
		return;
	}
	if (step == STEP_COUNT)
		return;
	link_describe(l, text, sizeof(text));
	say(steps[step].name, "ok", ms, text);
	if (step == STEP_TLS && link_tls(l) != NULL)
		say_chain(link_tls(l));
	/* a transport that could not be had does not matter any more */
	if (step == STEP_UPGRADE)
		r->code = r->code_before;
}

void
report_stayed(struct report *r, uint64_t ms)
{
	r->began_ms = clock_mono_ms();
	say(steps[STEP_STAY].name, "ok", ms, "the session holds");
}

void
report_resumption_only(struct report *r)
{
	r->only_resumption = true;
}
