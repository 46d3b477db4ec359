#include "cli/cli.h"

#include "base/escape.h"
#include "settings/ini.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
#define X(name, in_product, def, what) KEY_##name,
enum key { CREDMAP_KEYS(X) KEY_COUNT };
#undef X
#define X(name, in_product, def, what) #name,
static const char *const keys[] = { CREDMAP_KEYS(X) };
#undef X
/* clang-format on */

enum { FILE_NAME_MAX = INI_LINE_BYTES + 1 };

/* Where the keys of a device and of its product stand; line 0: nowhere. */
struct places {
	char device[INI_SECTION_BYTES + 1];
	char product[INI_SECTION_BYTES + 1];
	int *now; /* of the section that is read; NULL: of another */
	int own[KEY_COUNT];
	int shared[KEY_COUNT];
	bool own_topics;
	/* what device_secret(s)_file and password_file are */
	char secret_file[FILE_NAME_MAX];
	char password_file[FILE_NAME_MAX];
};

static void
on_section(void *arg, int line, const char *name)
{
	struct places *p = arg;

	(void)line;
	p->now = strcmp(name, p->device) == 0    ? p->own
		 : strcmp(name, p->product) == 0 ? p->shared
						 : NULL;
}

static void
on_value(void *arg, int line, const char *name, const char *value)
{
	struct places *p = arg;

	for (int key = 0; p->now != NULL && key < KEY_COUNT; key++)
		if (strcmp(keys[key], name) == 0)
			p->now[key] = line;
	if (p->now != p->own)
		return;
	p->own_topics = p->own_topics || credmap_is_topic_key(name);
	if (strcmp(name, keys[KEY_device_secret_file]) == 0 ||
	    strcmp(name, keys[KEY_device_secrets_file]) == 0)
		(void)snprintf(p->secret_file, FILE_NAME_MAX, "%s", value);
	if (strcmp(name, keys[KEY_password_file]) == 0)
		(void)snprintf(p->password_file, FILE_NAME_MAX, "%s", value);
}

/* A device of a fleet has the fleet's label before its slash. False after
   telling that the file cannot be read any more. */
static bool
find_places(
    struct places *p, const struct cli_options *o, const struct credential *c)
{
	const struct ini_handler handler = {on_section, on_value, p};
	struct complaints to = {.tell = cli_complaint};

	memset(p, 0, sizeof(*p));
	(void)snprintf(p->device, sizeof(p->device), "device:%.*s",
	    (int)strcspn(c->label, "/"), c->label);
	(void)snprintf(
	    p->product, sizeof(p->product), "product:%s", c->product_key);
	return ini_read(o->devices, &handler, &to);
}

/* " (line 7)", and the end of the line. Of several keys the first that is
   there; up to a KEY_COUNT. */
static void
show_place(const struct places *p, const enum key *among)
{
	for (const enum key *key = among; *key != KEY_COUNT; key++) {
		if (p->own[*key] != 0) {
			(void)printf(" (line %d)\n", p->own[*key]);
			return;
		}
	}
	for (const enum key *key = among; *key != KEY_COUNT; key++) {
		if (p->shared[*key] != 0) {
			(void)printf(
			    " ([%s], line %d)\n", p->product, p->shared[*key]);
			return;
		}
	}
	(void)printf(" (default)\n");
}

/* A text, which may be any; NULL: the device has none. */
static void
show(const struct places *p, enum key key, const char *value)
{
	char text[4 * CREDENTIAL_HOST_MAX + 1];
	const enum key among[] = {key, KEY_COUNT};

	if (value == NULL)
		return;
	(void)printf("%s = %s", keys[key],
	    escape(text, sizeof(text), span_of_string(value)));
	show_place(p, among);
}

static void
show_number(
    const struct places *p, enum key key, uint64_t value, const char *unit)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%" PRIu64 "%s", value, unit);
	show(p, key, text);
}

/* <among>: the keys it may come from, itself the first. */
static void
show_secret(const struct places *p, const enum key *among, const char *file)
{
	char text[4 * FILE_NAME_MAX];

	(void)printf("%s = set", keys[among[0]]);
	if (file[0] != '\0')
		(void)printf(", from the file %s",
		    escape(text, sizeof(text), span_of_string(file)));
	show_place(p, among);
}

static void
show_match(const struct places *p, const struct credential *c)
{
	show(p, KEY_match_client_id, c->match_client_id);
	show(p, KEY_match_username, c->match_username);
	show(p, KEY_match_address, c->match_address);
	show(p, KEY_match_case, c->match_case ? "yes" : "no");
	if (c->allow_from.count > 0) {
		const enum key among[] = {KEY_allow_from, KEY_COUNT};

		(void)printf("%s = ", keys[KEY_allow_from]);
		cli_show_networks(&c->allow_from);
		show_place(p, among);
	}
}

static void
show_where(const struct places *p, const struct credential *c)
{
	const enum key host[] = {KEY_region, KEY_instance, KEY_host, KEY_COUNT};
	const enum key transports[] = {KEY_transports, KEY_COUNT};

	(void)printf("host = %s", c->host);
	show_place(p, host);
	show_number(p, KEY_port, c->port, "");
	show_number(p, KEY_mqtts_port, c->mqtts_port, "");
	show(p, KEY_path, c->path);
	(void)printf("transports = ");
	for (unsigned i = 0; i < c->transports.count; i++)
		(void)printf("%s%s", i > 0 ? ", " : "",
		    transport_word((enum transport)c->transports.order[i]));
	show_place(p, transports);
	if (c->server_name != c->host)
		show(p, KEY_server_name, c->server_name);
}

static void
show_login(const struct places *p, const struct credential *c)
{
	show(p, KEY_sign_method, aliyun_sign_method_word(c->sign_method));
	if (c->timestamp_mode == TIMESTAMP_FIXED)
		show_number(p, KEY_timestamp, c->timestamp_ms, "");
	else
		show(p, KEY_timestamp,
		    c->timestamp_mode == TIMESTAMP_NOW ? "now" : "none");
	show(p, KEY_extra, c->extra);
	if (c->keep_alive_s != 0)
		show_number(p, KEY_keep_alive, c->keep_alive_s, "s");
	else
		show(p, KEY_keep_alive, "device");
	show(p, KEY_clean_session,
	    c->clean_session == CLEAN_AS_DEVICE ? "device"
	    : c->clean_session == CLEAN_YES     ? "yes"
						: "no");
}

static void
show_policies(const struct places *p, const struct credential *c)
{
	char text[VALUE_TEXT_MAX];

#define X(x, name, first, second, third, what)                                 \
	show(p, KEY_##name, policy_word(POLICY_##name, c->policies.name));
	POLICIES(X, )
#undef X
	show(p, KEY_qos0_queue,
	    value_write(text, VALUE_BYTES, c->qos0_queue_bytes));
	show(p, KEY_hold_time, value_write(text, VALUE_TIME, c->hold_time_ms));
	show(p, KEY_hold_queue,
	    value_write(text, VALUE_BYTES, c->hold_queue_bytes));
}

/* Which one, and its rules that are others than that one has. */
static void
show_contract(const struct places *p, const struct contract *contract)
{
	char text[VALUE_TEXT_MAX];

	show(p, KEY_contract,
	    contract_cloud_word((enum contract_cloud)contract->cloud));
	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++)
		if (!contract_rule_is_plain(contract, i))
			show(p, (enum key)(KEY_contract + 1 + i),
			    contract_rule_write(contract, i, text));
}

static void
show_topics(const struct places *p, const struct topic_map *topics)
{
	const struct topic_spec *rules;
	size_t count = 0;

	if (topics != NULL)
		rules = topic_map_specs(topics, &count);
	for (size_t i = 0; i < count; i++) {
		cli_show_topic(&rules[i]);
		if (p->own_topics)
			(void)printf(" (line %d)\n", rules[i].line);
		else
			(void)printf(
			    " ([%s], line %d)\n", p->product, rules[i].line);
	}
}

static enum cli_exit
show_device(const struct cli_options *o, const struct settings *settings,
    const struct credential *c)
{
	static const enum key secrets[] = {KEY_device_secret,
	    KEY_device_secret_file, KEY_device_secrets_file, KEY_COUNT};
	static const enum key passwords[] = {
	    KEY_password, KEY_password_file, KEY_password_hash, KEY_COUNT};
	struct places p;

	if (!find_places(&p, o, c))
		return CLI_REFUSED;
	(void)printf("label = %s ", c->label);
	cli_show_line(c);
	(void)putchar('\n');
	show(&p, KEY_product_key, c->product_key);
	show(&p, KEY_device_name, c->device_name);
	show_secret(&p, secrets, p.secret_file);
	show(&p, KEY_client_id, c->client_id);
	show_match(&p, c);
	if (c->has_password)
		show_secret(&p, passwords, p.password_file);
	show(&p, KEY_verify_login, c->verify_login ? "yes" : "no");
	show(&p, KEY_enabled, c->enabled ? "yes" : "no");
	show_where(&p, c);
	show_login(&p, c);
	show_policies(&p, c);
	show_contract(&p, c->contract);
	show_topics(&p, c->topics);
	show(&p, KEY_log_level,
	    log_level_word(c->log.set ? c->log.level : settings->log_level));
	return CLI_OK;
}

static enum cli_exit
show_one(const struct cli_options *o)
{
	struct settings *settings;
	struct credmap *map;
	const struct credential *c;
	char text[CLI_TEXT_MAX];
	enum cli_exit code = CLI_FAILED;

	if (!cli_load(o, &settings, &map))
		return CLI_REFUSED;
	c = credmap_by_label(map, o->operand);
	if (c != NULL) {
		code = show_device(o, settings, c);
	} else {
		cli_say_no_device(text, o, map);
		cli_tell("%s", text);
	}
	credmap_unref(map);
	settings_unref(settings);
	return code;
}

static const struct option options[] = {CLI_OPTIONS, {NULL, 0, NULL, 0}};

/* clang-format off */
static const char help[] =
"Prints all that is known of one device, one 'key = value' a line, and where\n"
"each comes from: a line of its own section, its product's, or the default.\n"
"Secrets are never printed.\n"
"\n"
CLI_OPTIONS_HELP
"\n"
"Exit codes: 0 printed; 1 no such device; 2 wrong usage;\n"
"3 a file was refused.\n";
/* clang-format on */

const struct cli_command cli_device_show = {
    .name = "device show",
    .summary = "print all that is known of one device",
    .operand = "LABEL",
    .options = options,
    .help = help,
    .run = show_one,
};
