/*
 * credmap_parts: what the files of credmap_load() share and nobody else sees:
 * credmap_sections.c reads the file line by line, credmap_complete.c does what
 * can be done only when the whole file is known, credmap_contract.c makes the
 * contracts for that, credmap_topics.c the rules for topics, credmap_fleet.c
 * reads the tables that it names,
 * credmap_load.c calls them. One thread a map.
 */
#ifndef PROXY_SETTINGS_CREDMAP_PARTS_H
#define PROXY_SETTINGS_CREDMAP_PARTS_H

#include "settings/credmap.h"
#include "settings/credmap_build.h"
#include "settings/credmap_line.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
#define X(name, in_product, def, what) KEY_##name,
enum key { CREDMAP_KEYS(X) KEY_COUNT };
#undef X
/* clang-format on */

_Static_assert(KEY_COUNT <= 64 && CONTRACT_RULE_COUNT <= 32,
    "the keys and the rules of a section are bits");

#define BIT(key) (UINT64_C(1) << (key))

#define PLACES (BIT(KEY_region) | BIT(KEY_instance) | BIT(KEY_host))
#define SECRETS                                                                \
	(BIT(KEY_device_secret) | BIT(KEY_device_secret_file) |                \
	    BIT(KEY_device_secrets_file))
#define PASSWORDS                                                              \
	(BIT(KEY_password) | BIT(KEY_password_file) | BIT(KEY_password_hash))

/* The key of the first rule of a contract; the others follow in their order. */
enum { KEY_RULES = KEY_contract + 1 };

/* What a product may say for its devices, and a device for itself. Fields whose
   key is not given, or was complained about, are zero. */
struct common {
	uint64_t given;    /* BIT(key) of every key of the section */
	const char *place; /* value of region, instance or host */
	uint16_t port;
	uint16_t mqtts_port;
	const char *path;
	const char *server_name; /* NULL: the host */
	struct transports transports;
	enum aliyun_sign_method sign_method;
	enum timestamp_mode timestamp_mode;
	uint64_t timestamp_ms;
	const char *extra;
	bool match_case;
	struct networks allow_from;
	bool verify_login;
	bool enabled;
	uint16_t keep_alive_s; /* 0: the device's own */
	int keep_alive_line;
	enum clean_session clean_session;
	struct log_own log;
	struct policies policies;
	uint32_t qos0_queue_bytes;
	uint32_t hold_time_ms;
	uint32_t hold_queue_bytes;
	struct contract contract; /* its cloud, and the rules given */
	uint32_t rules;           /* bit i: rule i is given, and good */
	bool has_topics;          /* it has rules for topics, good or not */
	const struct topic_map *topics; /* NULL: none, or no good ones */
};

struct product {
	const char *key;
	int line;
	bool used;
	const char *host; /* built for its first device */
	const struct contract *contract;
	struct common common;
};

/* What a section says of a table of secrets. */
struct table_use {
	const char *name; /* as it stands there; NULL: nothing is said */
	const char *path;
	int line;
	int row; /* the line of a row that fits; 0: there was none yet */
};

/* What is known of an entry, or a fleet, while the map is loaded. */
struct device {
	struct common own;
	struct table_use secrets;
};

/* A table of secrets that was read. */
struct table {
	const char *path;
	unsigned strays; /* rows that fit no section */
	int first_stray;
};

/* The contracts that were kept last; what is equal to one of them is shared. */
enum { CONTRACTS_SHARED = 64 };

/* clang-format off */
#define X(name, def, what) TOPIC_KEY_##name,
enum topic_key { CREDMAP_TOPIC_KEYS(X) TOPIC_KEY_COUNT };
#undef X
/* clang-format on */

/* A rule for topics of the section being read. */
struct topic_lines {
	unsigned number;
	int line[TOPIC_KEY_COUNT]; /* where its keys are; 0: not seen */
	struct topic_spec spec;
};

enum section { SECTION_NONE, SECTION_PRODUCT, SECTION_DEVICE };

struct loading {
	struct credmap_line line; /* being read, of the file and map */
	const struct settings *settings;
	struct device *devices; /* [i] belongs to entry <i> of the map */
	size_t devices_cap;
	struct credmap *fleets; /* what the devices of each have in common */
	struct device *fleet_devices; /* [i] belongs to entry <i> of <fleets> */
	size_t fleet_devices_cap;
	struct product *products;
	size_t products_count;
	size_t products_cap;
	struct table *tables;
	size_t tables_count;
	size_t tables_cap;
	const struct contract *contracts[CONTRACTS_SHARED];
	const struct contract *contract; /* that of the settings */
	enum section section;            /* being read */
	int lines[KEY_COUNT];            /* where its keys are; 0: not seen */
	struct topic_lines *topics;      /* its rules for topics */
	size_t topics_count;
	size_t topics_cap;
	unsigned errors_before;  /* the first of them */
	struct credential entry; /* of a SECTION_DEVICE, until it ends */
	struct device device;
};

/* Makes room in <*array> for more than <count> elements of <size> bytes. False
   with no_memory set. */
NODISCARD bool loading_grow(
    struct loading *l, void **array, size_t *cap, size_t count, size_t size);

/* credmap_sections.c */

/* The handlers of ini_read(); <arg> is the struct loading. */
void loading_on_section(void *arg, int line, const char *name);
void loading_on_value(void *arg, int line, const char *name, const char *value);

/* Ends the last section. */
void loading_end_section(struct loading *l);

/* credmap_complete.c */

/* Fills in what entries and fleets have from products and settings, and makes
   them findable; complains of what is missing and of what clashes. */
void loading_complete(struct loading *l);

/* credmap_contract.c */

/* Sets that of the settings, and that of each product. NULL may be among them
   with no_memory set. */
void loading_complete_contracts(struct loading *l);

/* Gives the entry its contract, and complains when it does not fit together, or
   the keep-alive does not fit it. <c> has its keep-alive already. <product> may
   be NULL. */
void loading_set_contract(struct loading *l, struct credential *c,
    const struct common *own, const struct product *product);

/* credmap_topics.c */

/* A key that begins with "topic.", of the section being read. */
void loading_on_topic(struct loading *l, const char *name, const char *value);

/* Makes a map of the rules of the section that ends, when it has any. */
void loading_end_topics(struct loading *l, struct common *common);

/* credmap_fleet.c */

/* Reads all tables: gives entries their secrets, and fleets their entries. */
void loading_read_tables(struct loading *l);

#endif
