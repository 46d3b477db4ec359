/*
 * device: the LAN side of one session: its socket, its keep-alive, the bytes on
 * their way in and out. Embedded in the session, on the session's thread.
 *
 *	WAIT -> ONLINE -> GONE
 *
 * WAIT: the CONNECT is read, the cloud has not answered yet; nothing is read.
 * The close itself (last bytes, FIN, the device's FIN) is lingering's.
 */
#ifndef PROXY_SESSION_DEVICE_H
#define PROXY_SESSION_DEVICE_H

#include "base/attr.h"
#include "base/buffer.h"
#include "base/fault.h"
#include "base/span.h"
#include "link/loop.h"
#include "link/tap.h"
#include "session/linger.h"
#include "settings/settings.h"

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

enum device_state { DEVICE_WAIT, DEVICE_ONLINE, DEVICE_GONE };

/* What the owner is told; it may call any device function from inside. */
struct device_owner {
	/* Bytes from the device, from where the owner stopped last time, in the
	   loop's scratch. Returns how many it has taken; the rest comes again,
	   with more behind it. It may pause the device. */
	size_t (*on_bytes)(void *arg, struct span bytes);
	/* Nothing is kept for the device any more. */
	void (*on_room)(void *arg);
	/* The device is gone: it closed, broke, fell silent or stuck. Once. */
	void (*on_gone)(void *arg, const struct fault *why);
};

/* What a worker's devices share. */
struct device_env {
	struct loop *loop;
	struct lingering *lingering;
	struct settings *settings; /* exchanged by a reload */
};

struct device {
	struct device_env *env;
	const struct device_owner *owner;
	void *arg;
	struct tap *tap; /* the owner's, or NULL */
	enum device_state state;
	int fd;
	struct event io;
	struct event timer;
	struct task again;
	struct buffer in; /* read, but not taken by the owner yet */
	struct buffer
	    out;       /* written by the owner, but not taken by the device */
	bool readable; /* nothing has said "no more" yet */
	bool paused;   /* the owner takes no more for now */
	bool untried;  /* <in> may hold what the owner would take now */
	bool fin_seen; /* the end is there, maybe behind more bytes */
	bool torn;     /* it missed bytes: no others may follow */
	uint64_t silence_max_ms; /* 0: not policed yet */
	uint64_t heard_ms;
	uint64_t blocked_ms;     /* since when <out> is not empty; 0: it is */
	struct witness *witness; /* of its close: the owner's, or NULL */
};

/*
 * Takes over <fd>, which is non-blocking, and the bytes of <pipelined> that
 * came behind CONNECT. False without memory: then both stay the caller's.
 */
NODISCARD bool device_init(struct device *d, struct device_env *env,
    const struct device_owner *owner, void *arg, int fd,
    struct buffer *pipelined);

/* From now on it is read, and silence over <keep_alive_s> x 1.5 ends it; 0:
   [limits] idle_timeout does (MQTT-3.1.2-24, MQTT 5 MQTT-3.1.2-22). */
void device_go_online(struct device *d, uint16_t keep_alive_s);

/* Writes; what the device does not take at once is kept. */
void device_write(struct device *d, struct span bytes);

/* True while nothing is kept for it: more may be written. */
static inline bool
device_takes(const struct device *d)
{
	return d->state != DEVICE_GONE && d->out.n == 0;
}

/* True when the device is probably not there any more, though that is not sure
   yet: it has been silent for longer than its keep-alive, or does not take or
   acknowledge what was sent to it. */
bool device_seems_lost(const struct device *d);

/* While paused it is not read, and its silence does not count. */
void device_pause(struct device *d, bool paused);

/* Writes <last>, behind what is kept, and closes in order. */
void device_close(struct device *d, struct span last);

#endif
