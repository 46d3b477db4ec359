/*
 * What is kept for an administrator beside the sessions: why devices have left,
 * who was not let in; each bounded. And the answers of all workers together.
 */
#include "server/admin_pages.h"
#include "server/departed.h"
#include "server/refused.h"
#include "server/survey.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- departed ---- */

static struct credential
entry_of(unsigned number)
{
	static char names[DEPARTED_MAX + 2][12];
	struct credential c = {0};

	(void)snprintf(names[number], sizeof(names[0]), "d%u", number);
	c.label = c.device_name = names[number];
	c.product_key = "a1";
	return c;
}

static void
leave(struct departed *d, unsigned number, enum reason reason, uint64_t now_ms)
{
	struct credential c = entry_of(number);
	struct fault why;

	(void)fault_set(&why, reason, "number %u", number);
	departed_note(d, &c, "peer", &why, now_ms);
}

static void
test_the_last_end_counts(void **state)
{
	struct departed d;
	const struct departed_device *one;

	(void)state;
	departed_init(&d);
	assert_null(departed_of(&d, "a1", "d1"));
	leave(&d, 1, R_DEVICE_LEFT, 10);
	leave(&d, 1, R_CLOUD_CLOSED, 20);
	assert_int_equal(d.n, 1);
	one = departed_of(&d, "a1", "d1");
	assert_non_null(one);
	assert_int_equal(one->reason, R_CLOUD_CLOSED);
	assert_string_equal(one->detail, "number 1");
	assert_string_equal(one->peer, "peer");
	assert_int_equal(one->at_ms, 20);
	assert_null(departed_of(&d, "a1", "d2"));
	departed_clear(&d);
}

/* Whoever left longest ago goes, not whoever came first. */
static void
test_departed_are_bounded(void **state)
{
	struct departed d;

	(void)state;
	departed_init(&d);
	for (unsigned i = 0; i < DEPARTED_MAX; i++)
		leave(&d, i, R_DEVICE_LEFT, i);
	leave(&d, 0, R_DEVICE_LOST, DEPARTED_MAX);
	leave(&d, DEPARTED_MAX, R_DEVICE_LEFT, DEPARTED_MAX + 1);
	assert_int_equal(d.n, DEPARTED_MAX);
	assert_non_null(departed_of(&d, "a1", "d0"));
	assert_null(departed_of(&d, "a1", "d1"));
	assert_non_null(departed_of(&d, "a1", "d2"));
	departed_clear(&d);
	assert_null(departed_of(&d, "a1", "d0"));
}

/* A detail that is longer than its place is cut. */
static void
test_long_detail(void **state)
{
	struct departed d;
	struct credential c = entry_of(1);
	struct fault why;

	(void)state;
	departed_init(&d);
	(void)fault_set(&why, R_INTERNAL, "%0*d", FAULT_TEXT_MAX - 1, 0);
	departed_note(&d, &c, "peer", &why, 1);
	assert_int_equal(
	    strlen(departed_of(&d, "a1", "d1")->detail), REPORT_DETAIL_MAX - 1);
	departed_clear(&d);
}

/* ---- refused ---- */

static void
knock(struct refused *r, const char *client_id, const char *address,
    enum reason reason, uint64_t now_ms)
{
	const struct refused_knock k = {.client_id = span_of_string(client_id),
	    .username = span_of_string("user"),
	    .address = address,
	    .reason = reason};

	refused_note(r, &k, now_ms);
}

static void
test_refused_are_counted(void **state)
{
	static struct refused r;

	(void)state;
	knock(&r, "a", "10.0.0.1", R_UNKNOWN_DEVICE, 5);
	knock(&r, "a", "10.0.0.1", R_UNKNOWN_DEVICE, 7);
	knock(&r, "a", "10.0.0.2", R_UNKNOWN_DEVICE, 8);
	knock(&r, "a", "10.0.0.1", R_BAD_PASSWORD, 9);
	knock(&r, "\x1b\"", "10.0.0.1", R_UNKNOWN_DEVICE, 9);
	assert_int_equal(r.n, 4);
	assert_int_equal(r.devices[0].times, 2);
	assert_int_equal(r.devices[0].first_ms, 5);
	assert_int_equal(r.devices[0].last_ms, 7);
	assert_string_equal(r.devices[0].label, "");
	assert_string_equal(r.devices[0].username, "user");
	assert_string_equal(r.devices[3].client_id, "\\x1b\\x22");
	assert_int_equal(r.count[R_UNKNOWN_DEVICE], 4);
	assert_int_equal(r.count[R_BAD_PASSWORD], 1);
}

/* What devices.ini can hold behind a match_ key is kept as it is. */
static void
test_refused_for_the_map(void **state)
{
	static const struct {
		const char *client_id;
		const char *match;
	} cases[] = {
	    {"METER3", "METER3"},
	    {"caf\xc3\xa9 \"1\" = [x] <b>\\", "caf\xc3\xa9 \"1\" = [x] <b>\\"},
	    {"a;b#c", "a;b#c"},
	    {"#", "#"},
	    {"", ""},
	    {" a", ""},
	    {"a ", ""},
	    {"a ;b", ""},
	    {"a #b", ""},
	    {"st*r", ""},
	    {"a\nb", ""},
	    {"a\x7f", ""},
	    {"a\xff", ""},
	};
	static struct refused r;
	char most[CREDENTIAL_MATCH_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		r.n = 0;
		knock(&r, cases[i].client_id, "::1", R_UNKNOWN_DEVICE, 1);
		assert_string_equal(
		    r.devices[0].match_client_id, cases[i].match);
		assert_string_equal(r.devices[0].match_username, "user");
	}
	memset(most, 'x', sizeof(most));
	most[CREDENTIAL_MATCH_MAX + 1] = '\0';
	knock(&r, most, "::2", R_UNKNOWN_DEVICE, 1);
	assert_string_equal(r.devices[1].match_client_id, "");
	knock(&r, most + 1, "::3", R_UNKNOWN_DEVICE, 1);
	assert_string_equal(r.devices[2].match_client_id, most + 1);
}

static void
test_refused_are_bounded(void **state)
{
	static struct refused r;
	char id[16];

	(void)state;
	for (unsigned i = 0; i < REFUSED_MAX + 1; i++) {
		(void)snprintf(id, sizeof(id), "d%u", i);
		knock(&r, id, "::1", R_UNKNOWN_DEVICE, i + 1);
		if (i == 0)
			continue;
		/* who comes again is not the oldest any more */
		knock(&r, "d0", "::1", R_UNKNOWN_DEVICE, i + 1);
	}
	assert_int_equal(r.n, REFUSED_MAX);
	assert_string_equal(r.devices[0].client_id, "d0");
	assert_int_equal(r.devices[0].times, REFUSED_MAX + 1);
	assert_string_equal(r.devices[1].client_id, "d256");
	assert_int_equal(r.devices[1].times, 1);
	assert_int_equal(r.devices[1].first_ms, REFUSED_MAX + 1);
}

/* ---- histogram ---- */

static void
test_histogram(void **state)
{
	static const uint64_t times_ms[] = {0, 10, 11, 30000, 30001, 1u << 31};
	struct histogram h = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(times_ms); i++)
		histogram_add(&h, times_ms[i]);
	assert_int_equal(h.of[HISTOGRAM_10], 2);
	assert_int_equal(h.of[HISTOGRAM_25], 1);
	assert_int_equal(h.of[HISTOGRAM_30000], 1);
	assert_int_equal(h.count, 6);
	assert_int_equal(h.sum_ms, 10 + 11 + 30000 + 30001 + (1u << 31));
}

/* ---- survey ---- */

enum { WORKERS = 3 };

static struct survey_part *asked[WORKERS];
static unsigned done;

static void
ask(void *arg, unsigned i, struct survey_part *part)
{
	(void)arg;
	asked[i] = part;
}

static void
answer(unsigned i, const char *const *names)
{
	struct survey_part *part = asked[i];
	size_t n = 0;

	while (names[n] != NULL)
		n++;
	part->rows = calloc(n + 1, sizeof(struct survey_row));
	assert_non_null(part->rows);
	for (part->count = 0; part->count < n; part->count++) {
		struct survey_row *row = &part->rows[part->count];

		strcpy(row->product_key, "a1");
		strcpy(row->device_name, names[part->count]);
	}
	part->answered(&part->letter, NULL);
}

static void
on_done(void *arg)
{
	struct survey *s = arg;
	const struct survey_row **rows;
	size_t n;

	done++;
	assert_false(survey_runs(s));
	rows = survey_rows(s, &n);
	assert_int_equal(n, 4);
	assert_string_equal(rows[0]->device_name, "a");
	assert_string_equal(rows[3]->device_name, "d");
	for (const char *name = "abcd"; *name != '\0'; name++)
		assert_non_null(
		    survey_find(rows, n, "a1", (const char[]){*name, '\0'}));
	assert_null(survey_find(rows, n, "a1", "0"));
	assert_null(survey_find(rows, n, "a1", "bb"));
	assert_null(survey_find(rows, n, "a1", "e"));
	assert_null(survey_find(rows, n, "a2", "a"));
	free(rows);
}

static void
test_survey(void **state)
{
	static const char *const names[WORKERS][3] = {
	    {"d", "b", NULL}, {NULL}, {"c", "a", NULL}};
	const struct survey_config config = {.workers = WORKERS, .ask = ask};
	struct survey *s = survey_new(&config);

	(void)state;
	assert_non_null(s);
	for (unsigned round = 1; round < 3; round++) {
		survey_begin(s, true, on_done, s);
		for (unsigned i = 0; i < WORKERS; i++) {
			assert_true(survey_runs(s));
			assert_int_equal(done, round - 1);
			answer(i, names[i]);
		}
		assert_int_equal(done, round);
		assert_null(survey_part(s, 0)->rows);
	}
	/* nobody wants to know; the last one never answers */
	survey_begin(s, true, on_done, s);
	survey_forsake(s);
	answer(0, names[0]);
	assert_true(survey_runs(s));
	survey_free(&s);
	assert_int_equal(done, 2);
}

/* Counts add up, times do not. */
static void
test_sums(void **state)
{
	const struct survey_config config = {.workers = WORKERS, .ask = ask};
	struct survey *s = survey_new(&config);
	struct survey_part sum;

	(void)state;
	assert_non_null(s);
	survey_begin(s, false, NULL, NULL);
	for (unsigned i = 0; i < WORKERS; i++) {
		asked[i]->of[PRESENCE_HELD] = 1;
		asked[i]->sums.of[SUM_DOWN_DROPPED] = i;
		asked[i]->sessions.ended[R_COUNT - 1] = 2;
		asked[i]->links.accepted = 3;
		histogram_add(&asked[i]->links.ping_ms, 10);
		asked[i]->refused[R_COUNT - 1] = 4;
	}
	asked[1]->links.root_expires_s = 70;
	asked[2]->links.root_expires_s = 60;
	asked[0]->cert_expires_s = 50;
	asked[0]->links.accepted_ms = 80;
	asked[2]->links.accepted_ms = 79;
	asked[0]->links.failure = (struct link_failure){30, R_TLS_FAILED};
	asked[1]->links.failure = (struct link_failure){31, R_LOGIN_REFUSED};
	survey_sum(s, &sum);
	assert_int_equal(sum.of[PRESENCE_HELD], WORKERS);
	assert_int_equal(sum.sums.of[SUM_DOWN_DROPPED], 0 + 1 + 2);
	assert_int_equal(sum.sessions.ended[R_COUNT - 1], 2 * WORKERS);
	assert_int_equal(sum.links.accepted, 3 * WORKERS);
	assert_int_equal(sum.links.ping_ms.of[HISTOGRAM_10], WORKERS);
	assert_int_equal(sum.links.ping_ms.sum_ms, 10 * WORKERS);
	assert_int_equal(sum.refused[R_COUNT - 1], 4 * WORKERS);
	assert_int_equal(sum.links.root_expires_s, 60);
	assert_int_equal(sum.cert_expires_s, 50);
	assert_int_equal(sum.links.accepted_ms, 80);
	assert_int_equal(sum.links.failure.at_ms, 31);
	assert_int_equal(sum.links.failure.why, R_LOGIN_REFUSED);
	survey_free(&s);
}

/* How it is with the cloud, by the clock on the wall, and each reason that is
   named with what to do. */
static void
test_cloud_in_status(void **state)
{
	const struct survey_config config = {.workers = 1, .ask = ask};
	struct survey *s = survey_new(&config);
	const struct map_state map = {.file = "f"};
	static struct refused refused;
	char out[8192];
	struct text text = {.at = out, .left = sizeof(out)};
	const struct admin_facts facts = {.survey = s,
	    .map = &map,
	    .refused = &refused,
	    .wall_ms = 1793491261000,
	    .mono_ms = 62000};

	(void)state;
	assert_non_null(s);
	knock(&refused, "", "::1", R_UNKNOWN_DEVICE, 1);
	survey_begin(s, true, NULL, NULL);
	asked[0]->links.accepted = 3;
	asked[0]->links.failed[R_TLS_FAILED] = 2;
	asked[0]->links.failed[R_LOGIN_REFUSED] = 1;
	asked[0]->links.lost[R_CLOUD_SILENT] = 4;
	asked[0]->links.failure = (struct link_failure){1000, R_TLS_FAILED};
	asked[0]->cert_expires_s = 1793491200;
	admin_write_status(&text, &facts);
	assert_false(text.full);
	assert_non_null(
	    strstr(out, "\"username\":\"user\",\"match_client_id\":null,"
			"\"match_username\":\"user\","));
	assert_non_null(strstr(out,
	    "\"cloud\":{\"dials_accepted\":3,\"last_accepted\":null,"
	    "\"dials_failed\":{\"tls_failed\":2,\"login_refused\":1},"
	    "\"last_failed\":\"2026-11-01T00:00:00Z\","
	    "\"last_failed_why\":\"tls_failed\",\"is_failing\":true,"
	    "\"links_lost\":{\"cloud_silent\":4},"
	    "\"certificate_expires\":\"2026-11-01T00:00:00Z\","
	    "\"root_expires\":null},\"hints\":{\"unknown_device\":\"add an"));
	assert_non_null(strstr(out, "\"login_refused\":\"the cloud refused"));
	assert_null(strstr(out, "\"device_left\""));
	survey_free(&s);
}

/* What a label may hold is no end of it. */
static void
test_device_names_in_metrics(void **state)
{
	const struct survey_config config = {.workers = 1, .ask = ask};
	struct survey *s = survey_new(&config);
	char out[4096];
	struct text text = {.at = out, .left = sizeof(out)};
	const struct admin_facts facts = {.survey = s};

	(void)state;
	assert_non_null(s);
	survey_begin(s, true, NULL, NULL);
	asked[0]->rows = calloc(1, sizeof(struct survey_row));
	assert_non_null(asked[0]->rows);
	asked[0]->count = 1;
	strcpy(asked[0]->rows[0].label, "a\"b\\c\nd");
	admin_write_device_metrics(&text, &facts);
	assert_false(text.full);
	assert_non_null(strstr(out,
	    "\nmqtt_wss_proxy_device_session{device=\"a\\\"b\\\\c?d\","
	    "state=\"dialling\"} 1\n"));
	survey_free(&s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_last_end_counts),
	    cmocka_unit_test(test_departed_are_bounded),
	    cmocka_unit_test(test_long_detail),
	    cmocka_unit_test(test_refused_are_counted),
	    cmocka_unit_test(test_refused_for_the_map),
	    cmocka_unit_test(test_refused_are_bounded),
	    cmocka_unit_test(test_histogram),
	    cmocka_unit_test(test_survey),
	    cmocka_unit_test(test_sums),
	    cmocka_unit_test(test_cloud_in_status),
	    cmocka_unit_test(test_device_names_in_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
