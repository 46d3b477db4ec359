#include "cli/cli.h"

#include "base/escape.h"
#include "base/text.h"
#include "codec/json.h"

#include <stdio.h>
#include <string.h>

/* How a list is written. */
struct format {
	const char *name;
	void (*begin)(const struct credmap *map, const char *product);
	void (*row)(const struct credential *c, bool first);
	void (*end)(void);
};

static bool
is_listed(const struct credential *c, const char *product)
{
	return product == NULL || strcmp(c->product_key, product) == 0;
}

/* Of the table; set when it begins. */
static struct {
	int label, name, host;
} widths;

static void
widen(int *width, const char *text)
{
	int n = (int)strlen(text);

	if (n > *width)
		*width = n;
}

static void
begin_table(const struct credmap *map, const char *product)
{
	widen(&widths.label, "LABEL");
	widen(&widths.name, "DEVICE");
	widen(&widths.host, "HOST");
	for (size_t i = 0; i < credmap_count(map); i++) {
		const struct credential *c = credmap_at(map, i);

		if (!is_listed(c, product))
			continue;
		widen(&widths.label, c->label);
		widen(&widths.name, c->device_name);
		widen(&widths.host, c->host);
	}
	(void)printf("%-*s  %-*s  %-*s  %-*s  %-7s  %s\n", widths.label,
	    "LABEL", (int)ALIYUN_PRODUCT_KEY_MAX, "PRODUCT", widths.name,
	    "DEVICE", widths.host, "HOST", "ENABLED",
	    "ANSWERS TO (WHERE IT STANDS)");
}

static void
table_row(const struct credential *c, bool first)
{
	(void)first;
	(void)printf("%-*s  %-*s  %-*s  %-*s  %-7s ", widths.label, c->label,
	    (int)ALIYUN_PRODUCT_KEY_MAX, c->product_key, widths.name,
	    c->device_name, widths.host, c->host, c->enabled ? "yes" : "no");
	cli_show_match(c, c->match);
	(void)putchar(' ');
	cli_show_line(c);
	(void)putchar('\n');
}

static void
end_table(void)
{
}

/* RFC 4180, 2: a field with a comma, a quote or a line end stands in quotes,
   which are doubled in it. */
static void
csv_field(const char *text, const char *after)
{
	if (text == NULL)
		text = "";
	if (text[strcspn(text, ",\"\r\n")] == '\0') {
		(void)printf("%s%s", text, after);
		return;
	}
	(void)putchar('"');
	for (; *text != '\0'; text++) {
		if (*text == '"')
			(void)putchar('"');
		(void)putchar(*text);
	}
	(void)printf("\"%s", after);
}

static void
begin_csv(const struct credmap *map, const char *product)
{
	(void)map;
	(void)product;
	(void)printf("label,product_key,device_name,host,match_client_id,"
		     "match_username,match_address,enabled,line,table\r\n");
}

static void
csv_row(const struct credential *c, bool first)
{
	(void)first;
	csv_field(c->label, ",");
	csv_field(c->product_key, ",");
	csv_field(c->device_name, ",");
	csv_field(c->host, ",");
	csv_field(c->match_client_id, ",");
	csv_field(c->match_username, ",");
	csv_field(c->match_address, ",");
	(void)printf("%s,%d,", c->enabled ? "yes" : "no", c->line);
	csv_field(c->table, "\r\n");
}

static void
json_member(const char *name, const char *value)
{
	char bytes[6 * PATH_MAX + 8]; /* each byte as \uXXXX */
	struct text text = {.at = bytes, .left = sizeof(bytes)};

	if (value == NULL)
		return;
	json_add_string(&text, value);
	(void)printf("\"%s\":%s,", name, bytes);
}

static void
begin_json(const struct credmap *map, const char *product)
{
	(void)map;
	(void)product;
	(void)putchar('[');
}

static void
json_row(const struct credential *c, bool first)
{
	(void)printf("%s\n{", first ? "" : ",");
	json_member("label", c->label);
	json_member("product_key", c->product_key);
	json_member("device_name", c->device_name);
	json_member("host", c->host);
	json_member("match_client_id", c->match_client_id);
	json_member("match_username", c->match_username);
	json_member("match_address", c->match_address);
	json_member("table", c->table);
	(void)printf("\"enabled\":%s,\"line\":%d}",
	    c->enabled ? "true" : "false", c->line);
}

static void
end_json(void)
{
	(void)printf("\n]\n");
}

static const struct format formats[] = {
    {"table", begin_table, table_row, end_table},
    {"csv", begin_csv, csv_row, end_table},
    {"json", begin_json, json_row, end_json},
};

/* NULL: there is none of that name. */
static const struct format *
find_format(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

static enum cli_exit
list(const struct cli_options *o)
{
	const struct format *format =
	    find_format(o->format != NULL ? o->format : "table");
	struct settings *settings;
	struct credmap *map;
	bool first = true;

	if (format == NULL)
		return cli_misused(&cli_device_list,
		    "%s: --format '%s' is none of table, csv and json",
		    cli_device_list.name, o->format);
	if (!cli_load(o, &settings, &map))
		return CLI_REFUSED;
	format->begin(map, o->product);
	for (size_t i = 0; i < credmap_count(map); i++) {
		if (!is_listed(credmap_at(map, i), o->product))
			continue;
		format->row(credmap_at(map, i), first);
		first = false;
	}
	format->end();
	credmap_unref(map);
	settings_unref(settings);
	return CLI_OK;
}

static const struct option options[] = {
    CLI_OPTIONS,
    {"format", required_argument, NULL, 'f'},
    {"product", required_argument, NULL, 'p'},
    {NULL, 0, NULL, 0},
};

/* clang-format off */
static const char help[] =
"Lists the devices of the credential map: label, product key, device name,\n"
"host, whether it is enabled, what it is known by, and the line it stands in,\n"
"of the map or of a fleet's table. Secrets are never printed.\n"
"\n"
CLI_OPTIONS_HELP
"      --format FORMAT   table (the default), csv (RFC 4180) or json\n"
"      --product KEY     only those of this product\n"
"\n"
"Exit codes: 0 printed; 2 wrong usage; 3 a file was refused.\n";
/* clang-format on */

const struct cli_command cli_device_list = {
    .name = "device list",
    .summary = "list the devices",
    .options = options,
    .help = help,
    .run = list,
};
