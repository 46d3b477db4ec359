#include "settings/credmap.h"

#include "scratch.h"
#include "unit.h"

#include <inttypes.h>
#include <pthread.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* A complete device, for tests that are about something else. */
#define DEVICE(label, name)                                                    \
	"[device:" label "]\nproduct_key = pk\ndevice_name = " name            \
	"\ndevice_secret = s3cret\nregion = cn-shanghai\n"

static struct settings *defaults;

static int
load_defaults(void **state)
{
	struct complaints none = {0};

	(void)state;
	defaults = settings_load(NULL, &none);
	return defaults != NULL ? 0 : -1;
}

static int
drop_defaults(void **state)
{
	(void)state;
	settings_unref(defaults);
	return 0;
}

static struct credmap *
load(struct scratch *s, const char *text)
{
	return credmap_load(
	    scratch_write(s, "devices.ini", span_of_string(text)), defaults,
	    &s->complaints);
}

static const struct credential *
by_label(const struct credmap *map, const char *label)
{
	const struct credential *c = credmap_by_label(map, label);

	if (c == NULL)
		fail_msg("no %s", label);
	return c;
}

/* The label of the entry that answers, or "-". */
static const char *
find(const struct credmap *map, const char *client_id, const char *username,
    const char *address)
{
	struct credmap_shown shown = {.client_id = span_of_string(client_id),
	    .username = span_of_string(username)};
	const struct credential *c;

	assert_true(network_read(address, &shown.address));
	c = credmap_find(map, &shown);
	return c != NULL ? c->label : "-";
}

static void
test_reads_a_device(void **state)
{
	struct scratch *s = *state;
	struct credmap *map =
	    load(s, "[device:pump-7]\n"
		    "product_key = a1B2c3D4e5F\n"
		    "device_name = pump_7\n"
		    "device_secret = 0123456789abcdef0123456789abcdef\n"
		    "region = cn-shanghai\n");
	const struct credential *c;

	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(credmap_count(map), 1);
	c = credmap_at(map, 0);
	assert_string_equal(c->label, "pump-7");
	assert_string_equal(c->product_key, "a1B2c3D4e5F");
	assert_string_equal(c->device_name, "pump_7");
	assert_string_equal(c->client_id, "a1B2c3D4e5F.pump_7");
	assert_string_equal(c->extra, "");
	assert_string_equal(
	    c->host, "a1B2c3D4e5F.iot-as-mqtt.cn-shanghai.aliyuncs.com");
	assert_string_equal(c->path, "/mqtt");
	assert_int_equal(c->port, 443);
	assert_int_equal(c->transports.order[0], TRANSPORT_WSS);
	assert_int_equal(c->sign_method, ALIYUN_HMACSHA256);
	assert_int_equal(c->timestamp_mode, TIMESTAMP_NOW);
	assert_int_equal(c->match, MATCH_CLIENT_ID);
	assert_string_equal(c->match_client_id, "pump-7");
	assert_null(c->match_username);
	assert_null(c->match_address);
	assert_false(c->has_password);
	assert_true(secret_eq(
	    &c->device_secret, SPAN_OF("0123456789abcdef0123456789abcdef")));
	assert_int_equal(c->line, 1);
	assert_ptr_equal(credmap_by_label(map, "pump-7"), c);
	assert_ptr_equal(credmap_by_identity(map, "a1B2c3D4e5F", "pump_7"), c);
	assert_null(credmap_by_label(map, "pump-8"));
	assert_null(credmap_by_label(map, ""));
	assert_null(credmap_by_identity(map, "a1B2c3D4e5Fpump_7", ""));
	assert_string_equal(find(map, "pump-7", "", "10.0.0.1"), "pump-7");
	assert_string_equal(find(map, "PUMP-7", "", "10.0.0.1"), "-");
	assert_string_equal(find(map, "", "pump-7", "10.0.0.1"), "-");
	credmap_unref(map);
	credmap_unref(NULL);
}

static void
test_every_key_counts(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[device:a]\n"
	    "product_key = pk\ndevice_name = devi\ndevice_secret = x\n"
	    "client_id = 12345\nmatch_client_id = C 1\nmatch_username = U\n"
	    "match_address = ::ffff:10.0.0.9\npassword = p w\n"
	    "instance = iot-060a0bgd\nport = 8443\npath = /x\n"
	    "transports = wss\nsign_method = hmacmd5\ntimestamp = 789\n"
	    "extra = lan=C,ext=1\n"
	    "[device:b]\n"
	    "product_key = pk\ndevice_name = devj\ndevice_secret = x\n"
	    "client_id =\nhost = 2001:DB8::1\ntimestamp = none\nextra =\n");
	const struct credential *c;

	assert_told(s, "");
	assert_non_null(map);
	c = credmap_at(map, 0);
	assert_string_equal(c->client_id, "12345");
	assert_string_equal(c->match_client_id, "C 1");
	assert_string_equal(c->match_username, "U");
	assert_string_equal(c->match_address, "10.0.0.9");
	assert_int_equal(
	    c->match, MATCH_CLIENT_ID | MATCH_USERNAME | MATCH_ADDRESS);
	assert_true(c->has_password);
	assert_true(secret_eq(&c->password, SPAN_OF("p w")));
	assert_string_equal(c->host, "iot-060a0bgd.mqtt.iothub.aliyuncs.com");
	assert_int_equal(c->port, 8443);
	assert_string_equal(c->path, "/x");
	assert_int_equal(c->sign_method, ALIYUN_HMACMD5);
	assert_int_equal(c->timestamp_mode, TIMESTAMP_FIXED);
	assert_int_equal(c->timestamp_ms, 789);
	assert_string_equal(c->extra, "lan=C,ext=1");
	c = credmap_at(map, 1);
	assert_string_equal(c->client_id, "");
	assert_string_equal(c->host, "2001:db8::1");
	assert_int_equal(c->timestamp_mode, TIMESTAMP_NONE);
	assert_string_equal(c->extra, "");
	credmap_unref(map);
}

/* Device before product before proxy.ini; a product may stand behind. */
static void
test_products_give_defaults(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[device:own]\n"
	    "product_key = pk\ndevice_name = own1\ndevice_secret = x\n"
	    "host = broker.lan\nport = 1\ntimestamp = now\nextra =\n"
	    "[device:same]\n"
	    "product_key = pk\ndevice_name = same\ndevice_secret = x\n"
	    "[product:pk]\n"
	    "instance = iot-1\nport = 2\npath = /p\nsign_method = hmacsha1\n"
	    "timestamp = 5\nextra = a=b\n"
	    "[product:other]\n"
	    "region = us-west-1\n"
	    "[device:other]\n"
	    "product_key = other\ndevice_name = devi\ndevice_secret = x\n");
	const struct credential *c;

	assert_told(s, "");
	assert_non_null(map);
	c = credmap_by_label(map, "own");
	assert_string_equal(c->host, "broker.lan");
	assert_int_equal(c->port, 1);
	assert_string_equal(c->path, "/p");
	assert_int_equal(c->sign_method, ALIYUN_HMACSHA1);
	assert_int_equal(c->timestamp_mode, TIMESTAMP_NOW);
	assert_string_equal(c->extra, "");
	c = credmap_by_label(map, "same");
	assert_string_equal(c->host, "iot-1.mqtt.iothub.aliyuncs.com");
	assert_int_equal(c->port, 2);
	assert_int_equal(c->timestamp_ms, 5);
	assert_string_equal(c->extra, "a=b");
	c = credmap_by_label(map, "other");
	assert_string_equal(
	    c->host, "other.iot-as-mqtt.us-west-1.aliyuncs.com");
	assert_int_equal(c->port, 443);
	assert_string_equal(c->path, "/mqtt");
	credmap_unref(map);
}

static void
test_disabled_entries_are_known(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[product:off]\nhost = h\nenabled = no\n" DEVICE(
		"a", "devi") DEVICE("b",
		"devj") "enabled = no\n"
			"[device:c]\nproduct_key = off\ndevice_name = devi\n"
			"device_secret = x\n"
			"[device:d]\nproduct_key = off\ndevice_name = devj\n"
			"device_secret = x\nenabled = yes\n");

	assert_told(s, "");
	assert_non_null(map);
	assert_true(by_label(map, "a")->enabled);
	assert_false(by_label(map, "b")->enabled);
	assert_false(by_label(map, "c")->enabled);
	assert_true(by_label(map, "d")->enabled);
	assert_string_equal(find(map, "b", "", "10.0.0.1"), "b");
	credmap_unref(map);
}

static void
test_what_the_cloud_is_told_instead(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[product:pk]\nkeep_alive = 2m\nclean_session = yes\n" DEVICE(
		"a", "devi") DEVICE("b",
		"devj") "keep_alive = 30\n"
			"clean_session = no\n" DEVICE(
			    "c", "devk") "keep_alive = "
					 "device\nclean_"
					 "session = "
					 "device\n"
					 "[device:d]\nproduct_key = "
					 "pl\ndevice_name = devi\n"
					 "device_secret = x\nhost = h\n");

	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(by_label(map, "a")->keep_alive_s, 120);
	assert_int_equal(by_label(map, "b")->keep_alive_s, 30);
	assert_int_equal(by_label(map, "c")->keep_alive_s, 0);
	assert_int_equal(by_label(map, "d")->keep_alive_s, 0);
	assert_int_equal(by_label(map, "a")->clean_session, CLEAN_YES);
	assert_int_equal(by_label(map, "b")->clean_session, CLEAN_NO);
	assert_int_equal(by_label(map, "c")->clean_session, CLEAN_AS_DEVICE);
	assert_int_equal(by_label(map, "d")->clean_session, CLEAN_AS_DEVICE);
	credmap_unref(map);
}

/* Device before product before what holds by default. */
static void
test_policies(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[product:pk]\nqos2 = refuse\nretain = store\n"
	    "topic_unmapped = refuse\nsecond_device = refuse\n"
	    "qos0_queue = 1M\n" DEVICE("a", "devi") DEVICE("b",
		"devj") "qos2 = adapt\nretain = clear\ntopic_unmapped = drop\n"
			"second_device = replace\nqos0_queue = 0\n"
			"[device:c]\nproduct_key = pl\ndevice_name = devi\n"
			"device_secret = x\nhost = h\n");
	const struct credential *c;

	assert_told(s, "");
	assert_non_null(map);
	c = by_label(map, "a");
	assert_int_equal(c->policies.qos2, QOS2_REFUSE);
	assert_int_equal(c->policies.retain, RETAIN_STORE);
	assert_int_equal(c->policies.topic_unmapped, TOPIC_UNMAPPED_REFUSE);
	assert_int_equal(c->policies.second_device, SECOND_DEVICE_REFUSE);
	assert_int_equal(c->qos0_queue_bytes, 1024 * 1024);
	c = by_label(map, "b");
	assert_int_equal(c->policies.qos2, QOS2_ADAPT);
	assert_int_equal(c->policies.retain, RETAIN_CLEAR);
	assert_int_equal(c->policies.topic_unmapped, TOPIC_UNMAPPED_DROP);
	assert_int_equal(c->policies.second_device, SECOND_DEVICE_REPLACE);
	assert_int_equal(c->qos0_queue_bytes, 0);
	c = by_label(map, "c");
	assert_int_equal(c->policies.qos2, QOS2_ADAPT);
	assert_int_equal(c->policies.retain, RETAIN_CLEAR);
	assert_int_equal(c->policies.topic_unmapped, TOPIC_UNMAPPED_PASS);
	assert_int_equal(c->policies.second_device, SECOND_DEVICE_REPLACE);
	assert_int_equal(c->qos0_queue_bytes, 64 * 1024);
	credmap_unref(map);
}

#define OWN "/${pk}/${dn}/user/"

/* Where a topic of the device goes; "": nowhere. */
static const char *
mapped_up(const struct credential *c, const char *topic)
{
	static char text[TOPIC_LAN_BYTES_MAX + 1];
	const struct topic_names names = {.pk = span_of_string(c->product_key),
	    .dn = span_of_string(c->device_name)};
	struct topic_text out;

	text[0] = '\0';
	if (topic_map_up(c->topics, &names, span_of_string(topic), &out) ==
	    TOPIC_MAPPED) {
		memcpy(text, out.p, out.n);
		text[out.n] = '\0';
	}
	return text;
}

/* Those of the product, but for a device that has any. */
static void
test_topics(void **state)
{
	struct scratch *s = *state;
	struct credmap *map;

	map = load(s,
	    "[product:pk]\ntopic.9999.lan = a/+/#\ntopic.2.lan = b\n"
	    "topic.9999.cloud = " OWN "a/$1/$#\ntopic.9999.escape = yes\n"
	    "topic.2.way = up\ntopic.2.cloud = " OWN "b\n" DEVICE("a", "devi")
		DEVICE("b", "devj") DEVICE("c",
		    "devk") "topic.1.cloud = " OWN "c\ntopic.1.lan = c\n"
			    "[device:d]\nproduct_key = pl\ndevice_name = devi\n"
			    "device_secret = x\nhost = h\n");
	assert_told(s, "");
	assert_non_null(map);
	assert_ptr_equal(
	    by_label(map, "a")->topics, by_label(map, "b")->topics);
	assert_string_equal(mapped_up(by_label(map, "a"), "a/x-y/z"),
	    "/pk/devi/user/a/x_2Dy/z");
	assert_string_equal(
	    mapped_up(by_label(map, "b"), "b"), "/pk/devj/user/b");
	assert_string_equal(mapped_up(by_label(map, "c"), "b"), "");
	assert_string_equal(
	    mapped_up(by_label(map, "c"), "c"), "/pk/devk/user/c");
	assert_null(by_label(map, "d")->topics);
	credmap_unref(map);
}

static void
test_log_levels(void **state)
{
	struct scratch *s = *state;
	struct credmap *map =
	    load(s, "[product:pk]\nlog_level = debug\n" DEVICE("a", "devi")
			DEVICE("b", "devj") "log_level = error\n"
					    "[device:c]\nproduct_key = pl\n"
					    "device_name = devi\nhost = h\n"
					    "device_secret = x\n");

	assert_told(s, "");
	assert_non_null(map);
	assert_true(by_label(map, "a")->log.set);
	assert_int_equal(by_label(map, "a")->log.level, LOG_DEBUG);
	assert_true(by_label(map, "b")->log.set);
	assert_int_equal(by_label(map, "b")->log.level, LOG_ERROR);
	assert_false(by_label(map, "c")->log.set);
	credmap_unref(map);
}

static void
test_prefixes(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    DEVICE("all", "dev1") "match_address = 0.0.0.0/0\n" DEVICE(
		"ten", "dev2") "match_address = 10.0.0.0/8\n" DEVICE("28",
		"dev3") "match_address = 10.0.0.16/28\n" DEVICE("one",
		"dev4") "match_address = 10.0.0.17\n" DEVICE("six",
		"dev5") "match_address = 2001:DB8::/33\n" DEVICE("c",
		"dev6") "match_address = 10.0.0.0/9\n"
			"match_client_id = c\n" DEVICE(
			    "u", "dev7") "match_username = u\n" DEVICE("host",
			    "dev8") "match_address = 10.9.9.9/32\n");

	assert_told(s, "");
	assert_non_null(map);
	assert_string_equal(
	    by_label(map, "six")->match_address, "2001:db8::/33");
	assert_string_equal(by_label(map, "host")->match_address, "10.9.9.9");
	assert_string_equal(find(map, "", "", "9.255.255.255"), "all");
	assert_string_equal(find(map, "", "", "10.0.0.15"), "ten");
	assert_string_equal(find(map, "", "", "10.0.0.16"), "28");
	assert_string_equal(find(map, "", "", "10.0.0.17"), "one");
	assert_string_equal(find(map, "", "", "10.0.0.31"), "28");
	assert_string_equal(find(map, "", "", "10.0.0.32"), "ten");
	assert_string_equal(find(map, "", "", "10.255.255.255"), "ten");
	assert_string_equal(find(map, "", "", "11.0.0.0"), "all");
	assert_string_equal(find(map, "", "", "10.9.9.9"), "host");
	assert_string_equal(find(map, "", "", "::ffff:10.0.0.17"), "one");
	assert_string_equal(find(map, "", "", "2001:db8:7fff::1"), "six");
	assert_string_equal(find(map, "", "", "2001:db8:8000::1"), "-");
	assert_string_equal(find(map, "", "", "::1"), "-");
	/* the keys come before the prefix */
	assert_string_equal(find(map, "c", "", "10.0.0.17"), "c");
	assert_string_equal(find(map, "c", "", "10.128.0.0"), "ten");
	assert_string_equal(find(map, "", "u", "10.0.0.17"), "u");
	credmap_unref(map);
}

static void
assert_fits(const struct credmap *map, const char *label, const char *client_id,
    bool match_case, bool want)
{
	const struct credmap_shown shown = {
	    .client_id = span_of_string(client_id)};

	assert_int_equal(
	    credmap_fitting_keys(by_label(map, label), &shown, match_case),
	    want ? MATCH_CLIENT_ID : 0);
}

static void
test_case_counts_unless_said(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[product:any]\nhost = h\nmatch_case = no\n" DEVICE("exact",
		"dev1") "match_client_id = Pump\n"
			"[device:any]\nproduct_key = any\ndevice_name = dev1\n"
			"device_secret = x\nmatch_client_id = PUMP\n"
			"[device:User]\nproduct_key = any\ndevice_name = dev2\n"
			"device_secret = x\nmatch_username = User\n"
			"match_address = 65.66.67.90\n"
			"[device:Label]\nproduct_key = any\ndevice_name = "
			"dev3\n"
			"device_secret = x\n"
			"[device:umlaut]\nproduct_key = any\ndevice_name = "
			"dev4\n"
			"device_secret = x\nmatch_client_id = \xc3\x84\n"
			"[device:signs]\nproduct_key = any\ndevice_name = "
			"dev7\n"
			"device_secret = x\nmatch_client_id = Az[@\n"
			"[device:prefix]\nproduct_key = pk\ndevice_name = "
			"dev5\n"
			"device_secret = x\nhost = h\nmatch_client_id = pump\n"
			"match_address = 10.0.0.0/8\n"
			"[device:address]\nproduct_key = any\ndevice_name = "
			"dev6\n"
			"device_secret = x\nmatch_client_id = PUMP\n"
			"match_address = 10.0.0.1\n");

	assert_told(s, "");
	assert_non_null(map);
	assert_string_equal(find(map, "Pump", "", "11.0.0.1"), "exact");
	assert_string_equal(find(map, "pump", "", "11.0.0.1"), "any");
	assert_string_equal(find(map, "PUMP", "", "11.0.0.1"), "any");
	assert_string_equal(find(map, "LABEL", "", "11.0.0.1"), "Label");
	assert_string_equal(find(map, "x", "USER", "65.66.67.90"), "User");
	/* neither addresses nor other bytes have capitals */
	assert_string_equal(find(map, "x", "USER", "97.66.67.90"), "-");
	assert_string_equal(find(map, "\xc3\xa4", "", "11.0.0.1"), "-");
	assert_string_equal(find(map, "aZ[@", "", "11.0.0.1"), "signs");
	assert_string_equal(find(map, "aZ{@", "", "11.0.0.1"), "-");
	assert_string_equal(find(map, "aZ[`", "", "11.0.0.1"), "-");
	/* to the letter comes before the address, but not before the keys */
	assert_string_equal(find(map, "pump", "", "10.0.0.1"), "prefix");
	assert_string_equal(find(map, "Pump", "", "10.0.0.1"), "address");
	assert_fits(map, "exact", "Pump", false, true);
	assert_fits(map, "exact", "pump", false, true);
	assert_fits(map, "exact", "pump", true, false);
	assert_fits(map, "exact", "pum", false, false);
	credmap_unref(map);
}

static void
assert_clash(struct scratch *s, const char *a, const char *b, bool clash)
{
	char text[512];
	struct credmap *map;

	(void)snprintf(text, sizeof(text), "%s%s\n%s%s\n", DEVICE("a", "devi"),
	    a, DEVICE("b", "devj"), b);
	map = load(s, text);
	if (!clash) {
		assert_told(s, "");
		credmap_unref(map);
		return;
	}
	assert_null(map);
	assert_told_once(
	    s, "[device:b] has the same match_ keys as [device:a]");
}

static void
test_clashes_of_prefixes_and_case(void **state)
{
	struct scratch *s = *state;

	assert_clash(s, "match_address = 10.0.0.0/8",
	    "match_address = 10.0.0.0/8", true);
	assert_clash(s, "match_address = 10.0.0.0/8",
	    "match_address = ::ffff:10.0.0.0/104", true);
	assert_clash(
	    s, "match_address = 10.0.0.1", "match_address = 10.0.0.1/32", true);
	assert_clash(s, "match_address = 10.0.0.0/8",
	    "match_address = 10.0.0.0/9", false);
	assert_clash(
	    s, "match_address = ::/0", "match_address = 0.0.0.0/0", false);
	assert_clash(s, "match_address = 10.0.0.0/8",
	    "match_address = 10.0.0.0/8\nmatch_username = x", false);
	/* capitals make no difference to an address */
	assert_clash(s, "match_address = 10.0.0.0/8\nmatch_case = no",
	    "match_address = 10.0.0.0/8", true);
	assert_clash(s, "match_username = x\nmatch_case = no",
	    "match_username = X\nmatch_case = no", true);
	assert_clash(s, "match_username = x\nmatch_case = no",
	    "match_username = x", false);
	assert_clash(s, "match_username = x", "match_username = X", false);
}

static bool
allows(const struct credmap *map, const char *label, const char *address)
{
	struct network n;

	assert_true(network_read(address, &n));
	return credential_refuses(by_label(map, label), &n) == R_NONE;
}

static void
test_where_a_device_may_come_from(void **state)
{
	static const struct network nowhere;
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[product:pk]\nallow_from = 192.0.2.0/24 ,\t2001:db8::/32\n" DEVICE(
		"a", "devi") DEVICE("b",
		"devj") "allow_from = "
			"::ffff:10.0.0.1\n"
			"[device:c]\nproduct_key = pl\ndevice_name = devi\n"
			"device_secret = x\nhost = h\n"
			"[device:d]\nproduct_key = pl\ndevice_name = devj\n"
			"device_secret = x\nhost = h\nallow_from = "
			"0.0.0.0/0\n");

	assert_told(s, "");
	assert_non_null(map);
	assert_true(allows(map, "a", "192.0.2.255"));
	assert_true(allows(map, "a", "::ffff:192.0.2.0"));
	assert_true(allows(map, "a", "2001:db8:ffff::1"));
	assert_false(allows(map, "a", "192.0.3.0"));
	assert_false(allows(map, "a", "2001:db9::"));
	assert_false(allows(map, "a", "10.0.0.1"));
	assert_int_equal(credential_refuses(by_label(map, "a"), &nowhere),
	    R_ADDRESS_NOT_ALLOWED);
	assert_true(allows(map, "b", "10.0.0.1"));
	assert_false(allows(map, "b", "192.0.2.1"));
	assert_true(allows(map, "d", "10.0.0.1"));
	assert_false(allows(map, "d", "::1"));
	assert_true(allows(map, "c", "203.0.113.1"));
	assert_int_equal(
	    credential_refuses(by_label(map, "c"), &nowhere), R_NONE);
	credmap_unref(map);
}

/* All that fit, from the one that answers on, and why each goes first. */
static void
test_search_has_one_after_the_other(void **state)
{
	static const struct {
		const char *label;
		enum credmap_rule rule; /* before the next */
	} order[] = {{"ca", RULE_PREFIX}, {"cp", RULE_CASE}, {"Cp", RULE_KEYS},
	    {"c", RULE_CASE}, {"C", RULE_KEYS}, {"u", RULE_KEYS},
	    {"28", RULE_PREFIX}, {"8", RULE_KEYS}};
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    DEVICE("8", "dev1") "match_address = 10.0.0.0/8\n" DEVICE(
		"28", "dev2") "match_address = 10.0.0.0/28\n" DEVICE("C",
		"dev3") "match_client_id = C\nmatch_case = no\n" DEVICE("c",
		"dev4") "match_client_id = c\n" DEVICE("u",
		"dev5") "match_username = u\n" DEVICE("Cp",
		"dev6") "match_client_id = C\nmatch_case = no\n"
			"match_address = 10.0.0.0/30\n" DEVICE("cp",
			    "dev7") "match_client_id = c\n"
				    "match_address = 10.0.0.0/8\n" DEVICE("ca",
					"dev8") "match_client_id = c\n"
						"match_address = "
						"10.0.0.1\n" DEVICE("no",
						    "dev9") "match_address = "
							    "11.0.0.0/8\n");
	struct credmap_shown shown = {
	    .client_id = SPAN_OF("c"), .username = SPAN_OF("u")};
	struct credmap_search search;
	const struct credential *c, *before = NULL;

	assert_told(s, "");
	assert_non_null(map);
	assert_true(network_read("10.0.0.1", &shown.address));
	credmap_search_begin(&search, map, &shown);
	for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
		c = credmap_search_next(&search);
		assert_non_null(c);
		assert_string_equal(c->label, order[i].label);
		if (before != NULL)
			assert_int_equal(
			    credmap_rule_between(before, c), order[i - 1].rule);
		before = c;
	}
	assert_null(credmap_search_next(&search));
	assert_null(credmap_search_next(&search));
	credmap_unref(map);
}

/* A device with firmware of the platform's own says itself who it is. */
static void
test_finds_by_the_device_s_own_login(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    DEVICE("a", "dev1") DEVICE("named",
		"dev2") "match_client_id = x\nmatch_username = y\n" DEVICE("use"
									   "r",
		"dev3") "match_username = dev1&pk\n" DEVICE("placed",
		"dev4") "match_address = 10.0.0.0/8\n" DEVICE("id",
		"dev5") "match_client_id = id|lan=C|\n");
	struct credmap_shown shown = {
	    .client_id = SPAN_OF("id|lan=C|"), .username = SPAN_OF("dev5&pk")};
	struct credmap_search search;

	assert_told(s, "");
	assert_non_null(map);
	/* whatever keys the entry has, but an address must be right */
	assert_string_equal(find(map, "x||", "dev2&pk", "10.0.0.1"), "placed");
	assert_string_equal(find(map, "x||", "dev2&pk", "11.0.0.1"), "named");
	assert_string_equal(find(map, "x||", "dev4&pk", "10.0.0.1"), "placed");
	assert_string_equal(find(map, "x||", "dev4&pk", "11.0.0.1"), "-");
	/* keys go before */
	assert_string_equal(find(map, "x||", "dev1&pk", "11.0.0.1"), "user");
	assert_string_equal(
	    find(map, "id|lan=C|", "dev2&pk", "11.0.0.1"), "id");
	/* not of the form, or of nobody */
	assert_string_equal(find(map, "x", "dev2&pk", "11.0.0.1"), "-");
	assert_string_equal(find(map, "x|", "dev2&pk", "11.0.0.1"), "-");
	assert_string_equal(find(map, "x||", "dev2", "11.0.0.1"), "-");
	assert_string_equal(find(map, "x||", "pk&dev2", "11.0.0.1"), "-");
	assert_string_equal(find(map, "x||", "dev9&pk", "11.0.0.1"), "-");
	assert_string_equal(find(map, "x||", "dev2&pK", "11.0.0.1"), "-");
	/* an entry that fits both ways is there once */
	credmap_search_begin(&search, map, &shown);
	assert_ptr_equal(credmap_search_next(&search), by_label(map, "id"));
	assert_false(search.by_login);
	assert_null(credmap_search_next(&search));
	/* and as the last one when only so */
	shown.client_id = SPAN_OF("id|lan=C|");
	shown.username = SPAN_OF("dev2&pk");
	credmap_search_begin(&search, map, &shown);
	assert_ptr_equal(credmap_search_next(&search), by_label(map, "id"));
	assert_ptr_equal(credmap_search_next(&search), by_label(map, "named"));
	assert_true(search.by_login);
	assert_null(credmap_search_next(&search));
	assert_null(credmap_search_next(&search));
	credmap_unref(map);
}

static void
test_what_a_device_must_show(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[product:pk]\nverify_login = yes\n" DEVICE("a", "dev1")
		DEVICE("b", "dev2") "verify_login = no\npassword = x\n");

	assert_told(s, "");
	assert_non_null(map);
	assert_true(by_label(map, "a")->verify_login);
	assert_false(by_label(map, "a")->has_password);
	assert_false(by_label(map, "b")->verify_login);
	credmap_unref(map);
	assert_null(load(s, "[product:pk]\nverify_login = yes\n" DEVICE(
				"a", "dev1") "password = x\n"));
	assert_told(s,
	    "error 3: [device:a] has verify_login = yes and a password of its "
	    "own: a device can show only one of the two\n");
}

static void
test_settings_give_the_last_defaults(void **state)
{
	struct scratch *s = *state;
	struct settings *settings = settings_load(
	    scratch_write(s, "proxy.ini",
		SPAN_OF(
		    "[cloud]\nport = 8080\npath = /lab\ntransports = ws\n")),
	    &s->complaints);
	struct credmap *map;
	const struct credential *c;

	assert_non_null(settings);
	scratch_reset(s);
	map = credmap_load(
	    scratch_write(s, "devices.ini", SPAN_OF(DEVICE("a", "devi"))),
	    settings, &s->complaints);
	settings_unref(settings);
	assert_non_null(map);
	c = credmap_at(map, 0);
	assert_int_equal(c->port, 8080);
	assert_string_equal(c->path, "/lab");
	assert_int_equal(c->transports.order[0], TRANSPORT_WS);
	credmap_unref(map);
}

static void
test_the_more_telling_entry_wins(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    DEVICE("a", "dev1") "match_address = 10.0.0.1\n" DEVICE(
		"u", "dev2") "match_username = u\n" DEVICE("ua",
		"dev3") "match_username = u\n"
			"match_address = 10.0.0.1\n" DEVICE(
			    "c", "dev4") "match_client_id = c\n" DEVICE("ca",
			    "dev5") "match_client_id = c\n"
				    "match_address = 10.0.0.1\n" DEVICE("cu",
					"dev6") "match_client_id = "
						"c\nmatch_username = "
						"u\n" DEVICE("cua",
						    "dev7") "match_client_id = "
							    "c\nmatch_username "
							    "= u\n"
							    "match_address = "
							    "10.0.0.1\n");

	assert_told(s, "");
	assert_non_null(map);
	assert_string_equal(find(map, "c", "u", "10.0.0.1"), "cua");
	assert_string_equal(find(map, "c", "u", "10.0.0.2"), "cu");
	assert_string_equal(find(map, "c", "x", "10.0.0.1"), "ca");
	assert_string_equal(find(map, "c", "x", "10.0.0.2"), "c");
	assert_string_equal(find(map, "x", "u", "10.0.0.1"), "ua");
	assert_string_equal(find(map, "x", "u", "10.0.0.2"), "u");
	assert_string_equal(find(map, "", "", "10.0.0.1"), "a");
	assert_string_equal(find(map, "", "", "10.0.0.2"), "-");
	/* a key is all of its bytes, NUL bytes too */
	assert_null(credmap_find(
	    map, &(struct credmap_shown){.client_id = SPAN_OF("c\0")}));
	/* a device of no address has none of the keys */
	assert_null(credmap_find(map, &(struct credmap_shown){0}));
	/* and does not run into the next one */
	assert_string_equal(find(map, "cu", "", "10.0.0.2"), "-");
	credmap_unref(map);
}

static void
test_refuses_values(void **state)
{
	static const struct {
		const char *line;
		const char *told;
	} cases[] = {
	    {"client_id = a|b", "without | , = and &"},
	    {"client_id = a&b", "without | , = and &"},
	    {"client_id = "
	     "12345678901234567890123456789012345678901234567890123456789"
	     "012345",
		"at most 64 bytes"},
	    {"match_client_id =", "1 to 128 bytes"},
	    {"match_username =", "1 to 128 bytes"},
	    {"match_address = 10.0.0.0/33", "one numeric IPv4 or IPv6"},
	    {"match_address = 10.0.0/8", "one numeric IPv4 or IPv6"},
	    {"match_address = 10.0.0.0/", "one numeric IPv4 or IPv6"},
	    {"match_address = ::/129", "one numeric IPv4 or IPv6"},
	    {"match_address = 10.0.0.17/28",
		"it goes on behind the prefix; is 10.0.0.16/28 meant?"},
	    {"match_address = ::1/0", "is ::/0 meant?"},
	    {"match_address = ::ffff:10.0.0.1/127", "is 10.0.0.0/31 meant?"},
	    {"match_address = ::ffff:10.0.0.0/90", "is ::ffc0:0:0/90 meant?"},
	    {"match_case = maybe", "yes or no is allowed"},
	    {"allow_from =", "one numeric"},
	    {"allow_from = a.example", "one numeric"},
	    {"allow_from = 10.0.0.1,", "one numeric"},
	    {"allow_from = 10.0.0.1 10.0.0.2", "one numeric"},
	    {"allow_from = ,10.0.0.1", "one numeric"},
	    {"allow_from = 10.0.0.0/8, 10.0.0.1/8",
		"allow_from = 10.0.0.0/8, 10.0.0.1/8: it goes on behind the "
		"prefix; is 10.0.0.0/8 meant?"},
	    {"allow_from = ::1,::2,::3,::4,::5,::6,::7,::8,::9",
		"at most 8 addresses and prefixes are allowed"},
	    {"match_address = 10.0.0.1, 10.0.0.2", "one numeric"},
	    {"password =", "it is empty"},
	    {"port = 0", "port = 0: 1 to 65535 is allowed"},
	    {"port = 65536", "1 to 65535"},
	    {"path = mqtt", "it starts with /"},
	    {"transports = tcp", "allowed is wss, mqtts or ws"},
	    {"sign_method = sha256", "hmacmd5, hmacsha1 or hmacsha256"},
	    {"timestamp = 1s", "now, none or a number"},
	    {"timestamp = 12345678901234", "at most 13 digits"},
	    {"extra = a", "write k=v,k=v"},
	    {"extra = a=", "write k=v,k=v"},
	    {"extra = =a", "write k=v,k=v"},
	    {"extra = a=b,", "write k=v,k=v"},
	    {"extra = a=b,,c=d", "write k=v,k=v"},
	    {"extra = a=b=c", "write k=v,k=v"},
	    {"extra = a=b|c", "write k=v,k=v"},
	    {"extra = a=b c", "write k=v,k=v"},
	    {"extra = a=b,securemode=3", "securemode may not be set"},
	    {"extra = signmethod=x", "signmethod may not be set"},
	    {"extra = timestamp=1", "timestamp may not be set"},
	    {"extra = _v=sdk-c-4.1.0", "_v may not be set"},
	    {"extra = ext=1,_ss=1", "_ss may not be set"},
	    {"enabled = true", "enabled = true: yes or no is allowed"},
	    {"enabled =", "yes or no is allowed"},
	    {"enabled = Yes", "yes or no is allowed"},
	    {"keep_alive = 29",
		"keep_alive = 29s: the contract of [device:a] allows device, "
		"or 30s to 1200s (keep_alive_min, keep_alive_max)"},
	    {"keep_alive = 1201s", "30s to 1200s"},
	    {"keep_alive = 0", "allowed is device, or whole seconds from 1s"},
	    {"keep_alive = 65536", "from 1s to 65535s"},
	    {"keep_alive = 30500ms", "whole seconds"},
	    {"keep_alive =", "allowed is device"},
	    {"keep_alive = Device", "allowed is device"},
	    {"qos2 = no", "qos2 = no: adapt or refuse is allowed\n"},
	    {"retain =", "clear or store is allowed"},
	    {"second_device =", "replace or refuse is allowed"},
	    {"topic_unmapped = keep", "pass, refuse or drop is allowed"},
	    {"topic.1.lan = a", "error 6: topic.1 has no topic.1.cloud\n"},
	    {"topic.01.lan = a",
		"there is no such key; a rule for topics has topic.N"},
	    {"topic.0.lan = a", "there is no such key"},
	    {"topic.10000.lan = a", "there is no such key"},
	    {"topic.1.lann = a", "there is no such key"},
	    {"topic. = a", "there is no such key"},
	    {"topic.1.way = sideways\ntopic.1.lan = a\n"
	     "topic.1.cloud = " OWN "b",
		"topic.1.way = sideways: both, up or down is allowed"},
	    {"topic.1.escape = maybe\ntopic.1.lan = a\n"
	     "topic.1.cloud = " OWN "b",
		"topic.1.escape = maybe: yes or no is allowed"},
	    {"topic.3.lan = a\ntopic.3.cloud = " OWN "b\ntopic.2.lan = a\n"
	     "topic.2.cloud = " OWN "c",
		"topic.3.lan = a and topic.2.lan = a of line 8 fit the same"},
	    {"second_device = Replace", "replace or refuse is allowed"},
	    {"qos0_queue = 1048577", "0 to 1M is allowed"},
	    {"qos0_queue = 64k", "0 to 1M is allowed"},
	    {"contract = other", "allowed is aliyun or none"},
	    {"qos_max = 3", "qos_max = 3: allowed is 0 to 2"},
	    {"will_3 = maybe", "allowed is no or yes"},
	    {"keep_alive_max = 1500ms", "1s to 65535s, in whole seconds"},
	    {"message_max = 1G", "0 to 256M, as in 4096, 64K, 1M"},
	    {"qos_maxx = 1", "did you mean qos_max?"},
	    {"verify_login = true", "yes or no is allowed"},
	    {"clean_session = maybe", "device, yes or no is allowed"},
	    {"clean_session =", "device, yes or no is allowed"},
	    {"log_level = verbose",
		"allowed is error, warning, notice, info or debug"},
	    {"log_level =", "allowed is error, warning"},
	    {"device_nmae = x",
		"there is no key device_nmae; did you mean device_name?"},
	    {"frobnicate = x", "there is no key frobnicate\n"},
	    {"region = cn-hangzhou", "region comes twice, first in line 5"},
	    {"instance = iot-1",
		"instance and region (line 5) exclude each other"},
	    {"host = a", "host and region (line 5) exclude each other"},
	    {"device_secret_file = x",
		"device_secret_file and device_secret (line 4) exclude"},
	};
	struct scratch *s = *state;
	char text[512];

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		(void)snprintf(text, sizeof(text), "%s%s\n",
		    DEVICE("a", "devi"), cases[i].line);
		assert_null(load(s, text));
		assert_memory_equal(s->told, "error 6: ", 9);
		assert_told_once(s, cases[i].told);
	}
}

static void
test_refuses_bad_sections(void **state)
{
	static const struct {
		const char *text;
		const char *told;
	} cases[] = {
	    {"[device:]\nproduct_key = pk\ndevice_name = devi\n"
	     "device_secret = x\nhost = h\n",
		"error 1: the label = : allowed are 1 to 40"},
	    {"[device:a b]\nproduct_key = pk\ndevice_name = devi\n"
	     "device_secret = x\nhost = h\n",
		"error 1: the label = a b: allowed are 1 to 40 of letters, "
		"digits and ._:@-; this has 3 bytes"},
	    {"[device:12345678901234567890123456789012345678901]\n"
	     "product_key = pk\ndevice_name = devi\ndevice_secret = x\n"
	     "host = h\n",
		"this has 41 bytes"},
	    {"[product:a-b]\nregion = cn-shanghai\n",
		"error 1: the product's key = a-b: "},
	    {"[product:a]\ndevice_secret = x\n",
		"error 2: device_secret belongs into a [device:LABEL]"},
	    {"[product:a]\nhost = a\n[product:b]\n[product:a]\n",
		"error 4: [product:a] comes twice, first in line 1"},
	    {"[devices:a]\nproduct_key = x\n",
		"error 1: there is no section [devices:a]; write"},
	    {"[pump]\nproduct_key = x\n", "error 1: there is no section"},
	    {"[product:pk]\nport = 1\n[device:a]\nproduct_key = pk\n"
	     "device_name = devi\ndevice_secret = x\n",
		"error 3: [device:a] has no region, instance or host, and "
		"[product:pk] has none either"},
	    {"[device:a]\nproduct_key = pk\ndevice_name = devi\n"
	     "device_secret = x\n",
		"error 1: [device:a] has no region, instance or host, and "
		"[product:pk] is not there"},
	    {"[device:a]\nproduct_key = pk\ndevice_name = devi\n"
	     "region = cn-shanghai\n",
		"error 1: [device:a] has no device_secret"},
	    {"[device:a]\nproduct_key = pk\ndevice_secret = x\n"
	     "region = cn-shanghai\n",
		"error 1: [device:a] has no device_name"},
	    {"[device:a]\ndevice_name = devi\ndevice_secret = x\n"
	     "region = cn-shanghai\n",
		"error 1: [device:a] has no product_key"},
	    {"[device:a]\ndevice_name = dev\nproduct_key = pk\n"
	     "device_secret = x\nhost = h\n",
		"error 2: device_name = dev: allowed are 4 to 32"},
	    {"[device:a]\ndevice_name = dev&\nproduct_key = pk\n"
	     "device_secret = x\nhost = h\n",
		"error 2: device_name = dev&: allowed are 4 to 32"},
	    {"[device:a]\ndevice_name = devi\nproduct_key = p-k\n"
	     "device_secret = x\nhost = h\n",
		"error 3: product_key = p-k: allowed are 1 to 20"},
	    {"[product:a]\nregion = cn-beijing\n",
		"error 2: region = cn-beijing: legacy public instances are "
		"in "},
	    {"[product:a]\nregion = cn-shenzhen\n", "set instance or host"},
	    {"[product:a]\nregion = cn-shangai\n", "are in cn-shanghai, "},
	    {"[product:a]\nregion = cn_shanghai\n", "error 2: region ="},
	    {"[product:a]\nhost = wss://h\n", "error 2: host = wss://h"},
	    {"[product:a]\nhost = h:443\n", "error 2: host = h:443"},
	    {"[product:a]\nhost = h/mqtt\n", "error 2: host ="},
	    {"[product:a]\nhost = [::1]\n", "error 2: host ="},
	    {"[product:a]\nhost = a..b\n", "error 2: host ="},
	    {"[product:a]\nhost = -a\n", "error 2: host ="},
	    {"[product:a]\nhost = a.\n", "error 2: host ="},
	    {"[product:a]\nhost =\n", "error 2: host ="},
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		assert_null(load(s, cases[i].text));
		assert_told_once(s, cases[i].told);
	}
}

static void
test_refuses_entries_that_clash(void **state)
{
	struct scratch *s = *state;

	assert_null(load(s,
	    DEVICE("a", "dev1") DEVICE("b", "dev2") DEVICE("c", "dev1")
		DEVICE("a", "dev1")
		    DEVICE("d", "dev4") "match_client_id = b\n" DEVICE("e",
			"dev5") "match_username = u\nmatch_address = "
				"::ffff:1.2.3.4\n" DEVICE("f",
				    "dev6") "match_username = u\nmatch_address "
					    "= 1.2.3.4\n"));
	assert_told(s,
	    "error 11: [device:c] has the same product_key and device_name as "
	    "[device:a] in line 1\n"
	    "error 16: [device:a] has the same label as [device:a] in line 1\n"
	    "error 21: [device:d] has the same match_ keys as [device:b] in "
	    "line 6\n"
	    "error 34: [device:f] has the same match_ keys as [device:e] in "
	    "line 27\n");
}

static void
test_tells_all_errors_of_a_file(void **state)
{
	struct scratch *s = *state;

	assert_null(load(s, "[device:a]\n"
			    "product_key = ?\n"
			    "bogus = 1\n"
			    " indented = 1\n"
			    "[device:b]\n"
			    "product_key = pk\n"
			    "device_name = devi\n"
			    "device_secret = x\n"
			    "port = 0\n"
			    "[product:unused]\n"
			    "region = cn-beijing\n"));
	assert_told(s,
	    "error 2: product_key = ?: allowed are 1 to 20 of letters and "
	    "digits; "
	    "this has 1 bytes\n"
	    "error 3: there is no key bogus\n"
	    "error 4: the line is indented: take the blanks at its start "
	    "off\n"
	    "error 1: [device:a] has no device_name\n"
	    "error 1: [device:a] has no device_secret\n"
	    "error 9: port = 0: 1 to 65535 is allowed\n"
	    "error 11: region = cn-beijing: legacy public instances are in "
	    "cn-shanghai, ap-southeast-1, ap-northeast-1, us-west-1, us-east-1 "
	    "and eu-central-1; for any other place set instance or host "
	    "instead\n"
	    "error 5: [device:b] has no region, instance or host, and "
	    "[product:pk] is not there\n");
}

static void
test_warns(void **state)
{
	struct scratch *s = *state;
	const char *path;
	struct credmap *map = load(s, "; nothing\n");

	assert_non_null(map);
	assert_int_equal(credmap_count(map), 0);
	assert_string_equal(find(map, "", "", "1.2.3.4"), "-");
	assert_told_once(s, "warning 0: holds no [device:LABEL] section");
	credmap_unref(map);

	map = load(s, DEVICE("a", "devi") "[product:pk2]\n[product:pk]\n");
	assert_non_null(map);
	assert_told_once(s, "warning 6: no device is of [product:pk2]");
	credmap_unref(map);

	map = load(s, DEVICE("a", "devi") "transports = ws\n");
	assert_non_null(map);
	assert_told_once(s, "warning 6: transports has ws: ");
	credmap_unref(map);

	path = scratch_write(s, "devices.ini", SPAN_OF(DEVICE("a", "devi")));
	assert_int_equal(chmod(path, 0640), 0);
	map = credmap_load(path, defaults, &s->complaints);
	assert_told(s, "");
	credmap_unref(map);
	assert_int_equal(chmod(path, 0644), 0);
	map = credmap_load(path, defaults, &s->complaints);
	assert_told_once(s, "warning 0: holds secrets and every user");
	credmap_unref(map);
}

static void
test_never_shows_a_secret(void **state)
{
	struct scratch *s = *state;
	char name[] = "secret-hunter2";

	(void)scratch_write(s, name, SPAN_OF("hunter2 hunter2"));
	assert_null(load(s,
	    "[device:a]\n"
	    "device_secret = hunter2 hunter2\n"
	    "devicesecret = hunter2\n"
	    "password: hunter2\n"
	    "pasword = hunter2\n"
	    "hunter2\n"
	    "hunter2 = hunter2\n"
	    "password = hunter2-that-is-long-hunter2-that-is-long-hunter2-"
	    "that-is-long-hunter2-that-is-long-hunter2-that-is-long-hunter2-"
	    "that-is-long-hunter2\n"
	    "[device:b]\n"
	    "device_secret = \xc3\xa4hunter2\n"
	    "password = hunter2 ; hunter2\n"
	    "[unknown]\n"
	    "device_secret = hunter2\n"
	    "[product:p]\n"
	    "device_secret = hunter2\n"));
	assert_true(s->complaints.errors >= 10);
	assert_null(strstr(s->told, "hunter2"));
}

static void
test_reads_secret_files(void **state)
{
	static const struct {
		struct span bytes;
		struct span secret; /* none: refused */
		const char *told;
	} cases[] = {
	    {SPAN_OF("abc"), SPAN_OF("abc"), NULL},
	    {SPAN_OF("abc\n"), SPAN_OF("abc"), NULL},
	    {SPAN_OF("abc\r\n"), SPAN_OF("abc"), NULL},
	    {SPAN_OF("abc\n\n"), {NULL, 0}, "printable"},
	    {SPAN_OF("a bc"), {NULL, 0}, "printable"},
	    {SPAN_OF("a\0c"), {NULL, 0}, "printable"},
	    {SPAN_OF("\"abc\""), {NULL, 0}, "quotes"},
	    {SPAN_OF("'abc'"), {NULL, 0}, "quotes"},
	    {SPAN_OF("\"abc"), SPAN_OF("\"abc"), NULL},
	    {SPAN_OF(""), {NULL, 0}, "this has 0 bytes"},
	    {SPAN_OF("\n"), {NULL, 0}, "this has 0 bytes"},
	    {SPAN_OF("1234567890123456789012345678901234567890123456789012"
		     "345678901234\r\n"),
		SPAN_OF("1234567890123456789012345678901234567890123456789"
			"012345678901234"),
		NULL},
	    {SPAN_OF("1234567890123456789012345678901234567890123456789012"
		     "3456789012345"),
		{NULL, 0}, "this has 65 bytes"},
	};
	static const char text[] =
	    "[device:a]\nproduct_key = pk\ndevice_name = devi\n"
	    "host = h\ndevice_secret_file = secret\n";
	struct scratch *s = *state;
	char many[2000];
	struct credmap *map;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		(void)scratch_write(s, "secret", cases[i].bytes);
		map = load(s, text);
		if (cases[i].secret.n == 0) {
			assert_null(map);
			assert_memory_equal(s->told, "error 5: ", 9);
			assert_told_once(s, cases[i].told);
			continue;
		}
		assert_told(s, "");
		assert_non_null(map);
		assert_true(secret_eq(
		    &credmap_at(map, 0)->device_secret, cases[i].secret));
		credmap_unref(map);
	}

	memset(many, 'x', sizeof(many));
	for (size_t n = 65; n < sizeof(many); n += 9) {
		(void)scratch_write(
		    s, "secret", (struct span){(uint8_t *)many, n});
		assert_null(load(s, text));
		assert_told_once(
		    s, n <= SECRET_MAX ? "printable" : "too long for a secret");
	}
	(void)unlink(scratch_write(s, "secret", SPAN_OF("")));
	assert_null(load(s, text));
	/* a secret may have been put there by mistake: not shown */
	assert_told(s, "error 5: device_secret_file: the file it names: No "
		       "such file or directory\n");
	assert_null(load(s, DEVICE("a", "devi") "password_file = .\n"));
	assert_told(s, "error 6: password_file: the file it names: not a "
		       "regular file\n");
	assert_null(load(s, DEVICE("a", "devi") "password_file = ./x\n"));
	assert_told(s, "error 6: password_file = ./x: No such file or "
		       "directory\n");
}

static void
test_finds_secret_files_by_absolute_path(void **state)
{
	struct scratch *s = *state;
	char text[512];
	struct credmap *map;
	uint8_t full[SECRET_MAX];

	memset(full, 0xff, sizeof(full)); /* a password is any bytes */
	(void)snprintf(text, sizeof(text), "%spassword_file = %s\n",
	    DEVICE("a", "devi"),
	    scratch_write(s, "pw", (struct span){full, sizeof(full)}));
	map = load(s, text);
	assert_told(s, "");
	assert_non_null(map);
	assert_true(credmap_at(map, 0)->has_password);
	assert_true(secret_eq(
	    &credmap_at(map, 0)->password, (struct span){full, sizeof(full)}));
	credmap_unref(map);
}

/* Where systemd has put a service's credentials; at the start only, and no
   other variable. */
static void
test_finds_secret_files_among_credentials(void **state)
{
	static const char text[] =
	    DEVICE("a", "devi") "password_file = ${CREDENTIALS_DIRECTORY}/pw\n";
	static const char *const no_place[] = {"${HOME}/pw",
	    "./${CREDENTIALS_DIRECTORY}/pw", "$CREDENTIALS_DIRECTORY/pw",
	    "${CREDENTIALS_DIRECTORY}pw"};
	struct scratch *s = *state;
	char elsewhere[160], line[256];
	struct credmap *map;

	(void)scratch_write(s, "pw", SPAN_OF("hush\n"));
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
	assert_null(load(s, text));
	assert_told_once(s, "a service gets it by a LoadCredential= line");
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", s->folder, 1), 0);
	map = load(s, text);
	assert_told(s, "");
	assert_non_null(map);
	assert_true(secret_eq(&credmap_at(map, 0)->password, SPAN_OF("hush")));
	credmap_unref(map);
	for (size_t i = 0; i < ARRAY_LENGTH(no_place); i++) {
		(void)snprintf(line, sizeof(line), "%spassword_file = %s\n",
		    DEVICE("a", "devi"), no_place[i]);
		assert_null(load(s, line));
		assert_told_once(s, "No such file or directory");
	}
	(void)snprintf(elsewhere, sizeof(elsewhere), "%s/none", s->folder);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", elsewhere, 1), 0);
	assert_null(load(s, text));
	assert_told_once(s, "No such file or directory");
	assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void
test_tells_of_the_files_it_reads(void **state)
{
	struct scratch *s = *state;
	char want[1024];

	credmap_unref(load(s,
	    DEVICE("a", "devi") "password_file = pw\n"
				"[device:b]\ndevice_secret_file = /no/file\n"));
	(void)snprintf(want, sizeof(want), "%s/devices.ini\n%s/pw\n/no/file\n",
	    s->folder, s->folder);
	assert_string_equal(s->files, want);
}

static void
assert_same(struct scratch *s, const struct credential *old, const char *text,
    bool want)
{
	struct credmap *map = load(s, text);

	assert_non_null(map);
	if (credential_same(old, credmap_at(map, 0)) != want)
		fail_msg("not %d: %s", want, text);
	credmap_unref(map);
}

static void
test_same_means_a_session_can_go_on(void **state)
{
#define OTHER(product_key, device_name, secret, host)                          \
	"[device:b]\nproduct_key = " product_key                               \
	"\ndevice_name = " device_name "\ndevice_secret = " secret             \
	"\nclient_id = pk.devi\nhost = " host "\n"
#define HOST "pk.iot-as-mqtt.cn-shanghai.aliyuncs.com"
	static const char *const other[] = {
	    OTHER("pl", "devi", "s3cret", HOST),
	    OTHER("pk", "devj", "s3cret", HOST),
	    OTHER("pk", "devi", "s3creT", HOST),
	    OTHER("pk", "devi", "s3cret", "h"),
	    DEVICE("b", "devi") "client_id = x\n",
	    DEVICE("b", "devi") "password = x\n",
	    DEVICE("b", "devi") "verify_login = yes\n",
	    DEVICE("b", "devi") "port = 1\n",
	    DEVICE("b", "devi") "path = /x\n",
	    DEVICE("b", "devi") "transports = ws\n",
	    DEVICE("b", "devi") "sign_method = hmacmd5\n",
	    DEVICE("b", "devi") "timestamp = none\n",
	    DEVICE("b", "devi") "timestamp = 1\n",
	    DEVICE("b", "devi") "extra = a=b\n",
	    DEVICE("b", "devi") "keep_alive = 60\n",
	    DEVICE("b", "devi") "clean_session = yes\n",
	    DEVICE("b", "devi") "contract = none\n",
	    DEVICE("b", "devi") "keep_alive_min = 31\n",
	    DEVICE("b", "devi") "will_3 = yes\n",
	};
	static const char *const same[] = {
	    OTHER("pk", "devi", "s3cret", HOST),
	    DEVICE("b", "devi") "match_username = x\n",
	    DEVICE("b", "devi") "match_address = 1.2.3.4\n",
	    DEVICE("b", "devi") "port = 443\npath = /mqtt\n",
	    DEVICE("b", "devi") "timestamp = now\n",
	    DEVICE("b", "devi") "enabled = no\n",
	    DEVICE("b", "devi") "allow_from = 10.0.0.1\n",
	    DEVICE("b", "devi") "match_case = no\n",
	    DEVICE("b", "devi") "log_level = debug\n",
	    DEVICE("b", "devi") "contract = aliyun\n",
	    DEVICE("b", "devi") "message_max = 1K\nretain_3 = yes\n",
	};
	struct scratch *s = *state;
	struct credmap *old = load(s, DEVICE("a", "devi"));

	assert_non_null(old);
	for (size_t i = 0; i < ARRAY_LENGTH(other); i++)
		assert_same(s, credmap_at(old, 0), other[i], false);
	for (size_t i = 0; i < ARRAY_LENGTH(same); i++)
		assert_same(s, credmap_at(old, 0), same[i], true);
	credmap_unref(old);
}

/* Byte <i> of the secret of this test, which never stands in memory as a whole
   but where the code under test puts it. */
static char
secret_byte(size_t i)
{
	return (char)('A' + (i * i * 7 + i * 3 + 1) % 26);
}

enum { SECRET_BYTES = 48 };

/* How often the secret is in this process's writable memory. */
static size_t
count_secrets(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	size_t count = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t from, to;
		char mode[5];

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &from, &to,
			mode) != 3 ||
		    strncmp(mode, "rw", 2) != 0)
			continue;
		for (; from + SECRET_BYTES <= to; from++) {
			const volatile char *at = (const char *)from;
			size_t i = 0;

			while (i < SECRET_BYTES && at[i] == secret_byte(i))
				i++;
			count += i == SECRET_BYTES;
		}
	}
	fclose(maps);
	return count;
}

/* What is kept of an entry whose map goes. */
static void
test_memory_has_no_secrets(void **state)
{
	static const struct password_hash none;
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[device:a]\nproduct_key = pk\ndevice_name = name\nhost = h\n"
	    "device_secret = secret\npassword_hash = $pbkdf2-sha256$i=1000$"
	    "AAECAwQFBgcICQoLDA0ODw$"
	    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n");
	const struct credential *c;
	struct credmap *memory;

	assert_non_null(map);
	assert_int_equal(by_label(map, "a")->hash.iterations, 1000);
	memory = credmap_memory_of(by_label(map, "a"));
	credmap_unref(map);
	assert_non_null(memory);
	c = credmap_at(memory, 0);
	assert_string_equal(c->label, "a");
	assert_int_equal(c->device_secret.n, 0);
	assert_int_equal(c->password.n, 0);
	assert_memory_equal(&c->hash, &none, sizeof(none));
	credmap_unref(memory);
}

static void
write_text(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void
write_secret(int fd)
{
	for (size_t i = 0; i < SECRET_BYTES; i++) {
		char c = secret_byte(i);

		assert_int_equal(write(fd, &c, 1), 1);
	}
	write_text(fd, "\n");
}

/* So many devices that the entries move; in between, every place where a
   secret can come from. */
static void
test_wipes_secrets(void **state)
{
	enum { DEVICES = 300 };
	struct scratch *s = *state;
	struct credmap *map;
	char text[128];
	int fd;

	if (SANITIZED)
		skip(); /* a sanitizer's memory is too large to search */
	fd =
	    open(scratch_write(s, "secret", SPAN_OF("")), O_WRONLY | O_CLOEXEC);
	write_secret(fd);
	close(fd);
	fd = open(
	    scratch_write(s, "secrets.csv", SPAN_OF("")), O_WRONLY | O_CLOEXEC);
	write_text(fd, "DeviceName,DeviceSecret\nother,");
	write_secret(fd);
	close(fd);
	fd = open(
	    scratch_write(s, "devices.ini", SPAN_OF("")), O_WRONLY | O_CLOEXEC);
	write_text(fd,
	    "[device:fleet]\nproduct_key = pk\nhost = h\n"
	    "password_file = secret\ndevice_secrets_file = secrets.csv\n");
	for (int i = 0; i < DEVICES; i++) {
		(void)snprintf(text, sizeof(text),
		    "[device:d%d]\nproduct_key = pk\ndevice_name = name%d\n"
		    "host = h\n",
		    i, i);
		write_text(fd, text);
		if (i == 1 || i == DEVICES - 1)
			write_text(fd, "password_file = secret\n");
		if (i == 0)
			write_text(fd, "password = ");
		if (i == 0)
			write_secret(fd);
		write_text(fd, "device_secret = ");
		if (i == 0 || i == DEVICES - 1)
			write_secret(fd);
		else
			write_text(fd, "x\n");
	}
	assert_int_equal(count_secrets(), 0);
	map = credmap_load(s->path, defaults, &s->complaints);
	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(count_secrets(), 7);
	credmap_unref(map);
	assert_int_equal(count_secrets(), 0);

	close(fd);

	/* and after an error, wherever in the reader's buffer it was */
	fd = open(scratch_write(s, "devices.ini", SPAN_OF("[device:a]\n")),
	    O_WRONLY | O_APPEND | O_CLOEXEC);
	for (int i = 0; i < 4096 / 128; i++) {
		(void)snprintf(text, sizeof(text), "; %079d\npassword = ", i);
		write_text(fd, text);
		write_secret(fd);
		map = credmap_load(s->path, defaults, &s->complaints);
		assert_null(map);
		assert_int_equal(count_secrets(), 0);
	}
	close(fd);
}

/* The published example of the platform's documentation. */
/* What a session keeps of an entry that is gone: its names. */
static void
test_memory_has_no_secret(void **state)
{
	static const uint8_t none[sizeof(struct password_hash)];
	static const char hash[] =
	    "$pbkdf2-sha256$i=1000$AAECAwQFBgcICQoLDA0ODw"
	    "$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
	struct scratch *s = *state;
	struct credmap *map, *memory;
	const struct credential *c;
	char text[512];

	(void)snprintf(text, sizeof(text), "%spassword_hash = %s\n%s",
	    DEVICE("a", "dev1"), hash, DEVICE("b", "dev2") "password = x\n");
	map = load(s, text);
	assert_non_null(map);
	assert_int_equal(by_label(map, "a")->hash.iterations, 1000);
	for (size_t i = 0; i < 2; i++) {
		memory = credmap_memory_of(credmap_at(map, i));
		assert_non_null(memory);
		c = credmap_at(memory, 0);
		assert_string_equal(c->label, i == 0 ? "a" : "b");
		assert_int_equal(c->password.n, 0);
		assert_int_equal(c->device_secret.n, 0);
		assert_memory_equal(&c->hash, none, sizeof(none));
		credmap_unref(memory);
	}
	credmap_unref(map);
}

static void
test_signs(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s,
	    "[product:pk]\nhost = h\nsign_method = hmacsha1\n"
	    "[device:fixed]\nproduct_key = pk\ndevice_name = device\n"
	    "device_secret = secret\nclient_id = 12345\ntimestamp = 789\n"
	    "[device:now]\nproduct_key = pk\ndevice_name = dev2\n"
	    "device_secret = secret\ntransports = ws\nextra = lan=C\n"
	    "[device:none]\nproduct_key = pk\ndevice_name = dev3\n"
	    "device_secret = secret\ntimestamp = none\n");
	struct aliyun_login login;

	assert_non_null(map);
	assert_true(credential_sign(
	    credmap_by_label(map, "fixed"), TRANSPORT_WSS, 12, &login));
	assert_string_equal(login.client_id,
	    "12345|securemode=2,signmethod=hmacsha1,timestamp=789|");
	assert_string_equal(login.username, "device&pk");
	assert_string_equal(
	    login.password, "fafd82a3d602b37fb0fa8b7892f24a477f851a14");
	assert_true(credential_sign(
	    credmap_by_label(map, "now"), TRANSPORT_WS, 12, &login));
	assert_string_equal(login.client_id,
	    "pk.dev2|securemode=3,signmethod=hmacsha1,timestamp=12,lan=C|");
	assert_true(credential_sign(
	    credmap_by_label(map, "none"), TRANSPORT_WSS, 12, &login));
	assert_string_equal(
	    login.client_id, "pk.dev3|securemode=2,signmethod=hmacsha1|");
	credmap_unref(map);
}

/* Enough entries for the table, the entries and the texts to grow often. */
static void
test_finds_each_of_many(void **state)
{
	enum { DEVICES = 3000, TEXT = 128 };
	struct scratch *s = *state;
	char *text = malloc(DEVICES * TEXT);
	struct credmap *map;
	size_t n = 0;
	char name[32];

	assert_non_null(text);
	for (int i = 0; i < DEVICES; i++)
		n += (size_t)snprintf(text + n, TEXT,
		    "[device:d%d]\nproduct_key = pk\ndevice_name = name%d\n"
		    "device_secret = s%d\nhost = h%d\n",
		    i, i, i, i);
	map = load(s, text);
	free(text);
	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(credmap_count(map), DEVICES);
	for (size_t i = 0; i < DEVICES; i++) {
		const struct credential *c = credmap_at(map, i);

		(void)snprintf(name, sizeof(name), "d%zu", i);
		assert_string_equal(c->label, name);
		assert_ptr_equal(credmap_by_label(map, name), c);
		assert_string_equal(find(map, name, "x", "1.2.3.4"), name);
		(void)snprintf(name, sizeof(name), "name%zu", i);
		assert_ptr_equal(credmap_by_identity(map, "pk", name), c);
		assert_string_equal(find(map, name, "x", "1.2.3.4"), "-");
		(void)snprintf(name, sizeof(name), "s%zu", i);
		assert_true(secret_eq(&c->device_secret, span_of_string(name)));
		(void)snprintf(name, sizeof(name), "h%zu", i);
		assert_string_equal(c->host, name);
	}
	credmap_unref(map);
}

static void *
hold_and_drop(void *arg)
{
	struct credmap *map = arg;

	bool found = true;

	for (int i = 0; i < 10000; i++) {
		struct credmap *mine = credmap_ref(map);

		found =
		    found && strcmp(find(mine, "a", "", "1.2.3.4"), "a") == 0;
		credmap_unref(mine);
	}
	credmap_unref(map);
	return found ? NULL : arg;
}

/* A sanitizer sees it when it is freed too early, twice or never. */
static void
test_is_shared_by_threads(void **state)
{
	struct scratch *s = *state;
	struct credmap *map = load(s, DEVICE("a", "devi"));
	pthread_t threads[4];

	assert_non_null(map);
	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
				     hold_and_drop, credmap_ref(map)),
		    0);
	credmap_unref(map);
	for (size_t i = 0; i < ARRAY_LENGTH(threads); i++) {
		void *failed;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_reads_a_device),
	    TEST(test_every_key_counts),
	    TEST(test_products_give_defaults),
	    TEST(test_disabled_entries_are_known),
	    TEST(test_what_the_cloud_is_told_instead),
	    TEST(test_log_levels),
	    TEST(test_policies),
	    TEST(test_topics),
	    TEST(test_prefixes),
	    TEST(test_case_counts_unless_said),
	    TEST(test_clashes_of_prefixes_and_case),
	    TEST(test_where_a_device_may_come_from),
	    TEST(test_search_has_one_after_the_other),
	    TEST(test_finds_by_the_device_s_own_login),
	    TEST(test_what_a_device_must_show),
	    TEST(test_settings_give_the_last_defaults),
	    TEST(test_the_more_telling_entry_wins),
	    TEST(test_refuses_values),
	    TEST(test_refuses_bad_sections),
	    TEST(test_refuses_entries_that_clash),
	    TEST(test_tells_all_errors_of_a_file),
	    TEST(test_warns),
	    TEST(test_never_shows_a_secret),
	    TEST(test_reads_secret_files),
	    TEST(test_finds_secret_files_by_absolute_path),
	    TEST(test_tells_of_the_files_it_reads),
	    TEST(test_finds_secret_files_among_credentials),
	    TEST(test_same_means_a_session_can_go_on),
	    TEST(test_memory_has_no_secrets),
	    TEST(test_wipes_secrets),
	    TEST(test_memory_has_no_secret),
	    TEST(test_signs),
	    TEST(test_finds_each_of_many),
	    TEST(test_is_shared_by_threads),
	};

	return cmocka_run_group_tests(tests, load_defaults, drop_defaults);
}
