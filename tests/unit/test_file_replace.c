/* A file replaced as a whole, or not at all. */
#include "scratch.h"

#include "settings/file_replace.h"

#include <sys/file.h>

static void
assert_file(const char *path, const char *want)
{
	char bytes[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, bytes, sizeof(bytes) - 1);
	assert_true(n >= 0);
	close(fd);
	bytes[n] = '\0';
	assert_string_equal(bytes, want);
}

/* How many names the folder has. */
static int
names(const struct scratch *s)
{
	DIR *dir = opendir(s->folder);
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n - 2; /* "." and ".." */
}

static void
test_replaces(void **state)
{
	struct scratch *s = *state;
	const char *path = scratch_write(s, "map", SPAN_OF("old"));
	struct file_replace r;
	struct stat st;

	assert_int_equal(chmod(path, 0640), 0);
	assert_true(file_replace_open(&r, path, 3));
	assert_int_equal(r.size, 3);
	assert_memory_equal(r.bytes, "old", 3);
	assert_true(file_replace_write(&r, SPAN_OF("the new one")));
	assert_file(path, "old");
	assert_file(r.temp, "the new one");
	assert_true(file_replace_commit(&r));
	file_replace_close(&r);
	assert_file(path, "the new one");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(names(s), 1);
}

static void
test_gives_up(void **state)
{
	struct scratch *s = *state;
	const char *path = scratch_write(s, "map", SPAN_OF("old"));
	struct file_replace r;
	sigset_t held;

	assert_true(file_replace_open(&r, path, 100));
	assert_true(file_replace_write(&r, SPAN_OF("new")));
	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &held), 0);
	assert_int_equal(sigismember(&held, SIGTERM), 1);
	file_replace_close(&r);
	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &held), 0);
	assert_int_equal(sigismember(&held, SIGTERM), 0);
	assert_file(path, "old");
	assert_int_equal(names(s), 1);
}

static void
test_sees_that_others_have_changed_it(void **state)
{
	struct scratch *s = *state;
	const char *path = scratch_write(s, "map", SPAN_OF("old"));
	struct file_replace r;

	assert_true(file_replace_open(&r, path, 100));
	assert_true(file_replace_write(&r, SPAN_OF("new")));
	(void)scratch_write(s, "map", SPAN_OF("theirs"));
	assert_false(file_replace_commit(&r));
	assert_non_null(strstr(r.why, "changed by somebody else"));
	file_replace_close(&r);
	assert_file(path, "theirs");
	assert_int_equal(names(s), 1);
}

static void
test_takes_away_what_a_killed_one_left(void **state)
{
	struct scratch *s = *state;
	char path[sizeof(s->path)];
	struct file_replace r;

	(void)scratch_write(s, ".map.edit", SPAN_OF("half a m"));
	(void)snprintf(
	    path, sizeof(path), "%s", scratch_write(s, "map", SPAN_OF("old")));
	assert_true(file_replace_open(&r, path, 100));
	assert_true(file_replace_write(&r, SPAN_OF("new")));
	assert_true(file_replace_commit(&r));
	file_replace_close(&r);
	assert_file(path, "new");
	assert_int_equal(names(s), 1);
}

static void
test_follows_links(void **state)
{
	struct scratch *s = *state;
	char link[sizeof(s->path)];
	struct file_replace r;
	struct stat st;

	(void)snprintf(link, sizeof(link), "%s/link", s->folder);
	(void)scratch_write(s, "map", SPAN_OF("old"));
	assert_int_equal(symlink("map", link), 0);
	assert_true(file_replace_open(&r, link, 100));
	assert_true(file_replace_write(&r, SPAN_OF("new")));
	assert_true(file_replace_commit(&r));
	file_replace_close(&r);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_file(s->path, "new");
}

static void
test_folder_is_locked(void **state)
{
	struct scratch *s = *state;
	const char *path = scratch_write(s, "map", SPAN_OF("old"));
	int folder = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct file_replace r;

	assert_true(file_replace_open(&r, path, 100));
	assert_int_equal(flock(folder, LOCK_EX | LOCK_NB), -1);
	file_replace_close(&r);
	assert_int_equal(flock(folder, LOCK_EX | LOCK_NB), 0);
	close(folder);
}

static void
test_something_else_is_in_the_way(void **state)
{
	struct scratch *s = *state;
	const char *path = scratch_write(s, "map", SPAN_OF("old"));
	char temp[sizeof(s->path)];
	struct file_replace r;

	(void)snprintf(temp, sizeof(temp), "%s/.map.edit", s->folder);
	assert_int_equal(mkdir(temp, 0700), 0);
	assert_true(file_replace_open(&r, path, 100));
	assert_false(file_replace_write(&r, SPAN_OF("new")));
	assert_non_null(strstr(r.why, ".map.edit is in the way"));
	file_replace_close(&r);
	assert_int_equal(rmdir(temp), 0); /* it was left alone */
	assert_file(path, "old");
}

static void
test_makes_a_new_one(void **state)
{
	struct scratch *s = *state;
	char path[sizeof(s->path) + 8];
	struct file_replace r;
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/map", s->folder);
	assert_true(file_replace_open_new(&r, path));
	assert_int_equal(r.size, 0);
	assert_true(file_replace_write(&r, SPAN_OF("new")));
	assert_int_equal(stat(path, &st), -1);
	assert_true(file_replace_commit(&r));
	file_replace_close(&r);
	assert_file(path, "new");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(names(s), 1);
}

static void
test_makes_none_where_others_have(void **state)
{
	struct scratch *s = *state;
	char path[sizeof(s->path) + 8];
	struct file_replace r;

	(void)snprintf(path, sizeof(path), "%s/map", s->folder);
	assert_true(file_replace_open_new(&r, path));
	assert_true(file_replace_write(&r, SPAN_OF("new")));
	(void)scratch_write(s, "map", SPAN_OF("theirs"));
	assert_false(file_replace_commit(&r));
	file_replace_close(&r);
	assert_file(path, "theirs");
	assert_int_equal(names(s), 1);
	assert_false(file_replace_open_new(&r, path));
	assert_non_null(strstr(r.why, "it is there"));
	(void)snprintf(path, sizeof(path), "%s/no/map", s->folder);
	assert_false(file_replace_open_new(&r, path));
	assert_non_null(strstr(r.why, "its folder cannot be opened"));
}

static void
assert_refused(const char *path, const char *why)
{
	struct file_replace r;

	assert_false(file_replace_open(&r, path, 3));
	if (strstr(r.why, why) == NULL)
		fail_msg("'%s' is not in '%s'", why, r.why);
}

static void
test_refuses_what_is_no_file(void **state)
{
	struct scratch *s = *state;
	char path[sizeof(s->path) + 8];

	(void)snprintf(path, sizeof(path), "%s/none", s->folder);
	assert_refused(path, "No such file");
	assert_refused(s->folder, "not a regular file");
	assert_refused("/dev/null", "not a regular file");
	assert_refused(
	    scratch_write(s, "map", SPAN_OF("four")), "is over 3 bytes");
}

int
main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_replaces),
	    TEST(test_gives_up),
	    TEST(test_sees_that_others_have_changed_it),
	    TEST(test_takes_away_what_a_killed_one_left),
	    TEST(test_follows_links),
	    TEST(test_folder_is_locked),
	    TEST(test_something_else_is_in_the_way),
	    TEST(test_makes_a_new_one),
	    TEST(test_makes_none_where_others_have),
	    TEST(test_refuses_what_is_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
