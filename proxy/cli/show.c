#include "cli/cli.h"

#include "base/escape.h"

#include <stdio.h>
#include <string.h>

static void
show_key(const char *key, const char *value)
{
	char text[4 * CREDENTIAL_MATCH_MAX + 1];

	(void)printf(" %s=\"%s\"", key,
	    escape(text, sizeof(text), span_of_string(value)));
}

void
cli_show_match(const struct credential *c, unsigned keys)
{
	if (keys & MATCH_CLIENT_ID)
		show_key("client_id", c->match_client_id);
	if (keys & MATCH_USERNAME)
		show_key("username", c->match_username);
	if (keys & MATCH_ADDRESS)
		show_key("address", c->match_address);
}

void
cli_show_topic(const struct topic_spec *rule)
{
	static const char *const arrows[] = {
	    [TOPIC_BOTH] = "<->", [TOPIC_UP] = "->", [TOPIC_DOWN] = "<-"};
	char lan[4 * TOPIC_SIDE_BYTES_MAX + 1];
	char cloud[4 * TOPIC_SIDE_BYTES_MAX + 1];

	(void)printf("%s = %s %s %s%s", rule->key,
	    escape(lan, sizeof(lan), span_of_string(rule->lan)),
	    arrows[rule->way],
	    escape(cloud, sizeof(cloud), span_of_string(rule->cloud)),
	    rule->escape ? ", escaped" : "");
}

void
cli_show_networks(const struct networks *networks)
{
	char text[NETWORK_TEXT_MAX];

	for (size_t i = 0; i < networks->count; i++)
		(void)printf("%s%s", i > 0 ? ", " : "",
		    network_write(text, &networks->list[i]));
}

/* The first device of the fleet with this label, or NULL. */
static const struct credential *
first_of_fleet(const struct credmap *map, const char *label)
{
	size_t n = strlen(label);

	for (size_t i = 0; i < credmap_count(map); i++) {
		const struct credential *c = credmap_at(map, i);

		if (strncmp(c->label, label, n) == 0 && c->label[n] == '/')
			return c;
	}
	return NULL;
}

void
cli_say_no_device(char out[static CLI_TEXT_MAX], const struct cli_options *o,
    const struct credmap *map)
{
	const struct credential *c = first_of_fleet(map, o->operand);

	if (c != NULL)
		(void)snprintf(out, CLI_TEXT_MAX,
		    "[device:%s] of %s is a fleet: name one of its devices, "
		    "such as %s",
		    o->operand, o->devices, c->label);
	else
		(void)snprintf(out, CLI_TEXT_MAX,
		    "%s has no [device:%s]; a device of a fleet is "
		    "LABEL/DEVICENAME",
		    o->devices, o->operand);
}

void
cli_show_line(const struct credential *c)
{
	char file[200];

	if (c->table == NULL)
		(void)printf("(line %d)", c->line);
	else
		(void)printf("(line %d of %s)", c->line,
		    escape(file, sizeof(file), span_of_string(c->table)));
}
