#include "load.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	READ_MAX = 256 * 1024,
	EVENTS = 1024,
	SOURCES = 200,
	EXACT_BELOW_NS = 10000000
};

struct latency {
	const struct session *session;
	uint64_t ns;
};

struct load load;
static int epoll;
static uint16_t port;
static unsigned first_id, id_count, opened;
static struct {
	struct latency *all;
	size_t n;
	size_t cap;
} noted;

/* While sessions are flooded: what they send. */
static struct {
	const uint8_t *block;
	size_t block_n;
	size_t message_n;
} flood;

uint64_t
load_now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void
load_begin(uint16_t at_port, unsigned first, unsigned count)
{
	port = at_port;
	first_id = first;
	id_count = count;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		err(1, "epoll");
}

void
load_clear(void)
{
	load.drained = 0;
	load.sent = load.received = load.received_bytes = 0;
	noted.n = 0;
}

static void
note(const struct session *s, uint64_t since_ns)
{
	if (noted.n == noted.cap) {
		noted.cap = noted.cap > 0 ? 2 * noted.cap : 65536;
		noted.all =
		    reallocarray(noted.all, noted.cap, sizeof(*noted.all));
		if (noted.all == NULL)
			err(1, NULL);
	}
	noted.all[noted.n++] = (struct latency){s, load_now_ns() - since_ns};
}

static void
wait_for(struct session *s, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = s};

	if (s->interest == events)
		return;
	if (epoll_ctl(epoll, s->interest == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
		s->fd, &e) != 0)
		err(1, "epoll_ctl");
	s->interest = events;
}

void
session_close(struct session *s)
{
	if (s->stage == SESSION_CLOSED)
		return;
	if (s->stage != SESSION_LOGIN)
		load.up--;
	(void)close(s->fd);
	s->stage = SESSION_CLOSED;
	s->interest = 0;
	s->head_n = s->skip = s->out_n = s->out_at = 0;
	s->out = NULL;
}

static void
lose(struct session *s)
{
	load.lost++;
	session_close(s);
}

void
session_queue(struct session *s, const uint8_t *p, size_t n)
{
	if (s->out != s->own)
		s->out_n = s->out_at = 0;
	if (s->out_at > 0) {
		memmove(s->own, s->own + s->out_at, s->out_n - s->out_at);
		s->out_n -= s->out_at;
		s->out_at = 0;
	}
	if (s->out_n + n > s->own_cap) {
		s->own_cap = (s->out_n + n) * 2;
		s->own = realloc(s->own, s->own_cap);
		if (s->own == NULL)
			err(1, NULL);
	}
	memcpy(s->own + s->out_n, p, n);
	s->out_n += n;
	s->out = s->own;
}

/* Returns whether anything could be sent. */
static bool
send_some(struct session *s)
{
	ssize_t n =
	    send(s->fd, s->out + s->out_at, s->out_n - s->out_at, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN)
		lose(s);
	if (n > 0)
		s->out_at += (size_t)n;
	return n > 0;
}

void
session_flush(struct session *s)
{
	while (s->out_at < s->out_n) {
		if (send_some(s))
			continue;
		if (s->stage != SESSION_CLOSED)
			wait_for(s, EPOLLIN | EPOLLOUT);
		return;
	}
	s->out_at = s->out_n = 0;
	s->out = NULL;
	wait_for(s, EPOLLIN);
}

static void
send_flood(struct session *s)
{
	size_t before;

	if (s->out_n == 0) {
		s->out = flood.block;
		s->out_n = flood.block_n;
	}
	before = s->out_at / flood.message_n;
	if (!send_some(s))
		return;
	load.sent += s->out_at / flood.message_n - before;
	if (s->out_at == s->out_n)
		s->out_at = s->out_n = 0;
}

void
load_flood(
    struct session *s, const uint8_t *block, size_t block_n, size_t message_n)
{
	flood.block = block;
	flood.block_n = block_n;
	flood.message_n = message_n;
	wait_for(s, EPOLLIN | EPOLLOUT);
}

void
load_hush(struct session *s)
{
	size_t begun = s->out_at % flood.message_n;
	const uint8_t *rest = s->out + s->out_at;

	flood.block = NULL;
	s->out = NULL;
	s->out_n = s->out_at = 0;
	if (begun == 0)
		return;
	session_queue(s, rest, flood.message_n - begun);
	load.sent++;
}

static size_t
write_length(uint8_t *out, size_t length)
{
	size_t n = 0;

	for (; length > 127; length >>= 7)
		out[n++] = (uint8_t)(0x80 | length);
	out[n++] = (uint8_t)length;
	return n;
}

static size_t
write_text(uint8_t *out, const char *text)
{
	size_t n = strlen(text);

	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	memcpy(out + 2, text, n);
	return 2 + n;
}

size_t
load_publish(uint8_t *out, const char *topic, unsigned id, size_t payload)
{
	size_t n = 1;

	out[0] = id == 0 ? 0x30 : 0x32;
	n += write_length(
	    out + n, 2 + strlen(topic) + (id == 0 ? 0 : 2) + payload);
	n += write_text(out + n, topic);
	if (id != 0) {
		out[n++] = (uint8_t)(id >> 8);
		out[n++] = (uint8_t)id;
	}
	memset(out + n, 'x', payload);
	return n + payload;
}

/* MQTT 3.1.1, 3.1: clean session, keep-alive of 600 s */
static void
log_in(struct session *s, unsigned i)
{
	uint8_t packet[64] = {
	    0x10, 0, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 600 >> 8, 600 & 255};
	char client_id[32];

	(void)snprintf(
	    client_id, sizeof(client_id), "load_%u", first_id + i % id_count);
	packet[1] = (uint8_t)(10 + write_text(packet + 12, client_id));
	session_queue(s, packet, 2u + packet[1]);
}

/* Sources are many, so that ports that were just used are not missed. */
static int
connect_from(unsigned i)
{
	const int on = 1;
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 255 + i % SOURCES)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(
	    fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) != 0)
		err(1, "bind");
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.sin_port = htons(port);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) != 0 &&
	    errno != EINPROGRESS)
		err(1, "connect");
	return fd;
}

void
session_open(struct session *s)
{
	s->opened_ns = load_now_ns();
	s->fd = connect_from(opened);
	s->stage = SESSION_LOGIN;
	log_in(s, opened++);
	wait_for(s, EPOLLIN | EPOLLOUT);
}

static void
on_puback(struct session *s, unsigned id)
{
	load.received++;
	if (s->stage == SESSION_DRAINING && id == LAST_ID) {
		s->stage = SESSION_UP;
		load.drained++;
	} else if (s->due_ns[id % SESSION_IDS] != 0) {
		note(s, s->due_ns[id % SESSION_IDS]);
		s->due_ns[id % SESSION_IDS] = 0;
	}
}

/* <two>: what follows the header. */
static void
on_packet(struct session *s, uint8_t type, const uint8_t *two)
{
	if (type == 2 && two[1] == 0 && s->stage == SESSION_LOGIN) {
		note(s, s->opened_ns);
		s->stage = SESSION_UP;
		load.up++;
	} else if (type == 4) {
		on_puback(s, (unsigned)two[0] << 8 | two[1]);
	} else if (type == 3) {
		load.received++;
	} else {
		lose(s);
	}
}

/* Returns whether the header and two bytes more are there: all packets that
   arrive here have those. */
static bool
take_head_byte(struct session *s, uint8_t byte)
{
	size_t n = 1; /* of the header */

	s->head[s->head_n++] = byte;
	s->skip = 0;
	for (; n < s->head_n; n++) {
		s->skip |= (size_t)(s->head[n] & 127) << 7 * (n - 1);
		if (s->head[n] < 128)
			break;
	}
	if (s->head_n < n + 3) {
		if (n > 4)
			lose(s);
		return false;
	}
	s->skip -= 2;
	s->head_n = 0;
	on_packet(s, s->head[0] >> 4, s->head + n + 1);
	return true;
}

static void
take(struct session *s, const uint8_t *p, size_t n)
{
	bool in_head = s->head_n > 0;

	while (n > 0 && s->stage != SESSION_CLOSED) {
		size_t piece = s->skip < n ? s->skip : n;

		if (in_head || piece == 0) {
			in_head = !take_head_byte(s, *p);
			piece = 1;
		} else {
			s->skip -= piece;
		}
		p += piece;
		n -= piece;
	}
}

static void
on_readable(struct session *s)
{
	static uint8_t bytes[READ_MAX];
	ssize_t n = recv(s->fd, bytes, sizeof(bytes), 0);

	if (n > 0) {
		load.received_bytes += (uint64_t)n;
		take(s, bytes, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		lose(s);
	}
}

static void
on_event(struct session *s, uint32_t events)
{
	if ((events & EPOLLOUT) != 0 && s->stage != SESSION_CLOSED) {
		if (flood.block != NULL && s->stage == SESSION_UP)
			send_flood(s);
		else
			session_flush(s);
	}
	if ((events & ~(uint32_t)EPOLLOUT) != 0 && s->stage != SESSION_CLOSED)
		on_readable(s);
}

void
load_turn(uint64_t ns)
{
	static struct epoll_event events[EVENTS];
	const struct timespec t = {.tv_nsec = (long)(ns % 1000000000)};
	struct pollfd poll = {.fd = epoll, .events = POLLIN};
	int n;

	/* epoll_wait() itself knows milliseconds only */
	if (ns > 0 && ns < EXACT_BELOW_NS) {
		if (ppoll(&poll, 1, &t, NULL) <= 0)
			return;
		ns = 0;
	}
	n = epoll_wait(epoll, events, EVENTS, (int)(ns / 1000000));
	for (int i = 0; i < n; i++)
		on_event(events[i].data.ptr, events[i].events);
}

static int
by_time(const void *a, const void *b)
{
	uint64_t x = ((const struct latency *)a)->ns;
	uint64_t y = ((const struct latency *)b)->ns;

	return (x > y) - (x < y);
}

static int
by_session(const void *a, const void *b)
{
	const struct session *x = ((const struct latency *)a)->session;
	const struct session *y = ((const struct latency *)b)->session;

	return x != y ? (x > y) - (x < y) : by_time(a, b);
}

static double
quantile_us(const struct latency *sorted, size_t n, unsigned permille)
{
	return n == 0 ? 0 : (double)sorted[n * permille / 1000].ns / 1e3;
}

static double
worst_p99_us(void)
{
	double worst = 0;
	size_t end;

	for (size_t i = 0; i < noted.n; i = end) {
		double p99;

		end = i + 1;
		while (end < noted.n &&
		       noted.all[end].session == noted.all[i].session)
			end++;
		p99 = quantile_us(noted.all + i, end - i, 990);
		worst = p99 > worst ? p99 : worst;
	}
	return worst;
}

struct latencies
load_latencies(void)
{
	struct latencies l = {.n = (unsigned)noted.n};

	if (noted.n == 0)
		return l;
	qsort(noted.all, noted.n, sizeof(*noted.all), by_session);
	l.worst_p99_us = worst_p99_us();
	qsort(noted.all, noted.n, sizeof(*noted.all), by_time);
	l.p50_us = quantile_us(noted.all, noted.n, 500);
	l.p99_us = quantile_us(noted.all, noted.n, 990);
	l.p999_us = quantile_us(noted.all, noted.n, 999);
	return l;
}
