/* What a map says otherwise than another. */
#include "scratch.h"

#include "settings/credmap_diff.h"

#define PLACE "[product:pk]\nhost = h\n"
#define DEVICE(label, name)                                                    \
	"[device:" label "]\nproduct_key = pk\ndevice_name = " name            \
	"\ndevice_secret = x\n"

static struct credmap *
load(struct scratch *s, const char *text)
{
	struct settings *defaults = settings_load(NULL, &s->complaints);
	struct credmap *map;

	assert_non_null(defaults);
	map =
	    credmap_load(scratch_write(s, "devices.ini", span_of_string(text)),
		defaults, &s->complaints);
	settings_unref(defaults);
	assert_told(s, "");
	assert_non_null(map);
	return map;
}

/* "kind label>label key,key!" for each; "!" when it is disconnected. */
static void
on_difference(void *arg, const struct credmap_difference *d)
{
	static const char *const words[] = {
	    "added", "removed", "disabled", "changed", "renamed"};
	struct scratch *s = arg;
	size_t n = strlen(s->files);
	uint64_t fields = d->fields;
	const char *key;

	assert_true(d->before != NULL || d->what == CREDMAP_ADDED);
	assert_true(d->after != NULL || d->what == CREDMAP_REMOVED);
	n += (size_t)snprintf(s->files + n, sizeof(s->files) - n, "%s %s>%s",
	    words[d->what], d->before != NULL ? d->before->label : "",
	    d->after != NULL ? d->after->label : "");
	while ((key = credmap_diff_field(&fields)) != NULL)
		n += (size_t)snprintf(
		    s->files + n, sizeof(s->files) - n, " %s", key);
	(void)snprintf(s->files + n, sizeof(s->files) - n, "%s\n",
	    d->disconnects ? "!" : "");
}

/* Compares two maps of these sections; what is told is in s->files. */
static struct credmap_counts
diff(struct scratch *s, const char *before, const char *after)
{
	struct credmap *a = load(s, before);
	struct credmap *b = load(s, after);
	struct credmap_counts counts, again;

	s->files[0] = '\0';
	credmap_diff(a, b, on_difference, s, &counts);
	credmap_diff(a, b, NULL, NULL, &again);
	credmap_diff(a, b, NULL, NULL, NULL);
	assert_memory_equal(&counts, &again, sizeof(counts));
	credmap_unref(a);
	credmap_unref(b);
	return counts;
}

#define HASH(salt)                                                             \
	"password_hash = $pbkdf2-sha256$i=1000$" salt "$"                      \
	"E196ZhRPzw+wA84EjzHwJO1cv/MFJdO6C/sxmUeTYqY"

#define TOPIC(n, x)                                                            \
	"topic." n ".lan = " x "\ntopic." n ".cloud = /${pk}/${dn}/user/" x

/* One key of the one device is this, or left out when NULL, before and after;
   what is told then. */
static const struct {
	const char *before, *after, *told;
} fields[] = {
    {"", "", ""},
    {"client_id = a", "client_id = b", "client_id!"},
    {"", "client_id = pk.dev1", ""},
    {"match_client_id = b", "match_client_id = c", "match_client_id"},
    {"", "match_username = u", "match_client_id match_username"},
    {"match_address = 10.0.0.1", "match_address = 10.0.0.2", "match_address"},
    {"", "match_case = no", "match_case"},
    {"", "allow_from = 10.0.0.1", "allow_from"},
    {"allow_from = 10.0.0.1", "allow_from = 10.0.0.2", "allow_from"},
    {"", "password = p", "password!"},
    {"password = q", "password = p", "password!"},
    {"", HASH("c2FsdHNhbHQ"), "password_hash!"},
    {HASH("c2FsdHNhbHQ"), HASH("c2FsdHNhbHQ"), ""},
    {HASH("c2FsdHNhbHQ"), HASH("c2FsdHNhbHA"), "password_hash!"},
    {"password = p", HASH("c2FsdHNhbHQ"), "password password_hash!"},
    {"", "verify_login = yes", "verify_login!"},
    {"", "host = i", "host!"},
    {"", "region = cn-shanghai", "host!"},
    {"", "host = h", ""},
    {"", "port = 444", "port!"},
    {"", "mqtts_port = 444", "mqtts_port!"},
    {"", "path = /p", "path!"},
    {"", "transports = mqtts", "transports!"},
    {"", "server_name = n", "server_name!"},
    {"server_name = n", "server_name = n\nhost = i", "host!"},
    {"", "sign_method = hmacsha1", "sign_method!"},
    {"", "timestamp = none", "timestamp!"},
    {"timestamp = 1", "timestamp = 2", "timestamp!"},
    {"", "extra = a=b", "extra!"},
    {"", "keep_alive = 60s", "keep_alive!"},
    {"", "clean_session = yes", "clean_session!"},
    {"", "log_level = debug", "log_level"},
    {"log_level = info", "log_level = debug", "log_level"},
    {"", "contract = aliyun", ""},
    {"contract = none", "contract = none\nmessage_max = 1K", "message_max"},
    {"", "retain_3 = yes\ntopic_max = 9", "retain_3 topic_max"},
    {"", "will_3 = yes", "will_3!"},
    {"will_5 = no", "", "will_5!"},
    {"", "keep_alive_min = 31", "keep_alive_min!"},
    {"", "keep_alive_max = 1199", "keep_alive_max!"},
    {"", "keep_alive_zero = 0", "keep_alive_zero!"},
    {"inflight_max = 0", "", "inflight_max"},
    {"", "qos2 = refuse\nsecond_device = refuse", "qos2 second_device"},
    {"", "retain = store", "retain"},
    {"", "topic_unmapped = drop", "topic_unmapped"},
    {"", TOPIC("1", "a"), "topic!"},
    {TOPIC("1", "a"), TOPIC("1", "b"), "topic!"},
    {TOPIC("1", "a"), TOPIC("1", "a") "\ntopic.1.way = up", "topic!"},
    {TOPIC("1", "a"), TOPIC("1", "a") "\n" TOPIC("2", "b"), "topic!"},
    {TOPIC("1", "a"), "qos2 = adapt\n" TOPIC("7", "a"), ""},
    {"second_device = refuse", "second_device = replace", "second_device"},
    {"", "qos0_queue = 0", "qos0_queue"},
    {"", "qos2 = adapt\nqos0_queue = 65536", ""},
    {"enabled = no", "", "enabled"},
    {"enabled = no", "enabled = no\nport = 1", "port"},
};

static void
test_names_what_differs(void **state)
{
	struct scratch *s = *state;
	char before[256], after[256], told[256];

	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		bool same = fields[i].told[0] == '\0';
		bool ends = strchr(fields[i].told, '!') != NULL;
		struct credmap_counts counts;

		(void)snprintf(before, sizeof(before), "%s%s\n",
		    PLACE DEVICE("a", "dev1"), fields[i].before);
		(void)snprintf(after, sizeof(after), "%s%s\n",
		    PLACE DEVICE("a", "dev1"), fields[i].after);
		(void)snprintf(told, sizeof(told),
		    same ? "" : "changed a>a %s\n", fields[i].told);
		counts = diff(s, before, after);
		assert_string_equal(s->files, told);
		assert_int_equal(counts.of[CREDMAP_CHANGED], !same);
		assert_int_equal(counts.disconnects, ends);
	}
}

static void
test_tells_what_has_become_of_each(void **state)
{
	struct scratch *s = *state;
	struct credmap_counts counts = diff(s,
	    PLACE DEVICE("gone", "dev1") DEVICE("off", "dev2")
		DEVICE("old", "dev3") DEVICE("same", "dev4") DEVICE(
		    "known", "dev5") "enabled = no\n" DEVICE("turned", "dev6"),
	    PLACE DEVICE("new", "dev7") DEVICE("turned2",
		"dev6") "match_client_id = turned\nport = 1\n" DEVICE("same",
		"dev4")
		DEVICE("young", "dev3") "match_client_id = old\n" DEVICE(
		    "off", "dev2") "enabled = no\nport = 1\n");

	assert_string_equal(s->files, "removed gone>!\n"
				      "disabled off>off port enabled!\n"
				      "renamed old>young label\n"
				      "removed known>\n"
				      "changed turned>turned2 label port!\n"
				      "added >new\n");
	assert_int_equal(counts.of[CREDMAP_ADDED], 1);
	assert_int_equal(counts.of[CREDMAP_REMOVED], 2);
	assert_int_equal(counts.of[CREDMAP_DISABLED], 1);
	assert_int_equal(counts.of[CREDMAP_CHANGED], 1);
	assert_int_equal(counts.of[CREDMAP_RENAMED], 1);
	assert_int_equal(counts.disconnects, 3);
}

static void
test_another_identity_is_another_device(void **state)
{
	struct scratch *s = *state;

	(void)diff(s, PLACE DEVICE("a", "dev1"), PLACE DEVICE("a", "dev2"));
	assert_string_equal(s->files, "removed a>!\nadded >a\n");
}

/* Whether a difference can be told by this key. */
static bool
is_told(const char *key)
{
	uint64_t all = UINT64_MAX;
	const char *told;

	while ((told = credmap_diff_field(&all)) != NULL)
		if (strcmp(told, key) == 0)
			return true;
	return false;
}

static void
test_compares_what_every_key_says(void **state)
{
#define X(name, in_product, def, what) #name,
	static const char *const keys[] = {CREDMAP_KEYS(X)};
#undef X
	/* those that are told by another name */
	static const char *const others[] = {"device_secret_file",
	    "device_secrets_file", "password_file", "region", "instance"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
		bool known = is_told(keys[i]);

		for (size_t j = 0; j < ARRAY_LENGTH(others); j++)
			known = known || strcmp(others[j], keys[i]) == 0;
		if (!known)
			fail_msg("%s: add it to the fields of credmap_diff.c",
			    keys[i]);
	}
}

static void
test_names_a_secret_that_differs(void **state)
{
	struct scratch *s = *state;

	(void)diff(s,
	    PLACE "[device:a]\nproduct_key = pk\ndevice_name = dev1\n"
		  "device_secret = x\n",
	    PLACE "[device:a]\nproduct_key = pk\ndevice_name = dev1\n"
		  "device_secret = y\n");
	assert_string_equal(s->files, "changed a>a device_secret!\n");
}

int
main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_names_what_differs),
	    TEST(test_compares_what_every_key_says),
	    TEST(test_names_a_secret_that_differs),
	    TEST(test_tells_what_has_become_of_each),
	    TEST(test_another_identity_is_another_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
