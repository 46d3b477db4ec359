/*
 * map_state: which credential map is in use, and whether a newer one was
 * refused: what has scrolled out of the log stays visible here. The door's
 * thread has it.
 */
#ifndef PROXY_SERVER_MAP_STATE_H
#define PROXY_SERVER_MAP_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why a reload was refused: the first complaint, cut where it is too long.
   Zero: nothing to complain about. */
struct map_refusal {
	unsigned errors;
	int line; /* 0: about the file as a whole */
	char file[256];
	char text[512];
};

/* One more error; the first one is kept. */
void map_refusal_add(
    struct map_refusal *r, const char *file, int line, const char *text);

struct map_state {
	const char *file; /* the caller's */
	size_t devices;
	uint64_t loaded_ms; /* wall clock, as below */
	unsigned long reloads;
	unsigned long reloads_refused;
	bool refused;        /* the files are newer than what is in use */
	uint64_t refused_ms; /* since when */
	struct map_refusal refusal;
};

/* A map of <devices> entries is in use from now on. */
void map_state_loaded(struct map_state *m, size_t devices, uint64_t now_ms);

/* A reload was refused; what was in use before stays in use. */
void map_state_refused(
    struct map_state *m, const struct map_refusal *why, uint64_t now_ms);

#endif
