#include "server/survey.h"

#include <stdlib.h>
#include <string.h>

struct survey {
	struct survey_config config;
	unsigned unanswered;
	void (*done)(void *arg);
	void *arg;
	struct survey_part parts[];
};

static void
forget_rows(struct survey *s)
{
	for (unsigned i = 0; i < s->config.workers; i++) {
		free(s->parts[i].rows);
		s->parts[i].rows = NULL;
		s->parts[i].count = 0;
	}
}

static void
on_answer(struct letter *letter, void *arg)
{
	struct survey *s = ((struct survey_part *)letter)->survey;
	void (*done)(void *) = s->done;

	(void)arg;
	if (--s->unanswered > 0)
		return;
	s->done = NULL;
	if (done != NULL)
		done(s->arg);
	/* it may have begun the next one */
	if (s->unanswered == 0)
		forget_rows(s);
}

struct survey *
survey_new(const struct survey_config *config)
{
	struct survey *s = calloc(
	    1, sizeof(*s) + config->workers * sizeof(struct survey_part));

	if (s != NULL)
		s->config = *config;
	return s;
}

void
survey_free(struct survey **s)
{
	if (*s != NULL)
		forget_rows(*s);
	free(*s);
	*s = NULL;
}

bool
survey_runs(const struct survey *s)
{
	return s->unanswered > 0;
}

void
survey_begin(
    struct survey *s, bool wants_rows, void (*done)(void *arg), void *arg)
{
	forget_rows(s);
	s->done = done;
	s->arg = arg;
	s->unanswered = s->config.workers;
	for (unsigned i = 0; i < s->config.workers; i++) {
		s->parts[i] = (struct survey_part){.survey = s,
		    .answered = on_answer,
		    .wants_rows = wants_rows};
		s->config.ask(s->config.arg, i, &s->parts[i]);
	}
}

void
survey_forsake(struct survey *s)
{
	s->done = NULL;
}

unsigned
survey_workers(const struct survey *s)
{
	return s->config.workers;
}

const struct survey_part *
survey_part(const struct survey *s, unsigned i)
{
	return &s->parts[i];
}

/* Structures of nothing but counts, number by number. */
static void
add_counts(void *to, const void *from, size_t bytes)
{
	uint64_t *sum = to;
	const uint64_t *more = from;

	for (size_t i = 0; i < bytes / sizeof(uint64_t); i++)
		sum[i] += more[i];
}

static void
add_links(struct link_tally *to, const struct link_tally *from)
{
	const struct link_tally sum = *to;

	add_counts(to, from, sizeof(*to));
	/* what is no count */
	to->root_expires_s =
	    survey_earliest(sum.root_expires_s, from->root_expires_s);
	to->accepted_ms = sum.accepted_ms > from->accepted_ms
			      ? sum.accepted_ms
			      : from->accepted_ms;
	to->failure = sum.failure.at_ms > from->failure.at_ms ? sum.failure
							      : from->failure;
}

void
survey_sum(const struct survey *s, struct survey_part *sum)
{
	*sum = (struct survey_part){0};
	for (unsigned i = 0; i < s->config.workers; i++) {
		const struct survey_part *p = &s->parts[i];

		for (int k = 0; k < PRESENCE_COUNT; k++)
			sum->of[k] += p->of[k];
		add_counts(&sum->sums, &p->sums, sizeof(p->sums));
		add_counts(&sum->sessions, &p->sessions, sizeof(p->sessions));
		add_counts(sum->refused, p->refused, sizeof(p->refused));
		add_links(&sum->links, &p->links);
		sum->cert_expires_s =
		    survey_earliest(sum->cert_expires_s, p->cert_expires_s);
	}
}

static int
compare(const struct survey_row *row, const char *product_key,
    const char *device_name)
{
	int order = strcmp(row->product_key, product_key);

	return order != 0 ? order : strcmp(row->device_name, device_name);
}

static int
order(const void *a, const void *b)
{
	const struct survey_row *const *x = a, *const *y = b;

	return compare(*x, (*y)->product_key, (*y)->device_name);
}

const struct survey_row **
survey_rows(const struct survey *s, size_t *n)
{
	const struct survey_row **rows;
	size_t count = 0;

	*n = 0;
	for (unsigned i = 0; i < s->config.workers; i++)
		count += s->parts[i].count;
	if (count == 0)
		return NULL;
	rows = malloc(count * sizeof(struct survey_row *));
	if (rows == NULL)
		return NULL;
	for (unsigned i = 0; i < s->config.workers; i++)
		for (size_t k = 0; k < s->parts[i].count; k++)
			rows[(*n)++] = &s->parts[i].rows[k];
	qsort(rows, count, sizeof(struct survey_row *), order);
	return rows;
}

const struct survey_row *
survey_find(const struct survey_row **rows, size_t n, const char *product_key,
    const char *device_name)
{
	size_t low = 0;

	while (n > 0) {
		size_t half = n / 2;
		int at = compare(rows[low + half], product_key, device_name);

		if (at == 0)
			return rows[low + half];
		if (at < 0) {
			low += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	return NULL;
}
