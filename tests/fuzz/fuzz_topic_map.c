/*
 * The input is lines: rules, a '-', then topics and filters. What the rules do
 * with each is judged: names of the cloud are within its limits, what goes up
 * by rules for both ways comes back, what comes down goes up as itself or not
 * at all, and filters cover what they have to, and no more unless they say so.
 *
 * A rule is one letter (b, u, d: its way; B, U, D: escaped), the LAN side, a
 * tab, the cloud side.
 */
#include "fuzz_file.h"

#include "codec/mqtt_topic.h"
#include "settings/topic_map.h"

#include <string.h>

enum { RULES_MAX = 16, LINES_MAX = 16 };

static const struct topic_names names = {
    .pk = SPAN_OF("a1Bc"),
    .dn = SPAN_OF("pump-7"),
    .label = SPAN_OF("label"),
    .client_id = SPAN_OF("c/1"),
};

struct input {
	char *text;
	struct topic_spec specs[RULES_MAX];
	size_t rules;
	struct span lines[LINES_MAX];
	size_t line_count;
};

/* The filters of the cloud for one of the LAN, one after the other. */
struct asked {
	struct topic_text filters[RULES_MAX];
	size_t count;
};

static bool
read_rule(char *line, struct topic_spec *spec)
{
	static const char letters[] = "budBUD";
	const char *letter = strchr(letters, *line);
	char *tab = strchr(line, '\t');

	if (*line == '\0' || letter == NULL || tab == NULL)
		return false;
	*tab = '\0';
	*spec = (struct topic_spec){
	    .key = "topic.1",
	    .line = 1,
	    .lan = line + 1,
	    .cloud = tab + 1,
	    .way = (enum topic_way)((letter - letters) % 3),
	    .escape = letter - letters >= 3,
	};
	return true;
}

/* Lines end at '\n'; a NUL ends the rules' texts as well. */
static void
read_input(struct input *in, size_t size)
{
	char *line = in->text, *end = in->text + size;
	bool rules = true;

	while (line < end) {
		char *next = memchr(line, '\n', (size_t)(end - line));

		if (next == NULL)
			next = end;
		*next = '\0';
		if (!rules && in->line_count < LINES_MAX)
			in->lines[in->line_count++] = (struct span){
			    (const uint8_t *)line, (size_t)(next - line)};
		else if (strcmp(line, "-") == 0)
			rules = false;
		else if (rules && in->rules < RULES_MAX &&
			 read_rule(line, &in->specs[in->rules]))
			in->rules++;
		line = next + 1;
	}
}

static bool
all_go_both_ways(const struct input *in)
{
	for (size_t i = 0; i < in->rules; i++)
		if (in->specs[i].way != TOPIC_BOTH)
			return false;
	return true;
}

static void
try_up(const struct topic_map *map, struct span name, bool comes_back)
{
	struct topic_text cloud, back;
	unsigned slashes = 0;

	if (topic_map_up(map, &names, name, &cloud) != TOPIC_MAPPED) {
		MUST((cloud.result == TOPIC_TOO_LONG) == (cloud.limit != NULL));
		return;
	}
	MUST(cloud.n > 1 && cloud.n <= TOPIC_CLOUD_BYTES_MAX);
	MUST(cloud.p[0] == '/' && cloud.p[cloud.n - 1] != '/');
	for (size_t i = 0; i < cloud.n; i++)
		slashes += cloud.p[i] == '/';
	MUST(slashes <= TOPIC_CLOUD_SLASHES_MAX);
	if (!comes_back)
		return;
	MUST(topic_map_down(map, &names, topic_text_span(&cloud), &back) ==
	     TOPIC_MAPPED);
	MUST(span_eq(topic_text_span(&back), name));
}

static bool
try_down(const struct topic_map *map, struct span name, struct topic_text *lan)
{
	struct topic_text back;

	if (topic_map_down(map, &names, name, lan) != TOPIC_MAPPED)
		return false;
	MUST(mqtt_topic_name_flaw(topic_text_span(lan), 3) == NULL);
	if (topic_map_up(map, &names, topic_text_span(lan), &back) ==
	    TOPIC_MAPPED)
		MUST(span_eq(topic_text_span(&back), name));
	return true;
}

static void
found(void *arg, struct span filter)
{
	struct asked *a = arg;
	struct topic_text *t = &a->filters[a->count];

	MUST(mqtt_topic_filter_flaw(filter, 3) == NULL);
	MUST(filter.n <= TOPIC_SHARE_BYTES_MAX + TOPIC_CLOUD_BYTES_MAX);
	for (size_t i = 0; i < a->count; i++)
		MUST(!span_eq(topic_text_span(&a->filters[i]), filter));
	MUST(a->count++ < RULES_MAX);
	memcpy(t->p, filter.p, filter.n);
	t->n = filter.n;
}

static bool
is_asked(const struct asked *a, struct span name)
{
	for (size_t i = 0; i < a->count; i++)
		if (mqtt_topic_matches(topic_text_span(&a->filters[i]), name))
			return true;
	return false;
}

static bool
is_within_limits(struct span name)
{
	unsigned slashes = 0;

	for (size_t i = 0; i < name.n; i++)
		slashes += name.p[i] == '/';
	return name.n <= TOPIC_CLOUD_BYTES_MAX &&
	       slashes <= TOPIC_CLOUD_SLASHES_MAX;
}

static void
try_filter(
    const struct topic_map *map, struct span filter, const struct input *in)
{
	struct asked a = {.count = 0};
	struct topic_filters told =
	    topic_map_filter_up(map, &names, filter, found, &a);
	struct topic_text lan;

	MUST(told.count == a.count);
	/* a long share may have cost any of them */
	if (mqtt_topic_share_bytes(filter) > TOPIC_SHARE_BYTES_MAX ||
	    mqtt_topic_filter_flaw(filter, 3) != NULL) {
		MUST(told.count == 0);
		return;
	}
	for (size_t i = 0; i < in->line_count; i++) {
		if (!is_within_limits(in->lines[i]) ||
		    !try_down(map, in->lines[i], &lan))
			continue;
		if (mqtt_topic_matches(filter, topic_text_span(&lan)))
			MUST(is_asked(&a, in->lines[i]));
		else
			MUST(told.wider || !is_asked(&a, in->lines[i]));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints to = {.tell = fuzz_told};
	struct input in = {.text = malloc(size + 1)};
	struct topic_map *map;

	MUST(in.text != NULL);
	if (size > 0)
		memcpy(in.text, data, size);
	in.text[size] = '\0';
	read_input(&in, size);
	map = topic_map_compile(in.specs, in.rules, "input", &to);
	MUST((map == NULL) == (to.errors > 0));
	for (size_t i = 0; map != NULL && i < in.line_count; i++) {
		struct topic_text lan;

		try_up(map, in.lines[i], all_go_both_ways(&in));
		(void)try_down(map, in.lines[i], &lan);
		try_filter(map, in.lines[i], &in);
	}
	topic_map_free(map);
	free(in.text);
	return 0;
}
