#include "cli/cli.h"

#include "base/escape.h"
#include "base/reason.h"

#include <stdio.h>

enum { NEAR_MAX = 8, SHOWN_MAX = 4 * CREDENTIAL_MATCH_MAX + 1 };

static const char *
why_first(enum credmap_rule rule)
{
	switch (rule) {
	case RULE_KEYS:
		return "one with a client id goes first, then one with a user"
		       " name, then one with an address";
	case RULE_CASE:
		return "match_case = yes goes before no";
	case RULE_LOGIN:
		return "match_ keys go before the device's own login";
	case RULE_PREFIX:
		break;
	}
	return "an address goes before a longer prefix before a shorter one";
}

/* What is asked of the device besides; <address> may be none. */
static void
show_demands(const struct credential *c, const struct network *address)
{
	enum reason refused = credential_refuses(c, address);

	if (refused == R_ENTRY_DISABLED ||
	    (refused != R_NONE && address->version != 0))
		(void)printf("it is refused, %s: %s\n", reason_word(refused),
		    reason_hint(refused));
	if (c->allow_from.count > 0) {
		(void)printf("it may come only from ");
		cli_show_networks(&c->allow_from);
		(void)putchar('\n');
	}
	if (c->has_password)
		(void)puts("it has to show its password");
	if (c->verify_login)
		(void)puts("it has to show a login signed with its secret");
}

/* By what the entry that a search has come to fits. */
static void
show_fit(const struct credmap_search *search, const struct credential *c)
{
	if (search->by_login) {
		(void)printf(" the device's own login, %s&%s", c->device_name,
		    c->product_key);
		return;
	}
	cli_show_match(c, c->match);
	(void)printf("%s", c->match_case ? "" : ", match_case = no");
}

/* False: no entry fits. */
static bool
show_fitting(const struct credmap *map, const struct credmap_shown *shown)
{
	struct credmap_search search;
	const struct credential *first, *c;

	credmap_search_begin(&search, map, shown);
	first = credmap_search_next(&search);
	if (first == NULL)
		return false;
	(void)printf("device %s answers ", first->label);
	cli_show_line(first);
	(void)printf(", by");
	show_fit(&search, first);
	(void)putchar('\n');
	show_demands(first, &shown->address);
	while ((c = credmap_search_next(&search)) != NULL) {
		(void)printf("device %s fits too ", c->label);
		cli_show_line(c);
		(void)printf(", by");
		show_fit(&search, c);
		(void)printf(", but %s\n",
		    why_first(search.by_login
				  ? RULE_LOGIN
				  : credmap_rule_between(first, c)));
	}
	return true;
}

/* Entries of which it has something, but not all. */
static void
show_near(const struct credmap *map, const struct credmap_shown *shown)
{
	size_t near = 0;

	for (size_t i = 0; i < credmap_count(map); i++) {
		const struct credential *c = credmap_at(map, i);
		unsigned any_case = credmap_fitting_keys(c, shown, false);

		if (any_case == 0 || ++near > NEAR_MAX)
			continue;
		(void)printf("device %s ", c->label);
		cli_show_line(c);
		(void)printf(" also needs");
		cli_show_match(c,
		    c->match & ~credmap_fitting_keys(c, shown, c->match_case));
		(void)puts(any_case == c->match
			       ? " to the letter, or match_case = no"
			       : "");
	}
	if (near > NEAR_MAX)
		(void)printf(
		    "and %zu more of which a key fits\n", near - NEAR_MAX);
}

static void
show_needed(const struct cli_options *o)
{
	const char *const keys[][2] = {
	    {"match_client_id", o->client_id},
	    {"match_username", o->username},
	    {"match_address", o->address},
	};
	char text[SHOWN_MAX];
	const char *before = "no entry answers; one would with";

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (keys[i][1] == NULL || *keys[i][1] == '\0')
			continue;
		(void)printf("%s %s = %s", before, keys[i][0],
		    escape(text, sizeof(text), span_of_string(keys[i][1])));
		before = ", or";
	}
	(void)putchar('\n');
}

static enum cli_exit
tell_match(const struct credmap *map, const struct cli_options *o,
    const struct credmap_shown *shown)
{
	if (show_fitting(map, shown))
		return CLI_OK;
	show_needed(o);
	show_near(map, shown);
	return CLI_FAILED;
}

static struct span
span_or_none(const char *text)
{
	return text != NULL ? span_of_string(text) : (struct span){NULL, 0};
}

static enum cli_exit
match(const struct cli_options *o)
{
	struct credmap_shown shown = {.client_id = span_or_none(o->client_id),
	    .username = span_or_none(o->username)};
	struct settings *settings;
	struct credmap *map;
	enum cli_exit code;

	if (o->client_id == NULL && o->username == NULL && o->address == NULL)
		return cli_misused(&cli_match,
		    "match: --client-id, --username or --address is missing");
	if (o->address != NULL && (!network_read(o->address, &shown.address) ||
				      !network_is_address(&shown.address)))
		return cli_misused(&cli_match,
		    "match: --address '%s' is no numeric address", o->address);
	if (!cli_load(o, &settings, &map))
		return CLI_REFUSED;
	code = tell_match(map, o, &shown);
	credmap_unref(map);
	settings_unref(settings);
	return code;
}

static const struct option options[] = {
    CLI_OPTIONS,
    {"client-id", required_argument, NULL, 'i'},
    {"username", required_argument, NULL, 'u'},
    {"address", required_argument, NULL, 'a'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char help[] =
"Says which entry of the credential map answers to a device that shows this,\n"
"and by which keys; which other entries fit too, and why they do not answer.\n"
"If none does: what would be needed. Nothing is connected to.\n"
"\n"
CLI_OPTIONS_HELP
"      --client-id TEXT  the client id the device sends\n"
"      --username TEXT   the user name the device sends\n"
"      --address ADDRESS where it comes from, IPv4 or IPv6\n"
"\n"
"Exit codes: 0 an entry answers (if only to refuse the device, which is told);\n"
"1 none does; 2 wrong usage; 3 a file was refused.\n";
/* clang-format on */

const struct cli_command cli_match = {
    .name = "match",
    .summary = "tell which entry answers to a device",
    .options = options,
    .help = help,
    .run = match,
};
