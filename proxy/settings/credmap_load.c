#include "settings/credmap.h"

#include "base/escape.h"
#include "settings/credmap_build.h"
#include "settings/credmap_line.h"
#include "settings/ini.h"
#include "settings/value.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* clang-format off */
#define X(name, in_product, def, what) KEY_##name,
enum key { CREDMAP_KEYS(X) KEY_COUNT };
#undef X

#define X(name, in_product, def, what) { #name, in_product },
static const struct {
	const char *name;
	bool in_product;
} keys[] = { CREDMAP_KEYS(X) };
#undef X
/* clang-format on */

#define BIT(key) (1u << (key))

enum {
	PLACES = BIT(KEY_region) | BIT(KEY_instance) | BIT(KEY_host),
	SECRETS = BIT(KEY_device_secret) | BIT(KEY_device_secret_file),
	PASSWORDS = BIT(KEY_password) | BIT(KEY_password_file)
};

/* Of each group, one key a section. */
static const unsigned exclusive[] = {PLACES, SECRETS, PASSWORDS};

/* What a product may say for its devices, and a device for itself. Fields whose
   key is not given, or was complained about, are zero. */
struct common {
	unsigned given;    /* BIT(key) of every key of the section */
	const char *place; /* value of region, instance or host */
	uint16_t port;
	uint16_t mqtts_port;
	const char *path;
	const char *server_name; /* NULL: the host */
	struct transports transports;
	enum aliyun_sign_method sign_method;
	enum timestamp_mode timestamp_mode;
	uint64_t timestamp_ms;
	const char *extra;
	bool match_case;
	struct networks allow_from;
	bool enabled;
	uint16_t keep_alive_s; /* 0: the device's own */
	enum clean_session clean_session;
};

struct product {
	const char *key;
	int line;
	bool used;
	const char *host; /* built for its first device */
	struct common common;
};

enum section { SECTION_NONE, SECTION_PRODUCT, SECTION_DEVICE };

struct loading {
	struct credmap_line line; /* being read, of the file and map */
	const struct settings *settings;
	struct common *devices; /* [i] belongs to entry <i> of the map */
	size_t devices_cap;
	struct product *products;
	size_t products_count;
	size_t products_cap;
	enum section section; /* being read */
	int lines[KEY_COUNT]; /* where the section's keys are; 0: not seen */
};

/* Complains about the line being read. */
#define WRONG(l, ...)                                                          \
	complain((l)->line.to, (l)->line.path, (l)->line.n, __VA_ARGS__)

static bool
grow(struct loading *l, void **array, size_t *cap, size_t count, size_t size)
{
	size_t more_cap = *cap > 0 ? 2 * *cap : 64;
	void *more;

	if (count < *cap)
		return true;
	more = reallocarray(*array, more_cap, size);
	if (more == NULL) {
		l->line.no_memory = true;
		return false;
	}
	*array = more;
	*cap = more_cap;
	return true;
}

static struct credential *
this_device(struct loading *l)
{
	return credmap_edit(l->line.map, credmap_count(l->line.map) - 1);
}

static struct common *
this_common(struct loading *l)
{
	return l->section == SECTION_PRODUCT
		   ? &l->products[l->products_count - 1].common
		   : &l->devices[credmap_count(l->line.map) - 1];
}

static void
read_value(struct loading *l, enum key key, const char *value)
{
	struct credmap_line *line = &l->line;
	struct common *common = this_common(l);
	/* keys that stand in a device only are looked at in a device only */
	struct credential *c =
	    l->section == SECTION_DEVICE ? this_device(l) : NULL;

	line->key = keys[key].name;
	switch (key) {
	case KEY_product_key:
		credmap_line_name(line, value, 1, ALIYUN_PRODUCT_KEY_MAX, "",
		    &c->product_key);
		return;
	case KEY_device_name:
		credmap_line_name(line, value, ALIYUN_DEVICE_NAME_MIN,
		    ALIYUN_DEVICE_NAME_MAX, "-_@.:", &c->device_name);
		return;
	case KEY_device_secret:
		credmap_line_device_secret(
		    line, value, false, &c->device_secret);
		return;
	case KEY_device_secret_file:
		credmap_line_device_secret(
		    line, value, true, &c->device_secret);
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
		credmap_line_keep_alive(line, value,
		    l->settings->keep_alive_min_s,
		    l->settings->keep_alive_max_s, &common->keep_alive_s);
		return;
	case KEY_clean_session:
		credmap_line_clean_session(line, value, &common->clean_session);
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
lowest(unsigned bits)
{
	int key = 0;

	assert(bits != 0);
	while (!(bits & BIT(key)))
		key++;
	return (enum key)key;
}

static void
on_value(void *arg, int line, const char *name, const char *value)
{
	struct loading *l = arg;
	struct common *common;
	unsigned rivals = 0;
	int key = 0;

	if (l->section == SECTION_NONE || l->line.no_memory)
		return; /* told with the section */
	l->line.n = line;
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

/* What can be said of a device without the rest of the file. */
static void
end_device(struct loading *l)
{
	struct credential *c = this_device(l);
	unsigned given = this_common(l)->given;
	char client_id[ALIYUN_CLIENT_ID_MAX + 1];

	if (!(given & BIT(KEY_product_key)))
		tell_missing(l, c, "product_key");
	if (!(given & BIT(KEY_device_name)))
		tell_missing(l, c, "device_name");
	if (!(given & SECRETS))
		tell_missing(l, c, "device_secret");
	if (!(given & BIT(KEY_client_id)) && c->product_key != NULL &&
	    c->device_name != NULL) {
		(void)snprintf(client_id, sizeof(client_id), "%s.%s",
		    c->product_key, c->device_name);
		c->client_id = credmap_line_keep(&l->line, client_id);
	}
	if (c->match == 0) {
		c->match = MATCH_CLIENT_ID;
		c->match_client_id = c->label;
	}
}

static void
end_section(struct loading *l)
{
	if (l->section == SECTION_DEVICE && !l->line.no_memory)
		end_device(l);
	l->section = SECTION_NONE;
	memset(l->lines, 0, sizeof(l->lines));
}

static void
begin_product(struct loading *l, const char *key)
{
	struct product *p;

	if (!grow(l, (void **)&l->products, &l->products_cap, l->products_count,
		sizeof(*p)))
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
	size_t i = credmap_count(l->line.map);
	struct credential *c;

	if (!grow(l, (void **)&l->devices, &l->devices_cap, i,
		sizeof(*l->devices)))
		return;
	c = credmap_add(l->line.map);
	if (c == NULL) {
		l->line.no_memory = true;
		return;
	}
	l->devices[i] = (struct common){0};
	l->section = SECTION_DEVICE;
	c->line = l->line.n;
	l->line.key = "the label";
	credmap_line_name(
	    &l->line, label, 1, CREDENTIAL_LABEL_MAX, "._:@-", &c->label);
}

static void
on_section(void *arg, int line, const char *name)
{
	static const char product[] = "product:";
	static const char device[] = "device:";
	struct loading *l = arg;
	char shown[64];

	end_section(l);
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

static int
compare_products(const void *a, const void *b)
{
	const struct product *p = a;
	const struct product *q = b;
	int order = strcmp(p->key, q->key);

	return order != 0 ? order : (p->line > q->line) - (p->line < q->line);
}

/* Puts the products in order, so that they can be searched. Without those whose
   key is missing or comes a second time, which are told. */
static void
sort_products(struct loading *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->products_count; i++)
		if (l->products[i].key != NULL)
			l->products[n++] = l->products[i];
	if (n > 0)
		qsort(l->products, n, sizeof(*l->products), compare_products);
	l->products_count = 0;
	for (size_t i = 0; i < n; i++) {
		const struct product *p = &l->products[i];
		const struct product *last =
		    l->products_count > 0 ? &l->products[l->products_count - 1]
					  : NULL;

		if (last == NULL || strcmp(last->key, p->key) != 0)
			l->products[l->products_count++] = *p;
		else
			complain(l->line.to, l->line.path, p->line,
			    "[product:%s] comes twice, first in line %d",
			    p->key, last->line);
	}
}

static struct product *
find_product(struct loading *l, const char *key)
{
	size_t low = 0;
	size_t high = l->products_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(key, l->products[middle].key);

		if (order == 0)
			return &l->products[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* The host of a product's devices at a place. */
static const char *
build_host(
    struct loading *l, const struct common *common, const char *product_key)
{
	char host[CREDENTIAL_HOST_MAX + 1];

	if (common->given & BIT(KEY_region))
		(void)snprintf(host, sizeof(host),
		    "%s.iot-as-mqtt.%s.aliyuncs.com", product_key,
		    common->place);
	else if (common->given & BIT(KEY_instance))
		(void)snprintf(host, sizeof(host),
		    "%s.mqtt.iothub.aliyuncs.com", common->place);
	else
		return common->place;
	return credmap_line_keep(&l->line, host);
}

static void
set_host(struct loading *l, struct credential *c, const struct common *own,
    struct product *product)
{
	if (own->given & PLACES) {
		if (own->place != NULL && c->product_key != NULL)
			c->host = build_host(l, own, c->product_key);
	} else if (product != NULL && product->common.given & PLACES) {
		if (product->host == NULL && product->common.place != NULL)
			product->host =
			    build_host(l, &product->common, product->key);
		c->host = product->host;
	} else if (c->product_key != NULL) {
		complain(l->line.to, l->line.path, c->line,
		    "[device:%s] has no region, instance or host, and "
		    "[product:%s] %s",
		    c->label != NULL ? c->label : "?", c->product_key,
		    product != NULL ? "has none either" : "is not there");
	}
}

/* Who has the say about a key. */
static const struct common *
giver(enum key key, const struct common *own, const struct product *product,
    const struct common *defaults)
{
	if (own->given & BIT(key))
		return own;
	if (product != NULL && product->common.given & BIT(key))
		return &product->common;
	return defaults;
}

/* Fills in what a device has from its product and from the settings. */
static void
complete_device(struct loading *l, struct credential *c,
    const struct common *own, const struct common *defaults)
{
	struct product *p =
	    c->product_key != NULL ? find_product(l, c->product_key) : NULL;
	const struct common *timestamp = giver(KEY_timestamp, own, p, defaults);

	if (p != NULL)
		p->used = true;
	set_host(l, c, own, p);
	c->port = giver(KEY_port, own, p, defaults)->port;
	c->path = giver(KEY_path, own, p, defaults)->path;
	c->mqtts_port = giver(KEY_mqtts_port, own, p, defaults)->mqtts_port;
	c->transports = giver(KEY_transports, own, p, defaults)->transports;
	c->server_name = giver(KEY_server_name, own, p, defaults)->server_name;
	/* a place of its own has a name of its own */
	if (c->server_name == NULL ||
	    (own->given & PLACES && own->server_name == NULL))
		c->server_name = c->host;
	c->sign_method = giver(KEY_sign_method, own, p, defaults)->sign_method;
	c->extra = giver(KEY_extra, own, p, defaults)->extra;
	c->match_case = giver(KEY_match_case, own, p, defaults)->match_case;
	c->allow_from = giver(KEY_allow_from, own, p, defaults)->allow_from;
	c->enabled = giver(KEY_enabled, own, p, defaults)->enabled;
	c->keep_alive_s = giver(KEY_keep_alive, own, p, defaults)->keep_alive_s;
	c->clean_session =
	    giver(KEY_clean_session, own, p, defaults)->clean_session;
	c->timestamp_mode = timestamp->timestamp_mode;
	c->timestamp_ms = timestamp->timestamp_ms;
}

static void
on_clash(void *arg, enum clash what, const struct credential *later,
    const struct credential *first)
{
	static const char *const texts[] = {
	    [CLASH_LABEL] = "has the same label as",
	    [CLASH_IDENTITY] = "has the same product_key and device_name as",
	    [CLASH_MATCH] = "has the same match_ keys as",
	};
	struct loading *l = arg;

	complain(l->line.to, l->line.path, later->line,
	    "[device:%s] %s [device:%s] in line %d",
	    later->label != NULL ? later->label : "?", texts[what],
	    first->label != NULL ? first->label : "?", first->line);
}

/* What can be done and said only when the whole file is known. */
static void
complete(struct loading *l)
{
	const struct settings *settings = l->settings;
	const struct common defaults = {
	    .port = settings->cloud_port,
	    .path = credmap_line_keep(&l->line, settings->cloud_path),
	    .mqtts_port = settings->cloud_mqtts_port,
	    .transports = settings->cloud_transports,
	    .sign_method = ALIYUN_HMACSHA256,
	    .timestamp_mode = TIMESTAMP_NOW,
	    .extra = "",
	    .match_case = true,
	    .enabled = true,
	};

	sort_products(l);
	for (size_t i = 0; i < credmap_count(l->line.map); i++)
		complete_device(
		    l, credmap_edit(l->line.map, i), &l->devices[i], &defaults);
	if (!credmap_index(l->line.map, on_clash, l))
		l->line.no_memory = true;
}

/* Said only of a map without errors: they could be their cause. */
static void
warn_about(struct loading *l)
{
	struct stat st;

	for (size_t i = 0; i < l->products_count; i++)
		if (!l->products[i].used)
			warn_of(l->line.to, l->line.path, l->products[i].line,
			    "no device is of [product:%s]", l->products[i].key);
	if (credmap_count(l->line.map) == 0)
		warn_of(l->line.to, l->line.path, 0,
		    "holds no [device:LABEL] section: every device will be "
		    "refused");
	if (stat(l->line.path, &st) == 0 && (st.st_mode & S_IROTH) != 0)
		warn_of(l->line.to, l->line.path, 0,
		    "holds secrets and every user of this machine may read it: "
		    "take that right away (chmod o-r)");
}

struct credmap *
credmap_load(
    const char *path, const struct settings *defaults, struct complaints *to)
{
	struct loading l = {
	    .line = {.path = path, .to = to, .map = credmap_new()},
	    .settings = defaults};
	const struct ini_handler handler = {on_section, on_value, &l};
	unsigned errors = to->errors;
	struct credmap *map;

	l.line.no_memory = l.line.map == NULL;
	if (!l.line.no_memory &&
	    (ini_read(path, &handler, to) || l.line.n > 0)) {
		end_section(&l);
		if (!l.line.no_memory)
			complete(&l);
	}
	if (l.line.no_memory)
		complain(to, path, 0, "out of memory");
	if (to->errors == errors)
		warn_about(&l);
	free(l.products);
	free(l.devices);
	map = l.line.map;
	if (to->errors == errors)
		return map;
	credmap_unref(map);
	return NULL;
}
