#include "base/secret.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <sys/mman.h>

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

void *
secret_alloc(size_t size)
{
	void *p;

	assert(size > 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	/* RLIMIT_MEMLOCK may be too low: then it may be swapped out, which is
	   no reason not to work. Pages that nobody writes to cost nothing. */
	(void)mlock2(p, size, MLOCK_ONFAULT);
	(void)madvise(p, size, MADV_DONTDUMP);
	return p;
}

void
secret_free(void *p, size_t size)
{
	if (p == NULL)
		return;
	secret_wipe_bytes(p, size);
	(void)munmap(p, size);
}
