/*
 * bench_reload PROXY [ENTRIES [DEVICES [SECONDS]]]: what a reload of the map
 * does to messages that pass meanwhile. The proxy runs between devices and a
 * cloud that echoes, both in this process. Slices of time without reloads and
 * with one reload after the other take turns, so that the machine's own mood is
 * in both; each reload brings a map with one changed entry, of a device that is
 * not there.
 */
#include "bench.h"
#include "crowd.h"
#include "echo_cloud.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	SLICES = 8, /* of each kind */
	MESSAGES_PER_S_OF_DEVICE = 20,
	STEP_MAX_S = 60, /* for any step but the measuring */
	RELOADS_MAX = 10000,
	PATH_BYTES = 64
};

static struct event_base *base;
static struct event *endings[2]; /* signals to end */
static char folder[] = "/tmp/bench-XXXXXX";

static struct {
	pid_t pid; /* 0: not started */
	struct event *output;
	char line[4096]; /* what has come of the next one */
	size_t n;
	char last[256];
	unsigned port; /* 0: not ready */
} proxy;

static struct {
	bool wanted;
	uint64_t asked_ns; /* 0: none is under way */
	unsigned variant;  /* of the map in use */
	uint64_t took_ns[RELOADS_MAX];
	size_t count;
} reloads;

static const char *
in_folder(char out[static PATH_BYTES], const char *name)
{
	(void)snprintf(out, PATH_BYTES, "%s/%s", folder, name);
	return out;
}

static void
clean_up(void)
{
	static const char *const names[] = {
	    "proxy.ini", "devices.ini", "map.0", "map.1", "next"};
	char path[PATH_BYTES];

	if (proxy.pid != 0)
		(void)kill(proxy.pid, SIGKILL);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		(void)unlink(in_folder(path, names[i]));
	(void)rmdir(folder);
}

/* Puts the other map in place, at once and without writing it. */
static void
exchange_map(void)
{
	char name[] = "map.0";
	char map[PATH_BYTES], next[PATH_BYTES], path[PATH_BYTES];

	reloads.variant ^= 1;
	name[sizeof(name) - 2] = (char)('0' + reloads.variant);
	if (link(in_folder(map, name), in_folder(next, "next")) != 0 ||
	    rename(next, in_folder(path, "devices.ini")) != 0)
		err(1, "%s", map);
}

static void
ask_for_reload(void)
{
	exchange_map();
	reloads.asked_ns = bench_now_ns();
	if (kill(proxy.pid, SIGHUP) != 0)
		err(1, "the proxy");
}

static void
on_reloaded(void)
{
	if (reloads.asked_ns == 0 || reloads.count == RELOADS_MAX)
		return;
	reloads.took_ns[reloads.count++] = bench_now_ns() - reloads.asked_ns;
	reloads.asked_ns = 0;
	if (reloads.wanted)
		ask_for_reload();
}

static void
on_line(const char *line)
{
	const char *port = strstr(line, " port=");

	if (strstr(line, " event=ready ") != NULL && port != NULL)
		proxy.port = (unsigned)strtoul(port + 6, NULL, 10);
	else if (strstr(line, " event=reloaded ") != NULL)
		on_reloaded();
	else if (strstr(line, " level=error ") != NULL)
		errx(1, "the proxy says: %s", line);
	(void)snprintf(proxy.last, sizeof(proxy.last), "%s", line);
}

static void
on_output(evutil_socket_t fd, short what, void *arg)
{
	ssize_t n =
	    read(fd, proxy.line + proxy.n, sizeof(proxy.line) - 1 - proxy.n);
	char *start = proxy.line;
	char *end;

	(void)what;
	(void)arg;
	if (n <= 0)
		errx(1, "the proxy has ended: %s", proxy.last);
	proxy.n += (size_t)n;
	proxy.line[proxy.n] = '\0';
	for (; (end = strchr(start, '\n')) != NULL; start = end + 1) {
		*end = '\0';
		on_line(start);
	}
	proxy.n = strlen(start);
	memmove(proxy.line, start, proxy.n + 1);
	if (proxy.n == sizeof(proxy.line) - 1)
		errx(1, "the proxy says: %s", proxy.line);
}

static void
write_proxy_ini(void)
{
	char path[PATH_BYTES];
	FILE *f = fopen(in_folder(path, "proxy.ini"), "wxe");

	if (f == NULL)
		err(1, "%s", path);
	(void)fputs("[listen]\n"
		    "address = 127.0.0.1\n"
		    "port = 0\n"
		    "[egress]\n"
		    "proxy = none\n"
		    "[dial]\n"
		    "per_device = 0\n"
		    "per_second = 0\n"
		    "[log]\n"
		    "level = notice\n"
		    "[admin]\n"
		    "socket = none\n",
	    f);
	if (fclose(f) != 0)
		err(1, "%s", path);
}

static void
start_proxy(const char *program)
{
	char config[PATH_BYTES];
	int out[2];

	(void)in_folder(config, "proxy.ini");
	if (pipe2(out, O_CLOEXEC) != 0)
		err(1, "pipe");
	proxy.pid = fork();
	if (proxy.pid < 0)
		err(1, "fork");
	if (proxy.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(out[1], STDERR_FILENO);
		(void)execl(program, program, "run", "--config", config, NULL);
		(void)dprintf(
		    STDERR_FILENO, "%s: %s\n", program, strerror(errno));
		_exit(127);
	}
	(void)close(out[1]);
	proxy.output =
	    event_new(base, out[0], EV_READ | EV_PERSIST, on_output, NULL);
	if (proxy.output == NULL || event_add(proxy.output, NULL) != 0)
		errx(1, "an event could not be added");
}

static void
on_step_too_long(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	errx(1, "%d seconds are over before %s", STEP_MAX_S, (char *)arg);
}

static void
on_signal(evutil_socket_t signal, short what, void *arg)
{
	(void)what;
	(void)arg;
	exit(128 + (int)signal); /* with clean_up() */
}

/* Runs the loop until <condition> holds. */
#define AWAIT(condition)                                                       \
	do {                                                                   \
		char what_[] = #condition;                                     \
		const struct timeval most_ = {.tv_sec = STEP_MAX_S};           \
		struct event *late_ =                                          \
		    evtimer_new(base, on_step_too_long, what_);                \
                                                                               \
		if (late_ == NULL || event_add(late_, &most_) != 0)            \
			err(1, NULL);                                          \
		while (!(condition))                                           \
			(void)event_base_loop(base, EVLOOP_ONCE);              \
		event_free(late_);                                             \
	} while (0)

static void
measure(struct crowd *crowd, struct trips *trips, uint64_t ns, bool reload)
{
	uint64_t end = bench_now_ns() + ns;

	crowd_send(crowd, trips);
	reloads.wanted = reload;
	if (reload)
		ask_for_reload();
	while (bench_now_ns() < end)
		(void)event_base_loop(base, EVLOOP_ONCE);
	reloads.wanted = false;
	AWAIT(reloads.asked_ns == 0);
	crowd_hush(crowd);
	AWAIT(crowd_is_quiet(crowd));
}

static void
end_proxy(void)
{
	int status;

	event_free(proxy.output);
	if (kill(proxy.pid, SIGTERM) != 0 ||
	    waitpid(proxy.pid, &status, 0) != proxy.pid)
		err(1, "the proxy");
	proxy.pid = 0;
	if (status != 0)
		errx(1, "the proxy ended with status %d", status);
}

/* Of a quantile of each slice the median: a slice in which the machine was busy
   with other things does not count. */
static double
typical_ms(struct trips slices[static SLICES], unsigned permille)
{
	uint64_t figures[SLICES];

	for (size_t i = 0; i < SLICES; i++)
		figures[i] =
		    bench_quantile(slices[i].ns, slices[i].count, permille);
	return (double)bench_quantile(figures, SLICES, 500) / 1e6;
}

static void
print_trips(const char *name, struct trips slices[static SLICES])
{
	uint64_t worst = 0;
	size_t count = 0;

	for (size_t i = 0; i < SLICES; i++) {
		uint64_t max =
		    bench_quantile(slices[i].ns, slices[i].count, 1000);

		worst = max > worst ? max : worst;
		count += slices[i].count;
	}
	printf("%-16s %10zu %8.2f ms %8.2f ms %8.2f ms %8.2f ms %8.2f ms\n",
	    name, count, typical_ms(slices, 500), typical_ms(slices, 990),
	    typical_ms(slices, 999), typical_ms(slices, 1000),
	    (double)worst / 1e6);
}

static void
print_all(struct trips without[static SLICES], struct trips with[static SLICES])
{
	printf("%-16s %10s %11s %11s %11s %11s %11s\n", "round trips",
	    "messages", "p50", "p99", "p99.9", "max", "worst");
	print_trips("without reloads", without);
	print_trips("with reloads", with);
	printf("p50 to max: the median of %d slices; worst: of all\n", SLICES);
	printf("%zu reloads: median %.0f ms, worst %.0f ms\n", reloads.count,
	    (double)bench_quantile(reloads.took_ns, reloads.count, 500) / 1e6,
	    (double)bench_quantile(reloads.took_ns, reloads.count, 1000) / 1e6);
}

/* What is asked for on the command line. */
struct plan {
	const char *proxy;
	size_t entries;
	size_t devices;
	size_t seconds;
};

static struct plan
read_plan(int argc, char **argv)
{
	struct plan plan = {.entries = 100000, .devices = 300, .seconds = 40};

	if (argc < 2)
		errx(2, "bench_reload PROXY [ENTRIES [DEVICES [SECONDS]]]");
	plan.proxy = argv[1];
	if (argc > 2)
		plan.entries = bench_number("ENTRIES", argv[2], 100, 1000000);
	if (argc > 3)
		plan.devices = bench_number(
		    "DEVICES", argv[3], 1, plan.entries / BENCH_KEYS);
	if (argc > 4)
		plan.seconds = bench_number("SECONDS", argv[4], 1, 3600);
	return plan;
}

static void
write_files(size_t entries, unsigned cloud_port)
{
	char path[PATH_BYTES];

	if (mkdtemp(folder) == NULL)
		err(1, "%s", folder);
	(void)atexit(clean_up);
	for (unsigned i = 0; i < 2; i++)
		bench_write_map(in_folder(path, i == 0 ? "map.0" : "map.1"),
		    entries, cloud_port, i);
	exchange_map();
	write_proxy_ini();
}

static void
start_loop(void)
{
	static const int signals[] = {SIGINT, SIGTERM};

	base = event_base_new();
	if (base == NULL)
		err(1, NULL);
	for (size_t i = 0; i < 2; i++) {
		endings[i] = evsignal_new(base, signals[i], on_signal, NULL);
		if (endings[i] == NULL || event_add(endings[i], NULL) != 0)
			errx(1, "an event could not be added");
	}
}

int
main(int argc, char **argv)
{
	struct plan plan = read_plan(argc, argv);
	size_t pace = plan.devices * MESSAGES_PER_S_OF_DEVICE;
	uint64_t slice_ns = plan.seconds * 1000000000 / (2 * SLICES);
	struct trips without[SLICES] = {0};
	struct trips with[SLICES] = {0};
	struct echo_cloud *cloud;
	struct crowd *crowd;

	start_loop();
	cloud = echo_cloud_start(base);
	write_files(plan.entries, echo_cloud_port(cloud));
	start_proxy(plan.proxy);
	AWAIT(proxy.port != 0);
	/* only entries that are found by client id */
	crowd = crowd_start(base, proxy.port, plan.devices,
	    plan.entries / BENCH_KEYS / plan.devices * BENCH_KEYS, pace);
	AWAIT(crowd_is_in(crowd));
	printf("map of %zu entries; %zu devices, %zu messages a second\n",
	    plan.entries, plan.devices, pace);
	for (int i = 0; i < SLICES; i++) {
		measure(crowd, &without[i], slice_ns, false);
		measure(crowd, &with[i], slice_ns, true);
	}
	crowd_stop(crowd);
	end_proxy();
	echo_cloud_stop(cloud);
	print_all(without, with);
	for (int i = 0; i < SLICES; i++) {
		free(without[i].ns);
		free(with[i].ns);
	}
	for (int i = 0; i < 2; i++)
		event_free(endings[i]);
	event_base_free(base);
	return 0;
}
