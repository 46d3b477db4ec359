/*
 * life: one session between a device (lan) and its cloud, and what it said when
 * it ended.
 */
#ifndef TESTS_UNIT_LIFE_H
#define TESTS_UNIT_LIFE_H

#include "base/log.h"
#include "codec/mqtt.h"
#include "codec/mqtt_connect.h"
#include "session/session.h"
#include "settings/credmap.h"

#include "cloud.h"
#include "lan.h"

#include <fcntl.h>
#include <sys/mman.h>

struct life {
	struct rig rig;
	struct pki pki;
	struct cloud cloud;
	enum transport transport;
	struct lan lan;
	const char *contract; /* NULL: none, every packet passes as it is */
	bool holds;           /* the device outlives its link */
	struct credmap *map;
	const struct credential *entry;
	struct session_env env;
	struct device_memory memory;
	struct session *session; /* NULL: it is dead */
	int log;                 /* takes standard error meanwhile */
	int stderr_kept;
};

static inline void
life_on_dead(void *arg, struct session *s)
{
	struct life *l = arg;

	assert_ptr_equal(s, l->session);
	assert_int_equal(s->link.state, LINK_IDLE);
	assert_int_equal(s->device.state, DEVICE_GONE);
	session_free(&l->session);
	assert_null(l->session);
	rig_wake(&l->rig);
}

/* Loads a map of one entry, <more> lines added. */
static inline struct credmap *
life_map(struct life *l, const char *more)
{
	char text[1024];
	struct credmap *map;
	const char *path;

	(void)snprintf(text, sizeof(text),
	    "[device:pump-7]\n"
	    "product_key = a1B2c3D4e5F\ndevice_name = pump_7\n"
	    "device_secret = 0123456789abcdef0123456789abcdef\n"
	    "timestamp = 789\nhost = 127.0.0.1\nport = %u\n"
	    "mqtts_port = %u\ntransports = %s\ncontract = %s\n"
	    "on_link_loss = %s\n%s",
	    l->cloud.port, l->cloud.port, transport_word(l->transport),
	    l->contract != NULL ? l->contract : "none",
	    l->holds ? "hold" : "close", more);
	path = scratch_write(l->rig.scratch, "devices.ini",
	    (struct span){(const uint8_t *)text, strlen(text)});
	map = credmap_load(path, l->rig.settings, &l->rig.scratch->complaints);
	if (map == NULL)
		fail_msg("%s", l->rig.scratch->told);
	return map;
}

/* From now on devices get the entry of such a map. */
static inline void
life_use(struct life *l, const char *contract, const char *more)
{
	credmap_unref(l->map);
	l->contract = contract;
	l->map = life_map(l, more);
	l->entry = credmap_at(l->map, 0);
}

static inline void
life_open_over(struct life *l, enum transport transport)
{
	bool tls = transport_has_tls(transport);

	*l = (struct life){.transport = transport};
	rig_open(&l->rig);
	pki_open(&l->pki, "Throw-away root");
	pki_trust(&l->pki, l->rig.scratch, l->rig.settings);
	cloud_open(&l->cloud, &l->rig,
	    tls ? pki_server(&l->pki, "IP:127.0.0.1", -PKI_DAY_S, PKI_DAY_S)
		: NULL,
	    16 * 1024);
	lan_open(&l->lan, &l->rig);
	l->map = life_map(l, "");
	l->entry = credmap_at(l->map, 0);
	l->rig.settings->close_timeout_ms = 1000;
	l->rig.env.trust = trust_new(l->rig.settings, NULL);
	l->rig.env.tickets = tickets_new();
	l->rig.env.holdoffs = holdoffs_new();
	l->rig.env.habits = habits_new();
	l->rig.env.idle_cuts = idle_cuts_new();
	l->rig.env.egress_memory = egress_memory_new();
	assert_non_null(l->rig.env.trust);
	l->env = (struct session_env){.link = l->rig.env,
	    .device = l->lan.env,
	    .on_dead = life_on_dead,
	    .arg = l};
	l->log = memfd_create("log", MFD_CLOEXEC);
	assert_true(l->log >= 0);
	l->stderr_kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	(void)dup2(l->log, STDERR_FILENO);
	log_set_level(LOG_INFO);
}

static inline void
life_open(struct life *l, bool tls)
{
	life_open_over(l, tls ? TRANSPORT_WSS : TRANSPORT_WS);
}

/* What was logged so far, NUL-terminated. */
static inline const char *
life_log(struct life *l)
{
	static char text[64 * 1024];
	ssize_t n = pread(l->log, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static inline void
life_close(struct life *l)
{
	if (l->session != NULL)
		session_free(&l->session);
	device_memory_free(&l->memory);
	(void)dup2(l->stderr_kept, STDERR_FILENO);
	(void)close(l->stderr_kept);
	/* what fail_msg() has said went there too */
	if (strstr(life_log(l), "ERROR: ") != NULL)
		(void)fputs(life_log(l), stderr);
	(void)close(l->log);
	lan_close(&l->lan);
	cloud_close(&l->cloud);
	rig_close(&l->rig);
	credmap_unref(l->map);
	trust_unref(l->rig.env.trust);
	tickets_free(&l->rig.env.tickets);
	holdoffs_free(&l->rig.env.holdoffs);
	habits_free(&l->rig.env.habits);
	idle_cuts_free(&l->rig.env.idle_cuts);
	egress_memory_free(&l->rig.env.egress_memory);
	pki_close(&l->pki);
}

/* The word of the reason with which the session ended; it must have, once. */
static inline const char *
life_reason(struct life *l)
{
	static char word[40];
	const char *text = life_log(l);
	const char *end = strstr(text, "event=session_end ");
	const char *reason;

	if (end == NULL)
		fail_msg("no session_end in '%s'", text);
	assert_null(strstr(end + 1, "event=session_end "));
	assert_non_null(strstr(end, "label=pump-7 peer=127.0.0.1:1 "));
	reason = strstr(end, "reason=");
	assert_non_null(reason);
	assert_int_equal(sscanf(reason, "reason=%39s", word), 1);
	return word;
}

static inline void
life_forget_log(struct life *l)
{
	assert_int_equal(ftruncate(l->log, 0), 0);
	(void)lseek(l->log, 0, SEEK_SET);
}

/* Hands a device to a new session: its CONNECT and what came behind it. False:
   there was no memory for a session. */
static inline bool
life_try_begin(
    struct life *l, const struct mqtt_connect *connect, struct span behind)
{
	struct knock *k = calloc(1, sizeof(*k));
	size_t n = mqtt_connect_size(connect);
	uint8_t *to;

	assert_null(l->session);
	assert_non_null(k);
	life_forget_log(l);
	to = buffer_reserve(&k->bytes, n);
	assert_non_null(to);
	mqtt_connect_write(connect, to);
	buffer_commit(&k->bytes, n);
	assert_true(buffer_append(&k->bytes, behind));
	k->connect_bytes = n;
	k->fd = lan_connect(&l->lan);
	k->map = credmap_ref(l->map);
	k->entry = l->entry;
	(void)strcpy(k->peer, "127.0.0.1:1");
	assert_true(network_read("127.0.0.1", &k->address));
	l->session = session_new(&l->env, k, &l->memory);
	if (l->session != NULL)
		return true;
	linger(l->lan.lingering, k->fd, &(struct buffer){0}, 1000);
	buffer_free(&k->bytes);
	credmap_unref(k->map);
	free(k);
	return false;
}

static inline void
life_begin(struct life *l, uint8_t level)
{
	struct mqtt_connect connect = {.level = level,
	    .clean = true,
	    .keep_alive_s = 60,
	    .client_id = SPAN_OF("pump-7")};

	assert_true(life_try_begin(l, &connect, SPAN_OF("")));
}

#define CONNACK_4 SPAN_OF("\x20\x02\x00\x00")
#define CONNACK_5 SPAN_OF("\x20\x03\x00\x00\x00")

static inline struct span
life_connack(uint8_t level)
{
	return level >= 5 ? CONNACK_5 : CONNACK_4;
}

/* Logs in: from here on both sides carry packets. */
static inline void
life_login(struct life *l, uint8_t level)
{
	struct frame connect;

	life_begin(l, level);
	cloud_welcome(&l->cloud);
	connect = cloud_frame(&l->cloud);
	frame_free(&connect);
	cloud_say(&l->cloud, life_connack(level));
	lan_expect(&l->lan, life_connack(level));
	until(&l->rig, l->session->device.state == DEVICE_ONLINE);
}

/* The cloud answers a close until the session is dead. */
static inline void
life_expect_dead(struct life *l)
{
	if (l->cloud.fd >= 0 && !l->cloud.ended) {
		struct frame f;

		while (!cloud_try_frame(&l->cloud, &f) && !l->cloud.ended)
			until(&l->rig,
			    cloud_read(&l->cloud) || l->session == NULL);
		if (!l->cloud.ended) {
			assert_int_equal(f.opcode, WS_CLOSE);
			frame_free(&f);
			cloud_send_close(&l->cloud, WS_CLOSE_NORMAL);
		}
	}
	until(&l->rig, l->session == NULL);
	cloud_hang_up(&l->cloud);
}

#endif
