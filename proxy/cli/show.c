#include "cli/cli.h"

#include "base/escape.h"

#include <stdio.h>

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
cli_show_networks(const struct networks *networks)
{
	char text[NETWORK_TEXT_MAX];

	for (size_t i = 0; i < networks->count; i++)
		(void)printf("%s%s", i > 0 ? ", " : "",
		    network_write(text, &networks->list[i]));
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
