#include "settings/proof.h"

static bool
check_password(const struct credential *c, const struct mqtt_connect *shown,
    struct fault *why)
{
	if (!shown->has_password)
		return fault_set(why, R_BAD_PASSWORD,
		    "entry %s; the device sent none", c->label);
	if (c->hash.iterations != 0 ? shown->password.n > SECRET_MAX
				    : !secret_eq(&c->password, shown->password))
		return fault_set(why, R_BAD_PASSWORD, "entry %s", c->label);
	return true;
}

/* How old the timestamp is does not count: these devices may have no clock. */
static bool
check_login(const struct credential *c, const struct mqtt_connect *shown,
    struct fault *why)
{
	struct aliyun_claim claim;

	if (!aliyun_claim_read(shown->client_id, shown->username, &claim))
		return fault_set(why, R_BAD_SIGNATURE,
		    "entry %s; not the form of a signed login", c->label);
	if (!span_eq(claim.product_key, span_of_string(c->product_key)) ||
	    !span_eq(claim.device_name, span_of_string(c->device_name)))
		return fault_set(why, R_BAD_SIGNATURE,
		    "entry %s; the login is for another device", c->label);
	if (!aliyun_claim_signed(&claim, &c->device_secret, shown->password))
		return fault_set(why, R_BAD_SIGNATURE, "entry %s", c->label);
	return true;
}

bool
proof_given(const struct credential *c, const struct mqtt_connect *shown,
    struct fault *why)
{
	if (c->has_password)
		return check_password(c, shown, why);
	return !c->verify_login || check_login(c, shown, why);
}

static bool
same_secret(const struct secret *a, const struct secret *b)
{
	return secret_eq(a, (struct span){b->bytes, b->n});
}

bool
proof_same(const struct credential *a, const struct credential *b)
{
	return a->has_password == b->has_password &&
	       same_secret(&a->password, &b->password) &&
	       password_hash_same(&a->hash, &b->hash) &&
	       a->verify_login == b->verify_login &&
	       (!a->verify_login ||
		   same_secret(&a->device_secret, &b->device_secret));
}
