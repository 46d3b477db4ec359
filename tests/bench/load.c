/*
 * load MODE [OPTION...] PORT: opens sessions and works them; see load.h. Each
 * step ends with a line of JSON, and the next one begins when a line has come
 * on the standard input: what is to be measured is measured in between.
 *
 *   hold     opens sessions (-n 1000,5000: first so many, then so many in all)
 *            and keeps them
 *   publish  opens sessions as hold does, then publishes for -d seconds: QoS 0,
 *            -r messages a second over all sessions, or as fast as it goes
 *   trips    the same at QoS 1, by the first -a sessions; how long PUBACKs take
 *   fetch    has one session download -k messages
 *   storm    opens and closes sessions for -d seconds, -c at a time, at most -r
 *            a second
 *
 * -s bytes of a message, -g messages a write, -x how often publish or trips are
 * done, -i the first client id.
 */
#include "load.h"

#include <err.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	IDS = 20000, /* client ids there are */
	STEPS_MAX = 8,
	STUCK_S = 20,
	MARK_BYTES = 4,
	HEAD_MAX = 300
};
static const uint64_t second = 1000000000;

static struct {
	unsigned sessions[STEPS_MAX]; /* 0: no more steps */
	unsigned at_once;
	unsigned active;
	unsigned first_id;
	unsigned rounds;
	size_t payload;
	size_t batch;
	size_t fetched;
	double seconds;
	double rate; /* 0: as fast as it goes */
} plan = {.sessions = {1},
    .at_once = 32,
    .active = IDS,
    .rounds = 1,
    .payload = 64,
    .batch = 1,
    .fetched = 1000,
    .seconds = 1};

static struct session *sessions;
static unsigned session_count; /* opened */

/* Tells what was done and waits until it may go on. */
static void
report(const char *step, double seconds)
{
	struct latencies l = load_latencies();
	char line[16];

	printf("{\"step\": \"%s\", \"seconds\": %.6f, \"sessions\": %u, "
	       "\"lost\": %u, \"sent\": %" PRIu64 ", \"received\": %" PRIu64
	       ", \"timed\": %u, \"p50_us\": %.1f, \"p99_us\": %.1f, "
	       "\"p999_us\": %.1f, \"worst_p99_us\": %.1f}\n",
	    step, seconds, load.up, load.lost, load.sent, load.received, l.n,
	    l.p50_us, l.p99_us, l.p999_us, l.worst_p99_us);
	(void)fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		exit(0);
	load_clear();
}

static double
since(uint64_t ns)
{
	return (double)(load_now_ns() - ns) / (double)second;
}

/* Of a step: the last time that something has changed. */
struct progress {
	uint64_t count;
	uint64_t ns; /* 0: not begun */
};

static void
must_move(struct progress *last, uint64_t count, const char *what)
{
	if (last->ns == 0 || count != last->count)
		*last = (struct progress){count, load_now_ns()};
	else if (load_now_ns() - last->ns > STUCK_S * second)
		errx(1, "nothing moves: %s, %u sessions up, %u lost", what,
		    load.up, load.lost);
}

static void
open_sessions(unsigned n)
{
	struct progress progress = {0};
	uint64_t start = load_now_ns();

	while (load.up + load.lost < n) {
		while (session_count < n &&
		       session_count - load.up - load.lost < plan.at_once)
			session_open(&sessions[session_count++]);
		load_turn(second / 10);
		must_move(&progress, load.up, "logins");
	}
	report("open", since(start));
}

static void
flood(uint64_t start)
{
	uint8_t *block = malloc((plan.payload + HEAD_MAX) * plan.batch);
	size_t n;

	if (block == NULL)
		err(1, NULL);
	n = load_publish(block, "up/bench", 0, plan.payload);
	for (size_t i = 1; i < plan.batch; i++)
		memcpy(block + i * n, block, n);
	for (unsigned i = 0; i < session_count; i++)
		if (sessions[i].stage == SESSION_UP)
			load_flood(&sessions[i], block, plan.batch * n, n);
	while (since(start) < plan.seconds && load.up > 0)
		load_turn(second / 100);
	for (unsigned i = 0; i < session_count; i++)
		if (sessions[i].stage == SESSION_UP)
			load_hush(&sessions[i]);
	free(block);
}

/* False: too many of this session's are not acknowledged. */
static bool
publish_one(struct session *s, bool qos1, uint64_t due_ns)
{
	static uint8_t *packet;
	unsigned id = qos1 ? 1 + s->next_id++ % (SESSION_IDS - 1) : 0;

	if (packet == NULL)
		packet = malloc(plan.payload + HEAD_MAX);
	if (packet == NULL)
		err(1, NULL);
	if (s->stage != SESSION_UP || (qos1 && s->due_ns[id] != 0))
		return false;
	if (qos1)
		s->due_ns[id] = due_ns;
	session_queue(
	    s, packet, load_publish(packet, "up/bench", id, plan.payload));
	session_flush(s);
	load.sent++;
	return true;
}

/* Open loop: what is late counts from when it was due. */
static void
publish_paced(uint64_t start, bool qos1)
{
	const double interval_ns = (double)second / plan.rate;
	unsigned n = session_count < plan.active ? session_count : plan.active;
	uint64_t i = 0;

	while (since(start) < plan.seconds && load.up > 0) {
		uint64_t now = load_now_ns();
		uint64_t due = start + (uint64_t)((double)i * interval_ns);

		for (; due <= now; i++) {
			(void)publish_one(&sessions[i % n], qos1, due);
			due = start + (uint64_t)((double)(i + 1) * interval_ns);
		}
		now = load_now_ns();
		load_turn(due > now ? due - now : 0);
	}
}

/* Until the proxy and the cloud have taken everything: behind each session's
   messages one of QoS 1 goes. */
static void
drain(void)
{
	struct progress progress = {0};
	uint8_t mark[MARK_BYTES + HEAD_MAX];
	size_t n = load_publish(mark, "up/end", LAST_ID, MARK_BYTES);
	unsigned marks = 0;

	for (unsigned i = 0; i < session_count; i++) {
		if (sessions[i].stage != SESSION_UP)
			continue;
		sessions[i].stage = SESSION_DRAINING;
		session_queue(&sessions[i], mark, n);
		session_flush(&sessions[i]);
		marks++;
	}
	while (load.drained < marks && load.up == marks) {
		load_turn(second / 10);
		must_move(&progress, load.drained, "last messages");
	}
	load.sent += marks;
}

static void
publish(bool qos1)
{
	uint64_t start = load_now_ns();

	if (plan.rate > 0)
		publish_paced(start, qos1);
	else
		flood(start);
	drain();
	report("publish", since(start));
}

static void
fetch(void)
{
	struct progress progress = {0};
	uint64_t start = load_now_ns();
	uint8_t packet[HEAD_MAX + 1];
	char topic[64];

	(void)snprintf(
	    topic, sizeof(topic), "down/%zu/%zu", plan.fetched, plan.payload);
	session_queue(sessions, packet, load_publish(packet, topic, 0, 1));
	session_flush(sessions);
	load.sent++;
	while (load.received < plan.fetched && load.up > 0) {
		load_turn(second / 10);
		must_move(&progress, load.received, "downloads");
	}
	report("fetch", since(start));
}

static void
storm_turn(struct session *s, unsigned *left)
{
	static const uint8_t disconnect[] = {0xe0, 0};

	if (s->stage == SESSION_UP) {
		(void)send(s->fd, disconnect, sizeof(disconnect), MSG_NOSIGNAL);
		load.sent++;
		session_close(s);
	}
	if (s->stage == SESSION_CLOSED && *left > 0) {
		session_open(s);
		--*left;
	}
}

/* What counts as sent is the sessions. */
static void
storm(void)
{
	uint64_t start = load_now_ns();
	uint64_t opened = 0;

	while (since(start) < plan.seconds) {
		uint64_t due = plan.rate > 0
				   ? (uint64_t)(since(start) * plan.rate)
				   : UINT64_MAX / 2;
		unsigned allowed = due - opened < plan.at_once
				       ? (unsigned)(due - opened)
				       : plan.at_once;
		unsigned left = allowed;

		for (unsigned i = 0; i < plan.at_once; i++)
			storm_turn(&sessions[i], &left);
		opened += allowed - left;
		load_turn(second / 1000);
	}
	report("storm", since(start));
}

static void
read_steps(char *text)
{
	char *rest = text;

	for (size_t i = 0; i < STEPS_MAX; i++) {
		const char *number = strsep(&rest, ",");

		plan.sessions[i] = number == NULL ? 0 : (unsigned)atoi(number);
	}
}

static void
read_options(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "n:c:a:i:x:s:g:k:d:r:")) != -1) {
		switch (option) {
		case 'n':
			read_steps(optarg);
			break;
		case 'c':
			plan.at_once = (unsigned)atoi(optarg);
			break;
		case 'a':
			plan.active = (unsigned)atoi(optarg);
			break;
		case 'i':
			plan.first_id = (unsigned)atoi(optarg);
			break;
		case 'x':
			plan.rounds = (unsigned)atoi(optarg);
			break;
		case 's':
			plan.payload = (size_t)atoi(optarg);
			break;
		case 'g':
			plan.batch = (size_t)atoi(optarg);
			break;
		case 'k':
			plan.fetched = (size_t)atoi(optarg);
			break;
		case 'd':
			plan.seconds = atof(optarg);
			break;
		case 'r':
			plan.rate = atof(optarg);
			break;
		default:
			errx(2, "see tests/bench/load.c");
		}
	}
}

static void
work(const char *mode)
{
	for (size_t i = 0; i < STEPS_MAX && plan.sessions[i] > 0; i++) {
		open_sessions(plan.sessions[i]);
		for (unsigned k = 0; k < plan.rounds; k++) {
			if (strcmp(mode, "publish") == 0)
				publish(false);
			else if (strcmp(mode, "trips") == 0)
				publish(true);
			else if (strcmp(mode, "fetch") == 0)
				fetch();
		}
	}
}

int
main(int argc, char **argv)
{
	struct rlimit files;

	if (argc < 3)
		errx(2, "usage: load MODE [OPTION...] PORT");
	read_options(argc - 1, argv + 1);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	sessions = calloc(IDS, sizeof(*sessions));
	if (sessions == NULL)
		err(1, NULL);
	load_begin(
	    (uint16_t)atoi(argv[argc - 1]), plan.first_id, IDS - plan.first_id);
	if (strcmp(argv[1], "storm") == 0)
		storm();
	else
		work(argv[1]);
	return 0;
}
