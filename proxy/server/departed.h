/*
 * departed: why the last session of each device ended, for as many devices as
 * there is room for: whoever left longest ago is forgotten first. One worker's,
 * on its thread.
 */
#ifndef PROXY_SERVER_DEPARTED_H
#define PROXY_SERVER_DEPARTED_H

#include "base/fault.h"
#include "session/report.h"
#include "settings/credmap.h"

#include <stdint.h>
#include <sys/queue.h>

enum { DEPARTED_MAX = 4096 };

struct departed_device {
	char product_key[ALIYUN_PRODUCT_KEY_MAX + 1];
	char device_name[ALIYUN_DEVICE_NAME_MAX + 1];
	char label[CREDENTIAL_ENTRY_LABEL_MAX + 1]; /* it had then */
	char peer[PEER_TEXT];
	enum reason reason;
	char detail[REPORT_DETAIL_MAX];
	uint64_t at_ms; /* of clock_mono_ms() */
	TAILQ_ENTRY(departed_device) next;
};

struct departed {
	void *tree; /* of tsearch() */
	unsigned n;
	TAILQ_HEAD(, departed_device) all; /* the latest is the last */
};

void departed_init(struct departed *d);
void departed_clear(struct departed *d);

/* A session of <entry> from <peer> has ended for <why>. Without memory that is
   not noted. */
void departed_note(struct departed *d, const struct credential *entry,
    const char *peer, const struct fault *why, uint64_t now_ms);

/* NULL: nothing is known of it. */
const struct departed_device *departed_of(
    const struct departed *d, const char *product_key, const char *device_name);

#endif
