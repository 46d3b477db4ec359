/*
 * topic_side: one side of a topic rule, LAN or cloud, as levels that names are
 * compared with. Read once, immutable then; refers to nothing outside itself.
 */
#ifndef PROXY_SETTINGS_TOPIC_SIDE_H
#define PROXY_SETTINGS_TOPIC_SIDE_H

#include "base/attr.h"
#include "base/span.h"
#include "settings/topic_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TOPIC_SIDE_BYTES_MAX = 256,
	TOPIC_LEVELS_MAX = 16,
	TOPIC_PIECES_MAX = 32,
	TOPIC_CAPTURES_MAX = 9
};

/* What the variables of one device stand for. */
struct topic_names {
	struct span pk; /* ProductKey */
	struct span dn; /* DeviceName */
	struct span label;
	struct span client_id; /* the one of the LAN */
};

enum topic_variable {
	TOPIC_NO_VARIABLE, /* text as it stands */
	TOPIC_PK,
	TOPIC_DN,
	TOPIC_LABEL,
	TOPIC_CLIENT_ID
};

struct topic_piece {
	enum topic_variable variable;
	struct span text; /* of TOPIC_NO_VARIABLE */
};

/* From the most specific to the least. */
enum topic_level_kind {
	TOPIC_LEVEL_TEXT,
	TOPIC_LEVEL_VARIABLES, /* text and variables */
	TOPIC_LEVEL_PART,      /* a capture with text or variables around it */
	TOPIC_LEVEL_ONE,       /* any one level: '+', "$1" */
	TOPIC_LEVEL_REST       /* all further levels, or none: '#', "$#" */
};

struct topic_level {
	enum topic_level_kind kind;
	unsigned capture; /* of PART and ONE: 1 to TOPIC_CAPTURES_MAX */
	/* what stands before the capture, and behind it, in the side's pieces;
	   without a capture all is before */
	const struct topic_piece *before, *behind;
	unsigned before_count, behind_count;
};

/* Not to be copied or moved: it points into itself. */
struct topic_side {
	bool is_cloud;
	unsigned level_count, piece_count;
	unsigned captures; /* the highest number of one */
	struct topic_level level[TOPIC_LEVELS_MAX];
	struct topic_piece piece[TOPIC_PIECES_MAX];
	uint8_t text[TOPIC_SIDE_BYTES_MAX];
};

/*
 * Reads <text>: for the LAN a topic filter whose '+' are captures 1, 2, ...,
 * for the cloud a template with "$1", ..., and "$#" as its last level; both
 * with ${pk}, ${dn}, ${label} and ${client_id}. NULL, or what is wrong with it,
 * to be said of it: "is empty".
 */
NODISCARD const char *topic_side_read(
    struct topic_side *side, bool is_cloud, struct span text);

/* Whether its last level is TOPIC_LEVEL_REST. */
bool topic_side_has_rest(const struct topic_side *side);

/* Where capture <number> is among the levels; -1: nowhere. */
int topic_side_capture_at(const struct topic_side *side, unsigned number);

/* Adds the pieces to <t>; it is unfit when a variable's value cannot stand on
   this side. */
void topic_side_put(const struct topic_side *side,
    const struct topic_piece *pieces, unsigned count,
    const struct topic_names *names, struct topic_text *t);

/* Whether <text> fits a level, which is no REST; <capture>, if not NULL, is
   then what its capture stands for, if it has one. */
bool topic_side_fits(const struct topic_side *side,
    const struct topic_level *level, const struct topic_names *names,
    struct span text, struct span *capture);

/* Whether what a level without capture stands for begins with a '$', so that
   no wildcard fits it (MQTT-4.7.2-1). */
bool topic_side_is_hidden(const struct topic_side *side,
    const struct topic_level *level, const struct topic_names *names);

/* The text that a level has before its first variable or capture: of
   TOPIC_LEVEL_TEXT all of it. */
struct span topic_level_head(const struct topic_level *level);

/*
 * Orders levels for an index; 0: alike, whatever the number of the capture.
 * Kinds from the more specific to the less. Texts by length, then by bytes; of
 * the other kinds the longer head first, then by the head's bytes. What is
 * inside of something else goes before it.
 */
int topic_level_order(const struct topic_level *a, const struct topic_level *b);

/* How the names that fit two sides, both of the LAN or both of the cloud, can
   lie to one another. */
enum topic_relation {
	TOPIC_APART,
	TOPIC_SAME,
	TOPIC_INSIDE, /* the first is more specific, level by level */
	TOPIC_AROUND, /* the second is */
	TOPIC_CROSS   /* some fit both, and neither is more specific */
};

/* What variables stand for is not known, so that two of them may always be the
   same; a level written out counts as more specific than one with variables. */
enum topic_relation topic_side_relation(
    const struct topic_side *a, const struct topic_side *b);

#endif
