#include "cli/cli.h"

#include "link/trust.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void
show_setting(void *arg, const char *section, const char *key, const char *value,
    bool is_default)
{
	(void)arg;
	(void)printf("%s.%s = %s%s\n", section, key, value,
	    is_default ? " (default)" : "");
}

static void
show_place(
    const struct credential *c, enum transport transport, const char *before)
{
	bool is_ipv6 = strchr(c->host, ':') != NULL;

	(void)printf("%s%s://%s%s%s:%u%s", before, transport_word(transport),
	    is_ipv6 ? "[" : "", c->host, is_ipv6 ? "]" : "",
	    (unsigned)credential_port(c, transport),
	    transport_has_websocket(transport) ? c->path : "");
}

/* It may be the environment's, so it stands in no file. */
static void
show_egress(const struct settings *s, const struct credential *c,
    enum transport transport)
{
	const struct egress *egress =
	    egress_for(s, transport_has_tls(transport), c->host);
	char text[EGRESS_TEXT_MAX];

	if (egress != NULL)
		(void)printf(" by egress proxy %s", egress_show(egress, text));
}

/* What makes it another than that of aliyun. */
static void
show_contract(const struct contract *contract)
{
	char text[VALUE_TEXT_MAX];

	if (contract->cloud != CONTRACT_ALIYUN)
		(void)printf(", contract = %s",
		    contract_cloud_word((enum contract_cloud)contract->cloud));
	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++)
		if (!contract_rule_is_plain(contract, i))
			(void)printf(", %s = %s", contract_rule_name(i),
			    contract_rule_write(contract, i, text));
}

/* Those that are not as they are by default. */
static void
show_policies(const struct credential *c)
{
	char text[VALUE_TEXT_MAX];

#define X(x, name, first, second, third, what)                                 \
	if (c->policies.name != 0)                                             \
		(void)printf(", " #name " = %s",                               \
		    policy_word(POLICY_##name, c->policies.name));
	POLICIES(X, )
#undef X
	if (c->qos0_queue_bytes != CREDENTIAL_QOS0_QUEUE_BYTES)
		(void)printf(", qos0_queue = %s",
		    value_write(text, VALUE_BYTES, c->qos0_queue_bytes));
	if (c->hold_time_ms != CREDENTIAL_HOLD_TIME_MS)
		(void)printf(", hold_time = %s",
		    value_write(text, VALUE_TIME, c->hold_time_ms));
	if (c->hold_queue_bytes != CREDENTIAL_HOLD_QUEUE_BYTES)
		(void)printf(", hold_queue = %s",
		    value_write(text, VALUE_BYTES, c->hold_queue_bytes));
}

static void
show_topics(const struct topic_map *topics)
{
	const struct topic_spec *rules;
	size_t count = 0;

	if (topics != NULL)
		rules = topic_map_specs(topics, &count);
	for (size_t i = 0; i < count; i++) {
		(void)printf(", ");
		cli_show_topic(&rules[i]);
	}
}

/* Those that are not as they are by default. */
static void
show_rules(const struct credential *c)
{
	if (!c->match_case)
		(void)printf(", match_case = no");
	if (c->allow_from.count > 0) {
		(void)printf(", allow_from = ");
		cli_show_networks(&c->allow_from);
	}
	if (c->keep_alive_s != 0)
		(void)printf(", keep_alive = %us", (unsigned)c->keep_alive_s);
	if (c->clean_session != CLEAN_AS_DEVICE)
		(void)printf(", clean_session = %s",
		    c->clean_session == CLEAN_YES ? "yes" : "no");
	if (c->log.set)
		(void)printf(", log_level = %s", log_level_word(c->log.level));
	if (!c->enabled)
		(void)printf(", enabled = no");
	show_policies(c);
	show_contract(c->contract);
	show_topics(c->topics);
}

static void
show_device(const struct settings *s, const struct credential *c)
{
	(void)printf(
	    "device %s: %s/%s at ", c->label, c->product_key, c->device_name);
	for (unsigned i = 0; i < c->transports.count; i++) {
		enum transport t = (enum transport)c->transports.order[i];

		show_place(c, t, i > 0 ? ", else " : "");
		show_egress(s, c, t);
	}
	if (c->server_name != c->host)
		(void)printf(" as %s", c->server_name);
	(void)printf(
	    ", %s, answers to", aliyun_sign_method_word(c->sign_method));
	cli_show_match(c, c->match);
	(void)printf("%s%s", c->has_password ? " with its password" : "",
	    c->verify_login ? " with a login signed with its secret" : "");
	show_rules(c);
	(void)putchar('\n');
}

/* Of the files that the two name; those may be open on purpose, as a container
   has its secrets, so it is said here only. */
struct open_files {
	const struct cli_options *o;
	struct complaints to;
};

static void
on_file(void *arg, const char *path)
{
	struct open_files *f = arg;
	struct stat st;

	if (strcmp(path, f->o->devices) == 0 ||
	    (f->o->settings != NULL && strcmp(path, f->o->settings) == 0))
		return;
	if (stat(path, &st) == 0 && (st.st_mode & S_IROTH) != 0)
		warn_of(&f->to, path, 0,
		    "holds a secret and every user of this machine may read "
		    "it: take that right away (chmod o-r) unless its folder "
		    "keeps them out");
}

static enum cli_exit
check(const struct cli_options *o)
{
	struct settings *settings;
	struct credmap *map;
	struct trust *trust;
	struct fault why;
	struct open_files files = {o, {.tell = cli_complaint}};

	if (!cli_load_watched(o, on_file, &files, &settings, &map))
		return CLI_REFUSED;
	trust = trust_new(settings, &why); /* what ca_file holds */
	if (trust == NULL) {
		cli_tell("%s", why.text);
		credmap_unref(map);
		settings_unref(settings);
		return CLI_REFUSED;
	}
	trust_unref(trust);
	settings_show(settings, show_setting, NULL);
	for (size_t i = 0; i < credmap_count(map); i++)
		show_device(settings, credmap_at(map, i));
	credmap_unref(map);
	settings_unref(settings);
	return CLI_OK;
}

static const struct option options[] = {CLI_OPTIONS, {NULL, 0, NULL, 0}};

/* clang-format off */
static const char help[] =
"Reads both files, says everything that is wrong with them, and, when they\n"
"are good, prints what would be used: each setting, and for each device who\n"
"it is for the cloud, where it is connected to, and how it is recognised.\n"
"Secrets are never printed. Nothing is connected to.\n"
"\n"
CLI_OPTIONS_HELP
"\n"
"Exit codes: 0 both are good (warnings may have been told); 2 wrong usage;\n"
"3 a file was refused.\n";
/* clang-format on */

const struct cli_command cli_check = {
    .name = "check",
    .summary = "check both files and print what would be used",
    .options = options,
    .help = help,
    .run = check,
};
