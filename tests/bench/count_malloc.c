/*
 * count_malloc: counts what the program allocates that it is loaded before
 * (LD_PRELOAD), in the file that COUNT_MALLOC names: three 64-bit numbers, of
 * which the file has room, see struct counts. Of glibc.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct counts {
	_Atomic int64_t calls;  /* that have allocated, since the start */
	_Atomic int64_t blocks; /* in use */
	_Atomic int64_t bytes;  /* of these, with what rounding adds */
};

/* glibc's own names for what stands here before it. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

/* Until the file is there. */
static struct counts early;
static struct counts *_Atomic counts = &early;

__attribute__((constructor)) static void
open_counts(void)
{
	const char *path = getenv("COUNT_MALLOC");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at = MAP_FAILED;

	if (fd >= 0)
		at = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		abort();
	(void)close(fd);
	counts = at;
}

static void *
came(void *p)
{
	struct counts *c = counts;

	if (p != NULL) {
		atomic_fetch_add(&c->calls, 1);
		atomic_fetch_add(&c->blocks, 1);
		atomic_fetch_add(&c->bytes, (int64_t)malloc_usable_size(p));
	}
	return p;
}

static void
went(size_t bytes)
{
	struct counts *c = counts;

	atomic_fetch_sub(&c->blocks, 1);
	atomic_fetch_sub(&c->bytes, (int64_t)bytes);
}

void *
malloc(size_t n)
{
	return came(__libc_malloc(n));
}

void *
calloc(size_t count, size_t n)
{
	return came(__libc_calloc(count, n));
}

void *
realloc(void *p, size_t n)
{
	size_t before = malloc_usable_size(p);
	void *q = __libc_realloc(p, n);

	if (p != NULL && (q != NULL || n == 0))
		went(before);
	return came(q);
}

void
free(void *p)
{
	if (p != NULL)
		went(malloc_usable_size(p));
	__libc_free(p);
}
