#include "settings/credmap_parts.h"

#include "base/escape.h"
#include "settings/file.h"
#include "settings/pattern.h"
#include "settings/value.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
#define X(name, in_product, def, what) { #name, in_product },
static const struct {
	const char *name;
	bool in_product;
} keys[] = { CREDMAP_KEYS(X) };
#undef X
/* clang-format on */

/* Of each group, one key a section. */
static const uint64_t exclusive[] = {PLACES, SECRETS, PASSWORDS};

/* Complains about the line being read. */
#define WRONG(l, ...)                                                          \
	complain((l)->line.to, (l)->line.path, (l)->line.n, __VA_ARGS__)

static struct common *
this_common(struct loading *l)
{
	return l->section == SECTION_PRODUCT
		   ? &l->products[l->products_count - 1].common
		   : &l->device.own;
}

static void
read_table_name(
    struct credmap_line *line, const char *value, struct table_use *out)
{
	char path[PATH_MAX];
	const char *why;

	if (!file_beside(path, line->path, value, &why)) {
		credmap_line_refuse_file(line, value, why);
		return;
	}
	out->name = credmap_line_keep(line, value);
	out->path = credmap_line_keep(line, path);
	out->line = line->n;
}

static void
read_rule(struct loading *l, unsigned rule, const char *value)
{
	struct common *common = this_common(l);

	if (credmap_line_rule(&l->line, value, rule, &common->contract))
		common->rules |= 1u << rule;
}

static void
read_value(struct loading *l, enum key key, const char *value)
{
	struct credmap_line *line = &l->line;
	struct common *common = this_common(l);
	struct credential *c = &l->entry; /* of keys for devices only */

	line->key = keys[key].name;
	switch (key) {
	case KEY_product_key:
		credmap_line_name(line, value, 1, ALIYUN_PRODUCT_KEY_MAX, "",
		    &c->product_key);
		return;
	case KEY_device_name:
		credmap_line_device_name_pattern(line, value, &c->device_name);
		return;
	case KEY_device_secret:
		credmap_line_device_secret(
		    line, value, false, &c->device_secret);
		return;
	case KEY_device_secret_file:
		credmap_line_device_secret(
		    line, value, true, &c->device_secret);
		return;
	case KEY_device_secrets_file:
		read_table_name(line, value, &l->device.secrets);
		return;
	case KEY_client_id:
		credmap_line_client_id(line, value, &c->client_id);
		return;
	case KEY_match_client_id:
		c->match |= MATCH_CLIENT_ID;
		credmap_line_match(line, value, &c->match_client_id);
		return;
	case KEY_match_username:
		c->match |= MATCH_USERNAME;
		credmap_line_match(line, value, &c->match_username);
		return;
	case KEY_match_address:
		c->match |= MATCH_ADDRESS;
		credmap_line_address(
		    line, value, &c->match_address, &c->match_network);
		return;
	case KEY_match_case:
		credmap_line_bool(line, value, &common->match_case);
		return;
	case KEY_allow_from:
		credmap_line_networks(line, value, &common->allow_from);
		return;
	case KEY_password:
		c->has_password = true;
		credmap_line_password(line, value, false, &c->password);
		return;
	case KEY_password_file:
		c->has_password = true;
		credmap_line_password(line, value, true, &c->password);
		return;
	case KEY_password_hash:
		c->has_password = true;
		credmap_line_password_hash(line, value, &c->hash);
		return;
	case KEY_verify_login:
		credmap_line_bool(line, value, &common->verify_login);
		return;
	case KEY_region:
		credmap_line_region(line, value, &common->place);
		return;
	case KEY_instance:
		credmap_line_name(line, value, 1, 63, "-", &common->place);
		return;
	case KEY_host:
		credmap_line_host(line, value, &common->place);
		return;
	case KEY_port:
		credmap_line_port(line, value, &common->port);
		return;
	case KEY_mqtts_port:
		credmap_line_port(line, value, &common->mqtts_port);
		return;
	case KEY_path:
		credmap_line_path(line, value, &common->path);
		return;
	case KEY_transports:
		credmap_line_transports(line, value, &common->transports);
		return;
	case KEY_server_name:
		credmap_line_host(line, value, &common->server_name);
		return;
	case KEY_sign_method:
		credmap_line_sign_method(line, value, &common->sign_method);
		return;
	case KEY_timestamp:
		credmap_line_timestamp(line, value, &common->timestamp_mode,
		    &common->timestamp_ms);
		return;
	case KEY_extra:
		credmap_line_extra(line, value, &common->extra);
		return;
	case KEY_enabled:
		credmap_line_bool(line, value, &common->enabled);
		return;
	case KEY_keep_alive:
		common->keep_alive_line = line->n;
		credmap_line_keep_alive(line, value, &common->keep_alive_s);
		return;
	case KEY_clean_session:
		credmap_line_clean_session(line, value, &common->clean_session);
		return;
	case KEY_log_level:
		credmap_line_log_level(line, value, &common->log);
		return;
#define X(x, name, first, second, third, what)                                 \
	case KEY_##name:                                                       \
		credmap_line_policy(                                           \
		    line, value, POLICY_##name, &common->policies.name);       \
		return;
		POLICIES(X, )
#undef X
	case KEY_qos0_queue:
		credmap_line_qos0_queue(line, value, &common->qos0_queue_bytes);
		return;
	case KEY_hold_time:
		credmap_line_hold_time(line, value, &common->hold_time_ms);
		return;
	case KEY_hold_queue:
		credmap_line_hold_queue(line, value, &common->hold_queue_bytes);
		return;
	case KEY_contract:
		credmap_line_cloud(line, value, &common->contract);
		return;
#define X(x, name, kind, aliyun, none, least, most, live, what) case KEY_##name:
		CONTRACT(X, )
#undef X
		read_rule(l, (unsigned)key - KEY_RULES, value);
		return;
	case KEY_COUNT:
		break;
	}
	assert(false); /* a key without a reader */
}

static void
tell_unknown(struct loading *l, const char *name)
{
	const char *best = NULL;
	unsigned best_distance = VALUE_NEAR + 1;

	for (size_t i = 0; i < KEY_COUNT; i++) {
		unsigned distance = value_distance(keys[i].name, name);

		if (distance < best_distance) {
			best = keys[i].name;
			best_distance = distance;
		}
	}
	if (best == NULL)
		WRONG(l, "there is no key %s", value_name_shown(name));
	else
		WRONG(l, "there is no key %s; did you mean %s?",
		    value_name_shown(name), best);
}

static enum key
lowest(uint64_t bits)
{
	int key = 0;

	assert(bits != 0);
	while (!(bits & BIT(key)))
		key++;
	return (enum key)key;
}

void
loading_on_value(void *arg, int line, const char *name, const char *value)
{
	struct loading *l = arg;
	struct common *common;
	uint64_t rivals = 0;
	int key = 0;

	if (l->section == SECTION_NONE || l->line.no_memory)
		return; /* told with the section */
	l->line.n = line;
	if (strncmp(name, "topic.", strlen("topic.")) == 0) {
		loading_on_topic(l, name, value);
		return;
	}
	while (key < KEY_COUNT && strcmp(keys[key].name, name) != 0)
		key++;
	if (key == KEY_COUNT) {
		tell_unknown(l, name);
		return;
	}
	if (l->section == SECTION_PRODUCT && !keys[key].in_product) {
		WRONG(l, "%s belongs into a [device:LABEL] section", name);
		return;
	}
	if (l->lines[key] != 0) {
		WRONG(
		    l, "%s comes twice, first in line %d", name, l->lines[key]);
		return;
	}
	l->lines[key] = line;
	common = this_common(l);
	for (size_t i = 0; i < sizeof(exclusive) / sizeof(*exclusive); i++)
		if (exclusive[i] & BIT(key))
			rivals = exclusive[i] & common->given;
	if (rivals != 0) {
		WRONG(l, "%s and %s (line %d) exclude each other", name,
		    keys[lowest(rivals)].name, l->lines[lowest(rivals)]);
		return;
	}
	common->given |= BIT(key);
	read_value(l, (enum key)key, value);
}

/* Complains about the section of a device. Without a label it was complained
   about already, and is not named. */
static void
tell_missing(struct loading *l, const struct credential *c, const char *what)
{
	complain(l->line.to, l->line.path, c->line, "[device:%s] has no %s",
	    c->label != NULL ? c->label : "?", what);
}

/* Puts the entry that was read into a map, and the device behind the others. */
static void
add_device(struct loading *l, struct credmap *map, struct device **devices,
    size_t *cap)
{
	size_t i = credmap_count(map);
	struct credential *c = NULL;

	if (loading_grow(l, (void **)devices, cap, i, sizeof(**devices)))
		c = credmap_add(map);
	if (c == NULL) {
		l->line.no_memory = true;
		return;
	}
	*c = l->entry;
	(*devices)[i] = l->device;
}

/* A key that may have a place for a device's own part. */
struct placed {
	enum key key;
	const char *mark;
	const char *text; /* NULL: not given, or complained about */
};

/* Complains about a place that nothing can be put into. */
static void
check_place(struct loading *l, bool is_fleet, const struct placed *p)
{
	unsigned places =
	    p->text != NULL ? pattern_places(p->text, p->mark) : 0;
	const char *missing = NULL;

	if (places > 1)
		missing = "it may come once only";
	else if (places == 1 &&
		 l->device.own.given & BIT(KEY_device_secrets_file))
		missing = is_fleet ? NULL
				   : "device_name has no place for it: "
				     "write " CREDENTIAL_PART " there";
	else if (places == 1)
		missing = "device_secrets_file is missing, the table of the "
			  "devices";
	if (missing != NULL)
		complain(l->line.to, l->line.path, l->lines[p->key],
		    "%s: %s stands for the own part of each device's name; %s",
		    keys[p->key].name, p->mark, missing);
}

/* Whether the section stands for many devices; complains about places. */
static bool
check_places(struct loading *l)
{
	const struct credential *c = &l->entry;
	const struct placed placed[] = {
	    {KEY_device_name, CREDENTIAL_PART, c->device_name},
	    {KEY_client_id, CREDENTIAL_PART, c->client_id},
	    {KEY_match_client_id, CREDENTIAL_MATCH_PART, c->match_client_id},
	    {KEY_match_username, CREDENTIAL_MATCH_PART, c->match_username},
	};
	bool is_fleet = l->device.own.given & BIT(KEY_device_secrets_file) &&
			c->device_name != NULL &&
			pattern_places(c->device_name, CREDENTIAL_PART) > 0;

	for (size_t i = 0; i < sizeof(placed) / sizeof(*placed); i++)
		check_place(l, is_fleet, &placed[i]);
	return is_fleet;
}

/* Complains when the match_ keys do not tell the devices of a fleet from one
   another. */
static void
check_fleet_match(struct loading *l)
{
	const struct credential *c = &l->entry;
	const struct {
		enum match_keys key;
		const char *text;
	} texts[] = {
	    {MATCH_CLIENT_ID, c->match_client_id},
	    {MATCH_USERNAME, c->match_username},
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		/* one that was complained about may have been meant so */
		if (c->match & texts[i].key &&
		    (texts[i].text == NULL ||
			strstr(texts[i].text, CREDENTIAL_MATCH_PART) != NULL))
			return;
	complain(l->line.to, l->line.path, c->line,
	    "[device:%s] needs a " CREDENTIAL_MATCH_PART
	    " in match_client_id or match_username, in the place of the own "
	    "part of each device's name",
	    c->label != NULL ? c->label : "?");
}

/* The client id of an entry that gives none. */
static void
set_client_id(struct loading *l)
{
	struct credential *c = &l->entry;
	char client_id[ALIYUN_CLIENT_ID_MAX + 1];

	if (l->device.own.given & BIT(KEY_client_id) ||
	    c->product_key == NULL || c->device_name == NULL)
		return;
	(void)snprintf(client_id, sizeof(client_id), "%s.%s", c->product_key,
	    c->device_name);
	c->client_id = credmap_line_keep(&l->line, client_id);
}

/* What can be said of a device without the rest of the file. */
static void
end_device(struct loading *l)
{
	struct credential *c = &l->entry;
	uint64_t given = l->device.own.given;
	bool is_fleet;

	if (given & BIT(KEY_device_secrets_file) &&
	    !(given & BIT(KEY_device_name)))
		c->device_name = CREDENTIAL_PART;
	else if (!(given & BIT(KEY_device_name)))
		tell_missing(l, c, "device_name");
	if (!(given & BIT(KEY_product_key)))
		tell_missing(l, c, "product_key");
	if (!(given & SECRETS))
		tell_missing(l, c, "device_secret");
	is_fleet = check_places(l);
	set_client_id(l);
	if (c->match == 0) {
		c->match = MATCH_CLIENT_ID;
		c->match_client_id =
		    is_fleet ? CREDENTIAL_MATCH_PART : c->label;
	} else if (is_fleet) {
		check_fleet_match(l);
	}
	if (is_fleet)
		add_device(
		    l, l->fleets, &l->fleet_devices, &l->fleet_devices_cap);
	else
		add_device(l, l->line.map, &l->devices, &l->devices_cap);
}

void
loading_end_section(struct loading *l)
{
	if (l->section != SECTION_NONE && !l->line.no_memory)
		loading_end_topics(l, this_common(l));
	if (l->section == SECTION_DEVICE && !l->line.no_memory)
		end_device(l);
	l->section = SECTION_NONE;
	memset(l->lines, 0, sizeof(l->lines));
}

static void
begin_product(struct loading *l, const char *key)
{
	struct product *p;

	if (!loading_grow(l, (void **)&l->products, &l->products_cap,
		l->products_count, sizeof(*p)))
		return;
	p = &l->products[l->products_count++];
	*p = (struct product){.line = l->line.n};
	l->section = SECTION_PRODUCT;
	l->line.key = "the product's key";
	credmap_line_name(
	    &l->line, key, 1, ALIYUN_PRODUCT_KEY_MAX, "", &p->key);
}

static void
begin_device(struct loading *l, const char *label)
{
	secret_wipe_bytes(&l->entry, sizeof(l->entry)); /* to zero */
	l->entry.line = l->line.n;
	l->device = (struct device){0};
	l->section = SECTION_DEVICE;
	l->line.key = "the label";
	credmap_line_name(
	    &l->line, label, 1, CREDENTIAL_LABEL_MAX, "._:@-", &l->entry.label);
}

void
loading_on_section(void *arg, int line, const char *name)
{
	static const char product[] = "product:";
	static const char device[] = "device:";
	struct loading *l = arg;
	char shown[64];

	loading_end_section(l);
	l->line.n = line;
	if (l->line.no_memory)
		return;
	if (strncmp(name, product, strlen(product)) == 0)
		begin_product(l, name + strlen(product));
	else if (strncmp(name, device, strlen(device)) == 0)
		begin_device(l, name + strlen(device));
	else
		WRONG(l,
		    "there is no section [%s]; write [device:LABEL] or "
		    "[product:KEY]",
		    escape(shown, sizeof(shown), span_of_string(name)));
}
