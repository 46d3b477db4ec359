#include "cli/cli.h"

#include "base/escape.h"
#include "codec/mqtt_topic.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_MAX = 4 * TOPIC_LAN_BYTES_MAX + 1 };

/* What is asked. */
struct question {
	const struct credential *device;
	struct topic_names names;
	struct span topic;
};

static const char *
shown(char out[static SHOWN_MAX], struct span topic)
{
	return escape(out, SHOWN_MAX, topic);
}

/* For a topic that no rule maps, which goes <up>, or comes down. */
static const char *
fate(const struct credential *c, bool up)
{
	switch (c->policies.topic_unmapped) {
	case TOPIC_UNMAPPED_REFUSE:
		return up ? "a message to it ends the session"
			  : "its messages are dropped";
	case TOPIC_UNMAPPED_DROP:
		return up ? "a message to it is not taken"
			  : "its messages are dropped";
	default:
		return "it passes as it is";
	}
}

static void
show_unmapped(const struct question *q, bool up, const struct topic_spec *rule)
{
	if (rule == NULL) {
		(void)printf("no rule fits it");
	} else {
		(void)printf("the rule that fits it cannot map it: ");
		cli_show_topic(rule);
		(void)printf(" (line %d)%s", rule->line,
		    rule->escape ? "" : "; escape = yes may help");
	}
	(void)printf("\ntopic_unmapped = %s: %s\n",
	    policy_word(
		POLICY_topic_unmapped, q->device->policies.topic_unmapped),
	    fate(q->device, up));
}

static enum cli_exit
show_name(const struct question *q, bool up)
{
	const struct topic_map *map = q->device->topics;
	const struct topic_spec *rule;
	struct topic_text out;
	char text[SHOWN_MAX];
	enum topic_result result;

	result = up ? topic_map_up(map, &q->names, q->topic, &out)
		    : topic_map_down(map, &q->names, q->topic, &out);
	rule = up ? topic_map_rule_up(map, &q->names, q->topic)
		  : topic_map_rule_down(map, &q->names, q->topic);
	switch (result) {
	case TOPIC_MAPPED:
		(void)printf("%s by ", shown(text, topic_text_span(&out)));
		cli_show_topic(rule);
		(void)printf(" (line %d)\n", rule->line);
		return CLI_OK;
	case TOPIC_TOO_LONG:
		(void)printf("too long: there may be %s\n", out.limit);
		break;
	case TOPIC_UNMAPPED:
		show_unmapped(q, up, rule);
		break;
	}
	return CLI_FAILED;
}

static void
show_filter(void *arg, struct span filter)
{
	char text[SHOWN_MAX];

	(void)arg;
	(void)puts(shown(text, filter));
}

/* What the device subscribes to instead. */
static enum cli_exit
show_filters(const struct question *q)
{
	struct topic_filters filters = topic_map_filter_up(
	    q->device->topics, &q->names, q->topic, show_filter, NULL);

	if (filters.wider)
		(void)puts("these cover more than was asked for; what comes "
			   "is compared with the filter of the device");
	if (filters.too_long > 0)
		(void)printf("and %zu that no topic of the cloud is short "
			     "enough for\n",
		    filters.too_long);
	if (filters.count > 0)
		return CLI_OK;
	if (filters.too_long == 0)
		(void)printf("no rule meets it\ntopic_unmapped = %s: %s\n",
		    policy_word(POLICY_topic_unmapped,
			q->device->policies.topic_unmapped),
		    q->device->policies.topic_unmapped == TOPIC_UNMAPPED_PASS
			? "it passes as it is"
			: "the subscription is refused");
	return CLI_FAILED;
}

static bool
is_filter(struct span topic)
{
	return memchr(topic.p, '+', topic.n) != NULL ||
	       memchr(topic.p, '#', topic.n) != NULL ||
	       mqtt_topic_share_bytes(topic) > 0;
}

/* As the device sends it, as far as the map tells. */
static const char *
client_id_of(const struct cli_options *o, const struct credential *c)
{
	if (o->client_id != NULL)
		return o->client_id;
	return c->match_client_id != NULL ? c->match_client_id : "";
}

static enum cli_exit
answer(const struct cli_options *o, const struct credential *c)
{
	const struct question q = {.device = c,
	    .names = {.pk = span_of_string(c->product_key),
		.dn = span_of_string(c->device_name),
		.label = span_of_string(c->label),
		.client_id = span_of_string(client_id_of(o, c))},
	    .topic = span_of_string(o->operands[2])};
	bool up = strcmp(o->operands[1], "up") == 0;
	bool filter = up && is_filter(q.topic);
	const char *flaw = filter ? mqtt_topic_filter_flaw(q.topic, 5)
				  : mqtt_topic_name_flaw(q.topic, 5);

	if (flaw != NULL)
		return cli_misused(&cli_topic, "topic: TOPIC %s", flaw);
	if (c->topics == NULL) {
		cli_tell("%s has no rules for topics (topic.N.lan and "
			 "topic.N.cloud)",
		    c->label);
		return CLI_FAILED;
	}
	return filter ? show_filters(&q) : show_name(&q, up);
}

static enum cli_exit
topic(const struct cli_options *o)
{
	struct settings *settings;
	struct credmap *map;
	const struct credential *c;
	enum cli_exit code = CLI_FAILED;

	if (o->operand_count != 3 || (strcmp(o->operands[1], "up") != 0 &&
					 strcmp(o->operands[1], "down") != 0))
		return cli_misused(
		    &cli_topic, "topic: LABEL, up or down, and TOPIC are due");
	if (!cli_load(o, &settings, &map))
		return CLI_REFUSED;
	c = credmap_by_label(map, o->operand);
	if (c != NULL)
		code = answer(o, c);
	else
		cli_tell("%s has no [device:%s]; a device of a fleet is "
			 "LABEL/DEVICENAME",
		    o->devices, o->operand);
	credmap_unref(map);
	settings_unref(settings);
	return code;
}

static const struct option options[] = {
    CLI_OPTIONS,
    {"client-id", required_argument, NULL, 'i'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char help[] =
"Says what a topic of the device becomes on its way up to the cloud, or one of\n"
"the cloud on its way down, and by which rule (topic.N. keys); or why it\n"
"becomes nothing. A topic filter is only mapped up. Nothing is connected to.\n"
"\n"
CLI_OPTIONS_HELP
"      --client-id TEXT  what ${client_id} stands for\n"
"                        (default: match_client_id)\n"
"\n"
"Exit codes: 0 a rule maps it; 1 none does, or there is no such device;\n"
"2 wrong usage; 3 a file was refused.\n";
/* clang-format on */

const struct cli_command cli_topic = {
    .name = "topic",
    .summary = "tell what becomes of a device's topic",
    .operand = "LABEL up|down TOPIC",
    .operand_repeats = true,
    .options = options,
    .help = help,
    .run = topic,
};
