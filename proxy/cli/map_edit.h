/*
 * map_edit: what the commands that change the credential map share: the map is
 * locked, read, changed in memory, tried as the proxy would load it, and only
 * then put in place, all of it or nothing. Runs in the main thread; tells on
 * standard error. Ask for secrets before: meanwhile others wait.
 */
#ifndef PROXY_CLI_MAP_EDIT_H
#define PROXY_CLI_MAP_EDIT_H

#include "cli/cli.h"
#include "settings/file_replace.h"
#include "settings/map_text.h"
#include "settings/sealed.h"

struct map_edit {
	const struct cli_options *o;
	struct settings *settings;
	struct credmap *map;    /* as it was; NULL: it has errors */
	struct map_text *text;  /* to be changed */
	bool is_sealed;         /* it had sealed secrets when it was read */
	struct sealed_key *key; /* they are sealed with it; NULL: none */
	uint8_t salt[SEALED_SALT_BYTES]; /* for <key> */
	struct file_replace file;
};

/* False, with nothing to end, after telling why; <*code> is what to exit
   with. */
NODISCARD bool map_edit_begin(
    struct map_edit *e, const struct cli_options *o, enum cli_exit *code);

/* The same, but a map that is not there is an empty one: it is made when it is
   saved. */
NODISCARD bool map_edit_begin_new(
    struct map_edit *e, const struct cli_options *o, enum cli_exit *code);

/* The head of a device's section, or MAP_TEXT_NONE after telling that there is
   none, or that it is one of a fleet. */
NODISCARD size_t map_edit_find(const struct map_edit *e, const char *label);

/* Whether there is a section of that label. */
bool map_edit_has(const struct map_edit *e, const char *label);

/* A new section at the end. MAP_TEXT_NONE after telling that the label cannot
   be one, or is taken, or that there is no memory. */
NODISCARD size_t map_edit_add(struct map_edit *e, const char *label);

/* The same for a label that can be one, and that is not taken. */
NODISCARD size_t map_edit_append(struct map_edit *e, const char *label);

/* Sets a key, and takes those out that exclude it: a secret stands in one place
   only. It is sealed when others of the map are, and refused when their key
   cannot be used. False after telling why the value cannot stand there. */
NODISCARD bool map_edit_set(
    struct map_edit *e, size_t head, const char *key, struct span value);

/* Tries the changed map and puts it in place, unless this is a dry run. Says
   what happens next, or why nothing was changed. */
NODISCARD enum cli_exit map_edit_save(struct map_edit *e);

/* Gives back and wipes everything, saved or not. */
void map_edit_end(struct map_edit *e);

#endif
