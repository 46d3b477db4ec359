#include "settings/credmap_parts.h"

#include "base/escape.h"
#include "base/fnv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_MAX = sizeof("[device:]") + CREDENTIAL_ENTRY_LABEL_MAX };

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

/* A CONNECT has one password: it cannot be the local one and the signature. */
static void
check_proof(struct loading *l, const struct credential *c)
{
	if (c->verify_login && c->has_password)
		complain(l->line.to, l->line.path, c->line,
		    "[device:%s] has verify_login = yes and a password of its "
		    "own: a device can show only one of the two",
		    c->label != NULL ? c->label : "?");
}

/* The same for the same device in every map. */
static uint64_t
number_of(const struct credential *c)
{
	uint64_t hash = fnv_begin();

	if (c->product_key == NULL || c->device_name == NULL)
		return 0;
	hash = fnv_add_text(hash, span_of_string(c->product_key));
	return fnv_add_text(hash, span_of_string(c->device_name));
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
	c->verify_login =
	    giver(KEY_verify_login, own, p, defaults)->verify_login;
	c->enabled = giver(KEY_enabled, own, p, defaults)->enabled;
	c->keep_alive_s = giver(KEY_keep_alive, own, p, defaults)->keep_alive_s;
	loading_set_contract(l, c, own, p);
	c->clean_session =
	    giver(KEY_clean_session, own, p, defaults)->clean_session;
	c->log = giver(KEY_log_level, own, p, defaults)->log;
	c->log.device = number_of(c);
#define X(x, name, first, second, third, what)                                 \
	c->policies.name = giver(KEY_##name, own, p, defaults)->policies.name;
	POLICIES(X, )
#undef X
	c->qos0_queue_bytes =
	    giver(KEY_qos0_queue, own, p, defaults)->qos0_queue_bytes;
	c->hold_time_ms = giver(KEY_hold_time, own, p, defaults)->hold_time_ms;
	c->hold_queue_bytes =
	    giver(KEY_hold_queue, own, p, defaults)->hold_queue_bytes;
	c->timestamp_mode = timestamp->timestamp_mode;
	c->timestamp_ms = timestamp->timestamp_ms;
	c->topics = own->has_topics ? own->topics
		    : p != NULL     ? p->common.topics
				    : NULL;
	check_proof(l, c);
}

/* An entry as a message names it. */
static const char *
name_of(const struct credential *c, char out[static SHOWN_MAX])
{
	const char *label = c->label != NULL ? c->label : "?";

	(void)snprintf(
	    out, SHOWN_MAX, c->table != NULL ? "%s" : "[device:%s]", label);
	return out;
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
	const char *path = l->line.path;
	const char *path_later = later->table != NULL ? later->table : path;
	const char *path_first = first->table != NULL ? first->table : path;
	bool one_file = strcmp(path_later, path_first) == 0;
	char name_later[SHOWN_MAX], name_first[SHOWN_MAX], of[200];

	if (what == CLASH_LABEL && later->table != NULL && one_file) {
		complain(l->line.to, path_later, later->line,
		    "DeviceName %s comes twice, first in line %d",
		    later->device_name, first->line);
		return;
	}
	complain(l->line.to, path_later, later->line, "%s %s %s in line %d%s%s",
	    name_of(later, name_later), texts[what], name_of(first, name_first),
	    first->line, one_file ? "" : " of ",
	    one_file ? "" : escape(of, sizeof(of), span_of_string(path_first)));
}

/* A fleet must not share its label either; what its devices must not share is
   seen when they are there. */
static void
on_fleet_clash(void *arg, enum clash what, const struct credential *later,
    const struct credential *first)
{
	if (what == CLASH_LABEL)
		on_clash(arg, what, later, first);
}

static void
index_maps(struct loading *l)
{
	if (!credmap_index(l->line.map, on_clash, l) ||
	    !credmap_index(l->fleets, on_fleet_clash, l)) {
		l->line.no_memory = true;
		return;
	}
	for (size_t i = 0; i < credmap_count(l->fleets); i++) {
		const struct credential *c = credmap_at(l->fleets, i);
		const struct credential *same =
		    c->label != NULL ? credmap_by_label(l->line.map, c->label)
				     : NULL;

		if (same != NULL)
			on_clash(l, CLASH_LABEL, c, same);
	}
}

/* What can be done and said only when the whole file is known. */
void
loading_complete(struct loading *l)
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
	    .qos0_queue_bytes = CREDENTIAL_QOS0_QUEUE_BYTES,
	    .hold_time_ms = CREDENTIAL_HOLD_TIME_MS,
	    .hold_queue_bytes = CREDENTIAL_HOLD_QUEUE_BYTES,
	};

	sort_products(l);
	loading_complete_contracts(l);
	for (size_t i = 0; i < credmap_count(l->line.map); i++)
		complete_device(l, credmap_edit(l->line.map, i),
		    &l->devices[i].own, &defaults);
	for (size_t i = 0; i < credmap_count(l->fleets); i++)
		complete_device(l, credmap_edit(l->fleets, i),
		    &l->fleet_devices[i].own, &defaults);
	loading_read_tables(l);
	if (!l->line.no_memory)
		index_maps(l);
}
