/*
 * topic_text: a topic under construction in a caller's memory: its bounds, the
 * alphabet of the cloud, and how text outside that alphabet is escaped. Pure.
 *
 * The platform takes topics of at most 128 bytes and 7 slashes, with levels of
 * letters, digits and '_' ("What is a topic?" in its documentation). The names
 * of product and device, which the platform gives, may have more than that.
 *
 * Escaped, a level is letters and digits as they are, "__" for '_', "_HH" (two
 * hexadecimal digits, capitals) for any other byte, and "_" for a level without
 * a byte. So no two levels have one form, and a form that escaping does not
 * give ("_5F", "_2f", "_x") stands for no level.
 */
#ifndef PROXY_SETTINGS_TOPIC_TEXT_H
#define PROXY_SETTINGS_TOPIC_TEXT_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TOPIC_LAN_BYTES_MAX = 256,
	TOPIC_CLOUD_BYTES_MAX = 128,
	TOPIC_CLOUD_SLASHES_MAX = 7,
	TOPIC_SHARE_BYTES_MAX = 128 /* "$share/NAME/" before a filter */
};

enum topic_result {
	TOPIC_MAPPED,
	TOPIC_UNMAPPED, /* no rule fits */
	TOPIC_TOO_LONG  /* one does, but what it gives is over a limit */
};

/*
 * Once <result> is another than TOPIC_MAPPED nothing is added any more, and
 * the bytes mean nothing.
 */
struct topic_text {
	enum topic_result result;
	const char *limit; /* of TOPIC_TOO_LONG: "at most 7 slashes" */
	size_t n;
	size_t bytes_max;
	unsigned slashes;
	unsigned slashes_max;
	uint8_t p[TOPIC_LAN_BYTES_MAX];
};

/* Empty, with the bounds of the LAN or of the cloud. */
void topic_text_begin_lan(struct topic_text *t);
void topic_text_begin_cloud(struct topic_text *t);

/* Empty, for a filter of the cloud; <share> goes before it and does not count.
 */
void topic_text_begin_filter(struct topic_text *t, struct span share);

/* What <t> has so far. */
struct span topic_text_span(const struct topic_text *t);

/* No rule fits, after all. */
void topic_text_unfit(struct topic_text *t);

/* Adds <s> as it is. */
void topic_text_put(struct topic_text *t, struct span s);

/* Adds "/#" to a filter, unless no topic can be longer than it is by now. */
void topic_text_put_open(struct topic_text *t);

/*
 * Adds a level of the LAN, any bytes, as text of the cloud; <escape>: escaped,
 * else it has to be of the cloud's alphabet, or <t> is unfit. Escaped, it has
 * to be UTF-8 without U+0000, '+', '#' and '/', which no level has.
 */
void topic_text_put_escaped(struct topic_text *t, struct span s, bool escape);

/* The other way: adds the level that topic_text_put_escaped() would have
   written as <s>; when there is none, <t> is unfit. */
void topic_text_put_unescaped(struct topic_text *t, struct span s, bool escape);

/* Orders texts, by length and then by bytes, as memcmp() would. */
int topic_text_order(struct span a, struct span b);

/* Letters, digits and '_', or nothing. */
NODISCARD bool topic_text_is_plain(struct span s);

/* One of the words with which the platform begins its own topics (/sys/...),
   and which are no ProductKey. */
NODISCARD bool topic_text_is_system(struct span s);

/* Without U+0000, '+', '#' and '/': fit to be one level of a name. */
NODISCARD bool topic_text_is_level(struct span s);

#endif
