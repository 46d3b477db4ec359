/*
 * When the keeper looks at its files.
 *
 * To be linked with -Wl,--wrap=event_add, watch_look and clock_mono_ms: the
 * test sees which times the keeper sets, and says how long a look takes.
 */
#include "server/keeper.h"

#include "base/clock.h"

#include "scratch.h"
#include "unit.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdatomic.h>

enum { HEARD_MS = 50, INTERVAL_MS = 10000, LOOK_MS = 40 };

static struct {
	int times[2]; /* a pipe: what timers were set to, in ms */
	atomic_uint_least64_t skipped_ms;
} thread;

int __real_event_add(struct event *ev, const struct timeval *timeout);
int __wrap_event_add(struct event *ev, const struct timeval *timeout);
const char *__real_watch_look(struct watch *w);
const char *__wrap_watch_look(struct watch *w);
uint64_t __real_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void);

int
__wrap_event_add(struct event *ev, const struct timeval *timeout)
{
	if (timeout != NULL) {
		long ms = timeout->tv_sec * 1000 + timeout->tv_usec / 1000;

		if (write(thread.times[1], &ms, sizeof(ms)) != sizeof(ms))
			abort();
	}
	return __real_event_add(ev, timeout);
}

const char *
__wrap_watch_look(struct watch *w)
{
	atomic_fetch_add(&thread.skipped_ms, LOOK_MS);
	return __real_watch_look(w);
}

uint64_t
__wrap_clock_mono_ms(void)
{
	return __real_clock_mono_ms() + atomic_load(&thread.skipped_ms);
}

struct site {
	struct scratch *scratch;
	struct server_files files;
	struct settings *settings;
	struct credmap *map;
	struct keeper *keeper;
};

static int
set_up(void **state)
{
	static const char map[] = "[device:a]\nproduct_key = pk\n"
				  "device_name = name\ndevice_secret = s\n"
				  "host = h\n";
	struct site *s = calloc(1, sizeof(*s));
	struct watch *watch = watch_new();
	struct fault why;

	if (s == NULL || watch == NULL || pipe(thread.times) != 0 ||
	    scratch_setup((void **)&s->scratch) != 0)
		return -1;
	*state = s;
	s->files.devices =
	    scratch_write(s->scratch, "devices.ini", span_of_string(map));
	s->settings = settings_load(NULL, &s->scratch->complaints);
	s->map = credmap_load(
	    s->files.devices, s->settings, &s->scratch->complaints);
	assert_non_null(s->map);
	assert_int_equal(s->settings->reload_interval_ms, INTERVAL_MS);
	assert_true(watch_add(watch, s->files.devices));
	s->keeper = keeper_start(
	    &(struct keeper_config){
		.files = &s->files, .settings = s->settings, .map = s->map},
	    &watch, &why);
	return s->keeper != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
	struct site *s = *state;
	int failed;

	keeper_stop(&s->keeper);
	credmap_unref(s->map);
	settings_unref(s->settings);
	(void)close(thread.times[0]);
	(void)close(thread.times[1]);
	failed = scratch_teardown((void **)&s->scratch);
	free(s);
	return failed;
}

/* What the keeper sets its timer to next. */
static long
next_time(void)
{
	long ms = -1;

	assert_int_equal(read(thread.times[0], &ms, sizeof(ms)), sizeof(ms));
	return ms;
}

/* Exactly one event for the folder, which has nothing to do with the map. */
static void
make_noise(struct site *s, const char *name)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", s->scratch->folder, name);
	assert_int_equal(mkfifo(path, 0600), 0);
}

/* Others may write there all day: that must not cost a look each time when a
   look is dear. */
static void
test_busy_folder(void **state)
{
	struct site *s = *state;
	long rest;

	assert_int_equal(next_time(), INTERVAL_MS);
	make_noise(s, "one");
	assert_int_equal(next_time(), HEARD_MS);
	assert_int_equal(next_time(), INTERVAL_MS); /* it has looked */
	make_noise(s, "two");
	rest = next_time();
	assert_true(rest >= HEARD_MS + 50 * LOOK_MS && rest <= INTERVAL_MS);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_busy_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
