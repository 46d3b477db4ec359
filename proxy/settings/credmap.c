#include "settings/credmap.h"

#include "settings/credmap_build.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/*
 * One table answers all three questions. A key is a kind and up to three parts:
 * kinds 1 to 7 are the combinations of match_ keys (their enum match_keys), and
 * with KIND_ANY_CASE the same when capitals do not count; then client id, user
 * name and network are the parts. The other two kinds are below.
 */
enum {
	MATCH_ALL = MATCH_CLIENT_ID | MATCH_USERNAME | MATCH_ADDRESS,
	KEY_STEPS = 2 * MATCH_ALL, /* of a search */
	KIND_ANY_CASE = 8,
	KIND_LABEL = 16,
	KIND_IDENTITY = 17,
	KIND_BITS = 5,
	KEY_PARTS = 3
};

struct key {
	unsigned kind;
	struct span parts[KEY_PARTS]; /* empty where the kind has none */
};

/* How long the prefixes of one version of IP are that some entry has, each
   once, the longest first. */
struct lengths {
	uint8_t bits[NETWORK_BITS_MAX + 1];
	unsigned count;
};

/* Open addressing, at most half full. */
struct slot {
	uint32_t hash;
	uint32_t what; /* entry << KIND_BITS | kind; 0: free */
};

/* Texts and networks are kept in blocks, so that a large map is a few
   allocations. */
struct block {
	struct block *next;
	size_t used;
	char bytes[64 * 1024];
};

struct credmap {
	atomic_uint refs;
	bool missing;
	struct credential *entries;
	size_t count;
	size_t cap;
	struct slot *slots; /* NULL: not indexed */
	size_t mask;        /* number of slots, a power of two, less one */
	unsigned kinds;     /* bit k: some entry has a key of kind k */
	struct lengths lengths[2]; /* of IPv4, of IPv6 */
	struct block *blocks;
	struct topic_map **topics; /* of all sections that have some */
	size_t topics_count;
	size_t topics_cap;
};

struct credmap *
credmap_new(void)
{
	struct credmap *map = calloc(1, sizeof(*map));

	if (map != NULL)
		atomic_init(&map->refs, 1);
	return map;
}

struct credential *
credmap_add(struct credmap *map)
{
	struct credential *c;

	if (map->count == map->cap) {
		size_t cap = map->cap > 0 ? 2 * map->cap : 1;
		struct credential *more =
		    cap <= (UINT32_MAX >> KIND_BITS) / 2
			? secret_alloc(cap * sizeof(*more))
			: NULL;

		if (more == NULL)
			return NULL;
		if (map->count > 0)
			memcpy(more, map->entries, map->count * sizeof(*more));
		secret_free(map->entries, map->cap * sizeof(*map->entries));
		map->entries = more;
		map->cap = cap;
	}
	c = &map->entries[map->count++];
	return c;
}

struct credential *
credmap_edit(struct credmap *map, size_t i)
{
	assert(i < map->count);
	return &map->entries[i];
}

/* <align>: a power of two, at most that of a size_t. */
static const void *
keep(struct credmap *map, const void *bytes, size_t n, size_t align)
{
	struct block *block = map->blocks;
	char *copy;

	assert(n <= sizeof(block->bytes));
	if (block != NULL)
		block->used = (block->used + align - 1) & ~(align - 1);
	if (block == NULL || n > sizeof(block->bytes) - block->used) {
		block = malloc(sizeof(*block));
		if (block == NULL)
			return NULL;
		block->next = map->blocks;
		block->used = 0;
		map->blocks = block;
	}
	copy = block->bytes + block->used;
	memcpy(copy, bytes, n);
	block->used += n;
	return copy;
}

const void *
credmap_keep(struct credmap *map, const void *bytes, size_t n)
{
	return keep(map, bytes, n, 1);
}

const struct contract *
credmap_keep_contract(struct credmap *map, const struct contract *contract)
{
	return keep(
	    map, contract, sizeof(*contract), _Alignof(struct contract));
}

bool
credmap_own_topics(struct credmap *map, struct topic_map *topics)
{
	if (map->topics_count == map->topics_cap) {
		size_t cap = map->topics_cap > 0 ? 2 * map->topics_cap : 4;
		struct topic_map **more =
		    reallocarray(map->topics, cap, sizeof(struct topic_map *));

		if (more == NULL)
			return false;
		map->topics = more;
		map->topics_cap = cap;
	}
	map->topics[map->topics_count++] = topics;
	return true;
}

struct credmap *
credmap_ref(struct credmap *map)
{
	atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
	return map;
}

void
credmap_unref(struct credmap *map)
{
	if (map == NULL || atomic_fetch_sub(&map->refs, 1) != 1)
		return;
	secret_free(map->entries, map->cap * sizeof(*map->entries));
	while (map->blocks != NULL) {
		struct block *next = map->blocks->next;

		free(map->blocks);
		map->blocks = next;
	}
	for (size_t i = 0; i < map->topics_count; i++)
		topic_map_free(map->topics[i]);
	free(map->topics);
	free(map->slots);
	free(map);
}

void
credmap_set_missing(struct credmap *map)
{
	map->missing = true;
}

bool
credmap_is_missing(const struct credmap *map)
{
	return map->missing;
}

bool
credmap_is_last_ref(const struct credmap *map)
{
	return atomic_load(&map->refs) == 1;
}

static bool
keep_text(struct credmap *map, const char **text)
{
	*text = credmap_keep(map, *text, strlen(*text) + 1);
	return *text != NULL;
}

struct credmap *
credmap_memory_of(const struct credential *c)
{
	struct credmap *map = credmap_new();
	struct credential *copy = map != NULL ? credmap_add(map) : NULL;

	if (copy == NULL)
		goto fail;
	*copy = *c;
	secret_wipe(&copy->password);
	secret_wipe(&copy->device_secret);
	secret_wipe_bytes(&copy->hash, sizeof(copy->hash));
	copy->match = 0;
	copy->match_client_id = copy->match_username = NULL;
	copy->match_address = NULL;
	copy->allow_from = (struct networks){0};
	copy->topics = NULL;
	copy->contract = credmap_keep_contract(map, c->contract);
	if (copy->contract != NULL && keep_text(map, &copy->label) &&
	    keep_text(map, &copy->product_key) &&
	    keep_text(map, &copy->device_name) &&
	    keep_text(map, &copy->client_id) && keep_text(map, &copy->extra) &&
	    keep_text(map, &copy->host) && keep_text(map, &copy->server_name) &&
	    keep_text(map, &copy->path) &&
	    (copy->table == NULL || keep_text(map, &copy->table)))
		return map;
fail:
	credmap_unref(map);
	return NULL;
}

/* Of a part of a key; capitals are letters like others, unless they count. */
static uint8_t
folded(const struct key *key, size_t part, uint8_t byte)
{
	bool any_case =
	    key->kind < KIND_LABEL && key->kind & KIND_ANY_CASE && part < 2;

	return any_case && byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20)
						      : byte;
}

/* FNV-1a. Each part goes in with its size, so that no two keys are the same
   bytes. Only what the administrator wrote is in the table, so nobody outside
   can make it slow. */
static uint32_t
hash_of(const struct key *key)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ key->kind;

	for (size_t i = 0; i < KEY_PARTS; i++) {
		h = (h ^ key->parts[i].n) * UINT64_C(0x100000001b3);
		for (size_t j = 0; j < key->parts[i].n; j++)
			h = (h ^ folded(key, i, key->parts[i].p[j])) *
			    UINT64_C(0x100000001b3);
	}
	return (uint32_t)(h ^ h >> 32);
}

/* Of two keys of one kind. */
static bool
same_key(const struct key *a, const struct key *b)
{
	for (size_t i = 0; i < KEY_PARTS; i++) {
		if (a->parts[i].n != b->parts[i].n)
			return false;
		for (size_t j = 0; j < a->parts[i].n; j++)
			if (folded(a, i, a->parts[i].p[j]) !=
			    folded(b, i, b->parts[i].p[j]))
				return false;
	}
	return true;
}

/* Puts <text> into the key; false when the entry has none. */
static bool
set_part(struct key *key, size_t i, const char *text)
{
	if (text == NULL)
		return false;
	key->parts[i] = span_of_string(text);
	return true;
}

static struct span
network_span(const struct network *n)
{
	return (struct span){(const uint8_t *)n, sizeof(*n)};
}

/* Capitals make a difference only to texts. */
static unsigned
match_kind(const struct credential *c)
{
	bool has_text = c->match & (MATCH_CLIENT_ID | MATCH_USERNAME);

	return c->match | (has_text && !c->match_case ? KIND_ANY_CASE : 0);
}

static bool
set_network(struct key *key, const struct credential *c)
{
	key->parts[2] = network_span(&c->match_network);
	return c->match_address != NULL;
}

/* The key of a kind that an entry has; false: it has none. */
static bool
key_of(const struct credential *c, unsigned kind, struct key *key)
{
	*key = (struct key){.kind = kind};
	if (kind == KIND_LABEL)
		return set_part(key, 0, c->label);
	if (kind == KIND_IDENTITY)
		return set_part(key, 0, c->product_key) &&
		       set_part(key, 1, c->device_name);
	return c->match != 0 && kind == match_kind(c) &&
	       (!(kind & MATCH_CLIENT_ID) ||
		   set_part(key, 0, c->match_client_id)) &&
	       (!(kind & MATCH_USERNAME) ||
		   set_part(key, 1, c->match_username)) &&
	       (!(kind & MATCH_ADDRESS) || set_network(key, c));
}

/* The slot that holds <key>, or the free one where it belongs. */
static struct slot *
slot_of(const struct credmap *map, const struct key *key, uint32_t hash)
{
	for (size_t i = hash & map->mask;; i = (i + 1) & map->mask) {
		struct slot *slot = &map->slots[i];
		struct key there;

		if (slot->what == 0)
			return slot;
		if (slot->hash != hash ||
		    (slot->what & ((1u << KIND_BITS) - 1)) != key->kind)
			continue;
		(void)key_of(
		    &map->entries[slot->what >> KIND_BITS], key->kind, &there);
		if (same_key(&there, key))
			return slot;
	}
}

static const struct credential *
look_up(const struct credmap *map, const struct key *key)
{
	const struct slot *slot;

	if (!(map->kinds & 1u << key->kind))
		return NULL;
	slot = slot_of(map, key, hash_of(key));
	return slot->what != 0 ? &map->entries[slot->what >> KIND_BITS] : NULL;
}

static void
note_length(struct lengths *l, uint8_t bits)
{
	unsigned at = 0;

	while (at < l->count && l->bits[at] > bits)
		at++;
	if (at < l->count && l->bits[at] == bits)
		return;
	memmove(l->bits + at + 1, l->bits + at, l->count - at);
	l->bits[at] = bits;
	l->count++;
}

/* Enters an entry's key of a kind. The entry that has the same one already, or
   NULL. */
static const struct credential *
enter(struct credmap *map, size_t i, unsigned kind)
{
	struct key key;
	struct slot *slot;
	uint32_t hash;

	if (!key_of(&map->entries[i], kind, &key))
		return NULL;
	hash = hash_of(&key);
	slot = slot_of(map, &key, hash);
	if (slot->what != 0)
		return &map->entries[slot->what >> KIND_BITS];
	slot->hash = hash;
	slot->what = (uint32_t)(i << KIND_BITS | kind);
	map->kinds |= 1u << kind;
	if (kind < KIND_LABEL && kind & MATCH_ADDRESS) {
		const struct network *n = &map->entries[i].match_network;

		note_length(&map->lengths[n->version == 6], n->bits);
	}
	return NULL;
}

bool
credmap_index(struct credmap *map,
    void (*clash)(void *arg, enum clash what, const struct credential *later,
	const struct credential *first),
    void *arg)
{
	size_t slots = 8;

	assert(map->slots == NULL);
	while (slots < 2 * 3 * map->count) /* three keys for each entry */
		slots *= 2;
	map->slots = calloc(slots, sizeof(*map->slots));
	if (map->slots == NULL)
		return false;
	map->mask = slots - 1;
	for (size_t i = 0; i < map->count; i++) {
		const struct credential *c = &map->entries[i];
		const unsigned kinds[] = {[CLASH_LABEL] = KIND_LABEL,
		    [CLASH_IDENTITY] = KIND_IDENTITY,
		    [CLASH_MATCH] = match_kind(c)};

		for (int what = CLASH_LABEL; what <= CLASH_MATCH; what++) {
			const struct credential *first =
			    enter(map, i, kinds[what]);

			if (first == NULL)
				continue;
			clash(arg, (enum clash)what, c, first);
			break;
		}
	}
	return true;
}

size_t
credmap_count(const struct credmap *map)
{
	return map->count;
}

const struct credential *
credmap_at(const struct credmap *map, size_t i)
{
	assert(i < map->count);
	return &map->entries[i];
}

const struct credential *
credmap_by_label(const struct credmap *map, const char *label)
{
	const struct key key = {KIND_LABEL, {span_of_string(label)}};

	return look_up(map, &key);
}

const struct credential *
credmap_by_identity(
    const struct credmap *map, const char *product_key, const char *device_name)
{
	const struct key key = {KIND_IDENTITY,
	    {span_of_string(product_key), span_of_string(device_name)}};

	return look_up(map, &key);
}

void
credmap_search_begin(struct credmap_search *search, const struct credmap *map,
    const struct credmap_shown *shown)
{
	*search = (struct credmap_search){.map = map, .shown = shown};
}

/* The entry with the very keys of a kind that the device shows, its address cut
   to <bits>. */
static const struct credential *
look_up_shown(const struct credmap_search *search, unsigned kind, uint8_t bits)
{
	const struct credmap_shown *shown = search->shown;
	struct network cut;
	struct key key = {.kind = kind};

	if (kind & MATCH_CLIENT_ID)
		key.parts[0] = shown->client_id;
	if (kind & MATCH_USERNAME)
		key.parts[1] = shown->username;
	if (kind & MATCH_ADDRESS) {
		cut = network_cut(&shown->address, bits);
		key.parts[2] = network_span(&cut);
	}
	return look_up(search->map, &key);
}

/* The next one that fits by its keys. The order is the one the header promises:
   that of the numbers of enum match_keys, each of them first to the letter;
   then that of the lengths. */
static const struct credential *
next_by_keys(struct credmap_search *search)
{
	static const struct lengths once = {.count = 1};
	const struct credmap *map = search->map;
	const struct network *address = &search->shown->address;

	for (; search->step < KEY_STEPS; search->step++) {
		unsigned match = MATCH_ALL - search->step / 2;
		unsigned kind =
		    match | (search->step % 2 != 0 ? KIND_ANY_CASE : 0);
		const struct lengths *lengths =
		    match & MATCH_ADDRESS ? &map->lengths[address->version == 6]
					  : &once;

		if (!(map->kinds & 1u << kind) ||
		    (match & MATCH_ADDRESS && address->version == 0))
			continue;
		while (search->prefix < lengths->count) {
			const struct credential *c = look_up_shown(
			    search, kind, lengths->bits[search->prefix++]);

			if (c != NULL)
				return c;
		}
		search->prefix = 0;
	}
	return NULL;
}

/* The entry that the device's own login names, unless it fits by its keys. */
static const struct credential *
by_login(const struct credmap_search *search)
{
	const struct credmap_shown *shown = search->shown;
	struct aliyun_claim claim;
	const struct credential *c;
	struct key key = {.kind = KIND_IDENTITY};

	if (!aliyun_claim_read(shown->client_id, shown->username, &claim))
		return NULL;
	key.parts[0] = claim.product_key;
	key.parts[1] = claim.device_name;
	c = look_up(search->map, &key);
	if (c == NULL ||
	    credmap_fitting_keys(c, shown, c->match_case) == c->match ||
	    (c->match & MATCH_ADDRESS &&
		!network_has(&c->match_network, &shown->address)))
		return NULL;
	return c;
}

const struct credential *
credmap_search_next(struct credmap_search *search)
{
	const struct credential *c = next_by_keys(search);

	if (c != NULL || search->step > KEY_STEPS)
		return c;
	search->step++;
	search->by_login = true;
	return by_login(search);
}

const struct credential *
credmap_find(const struct credmap *map, const struct credmap_shown *shown)
{
	struct credmap_search search;

	credmap_search_begin(&search, map, shown);
	return credmap_search_next(&search);
}

enum credmap_rule
credmap_rule_between(const struct credential *a, const struct credential *b)
{
	if (a->match != b->match)
		return RULE_KEYS;
	return match_kind(a) != match_kind(b) ? RULE_CASE : RULE_PREFIX;
}

static bool
fits_text(const char *asked, struct span text, bool match_case)
{
	const unsigned kind = match_case ? 0 : KIND_ANY_CASE;
	const struct key a = {kind, {span_of_string(asked)}};
	const struct key b = {kind, {text}};

	return same_key(&a, &b);
}

unsigned
credmap_fitting_keys(const struct credential *c,
    const struct credmap_shown *shown, bool match_case)
{
	unsigned keys = 0;

	if (c->match & MATCH_CLIENT_ID &&
	    fits_text(c->match_client_id, shown->client_id, match_case))
		keys |= MATCH_CLIENT_ID;
	if (c->match & MATCH_USERNAME &&
	    fits_text(c->match_username, shown->username, match_case))
		keys |= MATCH_USERNAME;
	if (c->match & MATCH_ADDRESS &&
	    network_has(&c->match_network, &shown->address))
		keys |= MATCH_ADDRESS;
	return keys;
}

static bool
may_come_from(const struct credential *c, const struct network *address)
{
	for (size_t i = 0; i < c->allow_from.count; i++)
		if (network_has(&c->allow_from.list[i], address))
			return true;
	return c->allow_from.count == 0;
}

enum reason
credential_refuses(const struct credential *c, const struct network *address)
{
	if (!c->enabled)
		return R_ENTRY_DISABLED;
	return may_come_from(c, address) ? R_NONE : R_ADDRESS_NOT_ALLOWED;
}

uint16_t
credential_port(const struct credential *c, enum transport transport)
{
	return transport == TRANSPORT_MQTTS ? c->mqtts_port : c->port;
}

bool
credential_sign(const struct credential *c, enum transport transport,
    uint64_t now_ms, struct aliyun_login *out)
{
	const struct aliyun_identity who = {
	    .product_key = c->product_key,
	    .device_name = c->device_name,
	    .client_id = c->client_id,
	    .extra = c->extra,
	    .method = c->sign_method,
	    .securemode = transport_has_tls(transport)
			      ? ALIYUN_SECUREMODE_TLS
			      : ALIYUN_SECUREMODE_PLAIN,
	    .has_timestamp = c->timestamp_mode != TIMESTAMP_NONE,
	    .timestamp_ms =
		c->timestamp_mode == TIMESTAMP_FIXED ? c->timestamp_ms : now_ms,
	};

	return aliyun_sign(&who, &c->device_secret, out);
}
