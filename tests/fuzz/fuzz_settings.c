/*
 * The input is a proxy.ini. What was loaded, shown and loaded again must be the
 * same.
 */
#include "fuzz_file.h"

#include "settings/settings.h"

#include <string.h>

/* What settings_show() told, as a file. */
struct shown {
	const char *section; /* of the line before */
	size_t n;
	char text[64 * 1024];
};

static void
on_show(void *arg, const char *section, const char *key, const char *value,
    bool is_default)
{
	struct shown *to = arg;
	bool again = to->section != NULL && strcmp(to->section, section) == 0;

	(void)is_default;
	to->n += (size_t)snprintf(to->text + to->n, sizeof(to->text) - to->n,
	    "%s%s%s%s = %s\n", again ? "" : "[", again ? "" : section,
	    again ? "" : "]\n", key, value);
	MUST(to->n < sizeof(to->text));
	to->section = section;
}

static void
on_fixed(void *arg, const char *section, const char *key)
{
	(void)arg;
	(void)section;
	(void)key;
	MUST(false); /* settings differ from themselves */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints to = {.tell = fuzz_told};
	struct settings *first = settings_load(fuzz_file(data, size), &to);
	struct settings *second;
	struct shown a = {.n = 0};
	struct shown b = {.n = 0};

	MUST((first == NULL) == (to.errors > 0));
	if (first == NULL)
		return 0;
	settings_show(first, on_show, &a);
	second = settings_load(fuzz_file((uint8_t *)a.text, a.n), &to);
	MUST(second != NULL);
	settings_show(second, on_show, &b);
	MUST(strcmp(a.text, b.text) == 0);
	settings_fixed_changes(first, second, on_fixed, NULL);
	settings_unref(first);
	settings_unref(second);
	return 0;
}
