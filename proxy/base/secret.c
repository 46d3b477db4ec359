#include "base/secret.h"

#include <openssl/crypto.h>

bool
secret_set(struct secret *k, struct span from)
{
	secret_wipe(k);
	if (from.n > sizeof(k->bytes))
		return false;
	if (from.n > 0)
		memcpy(k->bytes, from.p, from.n);
	k->n = from.n;
	return true;
}

bool
secret_eq(const struct secret *k, struct span with)
{
	return k->n == with.n &&
	       (with.n == 0 || CRYPTO_memcmp(k->bytes, with.p, with.n) == 0);
}

void
secret_wipe(struct secret *k)
{
	OPENSSL_cleanse(k->bytes, sizeof(k->bytes));
	k->n = 0;
}

void
secret_wipe_bytes(void *p, size_t n)
{
	OPENSSL_cleanse(p, n);
}
