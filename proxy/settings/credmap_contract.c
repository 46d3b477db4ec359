/* The contracts of entries: the settings', a product's, a device's own. */
#include "settings/credmap_parts.h"

#include <string.h>

/* A copy in the map, or one that is equal. NULL with no_memory set. */
static const struct contract *
share(struct loading *l, const struct contract *contract)
{
	const uint8_t *bytes = (const uint8_t *)contract;
	const struct contract **place;
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < sizeof(*contract); i++)
		hash = (hash ^ bytes[i]) * 16777619u;
	place = &l->contracts[hash % CONTRACTS_SHARED];
	if (*place == NULL || memcmp(*place, contract, sizeof(**place)) != 0)
		*place = credmap_keep_contract(l->line.map, contract);
	if (*place == NULL)
		l->line.no_memory = true;
	return *place;
}

/* A section as it is complained about. */
struct section_name {
	const char *kind;
	const char *name;
	int line;
};

/* That of a section: what it inherits, but for the rules it has itself. A cloud
   of its own leaves nothing of what it inherits. */
static const struct contract *
contract_of(struct loading *l, const struct common *own,
    const struct contract *inherited, const struct section_name *section)
{
	bool own_cloud = own->given & BIT(KEY_contract);
	struct contract contract;
	char why[CONTRACT_FLAW_MAX];

	if (inherited == NULL || (!own_cloud && own->rules == 0))
		return inherited;
	contract = *inherited;
	if (own_cloud)
		contract_of_cloud(
		    (enum contract_cloud)own->contract.cloud, &contract);
	for (unsigned i = 0; i < CONTRACT_RULE_COUNT; i++)
		if (own->rules >> i & 1)
			contract_rule_set(&contract, i,
			    contract_rule_value(&own->contract, i));
	if (!contract_fits(&contract, why))
		complain(l->line.to, l->line.path, section->line, "[%s:%s]: %s",
		    section->kind, section->name != NULL ? section->name : "?",
		    why);
	return share(l, &contract);
}

/* Complains of a keep-alive, where it was given, that <contract> of a section
   does not allow. One that nothing can fit was complained about already. */
static void
check_keep_alive(struct loading *l, const struct common *giver,
    const struct contract *contract, const struct section_name *section)
{
	unsigned s = giver->keep_alive_s;

	if (s == 0 || contract == NULL ||
	    contract->keep_alive_min > contract->keep_alive_max ||
	    (s >= contract->keep_alive_min && s <= contract->keep_alive_max))
		return;
	complain(l->line.to, l->line.path, giver->keep_alive_line,
	    "keep_alive = %us: the contract of [%s:%s] allows device, or %us "
	    "to %us (keep_alive_min, keep_alive_max)",
	    s, section->kind, section->name != NULL ? section->name : "?",
	    contract->keep_alive_min, contract->keep_alive_max);
}

void
loading_complete_contracts(struct loading *l)
{
	l->contract = share(l, &l->settings->contract);
	for (size_t i = 0; i < l->products_count; i++) {
		struct product *p = &l->products[i];
		const struct section_name name = {"product", p->key, p->line};

		p->contract = contract_of(l, &p->common, l->contract, &name);
		check_keep_alive(l, &p->common, p->contract, &name);
	}
}

void
loading_set_contract(struct loading *l, struct credential *c,
    const struct common *own, const struct product *product)
{
	const struct section_name name = {"device", c->label, c->line};
	const struct contract *inherited =
	    product != NULL ? product->contract : l->contract;

	c->contract = contract_of(l, own, inherited, &name);
	if (own->given & BIT(KEY_keep_alive))
		check_keep_alive(l, own, c->contract, &name);
	else if (product != NULL && c->contract != inherited)
		check_keep_alive(l, &product->common, c->contract, &name);
}
