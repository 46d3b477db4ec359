#include "settings/ini.h"

#include "scratch.h"
#include "unit.h"

/* What the handler was told, in order: "[3 name]" and "4 name=value;". */
static char heard[4096];

static void
on_section(void *arg, int line, const char *name)
{
	size_t n = strlen(heard);

	(void)arg;
	(void)snprintf(heard + n, sizeof(heard) - n, "[%d %s]", line, name);
}

static void
on_value(void *arg, int line, const char *name, const char *value)
{
	size_t n = strlen(heard);

	(void)arg;
	(void)snprintf(
	    heard + n, sizeof(heard) - n, "%d %s=%s;", line, name, value);
}

static bool
read_path(struct scratch *s, const char *path)
{
	static const struct ini_handler handler = {on_section, on_value, NULL};

	heard[0] = '\0';
	return ini_read(path, &handler, &s->complaints);
}

static bool
read_bytes(struct scratch *s, struct span bytes)
{
	return read_path(s, scratch_write(s, "file.ini", bytes));
}

static bool
read_text(struct scratch *s, const char *text)
{
	return read_bytes(s, span_of_string(text));
}

static void
test_reads_what_is_written(void **state)
{
	struct scratch *s = *state;

	assert_true(read_text(s, "; a comment\n"
				 "# another\n"
				 "   ; an indented one\n"
				 "\n"
				 "[one]\n"
				 "a=1\n"
				 "b  =  two words\t\n"
				 "empty =\n"
				 "[two:x.y@z]  \n"
				 "c = x=y;z#w\n"
				 "d = #\n"
				 "e=# \t\n"
				 "last = without line end"));
	assert_string_equal(heard, "[5 one]6 a=1;7 b=two words;8 empty=;"
				   "[9 two:x.y@z]10 c=x=y;z#w;11 d=#;12 e=#;"
				   "13 last=without line end;");
	assert_told(s, "");
}

static void
test_takes_files_of_other_systems(void **state)
{
	struct scratch *s = *state;

	assert_true(read_text(s, "\xef\xbb\xbf[a]\r\nb = c\r\n\r\nd = e\r\n"));
	assert_string_equal(heard, "[1 a]2 b=c;4 d=e;");
	assert_told(s, "");
	assert_true(read_text(s, ""));
	assert_true(read_text(s, "\xef\xbb\xbf"));
	assert_true(read_text(s, "\xef\xbb\xbf; comment"));
	assert_string_equal(heard, "");
	assert_told(s, "");
	assert_true(read_text(s, "[a]\n\xef\xbb\xbf"
				 "b = c\nd = e\n"));
	/* not at the start it is no mark, but part of a name */
	assert_string_equal(heard, "[1 a]2 \xef\xbb\xbf"
				   "b=c;3 d=e;");
}

/* Each line stands between two good ones, which must be heard. */
static void
test_refuses_what_inih_mistakes(void **state)
{
	static const struct {
		const char *line;
		const char *told;
	} cases[] = {
	    {" indented = x", "indented"},
	    {"\tindented", "indented"},
	    {"value = x ; comment", "comments on lines of their own"},
	    {"value = x\t# comment", "comments on lines of their own"},
	    {"value = ;", "comments on lines of their own"},
	    {"value =;x", "comments on lines of their own"},
	    {"value=#x", "comments on lines of their own"},
	    {"value = # x", "comments on lines of their own"},
	    {"value = ##", "comments on lines of their own"},
	    {"value = # #", "comments on lines of their own"},
	    {"value = # =#", "comments on lines of their own"},
	    {"a # = #", "comments on lines of their own"},
	    {"no sign", "no 'name = value'"},
	    {"name: value", "no 'name = value'"},
	    {"name: a=b", "no 'name = value'"},
	    {"= value", "the name before the '=' is missing"},
	    {"  = value", "indented"},
	    {"n123456789012345678901234567890123456789012345678 = v",
		"49 bytes, at most 48"},
	    {"bell = \a", "control character"},
	    {"cr = a\rb", "control character"},
	    {"del = \x7f", "control character"},
	    {"gbk = \xc9\xe8\xb1\xb8", "not UTF-8"},
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		char text[300];

		(void)snprintf(text, sizeof(text), "[s]\na = 1\n%s\nb = 2\n",
		    cases[i].line);
		assert_false(read_text(s, text));
		assert_string_equal(heard, "[1 s]2 a=1;4 b=2;");
		assert_memory_equal(s->told, "error 3: ", 9);
		assert_told_once(s, cases[i].told);
	}
}

static void
test_counts_bytes_of_lines(void **state)
{
	struct scratch *s = *state;
	char text[1024];
	char want[1024];
	char fill[512];

	for (int n = 190; n < 420; n++) {
		/* what inih would read as a line of its own must not appear */
		memset(fill, 'x', sizeof(fill));
		if (n > 199)
			memcpy(fill + 199 - 4, "evil=1", 6);
		(void)snprintf(text, sizeof(text),
		    "[s]\r\nk = %.*s\r\nb = 2\r\n", n - 4, fill);
		(void)snprintf(
		    want, sizeof(want), "[1 s]2 k=%.*s;3 b=2;", n - 4, fill);
		assert_int_equal(read_text(s, text), n <= INI_LINE_BYTES);
		if (n <= INI_LINE_BYTES) {
			assert_string_equal(heard, want);
			assert_told(s, "");
			continue;
		}
		assert_string_equal(heard, "[1 s]3 b=2;");
		(void)snprintf(want, sizeof(want),
		    "error 2: the line has %d bytes, at most 198 are "
		    "allowed\n",
		    n);
		assert_told(s, want);
	}
	memset(fill, 'x', sizeof(fill));
	(void)snprintf(text, sizeof(text), "[s]\n; %.400s\nb = 2\n", fill);
	assert_true(read_text(s, text));
	assert_string_equal(heard, "[1 s]3 b=2;");
}

static void
test_a_bad_section_takes_its_lines_along(void **state)
{
	static const struct {
		const char *line;
		const char *told;
	} cases[] = {
	    {"[open", "']' is missing"},
	    {"[x] y", "nothing may follow"},
	    {"[x] ; comment", "comments on lines of their own"},
	    {" [x]", "indented"},
	    {"[]", "has no name"},
	    {"[s12345678901234567890123456789012345678901234567890]",
		"51 bytes, at most 48"},
	    {"[x\x01]", "control character"},
	};
	struct scratch *s = *state;
	char text[300];

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		(void)snprintf(text, sizeof(text),
		    "[a]\nk = 1\n%s\nk = 2\n[b]\nk = 3\n", cases[i].line);
		assert_false(read_text(s, text));
		assert_string_equal(heard, "[1 a]2 k=1;[5 b]6 k=3;");
		assert_memory_equal(s->told, "error 3: ", 9);
		assert_told_once(s, cases[i].told);
	}
	assert_true(
	    read_text(s, "[s12345678901234567890123456789012345678901234567]"));
}

static void
test_refuses_lines_before_a_section(void **state)
{
	struct scratch *s = *state;

	assert_false(read_text(s, "a = 1\n[s]\nb = 2\n"));
	assert_string_equal(heard, "[2 s]3 b=2;");
	assert_told(s, "error 1: this stands before the first [section]\n");
}

static void
test_refuses_nul_bytes(void **state)
{
	struct scratch *s = *state;

	assert_false(read_bytes(s, SPAN_OF("[s]\na = 1\0x\n;\0\nb = 2\n\0")));
	assert_string_equal(heard, "[1 s]4 b=2;");
	assert_int_equal(s->complaints.errors, 3);
	assert_non_null(strstr(s->told, "error 2: the line holds a NUL byte"));
	assert_non_null(strstr(s->told, "error 3: the line holds a NUL byte"));
	assert_non_null(strstr(s->told, "error 5: the line holds a NUL byte"));
}

static void
test_tells_all_errors_up_to_a_bound(void **state)
{
	struct scratch *s = *state;
	char text[3 * 250 + 1] = "";
	size_t lines = 0;

	for (int i = 0; i < 250; i++)
		strcat(text, "ab\n");
	assert_false(read_text(s, text));
	for (const char *c = s->told; *c != '\0'; c++)
		lines += *c == '\n';
	assert_int_equal(lines, COMPLAINTS_MAX + 1);
	assert_int_equal(s->complaints.errors, 250);
	assert_non_null(
	    strstr(s->told, "error 0: there are more errors; mend"));
}

static void
test_never_shows_a_line(void **state)
{
	struct scratch *s = *state;

	(void)!read_text(s,
	    "hunter2\n[s\nhunter2 = hunter2\n[s]\nk = hunter2 ; x\n"
	    "hunter2\n hunter2\nk = hunter2\x01\nk: hunter2\n");
	assert_true(s->complaints.errors >= 6);
	assert_null(strstr(s->told, "hunter2"));
}

static void
test_refuses_what_is_no_file(void **state)
{
	struct scratch *s = *state;
	char path[256];

	assert_false(read_path(s, s->folder));
	assert_told(s, "error 0: cannot be opened: not a regular file\n");
	assert_false(read_path(s, "/dev/zero"));
	assert_told(s, "error 0: cannot be opened: not a regular file\n");
	/* without a writer: this must not wait for one */
	(void)snprintf(path, sizeof(path), "%s/fifo", s->folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(read_path(s, path));
	assert_told(s, "error 0: cannot be opened: not a regular file\n");
	(void)snprintf(path, sizeof(path), "%s/none", s->folder);
	assert_false(read_path(s, path));
	assert_told(
	    s, "error 0: cannot be opened: No such file or directory\n");
}

/* Of one that is not there, too: it may come. */
static void
test_tells_of_the_file(void **state)
{
	struct scratch *s = *state;
	char path[256], want[260];

	(void)snprintf(path, sizeof(path), "%s/later.ini", s->folder);
	(void)snprintf(want, sizeof(want), "%s\n", path);
	assert_false(read_path(s, path));
	assert_string_equal(s->files, want);
	scratch_reset(s);
	s->complaints.on_file = NULL;
	assert_false(read_path(s, path));
	assert_string_equal(s->files, "");
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_reads_what_is_written),
	    TEST(test_takes_files_of_other_systems),
	    TEST(test_refuses_what_inih_mistakes),
	    TEST(test_counts_bytes_of_lines),
	    TEST(test_a_bad_section_takes_its_lines_along),
	    TEST(test_refuses_lines_before_a_section),
	    TEST(test_refuses_nul_bytes),
	    TEST(test_tells_all_errors_up_to_a_bound),
	    TEST(test_never_shows_a_line),
	    TEST(test_refuses_what_is_no_file),
	    TEST(test_tells_of_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
