/*
 * Files that change, and those that do not. Times are set, never waited for.
 */
#include "server/watch.h"

#include "scratch.h"
#include "unit.h"

#include <poll.h>

struct site {
	struct scratch *scratch;
	struct watch *watch;
};

static int
set_up(void **state)
{
	struct site *s = calloc(1, sizeof(*s));

	if (s == NULL || scratch_setup((void **)&s->scratch) != 0)
		return -1;
	s->watch = watch_new();
	*state = s;
	return s->watch != NULL ? 0 : -1;
}

static int
tear_down(void **state)
{
	struct site *s = *state;
	int failed = scratch_teardown((void **)&s->scratch);

	watch_free(&s->watch);
	assert_null(s->watch);
	watch_free(&s->watch);
	free(s);
	return failed;
}

static const char *
write_file(struct site *s, const char *name, const char *text)
{
	return scratch_write(s->scratch, name, span_of_string(text));
}

/* So many nanoseconds after 2001-09-09. */
static void
set_time(const char *path, long ns)
{
	const struct timespec times[2] = {{1000000000, ns}, {1000000000, ns}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void
assert_changed(struct site *s, const char *path)
{
	const char *changed = watch_look(s->watch);

	assert_non_null(changed);
	assert_string_equal(changed, path);
	assert_null(watch_look(s->watch)); /* told once */
}

static void
test_nothing_changes(void **state)
{
	struct site *s = *state;

	assert_null(watch_look(s->watch)); /* of no file at all */
	assert_true(watch_add(s->watch, write_file(s, "a", "1")));
	assert_true(watch_add(s->watch, s->scratch->folder));
	assert_true(watch_add(s->watch, "/nonexistent/file"));
	assert_null(watch_look(s->watch));
	assert_null(watch_look(s->watch));
}

static void
test_a_file_changes(void **state)
{
	struct site *s = *state;
	char path[256];

	(void)strcpy(path, write_file(s, "a", "1"));
	set_time(path, 1);
	assert_true(watch_add(s->watch, path));
	assert_null(watch_look(s->watch));
	/* another time only, by the least that there is */
	set_time(path, 2);
	assert_changed(s, path);
	/* another size only */
	(void)write_file(s, "a", "12");
	set_time(path, 2);
	assert_changed(s, path);
	/* another file of the same size and time in its place */
	(void)write_file(s, "b", "34");
	set_time(s->scratch->path, 2);
	assert_int_equal(rename(s->scratch->path, path), 0);
	assert_changed(s, path);
	/* gone; there again */
	assert_int_equal(unlink(path), 0);
	assert_changed(s, path);
	(void)write_file(s, "a", "12");
	assert_changed(s, path);
}

/* As a container platform exchanges a mounted secret. */
static void
test_a_link_points_elsewhere(void **state)
{
	struct site *s = *state;
	char path[256], other[256], second[256];

	(void)strcpy(path, write_file(s, "one", "1"));
	(void)strcpy(second, write_file(s, "two", "2"));
	set_time(path, 1);
	set_time(second, 1);
	(void)snprintf(other, sizeof(other), "%s/link", s->scratch->folder);
	assert_int_equal(symlink("one", other), 0);
	assert_true(watch_add(s->watch, other));
	assert_int_equal(unlink(other), 0);
	assert_int_equal(symlink("two", other), 0);
	assert_changed(s, other);
}

static void
test_a_folder_gets_a_file(void **state)
{
	struct site *s = *state;

	set_time(s->scratch->folder, 1);
	assert_true(watch_add(s->watch, s->scratch->folder));
	(void)write_file(s, "a", "");
	assert_changed(s, s->scratch->folder);
	set_time(s->scratch->folder, 1);
	assert_changed(s, s->scratch->folder);
	assert_int_equal(unlink(s->scratch->path), 0);
	assert_changed(s, s->scratch->folder);
}

/* Nothing but what the inode says of itself. */
static void
test_rights_change(void **state)
{
	struct site *s = *state;
	const char *path = write_file(s, "a", "1");

	assert_true(watch_add(s->watch, path));
	assert_int_equal(chmod(path, 0640), 0);
	assert_changed(s, path);
}

static bool
heard(const struct site *s)
{
	struct pollfd fd = {.fd = watch_fd(s->watch), .events = POLLIN};

	assert_true(fd.fd >= 0);
	return poll(&fd, 1, 0) == 1;
}

/* Whatever happens to a file is heard at once, and no more after a look. */
static void
test_changes_are_heard(void **state)
{
	struct site *s = *state;
	char path[256], other[256], folder[256];

	(void)snprintf(folder, sizeof(folder), "%s/f", s->scratch->folder);
	(void)snprintf(path, sizeof(path), "%s/a", s->scratch->folder);
	(void)snprintf(other, sizeof(other), "%s/b", s->scratch->folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_true(watch_add(s->watch, path)); /* not there yet */
	assert_true(watch_add(s->watch, folder));
	assert_false(heard(s));
	(void)write_file(s, "a", "1");
	assert_true(heard(s));
	assert_changed(s, path);
	assert_false(heard(s));
	(void)write_file(s, "b", "2");
	assert_int_equal(rename(other, path), 0);
	assert_true(heard(s));
	assert_changed(s, path);
	assert_int_equal(chmod(path, 0640), 0);
	assert_true(heard(s));
	assert_changed(s, path);
	assert_int_equal(unlink(path), 0);
	assert_true(heard(s));
	assert_changed(s, path);
	(void)write_file(s, "f/c", "3"); /* in a folder that is watched */
	assert_true(heard(s));
	assert_changed(s, folder);
	assert_false(heard(s));
	assert_int_equal(unlinkat(AT_FDCWD, s->scratch->path, 0), 0);
	assert_int_equal(rmdir(folder), 0);
}

/* Also in the folder that a link leads to. */
static void
test_what_a_link_leads_to_is_heard(void **state)
{
	struct site *s = *state;
	char folder[256], file[256], path[256];

	(void)snprintf(folder, sizeof(folder), "%s/f", s->scratch->folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	(void)strcpy(file, write_file(s, "f/file", "1"));
	(void)snprintf(path, sizeof(path), "%s/link", s->scratch->folder);
	assert_int_equal(symlink("f/file", path), 0);
	assert_true(watch_add(s->watch, path));
	assert_false(heard(s));
	(void)write_file(s, "f/file", "12");
	assert_true(heard(s));
	assert_changed(s, path);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(folder), 0);
}

/* Each is taken note of, the first one told. */
static void
test_several_change(void **state)
{
	struct site *s = *state;
	char paths[3][256];

	for (int i = 0; i < 3; i++) {
		char name[2] = {(char)('a' + i), '\0'};

		(void)strcpy(paths[i], write_file(s, name, "1"));
		assert_true(watch_add(s->watch, paths[i]));
		assert_true(watch_add(s->watch, paths[i]));
	}
	(void)write_file(s, "c", "22");
	(void)write_file(s, "b", "22");
	assert_changed(s, paths[1]);
	(void)write_file(s, "c", "333");
	/* adding what is there already does not hide a change */
	assert_true(watch_add(s->watch, paths[2]));
	assert_changed(s, paths[2]);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(test_nothing_changes),
	    TEST(test_a_file_changes),
	    TEST(test_a_link_points_elsewhere),
	    TEST(test_a_folder_gets_a_file),
	    TEST(test_rights_change),
	    TEST(test_changes_are_heard),
	    TEST(test_what_a_link_leads_to_is_heard),
	    TEST(test_several_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
