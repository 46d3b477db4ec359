/*
 * The input is a devices.ini. Every entry of a map that was loaded must be
 * found by each of its keys, be the same as itself, and have a login.
 */
#include "fuzz_file.h"

#include "settings/credmap.h"

#include <string.h>

static struct span
span_or_none(const char *text)
{
	return text != NULL ? span_of_string(text) : (struct span){NULL, 0};
}

static void
check_entry(const struct credmap *map, const struct credential *c)
{
	struct aliyun_login login;

	MUST(credmap_by_label(map, c->label) == c);
	MUST(credmap_by_identity(map, c->product_key, c->device_name) == c);
	MUST(credmap_find(map, span_or_none(c->match_client_id),
		 span_or_none(c->match_username),
		 c->match_address != NULL ? c->match_address : "") == c);
	MUST(credential_same(c, c));
	MUST(c->host[0] != '\0' && strlen(c->host) <= CREDENTIAL_HOST_MAX);
	MUST(c->port > 0 && c->path[0] == '/');
	MUST(c->device_secret.n > 0);
	MUST(c->has_password == (c->password.n > 0));
	MUST(credential_sign(c, TRANSPORT_WSS, UINT64_MAX, &login));
	aliyun_login_wipe(&login);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct settings *defaults;
	struct complaints to = {.tell = fuzz_told};
	struct credmap *map;

	if (defaults == NULL)
		defaults = settings_load(NULL, &to);
	MUST(defaults != NULL);
	map = credmap_load(fuzz_file(data, size), defaults, &to);
	MUST((map == NULL) == (to.errors > 0));
	if (map == NULL)
		return 0;
	for (size_t i = 0; i < credmap_count(map); i++)
		check_entry(map, credmap_at(map, i));
	credmap_unref(map);
	return 0;
}
