/*
 * The sample files of config/ against the tables of the settings and of the
 * credential map: every key is there, with its default, and no other.
 */
#include "settings/credmap.h"
#include "settings/ini.h"
#include "settings/settings.h"

#include "scratch.h"
#include "unit.h"

/* Reads a file of the source tree. */
static char *
read_sample(const char *name)
{
	const char *srcdir = getenv("srcdir");
	char path[512];
	char *text = calloc(1, 64 * 1024);
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/config/%s",
	    srcdir != NULL ? srcdir : ".", name);
	f = fopen(path, "re");
	if (text == NULL || f == NULL)
		fail_msg("cannot open %s", path);
	assert_in_range(fread(text, 1, 64 * 1024 - 1, f), 1, 64 * 1024 - 2);
	fclose(f);
	return text;
}

/* One line of a sample: "key = value" or ";key = value". */
struct sample {
	char section[256];
	char key[256];
	char value[256];
	bool commented;
};

/* The next of <*at>, or false. A comment of words has a blank behind its ";".
   <sample> is that of the line before; zero at first. */
static bool
next_sample(const char **at, struct sample *sample)
{
	while (**at != '\0') {
		size_t n = strcspn(*at, "\n");
		char line[256];
		char *start = line;
		char *sign;

		assert_in_range(n, 0, INI_LINE_BYTES);
		memcpy(line, *at, n);
		line[n] = '\0';
		*at += n + ((*at)[n] == '\n');
		if (line[0] == '[') {
			line[n - 1] = '\0';
			(void)snprintf(sample->section, sizeof(sample->section),
			    "%s", line + 1);
			continue;
		}
		sign = strstr(line, " =");
		sample->commented = line[0] == ';';
		start += sample->commented;
		if (sign == NULL || *start == ' ')
			continue;
		*sign = '\0';
		(void)snprintf(sample->key, sizeof(sample->key), "%s", start);
		(void)snprintf(sample->value, sizeof(sample->value), "%s",
		    sign[2] == ' ' ? sign + 3 : sign + 2);
		return true;
	}
	return false;
}

/* Exactly one line has the key, commented or not; <value> is its value, unless
   NULL. A section ends in ":" when any name may follow. */
static void
assert_sample(
    const char *text, const char *section, const char *key, const char *value)
{
	size_t n = strlen(section);
	struct sample sample = {0};
	size_t found = 0;

	if (section[n - 1] != ':')
		n++; /* all of the name */
	while (next_sample(&text, &sample)) {
		if (strncmp(sample.section, section, n) != 0 ||
		    strcmp(sample.key, key) != 0)
			continue;
		found++;
		if (value != NULL && strcmp(sample.value, value) != 0)
			fail_msg("[%s] %s = %s in the sample, %s in the table",
			    section, key, sample.value, value);
	}
	if (found != 1)
		fail_msg(
		    "[%s] %s is %zu times in the sample", section, key, found);
}

static size_t
count_samples(const char *text)
{
	struct sample sample = {0};
	size_t count = 0;

	while (next_sample(&text, &sample))
		count++;
	return count;
}

static void
test_proxy_ini_has_the_table(void **state)
{
	char *text = read_sample("proxy.ini");
	size_t rows = 0;

	(void)state;
#define X(section, key, type, member, def, least, most, live, what)            \
	assert_sample(text, section, key, def);                                \
	rows++;
	ALL_SETTINGS(X)
#undef X
	assert_int_equal(count_samples(text), rows);
	free(text);
}

static void
test_devices_ini_has_the_table(void **state)
{
	char *text = read_sample("devices.ini.sample");
	size_t rows = 0;

	(void)state;
#define X(key, in_product, def, what)                                          \
	assert_sample(text, "device:", #key, def);                             \
	rows++;                                                                \
	if (in_product) {                                                      \
		assert_sample(text, "product:", #key, def);                    \
		rows++;                                                        \
	}
	CREDMAP_KEYS(X)
#undef X
#define X(key, def, what)                                                      \
	assert_sample(text, "product:", "topic.1." #key, def);                 \
	rows++;
	CREDMAP_TOPIC_KEYS(X)
#undef X
	assert_int_equal(count_samples(text), rows);
	free(text);
}

static void
assert_default(void *arg, const char *section, const char *key,
    const char *value, bool is_default)
{
	(void)arg;
	if (!is_default)
		fail_msg("[%s] %s = %s is no default", section, key, value);
}

static void
assert_settings(struct scratch *s, const char *text)
{
	struct settings *settings =
	    settings_load(scratch_write(s, "proxy.ini", span_of_string(text)),
		&s->complaints);

	assert_told(s, "");
	assert_non_null(settings);
	settings_show(settings, assert_default, NULL);
	settings_unref(settings);
}

/* As it is, and with every key taken out of its comment. */
static void
test_proxy_ini_loads(void **state)
{
	struct scratch *s = *state;
	char *text = read_sample("proxy.ini");

	assert_settings(s, text);
	for (char *at = text; (at = strstr(at, "\n;")) != NULL; at++)
		if (at[2] >= 'a' && at[2] <= 'z')
			memmove(at + 1, at + 2, strlen(at + 2) + 1);
	assert_settings(s, text);
	assert_non_null(strstr(text, "\nport = 443\n"));
	free(text);
	text = read_sample("proxy-minimal.ini");
	assert_settings(s, text);
	free(text);
}

static void
assert_map(struct scratch *s, const struct settings *defaults, const char *text)
{
	struct credmap *map =
	    credmap_load(scratch_write(s, "devices.ini", span_of_string(text)),
		defaults, &s->complaints);

	assert_told(s, "");
	assert_non_null(map);
	assert_int_equal(credmap_count(map), 1);
	assert_string_equal(credmap_at(map, 0)->host,
	    "a1B2c3D4e5F.iot-as-mqtt.cn-shanghai.aliyuncs.com");
	credmap_unref(map);
}

/* As it is, and with one key after the other taken out of its comment, but
   those that exclude one that is there. */
static void
test_devices_ini_loads(void **state)
{
	static const char *const excluded[] = {"instance", "host",
	    "device_secret_file", "device_secrets_file", "password_file",
	    "password_hash"};
	struct complaints none = {0};
	struct scratch *s = *state;
	struct settings *defaults = settings_load(NULL, &none);
	char *text = read_sample("devices.ini.sample");

	assert_non_null(defaults);
	assert_map(s, defaults, text);
	for (char *at = text; (at = strstr(at, "\n;")) != NULL; at++) {
		bool skipped = at[2] < 'a' || at[2] > 'z';

		for (size_t i = 0; i < ARRAY_LENGTH(excluded); i++)
			skipped |= strncmp(at + 2, excluded[i],
				       strlen(excluded[i])) == 0;
		if (skipped)
			continue;
		memmove(at + 1, at + 2, strlen(at + 2) + 1);
		/* half a rule: the next key is the other half */
		if (strncmp(at, "\ntopic.1.lan", strlen("\ntopic.1.lan")) != 0)
			assert_map(s, defaults, text);
	}
	assert_non_null(strstr(text, "\nmatch_address = "));
	settings_unref(defaults);
	free(text);
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_proxy_ini_has_the_table),
	    TEST(test_devices_ini_has_the_table),
	    TEST(test_proxy_ini_loads),
	    TEST(test_devices_ini_loads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
