#include "settings/credmap_line.h"

#include "base/escape.h"
#include "settings/credmap_build.h"
#include "settings/pattern.h"
#include "settings/secret_file.h"
#include "settings/value.h"

#include <stdio.h>
#include <string.h>

#define DEVICE_NAME_MORE "-_@.:" /* besides letters and digits */

/* Complains without showing the value. */
#define WRONG(line, fmt, ...)                                                  \
	complain((line)->to, (line)->path, (line)->n, "%s: " fmt, (line)->key, \
	    __VA_ARGS__)

/* Complains and shows the value. */
static void
wrong_value(struct credmap_line *line, const char *value, const char *text)
{
	char shown[200];

	complain(line->to, line->path, line->n, "%s = %s: %s", line->key,
	    escape(shown, sizeof(shown), span_of_string(value)), text);
}

const char *
credmap_line_keep(struct credmap_line *line, const char *text)
{
	const char *kept = credmap_keep(line->map, text, strlen(text) + 1);

	if (kept == NULL)
		line->no_memory = true;
	return kept;
}

void
credmap_line_name(struct credmap_line *line, const char *value, size_t least,
    size_t most, const char *more, const char **out)
{
	bool fits = strlen(value) <= most;
	char shown[64];

	if (value_made_of(value, least, most, more)) {
		*out = credmap_line_keep(line, value);
		return;
	}
	/* one that is too long may be the DeviceSecret, put here by mistake */
	complain(line->to, line->path, line->n,
	    "%s%s%s: allowed are %zu to %zu of letters%s digits%s%s; this "
	    "has %zu bytes",
	    line->key, fits ? " = " : "",
	    fits ? escape(shown, sizeof(shown), span_of_string(value)) : "",
	    least, most, *more != '\0' ? "," : " and",
	    *more != '\0' ? " and " : "", more, strlen(value));
}

void
credmap_line_device_name(
    struct credmap_line *line, const char *value, const char **out)
{
	credmap_line_name(line, value, ALIYUN_DEVICE_NAME_MIN,
	    ALIYUN_DEVICE_NAME_MAX, DEVICE_NAME_MORE, out);
}

void
credmap_line_device_name_pattern(
    struct credmap_line *line, const char *value, const char **out)
{
	static const struct span no_part = {(const uint8_t *)"", 0};
	char rest[256];

	if (pattern_places(value, CREDENTIAL_PART) == 0)
		credmap_line_device_name(line, value, out);
	else if (pattern_fill(
		     rest, sizeof(rest), value, CREDENTIAL_PART, no_part) &&
		 value_made_of(
		     rest, 0, ALIYUN_DEVICE_NAME_MAX - 1, DEVICE_NAME_MORE))
		*out = credmap_line_keep(line, value);
	else
		wrong_value(line, value,
		    "besides one " CREDENTIAL_PART
		    " up to 31 of letters, digits and " DEVICE_NAME_MORE
		    " are allowed");
}

void
credmap_line_client_id(
    struct credmap_line *line, const char *value, const char **out)
{
	/* these would end it, or look like the parameters behind it */
	if (strlen(value) <= ALIYUN_CLIENT_ID_MAX &&
	    strpbrk(value, "|,=&") == NULL)
		*out = credmap_line_keep(line, value);
	else
		WRONG(line, "at most %d bytes are allowed, without | , = and &",
		    ALIYUN_CLIENT_ID_MAX);
}

void
credmap_line_match(
    struct credmap_line *line, const char *value, const char **out)
{
	size_t n = strlen(value);

	if (n >= 1 && n <= CREDENTIAL_MATCH_MAX)
		*out = credmap_line_keep(line, value);
	else
		WRONG(line, "1 to %d bytes are allowed, this has %zu",
		    CREDENTIAL_MATCH_MAX, n);
}

/* Complains, showing <value>, of which <text> is a part. */
static bool
read_network(struct credmap_line *line, const char *value, const char *text,
    struct network *out)
{
	char meant[NETWORK_TEXT_MAX], why[100];
	struct network cut;

	if (!network_read(text, out)) {
		wrong_value(line, value,
		    "one numeric IPv4 or IPv6 address or prefix is allowed, "
		    "or several in allow_from, with commas between them");
		return false;
	}
	cut = network_cut(out, out->bits);
	if (memcmp(&cut, out, sizeof(cut)) == 0)
		return true;
	(void)snprintf(why, sizeof(why),
	    "it goes on behind the prefix; is %s meant?",
	    network_write(meant, &cut));
	wrong_value(line, value, why);
	return false;
}

void
credmap_line_address(struct credmap_line *line, const char *value,
    const char **text, struct network *out)
{
	char canonical[NETWORK_TEXT_MAX];
	struct network read;

	if (!read_network(line, value, value, &read))
		return;
	*out = read;
	*text = credmap_line_keep(line, network_write(canonical, &read));
}

/* The next word of <*list>, without blanks around it; "" when it is too long
   for a network. False behind the last. */
static bool
take_word(const char **list, char word[static NETWORK_TEXT_MAX])
{
	static const char blanks[] = " \t";
	const char *start;
	size_t n;

	if (*list == NULL)
		return false;
	start = *list + strspn(*list, blanks);
	n = strcspn(start, ",");
	*list = start[n] == ',' ? start + n + 1 : NULL;
	while (n > 0 && strchr(blanks, start[n - 1]) != NULL)
		n--;
	n = n < NETWORK_TEXT_MAX ? n : 0;
	memcpy(word, start, n);
	word[n] = '\0';
	return true;
}

void
credmap_line_networks(
    struct credmap_line *line, const char *value, struct networks *out)
{
	struct network list[CREDENTIAL_ALLOW_MAX];
	char word[NETWORK_TEXT_MAX];
	const char *rest = value;
	size_t n = 0;

	while (take_word(&rest, word)) {
		if (n == CREDENTIAL_ALLOW_MAX) {
			WRONG(line,
			    "at most %d addresses and prefixes are "
			    "allowed",
			    CREDENTIAL_ALLOW_MAX);
			return;
		}
		if (!read_network(line, value, word, &list[n++]))
			return;
	}
	out->list = credmap_keep(line->map, list, n * sizeof(*list));
	out->count = n;
	if (out->list == NULL)
		line->no_memory = true;
}

void
credmap_line_refuse_file(
    struct credmap_line *line, const char *value, const char *why)
{
	/* a secret may stand here by mistake; a path has a slash */
	if (strchr(value, '/') != NULL)
		wrong_value(line, value, why);
	else
		WRONG(line, "the file it names: %s", why);
}

/* Complains once if there is no key: it would be the same of every value. */
static bool
has_sealed_key(struct credmap_line *line)
{
	struct sealed_opener *opener = line->opener;
	const char *why;

	if (opener->key != NULL || opener->failed)
		return opener->key != NULL;
	if (opener->key_file[0] != '\0')
		opener->key = sealed_key_read(opener->key_file, line->to, &why);
	if (opener->key != NULL)
		return true;
	opener->failed = true;
	if (opener->key_file[0] == '\0')
		WRONG(line, "%s",
		    "it is sealed, and there is no key to open it: set "
		    "[secrets] key_file in proxy.ini");
	else
		WRONG(line,
		    "it is sealed, and the key in [secrets] key_file cannot "
		    "be used: %s",
		    why);
	return false;
}

/* What the file holds. Complains. */
static bool
take_file(struct credmap_line *line, const char *value, struct secret *out)
{
	const char *why;

	if (secret_file_read(line->path, value, line->to, out, &why))
		return true;
	credmap_line_refuse_file(line, value, why);
	return false;
}

/* The value itself, of the key <name>. Complains. */
static bool
take_value(struct credmap_line *line, const char *name, struct span value,
    struct secret *out)
{
	const char *why;

	if (sealed_is(value)) {
		if (!has_sealed_key(line))
			return false;
		if (sealed_open(line->opener->key, name, value, out, &why))
			return true;
		WRONG(line, "%s", why);
		return false;
	}
	if (secret_set(out, value))
		return true;
	WRONG(line, "at most %d bytes are allowed, this has %zu", SECRET_MAX,
	    value.n);
	return false;
}

/* Quotes mean nothing in these files, and no secret of the platform has them.
 */
static bool
in_quotes(const struct secret *k)
{
	return k->n >= 2 && k->bytes[0] == k->bytes[k->n - 1] &&
	       (k->bytes[0] == '"' || k->bytes[0] == '\'');
}

/* Complains, and wipes it then. */
static bool
is_device_secret(struct credmap_line *line, struct secret *k)
{
	bool ok = k->n >= 1 && k->n <= ALIYUN_DEVICE_SECRET_MAX;

	if (in_quotes(k)) {
		WRONG(line, "%s", "it stands in quotes; leave them out");
		secret_wipe(k);
		return false;
	}
	for (size_t i = 0; i < k->n; i++)
		ok = ok && k->bytes[i] > ' ' && k->bytes[i] <= '~';
	if (ok)
		return true;
	WRONG(line,
	    "1 to %d printable ASCII characters without blanks are allowed, "
	    "this has %zu bytes",
	    ALIYUN_DEVICE_SECRET_MAX, k->n);
	secret_wipe(k);
	return false;
}

void
credmap_line_device_secret(struct credmap_line *line, const char *value,
    bool is_file, struct secret *out)
{
	if (!is_file)
		(void)credmap_line_table_secret(
		    line, span_of_string(value), out);
	else if (take_file(line, value, out))
		(void)is_device_secret(line, out);
}

bool
credmap_line_table_secret(
    struct credmap_line *line, struct span value, struct secret *out)
{
	return take_value(line, "device_secret", value, out) &&
	       is_device_secret(line, out);
}

void
credmap_line_password(struct credmap_line *line, const char *value,
    bool is_file, struct secret *out)
{
	bool ok =
	    is_file ? take_file(line, value, out)
		    : take_value(line, "password", span_of_string(value), out);

	if (ok && out->n == 0)
		WRONG(line, "%s", "it is empty; for none, leave the key out");
}

void
credmap_line_password_hash(
    struct credmap_line *line, const char *value, struct password_hash *out)
{
	const char *why;

	if (!password_hash_read(value, out, &why))
		WRONG(line, "%s", why);
}

void
credmap_line_region(
    struct credmap_line *line, const char *value, const char **out)
{
	/* The others have Enterprise instances only, which have hosts by id. */
	static const char *const legacy[] = {"cn-shanghai", "ap-southeast-1",
	    "ap-northeast-1", "us-west-1", "us-east-1", "eu-central-1"};

	for (size_t i = 0; i < sizeof(legacy) / sizeof(*legacy); i++)
		if (strcmp(value, legacy[i]) == 0) {
			*out = credmap_line_keep(line, value);
			return;
		}
	wrong_value(line, value,
	    "legacy public instances are in cn-shanghai, ap-southeast-1, "
	    "ap-northeast-1, us-west-1, us-east-1 and eu-central-1; for any "
	    "other place set instance or host instead");
}

/* Labels of 1 to 63 letters, digits, "-" and "_" with dots between them. */
static bool
is_host_name(const char *name)
{
	if (!value_made_of(name, 1, CREDENTIAL_HOST_MAX, "-_."))
		return false;
	for (;;) {
		size_t n = strcspn(name, ".");

		if (n == 0 || n > 63 || name[0] == '-' || name[n - 1] == '-')
			return false;
		if (name[n] == '\0')
			return true;
		name += n + 1;
	}
}

void
credmap_line_host(
    struct credmap_line *line, const char *value, const char **out)
{
	char address[VALUE_ADDRESS_MAX];

	if (value_address(value, address))
		*out = credmap_line_keep(line, address);
	else if (is_host_name(value))
		*out = credmap_line_keep(line, value);
	else
		wrong_value(line, value,
		    "a host name or a numeric address is allowed, without "
		    "scheme, port and path");
}

void
credmap_line_port(struct credmap_line *line, const char *value, uint16_t *out)
{
	uint64_t n;

	if (value_read(value, VALUE_COUNT, &n) && n >= 1 && n <= UINT16_MAX)
		*out = (uint16_t)n;
	else
		wrong_value(line, value, "1 to 65535 is allowed");
}

void
credmap_line_path(
    struct credmap_line *line, const char *value, const char **out)
{
	if (value_path(value))
		*out = credmap_line_keep(line, value);
	else
		wrong_value(line, value,
		    "it starts with / and holds no blanks, no # and ASCII "
		    "only");
}

void
credmap_line_transports(
    struct credmap_line *line, const char *value, struct transports *out)
{
	if (!transports_read(value, out))
		wrong_value(line, value, "allowed is " TRANSPORTS_ALLOWED);
	else if (transports_have(out, TRANSPORT_WS))
		warn_of(line->to, line->path, line->n,
		    "%s has ws: everything goes to the cloud in the clear; for "
		    "labs only",
		    line->key);
}

void
credmap_line_sign_method(
    struct credmap_line *line, const char *value, enum aliyun_sign_method *out)
{
	for (int i = 0; i < ALIYUN_SIGN_METHODS; i++) {
		enum aliyun_sign_method method = (enum aliyun_sign_method)i;

		if (strcmp(value, aliyun_sign_method_word(method)) == 0) {
			*out = method;
			return;
		}
	}
	wrong_value(line, value, "allowed is hmacmd5, hmacsha1 or hmacsha256");
}

void
credmap_line_timestamp(struct credmap_line *line, const char *value,
    enum timestamp_mode *mode, uint64_t *ms)
{
	enum { DIGITS_MAX = 13 }; /* until the year 2286 */
	uint64_t n;

	if (strcmp(value, "now") == 0) {
		*mode = TIMESTAMP_NOW;
	} else if (strcmp(value, "none") == 0) {
		*mode = TIMESTAMP_NONE;
	} else if (strlen(value) <= DIGITS_MAX &&
		   value_read(value, VALUE_COUNT, &n)) {
		*mode = TIMESTAMP_FIXED;
		*ms = n;
	} else {
		wrong_value(line, value,
		    "allowed is now, none or a number of milliseconds of at "
		    "most 13 digits");
	}
}

void
credmap_line_bool(struct credmap_line *line, const char *value, bool *out)
{
	if (strcmp(value, "yes") == 0 || strcmp(value, "no") == 0)
		*out = value[0] == 'y';
	else
		wrong_value(line, value, "yes or no is allowed");
}

void
credmap_line_keep_alive(
    struct credmap_line *line, const char *value, uint16_t *out)
{
	uint64_t ms;

	if (strcmp(value, "device") == 0)
		*out = 0;
	else if (value_read(value, VALUE_TIME, &ms) && ms % 1000 == 0 &&
		 ms / 1000 >= 1 && ms / 1000 <= UINT16_MAX)
		*out = (uint16_t)(ms / 1000);
	else
		wrong_value(line, value,
		    "allowed is device, or whole seconds from 1s to 65535s");
}

void
credmap_line_policy(struct credmap_line *line, const char *value,
    enum policy policy, uint8_t *out)
{
	const char *third = policy_word(policy, 2);
	char text[64];

	if (policy_read(policy, value, out))
		return;
	(void)snprintf(text, sizeof(text), "%s%s%s or %s is allowed",
	    policy_word(policy, 0), third != NULL ? ", " : "",
	    third != NULL ? policy_word(policy, 1) : "",
	    third != NULL ? third : policy_word(policy, 1));
	wrong_value(line, value, text);
}

/* What does not lie in the range is told with what is <allowed>. */
static void
read_within(struct credmap_line *line, const char *value, enum value_unit unit,
    uint64_t least, uint64_t most, const char *allowed, uint32_t *out)
{
	uint64_t n;

	if (value_read(value, unit, &n) && n >= least && n <= most)
		*out = (uint32_t)n;
	else
		wrong_value(line, value, allowed);
}

void
credmap_line_qos0_queue(
    struct credmap_line *line, const char *value, uint32_t *out)
{
	read_within(line, value, VALUE_BYTES, 0, CREDENTIAL_QOS0_QUEUE_MAX,
	    "0 to 1M is allowed, as in 4096, 64K, 1M", out);
}

void
credmap_line_hold_time(
    struct credmap_line *line, const char *value, uint32_t *out_ms)
{
	read_within(line, value, VALUE_TIME, 1000, CREDENTIAL_HOLD_TIME_MAX_MS,
	    "1s to 24h is allowed, as in 90, 120s, 15m", out_ms);
}

void
credmap_line_hold_queue(
    struct credmap_line *line, const char *value, uint32_t *out)
{
	read_within(line, value, VALUE_BYTES, 4096, CREDENTIAL_HOLD_QUEUE_MAX,
	    "4K to 16M is allowed, as in 65536, 512K, 4M", out);
}

void
credmap_line_cloud(
    struct credmap_line *line, const char *value, struct contract *out)
{
	if (!contract_cloud_read(value, &out->cloud))
		wrong_value(line, value, "allowed is " CONTRACT_CLOUDS_ALLOWED);
}

bool
credmap_line_rule(struct credmap_line *line, const char *value, unsigned rule,
    struct contract *out)
{
	char allowed[80], text[96];

	if (contract_rule_read(out, rule, value))
		return true;
	contract_rule_describe(rule, allowed, sizeof(allowed));
	(void)snprintf(text, sizeof(text), "allowed is %s", allowed);
	wrong_value(line, value, text);
	return false;
}

void
credmap_line_clean_session(
    struct credmap_line *line, const char *value, enum clean_session *out)
{
	static const char *const words[] = {[CLEAN_AS_DEVICE] = "device",
	    [CLEAN_NO] = "no",
	    [CLEAN_YES] = "yes"};

	for (int i = CLEAN_AS_DEVICE; i <= CLEAN_YES; i++) {
		if (strcmp(value, words[i]) == 0) {
			*out = (enum clean_session)i;
			return;
		}
	}
	wrong_value(line, value, "device, yes or no is allowed");
}

void
credmap_line_log_level(
    struct credmap_line *line, const char *value, struct log_own *out)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
		enum log_level level = (enum log_level)i;

		if (strcmp(value, log_level_word(level)) == 0) {
			*out = (struct log_own){.set = true, .level = level};
			return;
		}
	}
	wrong_value(
	    line, value, "allowed is error, warning, notice, info or debug");
}

/* One "k=v" of <n> bytes. */
static bool
is_parameter(const char *text, size_t n)
{
	const char *sign = memchr(text, '=', n);

	if (sign == NULL || sign == text || sign == text + n - 1 ||
	    memchr(sign + 1, '=', (size_t)(text + n - sign) - 1) != NULL)
		return false;
	for (size_t i = 0; i < n; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '|')
			return false;
	return true;
}

/* The parameter that "k=v" may not set, or NULL. */
static const char *
reserved(const char *text)
{
	/* The proxy sets the first three itself; by the other two the platform
	   knows its own SDK and subscribes to topics on the device's behalf. */
	static const char *const names[] = {
	    "securemode", "signmethod", "timestamp", "_v", "_ss"};
	size_t n = strcspn(text, "=");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == n && memcmp(names[i], text, n) == 0)
			return names[i];
	return NULL;
}

void
credmap_line_extra(
    struct credmap_line *line, const char *value, const char **out)
{
	const char *at = value;

	if (strlen(value) > ALIYUN_EXTRA_MAX) {
		WRONG(line, "at most %d bytes are allowed, this has %zu",
		    ALIYUN_EXTRA_MAX, strlen(value));
		return;
	}
	while (*at != '\0') {
		size_t n = strcspn(at, ",");

		if (!is_parameter(at, n) || strcmp(at + n, ",") == 0) {
			wrong_value(line, value,
			    "write k=v,k=v in printable ASCII without blanks "
			    "and without |");
			return;
		}
		if (reserved(at) != NULL) {
			WRONG(line, "%s may not be set here", reserved(at));
			return;
		}
		at += n + (at[n] == ',');
	}
	*out = credmap_line_keep(line, value);
}
