/*
 * The input is a devices.ini and, behind a line "%%", a table of secrets, which
 * it finds under the name "100". Every entry of a map that was loaded must be
 * found by each of its keys, if not as the first, be the same as itself, and
 * have a login.
 */
#include "fuzz_file.h"

#include "settings/credmap.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static struct span
span_or_none(const char *text)
{
	return text != NULL ? span_of_string(text) : (struct span){NULL, 0};
}

/* The first address of it. */
static struct network
network_begin(const struct network *n)
{
	struct network address = *n;

	address.bits = n->version == 6 ? 128 : 32;
	return address;
}

/* Whether <c> is among those that fit, each of them in its place, the one that
   answers first. */
static bool
finds(const struct credmap *map, const struct credmap_shown *shown,
    const struct credential *c)
{
	const struct credential *at, *before = NULL;
	struct credmap_search search;
	bool found = false;

	credmap_search_begin(&search, map, shown);
	while ((at = credmap_search_next(&search)) != NULL) {
		MUST(before != NULL || at == credmap_find(map, shown));
		MUST(search.by_login || before == NULL ||
		     before->match > at->match ||
		     (before->match == at->match &&
			 (before->match_case > at->match_case ||
			     before->match_network.bits >
				 at->match_network.bits)));
		found = found || at == c;
		before = at;
	}
	return found;
}

/* The same by a login as the device itself would sign it. */
static bool
finds_by_login(const struct credmap *map, const struct credential *c)
{
	char username[ALIYUN_USERNAME_TEXT];
	struct credmap_shown shown = {.client_id = SPAN_OF("x|securemode=3|")};

	(void)snprintf(username, sizeof(username), "%s&%s", c->device_name,
	    c->product_key);
	shown.username = span_of_string(username);
	if (c->match_address != NULL)
		shown.address = network_begin(&c->match_network);
	return finds(map, &shown, c);
}

static void
check_contract(const struct credential *c)
{
	char text[VALUE_TEXT_MAX], why[CONTRACT_FLAW_MAX];
	struct contract again = *c->contract;

	MUST(contract_fits(c->contract, why));
	MUST(c->keep_alive_s == 0 ||
	     (c->keep_alive_s >= c->contract->keep_alive_min &&
		 c->keep_alive_s <= c->contract->keep_alive_max));
	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++)
		MUST(contract_rule_read(
		    &again, i, contract_rule_write(c->contract, i, text)));
	MUST(memcmp(&again, c->contract, sizeof(again)) == 0);
}

static void
check_entry(const struct credmap *map, const struct credential *c)
{
	struct credmap_shown shown = {
	    .client_id = span_or_none(c->match_client_id),
	    .username = span_or_none(c->match_username)};
	struct aliyun_login login;

	if (c->match_address != NULL)
		shown.address = network_begin(&c->match_network);
	MUST(credmap_by_label(map, c->label) == c);
	MUST(credmap_by_identity(map, c->product_key, c->device_name) == c);
	MUST(finds(map, &shown, c));
	MUST(finds_by_login(map, c));
	MUST(c->allow_from.count <= CREDENTIAL_ALLOW_MAX);
	for (size_t i = 0; i < c->allow_from.count; i++)
		MUST(credential_refuses(c, &c->allow_from.list[i]) ==
		     (c->enabled ? R_NONE : R_ENTRY_DISABLED));
	check_contract(c);
	MUST(c->qos0_queue_bytes <= CREDENTIAL_QOS0_QUEUE_MAX);
	MUST(credential_same(c, c));
	MUST(c->host[0] != '\0' && strlen(c->host) <= CREDENTIAL_HOST_MAX);
	MUST(c->port > 0 && c->path[0] == '/');
	MUST(c->device_secret.n > 0);
	MUST(c->has_password == (c->password.n > 0 || c->hash.iterations > 0));
	MUST(!c->has_password || !c->verify_login);
	MUST(credential_sign(c, TRANSPORT_WSS, UINT64_MAX, &login));
	aliyun_login_wipe(&login);
}

/* Writes the table: it is beside the map, which is /proc/self/fd/SOMETHING. */
static void
put_table(const uint8_t *data, size_t size)
{
	enum { TABLE_FD = 100 };
	static bool is_open;

	if (!is_open) {
		int fd = memfd_create("table", MFD_CLOEXEC);

		MUST(fd >= 0 && dup3(fd, TABLE_FD, O_CLOEXEC) == TABLE_FD);
		MUST(close(fd) == 0);
		is_open = true;
	}
	MUST(ftruncate(TABLE_FD, 0) == 0);
	MUST(pwrite(TABLE_FD, data, size, 0) == (ssize_t)size);
}

/* A file that stays; closed with the process. */
static void
write_file(const char *text, char path[static 64])
{
	int fd = memfd_create("fixed", MFD_CLOEXEC);

	MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	(void)snprintf(path, 64, "/proc/self/fd/%d", fd);
}

/* With the key that the sealed values of the corpus were made with. */
static struct settings *
load_settings(struct complaints *to)
{
	char key[64], text[128], path[64];

	write_file("000102030405060708090a0b0c0d0e0f"
		   "101112131415161718191a1b1c1d1e1f\n",
	    key);
	(void)snprintf(text, sizeof(text), "[secrets]\nkey_file = %s\n", key);
	write_file(text, path);
	return settings_load(path, to);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct settings *defaults;
	struct complaints to = {.tell = fuzz_told};
	static const char between[] = "\n%%\n";
	const uint8_t *cut = memmem(data, size, between, strlen(between));
	size_t map_size = cut != NULL ? (size_t)(cut - data) + 1 : size;
	size_t table_at = cut != NULL ? map_size + strlen(between) - 1 : size;
	struct credmap *map;

	if (defaults == NULL)
		defaults = load_settings(&to);
	MUST(defaults != NULL);
	put_table(data + table_at, size - table_at);
	map = credmap_load(fuzz_file(data, map_size), defaults, &to);
	MUST((map == NULL) == (to.errors > 0));
	if (map == NULL)
		return 0;
	for (size_t i = 0; i < credmap_count(map); i++)
		check_entry(map, credmap_at(map, i));
	credmap_unref(map);
	return 0;
}
