#include "base/clock.h"
#include "base/log.h"
#include "base/log_json.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	WRITERS = 4,
	LINES = 1000, /* of each writer */
	MANY = 4000,  /* more than the ring and the pipe hold */
	CAUGHT_MAX = 8 << 20,
	STOP_MS = 10 * 1000 /* never reached: a bound for the bound */
};

/* Standard error, turned into a pipe that this test reads. */
struct pipe {
	int kept; /* the real one */
	int out;
	char *text; /* what was read, NUL-terminated */
	size_t n;
};

static int
catch_stderr(void **state)
{
	struct pipe *p = calloc(1, sizeof(*p));
	int ends[2];

	if (p == NULL || (p->text = calloc(1, CAUGHT_MAX)) == NULL ||
	    pipe2(ends, O_CLOEXEC) != 0 ||
	    fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
		return -1;
	p->out = ends[0];
	p->kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	*state = p;
	return p->kept >= 0 && dup2(ends[1], STDERR_FILENO) >= 0 &&
		       close(ends[1]) == 0
		   ? 0
		   : -1;
}

static int
release_stderr(void **state)
{
	struct pipe *p = *state;

	log_stop(0);
	log_set_level(LOG_INFO);
	if (dup2(p->kept, STDERR_FILENO) < 0)
		return -1;
	close(p->kept);
	close(p->out);
	free(p->text);
	free(p);
	return 0;
}

/* Reads until the pipe is empty, waiting <timeout_ms> for more. */
static void
drain(struct pipe *p, int timeout_ms)
{
	while (poll(&(struct pollfd){p->out, POLLIN, 0}, 1, timeout_ms) == 1) {
		ssize_t n =
		    read(p->out, p->text + p->n, (size_t)CAUGHT_MAX - 1 - p->n);

		assert_true(n > 0);
		p->n += (size_t)n;
	}
	p->text[p->n] = '\0';
}

/* Reads until <text> has come. */
static void
drain_until(struct pipe *p, const char *text)
{
	while (strstr(p->text, text) == NULL) {
		assert_int_equal(
		    poll(&(struct pollfd){p->out, POLLIN, 0}, 1, STOP_MS), 1);
		drain(p, 0);
	}
}

static void
forget(struct pipe *p)
{
	p->n = 0;
	p->text[0] = '\0';
}

/* "time=2026-07-30T12:00:00.000Z": the digits become 0. */
static void
without_time(char *text)
{
	for (int i = 0; i < 29 && text[i] != '\0'; i++)
		if (text[i] >= '0' && text[i] <= '9')
			text[i] = '0';
}

static void
test_a_line(void **state)
{
	struct pipe *p = *state;

	log_write(LOG_WARNING, "tried", "a=%d b=\"%s\"", 7, "x y");
	log_write(LOG_ERROR, "bare", "%s", "");
	log_write(LOG_DEBUG, "too_small", "a=1");
	drain(p, 0);
	without_time(p->text);
	assert_memory_equal(p->text,
	    "time=0000-00-00T00:00:00.000Z level=warning event=tried"
	    " a=7 b=\"x y\"\n",
	    strlen("time=0000-00-00T00:00:00.000Z level=warning event=tried"
		   " a=7 b=\"x y\"\n"));
	assert_non_null(strstr(p->text, "level=error event=bare"));
	assert_null(strstr(p->text, "too_small"));
}

static void
test_levels(void **state)
{
	struct pipe *p = *state;

	for (int at = 0; at < LOG_LEVEL_COUNT; at++) {
		log_set_level((enum log_level)at);
		for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
			forget(p);
			assert_int_equal(
			    log_enabled((enum log_level)i), i <= at);
			log_write((enum log_level)i, "e", "%s", "");
			drain(p, 0);
			assert_int_equal(p->n > 0, i <= at);
			if (i <= at)
				assert_non_null(strstr(p->text,
				    log_level_word((enum log_level)i)));
		}
	}
}

static bool
is_written_for(struct pipe *p, const struct log_own *own, enum log_level level)
{
	forget(p);
	log_write_for(own, level, "e", "%s", "");
	drain(p, 0);
	return p->n > 0;
}

/* A device's own level goes before that of all, more or less. */
static void
test_a_level_of_its_own(void **state)
{
	static const struct log_own none = {0};
	struct pipe *p = *state;

	for (int all = 0; all < LOG_LEVEL_COUNT; all++) {
		log_set_level((enum log_level)all);
		for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
			enum log_level level = (enum log_level)i;

			assert_int_equal(
			    is_written_for(p, &none, level), i <= all);
			for (int at = 0; at < LOG_LEVEL_COUNT; at++)
				assert_int_equal(
				    is_written_for(p,
					&(struct log_own){.set = true,
					    .level = (enum log_level)at},
					level),
				    i <= at);
		}
	}
}

static const char *
as_json(const char *line, const char *fmt)
{
	static char out[LOG_JSON_MAX + 1];
	size_t n = log_json_write(out, span_of_string(line), fmt);

	assert_in_range(n, 3, LOG_JSON_MAX);
	assert_int_equal(out[n - 1], '\n');
	out[n - 1] = '\0';
	return out;
}

static void
test_a_json_object(void **state)
{
	(void)state;
	assert_string_equal(as_json("", ""), "{}");
	assert_string_equal(as_json("time=1 level=info event=e", ""),
	    "{\"time\":\"1\",\"level\":\"info\",\"event\":\"e\"}");
	/* what is a number is said by its format, not by its look */
	assert_string_equal(as_json("a=7 b=7 c=-7 d=7 e=\"7\" f=",
				"a=%u b=%s c=%d d=%llu e=\"%u\" f=%u"),
	    "{\"a\":7,\"b\":\"7\",\"c\":-7,\"d\":7,\"e\":\"7\",\"f\":\"\"}");
	assert_string_equal(as_json("ba=7 a=7 aa=x", "ba=%s a=%u aa=%u"),
	    "{\"ba\":\"7\",\"a\":7,\"aa\":\"x\"}");
	/* blanks, quotes and escaped bytes within quotes */
	assert_string_equal(as_json("a=\"x y=1 \\x0a\" b=\"say \"no\"\" c=d\"e",
				"a=\"%s\" b=\"%s\" c=%s"),
	    "{\"a\":\"x y=1 \\\\x0a\",\"b\":\"say \\\"no\\\"\","
	    "\"c\":\"d\\\"e\"}");
	assert_string_equal(as_json("a=\x01\xc3\xa9\x7f", "a=%s"),
	    "{\"a\":\"\\\\x01\\\\xc3\\\\xa9\\\\x7f\"}");
	/* lines that were cut */
	assert_string_equal(
	    as_json("a=\"x y...", "a=\"%s\""), "{\"a\":\"x y...\"}");
	assert_string_equal(as_json("a=1 hin...", "a=%u"), "{\"a\":1}");
	assert_string_equal(as_json("a=1...", "a=%u"), "{\"a\":\"1...\"}");
}

/* However long, it fits, and is a whole object. */
static void
test_a_long_json_object_is_cut(void **state)
{
	char line[LOG_JSON_MAX + 64];

	(void)state;
	for (size_t n = 700; n < LOG_JSON_MAX + 32; n++) {
		const char *out;
		size_t bytes, needed;

		memset(line, n % 2 != 0 ? 0xff : 'x', n);
		memcpy(line, "a=1 b=", 6);
		memcpy(line + n, " c=1", 5);
		out = as_json(line, "a=%u b=%s c=%u");
		bytes = strlen(out);
		assert_memory_equal(out, "{\"a\":1,\"b\":\"", 12);
		needed = (n - 6) * (n % 2 != 0 ? strlen("\\\\xff") : 1);
		if (needed < LOG_JSON_MAX - 50)
			assert_string_equal(out + bytes - 8, "\",\"c\":1}");
		else if (needed > LOG_JSON_MAX)
			assert_string_equal(out + bytes - 5, "...\"}");
		else
			assert_int_equal(out[bytes - 1], '}');
	}
}

static void
test_the_log_in_json(void **state)
{
	struct pipe *p = *state;

	log_set_format(LOG_JSON);
	log_write(LOG_WARNING, "tried", "a=%d b=\"%s\"", 7, "x y");
	log_set_format(LOG_TEXT);
	log_write(LOG_WARNING, "tried", "b=\"%s\"", "x\ny\x1b");
	drain(p, 0);
	assert_non_null(
	    strstr(p->text, "\"level\":\"warning\",\"event\":\"tried\","
			    "\"a\":7,\"b\":\"x y\"}\ntime="));
	assert_non_null(strstr(p->text, "event=tried b=\"x?y?\"\n"));
}

/* A priority stands before a line where standard error is the journal's. */
static void
test_the_journal(void **state)
{
	struct pipe *p = *state;
	char own[64];
	struct stat st;

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	(void)snprintf(own, sizeof(own), "%llu:%llu",
	    (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", own, 1), 0);
	log_find_journal();
	log_write(LOG_ERROR, "e", "%s", "");
	log_set_format(LOG_JSON);
	log_write(LOG_INFO, "e", "%s", "");
	log_set_format(LOG_TEXT);
	drain(p, 0);
	assert_memory_equal(p->text, "<3>time=", 8);
	assert_non_null(strstr(p->text, "\n<6>{\"time\":"));
	/* another program's */
	assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);
	log_find_journal();
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	forget(p);
	log_write(LOG_ERROR, "e", "%s", "");
	drain(p, 0);
	assert_memory_equal(p->text, "time=", 5);
}

/* What an administrator has chosen for a device goes before both. */
static void
test_a_level_for_now(void **state)
{
	static const struct log_own own = {
	    .set = true, .level = LOG_ERROR, .device = 7};
	static const struct log_own other = {.device = 8};
	struct pipe *p = *state;

	log_set_level(LOG_WARNING);
	assert_true(log_set_level_of(7, LOG_DEBUG));
	assert_true(is_written_for(p, &own, LOG_DEBUG));
	assert_false(is_written_for(p, &other, LOG_NOTICE));
	assert_true(log_set_level_of(7, LOG_NOTICE));
	assert_false(is_written_for(p, &own, LOG_INFO));
	log_forget_level_of(7);
	log_forget_level_of(7);
	assert_false(is_written_for(p, &own, LOG_WARNING));
	for (uint64_t i = 1; i <= LOG_DEVICES_MAX; i++)
		assert_true(log_set_level_of(i, LOG_DEBUG));
	assert_false(log_set_level_of(LOG_DEVICES_MAX + 1, LOG_DEBUG));
	assert_true(is_written_for(p, &other, LOG_DEBUG));
	for (uint64_t i = 1; i <= LOG_DEVICES_MAX; i++)
		log_forget_level_of(i);
	assert_false(is_written_for(p, &other, LOG_DEBUG));
}

/* The last of all tests: nothing takes it back. */
static void
test_overruled(void **state)
{
	static const struct log_own debug = {.set = true, .level = LOG_DEBUG};
	static const struct log_own error = {.set = true, .level = LOG_ERROR};
	struct pipe *p = *state;

	log_overrule(LOG_WARNING);
	assert_false(is_written_for(p, &debug, LOG_NOTICE));
	assert_true(is_written_for(p, &error, LOG_WARNING));
}

/* A line is whole, or it ends in "..."; it always ends, and once. */
static void
test_a_long_line_is_cut(void **state)
{
	struct pipe *p = *state;
	char text[2 * LOG_LINE_MAX];

	for (size_t n = LOG_LINE_MAX - 80; n < LOG_LINE_MAX + 8; n++) {
		size_t fits;

		memset(text, 'x', n);
		text[n] = '\0';
		forget(p);
		log_write(LOG_INFO, "long", "%s", text);
		drain(p, 0);
		fits = strlen("time=2026-07-30T12:00:00.000Z level=info"
			      " event=long ") +
		       n + 1;
		assert_ptr_equal(strchr(p->text, '\n'), p->text + p->n - 1);
		if (fits <= LOG_LINE_MAX) {
			assert_int_equal(p->n, fits);
			assert_null(strstr(p->text, "..."));
		} else {
			assert_int_equal(p->n, LOG_LINE_MAX);
			assert_memory_equal(p->text + p->n - 5, "x...\n", 5);
		}
	}
}

/* Lines that were seen, and the sum of the counts of lines dropped. Lines of
   one writer stand in order. */
static void
count(const char *text, unsigned long *seen, unsigned long *dropped)
{
	unsigned long next[WRITERS] = {0};

	*seen = *dropped = 0;
	while (*text != '\0') {
		const char *end = strchr(text, '\n');
		unsigned long writer, number;
		const char *what = strstr(text, " event=");

		assert_non_null(end);
		assert_non_null(what);
		assert_true(what < end);
		if (sscanf(what, " event=w writer=%lu number=%lu\n", &writer,
			&number) == 2) {
			assert_true(writer < WRITERS);
			assert_true(number >= next[writer]);
			next[writer] = number + 1;
			(*seen)++;
		} else {
			assert_int_equal(sscanf(what,
					     " event=log_lines_dropped"
					     " count=%lu\n",
					     &number),
			    1);
			*dropped += number;
		}
		text = end + 1;
	}
}

static void
write_lines(unsigned long writer, unsigned long lines)
{
	for (unsigned long i = 0; i < lines; i++)
		log_write(LOG_INFO, "w", "writer=%lu number=%lu", writer, i);
}

static void *
write_some_lines(void *writer)
{
	write_lines((uintptr_t)writer, LINES);
	return NULL;
}

static void *
stop_log(void *arg)
{
	(void)arg;
	log_stop(STOP_MS);
	return NULL;
}

/* Whole lines, each writer's in order, and log_stop() writes what waits. */
static void
test_many_threads(void **state)
{
	struct pipe *p = *state;
	pthread_t writers[WRITERS], stopper;
	unsigned long seen, dropped;

	assert_true(log_start());
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL,
				     write_some_lines, (void *)i),
		    0);
	for (int i = 0; i < WRITERS; i++) {
		while (pthread_tryjoin_np(writers[i], NULL) == EBUSY)
			drain(p, 1);
	}
	assert_int_equal(pthread_create(&stopper, NULL, stop_log, NULL), 0);
	while (pthread_tryjoin_np(stopper, NULL) == EBUSY)
		drain(p, 1);
	drain(p, 0);
	count(p->text, &seen, &dropped);
	assert_int_equal(seen + dropped, WRITERS * LINES);
}

/* Nobody reads: the writers go on, and what was lost is told afterwards. */
static void
test_a_full_pipe_drops_and_counts(void **state)
{
	struct pipe *p = *state;
	unsigned long seen, dropped;

	assert_true(log_start());
	write_lines(0, MANY); /* would wait for ever if it waited */
	/* the ring is full now: the writer takes one line, tells the count */
	drain_until(p, "log_lines_dropped");
	count(p->text, &seen, &dropped);
	assert_true(dropped > 0);
	while (seen + dropped < MANY) {
		assert_int_equal(
		    poll(&(struct pollfd){p->out, POLLIN, 0}, 1, STOP_MS), 1);
		drain(p, 0);
		count(p->text, &seen, &dropped);
	}
	assert_int_equal(seen + dropped, MANY);
	forget(p);
	write_lines(1, 1);
	drain_until(p, "writer=1 number=0\n");
	count(p->text, &seen, &dropped);
	assert_int_equal(dropped, 0);
}

static void
test_stop_with_a_full_pipe_keeps_its_bound(void **state)
{
	struct pipe *p = *state;
	uint64_t began_ms, took_ms;
	unsigned long seen, dropped;

	assert_true(log_start());
	write_lines(0, MANY);
	began_ms = clock_mono_ms();
	log_stop(150);
	took_ms = clock_mono_ms() - began_ms;
	assert_true(took_ms >= 140); /* it has tried */
	assert_true(took_ms < 1500); /* and looks every 100 ms */
	drain(p, 0);
	assert_int_equal(p->text[p->n - 1], '\n'); /* no half line */
	/* what was given up does not come later */
	forget(p);
	assert_true(log_start());
	write_lines(1, 1);
	log_stop(STOP_MS);
	drain(p, 0);
	count(p->text, &seen, &dropped);
	assert_int_equal(seen, 1);
	assert_int_equal(dropped, 0);
}

static void
test_stop_and_start_again(void **state)
{
	struct pipe *p = *state;

	for (int i = 0; i < 3; i++) {
		forget(p);
		assert_true(log_start());
		write_lines(0, 1);
		log_stop(STOP_MS);
		drain(p, 0); /* what waits was written before it came back */
		assert_non_null(strstr(p->text, "writer=0 number=0\n"));
		log_stop(STOP_MS); /* harmless */
		forget(p);
		write_lines(1, 1); /* directly */
		drain(p, 0);
		assert_non_null(strstr(p->text, "writer=1 number=0\n"));
	}
}

/* Without a standard error the program goes on. */
static void
test_no_standard_error(void **state)
{
	(void)state;
	(void)close(STDERR_FILENO);
	write_lines(0, 2);
	assert_true(log_start());
	write_lines(0, 2);
	log_stop(STOP_MS);
}

#define log_test(test)                                                         \
	cmocka_unit_test_setup_teardown(test, catch_stderr, release_stderr)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    log_test(test_a_line),
	    log_test(test_levels),
	    log_test(test_a_level_of_its_own),
	    log_test(test_a_level_for_now),
	    log_test(test_a_long_line_is_cut),
	    log_test(test_a_json_object),
	    log_test(test_a_long_json_object_is_cut),
	    log_test(test_the_log_in_json),
	    log_test(test_the_journal),
	    log_test(test_many_threads),
	    log_test(test_a_full_pipe_drops_and_counts),
	    log_test(test_stop_with_a_full_pipe_keeps_its_bound),
	    log_test(test_stop_and_start_again),
	    log_test(test_no_standard_error),
	    log_test(test_overruled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
