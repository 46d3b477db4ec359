/*
 * cli: what the subcommands share: exit codes, options, loading the two files,
 * and the way errors are told. All of it runs in the main thread.
 */
#ifndef PROXY_CLI_CLI_H
#define PROXY_CLI_CLI_H

#include "base/attr.h"
#include "settings/credmap.h"
#include "settings/settings.h"

#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define CLI_PROGRAM "mqtt-wss-proxy"
#define CLI_SETTINGS_FILE "/etc/mqtt-wss-proxy/proxy.ini"
#define CLI_DEVICES_NAME "devices.ini" /* beside the settings file */

/* Exit codes; the help texts name them, and scripts rely on them. */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_REFUSED = 3 /* a file has errors; they have been told */
};

enum {
	CLI_UNSET_MAX = 40,           /* more than there are keys */
	CLI_TEXT_MAX = PATH_MAX + 256 /* a sentence with a file's name */
};

/* Text is the caller's argv, or static, or in <beside>. */
struct cli_options {
	const char *settings;  /* NULL: built-in defaults */
	const char *devices;   /* never NULL */
	const char *timestamp; /* NULL unless given */
	const char *client_id; /* what a device shows; NULL unless given */
	const char *username;
	const char *address;
	const char *socket; /* NULL unless given */
	bool json;
	bool watch;
	bool ready;
	bool payload;
	const char *iterations;
	uint8_t level;       /* of MQTT: 4 unless given */
	const char *operand; /* NULL unless the command takes one */
	char **operands;     /* all of them, when it takes several */
	int operand_count;
	const char *product;
	const char *format;
	const char *secret_file;
	const char *key_file; /* instead of [secrets] key_file */
	bool secret_prompt;
	bool secret_stdin;
	bool dry_run;
	const char *unset[CLI_UNSET_MAX];
	int unset_count;
	char beside[PATH_MAX]; /* devices.ini in the folder of <settings> */
};

/* A subcommand. It takes one operand, or none, or one and more. */
struct cli_command {
	const char *name;    /* all of its words: "device add" */
	const char *summary; /* one line, for the list of commands */
	const char *operand; /* how the help calls it, or NULL */
	bool operand_is_optional;
	bool operand_repeats;
	/* NULL, or its own subcommands up to a NULL; then it only has a help */
	const struct cli_command *const *commands;
	bool needs_no_files; /* settings and devices may be NULL then */
	const struct option *options;
	const char *help; /* what stands below the usage line */
	enum cli_exit (*run)(const struct cli_options *o);
};

extern const struct cli_command cli_run;
extern const struct cli_command cli_check;
extern const struct cli_command cli_sign;
extern const struct cli_command cli_doctor;
extern const struct cli_command cli_match;
extern const struct cli_command cli_topic;
extern const struct cli_command cli_status;
extern const struct cli_command cli_kick;
extern const struct cli_command cli_reload;
extern const struct cli_command cli_drain;
extern const struct cli_command cli_log;
extern const struct cli_command cli_healthcheck;
extern const struct cli_command cli_trace;
extern const struct cli_command cli_device;
extern const struct cli_command cli_device_list;
extern const struct cli_command cli_device_show;
extern const struct cli_command cli_device_add;
extern const struct cli_command cli_device_set;
extern const struct cli_command cli_device_remove;
extern const struct cli_command cli_device_import;
extern const struct cli_command cli_device_diff;
extern const struct cli_command cli_passwd;
extern const struct cli_command cli_device_encrypt;
extern const struct cli_command cli_device_decrypt;

/* Rows that the option table of every command with files begins with. */
/* clang-format off */
#define CLI_OPTIONS                                                          \
	{ "config", required_argument, NULL, 'c' },                          \
	{ "devices", required_argument, NULL, 'd' },                         \
	{ "help", no_argument, NULL, 'h' }
#define CLI_OPTIONS_HELP                                                     \
	"      --config FILE     how the proxy runs\n"                       \
	"                        (default: " CLI_SETTINGS_FILE ";\n"         \
	"                        built-in defaults when it is not there)\n"  \
	"      --devices FILE    the credential map\n"                       \
	"                        (default: " CLI_DEVICES_NAME                \
	" beside the config file)\n"                                         \
	"  -h, --help            print this help\n"
/* clang-format on */

/*
 * Reads the command's arguments; argv[0] is its name. False when that was all
 * there is to do (--help) or the arguments are wrong, which has been told then;
 * *code is what to exit with.
 */
NODISCARD bool cli_options_read(const struct cli_command *command, int argc,
    char **argv, struct cli_options *out, enum cli_exit *code);

/* Prints the command's help on standard output. */
void cli_help(const struct cli_command *command);

/* Prints a line for each: its name's last word and its summary. */
void cli_help_list(const struct cli_command *const *commands);

/*
 * Loads both files and tells every complaint about either on standard error, as
 * "FILE:LINE: error: text" or "... warning: text". False when one was refused;
 * otherwise the caller owns a reference on each result.
 */
NODISCARD bool cli_load(const struct cli_options *o, struct settings **settings,
    struct credmap **map);

/* As cli_load(); each file is told to <on_file>, unless that is NULL, before it
   is opened. */
NODISCARD bool cli_load_watched(const struct cli_options *o,
    void (*on_file)(void *arg, const char *path), void *arg,
    struct settings **settings, struct credmap **map);

/* As cli_load_watched(), but the map need not be there (credmap_await()). */
NODISCARD bool cli_load_to_run(const struct cli_options *o,
    void (*on_file)(void *arg, const char *path), void *arg,
    struct settings **settings, struct credmap **map);

/* A member of struct complaints: tells as cli_load() does. */
void cli_complaint(
    void *arg, bool is_error, const char *path, int line, const char *text);

/* " client_id=... username=..." of those that are in <keys>, bits of enum
   match_keys and of c->match. */
void cli_show_match(const struct credential *c, unsigned keys);

/* "(line 12)", of the map, or "(line 12 of secrets.csv)" */
void cli_show_line(const struct credential *c);

/*
 * Writes why <map> has no device that is called as the command's operand:
 * there is none, or it is a fleet, of which one device is named then.
 */
void cli_say_no_device(char out[static CLI_TEXT_MAX],
    const struct cli_options *o, const struct credmap *map);

/* "topic.1 = plant/+/state <-> /${pk}/${dn}/user/state/$1", "->" for way up,
   "<-" for way down, ", escaped" behind it. */
void cli_show_topic(const struct topic_spec *rule);

/* "192.0.2.0/24, 2001:db8::1" */
void cli_show_networks(const struct networks *networks);

/* "mqtt-wss-proxy: text" on standard error. */
void cli_tell(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* As cli_tell(), with a hint where help is. <command> NULL: none was given. */
enum cli_exit cli_misused(
    const struct cli_command *command, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
