/*
 * sliding: at most so many events, and at most so many bytes, in any window of
 * SLIDING_WINDOW_MS, wherever it begins. Pure: time is an argument, and the
 * memory is the caller's.
 *
 * Both say when the next may come (..._due_ms()) and are told when it has come
 * (..._add()). The times given to one never go back.
 */
#ifndef PROXY_CODEC_SLIDING_H
#define PROXY_CODEC_SLIDING_H

#include <stdint.h>

enum {
	/* The limits are meant for a second. What is sent a second apart may
	   arrive closer together, and the clock is some milliseconds coarse:
	   this is the second, and the most by which both may be off. */
	SLIDING_WINDOW_MS = 1050,
	/* Bytes are counted together for so long. */
	SLIDING_BUCKET_MS = 50,
	/* The window, and the bucket it begins in. */
	SLIDING_BUCKETS = SLIDING_WINDOW_MS / SLIDING_BUCKET_MS + 1
};

/* When the last <max> events were: exact. */
struct sliding_count {
	uint64_t *at_ms; /* a ring */
	uint32_t max;
	uint32_t n;
	uint32_t next; /* where the next goes; in a full ring the oldest is */
};

/* <ring> has room for <max> events, 1 or more, and outlives <s>. */
void sliding_count_init(struct sliding_count *s, uint64_t *ring, uint32_t max);

/* The earliest time of one more event; 0: any. */
uint64_t sliding_count_due_ms(const struct sliding_count *s);

/* An event at <now_ms>, which is not before what is due. */
void sliding_count_add(struct sliding_count *s, uint64_t now_ms);

/*
 * How many bytes there were, by buckets. A bucket counts until all of it is
 * older than the window, so bytes count for at most SLIDING_BUCKET_MS too long,
 * never too short. Zero-initialised is empty.
 */
struct sliding_bytes {
	uint64_t newest; /* the number of the newest bucket, from time 0 on */
	uint64_t sum;
	uint64_t bytes[SLIDING_BUCKETS]; /* a ring, by number */
};

/* The earliest time of <n> more bytes when a window may have <max> (1 or more);
   0: any. Of <n> over <max> it is the time when the window is empty. */
uint64_t sliding_bytes_due_ms(
    const struct sliding_bytes *s, uint64_t n, uint64_t max);

void sliding_bytes_add(struct sliding_bytes *s, uint64_t n, uint64_t now_ms);

#endif
