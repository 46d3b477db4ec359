#include "base/clock.h"
#include "base/log.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
				assert_int_equal(is_written_for(p,
						     &(struct log_own){true,
							 (enum log_level)at},
						     level),
				    i <= at);
		}
	}
}

/* The last of all tests: nothing takes it back. */
static void
test_overruled(void **state)
{
	static const struct log_own debug = {true, LOG_DEBUG};
	static const struct log_own error = {true, LOG_ERROR};
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
	    log_test(test_a_long_line_is_cut),
	    log_test(test_many_threads),
	    log_test(test_a_full_pipe_drops_and_counts),
	    log_test(test_stop_with_a_full_pipe_keeps_its_bound),
	    log_test(test_stop_and_start_again),
	    log_test(test_no_standard_error),
	    log_test(test_overruled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
