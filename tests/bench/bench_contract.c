/*
 * bench_contract PROXY SETTINGS OTHER SETTINGS [MESSAGES [REPETITIONS]]: what
 * relaying a message costs two builds of the proxy, of which one may know no
 * contract: CPU time, and instructions where valgrind is there. SETTINGS are
 * lines for proxy.ini, or "". Both run at the same time, between one device and
 * one cloud in this process, and work in turns, so that the machine's own mood
 * is in both.
 *
 * At QoS 0 the cloud sends each message back, at QoS 1 its PUBACK. CPU time is
 * taken with WINDOW messages under way. Instructions are counted with one, so
 * that each run does the same; those of start and end, and of the login, cancel
 * out between a run of MESSAGES and one of twice as many.
 */
#include "bench.h"
#include "echo_cloud.h"
#include "peer.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	SIDES = 2,
	QOS_LEVELS = 2,
	WINDOW = 16,
	COUNTED = 2000, /* messages, for instructions */
	REPETITIONS_MAX = 1000,
	PATH_BYTES = 80,
	PAYLOAD_BYTES = 64,
	STEP_MAX_S = 120
};

struct side {
	const char *program;
	const char *settings;
	char folder[PATH_BYTES];
	pid_t pid; /* 0: it does not run */
	int output;
	struct peer peer;
	unsigned in;    /* CONNACKs */
	size_t left;    /* messages to be sent */
	size_t awaited; /* on their way */
	unsigned qos;
	uint16_t packet_id;
};

static struct event_base *base;
static struct side sides[SIDES];

/* ---- files ---- */

static const char *
in_folder(char out[static PATH_BYTES], const struct side *s, const char *name)
{
	if (snprintf(out, PATH_BYTES, "%s/%s", s->folder, name) >= PATH_BYTES)
		errx(1, "%s: too long", s->folder);
	return out;
}

static void
clean_up(void)
{
	static const char *const names[] = {
	    "proxy.ini", "devices.ini", "count"};
	char path[PATH_BYTES];

	for (size_t i = 0; i < SIDES; i++) {
		if (sides[i].pid != 0)
			(void)kill(sides[i].pid, SIGKILL);
		for (size_t n = 0; n < sizeof(names) / sizeof(*names); n++)
			(void)unlink(in_folder(path, &sides[i], names[n]));
		(void)rmdir(sides[i].folder);
	}
}

static void
write_files(struct side *s, unsigned cloud_port)
{
	char path[PATH_BYTES];
	FILE *f;

	(void)strcpy(s->folder, "/tmp/bench-XXXXXX");
	if (mkdtemp(s->folder) == NULL)
		err(1, "%s", s->folder);
	bench_write_map(
	    in_folder(path, s, "devices.ini"), BENCH_KEYS, cloud_port, 0);
	f = fopen(in_folder(path, s, "proxy.ini"), "wxe");
	if (f == NULL)
		err(1, "%s", path);
	(void)fprintf(f,
	    "[listen]\naddress = 127.0.0.1\nport = 0\n"
	    "[egress]\nproxy = none\n"
	    "[dial]\nper_device = 0\nper_second = 0\n"
	    "[limits]\nworkers = 1\n"
	    "[log]\nlevel = notice\n"
	    "[admin]\nsocket = none\n%s\n",
	    s->settings);
	if (fclose(f) != 0)
		err(1, "%s", path);
}

/* ---- the proxy ---- */

static void
become_proxy(const struct side *s, int output, bool counted)
{
	char config[PATH_BYTES], count[PATH_BYTES], option[2 * PATH_BYTES];

	(void)in_folder(config, s, "proxy.ini");
	(void)snprintf(option, sizeof(option), "--callgrind-out-file=%s",
	    in_folder(count, s, "count"));
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(output, STDERR_FILENO);
	if (counted)
		(void)execlp("valgrind", "valgrind", "-q", "--tool=callgrind",
		    option, s->program, "run", "--config", config, NULL);
	else
		(void)execl(
		    s->program, s->program, "run", "--config", config, NULL);
	(void)dprintf(STDERR_FILENO, "%s: %s\n", s->program, strerror(errno));
	_exit(127);
}

/* Reads what it says until it is ready; returns its port. What else it says
   stays in the pipe, which has room for it. */
static unsigned
await_port(const struct side *s)
{
	char text[8192];
	size_t n = 0;

	for (;;) {
		ssize_t got = read(s->output, text + n, sizeof(text) - 1 - n);
		const char *ready, *port;

		if (got <= 0)
			errx(1, "%s has ended: %.*s", s->program, (int)n, text);
		n += (size_t)got;
		text[n] = '\0';
		ready = strstr(text, " event=ready ");
		port = ready != NULL ? strstr(ready, " port=") : NULL;
		if (port != NULL && strchr(port, '\n') != NULL)
			return (unsigned)strtoul(port + 6, NULL, 10);
	}
}

static unsigned
start_proxy(struct side *s, bool counted)
{
	int out[2];

	if (pipe2(out, O_CLOEXEC) != 0)
		err(1, "pipe");
	s->pid = fork();
	if (s->pid < 0)
		err(1, "fork");
	if (s->pid == 0)
		become_proxy(s, out[1], counted);
	(void)close(out[1]);
	s->output = out[0];
	return await_port(s);
}

static void
end_proxy(struct side *s)
{
	int status;

	peer_stop(&s->peer);
	if (kill(s->pid, SIGTERM) != 0 || waitpid(s->pid, &status, 0) != s->pid)
		err(1, "%s", s->program);
	s->pid = 0;
	(void)close(s->output);
	if (status != 0)
		errx(1, "%s ended with status %d", s->program, status);
}

static uint64_t
cpu_ns(const struct side *s)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(s->pid, &clock) != 0 ||
	    clock_gettime(clock, &t) != 0)
		errx(1, "the CPU time of %s cannot be read", s->program);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the device ---- */

static void
publish(struct side *s)
{
	uint8_t packet[7 + PAYLOAD_BYTES] = {
	    (uint8_t)(0x30 | s->qos << 1), 0, 0, 1, 't'};
	size_t head = 5;

	if (s->qos > 0) {
		s->packet_id = s->packet_id % 1000 + 1;
		packet[head++] = (uint8_t)(s->packet_id >> 8);
		packet[head++] = (uint8_t)s->packet_id;
	}
	packet[1] = (uint8_t)(head - 2 + PAYLOAD_BYTES);
	peer_send(&s->peer, packet, head + PAYLOAD_BYTES);
	s->left--;
	s->awaited++;
}

static size_t
take(struct peer *p, struct span bytes)
{
	struct side *s = p->owner;
	size_t n = peer_packet_bytes(bytes);

	if (n == 0)
		return 0;
	if (bytes.p[0] == 0x20 && bytes.p[3] == 0) {
		s->in++;
		return n;
	}
	if (bytes.p[0] != (s->qos > 0 ? 0x40 : 0x30) || s->awaited == 0)
		errx(1, "the device got %02x", bytes.p[0]);
	s->awaited--;
	if (s->left > 0)
		publish(s);
	return n;
}

static void
gone(struct peer *p)
{
	const struct side *s = p->owner;

	errx(1, "%s has disconnected the device", s->program);
}

static void
connect_device(struct side *s, unsigned port)
{
	const struct sockaddr_in there = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	/* MQTT 3.1.1, 3.1: clean session, no keep-alive */
	uint8_t packet[14 + BENCH_TEXT_MAX] = {
	    0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 0};
	char client_id[BENCH_TEXT_MAX];
	size_t n = strlen(bench_shown(client_id, 0));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&there, sizeof(there)) != 0)
		err(1, "connect to port %u", port);
	s->in = 0;
	s->peer = (struct peer){.take = take, .gone = gone, .owner = s};
	peer_start(&s->peer, base, fd);
	packet[1] = (uint8_t)(12 + n);
	packet[13] = (uint8_t)n;
	memcpy(packet + 14, client_id, n);
	peer_send(&s->peer, packet, 14 + n);
	(void)alarm(STEP_MAX_S);
	while (s->in == 0)
		(void)event_base_loop(base, EVLOOP_ONCE);
}

/* Has <n> messages relayed, at most <window> at a time. */
static void
relay(struct side *s, unsigned qos, size_t n, size_t window)
{
	s->qos = qos;
	s->left = n;
	(void)alarm(STEP_MAX_S);
	while (s->left > 0 && s->awaited < window)
		publish(s);
	while (s->left > 0 || s->awaited > 0)
		(void)event_base_loop(base, EVLOOP_ONCE);
}

/* ---- figures ---- */

struct figures {
	uint64_t of[REPETITIONS_MAX];
	size_t n;
};

static void
print(const char *what, const char *unit, struct figures f[static SIDES])
{
	double median[SIDES];

	for (size_t i = 0; i < SIDES; i++) {
		uint64_t *of = f[i].of;
		uint64_t middle = bench_quantile(of, f[i].n, 500);

		/* which has sorted them */
		median[i] = (double)middle;
		printf("%-18s %-6s %9.0f %-4s (%llu to %llu)\n", what,
		    i == 0 ? "this" : "other", median[i], unit,
		    (unsigned long long)of[0],
		    (unsigned long long)of[f[i].n - 1]);
	}
	printf("%-18s this/other %.3f, the ranges %s\n", what,
	    median[0] / median[1],
	    f[0].of[0] <= f[1].of[f[1].n - 1] &&
		    f[1].of[0] <= f[0].of[f[0].n - 1]
		? "overlap"
		: "do not overlap");
}

static void
measure_time(size_t messages, size_t repetitions)
{
	static struct figures f[QOS_LEVELS][SIDES];

	for (size_t i = 0; i < SIDES; i++)
		connect_device(&sides[i], start_proxy(&sides[i], false));
	/* the first round is not counted */
	for (size_t r = 0; r <= repetitions; r++)
		for (unsigned qos = 0; qos < QOS_LEVELS; qos++)
			for (size_t turn = 0; turn < SIDES; turn++) {
				size_t i = (turn + r) % SIDES;
				struct figures *mine = &f[qos][i];
				uint64_t used = cpu_ns(&sides[i]);

				relay(&sides[i], qos, messages, WINDOW);
				used = cpu_ns(&sides[i]) - used;
				if (r > 0)
					mine->of[mine->n++] = used / messages;
			}
	for (size_t i = 0; i < SIDES; i++)
		end_proxy(&sides[i]);
	print("QoS 0, CPU time", "ns", f[0]);
	print("QoS 1, CPU time", "ns", f[1]);
}

static uint64_t
count_of(const struct side *s)
{
	char path[PATH_BYTES], line[256];
	unsigned long long count = 0;
	FILE *f = fopen(in_folder(path, s, "count"), "re");

	if (f == NULL)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "summary: %llu", &count) == 1)
			break;
	(void)fclose(f);
	if (count == 0)
		errx(1, "%s has no summary", path);
	return count;
}

static uint64_t
instructions(struct side *s, unsigned qos, size_t messages)
{
	connect_device(s, start_proxy(s, true));
	relay(s, qos, messages, 1);
	end_proxy(s);
	return count_of(s);
}

static void
measure_instructions(size_t repetitions)
{
	static struct figures f[QOS_LEVELS][SIDES];

	for (size_t r = 0; r < repetitions; r++)
		for (unsigned qos = 0; qos < QOS_LEVELS; qos++)
			for (size_t i = 0; i < SIDES; i++) {
				struct side *s = &sides[i];
				uint64_t one = instructions(s, qos, COUNTED);
				uint64_t two =
				    instructions(s, qos, 2 * COUNTED);

				f[qos][i].of[f[qos][i].n++] =
				    (two - one) / COUNTED;
			}
	print("QoS 0, user space", "ins.", f[0]);
	print("QoS 1, user space", "ins.", f[1]);
}

int
main(int argc, char **argv)
{
	size_t messages = 20000, repetitions = 9;
	struct echo_cloud *cloud;

	if (argc < 5)
		errx(2, "bench_contract PROXY SETTINGS OTHER SETTINGS"
			" [MESSAGES [REPETITIONS]]");
	if (argc > 5)
		messages = bench_number("MESSAGES", argv[5], 100, 1000000);
	if (argc > 6)
		repetitions =
		    bench_number("REPETITIONS", argv[6], 1, REPETITIONS_MAX);
	base = event_base_new();
	if (base == NULL)
		err(1, NULL);
	cloud = echo_cloud_start(base);
	(void)atexit(clean_up);
	for (int i = 0; i < SIDES; i++) {
		sides[i].program = argv[1 + 2 * i];
		sides[i].settings = argv[2 + 2 * i];
		write_files(&sides[i], echo_cloud_port(cloud));
	}
	printf("a message of %d bytes; the median of %zu times %zu, and the"
	       " range\n",
	    PAYLOAD_BYTES, repetitions, messages);
	measure_time(messages, repetitions);
	if (system("valgrind --version >/dev/null 2>&1") == 0)
		measure_instructions(repetitions < 3 ? repetitions : 3);
	else
		printf("no valgrind: instructions are not counted\n");
	echo_cloud_stop(cloud);
	event_base_free(base);
	return 0;
}
