/*
 * To be linked with -Wl,--wrap=munmap: what is given back is looked at first.
 */
#include "base/secret.h"

#include "unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int __real_munmap(void *p, size_t size);
int __wrap_munmap(void *p, size_t size);

static void *given_back;
static size_t bytes_left; /* of what was given back, those that are not zero */

int
__wrap_munmap(void *p, size_t size)
{
	const unsigned char *bytes = p;

	given_back = p;
	bytes_left = 0;
	for (size_t i = 0; i < size; i++)
		bytes_left += bytes[i] != 0;
	return __real_munmap(p, size);
}

/* Whether the mapping that holds <p> has a flag, as "dd", by smaps of
   proc(5). */
static bool
has_flag(const void *p, const char *flag)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	char line[512], word[8];
	bool inside = false, has = false;

	assert_non_null(smaps);
	(void)snprintf(word, sizeof(word), " %s ", flag);
	while (fgets(line, sizeof(line), smaps) != NULL) {
		uintptr_t from, to;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
			inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			has = strstr(line, word) != NULL;
	}
	fclose(smaps);
	return has;
}

static void
test_wipes_what_it_gives_back(void **state)
{
	static const size_t sizes[] = {1, 4096, 4097, 300000};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		unsigned char *p = secret_alloc(sizes[i]);

		assert_non_null(p);
		for (size_t j = 0; j < sizes[i]; j++)
			assert_int_equal(p[j], 0);
		memset(p, 0xa5, sizes[i]);
		given_back = NULL;
		bytes_left = SIZE_MAX;
		secret_free(p, sizes[i]);
		assert_ptr_equal(given_back, p);
		assert_int_equal(bytes_left, 0);
	}
	given_back = NULL;
	secret_free(NULL, 1);
	assert_null(given_back);
}

static void
test_is_in_no_core_file(void **state)
{
	char *p = secret_alloc(5000);

	(void)state;
	assert_non_null(p);
	assert_true(has_flag(p, "dd"));
	assert_true(has_flag(p + 4999, "dd"));
	assert_false(has_flag(state, "dd"));
	secret_free(p, 5000);
}

/* In a process of its own, without the right to lock more than <limit>. */
static int
flag_under(rlim_t limit)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit most = {limit, limit};
		bool ok = setrlimit(RLIMIT_MEMLOCK, &most) == 0 &&
			  (geteuid() != 0 || seteuid(65534) == 0);
		char *p = ok ? secret_alloc(4096) : NULL;

		if (p == NULL)
			_exit(99);
		p[0] = 'x';
		_exit(seteuid(getuid()) == 0 && has_flag(p, "lo") ? 1 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
test_is_locked_where_that_is_allowed(void **state)
{
	struct rlimit limit;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (limit.rlim_max >= 4096)
		assert_int_equal(flag_under(limit.rlim_max), 1);
	assert_int_equal(flag_under(0), 0); /* and works even so */
}

static void
test_no_memory(void **state)
{
	(void)state;
	assert_null(secret_alloc(SIZE_MAX / 2));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_wipes_what_it_gives_back),
	    cmocka_unit_test(test_is_in_no_core_file),
	    cmocka_unit_test(test_is_locked_where_that_is_allowed),
	    cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
