/*
 * survey: what all workers know of their devices at one time: each is asked by
 * letter, and copies it; so no thread looks into the sessions of another, and
 * what a session counts needs no lock. One survey at a time. Main thread, but
 * for the part that a worker fills in.
 */
#ifndef PROXY_SERVER_SURVEY_H
#define PROXY_SERVER_SURVEY_H

#include "base/attr.h"
#include "base/mailbox.h"
#include "link/link_tally.h"
#include "server/departed.h"
#include "session/report.h"
#include "session/session_tally.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct survey;

/* A device that has a session, or had one. */
struct survey_row {
	char label[CREDENTIAL_ENTRY_LABEL_MAX + 1];
	char product_key[ALIYUN_PRODUCT_KEY_MAX + 1];
	char device_name[ALIYUN_DEVICE_NAME_MAX + 1];
	/* without a session: PRESENCE_OFFLINE, and of the rest only since when,
	   reason, detail and peer */
	struct session_report now;
};

/* What one worker says; its own from the question to the answer. */
struct survey_part {
	struct letter letter; /* both ways */
	struct survey *survey;
	void (*answered)(struct letter *letter, void *arg);
	bool wants_rows;
	struct survey_row *rows; /* malloc()ed; NULL without memory too */
	size_t count;
	unsigned of[PRESENCE_COUNT]; /* sessions */
	struct session_sums sums;
	struct session_tally sessions;
	struct link_tally links;
	uint64_t refused[R_COUNT]; /* who has come as far as to the worker */
	int64_t cert_expires_s;    /* of the clouds' certificates on links that
				      are up the first to end; 0: none known */
};

struct survey_config {
	unsigned workers;
	/* Asks worker <i>: it fills in <part>, sets its letter's open() to
	   answered(), and posts it into the door's mailbox. */
	void (*ask)(void *arg, unsigned i, struct survey_part *part);
	void *arg;
};

/* NULL without memory. Must be freed after the workers have ended. */
NODISCARD struct survey *survey_new(const struct survey_config *config);
/* NULL inside is fine. */
void survey_free(struct survey **s);

/* True from survey_begin() until all have answered, or for ever if one of them
   hangs. */
bool survey_runs(const struct survey *s);

/* Not while one runs. When all have answered <done> is called; what they have
   said is valid until it returns. */
void survey_begin(
    struct survey *s, bool wants_rows, void (*done)(void *arg), void *arg);

/* Whoever has begun it does not want to know any more. */
void survey_forsake(struct survey *s);

unsigned survey_workers(const struct survey *s);
const struct survey_part *survey_part(const struct survey *s, unsigned i);

/* The first of two times, of which 0 is none. */
static inline int64_t
survey_earliest(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* What all parts have counted together, in <sum>; it has no rows. */
void survey_sum(const struct survey *s, struct survey_part *sum);

/* All rows, ordered by product key and device name, malloc()ed; *n: how many.
   NULL without memory, or when there are none. */
NODISCARD const struct survey_row **survey_rows(
    const struct survey *s, size_t *n);

/* The one of that device among them; NULL: there is none. */
const struct survey_row *survey_find(const struct survey_row **rows, size_t n,
    const char *product_key, const char *device_name);

#endif
