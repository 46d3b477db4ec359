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

static const char not_taken[] =
    "a message to it is dropped at QoS 0; at QoS 1 and 2 a device of MQTT 5 is "
    "told so (0x90), with others the session ends";

/* What the contract says of a topic or filter of the cloud. */
static bool
fits(const struct question *q, struct span topic)
{
	size_t share = mqtt_topic_share_bytes(topic);

	return contract_takes_topic(q->device->contract,
	    (struct span){topic.p + share, topic.n - share});
}

static void
show_misfit(const struct question *q)
{
	(void)printf("longer than the cloud takes it (topic_max = %u, "
		     "topic_slashes_max = %u of its contract)",
	    q->device->contract->topic_max,
	    q->device->contract->topic_slashes_max);
}

/* For one that no rule maps, and that passes <up>, or down. */
static void
show_passing(const struct question *q, bool up, const char *refused)
{
	if (!up || fits(q, q->topic)) {
		(void)puts("it passes as it is");
	} else {
		(void)printf("it would pass as it is, but is ");
		show_misfit(q);
		(void)printf(": %s\n", refused);
	}
}

static void
show_policy(const struct question *q)
{
	(void)printf(
	    "topic_unmapped = %s: ", policy_word(POLICY_topic_unmapped,
					 q->device->policies.topic_unmapped));
}

/* For a topic that no rule maps, which goes <up>, or comes down. */
static void
show_fate(const struct question *q, bool up)
{
	uint32_t policy = q->device->policies.topic_unmapped;

	show_policy(q);
	if (policy == TOPIC_UNMAPPED_PASS)
		show_passing(q, up, not_taken);
	else if (!up)
		(void)puts("its messages are dropped");
	else if (policy == TOPIC_UNMAPPED_REFUSE)
		(void)puts("a message to it ends the session");
	else
		(void)puts(not_taken);
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
	(void)puts("");
	show_fate(q, up);
}

static void
show_rule(const struct topic_spec *rule)
{
	(void)printf(" by ");
	cli_show_topic(rule);
	(void)printf(" (line %d)\n", rule->line);
}

static enum cli_exit
show_mapped(const struct question *q, bool up, struct span topic,
    const struct topic_spec *rule)
{
	char text[SHOWN_MAX];

	(void)printf("%s", shown(text, topic));
	show_rule(rule);
	if (!up || fits(q, topic))
		return CLI_OK;
	show_misfit(q);
	(void)printf(": %s\n", not_taken);
	return CLI_FAILED;
}

static enum cli_exit
show_name(const struct question *q, bool up)
{
	const struct topic_map *map = q->device->topics;
	const struct topic_spec *rule;
	struct topic_text out;
	enum topic_result result;

	result = up ? topic_map_up(map, &q->names, q->topic, &out)
		    : topic_map_down(map, &q->names, q->topic, &out);
	rule = up ? topic_map_rule_up(map, &q->names, q->topic)
		  : topic_map_rule_down(map, &q->names, q->topic);
	switch (result) {
	case TOPIC_MAPPED:
		return show_mapped(q, up, topic_text_span(&out), rule);
	case TOPIC_TOO_LONG:
		(void)printf("too long, there may be %s,", out.limit);
		show_rule(rule);
		(void)puts(up ? not_taken : "its messages are dropped");
		break;
	case TOPIC_UNMAPPED:
		show_unmapped(q, up, rule);
		break;
	}
	return CLI_FAILED;
}

/* The filters of the cloud for one of the device. */
struct shown_filters {
	const struct question *q;
	unsigned fit;
};

static void
show_filter(void *arg, struct span filter)
{
	struct shown_filters *f = arg;
	char text[SHOWN_MAX];

	(void)printf("%s", shown(text, filter));
	if (fits(f->q, filter)) {
		f->fit++;
	} else {
		(void)printf(", which is left out: it is ");
		show_misfit(f->q);
	}
	(void)puts("");
}

static const char refused[] =
    "the subscription is refused (MQTT 5: 0x8F, 3.1.1: 0x80; 3.1 cannot be "
    "told, so that it looks granted)";

/* No rule meets the filter. */
static void
show_unmet(const struct question *q)
{
	(void)puts("no rule meets it");
	show_policy(q);
	if (q->device->policies.topic_unmapped == TOPIC_UNMAPPED_PASS)
		show_passing(q, true, refused);
	else
		(void)puts(refused);
}

/* What the device subscribes to instead. */
static enum cli_exit
show_filters(const struct question *q)
{
	struct shown_filters f = {.q = q};
	struct topic_filters filters = topic_map_filter_up(
	    q->device->topics, &q->names, q->topic, show_filter, &f);

	if (filters.wider)
		(void)puts("these cover more than was asked for; what comes "
			   "is compared with the filter of the device");
	if (filters.too_long > 0)
		(void)printf("left out: %zu that no topic of the cloud is "
			     "short enough for\n",
		    filters.too_long);
	if (f.fit > 0)
		return CLI_OK;
	if (filters.count == 0 && filters.too_long == 0)
		show_unmet(q);
	else
		(void)puts(refused);
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
		return cli_misused(&cli_topic, "topic: TOPIC %s%s", flaw,
		    is_filter(q.topic) && !up ? "; a filter only goes up" : "");
	if (c->topics == NULL) {
		(void)printf("%s has no rules for topics (topic.N.lan and "
			     "topic.N.cloud)\n",
		    c->label);
		show_passing(&q, up, filter ? refused : not_taken);
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
"becomes nothing. A topic filter, of a SUBSCRIBE, is only mapped up. Nothing is\n"
"connected to.\n"
"\n"
CLI_OPTIONS_HELP
"      --client-id TEXT  what ${client_id} stands for\n"
"                        (default: match_client_id)\n"
"\n"
"Exit codes: 0 a rule maps it; 1 none does, or to what the cloud does not take,\n"
"or there is no such device; 2 wrong usage; 3 a file was refused.\n";
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
